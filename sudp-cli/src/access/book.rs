//! What each may do, as it is configured.

use std::time::SystemTime;

use sudp_tokio::proto::access::{Grant, Network, Pattern, Rule, Rules, Verb};

use super::Identity;
use crate::config::Server as Settings;

/// What a credential restricts itself to: of what is granted, that which these rules allow as well.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Scope(Rules);

impl Scope {
    /// A scope of these rules, in order; without any, nothing is left.
    pub(crate) fn new(rules: Rules) -> Self {
        Self(rules)
    }
}

/// A snapshot of what the configuration grants.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    version: u64,
    rules: Rules,
}

impl Book {
    /// What is granted by this configuration. A later one has a higher version.
    pub(crate) fn new(settings: &Settings, version: u64) -> Self {
        Self { version, rules: settings.rules.clone() }
    }

    /// How many were in force before this one.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// What somebody may do; without a grant, nothing.
    pub(crate) fn grant(&self, who: &Identity) -> Option<Grant> {
        // Two lists of rules are not one: what is restricted twice is granted by nobody here.
        if who.scope.is_some() {
            return None;
        }
        let expires = match who.expires {
            None => None,
            Some(end) => {
                let left = end.duration_since(SystemTime::now()).ok().filter(|left| !left.is_zero())?;
                // One that no clock of this machine can reach is none.
                sudp_tokio::now().checked_add(left)
            }
        };
        let (version, reverse) = (self.version, listenable(&self.rules));
        Some(Grant { version, reverse, expires, ..Grant::new(self.rules.clone()) })
    }
}

/// Where rules for destinations let reverse tunnels listen: at addresses and networks they name. That everything may
/// be sent to is not to say that everything may be listened at.
fn listenable(rules: &Rules) -> Rules {
    let all = |network: &Network| network.prefix() == 0;
    let named = |rule: &&Rule| match (&rule.verb, &rule.host) {
        (Verb::Deny, _) => true,
        (Verb::Allow, Pattern::Network(network)) => !all(network),
        (Verb::Allow, Pattern::Any | Pattern::Below(_) | Pattern::Name(_)) => false,
    };
    Rules::new(rules.as_slice().iter().filter(named).cloned().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listens(lines: &[&str], at: &str) -> bool {
        let rules = Rules::parse(lines.iter().copied()).expect("they are rules");
        let grant = Book { version: 0, rules }.grant(&Identity::default()).expect("everybody has one");
        grant.decide_bind(sudp_tokio::now(), at.parse().expect("an address")).allowed
    }

    #[test]
    fn what_is_named_by_address_may_be_listened_at_and_everything_may_not() {
        assert!(listens(&["allow 127.0.0.0/8"], "127.0.0.1:5005"));
        assert!(listens(&["allow 0.0.0.0:5005"], "0.0.0.0:5005"));
        assert!(!listens(&["allow 127.0.0.1:53"], "127.0.0.1:5005"));
        assert!(!listens(&["deny 127.0.0.1", "allow 127.0.0.0/8"], "127.0.0.1:5005"));
        for rule in ["allow *", "allow 0.0.0.0/0", "allow example.com", "allow ::/0"] {
            assert!(!listens(&[rule], "127.0.0.1:5005"), "{rule}");
            assert!(!listens(&[rule], "0.0.0.0:5005"), "{rule}");
        }
    }
}

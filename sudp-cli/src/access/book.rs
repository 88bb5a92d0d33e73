//! What each may do, as it is configured.
//!
//! Without `server.grants` everybody may do what `server.rules` says. With it the first section that speaks of somebody
//! decides alone, and of whom none speaks may do nothing. `server.rules` are for everybody: they are read before the
//! rules of any section.

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use sudp_tokio::proto::access::{Grant, Network, Pattern, Rule, RuleRef, Rules, Verb};

use super::{Identity, Via};
use crate::config::Server as Settings;
use crate::config::grants::{PATH, Section, Who};

/// A snapshot of what the configuration grants.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    version: u64,
    /// What is for everybody.
    rules: Rules,
    /// Without sections, everybody may do the same.
    sections: Arc<[(Section, Rules)]>,
}

/// What a credential restricts itself to: of what is granted, that which these rules allow as well.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Scope(Rules);

impl Scope {
    /// A scope of these rules, in order; without any, nothing is left.
    pub(crate) fn new(rules: Rules) -> Self {
        Self(rules)
    }
}

/// What has decided, as everybody knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Named {
    /// The rule that did, if one did, as it reads.
    pub(crate) rule: Option<String>,
    /// Its path in the configuration, if it stands there.
    pub(crate) key: Option<String>,
    /// What decided, in words.
    pub(crate) reason: String,
}

impl Named {
    /// What `decided` means among these rules, whose paths are known.
    pub(crate) fn new(
        decided: RuleRef,
        rules: &Rules,
        scope: Option<&Rules>,
        path: impl FnOnce(usize) -> String,
    ) -> Self {
        let scope = scope.map_or(&[][..], Rules::as_slice);
        let (rule, key) = match decided {
            RuleRef::Rule(index) => (rules.as_slice().get(index), Some(path(index))),
            RuleRef::Scope(index) => (scope.get(index), None),
            RuleRef::Closed(_)
            | RuleRef::Default
            | RuleRef::Expired
            | RuleRef::OutOfScope
            | RuleRef::Own
            | RuleRef::OwnPort
            | RuleRef::PortZero
            | RuleRef::Treatment => (None, None),
        };
        Self { rule: rule.map(ToString::to_string), key, reason: decided.to_string() }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "`{rule}`, {}", self.key.as_ref().unwrap_or(&self.reason)),
            None => f.write_str(&self.reason),
        }
    }
}

/// What the book says of somebody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    book: &'a Book,
    section: Option<usize>,
}

impl Book {
    /// What is granted by this configuration. A later one has a higher version.
    pub(crate) fn new(settings: &Settings, version: u64) -> Self {
        let all = |section: &Section| [settings.rules.as_slice(), section.rules.as_slice()].concat();
        // Those that would be too many together have been refused with the configuration.
        let with_all = |section: &Section| (section.clone(), Rules::new(all(section)).unwrap_or_default());
        Self { version, rules: settings.rules.clone(), sections: settings.grants.iter().map(with_all).collect() }
    }

    /// How many were in force before this one.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// What somebody may do; without a grant, nothing, any more or at all.
    pub(crate) fn grant(&self, who: &Identity) -> Option<Grant> {
        self.said(who)?.grant(who, SystemTime::now(), sudp_tokio::now())
    }

    /// What is said of somebody, if anything is.
    pub(crate) fn said(&self, who: &Identity) -> Option<Said<'_>> {
        if self.sections.is_empty() {
            return Some(Said { book: self, section: None });
        }
        let section = self.sections.iter().position(|(section, _)| section.who.iter().any(|it| is(who, it)))?;
        Some(Said { book: self, section: Some(section) })
    }
}

impl Said<'_> {
    /// What it comes to at this moment, by both clocks: an end that is said in the time of day becomes one that no
    /// change of the clock moves.
    pub(crate) fn grant(&self, who: &Identity, today: SystemTime, now: Instant) -> Option<Grant> {
        let grant = match self.entry() {
            None => Grant { reverse: listenable(&self.book.rules), ..Grant::new(self.book.rules.clone()) },
            Some((section, rules)) => {
                let usual = Grant::new(rules.clone());
                let (flows, sessions) =
                    (section.flows.unwrap_or(usual.flows), section.sessions.unwrap_or(usual.sessions));
                let Section { reverse, classes, copies, rates, flow_rates, .. } = section.clone();
                Grant { reverse, classes, copies, flows, sessions, rates, flow_rates, ..usual }
            }
        };
        let expires = match self.expires(who) {
            None => None,
            Some(end) => {
                let left = end.duration_since(today).ok().filter(|left| !left.is_zero())?;
                // One that no clock of this machine can reach is none.
                now.checked_add(left)
            }
        };
        let scope = who.scope.as_ref().map(|Scope(rules)| rules.clone());
        Some(Grant { version: self.book.version, scope, expires, ..grant })
    }

    /// When it ends: with the credential or with the section, whichever is first.
    pub(crate) fn expires(&self, who: &Identity) -> Option<SystemTime> {
        let section = self.entry().and_then(|(section, _)| section.expires);
        [section, who.expires].into_iter().flatten().min()
    }

    /// What a decision on a destination means.
    pub(crate) fn name(&self, who: &Identity, decided: RuleRef) -> Named {
        let rules = self.entry().map_or(&self.book.rules, |(_, rules)| rules);
        let scope = who.scope.as_ref().map(|Scope(rules)| rules);
        Named::new(decided, rules, scope, |index| self.rule(index))
    }

    /// The path of the section that decides, if one does.
    pub(crate) fn section(&self) -> Option<String> {
        Some(format!("{PATH}[{}]", self.section?))
    }

    /// The path of the rule with this index, where it was written.
    pub(crate) fn rule(&self, index: usize) -> String {
        let common = self.book.rules.as_slice().len();
        match (self.section(), index.checked_sub(common)) {
            (Some(section), Some(index)) => format!("{section}.rules[{index}]"),
            (Some(_) | None, _) => format!("server.rules[{index}]"),
        }
    }

    /// The path of the rule for listening with this index, where it was written.
    pub(crate) fn reverse(&self, index: usize) -> String {
        match self.section() {
            Some(section) => format!("{section}.reverse[{index}]"),
            None => {
                let written = self.book.rules.as_slice().iter().enumerate().filter(|(_, rule)| lets_listen(rule));
                let index = written.map(|(index, _)| index).nth(index).unwrap_or(index);
                format!("server.rules[{index}]")
            }
        }
    }

    fn entry(&self) -> Option<&(Section, Rules)> {
        self.book.sections.get(self.section?)
    }
}

/// Whether somebody is meant.
fn is(who: &Identity, meant: &Who) -> bool {
    match meant {
        Who::Everybody => true,
        Who::Group(group) => who.groups.contains(group),
        Who::Principal(name) => is_principal(who, name),
    }
}

/// What stands before a name says how its bearer has shown who it is: whoever can choose a name elsewhere, as the subject
/// of a JWT may, is no token or certificate by calling itself one.
fn is_principal(who: &Identity, name: &str) -> bool {
    let (kind, subject) = name.split_once(':').map_or(("", name), |(kind, subject)| (kind, subject));
    match (kind, who.via) {
        ("cert", Via::Certificate) | ("key", Via::Key) | ("token", Via::Token) => who.principal == name,
        ("" | "jwt", Via::Introspection | Via::Jwt) | ("", Via::Password) => who.principal == subject,
        _ => false,
    }
}

/// Where rules for destinations let reverse tunnels listen: at addresses and networks they name. That everything may
/// be sent to is not to say that everything may be listened at.
fn listenable(rules: &Rules) -> Rules {
    Rules::new(rules.as_slice().iter().filter(|rule| lets_listen(rule)).cloned().collect()).unwrap_or_default()
}

fn lets_listen(rule: &Rule) -> bool {
    let all = |network: &Network| network.prefix() == 0;
    match (&rule.verb, &rule.host) {
        (Verb::Deny, _) => true,
        (Verb::Allow, Pattern::Network(network)) => !all(network),
        (Verb::Allow, Pattern::Any | Pattern::Below(_) | Pattern::Name(_)) => false,
    }
}

#[cfg(test)]
mod tests;

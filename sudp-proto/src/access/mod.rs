//! Who may send where: one decision, taken at one place, for every flow.
//!
//! A [`Grant`] is a snapshot of what a principal may do. [`Grant::decide`] is asked for every
//! destination at every open, resume, reload and re-resolve, with the address that datagrams would
//! really go to, and says which rule decided. Nothing is allowed unless a rule says so.
//!
//! # How a destination is judged
//!
//! 1. The address is taken apart into its [canonical forms](canonical). Each is judged by itself, and
//!    every one of them must be allowed.
//! 2. Port 0, multicast, broadcast and the unspecified address are never sent to, nor are the
//!    server's own ports ([`Own::ports`]) on an address of its own. No rule opens these.
//! 3. Some networks are *closed*: those of [`CLOSED`] (loopback, private, link-local, metadata, ...)
//!    and the server's own addresses ([`Own::addresses`]). For a closed address only those allow rules
//!    count whose network lies inside the closed one. So `allow 10.0.0.0/8` and `allow 10.1.2.3` open
//!    what they say, while `allow *`, `allow 0.0.0.0/0` and a rule by name open nothing that is closed,
//!    and a metadata address inside a private network is opened by its own address only.
//! 4. Rules are read in order, and the first that matches decides. If none does, the answer is no.
//! 5. A [scope](Grant::scope) narrows what the rules allow: if there is one, both must allow. Which closed
//!    networks are open is for the rules to say, so that a scope of `*:53` is port 53 of whatever they allow.

mod addr;
mod pool;
mod rate;
mod reply;
mod rules;
mod share;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::wire::Class;

pub use addr::{CLOSED, Canonical, Closed, HostError, Network, Opening, canonical, parse_host, source};
pub use pool::{Lease, Pool, Sharing, Terms};
pub use rate::{Admit, Gcra, Limiter, Rate, Rates};
pub use reply::Replies;
pub use rules::{Pattern, Ports, Rule, RuleError, RuleProblem, Rules, Verb};
pub use share::{Allowance, Draw, Seat};

/// What a principal may do, as a snapshot: a change is a new grant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    /// Rises with every change, so that an older snapshot never replaces a newer one.
    pub version: u64,
    /// Where its flows may go. Empty allows nothing.
    pub rules: Rules,
    /// Where its reverse tunnels may listen on the server. Empty allows nothing.
    pub reverse: Rules,
    /// What narrows both, as the scope of a token does; none narrows nothing, and an empty one leaves nothing.
    pub scope: Option<Rules>,
    /// The delivery classes its tunnels may ask for.
    pub classes: Classes,
    /// On how many links its datagrams may travel at a time, 1 to 8.
    pub copies: u8,
    /// Flows at a time, over all its sessions.
    pub flows: usize,
    /// Sessions at a time.
    pub sessions: usize,
    /// What it may send to destinations, over all its sessions.
    pub rates: Rates,
    /// What each of its flows may send to its destinations.
    pub flow_rates: Rates,
    /// When all of this ends; none is never.
    pub expires: Option<Instant>,
}

impl Grant {
    /// Allows the given destinations, no reverse tunnels, both classes, the default caps and no rate limit.
    pub fn new(rules: Rules) -> Self {
        Self {
            version: 0,
            rules,
            reverse: Rules::default(),
            scope: None,
            classes: Classes::default(),
            copies: 8,
            flows: 8_192,
            sessions: 16,
            rates: Rates::default(),
            flow_rates: Rates::default(),
            expires: None,
        }
    }

    /// Allows every destination that can be allowed at all, closed ones too, and every reverse tunnel. Meant for tests.
    pub fn open() -> Self {
        Self { reverse: Rules::open(), ..Self::new(Rules::open()) }
    }

    /// Whether datagrams may go to `to`, and which rule says so.
    pub fn decide(&self, now: Instant, to: &Destination<'_>, own: &Own) -> Decision {
        if self.expired(now) {
            return Decision::no(RuleRef::Expired);
        }
        let decisions = self.judgements(to, own).map(|(_, decision)| decision);
        let strictest = decisions.reduce(|main, inside| if main.allowed && !inside.allowed { inside } else { main });
        strictest.expect("an address is a form of its own")
    }

    /// What is decided on each [canonical form](canonical) of the address by itself, for as long as the grant lasts:
    /// all of them must be allowed.
    pub fn judgements<'a>(
        &'a self,
        to: &Destination<'a>,
        own: &'a Own,
    ) -> impl Iterator<Item = (IpAddr, Decision)> + 'a {
        let Destination { name, address } = *to;
        canonical(address.ip()).map(move |form| (form, self.judge(form, address.port(), name, own)))
    }

    /// Whether a reverse tunnel may listen at `at`, and which rule says so.
    ///
    /// Networks are not closed for listening: listening on loopback is the harmless case. Port 0 lets
    /// the system choose, so only a rule for all ports allows it; ask again with the chosen port. An
    /// unspecified address listens on every address, so a deny rule for any of them denies it.
    pub fn decide_bind(&self, now: Instant, at: SocketAddr) -> Decision {
        if self.expired(now) {
            return Decision::no(RuleRef::Expired);
        }
        let address = canonical(at.ip()).main();
        if let Some(closed) = addr::never(address).filter(|_| !address.is_unspecified()) {
            return Decision::no(RuleRef::Closed(closed));
        }
        let matches = |rule: &Rule| match rule.verb {
            Verb::Deny if address.is_unspecified() => rule.ports.covers(at.port()) || at.port() == 0,
            Verb::Allow | Verb::Deny => rule.matches(None, address, at.port()),
        };
        let decision = self.reverse.first(matches).unwrap_or(Decision::no(RuleRef::Default));
        self.narrowed(decision, matches)
    }

    /// Whether the grant has ended.
    pub fn expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    fn judge(&self, address: IpAddr, port: u16, name: Option<&str>, own: &Own) -> Decision {
        let decision = self.ruled(address, port, name, own);
        self.narrowed(decision, |rule| rule.matches(name, address, port))
    }

    /// What the scope leaves of a decision.
    fn narrowed(&self, decision: Decision, matches: impl Fn(&Rule) -> bool) -> Decision {
        let Some(scope) = self.scope.as_ref().filter(|_| decision.allowed) else { return decision };
        match scope.as_slice().iter().position(matches) {
            Some(index) if scope.as_slice()[index].verb == Verb::Allow => decision,
            Some(index) => Decision::no(RuleRef::Scope(index)),
            None => Decision::no(RuleRef::OutOfScope),
        }
    }

    fn ruled(&self, address: IpAddr, port: u16, name: Option<&str>, own: &Own) -> Decision {
        if port == 0 {
            return Decision::no(RuleRef::PortZero);
        }
        if let Some(closed) = addr::never(address) {
            return Decision::no(RuleRef::Closed(closed));
        }
        if own.is_port(address, port) {
            return Decision::no(RuleRef::OwnPort);
        }
        let closed = addr::closed(address);
        let is_own = own.is_address(address);
        let opens = |rule: &Rule| {
            rule.verb == Verb::Deny
                || (closed.is_none_or(|it| rule.lies_in(it.network))
                    && (!is_own || rule.lies_in(Network::host(address))))
        };
        let decision = self.rules.first(|rule| rule.matches(name, address, port) && opens(rule));
        decision.unwrap_or_else(|| match (is_own, closed) {
            (true, _) => Decision::no(RuleRef::Own),
            (false, Some(closed)) => Decision::no(RuleRef::Closed(closed)),
            (false, None) => Decision::no(RuleRef::Default),
        })
    }
}

/// Where a datagram would go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Destination<'a> {
    /// The name it was asked by, if it was, as [`parse_host`] returned it.
    pub name: Option<&'a str>,
    /// The address it would be sent to.
    pub address: SocketAddr,
}

impl From<SocketAddr> for Destination<'_> {
    fn from(address: SocketAddr) -> Self {
        Self { name: None, address }
    }
}

/// What belongs to the server itself, kept up to date by the caller.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Own {
    addresses: BTreeSet<IpAddr>,
    ports: BTreeSet<u16>,
}

impl Own {
    /// Names every address of the host, and of its broadcasts, and the ports on which the server itself listens.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>, ports: impl IntoIterator<Item = u16>) -> Self {
        let addresses = addresses.into_iter().map(|address| canonical(address).main()).collect();
        Self { addresses, ports: ports.into_iter().collect() }
    }

    /// The host's addresses, in canonical form.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().copied()
    }

    /// The server's ports.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.ports.iter().copied()
    }

    /// Loopback addresses are left to the closed list, so that `allow 127.0.0.0/8` says all that is needed.
    fn is_address(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address) && !address.is_loopback()
    }

    fn is_port(&self, address: IpAddr, port: u16) -> bool {
        self.ports.contains(&port) && (address.is_loopback() || self.addresses.contains(&address))
    }
}

/// A decision and its reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// What decided.
    pub rule: RuleRef,
}

impl Decision {
    pub(crate) const fn no(rule: RuleRef) -> Self {
        Self { allowed: false, rule }
    }
}

/// What decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RuleRef {
    /// The address lies in a closed network, and no rule opens it.
    Closed(&'static Closed),
    /// No rule matched.
    Default,
    /// The grant has ended.
    Expired,
    /// The rules allow it, and no rule of the scope does.
    OutOfScope,
    /// The address is one of the server's own, and no rule opens it.
    Own,
    /// The server itself listens there; no rule opens that.
    OwnPort,
    /// Nothing can be sent to port 0.
    PortZero,
    /// The rule with this index, from 0.
    Rule(usize),
    /// The rules allow it, and the rule of the scope with this index, from 0, does not.
    Scope(usize),
    /// The class, or the number of copies, is not granted, whatever the destination.
    Treatment,
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(closed) => write!(f, "{closed}"),
            Self::Default => f.write_str("no rule matches"),
            Self::Expired => f.write_str("the grant has ended"),
            Self::OutOfScope => f.write_str("no rule of the scope matches"),
            Self::Own => f.write_str("an address of the server itself, opened by no rule"),
            Self::OwnPort => f.write_str("a port of the server itself"),
            Self::PortZero => f.write_str("port 0"),
            Self::Rule(index) => write!(f, "rule {}", index.saturating_add(1)),
            Self::Scope(index) => write!(f, "rule {} of the scope", index.saturating_add(1)),
            Self::Treatment => f.write_str("its class or its number of copies is not granted"),
        }
    }
}

/// Delivery classes a principal may ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Classes {
    /// Whether `reliable` may be asked for.
    pub reliable: bool,
    /// Whether `realtime` may be asked for.
    pub realtime: bool,
}

impl Default for Classes {
    fn default() -> Self {
        Self { reliable: true, realtime: true }
    }
}

impl Classes {
    /// Whether a flow may have this class. Controls are no flow's.
    pub const fn allows(self, class: Class) -> bool {
        match class {
            Class::Reliable => self.reliable,
            Class::Realtime => self.realtime,
            Class::Control => false,
        }
    }
}

#[cfg(test)]
mod tests;

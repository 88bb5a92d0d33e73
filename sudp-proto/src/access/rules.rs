//! Rules as an operator writes them: `[allow|deny] HOST[:PORTS]`.
//!
//! ```text
//! allow 10.1.0.0/16:53,5000-5100     an IPv4 network, some ports
//! allow [fd00:1::/64]:53             an IPv6 network in brackets, because ports follow
//! allow fd00:1::7                    without ports none are needed
//! deny  mail.example.com             a name: matches what was asked for by that name
//! allow *.example.com:443            any name below it, at any depth, but not example.com itself
//! allow *:53                         everything; `any` is the same
//! ```
//!
//! Without a verb it is `allow`; without ports, or with `*`, it is all of them. What a rule matches is
//! said in the [module](super).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

mod parse;

pub use parse::{RuleError, RuleProblem};

use super::{CLOSED, Decision, Network, Opening, RuleRef};

/// Rules in order; the first that matches decides.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rules(Arc<[Rule]>);

impl Rules {
    /// Rules a list holds at most.
    pub const MAX: usize = 1_024;

    /// Takes rules that have been parsed already; those beyond [`MAX`](Self::MAX) are an error.
    pub fn new(rules: Vec<Rule>) -> Result<Self, RuleError> {
        match rules.len() > Self::MAX {
            true => Err(RuleError::too_many(rules.len())),
            false => Ok(Self(rules.into())),
        }
    }

    /// Reads a list of rules, one a line as [`Rule`] reads it; the error has the index of its line.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, (usize, RuleError)> {
        let mut rules = Vec::new();
        for (index, line) in lines.into_iter().enumerate() {
            if index == Self::MAX {
                return Err((index, RuleError::too_many(index + 1)));
            }
            rules.push(line.parse().map_err(|error| (index, error))?);
        }
        Ok(Self(rules.into()))
    }

    /// Allows everything that can be allowed, each closed network by a rule of its own.
    pub fn open() -> Self {
        let closed = CLOSED.iter().filter(|it| it.opening == Opening::Rule).map(|it| Pattern::Network(it.network));
        let allow = |host| Rule { verb: Verb::Allow, host, ports: Ports::all() };
        Self(closed.chain([Pattern::Any]).map(allow).collect())
    }

    /// The rules, in order.
    pub fn as_slice(&self) -> &[Rule] {
        &self.0
    }

    /// What the first matching rule decides.
    pub(super) fn first(&self, matches: impl Fn(&Rule) -> bool) -> Option<Decision> {
        let index = self.0.iter().position(matches)?;
        Some(Decision { allowed: self.0[index].verb == Verb::Allow, rule: RuleRef::Rule(index) })
    }
}

/// One rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// What it says.
    pub verb: Verb,
    /// About which hosts.
    pub host: Pattern,
    /// About which ports.
    pub ports: Ports,
}

impl Rule {
    /// Whether it speaks of this address and port, asked for by this name.
    pub(super) fn matches(&self, name: Option<&str>, address: IpAddr, port: u16) -> bool {
        self.ports.covers(port) && self.host.covers(name, address)
    }

    /// Whether it names a network inside `closed`.
    pub(super) fn lies_in(&self, closed: Network) -> bool {
        match &self.host {
            Pattern::Any | Pattern::Below(_) | Pattern::Name(_) => false,
            Pattern::Network(network) => network.lies_in(closed),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.verb)?;
        match &self.host {
            Pattern::Network(network) if network.address().is_ipv6() && !self.ports.is_all() => {
                write!(f, "[{network}]")?
            }
            host @ (Pattern::Any | Pattern::Below(_) | Pattern::Name(_) | Pattern::Network(_)) => write!(f, "{host}")?,
        }
        if !self.ports.is_all() {
            write!(f, ":{}", self.ports)?;
        }
        Ok(())
    }
}

/// What a rule says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// Datagrams may go there.
    Allow,
    /// They may not.
    Deny,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

/// The hosts of a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pattern {
    /// All, by address or name.
    Any,
    /// All names below this one.
    Below(Box<str>),
    /// This name.
    Name(Box<str>),
    /// All addresses of this network, by whatever name they were asked for.
    Network(Network),
}

impl Pattern {
    fn covers(&self, name: Option<&str>, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Below(parent) => name.is_some_and(|name| is_below(name, parent)),
            Self::Name(own) => name.is_some_and(|name| bare(name).eq_ignore_ascii_case(own)),
            Self::Network(network) => network.contains(address),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Below(parent) => write!(f, "*.{parent}"),
            Self::Name(name) => f.write_str(name),
            Self::Network(network) => write!(f, "{network}"),
        }
    }
}

fn is_below(name: &str, parent: &str) -> bool {
    let name = bare(name).as_bytes();
    let Some(split) = name.len().checked_sub(parent.len()) else {
        return false;
    };
    let (front, back) = name.split_at(split);
    front.len() > 1 && front.ends_with(b".") && back.eq_ignore_ascii_case(parent.as_bytes())
}

/// A name without its final dot, should the caller have left it there.
fn bare(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// The ports of a rule: ranges that ascend and do not touch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ports(Vec<(u16, u16)>);

impl Ports {
    /// Every port.
    pub fn all() -> Self {
        Self(vec![(0, u16::MAX)])
    }

    /// The ports of these ranges, ends included, in any order.
    fn new(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                Some(_) | None => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// Whether it is every port.
    pub fn is_all(&self) -> bool {
        self.0 == [(0, u16::MAX)]
    }

    /// Whether `port` is one of them.
    pub fn covers(&self, port: u16) -> bool {
        self.0.iter().any(|&(first, last)| (first..=last).contains(&port))
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("*");
        }
        for (index, (first, last)) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match first == last {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

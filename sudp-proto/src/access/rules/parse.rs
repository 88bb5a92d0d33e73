//! Reading a rule, and saying what is wrong with one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::super::addr::{HostError, Network, WRITTEN_AS_V4, canonical, parse_name, width};
use super::{Pattern, Ports, Rule, Rules, Verb};

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let all = Piece { text, column: 1 };
        if text.len() > MAX_BYTES {
            return Err(all.first_word().error(RuleProblem::TooLong { bytes: text.len() }));
        }
        let (verb, rest) = split_verb(all.trim())?;
        let (host, ports) = split_ports(rest)?;
        let host = parse_pattern(host)?;
        let ports = ports.map_or(Ok(Ports::all()), parse_ports)?;
        Ok(Self { verb, host, ports })
    }
}

/// A rule that cannot be read; nothing of it counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleError {
    /// The part that is wrong.
    pub value: String,
    /// Where it begins, in characters from 1.
    pub column: usize,
    /// What is wrong with it, and what is allowed.
    pub problem: RuleProblem,
    /// What may have been meant in its place.
    pub suggestion: Option<String>,
}

impl RuleError {
    pub(super) fn too_many(rules: usize) -> Self {
        Self { value: rules.to_string(), column: 1, problem: RuleProblem::TooMany, suggestion: None }
    }

    fn suggest(mut self, suggestion: impl fmt::Display) -> Self {
        self.suggestion = Some(suggestion.to_string());
        self
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at column {}: {}", self.value, self.column, self.problem)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean {suggestion:?}?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for RuleError {}

/// What is wrong with a rule.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleProblem {
    /// Not an address, though it is written as one.
    #[error("this is not an IPv4 or IPv6 address; only an address may have colons or a prefix")]
    Address,
    /// Brackets that do not close, or hold or precede something else than they may.
    #[error("brackets hold an IPv6 address or network, and only `:` and ports follow them")]
    Brackets,
    /// No host.
    #[error("a host is missing; a rule is `[allow|deny] HOST[:PORTS]`")]
    Empty,
    /// Neither an address nor a name.
    #[error("{0}")]
    Host(HostError),
    /// Bits behind the prefix.
    #[error("bits are set behind the prefix of {prefix}")]
    HostBits {
        /// How many bits are fixed.
        prefix: u8,
    },
    /// Not a port.
    #[error("a port is a number from 1 to 65535, without leading zeros")]
    Port,
    /// A range that ends before it begins.
    #[error("a range of ports ends where it begins or above")]
    PortRange,
    /// Too many ranges of ports.
    #[error("a rule has at most {MAX_RANGES} ranges of ports")]
    PortRanges,
    /// Not a prefix length.
    #[error("a prefix is a number from 0 to {max}, without leading zeros")]
    Prefix {
        /// The longest for this kind of address.
        max: u8,
    },
    /// More rules than a list may have.
    #[error("a list has at most {max} rules", max = Rules::MAX)]
    TooMany,
    /// A rule of too many bytes.
    #[error("the rule has {bytes} bytes; at most {MAX_BYTES} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Something behind the ports.
    #[error("nothing may follow the host and its ports")]
    Trailing,
    /// Neither `allow` nor `deny`.
    #[error("a rule begins with `allow` or `deny`")]
    Verb,
    /// A wildcard where there is none.
    #[error("`*` stands alone, or in front of a name as `*.`; everything is `*` or `any`")]
    Wildcard,
    /// An IPv6 network whose addresses are judged as IPv4.
    #[error("these addresses are judged as the IPv4 addresses in them, so the rule must name those")]
    WrittenAsV4,
}

/// A part of a rule that knows where it stands.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    column: usize,
}

impl<'a> Piece<'a> {
    /// The part before byte `at` and the part behind `skip` more bytes.
    fn split(self, at: usize, skip: usize) -> (Self, Self) {
        (Self { text: &self.text[..at], column: self.column }, self.after(at + skip))
    }

    fn after(self, bytes: usize) -> Self {
        let (front, text) = self.text.split_at(bytes);
        Self { text, column: self.column + front.chars().count() }
    }

    fn trim(self) -> Self {
        let start = self.after(self.text.len() - self.text.trim_start().len());
        Self { text: start.text.trim_end(), ..start }
    }

    /// What to show of something that may be long.
    fn first_word(self) -> Self {
        let end = self.text.char_indices().nth(32).map_or(self.text.len(), |(at, _)| at);
        self.split(end, 0).0
    }

    fn error(self, problem: RuleProblem) -> RuleError {
        RuleError { value: self.text.into(), column: self.column, problem, suggestion: None }
    }
}

fn split_verb(rule: Piece<'_>) -> Result<(Verb, Piece<'_>), RuleError> {
    let Some(end) = rule.text.find(char::is_whitespace) else {
        return match rule.text {
            "" | "allow" | "deny" => Err(rule.error(RuleProblem::Empty)),
            _ => Ok((Verb::Allow, rule)),
        };
    };
    let (word, rest) = rule.split(end, 0);
    let rest = rest.trim();
    let verb = match word.text {
        "allow" => Verb::Allow,
        "deny" => Verb::Deny,
        _ => return Err(unknown_verb(word, rest)),
    };
    match rest.text.find(char::is_whitespace) {
        Some(end) => Err(rest.after(end).trim().error(RuleProblem::Trailing)),
        None => Ok((verb, rest)),
    }
}

fn unknown_verb(word: Piece<'_>, rest: Piece<'_>) -> RuleError {
    match word.text.to_ascii_lowercase().as_str() {
        "allow" | "accept" | "pass" | "permit" => word.error(RuleProblem::Verb).suggest(Verb::Allow),
        "deny" | "block" | "drop" | "forbid" | "refuse" | "reject" => word.error(RuleProblem::Verb).suggest(Verb::Deny),
        // `HOST PORTS`, `HOST : PORTS` and `HOST, HOST` are more likely than a third verb.
        other if other.contains(['.', ':', '*', ',']) => rest.error(RuleProblem::Trailing),
        _ => word.error(RuleProblem::Verb),
    }
}

/// Splits a host from its ports, where it has any.
fn split_ports(rule: Piece<'_>) -> Result<(Piece<'_>, Option<Piece<'_>>), RuleError> {
    if rule.text.starts_with('[') {
        return split_brackets(rule);
    }
    let mut colons = rule.text.match_indices(':').map(|(at, _)| at);
    let (Some(first), None) = (colons.next(), colons.next()) else {
        return Ok((rule, None));
    };
    let (host, ports) = rule.split(first, 1);
    Ok((host, Some(ports)))
}

fn split_brackets(rule: Piece<'_>) -> Result<(Piece<'_>, Option<Piece<'_>>), RuleError> {
    let Some(end) = rule.text.find(']') else {
        return Err(rule.error(RuleProblem::Brackets).suggest(format_args!("{}]", rule.text)));
    };
    let (host, rest) = rule.after(1).split(end - 1, 1);
    if !host.text.contains(':') {
        return Err(host.error(RuleProblem::Brackets).suggest(format_args!("{}{}", host.text, rest.text)));
    }
    if rest.text.is_empty() {
        return Ok((host, None));
    }
    if rest.text.starts_with(':') {
        return Ok((host, Some(rest.after(1))));
    }
    let error = rest.error(RuleProblem::Brackets);
    let Some(prefix) = rest.text.strip_prefix('/') else {
        return Err(error);
    };
    Err(match prefix.split_once(':') {
        Some((prefix, ports)) => error.suggest(format_args!("[{}/{prefix}]:{ports}", host.text)),
        None => error.suggest(format_args!("{}/{prefix}", host.text)),
    })
}

fn parse_pattern(host: Piece<'_>) -> Result<Pattern, RuleError> {
    match host.text {
        "" => return Err(host.error(RuleProblem::Empty)),
        "*" | "any" => return Ok(Pattern::Any),
        _ => {}
    }
    if let Some((address, _)) = host.text.split_once('/') {
        let (address, prefix) = host.split(address.len(), 1);
        return parse_network(host, address, prefix).map(Pattern::Network);
    }
    if let Ok(address) = host.text.parse() {
        return judged_as_written(host, Network::host(address)).map(Pattern::Network);
    }
    if host.text.contains(':') {
        return Err(bad_address(host));
    }
    parse_names(host)
}

fn parse_names(host: Piece<'_>) -> Result<Pattern, RuleError> {
    let below = host.text.starts_with("*.");
    let name = if below { host.after(2) } else { host };
    if name.text.contains('*') {
        return Err(host.error(RuleProblem::Wildcard));
    }
    match parse_name(name.text) {
        Ok(parent) if below => Ok(Pattern::Below(parent.into())),
        // A name that reads as everything would be a trap.
        Ok(reserved) if reserved == "all" || reserved == "any" => Err(host.error(RuleProblem::Wildcard).suggest("any")),
        Ok(name) => Ok(Pattern::Name(name.into())),
        Err(error) => Err(name.error(RuleProblem::Host(error))),
    }
}

fn parse_network(all: Piece<'_>, address: Piece<'_>, prefix: Piece<'_>) -> Result<Network, RuleError> {
    let Ok(ip) = address.text.parse::<IpAddr>() else {
        return Err(bad_address(address));
    };
    let max = width(ip);
    let Some(bits) = number(prefix.text).and_then(|bits| u8::try_from(bits).ok()).filter(|bits| *bits <= max) else {
        return Err(match prefix.text.split_once(':') {
            Some((bits, ports)) => all.error(RuleProblem::Brackets).suggest(format_args!("[{ip}/{bits}]:{ports}")),
            None => prefix.error(RuleProblem::Prefix { max }),
        });
    };
    match Network::new(ip, bits) {
        Some(network) => judged_as_written(all, network),
        None => {
            let first = Network::around(ip, bits);
            Err(all.error(RuleProblem::HostBits { prefix: bits }).suggest(first))
        }
    }
}

/// Refuses a network that no canonical form lies in: a rule about it would never match.
fn judged_as_written(text: Piece<'_>, network: Network) -> Result<Network, RuleError> {
    let Some(wrapper) = WRITTEN_AS_V4.into_iter().find(|it| network.lies_in(*it)) else {
        return Ok(network);
    };
    let inner = Network::around(canonical(network.address()).main(), network.prefix() - wrapper.prefix());
    Err(text.error(RuleProblem::WrittenAsV4).suggest(inner))
}

/// Something with a slash or colons that is no address; perhaps ports follow without brackets.
fn bad_address(text: Piece<'_>) -> RuleError {
    let error = text.error(RuleProblem::Address);
    match text.text.rsplit_once(':') {
        Some((host, ports)) if host.parse::<IpAddr>().is_ok() => error.suggest(format_args!("[{host}]:{ports}")),
        Some(_) | None => error,
    }
}

fn parse_ports(ports: Piece<'_>) -> Result<Ports, RuleError> {
    if ports.text == "*" {
        return Ok(Ports::all());
    }
    let mut ranges = Vec::new();
    let mut rest = Some(ports);
    while let Some(piece) = rest {
        let (range, next) = match piece.text.find(',') {
            Some(comma) => (piece.split(comma, 1).0, Some(piece.after(comma + 1))),
            None => (piece, None),
        };
        if ranges.len() == MAX_RANGES {
            return Err(range.error(RuleProblem::PortRanges));
        }
        ranges.push(parse_range(range)?);
        rest = next;
    }
    Ok(Ports::new(ranges))
}

fn parse_range(range: Piece<'_>) -> Result<(u16, u16), RuleError> {
    let Some(hyphen) = range.text.find('-') else {
        let port = parse_port(range)?;
        return Ok((port, port));
    };
    let (first, last) = range.split(hyphen, 1);
    let (first, last) = (parse_port(first)?, parse_port(last)?);
    match first <= last {
        true => Ok((first, last)),
        false => Err(range.error(RuleProblem::PortRange).suggest(format_args!("{last}-{first}"))),
    }
}

fn parse_port(port: Piece<'_>) -> Result<u16, RuleError> {
    number(port.text).filter(|it| *it > 0).ok_or_else(|| port.error(RuleProblem::Port))
}

/// Digits only, and no leading zero, which some would read as octal.
fn number(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|it| it.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}

const MAX_BYTES: usize = 1_024;
const MAX_RANGES: usize = 64;

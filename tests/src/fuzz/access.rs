//! Rules, hosts and decisions from any bytes.

use std::net::{IpAddr, SocketAddr};

use sudp_proto::access::{Destination, Grant, Own, Rule, RuleRef, Rules, parse_host};
use sudp_proto::wire::Host;

use crate::clock::epoch;
use crate::rules_ref::{Reference, Verdict};

/// Reads each line as a rule, and `?NAME ADDRESS PORT` as a question about the rules so far.
///
/// `=ADDRESS PORT` names something that belongs to the server. What cannot be read must be refused
/// without harm; what can must survive printing; every answer must be the reference's.
pub fn access(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (mut rules, mut own) = (Vec::new(), (Vec::new(), Vec::new()));
    for line in text.lines().take(64) {
        host(line);
        if let Some(question) = line.strip_prefix('?') {
            ask(&rules, &own, question);
        } else if let Some((address, port)) = line.strip_prefix('=').and_then(|it| it.split_once(' ')) {
            own.0.extend(address.parse::<IpAddr>());
            own.1.extend(port.parse::<u16>());
        } else if let Some(rule) = rule(line) {
            rules.push(rule);
        }
    }
}

/// Reads a rule and, if it is one, its print.
fn rule(text: &str) -> Option<Rule> {
    match text.parse::<Rule>() {
        Ok(rule) => {
            assert_eq!(rule.to_string().parse().as_ref(), Ok(&rule), "{text:?}");
            Some(rule)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(error.value.len() <= 1_024 && error.column <= text.len() + 1, "{error:?} in {text:?}");
            None
        }
    }
}

/// Reads a host and, if it is a name, the name again.
fn host(text: &str) {
    let Ok(Host::Name(name)) = parse_host(text) else {
        return;
    };
    assert_eq!(parse_host(&name), Ok(Host::Name(name.clone())), "{text:?}");
    assert!(name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len())), "{text:?}");
    let last = name.rsplit('.').next().unwrap_or_default();
    assert!(!last.bytes().all(|it| it.is_ascii_digit()), "{text:?} ends in a number");
}

fn ask(rules: &[Rule], (addresses, ports): &(Vec<IpAddr>, Vec<u16>), question: &str) {
    let mut words = question.split(' ');
    let (Some(name), Some(Ok(address)), Some(Ok(port)), None) =
        (words.next(), words.next().map(str::parse), words.next().map(str::parse), words.next())
    else {
        return;
    };
    let printed: Vec<_> = rules.iter().map(Rule::to_string).collect();
    let reference = Reference::new(printed.iter().map(String::as_str), addresses, ports);
    let own = Own::new(addresses.iter().copied(), ports.iter().copied());
    let rules = Rules::new(rules.to_vec()).expect("64 lines are fewer rules than a list holds");
    let grant = Grant { reverse: rules.clone(), ..Grant::new(rules) };
    let name = Some(name).filter(|name| !name.is_empty());
    let asked = Case { name, address, port };
    assert_eq!(decide(&grant, &own, asked), reference.decide(name, address, port), "{asked:?} of {printed:?}");
    assert_eq!(bind(&grant, asked), reference.bind(address, port), "listening at {asked:?} of {printed:?}");
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What was asked for.
    pub name: Option<&'a str>,
    /// Where it would go.
    pub address: IpAddr,
    /// To which port.
    pub port: u16,
}

/// The decision of the core, in the words of the reference.
pub fn decide(grant: &Grant, own: &Own, case: Case<'_>) -> Verdict {
    let to = Destination { name: case.name, address: SocketAddr::new(case.address, case.port) };
    let decision = grant.decide(epoch(), &to, own);
    (decision.allowed, index(decision.rule))
}

/// The decision of the core about listening, in the words of the reference.
pub fn bind(grant: &Grant, case: Case<'_>) -> Verdict {
    let decision = grant.decide_bind(epoch(), SocketAddr::new(case.address, case.port));
    (decision.allowed, index(decision.rule))
}

fn index(rule: RuleRef) -> Option<usize> {
    match rule {
        RuleRef::Rule(index) => Some(index),
        RuleRef::Closed(_)
        | RuleRef::Default
        | RuleRef::Expired
        | RuleRef::OutOfScope
        | RuleRef::Own
        | RuleRef::OwnPort
        | RuleRef::PortZero
        | RuleRef::Scope(_)
        | RuleRef::Treatment => None,
    }
}

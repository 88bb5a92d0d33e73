use std::time::Duration;

use self::forms::textual_forms;
use super::*;
use crate::wire::Host;

mod forms;

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test must begin somewhere")]
    Instant::now()
}

fn rules(lines: &[&str]) -> Rules {
    Rules::parse(lines.iter().copied()).unwrap_or_else(|error| panic!("{error:?}"))
}

fn decide(lines: &[&str], name: Option<&str>, to: &str, own: &Own) -> Decision {
    Grant::new(rules(lines)).decide(now(), &Destination { name, address: to.parse().unwrap() }, own)
}

/// Asks by address alone.
fn ask(lines: &[&str], to: &str) -> Decision {
    decide(lines, None, to, &Own::default())
}

fn yes(index: usize) -> Decision {
    Decision { allowed: true, rule: RuleRef::Rule(index) }
}

fn no(index: usize) -> Decision {
    Decision { allowed: false, rule: RuleRef::Rule(index) }
}

/// Refused because of the closed network of this text.
fn is_closed(decision: Decision, network: &str) -> bool {
    matches!(decision, Decision { allowed: false, rule: RuleRef::Closed(closed) } if closed.network.to_string() == network)
}

#[test]
fn nothing_is_allowed_without_a_rule() {
    assert_eq!(ask(&[], "8.8.8.8:53"), Decision::no(RuleRef::Default));
    assert_eq!(ask(&["8.8.4.4"], "8.8.8.8:53"), Decision::no(RuleRef::Default));
    assert_eq!(ask(&["deny *"], "8.8.8.8:53"), no(0));
}

#[test]
fn the_first_rule_that_matches_decides() {
    let lines = ["8.8.8.8:53", "deny 8.8.8.0/24", "*"];
    assert_eq!(ask(&lines, "8.8.8.8:53"), yes(0));
    assert_eq!(ask(&lines, "8.8.8.8:54"), no(1));
    assert_eq!(ask(&lines, "8.8.9.8:54"), yes(2));
}

#[test]
fn t03_a_changed_field_of_an_allowed_destination_is_refused() {
    let lines = ["dns.example:53", "9.9.9.9:5000-5001", "[2606:4700::/32]:443"];
    let own = Own::default();
    assert_eq!(decide(&lines, Some("dns.example"), "8.8.8.8:53", &own), yes(0));
    assert_eq!(decide(&lines, None, "9.9.9.9:5001", &own), yes(1));
    assert_eq!(decide(&lines, Some("x.example"), "[2606:4700::1]:443", &own), yes(2));
    for (name, to) in [
        (None, "8.8.8.8:53"),
        (Some("dns.example.com"), "8.8.8.8:53"),
        (Some("xdns.example"), "8.8.8.8:53"),
        (Some("dns.example"), "8.8.8.8:54"),
        (None, "9.9.9.8:5001"),
        (None, "9.9.9.9:5002"),
        (None, "9.9.9.9:4999"),
        (None, "[2606:4700::1]:444"),
        (None, "[2606:4701::1]:443"),
    ] {
        assert_eq!(decide(&lines, name, to, &own), Decision::no(RuleRef::Default), "{name:?} {to}");
    }
}

#[test]
fn t01_only_a_rule_inside_a_closed_network_opens_it() {
    assert!(is_closed(ask(&["*", "0.0.0.0/0", "8.0.0.0/6"], "10.1.2.3:53"), "10.0.0.0/8"));
    assert_eq!(ask(&["10.0.0.0/8"], "10.1.2.3:53"), yes(0));
    assert_eq!(
        ask(&["*", "deny 9.9.9.9", "10.1.0.0/16"], "10.1.2.3:53"),
        yes(2),
        "a rule that opens nothing is passed by"
    );
    assert_eq!(ask(&["*", "deny 10.0.0.0/7", "10.1.0.0/16"], "10.1.2.3:53"), no(1), "a deny rule is not");
    assert!(is_closed(ask(&["10.1.0.0/16:54"], "10.1.2.3:53"), "10.0.0.0/8"), "for another port");
}

#[test]
fn t01_a_metadata_address_is_opened_by_its_own_address_only() {
    for (around, metadata) in [
        ("169.254.0.0/16", "169.254.169.254"),
        ("169.254.0.0/16", "169.254.170.2"),
        ("100.64.0.0/10", "100.100.100.200"),
        ("168.63.129.0/24", "168.63.129.16"),
        ("fc00::/7", "fd00:ec2::254"),
        ("fd20:ce::/64", "fd20:ce::254"),
    ] {
        let to = SocketAddr::new(metadata.parse().unwrap(), 80).to_string();
        assert!(is_closed(ask(&[around, "*"], &to), metadata), "{metadata}");
        assert_eq!(ask(&[around, metadata], &to), yes(1));
    }
}

#[test]
fn t25_a_name_does_not_open_what_it_resolves_to() {
    let own = Own::default();
    let lines = ["db.internal", "*.internal", "10.0.0.5"];
    for to in ["127.0.0.1:53", "10.0.0.6:53", "[::1]:53", "[::ffff:10.0.0.6]:53"] {
        assert!(!decide(&lines, Some("db.internal"), to, &own).allowed, "{to}");
    }
    assert_eq!(decide(&lines, Some("db.internal"), "8.8.8.8:53", &own), yes(0));
    assert_eq!(decide(&lines, Some("db.internal"), "10.0.0.5:53", &own), yes(2));
}

#[test]
fn every_form_of_an_address_must_be_allowed() {
    assert_eq!(ask(&["8.8.8.8"], "[::ffff:8.8.8.8]:53"), yes(0));
    assert_eq!(ask(&["8.8.8.8"], "[64:ff9b::8.8.8.8]:53"), yes(0));
    assert_eq!(ask(&["deny 8.8.8.8", "*"], "[64:ff9b::8.8.8.8]:53"), no(0));
    assert!(is_closed(ask(&["8.8.8.8"], "[2002:808:808::]:53"), "2002::/16"));
    assert_eq!(ask(&["2002::/16"], "[2002:808:808::]:53"), Decision::no(RuleRef::Default), "the address inside");
    assert_eq!(ask(&["2002::/16", "8.8.8.8"], "[2002:808:808::]:53"), yes(0));
    assert!(is_closed(ask(&["2002::/16", "*"], "[2002:7f00:1::]:53"), "127.0.0.0/8"));
    let teredo = "[2001:0:808:808::80ff:fffe]:53";
    assert!(is_closed(ask(&["2001::/32", "*"], teredo), "127.0.0.0/8"), "the client's address, inverted");
}

#[test]
fn t05_some_destinations_are_never_sent_to() {
    for (rule, to, network) in [
        ("224.0.0.251", "224.0.0.251:53", "224.0.0.0/4"),
        ("255.255.255.255", "255.255.255.255:53", "255.255.255.255"),
        ("0.0.0.0", "0.0.0.0:53", "0.0.0.0"),
        ("::", "[::]:53", "::"),
        ("ff02::1", "[ff02::1]:53", "ff00::/8"),
        ("224.0.0.251", "[::ffff:224.0.0.251]:53", "224.0.0.0/4"),
    ] {
        assert!(is_closed(ask(&[rule, "*"], to), network), "{to}");
    }
    assert_eq!(ask(&["8.8.8.8", "*"], "8.8.8.8:0"), Decision::no(RuleRef::PortZero));
}

#[test]
fn t07_the_servers_own_addresses_are_closed_and_its_ports_shut() {
    let own = Own::new(
        ["8.8.8.8", "::ffff:10.0.0.1", "2606:4700::1", "127.0.0.1"].map(|it| it.parse().unwrap()),
        [8_080, 9_000],
    );
    let decide = |lines: &[&str], to| decide(lines, None, to, &own);
    assert_eq!(decide(&["*", "8.8.8.0/24"], "8.8.8.8:53"), Decision::no(RuleRef::Own));
    assert_eq!(decide(&["*", "8.8.8.8"], "8.8.8.8:53"), yes(1));
    assert_eq!(decide(&["*"], "8.8.8.9:53"), yes(0));
    assert_eq!(decide(&["10.0.0.0/8"], "10.0.0.1:53"), Decision::no(RuleRef::Own));
    assert_eq!(decide(&["10.0.0.1"], "[::ffff:10.0.0.1]:53"), yes(0));
    assert_eq!(decide(&["2606::/16"], "[2606:4700::1]:53"), Decision::no(RuleRef::Own));
    assert_eq!(decide(&["127.0.0.0/8"], "127.0.0.1:53"), yes(0), "loopback is opened as loopback");

    for (rule, to) in [("8.8.8.8", "8.8.8.8:8080"), ("127.0.0.0/8", "127.9.9.9:9000"), ("::1", "[::1]:9000")] {
        assert_eq!(decide(&[rule, "*"], to), Decision::no(RuleRef::OwnPort), "{to}");
    }
    assert_eq!(decide(&["*"], "8.8.8.9:8080"), yes(0), "the port of another host");
    assert_eq!(own.addresses().count(), 4);
    assert_eq!(own.ports().collect::<Vec<_>>(), [8_080, 9_000]);
}

#[test]
fn an_expired_grant_allows_nothing() {
    let end = now() + Duration::from_secs(60);
    let grant = Grant { expires: Some(end), ..Grant::open() };
    let to = Destination::from(SocketAddr::from(([8, 8, 8, 8], 53)));
    let before = end.checked_sub(Duration::from_nanos(1)).unwrap();
    assert!(grant.decide(before, &to, &Own::default()).allowed);
    assert!(grant.decide_bind(before, to.address).allowed);
    assert_eq!(grant.decide(end, &to, &Own::default()), Decision::no(RuleRef::Expired));
    assert_eq!(grant.decide_bind(end, to.address), Decision::no(RuleRef::Expired));
    assert!(!Grant::open().expired(end));
}

#[test]
fn the_open_grant_allows_what_can_be_allowed() {
    let ask =
        |to: &str| Grant::open().decide(now(), &Destination::from(to.parse::<SocketAddr>().unwrap()), &Own::default());
    for to in ["8.8.8.8:53", "10.0.0.1:53", "127.0.0.1:53", "169.254.169.254:80", "[::1]:53", "[fd00:ec2::254]:80"] {
        assert!(ask(to).allowed, "{to}");
    }
    assert!(is_closed(ask("224.0.0.1:53"), "224.0.0.0/4"));
}

#[test]
fn listening_needs_a_rule_for_the_address_and_the_port() {
    let bind = |lines: &[&str], at: &str| {
        let grant = Grant { reverse: rules(lines), ..Grant::new(Rules::default()) };
        grant.decide_bind(now(), at.parse().unwrap())
    };
    assert_eq!(bind(&[], "127.0.0.1:5000"), Decision::no(RuleRef::Default));
    assert_eq!(bind(&["127.0.0.1:5000-5009"], "127.0.0.1:5000"), yes(0), "loopback is not closed here");
    assert_eq!(bind(&["127.0.0.1:5000-5009"], "[::ffff:127.0.0.1]:5009"), yes(0));
    assert_eq!(bind(&["127.0.0.1:5000-5009"], "127.0.0.1:5010"), Decision::no(RuleRef::Default));
    assert_eq!(bind(&["127.0.0.1:5000-5009"], "127.0.0.1:0"), Decision::no(RuleRef::Default));
    assert_eq!(bind(&["127.0.0.1"], "127.0.0.1:0"), yes(0), "any port, so the system may choose");
    assert_eq!(bind(&["localhost"], "127.0.0.1:5000"), Decision::no(RuleRef::Default), "no name was asked for");
    assert_eq!(bind(&["deny *:1-1023", "*"], "10.0.0.1:53"), no(0));
    assert_eq!(bind(&["deny *:1-1023", "*"], "10.0.0.1:5000"), yes(1));
    assert_eq!(bind(&["deny 10.0.0.1:5000", "*"], "10.0.0.2:5000"), yes(1));
    assert!(is_closed(bind(&["224.0.0.1", "*"], "224.0.0.1:5000"), "224.0.0.0/4"));
}

#[test]
fn listening_everywhere_is_denied_where_listening_somewhere_is() {
    let bind = |lines: &[&str], at: &str| {
        let grant = Grant { reverse: rules(lines), ..Grant::new(Rules::default()) };
        grant.decide_bind(now(), at.parse().unwrap())
    };
    for at in ["0.0.0.0:5000", "[::]:5000"] {
        assert_eq!(bind(&["*"], at), yes(0));
        assert_eq!(bind(&["deny 10.0.0.1:5000", "*"], at), no(0));
        assert_eq!(bind(&["deny 10.0.0.1:5001", "*"], at), yes(1));
    }
    assert_eq!(bind(&["0.0.0.0:5000"], "0.0.0.0:5000"), yes(0));
    assert_eq!(bind(&["10.0.0.1"], "0.0.0.0:5000"), Decision::no(RuleRef::Default));
    assert_eq!(bind(&["deny 10.0.0.1:53", "*"], "0.0.0.0:0"), no(0), "the system could choose that port");
}

#[test]
fn a_decision_says_in_words_what_decided() {
    for (decision, words) in [
        (ask(&["*"], "8.8.8.8:53"), "rule 1"),
        (ask(&["*"], "10.0.0.1:53"), "10.0.0.0/8 (private), closed by default"),
        (ask(&["*"], "8.8.8.8:0"), "port 0"),
        (ask(&[], "8.8.8.8:53"), "no rule matches"),
        (Decision::no(RuleRef::Expired), "the grant has ended"),
        (Decision::no(RuleRef::Own), "an address of the server itself, opened by no rule"),
        (Decision::no(RuleRef::OwnPort), "a port of the server itself"),
    ] {
        assert_eq!(decision.rule.to_string(), words);
    }
}

#[test]
fn classes_are_allowed_one_by_one_and_controls_are_no_class_of_a_flow() {
    let only = Classes { realtime: true, reliable: false };
    let allowed = |classes: Classes| [Class::Reliable, Class::Realtime, Class::Control].map(|it| classes.allows(it));
    assert_eq!(allowed(Classes::default()), [true, true, false]);
    assert_eq!(allowed(only), [false, true, false]);
    assert_eq!(allowed(Classes { realtime: false, reliable: true }), [true, false, false]);
}

#[test]
fn t01_no_textual_form_of_a_closed_address_reaches_it() {
    let own = Own::default();
    let broad = ["*", "0.0.0.0/0", "::/0", "*.example", "inner.example"];
    let (mut forms, mut refused) = (0, 0);
    for address in closed_addresses() {
        for text in textual_forms(address) {
            forms += 1;
            match parse_host(&text) {
                Ok(Host::Ip(ip)) => {
                    for name in [None, Some("inner.example")] {
                        let to = Destination { name, address: SocketAddr::new(ip, 53) };
                        let decision = Grant::new(rules(&broad)).decide(now(), &to, &own);
                        assert!(matches!(decision.rule, RuleRef::Closed(_)), "{text} of {address}: {decision:?}");
                        assert!(!decision.allowed, "{text} of {address}");
                    }
                }
                Ok(Host::Name(name)) => panic!("{text} of {address} would be resolved as {name}"),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(forms >= 400 && refused >= 200, "{forms} {refused}");
}

/// The ends of every closed network.
fn closed_addresses() -> impl Iterator<Item = IpAddr> {
    CLOSED.iter().flat_map(|closed| {
        let (first, prefix) = (closed.network.address(), u32::from(closed.network.prefix()));
        let last = match first {
            IpAddr::V4(v4) => IpAddr::from((v4.to_bits() | u32::MAX.checked_shr(prefix).unwrap_or(0)).to_be_bytes()),
            IpAddr::V6(v6) => IpAddr::from((v6.to_bits() | u128::MAX.checked_shr(prefix).unwrap_or(0)).to_be_bytes()),
        };
        [first, last]
    })
}

fn scoped(lines: &[&str], scope: &[&str]) -> Grant {
    Grant { reverse: rules(&["allow 127.0.0.0/8"]), scope: Some(rules(scope)), ..Grant::new(rules(lines)) }
}

#[test]
fn t02_a_scope_narrows_what_the_rules_allow_and_opens_nothing() {
    let lines = ["deny 10.0.0.7", "allow 10.0.0.0/8", "allow *.example:53"];
    let own = Own::default();
    let ask = |scope: &[&str], name, to: &str| {
        scoped(&lines, scope).decide(now(), &Destination { name, address: to.parse().unwrap() }, &own)
    };
    assert_eq!(ask(&["10.0.0.0/24"], None, "10.0.0.1:53"), yes(1));
    assert_eq!(ask(&["*:53"], None, "10.0.0.1:53"), yes(1), "what is closed is for the rules to open");
    assert_eq!(ask(&["*.example"], Some("dns.example"), "8.8.8.8:53"), yes(2));
    assert_eq!(ask(&["10.0.0.0/24"], None, "10.0.1.1:53"), Decision::no(RuleRef::OutOfScope));
    assert_eq!(ask(&["deny 10.0.0.2", "*"], None, "10.0.0.2:53"), Decision::no(RuleRef::Scope(0)));
    assert_eq!(ask(&["*", "deny 10.0.0.2"], None, "10.0.0.2:53"), yes(1));
    assert_eq!(ask(&[], None, "10.0.0.1:53"), Decision::no(RuleRef::OutOfScope), "an empty one leaves nothing");
    assert_eq!(ask(&["10.0.0.7", "9.9.9.9", "*"], None, "10.0.0.7:53"), no(0));
    assert_eq!(ask(&["10.0.0.7", "9.9.9.9", "*"], None, "9.9.9.9:53"), Decision::no(RuleRef::Default));
    assert!(is_closed(ask(&["192.168.0.0/16"], None, "192.168.0.1:53"), "192.168.0.0/16"));
}

#[test]
fn t02_a_scope_holds_for_every_form_of_an_address_and_for_listening() {
    let inside = "[2002:a00:1::1]:53";
    let grant = |scope: &[&str]| scoped(&["2002::/16", "10.0.0.0/8"], scope);
    let ask =
        |grant: Grant| grant.decide(now(), &Destination::from(inside.parse::<SocketAddr>().unwrap()), &Own::default());
    assert_eq!(ask(grant(&["*"])), yes(0));
    assert_eq!(ask(grant(&["2002::/16"])), Decision::no(RuleRef::OutOfScope));
    assert_eq!(ask(grant(&["deny 10.0.0.1", "*"])), Decision::no(RuleRef::Scope(0)));
    let listen = |scope: &[&str], at: &str| scoped(&[], scope).decide_bind(now(), at.parse().unwrap());
    assert_eq!(listen(&["127.0.0.1:53"], "127.0.0.1:53"), yes(0));
    assert_eq!(listen(&["127.0.0.1:53"], "127.0.0.1:54"), Decision::no(RuleRef::OutOfScope));
    assert_eq!(listen(&["deny *:53", "*"], "127.0.0.1:53"), Decision::no(RuleRef::Scope(0)));
    assert_eq!(listen(&["*"], "10.0.0.1:53"), Decision::no(RuleRef::Default));
    let anywhere = Grant { reverse: Rules::open(), ..scoped(&[], &["deny 10.0.0.1", "*"]) };
    let decision = anywhere.decide_bind(now(), "0.0.0.0:53".parse().unwrap());
    assert_eq!(decision, Decision::no(RuleRef::Scope(0)), "listening everywhere is listening there, too");
}

#[test]
fn each_form_of_an_address_is_told_with_what_decides_on_it() {
    let (grant, own) = (Grant::new(rules(&["2002::/16"])), Own::default());
    let to = Destination::from("[2002:a00:1::1]:53".parse::<SocketAddr>().unwrap());
    let told: Vec<_> = grant.judgements(&to, &own).collect();
    let [(first, allowed), (second, closed)] = told[..] else { panic!("{told:?}") };
    assert_eq!((first, allowed), (to.address.ip(), yes(0)));
    assert!(second == IpAddr::from([10, 0, 0, 1]) && is_closed(closed, "10.0.0.0/8"), "{closed:?}");
    assert_eq!(grant.decide(now(), &to, &own), closed);
}

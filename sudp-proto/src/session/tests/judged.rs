//! What is told of decisions: each flow that was judged, once, with the rule that did.

use std::net::SocketAddr;
use std::sync::Arc;

use super::pair::{Pair, TUNNEL, source};
use crate::access::{Classes, Decision, Grant, Own, RuleRef, Rules};
use crate::event::Event;
use crate::session::{Access, Role};
use crate::testing::{ms, secs};
use crate::wire::{Address, FlowId, Host};

/// The server has rules of some version from now on.
fn regrant(pair: &mut Pair, version: u64, rules: &[&str]) {
    let grant = Grant { version, ..Grant::new(Rules::parse(rules.iter().copied()).unwrap()) };
    pair.server.regrant(pair.now, Access { grant, own: Arc::new(Own::default()) });
    pair.drain();
    pair.run(secs(1));
}

fn open(pair: &mut Pair, to: &Address) -> FlowId {
    let flow = pair.client.open_flow(pair.now, TUNNEL, None, Some(to.clone())).unwrap();
    send(pair, flow, None);
    flow
}

fn send(pair: &mut Pair, flow: FlowId, to: Option<&Address>) {
    pair.client.send(pair.now, flow, to, b"datagram").unwrap();
    pair.drain();
    pair.run(ms(100));
}

/// What the server has told of decisions since this was last asked, and whether somebody else has.
fn told(pair: &mut Pair) -> Vec<(FlowId, String, Option<SocketAddr>, Decision, u64)> {
    let events = std::mem::take(&mut pair.events).into_iter();
    let judged = events.filter_map(|(role, event)| {
        let Event::FlowJudged { flow, to, at, decision, version } = event else { return None };
        assert_eq!(role, Role::Server, "a client asks nobody");
        Some((flow, to.to_string(), at, decision, version))
    });
    judged.collect()
}

const fn by(allowed: bool, index: usize) -> Decision {
    Decision { allowed, rule: RuleRef::Rule(index) }
}

fn named(name: &str) -> Address {
    Address { host: Host::Name(name.into()), port: 53 }
}

#[test]
fn a_flow_is_judged_when_it_is_opened_and_when_another_grant_ends_it() {
    let mut pair = Pair::new();
    pair.connect();
    regrant(&mut pair, 3, &["deny 127.0.0.1:8", "allow 127.0.0.1"]);
    told(&mut pair);
    let (allowed, denied) = (source(9), source(8));
    let flow = open(&mut pair, &allowed.into());
    send(&mut pair, flow, None);
    assert_eq!(told(&mut pair), [(flow, allowed.to_string(), Some(allowed), by(true, 1), 3)], "once");
    let refused = open(&mut pair, &denied.into());
    assert_eq!(told(&mut pair), [(refused, denied.to_string(), Some(denied), by(false, 0), 3)]);
    regrant(&mut pair, 4, &["allow 127.0.0.1"]);
    assert_eq!(told(&mut pair), [], "nothing has changed for what is open");
    regrant(&mut pair, 5, &["allow 127.0.0.1:8", "allow 127.0.0.2", "deny *"]);
    assert_eq!(told(&mut pair), [(flow, allowed.to_string(), Some(allowed), by(false, 2), 5)]);
}

#[test]
fn of_further_destinations_of_a_flow_each_that_is_denied_is_told() {
    let mut pair = Pair::new();
    pair.connect();
    regrant(&mut pair, 1, &["deny 127.0.0.1:10", "allow 127.0.0.1"]);
    let flow = open(&mut pair, &source(9).into());
    told(&mut pair);
    for port in [10, 10, 11] {
        send(&mut pair, flow, Some(&source(port).into()));
    }
    assert_eq!(told(&mut pair), [(flow, source(10).to_string(), Some(source(10)), by(false, 0), 1)]);
}

#[test]
fn a_name_is_told_with_the_address_that_decided() {
    let mut pair = Pair::new();
    pair.connect();
    regrant(&mut pair, 1, &["allow 192.0.2.0/24"]);
    let [closed, test] = ["127.0.0.1:53", "192.0.2.7:53"].map(|at| at.parse().unwrap());
    let good = open(&mut pair, &named("good.example"));
    let bad = open(&mut pair, &named("bad.example"));
    let none = open(&mut pair, &named("none.example"));
    assert_eq!(told(&mut pair), [], "nobody knows yet where these lead");
    pair.server.handle_resolved(pair.now, good, "good.example", 53, &[closed, test]);
    pair.server.handle_resolved(pair.now, bad, "bad.example", 53, &[closed, closed]);
    pair.server.handle_resolved(pair.now, none, "none.example", 53, &[]);
    pair.drain();
    let told = told(&mut pair);
    assert_eq!(told[0], (good, "good.example:53".into(), Some(test), by(true, 0), 1));
    let (flow, to, at, decision, _) = &told[1];
    assert_eq!((*flow, &**to, *at, decision.allowed), (bad, "bad.example:53", Some(closed), false));
    assert!(matches!(decision.rule, RuleRef::Closed(_)), "{decision:?}");
    assert_eq!(told.len(), 2, "what leads nowhere was not judged");
}

#[test]
fn a_class_that_is_not_granted_is_told_without_an_address() {
    let mut pair = Pair::new();
    pair.connect();
    let classes = Classes { reliable: false, realtime: true };
    let grant = Grant { classes, ..Grant::open() };
    pair.server.regrant(pair.now, Access { grant, own: Arc::new(Own::default()) });
    let flow = open(&mut pair, &source(9).into());
    let decision = Decision { allowed: false, rule: RuleRef::Treatment };
    assert_eq!(told(&mut pair), [(flow, source(9).to_string(), None, decision, 0)]);
}

//! The choke point: what the remote may open, where its datagrams may go, and what is dropped under which name.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::hostile::{controls, data, outcome, records, used};
use super::pair::{Pair, TUNNEL, source};
use crate::access::{Allowance, Classes, Grant, Own, Rate, Rates, Rules};
use crate::config::Limits;
use crate::event::Event;
use crate::session::{Access, InDoubt, Need, Role, SendError, Session, Setup, Treatment, Tunnel, Way};
use crate::stats::DropReason;
use crate::testing::{ms, secs};
use crate::wire::{Address, Class, Code, Control, FlowId, Host, TunnelId, batch};
use crate::{Rng, Seed};

fn access(grant: Grant) -> Access {
    Access { grant, own: Arc::new(Own::default()) }
}

fn named(name: &str) -> Address {
    Address { host: Host::Name(name.into()), port: 53 }
}

/// The client sends on a flow that it opened by hand, to the flow's own destination or another.
fn send(pair: &mut Pair, flow: FlowId, to: Option<&Address>, payload: &[u8]) {
    pair.client.send(pair.now, flow, to, payload).unwrap();
    pair.drain();
    pair.run(ms(100));
}

/// A pair with a flow to `to`, which has carried one datagram.
fn flow_to(to: Address) -> (Pair, FlowId) {
    let mut pair = Pair::new();
    pair.connect();
    let flow = pair.client.open_flow(pair.now, TUNNEL, None, Some(to)).unwrap();
    send(&mut pair, flow, None, b"first");
    (pair, flow)
}

fn payloads(pair: &Pair) -> Vec<&[u8]> {
    pair.served.iter().map(|(_, payload)| &payload[..]).collect()
}

fn refused(pair: &Pair, flow: FlowId, reason: DropReason) -> u64 {
    pair.server.books(flow).unwrap().refused[reason]
}

fn resolves(pair: &Pair) -> usize {
    pair.needs.iter().filter(|(_, need)| matches!(need, Need::Resolve { .. })).count()
}

#[test]
fn datagrams_wait_for_their_name_and_for_no_other() {
    let (mut pair, flow) = flow_to(named("one.example"));
    send(&mut pair, flow, Some(&named("two.example")), b"second");
    assert_eq!((resolves(&pair), pair.served.len()), (2, 0));

    pair.server.handle_resolved(pair.now, flow, "two.example", 54, &[source(1)]);
    pair.server.handle_resolved(pair.now, flow, "three.example", 53, &[source(1)]);
    pair.drain();
    assert_eq!(pair.served.len(), 0, "nobody asked for these");
    pair.server.handle_resolved(pair.now, flow, "two.example", 53, &[source(1)]);
    pair.drain();
    assert_eq!(payloads(&pair), [b"second"]);
    pair.server.handle_resolved(pair.now, flow, "one.example", 53, &[source(2)]);
    pair.drain();
    assert_eq!(payloads(&pair), [&b"second"[..], b"first"]);
    let sockets = pair.needs.iter().filter(|(_, need)| *need == Need::Socket { flow, to: source(53) });
    assert_eq!(sockets.count(), 1, "one socket serves every destination, at the port that was asked for");
}

#[test]
fn the_first_answer_that_is_allowed_is_used() {
    let mut pair = Pair::new();
    pair.connect();
    let rules = Rules::parse(["allow 192.0.2.7:53"]).unwrap();
    pair.server.regrant(pair.now, access(Grant::new(rules)));
    let flow = pair.client.open_flow(pair.now, TUNNEL, None, Some(named("one.example"))).unwrap();
    send(&mut pair, flow, None, b"first");
    let answers = ["198.51.100.1:53", "192.0.2.7:53", "192.0.2.8:53"].map(|at| at.parse().unwrap());
    pair.server.handle_resolved(pair.now, flow, "one.example", 53, &answers);
    pair.drain();
    assert!(pair.needs.contains(&(Role::Server, Need::Socket { flow, to: answers[1] })));
}

#[test]
fn a_name_without_an_address_that_is_allowed_ends_the_flow_it_was_opened_for() {
    for (rules, answers, code) in
        [(Rules::open(), vec![], Code::Unreachable), (Rules::default(), vec![source(1)], Code::Denied)]
    {
        let (mut pair, flow) = flow_to(named("one.example"));
        pair.server.regrant(pair.now, access(Grant::new(rules)));
        pair.server.handle_resolved(pair.now, flow, "one.example", 53, &answers);
        pair.drain();
        pair.run(secs(1));
        assert!(pair.events.contains(&(Role::Client, Event::FlowClosed { flow, code })), "{code:?}");
        assert_eq!((pair.served.len(), pair.server.flows().count()), (0, 0));
    }
}

#[test]
fn another_destination_that_is_denied_costs_its_own_datagrams_alone() {
    let (mut pair, flow) = flow_to(Address::from(source(9)));
    let rules = Rules::parse(["allow 127.0.0.0/8:9"]).unwrap();
    pair.server.regrant(pair.now, access(Grant::new(rules)));
    for payload in [b"a", b"b"] {
        send(&mut pair, flow, Some(&Address::from(source(10))), payload);
    }
    send(&mut pair, flow, Some(&named("two.example")), b"c");
    pair.server.handle_resolved(pair.now, flow, "two.example", 53, &[source(1)]);
    send(&mut pair, flow, None, b"last");
    assert_eq!(payloads(&pair), [&b"first"[..], b"last"]);
    assert_eq!(refused(&pair, flow, DropReason::Denied), 3);
}

#[test]
fn a_new_grant_ends_the_flow_to_a_name_it_does_not_allow() {
    let (mut pair, flow) = flow_to(named("one.example"));
    pair.server.handle_resolved(pair.now, flow, "one.example", 53, &[source(1)]);
    let by_name = ["allow one.example:53", "allow 127.0.0.0/8:53"];
    for (rules, flows) in [(Rules::parse(by_name).unwrap(), 1), (Rules::default(), 0)] {
        pair.server.regrant(pair.now, access(Grant::new(rules)));
        pair.drain();
        pair.run(secs(1));
        assert_eq!(pair.server.flows().count(), flows);
    }
    assert!(pair.events.contains(&(Role::Client, Event::FlowClosed { flow, code: Code::Denied })));
}

#[test]
fn a_new_grant_ends_the_flows_whose_class_or_copies_it_does_not_allow() {
    let narrow = |change: fn(&mut Grant)| {
        let mut grant = Grant::open();
        change(&mut grant);
        grant
    };
    let no_realtime = narrow(|grant| grant.classes.realtime = false);
    let one_copy = narrow(|grant| grant.copies = 1);
    for (grant, class, copies) in [(no_realtime, Class::Realtime, 1), (one_copy, Class::Reliable, 2)] {
        let mut pair = Pair::with(Treatment::default(), Limits { links: 3, ..Limits::default() });
        let asked = Tunnel {
            treatment: Treatment { class, copies, ..Treatment::default() },
            ..Tunnel::new(Way::Forward { listen: None, to: Some(Address::from(source(9))) })
        };
        pair.client.add_tunnel(TunnelId(2), asked.clone()).unwrap();
        let listens = Way::Reverse { listen: source(53), to: Address::from(source(9)) };
        pair.client.add_tunnel(TunnelId(3), Tunnel { way: listens, ..asked }).unwrap();
        pair.connect();
        pair.run(ms(100));
        let plain = pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), b"plain").unwrap();
        let special = pair.client.handle_datagram(pair.now, TunnelId(2), source(4_000), b"special").unwrap();
        let back = pair.server.handle_datagram(pair.now, TunnelId(3), source(7_000), b"back").unwrap();
        pair.drain();
        pair.run(ms(100));
        assert_eq!((pair.served.len(), pair.answered.len()), (2, 1), "all three are allowed at first");
        assert_eq!(pair.client.listening(TunnelId(3)), Some(Ok(source(53))));

        pair.server.regrant(pair.now, access(grant));
        pair.drain();
        pair.run(secs(1));
        assert_eq!(pair.server.flows().collect::<Vec<_>>(), [plain], "{class:?} on {copies}");
        assert!(pair.events.contains(&(Role::Client, Event::FlowClosed { flow: special, code: Code::Denied })));
        assert_eq!(pair.count(|event| matches!(event, Event::FlowClosed { flow, .. } if *flow == back)), 2);
        assert_eq!(pair.client.listening(TunnelId(3)), Some(Err(Code::Denied)));
        pair.send(4_000, b"plain goes on");
        pair.run(ms(100));
        assert_eq!(pair.served.len(), 3);
    }
}

#[test]
fn a_grant_for_a_session_that_is_over_changes_nothing() {
    let (mut pair, _) = used(Limits::default());
    pair.server.close(pair.now, Code::Done);
    pair.drain();
    let before = pair.server.report();
    pair.server.regrant(pair.now, access(Grant::new(Rules::default())));
    pair.drain();
    assert_eq!(pair.server.report(), before);
}

#[test]
fn answers_of_several_destinations_say_where_they_come_from() {
    let (mut pair, flow) = flow_to(Address::from(source(9)));
    send(&mut pair, flow, Some(&Address::from(source(10))), b"second");
    pair.server.handle_answer(pair.now, flow, source(10), b"answer").unwrap();
    let ordinal = pair.links[0].ordinal;
    let message = pair.server.poll_message(pair.now, ordinal, 65_536).unwrap().to_bytes();
    pair.client.handle_message(pair.now, ordinal, message);
    let from: Vec<_> = pair.client.inbox(flow).map(|inbound| inbound.address).collect();
    assert_eq!(from, [Some(source(10))]);
}

#[test]
fn an_answer_that_names_a_host_is_delivered_without_one() {
    let (mut pair, link) = used(Limits::default());
    let mut body = Vec::new();
    batch::emit_record(&mut body, FlowId(1), Some(&named("one.example")), None, b"answer");
    let now = pair.now;
    let mut message = Vec::new();
    records(100, Class::Reliable, body).emit(&mut message);
    pair.client.handle_message(now, link, message.into());
    let inbox: Vec<_> = pair.client.inbox(FlowId(1)).map(|it| (it.address, it.payload.clone())).collect();
    assert_eq!(inbox, [(None, Bytes::from_static(b"answer"))]);
}

#[test]
fn what_a_grant_does_not_allow_of_a_flow_is_refused_whatever_its_destination() {
    let classes = Classes { realtime: false, ..Classes::default() };
    let (class, copies) = (Class::Realtime, 2);
    for (grant, treatment) in [
        (Grant { classes, ..Grant::open() }, Treatment { class, ..Treatment::default() }),
        (Grant { copies: 1, ..Grant::open() }, Treatment { copies, ..Treatment::default() }),
    ] {
        for (grant, served) in [(grant, 0), (Grant::open(), 1)] {
            let mut pair = Pair::with(treatment, Limits { links: 2, ..Limits::default() });
            pair.connect();
            pair.server.regrant(pair.now, access(grant));
            pair.send(4_000, b"data");
            pair.run(secs(1));
            assert_eq!(pair.served.len(), served, "{treatment:?}");
            assert_eq!(pair.server.flows().count(), served, "{treatment:?}");
        }
    }
}

#[test]
fn flows_beyond_those_granted_are_refused_and_the_others_go_on() {
    let mut pair = Pair::new();
    pair.connect();
    pair.server.regrant(pair.now, access(Grant { flows: 1, ..Grant::open() }));
    pair.send(4_000, b"first");
    pair.send(4_001, b"second");
    pair.run(secs(1));
    pair.send(4_000, b"third");
    pair.run(secs(1));
    assert_eq!(payloads(&pair), [&b"first"[..], b"third"]);
    let full = |event: &Event| matches!(event, Event::FlowClosed { code: Code::Full, .. });
    assert_eq!(pair.events.iter().filter(|(role, event)| *role == Role::Client && full(event)).count(), 1);
}

#[test]
fn datagrams_above_the_rate_of_a_flow_are_dropped_and_counted() {
    let mut pair = Pair::new();
    pair.connect();
    let rates = Rates { datagrams: Some(Rate { per_second: 1, burst: 2 }), bytes: None };
    pair.server.regrant(pair.now, access(Grant { flow_rates: rates, ..Grant::open() }));
    for _ in 0..5 {
        pair.send(4_000, b"data");
    }
    pair.run(ms(500));
    let flow = pair.server.flows().next().unwrap();
    assert_eq!((pair.served.len(), refused(&pair, flow, DropReason::Rate)), (2, 3));
    pair.run(secs(1));
    pair.send(4_000, b"data");
    pair.run(ms(500));
    assert_eq!((pair.served.len(), refused(&pair, flow, DropReason::Rate)), (3, 3));
}

#[test]
fn what_a_flow_may_not_send_does_not_use_up_what_its_session_may() {
    let mut pair = Pair::new();
    let rate = |burst| Rates { datagrams: Some(Rate { per_second: 1, burst }), bytes: None };
    let grant = Grant { rates: rate(10), flow_rates: rate(2), ..Grant::open() };
    let setup = Setup { access: Some(access(grant)), ..pair.setup(Role::Server) };
    pair.server = Session::new(pair.now, Role::Server, setup);
    pair.connect();
    for _ in 0..100 {
        pair.send(4_000, b"greedy");
    }
    pair.run(ms(100));
    pair.send(4_001, b"modest");
    pair.run(ms(100));
    assert_eq!(payloads(&pair), [&b"greedy"[..], b"greedy", b"modest"]);
}

#[test]
fn the_rates_of_a_new_grant_hold_at_once_for_the_session_and_its_flows() {
    let rates = Rates { datagrams: Some(Rate { per_second: 1, burst: 2 }), bytes: None };
    for grant in [Grant { rates, ..Grant::open() }, Grant { flow_rates: rates, ..Grant::open() }] {
        let (mut pair, flow) = flow_to(Address::from(source(9)));
        pair.server.regrant(pair.now, access(grant));
        for _ in 0..5 {
            send(&mut pair, flow, None, b"data");
        }
        assert_eq!((pair.served.len(), refused(&pair, flow, DropReason::Rate)), (3, 3));
        pair.server.regrant(pair.now, access(Grant::open()));
        send(&mut pair, flow, None, b"data");
        assert_eq!(pair.served.len(), 4);
    }
}

#[test]
fn a_control_of_a_newer_version_that_may_be_skipped_is() {
    let (mut pair, link) = used(Limits::default());
    pair.inject(Role::Server, link, &[controls(100, &[Control::Skipped]), data(101, 1)]);
    assert_eq!(outcome(&pair, Role::Server), super::hostile::Outcome::Lives);
    assert_eq!(pair.served.len(), 2);
}

#[test]
fn a_socket_that_fails_twice_ends_its_flow_once() {
    let (mut pair, flow) = flow_to(Address::from(source(9)));
    for _ in 0..2 {
        pair.server.handle_socket(pair.now, flow, Err(Code::Unreachable));
    }
    pair.drain();
    pair.run(secs(1));
    assert_eq!(pair.server.flows().count(), 0);
    let ends = Event::FlowClosed { flow, code: Code::Unreachable };
    assert_eq!(pair.events.iter().filter(|(role, event)| *role == Role::Client && *event == ends).count(), 1);
    assert!(!pair.needs.contains(&(Role::Server, Need::CloseSocket(flow))), "there was none to close");
}

#[test]
fn nothing_is_delivered_on_a_flow_that_was_refused() {
    let (mut pair, flow) = flow_to(Address::from(source(9)));
    let link = pair.links[0].ordinal;
    pair.server.handle_socket(pair.now, flow, Err(Code::Unreachable));
    pair.inject(Role::Server, link, &[data(100, flow.0)]);
    assert_eq!((pair.served.len(), refused(&pair, flow, DropReason::Closed)), (1, 1));
}

/// Two sessions of one principal, with this grant.
fn pairs(grant: &Grant) -> ([Pair; 2], Allowance) {
    let shared = Allowance::default();
    let pairs = [(); 2].map(|()| {
        let mut pair = Pair::new();
        let setup = Setup { access: Some(access(grant.clone())), ..pair.setup(Role::Server) };
        pair.server = Session::new(pair.now, Role::Server, setup);
        pair.server.share(shared.clone());
        pair.connect();
        pair
    });
    (pairs, shared)
}

#[test]
fn t32_flows_are_counted_over_all_sessions_of_a_principal_and_come_back_when_they_end() {
    let ([mut one, mut other], shared) = pairs(&Grant { flows: 3, ..Grant::open() });
    for port in [4_000, 4_001] {
        one.send(port, b"one");
        other.send(port, b"other");
    }
    one.run(secs(1));
    other.run(secs(1));
    assert_eq!((one.served.len() + other.served.len(), shared.flows()), (3, 3));
    drop(one);
    assert_eq!(shared.flows(), 1, "a session that ends takes none with it");
    for port in [4_002, 4_003, 4_004] {
        other.send(port, b"later");
        other.run(secs(1));
    }
    assert_eq!((other.served.len(), shared.flows()), (3, 3));
    other.run(secs(400));
    assert_eq!((other.server.flow_count(), shared.flows()), (0, 0), "idle ones make room");
}

#[test]
fn t32_a_reverse_tunnel_begins_no_more_flows_than_are_granted() {
    let ([mut one, mut other], shared) = pairs(&Grant { flows: 2, ..Grant::open() });
    let tunnel = TunnelId(2);
    let way = Way::Reverse { listen: source(53), to: Address::from(source(9)) };
    one.client.add_tunnel(tunnel, Tunnel { way, treatment: Treatment::default(), in_doubt: InDoubt::Drop }).unwrap();
    one.drain();
    one.run(ms(200));
    other.send(4_000, b"forward");
    other.run(ms(200));
    let now = one.now;
    assert!(one.server.handle_datagram(now, tunnel, source(7_000), b"in").is_ok());
    let full = one.server.handle_datagram(now, tunnel, source(7_001), b"in");
    assert_eq!(full, Err(SendError::Full { limit: 2 }));
    assert_eq!(shared.flows(), 2);
}

#[test]
fn t32_rates_are_kept_over_all_sessions_of_a_principal() {
    let rates = Rates { datagrams: Some(Rate { per_second: 1, burst: 6 }), bytes: None };
    let ([mut one, mut other], _) = pairs(&Grant { rates, ..Grant::open() });
    for _ in 0..5 {
        one.send(4_000, b"one");
    }
    one.run(ms(100));
    for _ in 0..5 {
        other.send(4_000, b"other");
    }
    other.run(ms(100));
    assert_eq!((one.served.len(), other.served.len()), (5, 1));
}

#[test]
fn a_thawed_session_counts_its_flows_anew_and_the_refused_ones_do_not() {
    let ([mut one, _], shared) = pairs(&Grant { flows: 1, ..Grant::open() });
    one.send(4_000, b"first");
    one.run(secs(1));
    one.restart(Role::Server, secs(1));
    assert_eq!(shared.flows(), 0, "a frozen session has none");
    one.server.share(shared.clone());
    assert_eq!(shared.flows(), 1);
}

#[test]
fn t25_of_ten_thousand_answers_to_names_none_leads_where_it_may_not() {
    const POOL: [(&str, bool); 8] = [
        ("8.8.8.8:53", true),
        ("10.1.2.3:53", true),
        ("9.9.9.9:53", false),
        ("127.0.0.1:53", false),
        ("[::ffff:127.0.0.1]:53", false),
        ("[fe80::1]:53", false),
        ("169.254.169.254:53", false),
        ("224.0.0.1:53", false),
    ];
    let (mut pair, flow) = flow_to(Address::from(source(9)));
    let rules = Rules::parse(["127.0.0.1:9", "deny 9.9.9.9", "10.0.0.0/8", "*.example", "*"]).unwrap();
    pair.server.regrant(pair.now, access(Grant::new(rules)));
    let (mut rng, mut expected) = (Rng::new(&Seed::from(25)), 0);
    pair.served.clear();
    for round in 0..10_000 {
        // Old names come again, and mean something else by then.
        let name = format!("n{}.example", round % 100);
        let to = named(&name);
        pair.client.send(pair.now, flow, Some(&to), b"data").unwrap();
        pair.drain();
        pair.run(ms(60));
        let asked = pair.needs.drain(..).any(|(_, need)| matches!(need, Need::Resolve { .. }));
        assert!(asked, "{name} is looked up, for it was forgotten long ago");
        let answers: Vec<_> = (0..rng.u64() % 4).map(|_| POOL[usize::try_from(rng.u64() % 8).unwrap()]).collect();
        let first = answers.iter().find(|(_, allowed)| *allowed).map(|(at, _)| at.parse().unwrap());
        let addresses: Vec<SocketAddr> = answers.iter().map(|(at, _)| at.parse().unwrap()).collect();
        pair.server.handle_resolved(pair.now, flow, &name, 53, &addresses);
        let went: Vec<_> = pair.server.inbox(flow).map(|inbound| inbound.address.unwrap()).collect();
        assert_eq!(went, first.into_iter().collect::<Vec<SocketAddr>>(), "{answers:?}");
        expected += went.len();
        pair.drain();
    }
    assert!(expected > 2_000 && pair.served.len() == expected, "{expected}");
}

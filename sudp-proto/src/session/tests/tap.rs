//! What a tap sees: every datagram, whatever becomes of it, and nothing when it is off.

use std::collections::BTreeMap;

use super::pair::{Fate as Path, Pair, TUNNEL, source};
use crate::config::Limits;
use crate::session::{Fate, Heading, Role, Session, TapOptions, TapRecord, Treatment, Tunnel, Way};
use crate::stats::{DropReason, Drops};
use crate::testing::{ms, secs};
use crate::wire::{Address, Class, TunnelId};

fn tapped(mut pair: Pair) -> Pair {
    for role in [Role::Client, Role::Server] {
        let now = pair.now;
        pair.half(role).tap(now, TapOptions { records: usize::MAX, bytes: usize::MAX, ..TapOptions::default() });
    }
    pair
}

fn seen(half: &mut Session) -> Vec<TapRecord> {
    std::iter::from_fn(|| half.poll_record()).collect()
}

/// What a tap saw is what the session counted, datagram by datagram and reason by reason.
#[track_caller]
fn agrees(half: &mut Session, records: &[TapRecord]) {
    let (mut out, mut back) = (Drops::default(), Drops::default());
    let (mut taken, mut delivered, mut bytes) = (0, 0, (0, 0));
    for record in records {
        match (record.heading, record.fate) {
            (Heading::Out, Fate::Taken) => (taken, bytes.0) = (taken + 1, bytes.0 + record.size as u64),
            (Heading::In, Fate::Delivered) => (delivered, bytes.1) = (delivered + 1, bytes.1 + record.size as u64),
            (Heading::Out, Fate::Dropped(reason)) => out.add(reason, 1),
            (Heading::In, Fate::Dropped(reason)) => back.add(reason, 1),
            (_, fate) => panic!("{fate:?} is not a fate of this way"),
        }
    }
    let counters = half.counters();
    let mut counted = counters.dropped_out;
    counted.add(DropReason::InDoubt, counters.in_doubt);
    assert_eq!((out, back), (counted, counters.dropped_in), "{:?}", half.role());
    assert_eq!((delivered, bytes), (counters.delivered, (counters.bytes_out, counters.bytes_in)));
    assert!(taken <= counters.accepted);
}

#[test]
fn a_datagram_is_seen_where_it_is_taken_and_where_it_is_delivered() {
    let mut pair = tapped(Pair::new());
    pair.echo = true;
    pair.connect();
    let (began, now) = (pair.now, pair.now);
    pair.client.tap(now, TapOptions { snap: 4, ..TapOptions::default() });
    pair.send(4_000, b"question");
    pair.run(ms(200));
    let flow = pair.client.flows().next();
    let (near, far) = (Some(Address::from(source(4_000))), Some(Address::from(source(9))));
    let [here, there] = [Role::Client, Role::Server].map(|role| seen(pair.half(role)));
    for (records, ways) in [
        (&here, [(Heading::Out, Fate::Taken), (Heading::In, Fate::Delivered)]),
        (&there, [(Heading::In, Fate::Delivered), (Heading::Out, Fate::Taken)]),
    ] {
        assert_eq!(records.iter().map(|record| (record.heading, record.fate)).collect::<Vec<_>>(), ways);
        for record in records {
            assert_eq!((record.flow, record.tunnel, record.size, record.missed), (flow, Some(TUNNEL), 8, 0));
        }
        let [question, answer] = &records[..] else { unreachable!("there are two") };
        assert_eq!((&question.source, &question.destination), (&near, &far));
        assert_eq!((&answer.source, &answer.destination), (&far, &near));
    }
    assert_eq!(here.iter().map(|record| &record.payload[..]).collect::<Vec<_>>(), [b"ques", b"ques"], "as asked for");
    assert_eq!(there.iter().map(|record| &record.payload[..]).collect::<Vec<_>>(), [b"question", b"question"]);
    let hops = [&here[0], &there[0], &there[1], &here[1]].map(|record| record.at - began);
    assert_eq!(hops, [ms(0), ms(25), ms(25), ms(50)]);
}

#[test]
fn a_datagram_that_waits_too_long_is_seen_to_be_dropped_and_why() {
    let mut pair = tapped(Pair::with(
        Treatment { class: Class::Realtime, ..Treatment::default() },
        Limits { links: 3, ..Limits::default() },
    ));
    pair.connect();
    pair.run(ms(100));
    pair.hang_up(Role::Client);
    let began = pair.now;
    pair.send(4_000, b"stale");
    pair.run(secs(1));
    let records = seen(&mut pair.client);
    let [taken, dropped] = &records[..] else { panic!("{records:?}") };
    assert_eq!((taken.fate, dropped.fate), (Fate::Taken, Fate::Dropped(DropReason::Age)));
    assert_eq!((dropped.heading, dropped.size, &dropped.payload[..]), (Heading::Out, 5, &b"stale"[..]));
    assert_eq!((&dropped.source, &dropped.destination), (&taken.source, &taken.destination));
    assert_eq!(dropped.at - began, Limits::default().realtime_age);
}

#[test]
fn every_datagram_is_seen_once_whatever_becomes_of_it() {
    let limits = Limits { links: 3, queue: 20_000, hold: 4, ..Limits::default() };
    let mut pair = tapped(Pair::with(Treatment::default(), limits));
    pair.echo = true;
    let named: Address = "one.example:53".parse().unwrap();
    let (brief, lookup) = (TunnelId(2), TunnelId(3));
    let treatment = Treatment { class: Class::Realtime, ..Treatment::default() };
    let way = Way::Forward { listen: None, to: Some(Address::from(source(9))) };
    pair.client.add_tunnel(brief, Tunnel { treatment, ..Tunnel::new(way) }).unwrap();
    pair.client.add_tunnel(lookup, Tunnel::new(Way::Forward { listen: None, to: Some(named) })).unwrap();

    let now = pair.now;
    let offer = |pair: &mut Pair, tunnel, port, size: usize| {
        let _ = pair.client.handle_datagram(pair.now, tunnel, source(port), &vec![7; size]);
    };
    // Before there is a link: more than fits, and some that wait too long.
    for number in 0..60 {
        offer(&mut pair, TUNNEL, 4_000 + number % 3, 900);
        offer(&mut pair, brief, 5_000, 100);
    }
    pair.run(secs(1));
    // One that is too large, one of no tunnel.
    offer(&mut pair, TUNNEL, 4_000, 65_508);
    offer(&mut pair, TunnelId(9), 4_000, 10);
    let link = pair.connect();
    pair.run(secs(1));
    // Names that are not found, with more waiting for them than may.
    for _ in 0..9 {
        offer(&mut pair, lookup, 6_000, 50);
    }
    pair.drain();
    pair.run(ms(100));
    let flow = pair.server.flows().max().unwrap();
    let then = pair.now;
    pair.server.handle_resolved(then, flow, "one.example", 53, &[]);
    pair.drain();
    pair.run(ms(200));
    offer(&mut pair, lookup, 6_000, 50);
    // What was under way when a path went dead, some of it too old when another came.
    pair.path(link).fate = Path::Hanging;
    for _ in 0..5 {
        offer(&mut pair, brief, 5_000, 100);
        offer(&mut pair, TUNNEL, 4_000, 100);
        pair.drain();
    }
    pair.run(ms(400));
    pair.cut(link);
    let second = pair.connect();
    pair.run(secs(1));
    // A flow that is cut with something queued, at either end, and one that nobody knows any more.
    pair.cut(second);
    for port in [4_000, 4_001] {
        offer(&mut pair, TUNNEL, port, 300);
    }
    let flows: Vec<_> = pair.client.flows().collect();
    let cut = pair.now;
    pair.client.cut_flow(cut, flows[0]);
    pair.server.cut_flow(cut, flows[1]);
    pair.drain();
    let third = pair.connect();
    pair.run(secs(2));
    // And the server is lost with something under way.
    pair.path(third).fate = Path::Hanging;
    offer(&mut pair, TUNNEL, 4_000, 100);
    pair.drain();
    let lost = pair.now;
    pair.client.lose(lost, crate::wire::Code::UnknownSession);
    pair.client.close(lost, crate::wire::Code::Done);
    pair.server.close(lost, crate::wire::Code::Done);

    let mut reasons = BTreeMap::new();
    for role in [Role::Client, Role::Server] {
        let records = seen(pair.half(role));
        agrees(pair.half(role), &records);
        assert!(records.iter().all(|record| record.payload.len() == record.size && record.at >= now));
        assert!(records.is_sorted_by_key(|record| record.at));
        for record in &records {
            if let Fate::Dropped(reason) = record.fate {
                *reasons.entry((record.heading, reason)).or_insert(0) += 1;
            }
        }
    }
    // It is a story of many fates, or it would prove little.
    for told in [
        (Heading::Out, DropReason::Age),
        (Heading::Out, DropReason::Closed),
        (Heading::Out, DropReason::Denied),
        (Heading::Out, DropReason::Full),
        (Heading::Out, DropReason::InDoubt),
        (Heading::Out, DropReason::Oversize),
        (Heading::Out, DropReason::Stale),
        (Heading::In, DropReason::Full),
        (Heading::In, DropReason::Unreachable),
    ] {
        assert!(reasons.contains_key(&told), "{told:?} is not among {reasons:?}");
    }
}

#[test]
fn what_does_not_fit_is_missed_and_counted_and_travels_all_the_same() {
    for options in
        [TapOptions { records: 3, ..TapOptions::default() }, TapOptions { bytes: 15, ..TapOptions::default() }]
    {
        let mut pair = Pair::new();
        pair.connect();
        let now = pair.now;
        pair.client.tap(now, options);
        for _ in 0..10 {
            pair.send(4_000, b"five!");
        }
        pair.run(ms(200));
        assert_eq!(pair.served.len(), 10);
        assert_eq!(seen(&mut pair.client).iter().map(|record| record.missed).collect::<Vec<_>>(), [0, 0, 0]);
        pair.send(4_000, b"five!");
        assert_eq!(seen(&mut pair.client).iter().map(|record| record.missed).collect::<Vec<_>>(), [7]);
    }
}

#[test]
fn a_tap_that_is_off_sees_nothing_and_one_turned_off_keeps_nothing() {
    let mut pair = Pair::new();
    pair.connect();
    pair.send(4_000, b"unseen");
    assert_eq!(pair.client.poll_record(), None);
    let now = pair.now;
    pair.client.tap(now, TapOptions::default());
    pair.send(4_000, b"seen");
    pair.client.untap();
    pair.send(4_000, b"unseen");
    assert_eq!(pair.client.poll_record(), None);
    pair.client.tap(now, TapOptions::default());
    assert_eq!(pair.client.poll_record(), None, "it begins anew");
}

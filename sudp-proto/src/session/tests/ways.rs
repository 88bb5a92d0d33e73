//! Which link carries what: where a flow is at home, who helps out, and what is tried when nothing is sound.

use std::time::Duration;

use super::late::home;
use super::pair::{Fate, Pair, TUNNEL, source};
use crate::config::Limits;
use crate::event::{Event, LinkLoss};
use crate::session::{Role, Treatment};
use crate::testing::{ms, secs};
use crate::wire::{Class, Ordinal};

/// A pair with two links that have carried nothing.
fn two_links(treatment: Treatment) -> (Pair, [Ordinal; 2]) {
    let mut pair = Pair::with(treatment, Limits { links: 2, ..Limits::default() });
    let links = [pair.connect(), pair.connect()];
    pair.run(secs(1));
    (pair, links)
}

fn other(links: [Ordinal; 2], than: Ordinal) -> Ordinal {
    if links[0] == than { links[1] } else { links[0] }
}

/// Whoever asks the links for messages asks this one last.
fn ask_last(pair: &mut Pair, link: Ordinal) {
    pair.links.sort_by_key(|path| path.ordinal == link);
}

/// Nothing passes any more, nor does what is under way.
fn hang(pair: &mut Pair, link: Ordinal) {
    let path = pair.path(link);
    path.fate = Fate::Hanging;
    path.up.clear();
    path.down.clear();
}

fn sent(pair: &Pair, link: Ordinal) -> u64 {
    pair.client.links.get(link).unwrap().sent_count
}

fn suspects(pair: &Pair) -> usize {
    let told = |(role, event): &&(Role, Event)| *role == Role::Client && matches!(event, Event::LinkSuspect { .. });
    pair.events.iter().filter(told).count()
}

#[test]
fn a_flow_stays_on_its_link_while_something_is_under_way_and_chooses_anew_after() {
    let (mut pair, links) = two_links(Treatment::default());
    pair.send(4_000, b"begins");
    let first = home(&pair);
    ask_last(&mut pair, first);
    for _ in 0..20 {
        pair.run(ms(20));
        pair.send(4_000, b"busy");
        assert_eq!(home(&pair), first);
    }
    pair.run(secs(1));
    pair.send(4_000, b"rested");
    assert_eq!(home(&pair), other(links, first));
}

#[test]
fn a_flow_that_spreads_uses_whichever_link_asks_first() {
    for (spread, both) in [(true, true), (false, false)] {
        let (mut pair, links) = two_links(Treatment { spread, ..Treatment::default() });
        pair.send(4_000, b"begins");
        for _ in 0..20 {
            pair.run(ms(20));
            pair.links.reverse();
            pair.send(4_000, b"busy");
        }
        let least = links.map(|link| sent(&pair, link)).into_iter().min();
        assert_eq!(least >= Some(5), both, "{least:?}");
    }
}

#[test]
fn a_link_with_room_helps_out_one_that_had_none_for_longer_than_a_round_trip() {
    let (mut pair, links) = two_links(Treatment::default());
    for link in links {
        ask_last(&mut pair, other(links, link));
        pair.send(4_000, b"measured");
        pair.run(secs(1));
    }
    for _ in 0..100 {
        pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), &[7; 1_000]).unwrap();
    }
    pair.drain();
    let full = home(&pair);
    let free = other(links, full);
    hang(&mut pair, full);
    let before = sent(&pair, free);
    let trip = pair.client.link(full).unwrap().srtt.unwrap();
    pair.now += trip;
    pair.drain();
    assert_eq!(sent(&pair, free), before, "an acknowledgement may take as long");
    pair.now += Duration::from_nanos(1);
    pair.drain();
    assert!(sent(&pair, free) > before);
    let earlier = pair.served.len();
    pair.run(ms(300));
    assert!(pair.served.len() > earlier + 60, "{}", pair.served.len() - earlier);
    assert_eq!(suspects(&pair), 0);
}

#[test]
fn a_batch_that_would_stall_the_session_goes_another_way_before_anyone_suspects_its_link() {
    let (mut pair, links) = two_links(Treatment::default());
    pair.latency = ms(0);
    pair.send(4_000, b"straggler");
    let slow = home(&pair);
    hang(&mut pair, slow);
    ask_last(&mut pair, slow);
    let began = pair.now;
    let mut most = 0;
    for _ in 0..5_000 {
        pair.send(4_001, b"many");
        pair.run(ms(0));
        most = most.max(sent(&pair, slow));
    }
    assert_eq!((pair.now, suspects(&pair)), (began, 0));
    assert_eq!(most, sent(&pair, slow));
    assert!(sent(&pair, other(links, slow)) > 4_900, "{}", sent(&pair, other(links, slow)));
    let stragglers = pair.served.iter().filter(|(_, payload)| *payload == "straggler").count();
    assert_eq!((stragglers, pair.served.len()), (1, 5_001));
}

#[test]
fn what_is_sent_while_every_link_is_suspect_is_tried_on_each_of_them() {
    let (mut pair, links) = two_links(Treatment::default());
    for link in links {
        hang(&mut pair, link);
    }
    pair.send(4_000, b"lost");
    pair.run(secs(5));
    assert_eq!(suspects(&pair), 2);
    let before = links.map(|link| sent(&pair, link));
    pair.path(links[1]).fate = Fate::Healthy;
    pair.send(4_000, b"tried");
    pair.drain();
    assert_eq!(links.map(|link| sent(&pair, link)), before.map(|count| count + 1));
    pair.run(ms(100));
    assert!(pair.served.iter().any(|(_, payload)| *payload == "tried"));
}

#[test]
fn what_an_ended_link_held_goes_on_a_suspect_one_that_holds_something_older() {
    let (mut pair, links) = two_links(Treatment::default());
    pair.send(4_000, b"older");
    let suspect = home(&pair);
    let ending = other(links, suspect);
    for link in links {
        hang(&mut pair, link);
    }
    while suspects(&pair) == 0 {
        pair.run(ms(10));
    }
    pair.send(4_001, b"newer");
    pair.path(suspect).fate = Fate::Healthy;
    let before = sent(&pair, suspect);
    pair.cut(ending);
    assert_eq!(sent(&pair, suspect), before + 1);
    pair.run(ms(100));
    let served: Vec<_> = pair.served.iter().map(|(_, payload)| &payload[..]).collect();
    assert_eq!(served, [b"newer"]);
}

#[test]
fn a_realtime_datagram_whose_acknowledgement_is_slow_is_not_taken_for_lost() {
    let treatment = Treatment { class: Class::Realtime, ..Treatment::default() };
    let mut pair = Pair::with(treatment, Limits::default());
    pair.connect();
    for _ in 0..5 {
        pair.send(4_000, b"quick");
        pair.run(ms(200));
    }
    pair.send(4_000, b"slow");
    pair.latency = secs(3);
    pair.run(secs(2));
    assert_eq!((pair.served.len(), suspects(&pair)), (6, 1));
    pair.drain();
    pair.latency = ms(25);
    pair.run(secs(3));
    let counters = pair.client.counters();
    assert_eq!((counters.acknowledged, counters.dropped_out.total()), (6, 0));
}

/// A pair with six links that all hang, on each of which a round trip was measured, and three copies of everything.
fn three_of_six() -> (Pair, Vec<Ordinal>) {
    let treatment = Treatment { copies: 3, ..Treatment::default() };
    let mut pair = Pair::with(treatment, Limits { links: 6, ..Limits::default() });
    let links: Vec<_> = (0..6).map(|_| pair.connect()).collect();
    pair.run(secs(1));
    links.iter().for_each(|link| hang(&mut pair, *link));
    (pair, links)
}

/// The links that the first batch under way was put on and that live, and those on which it waits.
fn carriers(pair: &Pair) -> (Vec<Ordinal>, Vec<Ordinal>) {
    let (number, batch) = pair.client.unresolved.iter().next().unwrap();
    let live = &pair.client.links.live;
    let carried = live.iter().filter(|link| batch.carriers.contains(&link.ordinal)).map(|link| link.ordinal);
    let waits = live.iter().filter(|link| link.copies.contains(&number)).map(|link| link.ordinal);
    (carried.collect(), waits.collect())
}

#[test]
fn a_copy_whose_link_ends_before_it_could_leave_takes_another_and_no_more() {
    let (mut pair, links) = three_of_six();
    pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), b"copied").unwrap();
    assert!(pair.client.poll_message(pair.now, links[0], 65_536).is_some());
    let (carried, waits) = carriers(&pair);
    assert_eq!((&carried[..], waits.len()), (&links[..1], 2));
    let now = pair.now;
    pair.client.detach(now, waits[0], LinkLoss::Ended);
    let (_, waits) = carriers(&pair);
    assert_eq!(waits.len(), 2, "{waits:?}");
    pair.drain();
    pair.drain();
    let (carried, _) = carriers(&pair);
    assert_eq!(carried.len(), 3, "{carried:?}");
}

#[test]
fn a_copy_under_way_on_a_link_that_ends_is_made_once_more() {
    let (mut pair, _) = three_of_six();
    pair.send(4_000, b"copied");
    pair.drain();
    let (carried, _) = carriers(&pair);
    assert_eq!(carried.len(), 3);
    let now = pair.now;
    pair.client.detach(now, carried[0], LinkLoss::Ended);
    pair.drain();
    let (again, _) = carriers(&pair);
    assert_eq!(again.len(), 3);
    assert_ne!(again, carried);
}

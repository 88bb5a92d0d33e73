//! Batches that links die under: they travel alone, in smaller frames, and at last not at all.

use super::hostile::{Outcome, outcome};
use super::pair::{Pair, TUNNEL, source};
use crate::event::Event;
use crate::session::{InDoubt, Role, Treatment, Tunnel, Way};
use crate::stats::DropReason;
use crate::testing::{ms, secs};
use crate::wire::{Address, Code, TunnelId};

/// A pair whose path has proven itself for small messages, and has no link now.
fn proven() -> Pair {
    let mut pair = Pair::new();
    let link = pair.connect();
    pair.send(4_000, b"first");
    pair.run(secs(1));
    pair.cut(link);
    pair.events.clear();
    pair
}

/// Links that die as soon as everything was put on them.
fn die(pair: &mut Pair, links: usize) {
    for _ in 0..links {
        let link = pair.connect();
        pair.cut(link);
        pair.run(ms(10));
    }
}

fn queue(pair: &mut Pair, port: u16, payload: &[u8]) {
    pair.client.handle_datagram(pair.now, TUNNEL, source(port), payload).unwrap();
}

fn payloads(pair: &Pair) -> Vec<&[u8]> {
    pair.served.iter().map(|(_, payload)| &payload[..]).collect()
}

fn poisoned(pair: &Pair) -> (usize, u64) {
    let events = pair.count(|event| matches!(event, Event::Poisoned { .. }));
    (events, pair.client.counters().dropped_out[DropReason::Poison])
}

#[test]
fn what_three_links_died_under_is_dropped_by_name_and_the_rest_goes_on() {
    for (deaths, expected, dropped) in [(2, vec![&b"first"[..], b"bad", b"good"], 0), (3, vec![b"first", b"good"], 1)] {
        let mut pair = proven();
        queue(&mut pair, 4_000, b"bad");
        die(&mut pair, deaths);
        queue(&mut pair, 4_001, b"good");
        pair.connect();
        pair.run(secs(1));
        assert_eq!(payloads(&pair), expected);
        assert_eq!(poisoned(&pair), (dropped, dropped as u64));
    }
}

#[test]
fn what_two_links_died_under_travels_with_nothing_beside_it() {
    for (deaths, under_way) in [(1, 2), (2, 1)] {
        let mut pair = proven();
        queue(&mut pair, 4_000, b"suspect");
        die(&mut pair, deaths);
        queue(&mut pair, 4_001, b"good");
        let link = pair.connect();
        let sent = pair.client.links.get(link).unwrap().sent.len();
        assert_eq!(sent, under_way, "after {deaths}");
        pair.run(secs(1));
        assert_eq!(payloads(&pair), [&b"first"[..], b"suspect", b"good"]);
    }
}

#[test]
fn links_that_we_gave_up_ourselves_are_no_proof_against_what_they_carried() {
    let mut pair = proven();
    queue(&mut pair, 4_000, b"innocent");
    for _ in 0..5 {
        let link = pair.connect();
        pair.path(link).fate = super::pair::Fate::Cut;
        for role in [Role::Client, Role::Server] {
            let now = pair.now;
            pair.half(role).detach(now, link, crate::event::LinkLoss::Silent);
        }
        pair.drain();
        pair.run(ms(10));
    }
    pair.connect();
    pair.run(secs(1));
    assert_eq!((payloads(&pair), poisoned(&pair)), (vec![&b"first"[..], b"innocent"], (0, 0)));
}

#[test]
fn controls_that_three_links_died_under_end_the_session() {
    for (deaths, expected) in [(2, Outcome::Lives), (3, Outcome::SessionEnds(Code::Poison))] {
        let mut pair = proven();
        let way = Way::Reverse { listen: source(53), to: Address::from(source(9)) };
        let tunnel = Tunnel { way, treatment: Treatment::default(), in_doubt: InDoubt::Drop };
        pair.client.add_tunnel(TunnelId(2), tunnel).unwrap();
        die(&mut pair, deaths);
        let hello = pair.client.hello(pair.now).unwrap();
        let attached = pair.attach(&hello);
        assert_eq!(outcome(&pair, Role::Client), expected, "after {deaths}");
        // The counts of the welcome are the last word on the controls, and the link was of the lost session.
        assert_eq!(attached.is_ok(), expected == Outcome::Lives, "after {deaths}");
        assert_eq!(pair.client.links().count(), usize::from(attached.is_ok()), "after {deaths}");
    }
}

#[test]
fn a_hello_that_says_the_last_word_on_poisonous_controls_of_the_server_makes_no_link_of_a_dead_session() {
    for (deaths, attaches) in [(2, true), (3, false)] {
        let mut pair = proven();
        let flow = pair.server.flows().next().unwrap();
        pair.server.close_flow(pair.now, flow);
        die(&mut pair, deaths);
        let hello = pair.client.hello(pair.now).unwrap();
        let attached = pair.attach(&hello);
        assert_eq!(attached, if attaches { Ok(hello.ordinal) } else { Err(Code::UnknownSession) }, "after {deaths}");
        pair.drain();
        let expected = if attaches { Outcome::Lives } else { Outcome::SessionEnds(Code::Poison) };
        assert_eq!(outcome(&pair, Role::Server), expected, "after {deaths}");
        assert_eq!(pair.server.links().count(), usize::from(attaches), "after {deaths}");
    }
}

#[test]
fn a_message_larger_than_any_that_passed_is_first_sent_in_smaller_frames() {
    let large = [7; 8_000];
    for (deaths, frames, arrives) in [
        (1, None, true),
        (2, Some(4_000), true),
        (4, Some(2_000), true),
        (6, Some(2_000), true),
        (7, Some(2_000), false),
    ] {
        let mut pair = proven();
        queue(&mut pair, 4_000, &large);
        die(&mut pair, deaths);
        let limit = pair.client.frame_limit();
        assert_eq!(limit.map(|limit| limit / 100 * 100), frames, "after {deaths}");
        pair.connect();
        pair.run(secs(1));
        assert_eq!(payloads(&pair).contains(&&large[..]), arrives, "after {deaths}");
        assert_eq!(poisoned(&pair).0, usize::from(!arrives), "after {deaths}");
    }
}

#[test]
fn a_message_no_larger_than_one_that_passed_is_not_blamed_for_its_size() {
    let large = [7; 8_000];
    for (passed, limited) in [(8_000, false), (7_999, true)] {
        let mut pair = Pair::new();
        let link = pair.connect();
        pair.send(4_000, &large[..passed]);
        pair.run(secs(1));
        pair.cut(link);
        // Of another flow, so that an OPEN is in front of it as well.
        queue(&mut pair, 4_001, &large);
        die(&mut pair, 2);
        assert_eq!(pair.client.frame_limit().is_some(), limited, "{passed} passed");
    }
}

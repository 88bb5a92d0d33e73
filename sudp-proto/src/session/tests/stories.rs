//! What a session does in good days and bad ones.

use std::sync::Arc;

use super::pair::{Fate, Pair, TUNNEL, source};
use crate::access::{Grant, Own};
use crate::config::Limits;
use crate::event::{Event, LinkLoss};
use crate::session::{Access, InDoubt, Phase, Role, SendError, Treatment, Tunnel, Way};
use crate::stats::DropReason;
use crate::testing::{ms, secs};
use crate::wire::{Address, Class, Code, GoAway, GoAwayReason, TunnelId};

#[test]
fn a_datagram_and_its_answer_need_no_round_trip_to_open_the_flow() {
    let mut pair = Pair::new();
    pair.echo = true;
    pair.connect();
    pair.send(4_000, b"question");
    pair.run(ms(49));
    assert_eq!((pair.served.len(), pair.answered.len()), (1, 0));
    pair.run(ms(2));
    assert_eq!(pair.answered[0].1, "question");
}

#[test]
fn what_waited_for_the_first_link_is_sent_on_it() {
    let mut pair = Pair::new();
    for number in 0..50_u32 {
        pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), &number.to_be_bytes()).unwrap();
    }
    pair.connect();
    pair.run(secs(1));
    assert_eq!(Pair::numbers(&pair.served), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_cut_link_loses_and_doubles_nothing() {
    let mut pair = Pair::new();
    let mut link = pair.connect();
    for number in 0..400_u32 {
        pair.send(4_000, &number.to_be_bytes());
        pair.run(ms(3));
        if number % 80 == 41 {
            pair.cut(link);
            pair.run(ms(200));
            link = pair.connect();
        }
    }
    pair.run(secs(2));
    let mut got = Pair::numbers(&pair.served);
    got.sort_unstable();
    assert_eq!(got, (0..400).collect::<Vec<_>>());
    assert_eq!(pair.client.counters().acknowledged, 400);
    assert!(pair.client.counters().batches_resent > 0);
    assert_eq!(pair.client.links.ended.len() + pair.server.links.ended.len(), 0, "ended links are forgotten");
}

#[test]
fn a_hanging_link_is_suspected_and_passed_by() {
    let mut pair = Pair::new();
    let link = pair.connect();
    pair.send(4_000, &0_u32.to_be_bytes());
    pair.run(secs(1));
    pair.path(link).fate = Fate::Hanging;
    pair.send(4_000, &1_u32.to_be_bytes());
    pair.run(secs(3));
    assert_eq!(pair.count(|event| *event == Event::LinkSuspect { ordinal: link }), 1);
    pair.connect();
    pair.run(ms(100));
    assert_eq!(Pair::numbers(&pair.served), [0, 1]);
    pair.run(secs(40));
    assert_eq!(pair.client.links().count(), 1, "the hanging link is given up");
    assert_eq!(pair.client.links.ended.len() + pair.server.links.ended.len(), 0);
}

#[test]
fn a_path_that_dies_while_only_the_server_sends_is_suspected_within_three_seconds() {
    let mut pair = Pair::new();
    let link = pair.connect();
    pair.send(4_000, b"hello");
    pair.run(secs(20));
    let flow = pair.server.flows().next().unwrap();
    for _ in 0..20 {
        pair.server.handle_answer(pair.now, flow, source(9), b"stream").unwrap();
        pair.drain();
        pair.run(ms(100));
    }
    pair.path(link).fate = Fate::Hanging;
    let died = pair.now;
    while pair.count(|event| *event == Event::LinkSuspect { ordinal: link }) == 0 && pair.now < died + secs(5) {
        pair.server.handle_answer(pair.now, flow, source(9), b"stream").unwrap();
        pair.drain();
        pair.run(ms(50));
    }
    let client =
        |(role, event): &(Role, Event)| *role == Role::Client && *event == Event::LinkSuspect { ordinal: link };
    pair.run(died + secs(3) - pair.now);
    assert!(pair.events.iter().any(client));
}

#[test]
fn copies_travel_on_two_links_and_the_first_wins() {
    let treatment = Treatment { class: Class::Realtime, copies: 2, ..Treatment::default() };
    let mut pair = Pair::with(treatment, Limits { links: 2, ..Limits::default() });
    let (first, _) = (pair.connect(), pair.connect());
    pair.run(secs(1));
    pair.path(first).fate = Fate::Hanging;
    for number in 0..20_u32 {
        pair.send(4_000, &number.to_be_bytes());
        pair.run(ms(20));
    }
    pair.run(ms(10));
    assert_eq!(Pair::numbers(&pair.served), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_link_that_comes_carries_a_copy_of_what_is_under_way() {
    let treatment = Treatment { copies: 2, ..Treatment::default() };
    let mut pair = Pair::with(treatment, Limits { links: 2, ..Limits::default() });
    let first = pair.connect();
    pair.run(secs(1));
    pair.path(first).fate = Fate::Hanging;
    pair.send(4_000, b"copied");
    pair.connect();
    pair.run(pair.latency);
    assert_eq!(pair.served.len(), 1, "before anything is overdue");
}

#[test]
fn what_one_half_counts_as_sent_the_other_counts_as_received() {
    let mut pair = Pair::new();
    pair.echo = true;
    let first = pair.connect();
    for number in 0..20_u32 {
        pair.send(4_000, &number.to_be_bytes());
        pair.run(ms(7));
    }
    pair.run(ms(500));
    pair.connect();
    pair.run(ms(500));
    pair.cut(first);
    pair.run(ms(200));
    assert!(pair.links.iter().all(|path| path.up.is_empty() && path.down.is_empty()), "nothing is under way");
    let (client, server) = (pair.client.counters(), pair.server.counters());
    assert_eq!((client.messages_out, client.batches_out), (server.messages_in, server.batches_in));
    assert_eq!((server.messages_out, server.batches_out), (client.messages_in, client.batches_in));
    assert!(client.batches_in > 0 && server.batches_in > 0);
    for half in [client, server] {
        assert_eq!((half.links, half.links_ended), (2, 1));
    }
}

#[test]
fn stale_realtime_datagrams_are_not_replayed_and_every_one_is_accounted_for() {
    let treatment = Treatment { class: Class::Realtime, ..Treatment::default() };
    let mut pair = Pair::with(treatment, Limits::default());
    let link = pair.connect();
    pair.send(4_000, &0_u32.to_be_bytes());
    pair.run(secs(1));
    pair.path(link).fate = Fate::Hanging;
    for number in 1..20_u32 {
        pair.send(4_000, &number.to_be_bytes());
        pair.run(ms(20));
    }
    pair.cut(link);
    pair.run(secs(1));
    pair.connect();
    pair.run(secs(2));
    assert_eq!(Pair::numbers(&pair.served), [0]);
    let counters = pair.client.counters();
    assert_eq!(counters.accepted, counters.acknowledged + counters.dropped_out.total());
}

#[test]
fn an_idle_flow_is_closed_and_forgotten_at_both_ends() {
    let mut pair = Pair::new();
    pair.echo = true;
    pair.connect();
    pair.send(4_000, b"one shot");
    pair.run(secs(29));
    assert_eq!((pair.client.flows().count(), pair.server.flows().count()), (1, 1));
    pair.run(secs(3));
    assert_eq!((pair.client.flows().count(), pair.server.flows().count()), (0, 0));
    assert_eq!(pair.count(|event| matches!(event, Event::BooksDiffer { .. })), 0);
}

#[test]
fn a_refused_destination_closes_the_flow_and_is_remembered() {
    let mut pair = Pair::new();
    pair.connect();
    pair.server.regrant(
        pair.now,
        Access { grant: Grant::new(crate::access::Rules::default()), own: Arc::new(Own::default()) },
    );
    pair.send(4_000, b"denied");
    pair.run(ms(200));
    assert_eq!(pair.served.len(), 0);
    assert_eq!((pair.client.flows().count(), pair.server.flows().count()), (0, 0));
    let again = pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), b"again");
    assert_eq!(again, Err(SendError::Refused));
}

#[test]
fn a_drain_settles_everything_before_it_closes() {
    let mut pair = Pair::new();
    pair.connect();
    for number in 0..100_u32 {
        pair.send(4_000, &number.to_be_bytes());
    }
    pair.server.drain(pair.now, GoAwayReason::Shutdown, secs(1));
    pair.drain();
    pair.run(secs(2));
    assert_eq!(pair.served.len(), 100);
    assert_eq!(pair.server.phase(), Phase::Closed(Code::GoingAway));
    assert_eq!(pair.count(|event| *event == Event::Lost { code: Code::GoingAway, in_doubt: 0 }), 1);
    assert_eq!(pair.client.counters().acknowledged, 100);
}

#[test]
fn a_drain_is_announced_once_and_a_closed_session_is_not_drained() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(ms(100));
    assert!(!pair.server.draining() && !pair.client.draining());
    for (reason, after) in [(GoAwayReason::Shutdown, 1), (GoAwayReason::Rebalance, 9)] {
        pair.server.drain(pair.now, reason, secs(after));
    }
    assert!(pair.server.draining());
    pair.drain();
    pair.run(secs(1));
    let told: Vec<_> = pair.events.iter().filter(|(_, event)| matches!(event, Event::GoAway(_))).collect();
    let once = Event::GoAway(GoAway { reason: GoAwayReason::Shutdown, after: secs(1) });
    assert_eq!(told, [&(Role::Client, once)]);

    let mut pair = Pair::new();
    pair.connect();
    pair.client.close(pair.now, Code::Done);
    pair.client.drain(pair.now, GoAwayReason::Shutdown, secs(0));
    assert!(!pair.client.draining());
}

#[test]
fn a_drain_does_not_wait_long_for_a_client_that_is_gone_and_is_owed_nothing() {
    for owed in [false, true] {
        let mut pair = Pair::new();
        let link = pair.connect();
        pair.send(4_000, b"begin");
        pair.run(secs(1));
        let flow = pair.server.flows().next().unwrap();
        pair.server.detach(pair.now, link, LinkLoss::Ended);
        if owed {
            pair.server.send(pair.now, flow, None, b"unsent").unwrap();
        }
        pair.server.drain(pair.now, GoAwayReason::Shutdown, secs(0));
        pair.server.handle_timeout(pair.now + ms(4_999));
        assert!(!pair.server.is_closed(), "it may be back in a moment");
        pair.server.handle_timeout(pair.now + secs(6));
        assert_eq!(pair.server.is_closed(), !owed);
        pair.server.handle_timeout(pair.now + secs(61));
        assert!(pair.server.is_closed());
    }
}

#[test]
fn who_drains_takes_nothing_more_and_sends_what_it_has() {
    for role in [Role::Client, Role::Server] {
        let mut pair = Pair::new();
        pair.connect();
        pair.send(4_000, b"begin");
        pair.run(secs(1));
        let flow = pair.client.flows().next().unwrap();
        let now = pair.now;
        // Far more than the window of the link.
        for _ in 0..400 {
            pair.half(role).send(now, flow, None, &[7; 1_000]).unwrap();
        }
        pair.half(role).drain(now, GoAwayReason::Shutdown, secs(0));
        assert_eq!(pair.half(role).send(now, flow, None, b"too late"), Err(SendError::Closed));
        assert_eq!(pair.half(role).open_flow(now, TUNNEL, None, None), Err(SendError::Closed));
        pair.drain();
        pair.run(secs(5));
        let arrived = if role == Role::Client { pair.served.len() - 1 } else { pair.answered.len() };
        assert_eq!(arrived, 400, "{role:?}");
        assert!(pair.half(role).is_closed());
        assert_eq!(pair.half(role).counters().dropped_out.total(), 0);
    }
}

#[test]
fn a_lost_session_moves_what_was_never_sent_and_counts_what_is_in_doubt() {
    let mut pair = Pair::new();
    let link = pair.connect();
    pair.send(4_000, &0_u32.to_be_bytes());
    pair.run(secs(1));
    pair.path(link).fate = Fate::Hanging;
    pair.send(4_000, &1_u32.to_be_bytes());
    pair.client.detach(pair.now, link, LinkLoss::Ended);
    pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), &2_u32.to_be_bytes()).unwrap();
    pair.client.lose(pair.now, Code::UnknownSession);
    let fresh = Pair::new();
    pair.server = fresh.server;
    pair.links.clear();
    pair.drain();
    pair.connect();
    pair.run(secs(2));
    assert_eq!(Pair::numbers(&pair.served), [0, 2]);
    assert_eq!(pair.client.counters().in_doubt, 1);
    assert_eq!(pair.count(|event| matches!(event, Event::Lost { in_doubt: 1, .. })), 1);
}

#[test]
fn a_reverse_tunnel_whose_port_is_taken_is_asked_for_until_it_is_free() {
    let mut pair = Pair::new();
    let way = Way::Reverse { listen: source(53), to: Address::from(source(9)) };
    let tunnel = Tunnel { way, treatment: Treatment::default(), in_doubt: InDoubt::Drop };
    pair.client.add_tunnel(TunnelId(2), tunnel).unwrap();
    pair.taken = 3;
    pair.connect();
    pair.run(secs(12));
    assert_eq!(pair.asked, 4, "at once, and after 1, 2 and 4 s more");
    let bound = Event::TunnelBound { tunnel: TunnelId(2), outcome: Ok(source(53)) };
    assert_eq!(pair.count(|event| *event == bound), 1);
}

#[test]
fn a_port_that_was_taken_for_long_is_had_ten_seconds_after_it_is_free() {
    let mut pair = Pair::new();
    pair.taken = u32::MAX;
    let way = Way::Reverse { listen: source(53), to: Address::from(source(9)) };
    let tunnel = Tunnel { way, treatment: Treatment::default(), in_doubt: InDoubt::Drop };
    pair.client.add_tunnel(TunnelId(2), tunnel).unwrap();
    pair.connect();
    // Longer than a server keeps the session that this client had there without a link.
    pair.run(secs(65));
    pair.taken = 0;
    pair.run(secs(11));
    let bound = |event: &Event| matches!(event, Event::TunnelBound { outcome: Ok(_), .. });
    assert_eq!(pair.count(bound), 1, "asked {} times", pair.asked);
}

/// A pair of class realtime that knew a link of 25 ms and has none now.
fn short_path() -> Pair {
    let treatment = Treatment { class: Class::Realtime, ..Treatment::default() };
    let mut pair = Pair::with(treatment, Limits::default());
    pair.echo = true;
    let link = pair.connect();
    pair.send(4_000, b"known");
    pair.run(secs(1));
    assert_eq!((pair.served.len(), pair.answered.len()), (1, 1));
    pair.cut(link);
    pair
}

#[test]
fn the_first_realtime_datagram_of_a_much_longer_link_is_not_taken_for_late() {
    let mut pair = short_path();
    pair.latency = ms(400);
    let hello = pair.client.hello(pair.now).unwrap();
    pair.run(ms(800));
    pair.attach(&hello).unwrap();
    pair.send(4_000, b"first");
    pair.run(secs(1));
    assert_eq!((pair.served.len(), pair.answered.len()), (2, 2));
}

#[test]
fn what_was_held_on_a_link_that_has_just_begun_is_late_and_so_is_what_stood_behind_it() {
    let mut pair = short_path();
    let hello = pair.client.hello(pair.now).unwrap();
    pair.run(ms(50));
    pair.attach(&hello).unwrap();
    pair.run(ms(100));
    pair.latency = ms(500);
    pair.send(4_000, b"held");
    pair.run(ms(50));
    pair.send(4_000, b"behind it");
    pair.latency = ms(25);
    pair.run(secs(1));
    pair.send(4_000, b"fresh");
    pair.run(secs(1));
    let served: Vec<_> = pair.served.iter().map(|(_, payload)| &payload[..]).collect();
    assert_eq!(served, [&b"known"[..], b"fresh"]);
    assert_eq!(pair.server.counters().dropped_in[DropReason::Late], 2);
}

#[test]
fn a_flow_that_outlives_its_session_ends_with_books_that_agree() {
    let mut pair = Pair::new();
    pair.echo = true;
    let link = pair.connect();
    for _ in 0..2 {
        pair.send(4_000, b"first session");
        pair.run(secs(1));
    }
    pair.cut(link);
    pair.client.lose(pair.now, Code::UnknownSession);
    pair.server = Pair::new().server;
    pair.links.clear();
    pair.drain();
    pair.connect();
    pair.send(4_000, b"second session");
    pair.run(secs(1));
    assert_eq!(pair.answered.len(), 3);
    let flow = pair.client.flows().next().unwrap();
    pair.client.close_flow(pair.now, flow);
    pair.drain();
    pair.run(secs(1));
    assert_eq!((pair.client.flows().count(), pair.server.flows().count()), (0, 0));
    assert_eq!(pair.count(|event| matches!(event, Event::BooksDiffer { .. })), 0);
}

#[test]
fn a_flow_that_is_closed_while_there_is_no_link_sends_what_it_took_before() {
    for known in [false, true] {
        let mut pair = Pair::new();
        if known {
            let link = pair.connect();
            pair.send(4_000, b"known");
            pair.run(secs(1));
            pair.cut(link);
        }
        for _ in 0..3 {
            pair.send(4_000, b"waits");
        }
        let flow = pair.client.flows().next().unwrap();
        pair.client.close_flow(pair.now, flow);
        pair.drain();
        pair.connect();
        pair.run(secs(1));
        assert_eq!(pair.served.len(), 3 + usize::from(known), "known: {known}");
        assert_eq!((pair.client.flows().count(), pair.server.flows().count()), (0, 0));
        assert_eq!(pair.count(|event| matches!(event, Event::BooksDiffer { .. })), 0);
    }
}

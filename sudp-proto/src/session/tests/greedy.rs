//! Remotes that want more than their share: floods, and lists without end.

use std::time::Duration;

use super::hostile::Outcome::{LinkEnds, Lives, SessionEnds};
use super::hostile::{ack, controls, data, down, message, open, outcome, records, used};
use super::pair::{Pair, source};
use crate::access::{Grant, Rules};
use crate::config::Limits;
use crate::session::{Access, Role};
use crate::stats::DropReason;
use crate::testing::{ms, secs};
use crate::wire::{Address, Bind, Class, Code, Control, FlowId, Frame, GoAway, GoAwayReason, Host, TunnelId, batch};

#[test]
fn d1_8_flows_without_end_are_refused_and_then_end_the_session() {
    let limits = Limits { flows: 4, ..Limits::default() };
    let (mut pair, link) = used(limits);
    let opens: Vec<_> = (0..7).map(|number| open(3 + 2 * number)).collect();
    pair.inject(Role::Server, link, &[controls(100, &opens)]);
    assert_eq!(outcome(&pair, Role::Server), Lives);
    assert_eq!(pair.server.flows().count(), 8);
    let stopped = pair.server.flows.iter().filter(|(_, flow)| flow.stopped).count();
    assert_eq!(stopped, 4, "those beyond the limit");
    pair.inject(Role::Server, link, &[controls(101, &[open(101)])]);
    assert_eq!(outcome(&pair, Role::Server), SessionEnds(Code::Limit));
}

#[test]
fn d1_10_a_million_acknowledgements_that_say_nothing_new_change_nothing() {
    let (mut pair, link) = used(Limits::default());
    let sent = pair.client.links.get(link).unwrap().sent_count;
    let mut one = Vec::new();
    ack(sent).emit(&mut one);
    pair.client.handle_message(pair.now, link, one.repeat(1_000_000).into());
    pair.drain();
    assert_eq!(outcome(&pair, Role::Client), Lives);
    assert_eq!(pair.client.counters().acknowledged, 1);
}

#[test]
fn d1_11_a_flood_of_pings_is_answered_once_and_pongs_nobody_asked_for_prove_nothing() {
    let (mut pair, link) = used(Limits::default());
    let mut message = Vec::new();
    for number in 0..100_000 {
        Frame::Ping(number).emit(&mut message);
        Frame::Pong(number).emit(&mut message);
    }
    let progress = pair.server.links.get(link).unwrap().progress;
    pair.server.handle_message(pair.now + secs(1), link, message.into());
    let link = pair.server.links.get(link).unwrap();
    assert_eq!(link.frames, [Frame::Pong(99_999)]);
    assert_eq!(link.progress, progress);
}

#[test]
fn d1_14_a_flood_of_go_aways_costs_no_memory_beyond_the_events() {
    let (mut pair, link) = used(Limits::default());
    let mut message = Vec::new();
    for number in 0..10_000 {
        let reason = GoAwayReason::from_u64(number);
        Frame::GoAway(GoAway { reason, after: secs(1_000_000) }).emit(&mut message);
    }
    pair.client.handle_message(pair.now, link, message.into());
    assert_eq!(pair.client.events.len(), 4_096);
    assert_eq!(pair.client.counters().events_lost, 10_000 - 4_096);
}

#[test]
fn d1_17_a_hundred_thousand_of_the_smallest_records_in_one_message_are_taken() {
    let (mut pair, link) = used(Limits::default());
    let mut body = Vec::new();
    for _ in 0..100_000 {
        batch::emit_record(&mut body, FlowId(1), None, None, b"");
    }
    pair.echo = false;
    pair.inject(Role::Server, link, &[records(100, Class::Reliable, body)]);
    assert_eq!((pair.server.counters().delivered, outcome(&pair, Role::Server)), (100_001, Lives));
}

/// What a session holds for its remote, other than datagrams and flows.
fn held(pair: &Pair) -> usize {
    let server = &pair.server;
    let frames: usize = server.links.live.iter().map(|link| link.frames.len()).sum();
    server.controls.len() + server.links.ended.len() + server.unknown.len() + frames
}

#[test]
fn a_remote_that_names_links_without_end_is_cut_off() {
    let (mut pair, link) = used(Limits::default());
    let mut most = 0;
    for round in 0..1_000_u64 {
        let downs: Vec<_> = (0..100).map(|number| down(100 + round * 100 + number, Some(0), false)).collect();
        pair.inject(Role::Server, link, &downs);
        most = most.max(held(&pair));
    }
    assert_eq!(outcome(&pair, Role::Server), SessionEnds(Code::Limit));
    assert!(most < 3_000, "{most}");
}

#[test]
fn a_remote_that_asks_about_a_link_without_end_and_reads_no_answer_loses_its_link() {
    let (mut pair, link) = used(Limits::default());
    let mut message = Vec::new();
    for _ in 0..10_000 {
        down(9, Some(0), false).emit(&mut message);
    }
    pair.server.handle_message(pair.now, link, message.into());
    pair.drain();
    assert_eq!(outcome(&pair, Role::Server), LinkEnds(Code::Limit));
    assert!(held(&pair) < 2_000);
}

#[test]
fn a_remote_that_asks_for_listeners_without_end_and_acknowledges_nothing_is_cut_off() {
    let (mut pair, link) = used(Limits { tunnels: 4, flows: 16, ..Limits::default() });
    let mut most = 0;
    for round in 0..10_000 {
        let unbound = |number| {
            Control::Bind(Bind {
                tunnel: TunnelId(round * 10 + number),
                listen: source(7),
                class: Class::Reliable,
                copies: 1,
                spread: false,
                idle: secs(180),
            })
        };
        let binds: Vec<_> = (0..10).map(unbound).collect();
        pair.server.handle_message(pair.now, link, message(&controls(100 + round, &binds)));
        while pair.server.poll_message(pair.now, link, 65_536).is_some() {}
        most = most.max(held(&pair));
    }
    pair.drain();
    assert_eq!(outcome(&pair, Role::Server), SessionEnds(Code::Limit));
    assert!(most < 1_300, "{most}");
}

#[test]
fn so_many_answers_may_wait_and_not_one_more() {
    let limits = Limits { tunnels: 4, flows: 16, ..Limits::default() };
    let most = 4 * (16 + 4) + 1_024;
    let refused = |number| {
        let (listen, class, idle) = (source(7), Class::Reliable, secs(180));
        Control::Bind(Bind { tunnel: TunnelId(number), listen, class, copies: 1, spread: false, idle })
    };
    for (asked, expected) in [(most, Lives), (most + 1, SessionEnds(Code::Limit))] {
        let (mut pair, link) = used(limits.clone());
        pair.server.regrant(pair.now, Access::new(Grant::new(Rules::default())));
        pair.drain();
        pair.run(secs(1));
        let binds: Vec<_> = (0..asked).map(refused).collect();
        pair.server.handle_message(pair.now, link, message(&controls(100, &binds)));
        pair.drain();
        assert_eq!(outcome(&pair, Role::Server), expected, "{asked} questions");
    }
}

#[test]
fn who_sends_on_flows_that_nobody_opened_is_told_of_each_once_in_a_round_trip_and_of_so_many() {
    let (mut pair, link) = used(Limits::default());
    let (start, pause) = (pair.now, pair.server.link(link).unwrap().srtt.unwrap());
    let mut number = 99;
    let mut told = |after: Duration, flow| {
        number += 1;
        pair.server.handle_message(start + after, link, message(&data(number, flow)));
        pair.server.controls.len()
    };
    assert_eq!([77, 77, 79, 79, 77].map(|flow| told(ms(0), flow)), [1, 1, 2, 2, 2]);
    assert_eq!(told(pause.saturating_sub(Duration::from_nanos(1)), 77), 2);
    assert_eq!([77, 77].map(|flow| told(pause, flow)), [3, 3]);
    assert_eq!((0..100).map(|flow| told(pause, 1_001 + 2 * flow)).max(), Some(2 + 64));
}

#[test]
fn a_remote_that_never_acknowledges_holds_no_more_than_the_window_and_the_queue() {
    let limits = Limits { queue: 128 << 10, unresolved: 128 << 10, ..Limits::default() };
    let (mut pair, link) = used(limits);
    let flow = pair.server.flows().next().unwrap();
    for _ in 0..2_000 {
        pair.server.handle_answer(pair.now, flow, source(9), &[7; 1_000]).unwrap();
        while pair.server.poll_message(pair.now, link, 65_536).is_some() {}
        assert!(pair.server.unresolved.bytes() <= (128 << 10) + 20_000 && pair.server.queues.bytes() <= 128 << 10);
    }
    pair.drain();
    let books = pair.server.books(flow).unwrap();
    assert!(books.dropped[DropReason::Full] > 1_500, "{books:?}");
}

#[test]
fn what_waits_for_a_name_that_made_room_for_others_is_dropped_and_counted() {
    let (mut pair, link) = used(Limits { destinations: 4, ..Limits::default() });
    let mut body = Vec::new();
    for number in 0..10 {
        let address = Address { host: Host::Name(format!("host{number}.example").into()), port: 53 };
        batch::emit_record(&mut body, FlowId(1), Some(&address), None, b"question");
    }
    pair.inject(Role::Server, link, &[records(100, Class::Reliable, body)]);
    let flow = pair.server.flows.get(FlowId(1)).unwrap();
    assert_eq!((flow.places.len(), flow.inbox.finding.len()), (4, 3));
    assert_eq!(flow.books.refused[DropReason::Full], 7);
}

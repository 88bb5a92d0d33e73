//! Sources and their flows: what is not taken and why, who makes room, who is remembered as refused.

use std::sync::Arc;

use super::hostile::used;
use super::pair::{Pair, TUNNEL, source};
use crate::access::{Grant, Own, Rules};
use crate::config::Limits;
use crate::event::Event;
use crate::session::flows::Flows;
use crate::session::queue::Slot;
use crate::session::{Access, Message, Role, SendError, Treatment};
use crate::stats::DropReason;
use crate::testing::{epoch, ms, secs};
use crate::wire::{Address, Code, FlowId, Host};

fn few(flows: usize) -> Pair {
    let mut pair = Pair::with(Treatment::default(), Limits { flows, ..Limits::default() });
    pair.connect();
    pair
}

fn take(pair: &mut Pair, port: u16) -> Result<FlowId, SendError> {
    let taken = pair.client.handle_datagram(pair.now, TUNNEL, source(port), b"data");
    pair.drain();
    taken
}

fn idle_ends(pair: &Pair, flow: FlowId) -> bool {
    pair.events.contains(&(Role::Client, Event::FlowClosed { flow, code: Code::Idle }))
}

#[test]
fn a_question_answered_long_ago_makes_room_for_another() {
    let mut pair = few(8);
    pair.echo = true;
    let first = take(&mut pair, 4_000).unwrap();
    for port in 4_001..4_006 {
        take(&mut pair, port).unwrap();
    }
    pair.run(secs(2));
    assert_eq!(pair.client.flows().count(), 6, "three quarters of the table are nobody's concern");
    take(&mut pair, 4_006).unwrap();
    pair.run(secs(1));
    assert!(idle_ends(&pair, first));
    assert_eq!(pair.client.flows().count(), 6);
}

#[test]
fn a_question_asked_a_moment_ago_makes_no_room() {
    let mut pair = few(8);
    for port in 4_000..4_008 {
        take(&mut pair, port).unwrap();
    }
    pair.run(ms(500));
    assert_eq!(pair.client.flows().count(), 8);
}

#[test]
fn of_several_who_come_at_once_each_has_another_question_make_room() {
    for restarts in [false, true] {
        let mut pair = few(8);
        let old: Vec<_> = (4_000..4_006).map(|port| take(&mut pair, port).unwrap()).collect();
        pair.run(secs(2));
        let first = take(&mut pair, 4_006).unwrap();
        if restarts {
            pair.restart(Role::Client, ms(0));
        }
        let second = take(&mut pair, 4_007).unwrap();
        if restarts {
            pair.hang_up(Role::Server);
            pair.connect();
        }
        pair.run(secs(1));
        assert_eq!([old[0], old[1], old[2]].map(|flow| idle_ends(&pair, flow)), [true, true, false]);
        let kept: Vec<_> = old[2..].iter().copied().chain([first, second]).collect();
        let mut flows: Vec<_> = pair.client.flows().collect();
        flows.sort_unstable();
        assert_eq!(flows, kept, "restarts {restarts}");
    }
}

#[test]
fn a_question_makes_room_however_many_flows_in_use_are_older() {
    let mut pair = few(24);
    for port in 4_000..4_017 {
        take(&mut pair, port).unwrap();
        take(&mut pair, port).unwrap();
    }
    let question = take(&mut pair, 4_017).unwrap();
    pair.run(secs(2));
    take(&mut pair, 4_018).unwrap();
    pair.run(secs(1));
    assert!(idle_ends(&pair, question));
    assert_eq!(pair.client.flows().count(), 18);
}

#[test]
fn a_source_that_begins_anew_while_its_old_flow_ends_keeps_the_new_one() {
    let mut pair = few(8);
    let old = take(&mut pair, 4_000).unwrap();
    pair.run(ms(200));
    pair.client.close_flow(pair.now, old);
    let new = take(&mut pair, 4_000).unwrap();
    assert_ne!(old, new);
    pair.run(secs(1));
    assert_eq!(pair.client.flows().collect::<Vec<_>>(), [new]);
    assert_eq!(take(&mut pair, 4_000), Ok(new));
}

#[test]
fn a_table_that_was_emptied_begins_at_its_first_place() {
    let mut pair = few(64);
    for port in 4_000..4_020 {
        take(&mut pair, port).unwrap();
    }
    pair.run(ms(200));
    for flow in pair.client.flows().collect::<Vec<_>>() {
        pair.client.close_flow(pair.now, flow);
    }
    pair.drain();
    pair.run(secs(1));
    assert_eq!(pair.client.flow_count(), 0);
    let flow = take(&mut pair, 4_000).unwrap();
    assert_eq!(pair.client.flows.slot(flow), Some(Slot(0)));
}

#[test]
fn a_flow_in_use_makes_no_room_and_a_full_table_says_so() {
    let mut pair = few(4);
    for port in 4_000..4_004 {
        take(&mut pair, port).unwrap();
        take(&mut pair, port).unwrap();
    }
    pair.run(secs(5));
    assert_eq!(take(&mut pair, 4_004), Err(SendError::Full { limit: 4 }));
    assert_eq!(pair.client.flows().count(), 4);
    assert!(take(&mut pair, 4_000).is_ok(), "who is in goes on");
}

#[test]
fn a_datagram_too_large_for_the_session_or_the_remote_is_refused_with_the_limit() {
    let mut pair = Pair::with(Treatment::default(), Limits { datagram: 1_000, ..Limits::default() });
    pair.connect();
    let take = |pair: &mut Pair, len| pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), &vec![0; len]);
    assert_eq!(take(&mut pair, 1_001), Err(SendError::TooLarge { len: 1_001, limit: 1_000 }));
    let counters = pair.client.counters();
    assert_eq!((counters.accepted, counters.dropped_out[DropReason::Oversize]), (1, 1));
    assert!(take(&mut pair, 1_000).is_ok());

    let mut pair = Pair::with(Treatment::default(), Limits { message: 2_048, ..Limits::default() });
    pair.connect();
    let flow = take(&mut pair, 1_024).unwrap();
    assert_eq!(take(&mut pair, 1_025), Err(SendError::TooLarge { len: 1_025, limit: 1_024 }));
    let name = Address { host: Host::Name("host.example".into()), port: 53 };
    let sent = pair.client.send(pair.now, flow, Some(&name), &[0; 1_024]);
    assert_eq!(sent, Err(SendError::TooLarge { len: 1_024, limit: 1_012 }), "a name needs room, too");
}

#[test]
fn nothing_is_taken_for_a_flow_that_ends_or_a_session_that_ended() {
    let (mut pair, _) = used(Limits::default());
    let flow = pair.client.flows().next().unwrap();
    pair.client.close_flow(pair.now, flow);
    assert_eq!(pair.client.send(pair.now, flow, None, b"late"), Err(SendError::Flow(flow)));
    assert_eq!(pair.client.send(pair.now, FlowId(99), None, b"lost"), Err(SendError::Flow(FlowId(99))));
    let answer = pair.server.handle_answer(pair.now, FlowId(99), source(9), b"lost");
    assert_eq!(answer, Err(SendError::Flow(FlowId(99))));

    pair.client.close(pair.now, Code::Done);
    assert_eq!(take(&mut pair, 4_001), Err(SendError::Closed));
    assert_eq!(pair.client.open_flow(pair.now, TUNNEL, None, None), Err(SendError::Closed));
}

#[test]
fn refusals_are_remembered_within_their_cap_and_their_time() {
    let limits = Limits { refusals: 3, ..Limits::default() };
    let mut pair = Pair::with(Treatment::default(), limits);
    pair.connect();
    let grant = Grant::new(Rules::default());
    pair.server.regrant(pair.now, Access { grant, own: Arc::new(Own::default()) });
    for port in 4_000..4_004 {
        take(&mut pair, port).unwrap();
    }
    pair.run(ms(200));
    let remembered = |pair: &mut Pair| {
        let taken = [4_000, 4_001, 4_002, 4_003].map(|port| take(pair, port));
        taken.iter().filter(|taken| **taken == Err(SendError::Refused)).count()
    };
    assert_eq!(remembered(&mut pair), 3);
    let counters = pair.client.counters();
    assert_eq!((counters.dropped_out[DropReason::Denied], counters.accepted), (3, 8), "what is refused is counted");

    pair.run(secs(5));
    assert_eq!(remembered(&mut pair), 0);
    pair.run(ms(200));
    assert_eq!(remembered(&mut pair), 3, "those whose time was over made room");
}

fn grant(pair: &mut Pair, grant: Grant) {
    pair.server.regrant(pair.now, Access { grant, own: Arc::new(Own::default()) });
    pair.drain();
}

#[test]
fn a_source_is_remembered_for_twice_as_long_each_time_and_not_a_moment_longer() {
    let limits = Limits { refusal_max: secs(5), ..Limits::default() };
    let mut pair = Pair::with(Treatment::default(), limits);
    pair.connect();
    grant(&mut pair, Grant::new(Rules::default()));
    for wait in [1, 2, 4, 5, 5] {
        assert!(take(&mut pair, 4_000).is_ok(), "before {wait} s");
        let there_and_back = pair.latency * 2;
        pair.run(there_and_back + secs(wait) - ms(1));
        assert_eq!(take(&mut pair, 4_000), Err(SendError::Refused), "after {wait} s");
        pair.run(ms(1));
    }
}

#[test]
fn a_source_whose_flow_is_taken_after_all_is_forgiven() {
    let mut pair = Pair::new();
    pair.echo = true;
    pair.connect();
    grant(&mut pair, Grant::new(Rules::default()));
    take(&mut pair, 4_000).unwrap();
    pair.run(secs(2));
    grant(&mut pair, Grant::open());
    take(&mut pair, 4_000).unwrap();
    pair.run(secs(1));
    assert_eq!(pair.answered.len(), 1);

    grant(&mut pair, Grant::new(Rules::default()));
    pair.run(pair.latency + secs(1) - ms(1));
    assert_eq!(take(&mut pair, 4_000), Err(SendError::Refused));
    pair.run(ms(1));
    assert!(take(&mut pair, 4_000).is_ok(), "as after a first refusal");
}

#[test]
fn a_refusal_makes_room_when_its_time_is_over_and_others_need_it() {
    let start = epoch();
    let key = |port| (TUNNEL, source(port));
    let refuse = |flows: &mut Flows, at, port| flows.refuse(start + ms(at), key(port), secs(1), secs(30), 2);

    let mut flows = Flows::new(1, 0);
    refuse(&mut flows, 0, 4_001);
    refuse(&mut flows, 500, 4_000);
    refuse(&mut flows, 1_000, 4_002);
    let refused = [4_000, 4_001, 4_002].map(|port| flows.refused(start + ms(1_000), &key(port)));
    assert_eq!(refused, [true, false, true], "there is room for two");

    let mut flows = Flows::new(1, 0);
    refuse(&mut flows, 0, 4_001);
    refuse(&mut flows, 1_500, 4_000);
    refuse(&mut flows, 1_500, 4_001);
    assert!(flows.refused(start + ms(3_499), &key(4_001)), "for longer the second time, since there was room");
}

#[test]
fn a_source_refused_again_waits_twice_as_long_until_a_flow_of_it_is_taken() {
    let mut pair = few(8);
    let regrant = |pair: &mut Pair, rules| {
        pair.server.regrant(pair.now, Access { grant: Grant::new(rules), own: Arc::new(Own::default()) });
        pair.drain();
    };
    // For how long nothing is begun for a source that was refused just now; it ends with a flow begun.
    let wait = |pair: &mut Pair| {
        pair.run(ms(60));
        let began = pair.now;
        while take(pair, 4_000) == Err(SendError::Refused) {
            pair.run(ms(100));
        }
        (pair.now - began).as_secs()
    };
    regrant(&mut pair, Rules::default());
    take(&mut pair, 4_000).unwrap();
    assert_eq!([(); 3].map(|()| wait(&mut pair)), [1, 2, 4]);

    regrant(&mut pair, Rules::open());
    pair.echo = true;
    pair.run(secs(1));
    assert_eq!(pair.answered.len(), 1);
    regrant(&mut pair, Rules::default());
    assert_eq!(wait(&mut pair), 1);
}

#[test]
fn an_idle_flow_is_ended_by_the_far_side_when_its_opener_forgets() {
    let mut pair = Pair::new();
    let link = pair.connect();
    pair.send(4_000, b"data");
    pair.run(secs(1));
    let flow = pair.server.flows().next().unwrap();
    // An opener that asked for a shorter time than it keeps to.
    let slot = pair.server.flows.slot(flow).unwrap();
    pair.server.flows.at_mut(slot).unwrap().open.idle = secs(1);
    let now = pair.now;
    pair.server.flows.look_again(slot, now + secs(1));
    pair.run(secs(4));
    assert_eq!((pair.server.flows().count(), pair.server.links().next()), (0, Some(link)));
    assert!(idle_ends(&pair, flow));
}

#[test]
fn a_message_knows_its_length_and_whether_there_is_one_is_asked_cheaply() {
    let (mut pair, link) = used(Limits::default());
    assert!(!pair.client.has_message(pair.now, link));
    assert!(!pair.client.has_message(pair.now, crate::wire::Ordinal(99)), "there is no such link");
    pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), b"data").unwrap();
    assert!(pair.client.has_message(pair.now, link));
    let message = pair.client.poll_message(pair.now, link, 65_536).unwrap();
    assert!(!message.is_empty() && Message { head: b"", body: b"" }.is_empty());
    assert_eq!(message.len(), message.to_bytes().len());
    assert!(!pair.client.has_message(pair.now, link));
    let counters = pair.client.counters();
    assert!(counters.messages_out >= counters.batches_out && counters.batches_out == 2, "{counters:?}");
}

#[test]
fn a_link_that_takes_nothing_gets_no_datagrams_and_one_whose_window_is_full_is_not_asked() {
    let (mut pair, link) = used(Limits::default());
    let take = |pair: &mut Pair| pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), &[7; 1_000]).unwrap();
    take(&mut pair);
    assert!(pair.client.poll_message(pair.now, link, 0).is_none());
    assert!(pair.client.poll_message(pair.now, link, 1).is_some(), "with any room, a whole batch may come");
    for _ in 0..100 {
        take(&mut pair);
    }
    assert!(pair.client.has_message(pair.now, link));
    while pair.client.poll_message(pair.now, link, 65_536).is_some() {}
    assert!(pair.client.report().queued > 0 && !pair.client.has_message(pair.now, link));
}

#[test]
fn an_acknowledgement_alone_is_a_message_when_it_is_due() {
    let (mut pair, link) = used(Limits::default());
    pair.echo = false;
    pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), b"data").unwrap();
    let message = pair.client.poll_message(pair.now, link, 65_536).unwrap().to_bytes();
    pair.server.handle_message(pair.now, link, message);
    let due = pair.server.poll_timeout().filter(|due| due.cause == "acknowledge").unwrap().at;
    assert!(!pair.server.has_message(due - ms(1), link) || due == pair.now);
    assert!(pair.server.has_message(due, link));
    assert!(pair.server.poll_message(due, link, 0).is_some_and(|message| message.body.is_empty()));
}

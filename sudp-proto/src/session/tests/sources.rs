//! Sources and their flows: what is not taken and why, who makes room, who is remembered as refused.

use std::sync::Arc;

use super::hostile::used;
use super::pair::{Pair, TUNNEL, source};
use crate::access::{Grant, Own, Rules};
use crate::config::Limits;
use crate::event::Event;
use crate::session::{Access, Role, SendError, Treatment};
use crate::stats::DropReason;
use crate::testing::{ms, secs};
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
    assert_eq!(pair.client.counters().dropped_out[DropReason::Denied], 3);

    pair.run(secs(5));
    assert_eq!(remembered(&mut pair), 0);
    pair.run(ms(200));
    assert_eq!(remembered(&mut pair), 3, "those whose time was over made room");
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
    assert!(!message.is_empty());
    assert_eq!(message.len(), message.to_bytes().len());
    assert!(!pair.client.has_message(pair.now, link));
}

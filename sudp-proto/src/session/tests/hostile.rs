//! What a remote may say that no remote of ours would, and what becomes of it.
//!
//! The numbers in the names are those of the list of bad input. After each, both laws of accounting
//! hold for every flow: the pair checks them whenever it is drained.

use bytes::Bytes;

use super::pair::{Pair, TUNNEL, source};
use crate::config::Limits;
use crate::credential::Credential;
use crate::event::{Event, LinkLoss};
use crate::rng::{Rng, Seed};
use crate::session::{Phase, RenewError, Role, Treatment};
use crate::stats::DropReason;
use crate::testing::{ms, secs};
use crate::wire::{
    Ack, Address, BatchHead, Bind, Bound, Class, Close, Closed, Code, Control, FlowClose, FlowId, Frame, GoAway,
    GoAwayReason, LinkDown, Number, Open, Ordinal, Refuse, Ticket, Totals, TunnelId, batch, varint,
};

/// What came of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Lives,
    LinkEnds(Code),
    SessionEnds(Code),
}

use Outcome::{LinkEnds, Lives, SessionEnds};

/// A session in use: one datagram went up on flow 1 and came back, and everything is acknowledged.
pub(super) fn used(limits: Limits) -> (Pair, Ordinal) {
    let mut pair = Pair::with(Treatment::default(), limits);
    pair.echo = true;
    let link = pair.connect();
    pair.send(4_000, b"question");
    pair.run(secs(1));
    pair.events.clear();
    (pair, link)
}

/// What `frames` do to a half in a session in use.
fn attack(role: Role, frames: &[Frame]) -> Outcome {
    let (mut pair, link) = used(Limits::default());
    pair.inject(role, link, frames);
    outcome(&pair, role)
}

pub(super) fn outcome(pair: &Pair, role: Role) -> Outcome {
    let mut outcome = Lives;
    for (_, event) in pair.events.iter().filter(|(half, _)| *half == role) {
        if let Event::LinkEnded { why: LinkLoss::Violation(code), .. } = event {
            outcome = LinkEnds(*code);
        } else if let Event::Closed { code, .. } | Event::Lost { code, .. } = event {
            return SessionEnds(*code);
        }
    }
    outcome
}

pub(super) fn records(number: u64, class: Class, body: Vec<u8>) -> Frame {
    let clock = (class == Class::Realtime).then_some(0);
    Frame::Batch(BatchHead { number: Number(number), class, clock }, body.into())
}

pub(super) fn message(frame: &Frame) -> Bytes {
    let mut message = Vec::new();
    frame.emit(&mut message);
    message.into()
}

pub(super) fn data(number: u64, flow: u64) -> Frame {
    let mut body = Vec::new();
    batch::emit_record(&mut body, FlowId(flow), None, None, b"data");
    records(number, Class::Reliable, body)
}

pub(super) fn controls(number: u64, controls: &[Control]) -> Frame {
    let mut body = Vec::new();
    for control in controls {
        control.emit_record(&mut body);
    }
    records(number, Class::Control, body)
}

pub(super) fn open(flow: u64) -> Control {
    Control::Open(Box::new(Open { destination: Some(Address::from(source(9))), ..Open::new(FlowId(flow), TUNNEL) }))
}

pub(super) fn down(ordinal: u64, count: Option<u64>, known: bool) -> Frame {
    Frame::LinkDown(LinkDown { ordinal: Ordinal(ordinal), count, known })
}

pub(super) fn ack(count: u64) -> Frame {
    Frame::Ack(Ack { count, delay: ms(0) })
}

#[test]
fn d1_10_an_acknowledgement_beyond_what_was_sent_or_below_the_last_ends_the_link() {
    for role in [Role::Client, Role::Server] {
        let (pair, link) = used(Limits::default());
        let half = if role == Role::Client { &pair.client } else { &pair.server };
        let sent = half.links.get(link).unwrap().sent_count;
        let rows = [(sent, Lives), (sent + 1, LinkEnds(Code::Count)), (0, LinkEnds(Code::Count))];
        for (count, expected) in rows.into_iter().chain([(varint::MAX, LinkEnds(Code::Count))]) {
            assert_eq!(attack(role, &[ack(count)]), expected, "{role:?} acknowledges {count} of {sent}");
        }
    }
    let late = Frame::Ack(Ack { count: 1, delay: secs(100_000) });
    assert_eq!(attack(Role::Client, &[late]), Lives);
}

#[test]
fn d1_10_an_acknowledgement_on_a_fenced_link_is_ignored() {
    let (mut pair, link) = used(Limits::default());
    pair.client.detach(pair.now, link, LinkLoss::Ended);
    pair.inject(Role::Client, link, &[ack(1_000)]);
    assert_eq!(outcome(&pair, Role::Client), Lives);
}

#[test]
fn d1_10_a_final_count_that_cannot_be_true_ends_the_session() {
    let count = SessionEnds(Code::Count);
    for (what, frames, expected) in [
        ("beyond what was sent", vec![down(1, Some(100), false)], count),
        ("below an acknowledgement", vec![down(1, Some(0), false)], count),
        ("of a link that never was", vec![down(9, Some(1), false)], count),
        ("the largest", vec![down(9, Some(varint::MAX), true)], count),
        ("nothing, of a link that never was", vec![down(9, Some(0), false)], Lives),
        ("nothing, twice", vec![down(9, Some(0), false), down(9, Some(0), false)], Lives),
        ("nothing, then something", vec![down(9, Some(0), false), down(9, Some(1), false)], count),
        ("none, of a link that never was", vec![down(9, None, true)], Lives),
        ("none, of a link it acknowledged", vec![down(1, None, true)], count),
        ("of the largest ordinal", vec![down(varint::MAX, Some(0), false)], Lives),
    ] {
        assert_eq!(attack(Role::Server, &frames), expected, "{what}");
    }
    assert_eq!(attack(Role::Client, &[down(9, Some(0), false)]), count, "only the client draws ordinals");
}

#[test]
fn d1_10_a_link_down_for_the_link_it_comes_on_fences_it_and_is_told_elsewhere() {
    let (mut pair, first) = used(Limits { links: 2, ..Limits::default() });
    let sent = pair.server.links.get(first).unwrap().sent_count;
    pair.connect();
    pair.run(secs(1));
    pair.inject(Role::Server, first, &[down(first.0, Some(sent), false), data(100, 1)]);
    assert_eq!(pair.server.links().count(), 1);
    assert_eq!(pair.served.len(), 1, "what stands behind it is not taken");
    pair.run(secs(1));
    assert_eq!((pair.client.links().count(), pair.client.links.ended.len(), pair.server.links.ended.len()), (1, 0, 0));
}

#[test]
fn d1_10_a_second_final_count_that_differs_ends_the_session() {
    let (mut pair, first) = used(Limits { links: 2, ..Limits::default() });
    let second = pair.connect();
    pair.run(secs(1));
    let flow = pair.server.flows().next().unwrap();
    pair.server.handle_answer(pair.now, flow, source(9), b"one more").unwrap();
    let first_sent = pair.server.links.get(first).unwrap().sent_count;
    while pair.server.poll_message(pair.now, first, 65_536).is_some() {}
    let sent = pair.server.links.get(first).unwrap().sent_count;
    pair.server.detach(pair.now, first, LinkLoss::Ended);
    pair.inject(Role::Server, second, &[down(first.0, Some(sent), false)]);
    assert_eq!(outcome(&pair, Role::Server), Lives);
    assert_eq!(sent, first_sent + 1);
    pair.inject(Role::Server, second, &[down(first.0, Some(first_sent), false)]);
    assert_eq!(outcome(&pair, Role::Server), SessionEnds(Code::Count));
}

#[test]
fn d1_9_batch_numbers_are_taken_once_each_whatever_their_order() {
    let top = varint::MAX;
    for (what, numbers, taken) in [
        ("twice", vec![100, 100], 1),
        ("decreasing", vec![103, 102, 101], 3),
        ("a gap of 8191", vec![100, 100 + 8_191, 100, 101], 3),
        ("a gap of 8192", vec![100, 100 + 8_192, 100, 101], 3),
        ("a gap of 8193", vec![100, 100 + 8_193, 101, 102], 3),
        ("the largest", vec![top, top, top - 8_191, top - 8_192, 100], 2),
    ] {
        let (mut pair, link) = used(Limits::default());
        let frames: Vec<_> = numbers.iter().map(|number| data(*number, 1)).collect();
        pair.inject(Role::Server, link, &frames);
        let counters = pair.server.counters();
        assert_eq!(counters.delivered, 1 + taken, "{what}");
        assert_eq!(counters.duplicates, numbers.len() as u64 - taken, "{what}");
        assert_eq!(outcome(&pair, Role::Server), Lives, "{what}");
    }
    assert_eq!(attack(Role::Server, &[data(0, 1)]), LinkEnds(Code::Malformed));
}

#[test]
fn d1_9_data_for_a_flow_that_is_unknown_or_closed_is_dropped_counted_and_answered() {
    let (mut pair, link) = used(Limits::default());
    pair.inject(Role::Server, link, &[data(100, 77), data(101, 77), data(102, 4), data(103, varint::MAX)]);
    let counters = pair.server.counters();
    assert_eq!((counters.processed, counters.dropped_in[DropReason::Closed]), (5, 4));
    assert_eq!(
        pair.server.controls.len() + pair.server.unresolved.iter().count(),
        1,
        "each is answered once, together"
    );
    let close = FlowClose { flow: FlowId(1), code: Code::Done, totals: Totals::default() };
    pair.inject(Role::Server, link, &[controls(104, &[Control::Close(close)]), data(105, 1)]);
    assert_eq!(pair.server.counters().dropped_in[DropReason::Closed], 5);
    assert_eq!(outcome(&pair, Role::Server), Lives);
}

#[test]
fn d1_8_flows_that_may_not_be_opened_are_refused() {
    let kind = |kind| Control::Open(Box::new(Open { kind, ..Open::new(FlowId(3), TUNNEL) }));
    let reused = [controls(100, &[open(1)])];
    for (what, role, frames, expected, flows) in [
        ("wrong parity", Role::Server, vec![controls(100, &[open(2)])], LinkEnds(Code::Malformed), 1),
        ("wrong parity", Role::Client, vec![controls(100, &[open(3)])], LinkEnds(Code::Malformed), 1),
        ("the largest id", Role::Server, vec![controls(100, &[open(varint::MAX)])], Lives, 2),
        ("an id in use", Role::Server, reused.to_vec(), Lives, 1),
        ("an unknown kind", Role::Server, vec![controls(100, &[kind(1)])], Lives, 2),
        ("an unknown kind", Role::Server, vec![controls(100, &[kind(varint::MAX)])], Lives, 2),
        ("no destination", Role::Server, vec![controls(100, &[kind(0)])], Lives, 2),
        ("a tunnel that is not reverse", Role::Client, vec![controls(100, &[open(2)])], Lives, 2),
    ] {
        let (mut pair, link) = used(Limits::default());
        pair.inject(role, link, &frames);
        assert_eq!(outcome(&pair, role), expected, "{what} at the {role:?}");
        assert_eq!(pair.half(role).flows().count(), flows, "{what} at the {role:?}");
    }
}

#[test]
fn d1_12_closes_that_come_twice_or_for_nothing_are_ignored() {
    let close = |flow| {
        let totals = Totals { accepted: varint::MAX, acknowledged: varint::MAX, dropped: varint::MAX };
        Control::Close(FlowClose { flow: FlowId(flow), code: Code::Other(varint::MAX), totals })
    };
    let closed = |flow| Control::Closed(Closed { flow: FlowId(flow), code: Code::Unknown });
    for role in [Role::Client, Role::Server] {
        for list in [
            vec![close(1), close(1)],
            vec![closed(1), closed(1), close(1), closed(1)],
            vec![close(1), closed(1)],
            vec![close(77), closed(77), close(4), closed(4)],
        ] {
            let (mut pair, link) = used(Limits::default());
            pair.inject(role, link, &[controls(100, &list)]);
            assert_eq!(outcome(&pair, role), Lives, "{role:?}: {list:?}");
            pair.run(secs(1));
        }
    }
}

#[test]
fn d1_12_a_session_is_closed_once_whatever_the_code() {
    let close = |code| Frame::Close(Close { code, reason: "so".into() });
    for code in [Code::Done, Code::Evicted, Code::Other(varint::MAX)] {
        for role in [Role::Client, Role::Server] {
            let (mut pair, link) = used(Limits::default());
            pair.inject(role, link, &[close(code), close(Code::Full), data(100, 1)]);
            pair.inject(role, link, &[close(Code::Full), data(101, 1)]);
            assert_eq!(outcome(&pair, role), SessionEnds(code));
            let ends = |event: &Event| matches!(event, Event::Closed { .. } | Event::Lost { .. });
            assert_eq!(pair.events.iter().filter(|(half, event)| *half == role && ends(event)).count(), 1);
            assert_eq!(pair.served.len(), 1, "nothing behind it is taken");
        }
    }
}

#[test]
fn d1_16_clocks_of_any_value_only_say_what_is_late() {
    let (mut pair, link) = used(Limits::default());
    for (number, clock) in [0, u32::MAX, 1 << 31, (1 << 31) - 1, 12, u32::MAX - 7].into_iter().enumerate() {
        let mut body = Vec::new();
        batch::emit_record(&mut body, FlowId(1), None, None, b"clock");
        let head = BatchHead { number: Number(100 + number as u64), class: Class::Realtime, clock: Some(clock) };
        pair.inject(Role::Server, link, &[Frame::Batch(head, body.into())]);
    }
    let counters = pair.server.counters();
    assert_eq!(counters.processed, counters.delivered + counters.dropped_in.total());
    assert_eq!((counters.processed, outcome(&pair, Role::Server)), (7, Lives));
}

#[test]
fn d1_19_controls_that_are_the_other_sides_to_send_open_nothing() {
    let (mut pair, link) = used(Limits::default());
    let bind = Bind {
        tunnel: TunnelId(5),
        listen: source(80),
        class: Class::Reliable,
        copies: 1,
        spread: false,
        idle: secs(180),
    };
    pair.needs.clear();
    pair.inject(Role::Client, link, &[controls(100, &[Control::Bind(bind), Control::Unbind(TUNNEL)])]);
    let bound = Bound { tunnel: TunnelId(5), outcome: Ok(source(80)) };
    pair.inject(Role::Server, link, &[controls(100, &[Control::Bound(bound), Control::Unbind(TUNNEL)])]);
    assert_eq!((outcome(&pair, Role::Client), outcome(&pair, Role::Server)), (Lives, Lives));
    assert_eq!(pair.needs, [], "nobody listens");
    assert!(pair.client.tunnel(TUNNEL).is_some());
}

/// One of each.
fn every_frame() -> Vec<Frame> {
    vec![
        ack(0),
        Frame::Ask,
        data(100, 1),
        Frame::Close(Close { code: Code::Denied, reason: String::new() }),
        Frame::GoAway(GoAway { reason: GoAwayReason::Rebalance, after: secs(1) }),
        Frame::Hello(Bytes::from_static(b"hello")),
        down(1, None, true),
        Frame::Ping(1),
        Frame::Pong(1),
        Frame::Refuse(Refuse { code: Code::Full, retry_after: None, server: 0 }),
        Frame::Settled,
        Frame::Welcome(Bytes::from_static(b"welcome")),
    ]
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Fresh,
    Provisional,
    Established,
    Draining,
    Closed,
}

/// A pair of which one half has come so far, and the link between them.
fn pair_at(stage: Stage, role: Role) -> (Pair, Ordinal) {
    let mut pair = Pair::new();
    if stage == Stage::Fresh {
        return (pair, Ordinal::FIRST);
    }
    let link = pair.connect();
    if stage != Stage::Provisional {
        pair.run(secs(1));
    }
    let now = pair.now;
    if stage == Stage::Draining {
        pair.half(role).drain(now, GoAwayReason::Drain, ms(0));
    } else if stage == Stage::Closed {
        pair.half(role).close(now, Code::Idle);
    }
    pair.events.clear();
    (pair, link)
}

fn expected(stage: Stage, role: Role, frame: &Frame) -> Outcome {
    if matches!(stage, Stage::Fresh | Stage::Closed) {
        return Lives;
    }
    match frame {
        Frame::Hello(_) | Frame::Refuse(_) | Frame::Welcome(_) => LinkEnds(Code::Malformed),
        Frame::Close(close) => SessionEnds(close.code),
        Frame::Settled if stage == Stage::Draining && role == Role::Client => SessionEnds(Code::Done),
        Frame::Settled if stage == Stage::Draining => SessionEnds(Code::GoingAway),
        Frame::Ack(_) | Frame::Ask | Frame::Batch(..) | Frame::GoAway(_) | Frame::LinkDown(_) => Lives,
        Frame::Ping(_) | Frame::Pong(_) | Frame::Settled => Lives,
    }
}

#[test]
fn d1_2_every_frame_at_every_stage_has_its_outcome() {
    for role in [Role::Client, Role::Server] {
        for stage in [Stage::Fresh, Stage::Provisional, Stage::Established, Stage::Draining, Stage::Closed] {
            for frame in every_frame() {
                let (mut pair, link) = pair_at(stage, role);
                let message = message(&frame);
                let now = pair.now;
                pair.half(role).handle_message(now, link, message);
                while let Some(event) = pair.half(role).poll_event() {
                    // A session that was closed before says so once.
                    if stage != Stage::Closed {
                        pair.events.push((role, event));
                    }
                }
                assert_eq!(outcome(&pair, role), expected(stage, role, &frame), "{frame:?}, {role:?}, {stage:?}");
                let still = match stage {
                    Stage::Fresh => pair.half(role).phase() == Phase::Fresh,
                    Stage::Closed => pair.half(role).phase() == Phase::Closed(Code::Idle),
                    Stage::Provisional | Stage::Established | Stage::Draining => true,
                };
                assert!(still, "{frame:?}, {role:?}, {stage:?}");
            }
        }
    }
}

#[test]
fn d1_18_random_bytes_flipped_bits_and_spliced_messages_end_at_worst_a_link_or_the_session() {
    let mut rng = Rng::new(&Seed::from(18));
    let mut ended = 0;
    for _ in 0..400 {
        let (mut pair, link) = used(Limits::default());
        let mut message = Vec::new();
        for frame in [data(100, 1), controls(101, &[open(3), open(5)]), down(9, Some(0), false), ack(1), data(102, 3)] {
            frame.emit(&mut message);
        }
        for _ in 0..=rng.below(3) {
            let at = usize::try_from(rng.below(message.len() as u64)).unwrap();
            let random = rng.array::<4>();
            match rng.below(4) {
                0 => message[at] ^= 1 << rng.below(8),
                1 => message.truncate(at.max(1)),
                2 => message.splice(at..at, random).for_each(drop),
                _ => message.rotate_left(at),
            }
        }
        let role = if rng.chance(1, 2) { Role::Client } else { Role::Server };
        let now = pair.now;
        pair.half(role).handle_message(now, link, message.into());
        pair.drain();
        pair.run(ms(100));
        ended += usize::from(outcome(&pair, role) != Lives);
    }
    assert!((100..400).contains(&ended), "{ended} of 400");
}

#[test]
fn d1_8_what_stands_behind_the_flow_too_many_does_not_reach_the_next_session() {
    let (mut pair, link) = used(Limits { flows: 4, ..Limits::default() });
    let opens: Vec<_> = (1..50).map(|number| open(2 * number)).collect();
    pair.inject(Role::Client, link, &[controls(100, &opens)]);
    assert_eq!(outcome(&pair, Role::Client), SessionEnds(Code::Limit));
    let theirs = pair.client.flows().filter(|flow| flow.0 % 2 == 0).count();
    assert_eq!((theirs, pair.client.controls.len()), (0, 0));
}

#[test]
fn d1_12_a_flow_closed_as_unknown_when_only_its_end_was_awaited_is_forgotten() {
    let (mut pair, link) = used(Limits::default());
    pair.client.close_flow(pair.now, FlowId(1));
    // The server takes the CLOSE and never sends its own.
    let mut sent = 0;
    while pair.client.poll_message(pair.now, link, 65_536).is_some() {
        sent += 1;
    }
    assert!(sent > 0);
    let count = pair.client.links.get(link).unwrap().sent_count;
    let closed = Control::Closed(Closed { flow: FlowId(1), code: Code::Unknown });
    pair.inject(Role::Client, link, &[ack(count), controls(100, &[closed])]);
    assert_eq!(pair.client.flows().count(), 0);
}

#[test]
fn however_often_a_credential_is_shown_one_question_waits_and_the_last_is_asked() {
    let (mut pair, link) = used(Limits::default());
    let shown = |token: &str| Control::Renew(Credential::bearer(token).unwrap());
    let many: Vec<Control> = (0..50).map(|number| shown(&number.to_string())).collect();
    pair.events.clear();
    pair.inject(Role::Server, link, &[controls(100, &many)]);
    assert_eq!(outcome(&pair, Role::Server), Lives);
    let asked = pair.events.iter().filter(|(_, event)| *event == Event::RenewalAsked).count();
    assert_eq!(asked, 1);
    assert_eq!(pair.server.take_renewal().map(|last| last.expose().to_owned()), Some("Bearer 49".to_owned()));
    assert_eq!(pair.server.take_renewal(), None);
}

#[test]
fn renewals_that_go_the_wrong_way_change_nothing() {
    let (mut pair, link) = used(Limits::default());
    pair.events.clear();
    let shown = Control::Renew(Credential::bearer("abc").unwrap());
    pair.inject(Role::Client, link, &[controls(100, &[shown])]);
    let answer = Control::Renewed(Ok(Ticket(Bytes::from_static(b"ticket"))));
    pair.inject(Role::Server, link, &[controls(100, &[answer, Control::Renewed(Err(Code::Denied))])]);
    assert_eq!((outcome(&pair, Role::Client), outcome(&pair, Role::Server)), (Lives, Lives));
    assert!(pair.client.take_renewal().is_none() && pair.server.take_ticket().is_none());
    assert_eq!(pair.server.renew(Credential::bearer("abc").unwrap()), Err(RenewError::NoSession));
    let news = |event: &Event| matches!(event, Event::Renewed(_) | Event::RenewalAsked);
    assert!(!pair.events.iter().any(|(_, event)| news(event)));
}

//! What time overtakes: datagrams that something held, controls of dead links, answers behind a close.

use super::pair::{Fate, Pair, TUNNEL, source};
use crate::config::Limits;
use crate::event::Event;
use crate::session::{InDoubt, Role, Treatment, Tunnel, Way};
use crate::stats::DropReason;
use crate::testing::{ms, secs};
use crate::wire::{Address, Class, Code, Ordinal, TunnelId};

#[test]
fn a_realtime_datagram_that_something_below_us_held_is_dropped_as_late_and_the_next_is_not() {
    let treatment = Treatment { class: Class::Realtime, ..Treatment::default() };
    let mut pair = Pair::with(treatment, Limits::default());
    pair.connect();
    let most = Limits::default().realtime_age;
    for (number, latency) in (0_u32..).zip([ms(25), ms(25) + most, ms(26) + most, ms(25)]) {
        pair.latency = latency;
        pair.send(4_000, &number.to_be_bytes());
        pair.run(secs(1));
    }
    assert_eq!(Pair::numbers(&pair.served), [0, 1, 3]);
    let counters = pair.server.counters();
    assert_eq!((counters.processed, counters.dropped_in[DropReason::Late]), (4, 1));
}

#[test]
fn the_open_in_a_late_batch_is_carried_out() {
    let treatment = Treatment { class: Class::Realtime, ..Treatment::default() };
    let mut pair = Pair::with(treatment, Limits::default());
    pair.connect();
    pair.send(4_000, b"in time");
    pair.run(secs(1));
    pair.latency = ms(300);
    pair.send(4_001, b"late");
    pair.run(secs(1));
    assert_eq!(pair.served.len(), 1);
    assert_eq!(pair.server.flows().count(), 2);
}

#[test]
fn cuts_one_after_another_are_no_standing_queue() {
    let mut pair = Pair::new();
    for number in 0..800_u32 {
        let mut payload = [0; 1_000];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), &payload).unwrap();
    }
    for _ in 0..3 {
        let link = pair.connect();
        pair.run(ms(60));
        pair.cut(link);
        pair.run(secs(2));
    }
    assert!(pair.client.report().queued > 100, "a queue is left to be thinned");
    pair.connect();
    pair.run(secs(2));
    let mut served = Pair::numbers(&pair.served);
    served.sort_unstable();
    assert_eq!(served, (0..800).collect::<Vec<_>>());
}

#[test]
fn a_queue_that_stands_on_a_link_at_work_is_thinned_and_every_drop_is_counted() {
    let mut pair = Pair::new();
    pair.latency = ms(500);
    pair.connect();
    for _ in 0..1_500 {
        pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), &[7; 1_000]).unwrap();
    }
    pair.run(secs(12));
    let counters = pair.client.counters();
    assert!(counters.dropped_out[DropReason::Codel] > 0);
    assert_eq!(pair.served.len() as u64 + counters.dropped_out.total(), 1_500);
}

#[test]
fn what_comes_behind_the_alarm_leaves_the_suspect_link_alone() {
    let mut pair = Pair::new();
    pair.connect();
    pair.connect();
    pair.run(secs(1));
    let mut number = 0_u32;
    let mut send = |pair: &mut Pair| {
        pair.send(4_000, &number.to_be_bytes());
        pair.run(ms(20));
        number += 1;
    };
    // With something always under way a flow stays at home.
    (0..10).for_each(|_| send(&mut pair));
    let home = home(&pair);
    pair.path(home).fate = Fate::Hanging;
    while pair.count(|event| *event == Event::LinkSuspect { ordinal: home }) == 0 {
        send(&mut pair);
    }
    let sent = |pair: &Pair| pair.client.links.get(home).unwrap().sent_count;
    let before = sent(&pair);
    (0..10).for_each(|_| send(&mut pair));
    assert_eq!(sent(&pair), before);
    pair.run(ms(100));
    let mut served = Pair::numbers(&pair.served);
    served.sort_unstable();
    assert_eq!(served, (0..number).collect::<Vec<_>>());
}

#[test]
fn what_is_overdue_goes_another_way_before_its_link_is_suspect() {
    let mut pair = Pair::new();
    pair.connect();
    pair.connect();
    pair.run(secs(1));
    for number in 0..20_u32 {
        pair.send(4_000, &number.to_be_bytes());
        pair.run(ms(20));
    }
    let home = home(&pair);
    pair.path(home).fate = Fate::Hanging;
    pair.send(4_000, &20_u32.to_be_bytes());
    pair.run(ms(400));
    assert_eq!(Pair::numbers(&pair.served), (0..21).collect::<Vec<_>>());
    assert_eq!(pair.count(|event| *event == Event::LinkSuspect { ordinal: home }), 0);
}

/// The link at which the client's first flow is at home.
pub(super) fn home(pair: &Pair) -> Ordinal {
    let (_, flow) = pair.client.flows.iter().next().unwrap();
    pair.client.links.live.iter().find(|link| link.lane == flow.home).unwrap().ordinal
}

#[test]
fn a_control_that_a_dead_link_held_for_seconds_arrives_on_the_next() {
    let mut pair = Pair::new();
    let link = pair.connect();
    pair.send(4_000, b"hello");
    pair.run(secs(1));
    pair.path(link).fate = Fate::Hanging;
    let way = Way::Reverse { listen: source(53), to: Address::from(source(9)) };
    let tunnel = Tunnel { way, treatment: Treatment::default(), in_doubt: InDoubt::Drop };
    pair.client.add_tunnel(TunnelId(2), tunnel).unwrap();
    pair.drain();
    pair.run(secs(20));
    pair.cut(link);
    pair.connect();
    pair.run(secs(1));
    let bound = Event::TunnelBound { tunnel: TunnelId(2), outcome: Ok(source(53)) };
    assert_eq!(pair.count(|event| *event == bound), 1);
}

#[test]
fn an_answer_that_the_close_of_its_flow_overtakes_is_in_the_books() {
    let mut pair = Pair::new();
    pair.connect();
    pair.connect();
    pair.send(4_000, b"question");
    pair.run(secs(1));
    let flow = pair.server.flows().next().unwrap();
    pair.latency = ms(400);
    pair.server.handle_answer(pair.now, flow, source(9), b"answer").unwrap();
    pair.drain();
    pair.latency = ms(25);
    // The link that is asked first carries it; what follows takes the other.
    pair.links.swap(0, 1);
    pair.client.close_flow(pair.now, flow);
    pair.drain();
    pair.run(ms(100));
    assert_eq!(pair.client.flows().count(), 1, "their answers are still under way");
    pair.run(secs(2));
    assert_eq!((pair.client.flows().count(), pair.server.flows().count()), (0, 0));
    let client = pair.client.counters();
    assert_eq!((client.processed, client.delivered), (1, 1));
    for role in [Role::Client, Role::Server] {
        let done =
            |(half, event): &&(Role, Event)| *half == role && *event == Event::FlowClosed { flow, code: Code::Done };
        assert_eq!(pair.events.iter().filter(done).count(), 1, "{role:?}");
    }
}

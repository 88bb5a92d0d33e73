//! What a flow holds while its socket is full or a name is looked for, and for how long.

use std::net::SocketAddr;
use std::time::Duration;

use super::pair::{Pair, TUNNEL, source};
use crate::config::Limits;
use crate::session::Treatment;
use crate::stats::DropReason;
use crate::testing::{ms, secs};
use crate::wire::{Address, Class, FlowId, Host};

/// A pair whose flow has carried one datagram, and the server's end of it.
fn used(treatment: Treatment, limits: Limits) -> (Pair, FlowId) {
    let mut pair = Pair::with(treatment, limits);
    pair.connect();
    pair.send(4_000, b"first");
    pair.run(ms(200));
    pair.served.clear();
    let flow = pair.server.flows().next().unwrap();
    (pair, flow)
}

fn send(pair: &mut Pair, flow: FlowId, to: Option<&Address>, size: usize) {
    pair.client.send(pair.now, flow, to, &vec![7; size]).unwrap();
    pair.drain();
    pair.run(ms(50));
}

fn sizes(pair: &Pair) -> Vec<usize> {
    pair.served.iter().map(|(_, payload)| payload.len()).collect()
}

fn named(name: &str) -> Address {
    Address { host: Host::Name(name.into()), port: 53 }
}

#[test]
fn a_flow_whose_socket_is_full_holds_the_newest_within_its_bounds() {
    let limits = Limits { hold: 3, hold_bytes: 1_000, ..Limits::default() };
    for (sent, kept) in [
        (&[500, 500][..], &[500, 500][..]),
        (&[500, 501], &[501]),
        (&[600, 600, 600], &[600]),
        (&[1_500], &[1_500]),
        (&[1_500, 1], &[1]),
        (&[1, 2, 3], &[1, 2, 3]),
        (&[1, 2, 3, 4], &[2, 3, 4]),
    ] {
        let (mut pair, flow) = used(Treatment::default(), limits.clone());
        pair.server.block(flow);
        for size in sent {
            send(&mut pair, flow, None, *size);
        }
        let full = pair.server.books(flow).unwrap().refused[DropReason::Full];
        assert_eq!((pair.served.len(), full), (0, (sent.len() - kept.len()) as u64), "{sent:?}");
        pair.server.unblock(pair.now, flow);
        pair.drain();
        assert_eq!(sizes(&pair), kept, "{sent:?}");
    }
}

#[test]
fn what_waited_for_a_name_that_is_not_found_makes_room_for_what_waits_for_another() {
    let (mut pair, flow) = used(Treatment::default(), Limits { hold_bytes: 1_000, ..Limits::default() });
    let answers: [&[SocketAddr]; 2] = [&[], &[source(53)]];
    for (name, count, size, answers) in [("gone.example", 1, 900, answers[0]), ("late.example", 2, 450, answers[1])] {
        let to = named(name);
        for _ in 0..count {
            send(&mut pair, flow, Some(&to), size);
        }
        assert_eq!(pair.server.flow(flow).unwrap().held, count, "{name}");
        pair.server.handle_resolved(pair.now, flow, name, 53, answers);
        pair.drain();
    }
    assert_eq!(sizes(&pair), [450, 450]);
    let refused = pair.server.books(flow).unwrap().refused;
    assert_eq!((refused[DropReason::Unreachable], refused.total()), (1, 1));
}

#[test]
fn what_a_full_socket_kept_waiting_for_longer_than_its_class_allows_is_dropped() {
    for (class, age) in [(Class::Reliable, secs(15)), (Class::Realtime, ms(200))] {
        for (late, kept) in [(Duration::ZERO, 1), (Duration::from_nanos(1), 0)] {
            let (mut pair, flow) = used(Treatment { class, ..Treatment::default() }, Limits::default());
            pair.server.block(flow);
            pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), b"waits").unwrap();
            pair.drain();
            pair.run(ms(50));
            let came = pair.server.inbox(flow).next().unwrap().at;
            pair.now = came + age + late;
            pair.server.unblock(pair.now, flow);
            pair.drain();
            let aged = pair.server.books(flow).unwrap().refused[DropReason::Age];
            assert_eq!((pair.served.len(), aged), (kept, 1 - kept as u64), "{class:?}, {late:?} too late");
        }
    }
}

//! Every error that a system has for a socket: what it costs, and that it ends nothing else.
#![cfg(target_os = "linux")]

use std::io;

use super::*;
use crate::stats::DropReason;

/// `Again` and `Interrupted` are not here: an `Io` keeps them to itself.
const SEND: [(i32, &str, DropReason); 16] = [
    (1, "EPERM", DropReason::Denied),
    (9, "EBADF", DropReason::Unreachable),
    (12, "ENOMEM", DropReason::Full),
    (13, "EACCES", DropReason::Denied),
    (22, "EINVAL", DropReason::Unreachable),
    (32, "EPIPE", DropReason::Unreachable),
    (90, "EMSGSIZE", DropReason::Oversize),
    (92, "ENOPROTOOPT", DropReason::Unreachable),
    (97, "EAFNOSUPPORT", DropReason::Unreachable),
    (99, "EADDRNOTAVAIL", DropReason::Unreachable),
    (100, "ENETDOWN", DropReason::Unreachable),
    (101, "ENETUNREACH", DropReason::Unreachable),
    (105, "ENOBUFS", DropReason::Full),
    (111, "ECONNREFUSED", DropReason::Unreachable),
    (112, "EHOSTDOWN", DropReason::Unreachable),
    (113, "EHOSTUNREACH", DropReason::Unreachable),
];

const RECEIVE: [(i32, &str); 9] = [
    (5, "EIO"),
    (9, "EBADF"),
    (12, "ENOMEM"),
    (22, "EINVAL"),
    (104, "ECONNRESET"),
    (105, "ENOBUFS"),
    (107, "ENOTCONN"),
    (111, "ECONNREFUSED"),
    (113, "EHOSTUNREACH"),
];

fn error(number: i32) -> io::Result<Step> {
    Err(io::Error::from_raw_os_error(number))
}

fn failures(world: &mut World) -> Vec<Told> {
    world.told().into_iter().filter(|told| matches!(told, Told::Failed(..))).collect()
}

#[test]
fn an_error_of_sending_that_stays_costs_the_datagram_under_its_reason_and_the_next_ones_leave() {
    for (number, name, reason) in SEND {
        let mut world = World::server();
        let flow = world.remote_sends(5_000, b"first");
        world.settle();
        // One about the past is tried twice, whichever it is about.
        let tries = 1 + usize::from(sockets::speaks_of_the_past(io::Error::from_raw_os_error(number).kind()));
        world.bench.only().1.sends.extend((0..tries).map(|_| error(number)));
        world.remote_sends(5_000, b"second");
        world.remote_sends(5_000, b"third");
        world.settle();

        let books = world.session().books(flow).unwrap();
        assert_eq!((books.delivered, books.refused[reason], books.refused.total()), (2, 1, 1), "{name}");
        assert_eq!(world.bench.only().1.sent.last().unwrap().payload, &b"third"[..], "{name}");
        assert_eq!((world.bench.closed.len(), failures(&mut world)), (0, vec![]), "{name}");
    }
}

#[test]
fn an_error_of_receiving_is_survived_at_a_flow_and_at_a_listener_and_costs_no_datagram() {
    for (number, name) in RECEIVE {
        for listens in [false, true] {
            let mut world = if listens { World::client(Some(at(5_005))) } else { World::server() };
            if !listens {
                world.remote_sends(5_000, b"first");
                world.settle();
            }
            let (socket, plug) = world.bench.only();
            plug.receives.extend((0..20).map(|_| error(number)));
            plug.incoming.push_back((at(9), b"behind it".to_vec()));
            world.driver.handle_ready(socket, Way::In);
            let before = world.bench.calls.receives;
            assert!(world.turns() < 20, "{name}");
            assert!(world.bench.calls.receives - before < 20, "{name}: it pauses, and does not spin");

            world.wait(15);
            assert_eq!(world.bench.only().1.incoming.len(), 0, "{name}");
            assert_eq!((world.bench.closed.len(), failures(&mut world)), (0, vec![]), "{name}");
        }
    }
}

#[test]
fn an_error_of_receiving_that_never_ends_is_asked_about_once_a_second() {
    for (number, name) in RECEIVE {
        let mut world = World::client(Some(at(5_005)));
        let (socket, plug) = world.bench.only();
        plug.receives.extend((0..10_000).map(|_| error(number)));
        world.driver.handle_ready(socket, Way::In);
        world.wait(30);
        let before = world.bench.calls.receives;
        world.wait(20);
        assert!((10..=25).contains(&(world.bench.calls.receives - before)), "{name}");
        assert!(world.turn().deadline.is_some(), "{name}: nobody rings for it");
    }
}

#[test]
fn an_error_of_a_stream_ends_that_stream_and_nothing_else() {
    for number in [5, 9, 12, 22, 32, 103, 104, 105, 107, 110, 111, 113] {
        let kind = io::Error::from_raw_os_error(number).kind();
        let mut world = World::server();
        world.remote_sends(5_000, b"first");
        world.settle();
        world.pipe().breaks = Some(kind);
        world.driver.handle_ready(world.link, Way::In);
        world.turns();
        assert_eq!(failures(&mut world), [Told::Failed(LINK, kind)]);
        assert_eq!(world.bench.closed, [world.link]);
        assert_eq!(world.bench.sockets.len(), 1, "the flow keeps its socket");
    }
}

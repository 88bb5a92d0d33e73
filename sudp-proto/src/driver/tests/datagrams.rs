//! Sockets and lookups: what is sent, what waits, what is lost and under which name.

use std::io::{self, ErrorKind};

use super::bench::Plug;
use super::*;
use crate::stats::DropReason;
use crate::wire::Host;

/// A server with one flow, whose socket has sent one datagram.
fn with_flow() -> (World, FlowId) {
    let mut world = World::server();
    let flow = world.remote_sends(5_000, b"first");
    world.settle();
    assert_eq!(payloads(world.bench.only().1), [b"first"]);
    world.bench.only().1.batches.clear();
    (world, flow)
}

fn payloads(plug: &Plug) -> Vec<&[u8]> {
    plug.sent.iter().map(|datagram| &datagram.payload[..]).collect()
}

fn name(host: &str) -> Option<Address> {
    Some(Address { host: Host::Name(host.into()), port: 9 })
}

fn refused() -> io::Result<Step> {
    Err(ErrorKind::ConnectionRefused.into())
}

#[test]
fn an_error_about_an_earlier_datagram_loses_none() {
    let (mut world, flow) = with_flow();
    world.bench.only().1.sends.push_back(refused());
    world.remote_sends(5_000, b"second");
    world.settle();

    assert_eq!(payloads(world.bench.only().1), [&b"first"[..], b"second"]);
    let books = world.session().books(flow).unwrap();
    assert_eq!((books.delivered, books.refused.total()), (2, 0));
}

#[test]
fn an_error_that_stays_costs_one_datagram_and_has_a_reason() {
    let (mut world, flow) = with_flow();
    world.bench.only().1.sends.extend([refused(), refused()]);
    world.remote_sends(5_000, b"second");
    world.remote_sends(5_000, b"third");
    world.settle();

    assert_eq!(payloads(world.bench.only().1), [&b"first"[..], b"third"]);
    let books = world.session().books(flow).unwrap();
    assert_eq!((books.delivered, books.refused[DropReason::Unreachable]), (2, 1));
}

#[test]
fn a_datagram_larger_than_the_socket_takes_is_counted_as_oversize() {
    let large = if cfg!(windows) {
        10_040
    } else if cfg!(target_os = "linux") {
        90
    } else {
        40
    };
    for error in [io::Error::from_raw_os_error(large), ErrorKind::FileTooLarge.into()] {
        let (mut world, flow) = with_flow();
        world.bench.only().1.sends.push_back(Err(error));
        world.remote_sends(5_000, b"second");
        world.settle();

        assert_eq!(world.session().books(flow).unwrap().refused[DropReason::Oversize], 1);
        assert_eq!(world.bench.only().1.batches, [1], "it is not tried twice");
    }
}

#[test]
fn a_socket_that_says_writable_and_takes_nothing_drops_with_a_reason() {
    let (mut world, flow) = with_flow();
    world.bench.only().1.sends.extend([Ok(Step::More(0)), Ok(Step::More(0))]);
    world.remote_sends(5_000, b"second");
    world.hear();
    world.driver.handle_ready(world.link, Way::In);

    assert!(world.turns() <= 2, "nobody spins");
    assert_eq!(world.session().books(flow).unwrap().refused[DropReason::Full], 1);
    assert_eq!(world.bench.only().1.batches, [1, 1]);
}

#[test]
fn errors_in_a_row_end_in_a_pause_and_not_in_a_spin() {
    let (mut world, _) = with_flow();
    let (socket, plug) = world.bench.only();
    plug.receives.extend((0..1_000).map(|_| refused()));
    let before = world.bench.calls.receives;
    world.driver.handle_ready(socket, Way::In);

    let turn = world.turn();
    assert_eq!((turn.again, world.bench.calls.receives - before), (false, 9));
    assert!(turn.deadline.is_some_and(|at| at <= world.now + crate::testing::secs(1)));
}

#[test]
fn errors_about_earlier_datagrams_never_end_a_socket() {
    let (mut world, flow) = with_flow();
    let (socket, plug) = world.bench.only();
    plug.receives.extend((0..20).map(|_| refused()));
    plug.incoming.push_back((at(9), b"answer".to_vec()));
    world.driver.handle_ready(socket, Way::In);
    world.wait(15);

    assert_eq!(world.session().books(flow).unwrap().accepted, 1);
}

#[test]
fn a_socket_that_says_nothing_but_errors_for_a_minute_is_given_up_with_its_flow() {
    let (mut world, flow) = with_flow();
    let (socket, plug) = world.bench.only();
    plug.receives.extend((0..1_000).map(|_| Err(ErrorKind::InvalidInput.into())));
    world.driver.handle_ready(socket, Way::In);
    for _ in 0..5 {
        world.wait(10);
        assert_eq!(world.bench.closed, []);
        world.remote_sends(5_000, b"it is in use");
    }
    world.wait(20);

    assert_eq!(world.bench.closed, [socket]);
    assert!(world.session().books(flow).is_none(), "the flow is over");
}

#[test]
fn a_full_socket_holds_its_flow_until_it_is_writable() {
    let (mut world, flow) = with_flow();
    let (socket, plug) = world.bench.only();
    plug.sends.push_back(Ok(Step::Blocked(1)));
    for payload in [b"a", b"b", b"c"] {
        world.remote_sends(5_000, payload);
    }
    world.settle();
    world.remote_sends(5_000, b"d");
    world.settle();
    assert_eq!(payloads(world.bench.only().1), [&b"first"[..], b"a"]);
    assert_eq!(world.bench.only().1.batches, [3], "nothing is tried while it is full");

    world.driver.handle_ready(socket, Way::Out);
    world.turns();
    assert_eq!(payloads(world.bench.only().1), [&b"first"[..], b"a", b"b", b"c", b"d"]);
    assert_eq!(world.session().books(flow).unwrap().delivered, 5);
}

#[test]
fn an_empty_datagram_comes_through_both_ways() {
    let (mut world, flow) = with_flow();
    world.remote_sends(5_000, b"");
    let (socket, plug) = world.bench.only();
    plug.incoming.push_back((at(9), Vec::new()));
    world.driver.handle_ready(socket, Way::In);
    world.settle();

    assert_eq!(payloads(world.bench.only().1), [&b"first"[..], b""]);
    let back: Vec<_> = world.remote.session().inbox(flow).map(|inbound| inbound.payload.len()).collect();
    assert_eq!(back, [0]);
}

#[test]
fn nobody_gets_in_whom_the_flow_has_not_sent_to() {
    let (mut world, flow) = with_flow();
    let (socket, plug) = world.bench.only();
    plug.incoming.extend([(at(10), b"stranger".to_vec()), (at(9), b"answer".to_vec())]);
    world.driver.handle_ready(socket, Way::In);
    world.settle();

    let back: Vec<_> = world.remote.session().inbox(flow).map(|inbound| inbound.payload.clone()).collect();
    assert_eq!(back, [&b"answer"[..]]);
}

#[test]
fn batches_are_bounded_and_go_to_one_socket_each() {
    let mut world = World::server();
    for round in 0..100 {
        world.remote_sends(5_000, &[round; 8]);
        world.remote_sends(5_001, &[round; 8]);
    }
    world.settle();

    assert_eq!(world.bench.sockets.len(), 2);
    for plug in world.bench.sockets.values() {
        assert!(plug.batches.iter().all(|size| *size <= 64), "{:?}", plug.batches);
        assert!(plug.batches.len() <= 5, "runs survive: {:?}", plug.batches);
        let firsts: Vec<u8> = plug.sent.iter().map(|datagram| datagram.payload[0]).collect();
        assert!(firsts.iter().copied().eq(0..100), "in order");
    }
}

#[test]
fn answers_leave_by_the_listener_in_one_batch_to_every_source() {
    let mut world = World::client(Some(at(5_005)));
    let (listener, plug) = world.bench.socket(Socket::Listener(at(5_005)));
    plug.incoming.extend((0..20).map(|port| (at(7_000 + port), vec![1])));
    world.driver.handle_ready(listener, Way::In);
    world.settle();
    let flows: Vec<FlowId> = world.remote.session().flows().collect();
    for (flow, payload) in flows.iter().zip(0_u8..) {
        world.remote.session().handle_answer(world.now, *flow, at(9), &[payload]).unwrap();
    }
    world.settle();

    let (_, plug) = world.bench.socket(Socket::Listener(at(5_005)));
    assert_eq!(plug.batches, [20]);
    let sent: Vec<_> = plug.sent.iter().map(|datagram| (datagram.to, datagram.payload[0])).collect();
    assert_eq!(sent, (0..20).map(|index| (at(7_000 + u16::from(index)), index)).collect::<Vec<_>>());
}

#[test]
fn a_full_listener_holds_every_flow_and_forgets_none() {
    let mut world = World::client(Some(at(5_005)));
    let (listener, plug) = world.bench.socket(Socket::Listener(at(5_005)));
    plug.incoming.extend((0..5).map(|port| (at(7_000 + port), vec![1])));
    plug.sends.push_back(Ok(Step::Blocked(2)));
    world.driver.handle_ready(listener, Way::In);
    world.settle();
    for flow in world.remote.session().flows().collect::<Vec<_>>() {
        world.remote.session().handle_answer(world.now, flow, at(9), b"a").unwrap();
    }
    world.settle();
    assert_eq!(world.bench.only().1.sent.len(), 2);

    world.driver.handle_ready(listener, Way::Out);
    world.turns();
    assert_eq!(world.bench.only().1.sent.len(), 5);
}

#[test]
fn a_flow_opened_by_hand_is_delivered_by_hand_and_bounded_when_nobody_asks() {
    let mut world = World::client(None);
    let now = world.now;
    let flow = world.session().open_flow(now, TUNNEL, None, None).unwrap();
    world.session().send(now, flow, None, b"question").unwrap();
    world.settle();
    for _ in 0..3 {
        world.remote.session().handle_answer(now, flow, at(9), b"answer").unwrap();
    }
    world.settle();
    assert_eq!(world.driver.poll_delivery(now), Some(flow));
    assert_eq!(world.driver.poll_delivery(now), None);
    world.session().delivered(flow, 2);
    world.turns();
    assert_eq!(world.driver.poll_delivery(now), Some(flow), "what was left is named again");
    world.session().delivered(flow, 1);
    world.turns();
    assert_eq!(world.driver.poll_delivery(now), None);

    for _ in 0..500 {
        world.remote.session().handle_answer(now, flow, at(9), b"answer").unwrap();
        world.settle();
    }
    let hold = world.session().limits().hold;
    assert_eq!(world.session().inbox(flow).count(), hold);
}

#[test]
fn a_burst_for_a_flow_opened_by_hand_is_offered_whole_before_it_is_bounded() {
    let mut world = World::client(None);
    let now = world.now;
    let flow = world.session().open_flow(now, TUNNEL, None, None).unwrap();
    world.session().send(now, flow, None, b"question").unwrap();
    world.settle();
    let (link, hold) = (world.link, world.session().limits().hold);
    for _ in 0..2 {
        for _ in 0..3 * hold {
            world.remote.session().handle_answer(now, flow, at(9), b"answer").unwrap();
        }
        world.hear();
        world.driver.handle_ready(link, Way::In);
        world.turns();
        assert_eq!(world.driver.poll_delivery(now), Some(flow));
        assert_eq!(world.session().inbox(flow).count(), 3 * hold);
        world.session().delivered(flow, 3 * hold - 1);
        assert_eq!(world.driver.poll_delivery(now), None);
        world.turns();
        assert_eq!(world.driver.poll_delivery(now), Some(flow), "the last one is left");
        world.session().delivered(flow, 1);
        assert_eq!(world.driver.poll_delivery(now), None);
    }

    // Of what was offered and not taken, no more than the bound is held.
    for _ in 0..3 * hold {
        world.remote.session().handle_answer(now, flow, at(9), b"answer").unwrap();
    }
    world.hear();
    world.driver.handle_ready(link, Way::In);
    world.turns();
    assert_eq!(world.driver.poll_delivery(now), Some(flow));
    assert_eq!(world.driver.poll_delivery(now), None);
    assert_eq!(world.session().inbox(flow).count(), hold);
}

#[test]
fn a_socket_that_cannot_be_opened_refuses_its_flow() {
    let mut world = World::server();
    world.bench.unbindable = Some(ErrorKind::AddrInUse);
    let flow = world.remote_sends(5_000, b"first");
    world.settle_books();

    assert_eq!(world.bench.closed.len(), 1);
    assert!(world.session().books(flow).is_none());
    assert!(world.remote.session().books(flow).is_none());
}

#[test]
fn flows_that_want_the_same_name_share_one_lookup() {
    let mut world = World::server();
    for source in 0..10 {
        let to = name("echo.example");
        let (now, client) = (world.now, world.remote.session());
        let flow = client.open_flow(now, TUNNEL, Some(at(6_000 + source)), to).unwrap();
        client.send(now, flow, None, b"hello").unwrap();
    }
    world.settle();
    assert_eq!(world.bench.lookups.len(), 1);

    let lookup = *world.bench.lookups.keys().next().unwrap();
    world.bench.answers.push_back(Ok(vec![at(9)]));
    world.driver.handle_ready(lookup, Way::In);
    world.settle();
    assert_eq!(world.bench.closed, [lookup]);
    assert_eq!(world.bench.sockets.len(), 10);
    assert!(world.bench.sockets.values().all(|plug| payloads(plug) == [b"hello"]));
}

#[test]
fn a_lookup_that_fails_ends_the_flow() {
    let mut world = World::server();
    world.bench.answers.push_back(Err(ErrorKind::TimedOut.into()));
    let to = name("echo.example");
    let (now, client) = (world.now, world.remote.session());
    let flow = client.open_flow(now, TUNNEL, Some(at(6_000)), to).unwrap();
    client.send(now, flow, None, b"hello").unwrap();
    world.settle_books();

    assert!(world.remote.session().books(flow).is_none());
    assert!(world.bench.sockets.is_empty() && world.bench.lookups.is_empty());
}

#[test]
fn a_lookup_for_each_name_is_bounded() {
    let mut world = World::server();
    for source in 0..400 {
        let to = name(&format!("host-{source}.example"));
        let (now, client) = (world.now, world.remote.session());
        let flow = client.open_flow(now, TUNNEL, Some(at(6_000 + source)), to).unwrap();
        client.send(now, flow, None, b"hello").unwrap();
    }
    world.settle_books();

    assert_eq!(world.bench.lookups.len(), 256);
    assert_eq!(world.remote.session().flows().count(), 256, "the others were refused");
}

#[test]
fn a_closed_tunnel_closes_its_listener() {
    let mut world = World::client(Some(at(5_005)));
    let now = world.now;
    world.session().remove_tunnel(now, TUNNEL);
    world.turns();

    assert!(world.bench.sockets.is_empty());
}

#[test]
fn what_waited_too_long_for_a_full_socket_is_dropped_with_a_reason() {
    let (mut world, flow) = with_flow();
    let (socket, plug) = world.bench.only();
    plug.sends.push_back(Ok(Step::Blocked(0)));
    world.remote_sends(5_000, b"late");
    world.settle();
    world.now += ms(15_100);
    world.driver.handle_ready(socket, Way::Out);
    world.turns();

    assert_eq!(world.session().books(flow).unwrap().refused[DropReason::Age], 1);
    assert_eq!(payloads(world.bench.only().1), [b"first"]);
}

//! Doors that break where they are least watched, and doors that are gone.

use std::io::ErrorKind;

use super::super::doors::{Door, Doors, Owner, Udp};
use super::*;
use crate::event::Event;
use crate::wire::Code;

/// A server whose link has something to write.
fn with_output() -> World {
    let mut world = World::server();
    world.driver.endpoint_mut().streams.get_mut(&LINK).unwrap().output.extend_from_slice(b"bytes");
    world.told();
    world
}

#[test]
fn a_stream_that_breaks_when_it_is_written_to_is_closed_once_and_told_once() {
    for (breaks, deaf, why) in
        [(Some(ErrorKind::BrokenPipe), false, ErrorKind::BrokenPipe), (None, true, ErrorKind::WriteZero)]
    {
        let mut world = with_output();
        (world.pipe().breaks, world.pipe().deaf) = (breaks, deaf);
        world.turns();
        assert_eq!(world.told(), [Told::Failed(LINK, why)]);
        assert_eq!(world.bench.closed, [world.link]);
        world.turns();
        assert_eq!(world.told(), []);
    }
}

#[test]
fn a_stream_that_cannot_be_finished_is_given_up_and_all_of_it_was_written() {
    let mut world = with_output();
    world.driver.endpoint_mut().streams.get_mut(&LINK).unwrap().finishing = true;
    world.pipe().unfinishable = true;
    world.turn();
    assert_eq!(world.told(), [Told::Failed(LINK, ErrorKind::NotConnected)]);
    assert_eq!(world.bench.closed, [world.link]);
}

#[test]
fn a_listener_that_says_nothing_but_errors_is_opened_anew_and_its_tunnel_told_only_if_that_fails() {
    let mut world = World::client(Some(at(5_005)));
    while world.session().poll_event().is_some() {}
    let (listener, plug) = world.bench.only();
    plug.receives.extend((0..1_000).map(|_| Err(ErrorKind::InvalidInput.into())));
    world.driver.handle_ready(listener, Way::In);
    world.wait(90);
    assert_eq!(world.bench.closed, [listener]);
    assert_eq!(world.session().poll_event(), None);

    let (second, plug) = world.bench.only();
    assert_eq!(plug.socket, Socket::Listener(at(5_005)));
    plug.receives.extend((0..1_000).map(|_| Err(ErrorKind::InvalidInput.into())));
    world.bench.unbindable = Some(ErrorKind::AddrInUse);
    world.driver.handle_ready(second, Way::In);
    world.wait(90);
    assert_eq!(world.bench.closed[..2], [listener, second]);
    let gone = Event::TunnelBound { tunnel: TUNNEL, outcome: Err(Code::Unreachable) };
    assert_eq!(world.session().poll_event(), Some(gone));
}

#[test]
fn a_flow_that_ends_closes_its_socket_and_no_other() {
    let mut world = World::server();
    let first = world.remote_sends(5_000, b"first");
    world.remote_sends(5_001, b"second");
    world.settle();
    let socket = world.driver.doors.owner(Owner::Flow(first)).unwrap();
    world.remote.session().close_flow(world.now, first);
    world.settle_books();
    assert_eq!(world.bench.closed, [socket]);
    assert_eq!(world.bench.sockets.len(), 1);
}

#[test]
fn a_stream_that_rang_and_was_closed_since_is_not_served() {
    let mut world = World::server();
    world.told();
    world.driver.handle_ready(world.link, Way::In);
    world.driver.endpoint_mut().orders.push_back(Order::Close(LINK));
    let reads = world.bench.calls.reads;
    assert!(!world.turn().again);
    assert_eq!((world.bench.calls.reads, world.told()), (reads, vec![]));
}

#[test]
fn a_lookup_is_no_stream_that_could_be_moved() {
    let mut driver = Driver::new(Machine::new(None));
    let mut bench = Bench::default();
    driver.endpoint_mut().orders.push_back(Order::Resolve { key: Key(1), host: "host".into(), port: 1 });
    driver.turn(epoch(), &mut bench);
    assert!(driver.release(Key(1)).is_none());
    assert_eq!((bench.lookups.len(), bench.closed.len()), (1, 0), "it goes on");
}

#[test]
fn a_door_is_only_what_it_is_and_rings_only_while_it_is_there() {
    let mut doors = Doors::default();
    let udp = Udp::new(Owner::Tunnel(TUNNEL), Socket::Listener(at(1)));
    let (token, other) = (doors.insert(Door::Udp(udp)), Token { index: 7, generation: 0 });
    assert!(doors.stream_mut(token).is_none() && doors.lookup_mut(token).is_none());
    assert!(doors.udp_mut(token).is_some() && doors.udp_mut(other).is_none());

    doors.ring(token, Way::In);
    doors.ring(other, Way::In);
    assert!(doors.has_ready());
    assert!(doors.remove(token).is_some() && doors.remove(token).is_none());
    assert!(!doors.has_ready());
    assert!(doors.pop_ready().is_none());
}

//! Streams and turns: dials, reads, writes, budgets, pauses, and news of doors that are gone.

use std::io::ErrorKind;

use super::bench::BOTH;
use super::machine::Stream;
use super::*;
use crate::session::Treatment;
use crate::testing::secs;

const DIAL: Key = Key(9);

/// A driver without a session, and a stream that was ordered.
fn dialling() -> (Driver<Machine>, Bench) {
    let mut driver = Driver::new(Machine::new(None));
    driver.endpoint_mut().orders.push_back(Order::Dial { key: DIAL, to: at(80) });
    driver.endpoint_mut().streams.insert(DIAL, Stream::default());
    (driver, Bench::default())
}

fn only(bench: &Bench) -> Token {
    assert_eq!(bench.streams.len(), 1);
    *bench.streams.keys().next().unwrap()
}

fn told(driver: &mut Driver<Machine>) -> Vec<Told> {
    std::mem::take(&mut driver.endpoint_mut().told)
}

#[test]
fn a_dial_is_begun_once_and_collected_when_it_rings() {
    let (mut driver, mut bench) = dialling();
    bench.dials.push_back(Ok(Progress::Pending));
    let now = epoch();
    assert!(!driver.turn(now, &mut bench).again);
    assert_eq!((bench.calls.dials, told(&mut driver)), (1, vec![]));

    driver.handle_ready(only(&bench), Way::Out);
    driver.turn(now, &mut bench);
    assert_eq!((bench.calls.dials, told(&mut driver)), (2, vec![Told::Connected(DIAL)]));
}

#[test]
fn what_a_fresh_stream_has_to_say_leaves_in_the_turn_that_connects_it() {
    let (mut driver, mut bench) = dialling();
    driver.endpoint_mut().streams.get_mut(&DIAL).unwrap().output.extend_from_slice(b"GET");
    driver.turn(epoch(), &mut bench);

    assert_eq!(bench.stream(only(&bench)).written, b"GET");
}

#[test]
fn a_dial_that_fails_is_closed_and_told() {
    let (mut driver, mut bench) = dialling();
    bench.dials.push_back(Err(ErrorKind::ConnectionRefused.into()));
    driver.turn(epoch(), &mut bench);

    assert_eq!(told(&mut driver), [Told::Failed(DIAL, ErrorKind::ConnectionRefused)]);
    assert_eq!(bench.closed.len(), 1);
}

#[test]
fn nothing_is_told_of_a_stream_that_was_closed_by_order() {
    let (mut driver, mut bench) = dialling();
    bench.dials.push_back(Ok(Progress::Pending));
    let now = epoch();
    driver.turn(now, &mut bench);
    let old = only(&bench);
    driver.endpoint_mut().orders.push_back(Order::Close(DIAL));
    driver.turn(now, &mut bench);
    assert_eq!(bench.closed, [old]);

    BOTH.into_iter().for_each(|way| driver.handle_ready(old, way));
    assert!(!driver.turn(now, &mut bench).again);
    assert_eq!(told(&mut driver), []);
}

#[test]
fn late_news_of_a_closed_door_means_nothing_to_the_next_one_in_its_place() {
    let (mut driver, mut bench) = dialling();
    bench.dials.extend([Ok(Progress::Pending), Ok(Progress::Pending)]);
    let now = epoch();
    driver.turn(now, &mut bench);
    let old = only(&bench);
    driver.endpoint_mut().orders.extend([Order::Close(DIAL), Order::Dial { key: Key(10), to: at(80) }]);
    driver.turn(now, &mut bench);
    let new = only(&bench);
    assert_eq!(old.index, new.index);
    assert_ne!(old, new);

    driver.handle_ready(old, Way::Out);
    driver.turn(now, &mut bench);
    assert_eq!(bench.calls.dials, 2);
}

#[test]
fn a_lookup_of_the_endpoint_is_collected_or_given_up() {
    let mut driver = Driver::new(Machine::new(None));
    let mut bench = Bench::default();
    let host = || "server.example".into();
    driver.endpoint_mut().orders.extend([
        Order::Resolve { key: Key(1), host: host(), port: 443 },
        Order::Resolve { key: Key(2), host: host(), port: 443 },
        Order::Close(Key(2)),
    ]);
    let now = epoch();
    driver.turn(now, &mut bench);
    assert_eq!((bench.lookups.len(), bench.closed.len()), (1, 1));

    bench.answers.push_back(Ok(vec![at(443)]));
    driver.handle_ready(*bench.lookups.keys().next().unwrap(), Way::In);
    driver.turn(now, &mut bench);
    assert_eq!(told(&mut driver), [Told::Resolved(Key(1), vec![at(443)])]);
    assert_eq!(bench.closed.len(), 2);
}

#[test]
fn a_short_count_means_empty_and_is_not_tried_again() {
    let mut world = World::server();
    world.remote_sends(5_000, b"hello");
    world.hear();
    let before = world.bench.calls.reads;
    world.driver.handle_ready(world.link, Way::In);
    world.turns();

    assert_eq!(world.bench.calls.reads - before, 1);
}

#[test]
fn data_and_the_end_in_one_report_are_both_seen() {
    let mut world = World::server();
    world.remote_sends(5_000, b"hello");
    world.hear();
    world.pipe().ends = true;
    world.told();
    world.driver.handle_ready(world.link, Way::In);
    world.turns();

    let told = world.told();
    assert_eq!(told, [Told::Input(LINK), Told::Ended(LINK)]);
    let reads = world.bench.calls.reads;
    world.driver.handle_ready(world.link, Way::In);
    world.turns();
    assert_eq!(world.bench.calls.reads, reads, "nothing is read behind the end");
}

#[test]
fn a_stream_that_breaks_is_closed_once_and_told_once() {
    let mut world = World::server();
    world.remote_sends(5_000, b"hello");
    world.hear();
    world.pipe().breaks = Some(ErrorKind::ConnectionReset);
    BOTH.into_iter().for_each(|way| world.driver.handle_ready(world.link, way));
    world.told();
    world.turns();

    assert_eq!(world.told(), [Told::Failed(LINK, ErrorKind::ConnectionReset)]);
    assert_eq!(world.bench.closed, [world.link]);
}

#[test]
fn a_full_stream_is_left_alone_until_it_rings() {
    let mut world = World::client(Some(at(5_005)));
    world.pipe().room = Some(10);
    let (listener, plug) = world.bench.only();
    plug.incoming.push_back((at(7_000), vec![1; 100]));
    world.driver.handle_ready(listener, Way::In);
    assert!(world.turns() <= 2);
    assert_eq!(world.pipe().written.len(), 10);
    world.pipe().room = None;
    world.turns();
    assert_eq!(world.pipe().written.len(), 10, "nobody rang");

    world.driver.handle_ready(world.link, Way::Out);
    world.turns();
    assert!(world.pipe().written.len() > 100);
}

#[test]
fn a_stream_that_takes_nothing_and_will_not_ring_is_tried_once_a_turn() {
    let mut world = World::server();
    world.driver.endpoint_mut().streams.get_mut(&LINK).unwrap().output.extend_from_slice(&[0; 100]);
    world.pipe().lies = 3;
    for _ in 0..3 {
        assert!(world.turn().again);
    }
    assert_eq!(world.pipe().written.len(), 0);
    world.turns();
    assert_eq!(world.pipe().written.len(), 100);
}

#[test]
fn a_stream_is_finished_once_its_output_is_written() {
    let mut world = World::server();
    let stream = world.driver.endpoint_mut().streams.get_mut(&LINK).unwrap();
    stream.output.extend_from_slice(&[0; 100]);
    stream.finishing = true;
    world.pipe().room = Some(60);
    world.turns();
    assert!(!world.pipe().finished);

    world.pipe().room = None;
    world.driver.handle_ready(world.link, Way::Out);
    world.turns();
    world.turns();
    assert!(world.pipe().finished);
}

#[test]
fn a_turn_takes_no_more_than_its_budget_and_says_that_there_is_more() {
    let mut world = World::client(Some(at(5_005)));
    let (listener, plug) = world.bench.only();
    plug.incoming.extend((0..1_000).map(|_| (at(7_000), vec![1; 8])));
    world.driver.handle_ready(listener, Way::In);

    assert!(world.turn().again);
    assert_eq!(world.bench.only().1.incoming.len(), 1_000 - DATAGRAMS);
    world.turns();
    assert!(world.bench.only().1.incoming.is_empty());
}

/// How many turns it takes to empty a socket that the first of so many sources floods.
fn beside_a_flood(sources: u16) -> usize {
    let mut world = World::client(Some(at(5_005)));
    let (listener, plug) = world.bench.only();
    plug.incoming.extend((0..sources).map(|source| (at(7_000 + source), b"early".to_vec())));
    plug.incoming.extend((0..20_000).map(|_| (at(7_000), vec![1; 8])));
    world.driver.handle_ready(listener, Way::In);
    (0..).find(|_| !world.turn().again || world.bench.only().1.incoming.is_empty()).expect("it comes to an end")
}

#[test]
fn a_socket_that_is_overrun_is_emptied_faster_where_others_wait_in_it() {
    let (alone, beside) = (beside_a_flood(1), beside_a_flood(2));

    assert!(alone >= 20_000 / DATAGRAMS - 1, "{alone} turns for a flow that can only delay itself");
    assert!(beside < alone / 2, "{beside} turns where another waits behind it, {alone} where none does");
}

#[test]
fn a_link_that_always_has_more_does_not_starve_a_socket() {
    let mut world = World::client(Some(at(5_005)));
    let (listener, plug) = world.bench.only();
    plug.incoming.push_back((at(7_000), b"small".to_vec()));
    // Half a message that never ends: the machine keeps it, and reads on.
    world.pipe().incoming.extend((1_u32 << 30).to_be_bytes());
    world.pipe().incoming.extend(std::iter::repeat_n(0, 1 << 20));
    world.driver.handle_ready(world.link, Way::In);
    world.driver.handle_ready(listener, Way::In);
    world.turn();
    world.turn();

    assert!(world.bench.only().1.incoming.is_empty());
    assert!(!world.pipe().incoming.is_empty());
}

#[test]
fn a_reader_paused_for_backlog_goes_on_after_the_flush_though_nobody_rings() {
    let mut world = World::server();
    let count = flush::FLUSH + 100;
    for index in 0..count {
        world.remote_sends(5_000, &index.to_be_bytes());
    }
    while world.hear() > 0 {}
    world.driver.handle_ready(world.link, Way::In);
    assert!(world.turn().again);
    assert!(world.driver.behind());

    world.remote_sends(5_000, b"one more");
    world.hear();
    world.driver.handle_ready(world.link, Way::In);
    let reads = world.bench.calls.reads;
    assert!(world.turn().again);
    assert_eq!(world.bench.calls.reads, reads, "nothing is read before the backlog has left");
    world.turns();
    assert_eq!(world.bench.only().1.sent.len(), count + 1);
}

#[test]
fn more_sockets_than_one_turn_opens_are_all_opened() {
    let mut world = World::server();
    for source in 0..1_000 {
        world.remote_sends(5_000 + source, b"hello");
    }
    world.settle();

    assert_eq!(world.bench.sockets.len(), 1_000);
    assert!(world.bench.sockets.values().all(|plug| plug.sent.len() == 1));
}

#[test]
fn after_a_pause_of_our_own_streams_are_read_before_timers_fire() {
    for (late, first) in [(secs(2), Told::Input(LINK)), (ms(500), Told::Timeout)] {
        let mut world = World::server();
        world.remote_sends(5_000, b"hello");
        world.hear();
        world.driver.endpoint_mut().alarm = Some(world.now + ms(1));
        world.told();
        world.now += late;
        world.turn();

        assert_eq!(world.told().first(), Some(&first), "nobody rang, and a timer was {late:?} late");
    }
}

#[test]
fn what_rang_is_read_before_timers_fire() {
    let mut world = World::server();
    world.remote_sends(5_000, b"hello");
    world.hear();
    world.driver.handle_ready(world.link, Way::In);
    world.driver.endpoint_mut().alarm = Some(world.now);
    world.told();
    world.turn();

    assert_eq!(world.told(), [Told::Input(LINK), Told::Timeout]);
}

#[test]
fn a_turn_too_early_is_harmless_and_names_the_same_deadline() {
    let mut world = World::client(Some(at(5_005)));
    let alarm = world.now + ms(10);
    world.driver.endpoint_mut().alarm = Some(alarm);
    world.told();
    let calls = world.bench.calls;
    for _ in 0..3 {
        let turn = world.turn();
        assert_eq!(turn, Turn { deadline: Some(alarm), again: false });
    }
    assert_eq!((world.bench.calls, world.told()), (calls, vec![]), "nothing was tried");
}

#[test]
fn a_quiet_stream_holds_no_room() {
    let mut world = World::server();
    world.remote_sends(5_000, &[0; 1_000]);
    world.hear();
    world.driver.handle_ready(world.link, Way::In);
    world.turns();

    let stream = world.driver.doors.stream_mut(world.link).unwrap();
    assert_eq!(stream.input.capacity(), 0);
}

#[test]
fn an_adopted_stream_brings_its_unread_bytes_along() {
    let mut world = World::server();
    world.remote_sends(5_000, b"hello");
    let said = world.remote.say(world.now);
    let (half, rest) = said.split_at(said.len() / 2);
    world.pipe().incoming.extend(half);
    world.driver.handle_ready(world.link, Way::In);
    world.turns();

    let moved = world.driver.release(LINK).unwrap();
    assert_eq!((moved.token, &moved.input[..]), (world.link, half));
    assert!(world.driver.release(LINK).is_none());
    let mut whole = moved.input;
    whole.extend_from_slice(rest);
    world.link = world.driver.adopt(LINK, whole);
    world.bench.stream(world.link);
    world.turns();

    assert_eq!(world.bench.only().1.sent[0].payload, b"hello"[..]);
    assert!(world.bench.closed.is_empty());
}

#[test]
fn taking_a_driver_apart_closes_every_door_once() {
    let mut world = World::server();
    world.remote_sends(5_000, b"hello");
    world.settle();
    let World { driver, mut bench, .. } = world;
    driver.dismantle(&mut bench);

    assert_eq!(bench.closed.len(), 2);
    assert!(bench.streams.is_empty() && bench.sockets.is_empty());
}

#[test]
fn a_token_is_one_number_and_back() {
    let token = Token { index: 7, generation: u32::MAX };
    assert_eq!(u64::from(token), 0xffff_ffff_0000_0007);
    assert_eq!(Token::from(u64::from(token)), token);
}

#[test]
fn a_copy_that_a_later_stream_leaves_to_an_earlier_one_leaves_in_the_same_turn() {
    let (mut client, mut server) = Machine::pair(epoch());
    let treatment = Treatment { copies: 2, ..Treatment::default() };
    client.session().add_tunnel(TUNNEL, Tunnel { treatment, ..forward(None) }).unwrap();
    // The first link is known to be slow, so that the second is the better one.
    let said = client.say(epoch());
    server.handle_input(epoch() + ms(200), LINK, &mut said.as_slice().into());
    let said = server.say(epoch() + ms(200));
    let now = epoch() + ms(400);
    client.handle_input(now, LINK, &mut said.as_slice().into());
    Machine::join(&mut client, &mut server, now, Key(2));
    let mut driver = Driver::new(client);
    let mut bench = Bench::default();
    let streams = [LINK, Key(2)].map(|key| driver.adopt(key, BytesMut::new()));
    for token in streams {
        bench.stream(token);
    }
    driver.turn(now, &mut bench);

    driver.endpoint_mut().session().handle_datagram(now, TUNNEL, at(4_000), b"datagram").unwrap();
    driver.turn(now, &mut bench);

    let copies = streams.map(|token| bench.stream(token).written.windows(8).filter(|part| part == b"datagram").count());
    assert_eq!(copies, [1, 1]);
}

//! What a session says of its flows and tunnels to whoever watches, and what he may do about them.

use super::hostile::{data, message};
use super::pair::{Fate, Pair, TUNNEL, source};
use crate::config::Limits;
use crate::session::{FlowState, Role, Session, Treatment, Tunnel, Way};
use crate::stats::DropReason;
use crate::testing::{ms, secs};
use crate::wire::{Address, Class, Code, FlowId, Ordinal, TunnelId};

const REVERSE: TunnelId = TunnelId(2);

/// A pair whose only flow has carried 4 + 6 bytes there and the same back.
fn used() -> (Pair, FlowId) {
    let mut pair = Pair::new();
    pair.echo = true;
    pair.connect();
    pair.send(4_000, b"four");
    pair.run(ms(200));
    pair.send(4_000, b"sixsix");
    pair.run(ms(200));
    let flow = only(&pair.client);
    (pair, flow)
}

fn only(half: &Session) -> FlowId {
    let flows: Vec<_> = half.flows().collect();
    let [flow] = flows[..] else { panic!("{flows:?}") };
    flow
}

fn reverse() -> Tunnel {
    Tunnel::new(Way::Reverse { listen: source(53), to: Address::from(source(9)) })
}

#[test]
fn a_flow_is_told_of_alike_at_both_ends() {
    let (pair, flow) = used();
    let [here, there]: [FlowState; 2] = [&pair.client, &pair.server].map(|half| half.flow(flow).unwrap());
    for state in [&here, &there] {
        assert_eq!((state.tunnel, state.source), (TUNNEL, Some(source(4_000))));
        assert_eq!(state.destination, Some(Address::from(source(9))));
        let books = &state.books;
        assert_eq!([books.accepted, books.delivered, books.bytes_out, books.bytes_in], [2, 2, 10, 10]);
        assert_eq!((books.dropped.total(), books.refused.total()), (0, 0));
        assert_eq!((state.queued, state.queued_bytes, state.held, state.closing), (0, 0, 0, false));
        assert_eq!(Some(state.treatment), pair.client.tunnel(TUNNEL).map(|tunnel| tunnel.treatment));
    }
    assert_eq!((here.by_remote, here.reaches), (false, None), "it has its socket at the other end");
    assert_eq!((there.by_remote, there.reaches), (true, Some(source(9))));
    assert_eq!(pair.now - here.opened, ms(400));
    assert_eq!(pair.now - there.opened, ms(400) - pair.latency);
    assert_eq!(pair.now - here.active, ms(200) - pair.latency * 2, "since the last answer");
    assert_eq!(pair.now - there.active, ms(200) - pair.latency);
    assert_eq!(pair.client.flow(FlowId(9)), None);
}

#[test]
fn a_flow_is_treated_at_both_ends_as_its_tunnel_says() {
    let treatment = Treatment { class: Class::Realtime, copies: 2, spread: true, idle: secs(77) };
    let mut pair = Pair::with(treatment, Limits { links: 2, ..Limits::default() });
    pair.connect();
    pair.send(4_000, b"data");
    pair.run(ms(200));
    let flow = only(&pair.client);
    for half in [&pair.client, &pair.server] {
        assert_eq!(half.flow(flow).unwrap().treatment, treatment, "{:?}", half.role());
    }
}

#[test]
fn a_session_says_who_it_is_what_bounds_it_and_how_its_links_are() {
    let (mut pair, _) = used();
    let link = pair.client.links().next().unwrap();
    for half in [&pair.client, &pair.server] {
        assert_eq!((&*half.identity().client, half.limits().links), ("laptop", 3));
        let state = half.link(link).unwrap();
        assert_eq!((state.ordinal, state.acknowledged, state.suspect), (link, 2, None));
        assert_eq!(half.link(Ordinal(99)), None);
        assert_eq!(half.queue_delay().count(), 2);
        assert!(half.healthy());
    }
    pair.path(link).fate = Fate::Hanging;
    pair.send(4_000, b"lost");
    pair.run(secs(5));
    assert!(!pair.client.healthy() && pair.client.link(link).unwrap().suspect.is_some());
    pair.cut(link);
    assert!(!pair.client.healthy() && pair.client.link(link).is_none());
}

#[test]
fn the_bytes_of_a_sessions_flows_add_up_to_its_own() {
    let (mut pair, _) = used();
    pair.send(4_001, b"of another flow");
    pair.run(ms(200));
    for half in [&pair.client, &pair.server] {
        let books: Vec<_> = half.flows().filter_map(|flow| half.books(flow)).collect();
        let sum = |of: fn(&crate::session::Books) -> u64| books.iter().map(of).sum::<u64>();
        let all = half.counters();
        assert_eq!((all.bytes_out, all.bytes_in), (sum(|books| books.bytes_out), sum(|books| books.bytes_in)));
        assert_eq!((all.accepted, all.delivered), (sum(|books| books.accepted), sum(|books| books.delivered)));
    }
}

#[test]
fn what_waits_for_a_link_shows_as_queued_and_the_books_survive_a_restart() {
    let (mut pair, flow) = used();
    pair.hang_up(Role::Client);
    pair.send(4_000, &[0; 100]);
    let state = pair.client.flow(flow).unwrap();
    assert_eq!((state.queued, state.books.bytes_out), (1, 110));
    assert!((100..200).contains(&state.queued_bytes), "{}", state.queued_bytes);

    pair.restart(Role::Client, ms(100));
    let thawed = pair.client.flow(flow).unwrap();
    assert_eq!((thawed.queued, thawed.books, thawed.source), (1, state.books, state.source));
    assert_eq!(pair.now - thawed.opened, ms(500));
}

#[test]
fn a_flow_of_a_reverse_tunnel_tells_who_began_it_at_the_server() {
    let mut pair = Pair::new();
    pair.client.add_tunnel(REVERSE, reverse()).unwrap();
    pair.connect();
    pair.run(ms(100));
    let flow = pair.server.handle_datagram(pair.now, REVERSE, source(7_000), b"question").unwrap();
    pair.drain();
    pair.run(ms(100));
    let [here, there] = [&pair.client, &pair.server].map(|half| half.flow(flow).unwrap());
    assert_eq!([here.tunnel, there.tunnel], [REVERSE; 2]);
    assert_eq!([here.source, there.source], [Some(source(7_000)); 2]);
    assert_eq!((here.by_remote, there.by_remote), (true, false));
    assert_eq!((here.destination, here.reaches), (Some(source(9).into()), Some(source(9))));
    assert_eq!((there.destination, there.reaches), (None, None), "where it goes is the client's business");
}

#[test]
fn a_tunnel_says_where_it_listens_or_why_it_does_not() {
    let mut pair = Pair::new();
    pair.taken = 1;
    pair.client.add_tunnel(REVERSE, reverse()).unwrap();
    assert_eq!(pair.client.listening(REVERSE), None, "nobody has answered");
    pair.connect();
    pair.run(ms(100));
    assert_eq!(pair.client.listening(REVERSE), Some(Err(Code::Unreachable)));
    assert_eq!(pair.server.listeners().count(), 0);
    pair.run(secs(2));
    assert_eq!(pair.client.listening(REVERSE), Some(Ok(source(53))), "asked again, and now it was free");
    assert_eq!(pair.server.listeners().collect::<Vec<_>>(), [(REVERSE, source(53))]);
    pair.restart(Role::Client, ms(100));
    assert_eq!(pair.client.listening(REVERSE), Some(Ok(source(53))), "a restart changes nothing about it");

    let listen = Way::Forward { listen: Some(source(5_005)), to: Some(source(9).into()) };
    pair.client.add_tunnel(TunnelId(3), Tunnel::new(listen)).unwrap();
    pair.drain();
    pair.client.lose(pair.now, Code::UnknownSession);
    assert_eq!(pair.client.listening(REVERSE), None, "the next server has not answered");
    assert_eq!(pair.client.listening(TunnelId(3)), Some(Ok(source(5_005))), "this one is here, whatever the server");
    pair.client.remove_tunnel(pair.now, TunnelId(3));
    assert_eq!(pair.client.listening(TunnelId(3)), None);
}

#[test]
fn a_flow_that_is_cut_ends_at_both_ends_and_its_source_may_begin_another() {
    for cutter in [Role::Client, Role::Server] {
        let (mut pair, flow) = used();
        pair.hang_up(Role::Client);
        pair.hang_up(Role::Server);
        pair.send(4_000, b"waits");
        let now = pair.now;
        assert!(pair.half(cutter).cut_flow(now, flow));
        assert!(pair.half(cutter).flow(flow).is_some_and(|state| state.closing));
        if cutter == Role::Client {
            assert_eq!(pair.client.books(flow).unwrap().dropped[DropReason::Closed], 1, "it is not sent any more");
        }
        pair.drain();
        pair.connect();
        pair.run(secs(1));
        assert_eq!((pair.client.flows().count(), pair.server.flows().count()), (0, 0), "{cutter:?}");
        assert_eq!(pair.served.len(), 2, "what was cut was not delivered");
        assert!(!pair.half(cutter).cut_flow(now, flow), "it is gone");

        pair.send(4_000, b"again");
        pair.run(ms(200));
        assert_eq!(
            pair.served.last().map(|(flow, payload)| (*flow, &payload[..])),
            Some((only(&pair.client), &b"again"[..]))
        );
        assert_ne!(only(&pair.client), flow);
    }
}

#[test]
fn what_waits_for_a_socket_is_told_in_bytes_and_offered_when_that_has_room() {
    let (mut pair, link) = super::hostile::used(Limits::default());
    let flow = FlowId(1);
    let held = |half: &Session| (half.report().flows[0].held, half.report().flows[0].held_bytes);
    pair.server.handle_message(pair.now, link, message(&data(100, 1)));
    pair.server.block(flow);
    assert_eq!(pair.server.poll_ready(), None);
    pair.server.handle_message(pair.now, link, message(&data(101, 1)));
    assert_eq!((pair.server.poll_ready(), held(&pair.server)), (None, (2, 8)));
    pair.server.unblock(pair.now, flow);
    assert_eq!(pair.server.poll_ready(), Some(flow));
    pair.server.delivered(flow, 1);
    assert_eq!(held(&pair.server), (1, 4));
    pair.server.undelivered(flow, 1, DropReason::Oversize);
    assert_eq!((pair.server.poll_ready(), held(&pair.server)), (None, (0, 0)));
}

#[test]
fn a_session_at_rest_keeps_no_room_for_what_it_delivered() {
    let (mut pair, flow) = used();
    let room = |half: &Session| half.flows.get(flow).unwrap().inbox.held.capacity();
    assert!(room(&pair.client) > 0 && room(&pair.server) > 0);
    pair.run(secs(5));
    assert_eq!((room(&pair.client), room(&pair.server)), (0, 0));
}

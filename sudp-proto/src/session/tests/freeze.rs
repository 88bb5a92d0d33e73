//! Sessions that are frozen by one process and thawed by another.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::pair::{Fate, Pair, TUNNEL, source};
use crate::config::Limits;
use crate::event::{Event, LinkLoss};
use crate::session::recv::WINDOW;
use crate::session::send::Unresolved;
use crate::session::{InDoubt, Need, Phase, Role, SendError, Session, ThawError, Treatment, Tunnel, TunnelError, Way};
use crate::testing::{ms, secs};
use crate::wire::{Address, Class, Code, FlowId, GoAwayReason, Host, TunnelId, varint};

/// Sends numbered datagrams, restarting one half on the way, and checks that each came once.
fn restart_in_traffic(role: Role) -> Pair {
    let mut pair = Pair::new();
    pair.echo = true;
    pair.connect();
    for number in 0..300_u32 {
        if number % 100 == 50 {
            pair.restart(role, ms(400));
            let other = if role == Role::Client { Role::Server } else { Role::Client };
            pair.hang_up(other);
            pair.connect();
        }
        pair.send(4_000 + u16::try_from(number % 3).unwrap(), &number.to_be_bytes());
        pair.run(ms(3));
    }
    pair.run(secs(2));
    for got in [&pair.served, &pair.answered] {
        let mut numbers = Pair::numbers(got);
        numbers.sort_unstable();
        assert_eq!(numbers, (0..300).collect::<Vec<_>>());
    }
    assert_eq!((pair.client.flows().count(), pair.server.flows().count()), (3, 3));
    pair
}

#[test]
fn a_server_restarts_in_the_middle_of_traffic_and_nothing_is_lost_or_doubled() {
    let pair = restart_in_traffic(Role::Server);
    let (client, server) = (pair.client.counters(), pair.server.counters());
    assert_eq!((client.acknowledged, server.delivered, server.acknowledged), (300, 300, 300));
    assert_eq!(client.accepted, 300);
    assert!(client.batches_resent + server.batches_resent > 0, "something was under way");
    assert_eq!(pair.client.links.ended.len() + pair.server.links.ended.len(), 0, "ended links are forgotten");
    assert_eq!(pair.count(|event| matches!(event, Event::Closed { .. } | Event::Lost { .. })), 0);
}

#[test]
fn a_client_restarts_in_the_middle_of_traffic_and_nothing_is_lost_or_doubled() {
    let pair = restart_in_traffic(Role::Client);
    let counters = pair.client.counters();
    assert_eq!((counters.accepted, counters.acknowledged, counters.delivered), (300, 300, 300));
    assert_eq!(pair.client.links.ended.len() + pair.server.links.ended.len(), 0, "ended links are forgotten");
}

#[test]
fn flows_keep_their_ids_and_ask_for_their_sockets_once_again() {
    let mut pair = Pair::new();
    pair.connect();
    for port in 4_000..4_005 {
        pair.send(port, b"first");
    }
    pair.run(secs(1));
    let sockets = |pair: &Pair| -> Vec<Need> {
        let all = pair.needs.iter().filter(|(role, _)| *role == Role::Server);
        all.map(|(_, need)| need.clone()).filter(|need| matches!(need, Need::Socket { .. })).collect()
    };
    let before = sockets(&pair);
    pair.needs.clear();
    pair.restart(Role::Server, secs(1));
    assert_eq!((before.len(), sockets(&pair)), (5, before));
    assert_eq!(pair.needs.len(), 5, "nothing else is needed");
    pair.hang_up(Role::Client);
    pair.connect();
    pair.served.clear();
    pair.send(4_002, b"second");
    pair.run(secs(1));
    assert_eq!(pair.served, [(FlowId(5), Bytes::from_static(b"second"))]);
    assert_eq!(sockets(&pair).len(), 5, "no socket is asked for again");
}

#[test]
fn a_batch_taken_just_before_the_freeze_is_not_taken_again_although_its_acknowledgement_was_lost() {
    let mut pair = Pair::new();
    pair.connect();
    pair.send(4_000, b"once");
    pair.run(ms(26));
    assert_eq!(pair.served.len(), 1);
    pair.restart(Role::Server, ms(200));
    assert_eq!(pair.client.counters().acknowledged, 0);
    pair.hang_up(Role::Client);
    pair.connect();
    pair.run(secs(1));
    assert_eq!((pair.served.len(), pair.client.counters().acknowledged), (1, 1));
    assert_eq!(pair.client.counters().batches_resent, 0, "the final count told");
}

#[test]
fn what_was_queued_without_a_link_is_sent_after_the_thaw_unless_it_grew_too_old() {
    let mut pair = Pair::new();
    pair.send(4_000, &1_u32.to_be_bytes());
    pair.run(secs(10));
    pair.send(4_001, &2_u32.to_be_bytes());
    pair.restart(Role::Client, secs(6));
    pair.connect();
    pair.run(secs(1));
    assert_eq!(Pair::numbers(&pair.served), [2], "the first waited for 16 s");
    assert_eq!(pair.client.counters().dropped_out[crate::stats::DropReason::Age], 1);
}

#[test]
fn a_realtime_datagram_after_the_thaw_is_not_taken_for_late() {
    let mut pair = Pair::with(Treatment { class: Class::Realtime, ..Treatment::default() }, Limits::default());
    pair.connect();
    pair.send(4_000, &0_u32.to_be_bytes());
    pair.run(secs(1));
    pair.restart(Role::Client, secs(2));
    pair.hang_up(Role::Server);
    pair.connect();
    pair.send(4_000, &1_u32.to_be_bytes());
    pair.run(secs(1));
    assert_eq!(Pair::numbers(&pair.served), [0, 1]);
}

#[test]
fn a_link_that_the_other_side_thinks_alive_is_settled_at_the_next_attach() {
    let mut pair = Pair::new();
    pair.connect();
    pair.send(4_000, b"one");
    pair.run(secs(1));
    pair.send(4_000, b"two");
    pair.restart(Role::Server, secs(1));
    assert_eq!(pair.client.links().count(), 1);
    pair.connect();
    pair.run(secs(1));
    assert_eq!((pair.client.links().count(), pair.server.links().count(), pair.served.len()), (1, 1, 2));
    assert_eq!(pair.client.links.ended.len() + pair.server.links.ended.len(), 0);
}

#[test]
fn a_dial_that_was_under_way_counts_as_ended_at_nothing() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(secs(1));
    let hello = pair.client.hello(pair.now).unwrap();
    pair.server.accept(pair.now, &hello).unwrap();
    pair.restart(Role::Client, secs(1));
    pair.hang_up(Role::Server);
    let next = pair.connect();
    assert!(next > hello.ordinal, "no ordinal is used twice");
    pair.run(secs(1));
    assert_eq!(pair.client.links.ended.len() + pair.server.links.ended.len(), 0);
    assert_eq!(pair.server.links().collect::<Vec<_>>(), [next]);
}

#[test]
fn a_session_can_be_frozen_again_and_again() {
    let mut pair = Pair::new();
    pair.connect();
    for number in 0..20_u32 {
        pair.send(4_000, &number.to_be_bytes());
        pair.restart(Role::Server, ms(50));
        pair.restart(Role::Server, ms(50));
        pair.restart(Role::Client, ms(50));
        pair.connect();
    }
    pair.run(secs(2));
    assert_eq!(Pair::numbers(&pair.served), (0..20).collect::<Vec<_>>());
    assert_eq!(pair.client.counters().acknowledged, 20);
}

#[test]
fn a_frozen_session_is_dead() {
    let mut pair = Pair::new();
    let link = pair.connect();
    pair.send(4_000, b"before");
    let frozen = pair.client.freeze(pair.now);
    let (now, client) = (pair.now, &mut pair.client);
    assert_eq!(client.phase(), Phase::Closed(Code::GoingAway));
    assert!(client.poll_message(now, link, 65_536).is_none() && client.poll_timeout().is_none());
    assert!(client.poll_event().is_none() && client.poll_need().is_none() && client.hello(now).is_none());
    assert_eq!((client.flows().count(), client.links().count()), (0, 0));
    assert_eq!(client.handle_datagram(now, TUNNEL, source(4_000), b"after"), Err(SendError::Closed));
    client.detach(now, link, LinkLoss::Ended);
    client.handle_pause(now);
    client.handle_timeout(now + secs(100));
    client.drain(now, GoAwayReason::Drain, ms(0));
    let forward = Way::Forward { listen: Some(source(1)), to: None };
    let tunnel = Tunnel { way: forward, treatment: Treatment::default(), in_doubt: InDoubt::Drop };
    assert_eq!(client.add_tunnel(TunnelId(2), tunnel), Err(TunnelError::Closed));
    assert!(client.poll_event().is_none() && client.poll_need().is_none());

    let again = client.freeze(now);
    let copy = |bytes: &[u8], pair: &Pair| Session::thaw(now, ms(0), pair.setup(Role::Client), bytes).unwrap();
    assert_eq!(copy(&again, &pair).phase(), Phase::Closed(Code::GoingAway), "there is one copy only");
    assert_eq!(copy(&frozen, &pair).phase(), Phase::Established);
}

#[test]
fn a_drain_goes_on_after_the_thaw() {
    let mut pair = Pair::new();
    pair.connect();
    for number in 0..50_u32 {
        pair.send(4_000, &number.to_be_bytes());
    }
    pair.server.drain(pair.now, GoAwayReason::Shutdown, secs(1));
    pair.restart(Role::Server, ms(100));
    assert!(pair.server.draining());
    pair.hang_up(Role::Client);
    pair.connect();
    pair.run(secs(2));
    assert_eq!(pair.served.len(), 50);
    assert_eq!(pair.server.phase(), Phase::Closed(Code::GoingAway));
    assert_eq!(pair.client.counters().acknowledged, 50);
}

#[test]
fn listeners_and_names_are_asked_for_again_on_either_side() {
    let mut pair = Pair::new();
    let reverse = Way::Reverse { listen: source(7_000), to: Address::from(source(9)) };
    let name = Address { host: Host::Name("slow.example".into()), port: 53 };
    let forward = Way::Forward { listen: Some(source(5_005)), to: Some(name) };
    for (id, way) in [(2, reverse), (3, forward)] {
        let tunnel = Tunnel { way, treatment: Treatment::default(), in_doubt: InDoubt::Drop };
        pair.client.add_tunnel(TunnelId(id), tunnel).unwrap();
    }
    pair.connect();
    pair.client.handle_datagram(pair.now, TunnelId(3), source(4_000), b"where to?").unwrap();
    pair.run(secs(1));
    for (role, tunnel, at) in [(Role::Server, 2, 7_000), (Role::Client, 3, 5_005)] {
        pair.needs.clear();
        pair.restart(role, secs(1));
        let listen = Need::Listen { tunnel: TunnelId(tunnel), at: source(at) };
        assert_eq!(pair.needs[0], (role, listen));
        if role == Role::Server {
            let resolve = Need::Resolve { flow: FlowId(1), name: "slow.example".into(), port: 53 };
            assert_eq!(pair.needs[1..], [(role, resolve)]);
        }
    }
    pair.connect();
    pair.server.handle_resolved(pair.now, FlowId(1), "slow.example", 53, &[source(53)]);
    pair.run(secs(1));
    assert_eq!(pair.served, [(FlowId(1), Bytes::from_static(b"where to?"))]);
}

#[test]
fn destinations_that_the_new_access_denies_are_closed_at_the_thaw() {
    let mut pair = Pair::new();
    pair.connect();
    pair.send(4_000, b"allowed");
    pair.run(secs(1));
    let frozen = pair.server.freeze(pair.now);
    let mut setup = pair.setup(Role::Server);
    if let Some(access) = &mut setup.access {
        access.grant = crate::access::Grant::new(crate::access::Rules::default());
    }
    pair.server = Session::thaw(pair.now, ms(0), setup, &frozen).unwrap();
    pair.needs.clear();
    pair.drain();
    assert_eq!(pair.needs, [(Role::Server, Need::CloseSocket(FlowId(1)))]);
}

/// A session with something of everything in it.
fn rich() -> (Pair, Bytes) {
    let mut pair = Pair::new();
    pair.echo = true;
    let reverse = Way::Reverse { listen: source(7_000), to: Address::from(source(9)) };
    let tunnel = Tunnel { way: reverse, treatment: Treatment::default(), in_doubt: InDoubt::Resend };
    pair.client.add_tunnel(TunnelId(2), tunnel).unwrap();
    let (first, second) = (pair.connect(), pair.connect());
    for number in 0..30_u32 {
        pair.send(4_000 + u16::try_from(number % 4).unwrap(), &number.to_be_bytes());
        pair.run(ms(2));
    }
    let v6 = SocketAddr::from(([0xfe80, 0, 0, 0, 0, 0, 0, 1], 4_000));
    pair.client.handle_datagram(pair.now, TUNNEL, v6, b"from a zone").unwrap();
    pair.path(second).fate = Fate::Hanging;
    pair.cut(first);
    pair.send(4_001, b"under way");
    pair.cut(second);
    pair.send(4_001, b"queued");
    pair.send(4_002, b"queued");
    assert!(!pair.client.unresolved.is_empty() && pair.client.queues.len() == 2);
    let frozen = pair.client.freeze(pair.now);
    (pair, frozen)
}

fn thaw(pair: &Pair, frozen: &[u8]) -> Result<Session, ThawError> {
    Session::thaw(pair.now, ms(5), pair.setup(Role::Client), frozen)
}

#[test]
fn a_thawed_session_freezes_to_the_same_bytes() {
    let (mut pair, client) = rich();
    let flow = pair.server.flows().next().unwrap();
    pair.server.block(flow);
    let server = pair.server.freeze(pair.now);
    for (role, frozen) in [(Role::Client, client), (Role::Server, server)] {
        let mut thawed = Session::thaw(pair.now, Duration::ZERO, pair.setup(role), &frozen).unwrap();
        assert_eq!((thawed.role(), thawed.freeze(pair.now)), (role, frozen));
    }
}

#[test]
fn a_freeze_cut_at_any_byte_is_refused() {
    let (pair, frozen) = rich();
    for end in 0..frozen.len() {
        let error = thaw(&pair, &frozen[..end]).unwrap_err();
        assert!(matches!(error, ThawError::Foreign | ThawError::Length { .. }), "{end}: {error}");
    }
    let longer = [&frozen[..], &[0]].concat();
    assert!(matches!(thaw(&pair, &longer), Err(ThawError::Length { .. })));
}

#[test]
fn a_freeze_with_a_bit_flipped_in_any_byte_is_refused() {
    let (pair, frozen) = rich();
    let mut bytes = frozen.to_vec();
    for place in 0..frozen.len() {
        bytes[place] ^= 1 << (place % 8);
        assert!(thaw(&pair, &bytes).is_err(), "a bit of byte {place}");
        bytes[place] ^= 1 << (place % 8);
    }
    assert!(thaw(&pair, &bytes).is_ok());
}

#[test]
fn bytes_that_are_no_freeze_are_told_apart() {
    let (pair, frozen) = rich();
    assert_eq!(thaw(&pair, b"").unwrap_err(), ThawError::Foreign);
    assert_eq!(thaw(&pair, b"GET / HTTP/1.1\r\n\r\n").unwrap_err(), ThawError::Foreign);
    let mut newer = frozen.to_vec();
    newer[8] = 2;
    assert_eq!(thaw(&pair, &newer).unwrap_err(), ThawError::Version { found: 2, supported: 1 });
    let mut damaged = frozen.to_vec();
    damaged[40] ^= 1;
    assert_eq!(thaw(&pair, &damaged).unwrap_err(), ThawError::Damaged);
}

#[test]
fn plain_data_that_makes_no_sense_is_refused_or_thawed_but_never_a_panic() {
    let (pair, frozen) = rich();
    let plain = crate::session::freeze::unseal(&frozen).unwrap().to_vec();
    let mut refused = 0;
    for place in 0..plain.len() {
        for value in [0, 0x7f, 0xff] {
            let mut changed = plain.clone();
            changed[place] = value;
            let sealed = crate::session::freeze::seal(&changed);
            refused += usize::from(matches!(thaw(&pair, &sealed), Err(ThawError::Malformed(_))));
        }
        let cut = crate::session::freeze::seal(&plain[..place]);
        assert!(matches!(thaw(&pair, &cut), Err(ThawError::Malformed(_))), "cut at {place}");
    }
    assert!(refused > plain.len(), "{refused} of {}", plain.len() * 3);
}

#[test]
fn batch_numbers_are_thawed_as_far_as_a_remote_would_tell_them_apart() {
    let outside = Some(ThawError::Malformed("batch numbers outside the window"));
    for (base, batches, refusal) in [
        (1, 0, None),
        (0, 0, outside),
        (varint::MAX - WINDOW, 0, None),
        (varint::MAX - WINDOW + 1, 0, outside),
        (varint::MAX, 0, outside),
        (1, WINDOW, None),
        (1, WINDOW + 1, outside),
        (1, WINDOW + 2, outside),
    ] {
        let pair = Pair::new();
        let mut client = pair.client;
        let blank = (0..batches).map(|_| Some(Unresolved::new().blank(Class::Control, 1, 0))).collect();
        client.unresolved = Unresolved::thaw(base, blank);
        let frozen = client.freeze(pair.now);
        let setup = Pair::new().setup(Role::Client);
        let thawed = Session::thaw(pair.now, ms(5), setup, &frozen);
        assert_eq!(thawed.err(), refusal, "{batches} batches from {base} on");
    }
}

//! Datagrams of all kinds, on all ways, from and to everywhere.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use sudp_net::proto::session::{Tunnel, Way};
use sudp_net::proto::wire::Address;
use tokio::task::JoinSet;

use crate::rig::{address, connect, forward, serve, serve_at, told};
use crate::side::Side;
use crate::udp::{Echo, Source, anywhere, socket};

pub(crate) async fn a_forward_tunnel_carries_datagrams_there_and_back<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect::<C>(address(&server));
    let source = Source::to(forward(&client, echo.at).await).await;
    source.exchange(b"a datagram that is sent before there is a session").await;
    source.exchange(b"and one after").await;
    assert_eq!(echo.sources().len(), 1);
}

pub(crate) async fn a_reverse_tunnel_begins_at_the_server<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect::<C>(address(&server));
    let mut events = client.events();
    let way = Way::Reverse { listen: anywhere(), to: echo.at.into() };
    let added = client.add_tunnel(Tunnel::new(way)).await.expect("a tunnel");
    assert_eq!(added.at, None, "it does not listen here");
    let bound = told(&mut events, |event| match event {
        sudp_net::proto::event::Event::TunnelBound { tunnel, outcome } if tunnel == added.tunnel => Some(outcome),
        _ => None,
    });
    let listener = bound.await.expect("the server listens");

    let (one, other) = (Source::to(listener).await, Source::to(listener).await);
    one.exchange(b"from the server's side").await;
    other.exchange(b"and once more").await;
    one.exchange(b"").await;
    assert_eq!(echo.sources().len(), 2);
}

pub(crate) async fn every_source_has_a_flow_and_a_port_of_its_own<C: Side, S: Side>() {
    many_sources::<C, S>(20, 10).await;
}

pub(crate) async fn three_hundred_sources_at_once_are_all_answered<C: Side, S: Side>() {
    many_sources::<C, S>(300, 2).await;
}

async fn many_sources<C: Side, S: Side>(count: u32, datagrams: u32) {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect::<C>(address(&server));
    let listener = forward(&client, echo.at).await;
    let mut sources = JoinSet::new();
    for number in 0..count {
        sources.spawn(async move {
            let source = Source::to(listener).await;
            for again in 0..datagrams {
                source.exchange(&[number.to_be_bytes(), again.to_be_bytes()].concat()).await;
            }
        });
    }
    // None of them ends before all are answered, or the port of one could be another's next.
    while let Some(source) = sources.join_next().await {
        source.expect("a source that is answered");
    }

    let heard = echo.heard();
    let pairs: BTreeSet<_> = heard.iter().map(|heard| (heard.from, heard.payload[..4].to_vec())).collect();
    assert_eq!(heard.len(), (count * datagrams) as usize);
    assert_eq!(pairs.len(), count as usize, "each source kept its port");
    assert_eq!(echo.sources().len(), count as usize, "and shared it with nobody");
    let session = server.sessions()[0];
    assert_eq!(server.stats(session).await.expect("a session").flows, count as usize);
    assert_eq!(client.stats().await.expect("a client").flows, count as usize);
}

pub(crate) async fn ipv6_is_carried_like_ipv4<C: Side, S: Side>() {
    let loopback = SocketAddr::from(([0_u16, 0, 0, 0, 0, 0, 0, 1], 0));
    let Ok(echo) = Echo::try_at(loopback) else {
        return eprintln!("skipped: this machine has no IPv6 on loopback");
    };
    let server = serve_at::<S>(loopback).await;
    let client = connect::<C>(address(&server));
    let way = Way::Forward { listen: Some(loopback), to: Some(echo.at.into()) };
    let added = client.add_tunnel(Tunnel::new(way)).await.expect("a tunnel");
    let source = Source::to(added.at.expect("a listener")).await;
    source.exchange(b"all the way by IPv6").await;

    // And from the one to the other, within the same session.
    let four = Echo::new();
    let way = Way::Forward { listen: Some(loopback), to: Some(four.at.into()) };
    let added = client.add_tunnel(Tunnel::new(way)).await.expect("a tunnel");
    let source = Source::to(added.at.expect("a listener")).await;
    source.exchange(b"in by IPv6, out by IPv4").await;
}

pub(crate) async fn datagrams_of_every_size_arrive_whole<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect::<C>(address(&server));
    let source = Source::to(forward(&client, echo.at).await).await;
    let edges = [63_usize, 128, 250, 512, 1_200, 1_232, 1_472, 4_096, 8_192, 9_000, 16_384, 32_768, 65_000, 65_507];
    let around = edges.iter().flat_map(|edge| [edge - 1, *edge, edge + 1]);
    let sizes = [0, 1, 2, 3].into_iter().chain(around).filter(|size| *size <= 65_507);
    for size in sizes {
        let payload: Vec<u8> = (0..size).map(|at| (at * 31 + size).to_le_bytes()[0]).collect();
        source.exchange(&payload).await;
        let heard = echo.heard().pop().expect("it came by").payload;
        assert!(heard == payload, "{size} bytes arrived as {}", heard.len());
    }
}

pub(crate) async fn a_name_is_looked_up_where_the_tunnel_ends<C: Side, S: Side>() {
    // Whichever address the name means first, the service is there.
    let four = Echo::new();
    let six = Echo::try_at(([0_u16, 0, 0, 0, 0, 0, 0, 1], four.at.port()).into());
    let server = serve::<S>();
    let client = connect::<C>(address(&server));
    let name: Address = format!("localhost:{}", four.at.port()).parse().expect("an address");
    let source = Source::to(forward(&client, name.clone()).await).await;
    source.exchange(b"to a name").await;

    // A server is found by its name as well.
    let at: Address = format!("localhost:{}", address(&server).port()).parse().expect("an address");
    let client = C::connect(crate::rig::client_options(at)).expect("a client");
    let source = Source::to(forward(&client, name).await).await;
    source.exchange(b"by way of a name").await;
    let heard = four.heard().len() + six.map_or(0, |six| six.heard().len());
    assert_eq!(heard, 2);
}

pub(crate) async fn a_service_that_was_down_is_reached_once_it_is_up<C: Side, S: Side>() {
    let (at, other) = (Echo::new().at, Echo::new());
    let server = serve::<S>();
    let client = connect::<C>(address(&server));
    let source = Source::to(forward(&client, at).await).await;
    let neighbour = Source::to(forward(&client, other.at).await).await;
    for number in 0..20 {
        source.send(&[number]).await;
        neighbour.exchange(&[number]).await;
    }

    let echo = Echo::at(at).await;
    source.persist(b"is anybody there?").await;
    drop(echo);
    for number in 0..20 {
        source.send(&[number]).await;
        neighbour.exchange(&[number]).await;
    }
    let _echo = Echo::at(at).await;
    source.persist(b"there again?").await;
}

pub(crate) async fn a_source_that_went_away_is_no_trouble_for_the_others<C: Side, S: Side>() {
    let service = socket(anywhere()).expect("a service");
    let server = serve::<S>();
    let client = connect::<C>(address(&server));
    let listener = forward(&client, service.local_addr().expect("an address")).await;
    let (gone, stays) = (Source::to(listener).await, Source::to(listener).await);
    gone.send(b"gone").await;
    let mut buffer = [0; 64];
    let (_, egress) = service.recv_from(&mut buffer).await.expect("a question");
    drop(gone);
    stays.send(b"stays").await;
    let (_, other) = service.recv_from(&mut buffer).await.expect("a question");
    // Each answer to the one that went away is returned as unreachable, to the socket that both share.
    for number in 0..50_u32 {
        service.send_to(b"too late", egress).await.expect("it leaves");
        service.send_to(&number.to_be_bytes(), other).await.expect("it leaves");
        assert_eq!(stays.recv().await, number.to_be_bytes());
    }
}

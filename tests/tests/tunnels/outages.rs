//! What becomes of connections and servers, and what nobody at either end of a tunnel notices of it.

use std::time::Duration;

use sudp_net::Client;
use sudp_net::proto::event::Event;
use sudp_net::proto::wire::Code;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::relay::{Fate, Relay};
use crate::rig::{address, connect, forward, serve, serve_at, told};
use crate::side::Side;
use crate::udp::{Echo, LONG, MOMENT, Source, Tally, anywhere, assert_heard_once, socket};

/// Numbered datagrams of a story: a while of them, one a millisecond.
const NUMBERS: std::ops::Range<u32> = 0..700;

pub(crate) async fn a_reset_loses_nothing_and_doubles_nothing<C: Side, S: Side>() {
    // Several in a row, and each of them may come while the last one is being recovered from.
    struck::<C, S>(&[Fate::Reset; 6]).await;
}

pub(crate) async fn a_connection_that_hangs_is_replaced<C: Side, S: Side>() {
    struck::<C, S>(&[Fate::Hang]).await;
}

pub(crate) async fn a_connection_that_swallows_what_the_client_says_is_replaced<C: Side, S: Side>() {
    struck::<C, S>(&[Fate::SwallowUp]).await;
}

pub(crate) async fn a_connection_that_swallows_what_the_server_says_is_replaced<C: Side, S: Side>() {
    struck::<C, S>(&[Fate::SwallowDown]).await;
}

async fn struck<C: Side, S: Side>(fates: &[Fate]) {
    let server = serve::<S>();
    let relay = Relay::to(address(&server)).await;
    survives(&connect::<C>(relay.at), &relay, fates).await;
}

/// Numbered datagrams are under way while their connections come to this.
pub(crate) async fn survives<C: Side>(client: &Client<C>, relay: &Relay, fates: &[Fate]) {
    let echo = Echo::new();
    let source = Source::to(forward(client, echo.at).await).await;
    let session = client.attached().await.expect("a session");
    let strikes = async {
        for fate in fates {
            sleep(Duration::from_millis(120)).await;
            relay.strike(*fate);
        }
    };
    let (answers, ()) = tokio::join!(source.count(NUMBERS), strikes);
    answers.assert_once(NUMBERS);
    assert_heard_once(&echo, NUMBERS);
    assert_eq!(client.attached().await, Ok(session), "it is the same session");
    assert!(client.stats().await.expect("a client").counters.links > 1, "on another connection");
}

pub(crate) async fn what_only_the_server_sends_survives_a_connection_that_hangs<C: Side, S: Side>() {
    let (service, server) = (socket(anywhere()).expect("a service"), serve::<S>());
    let relay = Relay::to(address(&server)).await;
    let client = connect::<C>(relay.at);
    let source = Source::to(forward(&client, service.local_addr().expect("an address")).await).await;
    source.send(b"go on").await;
    let (_, egress) = service.recv_from(&mut [0; 64]).await.expect("a question");

    let speak = async {
        let mut pace = interval(Duration::from_millis(1));
        for number in NUMBERS {
            if number == 200 {
                relay.strike(Fate::Hang);
            }
            pace.tick().await;
            service.send_to(&number.to_be_bytes(), egress).await.expect("it leaves");
        }
    };
    let listen = async {
        let mut tally = Tally::default();
        let end = Instant::now() + LONG;
        while !tally.is_complete(&NUMBERS) && Instant::now() < end {
            if let Ok(payload) = timeout(MOMENT, source.recv()).await {
                tally.note(&payload);
            }
        }
        while let Ok(payload) = timeout(MOMENT, source.recv()).await {
            tally.note(&payload);
        }
        tally
    };
    let ((), tally) = tokio::join!(speak, listen);
    tally.assert_once(NUMBERS);
}

pub(crate) async fn a_path_that_is_gone_for_a_while_costs_nothing<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let relay = Relay::to(address(&server)).await;
    let client = connect::<C>(relay.at);
    let source = Source::to(forward(&client, echo.at).await).await;
    client.attached().await.expect("a session");
    let gone = async {
        sleep(Duration::from_millis(150)).await;
        relay.set_open(false);
        relay.strike(Fate::Reset);
        sleep(Duration::from_millis(700)).await;
        relay.set_open(true);
    };
    let (answers, ()) = tokio::join!(source.count(NUMBERS), gone);
    answers.assert_once(NUMBERS);
    assert_heard_once(&echo, NUMBERS);
}

pub(crate) async fn a_server_that_stopped_is_followed_by_the_next_one<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let at = address(&server);
    let client = connect::<C>(at);
    let source = Source::to(forward(&client, echo.at).await).await;
    source.exchange(b"before").await;
    let (before, mut events) = (client.attached().await.expect("a session"), client.events());

    drop(server);
    let lost = told(&mut events, |event| match event {
        Event::Lost { code, in_doubt } => Some((code, in_doubt)),
        _ => None,
    });
    assert_eq!(lost.await, (Code::GoingAway, 0));
    // It said that it goes, so it is left alone for some seconds.
    let _server = serve_at::<S>(at).await;
    goes_on(&client, &source, before).await;
}

pub(crate) async fn a_server_that_vanished_is_followed_by_the_next_one<C: Side, S: Side>() {
    let echo = Echo::new();
    let server = serve::<S>();
    let at = address(&server);
    let relay = Relay::to(at).await;
    let client = connect::<C>(relay.at);
    let source = Source::to(forward(&client, echo.at).await).await;
    source.exchange(b"before").await;
    let (before, mut events) = (client.attached().await.expect("a session"), client.events());

    // It goes without a word that would reach the client.
    relay.set_open(false);
    relay.strike(Fate::Hang);
    server.close().await;
    let _server = serve_at::<S>(at).await;
    relay.set_open(true);
    let lost = told(&mut events, |event| match event {
        Event::Lost { code, .. } => Some(code),
        _ => None,
    });
    assert_eq!(lost.await, Code::UnknownSession);
    goes_on(&client, &source, before).await;
}

async fn goes_on<C: Side>(client: &Client<C>, source: &Source, before: sudp_net::proto::wire::SessionId) {
    source.persist(b"after").await;
    let after = client.attached().await.expect("a session");
    assert_ne!(after, before, "it is another session");
}

//! Ending in peace.

use std::time::Duration;

use sudp_net::ClientEvent;
use sudp_net::proto::event::Event;
use sudp_net::proto::session::Treatment;
use sudp_net::proto::wire::{Code, GoAwayReason};
use tokio::time::{interval, sleep};

use crate::rig::{address, connect, connect_to_either, forward, serve, told};
use crate::side::Side;
use crate::udp::{Echo, LONG, Source, Tally, assert_heard_once, until};

pub(crate) async fn a_client_that_drains_leaves_nothing_behind<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect::<C>(address(&server));
    client.attached().await.expect("a session");
    let flow = client.open(echo.at, Treatment::default()).await.expect("a flow");
    // More than leaves at one go.
    for number in 0..500_u32 {
        flow.send(number.to_be_bytes().to_vec()).await.expect("the flow is open");
    }
    let mut events = client.events();
    client.drain(LONG).await;
    echo.hears(500).await;
    assert_heard_once(&echo, 0..500);

    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    let Some(ClientEvent::Session(Event::Closed { code, .. })) = last else { panic!("the last event is {last:?}") };
    assert_eq!(code, Code::Done);
    until(|| server.sessions().is_empty()).await;
    assert!(client.stats().await.is_err() && flow.send(&b"too late"[..]).await.is_err());
}

pub(crate) async fn a_server_that_drains_leaves_nothing_behind<C: Side, S: Side>() {
    let (echo, first, second) = (Echo::new(), serve::<S>(), serve::<S>());
    let client = connect_to_either::<C>(address(&first), address(&second));
    let source = Source::to(forward(&client, echo.at).await).await;
    source.exchange(b"begin").await;
    let mut events = client.events();

    // What the first does not take any more goes to the second: no datagram is lost between the two. Answers to
    // the last ones that the first delivered find nobody there.
    let speak = async {
        let mut pace = interval(Duration::from_millis(1));
        for number in 0..400_u32 {
            pace.tick().await;
            source.send(&number.to_be_bytes()).await;
        }
    };
    let drain = async {
        sleep(Duration::from_millis(150)).await;
        first.drain(LONG).await;
    };
    tokio::join!(speak, drain);
    echo.hears(401).await;
    let away = told(&mut events, |event| match event {
        Event::GoAway(away) => Some(away.reason),
        _ => None,
    });
    assert_eq!(away.await, GoAwayReason::Shutdown);
    let lost = told(&mut events, |event| match event {
        Event::Lost { code, in_doubt } => Some((code, in_doubt)),
        _ => None,
    });
    assert_eq!(lost.await, (Code::GoingAway, 0), "nothing is in doubt");
    let heard = echo.heard();
    Tally::of(heard.iter().skip(1).map(|heard| &heard.payload[..])).assert_once(0..400);
}

pub(crate) async fn a_client_without_a_server_drains_at_once<C: Side, S: Side>() {
    let at = address(&serve::<S>());
    let client = connect::<C>(at);
    client.drain(LONG * 100).await;
    assert!(client.stats().await.is_err());
}

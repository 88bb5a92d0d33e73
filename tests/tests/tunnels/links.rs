//! Several links at once.

use sudp_net::proto::session::{Treatment, Tunnel, Way};
use sudp_net::{Client, Server};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::relay::{Fate, Relay};
use crate::rig::{address, connect_by, forward, serve};
use crate::side::Side;
use crate::udp::{Echo, SOON, Source, anywhere, assert_heard_once};

const NUMBERS: std::ops::Range<u32> = 0..500;

pub(crate) async fn sources_share_several_links<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect_by::<C>(address(&server), 3).await;
    let listener = forward(&client, echo.at).await;
    let mut sources = JoinSet::new();
    for _ in 0..12 {
        sources.spawn(async move { Source::to(listener).await.count(0..100).await });
    }
    while let Some(answers) = sources.join_next().await {
        answers.expect("a source that is answered").assert_once(0..100);
    }
    assert_eq!(echo.heard().len(), 1_200);
    assert_eq!(at_server(&server).await, 3);
}

pub(crate) async fn a_flow_that_is_spread_uses_them_all_and_arrives_once<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect_by::<C>(address(&server), 3).await;
    let source = treated(&client, &echo, Treatment { spread: true, ..Treatment::default() }).await;
    source.count(NUMBERS).await.assert_once(NUMBERS);
    assert_heard_once(&echo, NUMBERS);
    // At this pace the best of them may be enough; in a rush all carry some of it.
    while client.stats().await.expect("a client").links.iter().any(|link| link.acknowledged == 0) {
        for _ in 0..200 {
            source.send(&[7; 1_000]).await;
        }
        sleep(SOON).await;
    }
}

pub(crate) async fn copies_arrive_once<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect_by::<C>(address(&server), 3).await;
    let source = treated(&client, &echo, Treatment { copies: 2, ..Treatment::default() }).await;
    source.count(NUMBERS).await.assert_once(NUMBERS);
    assert_heard_once(&echo, NUMBERS);
    let session = server.sessions()[0];
    let there = server.stats(session).await.expect("a session").counters;
    let here = client.stats().await.expect("a client").counters;
    assert!(there.duplicates > 0 && here.duplicates > 0, "copies came both ways");
}

pub(crate) async fn what_was_on_a_link_that_dies_arrives_on_the_others<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let relay = Relay::to(address(&server)).await;
    let client = connect_by::<C>(relay.at, 3).await;
    let spread = treated(&client, &echo, Treatment { spread: true, ..Treatment::default() }).await;
    let strikes = async {
        // The second finds links of which some are being dialled, the third some that are suspect.
        for fate in [Fate::Reset, Fate::Hang, Fate::Reset] {
            sleep(std::time::Duration::from_millis(150)).await;
            relay.strike(fate);
        }
    };
    let (answers, ()) = tokio::join!(spread.count(NUMBERS), strikes);
    answers.assert_once(NUMBERS);
    assert_heard_once(&echo, NUMBERS);
}

async fn treated<C: Side>(client: &Client<C>, echo: &Echo, treatment: Treatment) -> Source {
    let way = Way::Forward { listen: Some(anywhere()), to: Some(echo.at.into()) };
    let added = client.add_tunnel(Tunnel { treatment, ..Tunnel::new(way) }).await.expect("a tunnel");
    Source::to(added.at.expect("a listener")).await
}

async fn at_server<S: Side>(server: &Server<S>) -> usize {
    let session = server.sessions()[0];
    server.stats(session).await.expect("a session").links.len()
}

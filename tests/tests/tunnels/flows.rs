//! Flows that are held by hand.

use std::time::Duration;

use sudp_net::FlowClosed;
use sudp_net::proto::access::{Grant, Rules};
use sudp_net::proto::session::Treatment;
use sudp_net::proto::wire::Code;
use sudp_net::{Anyone, Flow};
use tokio::time::timeout;

use crate::rig::{address, connect, connect_to_either, serve, server_options};
use crate::side::Side;
use crate::udp::{Echo, Tally, anywhere, assert_heard_once, until};

pub(crate) async fn a_flow_by_hand_is_used_like_a_socket<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect::<C>(address(&server));
    let flow = client.open(echo.at, Treatment::default()).await.expect("a flow");
    for payload in [&b"one"[..], b"", &[7; 65_507]] {
        flow.send(payload).await.expect("the flow is open");
        assert!(flow.recv().await.expect("the flow is open") == payload);
    }
    let other = client.open(echo.at, Treatment::default()).await.expect("a flow");
    other.send(&b"two"[..]).await.expect("the flow is open");
    assert_eq!(other.recv().await.expect("the flow is open"), b"two"[..]);
    assert_eq!(echo.sources().len(), 2);

    // Many at once, taken from two tasks.
    let both = async {
        let mut tally = Tally::default();
        while !tally.is_complete(&(0..400)) {
            tokio::select! {
                answer = flow.recv() => tally.note(&answer.expect("the flow is open")),
                answer = flow.recv_from() => tally.note(&answer.expect("the flow is open").0),
            }
        }
        tally
    };
    let send = async {
        for number in 0..400_u32 {
            flow.send(number.to_be_bytes().to_vec()).await.expect("the flow is open");
            tokio::task::yield_now().await;
        }
    };
    let (tally, ()) = tokio::join!(both, send);
    tally.assert_once(0..400);
}

pub(crate) async fn a_flow_speaks_to_other_destinations_too<C: Side, S: Side>() {
    let (one, other, server) = (Echo::new(), Echo::new(), serve::<S>());
    let client = connect::<C>(address(&server));
    let flow = client.open(one.at, Treatment::default()).await.expect("a flow");
    flow.send(&b"one"[..]).await.expect("the flow is open");
    assert_eq!(flow.recv_from().await.expect("an answer").0, b"one"[..]);
    flow.send_to(&b"other"[..], other.at).await.expect("the flow is open");
    assert_eq!(flow.recv_from().await, Ok((b"other"[..].into(), Some(other.at))));
    flow.send(&b"one again"[..]).await.expect("the flow is open");
    assert_eq!(flow.recv_from().await, Ok((b"one again"[..].into(), Some(one.at))));
    assert_eq!(one.sources(), other.sources(), "both by the same socket");
}

pub(crate) async fn what_was_sent_before_a_flow_is_dropped_arrives<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect::<C>(address(&server));
    client.attached().await.expect("a session");
    let flow = client.open(echo.at, Treatment::default()).await.expect("a flow");
    for number in 0..100_u32 {
        flow.send(number.to_be_bytes().to_vec()).await.expect("the flow is open");
    }
    drop(flow);
    echo.hears(100).await;
    assert_heard_once(&echo, 0..100);
    let session = server.sessions()[0];
    while server.stats(session).await.expect("a session").flows > 0 {
        tokio::time::sleep(crate::udp::SOON).await;
    }
}

pub(crate) async fn a_flow_goes_on_in_the_next_session<C: Side, S: Side>() {
    let (echo, first, second) = (Echo::new(), serve::<S>(), serve::<S>());
    let client = connect_to_either::<C>(address(&first), address(&second));
    let flow = client.open(echo.at, Treatment::default()).await.expect("a flow");
    ask(&flow, b"before").await;
    first.close().await;
    ask(&flow, b"after").await;
    assert_eq!(client.stats().await.expect("a client").server, Some(1));
}

/// Asks until there is an answer.
async fn ask(flow: &Flow, question: &'static [u8]) {
    loop {
        flow.send(question).await.expect("the flow is open");
        if let Ok(answer) = timeout(Duration::from_millis(200), flow.recv()).await
            && answer.expect("the flow is open") == question
        {
            return;
        }
    }
}

pub(crate) async fn a_flow_to_where_nobody_may_go_says_so<C: Side, S: Side>() {
    let echo = Echo::new();
    let grant = Grant::new(Rules::parse(["allow 192.0.2.0/24"]).expect("rules"));
    let server = S::bind(server_options(anywhere()), Anyone(grant)).expect("a server");
    let client = connect::<C>(address(&server));
    let flow = client.open(echo.at, Treatment::default()).await.expect("a flow");
    flow.send(&b"let me in"[..]).await.expect("the flow is open");
    assert_eq!(flow.recv().await, Err(FlowClosed(Code::Denied)));
    assert_eq!(flow.send(&b"let me in"[..]).await, Err(FlowClosed(Code::Denied)));
    assert!(echo.heard().is_empty());
}

pub(crate) async fn a_flow_ends_with_its_client<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect::<C>(address(&server));
    let flow = client.open(echo.at, Treatment::default()).await.expect("a flow");
    ask(&flow, b"still there?").await;
    let (closed, ()) = tokio::join!(flow.recv(), async { drop(client) });
    assert_eq!(closed, Err(FlowClosed(Code::Done)));
    assert_eq!(flow.send(&b"too late"[..]).await, Err(FlowClosed(Code::Done)));
    until(|| server.sessions().is_empty()).await;
}

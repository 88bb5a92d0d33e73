//! Looking at what runs, and laying hands on it.

use sudp_net::proto::access::Grant;
use sudp_net::proto::event::{Event, LinkLoss};
use sudp_net::proto::server::Identification;
use sudp_net::proto::session::{Fate, FlowState, Heading, TapOptions, Tunnel, Way};
use sudp_net::proto::stats::DropReason;
use sudp_net::proto::wire::{Address, Code, FlowId};
use sudp_net::{Admitted, Captured, Client, Records, Verdict, Visit};
use tokio::time::{sleep, timeout};

use crate::rig::{address, client_options, connect, connect_by, forward, serve, server_options, told, wait_for_links};
use crate::side::Side;
use crate::udp::{Echo, LONG, SOON, Source, anywhere, assert_heard_once, until};

/// Numbered datagrams of a story: a while of them, one a millisecond.
const NUMBERS: std::ops::Range<u32> = 0..700;

pub(crate) async fn a_flow_is_seen_at_both_ends_and_can_be_cut_at_either<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect::<C>(address(&server));
    let listener = forward(&client, echo.at).await;
    let source = Source::to(listener).await;
    for cutter in ["client", "server"] {
        source.exchange(b"twelve bytes").await;
        let session = client.attached().await.expect("a session");
        let here = client.flows().await.expect("the client lives");
        let there = server.flows(session).await.expect("the session lives");
        let ([(flow, here)], [(same, there)]) = (&here[..], &there[..]) else { panic!("{here:?} and {there:?}") };
        assert_eq!(flow, same);
        for state in [here, there] {
            assert_eq!(state.destination, Some(Address::from(echo.at)));
            assert_eq!((state.books.bytes_out, state.books.bytes_in, state.books.delivered), (12, 12, 1));
            assert!(state.source.is_some_and(|at| at.ip() == listener.ip()) && state.opened <= state.active);
        }
        assert_eq!((here.by_remote, there.by_remote, there.reaches), (false, true, Some(echo.at)));
        let tunnels = client.tunnels().await.expect("the client lives");
        assert_eq!(
            tunnels.iter().map(|state| (state.id, state.listening)).collect::<Vec<_>>(),
            [(here.tunnel, Some(Ok(listener)))]
        );

        let cut = match cutter {
            "client" => client.cut_flow(*flow).await,
            _ => server.cut_flow(session, *flow).await,
        };
        assert_eq!(cut, Ok(true), "{cutter}");
        while !client.flows().await.expect("the client lives").is_empty()
            || !server.flows(session).await.expect("the session lives").is_empty()
        {
            sleep(SOON).await;
        }
        assert_eq!(server.cut_flow(session, *flow).await, Ok(false), "it is gone");
    }
    source.exchange(b"and another begins").await;
    assert_eq!(echo.sources().len(), 3, "each with a port of its own");
}

pub(crate) async fn a_client_replaces_its_links_and_nobody_notices<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect_by::<C>(address(&server), 2).await;
    let source = Source::to(forward(&client, echo.at).await).await;
    let session = client.attached().await.expect("a session");
    let mut events = client.events();
    let old = ordinals(&client).await;
    let replaced = async {
        sleep(SOON).await;
        client.reconnect().expect("the client lives");
        for _ in &old {
            let why = told(&mut events, |event| match event {
                Event::LinkEnded { why, .. } => Some(why),
                Event::Detached => panic!("it was without a link"),
                _ => None,
            });
            assert_eq!(why.await, LinkLoss::Replaced);
        }
    };
    let (answers, ()) = tokio::join!(source.count(NUMBERS), replaced);
    answers.assert_once(NUMBERS);
    assert_heard_once(&echo, NUMBERS);
    wait_for_links(&client, 2).await;
    assert!(ordinals(&client).await.iter().all(|link| !old.contains(link)));
    assert_eq!(client.attached().await, Ok(session));
}

pub(crate) async fn a_server_ends_the_links_of_a_session_that_goes_on<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect::<C>(address(&server));
    let source = Source::to(forward(&client, echo.at).await).await;
    let session = client.attached().await.expect("a session");
    let mut events = client.events();
    let ended = async {
        sleep(SOON * 5).await;
        server.reconnect(session).await.expect("the session lives");
        told(&mut events, |event| matches!(event, Event::LinkEnded { .. }).then_some(())).await;
    };
    let (answers, ()) = tokio::join!(source.count(NUMBERS), ended);
    answers.assert_once(NUMBERS);
    assert_heard_once(&echo, NUMBERS);
    assert_eq!(client.attached().await, Ok(session), "it is the same session");
    assert_eq!(client.stats().await.expect("the client lives").counters.links, 2);
}

pub(crate) async fn who_is_kicked_is_told_and_what_he_sent_stays_counted<C: Side, S: Side>() {
    let echo = Echo::new();
    let admit = |visit: Visit| async move {
        let who = visit.claim.head.header("authorization").unwrap_or_default();
        let who = Identification { principal: who.to_owned() };
        Verdict::Admit(Admitted { who, ..Admitted::anyone(Grant::open()) })
    };
    let server = S::bind(server_options(anywhere()), admit).expect("a server");
    let mut options = client_options(address(&server));
    options.headers.push(("Authorization".into(), "Basic anna".into()));
    options.config.name = "laptop".into();
    let client = C::connect(options).expect("a client");
    let mut events = client.events();
    let way = Way::Reverse { listen: anywhere(), to: echo.at.into() };
    let reverse = client.add_tunnel(Tunnel::new(way)).await.expect("a tunnel").tunnel;
    let source = Source::to(forward(&client, echo.at).await).await;
    source.exchange(b"four").await;
    let session = client.attached().await.expect("a session");
    let bound = told(&mut events, |event| match event {
        Event::TunnelBound { tunnel, outcome: Ok(at) } if tunnel == reverse => Some(at),
        _ => None,
    });
    let bound = bound.await;

    let stats = server.stats(session).await.expect("the session lives");
    assert_eq!((&stats.principal[..], &stats.client[..]), ("Basic anna", "laptop"));
    assert_eq!((stats.from.ip(), stats.links.len(), stats.listening), (anywhere().ip(), 1, vec![(reverse, bound)]));
    let since = client.stats().await.expect("the client lives").since.expect("there is a session");
    assert!(since >= stats.since, "the server had it first");
    let tunnels = client.tunnels().await.expect("the client lives");
    assert_eq!(tunnels[0].listening, Some(Ok(bound)));
    let before = server.totals().await;
    assert_eq!((before.sessions, before.founded, before.flows), (1, 1, 1));
    assert_eq!((before.counters.delivered, before.counters.bytes_in), (1, 4));

    server.kick(session).await.expect("the session lives");
    let told_so = told(&mut events, |event| match event {
        Event::Lost { code, .. } => Some(code),
        _ => None,
    });
    assert_eq!(told_so.await, Code::Denied);
    until(|| !server.sessions().contains(&session)).await;
    assert!(server.stats(session).await.is_err() && server.kick(session).await.is_err());
    source.exchange(b"sixsix").await;
    assert_ne!(client.attached().await, Ok(session), "admission let him in again");
    let after = server.totals().await;
    assert_eq!((after.sessions, after.founded, after.flows), (1, 2, 1));
    assert_eq!((after.counters.delivered, after.counters.bytes_in, after.counters.links), (2, 10, 2));
    assert_eq!(after.since, before.since);
    let flows: Vec<(FlowId, FlowState)> = client.flows().await.expect("the client lives");
    assert_eq!(flows[0].1.books.bytes_out, 10, "to the application it was one flow");
}

pub(crate) async fn taps_at_both_ends_see_every_datagram<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let all = TapOptions::default();
    let mut everything = server.tap(None, all).await.expect("the server lives");
    let client = connect::<C>(address(&server));
    let listener = forward(&client, echo.at).await;
    let mut here = client.tap(TapOptions { snap: 3, ..all }).await.expect("the client lives");
    let source = Source::to(listener).await;
    source.exchange(b"first").await;
    let session = client.attached().await.expect("a session");
    let mut there = server.tap(Some(session), all).await.expect("the session lives");
    source.exchange(b"second").await;

    let near = source.at();
    for (size, kept) in [(5, "fir"), (6, "sec")] {
        for (heading, fate) in [(Heading::Out, Fate::Taken), (Heading::In, Fate::Delivered)] {
            let record = next(&mut here).await.record;
            assert_eq!((record.heading, record.fate, record.size), (heading, fate, size));
            assert_eq!((&record.payload[..], record.missed), (kept.as_bytes(), 0));
            let (from, to) = if heading == Heading::Out { (near, echo.at) } else { (echo.at, near) };
            assert_eq!((record.source, record.destination), (Some(from.into()), Some(to.into())));
        }
    }
    for payload in ["first", "second"] {
        for (heading, fate) in [(Heading::In, Fate::Delivered), (Heading::Out, Fate::Taken)] {
            let seen = next(&mut everything).await;
            assert_eq!((seen.session, seen.record.heading, seen.record.fate), (Some(session), heading, fate));
            assert_eq!(&seen.record.payload[..], payload.as_bytes());
            if payload == "second" {
                assert_eq!(next(&mut there).await, seen, "the later tap began later, and sees the same");
            }
        }
    }

    // One reader goes, and the other sees on; what cannot be sent is seen, too.
    drop(there);
    let flow = client.flows().await.expect("the client lives")[0].0;
    // What is not acknowledged when a server goes is in doubt, and seen as that.
    while server.stats(session).await.expect("the session lives").counters.acknowledged < 2 {
        sleep(SOON).await;
    }
    server.close().await;
    assert!(timeout(LONG, everything.next()).await.expect("it ends with the server").is_none());
    while client.stats().await.expect("the client lives").session.is_some() {
        sleep(SOON).await;
    }
    source.send(b"waits").await;
    assert_eq!(next(&mut here).await.record.fate, Fate::Taken);
    assert_eq!(client.cut_flow(flow).await, Ok(true));
    let dropped = next(&mut here).await.record;
    assert_eq!((dropped.fate, dropped.flow, dropped.size), (Fate::Dropped(DropReason::Closed), Some(flow), 5));
    client.close().await;
    assert!(timeout(LONG, here.next()).await.expect("it ends with the client").is_none());
}

pub(crate) async fn a_slow_reader_misses_records_and_nobody_a_datagram<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect::<C>(address(&server));
    let source = Source::to(forward(&client, echo.at).await).await;
    let mut few = client.tap(TapOptions { records: 10, ..TapOptions::default() }).await.expect("the client lives");
    source.count(NUMBERS).await.assert_once(NUMBERS);
    assert_heard_once(&echo, NUMBERS);
    let seen = u64::from(NUMBERS.end) * 2;
    assert_eq!(few.missed(), seen - 10);
    for _ in 0..10 {
        assert_eq!(next(&mut few).await.record.missed, 0);
    }
    source.exchange(b"what comes next says so").await;
    assert_eq!(next(&mut few).await.record.missed, seen - 10);
}

async fn next(records: &mut Records) -> Captured {
    timeout(LONG, records.next()).await.expect("something is seen").expect("it has not ended")
}

async fn ordinals<C: Side>(client: &Client<C>) -> Vec<u64> {
    client.stats().await.expect("the client lives").links.iter().map(|link| link.ordinal.0).collect()
}

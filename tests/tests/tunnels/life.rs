//! Beginning, changing and ending, and what is told of it.

use std::fs::File;
use std::net::UdpSocket;
use std::process::Command;

use socket2::{Domain, Socket, Type};
use sudp_net::proto::access::Grant;
use sudp_net::proto::client::DialError;
use sudp_net::proto::event::Event;
use sudp_net::proto::session::{Tunnel, Way};
use sudp_net::proto::wire::{Address, Code};
use sudp_net::{Admitted, Anyone, BindError, ServerEvent, TunnelRefused, Verdict, Visit};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::relay::Relay;
use crate::rig::{address, client_options, connect, failure, forward, serve, server_options, told};
use crate::side::Side;
use crate::udp::{Echo, LONG, MOMENT, SOON, Source, anywhere, until};

pub(crate) async fn a_port_in_use_is_named<C: Side, S: Side>() {
    let server = serve::<S>();
    let at = address(&server);
    let second = S::bind(server_options(at), Anyone(Grant::open()));
    let Err(BindError::Listen { at: named, source }) = &second else { panic!("{second:?}") };
    assert_eq!((*named, source.kind()), (at, std::io::ErrorKind::AddrInUse));
    assert!(second.expect_err("a refusal").to_string().contains(&at.to_string()));

    let client = connect::<C>(at);
    let taken = UdpSocket::bind(anywhere()).expect("a socket");
    let here = taken.local_addr().expect("an address");
    let way = Way::Forward { listen: Some(here), to: Some(at.into()) };
    let refused = client.add_tunnel(Tunnel::new(way.clone())).await;
    let Err(TunnelRefused::Listen { at: named, source }) = &refused else { panic!("{refused:?}") };
    assert_eq!((*named, source.kind()), (here, std::io::ErrorKind::AddrInUse));
    assert!(refused.expect_err("a refusal").to_string().contains(&here.to_string()));
    // Nothing of it is left, so it can be tried again.
    drop(taken);
    while client.add_tunnel(Tunnel::new(way.clone())).await.is_err() {
        sleep(SOON).await;
    }

    // At the server it is told by an event.
    let taken = UdpSocket::bind(anywhere()).expect("a socket");
    let there = taken.local_addr().expect("an address");
    let mut events = client.events();
    let added = client.add_tunnel(Tunnel::new(Way::Reverse { listen: there, to: at.into() })).await;
    let wanted = added.expect("a tunnel").tunnel;
    let outcome = told(&mut events, |event| match event {
        Event::TunnelBound { tunnel, outcome } if tunnel == wanted => Some(outcome),
        _ => None,
    });
    assert_eq!(outcome.await, Err(Code::Unreachable));
    // It is asked for again by itself.
    drop(taken);
    let outcome = told(&mut events, |event| match event {
        Event::TunnelBound { tunnel, outcome: Ok(at) } if tunnel == wanted => Some(at),
        _ => None,
    });
    assert_eq!(outcome.await, there);
}

pub(crate) async fn a_server_that_cannot_be_found_is_looked_for_again<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let nowhere: Address = "nowhere.invalid:80".parse().expect("an address");
    let client = C::connect(client_options(nowhere.clone())).expect("a client");
    let mut events = client.events();
    for _ in 0..2 {
        assert_eq!(failure(&mut events).await, DialError::Unresolved, "and it tries again");
    }
    assert_eq!(client.stats().await.expect("the client lives").session, None);
    client.close().await;

    // Nor one at whose port nobody listens.
    let held = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    held.bind(&anywhere().into()).expect("an address");
    let closed = held.local_addr().expect("an address").as_socket().expect("an address");
    let client = connect::<C>(closed);
    assert_eq!(failure(&mut client.events()).await, DialError::Connect(std::io::ErrorKind::ConnectionRefused));

    // Beside one that is found it does no harm.
    let mut options = client_options(address(&server));
    options.config.servers.insert(0, client_options(nowhere).config.servers.remove(0));
    let client = C::connect(options).expect("a client");
    let source = Source::to(forward(&client, echo.at).await).await;
    source.exchange(b"found").await;
    assert_eq!(client.stats().await.expect("the client lives").server, Some(1));
}

pub(crate) async fn tunnels_come_and_go_while_others_run<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let client = connect::<C>(address(&server));
    let stays = Source::to(forward(&client, echo.at).await).await;
    stays.exchange(b"begin").await;
    for number in 0..10_u8 {
        let way = Way::Forward { listen: Some(anywhere()), to: Some(echo.at.into()) };
        let added = client.add_tunnel(Tunnel::new(way)).await.expect("a tunnel");
        let at = added.at.expect("a listener");
        let source = Source::to(at).await;
        source.exchange(&[number]).await;
        client.remove_tunnel(added.tunnel).await.expect("the client lives");
        until(|| UdpSocket::bind(at).is_ok()).await;
        stays.exchange(&[number]).await;
    }
    let session = server.sessions()[0];
    while server.stats(session).await.expect("a session").flows > 1 {
        sleep(SOON).await;
    }
}

pub(crate) async fn a_client_that_is_refused_is_told_of_at_the_server<C: Side, S: Side>() {
    // It decides once somebody listens: who is refused for good does not come back soon.
    let (listened, listens) = watch::channel(false);
    let admit = move |visit: Visit| {
        let mut listens = listens.clone();
        async move {
            let _ = listens.wait_for(|listens| *listens).await;
            match visit.claim.head.header("authorization") {
                Some("Bearer abc") => Verdict::Admit(Admitted::anyone(Grant::open())),
                Some(_) | None => Verdict::Refuse(Code::Denied),
            }
        }
    };
    let server = S::bind(server_options(anywhere()), admit).expect("a server");
    let mut events = server.events();
    let stranger = connect::<C>(address(&server));
    let mut heard = stranger.events();
    listened.send_replace(true);
    let refused = timeout(LONG, events.next()).await.expect("an event");
    let Some(ServerEvent::Refused { code, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(code, Code::Denied);
    assert_eq!(failure(&mut heard).await, DialError::Refused { code: Code::Denied, retry_after: None });
    assert_eq!(stranger.stats().await.expect("it goes on trying").session, None);

    let mut options = client_options(address(&server));
    options.headers.push(("Authorization".into(), "Bearer abc".into()));
    let guest = C::connect(options).expect("a client");
    guest.attached().await.expect("a session");
}

pub(crate) async fn counters_add_up_and_events_tell_the_story<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let mut there = server.events();
    // The path opens once somebody listens.
    let relay = Relay::to(address(&server)).await;
    relay.set_open(false);
    let client = connect::<C>(relay.at);
    let mut here = client.events();
    relay.set_open(true);
    let source = Source::to(forward(&client, echo.at).await).await;
    for number in 0..100 {
        source.exchange(&[number]).await;
    }
    let session = client.attached().await.expect("a session");
    told(&mut here, |event| (event == Event::Started { session }).then_some(())).await;
    told(&mut here, |event| matches!(event, Event::LinkUp { .. }).then_some(())).await;
    let founded = loop {
        let event = timeout(LONG, there.next()).await.expect("an event").expect("the server lives");
        if let ServerEvent::Founded { session, .. } = event {
            break session;
        }
    };
    assert_eq!((founded, server.sessions()), (session, vec![session]));

    loop {
        let (one, other) = (client.stats().await.expect("a client"), server.stats(session).await.expect("a session"));
        let (one, other) = (one.counters, other.counters);
        assert_eq!([one.accepted, one.delivered, other.accepted, other.delivered], [100; 4]);
        assert_eq!([one.bytes_out, one.bytes_in, other.bytes_out, other.bytes_in], [100; 4]);
        assert_eq!(one.dropped_out.total() + one.dropped_in.total(), 0);
        assert_eq!(other.dropped_out.total() + other.dropped_in.total(), 0);
        // The last acknowledgement takes its time.
        if [one.acknowledged, other.acknowledged] == [100; 2] {
            break;
        }
        sleep(SOON).await;
    }
    let stats = client.stats().await.expect("a client");
    assert_eq!((stats.flows, stats.links.len(), stats.server, stats.kernel_drops), (1, 1, Some(0), 0));
    assert!(stats.receive_buffer.is_some_and(|bytes| bytes > 0));
}

pub(crate) async fn dropping_the_handles_ends_everything<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let at = address(&server);
    let client = connect::<C>(at);
    let listener = forward(&client, echo.at).await;
    let source = Source::to(listener).await;
    source.exchange(b"up").await;
    let egress = *echo.sources().first().expect("it was heard");
    assert!(UdpSocket::bind(listener).is_err() && UdpSocket::bind(egress).is_err());

    let (mut here, second) = (client.events(), client.clone());
    drop(client);
    source.exchange(b"one handle is enough").await;
    drop(second);
    while timeout(LONG, here.next()).await.expect("the events end").is_some() {}
    until(|| UdpSocket::bind(listener).is_ok()).await;
    until(|| UdpSocket::bind(egress).is_ok()).await;
    until(|| server.sessions().is_empty()).await;

    // The other way round: the client stays.
    let client = connect::<C>(at);
    let source = Source::to(forward(&client, echo.at).await).await;
    source.exchange(b"up again").await;
    let mut there = server.events();
    drop(server);
    while timeout(LONG, there.next()).await.expect("the events end").is_some() {}
    while TcpListener::bind(at).await.is_err() {
        sleep(SOON).await;
    }
    for egress in echo.sources() {
        until(|| UdpSocket::bind(egress).is_ok()).await;
    }
}

/// It takes a process of its own, of which this very test is the whole.
pub(crate) async fn a_server_without_descriptors_waits_for_some<C: Side, S: Side>() {
    if std::env::var_os(FEW).is_some() {
        return without_descriptors::<C, S>().await;
    }
    if !cfg!(unix) {
        return eprintln!("skipped: only a Unix shell can limit the descriptors of a process");
    }
    let (test, this) = (std::thread::current().name().map(String::from), std::env::current_exe());
    let child = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(this.expect("the path of this program"))
        .arg(test.expect("the name of this test"))
        .env(FEW, "1")
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

async fn without_descriptors<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve::<S>());
    let mut events = server.events();
    let client = connect::<C>(address(&server));
    let source = Source::to(forward(&client, echo.at).await).await;
    source.exchange(b"while there are enough").await;

    // One is left for whoever knocks, none for the server to open to him.
    let mut taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    drop(taken.pop());
    let knocks = std::net::TcpStream::connect(address(&server)).expect("the system accepts for the server");
    loop {
        let event = timeout(LONG, events.next()).await.expect("an event").expect("the server lives");
        if let ServerEvent::AcceptPaused { at, .. } = event {
            assert_eq!(at, address(&server));
            break;
        }
    }
    source.exchange(b"what is open goes on").await;

    // Whoever knocked goes, so that nobody is there when the server looks again; then somebody comes.
    drop(knocks);
    drop(taken);
    sleep(MOMENT).await;
    let client = connect::<C>(address(&server));
    timeout(LONG, client.attached()).await.expect("it is let in").expect("a session");
}

/// Tells the process that it has few descriptors.
const FEW: &str = "SUDP_TEST_FEW_DESCRIPTORS";

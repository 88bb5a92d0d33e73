//! Clients and servers on any of the runtimes, and what goes through a tunnel.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use sudp_net::{Anyone, ClientEvent, ClientOptions, Events, ProxyRules, ProxyUrl, Runtime, ServerOptions};
use sudp_proto::access::{Grant, Rules};
use sudp_proto::client::DialFailure;
use sudp_proto::config::client::ClientConfig;
use sudp_proto::session::{Tunnel as Rule, Way};
use sudp_proto::wire::Address;
use tokio::time::timeout;

/// A runtime, and its adapter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Adapter {
    AsyncStd,
    Tokio,
}

pub(crate) const ADAPTERS: [Adapter; 2] = [Adapter::AsyncStd, Adapter::Tokio];

static TOKIO: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());

/// A server that lets everybody speak to this host.
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    /// A socket that sends back what it gets.
    echo: SocketAddr,
    _running: Box<dyn Any>,
}

impl Server {
    pub(crate) fn new(adapter: Adapter) -> Self {
        let echo = roomy();
        let to = echo.local_addr().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while let Ok((length, from)) = echo.recv_from(&mut buffer) {
                let _ = echo.send_to(&buffer[..length], from);
            }
        });
        let (at, running) = match adapter {
            Adapter::AsyncStd => serve(sudp_async_std::AsyncStd),
            Adapter::Tokio => serve(sudp_tokio::Tokio::from(TOKIO.handle().clone())),
        };
        Self { at, echo: to, _running: running }
    }

    /// As if it were there, where it is not.
    pub(crate) fn elsewhere(self, at: SocketAddr) -> Self {
        Self { at, ..self }
    }
}

fn serve<R: Runtime>(runtime: R) -> (SocketAddr, Box<dyn Any>) {
    let rules = Rules::parse(["allow 127.0.0.0/8"]).unwrap();
    let options = ServerOptions::new(vec![ANY.into()]);
    let server = sudp_net::Server::bind(runtime, options, Anyone(Grant::new(rules))).unwrap();
    (server.local_addrs()[0], Box::new(server))
}

/// A client with one tunnel to the echo, through a proxy.
pub(crate) struct Tunnel {
    entrance: SocketAddr,
    events: Events<ClientEvent>,
    _running: Box<dyn Any>,
}

impl Tunnel {
    /// The server may go by another name.
    pub(crate) fn new(adapter: Adapter, server: &Server, host: &str, proxy: ProxyUrl) -> Self {
        let config = ClientConfig::new(vec![format!("ws://{host}:{}", server.at.port()).parse().unwrap()]);
        let mut options = ClientOptions::new(config);
        options.proxies = ProxyRules::all(proxy);
        let echo = server.echo;
        let started = match adapter {
            Adapter::AsyncStd => dig(sudp_async_std::AsyncStd, options, echo),
            Adapter::Tokio => dig(sudp_tokio::Tokio::from(TOKIO.handle().clone()), options, echo),
        };
        let (entrance, events, running) = started;
        Self { entrance, events, _running: running }
    }

    /// Why a dial came to nothing.
    pub(crate) fn failure(&mut self) -> DialFailure {
        TOKIO.block_on(async {
            loop {
                let event = timeout(PATIENCE, self.events.next()).await.expect("a failure").expect("the client lives");
                if let ClientEvent::DialFailed(failure) = event {
                    return failure;
                }
            }
        })
    }

    /// Has every one of some datagrams come back once.
    pub(crate) fn converses(&self, datagrams: u32) {
        let mut traffic = self.traffic();
        traffic.flows(datagrams);
        traffic.settles();
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let socket = roomy();
        socket.connect(self.entrance).unwrap();
        Traffic { socket, sent: 0, back: BTreeMap::new() }
    }
}

fn dig<R: Runtime>(
    runtime: R,
    options: ClientOptions,
    echo: SocketAddr,
) -> (SocketAddr, Events<ClientEvent>, Box<dyn Any>) {
    let client = sudp_net::Client::connect(runtime, options).unwrap();
    let events = client.events();
    let way = Way::Forward { listen: Some(ANY.into()), to: Some(Address::from(echo)) };
    let listening = TOKIO.block_on(client.add_tunnel(Rule::new(way))).unwrap();
    (listening.at.unwrap(), events, Box::new(client))
}

/// Numbered datagrams, and how often each came back.
pub(crate) struct Traffic {
    socket: UdpSocket,
    sent: u32,
    back: BTreeMap<u32, u32>,
}

impl Traffic {
    /// Sends so many more, a few hundred a second.
    pub(crate) fn flows(&mut self, datagrams: u32) {
        self.socket.set_read_timeout(Some(PACE)).unwrap();
        for _ in 0..datagrams {
            self.socket.send(&self.sent.to_be_bytes()).unwrap();
            self.sent += 1;
            while self.receive() {}
        }
    }

    /// Waits until all are back, and a little longer: none is missing, none came twice.
    pub(crate) fn settles(mut self) {
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        while self.back.len() < self.sent as usize && self.receive() {}
        self.socket.set_read_timeout(Some(LINGER)).unwrap();
        while self.receive() {}
        let missing: Vec<u32> = (0..self.sent).filter(|number| !self.back.contains_key(number)).collect();
        assert!(missing.is_empty(), "{} of {} are missing: {missing:?}", missing.len(), self.sent);
        assert!(self.back.values().all(|times| *times == 1), "some came twice");
    }

    fn receive(&mut self) -> bool {
        let mut number = [0; 4];
        match self.socket.recv(&mut number) {
            Ok(length) => assert_eq!(length, 4),
            Err(_) => return false,
        }
        *self.back.entry(u32::from_be_bytes(number)).or_default() += 1;
        true
    }
}

/// A socket that takes what waited for a proxy, all at once.
fn roomy() -> UdpSocket {
    let socket = UdpSocket::bind(ANY).unwrap();
    socket2::SockRef::from(&socket).set_recv_buffer_size(1 << 20).unwrap();
    socket
}

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const PACE: Duration = Duration::from_millis(2);
const LINGER: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);

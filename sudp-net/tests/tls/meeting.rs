//! A client and whatever it has dialled, in memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rustls::ServerConfig;
use sudp_proto::Seed;
use sudp_proto::access::Pool;
use sudp_proto::client::{Client, ClientSetup, DialError, DialFailure};
use sudp_proto::config::Limits;
use sudp_proto::config::client::{ClientConfig, Scheme, ServerConfig as Server};
use sudp_proto::driver::{Endpoint as _, Key, Order};
use sudp_proto::link::{Answer, ClientTls, LinkEnd, ServerExpect};
use sudp_proto::server::{Incoming, IncomingSetup};
use sudp_proto::wire::{Address, Host};

use crate::certs::HOST;

/// What a client has dialled.
pub(crate) enum Far {
    /// A server under TLS.
    Tls(Arc<ServerConfig>),
    /// The same, which answers every claim with this status.
    Answers(Arc<ServerConfig>, u16),
    /// A server in clear.
    Clear,
    /// Something that hears the client, says this, and hangs up.
    Says(Vec<u8>),
}

/// What became of it.
pub(crate) struct Met {
    /// What the client says of it.
    pub(crate) failure: Option<DialFailure>,
    /// Whether the server was asked for a session.
    pub(crate) claimed: bool,
    /// The certificate that the server found with the claim.
    pub(crate) certificate: Option<Bytes>,
    /// Why the stream ended at the server.
    pub(crate) end: Option<LinkEnd>,
    /// Everything the client wrote.
    pub(crate) up: Vec<u8>,
    /// Everything that came back.
    pub(crate) down: Vec<u8>,
}

impl Met {
    /// The client's failure, which there must be.
    #[track_caller]
    pub(crate) fn why(&self) -> &DialError {
        &self.failure.as_ref().expect("the dial fails").why
    }

    #[track_caller]
    pub(crate) fn assert_claimed(&self) {
        assert!(self.claimed && self.failure.is_none(), "{:?}, {:?}", self.failure, self.end);
    }
}

/// Dials the usual host by TLS.
pub(crate) fn dial(tls: ClientTls, far: Far) -> Met {
    dial_host(Host::Name(HOST.into()), Scheme::Wss, Some(tls), far)
}

pub(crate) fn dial_host(host: Host, scheme: Scheme, tls: Option<ClientTls>, far: Far) -> Met {
    let now = now();
    let pool = Pool::memory(64 << 20, 128 << 10);
    let config = ClientConfig::new(vec![Server::new(scheme, Address { host, port: 443 })]);
    let mut client = Client::new(now, ClientSetup { tls, ..ClientSetup::new(config, pool, Seed::from(1)) });
    let mut met = Met { failure: None, claimed: false, certificate: None, end: None, up: Vec::new(), down: Vec::new() };
    let Some(key) = connect(now, &mut client) else {
        met.failure = client.poll_failure();
        return met;
    };
    match far {
        Far::Says(words) => {
            take(now, &mut client, key, &mut met.up);
            client.handle_input(now, key, &mut BytesMut::from(&words[..]));
            client.handle_end(now, key);
        }
        Far::Clear => serve(now, &mut client, key, None, None, &mut met),
        Far::Tls(config) => serve(now, &mut client, key, Some(config), None, &mut met),
        Far::Answers(config, status) => serve(now, &mut client, key, Some(config), Some(status), &mut met),
    }
    met.failure = client.poll_failure();
    met
}

/// Drives a client up to its connection, if it wants one.
fn connect(now: Instant, client: &mut Client) -> Option<Key> {
    while let Some(order) = client.poll_order(now) {
        match order {
            Order::Resolve { key, .. } => client.handle_resolved(now, key, &[SocketAddr::from(([192, 0, 2, 1], 443))]),
            Order::Dial { key, .. } => {
                client.handle_connected(now, key);
                return Some(key);
            }
            Order::Close(_) => {}
        }
    }
    None
}

fn serve(
    now: Instant,
    client: &mut Client,
    key: Key,
    config: Option<Arc<ServerConfig>>,
    status: Option<u16>,
    met: &mut Met,
) {
    let expect = ServerExpect { path: "/sudp".into(), ..ServerExpect::default() };
    let tls = config.map(Into::into);
    let setup = IncomingSetup { expect, tls, seal: None, limits: Limits::default(), server: 7, seed: Seed::from(2) };
    let mut server = Incoming::new(now, setup);
    let (mut up, mut down) = (BytesMut::new(), BytesMut::new());
    loop {
        let from = (met.up.len(), met.down.len());
        take(now, client, key, &mut met.up);
        up.extend_from_slice(&met.up[from.0..]);
        server.handle_input(now, Incoming::KEY, &mut up);
        if let Some(claim) = server.poll_claim() {
            met.claimed = true;
            met.certificate = claim.certificate;
            match status {
                Some(status) => server.answer(now, &Answer::new(status).unwrap()).unwrap(),
                None => break,
            }
        }
        take(now, &mut server, Incoming::KEY, &mut met.down);
        down.extend_from_slice(&met.down[from.1..]);
        client.handle_input(now, key, &mut down);
        if from == (met.up.len(), met.down.len()) {
            break;
        }
    }
    met.end = server.end().cloned();
    if !met.claimed && server.wants_finish(Incoming::KEY) {
        client.handle_end(now, key);
    }
}

fn take(now: Instant, from: &mut impl sudp_proto::driver::Endpoint, key: Key, into: &mut Vec<u8>) {
    let bytes = from.output(now, key).to_vec();
    from.advance(key, bytes.len());
    into.extend(bytes);
}

pub(crate) fn now() -> Instant {
    Instant::now()
}

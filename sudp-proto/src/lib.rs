//! SUDP as a pure state machine: UDP carried over WebSocket sessions that outlive their connections.
//!
//! Nothing here opens a socket, reads a clock, draws global randomness or writes a log. Time comes in
//! as an argument, randomness as a [`Seed`], bytes and datagrams through calls; what should happen
//! next comes out of `poll_*`.
//!
//! # Which part to take
//!
//! - [`driver::Driver`] is the whole event loop over a trait of non-blocking doors: bring sockets.
//! - [`client::Client`], [`server::Incoming`] and [`server::Server`] are machines on bytes: bring a loop.
//! - [`session::Session`] is a machine on messages: bring a WebSocket.
//!
//! # The contract
//!
//! Every machine has the same shape. `handle_*` says that something happened; nothing a remote sends
//! can make it fail, it ends at worst in a closed link or session and an [`event::Event`]. `poll_*` takes
//! one thing out. `poll_timeout` names the next deadline, and its cause.
//!
//! 1. Time never goes back, and counts while the machine is suspended.
//! 2. After any call everything is drained: orders, needs, ready flows, the output of every stream, events.
//! 3. Then nothing happens until something arrives or the deadline passes.
//! 4. After `handle_timeout(now)` and draining, the next deadline is later than `now`, or there is none.
//! 5. Same seed and same calls: same bytes. How input is cut into pieces never matters.
//!
//! # The loop
//!
//! Two halves, joined in memory; a datagram goes in at one end and comes out at the other.
//!
//! ```
//! # #[cfg(not(feature = "driver"))]
//! # fn main() {}
//! # #[cfg(feature = "driver")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::collections::BTreeMap;
//! use std::net::SocketAddr;
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use bytes::BytesMut;
//! use sudp_proto::access::{Grant, Own, Pool};
//! use sudp_proto::client::{Client, ClientSetup};
//! use sudp_proto::config::{Limits, client::{ClientConfig, Scheme, ServerConfig}};
//! use sudp_proto::driver::{Endpoint, Order};
//! use sudp_proto::link::ServerExpect;
//! use sudp_proto::server::{
//!     Admission, Identification, Incoming, IncomingSetup, Names, Registry, Server, ServerSetup,
//! };
//! use sudp_proto::session::{Access, InDoubt, Need, Treatment, Tunnel, Way};
//! use sudp_proto::wire::{Address, Ticket, TunnelId};
//! use sudp_proto::Seed;
//!
//! let (mut now, limits, pool) = (Instant::now(), Limits::default(), Pool::memory(64 << 20, 128 << 10));
//! let at: SocketAddr = "192.0.2.1:80".parse()?;
//! let destination: SocketAddr = "198.51.100.7:53".parse()?;
//! let application: SocketAddr = "127.0.0.1:4000".parse()?;
//!
//! let mut client = Client::new(now, ClientSetup {
//!     config: ClientConfig::new(vec![ServerConfig::new(Scheme::Ws, Address::from(at))]),
//!     limits: limits.clone(), started: 1, headers: Vec::new(), credential: None, awaits_credential: false,
//!     proxies: BTreeMap::new(), tls: None, seal: None, pool: pool.clone(),
//!     seed: Seed::from(1),
//! });
//! let way = Way::Forward { listen: None, to: Some(Address::from(destination)) };
//! client.add_tunnel(TunnelId(1), Tunnel { way, treatment: Treatment::default(), in_doubt: InDoubt::Drop })?;
//! client.session_mut().handle_datagram(now, TunnelId(1), application, b"is anybody there?")?;
//!
//! let expect = ServerExpect { path: "/sudp".into(), ..ServerExpect::default() };
//! let setup = IncomingSetup { expect, tls: None, seal: None, limits: limits.clone(), server: 7, seed: Seed::from(2) };
//! let mut incoming = Incoming::new(now, setup);
//! let mut registry = Registry::new(limits.clone(), &Seed::from(3));
//!
//! // A real loop keeps each of these per stream, and waits for sockets instead of going round.
//! let (mut stream, mut up, mut down) = (None, BytesMut::new(), BytesMut::new());
//! let (mut server, key) = loop {
//!     while let Some(order) = client.poll_order(now) {
//!         if let Order::Dial { key, to } = order {
//!             assert_eq!(to, at);
//!             stream = Some(key);
//!             client.handle_connected(now, key);
//!         }
//!     }
//!     if let Some(key) = stream {
//!         carry(now, &mut client, key, &mut up);
//!         incoming.handle_input(now, Incoming::KEY, &mut up);
//!     }
//!     if let Some(claim) = incoming.poll_claim() {
//!         let who = Identification::default();
//!         let grant = Grant::open();
//!         let Admission::Found(founded) = registry.admit(&claim, &who, (&grant).into())? else { unreachable!() };
//!         let arrival = incoming.grant().expect("nobody hung up meanwhile");
//!         let access = Access { grant, own: Arc::new(Own::default()) };
//!         let setup = ServerSetup { limits, access, pool, seed: Seed::from(4), ticket: Ticket::default() };
//!         let mut server = Server::new(now, &founded, Names { server: 7, ..Names::default() }, setup);
//!         let (key, adopted) = server.adopt(now, arrival);
//!         adopted.expect("the first link of a session");
//!         break (server, key);
//!     }
//!     now = client.poll_timeout().map_or(now, |due| due.at.max(now));
//!     client.handle_timeout(now);
//! };
//! let ours = stream.expect("the client has dialled");
//! let heard = loop {
//!     carry(now, &mut server, key, &mut down);
//!     client.handle_input(now, ours, &mut down);
//!     carry(now, &mut client, ours, &mut up);
//!     server.handle_input(now, key, &mut up);
//!     while let Some(need) = server.session_mut().poll_need() {
//!         if let Need::Socket { flow, to } = need {
//!             assert_eq!(to, destination);
//!             server.session_mut().handle_socket(now, flow, Ok(()));
//!         }
//!     }
//!     if let Some(flow) = server.session_mut().poll_ready() {
//!         let payload = server.session_mut().inbox(flow).next().map(|datagram| datagram.payload.clone());
//!         server.session_mut().delivered(flow, 1);
//!         break payload;
//!     }
//! };
//! assert_eq!(heard.as_deref(), Some(&b"is anybody there?"[..]));
//!
//! /// Moves what an endpoint has to write to the other's input.
//! fn carry(now: Instant, from: &mut impl Endpoint, key: sudp_proto::driver::Key, to: &mut BytesMut) {
//!     let bytes = from.output(now, key).len();
//!     to.extend_from_slice(from.output(now, key));
//!     from.advance(key, bytes);
//! }
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod access;
pub mod backoff;
#[cfg(feature = "driver")]
mod carrier;
#[cfg(feature = "driver")]
pub mod client;
pub mod config;
mod credential;
#[cfg(feature = "driver")]
pub mod driver;
pub mod error;
pub mod event;
pub mod heartbeat;
#[cfg(feature = "link")]
pub mod link;
pub mod rng;
#[cfg(feature = "driver")]
pub mod server;
pub mod session;
pub mod stats;
#[cfg(test)]
mod testing;
pub mod wire;

pub use credential::{Credential, CredentialError, MAX_CREDENTIAL};
pub use rng::{Rng, Seed};

//! A client and a server of one session on one link, with nothing between them: bytes that one side
//! says are handed to the other when the caller wants it.
//!
//! For measurements of time and memory. Each side is moved by itself, so that what it does can be
//! told from what the other does; faults and delays are the business of other worlds.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use sudp_proto::Seed;
use sudp_proto::access::{Grant, Pool};
use sudp_proto::client::{Client, ClientSetup};
use sudp_proto::config::Limits;
use sudp_proto::config::client::{ClientConfig, Scheme, ServerConfig};
use sudp_proto::driver::{Endpoint, Key, Order};
use sudp_proto::link::{ClientSeal, Keypair, ServerExpect, ServerSeal};
use sudp_proto::server::{Admission, Identification, Incoming, IncomingSetup, Names, Registry, Server, ServerSetup};
use sudp_proto::session::{Access, Need, SendError, Session, Tunnel, Way};
use sudp_proto::wire::{Address, FlowId, Ticket, TunnelId};

use crate::clock::epoch;

/// A session, as both of its halves.
#[derive(Debug)]
pub struct Rig {
    /// What time it is.
    pub now: Instant,
    /// The half that dialled.
    pub client: Half<Client>,
    /// The half that accepted.
    pub server: Half<Server>,
}

/// One half, with its only stream.
#[derive(Debug)]
pub struct Half<E> {
    endpoint: E,
    key: Key,
    /// What arrived; messages are slices of it, so it is used again once they are gone.
    input: BytesMut,
}

impl Rig {
    /// A session that stands, with memory from these pools.
    ///
    /// # Panics
    ///
    /// If the two do not come together.
    pub fn new(seed: u64, client_pool: &Pool, server_pool: &Pool) -> Self {
        Self::on(false, seed, client_pool, server_pool)
    }

    /// The same with a sealed link.
    ///
    /// # Panics
    ///
    /// If the two do not come together.
    pub fn sealed(seed: u64, client_pool: &Pool, server_pool: &Pool) -> Self {
        Self::on(true, seed, client_pool, server_pool)
    }

    fn on(sealed: bool, seed: u64, client_pool: &Pool, server_pool: &Pool) -> Self {
        let now = epoch();
        let mut client =
            Half { endpoint: client(now, sealed, seed, client_pool), key: Incoming::KEY, input: BytesMut::new() };
        let Some(Order::Dial { key, .. }) = client.endpoint.poll_order(now) else {
            panic!("a client begins by dialling")
        };
        client.key = key;
        client.endpoint.handle_connected(now, key);
        let server = accept(now, sealed, seed, server_pool, &mut client);
        let mut rig = Self { now, client, server };
        rig.settle();
        assert_eq!(rig.client.session().links().count(), 1, "the welcome has arrived");
        rig
    }

    /// Lets both sides say and hear until nobody has anything to say.
    pub fn settle(&mut self) {
        let mut wire = Vec::new();
        loop {
            let up = self.client.say(self.now, &mut wire);
            self.server.hear(self.now, &wire);
            wire.clear();
            let down = self.server.say(self.now, &mut wire);
            self.client.hear(self.now, &wire);
            wire.clear();
            if !up && !down {
                return;
            }
        }
    }

    /// Lets time pass in which nobody sends a datagram.
    pub fn rest(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = [self.client.due(), self.server.due()].into_iter().flatten().min()
            && next <= end
        {
            self.now = next.max(self.now);
            self.client.wait(self.now);
            self.server.wait(self.now);
            self.settle();
        }
        self.now = end;
    }
}

impl<E: Endpoint> Half<E> {
    /// Appends to `wire` what this side has to write; says whether that is anything.
    pub fn say(&mut self, now: Instant, wire: &mut Vec<u8>) -> bool {
        let before = wire.len();
        while self.endpoint.poll_order(now).is_some() {}
        loop {
            let output = self.endpoint.output(now, self.key);
            let written = output.len();
            if written == 0 {
                return wire.len() > before;
            }
            wire.extend_from_slice(output);
            self.endpoint.advance(self.key, written);
        }
    }

    /// Takes bytes in reads as large as the driver's; what they bring is delivered at once.
    pub fn hear(&mut self, now: Instant, mut wire: &[u8]) {
        while !wire.is_empty() {
            if self.input.capacity() - self.input.len() < LEAST_ROOM {
                self.input.reserve(ROOM);
            }
            let room = (self.input.capacity() - self.input.len()).min(ROOM);
            let (read, rest) = wire.split_at(room.min(wire.len()));
            self.input.extend_from_slice(read);
            wire = rest;
            self.endpoint.handle_input(now, self.key, &mut self.input);
            self.serve(now);
        }
    }

    /// Does for the session what its surroundings would do; says how many datagrams were delivered.
    pub fn serve(&mut self, now: Instant) -> usize {
        let session = self.session();
        let mut delivered = 0;
        while let Some(need) = session.poll_need() {
            if let Need::Socket { flow, .. } = need {
                session.handle_socket(now, flow, Ok(()));
            }
        }
        while let Some(flow) = session.poll_ready() {
            let count = session.inbox(flow).count();
            session.delivered(flow, count);
            delivered += count;
        }
        while session.poll_event().is_some() {}
        delivered
    }

    /// Gives the room for reading back, as the driver does when nothing happens.
    pub fn release(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// When this side wants to be called.
    pub fn due(&self) -> Option<Instant> {
        self.endpoint.poll_timeout().map(|deadline| deadline.at)
    }

    /// Does what is due.
    pub fn wait(&mut self, now: Instant) {
        if self.due().is_some_and(|due| due <= now) {
            self.endpoint.handle_timeout(now);
        }
    }

    /// The session.
    ///
    /// # Panics
    ///
    /// Never: clients have one from the beginning, and a server's half is one.
    pub fn session(&mut self) -> &mut Session {
        self.endpoint.session().expect("both halves have a session")
    }
}

impl Half<Client> {
    /// A datagram from the local source of this number.
    pub fn send(&mut self, now: Instant, source: u16, payload: &[u8]) -> Result<FlowId, SendError> {
        let source = SocketAddr::from(([127, 0, 0, 1], 10_000 + source));
        self.session().handle_datagram(now, TUNNEL, source, payload)
    }
}

impl Half<Server> {
    /// An answer from where a flow goes.
    pub fn answer(&mut self, now: Instant, flow: FlowId, payload: &[u8]) -> Result<FlowId, SendError> {
        self.session().handle_answer(now, flow, destination(), payload)
    }
}

fn client(now: Instant, sealed: bool, seed: u64, pool: &Pool) -> Client {
    let server = ServerConfig::new(Scheme::Ws, Address::from(SocketAddr::from(([192, 0, 2, 1], 80))));
    let mut setup = ClientSetup::new(ClientConfig::new(vec![server]), pool.clone(), Seed::from(seed));
    setup.seal = sealed.then(|| ClientSeal { server: key(1).public(), key: key(2) });
    let mut client = Client::new(now, setup);
    let way = Way::Forward { listen: None, to: Some(Address::from(destination())) };
    client.add_tunnel(TUNNEL, Tunnel::new(way)).expect("the only tunnel");
    client
}

/// Takes a client's stream up to the session that its claim is granted.
fn accept(now: Instant, sealed: bool, seed: u64, pool: &Pool, client: &mut Half<Client>) -> Half<Server> {
    let limits = Limits::default();
    let expect = ServerExpect { path: "/sudp".into(), ..ServerExpect::default() };
    let seal = sealed.then(|| ServerSeal { key: key(1), required: true });
    let incoming_seed = Seed::from(seed ^ 1 << 32);
    let setup = IncomingSetup { expect, tls: None, seal, limits: limits.clone(), server: 1, seed: incoming_seed };
    let mut incoming = Incoming::new(now, setup);
    let mut wire = Vec::new();
    client.say(now, &mut wire);
    let mut input = BytesMut::from(&wire[..]);
    incoming.handle_input(now, Incoming::KEY, &mut input);
    let claim = incoming.poll_claim().expect("a hello is a claim");
    let mut registry = Registry::new(limits.clone(), &Seed::from(seed ^ 2 << 32));
    let admission = registry.admit(&claim, &Identification::default(), (&Grant::open()).into());
    let Ok(Admission::Found(founded)) = admission else { panic!("a first hello founds a session") };
    let setup = ServerSetup {
        limits,
        access: Access::new(Grant::open()),
        pool: pool.clone(),
        seed: Seed::from(seed ^ 3 << 32),
        ticket: Ticket::default(),
    };
    let mut server = Server::new(now, &founded, Names::default(), setup);
    let arrival = incoming.grant().expect("a claim waits for its grant");
    let (key, adopted) = server.adopt(now, arrival);
    adopted.expect("the first link of a session");
    Half { endpoint: server, key, input }
}

fn key(number: u8) -> Keypair {
    Keypair::from_private([number; 32])
}

fn destination() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], 9))
}

const TUNNEL: TunnelId = TunnelId(1);
/// What is read at once.
const ROOM: usize = 64 << 10;
/// With less than this, room is made before a read.
const LEAST_ROOM: usize = 4 << 10;

//! Stories of a client and its servers, on bytes that arrive at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::access::{Grant, Own};
use crate::config::client::{Scheme, ServerConfig};
use crate::event::Event;
use crate::link::{ServerExpect, Subprotocol};
use crate::server::{Admission, Identification, Incoming, IncomingSetup, Names, Registry, Server, ServerSetup};
use crate::session::{Access, InDoubt, Need, Treatment, Way};
use crate::testing::{epoch, ms, secs};
use crate::wire::{Address, FlowId, SessionId};

/// What stands between a client's streams and one server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Path {
    Open,
    Refused,
    /// The upgrade request loses our headers on the way.
    Stripped,
}

struct Rig {
    now: Instant,
    client: Client,
    registry: Registry,
    sessions: BTreeMap<SessionId, Server>,
    incoming: BTreeMap<Key, Incoming>,
    joined: BTreeMap<Key, (SessionId, Key)>,
    path: Path,
    pool: Pool,
    served: Vec<Bytes>,
    events: Vec<Event>,
    names: Names,
    seeds: u64,
}

const TUNNEL: TunnelId = TunnelId(1);

fn source() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4_000))
}

impl Rig {
    fn new(links: usize) -> Self {
        let now = epoch();
        let pool = Pool::memory(64 << 20, 128 << 10);
        let address = Address::from(SocketAddr::from(([192, 0, 2, 1], 80)));
        let server = ServerConfig::new(Scheme::Ws, address);
        let setup = ClientSetup {
            config: ClientConfig { name: "laptop".into(), links, ..ClientConfig::new(vec![server]) },
            limits: Limits::default(),
            started: 1,
            headers: Vec::new(),
            proxy: None,
            pool: pool.clone(),
            seed: Seed::from(1),
        };
        let mut client = Client::new(now, setup);
        let to = Some(Address::from(SocketAddr::from(([192, 0, 2, 9], 9))));
        let way = Way::Forward { listen: None, to };
        client.add_tunnel(TUNNEL, Tunnel { way, treatment: Treatment::default(), in_doubt: InDoubt::Drop }).unwrap();
        Self {
            now,
            client,
            registry: Registry::new(Limits::default(), &Seed::from(2)),
            sessions: BTreeMap::new(),
            incoming: BTreeMap::new(),
            joined: BTreeMap::new(),
            path: Path::Open,
            pool,
            served: Vec::new(),
            events: Vec::new(),
            names: Names { server: 7, ..Names::default() },
            seeds: 10,
        }
    }

    fn seed(&mut self) -> Seed {
        self.seeds += 1;
        Seed::from(self.seeds)
    }

    fn dial(&mut self, key: Key) {
        if self.path == Path::Refused {
            return self.client.handle_failed(self.now, key, io::ErrorKind::ConnectionRefused);
        }
        let expect = ServerExpect { path: "/sudp".into(), origins: Vec::new(), subprotocol: Subprotocol::default() };
        let seed = self.seed();
        let setup = IncomingSetup { expect, limits: Limits::default(), server: self.names.server, seed };
        self.incoming.insert(key, Incoming::new(self.now, setup));
        self.client.handle_connected(self.now, key);
    }

    fn decide(&mut self, key: Key) {
        let Some(claim) = self.incoming.get_mut(&key).and_then(Incoming::poll_claim) else { return };
        let who = Identification::default();
        let now = self.now;
        match self.registry.admit(&claim, &who, (&Grant::open()).into()) {
            Err(refused) => self.incoming.get_mut(&key).unwrap().refuse(now, refused.0),
            Ok(Admission::Found(founded)) => {
                let access = Access { grant: Grant::open(), own: Arc::new(Own::default()) };
                let (limits, pool, seed) = (Limits::default(), self.pool.clone(), self.seed());
                let mut server =
                    Server::new(now, &founded, self.names.clone(), ServerSetup { limits, access, pool, seed });
                let arrival = self.incoming.remove(&key).unwrap().grant().unwrap();
                let (inner, _) = server.adopt(now, arrival);
                self.joined.insert(key, (founded.session, inner));
                self.sessions.insert(founded.session, server);
            }
            Ok(Admission::Join(id)) => {
                let arrival = self.incoming.remove(&key).unwrap().grant().unwrap();
                let (inner, _) = self.sessions.get_mut(&id).unwrap().adopt(now, arrival);
                self.joined.insert(key, (id, inner));
            }
        }
    }

    /// Moves everything until nothing moves any more.
    fn settle(&mut self) {
        loop {
            let mut moved = self.orders();
            for key in self.client.carrier.keys() {
                moved |= self.carry(key);
            }
            for server in self.sessions.values_mut() {
                while let Some(need) = server.session_mut().poll_need() {
                    if let Need::Socket { flow, .. } = need {
                        server.session_mut().handle_socket(self.now, flow, Ok(()));
                    }
                }
                while let Some(flow) = server.session_mut().poll_ready() {
                    let got: Vec<Bytes> =
                        Server::session(server).inbox(flow).map(|inbound| inbound.payload.clone()).collect();
                    server.session_mut().delivered(flow, got.len());
                    self.served.extend(got);
                }
            }
            while let Some(event) = self.client.session_mut().poll_event() {
                self.events.push(event);
            }
            if !moved {
                return;
            }
        }
    }

    fn orders(&mut self) -> bool {
        let mut moved = false;
        while let Some(order) = self.client.poll_order(self.now) {
            moved = true;
            match order {
                Order::Dial { key, .. } => self.dial(key),
                Order::Close(key) => self.hang_up(key),
                Order::Resolve { .. } => unreachable!("the server is configured by its address"),
            }
        }
        moved
    }

    fn hang_up(&mut self, key: Key) {
        self.incoming.remove(&key);
        if let Some((id, inner)) = self.joined.remove(&key)
            && let Some(server) = self.sessions.get_mut(&id)
        {
            server.handle_failed(self.now, inner, io::ErrorKind::ConnectionReset);
        }
    }

    fn carry(&mut self, key: Key) -> bool {
        let now = self.now;
        let up = self.client.output(now, key).to_vec();
        Endpoint::advance(&mut self.client, key, up.len());
        let mut up = self.bend(up);
        let moved = !up.is_empty();
        let down = if let Some(incoming) = self.incoming.get_mut(&key) {
            incoming.handle_input(now, Incoming::KEY, &mut up);
            self.decide(key);
            self.answer(key)
        } else if let Some((id, inner)) = self.joined.get(&key).copied()
            && let Some(server) = self.sessions.get_mut(&id)
        {
            server.handle_input(now, inner, &mut up);
            self.answer(key)
        } else {
            Vec::new()
        };
        let moved = moved || !down.is_empty();
        self.client.handle_input(now, key, &mut BytesMut::from(&down[..]));
        moved
    }

    fn answer(&mut self, key: Key) -> Vec<u8> {
        let now = self.now;
        if let Some(incoming) = self.incoming.get_mut(&key) {
            let down = incoming.output(now, Incoming::KEY).to_vec();
            Endpoint::advance(incoming, Incoming::KEY, down.len());
            return down;
        }
        let Some((id, inner)) = self.joined.get(&key).copied() else { return Vec::new() };
        let Some(server) = self.sessions.get_mut(&id) else { return Vec::new() };
        let down = server.output(now, inner).to_vec();
        server.advance(inner, down.len());
        down
    }

    fn bend(&self, bytes: Vec<u8>) -> BytesMut {
        if self.path == Path::Stripped && bytes.starts_with(b"GET ") {
            let head = String::from_utf8(bytes).unwrap();
            let kept: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with("Sudp-")).collect();
            return BytesMut::from(kept.join("\r\n").as_bytes());
        }
        BytesMut::from(&bytes[..])
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        loop {
            let servers = self.sessions.values().filter_map(Endpoint::poll_timeout);
            let next = servers
                .chain(self.client.poll_timeout())
                .chain(self.incoming.values().filter_map(Endpoint::poll_timeout));
            let Some(next) = next.map(|due| due.at).min().filter(|next| *next <= end) else { break };
            self.now = next.max(self.now);
            self.client.handle_timeout(self.now);
            for server in self.sessions.values_mut() {
                server.handle_timeout(self.now);
            }
            for incoming in self.incoming.values_mut() {
                incoming.handle_timeout(self.now);
            }
            self.settle();
        }
        self.now = end;
    }

    fn send(&mut self, payload: &[u8]) -> FlowId {
        self.client.session_mut().handle_datagram(self.now, TUNNEL, source(), payload).unwrap()
    }

    fn cut_all(&mut self) {
        for key in self.client.carrier.keys() {
            self.hang_up(key);
            self.client.handle_failed(self.now, key, io::ErrorKind::ConnectionReset);
        }
    }
}

#[test]
fn a_client_attaches_and_what_waited_arrives() {
    let mut rig = Rig::new(1);
    rig.send(b"first");
    rig.run(ms(600));
    assert_eq!(rig.served, ["first"]);
    assert_eq!(rig.sessions.len(), 1);
}

#[test]
fn a_session_has_as_many_links_as_are_wanted() {
    let mut rig = Rig::new(3);
    rig.run(secs(5));
    assert_eq!(rig.client.session().links().count(), 3);
    assert_eq!(rig.sessions.len(), 1);
}

#[test]
fn a_cut_of_every_connection_costs_nothing() {
    let mut rig = Rig::new(2);
    rig.send(b"one");
    rig.run(secs(5));
    rig.cut_all();
    rig.send(b"two");
    rig.run(secs(2));
    assert_eq!(rig.served, ["one", "two"]);
    assert_eq!(rig.sessions.len(), 1, "the same session");
    assert_eq!(rig.client.session().links().count(), 2);
}

#[test]
fn refused_dials_are_tried_again_every_second() {
    let mut rig = Rig::new(1);
    rig.path = Path::Refused;
    rig.send(b"patience");
    rig.run(secs(10));
    assert_eq!(rig.served.len(), 0);
    rig.path = Path::Open;
    rig.run(ms(1_100));
    assert_eq!(rig.served, ["patience"]);
}

#[test]
fn a_proxy_that_takes_our_headers_away_costs_a_round_trip_and_nothing_else() {
    let mut rig = Rig::new(1);
    rig.path = Path::Stripped;
    rig.send(b"through");
    rig.run(ms(600));
    assert_eq!(rig.served, ["through"]);
    rig.cut_all();
    rig.send(b"again");
    rig.run(secs(2));
    assert_eq!(rig.served, ["through", "again"]);
}

#[test]
fn a_killed_server_costs_the_session_and_the_client_starts_a_new_one() {
    let mut rig = Rig::new(1);
    rig.send(b"one");
    rig.run(secs(5));
    let old = rig.client.session().id();
    rig.sessions.clear();
    rig.joined.clear();
    rig.registry = Registry::new(Limits::default(), &Seed::from(3));
    rig.cut_all();
    rig.send(b"two");
    rig.run(secs(3));
    assert_eq!(rig.served, ["one", "two"]);
    assert_ne!(rig.client.session().id(), old);
    assert!(rig.events.iter().any(|event| matches!(event, Event::Lost { code: Code::UnknownSession, .. })));
}

#[test]
fn a_client_that_closes_tells_the_server() {
    let mut rig = Rig::new(2);
    rig.send(b"bye");
    rig.run(secs(5));
    let now = rig.now;
    rig.client.session_mut().close(now, Code::Done);
    rig.run(secs(10));
    assert!(rig.sessions.values().all(Server::is_finished));
    assert!(rig.client.carrier.is_empty());
}

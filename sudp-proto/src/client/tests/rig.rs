//! One client, several servers, and wires between them that do what a story wants.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::access::{Grant, Own};
use crate::config::client::{Scheme, ServerConfig};
use crate::event::Event;
use crate::link::ServerSeal;
use crate::server::Server;
use crate::session::{Access, InDoubt, Need, Treatment, Way};
use crate::testing::{epoch, ms};
use crate::wire::FlowId;

pub(super) use super::host::Host;
pub(super) use super::wire::{Direction, Fault, Sees, Wire};

/// Changes what an endpoint wrote on a wire, before it leaves.
pub(super) type Bend = Box<dyn FnMut(&Wire, Direction, &mut Vec<u8>)>;

pub(super) struct Rig {
    pub(super) now: Instant,
    pub(super) client: Client,
    pub(super) hosts: Vec<Host>,
    pub(super) wires: Vec<Wire>,
    /// What becomes of the next dials, one each.
    pub(super) faults: VecDeque<Fault>,
    pub(super) bend: Option<Bend>,
    /// One way, for wires dialled from now on.
    pub(super) latency: Duration,
    pub(super) events: Vec<Event>,
    /// When each dial began, and to which host.
    pub(super) dials: Vec<(Instant, usize)>,
    pub(super) answers: Vec<Bytes>,
    /// Dials that take their round trip.
    connecting: Vec<(Instant, Key, usize)>,
    config: ClientConfig,
}

impl fmt::Debug for Rig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rig").field("events", &self.events).field("dials", &self.dials).finish_non_exhaustive()
    }
}

pub(super) const TUNNEL: TunnelId = TunnelId(1);

pub(super) fn source(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn address(host: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, u8::try_from(host).unwrap() + 1], 80))
}

impl Rig {
    /// A client that wants so many links, and one server.
    pub(super) fn new(links: usize) -> Self {
        Self::with(1, |config| config.links = links)
    }

    /// A client and so many servers, the first preferred.
    pub(super) fn with(hosts: usize, configure: impl FnOnce(&mut ClientConfig)) -> Self {
        let servers = (0..hosts).map(|host| {
            let priority = u16::try_from(host).unwrap();
            ServerConfig { priority, ..ServerConfig::new(Scheme::Ws, Address::from(address(host))) }
        });
        let mut config = ClientConfig { name: "laptop".into(), ..ClientConfig::new(servers.collect()) };
        configure(&mut config);
        let now = epoch();
        Self {
            now,
            client: client(now, config.clone(), 1),
            hosts: (0..hosts).map(Host::new).collect(),
            wires: Vec::new(),
            faults: VecDeque::new(),
            bend: None,
            latency: ms(5),
            events: Vec::new(),
            dials: Vec::new(),
            answers: Vec::new(),
            connecting: Vec::new(),
            config,
        }
    }

    /// The client's process dies without a word to anyone, and another begins.
    pub(super) fn restart_client(&mut self, started: u64) {
        self.wires.iter_mut().for_each(|wire| wire.key = None);
        self.connecting.clear();
        self.client = client(self.now, self.config.clone(), started);
    }

    /// A server's process dies; its sessions with it. Another takes its place at once.
    pub(super) fn restart_host(&mut self, host: usize) {
        self.cut_host(host);
        let reborn = self.hosts[host].reborn();
        self.hosts[host] = reborn;
    }

    /// A server's process hands its sessions to the next, which begins after a while.
    pub(super) fn restart_frozen(&mut self, host: usize, away: Duration) {
        let now = self.now;
        let frozen: Vec<_> = self.hosts[host].sessions.values_mut().map(|server| server.freeze(now)).collect();
        self.cut_host(host);
        self.hosts[host].away = true;
        self.run(away);
        let reborn = self.hosts[host].reborn();
        self.hosts[host] = reborn;
        for frozen in frozen {
            self.hosts[host].thaw(self.now, away, &frozen);
        }
    }

    pub(super) fn send(&mut self, payload: &[u8]) -> FlowId {
        self.send_from(4_000, payload)
    }

    pub(super) fn send_from(&mut self, port: u16, payload: &[u8]) -> FlowId {
        let flow = self.client.session_mut().handle_datagram(self.now, TUNNEL, source(port), payload).unwrap();
        self.settle();
        flow
    }

    /// Both ends of every wire see a reset.
    pub(super) fn cut_all(&mut self) {
        (0..self.hosts.len()).for_each(|host| self.cut_host(host));
    }

    /// A proxy ends every connection in good order.
    pub(super) fn finish_all(&mut self) {
        for wire in &mut self.wires {
            if let Some(key) = wire.key {
                self.client.handle_end(self.now, key);
            }
            self.hosts[wire.host].hang_up(self.now, wire.id);
        }
        self.settle();
    }

    pub(super) fn cut_host(&mut self, host: usize) {
        for index in 0..self.wires.len() {
            if self.wires[index].host == host {
                self.break_wire(index, Sees::Both);
            }
        }
        self.settle();
    }

    /// The wire that carries a link of the client.
    pub(super) fn wire_of(&mut self, ordinal: Ordinal) -> &mut Wire {
        let key = self.client.carrier.key_of(ordinal).unwrap();
        self.wires.iter_mut().find(|wire| wire.key == Some(key)).unwrap()
    }

    pub(super) fn links(&self) -> Vec<Ordinal> {
        self.client.session().links().collect()
    }

    /// What arrived at the destinations, at whichever server.
    pub(super) fn served(&self) -> Vec<Bytes> {
        self.hosts.iter().flat_map(|host| host.served.iter().cloned()).collect()
    }

    pub(super) fn lost(&self) -> Vec<Code> {
        let lost = |event: &Event| if let Event::Lost { code, .. } = event { Some(*code) } else { None };
        self.events.iter().filter_map(lost).collect()
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while let Some(next) = self.next().filter(|next| *next <= end) {
            assert!(next > self.now, "time stands still at {:?}", self.client.poll_timeout());
            self.now = next;
            self.arrive();
            self.client.handle_timeout(next);
            self.hosts.iter_mut().for_each(|host| host.handle_timeout(next));
            self.settle();
        }
        self.now = end;
    }

    /// Nobody runs for a while; what arrived meanwhile is read first, as the driver does.
    pub(super) fn sleep(&mut self, time: Duration) {
        self.now += time;
        self.arrive();
        self.client.handle_timeout(self.now);
        self.hosts.iter_mut().for_each(|host| host.handle_timeout(self.now));
        self.settle();
    }

    /// Both halves agree on links and counts, nothing is under way, and no ended link is remembered.
    pub(super) fn assert_settled(&self) {
        let client = self.client.session();
        let host = &self.hosts[self.client.server().expect("a session")];
        let server = Server::session(&host.sessions[&client.id().unwrap()]);
        let mut links = [client.links().collect::<Vec<_>>(), server.links().collect()];
        links.iter_mut().for_each(|links| links.sort_unstable());
        assert_eq!(links[0], links[1], "live links");
        for (role, half, other) in [("client", client, server), ("server", server, client)] {
            assert_eq!(half.unforgotten(), [], "ended links of the {role}");
            let (out, into) = (half.counters(), other.counters());
            assert_eq!(out.accepted, out.acknowledged + out.dropped_out.total() + out.in_doubt, "{role}: {out:?}");
            assert_eq!(into.processed, into.delivered + into.dropped_in.total(), "from the {role}: {into:?}");
        }
    }

    /// Moves everything that moves without time.
    pub(super) fn settle(&mut self) {
        let mut turns = 0;
        while self.orders() | self.connect() | self.write() | self.arrive() {
            turns += 1;
            assert!(turns < 10_000, "everything moves and nothing gets anywhere");
        }
        self.hosts.iter_mut().for_each(|host| host.settle(self.now));
        self.application();
        if self.write() {
            self.settle();
        }
        self.wires.retain(|wire| !wire.is_over());
    }

    fn application(&mut self) {
        let session = self.client.session_mut();
        while let Some(flow) = session.poll_ready() {
            let got: Vec<Bytes> = session.inbox(flow).map(|inbound| inbound.payload.clone()).collect();
            session.delivered(flow, got.len());
            self.answers.extend(got);
        }
        while let Some(need) = session.poll_need() {
            assert!(!matches!(need, Need::Resolve { .. }), "nobody names a host here");
        }
        self.events.extend(std::iter::from_fn(|| session.poll_event()));
    }

    fn next(&self) -> Option<Instant> {
        let client = self.client.poll_timeout().map(|due| due.at);
        let hosts = self.hosts.iter().filter_map(Host::poll_timeout);
        let arrivals = self.wires.iter().filter_map(Wire::next);
        let connects = self.connecting.iter().map(|(at, ..)| *at);
        client.into_iter().chain(hosts).chain(arrivals).chain(connects).min()
    }

    fn orders(&mut self) -> bool {
        let mut moved = false;
        while let Some(order) = self.client.poll_order(self.now) {
            moved = true;
            match order {
                Order::Dial { key, to } => self.dial(key, to),
                Order::Close(key) => {
                    self.connecting.retain(|(_, connecting, _)| *connecting != key);
                    if let Some(index) = self.wires.iter().position(|wire| wire.key == Some(key)) {
                        self.wires[index].key = None;
                        self.break_wire(index, Sees::Server);
                    }
                }
                Order::Resolve { .. } => unreachable!("servers are configured by their addresses"),
            }
        }
        moved
    }

    fn dial(&mut self, key: Key, to: SocketAddr) {
        let host = (0..self.hosts.len()).find(|host| address(*host) == to).expect("a configured address");
        self.dials.push((self.now, host));
        if self.hosts[host].away {
            return self.client.handle_failed(self.now, key, io::ErrorKind::ConnectionRefused);
        }
        self.connecting.push((self.now + self.latency * 2, key, host));
    }

    /// Finishes the dials that have had their round trip.
    fn connect(&mut self) -> bool {
        let due = self.connecting.iter().position(|(at, ..)| *at <= self.now);
        let Some((_, key, host)) = due.map(|index| self.connecting.remove(index)) else { return false };
        let id = self.hosts[host].accept(self.now);
        let fault = self.faults.pop_front().unwrap_or_default();
        self.wires.push(Wire::new(id, host, key, self.latency, fault));
        self.client.handle_connected(self.now, key);
        true
    }

    /// Takes what both ends have to write.
    fn write(&mut self) -> bool {
        let now = self.now;
        let mut moved = false;
        for wire in &mut self.wires {
            if let Some(key) = wire.key {
                let mut bytes = self.client.output(now, key).to_vec();
                Endpoint::advance(&mut self.client, key, bytes.len());
                moved |= !bytes.is_empty();
                if let Some(bend) = self.bend.as_mut().filter(|_| !bytes.is_empty()) {
                    bend(wire, Direction::Up, &mut bytes);
                }
                wire.up.push(now, bytes);
            }
            let mut bytes = self.hosts[wire.host].output(now, wire.id);
            moved |= !bytes.is_empty();
            if let Some(bend) = self.bend.as_mut().filter(|_| !bytes.is_empty()) {
                bend(wire, Direction::Down, &mut bytes);
            }
            wire.down.push(now, bytes);
        }
        moved
    }

    /// Hands over what has arrived by now.
    fn arrive(&mut self) -> bool {
        let now = self.now;
        let mut moved = false;
        for index in 0..self.wires.len() {
            for way in [Direction::Up, Direction::Down] {
                while let Some(bytes) = self.wires[index].pipe(way).pop(now) {
                    moved = true;
                    self.hand_over(index, way, &bytes);
                }
                if self.wires[index].take_fault(way) {
                    moved = true;
                    let sees = self.wires[index].fault.sees;
                    self.break_wire(index, sees);
                }
            }
            let wire = &mut self.wires[index];
            if wire.key.is_some() && wire.down.is_dry() && self.hosts[wire.host].hung_up(wire.id) {
                self.break_wire(index, Sees::Client);
                moved = true;
            }
        }
        moved
    }

    fn hand_over(&mut self, index: usize, way: Direction, bytes: &[u8]) {
        let wire = &mut self.wires[index];
        match way {
            Direction::Up => self.hosts[wire.host].handle_input(self.now, wire.id, bytes),
            Direction::Down => {
                wire.unread.extend_from_slice(bytes);
                if let Some(key) = wire.key {
                    self.client.handle_input(self.now, key, &mut wire.unread);
                }
            }
        }
    }

    /// The wire carries nothing any more; who sees that is told.
    pub(super) fn break_wire(&mut self, index: usize, sees: Sees) {
        let wire = &mut self.wires[index];
        wire.up.kill();
        wire.down.kill();
        if matches!(sees, Sees::Both | Sees::Server) {
            self.hosts[wire.host].hang_up(self.now, wire.id);
        }
        if matches!(sees, Sees::Both | Sees::Client)
            && let Some(key) = wire.key.take()
        {
            self.client.handle_failed(self.now, key, io::ErrorKind::ConnectionReset);
        }
    }
}

thread_local! {
    static SEALED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Tells a story in which every link is sealed.
#[cfg(feature = "seal")]
pub(super) fn sealed(story: impl FnOnce()) {
    SEALED.set(true);
    story();
    SEALED.set(false);
}

#[cfg(feature = "seal")]
pub(super) fn keys(number: u64) -> crate::link::Keypair {
    crate::link::Keypair::draw(&mut Rng::new(&Seed::from(number)))
}

/// How servers seal, all with the same key.
#[cfg(feature = "seal")]
pub(super) fn server_seal() -> Option<ServerSeal> {
    SEALED.get().then(|| ServerSeal { key: keys(1), required: true })
}

#[cfg(feature = "seal")]
fn client_seal() -> Option<ClientSeal> {
    SEALED.get().then(|| ClientSeal { server: keys(1).public(), key: keys(2) })
}

#[cfg(not(feature = "seal"))]
pub(super) fn server_seal() -> Option<ServerSeal> {
    assert!(!SEALED.get());
    None
}

#[cfg(not(feature = "seal"))]
fn client_seal() -> Option<ClientSeal> {
    None
}

fn client(now: Instant, config: ClientConfig, started: u64) -> Client {
    let setup = ClientSetup {
        config,
        limits: Limits::default(),
        started,
        headers: Vec::new(),
        credential: None,
        awaits_credential: false,
        proxies: BTreeMap::new(),
        tls: None,
        seal: client_seal(),
        pool: Pool::memory(64 << 20, 128 << 10),
        seed: Seed::from(started),
    };
    let mut client = Client::new(now, setup);
    let to = Some(Address::from(SocketAddr::from(([192, 0, 2, 99], 9))));
    let way = Way::Forward { listen: None, to };
    client.add_tunnel(TUNNEL, Tunnel { way, treatment: Treatment::default(), in_doubt: InDoubt::Drop }).unwrap();
    client
}

/// What a server's sessions may do.
pub(super) fn open_access() -> Access {
    Access { grant: Grant::open(), own: Arc::new(Own::default()) }
}

pub(super) type Sessions = BTreeMap<crate::wire::SessionId, Server>;

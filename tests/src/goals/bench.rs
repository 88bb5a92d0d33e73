//! One client, one server and their applications on a path of choice, with every event timed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use sudp_proto::access::{Grant, Own, Pool};
use sudp_proto::client::{Client, ClientSetup};
use sudp_proto::config::Limits;
use sudp_proto::config::client::{ClientConfig, Scheme, ServerConfig};
use sudp_proto::driver::{Driver, Endpoint as _};
use sudp_proto::event::Event;
use sudp_proto::link::ServerExpect;
use sudp_proto::server::{
    Admission, Claim, Identification, Incoming, IncomingSetup, Names, Registry, Server, ServerSetup,
};
use sudp_proto::session::{Access, InDoubt, Session, Treatment, Tunnel, Way};
use sudp_proto::wire::{Address, SessionId, Ticket, TunnelId};
use sudp_proto::{Rng, Seed};

use crate::app::{AppId, Apps, Manners, Rhythm, Seen, Sending, Service};
use crate::clock::{NEVER, Nanos, instant, nanos};
use crate::io::{Doors, Machine, View};
use crate::net::{Conn, Fault, Host, Leg, Listener, Net, Path, Ready, Side};

/// A client and a server on one path, each with all the time it needs to compute.
pub(super) struct Bench {
    now: Nanos,
    pub(super) rng: Rng,
    net: Net,
    apps: Apps,
    doors: Doors,
    processes: BTreeMap<Machine, Process>,
    dirty: BTreeSet<Machine>,
    next_machine: u32,
    hosts: Hosts,
    registry: Registry,
    sessions: BTreeMap<SessionId, Machine>,
    limits: Limits,
    /// What the client's session told, and when.
    pub(super) told: Vec<(Nanos, Event)>,
    /// What was sent and received at the edges.
    pub(super) seen: Vec<Seen>,
}

/// Which way the datagrams of a bench go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Course {
    /// From the server to the client.
    Down,
    /// From the client to the server.
    Up,
}

struct Hosts {
    client: Host,
    server: Host,
    outside: Host,
}

struct Process {
    host: Host,
    deadline: Nanos,
    role: Role,
}

enum Role {
    Client(Box<Driver<Client>>),
    Incoming(Box<Driver<Incoming>>),
    Session(Box<Driver<Server>>, SessionId),
}

impl Bench {
    /// Starts a client that dials a server over `path`, with one tunnel to a service that stays silent.
    pub(super) fn new(seed: u64, path: Path, limits: Limits, course: Course) -> Self {
        let mut rng = Rng::new(&Seed::from(seed ^ 0x676f_616c));
        let mut net = Net::new(&rng.fork());
        let hosts = Hosts { client: net.host(ip(1)), server: net.host(ip(2)), outside: net.host(ip(3)) };
        net.set_paths(hosts.client, SERVER, vec![path]);
        net.listen(hosts.server, SERVER, Listener::Open);
        let mut apps = Apps::new();
        let (socket, _) = net.bind(hosts.outside, SERVICE).expect("the first socket of its host");
        apps.serve(socket, &rng.fork(), Service::Silent);
        let client = client(rng.fork(), &limits, course);
        let registry = Registry::new(limits.clone(), &rng.fork());
        let mut bench = Self {
            now: 0,
            rng,
            net,
            apps,
            doors: Doors::new(),
            processes: BTreeMap::new(),
            dirty: BTreeSet::new(),
            next_machine: 0,
            hosts,
            registry,
            sessions: BTreeMap::new(),
            limits,
            told: Vec::new(),
            seen: Vec::new(),
        };
        bench.add(bench.hosts.client, Role::Client(Box::new(Driver::new(client))));
        bench
    }

    /// Starts an application that sends through the tunnel in a flow of its own.
    pub(super) fn send(&mut self, flow: u32, course: Course, rhythm: Rhythm, size: usize) -> AppId {
        let from = SocketAddr::new(self.net.address(self.hosts.outside), 0);
        let (socket, _) = self.net.bind(self.hosts.outside, from).expect("ports are left");
        let sending =
            Sending { flow, to: course.door(), rhythm, size: (size, size), limit: None, manners: Manners::default() };
        let seed = self.rng.fork();
        self.apps.send(instant(self.now), &mut self.net, socket, &seed, sending)
    }

    /// Stops an application.
    pub(super) fn stop(&mut self, app: AppId) {
        self.apps.stop(app);
    }

    /// Lets something happen to every connection that there is.
    pub(super) fn strike(&mut self, fault: Fault) {
        for conn in self.net.connections() {
            self.net.inject(instant(self.now), conn, Leg::Near, fault);
        }
    }

    /// Says what dials meet.
    pub(super) fn set_door(&mut self, listener: Listener) {
        self.net.listen(self.hosts.server, SERVER, listener);
    }

    /// Now.
    pub(super) fn now(&self) -> Nanos {
        self.now
    }

    /// Runs until `end`.
    pub(super) fn run_until(&mut self, end: Nanos) {
        self.run_while(end, |_| true);
    }

    /// Runs until `end`, or until `wanted` no longer holds.
    pub(super) fn run_while(&mut self, end: Nanos, mut wanted: impl FnMut(&Self) -> bool) {
        while let Some(next) = self.next_at().filter(|next| *next <= end) {
            if !wanted(self) {
                return;
            }
            self.now = self.now.max(next);
            self.step(instant(self.now));
        }
        self.now = self.now.max(end);
    }

    fn step(&mut self, now: Instant) {
        self.net.advance(now);
        while let Some(ready) = self.net.poll_ready() {
            self.route(now, &ready);
        }
        let due = self.processes.iter().filter(|(_, process)| process.deadline <= self.now);
        let mut turns: BTreeSet<Machine> = due.map(|(machine, _)| *machine).collect();
        turns.append(&mut self.dirty);
        for machine in turns {
            self.take_turn(now, machine);
        }
        while let Some(seen) = self.apps.poll_seen() {
            self.seen.push(seen);
        }
    }

    fn next_at(&self) -> Option<Nanos> {
        let timers = self.processes.values().map(|process| process.deadline).filter(|at| *at != NEVER);
        let dirty = (!self.dirty.is_empty()).then_some(self.now);
        timers.chain(self.net.next_at().map(nanos)).chain(dirty).min()
    }

    fn route(&mut self, now: Instant, ready: &Ready) {
        if self.apps.handle(now, &mut self.net, ready) {
            return;
        }
        if let Ready::Accept { listener, .. } = ready {
            while let Some(conn) = self.net.accept(*listener) {
                self.accepted(now, conn);
            }
            return;
        }
        let Some((machine, token, way)) = self.doors.find(ready) else { return };
        match self.processes.get_mut(&machine).map(|process| &mut process.role) {
            Some(Role::Client(driver)) => driver.handle_ready(token, way),
            Some(Role::Incoming(driver)) => driver.handle_ready(token, way),
            Some(Role::Session(driver, _)) => driver.handle_ready(token, way),
            None => return,
        }
        self.dirty.insert(machine);
    }

    fn take_turn(&mut self, now: Instant, machine: Machine) {
        let Some(process) = self.processes.get_mut(&machine) else { return };
        let mut view = View { net: &mut self.net, doors: &mut self.doors, host: process.host, machine, now };
        let turn = match &mut process.role {
            Role::Client(driver) => driver.turn(now, &mut view),
            Role::Incoming(driver) => driver.turn(now, &mut view),
            Role::Session(driver, _) => driver.turn(now, &mut view),
        };
        process.deadline = turn.deadline.map_or(NEVER, nanos);
        if turn.again {
            self.dirty.insert(machine);
        }
        match &process.role {
            Role::Client(_) => self.after_client(machine),
            Role::Incoming(_) => self.after_incoming(now, machine),
            Role::Session(..) => self.after_session(now, machine),
        }
    }

    fn after_client(&mut self, machine: Machine) {
        let Some(Role::Client(driver)) = self.processes.get_mut(&machine).map(|process| &mut process.role) else {
            return;
        };
        while let Some(event) = driver.endpoint_mut().session().and_then(Session::poll_event) {
            self.told.push((self.now, event));
        }
    }

    fn accepted(&mut self, now: Instant, conn: Conn) {
        let expect = ServerExpect { path: "/sudp".into(), ..ServerExpect::default() };
        let setup = IncomingSetup {
            expect,
            tls: None,
            seal: None,
            limits: self.limits.clone(),
            server: 1,
            seed: self.rng.fork(),
        };
        let mut driver = Box::new(Driver::new(Incoming::new(now, setup)));
        let token = driver.adopt(Incoming::KEY, BytesMut::new());
        let machine = self.add(self.hosts.server, Role::Incoming(driver));
        self.doors.adopt(machine, token, conn, Side::Server);
    }

    fn after_incoming(&mut self, now: Instant, machine: Machine) {
        let Some(Role::Incoming(driver)) = self.processes.get_mut(&machine).map(|process| &mut process.role) else {
            return;
        };
        if let Some(claim) = driver.endpoint_mut().poll_claim() {
            self.decide(now, machine, &claim);
        } else if driver.endpoint().is_finished() {
            self.remove(now, machine);
        }
    }

    fn decide(&mut self, now: Instant, machine: Machine, claim: &Claim) {
        let grant = Grant::open();
        match self.registry.admit(claim, &Identification::default(), (&grant).into()) {
            Ok(Admission::Join(id)) => self.hand_over(now, machine, id),
            Ok(Admission::Found(founded)) => {
                let setup = ServerSetup {
                    limits: self.limits.clone(),
                    access: Access { grant, own: Arc::new(Own::default()) },
                    pool: Pool::memory(64 << 20, 128 << 10),
                    seed: self.rng.fork(),
                    ticket: Ticket::default(),
                };
                let id = founded.session;
                let driver = Box::new(Driver::new(Server::new(now, &founded, names(), setup)));
                let session = self.add(self.hosts.server, Role::Session(driver, id));
                self.sessions.insert(id, session);
                self.hand_over(now, machine, id);
            }
            Err(refused) => {
                let role = self.processes.get_mut(&machine).map(|process| &mut process.role);
                if let Some(Role::Incoming(driver)) = role {
                    driver.endpoint_mut().refuse(now, refused.0);
                }
                self.dirty.insert(machine);
            }
        }
    }

    /// A granted stream goes to the driver of its session.
    fn hand_over(&mut self, now: Instant, machine: Machine, id: SessionId) {
        let Some(&session) = self.sessions.get(&id) else { return };
        let Some(Process { role: Role::Incoming(mut driver), host, .. }) = self.processes.remove(&machine) else {
            return;
        };
        let Some(released) = driver.release(Incoming::KEY) else { return };
        let Some((conn, side)) = self.doors.release(machine, released.token) else { return };
        let mut view = View { net: &mut self.net, doors: &mut self.doors, host, machine, now };
        let arrival = driver.dismantle(&mut view).grant();
        self.doors.forget(machine);
        let role = self.processes.get_mut(&session).map(|process| &mut process.role);
        let (Some(arrival), Some(Role::Session(driver, _))) = (arrival, role) else { return };
        // A stream that is refused says so by itself.
        let (key, _) = driver.endpoint_mut().adopt(now, arrival);
        let token = driver.adopt(key, released.input);
        self.doors.adopt(session, token, conn, side);
        self.dirty.insert(session);
    }

    fn after_session(&mut self, now: Instant, machine: Machine) {
        let Some(Role::Session(driver, id)) = self.processes.get_mut(&machine).map(|process| &mut process.role) else {
            return;
        };
        let id = *id;
        while let Some(event) = driver.endpoint_mut().session_mut().poll_event() {
            // There is one client, so no other session has to make room.
            let _ = self.registry.handle_event(id, &event);
        }
        if driver.endpoint().session().is_closed() {
            self.registry.remove(id);
        }
        if driver.endpoint().is_finished() {
            self.sessions.remove(&id);
            self.remove(now, machine);
        }
    }

    fn add(&mut self, host: Host, role: Role) -> Machine {
        let machine = Machine(self.next_machine);
        self.next_machine += 1;
        self.processes.insert(machine, Process { host, deadline: NEVER, role });
        self.dirty.insert(machine);
        machine
    }

    fn remove(&mut self, now: Instant, machine: Machine) {
        let Some(process) = self.processes.remove(&machine) else { return };
        let mut view = View { net: &mut self.net, doors: &mut self.doors, host: process.host, machine, now };
        match process.role {
            Role::Client(driver) => drop(driver.dismantle(&mut view)),
            Role::Incoming(driver) => drop(driver.dismantle(&mut view)),
            Role::Session(driver, _) => drop(driver.dismantle(&mut view)),
        }
        self.dirty.remove(&machine);
        self.doors.forget(machine);
    }
}

impl Course {
    /// Where the tunnel takes datagrams in.
    fn door(self) -> SocketAddr {
        match self {
            Self::Down => SocketAddr::new(ip(2), 5_000),
            Self::Up => SocketAddr::new(ip(1), 5_000),
        }
    }
}

fn client(seed: Seed, limits: &Limits, course: Course) -> Client {
    let server = ServerConfig::new(Scheme::Ws, Address::from(SERVER));
    let setup = ClientSetup {
        config: ClientConfig::new(vec![server]),
        limits: limits.clone(),
        started: 1,
        headers: Vec::new(),
        credential: None,
        awaits_credential: false,
        proxies: BTreeMap::new(),
        tls: None,
        seal: None,
        pool: Pool::memory(64 << 20, 128 << 10),
        seed,
    };
    let mut client = Client::new(instant(0), setup);
    let way = match course {
        Course::Down => Way::Reverse { listen: course.door(), to: Address::from(SERVICE) },
        Course::Up => Way::Forward { listen: Some(course.door()), to: Some(Address::from(SERVICE)) },
    };
    let tunnel = Tunnel { way, treatment: Treatment::default(), in_doubt: InDoubt::Drop };
    client.add_tunnel(TunnelId(1), tunnel).expect("the only tunnel");
    client
}

fn names() -> Names {
    Names { server: 1, boot: 1, owner: vec![1; 4].into(), cluster: 0 }
}

const fn ip(machine: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, machine))
}

const SERVER: SocketAddr = SocketAddr::new(ip(2), 80);
const SERVICE: SocketAddr = SocketAddr::new(ip(3), 9_000);

/// A point of time, for steps of a scenario.
pub(super) fn after(now: Nanos, wait: Duration) -> Nanos {
    now.saturating_add(crate::clock::span(wait))
}

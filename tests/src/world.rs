//! One virtual world: clients, servers, applications, and the network between them, run from a seed.
//!
//! [`World::run`] takes a [`Plan`] through its faults, lets everything settle, tries every tunnel once
//! more, and says what it found. Every step is one instant: what the network has to say, what the plan
//! lets go wrong, and a turn for every driver that is concerned.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sudp_proto::client::Client;
use sudp_proto::driver::{Driver, Endpoint, Turn};
use sudp_proto::server::{Incoming, Server};
use sudp_proto::wire::SessionId;
use sudp_proto::{Rng, Seed};

use crate::app::{AppId, Apps};
use crate::clock::{NEVER, Nanos, instant, nanos, span};
use crate::io::{Doors, Machine, View};
use crate::ledger::Ledger;
use crate::net::{Host, Net, Ready};
use crate::trace::Trace;

mod client;
mod faults;
mod judge;
mod plan;
mod server;
mod tell;
mod tokens;

pub use judge::{Coverage, Outcome};
pub use plan::{AppPlan, Plan, Times, TunnelPlan, address, ip, listen_address, server_address, service_address};
pub use tell::Said;

use client::ClientHost;
use server::ServerHost;
use tokens::Tokens;

/// One virtual world.
pub struct World {
    plan: Plan,
    now: Nanos,
    rng: Rng,
    net: Net,
    apps: Apps,
    doors: Doors,
    drivers: BTreeMap<Machine, Process>,
    /// Drivers that something happened to.
    dirty: BTreeSet<Machine>,
    next_machine: u32,
    clients: Vec<ClientHost>,
    servers: Vec<ServerHost>,
    app_host: Host,
    service_host: Host,
    /// What lets clients in, if anything has to.
    tokens: Option<Tokens>,
    /// Applications, with their flows and tunnels.
    senders: Vec<Sender>,
    ledger: Ledger,
    trace: Trace,
    coverage: Coverage,
    /// What the world itself has to do, and when.
    chores: BTreeMap<(Nanos, u64), Chore>,
    chores_added: u64,
    /// Since when no link came, went or was doubted.
    calm_since: Nanos,
    /// Until when datagrams of one source may travel on two flows.
    mixed_until: Nanos,
    audited_at: Nanos,
    /// How many links of the client have ended since the probes began.
    cuts: u32,
    /// Answers that were withheld from sources that nothing had confirmed, before the probes.
    withheld: u64,
    violations: Vec<String>,
}

/// An application that sends through a tunnel.
#[derive(Clone, Copy, Debug)]
struct Sender {
    app: AppId,
    flow: u32,
    tunnel: usize,
    probe: bool,
}

/// One driver, what it drives, and where it runs.
struct Process {
    host: Host,
    deadline: Nanos,
    role: Role,
    /// Turns taken at one instant, to notice a loop without progress.
    turns: (Nanos, u32),
}

enum Role {
    Client { driver: Box<Driver<Client>>, client: usize },
    Incoming { driver: Box<Driver<Incoming>>, server: usize },
    Session { driver: Box<Driver<Server>>, server: usize, id: SessionId },
}

/// What the world does at a time of its own.
#[derive(Clone, Debug)]
enum Chore {
    Audit,
    Calm,
    EndClient { client: usize, machine: Machine },
    EndTwin,
    HealServer(usize),
    Hush,
    Op(usize),
    Probe,
    Regrant,
    Release(Host),
    Renew(Machine),
    ResetOne,
    RestartClient(usize),
    RestartServer(usize),
    Resume(Host),
    SetName(usize),
    SetSocket(SocketAddr),
    ShowToken,
    Token,
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(plan: Plan) -> Self {
        let mut rng = Rng::new(&Seed::from(plan.seed ^ 0x776f_726c));
        let mut net = Net::new(&rng.fork());
        net.set_hop(plan.hop);
        let clients: Vec<ClientHost> = (0..2).map(|client| ClientHost::new(net.host(ip(1, client)))).collect();
        let hosts: Vec<Host> = (0..plan.servers).map(|server| net.host(ip(2, server))).collect();
        let app_host = net.host(ip(3, 0));
        let service_host = net.host(ip(4, 0));
        let servers = (0..).zip(hosts).map(|(server, host)| ServerHost::new(host, server, &mut rng)).collect();
        let mut world = Self {
            now: 0,
            rng,
            net,
            apps: Apps::new(),
            doors: Doors::new(),
            drivers: BTreeMap::new(),
            dirty: BTreeSet::new(),
            next_machine: 0,
            clients,
            servers,
            app_host,
            service_host,
            tokens: plan.tokens.then(|| Tokens::new(plan.seed)),
            senders: Vec::new(),
            ledger: Ledger::new(),
            trace: Trace::new(),
            coverage: Coverage::default(),
            chores: BTreeMap::new(),
            chores_added: 0,
            calm_since: 0,
            mixed_until: 0,
            audited_at: 0,
            cuts: 0,
            withheld: 0,
            violations: Vec::new(),
            plan,
        };
        world.open();
        world
    }

    /// The same world, with a story that is told from its beginning.
    pub fn with_whole_story(mut self) -> Self {
        self.trace = Trace::keeping(usize::MAX);
        self
    }

    /// Runs the plan to its end.
    pub fn run(mut self) -> Outcome {
        let end = span(self.plan.times.end);
        while self.step(end) {}
        if self.violations.is_empty() {
            self.now = end;
            self.wait_settled(end);
            self.check_settled();
        }
        self.finish()
    }

    /// Lets the next thing happen, unless it comes after `end`; false if nothing is left to happen.
    pub fn step(&mut self, end: Nanos) -> bool {
        if !self.violations.is_empty() {
            return false;
        }
        let Some(next) = self.next_at().filter(|next| *next <= end) else { return false };
        self.now = self.now.max(next);
        let now = instant(self.now);
        self.net.advance(now);
        while let Some(ready) = self.net.poll_ready() {
            self.route(now, &ready);
        }
        while let Some(entry) = self.chores.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let chore = entry.remove();
            self.do_chore(now, chore);
        }
        self.take_turns(now);
        self.note_seen();
        true
    }

    /// Now.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Servers, ways, services and applications as the plan has them.
    fn open(&mut self) {
        let paths = self.plan.paths.clone();
        self.set_paths(&paths);
        for server in 0..self.servers.len() {
            self.start_server(server);
        }
        for tunnel in 0..self.plan.tunnels.len() {
            self.open_service(tunnel);
            self.open_apps(tunnel);
        }
        self.start_client(0);
        let times = self.plan.times;
        let mut at = Duration::from_secs(2);
        for index in 0..self.plan.ops.len() {
            at += self.plan.ops[index].after;
            if at < times.faults {
                self.plan_chore(at, Chore::Op(index));
            }
        }
        if self.tokens.is_some() {
            self.plan_chore(FIRST_TOKEN, Chore::Token);
        }
        self.plan_chore(times.faults, Chore::Calm);
        self.plan_chore(times.traffic, Chore::Hush);
        self.plan_chore(times.probe, Chore::Probe);
        self.plan_chore(Duration::from_secs(1), Chore::Audit);
    }

    fn next_at(&self) -> Option<Nanos> {
        let net = self.net.next_at().map(nanos);
        let chore = self.chores.first_key_value().map(|((at, _), _)| *at);
        let timers = self.drivers.values().filter(|process| !self.net.is_suspended(process.host));
        let timers = timers.map(|process| process.deadline).filter(|at| *at != NEVER);
        let dirty = self.dirty.iter().any(|machine| self.runs(*machine)).then_some(self.now);
        timers.chain(net).chain(chore).chain(dirty).min()
    }

    fn runs(&self, machine: Machine) -> bool {
        self.drivers.get(&machine).is_some_and(|process| !self.net.is_suspended(process.host))
    }

    fn route(&mut self, now: Instant, ready: &Ready) {
        if self.apps.handle(now, &mut self.net, ready) {
            return;
        }
        if let Ready::Accept { host, listener } = ready {
            return self.accept(now, *host, *listener);
        }
        let Some((machine, token, way)) = self.doors.find(ready) else { return };
        match self.drivers.get_mut(&machine).map(|process| &mut process.role) {
            Some(Role::Client { driver, .. }) => driver.handle_ready(token, way),
            Some(Role::Incoming { driver, .. }) => driver.handle_ready(token, way),
            Some(Role::Session { driver, .. }) => driver.handle_ready(token, way),
            None => return,
        }
        self.dirty.insert(machine);
    }

    /// Every driver that is due or concerned takes a turn.
    fn take_turns(&mut self, now: Instant) {
        let due = self.drivers.iter().filter(|(_, process)| process.deadline <= self.now);
        let mut turns: BTreeSet<Machine> = due.map(|(machine, _)| *machine).collect();
        turns.append(&mut self.dirty);
        for machine in turns {
            if self.runs(machine) {
                self.take_turn(now, machine);
            } else if self.drivers.contains_key(&machine) {
                self.dirty.insert(machine);
            }
        }
        // A suspended process is woken by its chore, not by what waits for it.
        let net = &self.net;
        let drivers = &self.drivers;
        self.dirty.retain(|machine| drivers.get(machine).is_some_and(|process| !net.is_suspended(process.host)));
    }

    fn take_turn(&mut self, now: Instant, machine: Machine) {
        let Some(process) = self.drivers.get_mut(&machine) else { return };
        let mut view = View { net: &mut self.net, doors: &mut self.doors, host: process.host, machine, now };
        let turn = match &mut process.role {
            Role::Client { driver, .. } => turn_of(driver, now, &mut view),
            Role::Incoming { driver, .. } => turn_of(driver, now, &mut view),
            Role::Session { driver, .. } => turn_of(driver, now, &mut view),
        };
        process.deadline = turn.deadline.map_or(NEVER, nanos);
        process.turns = if process.turns.0 == self.now { (self.now, process.turns.1 + 1) } else { (self.now, 1) };
        let (count, deadline) = (process.turns.1, process.deadline);
        self.coverage.turns += 1;
        self.trace.note(now, Said::Turn as u8, u64::from(machine.0), deadline.wrapping_sub(self.now));
        if turn.again {
            self.dirty.insert(machine);
        } else if deadline <= self.now {
            let why = self.cause(machine);
            self.violate(format!("machine {} is due at once after a turn: {why}", machine.0));
        }
        if count > TURNS {
            let why = self.cause(machine);
            self.violate(format!("machine {} takes turn after turn without time passing: {why}", machine.0));
        }
        self.after_turn(now, machine);
    }

    /// Why a driver wants another turn.
    fn cause(&self, machine: Machine) -> String {
        let deadline = match self.drivers.get(&machine).map(|process| &process.role) {
            Some(Role::Client { driver, .. }) => driver.endpoint().poll_timeout(),
            Some(Role::Incoming { driver, .. }) => driver.endpoint().poll_timeout(),
            Some(Role::Session { driver, .. }) => driver.endpoint().poll_timeout(),
            None => None,
        };
        deadline.map_or_else(|| "no deadline".to_owned(), |deadline| deadline.cause.to_owned())
    }

    fn after_turn(&mut self, now: Instant, machine: Machine) {
        match self.drivers.get(&machine).map(|process| &process.role) {
            Some(Role::Client { .. }) => self.after_client(now, machine),
            Some(Role::Incoming { .. }) => self.after_incoming(now, machine),
            Some(Role::Session { .. }) => self.after_session(now, machine),
            None => {}
        }
    }

    fn add(&mut self, host: Host, role: Role) -> Machine {
        let machine = Machine(self.next_machine);
        self.next_machine += 1;
        self.drivers.insert(machine, Process { host, deadline: NEVER, role, turns: (0, 0) });
        self.dirty.insert(machine);
        machine
    }

    /// A process is no more; its sockets were closed by its end, or by the network.
    fn remove(&mut self, machine: Machine) -> Option<Role> {
        self.dirty.remove(&machine);
        self.doors.forget(machine);
        self.drivers.remove(&machine).map(|process| process.role)
    }

    fn plan_chore(&mut self, at: Duration, chore: Chore) {
        self.chores.insert((span(at), self.chores_added), chore);
        self.chores_added += 1;
    }

    fn later(&mut self, after: Duration, chore: Chore) {
        self.chores.insert((self.now + span(after), self.chores_added), chore);
        self.chores_added += 1;
    }

    fn violate(&mut self, what: String) {
        self.violations.push(what);
    }
}

fn turn_of<E: Endpoint>(driver: &mut Driver<E>, now: Instant, view: &mut View<'_>) -> Turn {
    driver.turn(now, view)
}

/// When clients get their second token.
const FIRST_TOKEN: Duration = Duration::from_secs(5);
/// Turns of one driver at one instant before it is called a livelock.
const TURNS: u32 = 20_000;

//! Servers: their processes, what they accept, and their sessions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use sudp_proto::Rng;
use sudp_proto::access::{Grant, Pool, Rules};
use sudp_proto::config::Limits;
use sudp_proto::driver::Driver;
use sudp_proto::event::Event;
use sudp_proto::link::{Answer, Keypair, ServerExpect, ServerSeal};
use sudp_proto::server::{
    Admission, Claim, Identification, Incoming, IncomingSetup, Names, Registry, Server, ServerSetup,
};
use sudp_proto::session::Access;
use sudp_proto::wire::{Code, SessionId, Ticket};

use super::client::limits;
use super::plan::server_address;
use super::tokens::{self, until};
use super::{Role, Said, World};
use crate::clock::instant;
use crate::io::{Machine, View};
use crate::net::{Conn, Host, Listener, Side};

/// A machine on which a server runs, or does not.
#[derive(Debug)]
pub(super) struct ServerHost {
    pub(super) host: Host,
    pub(super) names: Names,
    pub(super) registry: Registry,
    pub(super) sessions: BTreeMap<SessionId, Machine>,
    /// Sessions on their way to the next process, and since when.
    pub(super) frozen: Vec<(Instant, SessionId, Bytes)>,
    pub(super) pool: Pool,
    pub(super) up: bool,
    /// It takes no new sessions, and ends when it has none.
    pub(super) draining: bool,
    pub(super) denies: bool,
    pub(super) ends_grants: bool,
}

impl ServerHost {
    pub(super) fn new(host: Host, number: u64, rng: &mut Rng) -> Self {
        Self {
            host,
            names: Names {
                server: number + 1,
                boot: 0,
                owner: vec![u8::try_from(number).unwrap_or(0); 4].into(),
                cluster: 0,
            },
            registry: Registry::new(Limits::default(), &rng.fork()),
            sessions: BTreeMap::new(),
            frozen: Vec::new(),
            pool: Pool::memory(64 << 20, 128 << 10),
            up: false,
            draining: false,
            denies: false,
            ends_grants: false,
        }
    }
}

impl World {
    /// Starts a server's process, which knows of no session but those that were handed to it.
    pub(super) fn start_server(&mut self, server: usize) {
        if self.servers[server].up {
            return;
        }
        let seed = self.rng.fork();
        let host = &mut self.servers[server];
        host.up = true;
        host.draining = false;
        // The boot names the table of sessions, and goes with it.
        host.names.boot += u64::from(host.frozen.is_empty());
        host.registry = Registry::new(limits(1), &seed);
        host.sessions.clear();
        host.pool = Pool::memory(64 << 20, 128 << 10);
        let (at, boot) = (host.host, host.names.boot);
        self.net.listen(at, server_address(server), Listener::Open);
        self.trace.note(instant(self.now), Said::ServerStarted as u8, server as u64, boot);
        for (since, session, frozen) in std::mem::take(&mut self.servers[server].frozen) {
            self.thaw(server, since, session, &frozen);
        }
    }

    /// Ends a server's process in good order: its sessions are handed to the next as bytes.
    pub(super) fn freeze_server(&mut self, server: usize) {
        let now = instant(self.now);
        let mut frozen = Vec::new();
        for machine in self.servers[server].sessions.values().copied().collect::<Vec<_>>() {
            self.drain_events(machine);
            let Some(Role::Session { driver, .. }) = self.drivers.get_mut(&machine).map(|process| &mut process.role)
            else {
                continue;
            };
            if !driver.endpoint().session().is_closed() {
                let session = driver.endpoint().id();
                frozen.push((now, session, driver.endpoint_mut().freeze(now)));
            }
        }
        self.stop_server(server);
        self.servers[server].frozen = frozen;
    }

    fn thaw(&mut self, server: usize, since: Instant, session: SessionId, frozen: &[u8]) {
        let now = instant(self.now);
        let end = self.tokens.as_ref().and_then(|tokens| tokens.expiry(session));
        let host = &mut self.servers[server];
        let access = Access::new(until(grant(host), end));
        let setup = ServerSetup {
            limits: limits(1),
            access,
            pool: host.pool.clone(),
            seed: self.rng.fork(),
            ticket: Ticket::default(),
        };
        let away = now.saturating_duration_since(since);
        match Server::thaw(now, away, host.names.clone(), setup, frozen) {
            Ok(mut thawed) => {
                host.registry.restore(&mut thawed, Identification::default());
                let (at, id) = (host.host, thawed.id());
                let driver = Box::new(Driver::new(thawed));
                let machine = self.add(at, Role::Session { driver, server, id });
                self.servers[server].sessions.insert(id, machine);
                self.dirty.insert(machine);
                self.coverage.sometimes("thawed");
            }
            Err(error) => self.violate(format!("a frozen session cannot be thawed: {error}")),
        }
    }

    /// Ends a server's process at once: its connections are reset.
    pub(super) fn stop_server(&mut self, server: usize) {
        self.servers[server].up = false;
        let host = self.servers[server].host;
        let of: Vec<Machine> =
            self.drivers.iter().filter(|(_, process)| process.host == host).map(|(machine, _)| *machine).collect();
        for machine in of {
            self.drain_events(machine);
            self.remove(machine);
        }
        self.net.kill(instant(self.now), host);
        self.unsettle();
    }

    pub(super) fn accept(&mut self, now: Instant, host: Host, listener: SocketAddr) {
        while let Some(conn) = self.net.accept(listener) {
            let Some(server) = self.servers.iter().position(|server| server.host == host && server.up) else {
                self.net.abort(now, conn, Side::Server);
                continue;
            };
            self.accepted(now, server, conn);
        }
    }

    fn accepted(&mut self, now: Instant, server: usize, conn: Conn) {
        let expect = ServerExpect { path: "/sudp".to_owned(), ..ServerExpect::default() };
        let setup = IncomingSetup {
            expect,
            tls: None,
            seal: self.plan.sealed.then(|| ServerSeal { key: server_key(), required: true }),
            limits: limits(1),
            server: self.servers[server].names.server,
            seed: self.rng.fork(),
        };
        let driver = Box::new(Driver::new(Incoming::new(now, setup)));
        let host = self.servers[server].host;
        let machine = self.add(host, Role::Incoming { driver, server });
        if let Some(Role::Incoming { driver, .. }) = self.drivers.get_mut(&machine).map(|process| &mut process.role) {
            let token = driver.adopt(Incoming::KEY, BytesMut::new());
            self.doors.adopt(machine, token, conn, Side::Server);
        }
    }

    pub(super) fn after_incoming(&mut self, now: Instant, machine: Machine) {
        let Some(Role::Incoming { driver, server }) = self.drivers.get_mut(&machine).map(|process| &mut process.role)
        else {
            return;
        };
        let server = *server;
        if driver.endpoint_mut().poll_stranger().is_some() {
            // A stream that ends meanwhile wants no answer.
            let _ = driver.endpoint_mut().answer(now, &Answer::not_found());
            self.coverage.sometimes("stranger");
            self.dirty.insert(machine);
        } else if let Some(claim) = driver.endpoint_mut().poll_claim() {
            self.decide(now, machine, server, &claim);
        } else if driver.endpoint().is_finished() {
            self.dismantle(now, machine);
        }
    }

    fn decide(&mut self, now: Instant, machine: Machine, server: usize, claim: &Claim) {
        let shown = tokens::judge(claim.head.header("Authorization"), self.now);
        let stranger = self.tokens.is_some() && claim.hello.attach.is_none() && shown.is_none();
        let host = &mut self.servers[server];
        let grant = until(grant(host), shown);
        let who = Identification::default();
        let admission = if stranger {
            Err(Code::Denied)
        } else if host.draining && claim.hello.attach.is_none() {
            Err(Code::GoingAway)
        } else {
            host.registry.admit(claim, &who, (&grant).into()).map_err(|refused| refused.0)
        };
        self.trace.note(now, Said::Claim as u8, claim.hello.ordinal.0, u64::from(admission.is_ok()));
        let id = match admission {
            Ok(Admission::Join(id)) => id,
            Ok(Admission::Found(founded)) => {
                let (access, pool) = (Access::new(grant), host.pool.clone());
                let names = host.names.clone();
                let setup =
                    ServerSetup { limits: limits(1), access, pool, seed: self.rng.fork(), ticket: Ticket::default() };
                let id = founded.session;
                if let (Some(tokens), Some(end)) = (&mut self.tokens, shown) {
                    tokens.found(id, end);
                }
                let driver = Box::new(Driver::new(Server::new(now, &founded, names, setup)));
                let at = self.servers[server].host;
                let session = self.add(at, Role::Session { driver, server, id });
                self.servers[server].sessions.insert(id, session);
                self.coverage.sessions += 1;
                id
            }
            Err(code) => {
                self.coverage.refused(code);
                if let Some(Role::Incoming { driver, .. }) =
                    self.drivers.get_mut(&machine).map(|process| &mut process.role)
                {
                    driver.endpoint_mut().refuse(now, code);
                }
                self.dirty.insert(machine);
                return;
            }
        };
        self.hand_over(now, machine, server, id);
    }

    /// A granted stream goes to the driver of its session.
    fn hand_over(&mut self, now: Instant, machine: Machine, server: usize, id: SessionId) {
        let Some(&session) = self.servers[server].sessions.get(&id) else { return };
        let Some(Role::Incoming { driver: incoming, .. }) = self.drivers.remove(&machine).map(|process| process.role)
        else {
            return;
        };
        let Some(Role::Session { driver, .. }) = self.drivers.get_mut(&session).map(|process| &mut process.role) else {
            return;
        };
        let joined = incoming.join(now, driver).expect("a claim stands when it is decided on at once");
        let (conn, side) = self.doors.release(machine, joined.from).expect("an accepted stream has a connection");
        self.doors.adopt(session, joined.to, conn, side);
        self.remove(machine);
        if let Err(code) = joined.taken {
            self.coverage.refused(code);
        }
        self.dirty.insert(session);
    }

    pub(super) fn after_session(&mut self, now: Instant, machine: Machine) {
        self.drain_events(machine);
        let Some(Role::Session { driver, server, id }) = self.drivers.get(&machine).map(|process| &process.role) else {
            return;
        };
        let (server, id) = (*server, *id);
        if driver.endpoint().session().is_closed() {
            self.servers[server].registry.remove(id);
        }
        if driver.endpoint().is_finished() {
            self.servers[server].sessions.remove(&id);
            self.dismantle(now, machine);
        }
    }

    /// The table hears of everything that happens to a session, and says which others must go for it.
    pub(super) fn tell_registry(&mut self, server: usize, id: SessionId, event: &Event) {
        let now = instant(self.now);
        for (other, code) in self.servers[server].registry.handle_event(id, event) {
            match code {
                Code::Evicted => self.coverage.sometimes("evicted"),
                _ => self.violate(format!("a server has no room for one session without links: {code:?}")),
            }
            let Some(&machine) = self.servers[server].sessions.get(&other) else { continue };
            if let Some(Role::Session { driver, .. }) = self.drivers.get_mut(&machine).map(|process| &mut process.role)
            {
                driver.endpoint_mut().session_mut().close(now, code);
                self.dirty.insert(machine);
            }
        }
    }

    /// A driver is done: closes what it has left.
    fn dismantle(&mut self, now: Instant, machine: Machine) {
        let Some(process) = self.drivers.remove(&machine) else { return };
        let mut view = View { net: &mut self.net, doors: &mut self.doors, host: process.host, machine, now };
        match process.role {
            Role::Client { driver, .. } => drop(driver.dismantle(&mut view)),
            Role::Incoming { driver, .. } => drop(driver.dismantle(&mut view)),
            Role::Session { driver, .. } => drop(driver.dismantle(&mut view)),
        }
        self.remove(machine);
    }

    /// Every session of a server learns what it may do now.
    pub(super) fn regrant(&mut self, server: usize) {
        let now = instant(self.now);
        let (grant, ends) = (grant(&self.servers[server]), self.servers[server].ends_grants);
        for (id, machine) in self.servers[server].sessions.clone() {
            let Some(Role::Session { driver, .. }) = self.drivers.get_mut(&machine).map(|process| &mut process.role)
            else {
                continue;
            };
            let end = self.tokens.as_ref().and_then(|tokens| tokens.expiry(id));
            let access = (!ends).then(|| Access::new(until(grant.clone(), end)));
            driver.endpoint_mut().regrant(now, access);
            self.dirty.insert(machine);
        }
    }
}

/// What a server's users may do at the moment.
pub(super) fn grant(host: &ServerHost) -> Grant {
    if host.denies { Grant { rules: Rules::default(), ..Grant::open() } } else { Grant::open() }
}

/// The key of every server, which clients pin.
pub(super) fn server_key() -> Keypair {
    Keypair::from_private([0x5e; 32])
}

//! Clients: their processes, tunnels and applications.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sudp_proto::Seed;
use sudp_proto::access::Pool;
use sudp_proto::client::{Client, ClientSetup};
use sudp_proto::config::Limits;
use sudp_proto::config::client::{ClientConfig, Scheme, ServerConfig};
use sudp_proto::driver::{Driver, Endpoint as _};
use sudp_proto::link::{ClientSeal, Keypair};
use sudp_proto::session::{InDoubt, Phase, Session, Tunnel, Way};
use sudp_proto::stats::DropReason;
use sudp_proto::wire::{Address, Code, Host as Name, SessionId, TunnelId};

use super::plan::{listen_address, server_address, service_address, service_name};
use super::server::server_key;
use super::tokens::Tokens;
use super::{Role, Said, Sender, World};
use crate::app::{Rhythm, Sending, Service};
use crate::clock::instant;
use crate::io::Machine;
use crate::ledger::Terms;
use crate::net::Host;

/// A machine on which a client runs, or does not.
#[derive(Debug)]
pub(super) struct ClientHost {
    pub(super) host: Host,
    pub(super) machine: Option<Machine>,
    /// It was asked to end, and is not to be started by itself.
    pub(super) ending: bool,
    /// The session that it began last.
    pub(super) session: Option<SessionId>,
}

impl ClientHost {
    pub(super) fn new(host: Host) -> Self {
        Self { host, machine: None, ending: false, session: None }
    }
}

impl World {
    /// Starts a client's process; later ones are newer.
    pub(super) fn start_client(&mut self, client: usize) {
        if self.clients[client].machine.is_some() {
            return;
        }
        let now = instant(self.now);
        self.coverage.processes += 1;
        let setup = self.client_setup();
        let mut endpoint = Client::new(now, setup);
        for (index, plan) in self.plan.tunnels.iter().enumerate() {
            let destination = if plan.named {
                Address { host: Name::Name(service_name(index).into()), port: service_address(index).port() }
            } else {
                Address::from(service_address(index))
            };
            let listen = listen_address(plan.forward, client, index);
            let way = if plan.forward {
                Way::Forward { listen: Some(listen), to: Some(destination) }
            } else {
                Way::Reverse { listen, to: destination }
            };
            let tunnel = Tunnel { way, treatment: plan.treatment, in_doubt: plan.in_doubt };
            if let Err(error) = endpoint.add_tunnel(TunnelId(index as u64 + 1), tunnel) {
                self.violations.push(format!("a tunnel of the plan was refused: {error}"));
            }
        }
        let host = self.clients[client].host;
        self.trace.note(now, Said::ClientStarted as u8, client as u64, self.coverage.processes);
        let machine = self.add(host, Role::Client { driver: Box::new(Driver::new(endpoint)), client });
        self.clients[client].machine = Some(machine);
        self.clients[client].ending = false;
    }

    fn client_setup(&mut self) -> ClientSetup {
        let servers = (0..self.plan.servers).map(|server| {
            let mut config = ServerConfig::new(Scheme::Ws, Address::from(server_address(server)));
            config.priority = u16::try_from((self.plan.seed >> (server * 3)) & 1).unwrap_or(0);
            config
        });
        let config = ClientConfig {
            name: "laptop".to_owned(),
            links: self.plan.links,
            max_link_age: self.plan.max_link_age,
            ..ClientConfig::new(servers.collect())
        };
        ClientSetup {
            config,
            limits: limits(self.plan.links),
            started: self.coverage.processes,
            headers: Vec::new(),
            credential: self.tokens.as_ref().map(Tokens::credential),
            awaits_credential: false,
            proxies: BTreeMap::new(),
            tls: None,
            seal: self
                .plan
                .sealed
                .then(|| ClientSeal { server: server_key().public(), key: Keypair::from_private([0xc1; 32]) }),
            pool: Pool::memory(64 << 20, 128 << 10),
            seed: self.rng.fork(),
        }
    }

    /// Ends a client's process at once.
    pub(super) fn stop_client(&mut self, client: usize) {
        let Some(machine) = self.clients[client].machine.take() else { return };
        self.drain_events(machine);
        self.remove(machine);
        self.unsettle();
    }

    /// The session of a client's process.
    pub(super) fn client_session(&mut self, client: usize) -> Option<&mut Session> {
        let machine = self.clients[client].machine?;
        match &mut self.drivers.get_mut(&machine)?.role {
            Role::Client { driver, .. } => driver.endpoint_mut().session(),
            Role::Incoming { .. } | Role::Session { .. } => None,
        }
    }

    /// The session that the client has.
    pub(super) fn client_session_id(&self) -> Option<SessionId> {
        match &self.drivers.get(&self.clients[0].machine?)?.role {
            Role::Client { driver, .. } => driver.endpoint().session().id(),
            Role::Incoming { .. } | Role::Session { .. } => None,
        }
    }

    pub(super) fn after_client(&mut self, now: Instant, machine: Machine) {
        self.drain_events(machine);
        let Some(Role::Client { driver, client }) = self.drivers.get(&machine).map(|process| &process.role) else {
            return;
        };
        let client = *client;
        let Phase::Closed(code) = driver.endpoint().session().phase() else { return };
        if self.clients[client].ending || self.clients[client].machine != Some(machine) {
            return;
        }
        // Only its own wish ends a client for good.
        if code != Code::Done {
            self.violate(format!("client {client} is closed for good: {code:?}"));
        }
        self.clients[client].ending = true;
        self.later(Duration::from_secs(1), super::Chore::EndClient { client, machine });
        let _ = now;
    }

    /// Binds a tunnel's service where the tunnel leads.
    pub(super) fn open_service(&mut self, tunnel: usize) {
        let plan = &self.plan.tunnels[tunnel];
        let service = plan.service;
        match self.net.bind(self.service_host, service_address(tunnel)) {
            Ok((socket, _)) => {
                let seed = self.rng.fork();
                self.apps.serve(socket, &seed, service);
            }
            Err(error) => self.violations.push(format!("a service of the plan has no socket: {error}")),
        }
        self.set_name(tunnel, true);
    }

    pub(super) fn open_apps(&mut self, tunnel: usize) {
        for app in self.plan.tunnels[tunnel].apps.clone() {
            self.open_app(tunnel, app.rhythm, app.size, None, app.manners, false);
        }
    }

    /// Starts an application with a conversation of its own.
    pub(super) fn open_app(
        &mut self,
        tunnel: usize,
        rhythm: Rhythm,
        size: (usize, usize),
        limit: Option<u32>,
        manners: crate::app::Manners,
        probe: bool,
    ) {
        let plan = &self.plan.tunnels[tunnel];
        let (forward, treatment, in_doubt) = (plan.forward, plan.treatment, plan.in_doubt);
        let flow = u32::try_from(self.senders.len() + 1).unwrap_or(u32::MAX);
        let from = std::net::SocketAddr::new(self.net.address(self.app_host), 0);
        let Ok((socket, _)) = self.net.bind(self.app_host, from) else { return };
        let to = listen_address(forward, 0, tunnel);
        let sending = Sending { flow, to, rhythm, size, limit, manners };
        let seed: Seed = self.rng.fork();
        let app = self.apps.send(instant(self.now), &mut self.net, socket, &seed, sending);
        let ordered = treatment.copies == 1 && !treatment.spread;
        self.ledger.agree(flow, Terms { ordered, resends: in_doubt == InDoubt::Resend });
        self.senders.push(Sender { app, flow, tunnel, probe });
    }

    /// Tries every tunnel once more, gently.
    pub(super) fn start_probes(&mut self) {
        self.cuts = 0;
        self.withheld = self.withheld();
        for tunnel in 0..self.plan.tunnels.len() {
            let rhythm = Rhythm::steady(Duration::from_millis(1_500));
            self.open_app(tunnel, rhythm, PROBE, Some(PROBES), crate::app::Manners::default(), true);
        }
    }

    /// How many answers sessions have withheld from sources that nothing had confirmed.
    pub(super) fn withheld(&self) -> u64 {
        let sessions = self.drivers.values().filter_map(|process| match &process.role {
            Role::Client { driver, .. } => Some(driver.endpoint().session()),
            Role::Session { driver, .. } => Some(driver.endpoint().session()),
            Role::Incoming { .. } => None,
        });
        sessions.map(|session| session.counters().dropped_in[DropReason::Unconfirmed]).sum()
    }

    /// How many answers a service gives to one datagram.
    pub(super) fn answers(&self, tunnel: usize) -> u32 {
        match self.plan.tunnels[tunnel].service {
            Service::Echo => 1,
            Service::Reply { count, .. } => count,
            Service::Silent => 0,
        }
    }
}

/// The caps of both sides.
pub(super) fn limits(links: usize) -> Limits {
    Limits { links, ..Limits::default() }
}

/// Datagrams with which each tunnel is tried at the end.
const PROBES: u32 = 8;
/// Smallest and largest of them.
pub(super) const PROBE: (usize, usize) = (32, 64);

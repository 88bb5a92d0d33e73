//! Two halves of a session on messages alone: any script of sends, dials, cuts and losses.
//!
//! Messages of a link arrive whole and in order, or not at all; everything else is up to the script.
//! Behind the script everything heals, and then nothing may be missing that is not accounted for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sudp_proto::Seed;
use sudp_proto::access::{Grant, Own, Pool};
use sudp_proto::config::Limits;
use sudp_proto::event::{Event, LinkLoss};
use sudp_proto::session::{Access, Identity, InDoubt, Phase, Role, SendError, Session, Setup, Treatment, Tunnel, Way};
use sudp_proto::wire::{Address, Class, Code, FlowId, GoAwayReason, Hello, TunnelId, Welcome};

use self::paths::Path;
use crate::app::Stamp;
use crate::audit;
use crate::clock::{NEVER, Nanos, instant, span};
use crate::ledger::{Ledger, Terms};

mod healing;
mod laws;
mod paths;

/// Runs a script, and panics over what must not happen.
pub fn session(data: &[u8]) {
    if let Err(breach) = run(data) {
        panic!("{breach}");
    }
}

/// Runs a script; says what went wrong.
pub fn run(data: &[u8]) -> Result<(), String> {
    let mut pair = Pair::new();
    for step in data.chunks_exact(2).take(STEPS) {
        pair.step(step[0], step[1]);
        pair.drain()?;
        pair.check()?;
    }
    pair.heal(data.len() / 2 % 2 == 1)
}

/// The client, every session a server made for it, and what is between them.
struct Pair {
    now: Nanos,
    client: Session,
    servers: Vec<Option<Session>>,
    paths: Vec<Path>,
    hellos: Vec<Hello>,
    old_hellos: Vec<Hello>,
    welcomes: Vec<(usize, Welcome)>,
    ledger: Ledger,
    sequences: [u32; SOURCES * 2],
    /// Since when one link has lived, as both halves see it.
    calm_since: Nanos,
    draining: bool,
    /// Links that a server was told are over.
    burnt: BTreeSet<(usize, u64)>,
    breach: Option<String>,
}

impl Pair {
    fn new() -> Self {
        let mut client = Session::new(instant(0), Role::Client, setup(1));
        for (id, (class, copies, spread, in_doubt)) in (1..).zip(TUNNELS) {
            let treatment = Treatment { class, copies, spread, ..Treatment::default() };
            let to = Some(Address::from(SocketAddr::from(([10, 0, 0, 9], 9))));
            let tunnel = Tunnel { way: Way::Forward { listen: None, to }, treatment, in_doubt };
            client.add_tunnel(TunnelId(id), tunnel).expect("the tunnels are valid");
        }
        let mut ledger = Ledger::new();
        for (flow, (_, copies, spread, in_doubt)) in (0..).zip(TUNNELS) {
            let ordered = copies == 1 && !spread;
            ledger.agree(flow, Terms { ordered, resends: in_doubt == InDoubt::Resend });
        }
        Self {
            now: 0,
            client,
            servers: Vec::new(),
            paths: Vec::new(),
            hellos: Vec::new(),
            old_hellos: Vec::new(),
            welcomes: Vec::new(),
            ledger,
            sequences: [0; SOURCES * 2],
            calm_since: 0,
            draining: false,
            burnt: BTreeSet::new(),
            breach: None,
        }
    }

    /// One of the latest eight paths.
    fn recent(&self, pick: usize) -> usize {
        self.paths.len().saturating_sub(1 + pick % 8 % self.paths.len().max(1))
    }

    fn step(&mut self, op: u8, argument: u8) {
        let pick = usize::from(argument);
        match op % 24 {
            0..=3 => self.send(pick % SOURCES, 16 + (pick / SOURCES) * 24),
            4 | 5 => self.answer(pick),
            6 => self.dial(),
            7 => {
                if !self.hellos.is_empty() {
                    let hello = self.hellos.remove(pick % self.hellos.len());
                    self.attach(&hello);
                    self.old_hellos.push(hello);
                }
            }
            8 => self.welcome(pick),
            9 | 10 => self.carry(pick, true),
            11 | 12 => self.carry(pick, false),
            13 => self.cut(self.recent(pick), [true, false]),
            14 => self.cut(self.recent(pick), [false, true]),
            15 => self.cut(self.recent(pick), [true, true]),
            16 if pick < 64 => self.servers.iter_mut().for_each(|server| *server = None),
            16 => self.give_up(pick),
            17 => self.advance(u64::from(argument)),
            18 => self.advance(u64::from(argument) * 50),
            19 => {
                if !self.hellos.is_empty() {
                    let lost = self.hellos.remove(pick % self.hellos.len());
                    self.old_hellos.push(lost);
                }
            }
            20 => {
                if !self.old_hellos.is_empty() {
                    // Somebody else repeats it, and gets the welcome.
                    let again = self.old_hellos[pick % self.old_hellos.len()].clone();
                    let welcomes = self.welcomes.len();
                    self.attach(&again);
                    self.welcomes.truncate(welcomes);
                }
            }
            21 => {
                let flow = self.client.flows().nth(pick % SOURCES);
                if let Some(flow) = flow {
                    self.client.close_flow(instant(self.now), flow);
                }
            }
            22 => {
                let recent = self.recent(pick);
                if let Some(path) = self.paths.get_mut(recent) {
                    path.room = if path.room == 0 { 65_536 } else { 0 };
                }
            }
            _ => self.rare(argument),
        }
    }

    fn rare(&mut self, argument: u8) {
        let now = instant(self.now);
        match argument % 16 {
            0 => self.client.handle_pause(now),
            1 => self.servers.iter_mut().flatten().for_each(|server| server.handle_pause(now)),
            2 => {
                for server in self.servers.iter_mut().flatten() {
                    let flows: Vec<FlowId> = server.flows().collect();
                    flows.into_iter().for_each(|flow| server.block(flow));
                }
            }
            3 | 4 => {
                for server in self.servers.iter_mut().flatten() {
                    let flows: Vec<FlowId> = server.flows().collect();
                    flows.into_iter().for_each(|flow| server.unblock(now, flow));
                }
            }
            5 => {
                for server in self.servers.iter_mut().flatten() {
                    let flow = server.flows().next();
                    if let Some(flow) = flow {
                        server.close_flow(now, flow);
                    }
                }
            }
            6 => {
                for server in self.servers.iter_mut().flatten() {
                    server.drain(now, GoAwayReason::Drain, Duration::ZERO);
                    self.draining = true;
                }
            }
            _ => self.burst(usize::from(argument)),
        }
    }

    fn burst(&mut self, pick: usize) {
        for _ in 0..pick {
            self.send(pick % SOURCES, 40 + pick * 97);
        }
    }

    fn send(&mut self, source: usize, size: usize) {
        let flow = u32::try_from(source).unwrap_or(0);
        let stamp = self.stamp(flow, false);
        let mut payload = Vec::new();
        stamp.emit(size, &mut payload);
        let now = instant(self.now);
        let tunnel = TunnelId(source as u64 + 1);
        match self.client.handle_datagram(now, tunnel, address(source), &payload) {
            Ok(_) => self.ledger.sent(Some(stamp)),
            Err(SendError::Closed | SendError::Flow(_) | SendError::Refused) => {}
            Err(error) => panic!("a datagram was not taken: {error}"),
        }
    }

    fn answer(&mut self, pick: usize) {
        let now = self.now;
        let Some(index) = self.servers.iter().rposition(Option::is_some) else { return };
        let Some(server) = self.servers[index].as_mut() else { return };
        let count = server.flows().count();
        if count == 0 {
            return;
        }
        let Some(id) = server.flows().nth(pick % count) else { return };
        let Some(tunnel) = server.words(id).map(|open| open.tunnel.0) else { return };
        let flow = u32::try_from(tunnel - 1).unwrap_or(0);
        let stamp = self.stamp(flow, true);
        let mut payload = Vec::new();
        stamp.emit(16 + pick, &mut payload);
        let from = SocketAddr::from(([10, 0, 0, 9], 9));
        let Some(server) = self.servers[index].as_mut() else { return };
        if server.handle_answer(instant(now), id, from, &payload).is_ok() {
            self.ledger.sent(Some(stamp));
        }
    }

    fn stamp(&mut self, flow: u32, answer: bool) -> Stamp {
        let next = &mut self.sequences[usize::try_from(flow).unwrap_or(0) * 2 + usize::from(answer)];
        let sequence = *next;
        *next += 1;
        self.now += 1_000;
        Stamp { flow, answer, sequence, sent_micros: self.now / 1_000 }
    }

    fn advance(&mut self, millis: u64) {
        let end = self.now + span(Duration::from_millis(millis));
        for _ in 0..TURNS {
            let halves = std::iter::once(&self.client).chain(self.servers.iter().flatten());
            let due = halves.filter_map(|half| half.poll_timeout()).map(|due| crate::clock::nanos(due.at)).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            self.handle_timeouts();
            if self.drain().is_err() {
                return;
            }
        }
        self.now = self.now.max(end);
    }

    fn handle_timeouts(&mut self) {
        let now = instant(self.now);
        self.client.handle_timeout(now);
        self.servers.iter_mut().flatten().for_each(|server| server.handle_timeout(now));
    }

    /// Takes everything out of all halves.
    fn drain(&mut self) -> Result<(), String> {
        let now = instant(self.now);
        self.drop_dead_ends();
        for path in &mut self.paths {
            while path.open[0]
                && let Some(message) = self.client.poll_message(now, path.ordinal, path.room)
            {
                path.up.push_back(message.to_bytes());
            }
            let Some(server) = self.servers[path.server].as_mut() else { continue };
            // What a server says before the client has taken the welcome waits behind it.
            while path.open[1]
                && let Some(message) = server.poll_message(now, path.ordinal, path.room)
            {
                path.down.push_back(message.to_bytes());
            }
        }
        self.deliver(true)?;
        self.deliver(false)?;
        self.events()
    }

    /// What a half has ended by itself is closed there. The other end reads that when everything settles.
    fn drop_dead_ends(&mut self) {
        for path in &mut self.paths {
            path.open[0] &= self.client.links().any(|link| link == path.ordinal);
            let server = self.servers[path.server].as_ref();
            path.open[1] &= server.is_some_and(|server| server.links().any(|link| link == path.ordinal));
        }
    }

    fn deliver(&mut self, to_server: bool) -> Result<(), String> {
        let now = instant(self.now);
        let halves =
            if to_server { self.servers.iter_mut().flatten().collect::<Vec<_>>() } else { vec![&mut self.client] };
        for half in halves {
            while let Some(need) = half.poll_need() {
                if let sudp_proto::session::Need::Socket { flow, .. } = need {
                    half.handle_socket(now, flow, Ok(()));
                }
            }
            while let Some(flow) = half.poll_ready() {
                let got: Vec<Bytes> = half.inbox(flow).map(|inbound| inbound.payload.clone()).collect();
                half.delivered(flow, got.len());
                for payload in got {
                    let stamp = Stamp::parse(&payload).ok_or("a payload was altered")?;
                    self.ledger.received(Some(stamp), self.calm_since).map_err(|breach| breach.to_string())?;
                }
            }
        }
        Ok(())
    }

    fn events(&mut self) -> Result<(), String> {
        let mut changed = false;
        for half in std::iter::once(&mut self.client).chain(self.servers.iter_mut().flatten()) {
            while let Some(event) = half.poll_event() {
                match event {
                    Event::Lost { .. } => {
                        (0..).take(SOURCES).for_each(|flow| self.ledger.lose(flow));
                    }
                    Event::BooksDiffer { .. } => return Err(format!("{:?}: {event:?}", half.role())),
                    Event::LinkEnded { why: LinkLoss::Violation(code), .. } => {
                        return Err(format!("{:?}: a violation, {code:?}", half.role()));
                    }
                    Event::Closed { code, .. } => {
                        let harmless = matches!(code, Code::GoingAway | Code::Done | Code::Silent | Code::Poison);
                        if !harmless {
                            return Err(format!("{:?}: closed with {code:?}", half.role()));
                        }
                    }
                    Event::LinkUp { .. } | Event::LinkEnded { .. } | Event::LinkSuspect { .. } => {
                        changed = true;
                    }
                    Event::FlowOpened { .. } | Event::FlowClosed { .. } => changed = true,
                    _ => {}
                }
            }
        }
        if changed {
            let mut halves = std::iter::once(&self.client).chain(self.servers.iter().flatten());
            let several = halves.any(|half| half.links().nth(1).is_some());
            self.calm_since = if several { NEVER } else { self.now };
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), String> {
        self.check_laws()?;
        let client = audit::half(&self.client)?;
        for server in self.servers.iter().flatten() {
            let report = audit::half(server)?;
            if server.id() == self.client.id() && !matches!(self.client.phase(), Phase::Closed(_)) {
                audit::pair(&client, &report)?;
            }
        }
        Ok(())
    }
}

fn setup(seed: u64) -> Setup {
    let limits = Limits { links: 3, idle: Duration::from_secs(120), ..Limits::default() };
    Setup {
        limits,
        identity: Identity { client: "laptop".to_owned(), incarnation: (1, 1) },
        access: (seed > 1).then(|| Access { grant: Grant::open(), own: Arc::new(Own::default()) }),
        pool: Pool::memory(64 << 20, 128 << 10),
        seed: Seed::from(seed),
    }
}

fn address(source: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4_000 + u16::try_from(source).unwrap_or(0)))
}

/// Sources, each with a tunnel of its own.
const SOURCES: usize = TUNNELS.len();
const TUNNELS: [(Class, u8, bool, InDoubt); 5] = [
    (Class::Reliable, 1, false, InDoubt::Drop),
    (Class::Reliable, 1, false, InDoubt::Resend),
    (Class::Realtime, 1, false, InDoubt::Drop),
    (Class::Realtime, 2, false, InDoubt::Drop),
    (Class::Reliable, 1, true, InDoubt::Drop),
];
const STEPS: usize = 512;
const TURNS: usize = 10_000;

#[cfg(test)]
mod tests;

//! Two halves of a session on messages alone: any script of sends, dials, cuts and losses.
//!
//! Messages of a link arrive whole and in order, or not at all; everything else is up to the script.
//! Behind the script everything heals, and then nothing may be missing that is not accounted for.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sudp_proto::Seed;
use sudp_proto::access::{Grant, Own, Pool};
use sudp_proto::config::Limits;
use sudp_proto::event::{Event, LinkLoss};
use sudp_proto::session::{Access, Identity, InDoubt, Phase, Role, SendError, Session, Setup, Treatment, Tunnel, Way};
use sudp_proto::wire::{Address, Class, Code, FlowId, GoAwayReason, Hello, Ordinal, SessionId, TunnelId, Welcome};

use crate::app::Stamp;
use crate::audit;
use crate::clock::{NEVER, Nanos, instant, span};
use crate::ledger::{Ledger, Terms};

mod laws;

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

/// One link, and what is on its way.
struct Path {
    ordinal: Ordinal,
    server: usize,
    up: VecDeque<Bytes>,
    down: VecDeque<Bytes>,
    /// Whether the client, and the server, still hold their end.
    open: [bool; 2],
    welcomed: bool,
    room: usize,
    /// Nothing on it arrives.
    stuck: bool,
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

    fn dial(&mut self) {
        if self.hellos.len() < 6
            && let Some(hello) = self.client.hello(instant(self.now))
        {
            self.hellos.push(hello);
        }
    }

    /// A hello reaches the server.
    fn attach(&mut self, hello: &Hello) {
        let now = instant(self.now);
        let (index, secret) = match &hello.attach {
            Some(attach) => {
                let known = usize::from(attach.session.0[0]);
                match self.servers.get(known).and_then(Option::as_ref) {
                    Some(server) if !matches!(server.phase(), Phase::Closed(_)) => (known, None),
                    Some(_) | None => return self.unknown(attach.session),
                }
            }
            None => {
                let index = self.servers.len();
                if index > 200 {
                    return;
                }
                let number = u8::try_from(index).unwrap_or(u8::MAX);
                let mut server = Session::new(now, Role::Server, setup(1_000 + u64::from(number)));
                server.found(SessionId([number; 16]), [number; 32]);
                self.servers.push(Some(server));
                (index, Some([number; 32]))
            }
        };
        let Some(server) = self.servers[index].as_mut() else { return };
        let Some(session) = server.id() else { return };
        let ended = match server.accept(now, hello) {
            Ok(ended) => ended,
            Err(Code::UnknownSession) => return self.unknown(session),
            Err(_) => {
                if hello.attach.is_some() {
                    self.client.detach(now, hello.ordinal, LinkLoss::GivenUp);
                }
                return;
            }
        };
        let welcome = Welcome {
            ordinal: hello.ordinal,
            session,
            secret,
            cluster: 0,
            server: 1,
            boot: 1,
            owner: Bytes::new(),
            ticket: Bytes::new(),
            ended,
            parameters: server.parameters(),
        };
        self.paths.push(Path {
            ordinal: hello.ordinal,
            server: index,
            up: VecDeque::new(),
            down: VecDeque::new(),
            open: [false, true],
            welcomed: false,
            room: 65_536,
            stuck: false,
        });
        self.welcomes.push((self.paths.len() - 1, welcome));
        self.judge_accepted(index, hello);
    }

    /// The server does not know the session: it is lost, if it is still the client's.
    fn unknown(&mut self, session: SessionId) {
        if self.client.id() == Some(session) {
            self.lose(Code::UnknownSession);
        }
    }

    fn lose(&mut self, code: Code) {
        self.client.lose(instant(self.now), code);
        for path in &mut self.paths {
            path.open[0] = false;
        }
        self.hellos.clear();
        self.draining = false;
    }

    fn welcome(&mut self, pick: usize) {
        if self.welcomes.is_empty() {
            return;
        }
        let (index, welcome) = self.welcomes.remove(pick % self.welcomes.len());
        let taken = self.client.welcome(instant(self.now), &welcome);
        let path = &mut self.paths[index];
        path.welcomed = true;
        path.open[0] = taken.is_ok();
        if taken.is_err() {
            self.end_server_side(index);
        }
    }

    fn end_server_side(&mut self, index: usize) {
        let path = &mut self.paths[index];
        if std::mem::take(&mut path.open[1])
            && let Some(server) = self.servers[path.server].as_mut()
        {
            server.detach(instant(self.now), path.ordinal, LinkLoss::Ended);
        }
    }

    fn carry(&mut self, pick: usize, up: bool) {
        let now = instant(self.now);
        let count = 1 + pick / 32;
        let live = self.paths.iter().filter(|path| path.welcomed).count();
        let Some(path) = self.paths.iter_mut().filter(|path| path.welcomed).nth(pick % live.max(1)) else { return };
        let Some(server) = self.servers[path.server].as_mut() else { return };
        for _ in 0..count {
            // What a fenced link still delivers changes nothing.
            if up {
                let Some(message) = path.up.pop_front() else { return };
                server.handle_message(now, path.ordinal, message);
            } else if server.id() == self.client.id() {
                let Some(message) = path.down.pop_front() else { return };
                self.client.handle_message(now, path.ordinal, message);
            }
        }
    }

    fn cut(&mut self, index: usize, sides: [bool; 2]) {
        let now = instant(self.now);
        let Some(path) = self.paths.get_mut(index) else { return };
        if sides[0] && std::mem::take(&mut path.open[0]) {
            self.client.detach(now, path.ordinal, LinkLoss::Ended);
        }
        if sides[1]
            && std::mem::take(&mut path.open[1])
            && let Some(server) = self.servers[path.server].as_mut()
        {
            server.detach(now, path.ordinal, LinkLoss::Ended);
        }
    }

    /// The client no longer waits for one of its dials.
    fn give_up(&mut self, pick: usize) {
        let ordinals = self.client.report().dialling;
        if !ordinals.is_empty() {
            self.client.detach(instant(self.now), ordinals[pick % ordinals.len()], LinkLoss::GivenUp);
        }
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

    /// What a half has ended by itself is closed, and the other side hears of it.
    fn drop_dead_ends(&mut self) {
        let now = instant(self.now);
        for path in &mut self.paths {
            if path.open[0] && !self.client.links().any(|link| link == path.ordinal) {
                path.open[0] = false;
            }
            let Some(server) = self.servers[path.server].as_mut() else {
                path.open[1] = false;
                continue;
            };
            if path.open[1] && !server.links().any(|link| link == path.ordinal) {
                path.open[1] = false;
            }
            let _ = now;
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

    /// Everything is cut, or all that is not sound; one link is made, and all that is left over must settle.
    fn heal(&mut self, gently: bool) -> Result<(), String> {
        if gently {
            self.heal_gently();
        } else {
            (0..self.paths.len()).for_each(|path| self.cut(path, [true, true]));
        }
        self.hellos.clear();
        self.welcomes.clear();
        for flow in self.report_dialling() {
            self.client.detach(instant(self.now), flow, LinkLoss::GivenUp);
        }
        for server in self.servers.iter_mut().flatten() {
            let flows: Vec<FlowId> = server.flows().collect();
            flows.into_iter().for_each(|flow| server.unblock(instant(self.now), flow));
        }
        self.drain()?;
        self.connect()?;
        let over = |client: &Session| matches!(client.phase(), Phase::Closed(_));
        if over(&self.client) {
            return self.check();
        }
        if self.client.links().next().is_none() {
            return Err("no link can be made any more".to_owned());
        }
        self.settle()?;
        if !over(&self.client) && !self.draining {
            self.settle_around_a_stuck_link()?;
            self.settle()?;
        }
        if over(&self.client) || self.draining {
            return self.check();
        }
        self.probe()
    }

    fn report_dialling(&self) -> Vec<Ordinal> {
        self.client.report().dialling
    }

    /// The client dials until it has a link.
    fn connect(&mut self) -> Result<(), String> {
        for _ in 0..ATTEMPTS {
            if matches!(self.client.phase(), Phase::Closed(_)) || self.client.links().next().is_some() {
                break;
            }
            self.dial();
            if let Some(hello) = self.hellos.pop() {
                self.attach(&hello);
            }
            self.welcome(0);
            self.drain()?;
        }
        Ok(())
    }

    /// Messages flow without delay for some seconds. After a hang each half may find another of two links
    /// the worse one, and both end; then the client dials again.
    fn settle(&mut self) -> Result<(), String> {
        for _ in 0..SETTLING {
            self.connect()?;
            self.advance(10);
            for index in 0..self.paths.len() {
                self.paths[index].room = 65_536;
                if !self.paths[index].stuck {
                    self.flow(index);
                }
            }
            self.drain()?;
            self.check()?;
        }
        Ok(())
    }

    fn flow(&mut self, index: usize) {
        let now = instant(self.now);
        let path = &mut self.paths[index];
        let Some(server) = self.servers[path.server].as_mut() else { return };
        while path.open[1]
            && let Some(message) = path.up.pop_front()
        {
            server.handle_message(now, path.ordinal, message);
        }
        while path.open[0]
            && let Some(message) = path.down.pop_front()
        {
            self.client.handle_message(now, path.ordinal, message);
        }
        // Behind all that was said, one end reads that the other has closed.
        if path.open[0] != path.open[1] {
            self.cut(index, [true, true]);
        }
    }

    /// The two halves agree, and what is sent now arrives.
    fn probe(&mut self) -> Result<(), String> {
        let client = self.client.report();
        let server = self.servers.iter().flatten().find(|server| server.id() == self.client.id());
        let server = server.ok_or("the session has no server")?.report();
        audit::settled(&client, &server)?;
        let before = self.ledger.totals();
        for source in 0..SOURCES {
            self.send(source, 100);
        }
        let sent = self.ledger.totals().sent - before.sent;
        self.drain()?;
        self.settle()?;
        let received = self.ledger.totals().received - before.received;
        if sent != received { Err(format!("{received} of {sent} datagrams arrived on a sound link")) } else { Ok(()) }
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
const ATTEMPTS: usize = 16;
const SETTLING: usize = 600;

#[cfg(test)]
mod tests {
    use sudp_proto::{Rng, Seed};

    use super::*;

    /// Leaves out of a failing script all that it fails without.
    fn shrink(mut script: Vec<u8>) -> Vec<u8> {
        let mut size = script.len() / 4 * 2;
        while size >= 2 {
            let mut at = 0;
            while at + size <= script.len() {
                let mut shorter = script.clone();
                shorter.drain(at..at + size);
                if run(&shorter).is_err() {
                    script = shorter;
                } else {
                    at += size;
                }
            }
            size = size / 4 * 2;
        }
        script
    }

    #[test]
    fn random_scripts_break_no_law() {
        let scripts = std::env::var("SUDP_SCRIPTS").ok().and_then(|count| count.parse().ok()).unwrap_or(200);
        let from: u64 = std::env::var("SUDP_FROM").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
        let mut bad = 0;
        for seed in from..from + scripts {
            let mut rng = Rng::new(&Seed::from(seed));
            let steps = usize::try_from(4 + rng.below(300)).unwrap();
            let mut script = Vec::new();
            for _ in 0..steps {
                script.extend(rng.array::<2>());
            }
            if run(&script).is_err() {
                let script = shrink(script);
                let breach = run(&script).expect_err("a shrunken script still fails");
                eprintln!(
                    "script {seed}: {breach}\n  {:?}",
                    script.chunks_exact(2).map(|step| (step[0] % 24, step[1])).collect::<Vec<_>>()
                );
                bad += 1;
            }
        }
        assert_eq!(bad, 0, "scripts that broke a law");
    }
}

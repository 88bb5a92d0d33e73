//! Two halves of a session, and the links between them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::access::{Grant, Own, Pool};
use crate::config::Limits;
use crate::event::{Event, LinkLoss};
use crate::rng::Seed;
use crate::session::{Access, AttachError, Identity, InDoubt, Need, Role, Session, Setup, Treatment, Tunnel, Way};
use crate::testing::{epoch, ms};
use crate::wire::{Address, Code, FlowId, Frame, Hello, Ordinal, SessionId, Ticket, TunnelId, Welcome};

/// Two halves and the links between them: each takes `latency`, and may be cut.
pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) client: Session,
    pub(super) server: Session,
    pub(super) latency: Duration,
    pub(super) links: Vec<Path>,
    /// What the server's sockets got, and what the client's sources got back.
    pub(super) served: Vec<(FlowId, Bytes)>,
    pub(super) answered: Vec<(FlowId, Bytes)>,
    pub(super) events: Vec<(Role, Event)>,
    /// What the halves needed done, in order; listeners and sockets are opened at once, names are not found.
    pub(super) needs: Vec<(Role, Need)>,
    pub(super) echo: bool,
    /// How many listeners fail before one opens.
    pub(super) taken: u32,
    /// How often a listener was asked for.
    pub(super) asked: u32,
    limits: Limits,
    pool: Pool,
}

pub(super) struct Path {
    pub(super) ordinal: Ordinal,
    pub(super) up: VecDeque<(Instant, Bytes)>,
    pub(super) down: VecDeque<(Instant, Bytes)>,
    pub(super) fate: Fate,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fate {
    Healthy,
    /// Nothing passes any more, and nobody is told.
    Hanging,
    Cut,
}

pub(super) const TUNNEL: TunnelId = TunnelId(1);

pub(super) fn source(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Pair {
    pub(super) fn new() -> Self {
        Self::with(Treatment::default(), Limits { links: 3, ..Limits::default() })
    }

    pub(super) fn with(treatment: Treatment, limits: Limits) -> Self {
        let now = epoch();
        let pool = Pool::memory(64 << 20, 128 << 10);
        let half = |role| Session::new(now, role, setup_of(role, &limits, &pool));
        let mut client = half(Role::Client);
        let to = Some(Address::from(source(9)));
        let tunnel = Tunnel { way: Way::Forward { listen: None, to }, treatment, in_doubt: InDoubt::Drop };
        client.add_tunnel(TUNNEL, tunnel).unwrap();
        Self {
            now,
            client,
            server: half(Role::Server),
            latency: ms(25),
            links: Vec::new(),
            served: Vec::new(),
            answered: Vec::new(),
            events: Vec::new(),
            needs: Vec::new(),
            echo: false,
            taken: 0,
            asked: 0,
            limits,
            pool,
        }
    }

    /// What a half is made with, and thawed with.
    pub(super) fn setup(&self, role: Role) -> Setup {
        setup_of(role, &self.limits, &self.pool)
    }

    pub(super) fn half(&mut self, role: Role) -> &mut Session {
        match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    /// Freezes a half and thaws it in a new process, `away` later. Its links are gone; the other half is not told.
    pub(super) fn restart(&mut self, role: Role, away: Duration) {
        let now = self.now;
        let frozen = self.half(role).freeze(now);
        for path in &mut self.links {
            path.fate = Fate::Cut;
        }
        self.drain();
        self.run(away);
        let setup = self.setup(role);
        *self.half(role) = Session::thaw(self.now, away, setup, &frozen).unwrap();
        self.drain();
    }

    /// A half is told that its links have ended.
    pub(super) fn hang_up(&mut self, role: Role) {
        let now = self.now;
        let links: Vec<_> = self.half(role).links().collect();
        for ordinal in links {
            self.half(role).detach(now, ordinal, LinkLoss::Ended);
        }
        self.drain();
    }

    /// A half gets frames that the other never sent.
    pub(super) fn inject(&mut self, role: Role, ordinal: Ordinal, frames: &[Frame]) {
        let now = self.now;
        let mut message = Vec::new();
        for frame in frames {
            frame.emit(&mut message);
        }
        self.half(role).handle_message(now, ordinal, message.into());
        self.drain();
    }

    /// Dials and attaches at once.
    pub(super) fn connect(&mut self) -> Ordinal {
        let hello = self.client.hello(self.now).unwrap();
        self.attach(&hello).unwrap()
    }

    /// Fails with the code of whoever does not want the link: the server the hello, or the client its welcome.
    pub(super) fn attach(&mut self, hello: &Hello) -> Result<Ordinal, Code> {
        let ended = self.server.accept(self.now, hello)?;
        if hello.attach.is_none() {
            self.server.found(SessionId([7; 16]), [9; 32]);
        }
        let welcome = Welcome {
            ordinal: hello.ordinal,
            session: SessionId([7; 16]),
            secret: hello.attach.is_none().then_some([9; 32]),
            cluster: 0,
            server: 1,
            boot: 1,
            owner: Bytes::new(),
            ticket: Ticket::default(),
            ended,
            parameters: self.server.parameters(),
        };
        match self.client.welcome(self.now, &welcome) {
            Err(AttachError::Contradiction(code)) => {
                self.drain();
                return Err(code);
            }
            taken => taken.unwrap(),
        }
        let (up, down) = (VecDeque::new(), VecDeque::new());
        self.links.push(Path { ordinal: hello.ordinal, up, down, fate: Fate::Healthy });
        self.drain();
        Ok(hello.ordinal)
    }

    pub(super) fn path(&mut self, ordinal: Ordinal) -> &mut Path {
        self.links.iter_mut().find(|path| path.ordinal == ordinal).unwrap()
    }

    pub(super) fn cut(&mut self, ordinal: Ordinal) {
        self.path(ordinal).fate = Fate::Cut;
        self.client.detach(self.now, ordinal, LinkLoss::Ended);
        self.server.detach(self.now, ordinal, LinkLoss::Ended);
        self.drain();
    }

    pub(super) fn send(&mut self, port: u16, payload: &[u8]) {
        self.client.handle_datagram(self.now, TUNNEL, source(port), payload).unwrap();
        self.drain();
    }

    /// Takes everything out of both halves.
    pub(super) fn drain(&mut self) {
        let now = self.now;
        for path in &mut self.links {
            while let Some(message) = self.client.poll_message(now, path.ordinal, 65_536) {
                let message = message.to_bytes();
                if path.fate == Fate::Healthy {
                    path.up.push_back((now + self.latency, message));
                }
            }
            while let Some(message) = self.server.poll_message(now, path.ordinal, 65_536) {
                let message = message.to_bytes();
                if path.fate == Fate::Healthy {
                    path.down.push_back((now + self.latency, message));
                }
            }
        }
        for role in [Role::Client, Role::Server] {
            while let Some(need) = self.half(role).poll_need() {
                match &need {
                    Need::Socket { flow, .. } => self.half(role).handle_socket(now, *flow, Ok(())),
                    Need::Listen { tunnel, at } => {
                        self.asked += 1;
                        let outcome = if self.asked > self.taken { Ok(*at) } else { Err(Code::Unreachable) };
                        self.half(role).handle_listening(now, *tunnel, outcome);
                    }
                    Need::CloseSocket(_) | Need::Resolve { .. } | Need::Unlisten(_) => {}
                }
                self.needs.push((role, need));
            }
        }
        let mut answers = Vec::new();
        while let Some(flow) = self.server.poll_ready() {
            let got: Vec<Bytes> = self.server.inbox(flow).map(|inbound| inbound.payload.clone()).collect();
            self.server.delivered(flow, got.len());
            for payload in got {
                answers.push((flow, payload.clone()));
                self.served.push((flow, payload));
            }
        }
        while let Some(flow) = self.client.poll_ready() {
            let got: Vec<Bytes> = self.client.inbox(flow).map(|inbound| inbound.payload.clone()).collect();
            self.client.delivered(flow, got.len());
            self.answered.extend(got.into_iter().map(|payload| (flow, payload)));
        }
        while let Some(event) = self.client.poll_event() {
            self.events.push((Role::Client, event));
        }
        while let Some(event) = self.server.poll_event() {
            self.events.push((Role::Server, event));
        }
        if self.echo && !answers.is_empty() {
            for (flow, payload) in answers {
                self.server.handle_answer(now, flow, source(9), &payload).unwrap();
            }
            self.drain();
        }
        self.check();
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrivals = self.links.iter().filter(|path| path.fate == Fate::Healthy);
            let arrivals = arrivals.flat_map(|path| [path.up.front(), path.down.front()]).flatten().map(|(at, _)| *at);
            let timers =
                [&self.client, &self.server].into_iter().filter_map(|half| half.poll_timeout()).map(|due| due.at);
            let Some(next) = arrivals.chain(timers).min().filter(|next| *next <= end) else { break };
            // What another call made due at once lies in the past.
            let next = next.max(self.now);
            self.now = next;
            self.deliver();
            self.client.handle_timeout(next);
            self.server.handle_timeout(next);
            self.drain();
            for half in [&self.client, &self.server] {
                assert!(half.poll_timeout().is_none_or(|due| due.at > next), "{:?}", half.poll_timeout());
            }
        }
        self.now = end;
    }

    pub(super) fn deliver(&mut self) {
        let now = self.now;
        for index in 0..self.links.len() {
            while let Some((_, message)) = self.links[index].up.pop_front_if(|(at, _)| *at <= now) {
                self.server.handle_message(now, self.links[index].ordinal, message);
            }
            while let Some((_, message)) = self.links[index].down.pop_front_if(|(at, _)| *at <= now) {
                self.client.handle_message(now, self.links[index].ordinal, message);
            }
        }
    }

    /// The law of the sender and that of the receiver, on both halves, for every flow.
    pub(super) fn check(&self) {
        for half in [&self.client, &self.server] {
            for (slot, flow) in half.flows.iter() {
                let books = &flow.books;
                let queued = half.queues.flow_len(slot) as u64;
                let out = books.acknowledged + books.dropped.total() + queued + books.in_flight + books.in_doubt;
                assert_eq!(books.accepted, out, "{:?} sends on {:?}: {books:?}", half.role, flow.id());
                let held = flow.inbox.len() as u64;
                assert_eq!(
                    books.processed,
                    books.delivered + books.refused.total() + held,
                    "{:?}: {books:?}",
                    half.role
                );
            }
        }
    }

    pub(super) fn numbers(list: &[(FlowId, Bytes)]) -> Vec<u32> {
        list.iter().map(|(_, payload)| u32::from_be_bytes(payload[..4].try_into().unwrap())).collect()
    }

    pub(super) fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(_, event)| wanted(event)).count()
    }
}

fn setup_of(role: Role, limits: &Limits, pool: &Pool) -> Setup {
    let access = match role {
        Role::Client => None,
        Role::Server => Some(Access { grant: Grant::open(), own: Arc::new(Own::default()) }),
    };
    Setup {
        limits: limits.clone(),
        identity: Identity { client: "laptop".into(), incarnation: (1, 1) },
        access,
        pool: pool.clone(),
        seed: Seed::from(1),
    }
}

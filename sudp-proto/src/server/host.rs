//! A whole server on one event loop.

mod tokens;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use bytes::BytesMut;

use crate::access::{Pool, Replies};
use crate::config::Limits;
use crate::driver::{Driver, Io, Token, Turn, Way};
use crate::event::Event;
use crate::link::{Answer, ServerExpect, ServerSeal, ServerTls};
use crate::rng::{Rng, Seed};
use crate::session::Access;
use crate::wire::{Code, SessionId, Ticket};

use super::{
    Admission, Claim, Entry, Founded, Identification, Incoming, IncomingSetup, Names, Registry, Server, ServerSetup,
    Stance, Strangers,
};
use tokens::{Number, Renamed, Tokens};

/// What a host is made with.
#[derive(Clone, Debug)]
pub struct HostSetup {
    /// Which requests are ours.
    pub expect: ServerExpect,
    /// How TLS is spoken on its streams, if it is.
    pub tls: Option<ServerTls>,
    /// How links are sealed whose clients want that.
    pub seal: Option<ServerSeal>,
    /// Every cap.
    pub limits: Limits,
    /// What the welcomes of its sessions say.
    pub names: Names,
    /// Where the memory of its sessions comes from.
    pub pool: Pool,
    /// Where its randomness comes from.
    pub seed: Seed,
}

impl HostSetup {
    /// The usual caps, at the path `/sudp`, without TLS and sealing; all of its names are 0 but its boot, which is drawn.
    pub fn new(pool: Pool, seed: Seed) -> Self {
        let mut rng = Rng::new(&seed);
        let expect = ServerExpect { path: "/sudp".into(), ..ServerExpect::default() };
        let names = Names { boot: rng.u64() >> VARINT_SPARE, ..Names::default() };
        Self { expect, tls: None, seal: None, limits: Limits::default(), names, pool, seed: rng.fork() }
    }
}

/// All of a server that one event loop drives: the streams that nobody knows yet, the sessions, and the
/// [`Registry`] between them.
///
/// It is used like a [`Driver`], with one table of tokens for all that is open: report what is ready, take
/// turns, and see to what [`poll_claim`](Self::poll_claim) and [`poll_event`](Self::poll_event) have. A
/// token stays with its stream when that becomes a link of a session. What costs time are the machines
/// that have something to do, not those that rest.
///
/// A server that spreads its sessions over threads has a driver for each, and does what is done here by
/// [`Driver::join`] and [`Registry::handle_event`]. So does one that answers strangers with more than
/// "404 Not Found".
#[derive(Debug)]
pub struct Host {
    setup: HostSetup,
    rng: Rng,
    registry: Registry,
    tokens: Tokens,
    machines: BTreeMap<Number, Machine>,
    next: Number,
    sessions: BTreeMap<SessionId, Number>,
    strangers: Strangers,
    replies: Replies,
    /// Machines to be driven in the next turn.
    ready: BTreeSet<Number>,
    /// When which machine is due; each has at most one entry.
    due: BTreeSet<(Instant, Number)>,
    claims: VecDeque<(Number, Claim)>,
    events: VecDeque<(SessionId, Event)>,
}

/// Names an accepted stream whose claim is to be decided on.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Visitor(Number);

/// What became of a claim.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It made a new session.
    Founded(SessionId),
    /// It is one more link of this session.
    Joined(SessionId),
    /// The client was told so, and why.
    Refused(Code),
    /// The client had hung up, or the decision came too late.
    Gone,
}

impl Host {
    /// A server without sessions.
    pub fn new(setup: HostSetup) -> Self {
        let mut rng = Rng::new(&setup.seed);
        let registry = Registry::new(setup.limits.clone(), &rng.fork());
        let replies = Replies::new(&setup.limits);
        Self {
            setup,
            rng,
            registry,
            tokens: Tokens::default(),
            machines: BTreeMap::new(),
            next: 0,
            sessions: BTreeMap::new(),
            strangers: Strangers::default(),
            replies,
            ready: BTreeSet::new(),
            due: BTreeSet::new(),
            claims: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes on a stream that was just accepted, and names it. None if so many streams are without a
    /// session already that it is to be closed at once.
    pub fn accept(&mut self, now: Instant, from: IpAddr) -> Option<Token> {
        match self.strangers.enter(self.next, Some(from), &self.setup.limits, &mut self.rng) {
            Entry::Out => return None,
            Entry::In => {}
            Entry::InsteadOf(other) => self.give_up(other),
        }
        let HostSetup { expect, tls, seal, limits, names, .. } = self.setup.clone();
        let setup = IncomingSetup { expect, tls, seal, limits, server: names.server, seed: self.rng.fork() };
        let mut driver = Box::new(Driver::new(Incoming::new(now, setup)));
        let inside = driver.adopt(Incoming::KEY, BytesMut::new());
        let number = self.insert(Role::Incoming { driver });
        Some(self.tokens.name(number, inside))
    }

    /// A door is ready, or may be. Harmless when that is old news.
    pub fn handle_ready(&mut self, at: Token, way: Way) {
        let Some((number, inside)) = self.tokens.find(at) else { return };
        match self.machines.get_mut(&number).map(|machine| &mut machine.role) {
            Some(Role::Incoming { driver }) => driver.handle_ready(inside, way),
            Some(Role::Session(driver)) => driver.handle_ready(inside, way),
            None => return,
        }
        self.ready.insert(number);
    }

    /// One turn for each machine that has something to do.
    ///
    /// A turn is also due after any call that may have changed something.
    pub fn turn(&mut self, now: Instant, io: &mut impl Io) -> Turn {
        let mut turns = std::mem::take(&mut self.ready);
        turns.extend(self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, number)| *number));
        for number in turns {
            self.drive(now, number, io);
        }
        let again = !self.ready.is_empty() || !self.claims.is_empty();
        Turn { deadline: self.due.first().map(|(at, _)| *at), again }
    }

    /// The next claim to be decided on, by [`admit`](Self::admit) or [`refuse`](Self::refuse). Asked for
    /// after every turn until there is none.
    ///
    /// Finding out who it is may take a while: its stream is driven meanwhile, and is refused by itself
    /// after [`Limits::auth_deadline`].
    pub fn poll_claim(&mut self) -> Option<(Visitor, Claim)> {
        while let Some((number, claim)) = self.claims.pop_front() {
            if self.deciding(Visitor(number)).is_some() {
                return Some((Visitor(number), claim));
            }
        }
        None
    }

    /// Decides on a claim of a client that is `who`, and may do what `access` says.
    pub fn admit(
        &mut self,
        now: Instant,
        visitor: Visitor,
        claim: &Claim,
        who: &Identification,
        access: Access,
    ) -> Verdict {
        if self.deciding(visitor).is_none() {
            return Verdict::Gone;
        }
        let (session, verdict) = match self.registry.admit(claim, who, (&access.grant).into()) {
            Ok(Admission::Found(founded)) => {
                self.found(now, &founded, access);
                (founded.session, Verdict::Founded(founded.session))
            }
            Ok(Admission::Join(session)) => (session, Verdict::Joined(session)),
            Err(refused) => return self.refuse(now, visitor, refused.0),
        };
        match self.join(now, visitor, session) {
            Some(Ok(())) => verdict,
            Some(Err(code)) => Verdict::Refused(code),
            None => Verdict::Gone,
        }
    }

    /// Refuses a claim.
    pub fn refuse(&mut self, now: Instant, visitor: Visitor, code: Code) -> Verdict {
        let Some(incoming) = self.deciding(visitor) else { return Verdict::Gone };
        incoming.refuse(now, code);
        self.ready.insert(visitor.0);
        Verdict::Refused(code)
    }

    /// The next thing that happened to a session. Of those that are not asked for, the newest are kept.
    pub fn poll_event(&mut self) -> Option<(SessionId, Event)> {
        self.events.pop_front()
    }

    /// Says whether new sessions are welcome from now on.
    pub fn set_stance(&mut self, stance: Stance) {
        self.registry.set_stance(stance);
    }

    /// Says how TLS is spoken on streams that are accepted from now on.
    pub fn set_tls(&mut self, tls: Option<ServerTls>) {
        self.setup.tls = tls;
    }

    /// Says how links are sealed on streams that are accepted from now on.
    pub fn set_seal(&mut self, seal: Option<ServerSeal>) {
        self.setup.seal = seal;
    }

    /// A session, to be told and asked things; a turn is due afterwards.
    pub fn session_mut(&mut self, session: SessionId) -> Option<&mut Server> {
        let number = *self.sessions.get(&session)?;
        self.ready.insert(number);
        self.driver_mut(number).map(Driver::endpoint_mut)
    }

    /// The sessions, in no order that means anything.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.sessions.keys().copied()
    }

    fn drive(&mut self, now: Instant, number: Number, io: &mut impl Io) {
        let Some(machine) = self.machines.get_mut(&number) else { return };
        let doors = &mut Renamed { io, tokens: &mut self.tokens, number };
        let (turn, finished) = match &mut machine.role {
            Role::Incoming { driver } => (driver.turn(now, doors), driver.endpoint().is_finished()),
            Role::Session(driver) => (driver.turn(now, doors), driver.endpoint().is_finished()),
        };
        if turn.again {
            self.ready.insert(number);
        }
        let before = std::mem::replace(&mut machine.deadline, turn.deadline);
        if before != turn.deadline {
            if let Some(at) = before {
                self.due.remove(&(at, number));
            }
            self.due.extend(turn.deadline.map(|at| (at, number)));
        }
        match &mut machine.role {
            Role::Incoming { driver } => {
                let incoming = driver.endpoint_mut();
                if incoming.poll_stranger().is_some() {
                    // A stream that ends meanwhile wants no answer.
                    let _ = incoming.answer(now, &Answer::not_found());
                    self.ready.insert(number);
                }
                if let Some(claim) = incoming.poll_claim() {
                    self.strangers.heard(number);
                    self.claims.push_back((number, claim));
                }
            }
            Role::Session(_) => self.hear(now, number),
        }
        if finished {
            self.dismantle(number, io);
        }
    }

    /// The registry hears what happened to a session, and says which others are to be closed for it.
    fn hear(&mut self, now: Instant, number: Number) {
        let Some(driver) = self.driver_mut(number) else { return };
        let (id, session) = (driver.endpoint().id(), driver.endpoint_mut().session_mut());
        let events: Vec<Event> = std::iter::from_fn(|| session.poll_event()).collect();
        for event in events {
            for (other, code) in self.registry.handle_event(id, &event) {
                if let Some(server) = self.session_mut(other) {
                    server.session_mut().close(now, code);
                }
            }
            if self.events.len() >= EVENTS {
                self.events.pop_front();
            }
            self.events.push_back((id, event));
        }
    }

    fn found(&mut self, now: Instant, founded: &Founded, access: Access) {
        let HostSetup { limits, names, pool, .. } = self.setup.clone();
        let setup = ServerSetup { limits, access, pool, seed: self.rng.fork(), ticket: Ticket::default() };
        let mut server = Server::new(now, founded, names, setup);
        server.session_mut().share_replies(&self.replies);
        let driver = Box::new(Driver::new(server));
        let number = self.insert(Role::Session(driver));
        self.sessions.insert(founded.session, number);
    }

    /// Moves an admitted stream to the driver of its session.
    fn join(&mut self, now: Instant, visitor: Visitor, session: SessionId) -> Option<Result<(), Code>> {
        let to = *self.sessions.get(&session)?;
        let Some(Role::Incoming { driver }) = self.remove(visitor.0) else { return None };
        let joined = driver.join(now, self.driver_mut(to)?).ok()?;
        self.tokens.hand_on((visitor.0, joined.from), (to, joined.to));
        self.ready.insert(to);
        Some(joined.taken)
    }

    /// Closes a stream that has not said what it wants, for one that may.
    fn give_up(&mut self, number: Number) {
        if let Some(Role::Incoming { driver }) = self.machines.get_mut(&number).map(|machine| &mut machine.role) {
            driver.endpoint_mut().give_up();
            self.ready.insert(number);
        }
    }

    fn insert(&mut self, role: Role) -> Number {
        let number = self.next;
        self.next += 1;
        self.machines.insert(number, Machine { role, deadline: None });
        self.ready.insert(number);
        number
    }

    fn remove(&mut self, number: Number) -> Option<Role> {
        let Machine { role, deadline } = self.machines.remove(&number)?;
        self.ready.remove(&number);
        if let Some(at) = deadline {
            self.due.remove(&(at, number));
        }
        match &role {
            Role::Incoming { .. } => {
                self.claims.retain(|(of, _)| *of != number);
                self.strangers.leave(number);
            }
            Role::Session(driver) => {
                let id = driver.endpoint().id();
                self.sessions.remove(&id);
                self.registry.remove(id);
            }
        }
        Some(role)
    }

    fn dismantle(&mut self, number: Number, io: &mut impl Io) {
        let role = self.remove(number);
        let io = &mut Renamed { io, tokens: &mut self.tokens, number };
        match role {
            Some(Role::Incoming { driver }) => drop(driver.dismantle(io)),
            Some(Role::Session(driver)) => drop(driver.dismantle(io)),
            None => {}
        }
    }

    /// The stream of a visitor, if its claim still stands.
    fn deciding(&mut self, visitor: Visitor) -> Option<&mut Incoming> {
        match &mut self.machines.get_mut(&visitor.0)?.role {
            Role::Incoming { driver } => Some(driver.endpoint_mut()).filter(|incoming| incoming.is_deciding()),
            Role::Session(_) => None,
        }
    }

    fn driver_mut(&mut self, number: Number) -> Option<&mut Driver<Server>> {
        match &mut self.machines.get_mut(&number)?.role {
            Role::Session(driver) => Some(driver),
            Role::Incoming { .. } => None,
        }
    }
}

#[derive(Debug)]
struct Machine {
    role: Role,
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum Role {
    Incoming { driver: Box<Driver<Incoming>> },
    Session(Box<Driver<Server>>),
}

/// Bits of a `u64` that do not fit the wire.
const VARINT_SPARE: u32 = 2;
/// Events kept for a caller that does not ask.
const EVENTS: usize = 4_096;

#[cfg(test)]
mod tests;

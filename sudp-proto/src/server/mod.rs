//! The accepting half: from an accepted stream to one session of a server, on its links.
//!
//! A stream begins as an [`Incoming`], which ends in a [`Claim`] that someone
//! decides on. What is granted makes a [`Server`], one per session, or is one more link of a session
//! that exists; which of them is the [`Registry`]'s to say. A [`Host`] is all of this for one event loop.
//!
//! Who calls what, and when:
//!
//! 1. Whoever accepts streams drives each as an [`Incoming`] until [`Incoming::poll_claim`] has a claim, or
//!    [`Incoming::poll_stranger`] the head of a request that is not ours.
//! 2. Admission finds out who it is and what it may do. That may take a while (a password, a
//!    database): the `Incoming` is driven on meanwhile, for it knows when the client hangs up and when
//!    its time is over. A claim to join needs nothing but its proof: [`Registry::join`] at once.
//! 3. [`Registry::admit`] decides, [`Incoming::refuse`] or [`Incoming::grant`] says so. Between the two
//!    nothing may wait.
//! 4. The [`Arrival`] goes to whoever drives that session, and into [`Server::adopt`]; so does
//!    the unread rest of the stream's input.
//! 5. Every event of every session is shown to [`Registry::handle_event`], which names the sessions
//!    that are to be closed on account of it. A session that [is finished](Server::is_finished) is dropped.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use sudp_proto::access::{Grant, Own};
//! use sudp_proto::server::{
//!     Admission, Claim, Identification, Incoming, Names, Refused, Registry, Server, ServerSetup,
//! };
//! use sudp_proto::session::Access;
//! use sudp_proto::wire::{Code, SessionId};
//!
//! struct Hall {
//!     registry: Registry,
//!     sessions: BTreeMap<SessionId, Server>,
//!     names: Names,
//! }
//!
//! impl Hall {
//!     /// Step 3: admission has said who this is, or that nobody knows.
//!     ///
//!     /// A stream that is still there afterwards is driven until it is finished, so that it is answered.
//!     fn decide(
//!         &mut self,
//!         now: Instant,
//!         stream: &mut Option<Incoming>,
//!         claim: &Claim,
//!         known: Option<(Identification, ServerSetup)>,
//!     ) {
//!         // It may have hung up by now, or have been told to come again.
//!         let Some(incoming) = stream.as_mut().filter(|incoming| incoming.is_deciding()) else { return };
//!         let Some((who, setup)) = known else { return incoming.refuse(now, Code::Denied) };
//!         let session = match self.registry.admit(claim, &who, (&setup.access.grant).into()) {
//!             Ok(Admission::Join(session)) => session,
//!             Ok(Admission::Found(founded)) => {
//!                 let id = founded.session;
//!                 self.sessions.insert(id, Server::new(now, &founded, self.names.clone(), setup));
//!                 id
//!             }
//!             Err(Refused(code)) => return incoming.refuse(now, code),
//!         };
//!         let arrival = stream.take().and_then(Incoming::grant);
//!         if let (Some(server), Some(arrival)) = (self.sessions.get_mut(&session), arrival) {
//!             let (_key, _refused) = server.adopt(now, arrival);
//!         }
//!     }
//!
//!     /// Step 5: after every turn of a session.
//!     fn look_at(&mut self, now: Instant, id: SessionId) {
//!         let event = |server: &mut Server| server.session_mut().poll_event();
//!         while let Some(event) = self.sessions.get_mut(&id).and_then(event) {
//!             for (other, code) in self.registry.handle_event(id, &event) {
//!                 if let Some(server) = self.sessions.get_mut(&other) {
//!                     server.session_mut().close(now, code);
//!                 }
//!             }
//!         }
//!         if self.sessions.get(&id).is_some_and(Server::is_finished) {
//!             self.sessions.remove(&id);
//!         }
//!     }
//! }
//! ```

mod forwarded;
mod host;
mod incoming;
mod join;
mod registry;
mod strangers;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::access::{Grant, Pool};
use crate::carrier::{Carrier, Said};
use crate::config::Limits;
use crate::driver::{Endpoint, Key, Order, sealed};
use crate::event::LinkLoss;
use crate::link::Responder;
use crate::rng::Seed;
use crate::session::{Access, Deadline, Identity, Role, Session, Setup, ThawError};
use crate::wire::{Code, Frame, Hello, Ordinal, SessionId, Ticket, Welcome};

use incoming::Opened;

pub use forwarded::forwarded;
pub use host::{Host, HostSetup, Verdict, Visitor};
pub use incoming::{Arrival, Claim, Incoming, IncomingSetup};
pub use join::Joined;
pub use registry::{Admission, Founded, Identification, Refused, Registry, Shares, Stance};
pub use strangers::{Entry, Strangers};

/// What a server's half of a session is made with.
#[derive(Clone, Debug)]
pub struct ServerSetup {
    /// Every cap.
    pub limits: Limits,
    /// What its principal may do.
    pub access: Access,
    /// Where its memory comes from.
    pub pool: Pool,
    /// Where its randomness comes from.
    pub seed: Seed,
    /// What its client is given, which spares it the proof of who it is when it founds its next session.
    pub ticket: Ticket,
}

/// What a welcome says of the server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Names {
    /// Its cluster; 0 is none.
    pub cluster: u64,
    /// The server, stable over restarts.
    pub server: u64,
    /// Its table of sessions, new with every start that did not take one over.
    pub boot: u64,
    /// What a balancer needs to find it; at most 32 bytes.
    pub owner: Bytes,
}

/// One session of a server.
#[derive(Debug)]
pub struct Server {
    carrier: Carrier,
    names: Names,
    id: SessionId,
    /// Told with every welcome.
    ticket: Ticket,
    /// Whether all of its links are sealed.
    sealed: bool,
}

impl Server {
    /// The half of a session that was just founded; its first link follows with [`adopt`](Self::adopt).
    pub fn new(now: Instant, founded: &Founded, names: Names, setup: ServerSetup) -> Self {
        let ServerSetup { limits, access, pool, seed, ticket } = setup;
        let setup = Setup { limits, identity: founded.identity.clone(), access: Some(access), pool, seed };
        let mut session = Session::new(now, Role::Server, setup);
        session.found(founded.session, founded.secret);
        session.share(founded.allowance.clone());
        Self { carrier: Carrier::new(session), names, id: founded.session, ticket, sealed: founded.sealed }
    }

    /// Turns the session into bytes and ends this copy of it, so that another process can go on with it:
    /// see [`Session::freeze`] for what that asks of whoever stores them.
    pub fn freeze(&mut self, now: Instant) -> Bytes {
        let frozen = self.carrier.session.freeze(now);
        self.carrier.part(now);
        [&[u8::from(self.sealed)], &frozen[..]].concat().into()
    }

    /// Brings a session back that was frozen `away` before `now`. [`Registry::restore`] lets its client
    /// attach to it; sockets and listeners are asked for again.
    pub fn thaw(
        now: Instant,
        away: Duration,
        names: Names,
        setup: ServerSetup,
        frozen: &[u8],
    ) -> Result<Self, ThawError> {
        let ServerSetup { limits, access, pool, seed, ticket } = setup;
        let setup = Setup { limits, identity: Identity::default(), access: Some(access), pool, seed };
        let Some((&sealed @ (0 | 1), frozen)) = frozen.split_first() else {
            return Err(ThawError::Malformed("it does not say whether its links are sealed"));
        };
        let session = Session::thaw(now, away, setup, frozen)?;
        let (Some(id), Role::Server) = (session.id(), session.role()) else {
            return Err(ThawError::Malformed("not a server's half of a session"));
        };
        Ok(Self { carrier: Carrier::new(session), names, id, ticket, sealed: sealed == 1 })
    }

    /// Takes one more stream, whose claim was granted, as a link of this session. The stream's name here
    /// is returned; a refusal was answered on the stream, which is then on its way out.
    pub fn adopt(&mut self, now: Instant, arrival: Arrival) -> (Key, Result<(), Code>) {
        let key = self.carrier.draw();
        let Arrival { mut link, hello, raw, in_band, opened, seed } = arrival;
        let opened = self.open(opened, hello, &raw, seed);
        let accepted = opened.and_then(|(hello, responder)| {
            let ended = self.carrier.session.accept(now, &hello)?;
            Ok((hello, responder, ended))
        });
        let (hello, responder, ended) = match accepted {
            Ok(accepted) => accepted,
            Err(code) => {
                incoming::refuse(now, &mut link, in_band, code, self.names.server);
                self.carrier.put(key, link, None);
                return (key, Err(code));
            }
        };
        if !in_band {
            // The link waits for just this; were it gone, its end is told like any other.
            let _ = link.accept(now);
        }
        let ordinal = hello.ordinal;
        let welcome = Welcome {
            ordinal,
            session: self.id,
            secret: if hello.attach.is_none() { self.carrier.session.secret() } else { None },
            cluster: self.names.cluster,
            server: self.names.server,
            boot: self.names.boot,
            owner: self.names.owner.clone(),
            ticket: self.ticket.clone(),
            ended,
            parameters: self.carrier.session.parameters(),
        };
        let mut body = Vec::new();
        welcome.emit(&mut body);
        let (body, sealer) = match responder {
            Some(responder) => responder.seal(&body),
            None => (body.into(), None),
        };
        let mut frame = Vec::new();
        Frame::Welcome(body).emit(&mut frame);
        let _ = link.send(&[&frame]);
        if let Some(sealer) = sealer {
            let mut copy = Vec::new();
            Frame::Hello(raw).emit(&mut copy);
            link.expect_sealed();
            link.begin_sealing(sealer, Some(copy.into()));
            self.carrier.put(key, link, Some(ordinal));
        } else {
            self.carrier.put(key, link, Some(ordinal));
            self.carrier.expect_copy(key, raw);
        }
        self.carrier.part(now);
        (key, Ok(()))
    }

    /// The hello of an arrival, and what seals its welcome. A session that was made sealed has no other links,
    /// and one that was not has no sealed ones.
    fn open(
        &self,
        opened: Opened,
        hello: Hello,
        raw: &[u8],
        seed: Seed,
    ) -> Result<(Hello, Option<Box<Responder>>), Code> {
        if self.sealed == matches!(opened, Opened::Plain) {
            return Err(Code::BadProof);
        }
        match opened {
            Opened::Plain => Ok((hello, None)),
            Opened::Founding(responder) => Ok((hello, Some(responder))),
            Opened::Joining => {
                let secret = self.carrier.session.secret().ok_or(Code::BadProof)?;
                let (responder, inside) = Responder::join(&secret, raw, seed).map_err(|_| Code::BadProof)?;
                let hello = Hello::parse_inside(&inside, Some(self.id)).map_err(|violation| violation.code)?;
                Ok((hello, Some(Box::new(responder))))
            }
        }
    }

    /// Whether its links are sealed.
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The session, to send and to ask.
    pub fn session(&self) -> &Session {
        &self.carrier.session
    }

    /// The session, to change it.
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.carrier.session
    }

    /// Its name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Takes a new snapshot of what its principal may do; none ends the session.
    pub fn regrant(&mut self, now: Instant, access: Option<Access>) {
        match access {
            Some(access) => self.carrier.session.regrant(now, access),
            None => self.carrier.session.close(now, Code::Denied),
        }
        self.carrier.part(now);
    }

    /// Answers the client's new credential, or hands out a new ticket unasked: it is good from now on, and told with
    /// every welcome.
    pub fn answer_renewal(&mut self, outcome: Result<Ticket, Code>) {
        if let Ok(ticket) = &outcome {
            self.ticket = ticket.clone();
        }
        self.carrier.session.answer_renewal(outcome);
    }

    /// Ends every link, so that the client dials anew: the session goes on when it has, and what was under way
    /// is sent again.
    pub fn reconnect(&mut self, now: Instant) {
        let links: Vec<Ordinal> = self.carrier.session.links().collect();
        for ordinal in links {
            self.carrier.session.detach(now, ordinal, LinkLoss::Replaced);
        }
        self.carrier.part(now);
    }

    /// Whether nothing is left to be done: the session is over, and every stream is closed.
    pub fn is_finished(&self) -> bool {
        self.carrier.session.is_closed() && self.carrier.is_empty()
    }

    /// The stream that carries a link.
    pub fn key_of(&self, ordinal: Ordinal) -> Option<Key> {
        self.carrier.key_of(ordinal)
    }

    fn drain_said(&mut self, now: Instant, key: Key) {
        while let Some(said) = self.carrier.poll_said(now, key) {
            match said {
                // What carried the session is the session's business, and what does not has no more to say.
                Said::Ended(_) | Said::Finished(_) | Said::Message(_) | Said::Open => {}
            }
        }
    }
}

impl sealed::Sealed for Server {}

impl Endpoint for Server {
    fn session(&mut self) -> Option<&mut Session> {
        Some(&mut self.carrier.session)
    }

    fn poll_order(&mut self, now: Instant) -> Option<Order> {
        self.carrier.part(now);
        self.carrier.sweep();
        self.carrier.poll_order()
    }

    fn handle_resolved(&mut self, _now: Instant, _key: Key, _answers: &[SocketAddr]) {}

    fn handle_connected(&mut self, _now: Instant, _key: Key) {}

    fn handle_failed(&mut self, now: Instant, key: Key, _why: io::ErrorKind) {
        self.carrier.handle_broken(now, key);
        self.carrier.part(now);
    }

    fn handle_input(&mut self, now: Instant, key: Key, input: &mut BytesMut) {
        loop {
            let before = input.len();
            self.carrier.handle_input(now, key, input);
            self.drain_said(now, key);
            if input.is_empty() || input.len() == before {
                break;
            }
        }
    }

    fn handle_end(&mut self, now: Instant, key: Key) {
        self.carrier.handle_end(now, key);
        self.drain_said(now, key);
    }

    fn output(&mut self, now: Instant, key: Key) -> &[u8] {
        self.carrier.output(now, key)
    }

    fn advance(&mut self, key: Key, written: usize) {
        self.carrier.advance(key, written);
    }

    fn wants_finish(&self, key: Key) -> bool {
        self.carrier.wants_finish(key)
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.carrier.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.carrier.handle_timeout(now);
        let mut last = None;
        while let Some(key) = self.carrier.key_after(last) {
            last = Some(key);
            self.drain_said(now, key);
        }
    }
}

/// What the registry needs to know of a grant.
impl From<&Grant> for Shares {
    fn from(grant: &Grant) -> Self {
        Self { sessions: grant.sessions }
    }
}

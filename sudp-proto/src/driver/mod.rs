//! The one event loop, over a trait of non-blocking doors.
//!
//! A [`Driver`] owns a machine (a client, a server's half of a session, or a connection that is
//! neither yet) and knows which stream, socket or lookup each [`Token`] stands for. The caller owns
//! what is behind the tokens, and lends it for each turn as an [`Io`]. The whole of an event loop is:
//!
//! 1. wait until something is ready, or until the deadline of the last turn;
//! 2. tell [`Driver::handle_ready`] what is ready;
//! 3. take a [`Driver::turn`]; then [`Driver::poll_delivery`], and the events of the endpoint;
//! 4. if the turn says `again`, let others run and go to 3, else to 1.

mod chores;
mod doors;
mod endpoint;
mod flush;
mod io;
mod keyed;
mod sockets;
mod streams;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;

pub(crate) use endpoint::sealed;
pub use endpoint::{Endpoint, Key, Order};
pub use io::{Datagram, Io, Progress, Socket, Step, Token, Way};
pub(crate) use keyed::Keyed;

use crate::event::Event;
use crate::wire::FlowId;
use doors::{Door, Doors, Stream};
use flush::Batch;

/// Drives one endpoint.
#[derive(Debug)]
pub struct Driver<E> {
    pub(crate) endpoint: E,
    doors: Doors,
    /// The last turn left orders or needs.
    chores_left: bool,
    /// The last turn left datagrams to deliver.
    unsent: bool,
    /// Flows without a socket of ours that have something for the application.
    deliveries: VecDeque<FlowId>,
    /// The one of them that was named last.
    named: Option<FlowId>,
    /// Those that were named, and of which not everything was taken.
    left: Vec<FlowId>,
    batch: Batch,
    /// Sockets that are not read for a while, by when that ends; some are closed since.
    pauses: BTreeSet<(Instant, Token)>,
    /// Storage for the answers to a lookup.
    answers: Vec<SocketAddr>,
    /// When the last turn was.
    turned: Option<Instant>,
    /// Before this no timer was due as the last turn left the endpoint, and nobody has had it since.
    due: Option<Instant>,
}

/// What a turn leaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Turn {
    /// When the next turn is due, if nothing happens before. A turn too early is harmless.
    pub deadline: Option<Instant>,
    /// The budget of the turn ended first: the next is due at once, after others have had theirs.
    pub again: bool,
}

impl Turn {
    /// How long to wait for something to be ready before the next turn; none is as long as it takes.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        if self.again { Some(Duration::ZERO) } else { self.deadline.map(|at| at.saturating_duration_since(now)) }
    }
}

/// A stream that its driver has given up.
#[derive(Debug)]
pub struct Released {
    /// What it was called; no [`Io::close`] follows.
    pub token: Token,
    /// Bytes that were read from it and not taken.
    pub input: BytesMut,
}

impl<E: Endpoint> Driver<E> {
    /// Drives an endpoint that has no streams yet; those it has are [adopted](Self::adopt).
    pub fn new(endpoint: E) -> Self {
        Self {
            endpoint,
            doors: Doors::default(),
            chores_left: false,
            unsent: false,
            deliveries: VecDeque::new(),
            named: None,
            left: Vec::new(),
            batch: Batch::default(),
            pauses: BTreeSet::new(),
            answers: Vec::new(),
            turned: None,
            due: None,
        }
    }

    /// Takes on a stream that is open already, accepted or moved here, and which the endpoint knows by
    /// this key; `input` is what was read from it before.
    pub fn adopt(&mut self, key: Key, input: BytesMut) -> Token {
        let token = self.doors.insert(Door::Stream(Box::new(Stream::new(key, None, input))));
        self.doors.ring(token, Way::In);
        token
    }

    /// Gives up a stream without closing it, so that another driver can adopt it.
    pub fn release(&mut self, key: Key) -> Option<Released> {
        let token = self.doors.key(key)?;
        self.doors.stream_mut(token)?;
        let Some(Door::Stream(stream)) = self.doors.remove(token) else { return None };
        Some(Released { token, input: stream.input })
    }

    /// A door is ready, or may be. Constant in time, and harmless when that is old news.
    pub fn handle_ready(&mut self, at: Token, way: Way) {
        self.doors.ring(at, way);
    }

    /// Does what is due and what is ready, within a budget.
    ///
    /// A turn is also due after any call to the endpoint that may have changed something.
    pub fn turn(&mut self, now: Instant, io: &mut impl Io) -> Turn {
        let mut budget = Budget { doors: DOORS, datagrams: DATAGRAMS, bytes: BYTES };
        if let Some(session) = self.endpoint.session() {
            session.set_tap_time(now);
        }
        self.end_pauses(now);
        // Where no timer is due and nobody has had the endpoint since, the last turn has left nothing to be done.
        if self.chores_left || self.due.is_none_or(|due| due <= now) {
            self.do_chores(now, io);
        }
        if self.was_away(now) && self.overdue(now).is_some_and(|late| late > PAUSE) {
            // We were not running. What arrived meanwhile is proof of life, and must be seen before
            // any timer concludes from its absence.
            self.read_all(now, io, &mut budget);
        }
        self.serve(now, io, &mut budget);
        // What this turn has made due is found at its end.
        if self.due.is_none_or(|due| due <= now) && self.overdue(now).is_some() {
            self.endpoint.handle_timeout(now);
        }
        self.do_chores(now, io);
        self.flush(io);
        self.write_all(now, io);
        let more = self.do_chores(now, io);
        self.resume_reading();
        let pause = self.pauses.first().map(|(until, _)| *until);
        self.turned = Some(now);
        self.due = self.endpoint.poll_timeout().map(|deadline| deadline.at);
        let deadline = self.due.into_iter().chain(pause).min();
        let again = more || self.behind() || self.doors.has_ready() || deadline.is_some_and(|at| at <= now);
        Turn { deadline, again }
    }

    /// The next flow that was opened by hand and has something in its inbox: it is for the caller to
    /// take, by [`Session::inbox`](crate::session::Session::inbox) and
    /// [`Session::delivered`](crate::session::Session::delivered).
    ///
    /// Asked for after every turn until there is none. What is left in an inbox is named again after
    /// the next turn; of flows that are not asked for, only the newest datagrams are held.
    pub fn poll_delivery(&mut self, now: Instant) -> Option<FlowId> {
        let session = self.endpoint.session()?;
        if let Some(flow) = self.named.take().filter(|flow| session.inbox(*flow).next().is_some()) {
            session.block(flow);
            self.left.push(flow);
        }
        while self.named.is_none()
            && let Some(flow) = self.deliveries.pop_front()
        {
            session.unblock(now, flow);
            self.named = session.inbox(flow).next().map(|_| flow);
        }
        self.named
    }

    /// The next event of the session.
    ///
    /// Asked for after every turn until there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.endpoint.session()?.poll_event()
    }

    /// Closes everything that is open, and gives the endpoint back.
    pub fn dismantle(self, io: &mut impl Io) -> E {
        self.doors.tokens().into_iter().for_each(|token| io.close(token));
        self.endpoint
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &E {
        &self.endpoint
    }

    /// The endpoint, to be told and asked things; a turn is due afterwards.
    pub fn endpoint_mut(&mut self) -> &mut E {
        self.due = None;
        &mut self.endpoint
    }

    /// Gives the endpoint back; whatever was open has been released.
    pub(crate) fn into_endpoint(self) -> E {
        debug_assert!(self.doors.tokens().is_empty(), "what is open is closed or released, not forgotten");
        self.endpoint
    }

    /// Does what is ready, in the order in which it became so.
    fn serve(&mut self, now: Instant, io: &mut impl Io, budget: &mut Budget) {
        while budget.is_left() {
            let Some((token, ways)) = self.doors.pop_ready() else { return };
            budget.doors -= 1;
            match self.doors.get_mut(token) {
                Some(Door::Lookup(_)) => self.collect(now, token, io),
                Some(Door::Stream(_)) => self.serve_stream(now, token, ways, io, budget),
                Some(Door::Udp(_)) => self.serve_socket(now, token, ways, io, budget),
                None => {}
            }
        }
    }

    /// Whether so much time has passed since the last turn that something must have kept us from running,
    /// should a timer be as late.
    fn was_away(&self, now: Instant) -> bool {
        self.turned.is_none_or(|turned| now.saturating_duration_since(turned) > PAUSE)
    }

    /// By how much a timer is late, if it is due.
    fn overdue(&self, now: Instant) -> Option<Duration> {
        now.checked_duration_since(self.endpoint.poll_timeout()?.at)
    }

    /// Whether what was read before has not left: then no more is read from links.
    fn behind(&self) -> bool {
        self.chores_left || self.unsent
    }
}

/// What is left of what one turn may do, so that one session leaves room for the others.
#[derive(Clone, Copy, Debug)]
struct Budget {
    doors: usize,
    datagrams: usize,
    bytes: usize,
}

impl Budget {
    fn is_left(self) -> bool {
        self.doors > 0 && self.datagrams > 0 && self.bytes > 0
    }

    fn spend(&mut self, datagrams: usize, bytes: usize) {
        self.datagrams = self.datagrams.saturating_sub(datagrams);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Ready doors looked at in one turn.
const DOORS: usize = 64;
/// Datagrams taken from sockets in one turn, but for the last call's.
const DATAGRAMS: usize = 64;
/// Bytes taken from streams and sockets in one turn, but for the last call's.
const BYTES: usize = 64 << 10;
/// A timer late by more than this proves that we were not running.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

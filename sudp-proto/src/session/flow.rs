//! One UDP conversation: its words, its books in both directions, what it holds.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::queue::Lane;
use crate::access::{Limiter, Seat};
use crate::stats::{DropReason, Drops};
use crate::wire::{Address, Class, Code, FlowId, Open, Totals};

/// How the datagrams of a flow want to be treated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Treatment {
    /// Its delivery class.
    pub class: Class,
    /// On how many links each datagram travels.
    pub copies: u8,
    /// Whether each batch may choose its own link.
    pub spread: bool,
    /// How long a flow may be idle.
    pub idle: Duration,
}

impl Default for Treatment {
    fn default() -> Self {
        Self { class: Class::Reliable, copies: 1, spread: false, idle: Duration::from_secs(180) }
    }
}

/// One flow of a session.
#[derive(Debug)]
pub(crate) struct Flow {
    /// What its OPEN says, whoever sent it.
    pub(crate) open: Open,
    /// Whether this side opened it.
    pub(crate) ours: bool,
    /// Whether the remote has its OPEN for certain, so that records need not carry it.
    pub(crate) short: bool,
    /// The lane of its home link; [`Lane::ANY`] while it has none.
    pub(crate) home: Lane,
    pub(crate) out: Direction,
    pub(crate) books: Books,
    pub(crate) inbox: Inbox,
    /// Whether the remote's direction has ended.
    pub(crate) ended: bool,
    /// Refused or ended by policy: nothing of it is delivered any more.
    pub(crate) stopped: bool,
    /// Its books when the present session began.
    pub(crate) base: Books,
    /// Destinations on the side where its socket is, the default one first.
    pub(crate) places: Vec<Place>,
    /// What it may send to its destinations.
    pub(crate) limiter: Limiter,
    /// Its place among the flows of its principal, until it is refused.
    pub(crate) seat: Option<Seat>,
    pub(crate) began: Instant,
    /// When it was last used, in either direction.
    pub(crate) used: Instant,
    /// When it is looked at next for being idle.
    pub(crate) look: Instant,
    /// Whether it has a socket, or asked for one.
    pub(crate) socket: bool,
    /// It began at a listener that others reach, and nobody knows yet that answers reach its source.
    pub(crate) unconfirmed: bool,
}

/// Where our direction of a flow stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Direction {
    /// Takes datagrams.
    Open,
    /// Takes no more; its CLOSE follows when nothing is queued or unresolved.
    Closing(Code),
    /// Its CLOSE is on its way.
    Closed(Code),
    /// Its CLOSE was processed by the remote.
    Done(Code),
}

/// What became of a flow's datagrams, on this side.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Books {
    /// Taken from the application or socket.
    pub accepted: u64,
    /// Processed by the remote.
    pub acknowledged: u64,
    /// Cut into batches that are not resolved.
    pub in_flight: u64,
    /// Sent in a session that was lost: nobody knows.
    pub in_doubt: u64,
    /// Dropped on the way out, by reason.
    pub dropped: Drops,
    /// Taken from the remote.
    pub processed: u64,
    /// Given to the application or socket.
    pub delivered: u64,
    /// Dropped on the way in, by reason.
    pub refused: Drops,
    /// Payload bytes accepted.
    pub bytes_out: u64,
    /// Payload bytes delivered.
    pub bytes_in: u64,
}

/// Datagrams taken from the remote and not yet delivered.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) held: VecDeque<Inbound>,
    /// Those whose destination is still a name.
    pub(crate) finding: VecDeque<(Address, Inbound)>,
    pub(crate) bytes: usize,
    /// The socket is full: nothing is tried until it says otherwise.
    pub(crate) blocked: bool,
    /// It stands in the list of flows with something to deliver.
    pub(crate) listed: bool,
}

/// A datagram from the remote.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Inbound {
    /// When it was taken.
    pub at: Instant,
    /// Where to send it; or, on the side where the flow began, where it came from if not from the flow's destination.
    pub address: Option<SocketAddr>,
    /// The datagram.
    pub payload: Bytes,
}

/// One destination of a flow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    /// What the remote called it.
    pub(crate) address: Address,
    pub(crate) state: PlaceState,
    /// When it was last used, in datagrams of the flow.
    pub(crate) used: u64,
}

/// What is known of a destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PlaceState {
    /// Its name is being looked up.
    Finding,
    /// Allowed, and this is its address.
    At(SocketAddr),
    /// Not allowed, or not to be found.
    Denied(DropReason),
}

impl Flow {
    pub(crate) fn new(now: Instant, open: Open, ours: bool, limiter: Limiter) -> Self {
        Self {
            open,
            ours,
            short: !ours,
            home: Lane::ANY,
            out: Direction::Open,
            books: Books::default(),
            inbox: Inbox::default(),
            ended: false,
            stopped: false,
            base: Books::default(),
            places: Vec::new(),
            limiter,
            seat: None,
            began: now,
            used: now,
            look: now,
            socket: false,
            unconfirmed: false,
        }
    }

    pub(crate) fn id(&self) -> FlowId {
        self.open.flow
    }

    /// One datagram out and at most one answer: a question of the DNS kind.
    pub(crate) fn one_shot(&self) -> bool {
        let (out, back) = if self.ours {
            (self.books.accepted, self.books.processed)
        } else {
            (self.books.processed, self.books.accepted)
        };
        out <= 1 && back <= 1
    }

    /// Whether both directions are over and every datagram is accounted for.
    pub(crate) fn over(&self) -> bool {
        matches!(self.out, Direction::Done(_)) && self.ended
    }

    /// What the remote is told of this direction when it ends: the part that this session carried.
    pub(crate) fn totals(&self) -> Totals {
        let (all, before) = (&self.books, &self.base);
        Totals {
            accepted: all.accepted - before.accepted,
            acknowledged: all.acknowledged - before.acknowledged,
            dropped: all.dropped.total() - before.dropped.total(),
        }
    }

    pub(crate) fn code(&self) -> Code {
        match self.out {
            Direction::Open => Code::Done,
            Direction::Closing(code) | Direction::Closed(code) | Direction::Done(code) => code,
        }
    }

    /// Drops what is held, and counts it.
    pub(crate) fn empty_inbox(&mut self, reason: DropReason) -> u64 {
        let count = (self.inbox.held.len() + self.inbox.finding.len()) as u64;
        self.books.refused.add(reason, count);
        self.inbox.held = VecDeque::new();
        self.inbox.finding = VecDeque::new();
        self.inbox.bytes = 0;
        count
    }
}

impl Inbox {
    pub(crate) fn len(&self) -> usize {
        self.held.len() + self.finding.len()
    }

    pub(crate) fn push(&mut self, mut inbound: Inbound) {
        if self.blocked {
            inbound.payload = Bytes::copy_from_slice(&inbound.payload);
        }
        self.bytes += inbound.payload.len();
        self.held.push_back(inbound);
    }

    pub(crate) fn push_finding(&mut self, address: Address, mut inbound: Inbound) {
        inbound.payload = Bytes::copy_from_slice(&inbound.payload);
        self.bytes += inbound.payload.len();
        self.finding.push_back((address, inbound));
    }

    /// What waits for its socket is copied out of the messages it came in, which are much larger.
    pub(crate) fn block(&mut self) {
        self.blocked = true;
        for inbound in &mut self.held {
            inbound.payload = Bytes::copy_from_slice(&inbound.payload);
        }
    }

    /// Takes the oldest datagram out, with the name of its destination if that is still looked for.
    pub(crate) fn pop(&mut self) -> Option<(Option<Address>, Inbound)> {
        let held = self.held.pop_front().map(|inbound| (None, inbound));
        let (name, inbound) = held.or_else(|| self.finding.pop_front().map(|(name, inbound)| (Some(name), inbound)))?;
        self.bytes -= inbound.payload.len();
        Some((name, inbound))
    }
}

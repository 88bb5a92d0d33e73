//! What a session holds at the moment, for status pages and for tests of its laws.

use std::net::SocketAddr;
use std::time::Instant;

use super::flow::{Books, Direction, PlaceState, Treatment};
use super::queue::Slot;
use super::{Flow, Session};
use crate::wire::{Address, FlowId, Ordinal, TunnelId};

/// What a session holds at the moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Every flow, by the order of its place in the table.
    pub flows: Vec<FlowReport>,
    /// The links that carry it, oldest first.
    pub links: Vec<LinkReport>,
    /// Links that ended and of which one side still owes a count.
    pub ended: Vec<Ordinal>,
    /// Dials that have not been welcomed.
    pub dialling: Vec<Ordinal>,
    /// Datagrams queued and not yet cut into batches.
    pub queued: u64,
    /// Bytes of storage for what is queued.
    pub queued_bytes: usize,
    /// Batches cut and not resolved.
    pub unresolved: u64,
    /// Bytes of storage for them.
    pub unresolved_bytes: usize,
    /// Controls that wait to be cut into a batch.
    pub controls: usize,
}

/// What one flow holds at the moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FlowReport {
    /// Which flow.
    pub id: FlowId,
    /// Whether this side opened it.
    pub opened_here: bool,
    /// Its books, both directions.
    pub books: Books,
    /// The books when the present session began.
    pub base: Books,
    /// Datagrams queued and not yet cut.
    pub queued: u64,
    /// Datagrams taken from the remote and not yet delivered.
    pub held: u64,
    /// Bytes of those.
    pub held_bytes: usize,
}

/// How one flow is, for whoever watches: a snapshot.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FlowState {
    /// Whose it is. The id is the client's, on both sides.
    pub tunnel: TunnelId,
    /// Whether the remote opened it.
    pub by_remote: bool,
    /// Who began it, on whichever side that was. A flow opened by hand has none.
    pub source: Option<SocketAddr>,
    /// Where its datagrams go, as the tunnel or the opener names it. At the listener of a reverse tunnel
    /// nobody knows.
    pub destination: Option<Address>,
    /// The address of the destination, where the flow has its socket here and that is found and allowed.
    pub reaches: Option<SocketAddr>,
    /// How its datagrams are treated.
    pub treatment: Treatment,
    /// When it began, here.
    pub opened: Instant,
    /// When a datagram last came, from either side.
    pub active: Instant,
    /// Whether it takes no more: its end is on its way.
    pub closing: bool,
    /// Datagrams that wait to be sent.
    pub queued: u64,
    /// Their bytes, as counted against the cap of the queue: more than their payload.
    pub queued_bytes: u64,
    /// Datagrams from the remote that wait for a name or for their socket.
    pub held: u64,
    /// What was counted. A datagram that the flow did not take at all, too large or too late, is counted in
    /// [`Counters`](crate::stats::Counters) alone.
    pub books: Books,
}

impl FlowReport {
    /// Whether everything this side accepted is somewhere, and nothing is in two places.
    pub fn sender_balances(&self) -> bool {
        let books = &self.books;
        let known = books.acknowledged + books.dropped.total() + self.queued + books.in_flight + books.in_doubt;
        books.accepted == known
    }

    /// Whether everything this side processed is somewhere, and nothing is in two places.
    pub fn receiver_balances(&self) -> bool {
        self.books.processed == self.books.delivered + self.books.refused.total() + self.held
    }
}

/// What one link carries at the moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkReport {
    /// Which link.
    pub ordinal: Ordinal,
    /// Its window.
    pub window: usize,
    /// Bytes on it that are not acknowledged.
    pub unacked: usize,
    /// Whether it is suspect.
    pub suspect: bool,
    /// Batches ever sent on it.
    pub sent: u64,
    /// Batches processed from it.
    pub processed: u64,
}

impl Session {
    /// How a flow is.
    pub fn flow(&self, id: FlowId) -> Option<FlowState> {
        let slot = self.flows.slot(id)?;
        let flow = self.flows.at(slot)?;
        let open = &flow.open;
        let place = flow.places.first();
        Some(FlowState {
            tunnel: open.tunnel,
            by_remote: !flow.ours,
            source: open.source,
            destination: open.destination.clone().or_else(|| place.map(|place| place.address.clone())),
            reaches: place.and_then(|place| match place.state {
                PlaceState::At(at) => Some(at),
                PlaceState::Finding | PlaceState::Denied(_) => None,
            }),
            treatment: Treatment { class: open.class, copies: open.copies, spread: open.spread, idle: open.idle },
            opened: flow.began,
            active: flow.used,
            closing: flow.stopped || flow.out != Direction::Open,
            queued: self.queues.flow_len(slot) as u64,
            queued_bytes: self.queues.flow_bytes(slot) as u64,
            held: flow.inbox.len() as u64,
            books: flow.books,
        })
    }

    /// What it holds at the moment; walks over everything.
    pub fn report(&self) -> Report {
        let flow = |(slot, flow): (Slot, &Flow)| FlowReport {
            id: flow.id(),
            opened_here: flow.ours,
            books: flow.books,
            base: flow.base,
            queued: self.queues.flow_len(slot) as u64,
            held: flow.inbox.len() as u64,
            held_bytes: flow.inbox.bytes,
        };
        let links = self.links.live.iter().map(|link| LinkReport {
            ordinal: link.ordinal,
            window: link.window.size(),
            unacked: link.window.unacked(),
            suspect: link.suspect.is_some(),
            sent: link.sent_count,
            processed: link.owed.processed,
        });
        let flows: Vec<FlowReport> = self.flows.iter().map(flow).collect();
        Report {
            queued: flows.iter().map(|flow| flow.queued).sum(),
            flows,
            links: links.collect(),
            ended: self.links.ended.keys().copied().collect(),
            dialling: self.links.dialling.iter().copied().collect(),
            queued_bytes: self.queues.held(),
            unresolved: self.unresolved.iter().count() as u64,
            unresolved_bytes: self.unresolved.bytes(),
            controls: self.controls.len(),
        }
    }
}

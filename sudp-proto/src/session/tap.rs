//! A tap: what becomes of each datagram at this end, for whoever wants to see it.
//!
//! Off, it costs one branch. On, every datagram leaves a record when it is taken, delivered or dropped, with as
//! much of its payload as was asked for. Records wait in a bounded queue: what does not fit is missed and counted,
//! and the datagrams themselves know nothing of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::Session;
use super::flow::{Flow, Inbound, PlaceState};
use super::flows::Flows;
use super::queue::{Dropped, Slot};
use crate::stats::DropReason;
use crate::wire::{Address, FlowId, Records, TunnelId};

/// How much is kept of what a tap sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TapOptions {
    /// So many bytes of each payload; 0 for none.
    pub snap: usize,
    /// Records that wait to be asked for.
    pub records: usize,
    /// Bytes of their payloads.
    pub bytes: usize,
}

impl Default for TapOptions {
    fn default() -> Self {
        Self { snap: 65_535, records: 4_096, bytes: 4 << 20 }
    }
}

/// What a tap saw of one datagram. A datagram that was taken here and is dropped later leaves two.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TapRecord {
    /// When, to the last time that the session was told of.
    pub at: Instant,
    /// Its flow; one that began none has none.
    pub flow: Option<FlowId>,
    /// The tunnel of the flow, where that is known.
    pub tunnel: Option<TunnelId>,
    /// Which way it goes.
    pub heading: Heading,
    /// Where it comes from, as far as is known at this end.
    pub source: Option<Address>,
    /// Where it goes, as far as is known at this end.
    pub destination: Option<Address>,
    /// How long its payload is.
    pub size: usize,
    /// What became of it.
    pub fate: Fate,
    /// The beginning of its payload.
    pub payload: Bytes,
    /// How many records before this one were missed, for want of room.
    pub missed: u64,
}

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Heading {
    /// From an application or a socket here to the remote.
    Out,
    /// From the remote to an application or a socket here.
    In,
}

/// What became of a datagram at this end.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fate {
    /// It was taken, to be sent to the remote.
    Taken,
    /// It was given to the application or the socket.
    Delivered,
    /// It was dropped.
    Dropped(DropReason),
}

/// A tap that is on.
#[derive(Debug)]
pub(crate) struct Tap {
    options: TapOptions,
    /// The last time heard of: not everything that is done with a datagram says when.
    now: Instant,
    records: VecDeque<TapRecord>,
    /// Bytes of their payloads.
    bytes: usize,
    missed: u64,
}

/// The address of a datagram on the side where its flow's socket is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spot<'a> {
    /// The flow's own destination.
    Own,
    At(SocketAddr),
    Named(&'a Address),
    /// One of the flow's destinations, by its place.
    Place(usize),
}

impl From<Option<SocketAddr>> for Spot<'_> {
    fn from(at: Option<SocketAddr>) -> Self {
        at.map_or(Self::Own, Self::At)
    }
}

impl<'a> From<Option<&'a Address>> for Spot<'a> {
    fn from(address: Option<&'a Address>) -> Self {
        address.map_or(Self::Own, Self::Named)
    }
}

/// Whose a datagram is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    /// It has no flow, and will get none.
    Source(TunnelId, SocketAddr),
    /// Its flow may be unknown.
    Flow(FlowId, Spot<'a>),
}

impl Session {
    /// Turns the tap on. One that is on already takes the new options, and keeps what it has.
    pub fn tap(&mut self, now: Instant, options: TapOptions) {
        match &mut self.tap {
            Some(tap) => tap.options = options,
            None => self.tap = Some(Box::new(Tap::new(now, options))),
        }
        self.queues.witness.get_or_insert_default();
    }

    /// Turns the tap off. What it holds is gone.
    pub fn untap(&mut self) {
        self.tap = None;
        self.queues.witness = None;
    }

    /// Takes the oldest record of the tap.
    pub fn poll_record(&mut self) -> Option<TapRecord> {
        self.tap.as_mut()?.pop()
    }

    /// Says what time it is, for what is done from here on.
    #[inline]
    pub(crate) fn set_tap_time(&mut self, now: Instant) {
        if let Some(tap) = &mut self.tap {
            tap.now = now;
        }
    }

    /// Something became of a datagram of a flow.
    #[inline]
    pub(crate) fn witness(&mut self, slot: Slot, heading: Heading, fate: Fate, spot: Spot<'_>, payload: &[u8]) {
        if let Some(tap) = &mut self.tap
            && let Some(flow) = self.flows.at(slot)
        {
            tap.see(flow, heading, fate, spot, payload);
        }
    }

    /// A datagram was dropped, perhaps of nobody's flow.
    pub(crate) fn witness_loss(&mut self, whose: Whose<'_>, heading: Heading, reason: DropReason, payload: &[u8]) {
        if let Some(tap) = &mut self.tap {
            tap.see_loss(&self.flows, whose, heading, reason, payload);
        }
    }

    /// Everything that a flow holds to be delivered is about to be dropped.
    pub(crate) fn witness_inbox(&mut self, slot: Slot, reason: DropReason) {
        let (Some(tap), Some(flow)) = (&mut self.tap, self.flows.at(slot)) else { return };
        tap.see_inbox(flow, reason);
    }

    /// A batch is given up, with every datagram in it.
    pub(crate) fn witness_batch(&mut self, body: &[u8], reason: DropReason) {
        if let Some(tap) = &mut self.tap {
            tap.see_records(&self.flows, body, reason);
        }
    }

    /// The queues dropped a datagram, and it is the first of those whose records they kept.
    pub(crate) fn witness_dropped(&mut self, dropped: Dropped) {
        if let Some(kept) = &mut self.queues.witness {
            let record: Vec<u8> = kept.drain(..dropped.bytes.min(kept.len())).collect();
            self.witness_batch(&record, dropped.reason);
        }
    }

    /// The queues dropped all that a flow had there; so many bytes they had kept before that.
    pub(crate) fn witness_cleared(&mut self, before: usize, reason: DropReason) {
        if let Some(kept) = &mut self.queues.witness {
            let records = kept.split_off(before);
            self.witness_batch(&records, reason);
        }
    }
}

impl Tap {
    fn new(now: Instant, options: TapOptions) -> Self {
        Self { options, now, records: VecDeque::new(), bytes: 0, missed: 0 }
    }

    fn pop(&mut self) -> Option<TapRecord> {
        let record = self.records.pop_front()?;
        self.bytes -= record.payload.len();
        Some(record)
    }

    fn see(&mut self, flow: &Flow, heading: Heading, fate: Fate, spot: Spot<'_>, payload: &[u8]) {
        let Some(kept) = self.keep(payload) else { return };
        let near = flow.open.source.map(Address::from);
        let far = address_of(flow, spot);
        // Towards the flow's destination it goes out where the flow was opened, and in at the other end.
        let there = flow.ours == (heading == Heading::Out);
        let (source, destination) = if there { (near, far) } else { (far, near) };
        self.put(TapRecord {
            flow: Some(flow.id()),
            tunnel: Some(flow.open.tunnel),
            source,
            destination,
            ..self.blank(heading, fate, payload, kept)
        });
    }

    fn see_loss(&mut self, flows: &Flows, whose: Whose<'_>, heading: Heading, reason: DropReason, payload: &[u8]) {
        let fate = Fate::Dropped(reason);
        if let Whose::Flow(id, spot) = whose
            && let Some(flow) = flows.get(id)
        {
            return self.see(flow, heading, fate, spot, payload);
        }
        let Some(kept) = self.keep(payload) else { return };
        let mut record = self.blank(heading, fate, payload, kept);
        match whose {
            Whose::Flow(id, _) => record.flow = Some(id),
            Whose::Source(tunnel, source) => (record.tunnel, record.source) = (Some(tunnel), Some(source.into())),
        }
        self.put(record);
    }

    /// What is written for the remote, and will not be read by it.
    fn see_records(&mut self, flows: &Flows, body: &[u8], reason: DropReason) {
        let mut records = Records::new(Bytes::copy_from_slice(body));
        while let Ok(Some(record)) = records.next() {
            if record.flow != FlowId::CONTROL {
                let whose = Whose::Flow(record.flow, record.address.as_ref().into());
                self.see_loss(flows, whose, Heading::Out, reason, &record.payload);
            }
        }
    }

    pub(crate) fn see_inbox(&mut self, flow: &Flow, reason: DropReason) {
        let (held, finding) = (flow.inbox.held.iter(), flow.inbox.finding.iter());
        let held = held.map(|inbound| (Spot::from(inbound.address), inbound));
        let finding = finding.map(|(address, inbound)| (Spot::Named(address), inbound));
        for (spot, Inbound { payload, .. }) in held.chain(finding) {
            self.see(flow, Heading::In, Fate::Dropped(reason), spot, payload);
        }
    }

    /// How much of a payload is kept; none if there is no room for another record.
    fn keep(&mut self, payload: &[u8]) -> Option<usize> {
        let kept = payload.len().min(self.options.snap);
        if self.records.len() < self.options.records && self.bytes + kept <= self.options.bytes {
            return Some(kept);
        }
        self.missed += 1;
        None
    }

    fn blank(&self, heading: Heading, fate: Fate, payload: &[u8], kept: usize) -> TapRecord {
        TapRecord {
            at: self.now,
            flow: None,
            tunnel: None,
            heading,
            source: None,
            destination: None,
            size: payload.len(),
            fate,
            payload: Bytes::copy_from_slice(&payload[..kept]),
            missed: self.missed,
        }
    }

    fn put(&mut self, record: TapRecord) {
        self.missed = 0;
        self.bytes += record.payload.len();
        self.records.push_back(record);
    }
}

fn address_of(flow: &Flow, spot: Spot<'_>) -> Option<Address> {
    let place = match spot {
        Spot::At(at) => return Some(at.into()),
        Spot::Named(address) => return Some(address.clone()),
        Spot::Own => 0,
        Spot::Place(place) => place,
    };
    match flow.places.get(place) {
        Some(place) => match place.state {
            PlaceState::At(at) => Some(at.into()),
            PlaceState::Finding | PlaceState::Denied(_) => Some(place.address.clone()),
        },
        None => flow.open.destination.clone(),
    }
}

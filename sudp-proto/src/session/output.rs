//! What leaves: which batch a link carries next, and the message around it.

use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};

use super::Session;
use super::links::{Live, Sent};
use super::queue::{Draft, Dropped, Kind, Lane, Moment};
use super::recv::clock_at;
use super::send::{Batch, Share};
use crate::event::Event;
use crate::stats::DropReason;
use crate::wire::{Ack, Class, Code, Control, Frame, Number, Ordinal};

/// The payload of one WebSocket message, in two parts to save a copy.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Frames, up to the records of a batch.
    pub head: &'a [u8],
    /// The records of the batch, if there is one.
    pub body: &'a [u8],
}

impl Message<'_> {
    /// Its length.
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Whether there is nothing in it; there always is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Both parts as one.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.len());
        bytes.put_slice(self.head);
        bytes.put_slice(self.body);
        bytes.freeze()
    }
}

/// Storage for what is being put together.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    head: Vec<u8>,
    draft: Draft,
    pub(crate) record: Vec<u8>,
}

impl Scratch {
    pub(crate) fn held(&self) -> usize {
        self.head.capacity() + self.record.capacity() + self.draft.bytes.capacity()
    }
}

impl Session {
    /// The next message for a link, or none if there is nothing to say or no room for it.
    ///
    /// `room` is how many bytes the link would take without queueing them itself; with any, a whole
    /// batch may come. Frames that keep the session alive come even without room. What one link takes may
    /// leave something to another, so all are asked again until none has any.
    pub fn poll_message(&mut self, now: Instant, ordinal: Ordinal, room: usize) -> Option<Message<'_>> {
        self.awake = now;
        let index = self.links.index(ordinal)?;
        let carried = if room > 0 && !self.closed() { self.choose(now, index) } else { None };
        // Choosing may find that the session cannot go on; then nothing but the CLOSE leaves.
        let carried = carried.filter(|_| !self.closed());
        self.scratch.head.clear();
        let link = self.links.live.get_mut(index)?;
        let due = link.owed.wants_out(now, self.limits.ack_delay);
        if carried.is_none() && link.frames.is_empty() && !due {
            return None;
        }
        if let Some((count, delay)) = link.owed.ride(now) {
            Ack { count, delay }.emit(&mut self.scratch.head);
        }
        while let Some(frame) = link.frames.pop_front() {
            frame.emit(&mut self.scratch.head);
        }
        self.counters.messages_out += 1;
        let body = match carried {
            Some(number) => {
                self.carry(now, index, number);
                self.unresolved.get(number).map_or(&[][..], |batch| &batch.body)
            }
            None => &[],
        };
        Some(Message { head: &self.scratch.head, body })
    }

    /// Whether [`poll_message`](Self::poll_message) may have something for this link, at the price of a look.
    pub fn has_message(&self, now: Instant, ordinal: Ordinal) -> bool {
        let Some(link) = self.links.get(ordinal) else { return false };
        !link.frames.is_empty()
            || link.owed.wants_out(now, self.limits.ack_delay)
            || (link.window.room() > 0 && (self.queues.waiting(link.lane) || !self.controls.is_empty()))
    }

    /// Puts a batch on a link: counts it, and writes what stands before its records.
    fn carry(&mut self, now: Instant, index: usize, number: Number) {
        let Some(link) = self.links.live.get_mut(index) else { return };
        let suspect = link.suspect.is_some();
        let Some(batch) = self.unresolved.get_mut(number) else { return };
        let bytes = batch.body.len() + BATCH_HEAD;
        if !batch.carriers.is_empty() {
            self.counters.batches_resent += 1;
        }
        batch.carriers.push(link.ordinal);
        let stamp = link.window.on_sent(now, bytes);
        link.sent.push_back(Sent { number, bytes, at: now, stamp });
        link.sent_count += 1;
        link.crowded = None;
        if link.window.asks() {
            Frame::Ask.emit(&mut self.scratch.head);
        }
        batch.head(number).emit(batch.body.len(), &mut self.scratch.head);
        if suspect {
            self.unresolved.orphan(number);
        } else {
            self.unresolved.adopt(number);
        }
        self.counters.batches_out += 1;
    }

    /// The one resend rule, and what comes between its parts.
    fn choose(&mut self, now: Instant, index: usize) -> Option<Number> {
        let link = self.links.live.get_mut(index)?;
        if link.window.room() == 0 || (link.alone && !link.sent.is_empty()) {
            if self.queues.waiting(link.lane) {
                link.crowded.get_or_insert(now);
            } else if self.controls.is_empty() && self.unresolved.orphan_after(0).is_none() && link.copies.is_empty() {
                link.window.on_idle();
            }
            return None;
        }
        link.alone = false;
        let (ordinal, usable) = (link.ordinal, link.suspect.is_none() || !self.healthy());
        if usable {
            match self.repeat(now, index) {
                Repeat::Batch(number) => return Some(number),
                Repeat::Nothing => {}
                Repeat::Wait => return None,
            }
        }
        if let Some(number) = self.cut(now, index) {
            return Some(number);
        }
        if usable
            && self.take_in(now, index)
            && let Some(number) = self.cut(now, index)
        {
            return Some(number);
        }
        if let Some(link) = self.links.live.get_mut(index) {
            link.window.on_idle();
        }
        if usable { self.unresolved.overdue_for(now, ordinal) } else { None }
    }

    /// Takes in the flows of a link that had no room for a round trip, while this one has.
    fn take_in(&mut self, now: Instant, index: usize) -> bool {
        let crowded = |(other, link): (usize, &Live)| {
            let patience = link.window.srtt()?;
            let since = link.crowded.filter(|since| now.saturating_duration_since(*since) > patience)?;
            (other != index && since <= now && self.queues.waiting(link.lane)).then_some(other)
        };
        let Some(other) = self.links.live.iter().enumerate().find_map(crowded) else { return false };
        let Some(link) = self.links.live.get_mut(other) else { return false };
        link.crowded = None;
        let lane = link.lane;
        self.leave_home(lane);
        true
    }

    /// What goes before fresh datagrams: what would stall the session, copies, and what no sound link holds.
    fn repeat(&mut self, now: Instant, index: usize) -> Repeat {
        let Some(ordinal) = self.links.live.get(index).map(|link| link.ordinal) else { return Repeat::Nothing };
        if let Some(number) = self.unresolved.straggler()
            && self.unresolved.get(number).is_some_and(|batch| !batch.carriers.contains(&ordinal))
        {
            return Repeat::Batch(number);
        }
        match self.orphan(now, index, ordinal) {
            Repeat::Nothing => {}
            found @ (Repeat::Batch(_) | Repeat::Wait) => return found,
        }
        while let Some(number) = self.links.live.get_mut(index).and_then(|link| link.copies.pop_front()) {
            if self
                .unresolved
                .get(number)
                .is_some_and(|batch| !batch.carriers.contains(&ordinal) && !batch.unwanted(now))
            {
                return Repeat::Batch(number);
            }
        }
        Repeat::Nothing
    }

    /// The oldest batch that no sound link holds. One that links die under travels with nothing beside it.
    fn orphan(&mut self, now: Instant, index: usize, ordinal: Ordinal) -> Repeat {
        let mut reach = 0;
        while let Some(number) = self.unresolved.orphan_after(reach) {
            let Some(batch) = self.unresolved.get(number) else {
                self.unresolved.adopt(number);
                continue;
            };
            if batch.unwanted(now) {
                self.give_up(now, number);
                continue;
            }
            if batch.carriers.contains(&ordinal) {
                // It waits for another link: this one is suspect and holds it already.
                reach += 1;
                if reach < ORPHAN_REACH { continue } else { break }
            }
            let alone = batch.strikes >= Batch::ALONE;
            let Some(link) = self.links.live.get_mut(index) else { break };
            if alone && !link.sent.is_empty() {
                return Repeat::Wait;
            }
            link.alone = alone;
            return Repeat::Batch(number);
        }
        Repeat::Nothing
    }

    /// Nobody wants this batch any more: drops it if the remote certainly did not process it, else
    /// leaves it until final counts tell.
    pub(crate) fn give_up(&mut self, now: Instant, number: Number) {
        self.unresolved.adopt(number);
        let Some(batch) = self.unresolved.get(number) else { return };
        if !batch.unwanted(now) || !self.links.certain(&batch.carriers) {
            return;
        }
        let reason = if batch.poisoned() { DropReason::Poison } else { DropReason::Stale };
        if batch.poisoned() {
            if batch.class == Class::Control {
                self.fail(now, Code::Poison);
                return;
            }
            self.event(Event::Poisoned { number });
        }
        self.resolve(now, number, Some(reason));
    }

    /// Cuts a batch of what waits, controls first.
    fn cut(&mut self, now: Instant, index: usize) -> Option<Number> {
        if !self.unresolved.may_cut() || self.unresolved.bytes() >= self.limits.unresolved {
            return None;
        }
        // Controls are few and bounded, and may be what gives memory back.
        if !self.controls.is_empty() {
            return Some(self.cut_controls(now));
        }
        if self.drain.holds_data() || !self.affords_batch() {
            return None;
        }
        let link = self.links.live.get(index)?;
        let (lane, ordinal) = (link.lane, link.ordinal);
        if !self.queues.waiting(lane) {
            return None;
        }
        let lanes = [lane, Lane::ANY];
        let lanes = if self.links.better_than(index) { &lanes[..1] } else { &lanes[..] };
        let target = link.window.batch_target(self.largest_batch());
        let at = self.activity.moment(now, &self.links);
        let mut lost = Vec::new();
        let kind = self.draft(at, lanes, target, &mut lost);
        let number = kind.map(|kind| self.pack(now, ordinal, lane, kind));
        // Only now: a flow whose last datagrams lie in the draft has nothing queued and nothing in
        // flight, and must not be closed for that.
        if !lost.is_empty() {
            lost.into_iter().for_each(|dropped| self.count_dropped(dropped));
            self.settle_drain(now);
        }
        number
    }

    /// Fills the draft from the queues, each flow's OPEN before its first record until the remote has it.
    fn draft(&mut self, at: Moment, lanes: &[Lane], target: usize, lost: &mut Vec<Dropped>) -> Option<Kind> {
        let Self { queues, flows, scratch, .. } = self;
        scratch.draft.bytes.clear();
        scratch.draft.shares.clear();
        queues.cut(
            at,
            lanes,
            target,
            &mut scratch.draft,
            |slot, out| {
                if let Some(flow) = flows.at(slot)
                    && !flow.short
                {
                    Control::Open(Box::new(flow.open.clone())).emit_record(out);
                }
            },
            &mut |dropped| lost.push(dropped),
        )
    }

    /// Counts a datagram that the queues dropped.
    pub(crate) fn count_dropped(&mut self, dropped: Dropped) {
        self.witness_dropped(dropped);
        if let Some(flow) = self.flows.at_mut(dropped.slot) {
            flow.books.dropped.add(dropped.reason, 1);
        }
        self.counters.dropped_out.add(dropped.reason, 1);
        self.settle_close(dropped.slot);
    }

    /// Makes the draft a numbered batch, and settles whose it is and where its flows are at home.
    fn pack(&mut self, now: Instant, ordinal: Ordinal, lane: Lane, kind: Kind) -> Number {
        let draft = std::mem::take(&mut self.scratch.draft);
        let mut batch = self.unresolved.blank(kind.class, kind.copies, draft.bytes.len());
        batch.body.extend_from_slice(&draft.bytes);
        batch.stale = Some(now + self.age(kind.class));
        if kind.class == Class::Realtime {
            batch.clock = Some(clock_at(self.start, now));
        }
        for share in &draft.shares {
            let Some(flow) = self.flows.at_mut(share.slot) else { continue };
            flow.books.in_flight += u64::from(share.datagrams);
            batch.shares.push(Share {
                flow: flow.open.flow,
                datagrams: share.datagrams,
                long: !flow.short,
                close: false,
            });
            if flow.home == Lane::ANY && !flow.open.spread {
                flow.home = lane;
                self.queues.rehome(share.slot, lane);
            }
        }
        self.scratch.draft = draft;
        let number = self.unresolved.insert(batch);
        self.place_copies(number, Some(ordinal));
        number
    }

    /// Chooses links for the copies of a batch that are not placed, or whose link has ended; `first`
    /// is the link that a fresh batch goes on itself.
    pub(crate) fn place_copies(&mut self, number: Number, first: Option<Ordinal>) {
        let Some(batch) = self.unresolved.get(number) else { return };
        let wanted = usize::from(batch.copies);
        if wanted <= 1 {
            return;
        }
        let mut taken: Vec<Ordinal> = batch.carriers.iter().copied().chain(first).collect();
        let waiting = |link: &&Live| first.is_none() && !taken.contains(&link.ordinal) && link.copies.contains(&number);
        let waiting: Vec<Ordinal> = self.links.live.iter().filter(waiting).map(|link| link.ordinal).collect();
        taken.extend(waiting);
        let placed = taken.iter().filter(|ordinal| self.links.index(**ordinal).is_some() || Some(**ordinal) == first);
        for _ in placed.count()..wanted {
            let Some(link) = self.links.rotate(&taken).and_then(|chosen| self.links.live.get_mut(chosen)) else {
                return;
            };
            taken.push(link.ordinal);
            link.copies.push_back(number);
            if link.copies.len() > COPIES {
                link.copies.pop_front();
            }
        }
    }

    fn cut_controls(&mut self, _now: Instant) -> Number {
        let mut batch = self.unresolved.blank(Class::Control, 1, CONTROL_BATCH);
        while batch.body.len() < CONTROL_BATCH {
            let Some(control) = self.controls.pop_front() else { break };
            if let Control::Close(close) = &control {
                batch.shares.push(Share { flow: close.flow, datagrams: 0, long: false, close: true });
            }
            control.emit_record(&mut batch.body);
        }
        self.unresolved.insert(batch)
    }

    /// The age at which nobody wants a datagram of this class any more.
    pub(crate) fn age(&self, class: Class) -> Duration {
        match class {
            Class::Reliable => self.limits.reliable_age,
            Class::Realtime => self.limits.realtime_age,
            Class::Control => Duration::MAX,
        }
    }

    /// What fits in one message of the remote beside a full head.
    pub(crate) fn largest_batch(&self) -> usize {
        let message = usize::try_from(self.remote.message).unwrap_or(usize::MAX);
        message.saturating_sub(HEAD_RESERVE).min(BATCH)
    }
}

/// What the resend rule found.
enum Repeat {
    Batch(Number),
    Nothing,
    /// Something must go alone, and waits for the link to be empty.
    Wait,
}

/// One TLS record, with its seal, the WebSocket header and the frames before the records.
const BATCH: usize = 16_300;
/// What acknowledgements and the batch's own head may take of a message.
const HEAD_RESERVE: usize = 512;
/// Controls are few: a batch of them is cut at this size.
const CONTROL_BATCH: usize = 1_024;
/// How many orphans that this link holds already are passed over.
const ORPHAN_REACH: usize = 64;
/// Copies that wait for one link; the oldest is forgotten, since the first to arrive wins anyway.
const COPIES: usize = 8_192;
/// What a batch's own head counts for in a window.
const BATCH_HEAD: usize = 16;

//! What arrives on a link: frames, acknowledgements, batches.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::tap::{Heading, Spot, Whose};
use super::{Phase, Role, Session};
use crate::error::Violation;
use crate::event::{Event, LinkLoss};
use crate::stats::DropReason;
use crate::wire::{Ack, BatchHead, Class, Code, Control, FlowId, Frame, Number, Ordinal, Record, Records, next_frame};

/// A record as it was read, before anything is done with it.
#[derive(Debug)]
pub(crate) enum Taken {
    Control(Control),
    Datagram(Record),
}

impl Session {
    /// A message arrived on a link. What breaks the protocol ends that link.
    pub fn handle_message(&mut self, now: Instant, ordinal: Ordinal, mut message: Bytes) {
        self.set_tap_time(now);
        let Some(link) = self.links.get_mut(ordinal).filter(|_| !matches!(self.phase, Phase::Closed(_))) else {
            return;
        };
        link.heard = now;
        if !link.proven {
            link.proven = true;
            // It answers our welcome.
            link.trip = Some(now.saturating_duration_since(link.since));
            self.prove(now, ordinal);
        }
        self.counters.messages_in += 1;
        let mut asked = false;
        loop {
            let frame = match next_frame(&mut message) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(violation) => return self.offend(now, ordinal, violation),
            };
            if let Frame::Ask | Frame::Ping(_) = frame {
                asked = true;
            }
            if let Err(violation) = self.handle_frame(now, ordinal, frame) {
                return self.offend(now, ordinal, violation);
            }
            if self.links.index(ordinal).is_none() || self.closed() {
                return;
            }
        }
        if let Some(link) = self.links.get_mut(ordinal).filter(|_| asked) {
            link.owed.handle_ask();
        }
    }

    fn handle_frame(&mut self, now: Instant, ordinal: Ordinal, frame: Frame) -> Result<(), Violation> {
        match frame {
            Frame::Ack(ack) => self.handle_ack(now, ordinal, ack)?,
            Frame::Ask => {}
            Frame::Batch(head, records) => self.handle_batch(now, ordinal, head, records)?,
            Frame::Close(close) => self.handle_close(now, &close),
            Frame::GoAway(go_away) => self.handle_go_away(now, go_away),
            Frame::LinkDown(down) => self.handle_link_down(now, ordinal, down)?,
            Frame::Ping(number) => {
                if let Some(link) = self.links.get_mut(ordinal) {
                    // One answer is enough however many PINGs came at once: it proves the same.
                    link.frames.retain(|frame| !matches!(frame, Frame::Pong(_)));
                    link.frames.push_back(Frame::Pong(number));
                }
            }
            Frame::Pong(number) => self.handle_pong(now, ordinal, number),
            Frame::Settled => self.handle_settled(now),
            Frame::Hello(_) | Frame::Refuse(_) | Frame::Welcome(_) => {
                return Err(Violation::new(Code::Malformed, "a frame that only begins a link"));
            }
        }
        Ok(())
    }

    fn handle_ack(&mut self, now: Instant, ordinal: Ordinal, ack: Ack) -> Result<(), Violation> {
        let Some(link) = self.links.get_mut(ordinal) else { return Ok(()) };
        let known = link.acknowledged();
        if ack.count > link.sent_count {
            return Err(Violation::new(Code::Count, "acknowledged more than was sent"));
        }
        if ack.count < known {
            return Err(Violation::new(Code::Count, "acknowledged less than before"));
        }
        if ack.count == known {
            return Ok(());
        }
        let fresh = usize::try_from(ack.count - known).unwrap_or(usize::MAX).min(link.sent.len());
        if let Some(newest) = link.sent.get(fresh - 1) {
            link.window.on_acked(now, newest.stamp, ack.delay);
        }
        link.beat.handle_ack(now);
        link.overdue = link.overdue.saturating_sub(fresh);
        self.progress(now, ordinal);
        for _ in 0..fresh {
            let Some(sent) = self.links.get_mut(ordinal).and_then(|link| link.sent.pop_front()) else { break };
            self.proven_size = self.proven_size.max(sent.bytes);
            self.resolve(now, sent.number, None);
        }
        Ok(())
    }

    fn handle_pong(&mut self, now: Instant, ordinal: Ordinal, number: u64) {
        let Some(link) = self.links.get_mut(ordinal) else { return };
        if let Some(sent) = link.beat.handle_pong(now, number) {
            link.window.on_pong(now, sent);
            self.progress(now, ordinal);
        }
    }

    /// Something we sent on a link was read: it is not dead.
    pub(crate) fn progress(&mut self, now: Instant, ordinal: Ordinal) {
        // The clock of the queues is brought up to date by what held until now.
        self.activity.moment(now, &self.links);
        let Some(link) = self.links.get_mut(ordinal) else { return };
        link.progress = now;
        if link.suspect.take().is_some() {
            let held: Vec<Number> = link.sent.iter().map(|sent| sent.number).collect();
            for number in held {
                self.unresolved.adopt(number);
            }
            self.event(Event::LinkCleared { ordinal });
        }
    }

    fn handle_batch(
        &mut self,
        now: Instant,
        ordinal: Ordinal,
        head: BatchHead,
        records: Bytes,
    ) -> Result<(), Violation> {
        // Everything is read before anything is taken: a batch is taken whole or not at all.
        let mut taken = std::mem::take(&mut self.records);
        taken.clear();
        let read = read_records(self.role, head, records, &mut taken);
        if read.is_ok() {
            self.take_batch(now, ordinal, head, &mut taken);
        }
        taken.clear();
        self.records = taken;
        read
    }

    fn take_batch(&mut self, now: Instant, ordinal: Ordinal, head: BatchHead, taken: &mut Vec<Taken>) {
        if let Some(link) = self.links.get_mut(ordinal) {
            link.owed.handle_batch(now);
            link.beat.handle_data(now);
        }
        self.counters.batches_in += 1;
        self.queues.stir(now);
        if !self.seen.insert(head.number) {
            self.counters.duplicates += 1;
            return;
        }
        let late = head.clock.is_some_and(|clock| self.lateness(now, ordinal, clock) > self.limits.realtime_age);
        for record in taken.drain(..) {
            match record {
                Taken::Control(control) => self.handle_control(now, control),
                Taken::Datagram(record) => self.take_datagram(now, late, record),
            }
            // What ends the session ends the batch, even if a next session took its place.
            if self.closed() || self.links.index(ordinal).is_none() {
                return;
            }
        }
        // Answers wait while nothing is acknowledged; whoever asks on all the same is no friend.
        if self.controls.len() > 4 * (self.limits.flows + self.limits.tunnels) + CONTROLS {
            self.fail(now, Code::Limit);
        }
    }

    /// How long something below us held a batch. Links differ in length, so each is measured by its own
    /// least delay. What comes first on a link may have been held as well: it stands for the link only as
    /// far as that can be longer than the fastest one, which is by a round trip of its own.
    fn lateness(&mut self, now: Instant, ordinal: Ordinal, clock: u32) -> Duration {
        let least = self.late.least();
        let overall = self.late.handle_clock(now, self.start, clock);
        let Some(link) = self.links.get_mut(ordinal) else { return overall };
        let most = least.zip(link.longest()).map(|(least, trip)| {
            least.wrapping_add(u32::try_from(trip.as_millis()).unwrap_or(u32::MAX).min(u32::MAX / 4))
        });
        link.late.begin(now, self.start, clock, most);
        link.late.handle_clock(now, self.start, clock)
    }

    fn take_datagram(&mut self, now: Instant, late: bool, record: Record) {
        self.counters.processed += 1;
        let Some(slot) = self.flows.slot(record.flow) else {
            self.counters.dropped_in.add(DropReason::Closed, 1);
            let whose = Whose::Flow(record.flow, Spot::Own);
            self.witness_loss(whose, Heading::In, DropReason::Closed, &record.payload);
            return self.answer_unknown(now, record.flow);
        };
        let Some(flow) = self.flows.at_mut(slot) else { return };
        flow.books.processed += 1;
        flow.used = now;
        let first = flow.books.processed == 1;
        if !flow.one_shot() {
            self.flows.keep(slot);
        }
        if first {
            self.forgive(slot);
        }
        if late {
            self.refuse_datagram(slot, DropReason::Late, record.address.as_ref().into(), &record.payload);
            return;
        }
        self.deliver(now, slot, record);
    }

    /// A record of a flow that nobody opened: its sender is told to stop, but not for each.
    fn answer_unknown(&mut self, now: Instant, flow: FlowId) {
        let pause = self.links.live.iter().filter_map(|link| link.window.srtt()).min().unwrap_or(UNKNOWN_PAUSE);
        self.unknown.retain(|(_, at)| now.saturating_duration_since(*at) < pause);
        if self.unknown.iter().any(|(answered, _)| *answered == flow) || self.unknown.len() >= UNKNOWN {
            return;
        }
        self.unknown.push_back((flow, now));
        self.control(Control::Closed(crate::wire::Closed { flow, code: Code::Unknown }));
    }

    /// The remote broke the protocol on a link.
    fn offend(&mut self, now: Instant, ordinal: Ordinal, violation: Violation) {
        self.counters.violations += 1;
        self.end_link(now, ordinal, LinkLoss::Violation(violation.code));
    }

    /// The remote spoke on a link for the first time: it knows that the link, and so the session, stands.
    fn prove(&mut self, now: Instant, ordinal: Ordinal) {
        self.establish();
        self.tell_final_counts(now, ordinal);
    }
}

fn read_records(role: Role, head: BatchHead, records: Bytes, taken: &mut Vec<Taken>) -> Result<(), Violation> {
    let mut records = Records::new(records);
    while let Some(record) = records.next()? {
        if record.flow == FlowId::CONTROL {
            let control = Control::parse(&record.payload)?;
            if let Control::Open(open) = &control
                && !role.remote_may_open(open.flow)
            {
                return Err(Violation::new(Code::Malformed, "an OPEN with an id that is not the sender's to give"));
            }
            taken.push(Taken::Control(control));
        } else if head.class == Class::Control {
            return Err(Violation::new(Code::Malformed, "a datagram among controls"));
        } else {
            taken.push(Taken::Datagram(record));
        }
    }
    Ok(())
}

/// Controls that may wait beside those of every flow and tunnel, opened and refused.
const CONTROLS: usize = 1_024;
/// Unknown flows answered within one round trip.
const UNKNOWN: usize = 64;
/// That round trip, before one was measured.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(100);

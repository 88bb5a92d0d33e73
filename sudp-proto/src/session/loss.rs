//! Losing a session: what moves to the next one, and of what nobody will ever know.

use std::time::Instant;

use bytes::Bytes;

use super::drain::Drain;
use super::flow::Direction;
use super::links::Links;
use super::queue::Lane;
use super::recv::{Lateness, Seen};
use super::renewal::Renewal;
use super::send::Batch;
use super::tap::{Fate, Heading};
use super::tunnels::InDoubt;
use super::{Gone, Need, Phase, Role, Session};
use crate::event::{Event, LinkLoss};
use crate::stats::DropReason;
use crate::wire::{Code, FlowId, Records};

impl Session {
    /// The server does not have this session any more: begins a new one in its place.
    ///
    /// Our own flows live on and open themselves anew. What was never sent, or certainly not
    /// processed, goes with them; what is in doubt is dropped or sent again, as its tunnel wants.
    /// Flows that the server opened are over.
    pub fn lose(&mut self, now: Instant, code: Code) {
        self.lose_to(now, code, LinkLoss::GivenUp, None);
    }

    /// Why the session was lost, if it was since this was last asked, and for how long the remote then
    /// asked not to be dialled.
    #[cfg(feature = "driver")]
    pub(crate) fn take_lost(&mut self) -> Option<(Code, std::time::Duration)> {
        self.lost.take()
    }

    /// Loses the session; its links end for this reason, and with these words if there are any.
    pub(crate) fn lose_to(&mut self, now: Instant, code: Code, why: LinkLoss, farewell: Option<Code>) {
        if self.closed() || self.role == Role::Server {
            return;
        }
        self.set_tap_time(now);
        let away = self.drain.away_for();
        let batches = self.unresolved.restart();
        let doubtful: Vec<bool> = batches.iter().map(|batch| !self.links.certain(&batch.carriers)).collect();
        self.forget_session(why, farewell);
        let mut in_doubt = 0;
        for (batch, doubtful) in batches.into_iter().zip(doubtful) {
            in_doubt += self.move_over(now, batch, doubtful);
        }
        self.counters.in_doubt += in_doubt;
        self.end_remote_flows(code);
        self.reopen_flows();
        self.rebind();
        self.lost = Some((code, away));
        self.event(Event::Lost { code, in_doubt });
    }

    /// Everything that belongs to the lost session and not to what it carried.
    fn forget_session(&mut self, why: LinkLoss, farewell: Option<Code>) {
        self.first_window = self.links.live.first().map_or(self.first_window, |link| link.window.heir());
        let live = self.links.live.iter().map(|link| (link.ordinal, link.proven_by_remote()));
        let dialling = self.links.dialling.iter().map(|ordinal| (*ordinal, false));
        let open = live.chain(dialling);
        self.gone.extend(open.map(|(ordinal, proven)| Gone { ordinal, why, proven, farewell }));
        self.links = Links::new();
        self.id = None;
        self.secret = None;
        self.phase = Phase::Fresh;
        self.detached = None;
        self.seen = Seen::new();
        self.late = Lateness::default();
        self.drain = Drain::default();
        self.controls.clear();
        self.renewal = Renewal::default();
        self.unknown.clear();
        self.identity.incarnation.1 += 1;
    }

    /// Puts the datagrams of a batch back into the queues, unless they are in doubt and their tunnel
    /// would rather lose than double them. Says how many are in doubt.
    fn move_over(&mut self, now: Instant, batch: Batch, doubtful: bool) -> u64 {
        for share in &batch.shares {
            if let Some(flow) = self.flows.get_mut(share.flow) {
                flow.books.in_flight -= u64::from(share.datagrams);
            }
        }
        let mut in_doubt = 0;
        let mut records = Records::new(Bytes::from(batch.body));
        while let Ok(Some(record)) = records.next() {
            if record.flow == FlowId::CONTROL {
                continue;
            }
            let Some(slot) = self.flows.slot(record.flow) else { continue };
            let Some(flow) = self.flows.at_mut(slot) else { continue };
            let resend = self.tunnels.in_doubt(flow.open.tunnel) == InDoubt::Resend;
            if doubtful && (!resend || !flow.ours) {
                flow.books.in_doubt += 1;
                in_doubt += 1;
                let (spot, fate) = (record.address.as_ref().into(), Fate::Dropped(DropReason::InDoubt));
                self.witness(slot, Heading::Out, fate, spot, &record.payload);
            } else {
                self.enqueue(now, slot, record.address.as_ref(), record.extension, &record.payload);
            }
        }
        in_doubt
    }

    /// Flows that the lost server opened are gone there, with their sources.
    fn end_remote_flows(&mut self, code: Code) {
        for slot in self.flows.slots() {
            if self.flows.at(slot).is_some_and(|flow| !flow.ours) {
                self.drop_queue(slot, DropReason::Closed);
                self.remove_flow(slot, code);
            }
        }
    }

    /// Our own flows are unknown to the next server: each opens itself with its first datagram there.
    fn reopen_flows(&mut self) {
        for slot in self.flows.slots() {
            let Some(flow) = self.flows.at_mut(slot) else { continue };
            flow.short = false;
            flow.home = Lane::ANY;
            flow.ended = false;
            flow.base = flow.books;
            self.queues.rehome(slot, Lane::ANY);
            match flow.out {
                Direction::Open => {}
                // The far end knows nothing of it, so there is nobody to tell.
                Direction::Closing(code) | Direction::Closed(code) | Direction::Done(code) => {
                    self.drop_queue(slot, DropReason::Closed);
                    self.remove_flow(slot, code);
                }
            }
        }
    }

    /// The session is over: everything queued, held or under way is dropped and counted.
    pub(crate) fn abandon(&mut self) {
        for batch in self.unresolved.restart() {
            let certain = self.links.certain(&batch.carriers);
            self.witness_batch(&batch.body, if certain { DropReason::Closed } else { DropReason::InDoubt });
            for share in &batch.shares {
                let count = u64::from(share.datagrams);
                if certain {
                    self.counters.dropped_out.add(DropReason::Closed, count);
                } else {
                    self.counters.in_doubt += count;
                }
            }
        }
        let code = match self.phase {
            Phase::Closed(code) => code,
            Phase::Fresh | Phase::Provisional | Phase::Established => Code::Done,
        };
        for slot in self.flows.slots() {
            self.drop_queue(slot, DropReason::Closed);
            self.remove_flow(slot, code);
        }
        let bound: Vec<_> = self.tunnels.listening().collect();
        self.needs.extend(bound.into_iter().map(Need::Unlisten));
        self.controls.clear();
    }
}

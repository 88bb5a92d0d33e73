//! One flow's turn: its datagrams go into the batch, or are dropped for their age or their wait.

use std::time::Duration;

use super::arena::{Arena, Head};
use super::{Draft, Dropped, FlowSpec, Kind, Share, Slot, Tick, Ticks};
use crate::session::sched::Flow;
use crate::stats::{DropReason, QueueDelay};

/// A flow while it fills a batch.
pub(super) struct Turn<'a> {
    pub(super) tick: Tick,
    pub(super) flow: &'a mut Flow,
    pub(super) arena: &'a mut Arena,
    pub(super) patience: Ticks,
    pub(super) batch: u64,
    pub(super) delay: &'a mut QueueDelay,
    pub(super) witness: &'a mut Option<Vec<u8>>,
}

/// Why a flow's turn came to rest.
pub(super) enum Outcome {
    /// It has nothing left.
    Empty,
    /// The batch is full, or takes nothing of the flow's kind.
    Full,
    /// The others are next.
    Spent,
}

impl Turn<'_> {
    /// Puts datagrams into the draft until the turn, the backlog or the batch ends.
    pub(super) fn serve(
        &mut self,
        kind: &mut Option<Kind>,
        end: usize,
        draft: &mut Draft,
        prefix: &mut impl FnMut(Slot, &mut Vec<u8>),
        dropped: &mut impl FnMut(Dropped),
    ) -> Outcome {
        let Some(mut head) = self.fresh(dropped) else { return Outcome::Empty };
        let FlowSpec { class, copies, .. } = self.flow.spec;
        if kind.is_some_and(|kind| kind != Kind { class, copies }) {
            return Outcome::Full;
        }
        let mark = draft.bytes.len();
        if self.flow.batch != self.batch {
            prefix(self.flow.slot, &mut draft.bytes);
        }
        if kind.is_some() && draft.bytes.len() + head.len() > end {
            draft.bytes.truncate(mark);
            return Outcome::Full;
        }
        *kind = Some(Kind { class, copies });
        let share = self.share(draft);
        loop {
            self.take(&head, draft, share);
            if !self.flow.pay(head.cost()) {
                return Outcome::Spent;
            }
            match self.fresh(dropped) {
                Some(next) if draft.bytes.len() + next.len() <= end => head = next,
                Some(_) => return Outcome::Full,
                None => return Outcome::Empty,
            }
        }
    }

    /// The oldest datagram that is not dropped for its age or its wait.
    fn fresh(&mut self, dropped: &mut impl FnMut(Dropped)) -> Option<Head> {
        let Tick { now, active } = self.tick;
        while self.flow.backlog.datagrams > 0 {
            let head = self.arena.first(self.flow);
            let wait = active.saturating_sub(head.at.active);
            let last = self.flow.backlog.datagrams == 1;
            let reason = if now - head.at.now >= self.patience.age {
                DropReason::Age
            } else if self.flow.codel.judge(active, wait, last, self.patience.codel) {
                DropReason::Codel
            } else {
                return Some(head);
            };
            self.arena.discard(self.flow, self.witness);
            dropped(Dropped { slot: self.flow.slot, reason, bytes: head.len() });
        }
        None
    }

    /// Where the flow's share of this batch is.
    fn share(&mut self, draft: &mut Draft) -> usize {
        if self.flow.batch != self.batch {
            self.flow.batch = self.batch;
            self.flow.share = draft.shares.len();
            draft.shares.push(Share { slot: self.flow.slot, datagrams: 0, bytes: 0 });
        }
        self.flow.share
    }

    fn take(&mut self, head: &Head, draft: &mut Draft, share: usize) {
        draft.bytes.extend_from_slice(self.arena.record(head));
        let share = &mut draft.shares[share];
        share.datagrams += 1;
        share.bytes += head.len();
        self.delay.record(Duration::from_nanos(self.tick.now - head.at.now));
        self.arena.pop(self.flow);
    }
}

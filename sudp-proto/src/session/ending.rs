//! How links end, what final counts say, and what becomes of the batches they carried.

use std::time::Instant;

use super::links::Ended;
use super::queue::Lane;
use super::send::Batch;
use super::{Gone, Need, Phase, Role, Session};
use crate::error::Violation;
use crate::event::{Event, LinkLoss};
use crate::stats::DropReason;
use crate::wire::{Close, Code, Frame, LinkDown, Number, Ordinal};

impl Session {
    /// A link has ended, or a dial was given up. Nothing that comes from it later changes anything.
    pub fn detach(&mut self, now: Instant, ordinal: Ordinal, why: LinkLoss) {
        if self.links.dialling.remove(&ordinal) {
            self.links.ended.insert(ordinal, Ended::unused());
            self.gone.push_back(Gone { ordinal, why, proven: false, farewell: None });
            self.tell(ordinal);
        } else {
            self.end_link(now, ordinal, why);
        }
    }

    /// Ends a live link: fences it, says its final count, and lets others carry what it held.
    pub(crate) fn end_link(&mut self, now: Instant, ordinal: Ordinal, why: LinkLoss) {
        let Some(index) = self.links.index(ordinal) else { return };
        self.activity.moment(now, &self.links);
        let link = self.links.live.remove(index);
        self.first_window = link.window.heir();
        let proven = link.proven_by_remote();
        let open: Vec<Number> = link.sent.iter().map(|sent| sent.number).collect();
        self.strike(&link, why);
        let ended = Ended {
            ours: link.owed.processed,
            theirs: None,
            told: false,
            acknowledged: link.acknowledged(),
            open: open.clone(),
        };
        self.links.ended.insert(ordinal, ended);
        self.leave_home(link.lane);
        self.release(&open);
        for number in link.copies.into_iter().chain(open) {
            self.place_copies(number, None);
        }
        self.tell(ordinal);
        self.counters.links_ended += 1;
        self.gone.push_back(Gone { ordinal, why, proven, farewell: None });
        // That a session has ended says it of its links, and is its last word.
        if self.closed() {
            return;
        }
        self.event(Event::LinkEnded { ordinal, why });
        if self.links.live.is_empty() {
            self.detached = Some(now);
            self.event(Event::Detached);
        }
    }

    /// Batches that were under way when a link died in its first round trip: one of them may be why.
    fn strike(&mut self, link: &super::links::Live, why: LinkLoss) {
        let young = link.acknowledged() == 0;
        let by_the_path = matches!(why, LinkLoss::Ended | LinkLoss::Fenced);
        if !young || !by_the_path {
            return;
        }
        let proven = self.proven_size;
        let mut halve = None;
        for sent in &link.sent {
            let Some(batch) = self.unresolved.get_mut(sent.number) else { continue };
            batch.strikes += 1;
            // A message larger than any that ever passed is suspect for its size first.
            if batch.strikes >= Batch::ALONE && sent.bytes > proven {
                halve = Some(halve.unwrap_or(0).max(sent.bytes));
            }
        }
        if let Some(size) = halve {
            let limit = self.frame_limit.unwrap_or(size).min(size) / 2;
            if limit >= SMALLEST_FRAME {
                self.frame_limit = Some(limit);
                for sent in &link.sent {
                    if let Some(batch) = self.unresolved.get_mut(sent.number) {
                        batch.strikes = 0;
                    }
                }
            }
        }
    }

    /// Batches that a link held are sent again by others, unless another sound link holds them too.
    pub(crate) fn release(&mut self, numbers: &[Number]) {
        for &number in numbers {
            if self.unresolved.get(number).is_some_and(|batch| !self.links.held(&batch.carriers)) {
                self.unresolved.orphan(number);
            }
        }
    }

    /// Flows at home on this lane look for another.
    pub(crate) fn leave_home(&mut self, lane: Lane) {
        for slot in self.flows.slots() {
            if let Some(flow) = self.flows.at_mut(slot)
                && flow.home == lane
            {
                flow.home = Lane::ANY;
                self.queues.rehome(slot, Lane::ANY);
            }
        }
    }

    /// Says on every live link what is known of an ended one.
    fn tell(&mut self, ordinal: Ordinal) {
        let Some(ended) = self.links.ended.get(&ordinal) else { return };
        let down = Frame::LinkDown(LinkDown { ordinal, count: Some(ended.ours), known: ended.theirs.is_some() });
        for link in &mut self.links.live {
            link.frames.push_back(down.clone());
        }
    }

    /// Says on a link that has just become live what the remote may not know yet.
    pub(crate) fn tell_final_counts(&mut self, _now: Instant, ordinal: Ordinal) {
        let counts: Vec<_> = self.links.final_counts().collect();
        let Some(link) = self.links.get_mut(ordinal) else { return };
        for told in counts {
            let down = LinkDown { ordinal: told.ordinal, count: Some(told.count), known: told.known };
            link.frames.push_back(Frame::LinkDown(down));
        }
    }

    /// The remote says what it knows of a link: if we thought it alive, it no longer is.
    pub(crate) fn handle_link_down(&mut self, now: Instant, on: Ordinal, down: LinkDown) -> Result<(), Violation> {
        let ordinal = down.ordinal;
        if self.links.index(ordinal).is_some() || self.links.dialling.contains(&ordinal) {
            self.detach(now, ordinal, LinkLoss::Fenced);
        }
        if self.burn_unseen(now, ordinal).is_err() {
            return Ok(());
        }
        let news = match down.count {
            Some(count) => self.final_count(now, ordinal, count),
            None => self.forgotten_there(now, ordinal),
        };
        let Ok(news) = news else { return Ok(()) };
        if let Some(ended) = self.links.ended.get_mut(&ordinal) {
            ended.told |= down.known;
        }
        let known = self.links.ended.get(&ordinal);
        // Who still tells a count of a link that is forgotten here waits to hear that it has arrived.
        if down.count.is_some() && (news || !down.known || known.is_none()) {
            let answer = LinkDown {
                ordinal,
                count: known.map(|ended| ended.ours),
                known: known.is_none_or(|ended| ended.theirs.is_some()),
            };
            if let Some(link) = self.links.get_mut(on) {
                if link.frames.len() >= ANSWERS {
                    return Err(Violation::new(Code::Limit, "asks on although no answer was read"));
                }
                link.frames.push_back(Frame::LinkDown(answer));
            }
        }
        self.links.forget(ordinal);
        Ok(())
    }

    /// Burns an ordinal that no link or dial ever had, now that the remote says it has ended.
    ///
    /// On a client there is none: it draws them. A server keeps so many until the client knows of them.
    pub(crate) fn burn_unseen(&mut self, now: Instant, ordinal: Ordinal) -> Result<(), Code> {
        if self.links.ended.contains_key(&ordinal) || !self.links.never_seen(ordinal) {
            return Ok(());
        }
        let code = match self.role {
            Role::Client => Code::Count,
            Role::Server if self.links.ended.len() >= ENDED => Code::Limit,
            Role::Server => {
                self.links.ordinals.burn(ordinal);
                self.links.ended.insert(ordinal, Ended::unused());
                return Ok(());
            }
        };
        self.fail(now, code);
        Err(code)
    }

    /// The remote knows nothing of a link. Had it forgotten it, it would have told us its count before
    /// that; so either we know it, or the link was never one there.
    fn forgotten_there(&mut self, now: Instant, ordinal: Ordinal) -> Result<bool, Code> {
        match self.links.ended.get(&ordinal) {
            Some(ended) if ended.theirs.is_none() => self.final_count(now, ordinal, 0),
            Some(_) | None => Ok(false),
        }
    }

    /// The remote's final count of an ended link: what is before it was processed, what is beyond it was not.
    ///
    /// Says whether it was news, or the code with which the session ended over it.
    pub(crate) fn final_count(&mut self, now: Instant, ordinal: Ordinal, count: u64) -> Result<bool, Code> {
        let Some(ended) = self.links.ended.get_mut(&ordinal) else { return Ok(false) };
        if let Some(theirs) = ended.theirs {
            if theirs != count {
                self.fail(now, Code::Count);
                return Err(Code::Count);
            }
            return Ok(false);
        }
        let covered = count.checked_sub(ended.acknowledged).and_then(|covered| usize::try_from(covered).ok());
        let Some(covered) = covered.filter(|covered| *covered <= ended.open.len()) else {
            self.fail(now, Code::Count);
            return Err(Code::Count);
        };
        ended.theirs = Some(count);
        let session = self.id;
        let open = std::mem::take(&mut ended.open);
        for &number in open.iter().take(covered) {
            self.resolve(now, number, None);
        }
        for &number in open.iter().skip(covered) {
            if self.unresolved.get(number).is_some_and(|batch| batch.unwanted(now)) {
                self.give_up(now, number);
            }
        }
        // The count may have been the last word on a poisonous control, or all that a drain waited for.
        let over = match self.phase {
            Phase::Closed(code) => Some(code),
            Phase::Fresh | Phase::Provisional | Phase::Established => {
                self.lost.filter(|_| self.id != session).map(|(code, _)| code)
            }
        };
        over.map_or(Ok(true), Err)
    }

    /// Settles a batch for good: processed by the remote, or dropped for a reason.
    pub(crate) fn resolve(&mut self, now: Instant, number: Number, dropped: Option<DropReason>) {
        let Some(batch) = self.unresolved.resolve(number) else { return };
        if let Some(reason) = dropped {
            self.witness_batch(&batch.body, reason);
        }
        for share in &batch.shares {
            let count = u64::from(share.datagrams);
            match dropped {
                Some(reason) => self.counters.dropped_out.add(reason, count),
                None => self.counters.acknowledged += count,
            }
            let Some(slot) = self.flows.slot(share.flow) else { continue };
            let Some(flow) = self.flows.at_mut(slot) else { continue };
            flow.books.in_flight -= count;
            match dropped {
                Some(reason) => flow.books.dropped.add(reason, count),
                None => {
                    flow.books.acknowledged += count;
                    flow.short |= share.long;
                }
            }
            if share.close && dropped.is_none() {
                self.close_processed(now, slot);
            }
            self.settle_close(slot);
        }
        self.unresolved.recycle(batch);
        self.queues.stir(now);
        self.settle_drain(now);
    }

    /// Ends the session for good, at once, and tells the remote why.
    pub fn close(&mut self, now: Instant, code: Code) {
        self.finish(now, code, false);
    }

    /// The session cannot go on. A server's ends; a client begins another in its place.
    pub(crate) fn fail(&mut self, now: Instant, code: Code) {
        match self.role {
            Role::Client => self.lose_to(now, code, LinkLoss::Violation(code), Some(code)),
            Role::Server => self.finish(now, code, false),
        }
    }

    /// The remote has ended the session.
    pub(crate) fn handle_close(&mut self, now: Instant, close: &Close) {
        match self.role {
            Role::Client => self.lose_to(now, close.code, LinkLoss::Ended, None),
            Role::Server => self.finish(now, close.code, true),
        }
    }

    /// Ends the session for good; flows, links and tunnels with it.
    pub(crate) fn finish(&mut self, now: Instant, code: Code, by_remote: bool) {
        if self.closed() {
            return;
        }
        self.set_tap_time(now);
        self.phase = Phase::Closed(code);
        for link in &mut self.links.live {
            link.frames.clear();
            if !by_remote {
                link.frames.push_back(Frame::Close(Close { code, reason: String::new() }));
            }
        }
        self.abandon();
        self.needs.retain(|need| matches!(need, Need::CloseSocket(_) | Need::Unlisten(_)));
        self.event(Event::Closed { code, by_remote });
    }
}

/// Messages are not cut into smaller frames than this.
const SMALLEST_FRAME: usize = 1_024;
/// Frames that wait on a link for the remote to read, beyond which it gets no more answers.
const ANSWERS: usize = 1_024;
/// Ended links of which one side or the other does not know everything. An outage leaves a few hundred.
pub(crate) const ENDED: usize = 1_024;

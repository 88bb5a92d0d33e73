//! What a session does when time passes.

use std::time::{Duration, Instant};

use super::activity::{Deadline, Earliest};
use super::flow::Direction;
use super::{Phase, Role, Session};
use crate::event::{Event, LinkLoss};
use crate::wire::{Code, Frame, Number, Ordinal};

impl Session {
    /// When [`handle_timeout`](Self::handle_timeout) is due, and why.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if self.closed() {
            return None;
        }
        let several = self.links.live.len() > 1;
        let mut first = Earliest::default();
        for link in &self.links.live {
            first.offer(link.owed.due(self.limits.ack_delay), "acknowledge");
            first.offer(self.ping_due(link), "ping");
            first.offer(self.suspect_due(link), "suspect a link");
            first.offer(self.judgement_due(link), "end a suspect link");
            first.offer(Some(link.heard + self.limits.silence), "end a silent link");
            if several && let Some(sent) = link.sent.get(link.overdue) {
                first.offer(Some(sent.at + link.window.overdue_after()), "repeat what is overdue");
            }
        }
        first.offer(self.queues.next_expiry(), "drop what is too old");
        first.offer(self.flows.next_look(), "look for idle flows");
        first.offer(self.retry_due(), "ask for a listener again");
        first.offer(self.end_due().map(|(at, _)| at), "end the session");
        first.get()
    }

    /// Does what is due. Nothing else needs to be called for it, but everything is drained afterwards.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.set_tap_time(now);
        let Some(deadline) = self.poll_timeout().filter(|deadline| deadline.at <= now) else { return };
        // A deadline that some call made in the past says nothing of a pause.
        let awake = std::mem::replace(&mut self.awake, now);
        if now.saturating_duration_since(deadline.at.max(awake)) > PAUSE {
            self.handle_pause(now);
        }
        if let Some((_, code)) = self.end_due().filter(|(at, _)| *at <= now) {
            return self.fail(now, code);
        }
        // From the back, since a link that ends leaves the list.
        for index in (0..self.links.live.len()).rev() {
            let Some(ordinal) = self.links.live.get(index).map(|link| link.ordinal) else { continue };
            if let Some(link) = self.links.get_mut(ordinal) {
                link.owed.handle_timeout(now, self.limits.ack_delay);
            }
            self.ping_if_due(now, ordinal);
            self.suspect_if_due(now, ordinal);
            self.end_if_due(now, ordinal);
            self.mark_overdue(now, ordinal);
        }
        self.expire(now);
        self.retry_listeners(now);
        while let Some(slot) = self.flows.pop_look(now) {
            self.look_at(now, slot);
        }
        self.settle_drain(now);
        self.settle_memory();
    }

    /// This process did not run for a while: what it did not hear is not the links' fault, and what it
    /// did not say may have cost them. Every link is asked again.
    pub fn handle_pause(&mut self, now: Instant) {
        if self.closed() {
            return;
        }
        for link in &mut self.links.live {
            link.progress = now;
            link.heard = now;
            for sent in &mut link.sent {
                sent.at = now;
            }
            let number = link.beat.ping(now);
            link.frames.retain(|frame| !matches!(frame, Frame::Ping(_)));
            link.frames.push_back(Frame::Ping(number));
        }
        self.event(Event::Paused);
    }

    fn ping_due(&self, link: &super::links::Live) -> Option<Instant> {
        // The client asks; the server's own data tells it enough, and what is silent for long is ended.
        (self.role == Role::Client).then(|| link.beat.due()).flatten()
    }

    fn suspect_due(&self, link: &super::links::Live) -> Option<Instant> {
        if link.suspect.is_some() {
            return None;
        }
        Some(link.outstanding()?.max(link.progress) + self.suspect_after(link))
    }

    fn suspect_after(&self, link: &super::links::Live) -> Duration {
        link.window.suspect_after().clamp(self.limits.suspect_min, self.limits.suspect_max)
    }

    /// When a suspect link is given up, if another makes progress meanwhile.
    fn judgement_due(&self, link: &super::links::Live) -> Option<Instant> {
        let since = link.suspect?;
        let other = self.links.live.iter().any(|other| other.suspect.is_none() && other.progress > since);
        other.then(|| since + self.suspect_after(link) * 3)
    }

    /// When the session ends by itself, and why.
    fn end_due(&self) -> Option<(Instant, Code)> {
        let expiry = self.access.as_ref().and_then(|access| access.grant.expires).map(|at| (at, Code::Expired));
        let detached = match (self.role, self.phase) {
            (Role::Server, Phase::Provisional) => self.detached.map(|at| (at + self.limits.provisional, Code::Silent)),
            (Role::Server, Phase::Established) => self.detached.map(|at| (at + self.patience(), Code::Silent)),
            (Role::Server, Phase::Fresh | Phase::Closed(_)) | (Role::Client, _) => None,
        };
        [expiry, detached].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// For how long a session without links is kept. One that is to end, and has nothing left to say, is kept only
    /// for as long as a client takes that dials at once.
    fn patience(&self) -> Duration {
        if self.drain.ours && self.drain.settled_here { self.limits.resume.min(ABSENT) } else { self.limits.resume }
    }

    fn ping_if_due(&mut self, now: Instant, ordinal: Ordinal) {
        let due = self.links.get(ordinal).and_then(|link| self.ping_due(link)).is_some_and(|due| due <= now);
        if let Some(link) = self.links.get_mut(ordinal).filter(|_| due) {
            let number = link.beat.ping(now);
            link.frames.push_back(Frame::Ping(number));
        }
    }

    fn suspect_if_due(&mut self, now: Instant, ordinal: Ordinal) {
        let Some(link) = self.links.get(ordinal) else { return };
        if self.suspect_due(link).is_none_or(|due| due > now) {
            return;
        }
        self.activity.moment(now, &self.links);
        let Some(link) = self.links.get_mut(ordinal) else { return };
        link.suspect = Some(now);
        let lane = link.lane;
        let held: Vec<Number> = link.sent.iter().map(|sent| sent.number).collect();
        let copies: Vec<Number> = link.copies.drain(..).collect();
        self.release(&held);
        for number in copies {
            self.place_copies(number, None);
        }
        self.leave_home(lane);
        self.counters.suspicions += 1;
        self.event(Event::LinkSuspect { ordinal });
    }

    fn end_if_due(&mut self, now: Instant, ordinal: Ordinal) {
        let Some(link) = self.links.get(ordinal) else { return };
        if link.heard + self.limits.silence <= now {
            self.end_link(now, ordinal, LinkLoss::Silent);
        } else if self.judgement_due(link).is_some_and(|due| due <= now) {
            self.end_link(now, ordinal, LinkLoss::Suspect);
        }
    }

    fn mark_overdue(&mut self, now: Instant, ordinal: Ordinal) {
        if self.links.live.len() < 2 {
            return;
        }
        let Some(link) = self.links.get_mut(ordinal) else { return };
        let patience = link.window.overdue_after();
        let late = link.sent.iter().skip(link.overdue).take_while(|sent| sent.at + patience <= now);
        let late: Vec<Number> = late.map(|sent| sent.number).collect();
        link.overdue += late.len();
        for number in late {
            self.unresolved.mark_overdue(number);
        }
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        let mut lost = Vec::new();
        self.queues.expire(now, &mut |dropped| lost.push(dropped));
        for dropped in lost {
            self.count_dropped(dropped);
        }
        if self.is_resting() {
            self.tidy();
        }
    }

    /// Whether nothing has happened for a while, so that nothing should be kept for speed.
    pub(crate) fn is_resting(&self) -> bool {
        self.queues.is_resting()
    }

    /// Gives back what was only kept for speed.
    fn tidy(&mut self) {
        self.unresolved.shrink();
        self.flows.shrink_ready();
        self.scratch = super::output::Scratch::default();
        self.records = Vec::new();
        self.events.shrink_to_fit();
        self.needs.shrink_to_fit();
        self.gone.shrink_to_fit();
        self.controls.shrink_to_fit();
        for link in &mut self.links.live {
            link.sent.shrink_to_fit();
            link.frames.shrink_to_fit();
            link.copies.shrink_to_fit();
        }
    }

    /// A flow's turn to be idle: its opener ends it, the other side only at twice the time.
    fn look_at(&mut self, now: Instant, slot: super::queue::Slot) {
        let Some(flow) = self.flows.at(slot) else { return };
        let idle = match (flow.ours, flow.one_shot()) {
            (true, true) => flow.open.idle.min(self.limits.idle_one_shot),
            (true, false) => flow.open.idle,
            (false, _) => flow.open.idle.saturating_mul(2).min(Duration::from_secs(24 * 3_600)),
        };
        let due = flow.used + idle;
        let (ours, out) = (flow.ours, flow.out);
        if due > now {
            return self.flows.look_again(slot, due);
        }
        self.flows.look_again(slot, now + idle.max(Duration::from_secs(1)));
        match (out, ours) {
            (Direction::Open, true) => self.begin_close(now, slot, Code::Idle),
            (Direction::Open, false) => self.refuse_flow(now, slot, Code::Idle),
            (Direction::Closing(_) | Direction::Closed(_) | Direction::Done(_), _) => {}
        }
    }
}

/// A timer this much late says that this process was paused.
const PAUSE: Duration = Duration::from_secs(1);
/// A client that notices the end of its links, and can dial, is back by then.
const ABSENT: Duration = Duration::from_secs(5);

//! Ending a session in peace: nothing new is cut, everything under way is settled, then both say so.

use std::time::{Duration, Instant};

use super::{Role, Session};
use crate::event::Event;
use crate::wire::{Code, Frame, GoAway, GoAwayReason};

/// Where a session stands in its drain.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// Why, once either side has asked for it.
    pub(crate) reason: Option<GoAwayReason>,
    /// How long the remote asked not to be dialled, or was asked.
    pub(crate) after: Duration,
    /// We asked.
    pub(crate) ours: bool,
    pub(crate) settled_here: bool,
    pub(crate) settled_there: bool,
}

impl Drain {
    /// Whether the session is on its way out.
    pub(crate) fn begun(&self) -> bool {
        self.reason.is_some()
    }

    /// Whether no datagram is cut any more: what waits on the side that did not ask may have a next session.
    pub(crate) fn holds_data(&self) -> bool {
        self.reason.is_some() && !self.ours
    }

    /// Whether no datagram is taken any more: what waits on the side that asked has this session only.
    pub(crate) fn takes_nothing(&self) -> bool {
        self.ours
    }

    /// For how long the remote asked not to be dialled.
    pub(crate) fn away_for(&self) -> Duration {
        self.after
    }
}

impl Session {
    /// Begins to end the session: this side takes no more datagrams, the other cuts no more, and the session
    /// closes when nothing is queued here and nothing unresolved on either side. Links may still come and go.
    pub fn drain(&mut self, now: Instant, reason: GoAwayReason, after: Duration) {
        if self.closed() || self.drain.ours {
            return;
        }
        self.drain.ours = true;
        self.drain.after = after;
        self.drain.reason.get_or_insert(reason);
        self.say(Frame::GoAway(GoAway { reason, after }));
        self.settle_drain(now);
    }

    /// Whether the session is on its way out.
    pub fn draining(&self) -> bool {
        self.drain.begun()
    }

    pub(crate) fn handle_go_away(&mut self, now: Instant, go_away: GoAway) {
        self.event(Event::GoAway(go_away));
        self.drain.after = go_away.after;
        self.drain.reason.get_or_insert(go_away.reason);
        self.settle_drain(now);
    }

    pub(crate) fn handle_settled(&mut self, now: Instant) {
        self.drain.settled_there = true;
        self.settle_drain(now);
    }

    /// Says SETTLED once nothing is unresolved or to be cut, and closes once both have said it.
    pub(crate) fn settle_drain(&mut self, now: Instant) {
        if !self.drain.begun() || self.closed() {
            return;
        }
        let cut = self.controls.is_empty() && (self.drain.holds_data() || self.queues.is_empty());
        if !self.drain.settled_here && cut && self.unresolved.is_empty() {
            self.drain.settled_here = true;
            self.say(Frame::Settled);
        }
        // The side that asked closes; were the CLOSE lost, the other ends by its own deadline, and nothing is lost with it.
        if self.drain.settled_here && self.drain.settled_there && self.drain.ours {
            let code = match self.role {
                Role::Client => Code::Done,
                Role::Server => Code::GoingAway,
            };
            self.finish(now, code, false);
        }
    }

    /// Says again, on a link that has just become live, what the remote may have missed.
    pub(crate) fn tell_drain(&mut self) {
        if self.drain.ours
            && let Some(reason) = self.drain.reason
        {
            self.say_last(Frame::GoAway(GoAway { reason, after: self.drain.after }));
        }
        if self.drain.settled_here {
            self.say_last(Frame::Settled);
        }
    }

    fn say(&mut self, frame: Frame) {
        for link in &mut self.links.live {
            link.frames.push_back(frame.clone());
        }
    }

    fn say_last(&mut self, frame: Frame) {
        if let Some(link) = self.links.live.last_mut() {
            link.frames.push_back(frame);
        }
    }
}

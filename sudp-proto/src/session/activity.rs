//! The session's second clock, which stands still while no link makes progress, and its deadlines.

use std::time::{Duration, Instant};

use super::links::Links;
use super::queue::Moment;

/// When something is due, and what.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Deadline {
    /// When.
    pub at: Instant,
    /// Why, for people.
    pub cause: &'static str,
}

impl Deadline {
    pub(crate) fn new(at: Instant, cause: &'static str) -> Self {
        Self { at, cause }
    }
}

/// The first of many deadlines. They are gone through at every turn, so it costs one comparison each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Earliest(Option<Deadline>);

impl Earliest {
    pub(crate) fn offer(&mut self, at: Option<Instant>, cause: &'static str) {
        if let Some(at) = at
            && self.0.is_none_or(|first| at < first.at)
        {
            self.0 = Some(Deadline::new(at, cause));
        }
    }

    pub(crate) fn get(self) -> Option<Deadline> {
        self.0
    }
}

impl From<Option<Deadline>> for Earliest {
    fn from(deadline: Option<Deadline>) -> Self {
        Self(deadline)
    }
}

/// How long the session has made progress.
///
/// Queues judge how long a datagram waited by this clock, so that an outage drops nothing and an
/// inner connection sees no standing queue where there was only a cut.
#[derive(Debug)]
pub(crate) struct Activity {
    active: Duration,
    mark: Instant,
}

impl Activity {
    pub(crate) fn new(now: Instant) -> Self {
        Self { active: Duration::ZERO, mark: now }
    }

    /// Now, on both clocks.
    pub(crate) fn moment(&mut self, now: Instant, links: &Links) -> Moment {
        if now > self.mark {
            let until = links.live.iter().map(|link| match link.outstanding() {
                // What nobody waits for makes progress by itself.
                None => now,
                Some(since) => since.max(link.progress) + link.window.overdue_after(),
            });
            let until = until.max().unwrap_or(self.mark).min(now);
            self.active += until.saturating_duration_since(self.mark);
            self.mark = now;
        }
        Moment { now, active: self.active }
    }
}

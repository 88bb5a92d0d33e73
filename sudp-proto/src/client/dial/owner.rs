//! Whether the owner of a session is worth waiting for.

use std::time::{Duration, Instant};

/// What is known of the server that owns the session.
///
/// A path that is down for everyone says nothing about the owner, so the session waits out its resume
/// window. But when others answer and the owner does not, waiting is in vain soon.
#[derive(Debug, Default)]
pub(super) struct Owner {
    id: Option<u64>,
    resume: Duration,
    /// Since when another server has been answering for the owner.
    misled: Option<Instant>,
    /// Since when probes of other servers have been connecting.
    alone: Option<Instant>,
    probed: Option<Instant>,
}

impl Owner {
    /// The server that has just welcomed a link.
    pub(super) fn new(id: u64, resume: Duration) -> Self {
        Self { id: Some(id), resume, ..Self::default() }
    }

    /// Whether this is the owner's id.
    pub(super) fn is(&self, id: Option<u64>) -> bool {
        id.is_some() && id == self.id
    }

    /// Takes note that another server answered "unknown session" in the owner's place.
    pub(super) fn handle_stranger(&mut self, now: Instant) {
        self.misled.get_or_insert(now);
    }

    /// Takes note that the owner's address was reached.
    pub(super) fn handle_reached(&mut self) {
        self.alone = None;
    }

    /// Takes note that another server is being probed.
    pub(super) fn handle_probe(&mut self, now: Instant) {
        self.probed = Some(now);
    }

    /// Takes note that another server could be reached.
    pub(super) fn handle_probe_connected(&mut self, now: Instant) {
        self.alone.get_or_insert(now);
    }

    /// Takes note that another server could not be reached either.
    pub(super) fn handle_probe_failed(&mut self) {
        self.alone = None;
    }

    /// When to look for another server again, if the owner has been away `since`.
    pub(super) fn next_probe(&self, since: Instant) -> Instant {
        self.probed.map_or(since + PROBE_AFTER, |probed| (since + PROBE_AFTER).max(probed + PROBE_EVERY))
    }

    /// When the owner is given up.
    pub(super) fn deadline(&self, within: Duration) -> Option<Instant> {
        let since = match (self.misled, self.alone) {
            (Some(misled), Some(alone)) => Some(misled.min(alone)),
            (misled, alone) => misled.or(alone),
        };
        since.map(|since| since + within.min(self.resume))
    }
}

const PROBE_AFTER: Duration = Duration::from_secs(3);
const PROBE_EVERY: Duration = Duration::from_millis(2_500);

//! How long a round trip takes: its mean, its spread, and the least the path allows.

use super::MILLISECOND;

/// Round trips of one link, in microseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct RoundTrip {
    smoothed: Option<Smoothed>,
    least: Option<u64>,
    /// When a sample last came near `least`.
    seen: u64,
    doubted: bool,
    /// A clear sample far above `least`, waiting for a second one.
    candidate: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Smoothed {
    mean: u64,
    deviation: u64,
}

impl RoundTrip {
    /// Takes a sample.
    pub(super) fn on_sample(&mut self, at: u64, sample: u64) {
        self.smooth(sample);
        if self.least.is_none_or(|least| sample <= least + least / 16) {
            self.least = Some(self.least.map_or(sample, |least| least.min(sample)));
            self.seen = at;
            self.candidate = None;
        }
    }

    /// Takes a sample that holds no queue of ours: only such a one can raise the least.
    ///
    /// A surprising one counts only when seen twice: the first may have met a retransmission below us, or
    /// a queue after all, and a least round trip that is too long makes a queue which hides the true one.
    pub(super) fn on_clear_sample(&mut self, at: u64, sample: u64) {
        let Some(least) = self.least else { return };
        if !self.is_stale(at) {
            return;
        }
        match self.candidate {
            Some(candidate) => self.settle(at, candidate.min(sample)),
            None if sample > least + least / 4 + 5 * MILLISECOND => self.candidate = Some(sample),
            None => self.settle(at, sample),
        }
    }

    /// Asks for the least round trip to be seen anew.
    pub(super) fn doubt(&mut self) {
        self.doubted = true;
    }

    /// Whether the least round trip has to be seen anew.
    pub(super) fn is_stale(&self, at: u64) -> bool {
        self.doubted || at.saturating_sub(self.seen) > LEAST_HOLDS
    }

    /// Whether a sample waits for a second one, which then must have met an empty path.
    pub(super) fn is_surprised(&self) -> bool {
        self.candidate.is_some()
    }

    pub(super) fn mean(&self) -> Option<u64> {
        self.smoothed.map(|smoothed| smoothed.mean)
    }

    pub(super) fn deviation(&self) -> Option<u64> {
        self.smoothed.map(|smoothed| smoothed.deviation)
    }

    pub(super) fn least(&self) -> Option<u64> {
        self.least
    }

    /// As RFC 6298 does.
    fn smooth(&mut self, sample: u64) {
        let smoothed = match self.smoothed {
            Some(Smoothed { mean, deviation }) => {
                Smoothed { mean: (7 * mean + sample) / 8, deviation: (3 * deviation + mean.abs_diff(sample)) / 4 }
            }
            None => Smoothed { mean: sample, deviation: sample / 2 },
        };
        self.smoothed = Some(smoothed);
    }

    fn settle(&mut self, at: u64, least: u64) {
        (self.least, self.seen) = (Some(least), at);
        (self.doubted, self.candidate) = (false, None);
    }
}

/// How long the least round trip is believed without being seen.
const LEAST_HOLDS: u64 = 10_000 * MILLISECOND;

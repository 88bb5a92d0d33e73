//! How fast the path delivers, from the curve of what was acknowledged when.

use super::{SECOND, Stamp};

/// The largest delivery rate of the last ten round trips, in bytes per second.
///
/// A sample is the slope between two acknowledgements at least a round trip apart, over the longer of
/// the time between them and the time between the sends they are for. The first alone is fooled when
/// what was held up is acknowledged at once, the second by a burst.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    points: [Point; POINTS],
    newest: usize,
    /// The best of each round trip that was not limited by the application.
    rounds: [u64; ROUNDS],
    round: usize,
}

/// A point of the curve: the last acknowledgement of a short time, so that a burst of them is never
/// split between what came before a sample and what came in it.
#[derive(Clone, Copy, Debug)]
struct Point {
    opened: u64,
    at: u64,
    batch: Stamp,
}

/// A delivery rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Bytes per second.
    pub(super) rate: u64,
    /// Bytes sent on the link before the first of those it covers.
    pub(super) since: u64,
}

impl Rate {
    /// Starts the curve when the first batch is sent.
    pub(super) fn new(at: u64) -> Self {
        let start = Point { opened: at, at, batch: Stamp { sent: at, total: 0 } };
        Self { points: [start; POINTS], newest: 0, rounds: [0; ROUNDS], round: 0 }
    }

    /// Extends the curve; gives a sample over at least `span`, or none where the curve is shorter.
    pub(super) fn on_acked(&mut self, at: u64, batch: Stamp, span: u64) -> Option<Sample> {
        let at = at.max(self.points[self.newest].at);
        let sample = self.sample(at, batch, span);
        if at - self.points[self.newest].opened >= span / SPLIT {
            self.newest = (self.newest + 1) % POINTS;
            self.points[self.newest].opened = at;
        }
        let opened = self.points[self.newest].opened;
        self.points[self.newest] = Point { opened, at, batch };
        sample
    }

    /// Counts a rate for the present round trip.
    pub(super) fn count(&mut self, rate: u64) {
        self.rounds[self.round] = self.rounds[self.round].max(rate);
    }

    /// Begins the next round trip and forgets the oldest.
    pub(super) fn turn(&mut self) {
        self.round = (self.round + 1) % ROUNDS;
        self.rounds[self.round] = 0;
    }

    /// Forgets all round trips but the last two.
    pub(super) fn forget(&mut self) {
        let kept = self.rounds[(self.round + ROUNDS - 1) % ROUNDS].max(self.rounds[self.round]);
        self.rounds = [0; ROUNDS];
        self.count(kept);
    }

    /// The best of the last ten round trips.
    pub(super) fn best(&self) -> Option<u64> {
        self.rounds.iter().copied().max().filter(|&best| best > 0)
    }

    fn sample(&self, at: u64, batch: Stamp, span: u64) -> Option<Sample> {
        let start = (0..POINTS)
            .map(|back| &self.points[(self.newest + POINTS - back) % POINTS])
            .find(|point| at - point.at >= span)?;
        let acks = at - start.at;
        let sends = batch.sent.saturating_sub(start.batch.sent);
        let bytes = batch.total.saturating_sub(start.batch.total);
        Some(Sample { rate: bytes.saturating_mul(SECOND) / acks.max(sends).max(1), since: start.batch.total })
    }
}

const ROUNDS: usize = 10;

/// Points in a span, and two more, so that one is always a whole span old.
const SPLIT: u64 = 8;
const POINTS: usize = 10;

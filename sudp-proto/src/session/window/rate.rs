//! How fast the path delivers, from the curve of what was acknowledged when.

use super::{SECOND, Stamp};

/// The largest delivery rate of the last ten round trips, in bytes per second.
///
/// A sample is the slope between two acknowledgements at least a round trip apart, over the longer of
/// the time between the acknowledgements and the time between the sends. Either alone is fooled: the
/// first by acknowledgements that were held up and come at once, the second by a burst that was sent
/// at once.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    /// Points of the curve, oldest overwritten; `newest` is the one being written.
    points: [Point; POINTS],
    newest: usize,
    /// The best of each of the last round trips that were not limited by the application.
    rounds: [u64; ROUNDS],
    round: usize,
}

/// A point of the curve. Acknowledgements close together share one, so that a burst of them is never
/// split between what came before a sample and what came in it.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    opened: u64,
    at: u64,
    newest: Stamp,
}

impl Rate {
    /// Starts the curve where `first` was sent.
    pub(super) fn new(at: u64) -> Self {
        let start = Point { opened: at, at, newest: Stamp { sent: at, ..Stamp::default() } };
        Self { points: [start; POINTS], newest: 0, rounds: [0; ROUNDS], round: 0 }
    }

    /// Extends the curve and takes a sample of at least `span`, unless the curve is too short.
    pub(super) fn on_acked(&mut self, at: u64, newest: Stamp, span: u64) -> Option<Sample> {
        let at = at.max(self.points[self.newest].at);
        let sample = self.sample(at, newest, span);
        let gap = span / (POINTS as u64 - 2);
        if at - self.points[self.newest].opened >= gap {
            self.newest = (self.newest + 1) % POINTS;
            self.points[self.newest].opened = at;
        }
        let point = &mut self.points[self.newest];
        (point.at, point.newest) = (at, newest);
        sample
    }

    /// Counts a rate for the present round trip.
    pub(super) fn count(&mut self, rate: u64) {
        let best = &mut self.rounds[self.round];
        *best = rate.max(*best);
    }

    /// Begins the next round trip and forgets the oldest.
    pub(super) fn turn(&mut self) {
        self.round = (self.round + 1) % ROUNDS;
        self.rounds[self.round] = 0;
    }

    /// Forgets all round trips but the present and the one before.
    pub(super) fn forget(&mut self) {
        let before = (self.round + ROUNDS - 1) % ROUNDS;
        for (index, best) in self.rounds.iter_mut().enumerate() {
            if index != self.round && index != before {
                *best = 0;
            }
        }
    }

    pub(super) fn best(&self) -> Option<u64> {
        self.rounds.iter().copied().max().filter(|&best| best > 0)
    }

    /// The best of the present round trip and the one before.
    pub(super) fn recent(&self) -> Option<u64> {
        let before = (self.round + ROUNDS - 1) % ROUNDS;
        Some(self.rounds[self.round].max(self.rounds[before])).filter(|&best| best > 0)
    }

    fn sample(&self, at: u64, newest: Stamp, span: u64) -> Option<Sample> {
        let start = (0..POINTS)
            .map(|back| &self.points[(self.newest + POINTS - back) % POINTS])
            .find(|point| at - point.at >= span)?;
        let acks = at - start.at;
        let sends = newest.sent.saturating_sub(start.newest.sent);
        let bytes = newest.total.saturating_sub(start.newest.total);
        Some(Sample { rate: bytes * SECOND / acks.max(sends).max(1), since: start.newest.total })
    }
}

/// A delivery rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Bytes per second.
    pub(super) rate: u64,
    /// Bytes sent on the link before the first that it covers.
    pub(super) since: u64,
}

const POINTS: usize = 10;
const ROUNDS: usize = 10;

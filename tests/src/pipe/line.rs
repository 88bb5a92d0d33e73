//! How a pipe behaves, as it is configured and as it is computed.

use std::time::Duration;

use crate::clock::{NEVER, Nanos, span};

/// How one direction of a path behaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// How long a byte travels.
    pub latency: Duration,
    /// Up to how much longer it may take; bytes never overtake each other.
    pub jitter: Duration,
    /// Bytes per second; `None` is as fast as they are written.
    pub rate: Option<u64>,
    /// How many bytes may be written and not yet read: both kernels' buffers and what is in flight.
    pub capacity: usize,
    /// `TCP_NOTSENT_LOWAT`: a writer is pushed back while this many bytes wait for the rate, and woken
    /// at half of it. `None` leaves it to the capacity.
    pub unsent: Option<usize>,
    /// If given, every read gets a random number of bytes, at most this many.
    pub chunk: Option<usize>,
}

impl Default for Line {
    /// 25 ms, no jitter, no rate, 4 MiB, no bound on what is unsent, reads as large as they are asked for.
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(25),
            jitter: Duration::ZERO,
            rate: None,
            capacity: 4 << 20,
            unsent: None,
            chunk: None,
        }
    }
}

impl Line {
    /// The default with another latency.
    pub fn with_latency(latency: Duration) -> Self {
        Self { latency, ..Self::default() }
    }

    /// This line with a rate in bytes per second.
    pub fn rate(self, bytes_per_second: u64) -> Self {
        Self { rate: Some(bytes_per_second), ..self }
    }

    /// This line with room for so many bytes.
    pub fn capacity(self, bytes: usize) -> Self {
        Self { capacity: bytes, ..self }
    }

    /// This line with jitter.
    pub fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// This line with random reads of at most so many bytes.
    pub fn chunk(self, bytes: usize) -> Self {
        Self { chunk: Some(bytes), ..self }
    }

    /// This line with a bound on bytes that wait for the rate.
    pub fn unsent(self, bytes: usize) -> Self {
        Self { unsent: Some(bytes), ..self }
    }
}

/// A [`Line`] in the units in which it is computed.
#[derive(Debug)]
pub(super) struct Fixed {
    pub(super) latency: Nanos,
    pub(super) jitter: Nanos,
    pub(super) rate: Option<u64>,
    pub(super) capacity: usize,
    pub(super) unsent: Option<usize>,
    pub(super) chunk: Option<u64>,
    /// How many bytes arrive at once: about a millisecond's worth, at least one TCP segment.
    pub(super) quantum: usize,
}

impl From<&Line> for Fixed {
    fn from(line: &Line) -> Self {
        let quantum = line.rate.map_or(usize::MAX, |rate| usize::try_from(rate / 1_000).unwrap_or(usize::MAX));
        Self {
            latency: span(line.latency),
            jitter: span(line.jitter),
            rate: line.rate.map(|rate| rate.max(1)),
            capacity: line.capacity,
            unsent: line.unsent,
            chunk: line.chunk.map(|chunk| chunk as u64),
            quantum: quantum.clamp(1_448, 64 << 10),
        }
    }
}

/// How long `bytes` take at `rate` bytes per second.
pub(super) fn duration(bytes: u64, rate: u64) -> Nanos {
    Nanos::try_from(u128::from(bytes) * 1_000_000_000 / u128::from(rate)).unwrap_or(NEVER)
}

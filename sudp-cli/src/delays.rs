//! Round trips, counted so that any share of them can be asked for.

use std::time::Duration;

/// How long things took, to 3 % of each.
///
/// A bucket is a power of two of nanoseconds, cut into [`PARTS`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Delays {
    buckets: Vec<u64>,
    count: u64,
}

impl Delays {
    /// Counts one.
    pub(crate) fn record(&mut self, took: Duration) {
        let bucket = bucket(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
    }

    /// Within what so many of a thousand stayed.
    pub(crate) fn within(&self, per_mille: u64) -> Option<Duration> {
        let wanted = (self.count * per_mille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Some(Duration::from_nanos(bound(bucket)));
            }
        }
        None
    }
}

fn bucket(nanos: u64) -> usize {
    let power = nanos.max(PARTS).ilog2();
    let part = (nanos >> (power - PARTS_BITS)) % PARTS;
    let above = if nanos < PARTS { 0 } else { u64::from(power - PARTS_BITS + 1) * PARTS };
    usize::try_from(above + part).unwrap_or(usize::MAX)
}

/// The largest that is counted in a bucket.
fn bound(bucket: usize) -> u64 {
    let (power, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    match power.checked_sub(1) {
        None => part,
        Some(shift) => ((PARTS + part) << shift) + ((1 << shift) - 1),
    }
}

const PARTS_BITS: u32 = 5;
const PARTS: u64 = 1 << PARTS_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_counted_within_a_bound_that_is_hardly_above_it() {
        for nanos in (0..2_000).chain((1..63).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 7])) {
            let bound = bound(bucket(nanos));
            assert!(nanos <= bound && bound <= nanos + nanos / PARTS, "{nanos} within {bound}");
        }
        assert_eq!(bound(bucket(u64::MAX)), u64::MAX);
    }

    #[test]
    fn shares_are_those_of_what_was_counted() {
        let mut delays = Delays::default();
        assert_eq!(delays.within(500), None);
        (1..=100).for_each(|micros| delays.record(Duration::from_micros(micros)));
        let near = |per_mille, micros: u64| {
            let found = delays.within(per_mille).unwrap().as_nanos();
            let exact = u128::from(micros) * 1_000;
            assert!(exact <= found && found <= exact + exact / 32, "{per_mille}: {found}");
        };
        near(500, 50);
        near(990, 99);
        near(1_000, 100);
        near(1, 1);
    }
}

//! Virtual time: one real instant per process, and nanoseconds counted from it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Nanoseconds since [`epoch`].
pub type Nanos = u64;

/// A time that never comes.
pub const NEVER: Nanos = Nanos::MAX;

/// The instant at which every simulation starts.
///
/// It lies a day ahead of the machine's own clock, so that code which subtracts a duration does not
/// meet the machine's start. Nothing may depend on its value, only on what is added to it.
pub fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant cannot be made from nothing; read once, only added to"
        )]
        let started = Instant::now();
        started + Duration::from_secs(24 * 60 * 60)
    })
}

/// The instant `after` the epoch.
pub fn at(after: Duration) -> Instant {
    epoch() + after
}

/// The instant `nanos` after the epoch.
pub fn instant(nanos: Nanos) -> Instant {
    epoch() + Duration::from_nanos(nanos)
}

/// Nanoseconds from the epoch to `now`, 0 for anything earlier.
pub fn nanos(now: Instant) -> Nanos {
    span(now.saturating_duration_since(epoch()))
}

/// A duration in nanoseconds, at most [`NEVER`].
pub fn span(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_and_instants_are_two_names_of_one_time() {
        let now = at(Duration::from_micros(1_234_567));
        assert_eq!(nanos(now), 1_234_567_000);
        assert_eq!(instant(nanos(now)), now);
        assert_eq!(nanos(epoch()), 0);
    }

    #[test]
    fn a_day_can_be_subtracted_from_the_epoch() {
        assert!(epoch().checked_sub(Duration::from_secs(24 * 60 * 60)).is_some());
    }
}

//! What unit tests share: an epoch far enough from the machine's start, and short names for times.

use std::time::{Duration, Instant};

/// A moment to count from.
#[expect(clippy::disallowed_methods, reason = "tests need one instant to begin with; nothing depends on which")]
pub(crate) fn epoch() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}

/// Milliseconds.
pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Seconds.
pub(crate) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

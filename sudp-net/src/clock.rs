//! Time that counts while the machine sleeps.

use std::time::Instant;

/// What time it is.
///
/// On Linux the system's monotonic clock stands still while the machine is suspended, and a session
/// that slept would think its links alive. So its boot-time clock is asked, and its progress added to an
/// instant that was taken once. Elsewhere it is [`Instant::now`].
#[must_use]
pub fn now() -> Instant {
    system::now()
}

#[cfg(target_os = "linux")]
mod system {
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    use rustix::time::{ClockId, clock_gettime};

    /// An instant, and what the boot-time clock said then.
    static ORIGIN: OnceLock<(Instant, Duration)> = OnceLock::new();

    pub(super) fn now() -> Instant {
        let (instant, booted) = *ORIGIN.get_or_init(|| (Instant::now(), since_boot()));
        instant + since_boot().saturating_sub(booted)
    }

    fn since_boot() -> Duration {
        let now = clock_gettime(ClockId::Boottime);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) use std::time::Instant;

    pub(super) fn now() -> Instant {
        Instant::now()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    #[test]
    fn it_runs_like_the_clock_of_std_while_the_machine_is_awake() {
        let (ours, theirs) = (super::now(), Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        let (ours, theirs) = (super::now() - ours, theirs.elapsed());
        assert!(ours >= Duration::from_millis(20) && ours.abs_diff(theirs) < Duration::from_secs(1), "{ours:?}");
    }
}

//! When a server may be tried again, by what went wrong.
//!
//! Two causes are kept apart, because they want opposite things. A *path* that failed comes back
//! without notice and costs the server nothing while it is away, so it is tried often. A *server that
//! spoke* and said no is alive and busy, so it is left alone for longer each time.
//!
//! | what happened | the next attempt comes |
//! |---|---|
//! | first path failure | uniform in 0 to 0.5 s after it, never later than 1 s after the last attempt began |
//! | attempt during an outage | uniform in 0.75 to 1 slot after that attempt *began*; a slot is 1 s until the outage is 60 s old, 5 s until it is 5 min old, then 30 s |
//! | network change or wake-up | at once, and the outage counts as new |
//! | refusal number n, nothing told | uniform in 0 to min(30 s, 1 s × 2ⁿ⁻¹) (full jitter) |
//! | refusal with `Retry-After` t | t clamped to 1 s..5 min, plus uniform 0 to t/4, so that thousands told the same do not return as one |
//! | permanent refusal number n | uniform in 0.5 to 1 × min(5 min, 30 s × 2ⁿ⁻¹), or as told if that is later |
//! | planned close, nothing told | uniform in 0 to 5 s |
//! | planned close, told t | t, at most 5 min, plus uniform 0 to t/4 |
//!
//! Slots are counted from where an attempt began, not from where it failed: so a path that swallows
//! packets and one that refuses them are tried at the same pace, and in the first 60 s of an outage no
//! second passes without an attempt.
//!
//! A link that was attached shows that the path is back and starts the outage's age anew; only a link
//! that lived 10 s and acknowledged something forgets the rest. A path that flaps every second is
//! therefore tried once a slot for as long as it flaps, neither more nor less. A shorter link that
//! acknowledged something halves the count of refusals: the flap that hits a link just after its
//! welcome looks like a refusal, and must not add up to 30 s.

use std::time::{Duration, Instant};

use crate::rng::Rng;

/// What one server, or one path, has earned.
#[derive(Debug, Default)]
pub struct Backoff {
    /// When the last attempt began.
    started: Option<Instant>,
    /// Since when the path has been failing; forgotten when it has proved itself.
    outage: Option<Instant>,
    path_until: Option<Instant>,
    refusals: u32,
    bans: u32,
    told_until: Option<Instant>,
    /// It waits for nothing but that something changes in what it refused.
    forbidden: bool,
    /// When anything last went wrong.
    failed: Option<Instant>,
}

/// What an attempt waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// The path failed.
    Path,
    /// The server said no, or later.
    Server,
}

impl Backoff {
    /// Takes note that an attempt begins now.
    pub fn handle_start(&mut self, now: Instant, rng: &mut Rng) {
        self.started = Some(now);
        if let Some(since) = self.outage {
            self.path_until = Some(now + slot(rng, now.saturating_duration_since(since)));
        }
    }

    /// Takes note that the path failed: refused, unreachable, timed out, or the ordinal was burnt.
    pub fn handle_path_failed(&mut self, now: Instant, rng: &mut Rng) {
        self.failed = Some(now);
        self.outage.get_or_insert(now);
        if self.path_until.is_some_and(|until| until > now) {
            return;
        }
        let soon = now + up_to(rng, FIRST);
        let promised = self.started.map(|started| started + SHORT_SLOT).filter(|latest| *latest >= now);
        self.path_until = Some(promised.map_or(soon, |latest| soon.min(latest)));
    }

    /// Takes note that the server refused for the moment.
    ///
    /// Refusals of attempts that ran side by side count once.
    pub fn handle_refused(&mut self, now: Instant, rng: &mut Rng, retry_after: Option<Duration>) {
        let counted = self.told_until.is_some_and(|until| until > now);
        let cap = (REFUSED * factor(self.refusals)).min(REFUSED_CAP);
        let wait = match retry_after.map(|told| told.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)) {
            Some(told) => told + up_to(rng, told / 4),
            None if counted => Duration::ZERO,
            None => up_to(rng, cap),
        };
        self.refusals = self.refusals.saturating_add(u32::from(!counted));
        self.wait_as_told(now, wait);
    }

    /// Takes note of a refusal that waiting alone will not change.
    ///
    /// Those of attempts that ran side by side count once: after an outage several may be answered at once.
    pub fn handle_banned(&mut self, now: Instant, rng: &mut Rng, retry_after: Option<Duration>) {
        let counted = self.bans > 0 && self.told_until.is_some_and(|until| until > now);
        let cap = (BANNED * factor(self.bans)).min(BANNED_CAP);
        self.bans = self.bans.saturating_add(u32::from(!counted));
        let told = retry_after.map_or(Duration::ZERO, |told| told.min(RETRY_AFTER_MAX));
        let wait = if counted { Duration::ZERO } else { cap / 2 + up_to(rng, cap / 2) };
        let forbidden = retry_after.is_none() && self.told_until.is_none_or(|until| until <= now || self.forbidden);
        self.wait_as_told(now, wait.max(told));
        self.forbidden = forbidden;
    }

    /// Takes note that the server announced that it goes away.
    pub fn handle_planned_close(&mut self, now: Instant, rng: &mut Rng, after: Option<Duration>) {
        let wait = match after {
            Some(told) => told.min(RETRY_AFTER_MAX) + up_to(rng, told.min(RETRY_AFTER_MAX) / 4),
            None => up_to(rng, PLANNED),
        };
        self.wait_as_told(now, wait);
    }

    /// Takes note that the server was heard, and that there is nothing to wait for.
    pub fn handle_heard(&mut self) {
        self.outage = None;
        self.path_until = None;
    }

    /// Takes note that the server will be shown something else than what it refused: unless it named a time,
    /// there is nothing to wait for.
    pub fn handle_amends(&mut self) {
        self.bans = 0;
        if self.forbidden {
            self.told_until = None;
        }
    }

    /// Takes note that a link was attached.
    pub fn handle_attached(&mut self, now: Instant, rng: &mut Rng) {
        if self.outage.is_none() {
            return;
        }
        self.outage = Some(now);
        let soon = now + slot(rng, Duration::ZERO);
        self.path_until = self.path_until.map(|until| until.min(soon));
    }

    /// Takes note that an attached link ended, not by our own wish.
    ///
    /// `acknowledged` says whether anything of ours was ever proved to have arrived on it: an ACK or a
    /// PONG. A server that lets links in and drops them unanswered has spoken.
    pub fn handle_link_ended(&mut self, now: Instant, rng: &mut Rng, lived: Duration, acknowledged: bool) {
        if !acknowledged {
            return self.handle_refused(now, rng, None);
        }
        self.refusals /= 2;
        if is_proof(lived, acknowledged) {
            *self = Self::default();
        }
        self.handle_path_failed(now, rng);
    }

    /// Takes note that the network changed, or that we slept: what was learnt of the path is stale.
    ///
    /// What the server said still stands.
    pub fn handle_wake(&mut self, now: Instant) {
        self.path_until = None;
        self.outage = self.outage.map(|_| now);
    }

    /// When the next attempt may begin; none means at once.
    pub fn not_before(&self) -> Option<Instant> {
        self.path_until.max(self.told_until)
    }

    /// What [`not_before`](Self::not_before) waits for, if that is later than `now`.
    pub fn cause(&self, now: Instant) -> Option<Cause> {
        if self.not_before().is_none_or(|until| until <= now) {
            return None;
        }
        if self.path_until > self.told_until { Some(Cause::Path) } else { Some(Cause::Server) }
    }

    /// Since when the path has been failing.
    pub fn outage(&self) -> Option<Instant> {
        self.outage
    }

    /// When anything last went wrong.
    pub fn failed(&self) -> Option<Instant> {
        self.failed
    }

    /// The server was heard, so its path works.
    fn wait_as_told(&mut self, now: Instant, wait: Duration) {
        self.failed = Some(now);
        self.handle_heard();
        self.told_until = self.told_until.max(Some(now + wait));
        self.forbidden = false;
    }
}

/// Whether a link that lived so long proves that all is well again.
pub fn is_proof(lived: Duration, acknowledged: bool) -> bool {
    acknowledged && lived >= PROVEN
}

/// How long after one attempt began the next may begin, in an outage of this age.
pub fn slot(rng: &mut Rng, age: Duration) -> Duration {
    let slot = if age < SHORT_SLOTS_FOR {
        SHORT_SLOT
    } else if age < MIDDLE_SLOTS_FOR {
        MIDDLE_SLOT
    } else {
        LONG_SLOT
    };
    slot * 3 / 4 + up_to(rng, slot / 4)
}

/// Uniform from 0 to `most`.
fn up_to(rng: &mut Rng, most: Duration) -> Duration {
    let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX - 1);
    Duration::from_nanos(rng.below(most + 1))
}

/// Two to the power of `times`, as far as any cap here needs it.
fn factor(times: u32) -> u32 {
    1 << times.min(10)
}

const FIRST: Duration = Duration::from_millis(500);
const SHORT_SLOT: Duration = Duration::from_secs(1);
const SHORT_SLOTS_FOR: Duration = Duration::from_secs(60);
const MIDDLE_SLOT: Duration = Duration::from_secs(5);
const MIDDLE_SLOTS_FOR: Duration = Duration::from_secs(300);
const LONG_SLOT: Duration = Duration::from_secs(30);
const REFUSED: Duration = Duration::from_secs(1);
const REFUSED_CAP: Duration = Duration::from_secs(30);
const BANNED: Duration = Duration::from_secs(30);
const BANNED_CAP: Duration = Duration::from_secs(300);
const PLANNED: Duration = Duration::from_secs(5);
const PROVEN: Duration = Duration::from_secs(10);
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;

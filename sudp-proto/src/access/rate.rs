//! Rates: how much may pass per second, without a timer.

use std::time::{Duration, Instant};

/// So much per second, and so much at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// What passes per second in the long run. 0 lets the burst pass once, and nothing after it.
    pub per_second: u64,
    /// What passes at once after a rest.
    pub burst: u64,
}

/// Whether something may pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Admit {
    /// It never will: it is larger than the burst, or the rate is zero.
    Never,
    /// Not yet.
    No {
        /// It may if nothing else passes for so long.
        retry: Duration,
    },
    /// It passes, and has been counted.
    Yes,
}

/// The generic cell rate algorithm: one number that rises with what passes and falls with time.
///
/// It counts in billionths of what is limited, so that nothing is rounded and no error adds up. A
/// clock that goes back stops it until the clock is where it was; one that leaps forward gives no
/// more than the burst.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gcra {
    rate: Rate,
    level: u128,
    at: Option<Instant>,
}

impl Gcra {
    /// Starts with the whole burst.
    pub const fn new(rate: Rate) -> Self {
        Self { rate, level: 0, at: None }
    }

    /// Counts `cost` if it may pass now.
    pub fn admit(&mut self, now: Instant, cost: u64) -> Admit {
        let admit = self.check(now, cost);
        if admit == Admit::Yes {
            self.count(now, cost);
        }
        admit
    }

    /// What [`admit`](Self::admit) would say, without counting anything.
    pub fn check(&self, now: Instant, cost: u64) -> Admit {
        if cost > self.rate.burst {
            return Admit::Never;
        }
        let wanted = self.level_at(now) + scaled(cost);
        let excess = wanted.saturating_sub(scaled(self.rate.burst));
        if excess == 0 {
            return Admit::Yes;
        }
        match u64::try_from(excess.div_ceil(u128::from(self.rate.per_second.max(1)))) {
            Ok(nanos) if self.rate.per_second > 0 => Admit::No { retry: Duration::from_nanos(nanos) },
            Ok(_) | Err(_) => Admit::Never,
        }
    }

    /// Changes the rate and keeps what has been counted.
    pub fn set_rate(&mut self, now: Instant, rate: Rate) {
        self.count(now, 0);
        self.rate = rate;
    }

    /// The rate it keeps.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    fn count(&mut self, now: Instant, cost: u64) {
        self.level = self.level_at(now) + scaled(cost);
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
    }

    fn level_at(&self, now: Instant) -> u128 {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.level.saturating_sub(passed.as_nanos().saturating_mul(u128::from(self.rate.per_second)))
    }
}

const fn scaled(cost: u64) -> u128 {
    cost as u128 * 1_000_000_000
}

/// Rates of datagrams and of their bytes; none is no limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rates {
    /// Payload bytes.
    pub bytes: Option<Rate>,
    /// Datagrams, whatever their size.
    pub datagrams: Option<Rate>,
}

/// Keeps [`Rates`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limiter {
    bytes: Option<Gcra>,
    datagrams: Option<Gcra>,
}

impl Limiter {
    /// Starts with the whole bursts.
    pub fn new(rates: Rates) -> Self {
        Self { bytes: rates.bytes.map(Gcra::new), datagrams: rates.datagrams.map(Gcra::new) }
    }

    /// Changes the rates and keeps what has been counted for those that stay limited.
    pub fn set_rates(&mut self, now: Instant, rates: Rates) {
        set_rate(&mut self.bytes, now, rates.bytes);
        set_rate(&mut self.datagrams, now, rates.datagrams);
    }

    /// Counts a datagram of so many bytes if both rates let it pass, and nothing otherwise.
    pub fn admit(&mut self, now: Instant, bytes: usize) -> Admit {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let checks = [(&self.bytes, bytes), (&self.datagrams, 1)];
        let verdict = checks.into_iter().filter_map(|(gcra, cost)| Some(gcra.as_ref()?.check(now, cost)));
        let verdict = verdict.fold(Admit::Yes, later);
        if verdict == Admit::Yes {
            for (gcra, cost) in [(&mut self.bytes, bytes), (&mut self.datagrams, 1)] {
                if let Some(gcra) = gcra {
                    gcra.count(now, cost);
                }
            }
        }
        verdict
    }
}

fn set_rate(gcra: &mut Option<Gcra>, now: Instant, rate: Option<Rate>) {
    match (gcra.as_mut(), rate) {
        (Some(limited), Some(rate)) => limited.set_rate(now, rate),
        (Some(_) | None, rate) => *gcra = rate.map(Gcra::new),
    }
}

/// The answer that takes longer to become yes.
fn later(one: Admit, other: Admit) -> Admit {
    match (one, other) {
        (Admit::Never, _) | (_, Admit::Never) => Admit::Never,
        (Admit::Yes, verdict) | (verdict, Admit::Yes) => verdict,
        (Admit::No { retry: a }, Admit::No { retry: b }) => Admit::No { retry: a.max(b) },
    }
}

#[cfg(test)]
mod tests;

//! What the sessions of one principal have together: places for flows, and so much per second.
//!
//! A session draws what it may send in portions that last for milliseconds, so that sessions on several
//! threads meet here some hundred times a second and not at every datagram. As in a
//! [`Pool`](super::Pool) these counters order no other memory, so every access is relaxed, and nobody waits.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::rate::{Rate, Rates};

/// What the sessions of one principal have together. Cloning gives another handle to the same.
///
/// How much it is stands in the [`Grant`](super::Grant) of whoever asks: this only counts what is gone.
#[derive(Clone, Debug, Default)]
pub struct Allowance(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    flows: AtomicUsize,
    /// What the instants below count from.
    since: OnceLock<Instant>,
    bytes: Bucket,
    datagrams: Bucket,
}

/// When, in nanoseconds, all that was given out would have been due at an even pace.
#[derive(Debug, Default)]
struct Bucket(AtomicU64);

/// The place of one flow, free again once this is dropped.
#[derive(Debug)]
pub struct Seat(Allowance);

/// What one session draws from an [`Allowance`].
#[derive(Debug)]
pub struct Draw {
    allowance: Allowance,
    rates: Rates,
    bytes: Portion,
    datagrams: Portion,
}

/// What was drawn and not yet sent.
#[derive(Clone, Copy, Debug, Default)]
struct Portion {
    left: u64,
    /// When it was drawn.
    at: u64,
}

impl Allowance {
    /// A place for one more flow, if there are fewer than `most`.
    pub fn seat(&self, most: usize) -> Option<Seat> {
        let more = |flows: usize| (flows < most).then_some(flows + 1);
        let taken = self.0.flows.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Seat(self.clone()))
    }

    /// A place for a flow that exists already, however many there are.
    pub fn keep(&self) -> Seat {
        self.0.flows.fetch_add(1, Ordering::Relaxed);
        Seat(self.clone())
    }

    /// How many flows there are.
    pub fn flows(&self) -> usize {
        self.0.flows.load(Ordering::Relaxed)
    }

    fn clock(&self, now: Instant) -> u64 {
        let since = *self.0.since.get_or_init(|| now);
        u64::try_from(now.saturating_duration_since(since).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Eq for Allowance {}

impl PartialEq for Allowance {
    /// Two handles are equal that lead to the same.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.flows.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Draw {
    /// Draws from this, at these rates.
    pub fn new(allowance: Allowance, rates: Rates) -> Self {
        Self { allowance, rates, bytes: Portion::default(), datagrams: Portion::default() }
    }

    /// Changes the rates. What was drawn by then is kept.
    pub fn set_rates(&mut self, rates: Rates) {
        self.rates = rates;
    }

    /// What it draws from.
    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// Counts a datagram of so many bytes if both rates let it pass, and nothing otherwise.
    #[must_use]
    pub fn admit(&mut self, now: Instant, bytes: usize) -> bool {
        if self.rates == Rates::default() {
            return true;
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let Self { allowance, rates, .. } = self;
        let (at, shared) = (allowance.clock(now), &allowance.0);
        let mut portions = [
            (&mut self.bytes, rates.bytes, &shared.bytes, bytes),
            (&mut self.datagrams, rates.datagrams, &shared.datagrams, 1),
        ];
        let has = |(portion, rate, bucket, cost): &mut (&mut Portion, Option<Rate>, &Bucket, u64)| {
            rate.is_none_or(|rate| portion.draw(at, *cost, rate, bucket))
        };
        let admitted = portions.iter_mut().all(has);
        for (portion, rate, _, cost) in portions {
            if admitted && rate.is_some() {
                portion.left -= cost;
            }
        }
        admitted
    }
}

impl Portion {
    /// Sees to it that so much is left, and says whether it is.
    fn draw(&mut self, at: u64, cost: u64, rate: Rate, bucket: &Bucket) -> bool {
        // What was not sent for so long is nobody's any more: hoarded, it would come on top of the burst.
        if at.saturating_sub(self.at) > LAPSE {
            self.left = 0;
        }
        if cost > rate.burst {
            return false;
        }
        if self.left < cost {
            let missing = cost - self.left;
            let portion = missing.max(rate.per_second / PORTIONS);
            let Some(drawn) = [portion, missing].into_iter().find(|amount| bucket.take(at, *amount, rate)) else {
                return false;
            };
            *self = Self { left: self.left + drawn, at };
        }
        true
    }
}

impl Bucket {
    /// Gives out `amount`, all or nothing.
    fn take(&self, at: u64, amount: u64, rate: Rate) -> bool {
        // At a rate of nothing, nothing is ever due.
        if rate.per_second == 0 {
            return false;
        }
        let lasts = |amount: u64| {
            let nanos = u128::from(amount) * 1_000_000_000 / u128::from(rate.per_second);
            u64::try_from(nanos).unwrap_or(u64::MAX)
        };
        let most = lasts(rate.burst);
        let give = |due: u64| {
            let due = due.max(at).saturating_add(lasts(amount));
            (due - at <= most).then_some(due)
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give).is_ok()
    }
}

/// How many portions a second's worth is.
const PORTIONS: u64 = 128;
/// How long a portion may be left unsent, in nanoseconds.
const LAPSE: u64 = 100_000_000;

#[cfg(test)]
mod tests;

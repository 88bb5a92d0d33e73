//! Limits that many sessions share: leased in chunks, so that counting costs no shared write.
//!
//! These counters are the only thing of this crate that threads share. They order no other memory,
//! so every access is relaxed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a pool is divided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Terms {
    /// What all leases hold together, at most.
    pub total: u64,
    /// In what steps a lease grows and shrinks.
    pub chunk: u64,
    /// What a lease may hold however little is free, so long as the total lasts.
    pub guaranteed: u64,
    /// What a lease may hold beyond that.
    pub sharing: Sharing,
}

/// What a lease may hold beyond what is guaranteed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sharing {
    /// All that is free.
    All,
    /// At most as much as stays free behind it, so that one greedy lease takes half, two take a third each.
    AsMuchAsFree,
}

/// Something countable that many leases share: bytes, flows.
///
/// Cloning gives another handle to the same pool. What it has given out never exceeds its total.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    terms: Terms,
    taken: AtomicU64,
}

impl Pool {
    /// A pool of which nothing is taken.
    pub fn new(terms: Terms) -> Self {
        Self(Arc::new(Shared { terms, taken: AtomicU64::new(0) }))
    }

    /// The pool of memory: 16 KiB at a time, and at most as much as is still free beyond what is guaranteed.
    pub fn memory(total: u64, guaranteed: u64) -> Self {
        Self::new(Terms { total, chunk: 16 * 1_024, guaranteed, sharing: Sharing::AsMuchAsFree })
    }

    /// A lease that holds nothing yet.
    pub fn lease(&self) -> Lease {
        Lease { pool: self.clone(), used: 0, held: 0 }
    }

    /// Its terms.
    pub fn terms(&self) -> Terms {
        self.0.terms
    }

    /// What all leases hold.
    pub fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// What no lease holds.
    pub fn free(&self) -> u64 {
        self.0.terms.total.saturating_sub(self.taken())
    }

    /// Takes `amount` for a lease that holds `held` already, all or nothing.
    fn take(&self, held: u64, amount: u64) -> bool {
        let terms = self.0.terms;
        let held = held.saturating_add(amount);
        let take = |taken: u64| {
            let taken = taken.checked_add(amount)?;
            let free = terms.total.checked_sub(taken)?;
            let fair = match terms.sharing {
                Sharing::All => true,
                Sharing::AsMuchAsFree => held <= terms.guaranteed || held <= free,
            };
            fair.then_some(taken)
        };
        self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn give_back(&self, amount: u64) {
        self.0.taken.fetch_sub(amount, Ordering::Relaxed);
    }
}

/// What one session has of a [`Pool`].
///
/// It counts by itself and goes to the pool only when a chunk begins or two have become free. What it
/// holds returns when it is dropped.
#[derive(Debug)]
pub struct Lease {
    pool: Pool,
    used: u64,
    held: u64,
}

impl Lease {
    /// Uses `amount` more, or nothing and says no.
    #[must_use]
    pub fn take(&mut self, amount: u64) -> bool {
        let Some(used) = self.used.checked_add(amount) else {
            return false;
        };
        if used > self.held && !self.grow(used) {
            return false;
        }
        self.used = used;
        true
    }

    /// Uses `amount` less. Giving more than was taken gives all.
    pub fn give(&mut self, amount: u64) {
        self.used = self.used.saturating_sub(amount);
        let chunk = self.chunk();
        let keep = match self.used {
            0 => 0,
            used => used.div_ceil(chunk).saturating_add(1).saturating_mul(chunk),
        };
        if self.held > keep {
            self.pool.give_back(self.held - keep);
            self.held = keep;
        }
    }

    /// How much more it could use at this moment.
    pub fn room(&self) -> u64 {
        let (terms, free) = (self.pool.terms(), self.pool.free());
        let fair = match terms.sharing {
            Sharing::All => free,
            Sharing::AsMuchAsFree => {
                let guaranteed = terms.guaranteed.saturating_sub(self.held);
                guaranteed.max(free.saturating_sub(self.held) / 2).min(free)
            }
        };
        self.held - self.used + fair
    }

    /// What is in use.
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// What the pool has given; at least what is used.
    pub const fn held(&self) -> u64 {
        self.held
    }

    /// Asks for whole chunks, or where these are not to be had for exactly what is missing.
    fn grow(&mut self, used: u64) -> bool {
        let missing = used - self.held;
        let chunks = missing.div_ceil(self.chunk()).saturating_mul(self.chunk());
        let granted = [chunks, missing].into_iter().find(|amount| self.pool.take(self.held, *amount));
        self.held += granted.unwrap_or(0);
        granted.is_some()
    }

    fn chunk(&self) -> u64 {
        self.pool.0.terms.chunk.max(1)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.give_back(self.held);
    }
}

#[cfg(test)]
mod tests;

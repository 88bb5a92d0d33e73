//! What may be sent to whoever has not shown that answers reach it: a listener of a tunnel is no reflector.
//!
//! The source of a datagram can be forged, and then the answer goes to somebody who never asked. So a source gets
//! little until it is *confirmed*: until it has spoken again after an answer. Before that it gets, in each window, a
//! first allowance that a plain answer of DNS fits into, or some times what it sent, whichever is more; and all
//! unconfirmed sources together have one rate.
//!
//! A confirmed source costs nothing here: its flows know that it is, and do not ask again. Who goes on forging for
//! longer than an answer takes cannot be told from a source that speaks by itself; the rate of all bounds what becomes
//! of that before it is confirmed, and the limits of its grant what becomes of it afterwards.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::addr::source;
use super::rate::{Admit, Gcra, Rate};
use crate::config::Limits;

/// The budget of unconfirmed sources; all sessions of a server share one.
///
/// Cloning gives another handle to the same budget.
#[derive(Clone, Debug)]
pub struct Replies(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    terms: Terms,
    accounts: BTreeMap<IpAddr, Account>,
    all: Gcra,
    /// When those that are over were last looked for.
    swept: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Terms {
    first: u64,
    factor: u64,
    window: Duration,
    sources: usize,
}

/// What a source has sent and was sent, in the window that began last.
#[derive(Clone, Copy, Debug)]
struct Account {
    began: Instant,
    sent: u64,
    replied: u64,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    /// It was sent nothing yet.
    New,
    /// It was sent something, and has not spoken since.
    Answered,
    /// It has spoken after an answer.
    Confirmed,
}

impl Replies {
    /// A budget of which nothing is used.
    pub fn new(limits: &Limits) -> Self {
        let terms = Terms {
            first: limits.reply_first as u64,
            factor: limits.reply_factor as u64,
            window: limits.reply_window,
            sources: limits.reply_sources,
        };
        let rate = limits.reply_rate as u64;
        let all = Gcra::new(Rate { per_second: rate, burst: rate });
        Self(Arc::new(Mutex::new(Table { terms, accounts: BTreeMap::new(), all, swept: None })))
    }

    /// A datagram of so many bytes came from here. Says whether that confirms its source, or something did before.
    pub fn heard(&self, now: Instant, from: IpAddr, bytes: usize) -> bool {
        let mut table = self.lock();
        let Some(account) = table.account(now, from) else { return false };
        account.sent = account.sent.saturating_add(bytes as u64);
        if account.standing == Standing::Answered {
            account.standing = Standing::Confirmed;
        }
        account.standing == Standing::Confirmed
    }

    /// Whether an answer of so many bytes may go there; then it is counted.
    #[must_use]
    pub fn admit(&self, now: Instant, to: IpAddr, bytes: usize) -> bool {
        let (mut table, bytes) = (self.lock(), bytes as u64);
        let terms = table.terms;
        let Some(account) = table.account(now, to) else { return false };
        if account.standing == Standing::Confirmed {
            return true;
        }
        let allowance = terms.first.max(account.sent.saturating_mul(terms.factor));
        let replied = account.replied.saturating_add(bytes);
        if replied > allowance || table.all.admit(now, bytes) != Admit::Yes {
            return false;
        }
        if let Some(account) = table.account(now, to) {
            account.replied = replied;
            account.standing = Standing::Answered;
        }
        true
    }

    /// How many sources are known; for tests and figures.
    pub fn sources(&self) -> usize {
        self.lock().accounts.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The account of a source, in a window that is not over. None is left where too many have one.
    fn account(&mut self, now: Instant, of: IpAddr) -> Option<&mut Account> {
        let of = source(of);
        if self.accounts.len() >= self.terms.sources && !self.accounts.contains_key(&of) {
            self.sweep(now);
            if self.accounts.len() >= self.terms.sources {
                return None;
            }
        }
        let Terms { window, .. } = self.terms;
        let account =
            self.accounts.entry(of).or_insert(Account { began: now, sent: 0, replied: 0, standing: Standing::New });
        if account.lasted(now) >= window {
            let over = account.is_over(now, window);
            let standing = if over { Standing::New } else { account.standing };
            *account = Account { began: now, sent: 0, replied: 0, standing };
        }
        Some(account)
    }

    /// Forgets those that have been quiet; not more often than is worth looking through all.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        let window = self.terms.window;
        self.accounts.retain(|_, account| !account.is_over(now, window));
    }
}

impl Account {
    fn lasted(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// Whether it is as good as new: one that is confirmed is remembered for longer, so that who asks from a port of
    /// its own each time is confirmed at all.
    fn is_over(&self, now: Instant, window: Duration) -> bool {
        let lasts = match self.standing {
            Standing::New | Standing::Answered => 1,
            Standing::Confirmed => CONFIRMED,
        };
        self.lasted(now) >= window.saturating_mul(lasts)
    }
}

/// For how many windows a confirmed source is remembered that says nothing new.
const CONFIRMED: u32 = 18;
const SWEEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

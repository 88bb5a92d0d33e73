//! One dial's addresses, raced (RFC 8305).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::PathFailure;

/// Races the addresses that a server's name resolved to; the first to connect wins.
///
/// Families alternate, beginning with that of the first address; the next attempt begins 250 ms after
/// the last, at once when one fails. At most eight addresses are tried.
#[derive(Debug)]
pub struct Race {
    waiting: VecDeque<SocketAddr>,
    /// Attempts by index; those that failed are none.
    trying: Vec<Option<SocketAddr>>,
    next_at: Option<Instant>,
    deadline: Instant,
    state: State,
}

/// How a race stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Attempts are under way or to come.
    Racing,
    /// This attempt connected; the others are to be closed.
    Won(usize),
    /// Nothing connected; this was the last failure.
    Lost(PathFailure),
}

impl Race {
    /// Lines up the addresses in the order they were resolved in; `within` bounds the whole race.
    pub fn new(now: Instant, addresses: &[SocketAddr], within: Duration) -> Self {
        let waiting = interleave(addresses);
        let state = if waiting.is_empty() { State::Lost(PathFailure::Unresolved) } else { State::Racing };
        Self { waiting, trying: Vec::new(), next_at: None, deadline: now + within, state }
    }

    /// The next address to connect to, if one is due; attempts are numbered from 0 in this order.
    pub fn poll_attempt(&mut self, now: Instant) -> Option<SocketAddr> {
        if self.state != State::Racing {
            return None;
        }
        if now >= self.deadline {
            self.state = State::Lost(PathFailure::TimedOut);
            return None;
        }
        if self.next_at.is_some_and(|at| now < at) {
            return None;
        }
        let address = self.waiting.pop_front()?;
        self.trying.push(Some(address));
        self.next_at = Some(now + STAGGER);
        Some(address)
    }

    /// Takes note that an attempt connected; answers whether it is the winner.
    pub fn handle_connected(&mut self, attempt: usize) -> bool {
        let running = self.trying.get(attempt).is_some_and(Option::is_some);
        if self.state != State::Racing || !running {
            return self.state == State::Won(attempt);
        }
        self.state = State::Won(attempt);
        self.waiting.clear();
        true
    }

    /// Takes note that an attempt failed: the next may begin at once.
    pub fn handle_failed(&mut self, attempt: usize, why: PathFailure) {
        let Some(running) = self.trying.get_mut(attempt) else { return };
        if self.state != State::Racing || running.take().is_none() {
            return;
        }
        self.next_at = None;
        if self.waiting.is_empty() && self.trying.iter().all(Option::is_none) {
            self.state = State::Lost(why);
        }
    }

    /// When [`poll_attempt`](Self::poll_attempt) is to be asked again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state != State::Racing {
            return None;
        }
        let next = self.next_at.filter(|_| !self.waiting.is_empty());
        Some(next.map_or(self.deadline, |at| at.min(self.deadline)))
    }

    /// How it stands.
    pub fn state(&self) -> State {
        self.state
    }
}

/// Alternates the families and drops what appears twice.
fn interleave(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let Some(first) = addresses.first() else { return VecDeque::new() };
    let (mut preferred, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv4() == first.is_ipv4());
    let mut raced = VecDeque::new();
    while raced.len() < ADDRESSES_MAX && !(preferred.is_empty() && other.is_empty()) {
        for family in [&mut preferred, &mut other] {
            if let Some(address) = family.pop_front().filter(|address| !raced.contains(address)) {
                raced.push_back(address);
            }
        }
    }
    raced.truncate(ADDRESSES_MAX);
    raced
}

const STAGGER: Duration = Duration::from_millis(250);
const ADDRESSES_MAX: usize = 8;

#[cfg(test)]
mod tests;

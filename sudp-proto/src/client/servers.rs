//! The configured servers: which is preferred, which may be tried, and what each has earned.
//!
//! The order is drawn once: by priority, and by weight among equals, so that many clients spread. It
//! then stays, and it is asked only when a new session is needed: a client that failed over does not
//! leave a working session to go back, because moving costs a session and coming back costs nothing at
//! the next need. A failure is held against a server for 60 s; after that it has its place in the order
//! again.
//!
//! Nothing a server says adds to the list: GOAWAY and redirects can only point into it.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::config::client::{Scheme, ServerConfig};
use crate::rng::Rng;
use crate::wire::Address;

/// The servers of a client, by their index in its configuration.
#[derive(Debug)]
pub struct Servers {
    entries: Vec<Entry>,
    /// Indices, preferred first.
    order: Vec<usize>,
}

#[derive(Debug)]
struct Entry {
    config: ServerConfig,
    tried: Option<Instant>,
    backoff: Backoff,
}

impl Servers {
    /// Draws the order of these servers.
    pub fn new(configs: Vec<ServerConfig>, rng: &mut Rng) -> Self {
        let order = draw_order(&configs, rng);
        let entry = |config| Entry { config, tried: None, backoff: Backoff::default() };
        Self { entries: configs.into_iter().map(entry).collect(), order }
    }

    /// Takes note that `server` is being tried.
    pub(crate) fn handle_start(&mut self, now: Instant, server: usize, rng: &mut Rng) {
        self.entries[server].tried = Some(now);
        self.entries[server].backoff.handle_start(now, rng);
    }

    /// Takes note that the network changed.
    pub(crate) fn handle_wake(&mut self, now: Instant) {
        self.entries.iter_mut().for_each(|entry| entry.backoff.handle_wake(now));
    }

    pub(crate) fn handle_amends(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.backoff.handle_amends());
    }

    /// What `server` has earned.
    pub(crate) fn backoff_mut(&mut self, server: usize) -> &mut Backoff {
        &mut self.entries[server].backoff
    }

    /// What `server` has earned.
    pub(crate) fn backoff(&self, server: usize) -> &Backoff {
        &self.entries[server].backoff
    }

    /// The best of `candidates` for a new session: one that is not being dialled and has not failed
    /// lately, in the drawn order; else the one tried longest ago.
    pub(crate) fn best(&self, now: Instant, candidates: &[usize], dialled: impl Fn(usize) -> bool) -> Option<usize> {
        let rank = |server: &usize| {
            let entry = &self.entries[*server];
            let troubled = entry.backoff.failed().is_some_and(|failed| now < failed + HELD_AGAINST);
            let tried = entry.tried.filter(|_| troubled);
            (dialled(*server), troubled, tried, self.order.iter().position(|index| index == server))
        };
        candidates.iter().copied().min_by_key(rank)
    }

    /// The configured server that a URL means, if any.
    pub fn find(&self, scheme: Scheme, address: &Address, path: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.config.is_at(scheme, address, path))
    }

    /// How `server` is configured.
    pub fn config(&self, server: usize) -> Option<&ServerConfig> {
        self.entries.get(server).map(|entry| &entry.config)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Indices by priority; among equals each next one is drawn by weight, those of weight 0 last.
fn draw_order(configs: &[ServerConfig], rng: &mut Rng) -> Vec<usize> {
    let mut left: Vec<usize> = (0..configs.len()).collect();
    left.sort_by_key(|index| configs[*index].priority);
    let mut order = Vec::with_capacity(left.len());
    while let Some(first) = left.first() {
        let equals = left.iter().take_while(|index| configs[**index].priority == configs[*first].priority).count();
        let total = left[..equals].iter().map(|index| u64::from(configs[*index].weight)).sum();
        let mut draw = rng.below(total);
        let chosen = left[..equals].iter().position(|index| {
            let weight = u64::from(configs[*index].weight);
            let here = draw < weight;
            draw = draw.saturating_sub(weight);
            here
        });
        order.push(left.remove(chosen.unwrap_or(0)));
    }
    order
}

const HELD_AGAINST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;

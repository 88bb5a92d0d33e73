//! Names, and how long it takes to look them up.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::clock::{NEVER, Nanos, span};
use crate::net::{Event, Host, Net};

/// One look-up of a name.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Query(pub u32);

/// How a look-up stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Lookup {
    /// There is no such name.
    Failed,
    /// The addresses of the name, as they were when the answer came.
    Found(Vec<IpAddr>),
    /// Still under way; [`Ready::Name`](crate::net::Ready::Name) follows.
    Pending,
}

/// All names of the world.
#[derive(Debug)]
pub(super) struct Names {
    records: BTreeMap<String, Record>,
    queries: Vec<Asked>,
}

#[derive(Debug)]
struct Record {
    addresses: Vec<IpAddr>,
    takes: Nanos,
}

#[derive(Debug)]
struct Asked {
    name: String,
    done_at: Nanos,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { records: BTreeMap::new(), queries: Vec::new() }
    }
}

impl Net {
    /// Gives a name its addresses, and says how long a look-up takes; without addresses it fails.
    ///
    /// A look-up that takes [`Duration::MAX`] is never answered.
    pub fn set_name(&mut self, name: &str, addresses: Vec<IpAddr>, takes: Duration) {
        self.names.records.insert(name.to_owned(), Record { addresses, takes: span(takes) });
    }

    /// Starts a look-up; an unknown name fails after a millisecond.
    pub fn resolve(&mut self, now: Instant, host: Host, name: &str) -> Query {
        let now = self.tick(now);
        let takes = self.names.records.get(name).map_or(1_000_000, |record| record.takes);
        let done_at = now.saturating_add(takes);
        let query = Query(u32::try_from(self.names.queries.len()).expect("a world asks for few names"));
        self.names.queries.push(Asked { name: name.to_owned(), done_at });
        if done_at != NEVER {
            self.agenda.add(done_at, Event::Name { query, host });
        }
        query
    }

    /// How a look-up stands.
    pub fn resolved(&self, query: Query) -> Lookup {
        let Some(asked) = self.names.queries.get(query.0 as usize) else { return Lookup::Failed };
        if asked.done_at > self.now {
            return Lookup::Pending;
        }
        match self.names.records.get(&asked.name) {
            Some(record) if !record.addresses.is_empty() => Lookup::Found(record.addresses.clone()),
            Some(_) | None => Lookup::Failed,
        }
    }
}

//! Streams that belong to no session yet: how many there may be, and which of them make room for others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::access::source;
use crate::config::Limits;
use crate::rng::Rng;

/// Counts the accepted streams that nobody knows yet, in all and by where they come from.
///
/// Whoever takes his time is who makes room: a stream that has not said what it wants, the oldest of them. So those
/// who fill all places there are, and say nothing, do not shut out somebody who speaks at once.
#[derive(Debug, Default)]
pub struct Strangers {
    places: BTreeMap<u64, Option<IpAddr>>,
    by_source: BTreeMap<IpAddr, BTreeSet<u64>>,
    /// Those that have not said what they want, the oldest first.
    silent: BTreeSet<u64>,
}

/// Whether one more stream may come in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Entry {
    /// It may.
    In,
    /// It may, and this one is to be closed for it.
    InsteadOf(u64),
    /// It may not, and is to be closed at once.
    Out,
}

impl Strangers {
    /// Whether one more stream may come from here; then it counts until it [leaves](Self::leave), by this number,
    /// which is higher than those before. One whose source nobody knows yet has none: it came through a proxy.
    pub fn enter(&mut self, who: u64, from: Option<IpAddr>, limits: &Limits, rng: &mut Rng) -> Entry {
        let from = from.map(source);
        let same = from.and_then(|from| self.by_source.get(&from));
        let crowded = same.is_some_and(|same| same.len() >= limits.strangers_per_source);
        let full = self.places.len() >= limits.strangers;
        let early = self.places.len() >= limits.strangers_early && rng.chance(percent(limits), 100);
        let oldest = match same {
            Some(same) if crowded => same.intersection(&self.silent).next(),
            Some(_) | None => self.silent.first(),
        };
        let entry = match (crowded || full || early, oldest) {
            (false, _) => Entry::In,
            (true, Some(oldest)) => Entry::InsteadOf(*oldest),
            // Nobody is silent: all wait for us.
            (true, None) => return Entry::Out,
        };
        if let Entry::InsteadOf(other) = entry {
            self.leave(other);
        }
        self.places.insert(who, from);
        self.silent.insert(who);
        if let Some(from) = from {
            self.by_source.entry(from).or_default().insert(who);
        }
        entry
    }

    /// A stream has said what it wants: it does not make room for others any more.
    pub fn heard(&mut self, who: u64) {
        self.silent.remove(&who);
    }

    /// A proxy has said where a stream comes from. Says whether there is room for one more of there; it counts on
    /// there until it leaves.
    pub fn comes_from(&mut self, who: u64, from: IpAddr, limits: &Limits) -> bool {
        let from = source(from);
        let Some(place) = self.places.get_mut(&who) else { return false };
        if let Some(before) = place.replace(from) {
            self.forget(who, before);
        }
        let same = self.by_source.entry(from).or_default();
        same.insert(who);
        same.len() <= limits.strangers_per_source
    }

    /// A stream that entered has become a link, or has ended.
    pub fn leave(&mut self, who: u64) {
        self.silent.remove(&who);
        if let Some(Some(from)) = self.places.remove(&who) {
            self.forget(who, from);
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    fn forget(&mut self, who: u64, from: IpAddr) {
        let Some(same) = self.by_source.get_mut(&from) else { return };
        same.remove(&who);
        if same.is_empty() {
            self.by_source.remove(&from);
        }
    }
}

fn percent(limits: &Limits) -> u64 {
    limits.strangers_drop as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    struct Hall {
        strangers: Strangers,
        limits: Limits,
        rng: Rng,
        next: u64,
    }

    impl Hall {
        fn new(limits: Limits) -> Self {
            Self { strangers: Strangers::default(), limits, rng: Rng::new(&Seed::from(1)), next: 0 }
        }

        fn enter(&mut self, from: &str) -> Entry {
            self.next += 1;
            let from = Some(from.parse().expect("an address"));
            self.strangers.enter(self.next, from, &self.limits, &mut self.rng)
        }
    }

    #[test]
    fn who_has_left_makes_room_for_another_of_the_same_source() {
        let mut hall = Hall::new(Limits { strangers_per_source: 2, ..Limits::default() });
        for from in ["2001:db8::1", "2001:db8::2"] {
            assert_eq!(hall.enter(from), Entry::In);
        }
        hall.strangers.heard(1);
        hall.strangers.heard(2);
        assert_eq!(hall.enter("2001:db8::3"), Entry::Out, "one /64 is one source");
        assert_eq!(hall.enter("2001:db8:0:1::1"), Entry::In);
        hall.strangers.leave(1);
        assert_eq!(hall.enter("2001:db8::3"), Entry::In);
        hall.strangers.leave(99);
        assert_eq!(hall.strangers.count(), 3, "who never entered cannot leave");
    }

    #[test]
    fn t12_who_says_nothing_makes_room_for_who_may_and_the_oldest_does_first() {
        let mut hall = Hall::new(Limits { strangers: 4, strangers_early: 4, ..Limits::default() });
        for host in 1..=4 {
            assert_eq!(hall.enter(&format!("192.0.2.{host}")), Entry::In);
        }
        hall.strangers.heard(1);
        assert_eq!(hall.enter("192.0.2.5"), Entry::InsteadOf(2));
        assert_eq!(hall.enter("192.0.2.6"), Entry::InsteadOf(3));
        for who in 4..=6 {
            hall.strangers.heard(who);
        }
        assert_eq!(hall.enter("192.0.2.7"), Entry::Out, "all of them wait for us");
        assert_eq!(hall.strangers.count(), 4);
    }

    #[test]
    fn t12_of_a_crowded_source_its_own_streams_make_room() {
        let mut hall = Hall::new(Limits { strangers_per_source: 2, ..Limits::default() });
        for from in ["192.0.2.9", "192.0.2.1", "192.0.2.1"] {
            assert_eq!(hall.enter(from), Entry::In);
        }
        assert_eq!(hall.enter("192.0.2.1"), Entry::InsteadOf(2));
    }

    #[test]
    fn t10_some_are_dropped_early_as_often_as_is_configured() {
        for percent in [0, 30, 100] {
            let limits =
                Limits { strangers: 10_000, strangers_early: 64, strangers_drop: percent, ..Limits::default() };
            let mut hall = Hall::new(limits);
            let entries = (0..4_000_u32).map(|host| hall.enter(&std::net::Ipv4Addr::from(host).to_string()));
            let dropped = entries.filter(|entry| *entry != Entry::In).count();
            assert!(dropped.abs_diff(3_936 * percent / 100) < 200, "{dropped} of 3,936 at {percent} %");
        }
    }

    #[test]
    fn who_comes_through_a_proxy_counts_where_it_comes_from() {
        let mut hall = Hall::new(Limits { strangers_per_source: 2, ..Limits::default() });
        for who in 1..=20 {
            assert_eq!(hall.strangers.enter(who, None, &hall.limits, &mut hall.rng), Entry::In, "{who}");
        }
        let from = |host: u8| IpAddr::from([192, 0, 2, host]);
        assert!(hall.strangers.comes_from(1, from(1), &hall.limits));
        assert!(hall.strangers.comes_from(2, from(1), &hall.limits));
        assert!(!hall.strangers.comes_from(3, from(1), &hall.limits), "the third of one source");
        assert!(hall.strangers.comes_from(4, from(2), &hall.limits));
        assert!(!hall.strangers.comes_from(99, from(2), &hall.limits), "who has gone");
        (1..=20).for_each(|who| hall.strangers.leave(who));
        assert!(hall.strangers.by_source.is_empty() && hall.strangers.silent.is_empty());
    }
}

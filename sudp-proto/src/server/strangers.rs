//! Streams that belong to no session yet: how many there may be.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::access::source;
use crate::config::Limits;
use crate::rng::Rng;

/// Counts the accepted streams that nobody knows yet, in all and by where they come from.
#[derive(Debug, Default)]
pub struct Strangers {
    by_source: BTreeMap<IpAddr, usize>,
    all: usize,
}

impl Strangers {
    /// Whether one more stream may come from here; then it counts until it [leaves](Self::leave).
    ///
    /// Some are turned away before all are, so that whoever takes all the room there is does not shut out
    /// the others.
    pub fn enter(&mut self, from: IpAddr, limits: &Limits, rng: &mut Rng) -> bool {
        let from = source(from);
        let same = self.by_source.get(&from).copied().unwrap_or_default();
        let early = self.all >= limits.strangers_early && rng.chance(30, 100);
        let room = self.all < limits.strangers && same < limits.strangers_per_source && !early;
        if room {
            self.by_source.insert(from, same + 1);
            self.all += 1;
        }
        room
    }

    /// A stream that entered has become a link, or has ended.
    pub fn leave(&mut self, from: IpAddr) {
        let from = source(from);
        let Some(count) = self.by_source.get_mut(&from) else { return };
        self.all -= 1;
        *count -= 1;
        if *count == 0 {
            self.by_source.remove(&from);
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn who_has_left_makes_room_for_another_of_the_same_source() {
        let limits = Limits { strangers_per_source: 2, ..Limits::default() };
        let (mut strangers, mut rng) = (Strangers::default(), Rng::new(&Seed::from(1)));
        let mut enter = |strangers: &mut Strangers, from: &str| {
            strangers.enter(from.parse().expect("an address"), &limits, &mut rng)
        };
        assert!(enter(&mut strangers, "2001:db8::1") && enter(&mut strangers, "2001:db8::2"));
        assert!(!enter(&mut strangers, "2001:db8::3"), "one /64 is one source");
        assert!(enter(&mut strangers, "2001:db8:0:1::1"));
        strangers.leave("2001:db8::ffff".parse().expect("an address"));
        assert!(enter(&mut strangers, "2001:db8::3"));
        strangers.leave("192.0.2.1".parse().expect("an address"));
        assert_eq!(strangers.count(), 3, "who never entered cannot leave");
    }
}

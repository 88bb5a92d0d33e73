//! Who guesses waits: failures of authentication make a source slow, and never shut it out.
//!
//! A source that has failed is penalised for a while, twice as long each time. Until that is over, what comes from
//! there is looked at one by one, so many a second: a neighbour behind the same address with the right password gets in
//! a little later, and who tries passwords tries few. Who holds a ticket, or joins a session by its proof, guesses
//! nothing, and does not come here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sudp_tokio::proto::access::source;

use crate::run::lock;

/// Sources that have failed.
#[derive(Debug)]
pub(crate) struct Penalties {
    sources: Mutex<BTreeMap<IpAddr, Record>>,
    /// How long somebody waits at most.
    patience: Duration,
}

/// When somebody is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Judgement {
    /// At once.
    Now,
    /// When it is its turn, after this time.
    After(Duration),
    /// Not now: too many of there wait already.
    Never,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// Until when it is penalised.
    until: Instant,
    /// When whoever came last from there has its turn.
    turn: Instant,
    /// How often it has failed, as far as that counts.
    failures: u8,
}

impl Record {
    /// For how long it was penalised last.
    fn penalty(&self) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.saturating_sub(1).min(16));
        doubled.min(LAST)
    }

    /// Whether its failures count no more.
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.until) > LAST
    }
}

impl Penalties {
    /// Nobody has failed. Whoever waits is to be decided on within this time.
    pub(crate) fn new(deadline: Duration) -> Self {
        Self { sources: Mutex::default(), patience: deadline.mul_f64(PART) }
    }

    /// When whoever comes from here is looked at. It has its turn, then, and the next comes behind it.
    pub(crate) fn judge(&self, now: Instant, from: IpAddr) -> Judgement {
        let mut sources = lock(&self.sources);
        let Some(record) = sources.get_mut(&source(from)).filter(|record| now < record.until) else {
            return Judgement::Now;
        };
        let turn = record.turn.max(now) + PACE;
        let wait = turn - now;
        if wait > self.patience {
            return Judgement::Never;
        }
        record.turn = turn;
        Judgement::After(wait)
    }

    /// Whoever came from here has hung up before its turn: nobody is kept waiting by it.
    pub(crate) fn give_back(&self, from: IpAddr) {
        if let Some(record) = lock(&self.sources).get_mut(&source(from)) {
            record.turn = record.turn.checked_sub(PACE).unwrap_or(record.turn);
        }
    }

    /// Whoever came from here has shown something wrong. What a neighbour shows rightly takes nothing of that back.
    pub(crate) fn failed(&self, now: Instant, from: IpAddr) {
        let (mut sources, from) = (lock(&self.sources), source(from));
        if sources.len() >= SOURCES && !sources.contains_key(&from) {
            // Who has so many addresses is not held up by a table; one of them makes room.
            let near = sources.range(from..).next().or_else(|| sources.iter().next()).map(|(near, _)| *near);
            near.map(|near| sources.remove(&near));
        }
        let record = sources.entry(from).or_insert(Record { until: now, turn: now, failures: 0 });
        if record.is_over(now) {
            record.failures = 0;
        }
        record.failures = record.failures.saturating_add(1);
        record.until = record.until.max(now + record.penalty());
    }

    /// How many sources are penalised, as far as they are known.
    pub(crate) fn count(&self, now: Instant) -> usize {
        let mut sources = lock(&self.sources);
        sources.retain(|_, record| !record.is_over(now));
        sources.values().filter(|record| now < record.until).count()
    }
}

/// A first penalty, and the longest.
const FIRST: Duration = Duration::from_secs(5);
const LAST: Duration = Duration::from_secs(600);
/// One of a penalised source is looked at in this time.
const PACE: Duration = Duration::from_millis(250);
/// This part of the time for a decision may be waited.
const PART: f64 = 0.8;
/// Sources that are told apart.
const SOURCES: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(5);

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(number).into()
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn t10_penalties_double_from_five_seconds_to_ten_minutes_and_are_forgotten() {
        let (penalties, mut now) = (Penalties::new(DEADLINE), Instant::now());
        for expected in [5, 10, 20, 40, 80, 160, 320, 600, 600] {
            penalties.failed(now, address(1));
            assert_ne!(penalties.judge(now + seconds(expected) - PACE, address(1)), Judgement::Now, "{expected}");
            now += seconds(expected);
            assert_eq!(penalties.judge(now, address(1)), Judgement::Now, "{expected}");
        }
        now += LAST + seconds(1);
        penalties.failed(now, address(1));
        assert_eq!(penalties.judge(now + seconds(5), address(1)), Judgement::Now);
    }

    #[test]
    fn t10_a_neighbour_of_who_guesses_has_its_turn_within_five_seconds() {
        let (penalties, now) = (Penalties::new(DEADLINE), Instant::now());
        for _ in 0..100 {
            penalties.failed(now, address(1));
        }
        let mut waits = Vec::new();
        loop {
            match penalties.judge(now, address(1)) {
                Judgement::After(wait) => waits.push(wait),
                Judgement::Never => break,
                Judgement::Now => panic!("it is penalised"),
            }
        }
        assert_eq!(waits.len(), 16, "as many as a source may have streams without a session");
        assert!(waits.windows(2).all(|pair| pair[1] - pair[0] == PACE), "one by one: {waits:?}");
        assert!(waits.iter().all(|wait| *wait < DEADLINE));
        assert_eq!(
            penalties.judge(now + seconds(1), address(1)),
            Judgement::After(seconds(3) + PACE),
            "a second later"
        );
        assert_eq!(penalties.judge(now, address(2)), Judgement::Now, "another address");
    }

    #[test]
    fn t10_who_comes_and_hangs_up_takes_nobodys_turn() {
        let (penalties, now) = (Penalties::new(DEADLINE), Instant::now());
        penalties.failed(now, address(1));
        for _ in 0..10_000 {
            assert_eq!(penalties.judge(now, address(1)), Judgement::After(PACE));
            penalties.give_back(address(1));
        }
        penalties.give_back(address(2));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let (penalties, now) = (Penalties::new(DEADLINE), Instant::now());
        let from = |text: &str| text.parse::<IpAddr>().expect("an address");
        penalties.failed(now, from("2001:db8::1"));
        assert_ne!(penalties.judge(now, from("2001:db8::2")), Judgement::Now);
        assert_eq!(penalties.judge(now, from("2001:db8:0:1::2")), Judgement::Now);
    }

    #[test]
    fn t10_the_table_is_bounded_in_items_and_bytes() {
        let (penalties, now) = (Penalties::new(DEADLINE), Instant::now());
        for number in 0..70_000 {
            penalties.failed(now, address(number));
        }
        assert_eq!(penalties.count(now), SOURCES);
        assert_ne!(penalties.judge(now, address(69_999)), Judgement::Now, "the newest is in it");
        // A tree of such entries is at least half full.
        assert!(2 * SOURCES * (size_of::<IpAddr>() + size_of::<Record>()) <= 8 << 20);
        assert_eq!(penalties.count(now + seconds(700)), 0);
        assert!(lock(&penalties.sources).is_empty(), "what is over takes no room");
    }
}

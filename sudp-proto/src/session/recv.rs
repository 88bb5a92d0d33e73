//! Incoming half of a session: what was taken before, when to acknowledge, what is too late.

use std::time::{Duration, Instant};

use crate::wire::Number;

/// The numbers a session has taken, exactly those of the last [`WINDOW`]; older ones count as taken.
///
/// The ring has one word more than the window needs: with one less, a number at its far edge would
/// be refused though it never came, and a datagram would be lost silently.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    top: u64,
    words: Box<[u64; WORDS]>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self { top: 0, words: Box::new([0; WORDS]) }
    }

    /// Takes a number; false if it was taken before, or is too old to tell.
    pub(crate) fn insert(&mut self, number: Number) -> bool {
        let number = number.0;
        if number > self.top {
            self.advance(number);
        } else if self.top - number >= WINDOW {
            return false;
        }
        let (word, bit) = place(number);
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        fresh
    }

    /// The highest number taken.
    pub(crate) fn top(&self) -> u64 {
        self.top
    }

    /// The words of the ring, to be frozen.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words[..]
    }

    /// Puts together what [`top`](Self::top) and [`words`](Self::words) gave.
    pub(crate) fn thaw(top: u64, words: &[u64]) -> Option<Self> {
        let words = Box::new(<[u64; WORDS]>::try_from(words).ok()?);
        Some(Self { top, words })
    }

    fn advance(&mut self, number: u64) {
        let first = self.top / 64 + 1;
        let last = number / 64;
        let clear = (last + 1).saturating_sub(first).min(WORDS_U64);
        for word in 0..clear {
            let (index, _) = place((last - word) * 64);
            self.words[index] = 0;
        }
        self.top = number;
    }
}

/// What one link's receiver owes its sender.
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    /// Batches processed, duplicates included.
    pub(crate) processed: u64,
    told: u64,
    since: Option<Instant>,
    last: Instant,
    asked: bool,
    /// It is time, and only the link is waited for.
    ripe: bool,
}

impl Owed {
    pub(crate) fn new(now: Instant) -> Self {
        Self { processed: 0, told: 0, since: None, last: now, asked: false, ripe: false }
    }

    /// One more batch was processed.
    pub(crate) fn handle_batch(&mut self, now: Instant) {
        self.processed += 1;
        self.last = now;
        self.since.get_or_insert(now);
    }

    /// The sender wants to know at once.
    pub(crate) fn handle_ask(&mut self) {
        self.asked = self.told < self.processed;
    }

    /// The count to tell with data that leaves anyway, and how long the last batch waited for it.
    pub(crate) fn ride(&mut self, now: Instant) -> Option<(u64, Duration)> {
        if self.told == self.processed {
            return None;
        }
        self.told = self.processed;
        self.since = None;
        self.asked = false;
        self.ripe = false;
        Some((self.processed, now.saturating_duration_since(self.last)))
    }

    /// When it is time for an acknowledgement on its own; none once that was noticed.
    pub(crate) fn due(&self, delay: Duration) -> Option<Instant> {
        let since = self.since.filter(|_| !self.ripe)?;
        Some(if self.asked { since } else { since + delay })
    }

    /// Notices that it is time: from here on the acknowledgement leaves as soon as the link takes it.
    pub(crate) fn handle_timeout(&mut self, now: Instant, delay: Duration) {
        self.ripe |= self.due(delay).is_some_and(|due| due <= now);
    }

    /// Whether an acknowledgement should leave now, on its own if need be.
    pub(crate) fn wants_out(&self, now: Instant, delay: Duration) -> bool {
        self.ripe || self.due(delay).is_some_and(|due| due <= now)
    }
}

/// Tells datagrams that something below us held for too long, by the sender's clock.
///
/// Clocks are not compared: the least difference seen lately stands for the path itself, and what
/// exceeds it was waiting.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lateness {
    pub(crate) buckets: Option<(Instant, u32, u32)>,
}

impl Lateness {
    /// The least difference of late, if anything is known.
    pub(crate) fn least(&self) -> Option<u32> {
        self.buckets.map(|(_, old, new)| if earlier(new, old) { new } else { old })
    }

    /// Lets the first batch of a path stand for it, but for no more than `most`: what exceeds that was
    /// held, and those behind it are not to be measured by it.
    pub(crate) fn begin(&mut self, now: Instant, start: Instant, clock: u32, most: Option<u32>) {
        let difference = clock_at(start, now).wrapping_sub(clock);
        let base = most.filter(|most| earlier(*most, difference)).unwrap_or(difference);
        self.buckets.get_or_insert((now, base, base));
    }

    /// How much later than the fastest of late a batch came, whose sender's clock read `clock`.
    pub(crate) fn handle_clock(&mut self, now: Instant, start: Instant, clock: u32) -> Duration {
        let ours = clock_at(start, now);
        let difference = ours.wrapping_sub(clock);
        let (since, old, new) = self.buckets.unwrap_or((now, difference, difference));
        let new = if earlier(difference, new) { difference } else { new };
        self.buckets = Some(if now >= since + BUCKET { (now, new, difference) } else { (since, old, new) });
        let least = if earlier(new, old) { new } else { old };
        let late = difference.wrapping_sub(least);
        // A difference below the least is no lateness; it wraps to the upper half.
        Duration::from_millis(if late > u32::MAX / 2 { 0 } else { u64::from(late) })
    }
}

/// Milliseconds since the session's start, modulo 2³²: what goes on the wire as a clock.
pub(crate) fn clock_at(start: Instant, now: Instant) -> u32 {
    let elapsed = now.saturating_duration_since(start).as_millis() & u128::from(u32::MAX);
    u32::try_from(elapsed).unwrap_or(u32::MAX)
}

/// How many numbers back a duplicate is recognised exactly; the sender keeps within it.
pub(crate) const WINDOW: u64 = 8_192;

const WORDS: usize = 129;
const WORDS_U64: u64 = 129;
const BUCKET: Duration = Duration::from_secs(5);

fn place(number: u64) -> (usize, u64) {
    let word = usize::try_from(number / 64 % WORDS_U64).unwrap_or(0);
    (word, 1 << (number % 64))
}

fn earlier(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) > u32::MAX / 2
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::rng::{Rng, Seed};
    use crate::testing::{epoch, ms};

    #[test]
    fn the_window_is_exact_at_both_edges() {
        let mut seen = Seen::new();
        assert!(seen.insert(Number(WINDOW)));
        assert!(seen.insert(Number(1)), "8,191 back is inside");
        assert!(seen.insert(Number(WINDOW + 1)));
        assert!(!seen.insert(Number(1)), "8,192 back is outside");
        assert!(seen.insert(Number(2)));
        assert!(!seen.insert(Number(2)));
    }

    #[test]
    fn gaps_of_any_size_agree_with_a_set() {
        let mut rng = Rng::new(&Seed::from(11));
        for round in 0..40 {
            let (mut seen, mut model, mut top) = (Seen::new(), HashSet::new(), 0);
            for _ in 0..3_000 {
                let reach = [3, 200, 8_191, 8_192, 8_193, 8_300, 30_000][usize::try_from(rng.below(7)).unwrap()];
                let number = (top + 1 + rng.below(reach)).saturating_sub(rng.below(reach)).max(1);
                let expected = (number > top || top - number < WINDOW) && !model.contains(&number);
                model.insert(number);
                top = top.max(number);
                assert_eq!(seen.insert(Number(number)), expected, "round {round}, number {number}, top {top}");
            }
        }
    }

    #[test]
    fn an_acknowledgement_waits_for_data_unless_asked_for() {
        let start = epoch();
        let mut owed = Owed::new(start);
        owed.handle_ask();
        assert_eq!(owed.due(ms(25)), None, "nothing is owed");
        owed.handle_batch(start);
        owed.handle_batch(start + ms(10));
        assert_eq!(owed.due(ms(25)), Some(start + ms(25)));
        owed.handle_ask();
        assert_eq!(owed.due(ms(25)), Some(start));
        assert_eq!(owed.ride(start + ms(12)), Some((2, ms(2))));
        assert_eq!((owed.due(ms(25)), owed.ride(start + ms(13))), (None, None));
    }

    #[test]
    fn lateness_counts_from_the_least_delay_and_forgets_an_old_path() {
        let start = epoch();
        let mut late = Lateness::default();
        let at = |late: &mut Lateness, sent: u64, arrived: u64| {
            let clock = u32::try_from((sent + 4_000_000_000) & 0xffff_ffff).unwrap();
            late.handle_clock(start + ms(arrived), start, clock)
        };
        assert_eq!(at(&mut late, 0, 50), ms(0));
        assert_eq!(at(&mut late, 100, 350), ms(200));
        assert_eq!(at(&mut late, 400, 440), ms(0), "a faster one is the new least");
        assert_eq!(at(&mut late, 500, 550), ms(10));
        // The path becomes 300 ms longer for good: late at first, then that is what the path is.
        for second in 1..14 {
            let late = at(&mut late, second * 1_000, second * 1_000 + 340);
            assert!(late == ms(300) || second >= 6, "{second}: {late:?}");
            assert!(late == ms(0) || second <= 12, "{second}: {late:?}");
        }
    }
}

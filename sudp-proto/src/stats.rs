//! What is counted: why datagrams were dropped, and how long they waited.

use std::ops::{AddAssign, Index};
use std::time::Duration;

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum DropReason {
    /// It waited longer than the hard limit of its class.
    Age,
    /// Its flow was closed, or is not known.
    Closed,
    /// Its flow's queue stood for too long (CoDel).
    Codel,
    /// The grant does not allow its destination.
    Denied,
    /// The queue or the pool was full, and its flow held the most.
    Full,
    /// The session was lost while it was sent, so nobody knows whether it arrived.
    InDoubt,
    /// A realtime datagram that reached the far session too late.
    Late,
    /// Larger than a limit, or than the socket takes.
    Oversize,
    /// Links kept dying under the batch that carried it.
    Poison,
    /// A rate limit.
    Rate,
    /// Sent, never processed, and too old to be sent again.
    Stale,
    /// An answer to a source that has not shown that answers reach it, beyond what such a source gets.
    Unconfirmed,
    /// Its destination could not be resolved or reached.
    Unreachable,
}

impl DropReason {
    /// Every reason, in the order of their names.
    pub const ALL: [Self; 13] = [
        Self::Age,
        Self::Closed,
        Self::Codel,
        Self::Denied,
        Self::Full,
        Self::InDoubt,
        Self::Late,
        Self::Oversize,
        Self::Poison,
        Self::Rate,
        Self::Stale,
        Self::Unconfirmed,
        Self::Unreachable,
    ];

    /// The reason as one lower-case word, for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Closed => "closed",
            Self::Codel => "codel",
            Self::Denied => "denied",
            Self::Full => "full",
            Self::InDoubt => "in_doubt",
            Self::Late => "late",
            Self::Oversize => "oversize",
            Self::Poison => "poison",
            Self::Rate => "rate",
            Self::Stale => "stale",
            Self::Unconfirmed => "unconfirmed",
            Self::Unreachable => "unreachable",
        }
    }
}

/// How many datagrams were dropped, by reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Drops {
    /// Counts `datagrams` more.
    pub fn add(&mut self, reason: DropReason, datagrams: u64) {
        self.0[reason as usize] += datagrams;
    }

    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().zip(self.0)
    }
}

impl Index<DropReason> for Drops {
    type Output = u64;

    fn index(&self, reason: DropReason) -> &u64 {
        &self.0[reason as usize]
    }
}

impl AddAssign for Drops {
    fn add_assign(&mut self, other: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

/// How long datagrams waited in a queue before they were cut into a batch.
///
/// A histogram of powers of two: bucket 0 counts waits below 1 us, bucket n those below 2ⁿ us, the
/// last everything above.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct QueueDelay([u64; Self::BUCKETS]);

impl QueueDelay {
    /// How many buckets there are; the last begins at 4.2 s.
    pub const BUCKETS: usize = 24;

    /// Counts one wait.
    pub fn record(&mut self, wait: Duration) {
        let bits = u128::BITS - wait.as_micros().leading_zeros();
        let bucket = usize::try_from(bits).unwrap_or(usize::MAX).min(Self::BUCKETS - 1);
        self.0[bucket] += 1;
    }

    /// How many waits were counted.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every bucket as the wait it stays below and its count; nothing bounds the last.
    pub fn iter(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        let bound = |bucket: usize| (bucket + 1 < Self::BUCKETS).then(|| Duration::from_micros(1 << bucket));
        self.0.iter().enumerate().map(move |(bucket, count)| (bound(bucket), *count))
    }
}

impl AddAssign for QueueDelay {
    fn add_assign(&mut self, other: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

/// What a session has done so far. Datagrams, unless a name says otherwise.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counters {
    /// Taken from applications and sockets.
    pub accepted: u64,
    /// Known to have been processed by the remote.
    pub acknowledged: u64,
    /// Dropped on the way out, by reason.
    pub dropped_out: Drops,
    /// Sent in a session that was lost, and dropped: nobody knows whether they arrived.
    pub in_doubt: u64,
    /// Taken from the remote.
    pub processed: u64,
    /// Given to applications and sockets.
    pub delivered: u64,
    /// Dropped on the way in, by reason.
    pub dropped_in: Drops,
    /// Payload bytes accepted.
    pub bytes_out: u64,
    /// Payload bytes delivered.
    pub bytes_in: u64,
    /// Batches sent, copies and repeats included.
    pub batches_out: u64,
    /// Batches that were sent on one more link, as copy or repeat.
    pub batches_resent: u64,
    /// Batches received, duplicates included.
    pub batches_in: u64,
    /// Batches received that had been processed before.
    pub duplicates: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Links that carried the session so far.
    pub links: u64,
    /// Links that ended.
    pub links_ended: u64,
    /// Times a link became suspect.
    pub suspicions: u64,
    /// Links ended because the remote broke the protocol on them.
    pub violations: u64,
    /// Events that nobody asked for in time.
    pub events_lost: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        // Every field by name: one that is added cannot be forgotten.
        let Self {
            accepted,
            acknowledged,
            dropped_out,
            in_doubt,
            processed,
            delivered,
            dropped_in,
            bytes_out,
            bytes_in,
            batches_out,
            batches_resent,
            batches_in,
            duplicates,
            messages_out,
            messages_in,
            links,
            links_ended,
            suspicions,
            violations,
            events_lost,
        } = other;
        self.accepted += accepted;
        self.acknowledged += acknowledged;
        self.dropped_out += dropped_out;
        self.in_doubt += in_doubt;
        self.processed += processed;
        self.delivered += delivered;
        self.dropped_in += dropped_in;
        self.bytes_out += bytes_out;
        self.bytes_in += bytes_in;
        self.batches_out += batches_out;
        self.batches_resent += batches_resent;
        self.batches_in += batches_in;
        self.duplicates += duplicates;
        self.messages_out += messages_out;
        self.messages_in += messages_in;
        self.links += links;
        self.links_ended += links_ended;
        self.suspicions += suspicions;
        self.violations += violations;
        self.events_lost += events_lost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_word() {
        let mut drops = Drops::default();
        for (weight, reason) in DropReason::ALL.into_iter().enumerate() {
            drops.add(reason, 1 << weight);
        }
        drops += drops;
        for (weight, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(drops[reason], 2 << weight, "{}", reason.as_str());
        }
        assert_eq!(drops.total(), 2 * ((1 << DropReason::ALL.len()) - 1));

        let mut words: Vec<_> = drops.iter().map(|(reason, _)| reason.as_str()).collect();
        assert!(words.is_sorted());
        words.dedup();
        assert_eq!(words.len(), DropReason::ALL.len());
    }

    #[test]
    fn a_wait_is_counted_below_its_bound_and_not_below_half_of_it() {
        for micros in [0, 1, 2, 3, 4, 1_000, 1_023, 1_024, 4_000_000] {
            let mut delay = QueueDelay::default();
            let wait = Duration::from_micros(micros);
            delay.record(wait);
            let bound = delay.iter().find_map(|(bound, count)| (count == 1).then_some(bound)).unwrap().unwrap();
            assert!(wait < bound && bound <= (2 * wait).max(Duration::from_micros(1)), "{wait:?} below {bound:?}");
        }
    }

    #[test]
    fn the_last_bucket_takes_every_longer_wait() {
        let mut delay = QueueDelay::default();
        delay.record(Duration::from_secs(5));
        delay.record(Duration::MAX);
        delay += delay;
        assert_eq!(delay.iter().last(), Some((None, 4)));
        assert_eq!(delay.count(), 4);
    }
}

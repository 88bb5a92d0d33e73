//! The books of the numbered datagrams: which were sent, arrived at the echo service, and were answered.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::delays::Delays;

/// The books.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The number of the first one that is still remembered.
    first: u64,
    remembered: VecDeque<Entry>,
    /// How many of those are old enough to be lost.
    old: usize,
    /// Those that were answered.
    pub(super) answered: u64,
    /// Those that reached the echo service.
    pub(super) arrived: u64,
    /// Those that were not answered for so long that they are lost.
    pub(super) lost: u64,
    /// How often one came that had come before, to the echo service or back.
    pub(super) doubled: u64,
    /// The round trips.
    pub(super) delays: Delays,
    /// The last round trip, and when it ended.
    pub(super) last: Option<(Instant, Duration)>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    sent: Instant,
    arrived: bool,
    answered: bool,
    lost: bool,
}

/// What is missing at the end.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Missing {
    /// How many were not answered.
    pub(super) count: u64,
    /// How many of them reached the echo service, so that the answer was lost.
    pub(super) answers: u64,
    /// The numbers of the first few.
    pub(super) first: Vec<u64>,
}

impl Ledger {
    /// Enters one that is about to be sent, and gives it its number.
    pub(super) fn send(&mut self, now: Instant) -> u64 {
        self.forget(now);
        self.remembered.push_back(Entry { sent: now, arrived: false, answered: false, lost: false });
        self.sent() - 1
    }

    /// One has reached the echo service.
    pub(super) fn arrive(&mut self, number: u64) {
        match self.entry(number) {
            Some(entry) if !entry.arrived => {
                entry.arrived = true;
                self.arrived += 1;
            }
            Some(_) | None => self.doubled += 1,
        }
    }

    /// One has come back. Says when it was sent.
    pub(super) fn answer(&mut self, now: Instant, number: u64) -> Option<Instant> {
        match self.entry(number) {
            Some(entry) if !entry.answered => {
                let (sent, lost) = (entry.sent, entry.lost);
                (entry.answered, entry.lost) = (true, false);
                self.answered += 1;
                self.lost -= u64::from(lost);
                let took = now.saturating_duration_since(sent);
                self.delays.record(took);
                self.last = Some((now, took));
                Some(sent)
            }
            Some(_) | None => {
                self.doubled += 1;
                None
            }
        }
    }

    /// Declares lost what has been under way for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(entry) = self.remembered.get_mut(self.old) {
            if now.saturating_duration_since(entry.sent) < LOST {
                break;
            }
            entry.lost = !entry.answered;
            self.lost += u64::from(entry.lost);
            self.old += 1;
        }
    }

    /// How many were sent.
    pub(super) fn sent(&self) -> u64 {
        self.first + self.remembered.len() as u64
    }

    /// How many may still be answered.
    pub(super) fn under_way(&self) -> u64 {
        self.sent() - self.answered - self.lost
    }

    /// What was not answered so far.
    pub(super) fn missing(&self) -> Missing {
        let entries = self.remembered.iter().zip(self.first..);
        let unanswered: Vec<_> = entries.filter(|(entry, _)| !entry.answered).collect();
        Missing {
            count: self.sent() - self.answered,
            answers: unanswered.iter().filter(|(entry, _)| entry.arrived).count() as u64,
            first: unanswered.iter().take(SHOWN).map(|(_, number)| *number).collect(),
        }
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.remembered.get_mut(index)
    }

    fn forget(&mut self, now: Instant) {
        self.expire(now);
        while let Some(oldest) = self.remembered.front()
            && now.saturating_duration_since(oldest.sent) > FORGOTTEN
        {
            self.remembered.pop_front();
            self.first += 1;
            self.old -= 1;
        }
    }
}

/// Twice the age at which the tunnel gives a datagram up, once for each direction.
const LOST: Duration = Duration::from_secs(30);
/// Whatever comes later than this comes twice.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// How many numbers are told.
const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_once_is_answered_and_what_comes_again_is_doubled() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        assert_eq!((ledger.send(now), ledger.send(now)), (0, 1));
        ledger.arrive(1);
        assert_eq!(ledger.answer(now + Duration::from_millis(3), 1), Some(now));
        assert_eq!((ledger.answered, ledger.doubled, ledger.under_way()), (1, 0, 1));
        ledger.arrive(1);
        assert_eq!(ledger.answer(now, 1), None);
        assert_eq!((ledger.answered, ledger.doubled, ledger.under_way()), (1, 2, 1));
        assert_eq!(ledger.missing(), Missing { count: 1, answers: 0, first: vec![0] });
        ledger.arrive(0);
        assert_eq!(ledger.missing(), Missing { count: 1, answers: 1, first: vec![0] });
    }

    #[test]
    fn what_is_late_is_lost_until_it_comes_after_all() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let numbers: Vec<_> = (0..3).map(|_| ledger.send(now)).collect();
        ledger.answer(now, numbers[1]);
        ledger.expire(now + LOST);
        ledger.expire(now + LOST);
        assert_eq!((ledger.lost, ledger.under_way()), (2, 0));
        assert!(ledger.answer(now + LOST, numbers[0]).is_some());
        assert_eq!((ledger.lost, ledger.under_way(), ledger.missing().count), (1, 0, 1));
    }

    #[test]
    fn what_is_long_past_is_forgotten_and_still_counted() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let (answered, lost) = (ledger.send(now), ledger.send(now));
        ledger.answer(now, answered);
        let later = now + FORGOTTEN + Duration::from_secs(1);
        let fresh = ledger.send(later);
        assert_eq!(ledger.remembered.len(), 1);
        assert_eq!((ledger.sent(), ledger.answered, ledger.lost, ledger.under_way()), (3, 1, 1, 1));
        assert_eq!(ledger.answer(later, lost), None);
        assert!(ledger.answer(later, fresh).is_some());
        assert_eq!((ledger.doubled, ledger.missing().count), (1, 1));
    }
}

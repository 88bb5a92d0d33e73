//! What happens next: one heap of events, in order of time and then of arrival.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::clock::Nanos;

/// Events in order of time; those of one instant in the order in which they were added.
#[derive(Debug)]
pub struct Agenda<E> {
    heap: BinaryHeap<Entry<E>>,
    added: u64,
}

impl<E> Agenda<E> {
    /// An agenda without events.
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new(), added: 0 }
    }

    /// Adds an event.
    pub fn add(&mut self, at: Nanos, event: E) {
        self.heap.push(Entry { key: (u128::from(at) << 64) | u128::from(self.added), at, event });
        self.added += 1;
    }

    /// Takes the first event if it is due at `now`, with the time it was meant for.
    pub fn take_due(&mut self, now: Nanos) -> Option<(Nanos, E)> {
        if self.heap.peek()?.at > now {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }

    /// When the first event is due.
    pub fn next_at(&self) -> Option<Nanos> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether no event waits.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug)]
struct Entry<E> {
    /// Time and order in one number, so that the heap compares once.
    key: u128,
    at: Nanos,
    event: E,
}

impl<E> Ord for Entry<E> {
    /// Reversed: the heap has its greatest on top, we want the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key)
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_ties_in_the_order_of_adding() {
        let mut agenda = Agenda::new();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b')] {
            agenda.add(at, event);
        }
        let mut seen = String::new();
        while let Some((_, event)) = agenda.take_due(5) {
            seen.push(event);
        }
        assert_eq!(seen, "abcd");
    }

    #[test]
    fn what_is_not_due_stays() {
        let mut agenda = Agenda::new();
        agenda.add(7, ());
        assert_eq!(agenda.take_due(6), None);
        assert_eq!(agenda.next_at(), Some(7));
        assert_eq!(agenda.take_due(7), Some((7, ())));
        assert!(agenda.is_empty());
    }
}

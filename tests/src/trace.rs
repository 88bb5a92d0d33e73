//! What happened: a running hash of everything, and the last events in words.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Instant;

use crate::clock::{Nanos, nanos};

/// Everything that was noted in one run, as a hash, and the end of it as a story.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    notes: u64,
    kept: usize,
    last: VecDeque<Note>,
}

impl Trace {
    /// How many notes are kept for the story.
    pub const KEPT: usize = 200;

    /// A trace in which nothing has happened.
    pub fn new() -> Self {
        Self::keeping(Self::KEPT)
    }

    /// A trace that keeps so many notes for its story.
    pub fn keeping(kept: usize) -> Self {
        let last = VecDeque::with_capacity(kept.min(Self::KEPT));
        Self { hash: 0x9e37_79b9_7f4a_7c15, notes: 0, kept, last }
    }

    /// Notes that something of `kind` happened, with two numbers that tell it from others.
    ///
    /// A few nanoseconds and no allocation; what the numbers mean is said when the story is told.
    pub fn note(&mut self, now: Instant, kind: u8, a: u64, b: u64) {
        let at = nanos(now);
        self.hash = fold(self.hash ^ at, 0xa076_1d64_78bd_642f ^ u64::from(kind));
        self.hash = fold(self.hash ^ a, 0xe703_7ed1_a0b4_28db ^ b.rotate_left(32));
        self.notes += 1;
        if self.last.len() >= self.kept {
            self.last.pop_front();
        }
        self.last.push_back(Note { at, kind, a, b });
    }

    /// Mixes bytes into the hash without a line in the story.
    pub fn absorb(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let word = word.try_into().map_or(0, u64::from_le_bytes);
            self.hash = fold(self.hash ^ word, 0x8ebc_6af0_9c88_c6e3);
        }
        for byte in words.remainder() {
            self.hash = fold(self.hash ^ u64::from(*byte), 0x5899_65cc_7537_4cc3);
        }
        self.hash ^= bytes.len() as u64;
    }

    /// The hash of everything so far: two runs of one seed have the same.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many notes were taken.
    pub fn notes(&self) -> u64 {
        self.notes
    }

    /// The last notes, one line each, oldest first; `word` says what a note means.
    pub fn story(&self, mut word: impl FnMut(&Note) -> String) -> String {
        let mut story = String::new();
        for note in &self.last {
            let seconds = note.at / 1_000_000_000;
            let micros = note.at / 1_000 % 1_000_000;
            let _ = writeln!(story, "{seconds:>5}.{micros:06} {}", word(note));
        }
        story
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Note {
    /// When, since the epoch.
    pub at: Nanos,
    /// What, in the noter's own numbering.
    pub kind: u8,
    /// To whom, or how much.
    pub a: u64,
    /// To whom, or how much.
    pub b: u64,
}

/// Both halves of a product, mixed: one multiplication per 64 bits noted.
fn fold(x: u64, y: u64) -> u64 {
    let product = u128::from(x) * u128::from(y);
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
    let low = product as u64;
    let high = (product >> 64) as u64;
    low ^ high
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::at;

    #[test]
    fn the_same_notes_give_the_same_hash_and_any_difference_another() {
        let run = |kind, a, b, ms| {
            let mut trace = Trace::new();
            trace.note(at(Duration::from_millis(ms)), kind, a, b);
            trace.note(at(Duration::from_millis(9)), 1, 2, 3);
            trace.hash()
        };
        assert_eq!(run(1, 2, 3, 4), run(1, 2, 3, 4));
        for other in [run(2, 2, 3, 4), run(1, 3, 3, 4), run(1, 2, 4, 4), run(1, 2, 3, 5), run(1, 3, 2, 4)] {
            assert_ne!(run(1, 2, 3, 4), other);
        }
    }

    #[test]
    fn absorbed_bytes_count_with_their_length() {
        let hash = |bytes: &[u8]| {
            let mut trace = Trace::new();
            trace.absorb(bytes);
            trace.hash()
        };
        assert_eq!(hash(b"twelve bytes"), hash(b"twelve bytes"));
        assert_ne!(hash(b"twelve bytes"), hash(b"twelve bytez"));
        assert_ne!(hash(b""), hash(b"\0"));
    }

    #[test]
    fn the_story_has_the_last_200_notes() {
        let mut trace = Trace::new();
        for number in 0..1_000 {
            trace.note(at(Duration::from_micros(number)), 7, number, 0);
        }
        let story = trace.story(|note| format!("event {}", note.a));
        assert_eq!(story.lines().count(), Trace::KEPT);
        assert_eq!(story.lines().next(), Some("    0.000800 event 800"));
        assert_eq!(trace.notes(), 1_000);
    }
}

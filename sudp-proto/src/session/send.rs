//! Outgoing half of a session: what was cut into batches and not yet resolved, and what must be sent again.
//!
//! A batch is immutable once cut. It stays here until some link's acknowledgement or final count
//! covers it, or until it is dropped, so that any link can carry it again.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use super::recv::WINDOW;
use crate::wire::{BatchHead, Class, FlowId, Number, Ordinal};

/// Records under one number, on their way.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) class: Class,
    pub(crate) copies: u8,
    pub(crate) clock: Option<u32>,
    /// The records, in wire layout.
    pub(crate) body: Vec<u8>,
    /// Whose records they are.
    pub(crate) shares: Vec<Share>,
    /// After this nobody wants them; controls are wanted always.
    pub(crate) stale: Option<Instant>,
    /// Every link it was ever put on.
    pub(crate) carriers: Vec<Ordinal>,
    /// How many links died young under it.
    pub(crate) strikes: u8,
}

/// One flow's part in a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Share {
    pub(crate) flow: FlowId,
    pub(crate) datagrams: u32,
    /// Carries the flow's OPEN.
    pub(crate) long: bool,
    /// Carries the flow's CLOSE.
    pub(crate) close: bool,
}

impl Batch {
    /// Links that died young under a batch before it is sent with nothing beside it.
    pub(crate) const ALONE: u8 = 2;
    /// Links that died young under a batch before it is given up.
    pub(crate) const POISON: u8 = 3;

    pub(crate) fn head(&self, number: Number) -> BatchHead {
        BatchHead { number, class: self.class, clock: self.clock }
    }

    pub(crate) fn poisoned(&self) -> bool {
        self.strikes >= Self::POISON
    }

    /// Whether nobody wants it any more.
    pub(crate) fn unwanted(&self, now: Instant) -> bool {
        self.poisoned() || self.stale.is_some_and(|stale| stale <= now)
    }
}

/// The batches of a session that are not resolved yet.
#[derive(Debug)]
pub(crate) struct Unresolved {
    /// The number of the first place in `batches`, which is never empty unless all are.
    base: u64,
    batches: VecDeque<Option<Batch>>,
    bytes: usize,
    /// Batches that no live, unsuspected link holds: to be sent again before fresh ones.
    orphans: BTreeSet<u64>,
    /// Batches that their links hold for longer than they should: worth a copy from spare capacity.
    overdue: BTreeSet<u64>,
    spare: Spare,
}

impl Unresolved {
    pub(crate) fn new() -> Self {
        Self {
            base: 1,
            batches: VecDeque::new(),
            bytes: 0,
            orphans: BTreeSet::new(),
            overdue: BTreeSet::new(),
            spare: Spare::default(),
        }
    }

    /// Whether another batch may be cut without leaving the window in which the remote recognises duplicates.
    pub(crate) fn may_cut(&self) -> bool {
        self.batches.is_empty() || self.next() - self.base < WINDOW
    }

    /// The number the next batch gets.
    pub(crate) fn next(&self) -> u64 {
        self.base + self.batches.len() as u64
    }

    /// The oldest batch, once it is so old that it threatens to stall the session.
    pub(crate) fn straggler(&self) -> Option<Number> {
        (!self.batches.is_empty() && self.next() - self.base > WINDOW / 2).then_some(Number(self.base))
    }

    /// An empty batch to fill, whose storage may have served before.
    pub(crate) fn blank(&mut self, class: Class, copies: u8, size: usize) -> Batch {
        let (mut body, mut shares, mut carriers) = self.spare.take(size);
        body.clear();
        body.reserve(size);
        shares.clear();
        carriers.clear();
        Batch { class, copies, clock: None, body, shares, stale: None, carriers, strikes: 0 }
    }

    /// Gives a full batch its number; the caller puts it on a link at once.
    pub(crate) fn insert(&mut self, batch: Batch) -> Number {
        let number = self.next();
        self.bytes += batch.body.capacity();
        self.batches.push_back(Some(batch));
        Number(number)
    }

    pub(crate) fn get(&self, number: Number) -> Option<&Batch> {
        self.batches.get(self.place(number)?)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: Number) -> Option<&mut Batch> {
        let place = self.place(number)?;
        self.batches.get_mut(place)?.as_mut()
    }

    /// Takes a batch out for good; the caller settles its books and gives its storage back.
    pub(crate) fn resolve(&mut self, number: Number) -> Option<Batch> {
        let place = self.place(number)?;
        let batch = self.batches.get_mut(place)?.take()?;
        self.bytes -= batch.body.capacity();
        self.orphans.remove(&number.0);
        self.overdue.remove(&number.0);
        while let Some(None) = self.batches.front() {
            self.batches.pop_front();
            self.base += 1;
        }
        Some(batch)
    }

    /// Keeps a resolved batch's storage for the next one.
    pub(crate) fn recycle(&mut self, batch: Batch) {
        self.spare.give(batch);
    }

    /// Gives back what is only kept for speed.
    pub(crate) fn shrink(&mut self) {
        self.spare = Spare::default();
        if self.batches.is_empty() {
            self.batches = VecDeque::new();
        }
    }

    pub(crate) fn orphan(&mut self, number: Number) {
        if self.get(number).is_some() {
            self.orphans.insert(number.0);
        }
    }

    pub(crate) fn adopt(&mut self, number: Number) {
        self.orphans.remove(&number.0);
    }

    /// The oldest orphan, after passing over so many.
    pub(crate) fn orphan_after(&self, passed: usize) -> Option<Number> {
        if passed >= self.orphans.len() {
            return None;
        }
        self.orphans.iter().nth(passed).map(|&number| Number(number))
    }

    pub(crate) fn mark_overdue(&mut self, number: Number) {
        if self.get(number).is_some() {
            self.overdue.insert(number.0);
        }
    }

    /// The oldest overdue batch that `ordinal` never carried and that is still wanted.
    pub(crate) fn overdue_for(&self, now: Instant, ordinal: Ordinal) -> Option<Number> {
        self.overdue.iter().map(|&number| Number(number)).find(|&number| {
            self.get(number).is_some_and(|batch| !batch.carriers.contains(&ordinal) && !batch.unwanted(now))
        })
    }

    /// All of them, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Number, &Batch)> {
        (self.base..).zip(&self.batches).filter_map(|(number, batch)| Some((Number(number), batch.as_ref()?)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Storage held for batches.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Storage held in all, with what is kept for batches to come.
    pub(crate) fn held(&self) -> usize {
        self.bytes + self.spare.bytes
    }

    /// Takes everything out, oldest first, and begins anew from number 1: the session was lost.
    pub(crate) fn restart(&mut self) -> Vec<Batch> {
        let batches = std::mem::replace(self, Self::new()).batches;
        batches.into_iter().flatten().collect()
    }

    /// The parts to be frozen: the first number, and every batch from it on.
    pub(crate) fn freeze(&self) -> (u64, impl Iterator<Item = Option<&Batch>>) {
        (self.base, self.batches.iter().map(Option::as_ref))
    }

    /// Puts together what [`freeze`](Self::freeze) gave; every batch is an orphan, since no link lives.
    pub(crate) fn thaw(base: u64, batches: Vec<Option<Batch>>) -> Self {
        let mut thawed = Self { base, ..Self::new() };
        for batch in batches {
            let number = thawed.next();
            if let Some(batch) = &batch {
                thawed.bytes += batch.body.capacity();
                thawed.orphans.insert(number);
            }
            thawed.batches.push_back(batch);
        }
        thawed
    }

    fn place(&self, number: Number) -> Option<usize> {
        usize::try_from(number.0.checked_sub(self.base)?).ok()
    }
}

/// Storage of resolved batches, by size, so that a busy session allocates nothing and a small batch
/// never sits in a large one's storage.
#[derive(Debug, Default)]
struct Spare {
    small: Vec<Storage>,
    large: Vec<Storage>,
    bytes: usize,
}

type Storage = (Vec<u8>, Vec<Share>, Vec<Ordinal>);

impl Spare {
    fn take(&mut self, size: usize) -> Storage {
        let shelf = if size <= SMALL { &mut self.small } else { &mut self.large };
        let storage = shelf.pop().unwrap_or_default();
        self.bytes -= storage.0.capacity();
        storage
    }

    fn give(&mut self, batch: Batch) {
        let size = batch.body.capacity();
        let (shelf, most) = if size <= SMALL { (&mut self.small, SPARE_SMALL) } else { (&mut self.large, SPARE_LARGE) };
        if shelf.len() < most && size <= LARGE {
            shelf.push((batch.body, batch.shares, batch.carriers));
            self.bytes += size;
        }
    }
}

/// Bodies up to this many bytes are kept apart from larger ones.
const SMALL: usize = 2_048;
/// Bodies above this size are not kept.
const LARGE: usize = 20 * 1_024;
const SPARE_SMALL: usize = 64;
const SPARE_LARGE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{epoch, secs};

    fn insert(batches: &mut Unresolved, text: &[u8]) -> Number {
        let mut batch = batches.blank(Class::Reliable, 1, text.len());
        batch.body.extend_from_slice(text);
        batches.insert(batch)
    }

    #[test]
    fn numbers_begin_at_one_and_the_window_follows_the_oldest() {
        let mut batches = Unresolved::new();
        for expected in 1..=WINDOW {
            assert!(batches.may_cut());
            assert_eq!(insert(&mut batches, b"x"), Number(expected));
        }
        assert!(!batches.may_cut());
        assert!(batches.resolve(Number(2)).is_some());
        assert!(!batches.may_cut(), "the oldest still holds the window");
        assert!(batches.resolve(Number(1)).is_some());
        assert!(batches.resolve(Number(1)).is_none());
        assert_eq!(insert(&mut batches, b"x"), Number(WINDOW + 1));
        assert_eq!(insert(&mut batches, b"x"), Number(WINDOW + 2));
        assert!(!batches.may_cut());
    }

    #[test]
    fn a_batch_half_a_window_back_is_a_straggler() {
        let mut batches = Unresolved::new();
        for _ in 0..WINDOW / 2 {
            insert(&mut batches, b"x");
        }
        assert_eq!(batches.straggler(), None);
        insert(&mut batches, b"x");
        assert_eq!(batches.straggler(), Some(Number(1)));
        batches.resolve(Number(1));
        assert_eq!(batches.straggler(), None);
    }

    #[test]
    fn storage_serves_again_and_is_counted_while_held() {
        let mut batches = Unresolved::new();
        let number = insert(&mut batches, &[7; 1_000]);
        assert!(batches.bytes() >= 1_000);
        let batch = batches.resolve(number).unwrap();
        let storage = batch.body.as_ptr();
        batches.recycle(batch);
        assert_eq!((batches.bytes(), batches.is_empty()), (0, true));
        assert_eq!(batches.blank(Class::Reliable, 1, 900).body.as_ptr(), storage);
        assert_ne!(batches.blank(Class::Reliable, 1, 9_000).body.as_ptr(), storage);
    }

    #[test]
    fn what_is_thawed_is_what_was_frozen() {
        let mut batches = Unresolved::new();
        for text in [&b"one"[..], b"two", b"three"] {
            insert(&mut batches, text);
        }
        batches.resolve(Number(2));
        let (base, frozen) = batches.freeze();
        let thawed = Unresolved::thaw(base, frozen.map(|batch| batch.cloned()).collect());
        let bodies: Vec<_> = thawed.iter().map(|(number, batch)| (number.0, batch.body.clone())).collect();
        assert_eq!(bodies, [(1, b"one".to_vec()), (3, b"three".to_vec())]);
        assert_eq!(thawed.next(), 4);
        assert_eq!((thawed.orphan_after(1), thawed.orphan_after(2)), (Some(Number(3)), None));
    }

    #[test]
    fn only_stale_or_poisoned_batches_are_unwanted() {
        let now = epoch();
        let mut batches = Unresolved::new();
        let number = insert(&mut batches, b"x");
        let batch = batches.get_mut(number).unwrap();
        assert!(!batch.unwanted(now));
        batch.stale = Some(now + secs(1));
        assert!(!batch.unwanted(now) && batch.unwanted(now + secs(1)));
        batch.stale = None;
        batch.strikes = Batch::POISON;
        assert!(batch.unwanted(now));
    }
}

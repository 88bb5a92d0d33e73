//! What one session has accepted and not yet cut into batches, in one direction.
//!
//! Intake is never refused: what is too much is dropped here, where it is counted, from the flow
//! that holds the most. Controls do not pass here.

mod arena;
mod turn;

use std::time::{Duration, Instant};

use self::arena::{Arena, Head};
use self::turn::{Outcome, Turn};
use super::codel::CodelParams;
use super::sched::{Backlog, Flow, Flows, Ranks, Sched};
use crate::config::Limits;
use crate::stats::{DropReason, QueueDelay};
use crate::wire::Class;

/// A flow's index in the session's table of flows.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Slot(pub(crate) u32);

/// The link that carries a flow, as an index into the session's links.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Lane(u8);

/// How a flow's datagrams are queued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FlowSpec {
    /// Its class.
    pub(crate) class: Class,
    /// On how many links each datagram travels.
    pub(crate) copies: u8,
    /// Its home.
    pub(crate) lane: Lane,
}

/// When something happens, on both clocks of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Moment {
    /// Real time.
    pub(crate) now: Instant,
    /// How long the session has made progress: it stands still while no link does.
    pub(crate) active: Duration,
}

/// What bounds the queues of one session in one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    /// Bytes queued, with 40 for each datagram; less than 1 GiB.
    pub(crate) bytes: usize,
    /// Bytes a flow may send in a row while others wait, at least 256.
    pub(crate) quantum: u32,
    /// For reliable flows.
    pub(crate) reliable: Patience,
    /// For realtime flows.
    pub(crate) realtime: Patience,
}

impl QueueLimits {
    /// The part of a session's limits that bounds its queues.
    pub(crate) fn new(limits: &Limits) -> Self {
        let default = Self::default();
        Self {
            bytes: limits.queue,
            reliable: Patience { age: limits.reliable_age, ..default.reliable },
            realtime: Patience { age: limits.realtime_age, ..default.realtime },
            ..default
        }
    }
}

/// How long the datagrams of a class may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The hard limit, in real time.
    pub(crate) age: Duration,
    /// The wait that may stand, in progress time (CoDel).
    pub(crate) target: Duration,
    /// How long the wait may stand above the target.
    pub(crate) interval: Duration,
}

/// One datagram that was dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Dropped {
    /// Its flow.
    pub(crate) slot: Slot,
    /// Why.
    pub(crate) reason: DropReason,
    /// The length of its record.
    pub(crate) bytes: usize,
}

/// The records of a batch, in the making.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Records in wire layout.
    pub(crate) bytes: Vec<u8>,
    /// Whose they are, each flow once.
    pub(crate) shares: Vec<Share>,
}

/// What a flow has in a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Share {
    /// The flow.
    pub(crate) slot: Slot,
    /// Its datagrams in the batch.
    pub(crate) datagrams: u32,
    /// Their records' length.
    pub(crate) bytes: usize,
}

/// What all datagrams of a batch have in common.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Kind {
    /// Their class.
    pub(crate) class: Class,
    /// On how many links they travel.
    pub(crate) copies: u8,
}

/// The queues of one session in one direction.
#[derive(Debug)]
pub(crate) struct Queues {
    cap: usize,
    /// By class.
    patience: [Ticks; 2],
    epoch: Instant,
    /// The latest time heard of, and how long after the epoch that is.
    newest: Instant,
    latest: u64,
    /// By class: each is ordered by age, so that its front expires first.
    arenas: [Arena; 2],
    flows: Flows,
    sched: Sched,
    ranks: Ranks,
    datagrams: usize,
    bytes: usize,
    batches: u64,
    rest: Rest,
    delay: QueueDelay,
    /// The records of what is dropped, in that order, if someone wants to see them.
    pub(crate) witness: Option<Vec<u8>>,
}

/// When to give memory back: at the second look in a row that finds nothing pushed in between.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    look: Option<u64>,
    pushed: bool,
}

/// What a look found.
enum Look {
    Busy,
    Quiet,
}

/// A [`Moment`] in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Tick {
    now: u64,
    active: u64,
}

/// A [`Patience`] in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Ticks {
    age: u64,
    codel: CodelParams,
}

impl Queues {
    /// Empty queues.
    pub(crate) fn new(now: Instant, limits: QueueLimits) -> Self {
        Self {
            cap: limits.bytes.min(MOST_BYTES),
            patience: [limits.reliable.into(), limits.realtime.into()],
            epoch: now,
            newest: now,
            latest: 0,
            arenas: Default::default(),
            flows: Flows::default(),
            sched: Sched::new(limits.quantum),
            ranks: Ranks::new(),
            datagrams: 0,
            bytes: 0,
            batches: 0,
            rest: Rest::default(),
            delay: QueueDelay::default(),
            witness: None,
        }
    }

    /// Queues a datagram, given as its finished record.
    ///
    /// At the cap, or when the pool has no more than `room` left for this session, the flow with most
    /// bytes queued pays from its head; that may be this one. What is queued keeps the class and
    /// copies it came with, and so does what joins it; a new lane counts at once.
    pub(crate) fn push(
        &mut self,
        at: Moment,
        slot: Slot,
        spec: FlowSpec,
        record: &[u8],
        room: usize,
        dropped: &mut impl FnMut(Dropped),
    ) {
        let cap = self.cap.min(self.bytes.saturating_add(room));
        let tick = self.tick(at);
        self.rest.pushed(tick.now);
        self.sched.enter(&mut self.flows, slot, spec);

        let arena = &mut self.arenas[class_index(self.flows[slot].spec.class)];
        arena.make_room(&mut self.flows, record.len(), room / 2);
        let flow = &mut self.flows[slot];
        let before = flow.backlog;
        arena.push(flow, tick, record);
        self.settle(slot, before);

        if self.bytes > cap {
            self.shrink(cap, dropped);
        }
    }

    /// Whether a datagram of a flow can be pushed without taking more memory, given what the flow wants now.
    pub(crate) fn fits(&self, slot: Slot, class: Class, len: usize) -> bool {
        let class = self.flows.get(slot).map_or(class, |flow| flow.spec.class);
        self.arenas[class_index(class)].fits(len)
    }

    /// Cuts a batch of at most `target` bytes from the flows of `lanes`, appending to `draft`.
    ///
    /// It ends where the next flow in turn wants another class or number of copies. A datagram larger
    /// than `target` is a batch of its own. `prefix` writes what must stand before the first record
    /// of a flow; what it wrote may be taken back, so only flows with a share in the draft count.
    pub(crate) fn cut(
        &mut self,
        at: Moment,
        lanes: &[Lane],
        target: usize,
        draft: &mut Draft,
        mut prefix: impl FnMut(Slot, &mut Vec<u8>),
        dropped: &mut impl FnMut(Dropped),
    ) -> Option<Kind> {
        let tick = self.tick(at);
        self.batches += 1;
        let end = draft.bytes.len().saturating_add(target);
        let mut kind = None;
        while let Some(slot) = self.sched.front(&mut self.flows, lanes) {
            let flow = &mut self.flows[slot];
            let before = flow.backlog;
            let class = class_index(flow.spec.class);
            let (arena, patience) = (&mut self.arenas[class], self.patience[class]);
            let (delay, witness) = (&mut self.delay, &mut self.witness);
            let mut turn = Turn { tick, flow, arena, patience, batch: self.batches, delay, witness };
            let outcome = turn.serve(&mut kind, end, draft, &mut prefix, dropped);
            self.settle(slot, before);
            match outcome {
                Outcome::Empty => self.sched.rest(&mut self.flows, slot, lanes),
                Outcome::Full => break,
                Outcome::Spent => {}
            }
        }
        self.tidy();
        kind
    }

    /// Gives a flow another home.
    pub(crate) fn rehome(&mut self, slot: Slot, lane: Lane) {
        if self.flows.get(slot).is_some_and(|flow| flow.spec.lane != lane) {
            self.sched.rehome(&mut self.flows, slot, lane);
        }
    }

    /// Forgets a flow, so that its slot can serve another; says how many datagrams it had queued, and the length of their records.
    pub(crate) fn clear(&mut self, slot: Slot) -> (usize, usize) {
        let Some(flow) = self.flows.get_mut(slot) else { return (0, 0) };
        let before = flow.backlog;
        let mut bytes = 0;
        let arena = &mut self.arenas[class_index(flow.spec.class)];
        while flow.backlog.datagrams > 0 {
            bytes += arena.discard(flow, &mut self.witness).len();
        }
        self.settle(slot, before);
        self.sched.leave(&mut self.flows, slot);
        self.tidy();
        (before.datagrams, bytes)
    }

    /// Drops what is too old, and gives memory back after a while without a push.
    pub(crate) fn expire(&mut self, now: Instant, dropped: &mut impl FnMut(Dropped)) {
        let now = self.clock(now);
        for class in CLASSES {
            let age = self.patience[class_index(class)].age;
            while let Some(slot) = self.arenas[class_index(class)].expired(now, age) {
                self.discard(slot, DropReason::Age, dropped);
            }
        }
        self.tidy();
        match self.rest.look(now) {
            Some(Look::Busy) => self.flows.tidy(),
            Some(Look::Quiet) => self.release(now),
            None => {}
        }
    }

    /// Something else than a push happened: what is kept for speed is kept for another while.
    pub(crate) fn stir(&mut self, now: Instant) {
        let now = self.clock(now);
        self.rest.pushed(now);
    }

    /// Whether nothing is queued, and nothing has happened for so long that nothing is kept for speed.
    pub(crate) fn is_resting(&self) -> bool {
        self.rest.look.is_none()
    }

    /// When to call [`expire`](Self::expire) next.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let expiry = |class: Class| {
            let oldest = self.arenas[class_index(class)].oldest()?;
            Some(oldest.at.now.saturating_add(self.patience[class_index(class)].age))
        };
        let next = CLASSES.into_iter().filter_map(expiry).chain(self.rest.look).min()?;
        self.epoch.checked_add(Duration::from_nanos(next))
    }

    /// Whether anything waits that a link with this lane may carry.
    pub(crate) fn waiting(&self, lane: Lane) -> bool {
        self.sched.datagrams(lane) > 0 || self.sched.datagrams(Lane::ANY) > 0
    }

    /// Datagrams queued.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.datagrams
    }

    /// Whether nothing is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.datagrams == 0
    }

    /// Bytes queued, as counted against the cap.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of memory taken: at most twice [`bytes`](Self::bytes), a constant, and what the flows with a turn take.
    pub(crate) fn held(&self) -> usize {
        self.arenas.iter().map(Arena::held).sum::<usize>() + self.flows.held()
    }

    /// Datagrams a flow has queued.
    pub(crate) fn flow_len(&self, slot: Slot) -> usize {
        self.flows.get(slot).map_or(0, |flow| flow.backlog.datagrams)
    }

    /// Bytes a flow has queued, as counted against the cap.
    pub(crate) fn flow_bytes(&self, slot: Slot) -> usize {
        self.flows.get(slot).map_or(0, |flow| flow.backlog.bytes)
    }

    /// Every datagram queued, as its flow, how long it has waited, and its record; each class in the order they came.
    pub(crate) fn iter(&self, now: Instant) -> impl Iterator<Item = (Slot, Duration, &[u8])> {
        let now = nanos(now.saturating_duration_since(self.epoch)).max(self.latest);
        let wait = move |head: &Head| Duration::from_nanos(now - head.at.now);
        self.arenas
            .iter()
            .flat_map(move |arena| arena.iter().map(move |head| (head.owner, wait(head), arena.record(head))))
    }

    /// How long the datagrams waited that were cut.
    pub(crate) fn delay(&self) -> &QueueDelay {
        &self.delay
    }

    /// Drops from whoever holds the most until what is queued fits into `cap`.
    fn shrink(&mut self, cap: usize, dropped: &mut impl FnMut(Dropped)) {
        while self.bytes > cap {
            let Some(fattest) = self.ranks.fattest(&self.flows) else { break };
            self.discard(fattest, DropReason::Full, dropped);
        }
        self.tidy();
    }

    fn discard(&mut self, slot: Slot, reason: DropReason, dropped: &mut impl FnMut(Dropped)) {
        let flow = &mut self.flows[slot];
        let before = flow.backlog;
        let bytes = self.arenas[class_index(flow.spec.class)].discard(flow, &mut self.witness).len();
        self.settle(slot, before);
        dropped(Dropped { slot, reason, bytes });
    }

    /// Brings the books in line with a flow's backlog, which was `before` and has changed.
    fn settle(&mut self, slot: Slot, before: Backlog) {
        let Flow { backlog, spec, .. } = self.flows[slot];
        self.datagrams = self.datagrams + backlog.datagrams - before.datagrams;
        self.bytes = self.bytes + backlog.bytes - before.bytes;
        self.sched.settle(spec.lane, before.datagrams, backlog.datagrams);
        self.ranks.update(&mut self.flows, slot);
    }

    fn tidy(&mut self) {
        for arena in &mut self.arenas {
            arena.tidy(&mut self.flows);
        }
    }

    /// Gives back all that nothing queued needs; without anything queued, that is all.
    fn release(&mut self, now: u64) {
        for arena in &mut self.arenas {
            arena.release(&mut self.flows);
        }
        if self.is_empty() {
            self.sched.clear(&mut self.flows);
        } else {
            self.flows.tidy();
            self.rest.again(now);
        }
    }

    fn tick(&mut self, at: Moment) -> Tick {
        Tick { now: self.clock(at.now), active: nanos(at.active) }
    }

    /// Real time since the beginning; it never goes back, so that the arenas stay ordered by age.
    fn clock(&mut self, now: Instant) -> u64 {
        if now > self.newest {
            self.newest = now;
            self.latest = nanos(now.saturating_duration_since(self.epoch));
        }
        self.latest
    }
}

impl Slot {
    /// No flow; the caller never uses it.
    pub(super) const NONE: Self = Self(u32::MAX);

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

impl Lane {
    /// For flows without a home, and those that spread.
    pub(crate) const ANY: Self = Self(12);

    pub(super) const COUNT: usize = 13;

    /// The lane of the session's link at this index, below 12.
    pub(crate) fn of(link: u8) -> Self {
        debug_assert!(link < Self::ANY.0, "a session has at most 12 links");
        Self(link.min(Self::ANY.0))
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Default for QueueLimits {
    fn default() -> Self {
        let millis = Duration::from_millis;
        Self {
            bytes: 1024 * 1024,
            quantum: 4096,
            reliable: Patience { age: millis(15_000), target: millis(250), interval: millis(1_000) },
            realtime: Patience { age: millis(200), target: millis(20), interval: millis(100) },
        }
    }
}

impl From<Patience> for Ticks {
    fn from(Patience { age, target, interval }: Patience) -> Self {
        Self { age: nanos(age), codel: CodelParams { target: nanos(target), interval: nanos(interval) } }
    }
}

impl Rest {
    fn pushed(&mut self, now: u64) {
        self.pushed = true;
        self.look.get_or_insert(now.saturating_add(LOOK));
    }

    fn look(&mut self, now: u64) -> Option<Look> {
        self.look.take_if(|look| *look <= now)?;
        if !std::mem::take(&mut self.pushed) {
            return Some(Look::Quiet);
        }
        self.again(now);
        Some(Look::Busy)
    }

    fn again(&mut self, now: u64) {
        self.look = Some(now.saturating_add(LOOK));
    }
}

fn class_index(class: Class) -> usize {
    match class {
        Class::Reliable | Class::Control => 0,
        Class::Realtime => 1,
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const CLASSES: [Class; 2] = [Class::Reliable, Class::Realtime];
/// Between two looks.
const LOOK: u64 = 1_000_000_000;
const MOST_BYTES: usize = 1 << 30;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

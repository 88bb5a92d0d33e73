//! What one session has accepted and not yet cut into batches, in one direction.
//!
//! Intake is never refused: what is too much is dropped here, where it is counted, from the flow
//! that holds the most. Controls do not pass here.

mod arena;

use std::time::{Duration, Instant};

use self::arena::{Arena, Head};
use super::codel::CodelParams;
use super::sched::{Flows, Ranks, Sched};
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
    /// Bytes a flow may send in a row while others wait.
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
    limits: QueueLimits,
    epoch: Instant,
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
}

/// When to give memory back: at the second look in a row that finds nothing pushed in between.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    look: Option<u64>,
    pushed: bool,
}

/// A [`Moment`] in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Tick {
    now: u64,
    active: u64,
}

impl Queues {
    /// Empty queues.
    pub(crate) fn new(now: Instant, limits: QueueLimits) -> Self {
        Self {
            epoch: now,
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
            limits: QueueLimits { bytes: limits.bytes.min(MOST_BYTES), ..limits },
        }
    }

    /// Queues a datagram, given as its finished record.
    ///
    /// At the cap, or when there is no more than `room` left for it in the pool, the flow with most
    /// bytes queued pays from its head; that may be this one. Class and copies of a flow must not
    /// change while it has a backlog; its lane may.
    pub(crate) fn push(
        &mut self,
        at: Moment,
        slot: Slot,
        spec: FlowSpec,
        record: &[u8],
        room: usize,
        dropped: &mut impl FnMut(Dropped),
    ) {
        let cap = self.limits.bytes.min(self.bytes.saturating_add(room));
        let tick = self.tick(at);
        self.rest.pushed(tick.now);
        self.sched.enter(&mut self.flows, slot, spec);
        self.rehome(slot, spec.lane);

        let before = self.bytes;
        let arena = &mut self.arenas[class_index(self.flows[slot].spec.class)];
        arena.push(&mut self.flows, slot, tick, record);
        self.bytes = before + record.len() + arena::OVERHEAD;
        self.datagrams += 1;
        self.sched.queued(&mut self.flows[slot]);
        self.ranks.update(&mut self.flows, slot);

        while self.bytes > cap {
            let Some(fattest) = self.ranks.fattest(&self.flows) else { break };
            self.discard(fattest, DropReason::Full, dropped);
        }
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
            let Some(head) = self.fresh(tick, slot, dropped) else {
                self.sched.rest(&mut self.flows, slot, lanes);
                continue;
            };
            let FlowSpec { class, copies, .. } = self.flows[slot].spec;
            if kind.is_some_and(|kind| kind != Kind { class, copies }) {
                break;
            }
            let mark = draft.bytes.len();
            if self.flows[slot].batch != self.batches {
                prefix(slot, &mut draft.bytes);
            }
            if kind.is_some() && draft.bytes.len() + head.len() > end {
                draft.bytes.truncate(mark);
                break;
            }
            kind = Some(Kind { class, copies });
            self.serve(tick, slot, head, end, draft, dropped);
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

    /// Forgets a flow; says how many datagrams it had queued, and the length of their records.
    pub(crate) fn clear(&mut self, slot: Slot) -> (usize, usize) {
        if self.flows.get(slot).is_none() {
            return (0, 0);
        }
        let (mut datagrams, mut bytes) = (0, 0);
        while self.flows[slot].backlog.datagrams > 0 {
            bytes += self.pop(slot).len();
            datagrams += 1;
        }
        self.sched.leave(&mut self.flows, slot);
        self.tidy();
        (datagrams, bytes)
    }

    /// Drops what is too old, and gives memory back after a while without a push.
    pub(crate) fn expire(&mut self, now: Instant, dropped: &mut impl FnMut(Dropped)) {
        let tick = self.tick(Moment { now, active: Duration::ZERO });
        for class in CLASSES {
            let age = nanos(self.patience(class).age);
            while let Some(slot) = self.arenas[class_index(class)].expired(tick.now, age) {
                self.discard(slot, DropReason::Age, dropped);
            }
        }
        self.tidy();
        if self.rest.is_due(tick.now) {
            self.release();
        }
    }

    /// When to call [`expire`](Self::expire) next.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let expiry = |class: Class| {
            let oldest = self.arenas[class_index(class)].oldest()?;
            Some(oldest.at.now.saturating_add(nanos(self.patience(class).age)))
        };
        let next = CLASSES.into_iter().filter_map(expiry).chain(self.rest.look).min()?;
        Some(self.epoch + Duration::from_nanos(next))
    }

    /// Whether anything waits that a link with this lane may carry.
    pub(crate) fn waiting(&self, lane: Lane) -> bool {
        self.sched.datagrams(lane) > 0 || self.sched.datagrams(Lane::ANY) > 0
    }

    /// Datagrams queued.
    pub(crate) fn len(&self) -> usize {
        self.datagrams
    }

    /// Whether nothing is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.datagrams == 0
    }

    /// Bytes queued, as counted against the cap.
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

    /// How long the datagrams waited that were cut.
    pub(crate) fn delay(&self) -> &QueueDelay {
        &self.delay
    }

    /// Puts datagrams of the flow in turn into the draft, until its turn, its backlog or the batch ends.
    fn serve(
        &mut self,
        tick: Tick,
        slot: Slot,
        mut head: Head,
        end: usize,
        draft: &mut Draft,
        dropped: &mut impl FnMut(Dropped),
    ) {
        let share = self.share(slot, draft);
        let class = self.flows[slot].spec.class;
        loop {
            draft.bytes.extend_from_slice(self.arenas[class_index(class)].record(&head));
            draft.shares[share].datagrams += 1;
            draft.shares[share].bytes += head.len();
            self.delay.record(Duration::from_nanos(tick.now - head.at.now));
            self.pop(slot);
            if !self.flows[slot].pay(head.cost()) {
                return;
            }
            match self.fresh(tick, slot, dropped) {
                Some(next) if draft.bytes.len() + next.len() <= end => head = next,
                Some(_) | None => return,
            }
        }
    }

    /// Where the flow's share of this batch is.
    fn share(&mut self, slot: Slot, draft: &mut Draft) -> usize {
        let flow = &mut self.flows[slot];
        if flow.batch != self.batches {
            flow.batch = self.batches;
            flow.share = draft.shares.len();
            draft.shares.push(Share { slot, datagrams: 0, bytes: 0 });
        }
        flow.share
    }

    /// The oldest datagram of a flow that is not dropped for its age or its wait.
    fn fresh(&mut self, tick: Tick, slot: Slot, dropped: &mut impl FnMut(Dropped)) -> Option<Head> {
        let class = self.flows[slot].spec.class;
        let patience = *self.patience(class);
        loop {
            let flow = &mut self.flows[slot];
            if flow.backlog.datagrams == 0 {
                return None;
            }
            let head = self.arenas[class_index(class)].first(flow);
            let wait = tick.active.saturating_sub(head.at.active);
            let last = flow.backlog.datagrams == 1;
            if tick.now - head.at.now >= nanos(patience.age) {
                self.discard(slot, DropReason::Age, dropped);
            } else if flow.codel.judge(tick.active, wait, last, patience.codel()) {
                self.discard(slot, DropReason::Codel, dropped);
            } else {
                return Some(head);
            }
        }
    }

    fn discard(&mut self, slot: Slot, reason: DropReason, dropped: &mut impl FnMut(Dropped)) {
        let bytes = self.pop(slot).len();
        dropped(Dropped { slot, reason, bytes });
    }

    /// Takes the oldest datagram of a flow that has one off the books.
    fn pop(&mut self, slot: Slot) -> Head {
        let flow = &mut self.flows[slot];
        let head = self.arenas[class_index(flow.spec.class)].pop(flow);
        self.sched.unqueued(flow);
        self.datagrams -= 1;
        self.bytes -= head.cost();
        self.ranks.update(&mut self.flows, slot);
        head
    }

    fn tidy(&mut self) {
        for arena in &mut self.arenas {
            arena.tidy(&mut self.flows);
        }
    }

    fn release(&mut self) {
        for arena in &mut self.arenas {
            arena.release(&mut self.flows);
        }
        self.sched.release(&mut self.flows);
    }

    fn patience(&self, class: Class) -> &Patience {
        match class {
            Class::Reliable | Class::Control => &self.limits.reliable,
            Class::Realtime => &self.limits.realtime,
        }
    }

    /// Reads the clocks; real time never goes back, so that the arenas stay ordered by age.
    fn tick(&mut self, at: Moment) -> Tick {
        self.latest = self.latest.max(nanos(at.now.saturating_duration_since(self.epoch)));
        Tick { now: self.latest, active: nanos(at.active) }
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

impl Patience {
    fn codel(&self) -> CodelParams {
        CodelParams { target: nanos(self.target), interval: nanos(self.interval) }
    }
}

impl Rest {
    fn pushed(&mut self, now: u64) {
        self.pushed = true;
        self.look.get_or_insert(now.saturating_add(LOOK));
    }

    fn is_due(&mut self, now: u64) -> bool {
        if self.look.is_none_or(|look| look > now) {
            return false;
        }
        let due = !self.pushed;
        self.look = self.pushed.then(|| now.saturating_add(LOOK));
        self.pushed = false;
        due
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
const LOOK: u64 = 1_000_000_000;
const MOST_BYTES: usize = 1 << 30;

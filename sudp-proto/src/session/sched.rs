//! Whose turn it is, and who holds the most.
//!
//! Turns go as in fq_codel: flows that are new or send little first, then deficit round robin. Every
//! link serves the flows it is home to together with those that have no home, in one order.
//!
//! Nothing here is kept for a flow without a standing, and everything links by [`Slot`], so that flows
//! may lie densely in memory and move.

use std::ops::{Index, IndexMut};

use super::codel::Codel;
use super::queue::{FlowSpec, Lane, Slot};

/// What a session remembers of a flow that has a turn: it has a backlog, or had one a moment ago.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) slot: Slot,
    pub(super) spec: FlowSpec,
    pub(super) backlog: Backlog,
    pub(super) codel: Codel,
    /// The batch this flow was last cut into, and where in its draft.
    pub(super) batch: u64,
    pub(super) share: usize,
    deficit: i64,
    standing: Standing,
    /// Grows along every roster, so that fronts of several can be compared.
    ticket: u64,
    order: Neighbours,
    peers: Neighbours,
    rank: usize,
}

/// Where a flow's datagrams are in the arena of its class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backlog {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) datagrams: usize,
    pub(super) bytes: usize,
}

/// Which roster a flow stands in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    New,
    Old,
}

#[derive(Clone, Copy, Debug)]
struct Neighbours {
    before: Slot,
    after: Slot,
}

const ALONE: Neighbours = Neighbours { before: Slot::NONE, after: Slot::NONE };

/// The flows that have a standing, dense whatever their slots are.
#[derive(Debug, Default)]
pub(super) struct Flows {
    places: Vec<u32>,
    dense: Vec<Flow>,
}

impl Flows {
    pub(super) fn get(&self, slot: Slot) -> Option<&Flow> {
        let place = *self.places.get(slot.index())?;
        self.dense.get(place as usize)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Flow> {
        let place = *self.places.get(slot.index())?;
        self.dense.get_mut(place as usize)
    }

    fn insert(&mut self, flow: Flow) {
        let at = flow.slot.index();
        if at >= self.places.len() {
            self.places.resize(at + 1, NOWHERE);
        }
        self.places[at] = place(self.dense.len());
        self.dense.push(flow);
    }

    fn remove(&mut self, slot: Slot) {
        let hole = std::mem::replace(&mut self.places[slot.index()], NOWHERE);
        self.dense.swap_remove(hole as usize);
        if let Some(moved) = self.dense.get(hole as usize) {
            self.places[moved.slot.index()] = hole;
        }
    }

    /// Gives back memory that far outgrew the flows there are.
    pub(super) fn tidy(&mut self) {
        if self.dense.capacity() > 4 * self.dense.len() + SLACK {
            self.dense.shrink_to(2 * self.dense.len() + SLACK / 2);
        }
    }

    pub(super) fn held(&self) -> usize {
        self.dense.capacity() * size_of::<Flow>() + self.places.capacity() * size_of::<u32>()
    }
}

impl Index<Slot> for Flows {
    type Output = Flow;

    fn index(&self, slot: Slot) -> &Flow {
        &self.dense[self.places[slot.index()] as usize]
    }
}

impl IndexMut<Slot> for Flows {
    fn index_mut(&mut self, slot: Slot) -> &mut Flow {
        &mut self.dense[self.places[slot.index()] as usize]
    }
}

/// The turns of all flows, by lane.
#[derive(Debug)]
pub(super) struct Sched {
    lanes: [Rosters; Lane::COUNT],
    quantum: i64,
    tickets: u64,
}

/// The turns in one lane.
#[derive(Clone, Copy, Debug, Default)]
struct Rosters {
    new: Roster,
    old: Roster,
    /// Datagrams queued by the flows of both.
    datagrams: usize,
}

/// Flows in the order of their turns.
#[derive(Clone, Copy, Debug)]
struct Roster {
    front: Slot,
    back: Slot,
}

impl Sched {
    pub(super) fn new(quantum: u32) -> Self {
        Self { lanes: [Rosters::default(); Lane::COUNT], quantum: i64::from(quantum.max(LEAST_QUANTUM)), tickets: 0 }
    }

    /// Gives `slot` a standing, ahead of all that have had theirs, unless it has one.
    pub(super) fn enter(&mut self, flows: &mut Flows, slot: Slot, spec: FlowSpec) {
        if flows.get(slot).is_some() {
            return self.respec(flows, slot, spec);
        }
        flows.insert(Flow {
            slot,
            spec,
            backlog: Backlog::default(),
            codel: Codel::default(),
            batch: 0,
            share: 0,
            deficit: self.quantum,
            standing: Standing::New,
            ticket: 0,
            order: ALONE,
            peers: ALONE,
            rank: Ranks::UNRANKED,
        });
        self.append(flows, slot, Standing::New);
    }

    /// The flow of `lanes` whose turn it is; it may have nothing left.
    pub(super) fn front(&mut self, flows: &mut Flows, lanes: &[Lane]) -> Option<Slot> {
        loop {
            let slot = self.first(flows, lanes, Standing::New).or_else(|| self.first(flows, lanes, Standing::Old))?;
            let flow = &mut flows[slot];
            if flow.deficit > 0 {
                return Some(slot);
            }
            flow.deficit += self.quantum;
            self.unlink(flows, slot);
            self.append(flows, slot, Standing::Old);
        }
    }

    /// Ends the turn of a flow that has nothing left.
    ///
    /// A new flow first waits out a round of the others, else it could be new again at once.
    pub(super) fn rest(&mut self, flows: &mut Flows, slot: Slot, lanes: &[Lane]) {
        let again = flows[slot].standing == Standing::New && self.first(flows, lanes, Standing::Old).is_some();
        self.unlink(flows, slot);
        if again {
            self.append(flows, slot, Standing::Old);
        } else {
            flows.remove(slot);
        }
    }

    /// Forgets a flow that has nothing left.
    pub(super) fn leave(&mut self, flows: &mut Flows, slot: Slot) {
        self.unlink(flows, slot);
        flows.remove(slot);
    }

    /// Follows a change of what a flow asks for; what it has queued keeps its class and copies.
    fn respec(&mut self, flows: &mut Flows, slot: Slot, spec: FlowSpec) {
        let flow = &mut flows[slot];
        if flow.spec == spec {
            return;
        }
        if flow.backlog.datagrams == 0 {
            flow.spec = FlowSpec { lane: flow.spec.lane, ..spec };
        }
        if flow.spec.lane != spec.lane {
            self.rehome(flows, slot, spec.lane);
        }
    }

    /// Moves a flow to the end of another lane.
    pub(super) fn rehome(&mut self, flows: &mut Flows, slot: Slot, lane: Lane) {
        let Flow { standing, backlog, spec, .. } = flows[slot];
        self.unlink(flows, slot);
        self.lanes[spec.lane.index()].datagrams -= backlog.datagrams;
        self.lanes[lane.index()].datagrams += backlog.datagrams;
        flows[slot].spec.lane = lane;
        self.append(flows, slot, standing);
    }

    /// Forgets all flows; none may have anything queued.
    pub(super) fn clear(&mut self, flows: &mut Flows) {
        self.lanes = [Rosters::default(); Lane::COUNT];
        *flows = Flows::default();
    }

    /// Counts that a flow of `lane`, which had `before` datagrams queued, has `after`.
    pub(super) fn settle(&mut self, lane: Lane, before: usize, after: usize) {
        let rosters = &mut self.lanes[lane.index()];
        rosters.datagrams = rosters.datagrams + after - before;
    }

    pub(super) fn datagrams(&self, lane: Lane) -> usize {
        self.lanes[lane.index()].datagrams
    }

    /// The front of the rosters of `lanes`, as if they were one.
    fn first(&self, flows: &Flows, lanes: &[Lane], standing: Standing) -> Option<Slot> {
        let fronts = lanes.iter().map(|lane| self.lanes[lane.index()].roster(standing).front);
        fronts.filter(|front| *front != Slot::NONE).min_by_key(|front| flows[*front].ticket)
    }

    fn append(&mut self, flows: &mut Flows, slot: Slot, standing: Standing) {
        self.tickets += 1;
        let roster = self.lanes[flows[slot].spec.lane.index()].roster_mut(standing);
        let before = std::mem::replace(&mut roster.back, slot);
        if before == Slot::NONE {
            roster.front = slot;
        } else {
            flows[before].order.after = slot;
        }
        let flow = &mut flows[slot];
        flow.standing = standing;
        flow.ticket = self.tickets;
        flow.order = Neighbours { before, after: Slot::NONE };
    }

    fn unlink(&mut self, flows: &mut Flows, slot: Slot) {
        let Flow { order: Neighbours { before, after }, standing, spec, .. } = flows[slot];
        let roster = self.lanes[spec.lane.index()].roster_mut(standing);
        if before == Slot::NONE {
            roster.front = after;
        } else {
            flows[before].order.after = after;
        }
        if after == Slot::NONE {
            roster.back = before;
        } else {
            flows[after].order.before = before;
        }
    }
}

impl Rosters {
    fn roster(&self, standing: Standing) -> &Roster {
        match standing {
            Standing::New => &self.new,
            Standing::Old => &self.old,
        }
    }

    fn roster_mut(&mut self, standing: Standing) -> &mut Roster {
        match standing {
            Standing::New => &mut self.new,
            Standing::Old => &mut self.old,
        }
    }
}

impl Default for Roster {
    fn default() -> Self {
        Self { front: Slot::NONE, back: Slot::NONE }
    }
}

impl Flow {
    /// Pays for a datagram from the turn; says whether the turn goes on.
    pub(super) fn pay(&mut self, cost: usize) -> bool {
        self.deficit -= i64::try_from(cost).unwrap_or(i64::MAX / 2);
        self.deficit > 0
    }
}

/// Flows by the size of their backlog, four ranks to a doubling, so that the fattest is found at once.
#[derive(Debug)]
pub(super) struct Ranks {
    fronts: [Slot; Self::COUNT],
    taken: u64,
}

impl Ranks {
    const COUNT: usize = 64;
    const UNRANKED: usize = usize::MAX;
    /// How many flows of the top rank are compared; beyond these, a quarter is close enough.
    const COMPARED: usize = 8;

    pub(super) fn new() -> Self {
        Self { fronts: [Slot::NONE; Self::COUNT], taken: 0 }
    }

    /// Puts a flow where its backlog now belongs.
    pub(super) fn update(&mut self, flows: &mut Flows, slot: Slot) {
        let flow = &flows[slot];
        let rank = Self::of(flow.backlog.bytes);
        if rank == flow.rank {
            return;
        }
        self.remove(flows, slot);
        if rank != Self::UNRANKED {
            self.insert(flows, slot, rank);
        }
    }

    /// The flow with the most bytes queued, or one that has hardly less.
    pub(super) fn fattest(&self, flows: &Flows) -> Option<Slot> {
        let top = self.taken.checked_ilog2()? as usize;
        let next = |slot: &Slot| Some(flows[*slot].peers.after).filter(|after| *after != Slot::NONE);
        let rank = std::iter::successors(Some(self.fronts[top]), next);
        rank.take(Self::COMPARED).max_by_key(|slot| flows[*slot].backlog.bytes)
    }

    /// The rank of a backlog: 0 below 64 bytes, then a step for each quarter of a power of two.
    fn of(bytes: usize) -> usize {
        if bytes == 0 {
            return Self::UNRANKED;
        }
        let octave = (bytes | 32).ilog2() as usize;
        let quarter = (bytes >> (octave - 2)) & 3;
        ((octave - 5) * 4 + quarter).min(Self::COUNT - 1)
    }

    fn insert(&mut self, flows: &mut Flows, slot: Slot, rank: usize) {
        let after = std::mem::replace(&mut self.fronts[rank], slot);
        self.taken |= 1 << rank;
        if after != Slot::NONE {
            flows[after].peers.before = slot;
        }
        let flow = &mut flows[slot];
        flow.peers = Neighbours { before: Slot::NONE, after };
        flow.rank = rank;
    }

    fn remove(&mut self, flows: &mut Flows, slot: Slot) {
        let Flow { peers: Neighbours { before, after }, rank, .. } = flows[slot];
        if rank == Self::UNRANKED {
            return;
        }
        if after != Slot::NONE {
            flows[after].peers.before = before;
        }
        if before != Slot::NONE {
            flows[before].peers.after = after;
        } else {
            self.fronts[rank] = after;
            if after == Slot::NONE {
                self.taken &= !(1 << rank);
            }
        }
        flows[slot].rank = Self::UNRANKED;
    }
}

fn place(index: usize) -> u32 {
    u32::try_from(index).expect("slots are 32 bits wide, so there are no more flows")
}

/// Smaller ones would send a flow round and round after a large datagram.
const LEAST_QUANTUM: u32 = 256;
const NOWHERE: u32 = u32::MAX;
const SLACK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Class;

    #[test]
    fn a_rank_holds_what_differs_by_at_most_a_quarter() {
        let mut least = 41;
        for bytes in 41..2 * 1024 * 1024 {
            if Ranks::of(bytes) != Ranks::of(least) {
                assert_eq!(Ranks::of(bytes), Ranks::of(least) + 1);
                least = bytes;
            }
            assert!(bytes < least + least.div_ceil(4), "{bytes} shares a rank with {least}");
        }
        assert_eq!(Ranks::of(usize::MAX), Ranks::COUNT - 1);
    }

    #[test]
    fn the_fattest_is_found_through_any_change() {
        let (mut flows, mut sched, mut ranks) = (Flows::default(), Sched::new(4096), Ranks::new());
        let mut sizes = [0; 40];
        let mut state = 1_usize;
        for _ in 0..5_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (index, bytes) = ((state >> 33) % 40, (state >> 40) % 3_000);
            let slot = Slot(place(index));
            sched.enter(&mut flows, slot, SPEC);
            flows[slot].backlog.bytes = bytes;
            ranks.update(&mut flows, slot);
            sizes[index] = bytes;

            let found = ranks.fattest(&flows).map_or(0, |slot| flows[slot].backlog.bytes);
            let most = *sizes.iter().max().unwrap();
            assert!(found <= most && most < found + found.div_ceil(4).max(1), "{found} instead of {most}");
        }
    }

    #[test]
    fn flows_stay_dense_whoever_leaves() {
        let (mut flows, mut sched) = (Flows::default(), Sched::new(4096));
        for slot in (0..100).map(Slot) {
            sched.enter(&mut flows, slot, SPEC);
        }
        for slot in (0..100).step_by(3).map(Slot) {
            sched.leave(&mut flows, slot);
            assert!(flows.get(slot).is_none());
        }
        assert_eq!(flows.dense.len(), 66);
        for slot in (0..100).filter(|slot| slot % 3 != 0).map(Slot) {
            assert_eq!(flows[slot].slot, slot);
            assert_eq!(sched.front(&mut flows, &[Lane::ANY]), Some(slot));
            sched.leave(&mut flows, slot);
        }
        assert_eq!(sched.front(&mut flows, &[Lane::ANY]), None);
    }

    const SPEC: FlowSpec = FlowSpec { class: Class::Reliable, copies: 1, lane: Lane::ANY };
}

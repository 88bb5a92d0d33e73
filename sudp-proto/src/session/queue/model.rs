//! The queues against a model too simple to be wrong: a list for each flow.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::tests::{read, record};
use super::*;

proptest! {
    #[test]
    fn nothing_is_lost_reordered_or_unaccounted(ops in proptest::collection::vec(op(), 1..300)) {
        let mut world = World::new();
        for op in ops {
            world.apply(op);
            world.check();
        }
    }

    #[test]
    fn a_sparse_flow_waits_at_most_one_round_of_the_others(
        sizes in proptest::collection::vec(40_usize..3_000, 1..12),
        cuts in proptest::collection::vec((12_usize..9_000, any::<bool>()), 1..60),
    ) {
        let mut world = World::new();
        let sparse = Slot(FLOWS);
        for (cut, push) in cuts {
            for (slot, size) in (0..).zip(&sizes) {
                while world.queues.flow_bytes(Slot(slot)) < 10_000 {
                    world.push(Slot(slot), *size);
                }
            }
            if push && world.queues.flow_len(sparse) == 0 {
                world.push(sparse, 100);
                let before = world.sent_before(sparse);
                let round = sizes.iter().map(|size| 4096 + size + OVERHEAD).sum::<usize>();
                prop_assert!(before <= round, "{before} bytes of others went first, a round is {round}");
            }
            world.cut(&[lane(0), lane(1), Lane::ANY], cut);
        }
    }
}

const FLOWS: u32 = 8;
const CAP: usize = 300_000;
const OVERHEAD: usize = 40;
/// What may be held besides twice what is queued: two arenas' slack and first steps, and a few flows.
const CONSTANT: usize = 2 * (32 * 1024 + 512 * OVERHEAD) + 16 * 1024;

#[derive(Clone, Debug)]
enum Op {
    Clear(u32),
    Cut(u8, usize),
    Expire,
    Push(u32, usize),
    PushTight(u32, usize, usize),
    Rehome(u32, u8),
    Stall(u64),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let size = || prop_oneof![8 => 12_usize..200, 4 => 12_usize..1500, 1 => 12_usize..40_000];
    prop_oneof![
        1 => (0..FLOWS).prop_map(Op::Clear),
        20 => (0_u8..3, prop_oneof![1_usize..500, 1_usize..16_384]).prop_map(|(lane, target)| Op::Cut(lane, target)),
        3 => Just(Op::Expire),
        40 => (0..FLOWS, size()).prop_map(|(flow, size)| Op::Push(flow, size)),
        4 => (0..FLOWS, size(), 0_usize..3_000).prop_map(|(flow, size, room)| Op::PushTight(flow, size, room)),
        4 => (0..FLOWS, 0_u8..3).prop_map(|(flow, lane)| Op::Rehome(flow, lane)),
        3 => (0_u64..120).prop_map(Op::Stall),
        6 => (0_u64..300).prop_map(Op::Wait),
    ]
}

/// Lanes 0 and 1 are links, any other has no home.
fn lane(index: u8) -> Lane {
    if index < 2 { Lane::of(index) } else { Lane::ANY }
}

/// A datagram as the model knows it.
#[derive(Clone, Copy, Debug)]
struct Queued {
    number: u32,
    len: usize,
    at: Instant,
}

struct World {
    queues: Queues,
    at: Moment,
    flows: Vec<VecDeque<Queued>>,
    lanes: Vec<u8>,
    numbers: u32,
    room: usize,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other source; nothing depends on its value")]
    fn new() -> Self {
        let at = Moment { now: Instant::now(), active: Duration::ZERO };
        let limits = QueueLimits { bytes: CAP, ..QueueLimits::default() };
        Self {
            queues: Queues::new(at.now, limits),
            at,
            flows: vec![VecDeque::new(); 16],
            lanes: vec![2; 16],
            numbers: 0,
            room: usize::MAX,
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Clear(flow) => {
                let gone = std::mem::take(&mut self.flows[flow as usize]);
                let bytes = gone.iter().map(|queued| queued.len).sum();
                assert_eq!(self.queues.clear(Slot(flow)), (gone.len(), bytes));
            }
            Op::Cut(link, target) => self.cut(&[lane(link), Lane::ANY][..if link < 2 { 2 } else { 1 }], target),
            Op::Expire => self.expire(),
            Op::Push(flow, size) => self.push(Slot(flow), size),
            Op::PushTight(flow, size, room) => {
                self.room = room;
                self.push(Slot(flow), size);
                self.room = usize::MAX;
            }
            Op::Rehome(flow, index) => {
                self.queues.rehome(Slot(flow), lane(index));
                self.lanes[flow as usize] = index;
            }
            Op::Stall(time) => self.at.now += Duration::from_millis(time),
            Op::Wait(time) => {
                self.at.now += Duration::from_millis(time);
                self.at.active += Duration::from_millis(time);
            }
        }
    }

    fn spec(&self, slot: Slot) -> FlowSpec {
        let class = if slot.0.is_multiple_of(2) { Class::Reliable } else { Class::Realtime };
        FlowSpec { class, copies: u8::from(slot.0 % 4 == 3), lane: lane(self.lanes[slot.index()]) }
    }

    fn age(&self, slot: Slot) -> Duration {
        let limits = QueueLimits::default();
        match self.spec(slot).class {
            Class::Reliable | Class::Control => limits.reliable.age,
            Class::Realtime => limits.realtime.age,
        }
    }

    fn push(&mut self, slot: Slot, size: usize) {
        let (spec, before) = (self.spec(slot), self.queues.bytes());
        self.numbers += 1;
        self.flows[slot.index()].push_back(Queued { number: self.numbers, len: size, at: self.at.now });
        let flows = &mut self.flows;
        self.queues.push(self.at, slot, spec, &record(slot, self.numbers, size), self.room, &mut |dropped| {
            let fattest = flows.iter().map(cost).max().unwrap();
            assert_eq!(dropped.reason, DropReason::Full);
            assert_eq!(cost(&flows[dropped.slot.index()]), fattest, "the fattest pays");
            let head = flows[dropped.slot.index()].pop_front().unwrap();
            assert_eq!(dropped.bytes, head.len);
        });
        assert!(self.queues.bytes() <= CAP.min(before.saturating_add(self.room)));
    }

    fn cut(&mut self, lanes: &[Lane], target: usize) {
        let mut draft = Draft::default();
        let mut dropped = Vec::new();
        let kind = self.queues.cut(self.at, lanes, target, &mut draft, |_, _| {}, &mut |drop| dropped.push(drop));
        let records = read(&draft.bytes);
        assert!(draft.bytes.len() <= target || records.len() == 1);
        Self::check_shares(&draft, &records);
        self.check_kind(kind, lanes, &records);
        self.take(&records, &dropped);
        if kind.is_none() {
            assert!(lanes.iter().all(|lane| self.datagrams(*lane) == 0), "nothing was cut, but something waits");
        }
    }

    fn check_shares(draft: &Draft, records: &[(Slot, u32, usize)]) {
        for share in &draft.shares {
            let lens = records.iter().filter(|(slot, ..)| *slot == share.slot).map(|(.., len)| *len);
            assert_eq!(usize::try_from(share.datagrams).unwrap(), lens.clone().count());
            assert_eq!(share.bytes, lens.sum::<usize>());
        }
        assert_eq!(draft.bytes.len(), draft.shares.iter().map(|share| share.bytes).sum::<usize>());
    }

    fn check_kind(&self, kind: Option<Kind>, lanes: &[Lane], records: &[(Slot, u32, usize)]) {
        assert_eq!(kind.is_none(), records.is_empty());
        for (slot, ..) in records {
            let FlowSpec { class, copies, lane } = self.spec(*slot);
            assert_eq!(kind, Some(Kind { class, copies }));
            assert!(lanes.contains(&lane));
        }
    }

    /// Takes what was cut and dropped out of the model: together the heads of its lists, in order.
    fn take(&mut self, records: &[(Slot, u32, usize)], dropped: &[Dropped]) {
        for (slot, flow) in (0..).map(Slot).zip(0..self.flows.len()) {
            let mut cut = records.iter().filter(|record| record.0 == slot).peekable();
            let mut lost = dropped.iter().filter(|dropped| dropped.slot == slot).peekable();
            while cut.peek().is_some() || lost.peek().is_some() {
                let head = self.flows[flow].pop_front().unwrap();
                let old = self.at.now - head.at >= self.age(slot);
                if cut.next_if(|(_, number, len)| (*number, *len) == (head.number, head.len)).is_some() {
                    assert!(!old, "too old to be cut");
                    continue;
                }
                let lost = lost.next().unwrap();
                assert_eq!(lost.bytes, head.len);
                assert_eq!(lost.reason == DropReason::Age, old);
            }
        }
    }

    fn expire(&mut self) {
        let mut dropped = Vec::new();
        self.queues.expire(self.at.now, &mut |drop| dropped.push(drop));
        self.take(&[], &dropped);
        for slot in (0..16).map(Slot) {
            let age = self.age(slot);
            assert!(self.flows[slot.index()].iter().all(|queued| self.at.now - queued.at < age));
        }
        assert!(self.queues.next_expiry().is_none_or(|next| next > self.at.now));
    }

    /// Cuts everything one datagram at a time until `slot` is next; says what the others sent.
    fn sent_before(&mut self, slot: Slot) -> usize {
        let mut sent = 0;
        loop {
            let mut draft = Draft::default();
            self.queues.cut(self.at, &[lane(0), lane(1), Lane::ANY], 1, &mut draft, |_, _| {}, &mut |_| ());
            let records = read(&draft.bytes);
            self.take(&records, &[]);
            if records[0].0 == slot {
                return sent;
            }
            sent += records[0].2 + OVERHEAD;
        }
    }

    fn check(&self) {
        for (slot, flow) in (0..).map(Slot).zip(&self.flows) {
            assert_eq!(self.queues.flow_len(slot), flow.len());
            assert_eq!(self.queues.flow_bytes(slot), cost(flow));
        }
        assert_eq!(self.queues.len(), self.flows.iter().map(VecDeque::len).sum::<usize>());
        assert_eq!(self.queues.bytes(), self.flows.iter().map(cost).sum::<usize>());
        assert!(self.queues.held() <= 2 * self.queues.bytes() + CONSTANT);
        for link in [lane(0), lane(1)] {
            assert_eq!(self.queues.waiting(link), self.datagrams(link) + self.datagrams(Lane::ANY) > 0);
        }
    }

    fn datagrams(&self, of: Lane) -> usize {
        let flows = self.flows.iter().zip(&self.lanes);
        flows.filter(|(_, index)| lane(**index) == of).map(|(flow, _)| flow.len()).sum()
    }
}

fn cost(flow: &VecDeque<Queued>) -> usize {
    flow.iter().map(|queued| queued.len + OVERHEAD).sum()
}

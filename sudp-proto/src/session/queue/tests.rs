mod memory;

use super::*;

const HOME: Lane = Lane(0);
const OTHER: Lane = Lane(1);
const RELIABLE: FlowSpec = FlowSpec { class: Class::Reliable, copies: 1, lane: HOME };
const REALTIME: FlowSpec = FlowSpec { class: Class::Realtime, copies: 1, lane: HOME };
const GREEDY: Slot = Slot(1);
const SPARSE: Slot = Slot(2);
const TARGET: usize = 4096;
/// What one datagram counts besides its record.
const OVERHEAD: usize = 40;

#[test]
fn a_flow_keeps_its_order() {
    let mut desk = Desk::new();
    for number in 0..100 {
        desk.push(GREEDY, number, 100);
        desk.push(SPARSE, number, 30);
    }
    let cut = desk.drain();
    for slot in [GREEDY, SPARSE] {
        assert_eq!(numbers(&cut, slot), (0..100).collect::<Vec<_>>());
    }
    assert_eq!(desk.dropped, []);
}

#[test]
fn a_sparse_flow_goes_before_a_greedy_one() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 500, 1000);
    for number in 0..20 {
        desk.cut(TARGET);
        desk.push(SPARSE, number, 60);
        let cut = desk.cut(TARGET);
        assert_eq!(cut[0], (SPARSE, number, 60));
    }
}

#[test]
fn a_flow_that_was_new_a_moment_ago_waits_for_its_round() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 500, 1000);
    desk.cut(TARGET);
    desk.cut(TARGET);
    desk.push(SPARSE, 0, 60);
    assert_eq!(desk.cut(100), [(SPARSE, 0, 60)]);
    desk.cut(1);
    desk.push(SPARSE, 1, 60);
    assert_eq!(desk.cut(100)[0].0, GREEDY);
    assert!(desk.cut(TARGET).contains(&(SPARSE, 1, 60)));
}

#[test]
fn a_flow_that_waits_for_its_round_goes_with_its_new_home() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 500, 1000);
    desk.cut(TARGET);
    desk.cut(TARGET);
    desk.push(SPARSE, 0, 60);
    assert_eq!(desk.cut(100), [(SPARSE, 0, 60)]);
    desk.push_as(FlowSpec { lane: OTHER, ..RELIABLE }, SPARSE, 1, 60);
    desk.lanes = [OTHER, Lane::ANY];
    assert_eq!(desk.drain(), [(SPARSE, 1, 60)]);
    desk.lanes = [HOME, Lane::ANY];
    assert_eq!(numbers(&desk.drain(), SPARSE), []);
}

#[test]
fn greedy_flows_share_by_bytes_whatever_the_size_of_their_datagrams() {
    let mut desk = Desk::new();
    desk.push_many(Slot(0), 3000, 100);
    desk.push_many(Slot(1), 300, 1000);
    let mut sent = [0; 2];
    for _ in 0..50 {
        for (slot, _, len) in desk.cut(TARGET) {
            sent[slot.index()] += len + OVERHEAD;
        }
    }
    assert!(sent[0].abs_diff(sent[1]) <= 2 * 4096, "{sent:?}");
}

#[test]
fn a_turn_is_a_run_of_a_quantum() {
    let mut desk = Desk::new();
    desk.push_many(Slot(0), 300, 984);
    desk.push_many(Slot(1), 300, 984);
    let slots: Vec<_> = desk.cut(32 * 1024).iter().map(|(slot, ..)| slot.0).collect();
    assert_eq!(slots[..16], [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1]);
}

#[test]
fn at_the_cap_the_fattest_flow_loses_its_head() {
    let mut desk = Desk::new();
    let small = 10;
    desk.push_many(SPARSE, small, 60);
    for number in 0..3000 {
        desk.push(GREEDY, number, 1000);
    }
    assert!(desk.dropped.iter().all(|dropped| (dropped.slot, dropped.reason) == (GREEDY, DropReason::Full)));
    let lost = u32::try_from(desk.dropped.len()).unwrap();
    assert!(lost > 0);
    assert!(desk.queues.bytes() <= 1024 * 1024 && desk.queues.bytes() > 1024 * 1024 - 1100);

    let cut = desk.drain();
    assert_eq!(numbers(&cut, GREEDY), (lost..3000).collect::<Vec<_>>());
    assert_eq!(numbers(&cut, SPARSE).len(), usize::try_from(small).unwrap());
}

#[test]
fn a_datagram_too_large_for_the_cap_drops_itself() {
    let mut desk = Desk::limited(QueueLimits { bytes: 2000, ..QueueLimits::default() });
    desk.push(SPARSE, 0, 100);
    desk.push(GREEDY, 0, 1990);
    assert_eq!(desk.dropped, [Dropped { slot: GREEDY, reason: DropReason::Full, bytes: 1990 }]);
    assert_eq!(desk.drain(), [(SPARSE, 0, 100)]);
}

#[test]
fn what_fills_the_cap_to_the_last_byte_stays() {
    let mut desk = Desk::limited(QueueLimits { bytes: 10 * (1_000 + OVERHEAD), ..QueueLimits::default() });
    desk.push_many(GREEDY, 10, 1_000);
    assert_eq!(desk.dropped, []);
    desk.push(GREEDY, 10, 1_000);
    assert_eq!(desk.dropped.len(), 1);
    assert_eq!(numbers(&desk.drain(), GREEDY), (1..=10).collect::<Vec<_>>());
}

#[test]
fn without_room_in_the_pool_the_fattest_makes_room() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 10, 1000);
    desk.room = 0;
    desk.push(SPARSE, 0, 100);
    assert_eq!(desk.dropped, [Dropped { slot: GREEDY, reason: DropReason::Full, bytes: 1000 }]);
    assert_eq!(desk.queues.flow_len(SPARSE), 1);

    let mut desk = Desk::new();
    desk.room = 0;
    desk.push(SPARSE, 0, 100);
    assert_eq!(desk.dropped, [Dropped { slot: SPARSE, reason: DropReason::Full, bytes: 100 }]);
    assert!(desk.queues.is_empty());
}

#[test]
fn each_class_has_its_hard_age() {
    for (spec, age) in [(REALTIME, 200), (RELIABLE, 15_000)] {
        let mut desk = Desk::new();
        desk.push_as(spec, SPARSE, 0, 100);
        desk.stall(age - 1);
        desk.expire();
        assert_eq!(desk.queues.len(), 1);
        if spec == REALTIME {
            assert_eq!(desk.queues.next_expiry(), Some(desk.at.now + millis(1)));
        }
        desk.stall(1);
        desk.expire();
        assert_eq!(desk.dropped, [Dropped { slot: SPARSE, reason: DropReason::Age, bytes: 100 }]);
        assert!(desk.queues.is_empty());
    }
}

#[test]
fn what_is_too_old_is_never_cut_even_if_nobody_came_to_expire_it() {
    let mut desk = Desk::new();
    desk.push_as(REALTIME, SPARSE, 0, 100);
    desk.stall(150);
    desk.push_as(REALTIME, SPARSE, 1, 100);
    desk.stall(50);
    assert_eq!(desk.cut(TARGET), [(SPARSE, 1, 100)]);
    assert_eq!(desk.dropped, [Dropped { slot: SPARSE, reason: DropReason::Age, bytes: 100 }]);
}

#[test]
fn a_reliable_backlog_survives_a_cut_of_two_seconds_and_a_realtime_one_does_not() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 500, 1000);
    for number in 0..10 {
        desk.push_as(REALTIME, SPARSE, number, 200);
    }
    desk.stall(2_000);
    let cut = desk.drain();
    assert_eq!(numbers(&cut, GREEDY), (0..500).collect::<Vec<_>>());
    assert!(desk.dropped.iter().all(|dropped| (dropped.slot, dropped.reason) == (SPARSE, DropReason::Age)));
    assert_eq!(desk.dropped.len(), 10);
}

#[test]
fn a_queue_that_stands_is_thinned_and_one_that_drains_is_not() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 500, 1000);
    for number in 500..2500 {
        desk.wait(2);
        desk.push(GREEDY, number, 1000);
        desk.cut(1);
    }
    let codel = desk.dropped.iter().filter(|dropped| dropped.reason == DropReason::Codel).count();
    assert_eq!(codel, 4, "one after 1.25 s, then 1 s, 0.71 s and 0.58 s apart");
    assert_eq!((desk.queues.len(), desk.dropped.len()), (500 - codel, codel));

    let mut desk = Desk::new();
    desk.push_many(GREEDY, 500, 1000);
    for _ in 0..500 {
        desk.wait(1);
        desk.cut(1);
    }
    assert!(desk.queues.is_empty());
    assert_eq!(desk.dropped, []);
}

#[test]
fn a_wait_through_cut_after_cut_is_no_standing_queue() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 500, 1000);
    let mut cut = Vec::new();
    for _ in 0..5 {
        desk.stall(2_000);
        cut.extend(desk.cut(TARGET));
    }
    cut.extend(desk.drain());
    assert_eq!(numbers(&cut, GREEDY), (0..500).collect::<Vec<_>>());
    assert_eq!(desk.dropped, []);
}

#[test]
fn a_link_carries_its_own_lane_and_the_homeless() {
    let mut desk = Desk::new();
    desk.push_as(RELIABLE, Slot(0), 0, 50);
    desk.push_as(FlowSpec { lane: OTHER, ..RELIABLE }, Slot(1), 0, 50);
    desk.push_as(FlowSpec { lane: Lane::ANY, ..RELIABLE }, Slot(2), 0, 50);
    assert_eq!(desk.cut(TARGET), [(Slot(0), 0, 50), (Slot(2), 0, 50)]);
    assert!(!desk.queues.waiting(HOME));
    assert!(desk.queues.waiting(OTHER));
    desk.lanes = [OTHER, Lane::ANY];
    assert_eq!(desk.cut(TARGET), [(Slot(1), 0, 50)]);
    assert!(!desk.queues.waiting(OTHER));
}

#[test]
fn the_homeless_share_a_link_evenly_with_those_at_home() {
    let mut desk = Desk::new();
    for number in 0..100 {
        desk.push_as(RELIABLE, Slot(0), number, 984);
        desk.push_as(FlowSpec { lane: Lane::ANY, ..RELIABLE }, Slot(1), number, 984);
        desk.push_as(FlowSpec { lane: Lane::ANY, ..RELIABLE }, Slot(2), number, 984);
    }
    let cut = desk.cut(60 * 1000);
    for slot in [Slot(0), Slot(1), Slot(2)] {
        assert!(numbers(&cut, slot).len() >= 20, "{slot:?} {}", numbers(&cut, slot).len());
    }
}

#[test]
fn a_flow_that_moves_takes_its_backlog_along_in_order() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 20, 100);
    desk.cut(100);
    desk.queues.rehome(GREEDY, OTHER);
    assert!(!desk.queues.waiting(HOME) && desk.queues.waiting(OTHER));
    assert_eq!(desk.cut(TARGET), []);
    desk.push_as(FlowSpec { lane: Lane::ANY, ..RELIABLE }, GREEDY, 20, 100);
    assert!(desk.queues.waiting(HOME));
    assert_eq!(numbers(&desk.cut(TARGET), GREEDY), (1..21).collect::<Vec<_>>());
}

#[test]
fn a_batch_is_of_one_class_and_one_number_of_copies() {
    let mut desk = Desk::new();
    desk.push_as(RELIABLE, Slot(0), 0, 50);
    desk.push_as(RELIABLE, Slot(1), 0, 50);
    desk.push_as(REALTIME, Slot(2), 0, 50);
    desk.push_as(FlowSpec { copies: 2, ..REALTIME }, Slot(3), 0, 50);
    let mut kinds = Vec::new();
    while let Some((kind, draft)) = desk.draft(TARGET) {
        kinds.push((kind.class, kind.copies, draft.shares.len()));
    }
    assert_eq!(kinds, [(Class::Reliable, 1, 2), (Class::Realtime, 1, 1), (Class::Realtime, 2, 1)]);
}

#[test]
fn a_datagram_larger_than_the_target_is_a_batch_of_its_own() {
    let mut desk = Desk::new();
    for (number, len) in [(0, 50), (1, 60_000), (2, 50), (3, 50)] {
        desk.push(GREEDY, number, len);
    }
    let batches: Vec<_> = std::iter::from_fn(|| Some(desk.cut(TARGET)).filter(|cut| !cut.is_empty())).collect();
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 2]);
}

#[test]
fn a_prefix_counts_into_the_batch_and_comes_once_per_flow() {
    let mut desk = Desk::new();
    desk.prefix = 500;
    for number in 0..3 {
        desk.push(Slot(0), number, 1000);
        desk.push(Slot(1), number, 1000);
    }
    let (_, draft) = desk.draft(4000).unwrap();
    assert_eq!(draft.bytes.len(), 500 + 3 * 1000);
    assert_eq!(draft.shares, [Share { slot: Slot(0), datagrams: 3, bytes: 3000 }]);
    let (_, draft) = desk.draft(4000).unwrap();
    assert_eq!(draft.shares, [Share { slot: Slot(1), datagrams: 3, bytes: 3000 }]);
}

#[test]
fn a_flow_that_comes_round_again_in_a_batch_needs_no_second_prefix() {
    let mut desk = Desk::new();
    desk.prefix = 500;
    desk.push_many(Slot(0), 10, 1000);
    desk.push_many(Slot(1), 10, 1000);
    let (_, draft) = desk.draft(usize::MAX).unwrap();
    assert_eq!(draft.bytes.len(), 2 * 500 + 20 * 1000);
    assert_eq!(draft.shares.len(), 2);
}

#[test]
fn a_draft_takes_several_batches_and_each_names_its_flows() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 4, 100);
    let mut draft = Draft::default();
    for _ in 0..2 {
        let lanes = desk.lanes;
        desk.queues.cut(desk.at, &lanes, 200, &mut draft, |_, _| {}, &mut |_| ());
    }
    assert_eq!(draft.shares, [Share { slot: GREEDY, datagrams: 2, bytes: 200 }; 2]);
    assert_eq!(draft.bytes.len(), 400);
}

#[test]
fn a_cleared_slot_serves_another_flow() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 7, 100);
    desk.push(SPARSE, 0, 100);
    assert_eq!(desk.queues.clear(GREEDY), (7, 700));
    assert_eq!(desk.queues.clear(GREEDY), (0, 0));
    assert_eq!(desk.queues.clear(Slot(4000)), (0, 0));
    desk.push_as(REALTIME, GREEDY, 9, 100);
    assert_eq!(desk.cut(TARGET), [(SPARSE, 0, 100)]);
    assert_eq!(desk.draft(TARGET).unwrap().0, Kind { class: Class::Realtime, copies: 1 });
}

#[test]
fn a_flow_without_backlog_may_change_its_class_between_two_turns() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 10, 1000);
    desk.push(SPARSE, 0, 100);
    let after_a_quantum = desk.cut(5000);
    assert!(after_a_quantum.contains(&(SPARSE, 0, 100)) && !desk.queues.is_empty());

    desk.push_as(REALTIME, SPARSE, 1, 100);
    desk.push_as(RELIABLE, SPARSE, 2, 100);
    let mut classes = Vec::new();
    while let Some((kind, draft)) = desk.draft(TARGET) {
        classes.extend(numbers(&read(&draft.bytes), SPARSE).iter().map(|number| (kind.class, *number)));
    }
    assert_eq!(classes, [(Class::Realtime, 1), (Class::Realtime, 2)], "what joins a backlog follows it");
}

#[test]
fn what_is_queued_can_be_listed_with_its_age() {
    let mut desk = Desk::new();
    desk.push(GREEDY, 0, 50);
    desk.stall(30);
    desk.push(SPARSE, 0, 60);
    desk.push_as(REALTIME, Slot(9), 0, 70);
    desk.stall(10);
    let listed: Vec<_> =
        desk.queues.iter(desk.at.now).map(|(slot, wait, record)| (slot, wait.as_millis(), record.len())).collect();
    assert_eq!(listed, [(GREEDY, 40, 50), (SPARSE, 10, 60), (Slot(9), 10, 70)]);
}

#[test]
fn every_wait_is_counted() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 3, 50);
    desk.stall(3);
    desk.drain();
    let waits: Vec<_> = desk.queues.delay().iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(waits, [(Some(Duration::from_micros(4096)), 3)]);
}

/// Queues with both their clocks, and everything they dropped.
struct Desk {
    queues: Queues,
    at: Moment,
    lanes: [Lane; 2],
    room: usize,
    prefix: usize,
    dropped: Vec<Dropped>,
}

impl Desk {
    fn new() -> Self {
        Self::limited(QueueLimits::default())
    }

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other source; nothing depends on its value")]
    fn limited(limits: QueueLimits) -> Self {
        let at = Moment { now: Instant::now(), active: Duration::ZERO };
        let queues = Queues::new(at.now, limits);
        Self { queues, at, lanes: [HOME, Lane::ANY], room: usize::MAX, prefix: 0, dropped: Vec::new() }
    }

    fn push(&mut self, slot: Slot, number: u32, len: usize) {
        self.push_as(RELIABLE, slot, number, len);
    }

    fn push_many(&mut self, slot: Slot, count: u32, len: usize) {
        for number in 0..count {
            self.push(slot, number, len);
        }
    }

    fn push_as(&mut self, spec: FlowSpec, slot: Slot, number: u32, len: usize) {
        let record = record(slot, number, len);
        self.queues.push(self.at, slot, spec, &record, self.room, &mut |dropped| self.dropped.push(dropped));
    }

    fn draft(&mut self, target: usize) -> Option<(Kind, Draft)> {
        let mut draft = Draft::default();
        let prefix = self.prefix;
        let prefix = |_, into: &mut Vec<u8>| into.resize(into.len() + prefix, 0);
        let dropped = &mut |dropped| self.dropped.push(dropped);
        let kind = self.queues.cut(self.at, &self.lanes, target, &mut draft, prefix, dropped)?;
        Some((kind, draft))
    }

    fn cut(&mut self, target: usize) -> Vec<(Slot, u32, usize)> {
        self.draft(target).map_or_else(Vec::new, |(_, draft)| read(&draft.bytes))
    }

    fn drain(&mut self) -> Vec<(Slot, u32, usize)> {
        let mut all = Vec::new();
        while let Some((_, draft)) = self.draft(TARGET) {
            all.extend(read(&draft.bytes));
        }
        all
    }

    fn expire(&mut self) {
        self.queues.expire(self.at.now, &mut |dropped| self.dropped.push(dropped));
    }

    fn wait(&mut self, time: u64) {
        self.stall(time);
        self.at.active += millis(time);
    }

    fn stall(&mut self, time: u64) {
        self.at.now += millis(time);
    }
}

/// A record that says whose it is, which, and how long: 12 bytes or more.
pub(super) fn record(slot: Slot, number: u32, len: usize) -> Vec<u8> {
    let len = len.max(12);
    let mut record = Vec::with_capacity(len);
    record.extend_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
    record.extend_from_slice(&slot.0.to_be_bytes());
    record.extend_from_slice(&number.to_be_bytes());
    record.resize(len, slot.0.to_be_bytes()[3]);
    record
}

/// Reads what [`record`] wrote; it must be there to the byte.
pub(super) fn read(mut bytes: &[u8]) -> Vec<(Slot, u32, usize)> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let (len, slot, number) = (usize::try_from(word(0)).unwrap(), Slot(word(4)), word(8));
        assert_eq!(bytes[..len], record(slot, number, len));
        records.push((slot, number, len));
        bytes = &bytes[len..];
    }
    records
}

fn numbers(cut: &[(Slot, u32, usize)], of: Slot) -> Vec<u32> {
    cut.iter().filter(|(slot, ..)| *slot == of).map(|(_, number, _)| *number).collect()
}

fn millis(time: u64) -> Duration {
    Duration::from_millis(time)
}

//! What the queues hold, and when they give it back.

use super::*;

#[test]
fn eight_thousand_flows_with_a_datagram_each_all_get_their_turn() {
    let mut desk = Desk::new();
    for slot in 0..8192 {
        desk.push(Slot(slot), 0, 60);
    }
    let slots: Vec<_> = desk.drain().iter().map(|(slot, ..)| slot.0).collect();
    assert_eq!(slots, (0..8192).collect::<Vec<_>>());
    desk.push(Slot(0), 1, 60);
    assert_eq!(desk.drain(), [(Slot(0), 1, 60)]);
}

#[test]
fn one_old_datagram_pins_no_more_than_a_constant() {
    let mut desk = Desk::new();
    desk.push_as(FlowSpec { lane: OTHER, ..RELIABLE }, SPARSE, 0, 100);
    desk.push_many(GREEDY, 900, 1000);
    desk.push_as(FlowSpec { lane: OTHER, ..RELIABLE }, SPARSE, 1, 100);
    desk.drain();
    assert_eq!(desk.queues.len(), 2);
    assert!(desk.queues.held() < 64 * 1024, "{}", desk.queues.held());
    desk.lanes = [OTHER, Lane::ANY];
    assert_eq!(desk.drain(), [(SPARSE, 0, 100), (SPARSE, 1, 100)]);
}

#[test]
fn one_class_that_crowds_out_the_other_takes_its_memory_too() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 1_000, 1000);
    for slot in 0..400 {
        for number in 0..3 {
            desk.push_as(REALTIME, Slot(1_000 + slot), number, 860);
        }
    }
    assert!(desk.queues.flow_len(GREEDY) < 10, "{}", desk.queues.flow_len(GREEDY));
    let flows = 256 * 1024;
    assert!(desk.queues.held() < 2 * desk.queues.bytes() + flows, "{}", desk.queues.held());
}

#[test]
fn an_idle_session_holds_nothing_and_wants_no_timer() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 900, 1000);
    desk.drain();
    let mut looks = 0;
    while let Some(next) = desk.queues.next_expiry() {
        assert!(next > desk.at.now);
        desk.at.now = next;
        desk.expire();
        looks += 1;
    }
    assert_eq!(desk.queues.held(), 0);
    assert_eq!(looks, 2);
}

#[test]
fn a_backlog_that_rests_and_then_drains_leaves_nothing_behind() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 20, 1000);
    for _ in 0..5 {
        desk.stall(1_000);
        desk.expire();
    }
    assert!(desk.queues.held() <= 20 * (1000 + OVERHEAD) + 16 * 1024);
    desk.drain();
    desk.stall(1_000);
    desk.expire();
    assert_eq!((desk.queues.held(), desk.queues.next_expiry()), (0, None));
}

#[test]
fn a_standing_load_hardly_ever_allocates() {
    let mut desk = Desk::new();
    desk.push_many(GREEDY, 300, 1000);
    let mut changes = 0;
    for number in 0..20_000 {
        let held = desk.queues.held();
        desk.push(Slot(number % 50), number, 8 + usize::try_from(number % 1200).unwrap());
        desk.cut(1);
        changes += u32::from(number > 1_000 && desk.queues.held() != held);
    }
    assert!(changes < 20_000 / 50, "{changes} changes");
}

#[test]
fn what_happens_besides_a_push_keeps_a_session_from_resting_for_a_while() {
    let mut desk = Desk::new();
    assert!(desk.queues.is_resting());
    desk.queues.stir(desk.at.now);
    assert!(!desk.queues.is_resting());
    for resting in [false, true] {
        desk.stall(1_000);
        desk.expire();
        assert_eq!(desk.queues.is_resting(), resting);
    }
}

#[test]
fn flows_that_had_a_turn_long_ago_cost_nothing_beside_those_that_go_on() {
    for going in [1, 40] {
        let mut desk = Desk::new();
        let slots = 8_192_u32;
        for slot in 0..slots {
            desk.push(Slot(slot), 0, 60);
        }
        let places = 4 * usize::try_from(slots).unwrap();
        let least = places + usize::try_from(slots).unwrap() * (60 + OVERHEAD + size_of::<Flow>());
        assert!(desk.queues.held() >= least, "{} for {least}", desk.queues.held());
        desk.drain();
        for number in 0..5 {
            (0..going).for_each(|slot| desk.push(Slot(slot), number, 60));
            desk.stall(1_000);
            desk.expire();
            desk.drain();
        }
        // Where each slot is found takes four bytes until all rest.
        let held = desk.queues.held();
        assert!((places..places + 80 * 1_024).contains(&held), "{held} for {going}");
    }
}

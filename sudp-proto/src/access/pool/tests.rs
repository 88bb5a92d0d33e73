use std::thread;

use super::*;
use crate::{Rng, Seed};

const KIB: u64 = 1_024;

#[test]
fn a_lease_grows_and_shrinks_in_chunks_and_leaves_nothing_behind() {
    let pool = Pool::memory(1_024 * KIB, 128 * KIB);
    let mut lease = pool.lease();
    assert_eq!(pool.taken(), 0, "an idle session holds nothing");
    assert!(lease.take(1));
    assert_eq!((lease.used(), lease.held(), pool.taken()), (1, 16 * KIB, 16 * KIB));
    assert!(lease.take(16 * KIB - 1));
    assert_eq!(lease.held(), 16 * KIB);
    assert!(lease.take(17 * KIB));
    assert_eq!((lease.used(), lease.held()), (33 * KIB, 48 * KIB));
    lease.give(32 * KIB);
    assert_eq!((lease.used(), lease.held(), pool.taken()), (KIB, 32 * KIB, 32 * KIB), "one chunk is kept in reserve");
    lease.give(KIB);
    assert_eq!((lease.used(), lease.held(), pool.taken()), (0, 0, 0));
}

#[test]
fn what_a_lease_has_room_for_can_be_taken_and_not_a_byte_more() {
    for sharing in [Sharing::All, Sharing::AsMuchAsFree] {
        let pool = Pool::new(Terms { total: 1_000, chunk: 16, guaranteed: 100, sharing });
        let mut lease = pool.lease();
        for others in [0, 300, 550, 140] {
            let mut other = pool.lease();
            let _ = other.take(others);
            let room = lease.room();
            assert!(!lease.take(room + 1), "{sharing:?}, beside {others}");
            assert!(lease.take(room), "{sharing:?}, beside {others}");
            lease.give(room / 2);
        }
    }
}

#[test]
fn a_dropped_lease_returns_what_it_held() {
    let pool = Pool::memory(1_024 * KIB, 0);
    let mut lease = pool.lease();
    assert!(lease.take(100 * KIB));
    drop(lease);
    assert_eq!((pool.taken(), pool.free()), (0, 1_024 * KIB));
}

#[test]
fn a_refused_take_changes_nothing() {
    let pool = Pool::memory(64 * KIB, 0);
    let mut lease = pool.lease();
    assert!(lease.take(10 * KIB));
    for amount in [60 * KIB, u64::MAX, u64::MAX - 10 * KIB] {
        assert!(!lease.take(amount));
        assert_eq!((lease.used(), lease.held(), pool.taken()), (10 * KIB, 16 * KIB, 16 * KIB));
    }
}

#[test]
fn giving_more_than_was_taken_gives_all() {
    let pool = Pool::memory(64 * KIB, 0);
    let mut lease = pool.lease();
    assert!(lease.take(KIB));
    lease.give(2 * KIB);
    assert_eq!((lease.used(), pool.taken()), (0, 0));
}

#[test]
fn a_greedy_lease_gets_half_and_two_get_a_third_each() {
    let pool = Pool::memory(960 * KIB, 0);
    let (mut one, mut two) = (pool.lease(), pool.lease());
    while one.take(16 * KIB) {}
    assert_eq!(one.used(), 480 * KIB);
    while two.take(16 * KIB) {}
    assert_eq!(two.used(), 240 * KIB, "as much as is left behind it");
    one.give(480 * KIB);
    two.give(240 * KIB);
    while one.take(16 * KIB) | two.take(16 * KIB) {}
    assert_eq!((one.used(), two.used(), pool.free()), (320 * KIB, 320 * KIB, 320 * KIB));
}

#[test]
fn what_is_guaranteed_is_had_beside_greedy_ones() {
    let pool = Pool::memory(1_024 * KIB, 128 * KIB);
    let mut greedy: Vec<_> = (0..3).map(|_| pool.lease()).collect();
    while greedy.iter_mut().any(|lease| lease.take(KIB)) {}
    let mut late = pool.lease();
    assert!(late.take(128 * KIB));
    assert!(!late.take(1), "beyond the guarantee it must leave as much free as it holds");
    assert!(!greedy[0].take(16 * KIB));
}

#[test]
fn what_is_held_can_be_used_however_little_is_free() {
    let pool = Pool::memory(64 * KIB, 0);
    let (mut one, mut two) = (pool.lease(), pool.lease());
    assert!(one.take(17 * KIB) && two.take(16 * KIB));
    assert_eq!((one.held(), pool.free()), (32 * KIB, 16 * KIB));
    assert!(one.take(15 * KIB));
    assert!(!one.take(1));
}

#[test]
fn the_total_is_never_exceeded_and_its_last_byte_can_be_had() {
    let pool = Pool::memory(20 * KIB, 128 * KIB);
    let mut lease = pool.lease();
    assert!(lease.take(17 * KIB), "less than a chunk is left, and what is missing fits");
    assert_eq!(pool.taken(), 17 * KIB);
    assert!(lease.take(3 * KIB));
    assert!(!lease.take(1));
    assert_eq!((pool.taken(), pool.free()), (20 * KIB, 0));
}

#[test]
fn a_pool_shared_in_full_gives_all_that_is_free() {
    let terms = Terms { total: 100, chunk: 8, guaranteed: 0, sharing: Sharing::All };
    let pool = Pool::new(terms);
    assert_eq!(pool.terms(), terms);
    let (mut one, mut two) = (pool.lease(), pool.lease());
    assert!(one.take(99));
    assert_eq!(one.held(), 99, "the last chunk would not have fitted");
    assert!(two.take(1));
    assert!(!two.take(1));
}

#[test]
fn a_chunk_of_zero_is_one() {
    let pool = Pool::new(Terms { total: 5, chunk: 0, guaranteed: 0, sharing: Sharing::All });
    let mut lease = pool.lease();
    assert!(lease.take(2));
    assert_eq!(lease.held(), 2);
    lease.give(1);
    assert_eq!(lease.held(), 2, "one chunk is kept in reserve");
}

#[test]
fn a_thousand_loaded_sessions_stay_inside_the_pool() {
    let mut rng = Rng::new(&Seed::from(1));
    let pool = Pool::memory(64 * 1_024 * KIB, 128 * KIB);
    let mut leases: Vec<_> = (0..1_000).map(|_| pool.lease()).collect();
    for _ in 0..20_000 {
        let index = usize::try_from(rng.below(1_000)).unwrap();
        let lease = &mut leases[index];
        let amount = rng.below(200 * KIB);
        if rng.chance(1, 2) {
            let _ = lease.take(amount);
        } else {
            lease.give(amount);
        }
        assert!(lease.used() <= lease.held());
        assert!(pool.taken() <= 64 * 1_024 * KIB);
    }
    assert_eq!(pool.taken(), leases.iter().map(Lease::held).sum::<u64>());
    drop(leases);
    assert_eq!(pool.taken(), 0);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "only here do threads share something")]
fn threads_that_share_a_pool_neither_exceed_nor_lose_it() {
    let pool = Pool::new(Terms { total: 1_000, chunk: 7, guaranteed: 50, sharing: Sharing::AsMuchAsFree });
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            let pool = pool.clone();
            thread::spawn(move || {
                let (mut rng, mut lease) = (Rng::new(&Seed::from(seed)), pool.lease());
                for _ in 0..4_000 {
                    if rng.chance(1, 2) {
                        let _ = lease.take(rng.below(100));
                    } else {
                        lease.give(rng.below(100));
                    }
                    assert!(pool.taken() <= 1_000);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(pool.taken(), 0);
}

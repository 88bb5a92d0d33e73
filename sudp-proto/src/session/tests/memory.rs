//! What a session takes of the memory that all share: as much as it holds, and no more than there is.

use super::pair::{Pair, TUNNEL, source};
use crate::access::{Lease, Pool, Sharing, Terms};
use crate::config::Limits;
use crate::session::{Role, Session, Setup, Treatment};
use crate::stats::DropReason;
use crate::testing::{ms, secs};

/// What a session at work counts for before its first batches have it.
const RESERVE: u64 = 96 << 10;

/// A pool whose last byte anyone may have.
fn exact(total: u64) -> Pool {
    Pool::new(Terms { total, chunk: 1, guaranteed: 0, sharing: Sharing::All })
}

/// A pair whose client has its memory from this pool.
fn pair_of(pool: &Pool, limits: Limits) -> Pair {
    let mut pair = Pair::with(Treatment::default(), limits);
    let tunnel = pair.client.tunnel(TUNNEL).unwrap().clone();
    let setup = Setup { pool: pool.clone(), ..pair.setup(Role::Client) };
    pair.client = Session::new(pair.now, Role::Client, setup);
    pair.client.add_tunnel(TUNNEL, tunnel).unwrap();
    pair
}

/// What is left of the pool goes to somebody else.
fn take_the_rest(pool: &Pool) -> Lease {
    let mut others = pool.lease();
    assert!(others.take(pool.free()));
    others
}

/// The client takes a datagram, which nothing carries away yet.
fn take(pair: &mut Pair, number: u32) {
    let mut payload = [7; 1_000];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), &payload).unwrap();
}

fn queued(pair: &Pair) -> u64 {
    pair.client.queues.held() as u64
}

#[test]
fn a_session_has_of_the_pool_what_it_holds_and_at_rest_nothing() {
    let pool = exact(64 << 20);
    let mut pair = pair_of(&pool, Limits::default());
    assert_eq!(pool.taken(), 0);
    for number in 0..1_500 {
        take(&mut pair, number);
        assert_eq!(pool.taken(), queued(&pair) + RESERVE, "after {number}");
        assert!(queued(&pair) > 1_000 * u64::from(number + 1));
    }
    pair.connect();
    for _ in 0..1_000 {
        pair.run(ms(5));
        if pair.served.len() == 1_500 {
            break;
        }
        assert!(pool.taken() >= queued(&pair) + RESERVE, "after {} have left", pair.served.len());
    }
    pair.run(secs(5));
    assert_eq!((pair.served.len(), pool.taken()), (1_500, 0));
}

#[test]
fn what_links_hold_unwritten_is_of_the_sessions_memory() {
    let pool = exact(64 << 20);
    let mut pair = pair_of(&pool, Limits::default());
    take(&mut pair, 0);
    pair.client.set_link_memory(300_000);
    pair.run(secs(2));
    let working = pool.taken() - queued(&pair);
    assert!((301_000..310_000).contains(&working), "{working}, and the last record is held as well");
}

#[test]
fn who_comes_when_others_have_all_the_memory_takes_nothing_until_some_is_free() {
    let pool = exact(1 << 20);
    let others = take_the_rest(&pool);
    let mut pair = pair_of(&pool, Limits::default());
    for number in 0..5 {
        take(&mut pair, number);
    }
    assert_eq!(pair.client.counters().dropped_out[DropReason::Full], 5);
    drop(others);
    take(&mut pair, 5);
    pair.connect();
    pair.run(secs(1));
    assert_eq!(Pair::numbers(&pair.served), [5]);
}

#[test]
fn memory_that_a_session_has_already_is_used_to_its_end_when_others_take_the_rest() {
    let pool = exact(1 << 20);
    let mut pair = pair_of(&pool, Limits::default());
    let mut taken = 0;
    let mut grows = |pair: &mut Pair| {
        let before = pool.taken();
        take(pair, taken);
        taken += 1;
        pool.taken() > before
    };
    let grown = (0..1_000).any(|_| grows(&mut pair) && pair.client.queues.len() >= 200);
    assert!(grown, "some of what was taken last is free to be filled");
    let _others = take_the_rest(&pool);
    for _ in 0..20 {
        assert!(!grows(&mut pair));
    }
    assert_eq!(pair.client.counters().dropped_out.total(), 0);
    for _ in 0..500 {
        assert!(!grows(&mut pair));
    }
    let full = pair.client.counters().dropped_out[DropReason::Full];
    assert!(full > 100, "{full}");
    pair.connect();
    pair.run(secs(5));
    let dropped = pair.client.counters().dropped_out;
    assert_eq!((dropped[DropReason::Full], pair.served.len() as u64 + dropped.total()), (full, u64::from(taken)));
}

#[test]
fn in_the_last_of_the_pool_only_the_first_batches_are_under_way_and_everything_arrives() {
    let pool = exact(1 << 20);
    let mut pair = pair_of(&pool, Limits::default());
    pair.client.first_window = 1 << 20;
    let link = pair.connect();
    for number in 0..300 {
        take(&mut pair, number);
    }
    let _others = take_the_rest(&pool);
    pair.drain();
    let (held, window) = (pair.client.unresolved.held(), pair.client.link(link).unwrap().window);
    assert!((64 << 10..116 << 10).contains(&held) && window > 300_000, "{held} of {window}");
    pair.run(secs(5));
    let dropped = pair.client.counters().dropped_out;
    assert_eq!(dropped.total(), dropped[DropReason::Codel], "memory costs time, and no datagram");
    assert_eq!(pair.served.len() as u64 + dropped.total(), 300);
}

#[test]
fn no_more_is_under_way_than_a_session_may_have_unacknowledged_however_wide_the_window() {
    let limits = Limits { unresolved: 128 << 10, ..Limits::default() };
    let mut pair = Pair::with(Treatment::default(), limits);
    pair.client.first_window = 1 << 20;
    pair.connect();
    for number in 0..400 {
        take(&mut pair, number);
    }
    pair.drain();
    let bytes = pair.client.unresolved.bytes();
    assert!((120 << 10..148 << 10).contains(&bytes), "{bytes}");
    pair.run(secs(5));
    assert_eq!(Pair::numbers(&pair.served), (0..400).collect::<Vec<_>>());
}

use std::thread;
use std::time::Duration;

use super::*;
use crate::{Rng, Seed};

const SECOND: Duration = Duration::from_secs(1);

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test must begin somewhere")]
    Instant::now()
}

fn datagrams(per_second: u64, burst: u64) -> Rates {
    Rates { datagrams: Some(Rate { per_second, burst }), bytes: None }
}

fn bytes(per_second: u64, burst: u64) -> Rates {
    Rates { bytes: Some(Rate { per_second, burst }), datagrams: None }
}

/// How many of so many tries pass.
fn pass(draw: &mut Draw, at: Instant, tries: usize, size: usize) -> usize {
    (0..tries).filter(|_| draw.admit(at, size)).count()
}

#[test]
fn sessions_of_one_principal_have_one_burst_together_and_another_has_its_own() {
    let (now, shared) = (now(), Allowance::default());
    let mut draws = [(); 3].map(|()| Draw::new(shared.clone(), datagrams(10, 20)));
    assert!(draws.iter().all(|draw| *draw.allowance() == shared));
    let passed: usize = draws.iter_mut().map(|draw| pass(draw, now, 15, 100)).sum();
    assert_eq!(passed, 20);
    assert_eq!(pass(&mut Draw::new(Allowance::default(), datagrams(10, 20)), now, 100, 100), 20);
    let later: usize = draws.iter_mut().map(|draw| pass(draw, now + SECOND, 15, 100)).sum();
    assert_eq!(later, 10);
}

#[test]
fn over_a_minute_no_more_passes_than_the_rate_however_many_sessions_ask() {
    for (rates, size, sessions) in
        [(datagrams(1_000, 1_000), 10, 5), (datagrams(3, 3), 10, 2), (bytes(1_000_000, 1_000_000), 1_000, 7)]
    {
        let (start, shared) = (now(), Allowance::default());
        let mut draws: Vec<_> = (0..sessions).map(|_| Draw::new(shared.clone(), rates)).collect();
        let mut rng = Rng::new(&Seed::from(7));
        let mut passed = 0_u64;
        for milli in 0..60_000_u64 {
            let index = usize::try_from(rng.u64() % sessions).unwrap();
            passed += pass(&mut draws[index], start + Duration::from_millis(milli), 3, size) as u64;
        }
        let (rate, cost) = match (rates.datagrams, rates.bytes) {
            (Some(rate), _) => (rate, 1),
            (None, rate) => (rate.unwrap(), size as u64),
        };
        let most = (rate.burst + 60 * rate.per_second) / cost;
        assert!(passed <= most && passed * 100 >= most * 97, "{rates:?}: {passed} of {most}");
    }
}

#[test]
fn a_busy_session_asks_the_others_some_hundred_times_a_second_and_not_at_every_datagram() {
    let (now, shared) = (now(), Allowance::default());
    let mut draw = Draw::new(shared.clone(), datagrams(128_000, 128_000));
    assert!(draw.admit(now, 1));
    let drawn = shared.0.datagrams.0.load(Ordering::Relaxed);
    assert_eq!(pass(&mut draw, now, 999, 1), 999);
    assert_eq!(shared.0.datagrams.0.load(Ordering::Relaxed), drawn, "a portion is a thousand of them");
    assert!(draw.admit(now, 1));
    assert_eq!(shared.0.datagrams.0.load(Ordering::Relaxed), 2 * drawn);
}

#[test]
fn what_is_left_of_a_portion_is_used_before_more_is_drawn() {
    let (now, shared) = (now(), Allowance::default());
    let mut draw = Draw::new(shared, bytes(12_800, 12_800));
    assert!(draw.admit(now, 60));
    assert_eq!(draw.bytes.left, 40, "a portion is a hundred");
    assert!(draw.admit(now, 150));
    assert_eq!(draw.bytes.left, 0, "no more than was missing");
}

#[test]
fn what_was_drawn_and_not_sent_is_not_kept_for_later() {
    let (now, shared) = (now(), Allowance::default());
    let mut draw = Draw::new(shared, datagrams(1_280, 1_280));
    assert!(draw.admit(now, 1));
    assert_eq!(draw.datagrams.left, 9);
    let later = now + Duration::from_millis(100);
    assert!(draw.admit(later, 1));
    assert_eq!(draw.datagrams.left, 8);
    assert_eq!(pass(&mut draw, now + 10 * SECOND, 10_000, 1), 1_280);
}

#[test]
fn what_one_rate_refuses_costs_nothing_of_the_other() {
    let (now, shared) = (now(), Allowance::default());
    let rate = |burst| Some(Rate { per_second: 1, burst });
    let mut draw = Draw::new(shared, Rates { bytes: rate(100), datagrams: rate(3) });
    assert!(!draw.admit(now, 101), "more than the burst never passes");
    assert_eq!([60, 60, 40, 0, 0].map(|size| draw.admit(now, size)), [true, false, true, true, false]);
}

#[test]
fn a_rate_of_nothing_lets_nothing_pass_and_no_rate_everything() {
    let (now, shared) = (now(), Allowance::default());
    let mut draw = Draw::new(shared, datagrams(0, 5));
    assert!(!draw.admit(now, 1) && !draw.admit(now + SECOND, 1));
    draw.set_rates(Rates::default());
    assert_eq!(pass(&mut draw, now, 10_000, 65_507), 10_000);
    draw.set_rates(datagrams(1, 2));
    assert_eq!(pass(&mut draw, now, 10, 1), 2);
    draw.set_rates(bytes(1, 2));
    assert_eq!(pass(&mut draw, now, 10, 2), 1);
}

#[test]
fn a_changed_rate_keeps_what_was_used_under_the_old_one() {
    let (now, shared) = (now(), Allowance::default());
    let mut draw = Draw::new(shared, datagrams(10, 10));
    assert_eq!(pass(&mut draw, now, 20, 1), 10);
    draw.set_rates(datagrams(100, 100));
    assert_eq!(pass(&mut draw, now, 200, 1), 0, "a second's worth is gone");
    assert_eq!(pass(&mut draw, now + SECOND / 2, 200, 1), 50);
}

#[test]
fn t33_a_clock_that_goes_back_or_leaps_gives_no_more_than_the_burst() {
    let (now, shared) = (now(), Allowance::default());
    let mut draws = [(); 2].map(|()| Draw::new(shared.clone(), datagrams(10, 10)));
    let start = now + 100 * SECOND;
    assert_eq!(pass(&mut draws[0], start, 20, 1), 10);
    assert_eq!(pass(&mut draws[1], now, 20, 1), 0, "another thread's clock is behind");
    assert_eq!(pass(&mut draws[1], start + 315_360_000 * SECOND, 20, 1), 10);
}

#[test]
fn places_are_given_up_to_the_cap_of_whoever_asks_and_come_back_when_dropped() {
    let (one, other) = (Allowance::default(), Allowance::default());
    let same = one.clone();
    assert!(one == same && one != other);
    let seats: Vec<_> = (0..5).map_while(|_| one.seat(3)).collect();
    assert_eq!((seats.len(), same.flows(), other.flows()), (3, 3, 0));
    assert!(same.seat(3).is_none() && same.seat(4).is_some(), "a greater cap counts the same flows");
    let kept = same.keep();
    assert_eq!(one.flows(), 4);
    drop((seats, kept));
    assert_eq!(one.flows(), 0);
    assert!(one.seat(0).is_none());
}

#[test]
fn threads_that_draw_at_once_get_no_more_than_there_is() {
    let (now, shared) = (now(), Allowance::default());
    let passed: usize = thread::scope(|scope| {
        let draw = || {
            let mut draw = Draw::new(shared.clone(), datagrams(1_000, 50_000));
            let seats: Vec<_> = (0..100).map_while(|_| shared.seat(150)).collect();
            (pass(&mut draw, now, 30_000, 1), seats.len())
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(draw)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().0).sum()
    });
    // What the slower ones had drawn last may be left.
    assert!(passed <= 50_000 && passed > 50_000 - 4 * 7, "{passed}");
    assert_eq!(shared.flows(), 0);
}

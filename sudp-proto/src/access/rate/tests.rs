use super::*;
use crate::{Rng, Seed};

const START: Duration = Duration::from_secs(86_400);

/// An instant with room before it.
fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test must begin somewhere")]
    let now = Instant::now();
    now + START
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn no(retry: Duration) -> Admit {
    Admit::No { retry }
}

#[test]
fn the_burst_passes_at_once_and_then_one_by_one() {
    let now = start();
    let mut gcra = Gcra::new(Rate { per_second: 10, burst: 3 });
    for _ in 0..3 {
        assert_eq!(gcra.admit(now, 1), Admit::Yes);
    }
    assert_eq!(gcra.admit(now, 1), no(millis(100)));
    assert_eq!(gcra.admit(now + millis(99), 1), no(millis(1)));
    assert_eq!(gcra.admit(now + millis(100), 1), Admit::Yes);
    assert_eq!(gcra.admit(now + millis(100), 1), no(millis(100)));
    assert_eq!(gcra.admit(now + millis(100), 3), no(millis(300)));
}

#[test]
fn what_is_larger_than_the_burst_never_passes_and_costs_nothing() {
    let now = start();
    let mut gcra = Gcra::new(Rate { per_second: 10, burst: 3 });
    assert_eq!(gcra.admit(now, 4), Admit::Never);
    assert_eq!(gcra.admit(now, u64::MAX), Admit::Never);
    assert_eq!(gcra.admit(now, 3), Admit::Yes);
}

#[test]
fn a_rate_of_zero_lets_the_burst_pass_once() {
    let now = start();
    let mut gcra = Gcra::new(Rate { per_second: 0, burst: 2 });
    assert_eq!(gcra.admit(now, 2), Admit::Yes);
    assert_eq!(gcra.admit(now + START, 1), Admit::Never);
    assert_eq!(gcra.admit(now + START, 0), Admit::Yes);
}

#[test]
fn a_check_counts_nothing() {
    let now = start();
    let gcra = Gcra::new(Rate { per_second: 1, burst: 1 });
    assert_eq!((gcra.check(now, 1), gcra.check(now, 1)), (Admit::Yes, Admit::Yes));
}

#[test]
fn retry_is_the_first_moment_at_which_it_passes() {
    let mut rng = Rng::new(&Seed::from(1));
    for _ in 0..2_000 {
        let bits = rng.below(40);
        let rate = Rate { per_second: 1 + rng.below(1 << bits), burst: 1 + rng.below(1 << 20) };
        let (now, mut gcra) = (start(), Gcra::new(rate));
        assert_eq!(gcra.admit(now, rate.burst), Admit::Yes);
        let cost = 1 + rng.below(rate.burst);
        let Admit::No { retry } = gcra.check(now, cost) else {
            panic!("the burst is used up");
        };
        assert_eq!(gcra.check(now + retry, cost), Admit::Yes, "{rate:?} {cost}");
        let before = retry.checked_sub(Duration::from_nanos(1)).unwrap();
        assert_eq!(gcra.check(now + before, cost), no(Duration::from_nanos(1)), "{rate:?} {cost}");
    }
}

#[test]
fn the_long_run_is_exact_however_it_is_asked() {
    let mut rng = Rng::new(&Seed::from(2));
    for per_second in [3, 7, 999, 1_000_003] {
        let (begin, mut gcra) = (start(), Gcra::new(Rate { per_second, burst: 10 }));
        let (mut now, mut passed) = (begin, 0);
        while now < begin + Duration::from_secs(60) && passed < 10_000 {
            match gcra.admit(now, 1) {
                Admit::Yes => passed += 1,
                Admit::No { retry } => {
                    now += Duration::from_nanos(1 + rng.below(u64::try_from(retry.as_nanos()).unwrap()))
                }
                Admit::Never => panic!("one is never larger than the burst"),
            }
        }
        let due = (now - begin).as_nanos() * u128::from(per_second) / 1_000_000_000 + 10;
        assert!(due - passed <= 1, "{passed} of {due} at {per_second}");
    }
}

#[test]
fn a_clock_that_goes_back_gives_and_takes_nothing() {
    let now = start();
    let mut gcra = Gcra::new(Rate { per_second: 10, burst: 2 });
    assert_eq!(gcra.admit(now, 1), Admit::Yes);
    let back = now.checked_sub(Duration::from_secs(3_600)).unwrap();
    assert_eq!(gcra.admit(back, 1), Admit::Yes);
    assert_eq!(gcra.admit(back, 1), no(millis(100)));
    assert_eq!(gcra.admit(now, 1), no(millis(100)));
    assert_eq!(gcra.admit(now + millis(100), 1), Admit::Yes);
}

#[test]
fn a_clock_that_leaps_forward_gives_no_more_than_the_burst() {
    let now = start();
    let mut gcra = Gcra::new(Rate { per_second: u64::MAX, burst: 2 });
    assert_eq!(gcra.admit(now, 2), Admit::Yes);
    let later = now + Duration::from_secs(10 * 365 * 86_400);
    assert_eq!(gcra.admit(later, 2), Admit::Yes);
    assert_eq!(gcra.admit(later, 1), no(Duration::from_nanos(1)));
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let now = start();
    let mut gcra = Gcra::new(Rate { per_second: 1, burst: u64::MAX });
    assert_eq!(gcra.admit(now, u64::MAX), Admit::Yes);
    assert_eq!(gcra.admit(now, 1), no(Duration::from_secs(1)));
    assert_eq!(gcra.admit(now, u64::MAX), Admit::Never, "longer than a Duration of nanoseconds");
}

#[test]
fn a_changed_rate_keeps_what_was_counted() {
    let now = start();
    let mut gcra = Gcra::new(Rate { per_second: 10, burst: 10 });
    assert_eq!(gcra.admit(now, 10), Admit::Yes);
    let slow = Rate { per_second: 1, burst: 5 };
    gcra.set_rate(now + millis(500), slow);
    assert_eq!(gcra.rate(), slow);
    assert_eq!(gcra.admit(now + millis(500), 1), no(Duration::from_secs(1)));
    assert_eq!(gcra.admit(now + millis(1_500), 1), Admit::Yes);
}

#[test]
fn a_limiter_counts_both_or_neither() {
    let now = start();
    let rates = Rates {
        bytes: Some(Rate { per_second: 1_000, burst: 1_000 }),
        datagrams: Some(Rate { per_second: 10, burst: 2 }),
    };
    let mut limiter = Limiter::new(rates);
    assert_eq!(limiter.admit(now, 1_001), Admit::Never);
    assert_eq!(limiter.admit(now, 600), Admit::Yes);
    assert_eq!(limiter.admit(now, 600), no(millis(200)));
    assert_eq!(limiter.admit(now, 400), Admit::Yes, "the refused one used up no datagram");
    assert_eq!(limiter.admit(now, 0), no(millis(100)), "the datagrams are used up");
    assert_eq!(limiter.admit(now, 50), no(millis(100)), "the longer wait is told");
    assert_eq!(limiter.admit(now, 500), no(millis(500)), "the longer wait is told");
    assert_eq!(limiter.admit(now + millis(100), 100), Admit::Yes);
}

#[test]
fn no_rates_are_no_limit() {
    let now = start();
    let mut limiter = Limiter::new(Rates::default());
    for _ in 0..1_000 {
        assert_eq!(limiter.admit(now, usize::MAX), Admit::Yes);
    }
    let rates = Rates { bytes: None, datagrams: Some(Rate { per_second: 1, burst: 1 }) };
    let mut limiter = Limiter::new(rates);
    assert_eq!(limiter.admit(now, 5), Admit::Yes);
    assert_eq!(limiter.admit(now, 5), no(Duration::from_secs(1)));
}

#[test]
fn a_limiter_takes_new_rates_and_forgives_nothing() {
    let now = start();
    let datagrams = |burst| Rates { bytes: None, datagrams: Some(Rate { per_second: 1, burst }) };
    let mut limiter = Limiter::new(Rates::default());
    limiter.set_rates(now, datagrams(2));
    assert_eq!(limiter.admit(now, 5), Admit::Yes);
    limiter.set_rates(now, datagrams(1));
    assert_eq!(limiter.admit(now, 5), no(Duration::from_secs(1)));
    limiter.set_rates(now, Rates { bytes: Some(Rate { per_second: 1, burst: 4 }), ..datagrams(2) });
    assert_eq!(limiter.admit(now, 5), Admit::Never);
    assert_eq!(limiter.admit(now, 4), Admit::Yes);
    limiter.set_rates(now, Rates::default());
    assert_eq!(limiter.admit(now, usize::MAX), Admit::Yes);
}

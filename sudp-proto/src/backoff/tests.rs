use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::rng::{Rng, Seed};

/// The one place where these tests read the clock: all else is counted from here.
#[expect(clippy::disallowed_methods, reason = "an epoch for virtual time")]
static EPOCH: LazyLock<Instant> = LazyLock::new(|| Instant::now() + secs(86_400));

#[test]
fn the_first_failure_of_a_path_is_retried_within_half_a_second() {
    let waits = waits(|backoff, now, rng| backoff.handle_path_failed(now, rng));
    assert_spread(&waits, Duration::ZERO, millis(500));
}

#[test]
fn slots_grow_with_the_age_of_the_outage() {
    for (age, longest) in [(0, 1), (59, 1), (60, 5), (299, 5), (300, 30), (86_400, 30)] {
        let mut rng = rng(age);
        let waits: Vec<_> = (0..1_000).map(|_| slot(&mut rng, secs(age))).collect();
        assert_spread(&waits, secs(longest) * 3 / 4, secs(longest));
    }
}

#[test]
fn a_slot_is_counted_from_where_the_attempt_began() {
    let (mut backoff, mut rng, start) = (Backoff::default(), rng(1), *EPOCH);
    backoff.handle_path_failed(start, &mut rng);
    backoff.handle_start(start + secs(1), &mut rng);
    backoff.handle_path_failed(start + millis(1_700), &mut rng);
    let next = backoff.not_before().unwrap();
    assert!(next >= start + millis(1_750) && next <= start + secs(2), "{:?}", next - start);
}

#[test]
fn a_failure_behind_its_slot_still_keeps_the_promise_of_one_second() {
    for seed in 0..200 {
        let (mut backoff, mut rng, start) = (Backoff::default(), rng(seed), *EPOCH);
        backoff.handle_start(start, &mut rng);
        backoff.handle_path_failed(start + millis(990), &mut rng);
        assert!(backoff.not_before() <= Some(start + secs(1)));
    }
}

#[test]
fn refusals_double_to_thirty_seconds_with_full_jitter() {
    for (before, longest) in [(0, 1), (1, 2), (2, 4), (4, 16), (5, 30), (40, 30)] {
        let waits = waits(|backoff, now, rng| {
            backoff.refusals = before;
            backoff.handle_refused(now, rng, None);
        });
        assert_spread(&waits, Duration::ZERO, secs(longest));
    }
}

#[test]
fn refusals_of_attempts_side_by_side_count_once() {
    let (mut backoff, mut rng) = (Backoff::default(), rng(1));
    for _ in 0..3 {
        backoff.handle_refused(*EPOCH, &mut rng, None);
    }
    assert_eq!(backoff.refusals, 1);
}

#[test]
fn permanent_refusals_of_attempts_side_by_side_count_once_and_a_time_that_one_names_counts() {
    let (mut backoff, mut rng) = (Backoff::default(), rng(1));
    for after in 0..3 {
        backoff.handle_banned(*EPOCH + secs(after), &mut rng, None);
    }
    assert!(backoff.bans == 1 && backoff.not_before() <= Some(*EPOCH + secs(30)));
    backoff.handle_banned(*EPOCH + secs(3), &mut rng, Some(secs(200)));
    assert_eq!((backoff.bans, backoff.not_before()), (1, Some(*EPOCH + secs(203))));
    backoff.handle_banned(*EPOCH + secs(300), &mut rng, None);
    assert_eq!(backoff.bans, 2, "by one that began after that wait");
}

#[test]
fn t31_retry_after_is_clamped_and_never_undercut() {
    for (told, least) in [(0, 1), (1, 1), (60, 60), (300, 300), (86_400, 300), (u64::MAX, 300)] {
        let waits = waits(|backoff, now, rng| backoff.handle_refused(now, rng, Some(secs(told))));
        assert_spread(&waits, secs(least), secs(least) * 5 / 4);
    }
}

#[test]
fn a_shorter_word_does_not_take_back_a_longer_one() {
    let (mut backoff, mut rng) = (Backoff::default(), rng(1));
    backoff.handle_refused(*EPOCH, &mut rng, Some(secs(60)));
    backoff.handle_refused(*EPOCH, &mut rng, Some(secs(1)));
    assert!(backoff.not_before() >= Some(*EPOCH + secs(60)));
}

#[test]
fn a_permanent_refusal_is_tried_again_slowly() {
    for (before, longest) in [(0, 30), (1, 60), (3, 240), (4, 300), (60, 300)] {
        let waits = waits(|backoff, now, rng| {
            backoff.bans = before;
            backoff.handle_banned(now, rng, None);
        });
        assert_spread(&waits, secs(longest) / 2, secs(longest));
    }
    let told = waits(|backoff, now, rng| backoff.handle_banned(now, rng, Some(secs(200))));
    assert_eq!(told.iter().min(), Some(&secs(200)));
}

#[test]
fn after_a_planned_close_clients_spread_over_five_seconds_unless_told() {
    let untold = waits(|backoff, now, rng| backoff.handle_planned_close(now, rng, None));
    assert_spread(&untold, Duration::ZERO, secs(5));
    let told = waits(|backoff, now, rng| backoff.handle_planned_close(now, rng, Some(secs(20))));
    assert_spread(&told, secs(20), secs(25));
    let at_once = waits(|backoff, now, rng| backoff.handle_planned_close(now, rng, Some(Duration::ZERO)));
    assert_eq!(at_once.iter().max(), Some(&Duration::ZERO));
}

#[test]
fn a_link_that_died_before_it_acknowledged_anything_is_a_refusal() {
    let (mut backoff, mut rng) = (Backoff::default(), rng(1));
    backoff.handle_link_ended(*EPOCH, &mut rng, secs(3_600), false);
    assert_eq!((backoff.refusals, backoff.outage()), (1, None));
    assert_eq!(backoff.cause(*EPOCH), Some(Cause::Server));
}

#[test]
fn only_a_link_that_lived_ten_seconds_forgets_refusals() {
    for (lived, left) in [(millis(9_999), 4), (secs(10), 0)] {
        let (mut backoff, mut rng) = (Backoff { refusals: 8, bans: 2, ..Backoff::default() }, rng(1));
        backoff.handle_link_ended(*EPOCH, &mut rng, lived, true);
        assert_eq!(backoff.refusals, left);
        assert_eq!(backoff.bans == 0, left == 0);
    }
}

#[test]
fn an_attached_link_makes_the_outage_young_again() {
    let (mut backoff, mut rng, late) = (Backoff::default(), rng(1), *EPOCH + secs(600));
    backoff.handle_path_failed(*EPOCH, &mut rng);
    backoff.handle_start(late, &mut rng);
    assert!(backoff.not_before() > Some(late + secs(20)));
    backoff.handle_attached(late, &mut rng);
    assert!(backoff.not_before() <= Some(late + secs(1)));
    assert_eq!(backoff.outage(), Some(late));
}

#[test]
fn a_wake_up_ends_the_wait_for_a_path_but_not_what_a_server_said() {
    let (mut path, mut told, mut rng) = (Backoff::default(), Backoff::default(), rng(1));
    path.handle_path_failed(*EPOCH, &mut rng);
    path.handle_wake(*EPOCH);
    assert_eq!(path.not_before(), None);
    told.handle_refused(*EPOCH, &mut rng, Some(secs(60)));
    told.handle_wake(*EPOCH);
    assert!(told.not_before() >= Some(*EPOCH + secs(60)));
}

#[test]
fn the_cause_is_whatever_is_waited_for_longest() {
    let (mut backoff, mut rng) = (Backoff::default(), rng(1));
    assert_eq!(backoff.cause(*EPOCH), None);
    backoff.handle_path_failed(*EPOCH, &mut rng);
    assert_eq!(backoff.cause(*EPOCH), Some(Cause::Path));
    backoff.handle_planned_close(*EPOCH, &mut rng, Some(secs(1)));
    assert_eq!(backoff.cause(*EPOCH), Some(Cause::Server));
    assert_eq!(backoff.cause(*EPOCH + secs(2)), None);
}

proptest! {
    #[test]
    fn no_history_makes_a_wait_longer_than_its_cap(seed: u64, steps in proptest::collection::vec((0..7_u8, 0..100_000_u64), 1..60)) {
        let (mut backoff, mut rng, mut now) = (Backoff::default(), rng(seed), *EPOCH);
        for (step, later) in steps {
            now += millis(later);
            match step {
                0 => backoff.handle_start(now, &mut rng),
                1 => backoff.handle_path_failed(now, &mut rng),
                2 => backoff.handle_refused(now, &mut rng, (later % 2 == 0).then(|| secs(later))),
                3 => backoff.handle_banned(now, &mut rng, None),
                4 => backoff.handle_attached(now, &mut rng),
                5 => backoff.handle_link_ended(now, &mut rng, millis(later), later % 2 == 0),
                _ => backoff.handle_wake(now),
            }
            prop_assert!(backoff.not_before() <= Some(now + secs(375)));
        }
    }
}

/// What a fresh server waits after this, a thousand times over.
fn waits(happens: impl Fn(&mut Backoff, Instant, &mut Rng)) -> Vec<Duration> {
    let mut rng = rng(7);
    let wait = |_| {
        let mut backoff = Backoff::default();
        happens(&mut backoff, *EPOCH, &mut rng);
        backoff.not_before().unwrap() - *EPOCH
    };
    (0..1_000).map(wait).collect()
}

/// All within bounds, their mean in the middle, and some near each end.
fn assert_spread(waits: &[Duration], least: Duration, most: Duration) {
    let (low, high) = (*waits.iter().min().unwrap(), *waits.iter().max().unwrap());
    let (width, mean) = (most - least, waits.iter().sum::<Duration>() / u32::try_from(waits.len()).unwrap());
    assert!(low >= least && low <= least + width / 20, "least {low:?}");
    assert!(high <= most && high >= most - width / 20, "most {high:?}");
    assert!(mean >= least + width * 9 / 20 && mean <= least + width * 11 / 20, "mean {mean:?}");
}

fn rng(seed: u64) -> Rng {
    Rng::new(&Seed::from(seed))
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

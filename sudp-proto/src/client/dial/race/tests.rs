use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

#[expect(clippy::disallowed_methods, reason = "an epoch for virtual time")]
static EPOCH: LazyLock<Instant> = LazyLock::new(|| Instant::now() + Duration::from_secs(86_400));

#[test]
fn families_alternate_from_the_first_address() {
    let raced = interleave(&[six(1), six(2), six(3), four(1), four(2)]);
    assert_eq!(raced, [six(1), four(1), six(2), four(2), six(3)]);
    assert_eq!(interleave(&[four(1), six(1), four(2)]), [four(1), six(1), four(2)]);
}

#[test]
fn an_address_is_tried_once_and_no_more_than_eight_are() {
    assert_eq!(interleave(&[four(1), four(1), six(1)]), [four(1), six(1)]);
    let many: Vec<_> = (0..100).map(four).collect();
    assert_eq!(interleave(&many).len(), 8);
    let uneven = [six(1), six(2), six(1), six(3), six(4), four(1), four(2), four(3), four(4), four(5)];
    assert_eq!(interleave(&uneven).len(), 8);
}

#[test]
fn f49_a_silent_family_costs_a_quarter_of_a_second() {
    let mut race = race(&[six(1), four(1)]);
    assert_eq!(race.poll_attempt(*EPOCH), Some(six(1)));
    assert_eq!(race.poll_attempt(*EPOCH), None);
    assert_eq!(race.poll_timeout(), Some(at(250)));
    assert_eq!(race.poll_attempt(at(249)), None);
    assert_eq!(race.poll_attempt(at(250)), Some(four(1)));
    assert!(race.handle_connected(1));
    assert_eq!((race.state(), race.poll_timeout()), (State::Won(1), None));
}

#[test]
fn a_failure_lets_the_next_begin_at_once() {
    let mut race = race(&[six(1), four(1)]);
    race.poll_attempt(*EPOCH);
    race.handle_failed(0, PathFailure::Unreachable);
    assert_eq!(race.poll_attempt(at(1)), Some(four(1)));
}

#[test]
fn the_race_is_lost_with_the_last_failure_not_before() {
    let mut race = race(&[six(1), four(1)]);
    race.poll_attempt(*EPOCH);
    race.poll_attempt(at(250));
    race.handle_failed(0, PathFailure::Unreachable);
    race.handle_failed(0, PathFailure::Unreachable);
    assert_eq!(race.state(), State::Racing);
    race.handle_failed(1, PathFailure::Refused);
    assert_eq!((race.state(), race.poll_timeout()), (State::Lost(PathFailure::Refused), None));
    assert!(!race.handle_connected(1));
}

#[test]
fn a_name_without_addresses_is_lost_at_once() {
    assert_eq!(race(&[]).state(), State::Lost(PathFailure::Unresolved));
}

#[test]
fn the_deadline_ends_it() {
    let mut race = race(&[four(1)]);
    race.poll_attempt(*EPOCH);
    assert_eq!(race.poll_timeout(), Some(at(10_000)));
    assert_eq!(race.poll_attempt(at(10_000)), None);
    assert_eq!(race.state(), State::Lost(PathFailure::TimedOut));
}

#[test]
fn the_second_to_connect_has_lost() {
    let mut race = race(&[six(1), four(1)]);
    race.poll_attempt(*EPOCH);
    race.poll_attempt(at(250));
    assert!(race.handle_connected(1));
    assert!(!race.handle_connected(0));
    race.handle_failed(0, PathFailure::Refused);
    assert_eq!(race.state(), State::Won(1));
}

#[test]
fn an_attempt_that_was_never_made_decides_nothing() {
    let mut race = race(&[four(1)]);
    assert!(!race.handle_connected(0));
    race.handle_failed(0, PathFailure::Refused);
    assert_eq!(race.state(), State::Racing);
}

proptest! {
    #[test]
    fn every_race_ends_and_every_timeout_makes_progress(
        addresses in proptest::collection::vec((any::<bool>(), 0..20_u16), 0..12),
        fates in proptest::collection::vec((0..3_u8, 0..400_u64), 12),
    ) {
        let addresses: Vec<_> = addresses.iter().map(|(old, port)| if *old { four(*port) } else { six(*port) }).collect();
        let mut race = race(&addresses);
        let (mut now, mut attempts, mut due) = (*EPOCH, 0, Vec::new());
        for _ in 0..100 {
            while race.poll_attempt(now).is_some() {
                let (fate, later) = fates[attempts];
                if fate != 0 {
                    due.push((now + Duration::from_millis(later), attempts, fate));
                }
                attempts += 1;
            }
            let Some(timeout) = race.poll_timeout() else { break };
            prop_assert!(timeout > now);
            due.sort_unstable();
            if due.first().is_none_or(|(at, _, _)| *at >= timeout) {
                now = timeout;
                continue;
            }
            let (at, attempt, fate) = due.remove(0);
            now = at;
            if fate == 1 { race.handle_failed(attempt, PathFailure::Refused) } else { prop_assert!(race.handle_connected(attempt)) }
        }
        prop_assert_ne!(race.state(), State::Racing);
        prop_assert!(attempts <= 8 && now <= at(10_000));
    }
}

fn race(addresses: &[SocketAddr]) -> Race {
    Race::new(*EPOCH, addresses, Duration::from_secs(10))
}

fn at(millis: u64) -> Instant {
    *EPOCH + Duration::from_millis(millis)
}

fn four(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn six(port: u16) -> SocketAddr {
    SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], port))
}

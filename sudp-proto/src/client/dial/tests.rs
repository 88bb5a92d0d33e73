use std::sync::LazyLock;

use super::*;
use crate::config::client::Scheme;
use crate::wire::{Address, Host};

mod properties;
mod servers;
mod world;

use world::{Fate, World, attach, refuse, swallow};

#[expect(clippy::disallowed_methods, reason = "an epoch for virtual time")]
static EPOCH: LazyLock<Instant> = LazyLock::new(|| Instant::now() + secs(86_400));

#[test]
fn nothing_wanted_is_nothing_dialled() {
    let mut world = World::new(1, |_, _| attach(1));
    world.run_until(secs(3_600));
    assert!(world.starts.is_empty());
    assert_eq!((world.dialer.poll_timeout(), world.dialer.cause()), (None, "nothing"));
}

#[test]
fn a_session_is_dialled_at_once_and_once() {
    let mut world = World::new(1, |_, _| attach(1));
    world.want(Want::NewSession);
    world.run_until(secs(60));
    assert_eq!(world.starts_at(), [Duration::ZERO]);
    assert_eq!(world.starts[0].1.purpose, Purpose::NewSession);
    assert_eq!(world.dialer.want, Want::None);
}

#[test]
fn links_that_are_wanted_are_dialled_side_by_side() {
    let mut world = World::joined(|_, _| attach(1));
    world.want(Want::Join { server: 0, links: 3 });
    world.run_until(secs(60));
    assert_eq!(world.starts_at(), [Duration::ZERO; 3]);
    assert_eq!((world.attached, world.given_up), (4, 0));
}

#[test]
fn wanting_the_same_again_starts_nothing() {
    let mut world = World::joined(|_, _| swallow());
    for _ in 0..5 {
        world.want(Want::Join { server: 0, links: 2 });
    }
    assert_eq!(world.starts.len(), 2);
}

#[test]
fn a_dial_that_does_not_connect_is_raced_after_a_second_by_at_most_two_more() {
    let mut world = World::new(1, |_, _| swallow());
    world.want(Want::NewSession);
    world.run_until(millis(2_999));
    assert_eq!(world.starts_at(), [Duration::ZERO, secs(1), secs(2)]);
    assert_eq!(world.given_up, 0);
    world.run_until(secs(9));
    assert!(world.most_open <= 3);
}

#[test]
fn the_eldest_dial_is_kept_for_a_path_that_is_slow() {
    let slow = || vec![(secs(4), Outcome::Connected), (secs(8), attached(1))];
    let mut world = World::new(1, move |_, _| slow());
    world.want(Want::NewSession);
    world.run_until(secs(60));
    assert_eq!(world.first_attached, Some(secs(8)));
    assert_eq!(world.attached, 1);
}

#[test]
fn once_one_is_attached_the_other_racers_are_given_up() {
    let mut world = World::new(1, |at, _| if at < secs(2) { swallow() } else { attach(1) });
    world.want(Want::NewSession);
    world.run_until(secs(60));
    assert_eq!((world.starts.len(), world.attached, world.given_up), (3, 1, 2));
    assert!(world.dialer.open.is_empty());
}

#[test]
fn a_dial_that_connected_has_longer_before_it_is_raced() {
    let mut world = World::new(1, |_, _| vec![(millis(50), Outcome::Connected)]);
    world.want(Want::NewSession);
    world.run_until(millis(5_051));
    assert_eq!(world.starts_at(), [Duration::ZERO, millis(5_050)]);
}

#[test]
fn what_is_no_longer_wanted_is_given_up() {
    let mut world = World::new(1, |_, _| swallow());
    world.want(Want::NewSession);
    world.run_until(millis(1_500));
    world.want(Want::None);
    assert_eq!((world.given_up, world.dialer.poll_timeout()), (2, None));
    world.run_until(secs(100));
    assert_eq!(world.starts.len(), 2);
}

#[test]
fn a_dial_that_was_given_up_says_nothing_any_more() {
    let mut world = World::new(1, |_, _| swallow());
    world.want(Want::NewSession);
    let dial = world.starts[0].1.dial;
    world.want(Want::None);
    world.outcome(dial, attached(9));
    world.outcome(dial, Outcome::Evicted);
    assert!(world.lost.is_empty() && world.dialer.links.is_empty());
}

#[test]
fn f01_a_link_that_is_reset_is_replaced_within_half_a_second() {
    for seed in 0..100 {
        let mut world = World::joined_seeded(seed, |_, _| attach(1));
        world.link_ends(secs(3_600), true);
        world.want(Want::Join { server: 0, links: 1 });
        world.run_until(secs(60));
        assert_eq!(world.starts.len(), 1);
        assert!(world.starts_at()[0] <= millis(500));
    }
}

#[test]
fn wanted_links_that_fail_share_the_pace_of_their_server() {
    let mut world = World::joined(|_, _| refuse());
    world.want(Want::Join { server: 0, links: 8 });
    world.run_until(secs(60));
    assert!(world.starts.len() <= 8 + 1 + 80, "{} attempts", world.starts.len());
}

#[test]
fn many_silent_dials_are_raced_by_one_more_a_second() {
    let mut world = World::joined(|_, _| swallow());
    world.want(Want::Join { server: 0, links: 8 });
    world.run_until(millis(2_500));
    assert_eq!(world.starts_at()[8..], [secs(1), secs(2)]);
}

#[test]
fn in_an_outage_all_wanted_links_are_one_race() {
    let mut world = World::joined(|_, _| swallow());
    world.link_ends(secs(60), true);
    world.want(Want::Join { server: 0, links: 8 });
    world.run_until(secs(60));
    assert_eq!(world.most_open, 3);
}

#[test]
fn a_burnt_ordinal_is_a_failure_of_the_path() {
    let burnt = |at, _| if at == Duration::ZERO { vec![(millis(100), Outcome::Burnt)] } else { attach(1) };
    let mut world = World::joined(burnt);
    world.want(Want::Join { server: 0, links: 1 });
    world.run_until(secs(60));
    assert_eq!(world.starts.len(), 2);
    assert!(world.starts_at()[1] <= millis(600));
}

#[test]
fn a_wake_up_dials_at_once_and_makes_room_for_it() {
    let mut world = World::new(1, |at, _| if at == millis(250_100) { attach(1) } else { swallow() });
    world.want(Want::NewSession);
    world.run_until(millis(250_100));
    let before = world.starts.len();
    world.wake();
    assert_eq!(world.starts.len(), before + 1);
    assert!(world.most_open <= 3);
    world.run_until(secs(300));
    assert_eq!(world.attached, 1);
}

#[test]
fn wake_ups_without_end_make_no_storm() {
    let mut world = World::new(1, |_, _| swallow());
    world.want(Want::NewSession);
    for step in 1..=3_000 {
        world.run_until(millis(10 * step));
        world.wake();
    }
    assert!(world.starts.len() <= 60, "{} attempts in 30 s", world.starts.len());
    assert!(world.most_open <= 3);
}

#[test]
fn f04_a_flapping_path_is_tried_once_a_slot_and_makes_progress() {
    for seed in 0..20 {
        let up = |at: Duration| at.as_millis() / 1_000 % 2 == 1;
        let mut world = World::joined_seeded(seed, move |at, _| {
            if !up(at) {
                return refuse();
            }
            let left = secs(at.as_secs() + 1) - at;
            let all = [(millis(50), Outcome::Connected), (millis(100), attached(1))];
            let lived = left.saturating_sub(millis(100));
            let end = Outcome::LinkEnded { lived, acknowledged: lived >= millis(50) };
            let mut fate: Vec<_> = all.into_iter().filter(|(after, _)| *after < left).collect();
            fate.push((left, if lived.is_zero() { Outcome::PathFailed(PathFailure::Broken) } else { end }));
            fate
        });
        world.want(Want::Join { server: 0, links: 1 });
        world.run_until(secs(300));
        assert!(world.starts.len() <= 400, "{} attempts", world.starts.len());
        assert!(world.attached >= 90, "{} of 150 gaps used", world.attached);
    }
}

#[test]
fn the_cause_names_what_is_waited_for() {
    let mut world =
        World::new(1, |at, _| if at < secs(1) { vec![(millis(1), transient(Some(secs(9))))] } else { swallow() });
    world.want(Want::NewSession);
    world.run_until(millis(10));
    assert_eq!(world.dialer.cause(), "server backoff");
    world.run_until(secs(13));
    assert_eq!(world.dialer.cause(), "race");
}

fn attached(id: u64) -> Outcome {
    Outcome::Attached { id, resume: secs(60) }
}

fn transient(retry_after: Option<Duration>) -> Outcome {
    Outcome::Refused(Refusal { kind: RefusalKind::Transient, retry_after })
}

fn server(name: &str) -> ServerConfig {
    ServerConfig::new(Scheme::Wss, Address { host: Host::Name(name.into()), port: 443 })
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

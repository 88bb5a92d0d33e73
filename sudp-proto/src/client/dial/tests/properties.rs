//! What holds for every outage and every sequence of events.

use proptest::prelude::*;

use super::*;

#[test]
fn after_an_outage_of_up_to_a_minute_data_flows_within_1200_ms() {
    let mut took = Vec::new();
    for seed in 0..400 {
        for dead in [refuse, swallow, slowly] {
            let outage = millis(1_000 + seed * 59_000 / 400);
            let waited = wait_after(seed, outage, 1, dead);
            assert!(waited <= secs(1), "{waited:?} after {outage:?}");
            // The dial and the upgrade are a round trip of 100 ms each.
            took.push(waited + millis(200));
        }
    }
    took.sort_unstable();
    assert!(took[took.len() * 99 / 100] <= millis(1_200), "{:?}", took[took.len() * 99 / 100]);
}

#[test]
fn a_new_session_over_many_servers_starts_within_a_second_too() {
    for seed in 0..100 {
        for dead in [refuse, swallow, slowly] {
            let waited = wait_after(seed, millis(1_000 + seed * 590), 4, dead);
            assert!(waited <= secs(1), "{waited:?}");
        }
    }
}

#[test]
fn an_hour_without_a_path_is_some_three_hundred_attempts() {
    for dead in [refuse, swallow, slowly] {
        let mut world = World::joined(move |_, _| dead());
        world.link_ends(secs(60), true);
        world.run_until(secs(3_600));
        let starts = world.starts_at();
        assert!((200..=300).contains(&starts.len()), "{} attempts", starts.len());
        assert!(starts.windows(2).skip(1).all(|pair| pair[1] - pair[0] >= millis(750)), "more than one in a slot");
        assert!(world.most_open <= 3);
    }
}

#[test]
fn an_hour_of_refusals_is_some_two_hundred_and_fifty_attempts() {
    let mut world = World::new(1, |_, _| vec![(millis(5), transient(None))]);
    world.want(Want::NewSession);
    world.run_until(secs(3_600));
    assert!((180..=330).contains(&world.starts.len()), "{} attempts", world.starts.len());
    assert!(world.starts_at().windows(2).all(|pair| pair[1] - pair[0] <= millis(30_005)));
}

#[test]
fn f46_clients_cut_at_one_moment_do_not_return_at_one_moment() {
    let clients = 500;
    let mut crowd = [0; 100];
    for seed in 0..clients {
        let mut world = World::joined_seeded(seed, |_, _| refuse());
        world.link_ends(secs(60), true);
        world.run_until(millis(9_999));
        world.starts_at().iter().for_each(|at| crowd[usize::try_from(at.as_millis() / 100).unwrap()] += 1);
    }
    let densest = crowd.iter().max().unwrap();
    assert!(*densest <= clients / 4, "{densest} of {clients} in 100 ms: {crowd:?}");
}

#[test]
fn one_seed_gives_one_schedule_and_another_another() {
    let schedule = |seed| {
        let mut world = World::joined_seeded(seed, |_, _| refuse());
        world.link_ends(secs(60), true);
        world.run_until(secs(600));
        world.starts_at()
    };
    assert_eq!(schedule(1), schedule(1));
    assert_ne!(schedule(1), schedule(2));
}

proptest! {
    #[test]
    fn no_story_makes_a_storm_or_a_standstill(
        seed: u64,
        count in 1..4_u16,
        fates in proptest::collection::vec(fate(), 1..40),
        story in proptest::collection::vec((0..9_u8, 0..3_000_u64), 1..60),
    ) {
        let mut turn = 0;
        let mut world = World::seeded(seed, count, move |_, _| {
            turn += 1;
            fates[turn % fates.len()].clone()
        });
        let (mut at, mut wanted) = (Duration::ZERO, 0);
        for (step, later) in story {
            at += millis(later);
            world.run_until(at);
            let server = usize::try_from(later).unwrap() % usize::from(count);
            match step {
                0 => world.want(Want::None),
                1 | 2 => world.want(Want::NewSession),
                3..6 => world.want(Want::Join { server, links: usize::from(step) - 2 }),
                6 => world.wake(),
                7 => world.go_away(server, Some(millis(later)), Some(0)),
                _ if world.dialer.links.is_empty() => {}
                _ => world.link_ends(millis(later * 10), later % 2 == 0),
            }
            wanted += 1;
        }
        prop_assert!(world.most_open <= 3 + 2 + 1);
        prop_assert!(world.starts.len() <= 12 * (wanted + 2 * usize::try_from(at.as_secs() + 1).unwrap()));
        if matches!(world.dialer.want, Want::NewSession | Want::Join { links: 1.., .. }) {
            let due = world.dialer.poll_timeout();
            prop_assert!(due.is_some_and(|due| due <= *EPOCH + at + secs(376)), "wanted, but never dialled");
        } else {
            prop_assert!(world.dialer.open.is_empty() && world.dialer.poll_timeout().is_none());
        }
    }
}

/// How long after the path returned the first dial began, when every earlier one met `dead`.
fn wait_after(seed: u64, outage: Duration, servers: u16, dead: fn() -> Fate) -> Duration {
    let fate = move |at, _| if at < outage { dead() } else { attach(1) };
    let mut world = if servers == 1 { World::joined_seeded(seed, fate) } else { World::seeded(seed, servers, fate) };
    if servers == 1 {
        world.link_ends(secs(60), true);
    } else {
        world.want(Want::NewSession);
    }
    world.run_until(outage + secs(10));
    assert!(world.lost.is_empty());
    *world.starts_at().iter().find(|at| **at >= outage).unwrap() - outage
}

fn slowly() -> Fate {
    vec![(millis(900), Outcome::PathFailed(PathFailure::Unreachable))]
}

fn fate() -> impl Strategy<Value = Fate> {
    let outcome = prop_oneof![
        Just(Outcome::Abandoned),
        Just(Outcome::Burnt),
        Just(Outcome::Evicted),
        Just(Outcome::PathFailed(PathFailure::Refused)),
        Just(Outcome::UnknownSession { by: None }),
        (1..3_u64).prop_map(|by| Outcome::UnknownSession { by: Some(by) }),
        (1..3_u64).prop_map(attached),
        (200..600_u16, proptest::option::of(0..9_u64))
            .prop_map(|(status, after)| Outcome::Refused(Refusal::from_status(status, after.map(secs), Some(0)))),
    ];
    let after = 0..3_000_u64;
    (after, proptest::option::of(outcome), any::<bool>()).prop_map(|(after, outcome, connects)| {
        let connected = connects.then_some((millis(after / 2), Outcome::Connected));
        connected.into_iter().chain(outcome.map(|outcome| (millis(after), outcome))).collect()
    })
}

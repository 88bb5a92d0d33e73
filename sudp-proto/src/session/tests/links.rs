//! The table of links: which carries what sooner, who holds a batch, which ordinals serve no more.

use std::time::{Duration, Instant};

use super::pair::Pair;
use crate::event::LinkLoss;
use crate::session::links::{Links, Live, Ordinals};
use crate::session::queue::Lane;
use crate::testing::{epoch, ms};
use crate::wire::Ordinal;

/// A link of which nothing is known yet.
fn fresh(now: Instant, ordinal: u8) -> Live {
    Live::new(now, Ordinal(u64::from(ordinal)), Lane::of(ordinal), 64 << 10)
}

/// One that answered a PING after `trip`.
fn measured(now: Instant, ordinal: u8, trip: Duration) -> Live {
    let mut link = fresh(now, ordinal);
    link.window.on_pong(now + trip, now);
    link
}

fn table(live: Vec<Live>) -> Links {
    Links { live, ..Links::new() }
}

/// Whether the second link is better than the first.
fn better(first: Live, second: Live) -> bool {
    table(vec![first, second]).better_than(0)
}

#[test]
fn the_better_link_is_the_shorter_one_and_one_not_measured_is_of_middling_length() {
    let now = epoch();
    let link = |ordinal, trip: Option<u64>| trip.map_or(fresh(now, ordinal), |trip| measured(now, ordinal, ms(trip)));
    for (first, second, expected) in [
        (Some(200), Some(100), true),
        (Some(100), Some(200), false),
        (Some(100), Some(100), false),
        (None, Some(150), true),
        (None, Some(300), false),
        (Some(300), None, true),
        (Some(150), None, false),
        (None, None, false),
    ] {
        assert_eq!(better(link(1, first), link(2, second)), expected, "{second:?} instead of {first:?}");
    }
    assert!(!table(vec![link(1, Some(400))]).better_than(0), "there is no other");
}

#[test]
fn what_is_under_way_on_a_link_makes_it_as_much_longer_as_that_takes_to_leave() {
    let now = epoch();
    // 25 ms there, and 10 ms until what it carries has left.
    let busy = || {
        let mut link = fresh(now, 1);
        let sent = link.window.on_sent(now, 10_000);
        link.window.on_acked(now + ms(50), sent, ms(0));
        link.window.on_sent(now + ms(50), 2_000);
        assert_eq!(link.window.bandwidth(), Some(200_000));
        link
    };
    assert!(better(busy(), measured(now, 2, ms(60))));
    assert!(!better(busy(), measured(now, 2, ms(80))));
    let full = |mut link: Live| {
        link.window.on_sent(now, 1 << 20);
        link
    };
    assert!(!better(measured(now, 1, ms(400)), full(measured(now, 2, ms(50)))), "no room is no way");
}

#[test]
fn a_sound_link_is_better_than_a_suspect_one_however_long_it_is() {
    let now = epoch();
    let link = |ordinal, trip, suspect: Option<u64>| Live {
        suspect: suspect.map(|since| now + ms(since)),
        ..measured(now, ordinal, ms(trip))
    };
    for (first, second, expected) in [
        ((50, Some(9)), (400, None), true),
        ((400, None), (50, Some(9)), false),
        ((400, Some(9)), (50, Some(5)), true),
        ((400, Some(5)), (50, Some(9)), false),
        ((50, Some(9)), (400, Some(5)), false),
    ] {
        let found = better(link(1, first.0, first.1), link(2, second.0, second.1));
        assert_eq!(found, expected, "{second:?} instead of {first:?}");
    }
}

#[test]
fn copies_take_the_links_in_turn_but_for_those_that_carry_it_or_are_suspect() {
    let now = epoch();
    let mut links = table((1..=4).map(|ordinal| fresh(now, ordinal)).collect());
    let turns = |links: &mut Links, carriers: &[Ordinal]| [(); 5].map(|()| links.rotate(carriers));
    assert_eq!(turns(&mut links, &[]), [0, 1, 2, 3, 0].map(Some));
    links.live[2].suspect = Some(now);
    assert_eq!(turns(&mut links, &[Ordinal(1)]), [1, 3, 1, 3, 1].map(Some));
    assert_eq!(links.rotate(&[1, 2, 4].map(Ordinal)), None);
}

#[test]
fn a_batch_is_held_by_links_that_live_and_are_not_suspect() {
    let now = epoch();
    let mut links = table((1..=2).map(|ordinal| fresh(now, ordinal)).collect());
    links.live[1].suspect = Some(now);
    let [sound, suspect, ended] = [1, 2, 3].map(Ordinal);
    for (carriers, held) in [
        (&[][..], false),
        (&[sound], true),
        (&[suspect], false),
        (&[ended], false),
        (&[ended, suspect], false),
        (&[ended, suspect, sound], true),
    ] {
        assert_eq!(links.held(carriers), held, "{carriers:?}");
    }
}

#[test]
fn ordinals_are_burnt_below_one_and_a_window_further_on_nothing_is() {
    let mut ordinals = Ordinals::default();
    ordinals.burn(Ordinal(10));
    ordinals.burn_below(Ordinal(5), &[Ordinal(3)]);
    let fresh = |ordinals: &Ordinals, of: [u64; 4]| of.map(|ordinal| ordinals.fresh(Ordinal(ordinal)));
    assert_eq!(fresh(&ordinals, [3, 4, 5, 6]), [true, false, true, true]);

    ordinals.burn(Ordinal(9));
    ordinals.burn(Ordinal(10 + 64));
    assert_eq!(fresh(&ordinals, [10, 11, 73, 74]), [false, true, true, false]);
}

#[test]
fn a_link_that_has_ended_says_whether_anything_sent_on_it_was_proven_to_be_read() {
    for (data, time, proven) in [(false, 0, false), (true, 0, false), (false, 200, true), (true, 200, true)] {
        let mut pair = Pair::new();
        let link = pair.connect();
        if data {
            pair.send(4_000, b"data");
        }
        pair.run(ms(time));
        pair.client.detach(pair.now, link, LinkLoss::Ended);
        let gone = pair.client.poll_gone().unwrap();
        assert_eq!((gone.ordinal, gone.proven), (link, proven), "data {data}, after {time} ms");
    }
}

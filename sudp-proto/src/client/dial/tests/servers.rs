//! Which server is dialled, and when a session is given up.

use super::*;

const JOIN: Want = Want::Join { server: 0, links: 1 };

#[test]
fn a_refused_connection_moves_a_new_session_to_the_next_server_at_once() {
    let mut world = World::new(3, |_, start| if start.server < 2 { refuse() } else { attach(1) });
    world.want(Want::NewSession);
    world.run_until(secs(1));
    assert_eq!(world.started(), [0, 1, 2]);
    assert_eq!(world.first_attached, Some(millis(102)));
}

#[test]
fn a_silent_server_is_raced_by_the_next_one() {
    let mut world = World::new(2, |_, start| if start.server == 0 { swallow() } else { attach(1) });
    world.want(Want::NewSession);
    world.run_until(secs(60));
    assert_eq!((world.started(), world.starts_at()), (vec![0, 1], vec![Duration::ZERO, secs(1)]));
}

#[test]
fn many_servers_on_a_dead_path_are_no_more_attempts_than_one() {
    let mut world = World::new(16, |_, _| refuse());
    world.want(Want::NewSession);
    world.run_until(secs(60));
    let starts = world.starts.len();
    assert!((60..=16 + 80).contains(&starts), "{starts} attempts");
    assert!((0..16).all(|server| world.started().iter().filter(|tried| **tried == server).count() >= 3));
}

#[test]
fn f18_a_permanent_refusal_moves_on_and_is_tried_again_slowly() {
    for status in [401, 403, 404, 426] {
        let fate = move |_, start: Start| if start.server == 0 { status_is(status) } else { swallow() };
        let mut world = World::new(2, fate);
        world.want(Want::NewSession);
        world.run_until(secs(600));
        let refused: Vec<_> = world.starts.iter().filter(|(_, start)| start.server == 0).map(|(at, _)| *at).collect();
        assert_eq!((world.started()[1], world.starts_at()[1]), (1, millis(5)));
        assert!(refused.len() <= 6, "{refused:?}");
        assert!(refused[1] - refused[0] >= secs(15));
    }
}

#[test]
fn f18_other_answers_than_an_upgrade_back_off_from_the_only_server() {
    for (status, most) in [(200, 400), (301, 30), (407, 30), (502, 400)] {
        let mut world = World::new(1, move |_, _| status_is(status));
        world.want(Want::NewSession);
        world.run_until(secs(3_600));
        assert!((12..most).contains(&world.starts.len()), "{status}: {} attempts", world.starts.len());
    }
}

#[test]
fn statuses_are_judged_by_what_waiting_would_change() {
    let kind = |status| Refusal::from_status(status, None, Some(4)).kind;
    assert!([400, 401, 403, 404, 407, 410, 426].into_iter().all(|status| kind(status) == RefusalKind::Permanent));
    assert!([200, 204, 408, 421, 425, 429, 500, 503].into_iter().all(|status| kind(status) == RefusalKind::Transient));
    assert!([301, 302, 307, 308].into_iter().all(|status| kind(status) == RefusalKind::Redirect(Some(4))));
}

#[test]
fn retry_after_binds_one_server_not_the_others() {
    let told = |_, start: Start| {
        if start.server == 0 { vec![(millis(5), transient(Some(secs(60))))] } else { swallow() }
    };
    let mut world = World::new(2, told);
    world.want(Want::NewSession);
    world.run_until(secs(59));
    assert_eq!(world.started().iter().filter(|server| **server == 0).count(), 1);
    assert_eq!(world.starts_at()[1], millis(5));
    world.run_until(secs(120));
    assert!(world.started().iter().filter(|server| **server == 0).count() >= 2);
}

#[test]
fn t31_a_redirect_leads_to_a_configured_server_and_in_no_circle() {
    let circle = |_, start: Start| {
        let to = RefusalKind::Redirect(Some(if start.server == 2 { 0 } else { 2 }));
        vec![(millis(5), Outcome::Refused(Refusal { kind: to, retry_after: None }))]
    };
    let mut world = World::new(3, circle);
    world.want(Want::NewSession);
    world.run_until(secs(3_600));
    assert_eq!(world.started()[..2], [0, 2]);
    assert!(world.starts.len() < 1_200, "{} attempts", world.starts.len());
}

#[test]
fn f15_go_away_names_how_long_and_where_to() {
    let mut world = World::joined_of(7, 3, |_, start| attach(start.server as u64));
    world.go_away(0, Some(secs(30)), Some(2));
    world.want(Want::NewSession);
    world.run_until(secs(20));
    assert_eq!(world.started(), [2]);
}

#[test]
fn after_go_away_without_words_the_only_server_is_left_alone_for_up_to_five_seconds() {
    let mut waits = Vec::new();
    for seed in 0..100 {
        let mut world = World::joined_seeded(seed, |_, _| attach(1));
        world.go_away(0, None, None);
        world.want(Want::NewSession);
        world.run_until(secs(60));
        waits.push(world.starts_at()[0]);
    }
    assert!(waits.iter().all(|wait| *wait <= secs(5)));
    assert!(waits.iter().any(|wait| *wait > secs(4)) && waits.iter().any(|wait| *wait < secs(1)));
}

#[test]
fn f12_unknown_session_from_its_owner_ends_it_and_the_next_is_dialled_at_once() {
    let mut world = World::joined_of(7, 2, |_, start| match start.purpose {
        Purpose::Join => vec![(millis(100), Outcome::UnknownSession { by: Some(1) })],
        Purpose::NewSession | Purpose::Probe => attach(1),
    });
    world.want(JOIN);
    world.run_until(millis(100));
    assert_eq!(world.lost, [(millis(100), Lost::UnknownSession)]);
    world.want(Want::NewSession);
    world.run_until(secs(60));
    assert_eq!((world.started(), world.starts_at()[1]), (vec![0, 0], millis(100)));
}

#[test]
fn unknown_session_from_another_server_ends_it_only_after_ten_seconds() {
    for (resume, kept) in [(secs(60), secs(10)), (secs(3), secs(3))] {
        let mut world = World::joined(|_, _| vec![(millis(100), Outcome::UnknownSession { by: Some(2) })]);
        world.dialer.owner = Owner::new(1, resume);
        world.link_ends(secs(60), true);
        world.run_until(secs(60));
        let first = world.starts_at()[0] + millis(100);
        assert_eq!(world.lost, [(first + kept, Lost::OwnerGone)]);
        assert!(world.starts_at().windows(2).all(|pair| pair[1] - pair[0] <= secs(1)));
    }
}

#[test]
fn the_owner_may_be_found_behind_others() {
    let unknown = |by| vec![(millis(100), Outcome::UnknownSession { by })];
    let mut world = World::joined(move |at, _| match at.as_secs() {
        0..3 => unknown(Some(2)),
        3..6 => unknown(None),
        _ => attach(1),
    });
    world.link_ends(secs(60), true);
    world.run_until(secs(60));
    assert_eq!((world.lost.len(), world.attached), (0, 2));
}

#[test]
fn strangers_do_not_end_a_session_that_still_has_a_link() {
    let mut world = World::joined(|_, _| vec![(millis(100), Outcome::UnknownSession { by: Some(2) })]);
    world.want(JOIN);
    world.run_until(secs(60));
    assert!(world.lost.is_empty());
    world.link_ends(secs(60), true);
    world.run_until(secs(65));
    assert!(world.lost.is_empty());
}

#[test]
fn an_evicted_client_leaves_and_keeps_away() {
    for seed in 0..20 {
        let mut world = World::joined_of(seed, 2, |_, _| swallow());
        let link = *world.dialer.links.keys().next().unwrap();
        world.outcome(link, Outcome::Evicted);
        assert_eq!(world.lost, [(secs(0), Lost::Evicted)]);
        world.want(Want::NewSession);
        world.run_until(secs(60));
        assert!((secs(15)..=secs(30)).contains(&world.starts_at()[0]));
    }
}

#[test]
fn a_session_waits_for_its_owner_while_nobody_answers() {
    let mut world = World::joined_of(7, 3, |_, _| swallow());
    world.link_ends(secs(60), true);
    world.run_until(secs(60));
    assert!(world.lost.is_empty());
    let tried_elsewhere = world.starts.iter().filter(|(_, start)| start.server != 0);
    assert!(tried_elsewhere.map(|(_, start)| start.purpose).all(|purpose| purpose == Purpose::Probe));
    assert!(world.started().contains(&1) && world.started().contains(&2));
}

#[test]
fn a_session_leaves_a_dead_owner_when_others_can_be_reached() {
    let mut world = World::joined_of(7, 2, |_, start| if start.server == 0 { refuse() } else { attach(2) });
    world.link_ends(secs(60), true);
    world.run_until(secs(60));
    let (at, why) = world.lost[0];
    assert_eq!(why, Lost::OwnerGone);
    assert!((secs(13)..secs(14)).contains(&at), "{at:?}");
    assert!(world.starts.iter().all(|(_, start)| start.server == 0 || start.purpose == Purpose::Probe));
}

#[test]
fn an_owner_that_returns_with_the_path_keeps_its_session() {
    for seed in 0..50 {
        let mut world = World::joined_of(seed, 2, |at, start| match start.server {
            0 if at >= secs(30) => attach(1),
            1 if at >= secs(25) => attach(2),
            _ => swallow(),
        });
        world.link_ends(secs(60), true);
        world.run_until(secs(60));
        assert_eq!((world.lost.len(), world.attached), (0, 2));
    }
}

#[test]
fn others_that_cannot_be_reached_either_say_nothing_of_the_owner() {
    let mut world =
        World::joined_of(7, 2, |at, start| if start.server == 1 && at < secs(8) { attach(2) } else { swallow() });
    world.link_ends(secs(60), true);
    world.run_until(secs(60));
    assert!(world.starts.iter().any(|(at, start)| start.purpose == Purpose::Probe && *at < secs(8)));
    assert!(world.lost.is_empty());
}

#[test]
fn an_owner_that_can_be_reached_again_is_waited_for() {
    let busy = || vec![(millis(50), Outcome::Connected), (millis(100), transient(Some(secs(1))))];
    let mut world = World::joined_of(7, 2, move |at, start| match (start.server, at.as_secs()) {
        (0, 0..8) => refuse(),
        (0, 8..25) => busy(),
        (0, _) => attach(1),
        _ => attach(2),
    });
    world.link_ends(secs(60), true);
    world.run_until(secs(60));
    assert_eq!((world.lost.len(), world.attached), (0, 2));
}

#[test]
fn a_search_ends_with_the_first_link() {
    let mut world = World::joined_of(7, 2, |at, start| match start.purpose {
        Purpose::Probe => vec![(millis(1_900), Outcome::Connected)],
        Purpose::Join if (millis(2_500)..secs(4)).contains(&at) => attach(1),
        Purpose::Join | Purpose::NewSession => swallow(),
    });
    world.link_ends(secs(60), true);
    world.want(Want::Join { server: 0, links: 3 });
    world.run_until(secs(60));
    assert!(world.starts.iter().any(|(_, start)| start.purpose == Purpose::Probe));
    assert!(world.attached > 1 && world.lost.is_empty(), "{:?}", world.lost);
}

#[test]
fn a_session_that_failed_over_stays_where_it_is() {
    let mut world = World::new(2, |at, start| if start.server == 0 && at < secs(5) { refuse() } else { attach(2) });
    world.want(Want::NewSession);
    world.run_until(secs(100));
    assert_eq!(world.started(), [0, 1]);
    world.link_ends(secs(100), true);
    world.want(Want::Join { server: 1, links: 1 });
    world.run_until(secs(200));
    assert_eq!(world.started(), [0, 1, 1]);
    world.want(Want::NewSession);
    world.run_until(secs(300));
    assert_eq!(world.started(), [0, 1, 1, 0]);
}

fn status_is(status: u16) -> Fate {
    vec![(millis(5), Outcome::Refused(Refusal::from_status(status, None, None)))]
}

//! Sessions that give way: to a newer process, to another server, to the end of their time.

use super::rig::*;
use super::*;
use crate::event::Event;
use crate::server::{Server, Stance};
use crate::testing::{ms, secs};
use crate::wire::{GoAwayReason, SessionId};

fn only(rig: &Rig) -> SessionId {
    let standing = rig.hosts[0].standing();
    assert_eq!(standing.len(), 1);
    standing[0]
}

#[test]
pub(super) fn f13_a_restarted_client_takes_over_with_its_first_message_and_not_before() {
    let mut rig = Rig::new(1);
    rig.send(b"old");
    rig.run(secs(1));
    let old = only(&rig);
    rig.restart_client(2);
    rig.send(b"new");
    rig.run(ms(24));
    assert_eq!(rig.hosts[0].standing().len(), 2, "the hello alone evicts nobody");
    rig.run(secs(1));
    assert_ne!(only(&rig), old);
    assert_eq!(rig.hosts[0].registry.len(), 1);
    assert!(rig.hosts[0].events.contains(&(old, Event::Closed { code: Code::Evicted, by_remote: false })));
    assert_eq!(rig.served(), ["old", "new"]);
    rig.assert_settled();
}

#[test]
pub(super) fn a_client_older_than_the_one_that_is_known_is_refused_and_keeps_away() {
    let mut rig = Rig::new(1);
    rig.restart_client(5);
    rig.run(secs(1));
    let newer = only(&rig);
    rig.restart_client(4);
    rig.run(secs(14));
    assert_eq!(rig.hosts[0].refused, [Code::Stale]);
    assert_eq!(rig.dials.len(), 2, "half a minute at the least");
    assert_eq!(only(&rig), newer);
}

#[test]
pub(super) fn a_client_that_was_evicted_stays_away_for_a_while() {
    let mut rig = Rig::new(2);
    rig.send(b"old");
    rig.run(secs(12));
    let session = only(&rig);
    let now = rig.now;
    rig.hosts[0].sessions.get_mut(&session).unwrap().session_mut().close(now, Code::Evicted);
    let dials = rig.dials.len();
    rig.run(secs(14));
    assert_eq!(rig.lost(), [Code::Evicted]);
    assert_eq!(rig.dials.len(), dials);
    rig.send(b"later");
    rig.run(secs(30));
    assert_eq!(rig.served(), ["old", "later"]);
    rig.assert_settled();
}

#[test]
pub(super) fn raced_first_dials_leave_one_session_and_the_others_are_told() {
    let mut rig = Rig::new(1);
    // Hellos arrive at once and welcomes late, so that another dial begins after five seconds.
    rig.run(ms(11));
    rig.wires[0].down.latency = secs(6);
    rig.run(ms(5_011));
    rig.wires[1].down.latency = secs(6);
    rig.run(secs(3));
    assert_eq!(rig.hosts[0].standing().len(), 2);
    let mine = rig.client.session().id().unwrap();
    rig.run(secs(5));
    assert_eq!(rig.hosts[0].standing(), [mine]);
    assert_eq!(rig.hosts[0].registry.len(), 1);
    let done = Event::Closed { code: Code::Done, by_remote: true };
    assert!(rig.hosts[0].events.iter().any(|(session, event)| *session != mine && *event == done));
    rig.wires.iter_mut().for_each(|wire| wire.down.latency = ms(5));
    rig.send(b"one");
    rig.run(secs(10));
    assert_eq!(rig.served(), ["one"]);
}

#[test]
pub(super) fn a_provisional_session_outlives_its_link_for_ten_seconds() {
    let mut rig = Rig::new(1);
    rig.run(ms(22));
    assert_eq!(rig.hosts[0].sessions.len(), 1);
    rig.hosts[0].away = true;
    rig.cut_all();
    rig.run(ms(9_900));
    assert_eq!(rig.hosts[0].registry.len(), 1);
    rig.run(ms(200));
    assert_eq!(rig.hosts[0].registry.len(), 0);
    assert_eq!(rig.hosts[0].sessions.len(), 0);
}

#[test]
pub(super) fn f05_a_session_whose_resume_window_is_over_is_gone_and_the_client_starts_anew() {
    let mut rig = Rig::new(1);
    rig.send(b"one");
    rig.run(secs(20));
    let old = only(&rig);
    rig.hosts[0].away = true;
    rig.cut_all();
    rig.run(ms(59_900));
    assert_eq!(only(&rig), old);
    rig.run(secs(1_800));
    assert_eq!(rig.hosts[0].registry.len(), 0);
    rig.send(b"two");
    rig.hosts[0].away = false;
    rig.run(secs(31));
    assert_eq!(rig.lost(), [Code::UnknownSession]);
    assert_eq!(rig.served().len(), 1, "what waited was too old");
    rig.send(b"three");
    rig.run(secs(1));
    assert_eq!(rig.served(), ["one", "three"]);
    rig.assert_settled();
}

#[test]
pub(super) fn f15_a_server_that_drains_loses_nothing_and_the_client_waits_as_told() {
    let mut rig = Rig::new(2);
    rig.hosts[0].echoes = true;
    rig.send(b"one");
    rig.run(secs(12));
    let (now, session) = (rig.now, only(&rig));
    rig.hosts[0].registry.set_stance(Stance::Leaving);
    rig.send(b"two");
    rig.hosts[0].sessions.get_mut(&session).unwrap().session_mut().drain(now, GoAwayReason::Shutdown, secs(5));
    rig.settle();
    rig.run(ms(20));
    rig.send(b"three");
    rig.run(secs(2));
    assert_eq!(rig.hosts[0].sessions.len(), 0, "drained");
    assert_eq!(rig.lost(), [Code::GoingAway]);
    let dials = rig.dials.len();
    rig.restart_host(0);
    rig.hosts[0].echoes = true;
    rig.run(ms(2_900));
    assert_eq!(rig.dials.len(), dials, "five seconds are not over");
    rig.run(secs(5));
    assert_eq!(rig.served(), ["one", "two", "three"]);
    assert_eq!(rig.answers, ["one", "three"], "a server that drains takes no more answers");
    assert_eq!(rig.client.session().counters().in_doubt, 0);
    rig.run(secs(5));
    rig.assert_settled();
}

#[test]
pub(super) fn a_drain_goes_on_over_a_cut_and_its_time_is_remembered() {
    let mut rig = Rig::new(1);
    rig.send(b"one");
    rig.run(secs(12));
    let (now, session) = (rig.now, only(&rig));
    rig.cut_all();
    rig.hosts[0].sessions.get_mut(&session).unwrap().session_mut().drain(now, GoAwayReason::Shutdown, secs(8));
    rig.run(secs(2));
    assert_eq!(rig.lost(), [Code::GoingAway]);
    let told =
        rig.events.iter().find_map(|event| if let Event::GoAway(told) = event { Some(told.after) } else { None });
    assert_eq!(told, Some(secs(8)));
    let dials = rig.dials.len();
    rig.run(secs(5));
    assert_eq!(rig.dials.len(), dials);
    rig.run(secs(5));
    assert_eq!(rig.client.session().links().count(), 1);
}

#[test]
pub(super) fn a_client_that_drains_says_everything_first() {
    let mut rig = Rig::new(1);
    rig.hosts[0].echoes = true;
    rig.send(b"one");
    rig.run(secs(1));
    rig.send(b"two");
    let now = rig.now;
    rig.client.session_mut().drain(now, GoAwayReason::Drain, Duration::ZERO);
    rig.run(secs(10));
    assert_eq!(rig.served(), ["one", "two"]);
    assert_eq!((rig.hosts[0].sessions.len(), rig.hosts[0].registry.len()), (0, 0));
    assert!(rig.client.session().is_closed());
    assert_eq!(rig.client.poll_timeout(), None);
    let closed =
        rig.hosts[0].events.iter().any(|(_, event)| *event == Event::Closed { code: Code::Done, by_remote: true });
    assert!(closed, "{:?}", rig.hosts[0].events);
}

#[test]
pub(super) fn a_client_fails_over_to_another_server_when_its_own_is_dead_and_the_path_is_not() {
    let mut rig = Rig::with(2, |_| {});
    rig.send(b"one");
    rig.run(secs(12));
    assert_eq!(rig.client.server(), Some(0));
    rig.hosts[0].away = true;
    rig.cut_host(0);
    rig.send(b"two");
    rig.run(secs(5));
    assert_eq!(rig.client.server(), Some(0), "its owner may come back");
    rig.run(secs(15));
    assert_eq!(rig.client.server(), Some(1));
    assert_eq!(rig.lost(), [Code::UnknownSession]);
    rig.send(b"three");
    rig.run(secs(1));
    assert!(rig.served().iter().any(|payload| payload == "three"));
    rig.assert_settled();
}

#[test]
pub(super) fn a_path_that_is_down_for_all_servers_costs_no_session() {
    let mut rig = Rig::with(2, |_| {});
    rig.send(b"one");
    rig.run(secs(12));
    rig.hosts.iter_mut().for_each(|host| host.away = true);
    rig.cut_host(0);
    rig.run(secs(40));
    rig.hosts.iter_mut().for_each(|host| host.away = false);
    rig.send(b"two");
    rig.run(secs(2));
    assert_eq!(rig.client.server(), Some(0));
    assert_eq!(rig.served(), ["one", "two"]);
    assert_eq!(rig.lost(), []);
    rig.assert_settled();
}

#[test]
pub(super) fn an_unknown_session_from_a_server_that_is_not_the_owner_is_not_the_last_word() {
    let mut rig = Rig::new(1);
    rig.send(b"one");
    rig.run(secs(12));
    // A balancer sends the client to someone else for a while.
    let stranger = Host::new(1);
    let owner = std::mem::replace(&mut rig.hosts[0], stranger);
    let wires = std::mem::take(&mut rig.wires);
    for key in wires.iter().filter_map(|wire| wire.key) {
        rig.client.handle_failed(rig.now, key, io::ErrorKind::ConnectionReset);
    }
    rig.send(b"two");
    rig.run(secs(4));
    assert!(rig.hosts[0].refused.iter().all(|code| *code == Code::UnknownSession));
    assert_eq!(rig.lost(), []);
    let stranger = std::mem::replace(&mut rig.hosts[0], owner);
    rig.run(secs(4));
    assert_eq!(rig.served(), ["one", "two"]);
    rig.assert_settled();
    // And if the owner never answers, ten seconds are enough.
    rig.hosts[0] = stranger;
    for key in std::mem::take(&mut rig.wires).iter().filter_map(|wire| wire.key) {
        rig.client.handle_failed(rig.now, key, io::ErrorKind::ConnectionReset);
    }
    rig.run(secs(13));
    assert_eq!(rig.lost(), [Code::UnknownSession]);
}

#[test]
pub(super) fn a_session_that_loses_its_grant_ends_with_that_word() {
    let mut rig = Rig::new(1);
    rig.run(secs(1));
    let (now, session) = (rig.now, only(&rig));
    rig.hosts[0].sessions.get_mut(&session).unwrap().regrant(now, None);
    rig.run(ms(50));
    assert_eq!(rig.lost(), [Code::Denied]);
}

#[test]
pub(super) fn a_grant_that_expires_ends_its_session_when_it_does() {
    let mut rig = Rig::new(1);
    rig.run(secs(1));
    let (now, session) = (rig.now, only(&rig));
    let mut access = open_access();
    access.grant.expires = Some(now + secs(5));
    access.grant.version += 1;
    rig.hosts[0].sessions.get_mut(&session).unwrap().regrant(now, Some(access));
    rig.run(ms(4_900));
    assert_eq!(rig.lost(), []);
    rig.run(ms(200));
    assert_eq!(rig.lost(), [Code::Expired]);
    rig.run(secs(2));
    assert_ne!(only(&rig), session, "there is another");
}

#[test]
pub(super) fn too_many_sessions_without_links_cost_the_one_that_comes_last() {
    let mut rig = Rig::new(1);
    let limits = Limits { detached: 0, ..Limits::default() };
    rig.hosts[0].registry = crate::server::Registry::new(limits, &Seed::from(1));
    rig.run(secs(20));
    rig.cut_all();
    rig.run(secs(2));
    assert!(matches!(rig.lost()[..], [Code::UnknownSession, ..]), "{:?}", rig.lost());
    rig.run(secs(20));
    assert_eq!(rig.hosts[0].registry.len(), 1);
}

#[test]
pub(super) fn while_sessions_are_taken_over_nobody_is_unknown() {
    let mut rig = Rig::new(1);
    rig.send(b"one");
    rig.run(secs(12));
    let before =
        std::mem::replace(&mut rig.hosts[0].registry, crate::server::Registry::new(Limits::default(), &Seed::from(1)));
    rig.hosts[0].registry.set_stance(Stance::TakingOver);
    rig.cut_all();
    rig.run(secs(2));
    assert!(rig.hosts[0].refused.iter().all(|code| *code == Code::GoingAway) && !rig.hosts[0].refused.is_empty());
    rig.hosts[0].registry = before;
    rig.send(b"two");
    rig.run(secs(10));
    assert_eq!(rig.served(), ["one", "two"]);
    assert_eq!(rig.lost(), []);
    rig.assert_settled();
}

#[test]
pub(super) fn an_attach_that_comes_just_after_the_end_is_told_that_there_is_no_session() {
    let mut rig = Rig::new(1);
    rig.run(secs(12));
    let (now, session) = (rig.now, only(&rig));
    let claim = {
        rig.cut_all();
        rig.run(ms(600));
        rig.hosts[0].claims.last().unwrap().clone()
    };
    let server: &mut Server = rig.hosts[0].sessions.get_mut(&session).unwrap();
    server.session_mut().close(now, Code::Denied);
    assert_eq!(server.session_mut().accept(now, &claim.hello), Err(Code::UnknownSession));
}

#[test]
pub(super) fn a_server_that_is_frozen_and_thawed_costs_nothing() {
    let mut rig = Rig::new(2);
    rig.send(b"one");
    rig.run(secs(12));
    let before = only(&rig);
    rig.send(b"two");
    rig.restart_frozen(0, ms(700));
    rig.send(b"three");
    rig.run(secs(10));
    assert_eq!(rig.served(), ["one", "two", "three"]);
    assert_eq!((only(&rig), rig.lost()), (before, Vec::new()));
    rig.assert_settled();
}

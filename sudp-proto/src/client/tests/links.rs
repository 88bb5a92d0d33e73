//! How many links there are, which of them go, and what survives that.

use super::rig::*;
use super::*;
use crate::event::Event;
use crate::testing::{ms, secs};

/// The most links there were at a time, looked at every 10 ms.
fn most_links(rig: &mut Rig, time: Duration) -> usize {
    let mut most = 0;
    for _ in 0..time.as_millis() / 10 {
        rig.run(ms(10));
        most = most.max(rig.links().len());
    }
    most
}

#[test]
pub(super) fn f01_a_hundred_cuts_leave_nothing_behind() {
    let mut rig = Rig::new(2);
    rig.hosts[0].echoes = true;
    for round in 0..100_u32 {
        rig.send_from(4_000, &round.to_be_bytes());
        rig.run(ms(100 + u64::from(round % 7) * 150));
        rig.cut_all();
    }
    rig.run(secs(30));
    let expected: Vec<Bytes> = (0..100_u32).map(|round| Bytes::copy_from_slice(&round.to_be_bytes())).collect();
    let mut served = rig.served();
    served.sort();
    assert_eq!(served, expected);
    assert_eq!(rig.answers.len(), 100);
    assert_eq!(rig.lost(), []);
    rig.assert_settled();
}

#[test]
pub(super) fn f04_a_path_that_flaps_every_second_makes_progress_and_no_storm() {
    let mut rig = Rig::new(1);
    rig.run(secs(12));
    let dials = rig.dials.len();
    for round in 0..150_u32 {
        rig.hosts[0].away = true;
        rig.cut_all();
        rig.run(secs(1));
        rig.hosts[0].away = false;
        rig.send(&round.to_be_bytes());
        rig.run(secs(1));
    }
    rig.run(secs(10));
    assert_eq!(rig.lost(), []);
    assert_eq!(rig.served().len(), 150);
    assert!(rig.dials.len() - dials <= 400, "{} dials in 300 s", rig.dials.len() - dials);
    rig.assert_settled();
}

#[test]
pub(super) fn f02_a_black_hole_is_left_within_three_seconds_and_nothing_is_lost() {
    for (up, down) in [(true, true), (true, false), (false, true)] {
        let mut rig = Rig::new(1);
        rig.hosts[0].echoes = true;
        rig.send(b"one");
        rig.run(secs(12));
        let old = rig.links();
        let wire = rig.wire_of(old[0]);
        (wire.up.stuck, wire.down.stuck) = (up, down);
        rig.send(b"two");
        rig.run(secs(4));
        assert_eq!(rig.served(), ["one", "two"], "up {up} down {down}");
        assert_eq!(rig.answers, ["one", "two"], "up {up} down {down}");
        assert!(rig.links().iter().any(|link| !old.contains(link)));
        rig.run(secs(60));
        rig.assert_settled();
    }
}

#[test]
pub(super) fn after_a_false_alarm_the_slower_of_two_links_goes_after_ten_seconds() {
    let mut rig = Rig::new(1);
    rig.latency = ms(40);
    rig.run(secs(12));
    let old = rig.links()[0];
    rig.wire_of(old).up.stuck = true;
    rig.latency = ms(5);
    rig.send(b"one");
    rig.run(ms(1_500));
    assert_eq!(rig.links().len(), 2);
    rig.wire_of(old).up.stuck = false;
    rig.settle();
    rig.run(ms(200));
    assert!(rig.events.contains(&Event::LinkCleared { ordinal: old }));
    rig.run(secs(9));
    assert_eq!(rig.links().len(), 2);
    rig.run(secs(2));
    assert_eq!(rig.links().len(), 1);
    assert!(!rig.links().contains(&old), "the slower one");
    assert_eq!(rig.served(), ["one"]);
    rig.run(secs(5));
    rig.assert_settled();
}

#[test]
pub(super) fn a_client_that_is_told_to_reconnect_has_new_links_and_nobody_notices() {
    for links in [1, 3] {
        let mut rig = Rig::new(links);
        rig.hosts[0].echoes = true;
        rig.send(&0_u32.to_be_bytes());
        rig.run(secs(12));
        let old = rig.links();
        assert_eq!(old.len(), links);
        let now = rig.now;
        rig.client.reconnect(now);
        for number in 1..200_u32 {
            rig.send(&number.to_be_bytes());
            rig.run(ms(5));
            let there_are = rig.links().len();
            assert!((links..=links + 1).contains(&there_are), "new before old, one by one: {there_are} of {links}");
        }
        assert_eq!(rig.links().len(), links);
        assert!(rig.links().iter().all(|link| !old.contains(link)), "{:?} after {old:?}", rig.links());
        rig.run(secs(30));
        let expected: Vec<Bytes> = (0..200_u32).map(|number| Bytes::copy_from_slice(&number.to_be_bytes())).collect();
        let (mut served, mut answers) = (rig.served(), rig.answers.clone());
        served.sort();
        answers.sort();
        assert!(served == expected && answers == expected, "{} and {}", served.len(), answers.len());
        assert_eq!(rig.dials.len(), links * 2, "nothing is replaced twice");
        assert_eq!(rig.lost(), []);
        rig.assert_settled();
    }
}

#[test]
pub(super) fn a_client_that_is_told_to_reconnect_keeps_what_it_has_where_nothing_else_can_be_had() {
    let mut rig = Rig::new(1);
    rig.run(secs(12));
    let old = rig.links();
    rig.hosts[0].away = true;
    let now = rig.now;
    rig.client.reconnect(now);
    rig.send(b"one");
    rig.run(secs(10));
    assert_eq!((rig.links(), rig.served()), (old.clone(), vec![Bytes::from_static(b"one")]));
    rig.hosts[0].away = false;
    rig.run(secs(40));
    assert_eq!(rig.links().len(), 1);
    assert_ne!(rig.links(), old);
    rig.assert_settled();
}

#[test]
pub(super) fn there_is_never_more_than_one_link_above_what_is_wanted_however_bad_they_all_are() {
    let mut rig = Rig::new(2);
    rig.run(secs(12));
    let began = rig.dials.len();
    for round in 0..30_u32 {
        rig.send_from(4_000, &round.to_be_bytes());
        for wire in &mut rig.wires {
            wire.up.stuck = true;
        }
        assert!(most_links(&mut rig, secs(2)) <= 3);
    }
    let attached = rig.client.session().counters().links;
    assert!(attached <= 30, "{attached} links in 60 s");
    assert!(rig.dials.len() - began <= 40, "{} dials", rig.dials.len() - began);
    rig.run(secs(60));
    assert_eq!(rig.links().len(), 2);
}

#[test]
pub(super) fn a_link_of_the_greatest_age_is_replaced_before_it_goes() {
    let mut rig = Rig::with(1, |config| {
        config.links = 2;
        config.max_link_age = Some(secs(60));
    });
    rig.run(secs(12));
    let first = rig.links();
    let mut least = usize::MAX;
    for round in 0..1_200_u32 {
        rig.send_from(4_000, &round.to_be_bytes());
        rig.run(ms(50));
        least = least.min(rig.links().len());
        assert!(rig.links().len() <= 3);
    }
    assert_eq!(least, 2);
    assert!(rig.links().iter().all(|link| !first.contains(link)));
    assert_eq!(rig.served().len(), 1_200);
    assert_eq!(rig.client.session().counters().in_doubt, 0);
    rig.run(secs(1));
    rig.assert_settled();
}

#[test]
pub(super) fn a_proxy_that_ends_every_link_at_one_age_is_soon_forestalled() {
    let mut rig = Rig::new(1);
    let mut ended = 0;
    let mut born = rig.now;
    let mut link = None;
    for _ in 0..4_000 {
        rig.run(ms(100));
        if rig.links().last().copied() != link {
            link = rig.links().last().copied();
            born = rig.now;
        }
        if rig.now >= born + secs(40) {
            ended += 1;
            rig.finish_all();
        }
    }
    assert_eq!(ended, 2, "the third is replaced in time");
    assert_eq!(rig.links().len(), 1);
}

#[test]
pub(super) fn links_that_end_together_say_nothing_about_age() {
    let mut rig = Rig::new(2);
    rig.run(secs(60));
    rig.finish_all();
    rig.run(secs(60));
    let dials = rig.dials.len();
    rig.run(secs(120));
    assert_eq!(rig.dials.len(), dials);
}

#[test]
pub(super) fn f14_after_a_sleep_the_client_asks_its_links_and_dials_beside_them() {
    let mut rig = Rig::new(1);
    rig.run(secs(12));
    let link = rig.links()[0];
    let dials = rig.dials.len();
    rig.sleep(secs(10));
    rig.run(ms(500));
    assert_eq!(rig.dials.len(), dials + 1);
    assert_eq!(rig.links(), [link], "which is given up when the link answers");
    assert_eq!(rig.lost(), []);

    rig.wire_of(link).up.kill();
    rig.wire_of(link).down.kill();
    rig.send(b"after");
    rig.sleep(secs(10));
    rig.run(ms(500));
    assert_eq!(rig.served(), ["after"], "a link that died in a sleep is not waited for");
}

#[test]
pub(super) fn f14_a_long_sleep_costs_the_session_only_if_the_server_forgot_it() {
    let mut rig = Rig::new(1);
    rig.run(secs(12));
    rig.cut_all();
    rig.sleep(secs(3_600));
    rig.send(b"later");
    rig.run(secs(5));
    assert_eq!(rig.served(), ["later"]);
    rig.run(secs(30));
    rig.assert_settled();
}

#[test]
pub(super) fn a_wake_up_dials_at_once() {
    let mut rig = Rig::new(1);
    rig.hosts[0].limits.resume = secs(3_600);
    rig.send(b"one");
    rig.run(secs(12));
    rig.hosts[0].away = true;
    rig.cut_all();
    rig.run(secs(400));
    rig.hosts[0].away = false;
    let dials = rig.dials.len();
    let now = rig.now;
    rig.client.handle_wake(now);
    rig.run(ms(50));
    assert_eq!(rig.dials.len(), dials + 1);
    rig.send(b"two");
    rig.run(ms(200));
    assert_eq!(rig.served(), ["one", "two"]);
}

/// Ends every link that carries a message with this in it.
fn poison(marker: &'static [u8], wires: &std::rc::Rc<std::cell::RefCell<Vec<u64>>>) -> Bend {
    let killed = wires.clone();
    Box::new(move |wire, way, bytes| {
        if way == Direction::Down && bytes.windows(marker.len()).any(|part| part == marker) {
            bytes.clear();
            killed.borrow_mut().push(wire.id);
        }
    })
}

#[test]
pub(super) fn a_datagram_that_link_after_link_dies_of_is_dropped_at_the_third_and_the_others_arrive() {
    let mut rig = Rig::new(1);
    let killed = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let flow = rig.send(b"hello");
    rig.run(secs(1));
    let session = rig.client.session().id().unwrap();
    let from = SocketAddr::from(([192, 0, 2, 99], 9));
    rig.bend = Some(poison(b"EICAR", &killed));
    rig.cut_all();
    rig.run(secs(1));
    for payload in [&b"before"[..], b"xxEICARxx", b"behind"] {
        let now = rig.now;
        let server = rig.hosts[0].sessions.get_mut(&session).unwrap();
        server.session_mut().handle_answer(now, flow, from, payload).unwrap();
        rig.settle();
    }
    for _ in 0..400 {
        rig.settle();
        let dead: Vec<u64> = killed.borrow_mut().drain(..).collect();
        for index in (0..rig.wires.len()).rev() {
            if dead.contains(&rig.wires[index].id) {
                rig.break_wire(index, Sees::Both);
            }
        }
        rig.run(ms(20));
    }
    let mut answers = rig.answers.clone();
    answers.sort();
    assert_eq!(answers, ["before", "behind"]);
    let poisoned = rig.hosts[0].events.iter().filter(|(_, event)| matches!(event, Event::Poisoned { .. })).count();
    assert_eq!(poisoned, 1);
    assert_eq!(rig.lost(), []);
    rig.run(secs(5));
    rig.assert_settled();
}

#[test]
pub(super) fn a_path_that_dies_of_large_frames_gets_smaller_ones() {
    let mut rig = Rig::new(1);
    let killed = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let flow = rig.send(b"hello");
    rig.run(secs(1));
    let session = rig.client.session().id().unwrap();
    let from = SocketAddr::from(([192, 0, 2, 99], 9));
    let heard = killed.clone();
    rig.bend = Some(Box::new(move |wire, way, bytes| {
        // An unmasked frame says how long it is.
        let long = |bytes: &[u8]| bytes[1] == 126 && u16::from_be_bytes([bytes[2], bytes[3]]) > 5_000;
        if way == Direction::Down && bytes[0] & 0x70 == 0 && bytes.len() > 5_000 && long(bytes) {
            bytes.clear();
            heard.borrow_mut().push(wire.id);
        }
    }));
    let now = rig.now;
    let server = rig.hosts[0].sessions.get_mut(&session).unwrap();
    server.session_mut().handle_answer(now, flow, from, &[7; 12_000]).unwrap();
    for _ in 0..600 {
        rig.settle();
        let dead: Vec<u64> = killed.borrow_mut().drain(..).collect();
        for index in (0..rig.wires.len()).rev() {
            if dead.contains(&rig.wires[index].id) {
                rig.break_wire(index, Sees::Both);
            }
        }
        rig.run(ms(20));
    }
    assert_eq!(rig.answers, [vec![7; 12_000]]);
    rig.run(secs(5));
    rig.assert_settled();
}

//! A session begins, loses its links, and ends.

use super::rig::*;
use super::*;
use crate::testing::{ms, secs};

#[test]
pub(super) fn a_client_attaches_and_what_waited_arrives() {
    let mut rig = Rig::new(1);
    rig.send(b"first");
    rig.run(ms(600));
    assert_eq!(rig.served(), ["first"]);
    assert_eq!(rig.hosts[0].sessions.len(), 1);
}

#[test]
pub(super) fn a_session_has_as_many_links_as_are_wanted() {
    let mut rig = Rig::new(3);
    rig.run(secs(5));
    assert_eq!(rig.client.session().links().count(), 3);
    assert_eq!(rig.hosts[0].sessions.len(), 1);
}

#[test]
pub(super) fn a_cut_of_every_connection_costs_nothing() {
    let mut rig = Rig::new(2);
    rig.send(b"one");
    rig.run(secs(5));
    rig.cut_all();
    rig.send(b"two");
    rig.run(secs(2));
    assert_eq!(rig.served(), ["one", "two"]);
    assert_eq!(rig.hosts[0].sessions.len(), 1, "the same session");
    assert_eq!(rig.client.session().links().count(), 2);
}

#[test]
pub(super) fn refused_dials_are_tried_again_every_second() {
    let mut rig = Rig::new(1);
    rig.hosts[0].away = true;
    rig.send(b"patience");
    rig.run(secs(10));
    assert_eq!(rig.served().len(), 0);
    rig.hosts[0].away = false;
    rig.run(ms(1_100));
    assert_eq!(rig.served(), ["patience"]);
}

#[test]
pub(super) fn a_proxy_that_takes_our_headers_away_costs_a_round_trip_and_nothing_else() {
    let mut rig = Rig::new(1);
    rig.bend = Some(Box::new(|_, way, bytes| strip(way, bytes)));
    rig.send(b"through");
    rig.run(ms(600));
    assert_eq!(rig.served(), ["through"]);
    rig.cut_all();
    rig.send(b"again");
    rig.run(secs(2));
    assert_eq!(rig.served(), ["through", "again"]);
    rig.run(secs(2));
    rig.assert_settled();
}

#[test]
pub(super) fn f12_a_killed_server_costs_the_session_and_the_client_starts_a_new_one() {
    let mut rig = Rig::new(1);
    rig.send(b"one");
    rig.run(secs(5));
    let old = rig.client.session().id();
    rig.restart_host(0);
    rig.send(b"two");
    rig.run(secs(3));
    assert_eq!(rig.served(), ["one", "two"]);
    assert_ne!(rig.client.session().id(), old);
    assert_eq!(rig.lost(), [Code::UnknownSession]);
    rig.assert_settled();
}

#[test]
pub(super) fn a_client_that_closes_tells_the_server() {
    let mut rig = Rig::new(2);
    rig.send(b"bye");
    rig.run(secs(5));
    let now = rig.now;
    rig.client.session_mut().close(now, Code::Done);
    rig.run(secs(10));
    assert_eq!(rig.hosts[0].sessions.len(), 0);
    assert_eq!(rig.hosts[0].registry.len(), 0);
    assert_eq!(rig.client.poll_timeout(), None);
    assert!(rig.client.carrier.is_empty());
}

/// What a proxy does that does not know our headers.
fn strip(way: Direction, bytes: &mut Vec<u8>) {
    if way == Direction::Up && bytes.starts_with(b"GET ") {
        let head = String::from_utf8(std::mem::take(bytes)).unwrap();
        let kept: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with("Sudp-")).collect();
        *bytes = kept.join("\r\n").into_bytes();
    }
}

//! Hellos that are late, lying, lost or repeated, and dials that never become links.

use super::pair::Pair;
use crate::event::LinkLoss;
use crate::session::Phase;
use crate::testing::{ms, secs};
use crate::wire::Ordinal;

#[test]
fn dials_that_never_reached_the_server_are_forgotten_on_both_sides() {
    let mut pair = Pair::new();
    let link = pair.connect();
    pair.send(4_000, b"hello");
    pair.run(secs(1));
    pair.cut(link);
    for _ in 0..100 {
        let lost = pair.client.hello(pair.now).unwrap();
        pair.run(ms(10));
        pair.client.detach(pair.now, lost.ordinal, LinkLoss::GivenUp);
    }
    let link = pair.connect();
    assert_eq!(link, Ordinal(102));
    pair.send(4_000, b"again");
    pair.run(secs(1));
    assert_eq!((pair.client.phase(), pair.server.phase()), (Phase::Established, Phase::Established));
    assert_eq!(pair.served.len(), 2);
    assert_eq!((pair.client.links.ended.len(), pair.server.links.ended.len()), (0, 0));
}

#[test]
fn a_dial_given_up_beside_a_live_link_is_forgotten_on_both_sides() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(secs(1));
    for _ in 0..100 {
        let lost = pair.client.hello(pair.now).unwrap();
        pair.run(ms(10));
        pair.client.detach(pair.now, lost.ordinal, LinkLoss::GivenUp);
        pair.drain();
    }
    pair.run(secs(1));
    assert_eq!((pair.client.phase(), pair.server.phase()), (Phase::Established, Phase::Established));
    assert_eq!((pair.client.links.ended.len(), pair.server.links.ended.len()), (0, 0));
    pair.connect();
    pair.run(secs(1));
    assert_eq!((pair.client.links.ended.len(), pair.server.links.ended.len()), (0, 0));
}

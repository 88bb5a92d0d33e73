//! Hellos that are late, lying, lost or repeated, and dials that never become links.

use bytes::Bytes;

use super::pair::Pair;
use crate::config::Limits;
use crate::event::LinkLoss;
use crate::session::{AttachError, Phase, Role, Session, Treatment};
use crate::testing::{ms, secs};
use crate::wire::{Attach, Code, FinalCount, Hello, Ordinal, Parameters, SessionId, Ticket, Welcome, varint};

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

/// A hello that attaches, sealed with the session's secret as the pair founds it.
fn forged(ordinal: u64, alive: &[u64], ended: &[(u64, u64)]) -> Hello {
    let final_count = |&(ordinal, count): &(u64, u64)| FinalCount { ordinal: Ordinal(ordinal), count, known: false };
    let attach = Attach {
        session: SessionId([7; 16]),
        alive: alive.iter().copied().map(Ordinal).collect(),
        ended: ended.iter().map(final_count).collect(),
        proof: [0; 32],
    };
    let parameters = Parameters::default();
    Hello {
        ordinal: Ordinal(ordinal),
        client: String::new(),
        incarnation: (1, 1),
        attach: Some(attach),
        ticket: Ticket::default(),
        parameters,
    }
}

fn used() -> Pair {
    let mut pair = Pair::with(Treatment::default(), Limits { links: 3, live_links: 4, ..Limits::default() });
    pair.connect();
    pair.send(4_000, b"hello");
    pair.run(secs(1));
    pair
}

#[test]
fn d1_7_a_refused_hello_changes_nothing() {
    let mut pair = used();
    pair.server.accept(pair.now, &forged(100, &[1], &[])).unwrap();
    for ordinal in [101, 102] {
        pair.server.accept(pair.now, &forged(ordinal, &[1, 100, 101], &[])).unwrap();
    }
    for (what, hello, code) in [
        ("an ordinal that was used", forged(101, &[], &[(1, 9)]), Code::OrdinalBurnt),
        ("one that was burnt unseen", forged(99, &[], &[]), Code::OrdinalBurnt),
        ("one below the window", forged(30, &[], &[]), Code::OrdinalBurnt),
        ("the first", forged(1, &[], &[]), Code::OrdinalBurnt),
        ("a link too many", forged(103, &[1, 100, 101, 102], &[(1, 999)]), Code::Full),
    ] {
        let before = format!("{:?}", pair.server);
        assert_eq!(pair.server.accept(pair.now, &hello), Err(code), "{what}");
        assert_eq!(format!("{:?}", pair.server), before, "{what}");
    }
}

#[test]
fn d1_7_one_hello_repeated_a_thousand_times_makes_one_link() {
    let mut pair = used();
    let hello = forged(2, &[1], &[]);
    let taken = (0..1_000).filter(|_| pair.server.accept(pair.now, &hello).is_ok()).count();
    assert_eq!((taken, pair.server.links().count()), (1, 2));
}

#[test]
fn d1_7_dials_that_overtake_each_other_do_not_burn_each_other() {
    let mut pair = used();
    let (first, second) = (pair.client.hello(pair.now).unwrap(), pair.client.hello(pair.now).unwrap());
    pair.attach(&second).unwrap();
    pair.attach(&first).unwrap();
    pair.run(secs(1));
    assert_eq!((pair.client.links().count(), pair.server.links().count()), (3, 3));
}

#[test]
fn d1_7_a_lying_list_of_links_ends_or_keeps_what_it_says_and_nothing_else() {
    let accepted = |pair: &mut Pair, hello: &Hello| pair.server.accept(pair.now, hello).map(|_| ());
    let links = |pair: &Pair| pair.server.links().map(|ordinal| ordinal.0).collect::<Vec<_>>();

    let mut pair = used();
    accepted(&mut pair, &forged(5, &[2, 3, 4, 900], &[])).unwrap();
    assert_eq!(links(&pair), [5], "one not listed is ended; those never seen are none");
    let mut pair = used();
    accepted(&mut pair, &forged(2, &[1], &[(1, 0)])).unwrap();
    assert_eq!(links(&pair), [2], "alive and ended is ended");

    let mut pair = used();
    accepted(&mut pair, &forged(5, &[1], &[(3, 1)])).unwrap();
    assert_eq!(links(&pair), [1, 5], "a count of a link that never was is of nothing");
    let mut pair = used();
    assert_eq!(accepted(&mut pair, &forged(2, &[1], &[(1, 900)])), Err(Code::Count));
    assert_eq!(pair.server.phase(), Phase::Closed(Code::Count));
}

#[test]
fn a_link_that_a_hello_leaves_out_ended_at_nothing_there_and_then() {
    let mut pair = used();
    let ended = pair.server.accept(pair.now, &forged(2, &[], &[])).unwrap();
    assert_eq!(ended, [FinalCount { ordinal: Ordinal(1), count: 1, known: true }]);
    let mut pair = used();
    assert_eq!(pair.server.accept(pair.now, &forged(2, &[1], &[])).unwrap(), [], "one that it lists lives on");
}

#[test]
fn a_link_of_which_both_sides_know_everything_is_told_no_more() {
    for (known, told) in [(false, 1), (true, 0)] {
        let mut pair = used();
        pair.server.detach(pair.now, Ordinal(1), LinkLoss::Ended);
        let mut hello = forged(2, &[], &[(1, 0)]);
        if let Some(attach) = &mut hello.attach {
            attach.ended[0].known = known;
        }
        let counts = pair.server.accept(pair.now, &hello).unwrap();
        assert_eq!((counts.len(), pair.server.links.ended.len()), (told, told), "known {known}");
    }
}

#[test]
fn the_counts_of_a_welcome_are_confirmed_with_the_first_message() {
    let mut pair = used();
    pair.cut(Ordinal(1));
    pair.connect();
    assert_eq!((pair.client.links.ended.len(), pair.server.links.ended.len()), (0, 1));
    pair.run(pair.latency);
    assert_eq!(pair.server.links.ended.len(), 0);
}

#[test]
fn d1_7_links_that_nobody_confirms_are_refused_before_they_cost_memory_without_bound() {
    let mut pair = used();
    let mut refused = 0;
    for ordinal in 2..5_000 {
        refused += usize::from(pair.server.accept(pair.now, &forged(ordinal, &[], &[])).is_err());
        while pair.server.poll_gone().is_some() || pair.server.poll_event().is_some() {}
    }
    assert!(pair.server.links.ended.len() <= 1_024 && refused > 3_900, "{refused}");
}

#[test]
fn d1_7_a_hello_that_was_overtaken_counts_the_links_that_did_so() {
    let mut pair = used();
    let accept = |pair: &mut Pair, ordinal, alive: &[u64]| {
        pair.server.accept(pair.now, &forged(ordinal, alive, &[])).map(|_| pair.server.links().count())
    };
    for (ordinal, alive) in [(5, &[1, 2, 3, 4][..]), (6, &[1, 2, 3, 4, 5]), (7, &[1, 2, 3, 4, 5, 6])] {
        accept(&mut pair, ordinal, alive).unwrap();
    }
    assert_eq!(accept(&mut pair, 2, &[1]), Err(Code::Full), "it would be the fifth of four");
    assert_eq!(accept(&mut pair, 2, &[]), Ok(4), "it takes the place of the first");
}

#[test]
fn d1_7_a_server_holds_as_many_links_as_it_has_lanes_whatever_it_may() {
    let limits = Limits { live_links: 16, ..Limits::default() };
    let mut pair = Pair::with(Treatment::default(), limits);
    pair.connect();
    let mut alive = vec![1];
    for ordinal in 2..=11 {
        pair.server.accept(pair.now, &forged(ordinal, &alive, &[])).unwrap();
        alive.push(ordinal);
    }
    assert_eq!(pair.server.accept(pair.now, &forged(12, &alive, &[])), Err(Code::Full));
    assert_eq!(pair.server.links().count(), 11);
}

#[test]
fn d1_7_a_welcome_that_contradicts_what_was_drawn_is_not_taken() {
    let pair = used();
    let welcome = |ordinal, secret, ended| Welcome {
        ordinal: Ordinal(ordinal),
        session: SessionId([7; 16]),
        secret,
        cluster: 0,
        server: 1,
        boot: 1,
        owner: Bytes::new(),
        ticket: Ticket::default(),
        ended,
        parameters: Parameters::default(),
    };
    let unseen = vec![FinalCount { ordinal: Ordinal(varint::MAX), count: 0, known: false }];
    for (ordinal, secret, ended, error) in [
        (7, Some([9; 32]), Vec::new(), AttachError::Contradiction(Code::Malformed)),
        (1, None, Vec::new(), AttachError::Contradiction(Code::Malformed)),
        (1, Some([9; 32]), unseen, AttachError::Contradiction(Code::Count)),
    ] {
        let mut client = Session::new(pair.now, Role::Client, pair.setup(Role::Client));
        client.hello(pair.now).unwrap();
        assert_eq!(client.welcome(pair.now, &welcome(ordinal, secret, ended)), Err(error));
        assert_eq!((client.links().count(), client.phase()), (0, Phase::Fresh));
    }
    let mut client = pair.client;
    assert_eq!(client.welcome(pair.now, &welcome(1, None, Vec::new())), Err(AttachError::Fenced(Ordinal(1))));
    assert_eq!(client.welcome(pair.now, &welcome(9, None, Vec::new())), Err(AttachError::Fenced(Ordinal(9))));
    let other = Welcome { session: SessionId([8; 16]), ..welcome(2, Some([9; 32]), Vec::new()) };
    assert_eq!(client.welcome(pair.now, &other), Err(AttachError::OtherSession));
    assert_eq!(client.links().count(), 1);
}

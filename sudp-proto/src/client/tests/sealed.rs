//! Links that are sealed: every other story holds, and who is in between can end a link, and no more.

use std::cell::RefCell;
use std::rc::Rc;

use super::hostile::{frame, head_of, masked, message, unmask};
use super::rig::*;
use super::*;
use crate::event::Event;
use crate::link::{ClientSeal, ServerSeal};
use crate::server::Server;
use crate::testing::{ms, secs};
use crate::wire::{Attach, Frame, Hello, Parameters, Ticket, Welcome, base64};

#[test]
fn everything_that_holds_in_the_clear_holds_sealed() {
    for story in [
        basics::a_client_attaches_and_what_waited_arrives,
        basics::a_session_has_as_many_links_as_are_wanted,
        basics::a_cut_of_every_connection_costs_nothing,
        basics::a_proxy_that_takes_our_headers_away_costs_a_round_trip_and_nothing_else,
        basics::f12_a_killed_server_costs_the_session_and_the_client_starts_a_new_one,
        basics::a_client_that_closes_tells_the_server,
        links::f01_a_hundred_cuts_leave_nothing_behind,
        links::f02_a_black_hole_is_left_within_three_seconds_and_nothing_is_lost,
        links::a_client_that_is_told_to_reconnect_has_new_links_and_nobody_notices,
        links::f14_after_a_sleep_the_client_asks_its_links_and_dials_beside_them,
    ] {
        sealed(story);
    }
}

#[test]
fn a_crash_at_any_byte_of_a_sealed_attach_keeps_the_session_and_every_count() {
    sealed(crash::a_crash_at_any_byte_of_a_later_attach_keeps_the_session_and_every_count);
}

#[test]
fn a_crash_at_any_byte_of_the_first_sealed_attach_leaves_one_session_and_delivers_once() {
    sealed(crash::a_crash_at_any_byte_of_the_first_attach_leaves_one_session_and_delivers_once);
}

#[test]
fn a_sealed_session_outlives_a_planned_restart_of_its_server_and_stays_sealed() {
    sealed(|| {
        let mut rig = Rig::new(2);
        rig.send(b"before");
        rig.run(secs(2));
        let session = rig.client.session().id();
        rig.restart_frozen(0, secs(1));
        rig.send(b"after");
        rig.run(secs(5));
        assert_eq!((rig.served(), rig.client.session().id()), (vec!["before".into(), "after".into()], session));
        assert!(rig.hosts[0].sessions.values().all(Server::is_sealed));
        assert_eq!(rig.hosts[0].refused, []);
        rig.run(secs(10));
        rig.assert_settled();
    });
}

#[test]
fn who_is_in_between_reads_neither_a_datagram_nor_who_comes_nor_what_ends() {
    sealed(|| {
        let mut rig = Rig::new(1);
        let (up, down) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
        let (heard_up, heard_down) = (Rc::clone(&up), Rc::clone(&down));
        rig.bend = Some(Box::new(move |_, way, bytes| match way {
            Direction::Up => heard_up.borrow_mut().extend_from_slice(bytes),
            Direction::Down => heard_down.borrow_mut().extend_from_slice(bytes),
        }));
        rig.hosts[0].echoes = true;
        rig.send(b"nobody else may know this");
        rig.run(secs(2));
        assert_eq!(rig.answers, ["nobody else may know this"]);
        rig.client.session_mut().close(rig.now, Code::Done);
        rig.run(secs(1));
        assert!(rig.hosts[0].sessions.is_empty(), "the server heard that it is over");

        let said = [unmask(&up.borrow()).concat(), down.borrow().clone()];
        let secret = |words: &[u8]| said.iter().any(|said| said.windows(words.len()).any(|part| part == words));
        assert!(!secret(b"nobody else may know this") && !secret(b"laptop"));
        assert!(!head_of(&up.borrow()).windows(6).any(|part| part == b"laptop"));
        // All messages but the welcome are longer than what they say by a tag, and none is as short as a CLOSE.
        assert!(
            unmask(&up.borrow()).iter().filter(|message| message[..] != [3, 0xe8]).all(|message| message.len() >= 16)
        );
    });
}

/// What is done to the frames of one write.
type Deed = fn(&mut Vec<u8>, &mut Vec<u8>);

/// Deeds that the receiver sees at once, or with the next message.
const DEEDS: [(&str, Deed); 6] = [
    ("flips the last bit", |bytes, _| *bytes.last_mut().unwrap() ^= 1),
    ("flips a bit of the body", |bytes, _| {
        let at = bytes.len() - 16;
        bytes[at] ^= 0x10;
    }),
    ("drops it", |bytes, _| bytes.clear()),
    ("says it twice", |bytes, _| bytes.extend_from_within(..)),
    ("keeps it back for the next", |bytes, kept| *kept = std::mem::take(bytes)),
    ("cuts it short", |bytes, _| {
        let at = if bytes[1] & 0x7f == 126 { 3 } else { 1 };
        bytes[at] -= 1;
        bytes.truncate(bytes.len() - 1);
    }),
];

/// Whether these bytes are one frame, of more than a word or two.
fn is_one_frame(bytes: &[u8]) -> bool {
    let (head, length) = match bytes[1] & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        length => (2, usize::from(length)),
    };
    let mask = if bytes[1] & 0x80 != 0 { 4 } else { 0 };
    length > 24 && bytes.len() == head + mask + length
}

#[test]
fn whatever_a_man_in_the_middle_does_to_a_message_ends_the_link_and_nothing_false_is_delivered() {
    for way in [Direction::Up, Direction::Down] {
        for (deed, done) in DEEDS {
            for nth in [0, 1, 5] {
                sealed(|| meddled(way, deed, done, nth));
            }
        }
    }
}

fn meddled(way: Direction, deed: &str, done: Deed, nth: usize) {
    let context = format!("{way:?}: {deed}, number {nth}");
    let mut rig = Rig::new(1);
    rig.hosts[0].echoes = true;
    rig.run(secs(2));
    let (mut seen, mut kept, hits) = (0, Vec::new(), Rc::new(RefCell::new(0)));
    let hit = Rc::clone(&hits);
    rig.bend = Some(Box::new(move |_, direction, bytes| {
        if direction != way || bytes.starts_with(b"GET ") || bytes.starts_with(b"HTTP") {
            return;
        }
        if !kept.is_empty() {
            let late = std::mem::take(&mut kept);
            bytes.extend(late);
        } else if is_one_frame(bytes) {
            if seen == nth {
                done(bytes, &mut kept);
                *hit.borrow_mut() += 1;
            }
            seen += 1;
        }
    }));
    for number in 0..20_u32 {
        rig.send(&number.to_be_bytes());
        rig.run(ms(100));
    }
    rig.bend = None;
    rig.run(secs(40));
    assert_eq!(*hits.borrow(), 1, "{context}");
    let numbers = |mut payloads: Vec<Bytes>| {
        payloads.sort();
        payloads
    };
    let expected: Vec<Bytes> = (0..20_u32).map(|number| Bytes::copy_from_slice(&number.to_be_bytes())).collect();
    assert_eq!(numbers(rig.served()), expected, "{context}");
    assert_eq!(numbers(rig.answers.clone()), expected, "{context}");
    let violation = |event: &Event| matches!(event, Event::LinkEnded { why: LinkLoss::Violation(Code::Sealing), .. });
    let victim = match way {
        Direction::Up => rig.hosts[0].events.iter().any(|(_, event)| violation(event)),
        Direction::Down => rig.events.iter().any(violation),
    };
    assert!(victim, "{context}: whoever received it says why the link ended");
    assert_eq!(rig.lost(), [], "{context}");
    rig.assert_settled();
}

fn failure(rig: &mut Rig) -> DialFailure {
    rig.client.poll_failure().expect("a dial came to nothing")
}

#[test]
fn a_server_with_another_key_is_named_as_that_and_gets_no_session() {
    sealed(|| {
        let mut rig = Rig::new(1);
        rig.hosts[0].seal = Some(ServerSeal { key: keys(9), required: false });
        rig.send(b"not for you");
        rig.run(secs(1));
        let failure = failure(&mut rig);
        assert!(matches!(failure.why, DialError::Refused { code: Code::Sealing, .. }), "{failure:?}");
        assert!(failure.to_string().contains("another key, or none") && failure.why.is_permanent(), "{failure}");
        assert_eq!((rig.hosts[0].claims.len(), rig.served().len(), rig.dials.len()), (0, 0, 1));
    });
}

#[test]
fn a_server_without_a_key_hears_nothing_in_the_clear() {
    sealed(|| {
        let mut rig = Rig::new(1);
        rig.hosts[0].seal = None;
        rig.send(b"not for you");
        rig.run(secs(200));
        let failure = failure(&mut rig);
        assert!(matches!(failure.why, DialError::Refused { code: Code::Sealing, .. }), "{failure:?}");
        assert_eq!((rig.hosts[0].claims.len(), rig.served().len()), (0, 0));
        assert!(rig.dials.len() > 1, "it comes back for as long as it lives");
    });
}

#[test]
fn a_server_that_wants_sealed_links_says_so_to_who_comes_without() {
    let mut rig = Rig::new(1);
    rig.hosts[0].seal = Some(ServerSeal { key: keys(1), required: true });
    rig.run(secs(1));
    let failure = failure(&mut rig);
    assert!(matches!(failure.why, DialError::Refused { code: Code::Unsealed, .. }), "{failure:?}");
    assert!(failure.to_string().contains("sealed links only") && failure.why.is_permanent(), "{failure}");

    rig.hosts[0].seal = Some(ServerSeal { key: keys(1), required: false });
    rig.run(secs(40));
    assert_eq!(rig.links().len(), 1, "one that merely offers it takes both");
    assert_eq!(rig.hosts[0].claims[0].key, None);
}

#[test]
fn a_welcome_in_the_clear_is_not_taken_whoever_says_it() {
    sealed(|| {
        let mut rig = Rig::new(1);
        let up = Rc::new(RefCell::new(Vec::new()));
        let heard = Rc::clone(&up);
        rig.bend = Some(Box::new(move |_, way, bytes| {
            if way == Direction::Up {
                heard.borrow_mut().extend_from_slice(bytes);
            }
            if way == Direction::Down && bytes.starts_with(b"HTTP/1.1 101") {
                let welcome = Welcome {
                    ordinal: Ordinal::FIRST,
                    session: crate::wire::SessionId([1; 16]),
                    secret: Some([2; 32]),
                    cluster: 0,
                    server: 1,
                    boot: 1,
                    owner: Bytes::new(),
                    ticket: Ticket::default(),
                    ended: Vec::new(),
                    parameters: Parameters::default(),
                };
                *bytes = head_of(bytes);
                bytes.extend(message(&Session::welcome_frame(&welcome)));
            }
        }));
        rig.send(b"not for you");
        rig.run(secs(1));
        let failure = failure(&mut rig);
        assert!(matches!(failure.why, DialError::Unsealed) && failure.why.is_permanent(), "{failure:?}");
        assert!(failure.to_string().contains("nothing is sent in the clear instead"), "{failure}");
        assert_eq!(rig.client.session().id(), None);
        let up = unmask(&up.borrow());
        assert!(up.iter().all(|message| message.len() == 2), "nothing but a close frame: {up:?}");
    });
}

#[test]
fn a_bent_welcome_and_one_with_something_beside_it_cost_a_dial() {
    for beside in [false, true] {
        sealed(|| {
            let mut rig = Rig::new(1);
            let mut left = 1;
            rig.bend = Some(Box::new(move |_, way, bytes| {
                if left > 0 && way == Direction::Down && bytes.starts_with(b"HTTP/1.1 101") {
                    left -= 1;
                    if beside {
                        // The frame of a PING that nobody sealed, in the message of the welcome.
                        let head = head_of(bytes).len();
                        let skip = if bytes[head + 1] == 126 { 4 } else { 2 };
                        let mut body = bytes[head + skip..].to_vec();
                        Frame::Ping(7).emit(&mut body);
                        bytes.truncate(head);
                        bytes.extend(message(&body));
                    } else {
                        *bytes.last_mut().unwrap() ^= 1;
                    }
                }
            }));
            rig.send(b"patience");
            rig.run(ms(100));
            assert_eq!(rig.links(), []);
            rig.run(secs(200));
            assert_eq!(rig.served(), ["patience"]);
            rig.assert_settled();
        });
    }
}

/// The requests of all dials so far, as whoever is in between has recorded them.
fn recorded(rig: &mut Rig) -> Rc<RefCell<Vec<Vec<u8>>>> {
    let record = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&record);
    rig.bend = Some(Box::new(move |_, way, bytes| {
        if way == Direction::Up && bytes.starts_with(b"GET ") {
            heard.borrow_mut().push(bytes.clone());
        }
    }));
    record
}

#[test]
fn a_recorded_hello_said_again_gives_a_session_that_dies_of_itself() {
    sealed(|| {
        let mut rig = Rig::new(1);
        let record = recorded(&mut rig);
        rig.send(b"mine");
        rig.run(secs(1));
        let (request, now) = (record.borrow()[0].clone(), rig.now);
        let session = rig.client.session().id().expect("a session");
        let answer = rig.hosts[0].visit(now, &request);
        assert!(answer.starts_with(b"HTTP/1.1 101"), "nobody can tell it from a client that dials twice");
        assert_eq!(rig.hosts[0].sessions.len(), 2);
        // Its words of before are as strange on the new link as any.
        let id = rig.hosts[0].accept(now);
        rig.hosts[0].handle_input(now, id, &request);
        let spoken = rig.wires[0].up.passed[request.len()..].to_vec();
        rig.hosts[0].handle_input(now, id, &spoken);
        assert_eq!(rig.hosts[0].sessions.len(), 3);
        assert_eq!(rig.served(), ["mine"]);
        rig.run(secs(15));
        assert_eq!(rig.hosts[0].standing(), [session], "the copies were never more than provisional");
        rig.send(b"still mine");
        rig.run(secs(5));
        assert_eq!(rig.served(), ["mine", "still mine"]);
        rig.assert_settled();
    });
}

#[test]
fn t08_a_recorded_hello_that_joins_makes_at_most_one_link() {
    sealed(|| {
        let mut rig = Rig::new(1);
        let record = recorded(&mut rig);
        rig.run(secs(1));
        rig.cut_all();
        rig.run(secs(2));
        let (request, now) = (record.borrow().last().expect("the second dial").clone(), rig.now);
        for _ in 0..100 {
            let answer = rig.hosts[0].visit(now, &request);
            assert!(answer.starts_with(b"HTTP/1.1 409"), "{}", String::from_utf8_lossy(&answer));
        }
        assert_eq!(rig.hosts[0].refused, [Code::OrdinalBurnt; 100]);
        rig.send(b"mine still");
        rig.run(secs(5));
        assert_eq!(rig.served(), ["mine still"]);
        rig.assert_settled();
    });
}

fn request(hello: &[u8]) -> String {
    format!(
        "GET /sudp HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSudp-Hello: {}\r\n\r\n",
        base64::encode(hello)
    )
}

#[test]
fn a_session_is_joined_as_it_was_made_and_never_the_other_way() {
    for made_sealed in [true, false] {
        let story = || {
            let mut rig = Rig::new(1);
            rig.hosts[0].seal = Some(ServerSeal { key: keys(1), required: false });
            rig.run(secs(1));
            let session = rig.client.session();
            let (id, secret) = (session.id().expect("a session"), session.secret().expect("and its secret"));
            let attach = Attach { session: id, alive: vec![Ordinal::FIRST], ended: Vec::new(), proof: [0; 32] };
            let (client, parameters) = ("laptop".to_owned(), session.parameters());
            let mut hello = Hello {
                ordinal: Ordinal(50),
                client,
                incarnation: (1, 0),
                attach: Some(attach),
                ticket: Ticket::default(),
                parameters,
            };
            let mut raw = Vec::new();
            if made_sealed {
                hello.prove(&secret);
                hello.emit(&mut raw);
            } else {
                hello.emit_inside(&mut raw);
                let seal = ClientSeal { server: keys(1).public(), key: keys(2) };
                raw = seal.join(id, &secret, &raw, Seed::from(1)).1.to_vec();
            }
            let answer = rig.hosts[0].visit(rig.now, request(&raw).as_bytes());
            assert!(answer.starts_with(b"HTTP/1.1 403"), "{}", String::from_utf8_lossy(&answer));
            assert_eq!(rig.hosts[0].refused, [Code::BadProof]);
            rig.run(secs(1));
            rig.assert_settled();
        };
        if made_sealed { sealed(story) } else { story() }
    }
}

#[test]
fn a_claim_shows_the_clients_own_key_and_one_that_joins_no_more_than_where() {
    sealed(|| {
        let mut rig = Rig::new(2);
        rig.run(secs(2));
        let claims = &rig.hosts[0].claims;
        assert_eq!((claims[0].key, claims[0].hello.client.as_str()), (Some(keys(2).public().0), "laptop"));
        assert_eq!((claims[1].key, claims[1].hello.client.as_str()), (None, ""));
        assert!(claims.iter().all(crate::server::Claim::is_sealed));
        assert_eq!(claims[1].hello.attach.as_ref().map(|attach| attach.session), rig.client.session().id());
    });
}

#[test]
fn an_impatient_client_may_say_its_sealed_hello_twice() {
    sealed(|| {
        let mut rig = Rig::new(1);
        let record = recorded(&mut rig);
        rig.run(secs(1));
        let now = rig.now;
        let (request, claim) = (record.borrow()[0].clone(), rig.hosts[0].claims[0].clone());
        let copy = masked(&frame(&Frame::Hello(claim.raw)));
        let id = rig.hosts[0].accept(now);
        rig.hosts[0].handle_input(now, id, &request);
        rig.hosts[0].handle_input(now, id, &copy);
        let sessions: Vec<_> = rig.hosts[0].standing();
        let links = |rig: &Rig| {
            sessions.iter().map(|id| Server::session(&rig.hosts[0].sessions[id]).links().count()).sum::<usize>()
        };
        assert_eq!((sessions.len(), links(&rig)), (2, 2), "the copy was passed over");
        rig.hosts[0].handle_input(now, id, &masked(&frame(&Frame::Ping(1))));
        assert_eq!(links(&rig), 1, "anything else in the clear ends the link");
    });
}

#[test]
fn the_largest_datagram_fits_a_sealed_message() {
    sealed(|| {
        let mut rig = Rig::new(1);
        rig.hosts[0].echoes = true;
        rig.run(secs(1));
        let payloads: Vec<Vec<u8>> = [65_507, 65_480, 65_400, 0].iter().map(|length| vec![7; *length]).collect();
        for payload in &payloads {
            rig.send(payload);
            rig.run(ms(100));
        }
        rig.run(secs(5));
        assert_eq!(rig.served(), payloads);
        assert_eq!(rig.answers, payloads);
        assert_eq!(rig.hosts[0].events.iter().filter(|(_, event)| matches!(event, Event::LinkEnded { .. })).count(), 0);
        rig.assert_settled();
    });
}

#[test]
fn a_link_that_has_no_numbers_left_is_replaced_and_nothing_is_lost() {
    sealed(|| {
        let mut rig = Rig::new(1);
        rig.hosts[0].echoes = true;
        rig.send(b"one");
        rig.run(secs(2));
        let old = rig.links()[0];
        rig.client.carrier.spend(old);
        rig.send(b"two");
        rig.run(secs(5));
        assert_ne!(rig.links(), [old]);
        assert_eq!(
            (rig.served(), rig.answers.clone()),
            (vec!["one".into(), "two".into()], vec!["one".into(), "two".into()])
        );
        rig.run(secs(10));
        rig.assert_settled();
    });
}

//! Servers and proxies that answer what they should not.

use super::rig::*;
use super::*;
use crate::server::Server;
use crate::session::Phase;
use crate::testing::{ms, secs};
use crate::wire::{Frame, Welcome, next_frame};

/// An unmasked frame with a binary message.
pub(super) fn message(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x82];
    match u8::try_from(payload.len()) {
        Ok(short @ 0..=125) => out.push(short),
        Ok(_) | Err(_) => {
            out.push(126);
            out.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

/// The head of a 101, and the welcome behind it, if these bytes are that.
fn parts(bytes: &[u8]) -> Option<(Vec<u8>, Welcome)> {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").filter(|_| bytes.starts_with(b"HTTP/1.1 101"))? + 4;
    let from = head + if bytes[head + 1] == 126 { 4 } else { 2 };
    let mut body = Bytes::copy_from_slice(&bytes[from..]);
    let Ok(Some(Frame::Welcome(raw))) = next_frame(&mut body) else { return None };
    Some((bytes[..head].to_vec(), Welcome::parse(&raw).unwrap()))
}

pub(super) fn frame(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    frame.emit(&mut out);
    out
}

/// Puts something else behind the next `times` upgrades.
fn instead(times: usize, mut what: impl FnMut(Welcome) -> Vec<u8> + 'static) -> Bend {
    let mut left = times;
    Box::new(move |_, way, bytes| {
        if way == Direction::Up || left == 0 {
            return;
        }
        if let Some((mut head, welcome)) = parts(bytes) {
            left -= 1;
            head.extend(what(welcome));
            *bytes = head;
        }
    })
}

/// A client whose first attach is spoilt gets there in the end, and nothing is lost or doubled.
fn spoilt(what: impl FnMut(Welcome) -> Vec<u8> + 'static) -> Rig {
    let mut rig = Rig::new(1);
    rig.bend = Some(instead(1, what));
    rig.send(b"patience");
    rig.run(ms(100));
    assert_eq!(rig.links(), [], "what was spoilt is no link");
    rig.run(secs(40));
    assert_eq!(rig.served(), ["patience"]);
    rig.assert_settled();
    rig
}

/// A client whose second attach is spoilt keeps its session.
fn spoilt_later(what: impl FnMut(Welcome) -> Vec<u8> + 'static) -> Rig {
    let mut rig = Rig::new(1);
    rig.send(b"one");
    rig.run(secs(20));
    let session = rig.client.session().id();
    rig.bend = Some(instead(1, what));
    rig.cut_all();
    rig.send(b"two");
    rig.run(secs(40));
    assert_eq!(rig.served(), ["one", "two"]);
    assert_eq!(rig.client.session().id(), session);
    rig.assert_settled();
    rig
}

#[test]
fn a_welcome_with_another_ordinal_is_no_welcome() {
    let other = |mut welcome: Welcome| {
        welcome.ordinal = Ordinal(welcome.ordinal.0 + 1);
        message(&Session::welcome_frame(&welcome))
    };
    spoilt(other);
    spoilt_later(other);
}

#[test]
fn a_welcome_to_another_session_is_no_welcome() {
    spoilt_later(|mut welcome| {
        welcome.session.0[0] ^= 1;
        message(&Session::welcome_frame(&welcome))
    });
}

#[test]
fn a_first_welcome_without_a_secret_is_no_welcome() {
    spoilt(|mut welcome| {
        welcome.secret = None;
        message(&Session::welcome_frame(&welcome))
    });
}

#[test]
fn garbage_and_text_in_place_of_a_welcome_cost_one_dial() {
    spoilt(|_| message(b"hello world"));
    spoilt_later(|_| message(&[0xff; 300]));
    spoilt(|_| vec![0x81, 2, b'h', b'i']);
    spoilt_later(|_| b"<html>what</html>".to_vec());
    spoilt(|_| message(&[]));
}

#[test]
fn data_before_the_welcome_costs_one_dial() {
    let early = |welcome: Welcome| {
        let mut bytes = message(&frame(&Frame::Ping(1)));
        bytes.extend(message(&Session::welcome_frame(&welcome)));
        bytes
    };
    spoilt(early);
    spoilt_later(early);
}

#[test]
fn a_second_welcome_ends_its_link_and_no_more() {
    let twice = |welcome: Welcome| {
        let once = message(&Session::welcome_frame(&welcome));
        [once.clone(), once].concat()
    };
    let rig = spoilt_later(twice);
    assert_eq!(rig.client.session().counters().violations, 1);
}

#[test]
fn what_stands_behind_a_welcome_in_its_message_is_read() {
    let mut rig = Rig::new(1);
    rig.bend = Some(instead(1, |welcome| {
        let mut words = Session::welcome_frame(&welcome);
        words.extend(frame(&Frame::Ping(77)));
        message(&words)
    }));
    rig.run(secs(1));
    let pong = frame(&Frame::Pong(77));
    let said = unmask(&rig.wires[0].up.passed);
    assert!(said.iter().any(|message| message.windows(pong.len()).any(|bytes| bytes == pong)), "{said:?}");
}

#[test]
fn a_101_without_a_subprotocol_will_do_and_one_with_another_will_not() {
    let rename = |to: &'static str| -> Bend {
        Box::new(move |_, way, bytes| {
            if way == Direction::Down && bytes.starts_with(b"HTTP/1.1 101") {
                let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
                let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
                let kept = text.split("\r\n").filter(|line| !line.starts_with("Sec-WebSocket-Protocol"));
                let mut lines: Vec<&str> = kept.collect();
                lines.extend(Some(to).filter(|to| !to.is_empty()));
                *bytes = [lines.join("\r\n").into_bytes(), bytes[head..].to_vec()].concat();
            }
        })
    };
    let mut rig = Rig::new(1);
    rig.bend = Some(rename(""));
    rig.send(b"through");
    rig.run(secs(1));
    assert_eq!(rig.served(), ["through"]);
    rig.assert_settled();

    let mut rig = Rig::new(1);
    rig.bend = Some(rename("Sec-WebSocket-Protocol: chat"));
    rig.send(b"through");
    rig.run(secs(5));
    assert_eq!(rig.served().len(), 0);
    rig.bend = None;
    rig.run(secs(10));
    assert_eq!(rig.served(), ["through"]);
}

#[test]
fn f18_whatever_http_says_instead_of_101_is_waited_out() {
    let answers: [&[u8]; 5] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 301 Moved\r\nLocation: http://192.0.2.66/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-dropbear\r\n",
    ];
    for answer in answers {
        let mut rig = Rig::new(1);
        rig.bend = Some(Box::new(move |_, way, bytes| {
            if way == Direction::Down {
                *bytes = answer.to_vec();
            }
        }));
        rig.send_from(4_000, b"never");
        rig.run(secs(10));
        assert_eq!(rig.served().len(), 0);
        assert!(rig.dials.len() <= 10, "{} dials in 10 s", rig.dials.len());
        rig.bend = None;
        rig.run(secs(60));
        rig.send(b"then");
        rig.run(secs(300));
        assert_eq!(rig.served().last().unwrap(), "then");
        rig.assert_settled();
    }
}

#[test]
fn a_proxy_that_repeats_an_upgrade_makes_no_second_link() {
    let mut rig = Rig::new(1);
    rig.send(b"one");
    rig.run(secs(1));
    rig.cut_all();
    rig.run(secs(2));
    let now = rig.now;
    let request = head_of(&rig.wires[0].up.passed);
    for _ in 0..2 {
        let answer = String::from_utf8(rig.hosts[0].visit(now, &request)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
        assert!(answer.contains("Sudp-Code: 8\r\n"), "{answer}");
        assert!(answer.contains("Sudp-Server: 7\r\n"), "{answer}");
    }
    rig.send(b"two");
    rig.run(secs(2));
    assert_eq!(rig.served(), ["one", "two"]);
    rig.assert_settled();
}

#[test]
fn t08_one_proof_said_a_thousand_times_makes_at_most_one_link() {
    let mut rig = Rig::new(1);
    rig.run(secs(1));
    // The client's own attach dies on the way; someone who saw it says it again and again.
    rig.faults.push_back(Fault { way: Direction::Up, after: 0, sees: Sees::Nobody });
    let record: std::rc::Rc<std::cell::RefCell<Vec<u8>>> = std::rc::Rc::default();
    let heard = record.clone();
    rig.bend = Some(Box::new(move |_, way, bytes| {
        if way == Direction::Up && bytes.starts_with(b"GET ") {
            *heard.borrow_mut() = bytes.clone();
        }
    }));
    rig.cut_all();
    rig.run(secs(1));
    let (request, now) = (record.borrow().clone(), rig.now);
    let answers: Vec<Vec<u8>> = (0..1_000).map(|_| rig.hosts[0].visit(now, &request)).collect();
    let links = answers.iter().filter(|answer| answer.starts_with(b"HTTP/1.1 101")).count();
    assert_eq!(links, 1);
    assert_eq!(rig.hosts[0].sessions.len(), 1);
    rig.bend = None;
    rig.send(b"mine still");
    rig.run(secs(60));
    assert_eq!(rig.served(), ["mine still"]);
    rig.assert_settled();
}

#[test]
fn t08_a_proof_with_any_bit_flipped_is_refused() {
    let mut rig = Rig::new(1);
    rig.run(secs(1));
    rig.cut_all();
    rig.run(secs(2));
    let now = rig.now;
    let claim = rig.hosts[0].claims.last().unwrap().clone();
    let proof = claim.raw.len() - 32;
    let before = rig.hosts[0].refused.len();
    for bit in 0..32 * 8 {
        let mut raw = claim.raw.to_vec();
        raw[proof + bit / 8] ^= 1 << (bit % 8);
        let hello = crate::wire::base64::encode(&raw);
        let request = format!(
            "GET /sudp HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSudp-Hello: {hello}\r\n\r\n"
        );
        rig.hosts[0].visit(now, request.as_bytes());
    }
    assert_eq!(rig.hosts[0].refused[before..], [Code::BadProof; 256]);
    rig.run(secs(1));
    rig.assert_settled();
}

#[test]
fn an_impatient_client_may_say_its_hello_twice() {
    let mut rig = Rig::new(1);
    rig.run(secs(1));
    let now = rig.now;
    let claim = rig.hosts[0].claims[0].clone();
    let request = head_of(&rig.wires[0].up.passed);
    rig.restart_client(2);
    let copy = masked(&frame(&Frame::Hello(claim.raw)));
    let id = rig.hosts[0].accept(now);
    rig.hosts[0].handle_input(now, id, &request);
    rig.hosts[0].handle_input(now, id, &copy);
    let session = |rig: &Rig| rig.hosts[0].events.last().map(|(session, _)| *session).unwrap();
    let server = session(&rig);
    assert_eq!(Server::session(&rig.hosts[0].sessions[&server]).counters().violations, 0);
    assert_eq!(Server::session(&rig.hosts[0].sessions[&server]).phase(), Phase::Provisional, "a copy proves nothing");
    rig.hosts[0].handle_input(now, id, &masked(&frame(&Frame::Ping(1))));
    assert_eq!(Server::session(&rig.hosts[0].sessions[&server]).phase(), Phase::Established);
    rig.hosts[0].handle_input(now, id, &copy);
    assert_eq!(Server::session(&rig.hosts[0].sessions[&server]).links().count(), 0, "later it is a violation");
}

pub(super) fn head_of(passed: &[u8]) -> Vec<u8> {
    let end = passed.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    passed[..end].to_vec()
}

/// A client's frame, masked with nothing.
pub(super) fn masked(payload: &[u8]) -> Vec<u8> {
    let mut out = message(payload);
    out[1] |= 0x80;
    let at = if out[1] & 0x7f == 126 { 4 } else { 2 };
    out.splice(at..at, [0; 4]);
    out
}

/// The messages of a client, behind its request.
pub(super) fn unmask(passed: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &passed[head_of(passed).len()..];
    let mut messages = Vec::new();
    while rest.len() > 6 {
        let short = usize::from(rest[1] & 0x7f);
        let (at, length) =
            if short == 126 { (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))) } else { (2, short) };
        let (key, body) = (&rest[at..at + 4], &rest[at + 4..at + 4 + length]);
        messages.push(body.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect());
        rest = &rest[at + 4 + length..];
    }
    messages
}

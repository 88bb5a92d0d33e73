//! What a server says no with, and what a client makes of it.

use super::rig::*;
use super::*;
use crate::testing::{ms, secs};

const REFUSALS: [(Code, u16); 10] = [
    (Code::Malformed, 400),
    (Code::Limit, 400),
    (Code::Denied, 403),
    (Code::Evicted, 409),
    (Code::UnknownSession, 404),
    (Code::OrdinalBurnt, 409),
    (Code::BadProof, 403),
    (Code::Full, 503),
    (Code::GoingAway, 503),
    (Code::Stale, 409),
];

/// A proxy without our headers, so that hello and answer travel in messages.
fn in_band() -> Bend {
    Box::new(|_, way, bytes| {
        if way == Direction::Up && bytes.starts_with(b"GET ") {
            let head = String::from_utf8(std::mem::take(bytes)).unwrap();
            let kept: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with("Sudp-")).collect();
            *bytes = kept.join("\r\n").into_bytes();
        }
    })
}

#[test]
fn every_refusal_is_told_by_status_code_and_server() {
    for (code, status) in REFUSALS {
        let mut rig = Rig::new(1);
        rig.hosts[0].refuses = Some(code);
        rig.run(ms(20));
        assert_eq!(rig.hosts[0].refused, [code]);
        let claim = rig.hosts[0].claims[0].clone();
        let now = rig.now;
        let hello = crate::wire::base64::encode(&claim.raw);
        let request = format!(
            "GET /sudp HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSudp-Hello: {hello}\r\n\r\n"
        );
        let answer = String::from_utf8(rig.hosts[0].visit(now, request.as_bytes())).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{code:?}: {answer}");
        assert!(answer.contains(&format!("Sudp-Code: {}\r\n", code.to_u64())), "{code:?}: {answer}");
        assert!(answer.contains("Sudp-Server: 7\r\n"), "{code:?}: {answer}");
        let waits = matches!(code, Code::Full | Code::GoingAway);
        assert_eq!(answer.contains("Retry-After: 1\r\n"), waits, "{code:?}: {answer}");
    }
}

#[test]
fn a_client_that_is_refused_comes_back_by_the_cause_and_gets_in() {
    for (code, _) in REFUSALS {
        for stripped in [false, true] {
            let mut rig = Rig::new(1);
            rig.bend = stripped.then(in_band);
            rig.hosts[0].refuses = Some(code);
            rig.run(secs(20));
            let patient = matches!(
                code,
                Code::Malformed
                    | Code::Limit
                    | Code::Denied
                    | Code::Evicted
                    | Code::Stale
                    | Code::UnknownSession
                    | Code::BadProof
            );
            match (patient, code) {
                // A fresh ordinal costs the server little, so it is asked for as after a path failure.
                (_, Code::OrdinalBurnt) => assert!((18..=27).contains(&rig.dials.len()), "{}", rig.dials.len()),
                (true, _) if !stripped => assert_eq!(rig.dials.len(), 1, "{code:?}"),
                (_, _) => assert!((1..=20).contains(&rig.dials.len()), "{code:?}: {}", rig.dials.len()),
            }
            rig.hosts[0].refuses = None;
            rig.run(secs(45));
            rig.send(b"in");
            rig.run(secs(5));
            assert_eq!(rig.served(), ["in"], "{code:?} stripped {stripped}");
            rig.assert_settled();
        }
    }
}

#[test]
fn a_later_attach_that_is_refused_keeps_the_session_unless_the_code_ends_it() {
    for (code, _) in REFUSALS {
        for stripped in [false, true] {
            let mut rig = Rig::new(1);
            rig.bend = stripped.then(in_band);
            rig.run(secs(20));
            let session = rig.client.session().id();
            rig.hosts[0].refuses = Some(code);
            rig.cut_all();
            rig.run(secs(3));
            let over =
                matches!(code, Code::Denied | Code::Evicted | Code::Stale | Code::UnknownSession | Code::BadProof);
            assert_eq!(rig.client.session().id() != session, over, "{code:?} stripped {stripped}");
            rig.hosts[0].refuses = None;
            rig.run(secs(45));
            rig.send(b"in");
            rig.run(secs(5));
            assert_eq!(rig.served(), ["in"], "{code:?}");
        }
    }
}

#[test]
fn the_owner_is_repeated_as_the_specification_writes_it() {
    let mut rig = Rig::new(1);
    rig.run(secs(1));
    rig.cut_all();
    rig.run(secs(1));
    let head = &rig.hosts[0].claims[1].head;
    // 0xfb 0xff 0x00, in base64url.
    assert_eq!(head.header("Sudp-Owner"), Some("-_8A"));
}

#[test]
fn another_principal_finds_no_session_whatever_it_proves() {
    let mut rig = Rig::new(1);
    rig.run(secs(1));
    rig.hosts[0].who.principal = "mallory".into();
    rig.cut_all();
    rig.run(secs(1));
    assert_eq!(rig.hosts[0].refused, [Code::UnknownSession]);
    assert_eq!(rig.lost(), [Code::UnknownSession]);
}

#[test]
fn a_claim_that_nobody_decides_on_is_told_to_come_again() {
    let mut rig = Rig::new(1);
    rig.hosts[0].ponders = true;
    rig.hosts[0].refuses = Some(Code::Full);
    rig.run(secs(11));
    assert_eq!(rig.hosts[0].claims.len(), 0);
    rig.hosts[0].ponders = false;
    rig.hosts[0].refuses = None;
    rig.send(b"at last");
    rig.run(secs(15));
    assert_eq!(rig.served(), ["at last"]);
    rig.assert_settled();
}

#[test]
fn t08_a_hello_repeated_to_another_server_is_unknown_there() {
    let mut rig = Rig::with(2, |_| {});
    rig.run(secs(1));
    rig.cut_all();
    rig.run(secs(2));
    let (now, claim) = (rig.now, rig.hosts[0].claims.last().unwrap().clone());
    let request = format!(
        "GET /sudp HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSudp-Hello: {}\r\n\r\n",
        crate::wire::base64::encode(&claim.raw)
    );
    rig.hosts[1].visit(now, request.as_bytes());
    assert_eq!(rig.hosts[1].refused, [Code::UnknownSession]);
    assert_eq!(rig.hosts[1].registry.len(), 0);
    rig.assert_settled();
}

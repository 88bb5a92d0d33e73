//! The response table of the catalogue of bad inputs: what a client makes of each answer.

use super::*;

const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: ACCEPT\r\n\
    Sec-WebSocket-Protocol: sudp.v1\r\n\
    \r\n";

/// What a client says of an answer, which it reads in single bytes as well as whole.
fn answered(template: &str) -> Seen {
    let whole = answered_in(template, usize::MAX);
    let bytewise = answered_in(template, 1);
    assert_eq!(format!("{:?}", whole.events), format!("{:?}", bytewise.events), "{template}");
    whole
}

fn answered_in(template: &str, piece: usize) -> Seen {
    let mut link = client();
    let request = String::from_utf8(link.output().to_vec()).unwrap();
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    feed(&mut link, template.replace("ACCEPT", &accept).as_bytes(), piece, false)
}

fn with(part: &str, other: &str) -> String {
    assert!(GOOD.contains(part), "{part:?}");
    GOOD.replacen(part, other, 1)
}

fn refusal(template: &str) -> Refusal {
    match answered(template).end() {
        Some(LinkEnd::Refused(refusal)) => *refusal,
        other => panic!("{template:?}: {other:?}"),
    }
}

#[test]
fn d2_good_answers_open_the_link() {
    for (template, confirmed) in [
        (GOOD.to_owned(), true),
        (with("Sec-WebSocket-Protocol: sudp.v1\r\n", ""), false),
        (with("Upgrade: websocket", "UPGRADE: WebSocket"), true),
        (with("Connection: Upgrade", "Connection: keep-alive, upgrade"), true),
        (with("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"), true),
        (with("101 Switching Protocols", "101 "), true),
        (with("101 Switching Protocols", "101"), true),
        (with("Upgrade:", "Server: x\r\nX: \u{e9}\r\nUpgrade:"), true),
        (with("Upgrade:", "Content-Length: 0\r\nUpgrade:"), true),
        (with("Upgrade:", "Sec-WebSocket-Extensions:\r\nUpgrade:"), true),
        (with("Upgrade:", "Sec-WebSocket-Extensions: ,\r\nUpgrade:"), true),
        (format!("HTTP/1.1 100 Continue\r\n\r\n{GOOD}"), true),
        (format!("{}{GOOD}", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(4)), true),
    ] {
        let seen = answered(&template);
        assert!(
            matches!(seen.events[..], [LinkEvent::Open { subprotocol }] if subprotocol == confirmed),
            "{template}: {seen:?}"
        );
    }
}

#[test]
fn d2_bad_101s_are_refused() {
    for (template, fault) in [
        (with("Upgrade: websocket\r\n", ""), AnswerFault::Field("Upgrade")),
        (with("websocket", "h2c"), AnswerFault::Field("Upgrade")),
        (with("websocket", "websocket, h2c"), AnswerFault::Field("Upgrade")),
        (with("websocket", "websocket\r\nUpgrade: websocket"), AnswerFault::Field("Upgrade")),
        (with("Connection: Upgrade\r\n", ""), AnswerFault::Field("Connection")),
        (with("Connection: Upgrade", "Connection: close"), AnswerFault::Field("Connection")),
        (with("Sec-WebSocket-Accept: ACCEPT\r\n", ""), AnswerFault::Accept),
        (with("ACCEPT", ""), AnswerFault::Accept),
        (with("ACCEPT", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), AnswerFault::Accept),
        (with("ACCEPT", "ACCEPT\r\nSec-WebSocket-Accept: ACCEPT"), AnswerFault::Accept),
        (with("ACCEPT", "ACCEPTx"), AnswerFault::Accept),
        (with("sudp.v1", "chat"), AnswerFault::Subprotocol),
        (with("sudp.v1", "SUDP.V1"), AnswerFault::Subprotocol),
        (with("sudp.v1", "sudp.v1, chat"), AnswerFault::Subprotocol),
        (with("sudp.v1", "sudp.v1\r\nSec-WebSocket-Protocol: sudp.v1"), AnswerFault::Subprotocol),
        (with("sudp.v1", ""), AnswerFault::Subprotocol),
        (with("Upgrade:", "Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade:"), AnswerFault::Extension),
        (with("HTTP/1.1 101", "HTTP/1.0 101"), AnswerFault::Head(HeadFault::Start)),
        (format!("{}{GOOD}", "HTTP/1.1 100 Continue\r\n\r\n".repeat(5)), AnswerFault::Interim),
    ] {
        assert_eq!(answered(&template).end(), Some(&LinkEnd::Answer(fault)), "{template}");
    }
}

#[test]
fn f18_garbage_ends_the_link() {
    for (garbage, fault) in [
        ("<!DOCTYPE html>\r\n<html>\r\n", HeadFault::Name),
        ("\r\n", HeadFault::Line),
        ("HTTP/1.1 200 OK\n\n", HeadFault::Line),
        ("HTTP/1.1  200 OK\r\n\r\n", HeadFault::Start),
        ("HTTP/1.1 2000 OK\r\n\r\n", HeadFault::Start),
        ("HTTP/1.1 20 OK\r\n\r\n", HeadFault::Start),
        ("HTTP/1.1 099 OK\r\n\r\n", HeadFault::Start),
        ("HTTP/1.1 600 OK\r\n\r\n", HeadFault::Start),
        ("HTTP/1.1 +10 OK\r\n\r\n", HeadFault::Start),
        ("HTTP/1.1\r\n\r\n", HeadFault::Start),
        ("HTTP/2 200\r\n\r\n", HeadFault::Start),
        ("ICY 200 OK\r\n\r\n", HeadFault::Start),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", HeadFault::Start),
        ("\u{16}\u{3}\u{1}", HeadFault::Byte),
        ("HTTP/1.1 101 X\r\nUpgrade:\r\n websocket\r\n\r\n", HeadFault::Fold),
    ] {
        let expected = LinkEnd::Answer(AnswerFault::Head(fault));
        assert_eq!(answered(garbage).end(), Some(&expected), "{garbage:?}");
    }
}

#[test]
fn f18_at_most_16_kib_are_read() {
    let mut link = client();
    let mut input = BytesMut::from("HTTP/1.1 200 OK\r\nX: ");
    let mut passed = 0;
    while link.poll_event().is_none() {
        input.extend_from_slice(&[b'a'; 1_000]);
        passed += 1_000;
        link.handle_input(epoch(), &mut input);
    }
    assert!(passed <= 17_000, "{passed}");
    assert!(input.is_empty());
}

#[test]
fn d2_refusals_say_what_may_help() {
    let statuses = [
        (RefusalKind::Permanent, &[200, 204, 226, 400, 401, 403, 404, 405, 407, 410, 421, 426][..]),
        (RefusalKind::Redirect, &[300, 301, 302, 303, 304, 307, 308]),
        (RefusalKind::Transient, &[408, 425, 429, 500, 501, 502, 503, 504, 599]),
    ];
    for (kind, statuses) in statuses {
        for status in statuses {
            let found = refusal(&format!("HTTP/1.1 {status} Words\r\nContent-Length: 9\r\n\r\n"));
            let expected = Refusal { status: *status, kind, retry_after: None, code: None, server: None };
            assert_eq!(found, expected);
            assert_eq!(refusal(&format!("HTTP/1.0 {status}\r\n\r\n")), expected);
        }
    }
}

#[test]
fn t31_retry_after_is_clamped() {
    for (value, expected) in [
        ("0", Some(1)),
        ("1", Some(1)),
        ("17", Some(17)),
        ("300", Some(300)),
        ("301", Some(300)),
        ("99999999999999999999999", Some(300)),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", None),
        ("1\r\nRetry-After: 2", None),
    ] {
        let found = refusal(&format!("HTTP/1.1 503 Busy\r\nRetry-After: {value}\r\n\r\n"));
        assert_eq!(found.retry_after, expected.map(Duration::from_secs), "{value}");
    }
}

#[test]
fn an_answer_of_ours_is_read_as_it_was_meant() {
    let answer = Answer::new(503).unwrap().with_retry_after(Duration::from_millis(1_500)).with_code(7);
    let answer = answer.with_header("Content-Type", "text/plain").unwrap().with_body(b"later".to_vec());
    let mut output = BytesMut::new();
    answer.put(&mut output);

    let text = String::from_utf8(output.to_vec()).unwrap();
    assert!(text.ends_with("\r\nContent-Type: text/plain\r\n\r\nlater"), "{text}");
    let expected = Refusal {
        status: 503,
        kind: RefusalKind::Transient,
        retry_after: Some(Duration::from_secs(2)),
        code: Some(7),
        server: None,
    };
    assert_eq!(refusal(&text), expected);
}

#[test]
fn t16_nothing_that_breaks_a_line_can_be_configured() {
    for value in ["a\r\nb", "a\nb", "a\rb", "a\0b", " a", "a ", "\u{7f}"] {
        assert_eq!(upgrade().with_header("X", value).err(), Some(UpgradeError::HeaderValue("X".into())), "{value:?}");
        assert!(upgrade().with_hello(value).is_err() && upgrade().with_owner(value).is_err(), "{value:?}");
        assert!(Answer::not_found().with_header("X", value).is_err(), "{value:?}");
    }
    for name in ["", "a b", "a:", "a\r\nb", "\u{e9}", "host", "Upgrade", "sec-websocket-key", "Content-Length"] {
        assert_eq!(upgrade().with_header(name, "x").err(), Some(UpgradeError::HeaderName(name.into())), "{name:?}");
    }
    for path in ["", "sudp", "/a b", "/a\r\nb", "/a#b", "/\u{e9}", "http://a/b"] {
        let error = ClientUpgrade::new(Scheme::Ws, "a", 1, path).err();
        assert_eq!(error, Some(UpgradeError::Path(path.into())), "{path:?}");
    }
    let long = "a".repeat(254);
    for host in ["", "a b", "a/b", "a@b", "a:1", "[a]", "[::1", "a\r\nb", "\u{e9}", long.as_str()] {
        let error = ClientUpgrade::new(Scheme::Ws, host, 1, "/").err();
        assert_eq!(error, Some(UpgradeError::Host(host.into())), "{host:?}");
    }
    for status in [0, 101, 199, 600] {
        assert_eq!(Answer::new(status), Err(UpgradeError::Status(status)));
    }
}

#[test]
fn a_request_says_what_was_configured_and_no_more() {
    let upgrade = ClientUpgrade::new(Scheme::Wss, "2001:db8::1", 8443, "/a?b=c").unwrap();
    let upgrade = upgrade.with_hello("AAAA").unwrap().with_owner("b").unwrap().with_header("Cookie", "d").unwrap();
    assert_eq!(format!("{upgrade:?}"), "ClientUpgrade([2001:db8::1]:8443)");
    let mut link = Link::client(epoch(), upgrade, LinkLimits::default(), Seed::from(1));
    let request = String::from_utf8(link.output().to_vec()).unwrap();
    let (before, rest) = request.split_once("Sec-WebSocket-Key: ").unwrap();
    assert_eq!(
        before,
        "GET /a?b=c HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n"
    );
    let expected = "\r\nSec-WebSocket-Protocol: sudp.v1\r\nSudp-Hello: AAAA\r\nSudp-Owner: b\r\nCookie: d\r\n\r\n";
    assert_eq!(&rest[24..], expected);
}

#[test]
fn the_port_that_goes_without_saying_is_not_said() {
    for (scheme, port, host) in
        [(Scheme::Ws, 80, "a"), (Scheme::Wss, 443, "a"), (Scheme::Ws, 443, "a:443"), (Scheme::Wss, 80, "a:80")]
    {
        let upgrade = ClientUpgrade::new(scheme, "a", port, "/").unwrap();
        let mut link = Link::client(epoch(), upgrade, LinkLimits::default(), Seed::from(1));
        let request = String::from_utf8(link.output().to_vec()).unwrap();
        assert!(request.contains(&format!("\r\nHost: {host}\r\n")), "{request}");
    }
}

#[test]
fn d2_first_frames_may_come_with_the_101() {
    let seen = answered(&format!("{GOOD}\u{2}\u{1}a"));
    assert!(matches!(seen.events[..], [LinkEvent::Open { .. }]), "a fragment alone is no message");
    let mut link = client();
    let mut server = server();
    let asked = link.output().to_vec();
    let mut answer = feed(&mut server, &asked, usize::MAX, true).output;
    server.send(&[b"first"]).unwrap();
    answer.extend_from_slice(server.output());
    assert_eq!(feed(&mut link, &answer, usize::MAX, false).messages(), [b"first"]);
}

#[test]
fn d2_a_stream_that_ends_within_the_answer_is_truncated() {
    for length in 0..GOOD.len() - 1 {
        let mut link = client();
        let seen = feed(&mut link, &GOOD.as_bytes()[..length], usize::MAX, false);
        assert!(seen.events.is_empty());
        link.handle_end(epoch());
        assert!(matches!(link.poll_event(), Some(LinkEvent::Ended(LinkEnd::Truncated))));
        assert!(link.is_finished() && link.poll_event().is_none() && link.poll_timeout().is_none());
    }
}

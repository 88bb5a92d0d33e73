//! The request table of the catalogue of bad inputs: what a server makes of each head.

use super::*;

const GOOD: &str = "GET /sudp HTTP/1.1\r\n\
    Host: sudp.example\r\n\
    Connection: Upgrade\r\n\
    Upgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: sudp.v1\r\n\
    \r\n";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Accepted,
    Status(u16),
    Stranger,
    Waiting,
}
use Outcome::{Accepted, Status, Stranger, Waiting};

/// What becomes of a request, whole as well as in single bytes.
fn outcome(request: &[u8]) -> Outcome {
    let whole = judged(request, usize::MAX);
    if request.len() < 4_096 {
        assert_eq!(judged(request, 1), whole, "{:?}", String::from_utf8_lossy(request));
    }
    whole
}

fn judged(request: &[u8], piece: usize) -> Outcome {
    let mut link = server();
    let mut input = BytesMut::new();
    for piece in request.chunks(piece) {
        input.extend_from_slice(piece);
        link.handle_input(epoch(), &mut input);
    }
    read(&mut link)
}

fn read(link: &mut Link) -> Outcome {
    match link.poll_event() {
        None => Waiting,
        Some(LinkEvent::Request(_)) => {
            link.accept(epoch()).unwrap();
            let answer = String::from_utf8(link.output().to_vec()).unwrap();
            assert!(answer.starts_with("HTTP/1.1 101 ") && !answer.contains("Extensions"), "{answer}");
            Accepted
        }
        Some(LinkEvent::Stranger(_)) => Stranger,
        Some(LinkEvent::Ended(LinkEnd::Request { status, .. })) => {
            let answer = String::from_utf8(link.output().to_vec()).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains("Connection: close\r\n"));
            Status(status)
        }
        Some(event) => panic!("{event:?}"),
    }
}

/// The good request with one part replaced.
fn with(part: &str, other: &str) -> Vec<u8> {
    assert!(GOOD.contains(part), "{part:?}");
    GOOD.replacen(part, other, 1).into_bytes()
}

fn check(table: &[(&str, &str, Outcome)]) {
    for (part, other, expected) in table {
        assert_eq!(outcome(&with(part, other)), *expected, "{part:?} replaced by {other:?}");
    }
}

#[test]
fn d2_a_good_request_is_accepted() {
    assert_eq!(outcome(GOOD.as_bytes()), Accepted);
    assert_eq!(outcome(&GOOD.as_bytes()[..GOOD.len() - 1]), Waiting);
}

#[test]
fn d2_methods_other_than_get_are_strangers() {
    for method in ["get", "Get", "POST", "HEAD", "PUT", "OPTIONS", "TRACE", "PRI"] {
        assert_eq!(outcome(&with("GET", method)), Stranger, "{method}");
    }
    check(&[
        ("GET /sudp", "CONNECT sudp.example:443", Stranger),
        ("GET /sudp", " /sudp", Status(400)),
        ("GET /sudp", "GET", Status(400)),
        ("GET /sudp", "GE(T /sudp", Status(400)),
        ("GET /sudp", "GET  /sudp", Status(400)),
        ("GET /sudp", "GET /su dp", Status(400)),
        ("GET /sudp", " GET /sudp", Status(400)),
    ]);
}

#[test]
fn d2_versions_other_than_1_1_are_refused() {
    check(&[
        ("HTTP/1.1", "HTTP/0.9", Status(400)),
        ("HTTP/1.1", "HTTP/1.0", Stranger),
        ("HTTP/1.1", "HTTP/1.2", Status(400)),
        ("HTTP/1.1", "HTTP/1.10", Status(400)),
        ("HTTP/1.1", "HTTP/2.0", Status(400)),
        ("HTTP/1.1", "HTTP/9.9", Status(400)),
        ("HTTP/1.1", "http/1.1", Status(400)),
        ("HTTP/1.1", "HTTP/1.1 ", Status(400)),
        (" HTTP/1.1", "", Status(400)),
        (" HTTP/1.1", " ", Status(400)),
    ]);
}

#[test]
fn t16_lines_end_in_cr_lf_and_in_nothing_else() {
    assert_eq!(outcome(GOOD.replace("\r\n", "\n").as_bytes()), Status(400));
    assert_eq!(outcome(GOOD.replace("\r\n", "\r").as_bytes()), Status(400));
    check(&[
        ("HTTP/1.1\r\n", "HTTP/1.1\n", Status(400)),
        ("HTTP/1.1\r\n", "HTTP/1.1\r\r\n", Status(400)),
        ("Upgrade\r\n", "Upgrade\n", Status(400)),
        ("Upgrade\r\n", "Upgrade\rX: y\r\n", Status(400)),
        ("sudp.v1\r\n\r\n", "sudp.v1\r\n\n", Status(400)),
        ("sudp.v1\r\n\r\n", "sudp.v1\n\r\n", Status(400)),
        ("Host:", "\r\nHost:", Stranger),
    ]);
}

#[test]
fn t16_blank_lines_in_front_are_refused() {
    for lines in 1..=10 {
        assert_eq!(outcome(with("GET", &("\r\n".repeat(lines) + "GET")).as_slice()), Status(400), "{lines}");
    }
}

#[test]
fn t16_forbidden_bytes_are_refused() {
    for byte in (0..=0x1f).chain([0x7f]).filter(|byte| *byte != b'\t') {
        let control = char::from(byte).to_string();
        assert_eq!(outcome(&with("/sudp", &format!("/sudp{control}"))), Status(400), "{byte:#x} in the first line");
        assert_eq!(outcome(&with("Host", &format!("Ho{control}st"))), Status(400), "{byte:#x} in a name");
        assert_eq!(outcome(&with("Host", &format!("X: a{control}b\r\nHost"))), Status(400), "{byte:#x} in a value");
    }
    for byte in 0x80..=0xff_u8 {
        for (place, expected) in [("/sudp", Status(400)), ("Host", Status(400)), ("X: ", Accepted)] {
            let mut request = with("Host:", "X: \r\nHost:");
            let at = request.windows(place.len()).position(|found| found == place.as_bytes()).unwrap();
            request.insert(at + place.len(), byte);
            assert_eq!(outcome(&request), expected, "{byte:#x} behind {place}");
        }
    }
}

#[test]
fn t16_fields_have_one_line_and_a_proper_name() {
    check(&[
        ("Upgrade: websocket", "Upgrade:\r\n websocket", Status(400)),
        ("Upgrade: websocket", "Upgrade:\r\n\twebsocket", Status(400)),
        ("Host:", " Host:", Status(400)),
        ("Host:", "Host :", Status(400)),
        ("Host:", "Host\t:", Status(400)),
        ("Host:", ":", Status(400)),
        ("Host:", "Host", Status(400)),
        ("Host:", "(Host):", Status(400)),
        ("Host: ", "Host:\t", Accepted),
        ("Host: ", "Host:", Accepted),
        ("sudp.example", "sudp.example \t ", Accepted),
        ("Host:", "X: a\tb\r\nHost:", Accepted),
        ("Host:", "X:\r\nHost:", Accepted),
    ]);
}

#[test]
fn d2_fields_are_counted() {
    for (number, expected) in [(64, Accepted), (65, Status(431)), (100_000, Status(431))] {
        let request = with("Host:", &("A: b\r\n".repeat(number - 6) + "Host:"));
        assert_eq!(outcome(&request), expected, "{number}");
    }
}

#[test]
fn d2_a_head_has_at_most_16_kib() {
    for (length, expected) in [(16 << 10, Accepted), ((16 << 10) + 1, Status(431)), (20 << 20, Status(431))] {
        let filler = "a".repeat(length - GOOD.len() - "X: \r\n".len());
        let request = with("Host:", &format!("X: {filler}\r\nHost:"));
        assert_eq!(request.len(), length);
        assert_eq!(outcome(&request), expected, "{length}");
    }
    assert_eq!(outcome("a".repeat(16 << 10).as_bytes()), Waiting);
    assert_eq!(outcome("a".repeat((16 << 10) + 1).as_bytes()), Status(431));
}

#[test]
fn t12_a_head_in_single_bytes_is_read_once() {
    let filler = "a".repeat(15 << 10);
    let request = with("Host:", &format!("X: {filler}\r\nHost:"));
    assert_eq!(judged(&request, 1), Accepted);
}

#[test]
fn d2_host_stands_once_and_is_an_authority() {
    check(&[
        ("Host: sudp.example\r\n", "", Status(400)),
        ("Host:", "Host: sudp.example\r\nHost:", Status(400)),
        ("Host:", "hOST: other.example\r\nHost:", Status(400)),
        ("sudp.example", "", Status(400)),
        ("sudp.example", "sudp.example:", Status(400)),
        ("sudp.example", "sudp.example:99999", Status(400)),
        ("sudp.example", "sudp.example:-1", Status(400)),
        ("sudp.example", "sudp.example:+1", Status(400)),
        ("sudp.example", "sudp.example:http", Status(400)),
        ("sudp.example", "user@sudp.example", Status(400)),
        ("sudp.example", "sudp.example/", Status(400)),
        ("sudp.example", "sudp example", Status(400)),
        ("sudp.example", "::1", Status(400)),
        ("sudp.example", "[::1", Status(400)),
        ("sudp.example", "sudp.example:8080", Accepted),
        ("sudp.example", "192.0.2.1", Accepted),
        ("sudp.example", "[2001:db8::1]", Accepted),
        ("sudp.example", "[2001:db8::1]:8080", Accepted),
    ]);
}

#[test]
fn d2_upgrade_names_websocket_and_nothing_else() {
    check(&[
        ("Upgrade: websocket\r\n", "", Stranger),
        ("Upgrade: websocket", "Upgrade: h2c", Stranger),
        ("Upgrade: websocket", "Upgrade: websockets", Stranger),
        ("Upgrade: websocket", "Upgrade:", Stranger),
        ("Upgrade: websocket", "Upgrade: WebSocket", Accepted),
        ("Upgrade: websocket", "Upgrade: websocket, h2c", Status(400)),
        ("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: websocket", Status(400)),
        ("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: h2c", Status(400)),
    ]);
}

#[test]
fn d2_connection_lists_upgrade() {
    check(&[
        ("Connection: Upgrade\r\n", "", Status(400)),
        ("Connection: Upgrade", "Connection: keep-alive", Status(400)),
        ("Connection: Upgrade", "Connection: close", Status(400)),
        ("Connection: Upgrade", "Connection: not-Upgrade", Status(400)),
        ("Connection: Upgrade", "Connection: Upgrade keep-alive", Status(400)),
        ("Connection: Upgrade", "Connection: keep-alive, Upgrade", Accepted),
        ("Connection: Upgrade", "Connection: upgrade,keep-alive", Accepted),
        ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade", Accepted),
        ("Connection: Upgrade", "Connection: ,, UPGRADE ,", Accepted),
    ]);
}

#[test]
fn d2_key_is_the_base64_of_sixteen_bytes() {
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    for (other, expected) in [
        ("", Status(400)),
        ("dGhlIHNhbXBsZSBub25j", Status(400)),
        ("dGhlIHNhbXBsZSBub25jZWVl", Status(400)),
        ("dGhlIHNhbXBsZSBub25jZWU=", Status(400)),
        ("dGhlIHNhbXBsZSBub25jZQ", Status(400)),
        ("dGhlIHNhbXBsZSBub25jZQ=", Status(400)),
        ("dGhlIHNhbXBsZSBub25jZR==", Status(400)),
        ("dGhlIHNhbXBsZSBub25j*Q==", Status(400)),
        ("dGhlIHNhbXBsZSBub25-ZQ==", Status(400)),
        ("====================aQ==", Status(400)),
        ("AAAAAAAAAAAAAAAAAAAAAA==", Accepted),
    ] {
        assert_eq!(outcome(&with(key, other)), expected, "{other}");
    }
    check(&[
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", Status(400)),
        ("Sec-WebSocket-Key:", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key:", Status(400)),
    ]);
}

#[test]
fn d2_versions_of_websocket_other_than_13_get_426_and_the_right_one() {
    for other in ["", "7", "8", "12", "14", "013", "+13", "13, 13", "13,8", "1.3", "13\r\nSec-WebSocket-Version: 13"] {
        assert_eq!(outcome(&with("Version: 13", &format!("Version: {other}"))), Status(426), "{other}");
    }
    check(&[("Sec-WebSocket-Version: 13\r\n", "", Status(426))]);

    let mut link = server();
    let seen = feed(&mut link, &with("Version: 13", "Version: 8"), usize::MAX, true);
    assert!(String::from_utf8(seen.output).unwrap().contains("\r\nSec-WebSocket-Version: 13\r\n"));
}

#[test]
fn t23_origins_that_are_not_listed_are_refused() {
    check(&[("Host:", "Origin: https://ok.example\r\nHost:", Accepted)]);
    for origin in [
        "",
        "null",
        "*",
        "http://ok.example",
        "https://sub.ok.example",
        "https://OK.example",
        "HTTPS://ok.example",
        "https://ok.example:443",
        "https://ok.example:8443",
        "https://ok.example.",
        "https://ok.example/",
        "https://ok.example.evil.example",
        "https://evil.example",
        "https://ok.example https://evil.example",
        "https://ok.example\r\nOrigin: https://ok.example",
        "https://evil.example\r\nOrigin: https://ok.example",
    ] {
        let request = with("Host:", &format!("Origin: {origin}\r\nHost:"));
        assert_eq!(outcome(&request), Status(403), "{origin}");
    }
}

#[test]
fn t23_the_subprotocol_or_a_hello_is_wanted() {
    let many = "a,".repeat(4_000);
    let commas = ",".repeat(8_000);
    for (offer, expected) in [
        ("chat", Status(400)),
        ("", Status(400)),
        ("SUDP.V1", Status(400)),
        ("sudp.v2", Status(400)),
        ("sudp.v1.x", Status(400)),
        (many.as_str(), Status(400)),
        (commas.as_str(), Status(400)),
        ("chat, sudp.v1", Accepted),
        ("sudp.v1, sudp.v1", Accepted),
        ("sudp.v2\r\nSec-WebSocket-Protocol: sudp.v1", Accepted),
    ] {
        assert_eq!(outcome(&with("sudp.v1", offer)), expected, "{offer}");
    }
    check(&[
        ("Sec-WebSocket-Protocol: sudp.v1\r\n", "", Status(400)),
        ("Sec-WebSocket-Protocol: sudp.v1\r\n", "Sudp-Hello: AAAA\r\n", Accepted),
        ("Host:", "Sudp-Hello: AAAA\r\nSudp-Hello: BBBB\r\nHost:", Status(400)),
        ("Host:", "Sudp-Owner: AAAA\r\nSudp-Owner: AAAA\r\nHost:", Status(400)),
        ("Host:", "Sudp-Hello: \u{e9}\r\nHost:", Status(400)),
    ]);
}

#[test]
fn t14_extensions_are_declined_in_silence() {
    let many = "x,".repeat(4_000);
    for extensions in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=99",
        "x-webkit-deflate-frame",
        ";;;=\"",
        "",
        many.as_str(),
    ] {
        let request = with("Host:", &format!("Sec-WebSocket-Extensions: {extensions}\r\nHost:"));
        assert_eq!(outcome(&request), Accepted, "{extensions}");
    }
}

#[test]
fn t16_bodies_are_refused() {
    for field in [
        "Content-Length: 0",
        "Content-Length: 5",
        "Content-Length: -1",
        "Content-Length: 5\r\nContent-Length: 6",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity\r\nContent-Length: 0",
        "Expect: 100-continue",
    ] {
        assert_eq!(outcome(&with("Host:", &format!("{field}\r\nHost:"))), Status(400), "{field}");
    }
}

#[test]
fn t16_bytes_behind_the_head_are_refused_before_the_101_and_welcome_after_it() {
    for early in ["x", "\0", "hello", GOOD] {
        assert_eq!(outcome(format!("{GOOD}{early}").as_bytes()), Status(400), "{early:?}");
    }

    let mut link = server();
    feed(&mut link, GOOD.as_bytes(), usize::MAX, true);
    let seen = feed(&mut link, b"\x82\x81\0\0\0\0x", usize::MAX, true);
    assert_eq!(seen.messages(), [b"x"]);
}

#[test]
fn d2_other_paths_are_strangers() {
    let long = format!("GET /{}", "a".repeat(8 << 10));
    for target in [
        "GET /",
        "GET /SUDP",
        "GET /sudp/",
        "GET //sudp",
        "GET /sudp/../sudp",
        "GET /./sudp",
        "GET /%73udp",
        "GET /sudp%00",
        "GET /%2e%2e/sudp",
        "GET /sudp?token=secret",
        "GET /sudp?",
        "GET /sudp#x",
        "GET http://sudp.example/sudp",
        "GET *",
        "GET sudp",
        long.as_str(),
    ] {
        assert_eq!(outcome(&with("GET /sudp", target)), Stranger, "{target}");
    }
}

#[test]
fn d2_other_protocols_are_refused() {
    for (bytes, expected) in [
        (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], Status(400)),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET /sudp HTTP/1.1\r\n", Status(400)),
        (b"PROXY UNKNOWN\r\n\r\n", Status(400)),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c", Status(400)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Status(400)),
        (b"\x05\x01\x00", Status(400)),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Waiting),
        (b"SSH-2.0-OpenSSH_9.6\r\n\0\0\x05\xdc", Status(400)),
        (b"EHLO example.org\r\n", Waiting),
        (b"EHLO example.org\r\nMAIL FROM:<a@example.org>\r\n", Status(400)),
        (b"\n", Status(400)),
        (b"", Waiting),
    ] {
        assert_eq!(outcome(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn a_request_tells_what_an_admission_needs() {
    let mut link = server();
    let fields = "Authorization: Basic abc\r\nSudp-Hello: AAAA\r\nSudp-Owner: b\r\n\
        X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\nHost:";
    let seen = feed(&mut link, &with("Host:", fields), usize::MAX, false);

    let [LinkEvent::Request(request)] = &seen.events[..] else { panic!("{seen:?}") };
    assert_eq!(request.hello.as_deref(), Some("AAAA"));
    assert_eq!(request.owner.as_deref(), Some("b"));
    assert!(request.subprotocol);
    assert_eq!(request.head.header("authorization"), Some("Basic abc"));
    assert_eq!(request.head.header("X-Forwarded-For"), None);
    assert_eq!(request.head.headers("x-forwarded-for").collect::<Vec<_>>(), [b"192.0.2.1", b"192.0.2.2"]);
    assert_eq!((request.head.method(), request.head.target()), ("GET", "/sudp"));
    assert_eq!(format!("{:?}", request.head), "RequestHead(303 bytes)");
}

#[test]
fn a_stranger_is_handed_over_with_every_byte() {
    let request = b"POST /login HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello";
    let mut link = server();
    let mut input = BytesMut::from(&request[..]);
    link.handle_input(epoch(), &mut input);

    assert!(matches!(link.poll_event(), Some(LinkEvent::Stranger(head)) if head.target() == "/login"));
    assert_eq!(link.accept(epoch()), Err(WrongStage));
    let mut handed = link.hand_over().unwrap();
    handed.receive(&mut input).unwrap();
    assert_eq!(handed.heard()[..], request[..]);
    handed.say(b"and the answer");
    handed.finish();
    assert_eq!(handed.output(), Ok(&b"and the answer"[..]));
    handed.advance(14);
    assert_eq!(handed.output(), Ok(&[][..]));
}

#[test]
fn t29_what_is_wrong_with_a_request_for_the_path_is_told_to_no_stranger() {
    let quiet = || {
        let expect = ServerExpect { path: "/sudp".into(), quiet: true, ..ServerExpect::default() };
        Link::server(epoch(), expect, LinkLimits::default(), Seed::from(1))
    };
    for (part, other) in [
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"),
        ("Sec-WebSocket-Protocol: sudp.v1", "Sec-WebSocket-Protocol: chat"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: x"),
        ("Host: sudp.example", "Host: sudp.example\r\nOrigin: https://evil.example"),
        ("Host: sudp.example", "Host: sudp.example\r\nContent-Length: 5"),
        ("Connection: Upgrade", "Connection: close"),
    ] {
        let mut link = quiet();
        let mut input = BytesMut::from(&with(part, other)[..]);
        link.handle_input(epoch(), &mut input);
        assert_eq!(read(&mut link), Stranger, "{other:?}");
    }
    let mut link = quiet();
    let mut input = BytesMut::from(format!("{GOOD}early").as_bytes());
    link.handle_input(epoch(), &mut input);
    assert!(matches!(link.poll_event(), Some(LinkEvent::Request(_))), "who it is, is not known yet");
    assert_eq!(link.accept(epoch()), Err(WrongStage), "T16: and what stands behind it is never read as frames");
    assert!(link.output().starts_with(b"HTTP/1.1 400 "));
}

#[test]
fn t29_strangers_and_the_unwanted_get_the_same_answer() {
    let answers = [with("GET /sudp", "GET /else"), with("Upgrade: websocket\r\n", ""), GOOD.into()].map(|request| {
        let mut link = server();
        feed(&mut link, &request, usize::MAX, false);
        link.refuse(epoch(), &Answer::not_found()).unwrap();
        link.output().to_vec()
    });
    assert_eq!(answers[0], b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[test]
fn the_101_proves_the_key_and_confirms_only_what_was_offered() {
    let mut link = server();
    let seen = feed(&mut link, GOOD.as_bytes(), usize::MAX, true);
    let answer = String::from_utf8(seen.output).unwrap();
    assert_eq!(
        answer,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: sudp.v1\r\n\r\n"
    );

    let mut link = server();
    let request = with("Sec-WebSocket-Protocol: sudp.v1", "Sudp-Hello: AAAA");
    let seen = feed(&mut link, &request, usize::MAX, true);
    assert!(!String::from_utf8(seen.output).unwrap().contains("Protocol:"));
}

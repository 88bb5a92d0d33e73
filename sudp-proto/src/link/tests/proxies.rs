//! Upstream proxies: their words, and everything they may say instead.

use super::*;

fn through(proxy: Proxy, host: &str) -> Link {
    let upgrade = ClientUpgrade::new(Scheme::Wss, host, 8443, "/sudp").unwrap().with_proxy(proxy);
    Link::client(epoch(), upgrade, LinkLimits::default(), Seed::from(1))
}

fn socks() -> Proxy {
    Proxy::new(ProxyKind::Socks5)
}

fn connect() -> Proxy {
    Proxy::new(ProxyKind::Connect)
}

fn with_password(proxy: Proxy) -> Proxy {
    proxy.with_credentials("user", "pass:word").unwrap()
}

/// Answers a link in single bytes and whole, and returns what it wrote after its first words, or why it ended.
fn reply(make: impl Fn() -> Link, answers: &[&[u8]]) -> Result<Vec<u8>, LinkEnd> {
    let outcomes = [1, usize::MAX].map(|piece| {
        let mut link = make();
        let written = link.output().len();
        link.advance_output(written);
        let mut written = Vec::new();
        for answer in answers {
            let seen = feed(&mut link, answer, piece, false);
            written.extend_from_slice(&seen.output);
            if let Some(end) = seen.end() {
                assert!(link.is_finished());
                return Err(end.clone());
            }
        }
        Ok(written)
    });
    assert_eq!(outcomes[0], outcomes[1]);
    let [outcome, _] = outcomes;
    outcome
}

fn assert_end(make: impl Fn() -> Link, answers: &[&[u8]], end: ProxyEnd) {
    assert_eq!(reply(make, answers), Err(LinkEnd::Proxy(end)), "{answers:?}");
}

#[test]
fn connect_names_the_server_and_goes_on_with_the_upgrade() {
    let link = || through(with_password(connect()), "sudp.example");
    assert_eq!(
        link().output(),
        b"CONNECT sudp.example:8443 HTTP/1.1\r\nHost: sudp.example:8443\r\n\
          Proxy-Authorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n\r\n"
    );
    for answer in
        ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n", "HTTP/1.1 204\r\n\r\n"]
    {
        let request = reply(link, &[answer.as_bytes()]).unwrap();
        assert!(request.starts_with(b"GET /sudp HTTP/1.1\r\nHost: sudp.example:8443\r\n"));
    }
    let mut link = through(connect(), "2001:db8::1");
    assert_eq!(link.output(), b"CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n\r\n");
}

#[test]
fn f18_connect_answers_other_than_success_end_the_link() {
    let link = || through(connect(), "sudp.example");
    for (answer, end) in [
        (&b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\n\r\n"[..], ProxyEnd::Credentials),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", ProxyEnd::Credentials),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", ProxyEnd::Refused(403)),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", ProxyEnd::Refused(301)),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", ProxyEnd::Refused(502)),
        (b"HTTP/1.1 101 Switching\r\n\r\n", ProxyEnd::Refused(101)),
        (b"HTTP/1.1 200 OK\n\n", ProxyEnd::Head(HeadFault::Line)),
        (b"<html>\r\n\r\n", ProxyEnd::Head(HeadFault::Start)),
        (b"\x05\x00", ProxyEnd::Head(HeadFault::Byte)),
    ] {
        assert_end(link, &[answer], end);
    }
    let endless = [b"HTTP/1.1 200 OK\r\nX: ", &[b'a'; 20_000][..]].concat();
    assert_end(link, &[&endless], ProxyEnd::Head(HeadFault::Length));
}

#[test]
fn a_server_that_speaks_before_it_is_asked_is_not_believed() {
    let mut link = through(connect(), "sudp.example");
    let seen = feed(&mut link, b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Early\r\n\r\n", usize::MAX, false);
    assert_eq!(seen.end(), Some(&LinkEnd::Proxy(ProxyEnd::Early)));
}

#[test]
fn socks_passes_names_unresolved_and_addresses_as_such() {
    for (host, address) in [
        ("sudp.example", &b"\x03\x0csudp.example"[..]),
        ("192.0.2.1", &[1, 192, 0, 2, 1]),
        ("[2001:db8::1]", &[4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        let link = || through(socks(), host);
        assert_eq!(link().output(), [5, 1, 0]);
        let asked = [&[5, 1, 0][..], address, &8443_u16.to_be_bytes()].concat();
        assert_eq!(reply(link, &[b"\x05\x00"]).unwrap(), asked, "{host}");
    }
}

#[test]
fn socks_replies_of_every_form_lead_to_the_upgrade() {
    let link = || through(socks(), "sudp.example");
    for bound in
        [&b"\x01\0\0\0\0\0\0"[..], b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", b"\x03\x03abc\0\0", b"\x03\0\0\0"]
    {
        let granted = [b"\x05\x00\x00", bound].concat();
        let written = reply(link, &[b"\x05\x00", &granted]).unwrap();
        assert!(String::from_utf8_lossy(&written).contains("GET /sudp HTTP/1.1\r\n"), "{bound:?}");
    }
}

#[test]
fn socks_says_user_and_password_only_when_asked() {
    let link = || through(with_password(socks()), "sudp.example");
    assert_eq!(link().output(), [5, 2, 0, 2]);
    let written = reply(link, &[b"\x05\x02"]).unwrap();
    assert_eq!(written, b"\x01\x04user\x09pass:word");
    let written = reply(link, &[b"\x05\x02", b"\x01\x00"]).unwrap();
    assert!(written.ends_with(b"\x05\x01\x00\x03\x0csudp.example\x20\xfb"));
    let written = reply(link, &[b"\x05\x00"]).unwrap();
    assert!(written.starts_with(b"\x05\x01\x00\x03"), "no password was asked for");
}

#[test]
fn f18_socks_answers_other_than_success_end_the_link() {
    let plain = || through(socks(), "sudp.example");
    let named = || through(with_password(socks()), "sudp.example");
    assert_end(plain, &[b"\x05\xff"], ProxyEnd::Credentials);
    assert_end(plain, &[b"\x05\x02"], ProxyEnd::Socks);
    assert_end(plain, &[b"\x05\x01"], ProxyEnd::Socks);
    assert_end(plain, &[b"\x04\x00"], ProxyEnd::Socks);
    assert_end(plain, &[b"HTTP/1.1 400 Bad Request\r\n\r\n"], ProxyEnd::Socks);
    assert_end(named, &[b"\x05\x02", b"\x01\x01"], ProxyEnd::Credentials);
    assert_end(named, &[b"\x05\x02", b"\x05\x00"], ProxyEnd::Socks);
    for reply in 1..=255 {
        assert_end(plain, &[b"\x05\x00", &[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]], ProxyEnd::Reply(reply));
        assert_end(plain, &[b"\x05\x00", &[5, reply]], ProxyEnd::Reply(reply));
    }
    assert_end(plain, &[b"\x05\x00", b"\x04\x00\x00\x01\0\0\0\0\0\0"], ProxyEnd::Socks);
    assert_end(plain, &[b"\x05\x00", b"\x05\x00\x00\x02\0\0\0\0\0\0"], ProxyEnd::Socks);
}

#[test]
fn credentials_that_cannot_be_said_are_refused() {
    let long = "a".repeat(256);
    for (user, password) in [("", "a"), (long.as_str(), "a"), ("a", long.as_str()), ("a\n", "a"), ("a", "\0")] {
        for proxy in [connect(), socks()] {
            assert_eq!(proxy.with_credentials(user, password), Err(UpgradeError::Credentials), "{user:?} {password:?}");
        }
    }
    assert_eq!(socks().with_credentials("a", ""), Err(UpgradeError::Credentials));
    assert!(connect().with_credentials("token", "").is_ok());
    assert_eq!(connect().with_credentials("a:b", "c"), Err(UpgradeError::Credentials));
    assert!(socks().with_credentials("a:b", "c").is_ok());
}

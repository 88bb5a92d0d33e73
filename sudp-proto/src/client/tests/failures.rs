//! What a person is told when a dial comes to nothing.

use std::collections::BTreeSet;

use super::rig::*;
use super::*;
use crate::config::client::{Scheme, ServerConfig};
use crate::link::{AnswerFault, HeadFault, LinkStage, ProxyEnd, ProxyKind, RefusalKind};
use crate::testing::{epoch, ms, secs};
use crate::wire::Host as Name;

fn failures(client: &mut Client) -> Vec<DialFailure> {
    std::iter::from_fn(|| client.poll_failure()).collect()
}

/// A client of a server with a name, which its caller answers for.
fn named(proxy: Option<(Address, Proxy)>) -> Client {
    let address = Address { host: Name::Name("sudp.example".into()), port: 80 };
    let config = ClientConfig::new(vec![ServerConfig::new(Scheme::Ws, address)]);
    let pool = Pool::memory(64 << 20, 128 << 10);
    let proxies = proxy.map(|proxy| (0, proxy)).into_iter().collect();
    Client::new(epoch(), ClientSetup { proxies, ..ClientSetup::new(config, pool, Seed::from(1)) })
}

fn proxy(kind: ProxyKind) -> (Address, Proxy) {
    (Address::from(SocketAddr::from(([10, 0, 0, 1], 3_128))), Proxy::new(kind))
}

/// Drives a client to the connection of its first dial, over the address it is told.
fn connect(client: &mut Client) -> Key {
    loop {
        match client.poll_order(epoch()).expect("a new client dials") {
            Order::Resolve { key, .. } => {
                client.handle_resolved(epoch(), key, &[SocketAddr::from(([192, 0, 2, 1], 80))]);
            }
            Order::Dial { key, .. } => {
                client.handle_connected(epoch(), key);
                return key;
            }
            Order::Close(_) => unreachable!("nothing is open"),
        }
    }
}

/// What becomes of a dial whose server, or proxy, says this.
fn answered(mut client: Client, answer: &[u8]) -> DialFailure {
    let key = connect(&mut client);
    client.handle_input(epoch(), key, &mut BytesMut::from(answer));
    let [failure] = &failures(&mut client)[..] else { panic!("one dial, one failure") };
    failure.clone()
}

#[test]
fn each_answer_that_is_no_upgrade_has_its_own_words() {
    use RefusalKind::{Permanent, Redirect, Transient};
    let head = |text: &str| format!("HTTP/1.1 {text}\r\n\r\n");
    let http = |status, kind, retry_after: Option<u64>| DialError::Http {
        status,
        kind,
        retry_after: retry_after.map(Duration::from_secs),
    };
    let cases = [
        (head("200 OK"), http(200, Permanent, None), "login page"),
        (head("302 Found\r\nLocation: /"), http(302, Redirect, None), "redirect, which is not followed"),
        (head("400 Bad Request"), http(400, Permanent, None), "scheme and port"),
        (head("401 Unauthorized"), http(401, Permanent, None), "check the credentials"),
        (head("404 Not Found"), http(404, Permanent, None), "check the path"),
        (head("407 Proxy"), http(407, Permanent, None), "proxy on the way"),
        (head("410 Gone"), http(410, Permanent, None), "refuses the request"),
        (head("426 Upgrade Required"), http(426, Permanent, None), "another version"),
        (head("429 Slow down\r\nRetry-After: 7"), http(429, Transient, Some(7)), "come back after 7 s"),
        (head("500 Oops"), http(500, Transient, None), "in trouble"),
        (head("503 Busy\r\nRetry-After: 2"), http(503, Transient, Some(2)), "busy or not there"),
        (
            "SSH-2.0-OpenSSH_10.0\r\n\r\n".into(),
            DialError::Answer(AnswerFault::Head(HeadFault::Start)),
            "not that of a WebSocket server",
        ),
    ];
    let mut words = BTreeSet::new();
    for (answer, why, expected) in cases {
        let failure = answered(named(None), answer.as_bytes());
        let said = failure.to_string();
        assert_eq!(failure.why, why, "{answer}");
        assert_eq!((failure.server, failure.to), (0, Some(SocketAddr::from(([192, 0, 2, 1], 80)))));
        assert!(said.starts_with("sudp.example:80 (192.0.2.1:80): "), "{said}");
        assert!(said.contains(expected) && !said.contains('\n'), "{said}");
        assert_eq!(why.is_permanent(), matches!(why, DialError::Http { kind: Permanent | Redirect, .. }), "{said}");
        assert!(words.insert(said), "every answer has its own words");
    }
}

#[test]
fn a_server_that_chooses_another_subprotocol_is_told_from_a_bad_upgrade() {
    let mut client = named(None);
    let key = connect(&mut client);
    let request = String::from_utf8(client.output(epoch(), key).to_vec()).unwrap();
    let asked = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let proof = tungstenite::handshake::derive_accept_key(asked.as_bytes());
    let answer = |proof: &str| {
        format!(
            "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {proof}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
        )
    };
    client.handle_input(epoch(), key, &mut BytesMut::from(answer(&proof).as_bytes()));
    assert_eq!(failures(&mut client)[0].why, DialError::Subprotocol);
    assert_eq!(answered(named(None), answer("wrong").as_bytes()).why, DialError::Answer(AnswerFault::Accept));
}

#[test]
fn a_proxy_that_says_no_is_named_with_its_reason() {
    let connect = [
        ("HTTP/1.1 407 Who?\r\n\r\n", ProxyEnd::Credentials, "check user and password"),
        ("HTTP/1.1 403 No\r\n\r\n", ProxyEnd::Refused(403), "forbids this server"),
        ("HTTP/1.1 502 Bad\r\n\r\n", ProxyEnd::Refused(502), "cannot reach the server"),
        ("HTTP/1.1 500 Oops\r\n\r\n", ProxyEnd::Refused(500), "status 500"),
        ("SSH-2.0\r\n\r\n", ProxyEnd::Head(HeadFault::Start), "not answer as an HTTP proxy"),
    ];
    let mut socks: Vec<(Vec<u8>, ProxyEnd, &str)> = vec![
        (vec![5, 0xff], ProxyEnd::Credentials, "check user and password"),
        (b"HTTP/1.1 400\r\n\r\n".to_vec(), ProxyEnd::Socks, "does not speak SOCKS 5"),
    ];
    let replies = ["general", "its rules", "network", "host unreachable", "refused", "did not", "command", "address"];
    for (reply, words) in (1..).zip(replies) {
        socks.push((vec![5, 0, 5, reply, 0, 1, 0, 0, 0, 0, 0, 0], ProxyEnd::Reply(reply), words));
    }
    let connect = connect.map(|(answer, end, words)| (ProxyKind::Connect, answer.as_bytes().to_vec(), end, words));
    let socks = socks.into_iter().map(|(answer, end, words)| (ProxyKind::Socks5, answer, end, words));
    for (kind, answer, end, words) in connect.into_iter().chain(socks) {
        let failure = answered(named(Some(proxy(kind))), &answer);
        let said = failure.to_string();
        assert_eq!(failure.why, DialError::Proxy(end), "{said}");
        assert!(said.starts_with("sudp.example:80 through the proxy 10.0.0.1:3128: "), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn each_server_is_dialled_by_its_own_proxy_or_by_none() {
    let at = |last| SocketAddr::from(([192, 0, 2, last], 80));
    let servers = (1..=3)
        .map(|last| ServerConfig { priority: last.into(), ..ServerConfig::new(Scheme::Ws, Address::from(at(last))) });
    let pool = Pool::memory(64 << 20, 128 << 10);
    let via = |last: u8, kind| {
        (usize::from(last) - 1, (Address::from(SocketAddr::from(([10, 0, 0, last], 3_128))), Proxy::new(kind)))
    };
    let proxies = BTreeMap::from([via(1, ProxyKind::Connect), via(3, ProxyKind::Socks5)]);
    let config = ClientConfig::new(servers.collect());
    let mut client = Client::new(epoch(), ClientSetup { proxies, ..ClientSetup::new(config, pool, Seed::from(1)) });

    let (mut seen, mut now) = (BTreeMap::new(), epoch());
    while seen.len() < 3 {
        while let Some(order) = client.poll_order(now) {
            let Order::Dial { key, to } = order else { continue };
            client.handle_connected(now, key);
            seen.insert(to, client.output(now, key).first().copied());
            client.handle_failed(now, key, io::ErrorKind::ConnectionReset);
        }
        now += ms(100);
        client.handle_timeout(now);
        assert!(now < epoch() + secs(60), "{seen:?}");
    }
    let first = [("10.0.0.1:3128", b'C'), ("10.0.0.3:3128", 5), ("192.0.2.2:80", b'G')];
    assert_eq!(seen, first.map(|(to, word)| (to.parse().unwrap(), Some(word))).into());
    let proxied: BTreeSet<_> = failures(&mut client).into_iter().map(|it| (it.server, it.proxy.is_some())).collect();
    assert_eq!(proxied, [(0, true), (1, false), (2, true)].into());
}

#[test]
fn a_proxy_that_will_not_is_left_alone_and_one_that_cannot_is_asked_again_soon() {
    let cases: [(ProxyKind, &[u8], bool); 9] = [
        (ProxyKind::Connect, b"HTTP/1.1 407 Who?\r\n\r\n", true),
        (ProxyKind::Connect, b"HTTP/1.1 403 No\r\n\r\n", true),
        (ProxyKind::Connect, b"HTTP/1.1 500 Oops\r\n\r\n", false),
        (ProxyKind::Connect, b"HTTP/1.1 503 Down\r\n\r\n", false),
        (ProxyKind::Connect, b"HTTP/1.1 429 Busy\r\n\r\n", false),
        (ProxyKind::Socks5, &[5, 0xff], true),
        (ProxyKind::Socks5, &[5, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0], true),
        (ProxyKind::Socks5, &[5, 0, 5, 5, 0, 1, 0, 0, 0, 0, 0, 0], false),
        (ProxyKind::Socks5, &[4, 0], false),
    ];
    for (kind, answer, waits) in cases {
        let mut client = named(Some(proxy(kind)));
        let key = connect(&mut client);
        client.handle_input(epoch(), key, &mut BytesMut::from(answer));
        while client.poll_order(epoch()).is_some() {}
        let dials = (1..150).any(|tenths| {
            let now = epoch() + ms(100) * tenths;
            client.handle_timeout(now);
            std::iter::from_fn(|| client.poll_order(now)).any(|order| matches!(order, Order::Dial { .. }))
        });
        assert_eq!(dials, !waits, "{kind:?} {answer:?}");
        assert_eq!(failures(&mut client)[0].why.is_permanent(), waits, "{kind:?} {answer:?}");
    }
}

#[test]
fn a_session_that_is_refused_says_which_code_said_so() {
    for (code, words) in [
        (Code::Denied, "denies access"),
        (Code::Version, "another version of SUDP"),
        (Code::Full, "no room for the session; it asks to come back after 1 s"),
        (Code::Stale, "a name of its own"),
        (Code::Malformed, "check the versions"),
        (Code::Sealing, "another key, or none; compare the server key"),
        (Code::Unsealed, "sealed links only; configure its public key"),
    ] {
        let mut rig = Rig::new(1);
        rig.hosts[0].refuses = Some(code);
        rig.run(ms(30));
        let [failure] = &failures(&mut rig.client)[..] else { panic!("one dial, one failure") };
        assert!(matches!(failure.why, DialError::Refused { code: said, .. } if said == code), "{failure:?}");
        assert!(failure.to_string().starts_with("192.0.2.1:80: ") && failure.to_string().contains(words), "{failure}");
        assert_eq!(failure.why.is_permanent(), code != Code::Full);
    }
}

#[test]
fn a_path_that_fails_says_how_and_where() {
    use io::ErrorKind as Kind;
    for (kind, words) in [
        (Kind::ConnectionRefused, "refused"),
        (Kind::HostUnreachable, "no route"),
        (Kind::NetworkDown, "network is down"),
        (Kind::TimedOut, "firewalls on the way"),
        (Kind::AddrNotAvailable, "to connect from"),
        (Kind::PermissionDenied, "does not permit"),
        (Kind::ResourceBusy, "cannot connect: resource busy"),
    ] {
        let mut client = named(None);
        let Some(Order::Resolve { key, .. }) = client.poll_order(epoch()) else { panic!("a name is looked up first") };
        let addresses = [SocketAddr::from(([192, 0, 2, 1], 80)), SocketAddr::from(([192, 0, 2, 2], 80))];
        client.handle_resolved(epoch(), key, &addresses);
        for _ in addresses {
            let Some(Order::Dial { key, .. }) = client.poll_order(epoch()) else { panic!("the next address") };
            assert_eq!(failures(&mut client), [], "an address is left");
            client.handle_failed(epoch(), key, kind);
        }
        let [failure] = &failures(&mut client)[..] else { panic!("one dial, one failure") };
        assert_eq!((&failure.why, failure.to), (&DialError::Connect(kind), Some(addresses[1])));
        assert!(failure.to_string().contains(words), "{failure}");
        assert!(!failure.why.is_permanent());
    }
}

#[test]
fn a_name_without_an_address_is_not_blamed_on_the_server() {
    let mut client = named(None);
    let Some(Order::Resolve { key, .. }) = client.poll_order(epoch()) else { panic!("a name is looked up first") };
    client.handle_resolved(epoch(), key, &[]);
    let [failure] = &failures(&mut client)[..] else { panic!("one dial, one failure") };
    assert_eq!((&failure.why, failure.to), (&DialError::Unresolved, None));
    assert!(failure.to_string().starts_with("sudp.example:80: the name does not resolve"), "{failure}");
}

#[test]
fn a_stream_that_breaks_or_goes_silent_before_the_welcome_is_told_apart() {
    let mut client = named(None);
    let key = connect(&mut client);
    client.handle_failed(epoch(), key, io::ErrorKind::ConnectionReset);
    assert_eq!(failures(&mut client)[0].why, DialError::Broken(io::ErrorKind::ConnectionReset));

    let mut client = named(None);
    let key = connect(&mut client);
    client.handle_end(epoch(), key);
    assert_eq!(failures(&mut client)[0].why, DialError::Broken(io::ErrorKind::UnexpectedEof));

    let mut client = named(None);
    connect(&mut client);
    client.handle_timeout(epoch() + secs(10));
    assert_eq!(failures(&mut client)[0].why, DialError::Late(LinkStage::Answer));
}

#[test]
fn a_dial_that_nobody_answers_is_told_of_before_its_last_deadline() {
    let mut client = named(None);
    let mut now = epoch();
    while now < epoch() + secs(5) {
        while let Some(order) = client.poll_order(now) {
            if let Order::Resolve { key, .. } = order {
                client.handle_resolved(now, key, &[SocketAddr::from(([192, 0, 2, 1], 80))]);
            }
        }
        now = client.poll_timeout().expect("it dials on").at;
        client.handle_timeout(now);
    }
    let failures = failures(&mut client);
    assert!(!failures.is_empty());
    assert!(failures.iter().all(|failure| failure.why == DialError::Connect(io::ErrorKind::TimedOut)));
}

#[test]
fn a_dial_that_is_not_needed_any_more_has_not_failed() {
    let mut rig = Rig::new(2);
    rig.run(secs(30));
    rig.cut_all();
    rig.run(secs(30));
    rig.client.session_mut().close(rig.now, Code::Done);
    rig.run(secs(5));
    assert_eq!(failures(&mut rig.client), []);
}

#[test]
fn failures_that_nobody_asks_for_are_bounded_and_the_newest_are_kept() {
    let mut rig = Rig::new(1);
    rig.hosts[0].away = true;
    rig.run(secs(300));
    let dials = rig.dials.len();
    rig.hosts[0].away = false;
    rig.hosts[0].refuses = Some(Code::Full);
    rig.run(secs(60));
    let failures = failures(&mut rig.client);
    assert!(dials > 64 && failures.len() == 64, "{dials} dials, {} failures", failures.len());
    assert!(matches!(failures[63].why, DialError::Refused { code: Code::Full, .. }), "{}", failures[63]);
}

#[test]
fn a_server_of_wss_is_not_dialled_without_tls_and_nothing_is_sent_in_clear() {
    let address = Address::from(SocketAddr::from(([192, 0, 2, 1], 443)));
    let config = ClientConfig::new(vec![ServerConfig::new(Scheme::Wss, address)]);
    let setup = ClientSetup::new(config, Pool::memory(64 << 20, 128 << 10), Seed::from(1));
    assert_eq!(setup.validate(), Err(SetupError::TlsMissing(0)));
    let mut client = Client::new(epoch(), setup);
    let mut now = epoch();
    while now < epoch() + secs(120) {
        assert_eq!(client.poll_order(now), None, "nobody is dialled");
        now = client.poll_timeout().expect("it tries again, seldom").at;
        client.handle_timeout(now);
    }
    let failures = failures(&mut client);
    assert!((2..20).contains(&failures.len()), "{}", failures.len());
    assert!(failures.iter().all(|failure| failure.why == DialError::TlsMissing && failure.why.is_permanent()));
}

//! Strangers: what they get to see, how long they may take, and what guessing costs them.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use sudp_tokio::proto::wire::{Hello, Ordinal, Parameters, Ticket};
use sudp_tokio::tls::{ClientOptions, Trust};

use super::rig::{Folder, PATIENCE, Sudp, answers, echo, run, speaks_to};

/// A server, and the address at which it listens.
fn server(folder: &Folder, config: &str) -> (Sudp, SocketAddr, String) {
    let config = folder.write("sudp.yaml", &format!("server:\n  rules: [127.0.0.0/8]\n{config}"));
    let (server, url) = Sudp::server(&["--config", &config]);
    let at = url.split("//").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
    (server, at, url)
}

/// A stream from this address of loopback.
fn dial(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::from(from), 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// All that comes until the stream ends; one that is reset has ended, too.
fn rest(mut stream: impl Read) -> Vec<u8> {
    let (mut all, mut room) = (Vec::new(), [0; 4_096]);
    loop {
        match stream.read(&mut room) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("{error}: {:?}", String::from_utf8_lossy(&all)),
        }
    }
}

fn ask_from(from: [u8; 4], to: SocketAddr, request: &str) -> (Vec<u8>, Duration) {
    let mut stream = dial(from, to);
    let begun = Instant::now();
    stream.write_all(request.as_bytes()).unwrap();
    let answer = rest(&stream);
    (answer, begun.elapsed())
}

fn ask(to: SocketAddr, request: &str) -> (Vec<u8>, Duration) {
    ask_from([127, 0, 0, 1], to, request)
}

/// Whether one that asks is answered at the first moment at which strangers are. What has to wait for a processor is
/// late, so a few may try, each by its number; whoever waits for its turn is late each time.
fn prompt(ask: impl Fn(u8) -> Duration) -> bool {
    (2..10).any(|number| ask(number) < Duration::from_millis(550))
}

/// A request as a client makes it, with some of it replaced.
fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// Requests of strangers, none of which shows credentials.
fn strange() -> Vec<String> {
    let offer = "Sec-WebSocket-Protocol: sudp.v1\r\n";
    let mut requests: Vec<String> =
        ["GET / HTTP/1.1", "GET /sudp HTTP/1.1", "POST /sudp HTTP/1.1", "DELETE / HTTP/1.1"]
            .map(|line| format!("{line}\r\nHost: example.org\r\n\r\n"))
            .into();
    requests.push(upgrade("/else", offer));
    requests.push(upgrade("/sudp/", offer));
    requests.push(upgrade("/sudp", ""));
    requests.push(upgrade("/sudp", &format!("{offer}Sudp-Hello: !\r\n")));
    requests.push(upgrade("/sudp", offer).replace("Version: 13", "Version: 8"));
    requests.push(upgrade("/sudp", &format!("{offer}Content-Length: 3\r\n")));
    requests
}

#[test]
fn t29_whatever_a_stranger_asks_it_gets_the_same_bytes_at_the_same_time() {
    let folder = Folder::new();
    let (_server, at, _) = server(&folder, "");
    for request in strange() {
        assert!(prompt(|_| {
            let (answer, took) = ask(at, &request);
            let nothing = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            assert_eq!(answer, nothing, "{request}");
            assert!(took.as_millis() >= 300, "{took:?} for {request}");
            took
        }));
    }
}

#[test]
fn t11_unknown_user_wrong_password_and_wrong_path_look_alike_also_to_a_clock() {
    let folder = Folder::new();
    let (users, password) = (folder.path().join("users.yaml"), folder.write("password", "correct horse battery"));
    let (users, mode) = (users.display().to_string(), std::os::unix::fs::PermissionsExt::from_mode(0o600));
    fs::set_permissions(&password, mode).unwrap();
    run(&["user", "add", "alice", "--password-file", &password, "--file", &users]).with(0, "");
    let (_server, at, _) = server(&folder, &format!("  auth: {{users: {users}}}\n"));
    let hello = Hello {
        ordinal: Ordinal(1),
        client: String::new(),
        incarnation: (1, 1),
        attach: None,
        parameters: Parameters::default(),
        ticket: Ticket::default(),
    };
    // alice:wrong, bob:wrong, and alice:correct horse battery.
    let [wrong, unknown, right] = ["YWxpY2U6d3Jvbmc=", "Ym9iOndyb25n", "YWxpY2U6Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"];
    let ask = |host: u8, path: &str, credentials: &str| {
        let more = format!("Authorization: Basic {credentials}\r\nSudp-Hello: {}\r\n", hello.to_header());
        ask_from([127, 0, 5, host], at, &upgrade(path, &more))
    };
    for round in 0..3 {
        let seen = [
            ask(3 * round + 1, "/sudp", wrong),
            ask(3 * round + 2, "/sudp", unknown),
            ask(3 * round + 3, "/else", right),
        ];
        for (what, (answer, took)) in ["wrong", "unknown", "elsewhere"].iter().zip(&seen) {
            assert_eq!(*answer, seen[0].0, "{what}");
            // One that had to wait for a processor is answered at the next moment.
            assert!(took.as_millis() >= 300 && took.as_millis() % 300 < 150, "{what}: {took:?}");
        }
    }
}

#[test]
fn t23_pages_come_only_from_where_they_may_and_all_others_are_strangers() {
    let folder = Folder::new();
    let (_server, at, _) = server(&folder, "  origins: [https://ok.example]\n");
    let from = |origin: &str| {
        let more = format!("Sec-WebSocket-Protocol: sudp.v1\r\nOrigin: {origin}\r\n");
        let mut stream = dial([127, 0, 0, 1], at);
        stream.write_all(upgrade("/sudp", &more).as_bytes()).unwrap();
        let mut line = [0; 12];
        stream.read_exact(&mut line).unwrap();
        String::from_utf8(line.to_vec()).unwrap()
    };
    assert_eq!(from("https://ok.example"), "HTTP/1.1 101");
    for other in [
        "null",
        "https://evil.example",
        "https://sub.ok.example",
        "https://ok.example.evil.example",
        "https://OK.example",
        "https://ok.example.",
        "https://ok.example:443",
        "https://ok.example:8443",
        "http://ok.example",
        "https://ok.example/",
        "ok.example",
    ] {
        assert_eq!(from(other), "HTTP/1.1 404", "{other}");
    }
    let config = folder.write("bad.yaml", "server:\n  origins: [https://OK.example/]\n");
    run(&["server", "--config", &config]).with(78, "server.origins[0]");
}

#[test]
fn t29_a_file_is_what_strangers_see_with_its_type_and_for_head_without_its_body() {
    let folder = Folder::new();
    let page = folder.write("welcome.html", "<h1>It works!</h1>\n");
    let (mut server, at, url) = server(&folder, "  strangers: welcome.html\n");
    let head =
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 19\r\nContent-Type: text/html; charset=utf-8\r\n\r\n";
    for request in strange() {
        let (answer, _) = ask(at, &request);
        assert_eq!(String::from_utf8(answer).unwrap(), format!("{head}<h1>It works!</h1>\n"), "{request}");
    }
    let (answer, _) = ask(at, "HEAD / HTTP/1.1\r\nHost: example.org\r\n\r\n");
    assert_eq!(String::from_utf8(answer).unwrap(), head);

    let service = echo();
    let mut client = Sudp::client(&url, &["-L", &format!("0:{service}")]);
    answers(client.address("taking datagrams at "), b"whoever belongs here is served as ever");

    fs::write(&page, "another page\n").unwrap();
    folder.write("sudp.yaml", "server:\n  rules: [127.0.0.0/8]\n  strangers: ./welcome.html\n");
    server.signal(rustix::process::Signal::HUP);
    server.line("is in force");
    assert!(ask(at, &strange()[0]).0.ends_with(b"another page\n"));

    let config = folder.write("bad.yaml", "server:\n  strangers: nowhere.html\n");
    run(&["server", "--config", &config]).with(78, "nowhere.html");
}

/// A web server that says how many bytes it was asked with, and then some.
fn web() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            stream.read_exact(&mut body).unwrap();
            let line = head.lines().next().unwrap();
            let text = format!("{line} and {} bytes\n{}", body.len(), "x".repeat(100_000));
            let answer = format!("HTTP/1.1 200 OK\r\nServer: web\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    at
}

#[test]
fn t29_a_web_server_answers_strangers_with_every_byte_both_ways() {
    let (folder, web) = (Folder::new(), web());
    let (_server, at, url) = server(&folder, &format!("  strangers: http://{web}\n"));
    let body = "y".repeat(20_000);
    for (request, says) in [
        ("GET /page HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "GET /page HTTP/1.1 and 0 bytes"),
        (
            format!("POST /form HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
            "POST /form HTTP/1.1 and 20000 bytes",
        ),
        (upgrade("/sudp", ""), "GET /sudp HTTP/1.1 and 0 bytes"),
    ] {
        let answer = String::from_utf8(ask(at, &request).0).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\nServer: web\r\n"), "{:?}", answer.get(..200));
        assert!(answer.contains(says) && answer.ends_with(&"x".repeat(100_000)), "{says}: {} bytes", answer.len());
    }
    let service = echo();
    let mut client = Sudp::client(&url, &["-L", &format!("0:{service}")]);
    answers(client.address("taking datagrams at "), b"and clients are clients");
}

/// The certificate and key that `sudp cert` makes.
fn certificate(folder: &Folder) -> (String, String) {
    let made = run(&["cert", "--out", &folder.path().display().to_string(), "--name", "127.0.0.1"]);
    assert_eq!(made.code, Some(0), "{made:#?}");
    let find = |name: &str| {
        let files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        files.map(|file| file.display().to_string()).find(|file| file.ends_with(name)).unwrap()
    };
    (find("cert.pem"), find("key.pem"))
}

#[test]
fn t29_what_a_web_server_says_passes_through_tls() {
    let (folder, web) = (Folder::new(), web());
    let (cert, key) = certificate(&folder);
    let config = format!("  strangers: http://{web}\n  tls: {{cert: {cert}, key: {key}}}\n");
    let (_server, at, _) = server(&folder, &config);
    let trust = Trust::Roots(vec![cert.into()]);
    let tls = ClientOptions { trust, ..ClientOptions::default() }.load().unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = rustls::ClientConnection::new(Arc::clone(&tls.config), name).unwrap();
    let mut tls = rustls::StreamOwned::new(connection, dial([127, 0, 0, 1], at));
    tls.write_all(b"POST /form HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").unwrap();
    let answer = String::from_utf8(rest(tls)).unwrap();
    assert!(answer.contains("POST /form HTTP/1.1 and 5 bytes") && answer.ends_with(&"x".repeat(100_000)));
}

#[test]
fn t12_each_stage_has_one_deadline_however_busy_its_stream_is() {
    let folder = Folder::new();
    let (cert, key) = certificate(&folder);
    let (_plain, plain, _) = server(&folder, "");
    let (_tls, tls, _) = server(&folder, &format!("  tls: {{cert: {cert}, key: {key}}}\n"));
    /// Sends a byte now and then, and says when the other side has hung up.
    fn drip(mut stream: TcpStream, bytes: &[u8]) -> Duration {
        let begun = Instant::now();
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut room = [0; 1_024];
        for byte in bytes.iter().cycle() {
            // That it has hung up is seen by reading.
            let _ = stream.write_all(&[*byte]);
            match stream.read(&mut room) {
                Ok(0) => return begun.elapsed(),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return begun.elapsed(),
            }
            assert!(begun.elapsed() < PATIENCE);
        }
        unreachable!("a cycle has no end")
    }
    let cases = [
        (
            "TLS",
            10,
            thread::spawn(move || drip(dial([127, 0, 1, 1], tls), &[0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb, 3])),
        ),
        (
            "head",
            5,
            thread::spawn(move || {
                let mut stream = dial([127, 0, 1, 2], plain);
                stream.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
                drip(stream, b"x")
            }),
        ),
        (
            "hello",
            5,
            thread::spawn(move || {
                let mut stream = dial([127, 0, 1, 3], plain);
                stream.write_all(upgrade("/sudp", "Sec-WebSocket-Protocol: sudp.v1\r\n").as_bytes()).unwrap();
                let mut line = [0; 12];
                stream.read_exact(&mut line).unwrap();
                assert_eq!(&line, b"HTTP/1.1 101");
                // An endless ping is no hello.
                drip(stream, &[0x89, 0x80, 0, 0, 0, 0])
            }),
        ),
    ];
    for (stage, deadline, case) in cases {
        let took = case.join().unwrap();
        assert!((took.as_secs_f64() - f64::from(deadline)).abs() <= 1.0, "{stage}: {took:?}");
    }
}

#[test]
fn t12_a_head_of_16_kib_in_single_bytes_is_read_in_time() {
    let folder = Folder::new();
    let (_server, at, _) = server(&folder, "");
    let line = |number: usize| format!("X-{number:02}: {}\r\n", "x".repeat(490));
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", (0..32).map(line).collect::<String>());
    assert!(head.len() > 15_000 && head.len() < 16 << 10, "{}", head.len());
    let mut stream = dial([127, 0, 0, 1], at);
    for byte in head.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(rest(&stream).starts_with(b"HTTP/1.1 404 "));
    let mut stream = dial([127, 0, 0, 1], at);
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(16 << 10));
    let _ = stream.write_all(long.as_bytes());
    assert!(rest(&stream).starts_with(b"HTTP/1.1 431 "));
}

const GUESS: &str = "GET /else HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWxpY2U6d3Jvbmc=\r\n\r\n";
const LOOK: &str = "GET /else HTTP/1.1\r\nHost: x\r\n\r\n";

/// The lines of an audit so far.
fn audit(folder: &Folder) -> Vec<Value> {
    let text = fs::read_to_string(folder.path().join("audit.log")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits for a line of the audit.
fn audited(folder: &Folder, found: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(line) = audit(folder).into_iter().find(|line| found(line)) {
            return line;
        }
        assert!(Instant::now() < until, "{:#?}", audit(folder));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn t10_who_guesses_waits_and_so_do_all_of_its_source_and_nobody_else() {
    let folder = Folder::new();
    let (_server, at, url) = server(&folder, "  audit: {file: audit.log}\n");
    let here = [127, 0, 2, 1];
    assert!(prompt(|host| ask_from([127, 0, 6, host], at, GUESS).1), "the first guess of a source does not wait");
    let (first, _) = ask_from(here, at, GUESS);
    assert!(first.starts_with(b"HTTP/1.1 404 "), "{first:?}");
    // One by one, and at the same moments: a stranger does not learn from its waiting which path is ours.
    let asked: Vec<_> = (0..3).map(|_| thread::spawn(move || ask_from(here, at, LOOK))).collect();
    let guessed: Vec<_> = (0..3).map(|_| thread::spawn(move || ask_from(here, at, GUESS))).collect();
    let mut took: Vec<_> = asked.into_iter().chain(guessed).map(|asked| asked.join().unwrap()).collect();
    assert!(took.iter().all(|(answer, _)| *answer == first));
    took.sort_by_key(|(_, took)| *took);
    let slowest = took.last().unwrap().1;
    assert!(slowest >= Duration::from_millis(1_500) && slowest < Duration::from_secs(5), "{took:?}");
    assert!(prompt(|host| ask_from([127, 0, 2, host], at, LOOK).1), "others do not wait");

    audited(&folder, |line| {
        line["message"] == "refused"
            && line["fields"]["from"].as_str().is_some_and(|from| from.starts_with("127.0.2.1:"))
    });
    assert!(!audit(&folder).iter().any(|line| line.to_string().contains("YWxpY2U6d3Jvbmc")), "T21");

    let service = echo();
    let mut client = Sudp::client(&url, &["-L", &format!("0:{service}")]);
    answers(client.address("taking datagrams at "), b"hello");
    let opened = audited(&folder, |line| line["message"] == "opened");
    audited(&folder, |line| line["message"] == "admitted");
    client.signal(rustix::process::Signal::TERM);
    client.end();
    let closed = audited(&folder, |line| line["message"] == "closed");
    assert_eq!(opened["fields"]["session"], closed["fields"]["session"]);
    assert_eq!(closed["fields"]["reason"], "its work is done");
}

#[test]
fn t01_each_flow_is_written_down_with_the_rule_that_decided_as_acl_explain_names_it() {
    let folder = Folder::new();
    let (service, other) = (echo(), echo());
    let config = |rules: &str| format!("server:\n  rules: [{rules}]\n  audit: {{file: audit.log}}\n");
    let before = format!("'deny 127.0.0.0/8:{}', 127.0.0.0/8", other.port());
    let file = folder.write("sudp.yaml", &config(&before));
    let (server, url) = Sudp::server(&["--config", &file]);
    let tunnels =
        [format!("0:{service}?name=may"), format!("0:{other}?name=denied"), "0:10.1.2.3:9?name=closed".into()];
    let mut client = Sudp::client(&url, &["-L", &tunnels[0], "-L", &tunnels[1], "-L", &tunnels[2]]);
    let here = ["may", "denied", "closed"].map(|name| client.address(&format!("{name}: taking datagrams at ")));
    answers(here[0], b"this one may");
    let denied: Vec<_> = here[1..].iter().map(|at| speaks_to(*at)).collect();
    denied.iter().for_each(|socket| assert!(socket.send(b"this one may not").is_ok()));

    let line = |what: &'static str, to: &str| {
        audited(&folder, |line| line["message"] == what && line["fields"]["to"] == to)["fields"].clone()
    };
    let opened = line("flow opened", &service.to_string());
    assert_eq!(opened["rule"], "`allow 127.0.0.0/8`, server.rules[1]", "{opened}");
    let refused = line("flow refused", &other.to_string());
    let rule = format!("`deny 127.0.0.0/8:{}`, server.rules[0]", other.port());
    assert_eq!(refused["rule"], *rule, "{refused}");
    assert!(refused["reason"].as_str().unwrap().ends_with(": not allowed"), "{refused}");
    assert_eq!(refused["session"], audited(&folder, |line| line["message"] == "opened")["fields"]["session"]);
    run(&["acl", "explain", "*", &other.to_string(), "--config", &file]).with(1, "may not send to");
    let explained = String::from_utf8(run(&["acl", "explain", "*", &other.to_string(), "--config", &file]).output);
    assert!(explained.as_ref().unwrap().contains(&format!("by {rule} (")), "{explained:?}");
    let closed = line("flow refused", "10.1.2.3:9");
    assert!(closed["rule"].as_str().unwrap().contains("10.0.0.0/8"), "{closed}");

    // One that is open is told again when other rules end it, by the name of the one that does.
    folder.write("sudp.yaml", &config(&format!("127.0.0.0/8:{}, 'deny *', 127.0.0.0/8", other.port())));
    server.signal(rustix::process::Signal::HUP);
    assert_eq!(line("flow refused", &service.to_string())["rule"], "`deny *`, server.rules[1]");
}

#[test]
fn d2_a_proxy_that_is_trusted_says_who_it_is_and_nobody_else_does() {
    let folder = Folder::new();
    let (_server, at, _) = server(&folder, "  audit: {file: audit.log}\n  trusted_proxies: [127.0.3.0/24]\n");
    let guess = |header: &str| GUESS.replace("Host: x\r\n", &format!("Host: x\r\n{header}"));
    ask_from([127, 0, 3, 1], at, &guess("X-Forwarded-For: 203.0.113.9, 192.0.2.1\r\n"));
    audited(&folder, |line| line["fields"]["from"] == "192.0.2.1");
    ask_from([127, 0, 4, 1], at, &guess("X-Forwarded-For: 192.0.2.77\r\n"));
    let honest =
        audited(&folder, |line| line["fields"]["from"].as_str().is_some_and(|from| from.starts_with("127.0.4.1")));
    assert_eq!(honest["message"], "refused");
    assert!(!audit(&folder).iter().any(|line| line.to_string().contains("192.0.2.77")));
    // Another client of the same proxy is another source.
    let other = |host: u8| guess(&format!("X-Forwarded-For: 192.0.2.1{host}\r\n"));
    assert!(prompt(|host| ask_from([127, 0, 3, 1], at, &other(host)).1));
    let many = format!("X-Forwarded-For: {}192.0.2.3\r\n", "203.0.113.9,".repeat(1_000));
    ask_from([127, 0, 3, 1], at, &guess(&many));
    audited(&folder, |line| line["fields"]["from"] == "192.0.2.3");
}

#[test]
fn t12_strangers_who_fill_all_places_do_not_keep_a_client_out() {
    let folder = Folder::new();
    let (_server, at, url) = server(&folder, "");
    let strangers: Vec<_> = (0..400_u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            let mut stream = dial([127, 1, high, low], at);
            stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    let service = echo();
    let mut client = Sudp::client(&url, &["-L", &format!("0:{service}")]);
    answers(client.address("taking datagrams at "), b"hello");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    drop(strangers);
}

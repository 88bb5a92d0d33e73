//! What the doctor says of paths that work, and of many that do not: with real servers, and real programs in between.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod world;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sudp_cli::args::Output;
use sudp_cli::doctor;
use sudp_cli::exit::Exit;
use sudp_tokio::ProxyUrl;
use sudp_tokio::proto::access::{Grant, Rules};
use sudp_tokio::proto::wire::Address;
use sudp_tokio::tls::Trust;

use world::{Found, Program, Server, Shown, answers, echo, examine, head, listen, pass, plan, secure_plan};

/// Through a proxy, as its URL says.
fn through(mut plan: doctor::Plan, proxy: &str) -> doctor::Plan {
    let proxy: ProxyUrl = proxy.parse().unwrap();
    plan.proxy = sudp_tokio::ProxyRules::all(proxy).proxy_for(&plan.server);
    plan
}

#[test]
fn a_path_that_works_is_said_to_work_to_the_last_step() {
    let server = Server::open();
    let mut plan = plan(server.at);
    plan.echo = Some(echo(|_| true).into());

    let found = examine(plan);

    found.worked();
    assert_eq!(
        found.results(),
        [
            "url ok",
            "name none",
            "tcp ok",
            "proxy none",
            "tls none",
            "upgrade ok",
            "session ok",
            "resume ok",
            "echo ok",
            "load ok",
            "size ok",
            "idle untested"
        ],
        "{:#}",
        found.report
    );
    assert_eq!(found.report["schema"], 1);
    assert_eq!(found.step("echo")["facts"]["returned"], 20);
    assert_eq!(found.step("size")["facts"]["largest"], 65_507);
    assert!(found.step("session")["facts"]["rtt"].as_f64().unwrap() > 0.0);
    assert_eq!(found.report["verdict"], "This path works. Not tested: idle.");
}

#[test]
fn people_see_a_line_for_each_step_and_what_to_change() {
    let mut out = Vec::new();
    let failure =
        doctor::run(plan(answers(b"HTTP/1.1 404 Not Found\r\nServer: web\r\n\r\n")), Output::Text, false, &mut out);

    let text = String::from_utf8(out).unwrap();
    assert_eq!(failure.unwrap_err().exit, Exit::Unreachable);
    let begins = |start: &str| text.lines().any(|line| line.starts_with(start));
    assert!(begins("tcp     ok    127.0.0.1:"), "{text}");
    assert!(begins("upgrade FAIL  status 404 from web: nothing of this path is there"), "{text}");
    assert!(begins("              check the path /sudp"), "{text}");
    assert!(
        text.ends_with(
            "This path does not work: upgrade failed, status 404 from web: nothing of this path is there.\n"
        )
    );
}

#[test]
fn a_closed_port_is_told() {
    let at = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();

    let found = examine(plan(at));

    found.failed("tcp", Exit::Unreachable);
    assert!(found.says("tcp").ends_with("connection refused"));
    assert!(found.fix("tcp").contains("nothing listens there"));
}

#[test]
fn a_name_without_an_address_is_told() {
    let mut nowhere = plan((Ipv4Addr::LOCALHOST, 80).into());
    nowhere.server.address = "no-such-name.invalid:80".parse::<Address>().unwrap();

    let found = examine(nowhere);

    assert_eq!(found.step("url")["result"], "warn", "what goes in the clear is warned about");
    found.failed("name", Exit::Unreachable);
    assert!(found.says("name").contains("no-such-name.invalid"));
}

#[test]
fn a_name_is_looked_up_and_its_addresses_are_told() {
    let server = Server::open();
    let mut named = plan(server.at);
    named.server.address = format!("localhost:{}", server.at.port()).parse().unwrap();

    let found = examine(named);

    found.worked();
    assert!(found.says("name").starts_with("localhost is "));
    let addresses = found.step("name")["facts"]["addresses"].as_array().unwrap();
    assert!(addresses.iter().any(|address| address == "127.0.0.1"));
}

#[test]
fn every_answer_that_is_no_upgrade_has_its_own_meaning() {
    let stories: [(&[u8], &str, &str, Exit); 14] = [
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "a web page", "proxy_set_header Upgrade", Exit::Unreachable),
        (
            b"HTTP/1.1 302 Found\r\nLocation: https://login.example/\x1b[2Jx\r\n\r\n",
            "a redirect",
            "wss://login.example/\\u{1b}[2Jx",
            Exit::Unreachable,
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n",
            "status 400 from nginx",
            "proxy_http_version",
            Exit::Unreachable,
        ),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", "it wants credentials", "--header @FILE", Exit::Denied),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "it does not let us in", "Origin", Exit::Denied),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "nothing of this path", "check the path /sudp", Exit::Unreachable),
        (b"HTTP/1.1 407 Who\r\n\r\n", "a proxy wants credentials", "--proxy", Exit::Denied),
        (b"HTTP/1.1 426 Upgrade Required\r\n\r\n", "saw none", "proxy_set_header Upgrade", Exit::Unreachable),
        (
            b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
            "the server behind it is not",
            "check that the server runs",
            Exit::Unreachable,
        ),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "it is busy", "wait", Exit::Unreachable),
        (b"HTTP/1.1 504 Gateway Timeout\r\n\r\n", "no answer from the server behind", "proxy_pass", Exit::Unreachable),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "an SSH server", "check the port", Exit::Unreachable),
        (b"\x15\x03\x01\x00\x02\x02\x16", "speaks TLS", "write wss://", Exit::Unreachable),
        (
            b"\x1b[2Jnonsense\r\n",
            "does not speak HTTP: it begins with \"\\u{1b}[2J",
            "no other service",
            Exit::Unreachable,
        ),
    ];
    for (answer, says, fix, exit) in stories {
        let found = examine(plan(answers(answer)));

        found.failed("upgrade", exit);
        assert!(found.says("upgrade").contains(says), "{}", found.says("upgrade"));
        assert!(found.fix("upgrade").contains(fix), "{}", found.fix("upgrade"));
    }
}

#[test]
fn who_hangs_up_is_told_apart_by_when() {
    let at_once = examine(plan(listen(|_, stream| drop(head(&stream)))));
    at_once.failed("upgrade", Exit::Unreachable);
    assert!(at_once.says("upgrade").starts_with("the connection is closed without an answer"));

    const OPEN: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let behind = examine(plan(answers(OPEN)));
    behind.failed("upgrade", Exit::Unreachable);
    assert_eq!(behind.says("upgrade"), "101, and then the connection is closed");

    let stranger = examine(plan(answers(&[OPEN, b"\x82\x05hello"].concat().leak()[..])));
    stranger.failed("upgrade", Exit::Unreachable);
    assert_eq!(stranger.says("upgrade"), "101, but what speaks there is not SUDP");

    let stale = examine(plan(answers(b"HTTP/1.1 101 Old\r\nSec-WebSocket-Accept: old\r\n\r\n")));
    stale.failed("upgrade", Exit::Unreachable);
    assert_eq!(stale.says("upgrade"), "101, but not an answer to this request");
}

#[test]
fn a_server_that_resets_once_it_is_told_who_comes_is_told() {
    // The probes of the upgrade pass; a client's own hello is longer than theirs.
    let server = Server::open();
    let target = server.at;
    let at = listen(move |_, client| {
        let head = head(&client);
        if head.lines().any(|line| line.starts_with("Sudp-Hello: ") && line.len() > 40) {
            return;
        }
        let mut server = TcpStream::connect(target).unwrap();
        server.write_all(head.as_bytes()).unwrap();
        pass(&client, &server, None);
    });

    let found = examine(plan(at));

    found.failed("session", Exit::Unreachable);
    assert!(found.fix("session").contains("closes WebSockets"), "{:#}", found.report);
}

#[test]
fn a_header_that_is_taken_away_is_noticed_and_does_not_matter() {
    let server = Server::open();
    let target = server.at;
    let at = listen(move |_, client| {
        let head: String =
            head(&client).split_inclusive("\r\n").filter(|line| !line.starts_with("Sudp-Hello")).collect();
        let mut server = TcpStream::connect(target).unwrap();
        server.write_all(head.as_bytes()).unwrap();
        pass(&client, &server, None);
    });

    let found = examine(plan(at));

    found.worked();
    assert_eq!(found.step("upgrade")["result"], "warn");
    assert!(found.fix("upgrade").contains("removes the header Sudp-Hello"));
    assert_eq!(found.step("resume")["result"], "ok", "{:#}", found.report);
    assert!(found.report["verdict"].as_str().unwrap().starts_with("This path works, but see upgrade."));
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_told_with_its_pin_and_that_helps() {
    let mut shown = Shown::new("127.0.0.1", false);
    let server = Server::with(Grant::open(), shown.tls.take());
    let other = Shown::new("other.example", false);

    let found = examine(secure_plan(server.at, Trust::Roots(vec![other.authority.clone()])));
    found.failed("tls", Exit::Unreachable);
    assert!(found.says("tls").contains("it is signed by itself alone"), "{:#}", found.report);
    for word in ["--tls-ca", "sudp cert", &format!("--tls-pin {}", shown.pin)] {
        assert!(found.fix("tls").contains(word), "{}", found.fix("tls"));
    }
    assert_eq!(found.step("tls")["facts"]["pin"], shown.pin.to_string());

    let found = examine(secure_plan(server.at, Trust::Pins(vec![shown.pin])));
    found.worked();
    let tls = found.says("tls");
    assert!(tls.starts_with("TLS 1.3, self-made certificate of 127.0.0.1, "), "{tls}");
    assert!(tls.ends_with(&format!("key {}", shown.pin)), "{tls}");
}

#[test]
fn a_certificate_for_another_name_and_one_of_an_authority_are_told() {
    let mut shown = Shown::new("other.example", false);
    let server = Server::with(Grant::open(), shown.tls.take());
    let found = examine(secure_plan(server.at, Trust::Roots(vec![shown.authority.clone()])));
    found.failed("tls", Exit::Unreachable);
    assert!(found.says("tls").contains("not for \"127.0.0.1\", but for other.example"), "{}", found.says("tls"));
    assert!(found.fix("tls").contains("--tls-name"));

    let mut shown = Shown::new("127.0.0.1", true);
    let server = Server::with(Grant::open(), shown.tls.take());
    let found = examine(secure_plan(server.at, Trust::Roots(vec![shown.authority.clone()])));
    found.failed("tls", Exit::Unreachable);
    assert!(found.says("tls").contains("marked as that of an authority"), "{}", found.says("tls"));
    assert!(found.fix("tls").contains("`sudp cert`"));
}

#[test]
fn a_port_without_tls_is_told() {
    let server = Server::open();
    let other = Shown::new("other.example", false);

    let found = examine(secure_plan(server.at, Trust::Roots(vec![other.authority.clone()])));

    found.failed("tls", Exit::Unreachable);
    assert!(found.fix("tls").contains("write ws:// instead of wss://"), "{:#}", found.report);
}

#[test]
fn nginx_without_the_lines_for_websocket_is_told_them_and_they_help() {
    let server = Server::open();
    let Some(nginx) = Program::nginx(server.at, "") else { return };
    let found = examine(plan(nginx.at));
    found.failed("upgrade", Exit::Unreachable);
    assert!(found.says("upgrade").contains("from nginx"), "{:#}", found.report);
    let fix = found.fix("upgrade");
    // What is said is done, word for word.
    let lines: Vec<_> =
        fix.lines().filter(|line| line.starts_with("    proxy_") && !line.contains("proxy_pass")).collect();
    assert!(lines.len() >= 4, "{fix}");
    drop(nginx);

    let Some(nginx) = Program::nginx(server.at, &lines.join("\n")) else { return };
    let mut plan = plan(nginx.at);
    plan.echo = Some(echo(|_| true).into());
    let found = examine(plan);
    found.worked();
    assert_eq!(found.step("load")["result"], "ok", "{:#}", found.report);
}

#[test]
fn nginx_whose_server_is_gone_is_told_so() {
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let Some(nginx) = Program::nginx(gone, "") else { return };

    let found = examine(plan(nginx.at));

    found.failed("upgrade", Exit::Unreachable);
    assert!(found.says("upgrade").starts_with("status 502 from nginx"), "{}", found.says("upgrade"));
}

#[test]
fn a_proxy_is_gone_through_and_what_it_minds_is_told() {
    let server = Server::open();
    let ports = server.at.port().to_string();
    let Some(proxy) = Program::tinyproxy(&ports, "BasicAuth me secret") else { return };
    let url = |who: &str| format!("http://{who}{}", proxy.at);

    let found = examine(through(plan(server.at), &url("me:secret@")));
    found.worked();
    assert!(found.says("proxy").contains("lets us through"));
    assert!(!format!("{:?}", found.report).contains("secret"));

    for who in ["", "me:wrong@"] {
        let found = examine(through(plan(server.at), &url(who)));
        found.failed("proxy", Exit::Denied);
        assert!(found.fix("proxy").contains("USER:PASSWORD"), "{:#}", found.report);
    }

    let Some(strict) = Program::tinyproxy("443", "") else { return };
    let found = examine(through(plan(server.at), &format!("http://{}", strict.at)));
    found.failed("proxy", Exit::Denied);
    assert!(found.fix("proxy").contains("port 443"), "{:#}", found.report);
}

#[test]
fn what_is_no_proxy_is_told() {
    let server = Server::open();

    let found = examine(through(plan(server.at), &format!("http://{}", answers(b"HTTP/1.1 405 No\r\n\r\n"))));

    found.failed("proxy", Exit::Unreachable);
    assert!(found.says("proxy").contains("405"), "{}", found.says("proxy"));
}

#[test]
fn an_echo_service_that_is_not_there_is_told() {
    let server = Server::open();
    let mut plan = plan(server.at);
    plan.echo = Some(echo(|_| false).into());

    let found = examine(plan);

    assert_eq!(found.exit, Some(Exit::Failed), "{:#}", found.report);
    assert!(found.says("echo").starts_with("nothing comes back from 127.0.0.1:"));
    assert!(found.fix("echo").contains("`sudp echo`"));
}

#[test]
fn an_echo_service_that_the_server_does_not_allow_is_told() {
    let server = Server::with(Grant::new(Rules::default()), None);
    let mut plan = plan(server.at);
    plan.echo = Some(echo(|_| true).into());

    let found = examine(plan);

    assert_eq!(found.exit, Some(Exit::Denied), "{:#}", found.report);
    assert!(found.fix("echo").contains("--allow 127.0.0.1:"), "{}", found.fix("echo"));
}

#[test]
fn large_datagrams_that_vanish_are_measured_to_the_byte() {
    let server = Server::open();
    let mut plan = plan(server.at);
    plan.echo = Some(echo(|datagram| datagram.len() <= 1_333).into());

    let found = examine(plan);

    found.worked();
    assert_eq!(found.step("size")["result"], "warn");
    assert_eq!(found.step("size")["facts"]["largest"], 1_333);
    assert!(found.fix("size").contains("MTU = 1296"), "{}", found.fix("size"));
}

#[test]
fn loss_behind_the_server_is_measured() {
    let server = Server::open();
    let mut plan = plan(server.at);
    let seen = AtomicUsize::new(0);
    plan.echo = Some(echo(move |_| !seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(4)).into());

    let found = examine(plan);

    found.worked();
    assert_eq!(found.step("echo")["facts"]["returned"], 15, "{:#}", found.report);
    assert!(found.says("echo").contains("25.0 % of 20 do not come back"), "{}", found.says("echo"));
    assert!(found.fix("echo").contains("between the server and the echo service"));
}

#[test]
fn a_session_that_another_server_does_not_know_is_told() {
    let servers = [Server::open(), Server::open()];
    let targets = [servers[0].at, servers[1].at];
    // A balancer that sends those who come back to the other: three of the steps before are ahead of it.
    let at = listen(move |number, client| {
        let target = targets[usize::from(number > 3)];
        pass(&client, &TcpStream::connect(target).unwrap(), None);
    });

    let found = examine(plan(at));

    assert_eq!(found.exit, Some(Exit::Failed), "{:#}", found.report);
    assert_eq!(found.step("resume")["result"], "fail");
    assert!(found.fix("resume").contains("ip_hash"), "{:#}", found.report);
}

#[test]
fn what_ends_a_quiet_link_is_noticed() {
    let server = Server::open();
    let target = server.at;
    let at = listen(move |_, client| {
        pass(&client, &TcpStream::connect(target).unwrap(), Some(Duration::from_millis(600)));
    });
    let mut patient = plan(at);
    patient.idle = Some(Duration::from_secs(4));

    let found = examine(patient);

    found.worked();
    assert_eq!(found.step("idle")["result"], "warn", "{:#}", found.report);
    assert!(found.fix("idle").contains("proxy_read_timeout"));
    let mut plan = plan(server.at);
    plan.idle = Some(Duration::from_secs(2));
    let found: Found = examine(plan);
    assert_eq!(found.step("idle")["result"], "ok", "{:#}", found.report);
}

#[test]
fn the_command_says_it_on_standard_output_and_ends_with_the_code() {
    let at = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sudp"));
        command.arg("doctor").args(arguments).env_clear().env("HOME", "/nonexistent");
        command.output().unwrap()
    };
    let url = format!("ws://{at}");

    let output = run(&[&url]);
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stdout).contains("tcp     FAIL"));
    let expected = format!("sudp: the path to ws://{at}/sudp does not work\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);

    let output = run(&[&url, "-o", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["exit"], output.status.code()), (&69.into(), Some(69)));

    assert_eq!(run(&["ftp://127.0.0.1"]).status.code(), Some(2));
    let server = Server::open();
    let output = run(&[&format!("ws://{}", server.at)]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let found = examine(plan(listen(|_, mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    })));

    found.failed("upgrade", Exit::Unreachable);
    assert_eq!(found.says("upgrade"), "no answer to the request");
}

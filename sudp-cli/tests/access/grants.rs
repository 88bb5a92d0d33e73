//! Grants and rules while they run: what ends, what is taken away, what a name may lead to.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;

use super::rig::{Folder, PATIENCE, PROGRAM, Sudp, answers, echo, is_answered, run};

const MOMENT: Duration = Duration::from_millis(300);
const SECOND: Duration = Duration::from_secs(1);

/// A file with these sections, for everybody and for the token ci.
fn grants(folder: &Folder, sections: &[&str]) -> String {
    let lines: String = sections.iter().map(|section| format!("    - {section}\n")).collect();
    let auth = "  anonymous: true\n  auth: {tokens: tokens.yaml}\n";
    if !folder.path().join("tokens.yaml").exists() {
        token(folder, "ci", &[]);
    }
    folder.write("config.yaml", &format!("server:\n  grants:\n{lines}{auth}"))
}

/// Makes a token, and a file with the header that shows it.
fn token(folder: &Folder, name: &str, arguments: &[&str]) -> String {
    let file = folder.path().join("tokens.yaml").display().to_string();
    let end = run(&[&["token", "new", name, "--file", &file], arguments].concat());
    assert_eq!(end.code, Some(0), "{end:#?}");
    let header = format!("Authorization: Bearer {}", String::from_utf8(end.output).unwrap().trim());
    format!("@{}", folder.write(&format!("{name}.header"), &header))
}

/// A server of this file, and its URL.
fn server(file: &str) -> (Sudp, String) {
    Sudp::server(&["--config", file])
}

/// Has it read its configuration anew, and says when that was done.
fn reload(server: &mut Sudp) -> Instant {
    server.forget();
    server.signal(Signal::HUP);
    server.line("is in force");
    Instant::now()
}

/// Waits until it is so, for a second at most.
fn within_a_second(since: Instant, what: &str, is: impl Fn() -> bool) {
    while !is() {
        assert!(since.elapsed() < SECOND, "{what} after a second");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_section_that_ends_takes_its_sessions_with_it_within_a_second() {
    let (folder, service) = (Folder::new(), echo());
    let end = SystemTime::now() + Duration::from_secs(4);
    let until = humantime::format_rfc3339_millis(end);
    let file = grants(&folder, &[&format!("{{who: '*', rules: 127.0.0.0/8, expires: {until}}}")]);
    let (mut server, url) = server(&file);
    let mut client = Sudp::client(&url, &["-L", &format!("0:{service}")]);
    let here = client.address("taking datagrams at ");
    answers(here, b"before");
    assert!(SystemTime::now() < end, "this machine is too slow for this test");
    server.line("has ended: the grant has ended (this side says)");
    let late = SystemTime::now().duration_since(end).unwrap_or_default();
    assert!(late < SECOND, "{late:?} after its end");
    assert!(!is_answered(here, b"after", MOMENT));
    // Nor is anybody let in anew.
    client.line("404");
}

#[test]
fn a_section_that_is_taken_away_ends_its_sessions_and_one_that_stays_does_not() {
    let (folder, service) = (Folder::new(), echo());
    let file = grants(&folder, &["{who: '*', rules: 127.0.0.0/8}"]);
    let (mut server, url) = server(&file);
    let mut client = Sudp::client(&url, &["-L", &format!("0:{service}")]);
    let here = client.address("taking datagrams at ");
    answers(here, b"before");

    grants(&folder, &["{who: '*', rules: 127.0.0.0/8, flows: 100, datagrams: 1000/s}"]);
    reload(&mut server);
    answers(here, b"still");

    grants(&folder, &["{who: 'token:ci', rules: 127.0.0.0/8}"]);
    let since = reload(&mut server);
    server.line("has ended: not allowed (this side says)");
    assert!(since.elapsed() < SECOND, "{:?}", since.elapsed());
    assert!(!is_answered(here, b"after", MOMENT));
}

#[test]
fn a_changed_rule_reaches_open_flows_and_listeners_within_a_second() {
    let (folder, kept, lost) = (Folder::new(), echo(), echo());
    let file = grants(&folder, &["{who: '*', rules: 127.0.0.0/8, reverse: 127.0.0.1}"]);
    let (mut server, url) = server(&file);
    let tunnels = [format!("0:{kept}?name=kept"), format!("0:{lost}?name=lost"), format!("0:{kept}?name=back")];
    let mut client = Sudp::client(&url, &["-L", &tunnels[0], "-L", &tunnels[1], "-R", &tunnels[2]]);
    let [kept_at, lost_at] = ["kept", "lost"].map(|name| client.address(&format!("{name}: taking datagrams at ")));
    let listener = client.address("back: the server takes datagrams at ");
    // One flow stays open all the while.
    let open = UdpSocket::bind("127.0.0.1:0").unwrap();
    open.connect(lost_at).unwrap();
    open.set_read_timeout(Some(PATIENCE)).unwrap();
    open.send(b"before").unwrap();
    assert_eq!(open.recv(&mut [0; 16]).unwrap(), 6);
    answers(kept_at, b"kept");
    answers(listener, b"back");

    grants(&folder, &[&format!("{{who: '*', rules: ['deny {lost}', 127.0.0.0/8], reverse: '127.0.0.1:1'}}")]);
    let since = reload(&mut server);
    within_a_second(since, "the server listens still", || UdpSocket::bind(listener).is_ok());
    open.set_read_timeout(Some(MOMENT)).unwrap();
    open.send(b"after").unwrap();
    assert!(open.recv(&mut [0; 16]).is_err(), "an open flow goes on where it may not");
    answers(kept_at, b"kept");
    client.line("not allowed; it is asked again");
}

#[test]
fn rules_for_everybody_come_before_those_of_a_section() {
    let (folder, one, two) = (Folder::new(), echo(), echo());
    let text = format!("server:\n  rules: ['deny {one}']\n  grants:\n    - {{who: '*', rules: 127.0.0.0/8}}\n");
    let file = folder.write("config.yaml", &text);
    let (mut server, url) = server(&file);
    server.line(&format!("rule: deny {one}"));
    server.line("rule for *: allow 127.0.0.0/8");
    let mut client = Sudp::client(&url, &["-L", &format!("0:{one}?name=one"), "-L", &format!("0:{two}?name=two")]);
    assert!(!is_answered(client.address("one: taking datagrams at "), b"one", MOMENT));
    answers(client.address("two: taking datagrams at "), b"two");
    // A section that does not say where lets nobody listen.
    let mut client = Sudp::client(&url, &["-R", &format!("0:{two}")]);
    client.line("not allowed; it is asked again");
}

#[test]
fn of_whom_no_section_speaks_is_not_let_in() {
    let folder = Folder::new();
    let file = grants(&folder, &["{who: 'token:ci', rules: 127.0.0.0/8}"]);
    let (mut server, url) = server(&file);
    let mut client = Sudp::start(&["client", &url, "-L", "0:127.0.0.1:1"]);
    server.line("is granted nothing");
    drop(client.input());
    assert_ne!(client.end().code, Some(0));
}

#[test]
fn a_token_gets_what_its_section_says_and_what_it_restricts_itself_to() {
    let (folder, one, two) = (Folder::new(), echo(), echo());
    let header = token(&folder, "ci", &["--allow", &one.to_string()]);
    let file = grants(&folder, &["{who: 'token:ci', rules: 127.0.0.0/8}", "{who: '*', rules: '9.9.9.9'}"]);
    let (mut server, url) = server(&file);
    let tunnels = [format!("0:{one}?name=one"), format!("0:{two}?name=two")];
    let tunnels = ["-L", &tunnels[0], "-L", &tunnels[1]];
    let reached = |client: &mut Sudp| {
        ["one", "two"].map(|name| {
            let at = client.address(&format!("{name}: taking datagrams at "));
            is_answered(at, b"asks", if name == "one" { PATIENCE / 10 } else { MOMENT })
        })
    };
    let mut ci = Sudp::client(&url, &[&tunnels[..], &["--header", &header]].concat());
    assert_eq!(reached(&mut ci), [true, false]);
    let mut anybody = Sudp::client(&url, &tunnels);
    assert_eq!(reached(&mut anybody), [false, false]);
    for (to, code) in [(one, 0), (two, 1)] {
        run(&["acl", "explain", "token:ci", &to.to_string(), "--config", &file]).with(code, "");
    }
    run(&["acl", "explain", "token:cd", "127.0.0.1:1", "--config", &file]).with(1, "there is no token cd in ");
    // A section for whom nobody can be is told of.
    let text = fs::read_to_string(&file).unwrap().replace("auth: {tokens: tokens.yaml}", "");
    let other = folder.write("other.yaml", &text);
    run(&["config", "check", &other])
        .with(78, "nobody can be `token:ci` here, for nothing says so; set `server.auth.tokens`");
    server.forget();
}

#[test]
fn a_section_over_its_end_is_a_mistake_to_check_and_a_warning_to_run() {
    let folder = Folder::new();
    let file = grants(&folder, &["{who: group:a, expires: 2020-01-01}", "{who: '*', rules: 127.0.0.0/8}"]);
    let says = "config.yaml:3:31: server.grants[0].expires: `2020-01-01` is over, so who is meant may do nothing";
    run(&["config", "check", &file]).with(78, says);
    let (mut server, _) = server(&file);
    server.line(says);
}

#[test]
fn t07_a_server_sends_nothing_to_its_own_port() {
    let (folder, service) = (Folder::new(), echo());
    let file = grants(&folder, &["{who: '*', rules: [127.0.0.0/8, '*']}"]);
    let (server, url) = server(&file);
    let own: SocketAddr = url.trim_start_matches("ws://").trim_end_matches("/sudp").parse().unwrap();
    // The server has the port of TCP, and this has that of UDP.
    let loops = UdpSocket::bind(own).unwrap();
    loops.set_read_timeout(Some(MOMENT)).unwrap();
    let tunnels = [format!("0:{own}?name=loop"), format!("0:localhost:{}?name=named", own.port())];
    let mut client =
        Sudp::client(&url, &["-L", &tunnels[0], "-L", &tunnels[1], "-L", &format!("0:{service}?name=far")]);
    answers(client.address("far: taking datagrams at "), b"far");
    for name in ["loop", "named"] {
        let at = client.address(&format!("{name}: taking datagrams at "));
        assert!(!is_answered(at, b"again and again", MOMENT), "{name}");
        assert!(loops.recv(&mut [0; 64]).is_err(), "{name}: the server sent to itself");
    }
    drop(server);
}

/// A server that finds names in this file and nowhere else; none where that cannot be arranged.
fn server_with_names(hosts: &str, arguments: &[&str]) -> Option<(Sudp, String)> {
    let folder = Folder::new();
    let only_files = folder.write("nsswitch.conf", "hosts: files\n");
    let mounts = format!("mount --bind {hosts} /etc/hosts && mount --bind {only_files} /etc/nsswitch.conf");
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, PROGRAM]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/nonexistent");
        command
    };
    if !unshare(&mounts).output().is_ok_and(|done| done.status.success()) {
        eprintln!("SKIPPED: no namespace of our own can be had here, in which /etc/hosts is another");
        return None;
    }
    let mut command = unshare(&format!("{mounts} && exec \"$0\" \"$@\""));
    command.args(["server", "--port", "0"]).args(arguments);
    let mut server = Sudp::of(command);
    let url = server.word("listening on ");
    Some((server, url))
}

#[test]
fn t25_a_name_is_judged_by_what_it_means_each_time_it_is_looked_up() {
    let (folder, service) = (Folder::new(), echo());
    let names = |lines: &[&str]| {
        let lines: String = lines.iter().map(|address| format!("{address} moves.example\n")).collect();
        folder.write("hosts", &lines)
    };
    let hosts = names(&["127.0.0.1"]);
    let inside = UdpSocket::bind(SocketAddr::new([127, 0, 0, 2].into(), service.port())).unwrap();
    inside.set_read_timeout(Some(MOMENT)).unwrap();
    // The rule by name opens nothing that is closed, and 127.0.0.2 is.
    let rules = ["--allow", "127.0.0.1", "--allow", "*.example", "--allow", "moves.example"];
    let Some((_server, url)) = server_with_names(&hosts, &rules) else { return };
    let mut client = Sudp::client(&url, &["-L", &format!("0:moves.example:{}", service.port())]);
    let here = client.address("taking datagrams at ");
    answers(here, b"outside");

    for (lines, answered) in [(&["127.0.0.2"][..], false), (&["127.0.0.2", "127.0.0.1"], true), (&["127.0.0.2"], false)]
    {
        names(lines);
        // What a name meant is remembered for five seconds, and then forgotten.
        std::thread::sleep(Duration::from_millis(5_500));
        let waits = if answered { PATIENCE } else { MOMENT };
        assert_eq!(is_answered(here, b"now", waits), answered, "{lines:?}");
        assert!(inside.recv(&mut [0; 64]).is_err(), "{lines:?}: it was sent to 127.0.0.2");
    }
    assert!(fs::read_to_string(&hosts).unwrap().contains("127.0.0.2"));
}

#[test]
fn the_rule_that_decides_is_explained_from_the_configuration_alone() {
    let folder = Folder::new();
    let file = grants(&folder, &["{who: alice, rules: ['deny 10.0.0.1', 10.0.0.0/8], reverse: '0.0.0.0:53'}"]);
    let explain = |arguments: &[&str]| {
        let end = run(&[&["acl", "explain", "--config", &file], arguments].concat());
        (end.code, String::from_utf8(end.output.clone()).unwrap(), end.errors)
    };
    let (code, output, errors) = explain(&["alice", "10.0.0.2:53"]);
    assert_eq!((code, &*errors), (Some(0), ""), "{output}");
    let line = format!("10.0.0.2: allowed by `allow 10.0.0.0/8`, server.grants[0].rules[1] ({file}:3:45)\n");
    assert!(output.ends_with(&line), "{output}");
    let (code, output, errors) = explain(&["alice", "10.0.0.1:53"]);
    assert_eq!((code, &*errors), (Some(1), "sudp: alice may not send to 10.0.0.1:53"), "{output}");
    assert!(output.contains(&format!("`deny 10.0.0.1`, server.grants[0].rules[0] ({file}:3:28)")), "{output}");
    assert_eq!(explain(&["bob", "10.0.0.2:53"]).0, Some(1));
    assert_eq!(explain(&["alice", "0.0.0.0:53", "--bind"]).0, Some(0));
    assert_eq!(explain(&["alice", "0.0.0.0:54", "--bind"]).0, Some(1));
    assert_eq!(explain(&["alice", "10.0.0.2:53", "--scope", "*:54"]).0, Some(1));
    assert_eq!(explain(&["alice", "nowhere"]).0, Some(2));
    assert_eq!(explain(&["group:ops", "10.0.0.2:53"]).0, Some(2));
    let (code, output, _) = explain(&["alice", "localhost:53", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!((code, &json["allowed"]), (Some(1), &false.into()));
    assert_eq!(json["addresses"][0]["forms"][0]["allowed"], false);
    grants(&folder, &["{who: alice, rules: 10.0.0.1/8}"]);
    let (code, _, errors) = explain(&["alice", "10.0.0.2:53"]);
    assert_eq!(code, Some(78));
    assert!(errors.contains("config.yaml:3:27: server.grants[0].rules: \"10.0.0.1/8\""), "{errors}");
}

//! A configuration that changes while they run.

use std::time::Duration;

use rustix::process::Signal;

use super::rig::{Folder, Sudp, answers, echo, is_answered};

#[test]
fn new_rules_end_what_is_not_allowed_any_more_and_leave_the_rest() {
    let (folder, kept, lost) = (Folder::new(), echo(), echo());
    let rules = |rules: &str| folder.write("config.yaml", &format!("server:\n  rules: [{rules}]\n"));
    let file = rules("allow 127.0.0.0/8");
    let (mut server, url) = Sudp::server(&["--config", &file]);
    let mut client = Sudp::client(&url, &["-L", &format!("0:{kept}?name=kept"), "-L", &format!("0:{lost}?name=lost")]);
    let kept_at = client.address("kept: taking datagrams at ");
    let lost_at = client.address("lost: taking datagrams at ");
    answers(kept_at, b"kept");
    answers(lost_at, b"lost");

    rules(&format!("'deny {lost}', allow 127.0.0.0/8"));
    server.signal(Signal::HUP);
    server.line("the configuration was read anew, and is in force");
    answers(kept_at, b"kept");
    assert!(!is_answered(lost_at, b"lost", Duration::from_millis(300)));

    server.forget();
    rules("allow 127.0.0.0/8:oops");
    server.signal(Signal::HUP);
    let line = server.line("is not used; what was in force stays");
    assert!(line.contains("config.yaml:2"), "{line}");
    answers(kept_at, b"kept");
}

#[test]
fn what_cannot_change_while_it_runs_is_refused_by_name() {
    let folder = Folder::new();
    let file = folder.write("config.yaml", "server:\n  path: /one\n  threads: 1\n");
    let (mut server, _) = Sudp::server(&["--config", &file]);

    folder.write("config.yaml", "server:\n  path: /two\n  threads: 2\n");
    server.signal(Signal::HUP);
    server
        .line("server.path, server.threads cannot change while it runs, so nothing was changed; `sudp server restart`");
}

#[test]
fn tunnels_come_and_go_with_the_configuration() {
    let (folder, one, two) = (Folder::new(), echo(), echo());
    let (_server, url) = Sudp::server(&["--allow", "127.0.0.0/8"]);
    let write = |tunnels: &[String]| {
        let list: String = tunnels.iter().map(|spec| format!("    - forward: '{spec}'\n")).collect();
        folder.write("config.yaml", &format!("client:\n  tunnels:\n{list}"))
    };
    let file = write(&[format!("0:{one}?name=one")]);
    let mut client = Sudp::client(&url, &["--config", &file]);
    let first = client.address("one: taking datagrams at ");
    answers(first, b"one");

    // The same port, with other options.
    write(&[format!("{}:{one}?name=again&class=realtime", first.port()), format!("0:{two}?name=two")]);
    client.signal(Signal::HUP);
    client.line("is in force");
    assert_eq!(client.address("again: taking datagrams at "), first);
    answers(first, b"again");
    answers(client.address("two: taking datagrams at "), b"two");

    // One that cannot be opened leaves all as it was.
    client.forget();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    write(&[format!("{}:{two}?name=three", taken.local_addr().unwrap().port())]);
    client.signal(Signal::HUP);
    client.line("what was in force stays: the client cannot listen at UDP");
    answers(first, b"as it was");
}

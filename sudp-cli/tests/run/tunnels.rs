//! Tunnels both ways, and several clients of one server.

use std::net::TcpListener;
use std::time::Duration;

use super::rig::{Sudp, answers, echo, is_answered};

#[test]
fn datagrams_go_both_ways_through_tunnels_of_either_kind() {
    let service = echo();
    let (_server, url) = Sudp::server(&["--allow", "127.0.0.0/8"]);
    let (there, here) = (format!("0:{service}"), format!("0:{service}?class=realtime&name=back"));
    let mut client = Sudp::client(&url, &["-L", &there, "-R", &here]);

    answers(client.address("taking datagrams at "), b"there");
    answers(client.address("back: the server takes datagrams at "), b"here");
    answers(client.address("taking datagrams at "), &[7; 60_000]);
    answers(client.address("taking datagrams at "), b"");
}

#[test]
fn many_clients_are_served_at_once_on_as_many_threads_as_are_asked_for() {
    let service = echo();
    let (_server, url) = Sudp::server(&["--allow", "127.0.0.0/8", "--threads", "3"]);
    let tunnel = format!("0:{service}");
    let mut clients: Vec<_> = (0..4).map(|_| Sudp::client(&url, &["-L", &tunnel, "--links", "2"])).collect();

    for round in 0..20_u32 {
        for client in &mut clients {
            answers(client.address("taking datagrams at "), &round.to_be_bytes());
        }
    }
}

#[test]
fn what_no_rule_allows_is_not_reached_and_not_listened_at() {
    let service = echo();
    let (mut server, url) = Sudp::server(&["--allow", "127.0.0.1:1", "--deny", "127.0.0.2"]);
    server.line("rule: deny 127.0.0.2");
    server.line("rule: allow 127.0.0.1:1");
    let mut client = Sudp::client(&url, &["-L", &format!("0:{service}"), "-R", "127.0.0.1:0:127.0.0.1:5006"]);

    client.line("the server does not listen at 127.0.0.1:0: not allowed; it is asked again");
    assert!(!is_answered(client.address("taking datagrams at "), b"no", Duration::from_millis(300)));
}

#[test]
fn a_server_without_rules_says_how_to_make_some() {
    let (mut server, _) = Sudp::server(&[]);
    server.line("no rule allows anything");
}

#[test]
fn the_second_server_takes_over_where_the_first_is_not_there() {
    let service = echo();
    let (_server, url) = Sudp::server(&["--allow", "127.0.0.0/8"]);
    let mut client = Sudp::start(&["client", "ws://127.0.0.1:1", &url, "-L", &format!("0:{service}")]);

    client.line("ws://127.0.0.1:1/sudp was not reached: 127.0.0.1:1: connection refused");
    client.line(&format!("connected to {url}"));
    answers(client.address("taking datagrams at "), b"hello");
}

#[test]
fn a_session_outlives_its_server_being_started_again() {
    let service = echo();
    // It is the same server only at the same address.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let start = || Sudp::start(&["server", "--port", &port, "--allow", "127.0.0.0/8"]);
    let mut server = start();
    let url = server.word("listening on ");
    let mut client = Sudp::client(&url, &["-L", &format!("0:{service}")]);
    let tunnel = client.address("taking datagrams at ");
    answers(tunnel, b"before");
    drop(server);

    client.line("no link is left: dialling again");
    client.forget();
    let _again = start();
    client.line("the server has lost the session");
    client.line("connected to");
    answers(tunnel, b"after");
}

//! How they end: with which code, and with which words.

use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::rig::{Folder, Sudp, answers, echo, run, speaks_to};

#[test]
fn a_port_that_is_taken_is_named_with_a_way_out() {
    let (udp, tcp) = (UdpSocket::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (udp, tcp) = (udp.local_addr().map(|at| (udp, at)).unwrap(), tcp.local_addr().map(|at| (tcp, at)).unwrap());
    let (taken, occupied) = (udp.1.port().to_string(), tcp.1.port().to_string());

    let tunnel = format!("{taken}:127.0.0.1:53");
    let end = run(&["client", "ws://127.0.0.1:1", "-L", &tunnel]);
    end.with(73, &format!("the client cannot listen at UDP 127.0.0.1:{taken}: "));
    end.with(73, "another program has that port: end it, or take another port, as with `0:127.0.0.1:53`");
    let end = run(&["client", "ws://127.0.0.1:1", "-D", &occupied]);
    end.with(73, &format!("the client cannot listen at TCP 127.0.0.1:{occupied}: "));
    run(&["server", "--port", &occupied]).with(73, "choose another by --listen or --port");
    run(&["client", "ws://127.0.0.1:1", "-L", "192.0.2.1:0:127.0.0.1:53"]).with(73, "does not have that address");
}

#[test]
fn what_is_typed_wrongly_is_refused_before_anything_begins() {
    for (arguments, words) in [
        (&["client", "example.com"][..], "write `wss://example.com`"),
        (&["client", "wss://me:secret@example.com"], "--header @FILE"),
        (&["client", "wss://example.com", "-L", "5005"], "write `5005:HOST:PORT`"),
        (&["client", "wss://example.com", "-W", "h:1", "-D", "1080"], "cannot be used with"),
        (&["server", "--listen", "8080"], "--port 8080"),
        (&["server", "--allow", "10.0.0.1/8"], "10.0.0.0/8"),
    ] {
        let end = run(arguments);
        assert_eq!(end.code, Some(2), "{end:#?}");
        assert!(end.errors.contains(words) && !end.errors.contains("secret"), "{end:#?}");
    }
}

#[test]
fn a_configuration_that_cannot_be_used_is_told_and_nothing_begins() {
    let folder = Folder::new();
    let file = folder.write("config.yaml", "server:\n  lisen: 127.0.0.1:80\nclient:\n  links: nine\n");
    let end = run(&["server", "--config", &file]);
    assert_eq!(end.code, Some(78), "{end:#?}");
    assert!(end.errors.contains("did you mean `server.listen`"), "{end:#?}");
    run(&["server", "--listen", "0.0.0.0:0"]).with(78, "--anonymous");
    run(&["client"]).with(78, "server");
    let end = run(&["client", "ws://127.0.0.1:1", "-L", "0:127.0.0.1:53?copies=2"]);
    assert_eq!(end.code, Some(78), "{end:#?}");
}

#[test]
fn who_reaches_no_server_gives_up_when_told_to() {
    let begun = Instant::now();
    let end = run(&["client", "ws://127.0.0.1:1", "--max-retries", "1", "-D", "0"]);
    end.with(69, "no server was reached in 2 dials in a row; the last: 127.0.0.1:1: connection refused");
    assert!(end.errors.contains("dialling again"), "{end:#?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn who_is_refused_for_good_does_not_ask_again() {
    let (_server, url) = Sudp::server(&["--path", "/elsewhere"]);
    let url = url.replace("/elsewhere", "/sudp");
    run(&["client", &url, "-D", "0"]).with(77, "HTTP status 404: nothing of that path is there");
}

#[test]
fn a_term_lets_what_is_under_way_be_finished() {
    let service = echo();
    let (server, url) = Sudp::server(&["--allow", "127.0.0.0/8"]);
    let mut client = Sudp::client(&url, &["-L", &format!("0:{service}")]);
    let tunnel = client.address("taking datagrams at ");
    answers(tunnel, b"before");
    let socket = speaks_to(tunnel);
    for number in 0..200_u32 {
        socket.send(&number.to_be_bytes()).unwrap();
    }

    client.signal(Signal::TERM);
    let end = client.end();
    end.with(0, "stopped");
    server.signal(Signal::INT);
    let end = server.end();
    end.with(0, "stopped");
    assert!(end.errors.contains("has ended: its work is done (the other side says)"), "{end:#?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let service = echo();
    let (mut server, url) = Sudp::server(&["--allow", "127.0.0.0/8"]);
    let mut client = Sudp::client(&url, &["-L", &format!("0:{service}")]);
    answers(client.address("taking datagrams at "), b"hello");
    // A client that does not answer holds up a stop in peace.
    client.signal(Signal::STOP);

    server.signal(Signal::INT);
    server.line("stopping; 1 sessions may finish");
    let begun = Instant::now();
    server.signal(Signal::INT);
    server.end().with(130, "sudp: ended at once, by a second signal");
    assert!(begun.elapsed() < Duration::from_secs(5));
    client.signal(Signal::CONT);
    client.line("no link is left: dialling again");
    client.signal(Signal::TERM);
    client.end().with(0, "stopped");
}

#[test]
fn a_signal_that_comes_early_is_obeyed_all_the_same() {
    for _ in 0..5 {
        let (server, _) = Sudp::server(&[]);
        server.signal(Signal::HUP);
        server.signal(Signal::TERM);
        server.end().with(0, "stopped");
    }
}

#[test]
fn figures_are_logged_when_they_are_asked_for() {
    let service = echo();
    let (mut server, url) = Sudp::server(&["--allow", "127.0.0.0/8"]);
    let mut client = Sudp::client(&url, &["-L", &format!("0:{service}")]);
    answers(client.address("taking datagrams at "), b"hello");

    server.signal(Signal::USR2);
    let line = server.line("sudp::figures");
    assert!(line.contains("sessions=1") && line.contains("flows=1"), "{line}");
}

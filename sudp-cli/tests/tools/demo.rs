//! `sudp demo`.

use std::net::{TcpListener, UdpSocket};

use crate::{Running, echoed, failure, run, speaks_to};

#[test]
fn datagrams_survive_cuts_of_every_kind_and_the_exit_code_says_so() {
    let output = run(&["demo", "--for", "3s", "--port", "0"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(failure(&output), (Some(0), String::new()), "{said}");
    for words in [
        "is reset\n",
        "falls silent",
        "every new one refused",
        "0 lost, 0 doubled.",
        "3 cuts, ",
        "from one port, ",
        "link up",
    ] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    assert!(!said.contains('\x1b'), "nothing is painted where there is no terminal: {said}");
    let answered = said.split_once(" answered, 0 lost").unwrap().0.rsplit(' ').next().unwrap();
    assert!(said.contains(&format!("\n{answered} datagrams sent in ")), "{said}");
    assert!(answered.parse::<u32>().unwrap() > 400, "{said}");
}

#[test]
fn others_are_answered_while_it_shows_and_when_it_stays() {
    let mut demo = Running::start(&["demo", "--for", "500ms", "--stay", "--port", "0", "--no-cuts"]);
    let ports = demo.line("client UDP ");
    let port = ports.split("client UDP ").nth(1).unwrap().split(',').next().unwrap();
    let application = speaks_to(&format!("127.0.0.1:{port}"));
    assert_eq!(echoed(&application, b"early"), b"early");
    demo.line("0 lost, 0 doubled");
    demo.line(&format!("nc -u 127.0.0.1 {port}"));
    demo.line("Ctrl-C ends the demo");
    assert_eq!(echoed(&application, b"hello\x1b[2J\n"), b"hello\x1b[2J\n");
    assert_eq!(demo.line("echoed"), "echoed 10 bytes: \"hello\\x1b[2J\"");
    demo.interrupt();
    let (code, _, errors) = demo.end();
    assert_eq!((code, errors.as_str()), (Some(0), ""));
}

#[test]
fn an_interrupt_ends_it_with_the_same_judgement() {
    let mut demo = Running::start(&["demo", "--port", "0", "--no-cuts", "--rate", "1000"]);
    demo.line("link up");
    demo.interrupt();
    let (code, rest, errors) = demo.end();
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{rest}");
    assert!(rest.contains("0 lost, 0 doubled."), "{rest}");
    assert!(!rest.contains("nc -u"), "it does not stay: {rest}");
}

#[test]
fn a_port_in_use_is_named_with_the_way_out() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let (udp, tcp) = (udp.local_addr().map(|at| (at, udp)).unwrap(), tcp.local_addr().map(|at| (at, tcp)).unwrap());
    let cases = [
        ("--client-port", "UDP", udp.0, "the client"),
        ("--echo-port", "UDP", udp.0, "the echo service"),
        ("--server-port", "TCP", tcp.0, "the server"),
    ];
    for (flag, kind, at, who) in cases {
        let (code, error) = failure(&run(&["demo", "--for", "1s", "--port", "0", flag, &at.port().to_string()]));
        assert_eq!(code, Some(73), "{error}");
        let wanted = format!(
            "sudp: {who} cannot listen at {kind} {at}: Address already in use (os error 98); another program has that \
             port: end it, or choose another with {flag}, or any free ones with --port 0\n"
        );
        assert_eq!(error, wanted);
    }
}

//! `sudp echo`.

use std::net::UdpSocket;

use crate::{Running, echoed, failure, run, speaks_to};

#[test]
fn datagrams_of_every_size_come_back_and_are_counted() {
    let mut echo = Running::start(&["echo", "-v", "--listen", "127.0.0.1:0"]);
    let at = echo.line("echoes at").rsplit(' ').next().unwrap().to_owned();
    let application = speaks_to(&at);
    for payload in [&b"hello"[..], b"", &[7; 1_200], &[9; 65_507]] {
        assert_eq!(echoed(&application, payload), payload);
        echo.line(&format!("{} byte", payload.len()));
    }
    echo.interrupt();
    let (code, rest, errors) = echo.end();
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_eq!(rest, format!("{at}: 4 datagrams, 66712 bytes, 1 sender"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_service_at_every_address_answers_from_the_one_that_was_asked() {
    for wildcard in ["0.0.0.0:0", "[::]:0"] {
        let mut echo = Running::start(&["echo", "--listen", wildcard]);
        let port = echo.line("echoes at").rsplit(':').next().unwrap().to_owned();
        // Connected sockets hear nothing from any other address.
        for address in ["127.0.0.1", "127.0.0.2", "127.255.0.7"] {
            assert_eq!(echoed(&speaks_to(&format!("{address}:{port}")), b"hello"), b"hello", "{wildcard}");
        }
    }
}

#[test]
fn one_echoes_at_several_addresses_and_counts_for_each() {
    let mut echo = Running::start(&["echo", "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    let mut at = || echo.line("echoes at").rsplit(' ').next().unwrap().to_owned();
    let (first, second) = (at(), at());
    assert_ne!(first, second);
    assert_eq!(echoed(&speaks_to(&first), b"1"), b"1");
    assert_eq!(echoed(&speaks_to(&second), b"22"), b"22");
    echo.interrupt();
    let (code, rest, _) = echo.end();
    assert_eq!(code, Some(0));
    for line in [format!("{first}: 1 datagram, 1 byte, 1 sender"), format!("{second}: 1 datagram, 2 bytes, 1 sender")] {
        assert!(rest.contains(&line), "{rest}");
    }
}

#[test]
fn a_port_in_use_is_named_with_the_way_out() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let (code, error) = failure(&run(&["echo", "--listen", &at]));
    assert_eq!(code, Some(73));
    assert!(
        error.starts_with(&format!("sudp: the echo service cannot listen at UDP {at}: Address already in use")),
        "{error}"
    );
    assert!(error.contains("--listen 127.0.0.1:0"), "{error}");
}

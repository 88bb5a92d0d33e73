//! Instances that carry something.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::Duration;

use rustix::process::Signal;

use crate::house::{House, after, until};

#[test]
fn a_client_that_is_told_to_end_under_load_loses_nothing_that_it_has_taken() {
    let house = House::new();
    let destination = UdpSocket::bind("127.0.0.1:0").expect("a port");
    destination.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    let to = destination.local_addr().expect("an address");
    let out = house.well("server start --port 0 --allow 127.0.0.0/8");
    let url = after(&out, "listening");
    let out = house.well(&format!("client start {url} -L 0:{to}"));
    let at = after(&out, ", at").to_owned();
    until("it is connected", || house.status("client")["health"] == "ok");

    // The server is held, so that all of it is under way when the client is told to end.
    let source = UdpSocket::bind("127.0.0.1:0").expect("a port");
    source.send_to(&0_u32.to_be_bytes(), &at).expect("it is sent");
    let mut buffer = [0; 16];
    destination.recv(&mut buffer).expect("the way is open");
    house.signal("server-default", Signal::STOP);
    for number in 1..=200_u32 {
        source.send_to(&number.to_be_bytes(), &at).expect("it is sent");
    }
    until("all is taken", || house.status("client")["traffic"]["out"] == 201);
    house.signal("client-default", Signal::TERM);
    until("it is told to end", || house.status("client")["health"] == "draining");
    house.signal("server-default", Signal::CONT);

    let mut arrived = BTreeSet::new();
    while arrived.len() < 200 {
        let count = destination.recv(&mut buffer).expect("everything arrives");
        let number = u32::from_be_bytes(buffer[..count].try_into().expect("a number"));
        assert!(arrived.insert(number), "{number} came twice");
    }
    assert_eq!(arrived, (1..=200).collect());
    until("it has ended", || house.files("run") == ["server-default.pid", "server-default.sock"]);
    house.well("server stop");
    house.is_empty();
}

//! The SOCKS5 proxy, asked by a client of RFC 1928.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use super::rig::{PATIENCE, Sudp, echo, speaks_to};

/// An association with a proxy.
struct Association {
    control: TcpStream,
    relay: UdpSocket,
}

impl Association {
    fn ask(proxy: SocketAddr) -> Self {
        let mut control = greeted(proxy);
        control.write_all(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        let reply: [u8; 10] = read(&mut control);
        assert_eq!(reply[..4], [5, 0, 0, 1]);
        let port = u16::from_be_bytes([reply[8], reply[9]]);
        let relay = speaks_to(([reply[4], reply[5], reply[6], reply[7]], port).into());
        Self { control, relay }
    }

    fn send(&self, to: &[u8], port: u16, payload: &[u8], fragment: u8) {
        let header = [&[0, 0, fragment], to, &port.to_be_bytes()].concat();
        self.relay.send(&[&header, payload].concat()).unwrap();
    }

    fn receive(&self) -> Vec<u8> {
        let mut room = [0; 65_536];
        let length = self.relay.recv(&mut room).unwrap();
        room[..length].to_vec()
    }
}

fn greeted(proxy: SocketAddr) -> TcpStream {
    let mut control = TcpStream::connect(proxy).unwrap();
    control.set_read_timeout(Some(PATIENCE)).unwrap();
    control.write_all(&[5, 2, 0, 2]).unwrap();
    assert_eq!(read::<2>(&mut control), [5, 0]);
    control
}

fn read<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

const LOOPBACK: &[u8] = &[1, 127, 0, 0, 1];

#[test]
fn one_association_reaches_many_destinations_by_address_and_by_name() {
    let (one, two) = (echo(), echo());
    let (_server, url) = Sudp::server(&["--allow", "127.0.0.0/8"]);
    let mut client = Sudp::client(&url, &["-D", "0"]);
    let association = Association::ask(client.address("a SOCKS5 proxy for UDP is at "));

    for service in [one, two, one] {
        association.send(LOOPBACK, service.port(), b"hello", 0);
        let wrapped = [&[0, 0, 0], LOOPBACK, &service.port().to_be_bytes(), b"hello"].concat();
        assert_eq!(association.receive(), wrapped, "the answer says where it comes from");
    }
    association.send(b"\x03\x09localhost", one.port(), b"by name", 0);
    assert!(association.receive().ends_with(b"by name"));
}

#[test]
fn fragments_strangers_and_what_is_no_datagram_are_not_sent_on() {
    let service = echo();
    let (_server, url) = Sudp::server(&["--allow", "127.0.0.0/8"]);
    let mut client = Sudp::client(&url, &["-D", "0"]);
    let association = Association::ask(client.address("a SOCKS5 proxy for UDP is at "));

    association.send(LOOPBACK, service.port(), b"first", 0);
    assert!(association.receive().ends_with(b"first"));
    association.send(LOOPBACK, service.port(), b"a fragment", 1);
    association.relay.send(b"\0\0").unwrap();
    let stranger = speaks_to(association.relay.peer_addr().unwrap());
    let theirs = [&[0, 0, 0], LOOPBACK, &service.port().to_be_bytes(), b"theirs"].concat();
    stranger.send(&theirs).unwrap();
    association.send(LOOPBACK, service.port(), b"last", 0);
    assert!(association.receive().ends_with(b"last"), "nothing came in between");
}

#[test]
fn what_is_not_offered_is_refused_as_the_protocol_has_it() {
    let (_server, url) = Sudp::server(&[]);
    let mut client = Sudp::client(&url, &["-D", "0"]);
    let proxy = client.address("a SOCKS5 proxy for UDP is at ");

    let mut connect = greeted(proxy);
    connect.write_all(&[5, 1, 0, 1, 127, 0, 0, 1, 0, 80]).unwrap();
    assert_eq!(read::<10>(&mut connect)[..2], [5, 7], "a connection");
    let mut odd = greeted(proxy);
    odd.write_all(&[5, 3, 0, 9, 0, 0]).unwrap();
    assert_eq!(read::<10>(&mut odd)[..2], [5, 8], "an address of another kind");
    let mut password = TcpStream::connect(proxy).unwrap();
    password.write_all(&[5, 1, 2]).unwrap();
    assert_eq!(read::<2>(&mut password), [5, 0xff], "a password");
    let mut older = TcpStream::connect(proxy).unwrap();
    older.write_all(&[4, 1, 0, 80, 127, 0, 0, 1, 0]).unwrap();
    older.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(older.read(&mut [0; 8]).unwrap_or(0), 0, "an older version");
}

#[test]
fn an_association_ends_with_the_connection_that_asked_for_it() {
    let service = echo();
    let (mut server, url) = Sudp::server(&["--allow", "127.0.0.0/8", "-v"]);
    let mut client = Sudp::client(&url, &["-D", "0"]);
    let association = Association::ask(client.address("a SOCKS5 proxy for UDP is at "));
    association.send(LOOPBACK, service.port(), b"hello", 0);
    association.receive();

    drop(association.control);
    server.line("has ended: its work is done");
    association.relay.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // The port is closed by now, which the system may say.
    let _ = association.relay.send(&[&[0, 0, 0], LOOPBACK, &service.port().to_be_bytes(), b"late"].concat());
    assert!(association.relay.recv(&mut [0; 64]).is_err());
}

//! The example on a bare `mio` loop, on real sockets: what goes in comes back, over a cut as well.

#[path = "../examples/mio_tunnel/main.rs"]
#[expect(dead_code, reason = "its main is not called here")]
mod mio_tunnel;

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
/// How long to wait for word that a port refuses, and before it is asked again.
const PROBE: Duration = Duration::from_millis(20);
const SIZES: [usize; 4] = [0, 1, 1_200, 65_507];

#[test]
fn datagrams_of_every_size_and_source_come_back_and_a_cut_loses_none() {
    let echo = echo().unwrap();
    let relay = Relay::before(serve().unwrap()).unwrap();
    let entrance = tunnel(relay.address, echo).unwrap();
    let sources: Vec<UdpSocket> = (0..3).map(|_| source(entrance).unwrap()).collect();

    for round in 0..4 {
        for size in SIZES {
            for (index, source) in (0..).zip(&sources) {
                source.send(&payload(size, round, index)).unwrap();
            }
            if round > 0 && size == 1 {
                relay.cut();
            }
            for (index, source) in (0..).zip(&sources) {
                let got = receive(source).expect("an answer");
                assert!(got == payload(size, round, index), "{size} bytes of source {index} in round {round}");
            }
        }
    }
    assert!(relay.streams() >= 4, "every cut was one, and was got over");
    for source in &sources {
        source.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(receive(source).is_none(), "nothing comes twice");
    }
}

fn payload(size: usize, round: u8, source: u8) -> Vec<u8> {
    let mut payload: Vec<u8> = (0..size).map(|at| at.to_le_bytes()[0]).collect();
    payload.iter_mut().for_each(|byte| *byte = byte.wrapping_add(round * 16 + source));
    payload
}

fn receive(source: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 65_536];
    let count = source.recv(&mut buffer).ok()?;
    buffer.truncate(count);
    Some(buffer)
}

fn source(to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(ANY)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(socket)
}

/// A service that sends back what it gets.
fn echo() -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind(ANY)?;
    let address = socket.local_addr()?;
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..count], from).expect("a source takes what it sent");
        }
    });
    Ok(address)
}

fn serve() -> io::Result<SocketAddr> {
    let listener = mio::net::TcpListener::bind(ANY.into())?;
    let address = listener.local_addr()?;
    thread::spawn(move || mio_tunnel::serve(listener).expect("the server runs"));
    Ok(address)
}

/// A client, and where it listens: at a port that was free a moment ago.
fn tunnel(server: SocketAddr, to: SocketAddr) -> io::Result<SocketAddr> {
    let listen = UdpSocket::bind(ANY)?.local_addr()?;
    let ready = UdpSocket::bind(ANY)?;
    thread::spawn(move || mio_tunnel::tunnel(server, listen, to).expect("the client runs"));
    // Until it listens, the port refuses, and whoever is connected to it hears so.
    ready.connect(listen)?;
    ready.set_read_timeout(Some(PROBE))?;
    for _ in 0..500 {
        let _ = ready.send(b"anyone?");
        match ready.recv(&mut [0; 16]) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => thread::park_timeout(PROBE),
            Err(_) | Ok(_) => return Ok(listen),
        }
    }
    Err(ErrorKind::TimedOut.into())
}

/// Passes streams on, and cuts them.
struct Relay {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    fn before(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(ANY)?;
        let address = listener.local_addr()?;
        let open = Arc::new(Mutex::new(Vec::new()));
        let streams = Arc::clone(&open);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let passing = TcpStream::connect(server).and_then(|server| {
                    pass(&client, &server)?;
                    pass(&server, &client)
                });
                passing.expect("the server is there");
                streams.lock().expect("nobody panics with the lock").push(client);
            }
        });
        Ok(Self { address, open })
    }

    fn cut(&self) {
        for stream in self.open.lock().expect("nobody panics with the lock").iter() {
            // Streams that were cut before are closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn streams(&self) -> usize {
        self.open.lock().expect("nobody panics with the lock").len()
    }
}

fn pass(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
    thread::spawn(move || {
        // Whatever ends it, ends both ways.
        let _ = io::copy(&mut from, &mut to);
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
    Ok(())
}

//! A UDP service that sends back whatever it gets: something to reach through a tunnel.
//!
//!     cargo run --example echo -- [LISTEN]

use std::net::UdpSocket;

fn main() -> std::io::Result<()> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5006".into());
    let socket = UdpSocket::bind(listen)?;
    eprintln!("echoes at {}", socket.local_addr()?);
    let mut buffer = vec![0; 65_536];
    loop {
        // What goes wrong with one datagram, as an asker that is gone, is no reason to stop.
        match socket.recv_from(&mut buffer).and_then(|(length, from)| socket.send_to(&buffer[..length], from)) {
            Ok(length) => eprintln!("{length} bytes"),
            Err(error) => eprintln!("{error}"),
        }
    }
}

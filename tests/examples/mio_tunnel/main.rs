//! A tunnel for UDP on a bare `mio` loop: all that an event loop of your own has to do for SUDP.
//!
//! `server LISTEN` accepts links; `client SERVER LISTEN TO` takes datagrams at LISTEN and has the server
//! send them to TO. Nothing is encrypted, and whoever comes may reach everything: use it on loopback.
//!
//! Both loops below do the same: take a turn, see to what came of it, wait until a socket is ready or
//! the next turn is due. What a turn does to sockets is in `doors.rs`.

mod doors;

use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Instant;

use mio::net::TcpListener;
use sudp_proto::Seed;
use sudp_proto::access::{Grant, Pool};
use sudp_proto::client::{Client, ClientSetup};
use sudp_proto::config::client::{ClientConfig, Scheme, ServerConfig};
use sudp_proto::driver::Driver;
use sudp_proto::server::{Host, HostSetup, Identification};
use sudp_proto::session::{Access, Tunnel, Way};
use sudp_proto::wire::{Address, TunnelId};

use doors::Doors;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Err(error) = run(&arguments) else { return ExitCode::SUCCESS };
    eprintln!("mio_tunnel: {error}");
    ExitCode::FAILURE
}

fn run(arguments: &[&str]) -> Outcome {
    let address = |text: &str| text.parse().map_err(|_| format!("{text} is not an address with a port"));
    match arguments {
        ["server", listen] => serve(TcpListener::bind(address(listen)?)?),
        ["client", server, listen, to] => tunnel(address(server)?, address(listen)?, address(to)?),
        _ => Err("usage: mio_tunnel server LISTEN | client SERVER LISTEN TO, each as 127.0.0.1:5000".into()),
    }
}

/// Serves whoever comes, until something is wrong with the loop itself.
pub(crate) fn serve(mut listener: TcpListener) -> Outcome {
    let mut host = Host::new(HostSetup::new(pool(), seed()?));
    let mut doors = Doors::new()?;
    doors.watch(&mut listener)?;
    loop {
        let now = now();
        // Want of descriptors passes, so the next round tries again; a stream that fails here is missed by
        // the host, which gives it up.
        while let Ok((stream, from)) = listener.accept() {
            let _ = host.accept(now, from.ip()).map(|at| doors.put(at, stream));
        }
        let turn = host.turn(now, &mut doors);
        while let Some((visitor, claim)) = host.poll_claim() {
            // Whom the credentials in `claim.head` belong to, and what that one may do, is for you to say.
            let (anybody, everything) = (Identification::default(), Access::new(Grant::open()));
            eprintln!("{:?}", host.admit(now, visitor, &claim, &anybody, everything));
        }
        while let Some((session, event)) = host.poll_event() {
            eprintln!("{session:?}: {event:?}");
        }
        doors.wait(turn, |at, way| host.handle_ready(at, way))?;
    }
}

/// Keeps a session with a server, with one tunnel, until something is wrong with the loop itself.
pub(crate) fn tunnel(server: SocketAddr, listen: SocketAddr, to: SocketAddr) -> Outcome {
    let config = ClientConfig::new(vec![ServerConfig::new(Scheme::Ws, Address::from(server))]);
    config.validate()?;
    let mut client = Client::new(now(), ClientSetup::new(config, pool(), seed()?));
    let way = Way::Forward { listen: Some(listen), to: Some(Address::from(to)) };
    client.add_tunnel(TunnelId(1), Tunnel::new(way))?;
    let (mut driver, mut doors) = (Driver::new(client), Doors::new()?);
    loop {
        let turn = driver.turn(now(), &mut doors);
        // Flows that were opened by hand would be asked for here, too: `Driver::poll_delivery`.
        while let Some(event) = driver.endpoint_mut().session_mut().poll_event() {
            eprintln!("{event:?}");
        }
        doors.wait(turn, |at, way| driver.handle_ready(at, way))?;
    }
}

/// Memory for all sessions of the process: 256 MiB, of which each is sure to get 128 KiB.
fn pool() -> Pool {
    Pool::memory(256 << 20, 128 << 10)
}

/// Randomness of the system: secrets are drawn from it.
fn seed() -> io::Result<Seed> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(Seed(seed))
}

#[expect(clippy::disallowed_methods, reason = "a real loop has a real clock")]
fn now() -> Instant {
    Instant::now()
}

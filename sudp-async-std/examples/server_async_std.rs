//! A server that lets everybody reach the UDP services of this machine, and nothing else.
//!
//!     cargo run --example server_async_std -- [LISTEN]

use std::error::Error;

use async_std::task;
use sudp_async_std::proto::access::{Grant, Rules};
use sudp_async_std::{Anyone, ServerOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let rules = Rules::parse(["allow 127.0.0.0/8", "allow ::1/128"]).map_err(|(_, error)| error)?;
    let server = sudp_async_std::bind(ServerOptions::new(vec![listen.parse()?]), Anyone(Grant::new(rules)))?;
    eprintln!("listens at {:?}", server.local_addrs());

    let mut events = server.events();
    while let Some(event) = task::block_on(events.next()) {
        eprintln!("{event:?}");
    }
    Ok(())
}

//! A client with one tunnel: what is sent to a port here comes out at a destination of the server.
//!
//!     cargo run --example client_async_std -- [SERVER [LISTEN [TO]]]

use std::error::Error;

use async_std::task;
use sudp_async_std::ClientOptions;
use sudp_async_std::proto::config::client::ClientConfig;
use sudp_async_std::proto::session::{Tunnel, Way};

fn main() -> Result<(), Box<dyn Error>> {
    let argument = |place, usual: &str| std::env::args().nth(place).unwrap_or_else(|| usual.into());
    let (server, listen) = (argument(1, "ws://127.0.0.1:8080"), argument(2, "127.0.0.1:5005"));
    let to = argument(3, "127.0.0.1:5006");

    let client = sudp_async_std::connect(ClientOptions::new(ClientConfig::new(vec![server.parse()?])))?;
    let mut events = client.events();
    let way = Way::Forward { listen: Some(listen.parse()?), to: Some(to.parse()?) };
    task::block_on(client.add_tunnel(Tunnel::new(way)))?;
    eprintln!("takes datagrams at {listen} for {to}");

    while let Some(event) = task::block_on(events.next()) {
        eprintln!("{event:?}");
    }
    Ok(())
}

//! A client with one tunnel: what is sent to a port here comes out at a destination of the server.
//!
//!     cargo run --example client -- [SERVER [LISTEN [TO]]]
//!
//! It ends with Ctrl-C, once what is under way has arrived.

use std::error::Error;
use std::time::Duration;

use sudp_tokio::ClientOptions;
use sudp_tokio::proto::config::client::ClientConfig;
use sudp_tokio::proto::session::{Tunnel, Way};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let argument = |place, usual: &str| std::env::args().nth(place).unwrap_or_else(|| usual.into());
    let (server, listen) = (argument(1, "ws://127.0.0.1:8080"), argument(2, "127.0.0.1:5005"));
    let to = argument(3, "127.0.0.1:5006");

    let client = sudp_tokio::connect(ClientOptions::new(ClientConfig::new(vec![server.parse()?])))?;
    let mut events = client.events();
    let way = Way::Forward { listen: Some(listen.parse()?), to: Some(to.parse()?) };
    client.add_tunnel(Tunnel::new(way)).await?;
    eprintln!("takes datagrams at {listen} for {to}");

    loop {
        tokio::select! {
            Some(event) = events.next() => eprintln!("{event:?}"),
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    client.drain(Duration::from_secs(5)).await;
    Ok(())
}

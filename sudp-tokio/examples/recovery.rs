//! Cuts the connection again and again under numbered datagrams, and counts what arrives.
//!
//!     cargo run --example recovery
//!
//! Client, server, the service and what cuts them off from each other all run in this process.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use sudp_tokio::proto::access::Grant;
use sudp_tokio::proto::config::client::ClientConfig;
use sudp_tokio::proto::session::Treatment;
use sudp_tokio::{Anyone, ClientOptions, ServerOptions};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{interval, sleep, timeout};

const DATAGRAMS: usize = 1_000;
/// Slow enough that what waited for a connection is no more than a socket of the usual size takes at one go.
const PACE: Duration = Duration::from_millis(4);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let service = UdpSocket::bind("127.0.0.1:0").await?;
    let server = sudp_tokio::bind(ServerOptions::new(vec!["127.0.0.1:0".parse()?]), Anyone(Grant::open()))?;
    let path = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}", path.local_addr()?);
    tokio::spawn(cut_again_and_again(path, server.local_addrs()[0]));

    let client = sudp_tokio::connect(ClientOptions::new(ClientConfig::new(vec![url.parse()?])))?;
    let flow = client.open(service.local_addr()?, Treatment::default()).await?;
    tokio::spawn(async move {
        let mut pace = interval(PACE);
        for number in 0_u32.. {
            pace.tick().await;
            if number as usize == DATAGRAMS || flow.send(number.to_be_bytes().to_vec()).await.is_err() {
                return;
            }
        }
    });

    let (mut seen, mut ports, mut buffer) = (BTreeMap::<u32, u32>::new(), Vec::new(), [0; 4]);
    loop {
        // Those that are missing have time to come; none that comes twice is to be missed either.
        let patience = Duration::from_secs(if seen.len() < DATAGRAMS { 15 } else { 1 });
        let Ok(received) = timeout(patience, service.recv_from(&mut buffer)).await else { break };
        let (_, from) = received?;
        *seen.entry(u32::from_be_bytes(buffer)).or_default() += 1;
        if !ports.contains(&from) {
            ports.push(from);
        }
    }
    let links = client.stats().await?.counters.links;
    let twice = seen.values().filter(|count| **count > 1).count();
    let lost = DATAGRAMS - seen.len();
    eprintln!("{DATAGRAMS} datagrams over {links} connections: {lost} lost, {twice} doubled, from {ports:?}");
    Ok(())
}

/// Passes connections on to the server, each for a third of a second.
async fn cut_again_and_again(path: TcpListener, server: SocketAddr) {
    while let Ok((mut from, _)) = path.accept().await {
        tokio::spawn(async move {
            let Ok(mut to) = TcpStream::connect(server).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut from, &mut to) => {}
                () = sleep(Duration::from_millis(333)) => eprintln!("cut"),
            }
        });
    }
}

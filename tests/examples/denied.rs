//! A client that asks a server for what it must not do: every closed address, in every way to write it, as an address
//! and as a name, as the destination of a flow and as another one of a flow that stands. `tests/denied.sh` counts the
//! packets that leave meanwhile.
//!
//! `denied URL PORT SERVICE [ADDRESS]...` asks for PORT at closed addresses and at these, which are the server's own,
//! and then sees that SERVICE is answered still. It prints how often it asked. `--hosts` prints lines of a hosts file,
//! with a name for each closed address, and `--rules` rules that open them all.
#![expect(clippy::print_stdout, reason = "what it prints is its result")]

use std::collections::BTreeSet;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sudp_net::proto::access::{CLOSED, Rules, parse_host};
use sudp_net::proto::config::client::{ClientConfig, Scheme, ServerConfig};
use sudp_net::proto::session::Treatment;
use sudp_net::proto::wire::{Address, Host};
use sudp_tokio::{ClientOptions, Flow, FlowClosed};
use tokio::time::timeout;

#[expect(clippy::unwrap_used, reason = "it is shared with tests")]
#[path = "../../sudp-proto/src/access/tests/forms.rs"]
mod forms;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--hosts") => {
            println!("127.0.0.1 localhost");
            closed().iter().enumerate().for_each(|(index, address)| println!("{address} a{index}.denied"));
            return Ok(());
        }
        Some("--rules") => {
            Rules::open().as_slice().iter().for_each(|rule| println!("{rule}"));
            return Ok(());
        }
        Some(_) | None => {}
    }
    let [server, port, service, own @ ..] = &arguments[..] else {
        return Err("denied HOST:PORT PORT SERVICE [ADDRESS]...".into());
    };
    let (server, port, service): (Address, u16, SocketAddr) = (server.parse()?, port.parse()?, service.parse()?);
    let own = own.iter().map(|address| address.parse()).collect::<Result<Vec<IpAddr>, _>>()?;
    let config = ClientConfig::new(vec![ServerConfig::new(Scheme::Ws, server)]);
    let client = sudp_tokio::connect(ClientOptions::new(config))?;
    client.attached().await.map_err(|_| "it is not let in")?;

    let addresses = closed().into_iter().chain(own);
    let texts: BTreeSet<String> = addresses.flat_map(forms::textual_forms).collect();
    let mut hosts: BTreeSet<Host> = BTreeSet::new();
    for text in &texts {
        hosts.extend(parse_host(text).ok().filter(|host| matches!(host, Host::Ip(_))));
        // A client of ours would refuse most of these as names; this one leaves that to the server.
        hosts.extend(Host::is_name(text).then(|| Host::Name(text.as_str().into())));
    }
    // Names that mean closed addresses: the file beside has them.
    let named = closed().len();
    hosts.extend((0..named).map(|index| Host::Name(format!("a{index}.denied").into())));

    let speaks = client.open(service, Treatment::default()).await?;
    exchange(&speaks).await?;
    let (mut asked, mut closed, mut answered) = (0, 0, 0);
    for hosts in hosts.iter().collect::<Vec<_>>().chunks(200) {
        let mut flows = Vec::new();
        for host in hosts {
            let to = Address { host: (*host).clone(), port };
            speaks.send_to(&b"by the flow that stands"[..], to.clone()).await?;
            let flow = client.open(to, Treatment::default()).await?;
            // One that was refused by now takes nothing more.
            let _ = flow.send(&b"by a flow of its own"[..]).await;
            flows.push(flow);
            asked += 2;
        }
        for flow in flows {
            match timeout(WAIT, flow.recv()).await {
                Ok(Err(FlowClosed(_))) => closed += 1,
                Ok(Ok(_)) => answered += 1,
                Err(_) => {}
            }
        }
    }
    exchange(&speaks).await?;
    client.close().await;
    println!(
        "{} texts, {} hosts: asked {asked} times, {closed} flows refused, {answered} answered",
        texts.len(),
        hosts.len()
    );
    Ok(())
}

/// The ends of every closed network.
fn closed() -> Vec<IpAddr> {
    let ends = CLOSED.iter().flat_map(|closed| {
        let (first, prefix) = (closed.network.address(), u32::from(closed.network.prefix()));
        let last = match first {
            IpAddr::V4(v4) => IpAddr::from((v4.to_bits() | u32::MAX.checked_shr(prefix).unwrap_or(0)).to_be_bytes()),
            IpAddr::V6(v6) => IpAddr::from((v6.to_bits() | u128::MAX.checked_shr(prefix).unwrap_or(0)).to_be_bytes()),
        };
        [first, last]
    });
    ends.collect()
}

async fn exchange(flow: &Flow) -> Result<(), Box<dyn Error>> {
    flow.send(&b"allowed"[..]).await?;
    while timeout(PATIENCE, flow.recv()).await.map_err(|_| "the service is not answered")??[..] != b"allowed"[..] {}
    Ok(())
}

const WAIT: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);

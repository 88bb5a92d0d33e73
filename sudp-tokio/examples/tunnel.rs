//! A tunnel in one program, for trying and measuring: `tunnel server LISTEN NETWORK...` lets everybody send to
//! those networks; `tunnel client URL [--links N] LOCAL TARGET [COPIES]` takes datagrams at LOCAL and has
//! the server send them to TARGET.

use std::error::Error;

use sudp_tokio::proto::access::{Grant, Rules};
use sudp_tokio::proto::config::client::ClientConfig;
use sudp_tokio::proto::session::{Treatment, Tunnel, Way};
use sudp_tokio::{Anyone, ClientOptions, ServerOptions};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["server", listen, networks @ ..] => serve(listen, networks).await,
        ["client", url, "--links", links, local, target] => tunnel(url, links.parse()?, local, target, 1).await,
        ["client", url, "--links", links, local, target, copies] => {
            tunnel(url, links.parse()?, local, target, copies.parse()?).await
        }
        ["client", url, local, target] => tunnel(url, 1, local, target, 1).await,
        _ => Err("usage: tunnel server LISTEN NETWORK... | client URL [--links N] LOCAL TARGET [COPIES]".into()),
    }
}

async fn serve(listen: &str, networks: &[&str]) -> Outcome {
    let rules = networks.iter().map(|network| format!("allow {network}")).collect::<Vec<_>>();
    let rules = Rules::parse(rules.iter().map(String::as_str)).map_err(|(_, error)| error)?;
    let options = ServerOptions::new(vec![listen.parse()?]);
    let server = sudp_tokio::bind(options, Anyone(Grant::new(rules)))?;
    let mut events = server.events();
    while let Some(event) = events.next().await {
        eprintln!("{event:?}");
    }
    Ok(())
}

async fn tunnel(url: &str, links: usize, local: &str, target: &str, copies: u8) -> Outcome {
    let config = ClientConfig { links, ..ClientConfig::new(vec![url.parse()?]) };
    let client = sudp_tokio::connect(ClientOptions::new(config))?;
    let mut events = client.events();
    let way = Way::Forward { listen: Some(local.parse()?), to: Some(target.parse()?) };
    let treatment = Treatment { copies, ..Treatment::default() };
    client.add_tunnel(Tunnel { treatment, ..Tunnel::new(way) }).await?;
    while let Some(event) = events.next().await {
        eprintln!("{event:?}");
    }
    Ok(())
}

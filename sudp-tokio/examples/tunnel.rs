//! A tunnel in one program, for trying and measuring.
//!
//! `tunnel server LISTEN NETWORK...` lets everybody send to those networks; with `--tls-cert FILE --tls-key FILE` it
//! speaks TLS. `tunnel client URL LOCAL TARGET` takes datagrams at LOCAL and has the server send them to TARGET;
//! it takes `--links N`, `--copies N` and `--tls-ca FILE`. With `--seal yes` at both ends every link is sealed, by a
//! key that everybody knows who has read this: for measuring, and for nothing else.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use sudp_tokio::proto::access::{Grant, Rules};
use sudp_tokio::proto::config::client::ClientConfig;
use sudp_tokio::proto::session::{Treatment, Tunnel, Way};
use sudp_tokio::seal::{ClientSeal, Keypair, ServerSeal};
use sudp_tokio::tls::{self, Identity, ServerTls, Trust};
use sudp_tokio::{Anyone, ClientEvent, ClientOptions, ServerOptions};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("tunnel: {error}");
    ExitCode::FAILURE
}

async fn run() -> Outcome {
    let (mut words, mut flags) = (Vec::new(), BTreeMap::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--") {
            Some(flag) => drop(flags.insert(flag.to_owned(), arguments.next().ok_or("a flag needs a value")?)),
            None => words.push(argument),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["server", listen, networks @ ..] => serve(listen, networks, &flags).await,
        ["client", url, local, target] => tunnel(url, local, target, &flags).await,
        _ => Err("usage: tunnel server LISTEN NETWORK... | tunnel client URL LOCAL TARGET".into()),
    }
}

type Flags = BTreeMap<String, String>;

async fn serve(listen: &str, networks: &[&str], flags: &Flags) -> Outcome {
    let rules = networks.iter().map(|network| format!("allow {network}")).collect::<Vec<_>>();
    let rules = Rules::parse(rules.iter().map(String::as_str)).map_err(|(_, error)| error)?;
    let mut options = ServerOptions::new(vec![listen.parse()?]);
    if let (Some(chain), Some(key)) = (flags.get("tls-cert"), flags.get("tls-key")) {
        let identity = Identity { chain: chain.into(), key: key.into() };
        options.tls = Some(Arc::new(ServerTls::load(tls::ServerOptions::new(identity))?));
    }
    if flags.contains_key("seal") {
        options.seal = Some(ServerSeal { key: Keypair::from_private(KEY), required: true });
    }
    let server = sudp_tokio::bind(options, Anyone(Grant::new(rules)))?;
    let mut events = server.events();
    while let Some(event) = events.next().await {
        eprintln!("{event:?}");
    }
    Ok(())
}

async fn tunnel(url: &str, local: &str, target: &str, flags: &Flags) -> Outcome {
    let number = |flag| flags.get(flag).map_or(Ok(1), |number| number.parse::<u8>());
    let (links, copies) = (number("links")?, number("copies")?);
    let mut options = ClientOptions::new(ClientConfig { links: links.into(), ..ClientConfig::new(vec![url.parse()?]) });
    if let Some(roots) = flags.get("tls-ca") {
        let trust = Trust::Roots(vec![roots.into()]);
        options.tls = Some(tls::ClientOptions { trust, ..tls::ClientOptions::default() }.load()?);
    }
    if flags.contains_key("seal") {
        let server = Keypair::from_private(KEY).public();
        options.seal = Some(ClientSeal { server, key: sudp_tokio::seal::fresh()? });
    }
    let client = sudp_tokio::connect(options)?;
    let mut events = client.events();
    let way = Way::Forward { listen: Some(local.parse()?), to: Some(target.parse()?) };
    let treatment = Treatment { copies, ..Treatment::default() };
    client.add_tunnel(Tunnel { treatment, ..Tunnel::new(way) }).await?;
    while let Some(event) = events.next().await {
        match event {
            ClientEvent::DialFailed(failure) => eprintln!("{failure}"),
            ClientEvent::Session(event) => eprintln!("{event:?}"),
            _ => {}
        }
    }
    Ok(())
}

const KEY: [u8; 32] = [0x5e; 32];

//! `sudp doctor`.

use std::io::stdout;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sudp_tokio::ProxyRules;
use sudp_tokio::proto::config::client::Scheme;
use sudp_tokio::proto::wire::Address;
use sudp_tokio::tls::{ClientOptions, Identity, Trust};

use super::client::{Discreet, RunClient, header, pin, proxy, server};
use super::{Common, Output};
use crate::config::{Client, ClientTls};
use crate::doctor::{self, Plan};
use crate::exit::{Exit, Failure, Outcome};
use crate::status::Role;

/// `sudp doctor`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// The server, as wss://host/path [default: those of the configuration]
    #[arg(value_name = "URL", value_parser = Discreet(server))]
    pub server: Option<String>,
    /// An echo service that the server reaches, to measure loss and delay with
    #[arg(long, value_name = "HOST:PORT")]
    pub echo: Option<Address>,
    /// Say nothing for so long, to see whether something in between ends a quiet link
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub idle: Option<Duration>,
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
    /// The proxy to dial through, as http://host:port or socks5://host:port [default: the environment's]
    #[arg(long, value_name = "URL", value_parser = Discreet(proxy))]
    pub proxy: Option<String>,
    /// A header for every request, as 'Name: value', or @FILE with one a line; may be repeated
    #[arg(long, value_name = "HEADER", value_parser = Discreet(header))]
    pub header: Vec<String>,
    /// The authority to trust, instead of the system's; may be repeated
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Vec<PathBuf>,
    /// The key to trust, instead of any authority; may be repeated
    #[arg(long, value_name = "PIN", conflicts_with = "tls_ca", value_parser = pin)]
    pub tls_pin: Vec<String>,
    /// The name the server's certificate must be for
    #[arg(long, value_name = "NAME")]
    pub tls_name: Option<String>,
    /// The certificate to show to the server
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

impl DoctorArgs {
    /// Looks at the path.
    pub fn run(self, common: &Common) -> Outcome {
        let (echo, idle, output) = (self.echo.clone(), self.idle, self.output);
        let client = self.client();
        for secret in client.secrets() {
            eprintln!("sudp: warning: {secret}");
        }
        let config = common.sources(None, client.flags()).load(Role::Client)?.config.client;
        let color = common.color.on(&stdout());
        let mut outcome = Ok(());
        for plan in plans(&config, echo.as_ref(), idle)? {
            let found = doctor::run(plan, output, color, stdout().lock());
            outcome = outcome.and(found);
        }
        outcome
    }

    /// What a client is told by the same flags.
    fn client(self) -> RunClient {
        RunClient {
            servers: self.server.into_iter().collect(),
            proxy: self.proxy,
            header: self.header,
            tls_ca: self.tls_ca,
            tls_pin: self.tls_pin,
            tls_name: self.tls_name,
            tls_cert: self.tls_cert,
            tls_key: self.tls_key,
            ..RunClient::default()
        }
    }
}

/// A plan for each server.
fn plans(config: &Client, echo: Option<&Address>, idle: Option<Duration>) -> Outcome<Vec<Plan>> {
    let refused = |error: &dyn std::fmt::Display| Failure::new(Exit::Config, error);
    let proxies = match &config.proxy {
        Some(proxy) => ProxyRules::all(proxy.clone()),
        None => ProxyRules::from_env(|name| std::env::var(name).ok()).map_err(|error| refused(&error))?,
    };
    let secure = config.servers.iter().any(|server| server.scheme == Scheme::Wss);
    let tls = secure.then(|| tls(&config.tls).load()).transpose().map_err(|error| refused(&error))?;
    let plan = |server: &sudp_tokio::proto::config::client::ServerConfig| Plan {
        proxy: proxies.proxy_for(server),
        tls: tls.clone().filter(|_| server.scheme == Scheme::Wss),
        server: server.clone(),
        headers: config.headers.clone(),
        echo: echo.cloned(),
        idle,
    };
    Ok(config.servers.iter().map(plan).collect())
}

fn tls(config: &ClientTls) -> ClientOptions {
    let trust = match (config.pins.as_slice(), config.ca.as_slice()) {
        ([], []) => Trust::System,
        ([], ca) => Trust::Roots(ca.to_vec()),
        (pins, _) => Trust::Pins(pins.to_vec()),
    };
    let identity = config.cert.clone().zip(config.key.clone()).map(|(chain, key)| Identity { chain, key });
    ClientOptions { trust, name: config.server_name.clone(), identity, ..ClientOptions::default() }
}

const EXAMPLES: &str = "\
Examples:
  sudp doctor wss://example.com                            from the name to a session that resumes
  sudp doctor wss://example.com --echo 127.0.0.1:5006      and what it does to datagrams
  sudp doctor wss://example.com --idle 120s                and whether quiet links last
  sudp doctor wss://example.com --proxy http://proxy:3128
  sudp doctor ws://127.0.0.1:8080 -o json

For --echo, run `sudp echo` where the server reaches it, and allow it there: the address is as
the server sees it. It ends with 0 when the path works, with 69 when the server is not reached,
with 77 when somebody refuses, and with 1 when something else does not work.";

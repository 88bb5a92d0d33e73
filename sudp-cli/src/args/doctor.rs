//! `sudp doctor`.

use std::io::stdout;
use std::time::Duration;

use clap::Args;
use sudp_tokio::proto::config::client::{Scheme, ServerConfig};
use sudp_tokio::proto::wire::Address;

use super::client::{RunClient, server};
use super::reach::{Discreet, Reach};
use super::{Common, Output};
use crate::config::Client;
use crate::doctor::{self, Plan};
use crate::exit::Outcome;
use crate::login::{self, prompt};
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
    /// How the server is reached.
    #[command(flatten)]
    pub reach: Reach,
}

impl DoctorArgs {
    /// Looks at the path.
    pub fn run(self, common: &Common) -> Outcome {
        let (echo, idle, output) = (self.echo.clone(), self.idle, self.output);
        let client = self.client();
        for secret in client.reach.secrets() {
            eprintln!("sudp: warning: {secret}");
        }
        let mut flags = client.flags();
        prompt::ask(&common.sources(None, flags.clone()), &mut flags)?;
        let config = common.sources(None, flags).load(Role::Client)?.config.client;
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
        RunClient { servers: self.server.into_iter().collect(), reach: self.reach, ..RunClient::default() }
    }
}

/// A plan for each server.
fn plans(config: &Client, echo: Option<&Address>, idle: Option<Duration>) -> Outcome<Vec<Plan>> {
    let (proxies, tls, seal) = (config.proxies()?, config.speaks()?, config.seals()?);
    let mut headers = config.headers.clone();
    headers.extend(login::now(config)?.map(|shown| ("Authorization".to_owned(), shown.expose().to_owned())));
    let plan = |server: &ServerConfig| Plan {
        proxy: proxies.proxy_for(server),
        tls: tls.clone().filter(|_| server.scheme == Scheme::Wss),
        seal: seal.clone(),
        server: server.clone(),
        headers: headers.clone(),
        echo: echo.cloned(),
        idle,
    };
    Ok(config.servers.iter().map(plan).collect())
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

//! `sudp client`.

use std::path::PathBuf;

use clap::Args;

use super::{Common, Manage};
use crate::config::load::Flags;
use crate::exit::Outcome;
use crate::instance::Name;

/// `sudp client`: in the foreground, or what manages those in the background.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_value_name = "COMMAND")]
pub struct ClientArgs {
    /// How it is run in the foreground.
    #[command(flatten)]
    pub run: RunClient,
    /// Show what happens, live, and take commands
    #[arg(short, long)]
    pub interactive: bool,
    /// Tie standard input and output to a UDP port of the server's side, as netcat does
    #[arg(short = 'W', value_name = "HOST:PORT")]
    pub stdio: Option<String>,
    /// What is asked for instead.
    #[command(subcommand)]
    pub manage: Option<Manage<RunClient>>,
}

/// How a client is run.
#[derive(Clone, Debug, Args)]
pub struct RunClient {
    /// Its servers, as wss://host/path; the first is preferred, the others take over when it fails
    #[arg(value_name = "URL")]
    pub servers: Vec<String>,
    /// Its name; files, logs and `sudp status` go by it
    #[arg(long, value_name = "NAME")]
    pub instance: Option<Name>,
    /// Take datagrams here and have the server send them, as 5005:10.0.0.1:53; may be repeated
    #[arg(short = 'L', long = "forward", value_name = "SPEC")]
    pub forward: Vec<String>,
    /// Have the server take datagrams and send them from here, as 5005:127.0.0.1:5006; may be repeated
    #[arg(short = 'R', long = "reverse", value_name = "SPEC")]
    pub reverse: Vec<String>,
    /// A SOCKS5 proxy for UDP here, as 1080 or 127.0.0.1:1080; may be repeated
    #[arg(short = 'D', long = "socks", value_name = "SPEC")]
    pub socks: Vec<String>,
    /// How many links the session holds, 1 to 8 [default: 1]
    #[arg(long, value_name = "COUNT")]
    pub links: Option<usize>,
    /// A stable name at the server, whose next start takes over the ports of this one
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Give up after so many dials in a row that came to nothing [default: never]
    #[arg(long, value_name = "COUNT")]
    pub max_retries: Option<u32>,
    /// The proxy to dial through, as http://host:port or socks5://host:port [default: the environment's]
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// A header for every request, as 'Name: value', or @FILE with one a line; may be repeated
    #[arg(long, value_name = "HEADER")]
    pub header: Vec<String>,
    /// The authority to trust, instead of the system's; may be repeated
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Vec<PathBuf>,
    /// The key to trust, instead of any authority; may be repeated
    #[arg(long, value_name = "PIN", conflicts_with = "tls_ca")]
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

impl RunClient {
    /// What this says of the configuration.
    pub fn flags(&self) -> Flags {
        let mut flags = Flags::default();
        flags.set("client.servers", "URL", &self.servers);
        flags
    }
}

impl ClientArgs {
    /// Does what is asked for.
    pub fn run(self, _common: &Common) -> Outcome {
        unimplemented!()
    }
}

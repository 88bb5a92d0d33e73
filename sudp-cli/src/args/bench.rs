//! `sudp bench`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sudp_tokio::proto::config::client::ServerConfig;
use sudp_tokio::proto::wire::Address;
use sudp_tokio::tls::Pin;

use super::{Common, Output};
use crate::bench;
use crate::exit::Outcome;

/// `sudp bench`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// The server to measure, as wss://host/path; without it, client and server run here
    #[arg(value_name = "URL")]
    pub server: Option<ServerConfig>,
    /// The echo service that the server sends to
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5006", requires = "server")]
    pub to: Address,
    /// Where the same echo service can be reached without the tunnel, to compare with
    #[arg(long, value_name = "ADDR", requires = "server", value_parser = super::echo::socket)]
    pub plain: Option<SocketAddr>,
    /// The authority to trust, instead of the system's; may be repeated
    #[arg(long, value_name = "FILE", requires = "server")]
    pub tls_ca: Vec<PathBuf>,
    /// The key to trust, instead of any authority; may be repeated
    #[arg(long, value_name = "PIN", requires = "server", conflicts_with = "tls_ca")]
    pub tls_pin: Vec<Pin>,
    /// How long each test takes
    #[arg(long = "for", value_name = "TIME", default_value = "300ms", value_parser = time)]
    pub length: Duration,
    /// How often each is done; what is printed is the median
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=99))]
    pub rounds: u8,
    /// Bytes of a datagram; may be repeated [default: 64 and 1200]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(12..=65_507))]
    pub size: Vec<u16>,
    /// How many datagrams are under way in the test with a window
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub window: u16,
    /// How many datagrams a second are offered in a flood [default: 50000, 10000 to a given server]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: Option<u32>,
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

impl BenchArgs {
    /// Measures.
    pub fn run(&self, _common: &Common) -> Outcome {
        bench::run(self)
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 400ms or 2s"))?;
    let allowed = Duration::from_millis(50)..=Duration::from_secs(600);
    if allowed.contains(&length) { Ok(length) } else { Err("allowed is 50ms to 10m".to_owned()) }
}

const EXAMPLES: &str = "\
Sends datagrams to an echo service, through a tunnel and beside it, in turn:
  quiet    one at a time, with pauses: what the tunnel adds to a round trip
  window   a number under way: how much goes through, what a datagram costs
  flood    a fixed rate, whatever comes back: what is lost

Examples:
  sudp bench
  sudp bench --for 2s --rounds 5 --size 1200
  sudp bench -o json
  sudp bench wss://host.example      where `sudp echo` runs beside the server
  sudp bench wss://host.example --to 10.0.0.7:7 --plain 198.51.100.7:7";

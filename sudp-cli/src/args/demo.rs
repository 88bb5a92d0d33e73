//! `sudp demo`.

use std::time::Duration;

use clap::Args;

use super::Common;
use crate::exit::Outcome;
use crate::run::demo;

/// `sudp demo`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// Send and cut for so long, judge and end; without it, it cuts for 20 s and then stays
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub length: Option<Duration>,
    /// Stay after that time, as without it
    #[arg(long, requires = "length")]
    pub stay: bool,
    /// How many datagrams are sent each second
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// Leave the connection alone
    #[arg(long)]
    pub no_cuts: bool,
    /// Use this port and the two after it; 0 takes any free ones
    #[arg(long, value_name = "PORT", value_parser = three_ports)]
    pub port: Option<u16>,
    /// The UDP port of the client, where applications send to [default: 5005]
    #[arg(long, value_name = "PORT")]
    pub client_port: Option<u16>,
    /// The UDP port of the echo service [default: 5006]
    #[arg(long, value_name = "PORT")]
    pub echo_port: Option<u16>,
    /// The TCP port of the server [default: 8080]
    #[arg(long, value_name = "PORT")]
    pub server_port: Option<u16>,
}

impl DemoArgs {
    /// Shows it.
    pub fn run(&self, common: &Common) -> Outcome {
        demo::run(self, common)
    }

    /// The ports of client, echo service and server.
    pub fn ports(&self) -> (u16, u16, u16) {
        let (client, echo, server) = match self.port {
            Some(0) => (0, 0, 0),
            Some(first) => (first, first + 1, first + 2),
            None => (5005, 5006, 8080),
        };
        (self.client_port.unwrap_or(client), self.echo_port.unwrap_or(echo), self.server_port.unwrap_or(server))
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 5s or 2m"))?;
    let allowed = Duration::from_millis(500)..=Duration::from_secs(3600);
    if allowed.contains(&length) { Ok(length) } else { Err("allowed is 500ms to 1h".to_owned()) }
}

fn three_ports(text: &str) -> Result<u16, String> {
    let port: u16 = text.parse().map_err(|_| "a port is a number from 0 to 65535".to_owned())?;
    if port <= u16::MAX - 2 { Ok(port) } else { Err("there are no two ports after it; at most 65533".to_owned()) }
}

const EXAMPLES: &str = "\
Runs an echo service, a server and a client on this machine, sends numbered datagrams through them, and cuts the \
connection between client and server again and again: nothing is lost, and nothing comes twice. Then it stays, and \
`nc -u 127.0.0.1 5005` speaks to the echo service through the tunnel. Ctrl-C ends it.

Exit codes: 0 if every datagram was answered once, 1 if any was lost or came twice, 73 if a port is in use.

Examples:
  sudp demo
  sudp demo --for 5s                 ends by itself; the exit code tells
  sudp demo --for 5s --port 0        on any free ports
  sudp demo --client-port 6005       where 5005 is in use
  sudp demo --no-cuts --rate 1000";

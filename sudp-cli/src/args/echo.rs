//! `sudp echo`.

use std::net::SocketAddr;

use clap::Args;

use super::Common;
use crate::exit::Outcome;
use crate::run::echo;

/// `sudp echo`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EchoArgs {
    /// Where to listen; port 0 picks one and prints it; may be repeated
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5006", value_parser = socket)]
    pub listen: Vec<SocketAddr>,
}

impl EchoArgs {
    /// Echoes until it is stopped.
    pub fn run(&self, common: &Common) -> Outcome {
        echo::run(&self.listen, common)
    }
}

/// An address and a port, as one is typed.
pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write address and port, as 127.0.0.1:5006 or [::1]:5006".to_owned())
}

const EXAMPLES: &str = "\
Sends every datagram back to where it came from, and says at the end how many there were.

Examples:
  sudp echo                          on 127.0.0.1:5006
  sudp echo -v                       say of each datagram where it came from
  sudp echo --listen '[::]:5006'     for other machines, too
  sudp echo --listen 127.0.0.1:0     on any free port, which is printed

Try it:
  nc -u 127.0.0.1 5006";

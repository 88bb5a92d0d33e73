//! `sudp cert`.

use std::path::PathBuf;

use clap::Args;

use super::{Common, Output};
use crate::cert;
use crate::exit::Outcome;

/// `sudp cert`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CertArgs {
    /// A name or address that clients reach the server by; may be repeated
    #[arg(long = "name", value_name = "HOST", required = true)]
    pub names: Vec<String>,
    /// Where to write cert.pem and key.pem; made if it is not there
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// For how long the certificate is good
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u16).range(1..))]
    pub days: u16,
    /// Keep the key that is there, and with it the pin: only the certificate is made anew
    #[arg(long, conflicts_with = "force")]
    pub renew: bool,
    /// Overwrite what is there
    #[arg(long)]
    pub force: bool,
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

impl CertArgs {
    /// Makes them.
    pub fn run(&self, _common: &Common) -> Outcome {
        cert::run(self)
    }
}

const EXAMPLES: &str = "\
For a server at home that no public authority knows. The client trusts its key by the pin that is printed, or by a \
copy of cert.pem. key.pem stays on the server, where only its owner can read it.

What `openssl req -x509` makes is refused: it is marked as the certificate of an authority, and cannot stand for a \
server. What is made here is not.

Examples:
  sudp cert --name host.example
  sudp cert --name host.example --name 192.168.1.10 --out /etc/sudp
  sudp cert --name host.example --renew    for the same key: pins stay good";

//! `sudp keygen`.

use std::path::PathBuf;

use clap::Args;

use crate::exit::Outcome;
use crate::keygen;

/// `sudp keygen`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct KeygenArgs {
    /// Where the private key is written; what is there is never overwritten
    #[arg(value_name = "FILE", default_value = "sudp.key")]
    pub file: PathBuf,
    /// Make none, and print the public key of the one in this file
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub public: Option<PathBuf>,
}

impl KeygenArgs {
    /// Makes it, or shows it.
    pub fn run(&self) -> Outcome {
        keygen::run(self)
    }
}

const EXAMPLES: &str = "\
A key that links are sealed with, inside of WebSocket: whoever ends TLS on the way, as a proxy or a CDN does, then reads \
nothing and changes nothing. Printed is the public key, which is no secret.

Examples:
  sudp keygen server.key                      on the server
  sudp server --key-file server.key --sealed required --allow 127.0.0.0/8
  sudp client wss://example.com --server-key nIRmSl5TvMKX-dftcsnVKWOkQwhpcSleodGNlKo3w3w -D 1080
  sudp keygen --public server.key             print the public key again";

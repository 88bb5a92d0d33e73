//! `sudp server`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{Common, Manage};
use crate::config::load::Flags;
use crate::exit::Outcome;
use crate::instance::Name;

/// `sudp server`: in the foreground, or what manages those in the background.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_value_name = "COMMAND")]
pub struct ServerArgs {
    /// How it is run in the foreground.
    #[command(flatten)]
    pub run: RunServer,
    /// What is asked for instead.
    #[command(subcommand)]
    pub manage: Option<Manage<RunServer>>,
}

/// How a server is run.
#[derive(Clone, Debug, Args)]
pub struct RunServer {
    /// Its name; files, logs and `sudp status` go by it
    #[arg(long, value_name = "NAME")]
    pub instance: Option<Name>,
    /// Where to listen for links; may be repeated [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<SocketAddr>,
    /// The port to listen on, instead of that of the configuration; 0 picks one
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    pub port: Option<u16>,
    /// The path of our requests [default: /sudp]
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Where clients may send to, as 10.0.0.0/8, 10.0.0.1:53 or example.com:5000-5010; may be repeated
    #[arg(long, value_name = "RULE")]
    pub allow: Vec<String>,
    /// Where they may not, whatever is allowed; may be repeated
    #[arg(long, value_name = "RULE")]
    pub deny: Vec<String>,
    /// Let everybody in, also from other machines
    #[arg(long)]
    pub anonymous: bool,
    /// The certificate to show, as PEM: with it, the server speaks TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// The authority of which clients must have a certificate; may be repeated
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_ca: Vec<PathBuf>,
}

impl RunServer {
    /// What this says of the configuration.
    pub fn flags(&self) -> Flags {
        let mut flags = Flags::default();
        flags.set("server.listen", "--listen", &self.listen);
        flags
    }
}

impl ServerArgs {
    /// Does what is asked for.
    pub fn run(self, _common: &Common) -> Outcome {
        unimplemented!()
    }
}

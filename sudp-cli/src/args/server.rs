//! `sudp server`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use sudp_tokio::proto::access::Rule;

use super::Common;
use super::manage::Manage;
use crate::config::load::Flags;
use crate::exit::Outcome;
use crate::instance::{Id, Name, serve};
use crate::run::{self, Start};
use crate::status::Role;

/// `sudp server`: in the foreground, or what manages those in the background.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_value_name = "COMMAND", after_help = EXAMPLES)]
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
    #[arg(long, value_name = "ADDR", value_parser = listen)]
    pub listen: Vec<SocketAddr>,
    /// The port to listen on, instead of that of the configuration; 0 picks one
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    pub port: Option<u16>,
    /// The path of our requests [default: /sudp]
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub path: Option<String>,
    /// Where clients may send to, as 10.0.0.0/8, 10.0.0.1:53 or example.com:5000-5010; may be repeated
    #[arg(long, value_name = "RULE", value_parser = allowed)]
    pub allow: Vec<String>,
    /// Where they may not, whatever is allowed; may be repeated
    #[arg(long, value_name = "RULE", value_parser = denied)]
    pub deny: Vec<String>,
    /// Let everybody in, also from other machines
    #[arg(long)]
    pub anonymous: bool,
    /// The users that are let in by name and password, as `sudp user add` writes them
    #[arg(long, value_name = "FILE")]
    pub users: Option<PathBuf>,
    /// The tokens that let in whoever shows one, as `sudp token new` writes them
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// The certificate to show, as PEM: with it, the server speaks TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// The authority of which clients must have a certificate; may be repeated
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_ca: Vec<PathBuf>,
    /// The private key that links are sealed with, as `sudp keygen` makes it
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Whether links must be sealed [default: offered]
    #[arg(long, value_name = "WHEN", value_parser = ["offered", "required"], requires = "key_file")]
    pub sealed: Option<String>,
    /// How many threads serve; 0 is one for each core [default: 0]
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<usize>,
}

impl RunServer {
    /// What this says of the configuration.
    pub fn flags(&self) -> Flags {
        let mut flags = Flags::default();
        flags.set("server.listen", "--listen", &self.listen);
        flags.set("server.port", "--port", self.port);
        flags.set("server.path", "--path", &self.path);
        // The first rule that matches decides, so what is denied comes first.
        flags.set("server.rules", "--deny", self.deny.iter().map(|rule| format!("deny {rule}")));
        flags.set("server.rules", "--allow", self.allow.iter().map(|rule| format!("allow {rule}")));
        flags.set("server.anonymous", "--anonymous", self.anonymous.then_some(true));
        flags.set("server.auth.users", "--users", self.users.iter().map(|file| file.display()));
        flags.set("server.auth.tokens", "--tokens", self.tokens.iter().map(|file| file.display()));
        flags.set("server.tls.cert", "--tls-cert", self.tls_cert.iter().map(|file| file.display()));
        flags.set("server.tls.key", "--tls-key", self.tls_key.iter().map(|file| file.display()));
        flags.set("server.tls.client_ca", "--tls-ca", self.tls_ca.iter().map(|file| file.display()));
        flags.set("server.key_file", "--key-file", self.key_file.iter().map(|file| file.display()));
        flags.set("server.sealed", "--sealed", &self.sealed);
        flags.set("server.threads", "--threads", self.threads);
        flags
    }
}

impl ServerArgs {
    /// Does what is asked for.
    pub fn run(self, common: &Common) -> Outcome {
        let Self { run, manage } = self;
        match manage {
            None => {
                let id = run.instance.clone().map(|name| Id { role: Role::Server, name });
                let sources = common.sources(run.instance.clone(), run.flags());
                let start = Start { sources, color: common.color, ready: Box::new(|_| Ok(())) };
                serve::foreground(id.as_ref(), start, run::server::run)
            }
            Some(manage) => manage.run(common),
        }
    }
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    let text = text.strip_prefix("localhost:").map_or_else(|| text.into(), |port| format!("127.0.0.1:{port}"));
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    if let Some(port) = text.strip_prefix("*:").or_else(|| text.strip_prefix(':')) {
        return Err(format!("write `[::]:{port}` for every address of the machine, or `127.0.0.1:{port}`"));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("write `--port {text}`, or `--listen 127.0.0.1:{text}`"));
    }
    Err("expected is an address of this machine and a port, as `127.0.0.1:8080` or `[::]:443`".into())
}

fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()) && text.len() <= 1_024 {
        Ok(text.into())
    } else {
        Err("a path begins with `/`, and has neither blanks nor special characters".into())
    }
}

fn allowed(text: &str) -> Result<String, String> {
    rule("allow", text)
}

fn denied(text: &str) -> Result<String, String> {
    rule("deny", text)
}

fn rule(verb: &str, text: &str) -> Result<String, String> {
    if text.starts_with("allow ") || text.starts_with("deny ") {
        return Err("the flag says already whether it is allowed or denied; write HOST[:PORTS] alone".into());
    }
    match text.parse::<Rule>().and_then(|_| format!("{verb} {text}").parse::<Rule>()) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(error.to_string()),
    }
}

const EXAMPLES: &str = "\
Examples:
  sudp server --allow 127.0.0.0/8                  to services of this machine, for its clients
  sudp server --allow 10.0.0.1:53 --deny 10.0.0.0/8:1-52
  sudp server --listen '[::]:443' --tls-cert cert.pem --tls-key key.pem --anonymous --allow '*'
  sudp server start --port 0 --allow 127.0.0.0/8   in the background, at any free port
  sudp server status

What no rule allows is refused. A rule is HOST[:PORTS]; private addresses and those of this machine must be named by an \
address or network (`*` does not open them). Where a rule with an address lets clients send, it also lets their \
reverse tunnels (-R) listen; `*` and names do not.

A server that other machines can reach must be told whom to let in: by --users (see `sudp user add --help`), by \
--tokens (see `sudp token new --help`), by --tls-ca, or everybody by --anonymous.

Signals: TERM and INT finish what is under way and end (twice: at once), HUP reads the configuration anew.";

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn read(line: &str) -> Result<RunServer, String> {
        let words = ["sudp", "server"].into_iter().chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Server(args) = cli.command else { panic!("it is a server's") };
        Ok(args.run)
    }

    #[test]
    fn what_is_denied_comes_before_what_is_allowed() {
        let run =
            read("--allow 10.0.0.0/8 --deny 10.0.0.1 --port 0 --anonymous --threads 2").expect("it is well typed");
        let flags = run.flags();
        let said: Vec<_> = flags.iter().map(|it| (it.key, it.flag, it.values.join("|"))).collect();
        assert_eq!(
            said,
            [
                ("server.port", "--port", "0".into()),
                ("server.rules", "--deny", "deny 10.0.0.1".into()),
                ("server.rules", "--allow", "allow 10.0.0.0/8".into()),
                ("server.anonymous", "--anonymous", "true".into()),
                ("server.threads", "--threads", "2".to_owned()),
            ]
        );
    }

    #[test]
    fn what_is_typed_wrongly_is_refused_with_what_to_type() {
        for (line, says) in [
            ("--listen 8080", "write `--port 8080`"),
            ("--listen :8080", "write `[::]:8080`"),
            ("--listen example.com:8080", "an address of this machine"),
            ("--listen 127.0.0.1:1 --port 2", "cannot be used with"),
            ("--path sudp", "begins with `/`"),
            ("--allow 10.0.0.1/8", "10.0.0.0/8"),
            ("--deny deny", "deny"),
            ("--tls-cert x", "--tls-key"),
            ("--tls-ca x", "--tls-cert"),
            ("--port 65536", "65536"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.contains(says), "{line}: {error}");
        }
        assert_eq!(
            read("--listen localhost:0").expect("it is an address").listen,
            ["127.0.0.1:0".parse().expect("so")]
        );
    }
}

//! What is configured: one YAML file for server and client, instance files beside it, the environment and the command line.

mod auth;
pub(crate) mod check;
pub(crate) mod decode;
mod env;
pub(crate) mod explain;
pub(crate) mod file;
pub(crate) mod grants;
pub(crate) mod keys;
pub mod load;
pub(crate) mod moment;
mod reach;
pub(crate) mod show;
mod shown;
pub(crate) mod tree;
pub(crate) mod values;
pub(crate) mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sudp_tokio::ProxyUrl;
use sudp_tokio::proto::access::{Network, Rules};
use sudp_tokio::proto::config::Limits;
use sudp_tokio::proto::config::client::ServerConfig;
use sudp_tokio::seal::PublicKey;
use sudp_tokio::tls::Pin;

pub use crate::access::Strangers;
pub(crate) use auth::{Auth, Introspection, Jwt, JwtKeys};

use crate::access::Secret;
use crate::args::spec::TunnelSpec;

/// Everything, with a default for what nobody said.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where and how it logs.
    pub log: Log,
    /// What a server does.
    pub server: Server,
    /// What a client does.
    pub client: Client,
    /// Every cap of the core.
    pub limits: Limits,
}

/// Where and how is logged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// Levels: one for all, then for targets: `info,sudp::link=debug`.
    pub level: String,
    /// Lines for people or for programs.
    pub format: LogFormat,
    /// The file; without it, the standard error. An instance in the background has one by itself.
    pub file: Option<PathBuf>,
    /// The size at which a new file is begun.
    pub max_size: u64,
    /// Whether a new file is begun each day (UTC).
    pub daily: bool,
    /// How many old files are kept.
    pub keep: usize,
    /// How often a line of figures is written; zero is never.
    pub figures: Duration,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What a server does.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it listens for links.
    pub listen: Vec<SocketAddr>,
    /// The path of the upgrade request.
    pub path: String,
    /// Where everybody may send to and, without grants, at which ports they may listen.
    pub rules: Rules,
    /// Who may do what; without sections, everybody what the rules say.
    pub grants: Vec<grants::Section>,
    /// Whether everybody is let in, wherever it listens.
    pub anonymous: bool,
    /// What clients show of themselves, and what that is checked against.
    pub(crate) auth: Auth,
    /// How it speaks TLS, if it does.
    pub tls: Option<ServerTls>,
    /// What anybody gets to see who is not let in.
    pub strangers: Strangers,
    /// Pages whose scripts may come.
    pub origins: Vec<String>,
    /// Proxies whose word on where a request comes from is taken.
    pub trusted_proxies: Vec<Network>,
    /// Where is written down who was let in, if not in the log.
    pub audit: Option<PathBuf>,
    /// How it seals links, if it does.
    pub seal: Option<Seal>,
    /// How many threads serve; 0 is one for each core.
    pub threads: usize,
    /// How long it takes to finish what is under way when it is told to stop.
    pub shutdown: Duration,
}

/// A server's files of TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerTls {
    /// Its certificate, and those in between it and its authority.
    pub cert: PathBuf,
    /// The key of it.
    pub key: PathBuf,
    /// The authorities of which a client must have a certificate.
    pub client_ca: Vec<PathBuf>,
}

/// How a server seals links.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seal {
    /// Its private key.
    pub key: PathBuf,
    /// Whether links must be sealed.
    pub required: bool,
}

/// What a client does.
#[derive(Clone)]
pub struct Client {
    /// Its servers, the preferred first.
    pub servers: Vec<ServerConfig>,
    /// A stable name, whose next start takes over the ports of this one.
    pub name: String,
    /// How many links its session holds.
    pub links: usize,
    /// The age at which a link is replaced.
    pub max_link_age: Option<Duration>,
    /// What it carries.
    pub tunnels: Vec<TunnelSpec>,
    /// How often it dials without success before it gives up; without it, for ever.
    pub max_retries: Option<u32>,
    /// The proxy its servers are dialled through; without it the environment says.
    pub proxy: Option<ProxyUrl>,
    /// Headers for every request.
    pub headers: Vec<(String, String)>,
    /// What it shows to be let in.
    pub(crate) auth: ClientAuth,
    /// How it speaks TLS.
    pub tls: ClientTls,
    /// The key of its servers, if links are sealed.
    pub server_key: Option<PublicKey>,
    /// Its own private key.
    pub key_file: Option<PathBuf>,
    /// How long it takes to finish what is under way when it is told to stop.
    pub shutdown: Duration,
}

impl fmt::Debug for Client {
    /// The values of headers are secrets, and are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, name, links, max_link_age, tunnels, max_retries, proxy, headers, auth, tls, .. } = self;
        let Self { server_key, key_file, shutdown, .. } = self;
        let headers: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Client")
            .field("servers", servers)
            .field("name", name)
            .field("links", links)
            .field("max_link_age", max_link_age)
            .field("tunnels", tunnels)
            .field("max_retries", max_retries)
            .field("proxy", &proxy.as_ref().map(|proxy| &proxy.address))
            .field("headers", &headers)
            .field("auth", auth)
            .field("tls", tls)
            .field("server_key", server_key)
            .field("key_file", key_file)
            .field("shutdown", shutdown)
            .finish()
    }
}

/// What a client shows to be let in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum ClientAuth {
    /// Nothing.
    #[default]
    Nothing,
    /// A name, and the password of it once somebody has given that.
    User { user: String, password: Option<Secret> },
    /// A token.
    Token(Secret),
    /// What a command says, asked for again this often unless it tells by itself when it ends.
    Command { command: String, every: Duration },
    /// Tokens of an authorization server.
    OAuth(OAuth),
}

/// An authorization server, and how it is asked (RFC 6749, 4.4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct OAuth {
    /// Where tokens are asked for.
    pub(crate) url: String,
    /// Who asks.
    pub(crate) client_id: String,
    /// And proves it by this.
    pub(crate) client_secret: Secret,
    /// What the token is to be good for.
    pub(crate) scope: Option<String>,
    /// And with whom.
    pub(crate) audience: Option<String>,
    /// How name and secret are said.
    pub(crate) method: OAuthMethod,
}

/// How a client says its name and secret to an authorization server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum OAuthMethod {
    /// In a header (client_secret_basic).
    #[default]
    Basic,
    /// In the form (client_secret_post).
    Post,
}

/// The variables that secrets can be given by.
pub(crate) fn secret_variables() -> impl Iterator<Item = String> {
    keys::KEYS.iter().filter(|key| key.secret).map(keys::Key::variable)
}

/// How a client speaks TLS.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientTls {
    /// Authorities it trusts instead of the system's.
    pub ca: Vec<PathBuf>,
    /// Keys it trusts instead of any authority.
    pub pins: Vec<Pin>,
    /// The name a server's certificate must be for.
    pub server_name: Option<String>,
    /// What it shows of itself.
    pub cert: Option<PathBuf>,
    /// The key of that.
    pub key: Option<PathBuf>,
}

/// Where a value comes from, by its path: `server.listen` from `--listen`, or from line 3 of a file.
pub type Origins = BTreeMap<String, String>;

//! What a client is made with, and whether it can be.

use std::collections::BTreeMap;

use super::showing::AUTHORIZATION;
use crate::access::Pool;
use crate::config::client::{ClientConfig, ClientConfigError, Scheme, ServerConfig};
use crate::config::{ConfigError, Limits};
use crate::credential::Credential;
use crate::link::{ClientSeal, ClientTls, Proxy};
use crate::rng::Seed;
use crate::wire::Address;

/// What a client is made with.
#[derive(Clone, Debug)]
pub struct ClientSetup {
    /// Where its servers are, and how many links it wants.
    pub config: ClientConfig,
    /// Every cap.
    pub limits: Limits,
    /// When the process started; a later one takes over the ports of an earlier.
    pub started: u64,
    /// Headers for every upgrade request, as a host name of its own.
    pub headers: Vec<(String, String)>,
    /// What lets it in: sent when a session is founded, never when a link attaches to one.
    pub credential: Option<Credential>,
    /// It dials nobody before [`Client::set_credential`](super::Client::set_credential) has given it something to show.
    pub awaits_credential: bool,
    /// The proxies that are dialled instead of servers, by the index of the server.
    pub proxies: BTreeMap<usize, (Address, Proxy)>,
    /// How it speaks TLS with servers of `wss`; without it these are not dialled.
    pub tls: Option<ClientTls>,
    /// How it seals all of its links; without it they are in the clear inside of WebSocket. A client that seals
    /// takes nothing that is not sealed.
    pub seal: Option<ClientSeal>,
    /// Where its memory comes from.
    pub pool: Pool,
    /// Where its randomness comes from.
    pub seed: Seed,
}

impl ClientSetup {
    /// The usual caps, no headers, no credential, no proxy, no TLS and no sealing. A client with a name must also say when it
    /// [started](Self::started).
    pub fn new(config: ClientConfig, pool: Pool, seed: Seed) -> Self {
        Self {
            config,
            limits: Limits::default(),
            started: 0,
            headers: Vec::new(),
            credential: None,
            awaits_credential: false,
            proxies: BTreeMap::new(),
            tls: None,
            seal: None,
            pool,
            seed,
        }
    }

    /// Checks that everything has a value that it may have, and that all of it goes together.
    pub fn validate(&self) -> Result<(), SetupError> {
        self.config.validate()?;
        self.limits.validate()?;
        let authorization = |(name, _): &(String, String)| name.eq_ignore_ascii_case(AUTHORIZATION);
        if self.credential.is_some() && self.headers.iter().any(authorization) {
            return Err(SetupError::CredentialTwice);
        }
        let unprotected = |server: &ServerConfig| server.scheme == Scheme::Wss && self.tls.is_none();
        match self.config.servers.iter().position(unprotected) {
            Some(server) => Err(SetupError::TlsMissing(server)),
            None => Ok(()),
        }
    }
}

/// Why a [`ClientSetup`] cannot be used. The configuration is at fault, nothing was started.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// What it is told of its servers.
    #[error("{0}")]
    Config(#[from] ClientConfigError),
    /// A credential, and a header of the same name.
    #[error("a credential and a header Authorization are both configured, and only one can be sent: leave one out")]
    CredentialTwice,
    /// A cap.
    #[error("{0}")]
    Limits(#[from] ConfigError),
    /// A server of `wss`, and no TLS to reach it with.
    #[error("server {0} is to be reached by TLS (wss), and none is configured: nothing is sent in clear instead")]
    TlsMissing(usize),
}

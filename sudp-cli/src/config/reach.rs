//! How a client's configuration has its servers reached, as the library takes it.

use sudp_tokio::ProxyRules;
use sudp_tokio::proto::config::client::Scheme;
use sudp_tokio::proto::link;
use sudp_tokio::seal;
use sudp_tokio::tls::{ClientOptions, Identity, Trust};

use super::{Client, ClientTls};
use crate::exit::{Exit, Failure, Outcome};
use crate::keygen;

impl Client {
    /// Which of its servers are dialled through which proxy.
    pub(crate) fn proxies(&self) -> Outcome<ProxyRules> {
        match &self.proxy {
            Some(proxy) => Ok(ProxyRules::all(proxy.clone())),
            None => {
                ProxyRules::from_env(|name| std::env::var(name).ok()).map_err(|error| Failure::new(Exit::Config, error))
            }
        }
    }

    /// How it seals its links, if it does.
    pub(crate) fn seals(&self) -> Outcome<Option<link::ClientSeal>> {
        let Some(server) = self.server_key else { return Ok(None) };
        let key = match &self.key_file {
            Some(file) => keygen::read(file).map_err(|why| Failure::new(Exit::Config, why))?,
            None => seal::fresh().map_err(|error| Failure::new(Exit::Temporary, format!("no randomness: {error}")))?,
        };
        Ok(Some(link::ClientSeal { server, key }))
    }

    /// How it speaks TLS, if one of its servers does.
    pub(crate) fn speaks(&self) -> Outcome<Option<link::ClientTls>> {
        if !self.servers.iter().any(|server| server.scheme == Scheme::Wss) {
            return Ok(None);
        }
        let tls = self.tls.options().load();
        tls.map(Some).map_err(|error| Failure::new(Exit::Config, error))
    }
}

impl ClientTls {
    fn options(&self) -> ClientOptions {
        let trust = match (self.pins.is_empty(), self.ca.is_empty()) {
            (false, _) => Trust::Pins(self.pins.clone()),
            (true, false) => Trust::Roots(self.ca.clone()),
            (true, true) => Trust::System,
        };
        let identity = self.cert.clone().zip(self.key.clone()).map(|(chain, key)| Identity { chain, key });
        ClientOptions { trust, name: self.server_name.clone(), identity, ..ClientOptions::default() }
    }
}

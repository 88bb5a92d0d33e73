//! A server's side of TLS, which can be read anew while it serves.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use sudp_proto::link;

use super::{Identity, Oldest, Pin, TlsError, pem, protocols, provider};

/// How a server speaks TLS.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// What it shows of itself.
    pub identity: Identity,
    /// The authorities of which a client must have a certificate (default: none is asked for).
    pub client_roots: Vec<PathBuf>,
    /// The oldest version it speaks (default: TLS 1.3).
    pub oldest: Oldest,
}

impl ServerOptions {
    /// A server that shows this of itself, and lets in any client.
    pub fn new(identity: Identity) -> Self {
        Self { identity, client_roots: Vec::new(), oldest: Oldest::default() }
    }
}

/// A server's certificate and key as they are in use, and the files they come from.
#[derive(Debug)]
pub struct ServerTls {
    /// The files, and what was read from them last.
    loaded: Mutex<(ServerOptions, Loaded)>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    pin: Pin,
}

impl ServerTls {
    /// Reads the files.
    pub fn load(options: ServerOptions) -> Result<Self, TlsError> {
        let loaded = Loaded::read(&options)?;
        Ok(Self { loaded: Mutex::new((options, loaded)) })
    }

    /// What streams that are accepted from now on are met with; a link keeps what it began with.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.inner().1.config.clone()
    }

    /// The same, as the core takes it.
    pub fn link(&self) -> link::ServerTls {
        self.current().into()
    }

    /// The fingerprint of the key, for clients that pin it.
    pub fn pin(&self) -> Pin {
        self.inner().1.pin
    }

    /// Reads the files anew. If anything is wrong with them, what was in use stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let options = self.inner().0.clone();
        self.change(options)
    }

    /// Reads other files, to be used from now on. If anything is wrong with them, what was in use stays in use.
    pub fn change(&self, options: ServerOptions) -> Result<(), TlsError> {
        let loaded = Loaded::read(&options)?;
        *self.inner() = (options, loaded);
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, (ServerOptions, Loaded)> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loaded {
    fn read(options: &ServerOptions) -> Result<Self, TlsError> {
        let Identity { chain, key } = &options.identity;
        let pair = pem::pair(chain, key)?;
        let pin = Pin::of(&pair.chain[0])?;
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(options.oldest.versions())?;
        let builder = if options.client_roots.is_empty() {
            builder.with_no_client_auth()
        } else {
            let roots = Arc::new(pem::roots(&options.client_roots)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| rustls::Error::General(error.to_string()))?)
        };
        let config = builder.with_single_cert(pair.chain, pair.key);
        let mut config = config.map_err(|error| pem::blame(error, chain, key))?;
        config.alpn_protocols = protocols();
        Ok(Self { config: Arc::new(config), pin })
    }
}

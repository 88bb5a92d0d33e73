//! A client's side of TLS.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sudp_proto::link::ClientTls;

use super::chain::Chained;
use super::judge::Judged;
use super::pin::Pinned;
use super::{Oldest, Pin, TlsError, pem, protocols, provider};

/// How a client speaks TLS.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Whom it trusts (default: whom the system trusts).
    pub trust: Trust,
    /// The name that a server's certificate must be for (default: that of its address).
    pub name: Option<String>,
    /// What it shows to a server that asks (default: nothing).
    pub identity: Option<Identity>,
    /// The oldest version it speaks (default: TLS 1.3).
    pub oldest: Oldest,
}

/// Whom a client trusts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Trust {
    /// Servers with one of these keys, whatever else their certificates say.
    Pins(Vec<Pin>),
    /// The authorities whose certificates are in these files, and no others.
    Roots(Vec<PathBuf>),
    /// The authorities of the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    #[default]
    System,
}

/// A certificate, and the key it is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// A PEM file with the certificate first, then those in between it and its authority.
    pub chain: PathBuf,
    /// A PEM file with the key, which only its owner may read.
    pub key: PathBuf,
}

impl ClientOptions {
    /// Reads the files, and makes what a client is set up with.
    pub fn load(&self) -> Result<ClientTls, TlsError> {
        let name = self.name.as_deref().map(server_name).transpose()?;
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(self.oldest.versions())?;
        // It is the trust in pins that rustls calls dangerous; the other is its own.
        let builder = builder.dangerous().with_custom_certificate_verifier(self.trust.verifier()?);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { chain, key }) => {
                let pair = pem::pair(chain, key)?;
                let config = builder.with_client_auth_cert(pair.chain, pair.key);
                config.map_err(|error| pem::blame(error, chain, key))?
            }
        };
        config.alpn_protocols = protocols();
        Ok(ClientTls { config: Arc::new(config), name })
    }
}

impl Trust {
    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let roots = match self {
            Self::Pins(pins) if pins.is_empty() => return Err(TlsError::TrustsNobody),
            Self::Pins(pins) => return Ok(Arc::new(Judged(Pinned(pins.clone())))),
            Self::Roots(files) => pem::roots(files)?,
            Self::System => system_roots()?,
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Arc::new(Judged(Chained(verifier))))
    }
}

/// The certificates of the authorities whom the system trusts, or `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
pub fn system_authorities() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        return Err(TlsError::NoRoots { why });
    }
    Ok(found.certs)
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // Systems carry some that are too odd to be read; that is no reason to do without the others.
    let (taken, _) = roots.add_parsable_certificates(system_authorities()?);
    if taken == 0 { Err(TlsError::NoRoots { why: String::new() }) } else { Ok(roots) }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))
}

//! The judgement of `rustls` on a server's certificate, with better words where nobody vouches for it.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error, OtherError};

use super::der;
use super::judge::{Judge, Shown};

/// Trust in authorities.
#[derive(Debug)]
pub(super) struct Chained(pub(super) Arc<WebPkiServerVerifier>);

impl Judge for Chained {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        let Shown { certificate, above, name, ocsp, now } = *shown;
        match self.0.verify_server_cert(certificate, above, name, ocsp, now) {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => Err(unknown_issuer(certificate, above)),
            verdict => verdict.map(drop),
        }
    }
}

/// Why no path leads to an authority that is trusted.
#[derive(Debug, thiserror::Error)]
enum Nobody {
    #[error("it is signed by itself alone; pin its key, trust a copy of it, or use one of an authority")]
    SelfSigned,
    #[error(
        "it is signed by {0:?}, who is not trusted here; give that authority's certificate, or have the server send \
         the certificates in between"
    )]
    Stranger(String),
}

fn unknown_issuer(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Error {
    let names = |certificate: &CertificateDer<'_>| der::names(certificate).map(|(i, s)| (i.to_vec(), s.to_vec()));
    let Some((mut issuer, subject)) = names(end_entity) else { return CertificateError::UnknownIssuer.into() };
    if issuer == subject {
        return CertificateError::Other(OtherError(Arc::new(Nobody::SelfSigned))).into();
    }
    // Upwards as far as the server's certificates lead.
    let known: Vec<_> = intermediates.iter().filter_map(names).collect();
    for _ in &known {
        let above = known.iter().find(|(above, name)| *name == issuer && above != name);
        let Some((above, _)) = above else { break };
        issuer.clone_from(above);
    }
    let name = der::common_name(&issuer).unwrap_or_else(|| "someone without a common name".to_owned());
    CertificateError::Other(OtherError(Arc::new(Nobody::Stranger(name)))).into()
}

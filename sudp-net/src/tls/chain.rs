//! The judgement of `rustls` on a server's certificate, with better words where nobody vouches for it.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};

use super::der;

/// Trust in authorities.
#[derive(Debug)]
pub(super) struct Chained(pub(super) Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Chained {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                Err(unknown_issuer(end_entity, intermediates))
            }
            Ok(_) | Err(_) => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.0.root_hint_subjects()
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

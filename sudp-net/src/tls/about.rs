//! What a certificate says of itself, to be shown to people. Nobody's trust rests on it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::Error;
use rustls::pki_types::CertificateDer;
use sudp_proto::link::ClientTls;

use super::judge::{Judge, Judged, Shown};
use super::{Pin, der, validity};

/// What a certificate says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct About {
    /// Whom it is for, as far as that is a common name: names that count stand elsewhere.
    pub subject: Option<String>,
    /// Whom it is for: hosts, addresses of mail and URIs, in their order.
    pub names: Vec<String>,
    /// Who signed it, by common name.
    pub issuer: Option<String>,
    /// When it begins to be valid.
    pub from: SystemTime,
    /// When it ceases to be.
    pub until: SystemTime,
    /// Its key.
    pub pin: Pin,
}

impl About {
    /// Reads a certificate; none if it is malformed.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let der::Fields { issuer, subject, .. } = der::fields(certificate)?;
        let (from, until) = validity::period(certificate)?;
        // What lies beyond the reach of a clock is as far off as can be said.
        let at = |since: Duration| UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH + FAR);
        Some(Self {
            subject: der::common_name(subject),
            names: der::alternative_names(certificate)?,
            issuer: der::common_name(issuer),
            from: at(from),
            until: at(until),
            pin: Pin::of(certificate).ok()?,
        })
    }
}

/// Sees what a server shows, whether it is to be trusted or not.
///
/// Nothing is said to the server beyond the handshake, which fails as soon as its certificate was seen.
#[derive(Clone, Debug, Default)]
pub struct Onlooker(Arc<Mutex<Option<About>>>);

impl Onlooker {
    /// How to speak TLS for it: as otherwise, but trusting nobody.
    pub fn tls(&self, usual: &ClientTls) -> ClientTls {
        let mut config = rustls::ClientConfig::clone(&usual.config);
        config.dangerous().set_certificate_verifier(Arc::new(Judged(self.clone())));
        ClientTls { config: Arc::new(config), name: usual.name.clone() }
    }

    /// What was seen, if it could be read.
    pub fn seen(&self) -> Option<About> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Judge for Onlooker {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = About::of(shown.certificate);
        Err(Error::General("seen".into()))
    }
}

/// About the year 9999.
const FAR: Duration = Duration::from_secs(253_000_000_000);

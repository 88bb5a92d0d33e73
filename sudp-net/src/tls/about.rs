//! What a certificate says of itself, to be shown to people. Nobody's trust rests on it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;

use super::{Pin, der, validity};

/// What a certificate says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct About {
    /// Whom it is for, as far as that is a common name: names that count stand elsewhere.
    pub subject: Option<String>,
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
            issuer: der::common_name(issuer),
            from: at(from),
            until: at(until),
            pin: Pin::of(certificate).ok()?,
        })
    }
}

/// About the year 9999.
const FAR: Duration = Duration::from_secs(253_000_000_000);

//! What `rustls` says is wrong, in this crate's words.

use std::time::Duration;

use rustls::{CertificateError, Error, InconsistentKeys, PeerIncompatible};

use crate::link::tls_end::{CertificateFault, TlsEnd};

/// Why a connection cannot go on.
#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of errors are not ours, and there are many")]
pub(super) fn end(error: Error) -> TlsEnd {
    match error {
        Error::AlertReceived(alert) => TlsEnd::Alert(alert.into()),
        Error::InvalidCertificate(error) => TlsEnd::Certificate(certificate(error)),
        Error::NoCertificatesPresented => TlsEnd::NoCertificate,
        Error::DecryptError => TlsEnd::Damaged,
        Error::NoApplicationProtocol => TlsEnd::Common("application protocol (ALPN)"),
        Error::PeerIncompatible(why) => incompatible(&why),
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::InvalidMessage(_)
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord => TlsEnd::Violation(words(&error)),
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsEnd::Local("its key is not that of its certificate".into())
        }
        Error::FailedToGetCurrentTime => TlsEnd::Local("there is no clock".into()),
        Error::FailedToGetRandomBytes => TlsEnd::Local("there are no random numbers".into()),
        other => TlsEnd::Local(words(&other)),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of errors are not ours, and there are many")]
fn incompatible(why: &PeerIncompatible) -> TlsEnd {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => TlsEnd::Version,
        PeerIncompatible::NoCipherSuitesInCommon => TlsEnd::Common("cipher"),
        PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NamedGroupsExtensionRequired => {
            TlsEnd::Common("key exchange")
        }
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => TlsEnd::Common("way to sign"),
        other => TlsEnd::Violation(words(&Error::PeerIncompatible(other.clone()))),
    }
}

/// Why a certificate is not trusted.
#[expect(deprecated, reason = "a verifier of someone else's may still say it")]
#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of errors are not ours, and there are many")]
fn certificate(error: CertificateError) -> CertificateFault {
    match error {
        CertificateError::BadEncoding => CertificateFault::Encoding,
        CertificateError::Expired => CertificateFault::Expired(None),
        CertificateError::ExpiredContext { time, not_after } => {
            CertificateFault::Expired(apart(time.as_secs(), not_after.as_secs()))
        }
        CertificateError::NotValidYet => CertificateFault::NotYet(None),
        CertificateError::NotValidYetContext { time, not_before } => {
            CertificateFault::NotYet(apart(not_before.as_secs(), time.as_secs()))
        }
        CertificateError::Revoked => CertificateFault::Revoked,
        CertificateError::UnhandledCriticalExtension => CertificateFault::CriticalExtension,
        CertificateError::UnknownIssuer => CertificateFault::UnknownIssuer,
        CertificateError::BadSignature => CertificateFault::Signature,
        CertificateError::UnsupportedSignatureAlgorithm
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => CertificateFault::SignatureKind,
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = presented.iter().map(|name| plain_name(name)).collect();
            CertificateFault::Name { asked: escaped(&expected.to_str()), names }
        }
        CertificateError::InvalidPurposeContext { presented, .. } => {
            let list: Vec<String> = presented.iter().map(ToString::to_string).collect();
            CertificateFault::Purpose(escaped(&list.join(", ")))
        }
        CertificateError::InvalidPurpose => CertificateFault::Purpose("it does not say which".into()),
        CertificateError::Other(other) => path(&other.to_string()),
        other => CertificateFault::Other(escaped(&other.to_string())),
    }
}

/// What `webpki` finds wrong with a path comes without a type, by the name of its kind.
fn path(kind: &str) -> CertificateFault {
    match kind {
        "CaUsedAsEndEntity" => CertificateFault::Authority,
        "EndEntityUsedAsCa" => CertificateFault::Issuer,
        "NameConstraintViolation" => CertificateFault::NameConstraint,
        "PathLenConstraintViolated" | "MaximumPathDepthExceeded" | "MaximumPathBuildCallsExceeded" => {
            CertificateFault::PathLength
        }
        "UnsupportedCriticalExtension" => CertificateFault::CriticalExtension,
        "UnsupportedCertVersion" => CertificateFault::Version,
        words => CertificateFault::Other(escaped(words)),
    }
}

/// `DnsName("a.example")` without its wrapping.
fn plain_name(name: &str) -> Box<str> {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    escaped(inner.trim_matches('"'))
}

fn words(error: &Error) -> Box<str> {
    escaped(&error.to_string())
}

fn escaped(words: &str) -> Box<str> {
    let shown = words.chars().take(WORDS).map(|letter| if letter.is_control() { '?' } else { letter });
    shown.collect::<String>().into()
}

fn apart(later: u64, earlier: u64) -> Option<Duration> {
    Some(Duration::from_secs(later.saturating_sub(earlier)))
}

/// Characters of someone else's words that are repeated.
const WORDS: usize = 256;

//! Why TLS did not come about, or broke, in words for whoever can change that.

use std::fmt;
use std::time::Duration;

/// Why TLS did not come about, or broke. The session survives all of these.
///
/// Words of the remote appear escaped.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsEnd {
    /// The other side gave up, and said why by the number of an alert.
    #[error("the other side refuses: {}", alert_words(*.0))]
    Alert(u8),
    /// The other side's certificate is not to be trusted.
    #[error("{0}")]
    Certificate(CertificateFault),
    /// Client and server have nothing in common.
    #[error("the two sides have no {0} in common")]
    Common(&'static str),
    /// What arrived cannot be decrypted.
    #[error("what arrived cannot be decrypted; something on the way alters it")]
    Damaged,
    /// The stream ended in the middle of the handshake.
    #[error("the stream ended in the middle of the TLS handshake; check that TLS is spoken on that port")]
    HungUp,
    /// This side cannot do it: its configuration, its random numbers, its clock.
    #[error("this side cannot speak TLS: {0}")]
    Local(Box<str>),
    /// The host is nothing that a certificate can be for.
    #[error("{0:?} is no name that a certificate can be for; configure the name to be asked for")]
    Name(Box<str>),
    /// A client that must have a certificate gave none.
    #[error("the other side gave no certificate, and one is required")]
    NoCertificate,
    /// What arrived first is not TLS.
    #[error("the other side does not speak TLS; check scheme and port")]
    NotTls,
    /// A handshake of more bytes than are borne with.
    #[error("the TLS handshake of the other side is too long")]
    Size,
    /// The other side speaks no version of TLS that is allowed here.
    #[error("the other side speaks no version of TLS that is allowed here; update it, or allow TLS 1.2")]
    Version,
    /// The other side broke the rules of TLS.
    #[error("the other side broke the rules of TLS: {0}")]
    Violation(Box<str>),
}

impl TlsEnd {
    /// Whether time alone will not change it: someone has to change a configuration, here or there.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Alert(alert) => !matches!(*alert, INTERNAL_ERROR | USER_CANCELED | BAD_RECORD),
            Self::Certificate(_)
            | Self::Common(_)
            | Self::Local(_)
            | Self::Name(_)
            | Self::NoCertificate
            | Self::NotTls
            | Self::Size
            | Self::Version
            | Self::Violation(_) => true,
            Self::Damaged | Self::HungUp => false,
        }
    }
}

/// Why a certificate is not to be trusted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFault {
    /// A certificate of an authority where that of a server or client belongs, as `openssl req -x509` makes them.
    #[error(
        "the certificate is marked as that of an authority (as `openssl req -x509` makes them) and cannot stand for \
         a server or client itself; make one with `sudp cert`, or with `basicConstraints=CA:FALSE`, or pin its key"
    )]
    Authority,
    /// An extension that must be understood and is not.
    #[error("the certificate has a critical extension that is not known here")]
    CriticalExtension,
    /// It cannot be read.
    #[error("the certificate cannot be read")]
    Encoding,
    /// Its time is over.
    #[error("the certificate expired{}; renew it, and check this machine's clock", Apart(*.0, "ago"))]
    Expired(Option<Duration>),
    /// It is signed by a certificate that is none of an authority.
    #[error("the certificate is signed by one that may not sign others")]
    Issuer,
    /// It is not for the name that was asked for.
    #[error("the certificate is not for {asked:?}, but for {}; check the host, or configure the name", Names(.names))]
    Name {
        /// The name that was asked for.
        asked: Box<str>,
        /// The names in the certificate.
        names: Vec<Box<str>>,
    },
    /// An authority on its chain may not sign for that name.
    #[error("an authority of the certificate's chain may not sign for this name (name constraints)")]
    NameConstraint,
    /// Its time has not come.
    #[error("the certificate is not valid yet{}; check this machine's clock", Apart(*.0, "to go"))]
    NotYet(Option<Duration>),
    /// The chain is longer than one of its authorities allows, or than is borne with.
    #[error("the certificate's chain is too long, or longer than an authority in it allows")]
    PathLength,
    /// Its purpose is another.
    #[error("the certificate is for another purpose than this side of TLS ({0})")]
    Purpose(Box<str>),
    /// It was revoked.
    #[error("the certificate was revoked")]
    Revoked,
    /// A signature is wrong.
    #[error("a signature of the certificate's chain, or made with its key, is wrong")]
    Signature,
    /// A signature of a kind that is not taken.
    #[error("the certificate is signed in a way that is too weak, or not known here")]
    SignatureKind,
    /// Nobody vouches for it.
    #[error(
        "nobody who is trusted here has signed the certificate: it is self-made, its authority is not known here, or \
         the server does not send the certificates in between; give its authority's certificate, or pin its key"
    )]
    UnknownIssuer,
    /// A version of certificates that is not taken.
    #[error("the certificate is of a version of X.509 other than 3; make a new one")]
    Version,
    /// Another reason, in the words of whoever judged it.
    #[error("the certificate is not trusted: {0}")]
    Other(Box<str>),
}

/// How far a time lies from now.
struct Apart(Option<Duration>, &'static str);

impl fmt::Display for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Some(apart), way) = self else { return Ok(()) };
        match apart.as_secs() {
            seconds @ 0..=119 => write!(f, " ({seconds} s {way})"),
            seconds @ 120..=7_199 => write!(f, " ({} min {way})", seconds / 60),
            seconds @ 7_200..=172_799 => write!(f, " ({} h {way})", seconds / 3_600),
            seconds => write!(f, " ({} days {way})", seconds / 86_400),
        }
    }
}

/// The names in a certificate, as a list that stays short.
struct Names<'a>(&'a [Box<str>]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no name at all");
        }
        let shown = &self.0[..self.0.len().min(SHOWN)];
        f.write_str(&shown.join(", "))?;
        match self.0.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// What an alert means, and what may help; RFC 8446 §6 has the numbers.
fn alert_words(alert: u8) -> String {
    let words = match alert {
        BAD_RECORD => "what arrived there was altered on the way (bad_record_mac)",
        40 => "it finds nothing in common, or misses a client certificate (handshake_failure)",
        42 => "it does not take our certificate (bad_certificate)",
        43 => "our certificate is for another purpose (unsupported_certificate)",
        44 => "our certificate was revoked (certificate_revoked)",
        45 => "our certificate expired, or is not valid yet (certificate_expired)",
        46 => "it does not take our certificate (certificate_unknown)",
        48 => "it does not know who signed our certificate (unknown_ca)",
        49 => "our certificate does not let us in (access_denied)",
        51 => "a signature of ours is wrong there (decrypt_error)",
        70 => "it speaks no version of TLS that is allowed here (protocol_version)",
        71 => "what we offer is too weak for it (insufficient_security)",
        INTERNAL_ERROR => "it is in trouble itself (internal_error)",
        USER_CANCELED => "someone there gave up (user_canceled)",
        112 => "it has no certificate for that name; configure the name (unrecognized_name)",
        116 => "it wants a client certificate; configure one (certificate_required)",
        120 => "it speaks no HTTP/1.1 there (no_application_protocol)",
        other => return format!("alert {other}"),
    };
    words.to_owned()
}

const BAD_RECORD: u8 = 20;
const INTERNAL_ERROR: u8 = 80;
const USER_CANCELED: u8 = 90;
/// Names of a certificate that are listed.
const SHOWN: usize = 8;

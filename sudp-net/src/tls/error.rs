//! What can be wrong with our own side of TLS.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A configuration of TLS cannot be made. Nothing was changed by trying.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// What stands in the file is no certificate that can be read.
    #[error("{} holds a certificate that cannot be read: {why}", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The key is protected by a password.
    #[error(
        "the key in {} is encrypted; decrypt it with `openssl pkey -in {0}`, and let only its owner read it",
        file.display()
    )]
    EncryptedKey {
        /// The file.
        file: PathBuf,
    },
    /// The time of the certificate is over.
    #[error("the certificate in {} expired {} days ago; renew it", file.display(), ago.as_secs() / 86_400)]
    Expired {
        /// The file.
        file: PathBuf,
        /// For how long it has been over.
        ago: Duration,
    },
    /// Others than the owner of the key can read it.
    #[error("the key in {} can be read by every user (mode {mode:03o}); run `chmod 600 {0}`", file.display())]
    Exposed {
        /// The file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The key is of a kind that is not known, or it is damaged.
    #[error("the key in {} cannot be used: {why}", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Key and certificate do not belong together.
    #[error(
        "the key in {} is not that of the first certificate in {}; the server's own certificate comes first",
        key.display(), chain.display()
    )]
    KeyMismatch {
        /// The file of the certificates.
        chain: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The name to be asked for cannot be in a certificate.
    #[error("{0:?} is neither a host name nor an address")]
    Name(String),
    /// There is no certificate in the file.
    #[error("there is no certificate in {} (none that begins with `-----BEGIN CERTIFICATE-----`)", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// There is no key in the file.
    #[error("there is no private key in {} (none that begins with `-----BEGIN PRIVATE KEY-----`)", file.display())]
    NoKey {
        /// The file.
        file: PathBuf,
    },
    /// Nobody is trusted by this system.
    #[error("this system trusts no authority{why}; install its CA certificates, or name a file of them")]
    NoRoots {
        /// What went wrong with finding them, if anything.
        why: String,
    },
    /// The time of the certificate has not come.
    #[error("the certificate in {} is not valid yet, for {} minutes; check the clock", file.display(), wait.as_secs() / 60)]
    NotYet {
        /// The file.
        file: PathBuf,
        /// How long it is until then.
        wait: Duration,
    },
    /// Not the fingerprint of a key.
    #[error("{0:?} is not the pin of a key: `sha256/` and 44 characters of base64, as the server prints it")]
    Pin(String),
    /// The file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// A certificate that is to be trusted cannot stand for an authority.
    #[error("a certificate in {} cannot be that of an authority: {why}", file.display())]
    Root {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The parts do not make a configuration.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    /// Trust was asked for in nobody.
    #[error("nobody is to be trusted: name a file of certificates, or the pin of a key")]
    TrustsNobody,
}

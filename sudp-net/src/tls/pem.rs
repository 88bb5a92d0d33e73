//! Certificates and keys in files.

use std::fs;
use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, RootCertStore};

use super::{TlsError, validity};

/// A certificate with those that vouch for it, and its key.
pub(super) struct Pair {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// Reads a certificate with its key, and checks what can be checked without the other.
pub(super) fn pair(chain_file: &Path, key_file: &Path) -> Result<Pair, TlsError> {
    let chain = certificates(chain_file)?;
    validity::check(chain_file, &chain[0])?;
    Ok(Pair { chain, key: key(key_file)? })
}

/// Reads certificates; there is at least one.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|why| TlsError::Certificate { file: file.into(), why: why.to_string() })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { file: file.into() });
    }
    Ok(chain)
}

/// Reads the certificates of authorities.
pub(super) fn roots(files: &[impl AsRef<Path>]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for file in files {
        let file = file.as_ref();
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|why| TlsError::Root { file: file.into(), why: why.to_string() })?;
        }
    }
    if roots.is_empty() { Err(TlsError::TrustsNobody) } else { Ok(roots) }
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    check_mode(file)?;
    let bytes = read(file)?;
    let said = |words: &[u8]| bytes.windows(words.len()).any(|window| window == words);
    // An encrypted key of the old form looks like one that is not.
    if said(b"BEGIN ENCRYPTED PRIVATE KEY") || said(b"Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::EncryptedKey { file: file.into() });
    }
    match PrivateKeyDer::pem_slice_iter(&bytes).next() {
        Some(Ok(key)) => Ok(key),
        Some(Err(why)) => Err(TlsError::Key { file: file.into(), why: why.to_string() }),
        None => Err(TlsError::NoKey { file: file.into() }),
    }
}

/// What a library that was given a pair finds wrong with it, in terms of its files.
#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of errors are not ours, and there are many")]
pub(super) fn blame(error: rustls::Error, chain: &Path, key: &Path) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::KeyMismatch { chain: chain.into(), key: key.into() }
        }
        rustls::Error::InvalidCertificate(why) => TlsError::Certificate { file: chain.into(), why: why.to_string() },
        rustls::Error::General(why) => TlsError::Key { file: key.into(), why },
        other => TlsError::Setup(other),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|error| TlsError::Read { file: file.into(), error })
}

/// A key that every user can read is everybody's. Its group may read it: that is how services share one.
#[cfg(unix)]
fn check_mode(file: &Path) -> Result<(), TlsError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs::metadata(file).map_err(|error| TlsError::Read { file: file.into(), error })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o007 != 0 { Err(TlsError::Exposed { file: file.into(), mode }) } else { Ok(()) }
}

/// Who may read a file is told elsewhere by lists that a mode does not show.
#[cfg(not(unix))]
fn check_mode(_file: &Path) -> Result<(), TlsError> {
    Ok(())
}

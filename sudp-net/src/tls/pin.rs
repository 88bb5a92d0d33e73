//! Trust in one key, whoever signed its certificate or did not.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, OtherError};
use sha2::{Digest as _, Sha256};

use super::TlsError;
use super::judge::{Judge, Shown};

/// The fingerprint of a public key: SHA-256 over its `SubjectPublicKeyInfo`.
///
/// Written as `sha256/` and base64. It stays the same when a certificate is renewed with the same key.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The pin of the key in a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        Ok(Self(Sha256::digest(parsed.subject_public_key_info()).into()))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        for three in self.0.chunks(3) {
            let bits = three.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
            for digit in 0..4 {
                let letter = ALPHABET[bits >> (18 - 6 * digit) & 63];
                let shown = if digit <= three.len() { char::from(letter) } else { '=' };
                write!(f, "{shown}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Pin {
    type Err = TlsError;

    /// Reads what [`Display`](fmt::Display) writes; curl's `sha256//` is understood too.
    fn from_str(text: &str) -> Result<Self, TlsError> {
        read(text).ok_or_else(|| TlsError::Pin(text.to_owned()))
    }
}

fn read(text: &str) -> Option<Pin> {
    let digits = text.strip_prefix(PREFIX)?;
    // A key's fingerprint may itself begin with a slash: the length says which it is.
    let digits = if digits.len() == DIGITS + 1 { digits.strip_prefix('/')? } else { digits };
    if digits.len() != DIGITS {
        return None;
    }
    let mut bits = Vec::with_capacity(DIGITS);
    for letter in digits.strip_suffix('=')?.bytes() {
        bits.push(ALPHABET.iter().position(|candidate| *candidate == letter)?);
    }
    let mut key = [0; 32];
    for (index, byte) in key.iter_mut().enumerate() {
        let (digit, shift) = (index * 8 / 6, index * 8 % 6);
        let pair = bits[digit] << 6 | bits[digit + 1];
        *byte = u8::try_from(pair >> (4 - shift) & 0xff).ok()?;
    }
    let pin = Pin(key);
    // Of several ways to write one key, one is right.
    (bits.last()? & 3 == 0).then_some(pin)
}

/// Takes a server for what it says it is if its key is one of those that are known.
///
/// Nothing else about its certificate counts: not its name, not its time, not who signed it.
#[derive(Debug)]
pub(super) struct Pinned(pub(super) Vec<Pin>);

impl Judge for Pinned {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        let pin = Pin::of(shown.certificate)?;
        if self.0.contains(&pin) {
            return Ok(());
        }
        Err(CertificateError::Other(OtherError(Arc::new(Stranger(pin)))).into())
    }
}

/// A key that nobody pinned.
#[derive(Debug, thiserror::Error)]
#[error("its key is {0}, which is none that is pinned; if the server has a new key, pin that")]
struct Stranger(Pin);

const PREFIX: &str = "sha256/";
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// 43 digits and a filler.
const DIGITS: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_written_as_others_write_it_and_read_back() {
        let empty = Pin(Sha256::digest(b"").into());
        assert_eq!(empty.to_string(), "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        for byte in 0..=255 {
            let pin = Pin(Sha256::digest([byte]).into());
            assert_eq!(pin.to_string().parse::<Pin>().unwrap(), pin);
            assert_eq!(pin.to_string().replace("sha256/", "sha256//").parse::<Pin>().unwrap(), pin);
        }
        assert_eq!(Pin([0xff; 32]).to_string().parse::<Pin>().unwrap(), Pin([0xff; 32]));
    }

    #[test]
    fn what_is_no_pin_is_refused_with_its_text() {
        let good = Pin([7; 32]).to_string();
        for bad in [
            "",
            "sha256/",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "sha1/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=",
            "sha256/47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
            good.trim_end_matches('='),
            &format!("{good}="),
        ] {
            let error = bad.parse::<Pin>().unwrap_err();
            assert!(matches!(&error, TlsError::Pin(said) if said == bad), "{bad}");
        }
    }
}

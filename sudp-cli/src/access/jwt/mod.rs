//! JSON Web Tokens, as RFC 7519 and RFC 8725 have them: signed by somebody else, whose keys we have.

pub(crate) mod keys;
mod remote;

use std::sync::Arc;
use std::time::SystemTime;

use jsonwebtoken::crypto::{CryptoProvider, aws_lc, verify};
use jsonwebtoken::{Algorithm, DecodingKey};

use self::keys::{From, Key};
use self::remote::Remote;
use super::claims::{Claimed, Claims, Fault, Wanted};
use super::{Identity, Secret, Stamp, Via, base64, stamp};
use crate::config::file;
use crate::config::{Jwt as Settings, JwtKeys};
use crate::exit::{Exit, Failure, Outcome};

/// Checks tokens of one issuer.
#[derive(Clone, Debug)]
pub(crate) struct Jwt {
    wanted: Wanted,
    accepted: Vec<Algorithm>,
    keys: Keys,
}

#[derive(Clone, Debug)]
enum Keys {
    Fixed(Arc<Vec<Key>>),
    Remote(Arc<Remote>),
}

impl Jwt {
    /// Reads the keys, from their file or their address. An address that was known before stays as it was known until
    /// it answers.
    pub(crate) fn load(settings: &Settings, before: Option<&Self>) -> Outcome<Self> {
        install();
        let keys = match &settings.keys {
            JwtKeys::File(path) => {
                let unusable = |why: String| Failure::new(Exit::Config, format!("{}: {why}", path.display()));
                let text = file::read_value(path).map_err(|why| Failure::new(Exit::Config, why))?;
                let keys = keys::read(&text, From::File).map_err(unusable)?;
                if keys.iter().any(|key| key.algorithm == Algorithm::HS256) && file::is_exposed(path) {
                    return Err(unusable(format!(
                        "every user can read this secret; run `chmod 600 {}`",
                        path.display()
                    )));
                }
                Keys::Fixed(Arc::new(keys))
            }
            JwtKeys::Address(url) => match before.map(|before| &before.keys) {
                Some(Keys::Remote(remote)) if remote.url() == url => {
                    remote.fetch()?;
                    Keys::Remote(Arc::clone(remote))
                }
                Some(Keys::Remote(_) | Keys::Fixed(_)) | None => Keys::Remote(Arc::new(Remote::load(url)?)),
            },
        };
        let Settings { issuer, audience, principal_claim, groups_claim, leeway, algorithms, .. } = settings.clone();
        let wanted = Wanted { issuer: Some(issuer), audience, must_end: true, leeway, principal_claim, groups_claim };
        Ok(Self { wanted, accepted: algorithms, keys })
    }

    /// Finds out whose token this is.
    pub(crate) async fn check(&self, token: &Secret) -> Result<Identity, Fault> {
        let token = Parts::read(token.expose())?;
        let keys = match &self.keys {
            Keys::Fixed(keys) => Arc::clone(keys),
            Keys::Remote(remote) => remote.keys(&token).await,
        };
        let claimed = self.judge(&token, &keys, SystemTime::now())?;
        let Claimed { principal, groups, expires } = claimed;
        Ok(Identity { principal, via: Via::Jwt, groups, scope: None, expires, stamp: self.stamp() })
    }

    /// What changes with the issuer.
    pub(crate) fn stamp(&self) -> Stamp {
        stamp("jwt", self.wanted.issuer.as_deref().unwrap_or_default().as_bytes())
    }

    fn judge(&self, token: &Parts<'_>, keys: &[Key], now: SystemTime) -> Result<Claimed, Fault> {
        if !self.accepted.contains(&token.algorithm) {
            return Err(Fault::Algorithm);
        }
        let mut found = keys.iter().filter(|key| token.may_be_of(key)).peekable();
        if found.peek().is_none() {
            return Err(Fault::Key);
        }
        if !found.any(|key| token.is_signed(&key.key)) {
            return Err(Fault::Signature);
        }
        // Nothing of it was believed before.
        Claims::read(&token.payload)?.judge(&self.wanted, now)
    }
}

/// A token, taken apart. Nothing in it is believed.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// What is signed.
    message: &'a str,
    signature: &'a str,
    algorithm: Algorithm,
    key: Option<String>,
    payload: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn read(whole: &'a str) -> Result<Self, Fault> {
        let parts: Vec<&str> = whole.split('.').collect();
        let [header, payload, signature] = parts[..] else { return Err(Fault::Malformed) };
        let message = &whole[..header.len() + 1 + payload.len()];
        // One way to write it, so that there is one token for one signature.
        let part = |text: &str| base64::decode_url(text).ok_or(Fault::Malformed);
        let (header, payload, _) = (Claims::read(&part(header)?)?, part(payload)?, part(signature)?);
        let algorithm = match header.text("alg") {
            Some("HS256") => Algorithm::HS256,
            Some("RS256") => Algorithm::RS256,
            Some("ES256") => Algorithm::ES256,
            Some("EdDSA") => Algorithm::EdDSA,
            Some(_) | None => return Err(Fault::Algorithm),
        };
        // What must be understood is not; and a token that is encrypted inside is none of ours.
        if header.has("crit") || header.has("b64") || header.has("zip") || header.has("enc") {
            return Err(Fault::Malformed);
        }
        let key = match (header.has("kid"), header.text("kid")) {
            (true, None) => return Err(Fault::Malformed),
            (_, key) => key.map(str::to_owned),
        };
        Ok(Self { message, signature, algorithm, key, payload })
    }

    /// Whether a key has signed it: one for its algorithm.
    fn is_signed(&self, key: &DecodingKey) -> bool {
        verify(self.signature, self.message.as_bytes(), key, self.algorithm).unwrap_or(false)
    }

    /// Whether a key may have signed it: one of its algorithm, and of its name where both have one.
    pub(crate) fn may_be_of(&self, key: &Key) -> bool {
        let named = self.key.as_ref().is_none_or(|id| key.id.as_ref().is_none_or(|own| own == id));
        key.algorithm == self.algorithm && named
    }
}

/// Whether this has the form of such a token.
pub(crate) fn is_one(text: &str) -> bool {
    text.split('.').count() == 3
}

/// Cryptography comes from the library that does TLS, and from nowhere else.
fn install() {
    // Whoever was first has installed the same.
    let _ = CryptoProvider::install_default(&aws_lc::DEFAULT_PROVIDER);
}

#[cfg(test)]
mod tests;

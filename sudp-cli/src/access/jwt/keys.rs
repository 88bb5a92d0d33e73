//! Keys that signatures are checked with. Each is good for one algorithm, which it has by itself: what a token says of
//! its algorithm chooses among keys, and never how one of them is used.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use crate::access::base64;

/// A key, and what it is good for.
#[derive(Clone)]
pub(crate) struct Key {
    /// Its name, by which tokens ask for it; without one, any token may have been signed by it.
    pub(crate) id: Option<String>,
    /// The one algorithm.
    pub(crate) algorithm: Algorithm,
    /// What signatures are checked with.
    pub(crate) key: DecodingKey,
}

impl std::fmt::Debug for Key {
    /// One of them may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:?}, {:?})", self.id, self.algorithm)
    }
}

/// Who says what the keys are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum From {
    /// A file of ours: what cannot be used in it is a mistake.
    File,
    /// An address that everybody can read: it has keys for others, too, and none that is a secret.
    Public,
}

/// Reads keys: PEM, JSON as RFC 7517 has it, or else one secret.
pub(crate) fn read(text: &str, from: From) -> Result<Vec<Key>, String> {
    let start = text.trim_start();
    let keys = if start.starts_with('{') {
        set(start, from)?
    } else if from == From::Public {
        return Err("it is no set of keys (JSON with `keys`)".into());
    } else if start.contains("-----BEGIN") {
        pem(start)?
    } else {
        vec![secret(text.trim_end_matches(['\r', '\n']).as_bytes(), None)?]
    };
    match keys.len() {
        0 => Err("there is no key in it that could be used".into()),
        1..=MOST => Ok(keys),
        _ => Err(format!("it has more than {MOST} keys")),
    }
}

fn secret(bytes: &[u8], id: Option<String>) -> Result<Key, String> {
    if bytes.len() < SECRET {
        return Err(format!(
            "a secret for HS256 has at least {SECRET} bytes, found are {}; make one by `openssl rand -hex 32`",
            bytes.len()
        ));
    }
    Ok(Key { id, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(bytes) })
}

fn pem(text: &str) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN) {
        rest = &rest[begin..];
        let label = rest[BEGIN.len()..].split("-----").next().unwrap_or_default();
        let end = format!("-----END {label}-----");
        let length = rest.find(&end).ok_or_else(|| format!("the block `{label}` has no end"))? + end.len();
        if label.contains("PRIVATE") {
            return Err("it has a private key, which only the issuer may have; here its public key is wanted".into());
        }
        if !["PUBLIC KEY", "RSA PUBLIC KEY"].contains(&label) {
            return Err(format!("it has a `{label}`; wanted is a `PUBLIC KEY`"));
        }
        keys.push(public(&rest[..length])?);
        rest = &rest[length..];
    }
    Ok(keys)
}

/// What kind of key a block has is found out by reading it as each.
fn public(block: &str) -> Result<Key, String> {
    let bytes = block.as_bytes();
    let ec = DecodingKey::from_ec_pem(bytes).ok().filter(|key| length(key) == P256).map(|key| (Algorithm::ES256, key));
    let ed = || DecodingKey::from_ed_pem(bytes).ok().map(|key| (Algorithm::EdDSA, key));
    let rsa =
        || DecodingKey::from_rsa_pem(bytes).ok().filter(|key| length(key) > RSA).map(|key| (Algorithm::RS256, key));
    let (algorithm, key) = ec.or_else(ed).or_else(rsa).ok_or_else(|| UNUSABLE.to_owned())?;
    Ok(Key { id: None, algorithm, key })
}

fn length(key: &DecodingKey) -> usize {
    key.try_get_as_bytes().map_or(0, <[u8]>::len)
}

fn set(text: &str, from: From) -> Result<Vec<Key>, String> {
    let json: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let alone = [json.clone()];
    let all = match json.get("keys") {
        None => &alone[..],
        Some(Value::Array(keys)) => keys,
        Some(_) => return Err("`keys` is no list".into()),
    };
    let mut keys = Vec::new();
    for json in all {
        match (jwk(json), from) {
            (Ok(key), From::File) => keys.push(key),
            (Ok(key), From::Public) if key.algorithm != Algorithm::HS256 => keys.push(key),
            (Ok(_) | Err(_), From::Public) => {}
            (Err(why), From::File) => return Err(why),
        }
    }
    Ok(keys)
}

fn jwk(json: &Value) -> Result<Key, String> {
    let text = |name: &str| json.get(name).and_then(Value::as_str);
    let id = text("kid").map(str::to_owned);
    let shown = id.as_deref().unwrap_or("without kid").escape_debug().to_string();
    let part = |name: &str| {
        text(name).and_then(base64::decode_url).ok_or(format!("key {shown}: `{name}` is missing or broken"))
    };
    if json.get("d").is_some() {
        return Err(format!("key {shown}: it is a private key, which only the issuer may have"));
    }
    if text("use").is_some_and(|it| it != "sig") {
        return Err(format!("key {shown}: it is not for signatures"));
    }
    let key = match (text("kty"), text("crv")) {
        (Some("RSA"), _) => {
            let (n, e) = (part("n")?, part("e")?);
            if n.len() < 256 {
                return Err(format!("key {shown}: it has less than 2048 bits"));
            }
            Key { id, algorithm: Algorithm::RS256, key: DecodingKey::from_rsa_raw_components(&n, &e) }
        }
        (Some("EC"), Some("P-256")) if part("x")?.len() == 32 && part("y")?.len() == 32 => {
            let key = DecodingKey::from_ec_components(text("x").unwrap_or_default(), text("y").unwrap_or_default());
            Key { id, algorithm: Algorithm::ES256, key: key.map_err(|error| format!("key {shown}: {error}"))? }
        }
        (Some("OKP"), Some("Ed25519")) if part("x")?.len() == 32 => {
            Key { id, algorithm: Algorithm::EdDSA, key: DecodingKey::from_ed_der(&part("x")?) }
        }
        (Some("oct"), _) => secret(&part("k")?, id)?,
        _ => return Err(format!("key {shown}: {UNUSABLE}")),
    };
    match text("alg") {
        Some(alg) if alg != format!("{:?}", key.algorithm) => {
            Err(format!("key {shown}: it is for {}; {UNUSABLE}", alg.escape_debug()))
        }
        Some(_) | None => Ok(key),
    }
}

const BEGIN: &str = "-----BEGIN ";
const UNUSABLE: &str =
    "what can be used is RSA from 2048 bits (RS256), P-256 (ES256), Ed25519 (EdDSA) or a secret (HS256)";
/// More than anybody has at a time.
const MOST: usize = 64;
/// The least bytes of a secret: as many as the hash has.
const SECRET: usize = 32;
/// The bytes of a point of P-256.
const P256: usize = 65;
/// A key of RSA with 2048 bits has more bytes.
const RSA: usize = 256;

//! Tokens of our own: what they look like, and what is kept of them.

use std::time::SystemTime;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use sudp_tokio::proto::access::{Rule, Rules};

use super::book::Scope;
use super::passwords::random;
use super::records::{Fields, Record, Table, Written, read_name, written_time};
use super::{Identity, Secret, Stamp, Via, Why, base64, stamp};
use crate::config::tree::quoted;
use crate::exit::Outcome;

/// What is kept of a token. It is as good as random, so that a plain hash of it tells nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Token {
    /// By what it is found; it stands in the token itself.
    pub(crate) id: Id,
    /// The hash of all of it.
    hash: [u8; 32],
    /// When it ends.
    pub(crate) expires: Option<SystemTime>,
    /// What it restricts itself to.
    pub(crate) rules: Vec<Rule>,
    /// To which groups it belongs.
    pub(crate) groups: Vec<String>,
    /// When it was made.
    pub(crate) created: Option<SystemTime>,
}

/// The part of a token that is no secret.
pub(crate) type Id = [u8; 4];

impl Token {
    /// A new one, and what is shown of it once.
    pub(crate) fn new(expires: Option<SystemTime>, rules: Vec<Rule>, groups: Vec<String>) -> Outcome<(Self, Secret)> {
        let bytes: [u8; ID + SECRET] = random()?;
        let text = format!("{PREFIX}{}", base64::encode_url(&[&bytes[..], &checksum(&bytes)].concat()));
        let mut id = Id::default();
        id.copy_from_slice(&bytes[..ID]);
        let created = Some(SystemTime::now());
        let token = Self { id, hash: hash(&text), expires, rules, groups, created };
        Ok((token, Secret::new(text)))
    }

    /// Whether it has ended.
    pub(crate) fn expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// Who it is that has shown it.
    pub(crate) fn identity(&self, name: &str) -> Identity {
        Identity {
            principal: format!("{PRINCIPAL}{name}"),
            via: Via::Token,
            groups: self.groups.clone(),
            scope: (!self.rules.is_empty()).then(|| Scope::new(Rules::new(self.rules.clone()).unwrap_or_default())),
            expires: self.expires,
            stamp: self.stamp(),
        }
    }

    /// What no other token has.
    pub(crate) fn stamp(&self) -> Stamp {
        stamp("token", &self.hash)
    }
}

impl Record for Token {
    const SECTION: &'static str = "tokens";
    const FIELDS: &'static [&'static str] = &["id", "sha256", "expires", "rules", "groups", "created"];

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let id =
            fields.need("id", |text| bytes_of(text).ok_or_else(|| format!("{} is no id of a token", quoted(text))));
        let hash = fields.need("sha256", |text| {
            bytes_of(text).ok_or_else(|| "it is no hash of a token; make one by `sudp token new`".to_owned())
        });
        // A time that cannot be read is a problem, and not a token that never ends.
        let expires = fields.time("expires");
        let rules = fields.many("rules", |text| text.parse::<Rule>().map_err(|error| error.to_string()));
        let groups = fields.many("groups", read_name);
        let created = fields.time("created");
        Some(Self { id: id?, hash: hash?, expires, rules, groups, created })
    }

    fn write(&self) -> Vec<(&'static str, Written)> {
        let time = |name, at: Option<SystemTime>| at.map(|at| (name, Written::Text(written_time(at))));
        let mut fields = vec![("id", Written::Text(hex(&self.id))), ("sha256", Written::Text(hex(&self.hash)))];
        fields.extend(time("expires", self.expires));
        fields.push(("rules", Written::Texts(self.rules.iter().map(ToString::to_string).collect())));
        fields.push(("groups", Written::Texts(self.groups.clone())));
        fields.extend(time("created", self.created));
        fields
    }
}

/// Whether this looks like a token of ours, and of nobody else's.
pub(crate) fn is_ours(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Finds out whose token this is.
pub(crate) fn check(table: &Table<Token>, shown: &Secret, now: SystemTime) -> Result<Identity, Why> {
    let text = shown.expose();
    let shown = hash(text);
    let id = id_of(text).ok_or(Why::Malformed)?;
    let (name, token) = table.iter().find(|(_, token)| token.id == id).ok_or(Why::UnknownToken)?;
    if verify_slices_are_equal(&token.hash, &shown).is_err() {
        return Err(Why::UnknownToken);
    }
    if token.expired(now) {
        return Err(Why::TokenExpired(name.clone()));
    }
    Ok(token.identity(name))
}

/// An id as people see it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The id in a token that was typed as it is: its checksum says so.
fn id_of(text: &str) -> Option<Id> {
    let bytes = base64::decode_url(text.strip_prefix(PREFIX)?)?;
    let (body, sum) = bytes.split_last_chunk::<SUM>()?;
    (body.len() == ID + SECRET && *sum == checksum(body)).then(|| body.first_chunk().copied())?
}

fn hash(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

/// What finds mistakes of typing, and tells scanners for lost secrets that this is one. It protects nothing.
fn checksum(body: &[u8]) -> [u8; SUM] {
    let mut sum = [0; SUM];
    sum.copy_from_slice(&digest(&SHA256, body).as_ref()[..SUM]);
    sum
}

fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

const PREFIX: &str = "sudp_";
/// What stands in front of the name of a token where it is a principal.
pub(crate) const PRINCIPAL: &str = "token:";
const ID: usize = size_of::<Id>();
const SECRET: usize = 32;
const SUM: usize = 4;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn table(expires: Option<SystemTime>) -> (Table<Token>, Secret) {
        let rules = vec!["allow 10.0.0.0/8:53".parse().expect("a rule")];
        let (token, secret) = Token::new(expires, rules, vec!["ops".into()]).expect("random");
        (Table::from([("backup".to_owned(), token)]), secret)
    }

    #[test]
    fn a_token_is_found_by_itself_alone() {
        let now = SystemTime::now();
        let (tokens, secret) = table(None);
        let who = check(&tokens, &secret, now).expect("it is one");
        assert_eq!((who.principal.as_str(), who.via, who.groups.len()), ("token:backup", Via::Token, 1));
        assert!(who.scope.is_some());
        assert!(secret.expose().starts_with("sudp_") && secret.expose().len() == 59, "{}", secret.expose().len());
        let (others, _) = table(None);
        assert_eq!(check(&others, &secret, now), Err(Why::UnknownToken));
    }

    #[test]
    fn whatever_is_changed_in_a_token_makes_it_none() {
        let (tokens, secret) = table(None);
        let text = secret.expose();
        for at in 0..text.len() {
            let mut other = text.as_bytes().to_vec();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = Secret::new(String::from_utf8(other).expect("text"));
            assert_eq!(check(&tokens, &other, SystemTime::now()), Err(Why::Malformed), "{at}");
            assert_eq!(check(&tokens, &Secret::new(&text[..at]), SystemTime::now()), Err(Why::Malformed), "{at}");
        }
        // Of one who has seen the id, and computes a checksum.
        let mut forged = base64::decode_url(&text[5..]).expect("so it was made");
        forged[20] ^= 1;
        let sum = checksum(&forged[..ID + SECRET]);
        forged[ID + SECRET..].copy_from_slice(&sum);
        let forged = Secret::new(format!("sudp_{}", base64::encode_url(&forged)));
        assert_eq!(check(&tokens, &forged, SystemTime::now()), Err(Why::UnknownToken));
    }

    #[test]
    fn a_token_ends_on_time() {
        let now = SystemTime::now();
        let (tokens, secret) = table(Some(now + Duration::from_secs(10)));
        assert!(check(&tokens, &secret, now + Duration::from_secs(9)).is_ok());
        let late = check(&tokens, &secret, now + Duration::from_secs(10));
        assert_eq!(late, Err(Why::TokenExpired("backup".into())));
    }
}

//! What somebody else says of a client: the claims in a token, or in the answer of who was asked about it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

/// What is claimed, each thing once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Claims(Map<String, Value>);

/// What claims must be, and where in them the name and the groups are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Wanted {
    /// Who must say it; without one, that is known already.
    pub(crate) issuer: Option<String>,
    /// To one of whom it must be said; without any, to anybody.
    pub(crate) audience: Vec<String>,
    /// Whether it must say when it ends.
    pub(crate) must_end: bool,
    /// By how much clocks may differ.
    pub(crate) leeway: Duration,
    /// The claim with the name.
    pub(crate) principal_claim: String,
    /// The claim with the groups.
    pub(crate) groups_claim: String,
}

/// Who it is, by claims that are good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Claimed {
    pub(crate) principal: String,
    pub(crate) groups: Vec<String>,
    pub(crate) expires: Option<SystemTime>,
}

/// What is wrong with a token that somebody else has made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Fault {
    /// Its algorithm is none that is accepted.
    #[error("its algorithm is not accepted")]
    Algorithm,
    /// It was made for somebody else.
    #[error("it is for another audience")]
    Audience,
    /// It is not good yet.
    #[error("it is not good yet")]
    Early,
    /// It is not good any more.
    #[error("it has expired")]
    Expired,
    /// It was made by somebody else.
    #[error("it is of another issuer")]
    Issuer,
    /// Nobody has such a key.
    #[error("its key is not known")]
    Key,
    /// It is not of the form that it should have.
    #[error("it is malformed")]
    Malformed,
    /// A claim that it must have is missing, or is of another type.
    #[error("its claim `{0}` is missing, or of another type")]
    Missing(&'static str),
    /// It does not name anybody.
    #[error("its claim that names the client is missing, or is no name")]
    Principal,
    /// Somebody has changed it, or somebody else has made it.
    #[error("its signature is wrong")]
    Signature,
}

impl Claims {
    /// Reads an object of JSON. One that says a thing twice would be read in one way here and in another elsewhere.
    pub(crate) fn read(json: &[u8]) -> Result<Self, Fault> {
        serde_json::from_slice::<Once>(json).map(|Once(map)| Self(map)).map_err(|_| Fault::Malformed)
    }

    /// A text, if it is there and is one.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// Whether something is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether a thing is so.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    /// Judges them at a time.
    pub(crate) fn judge(&self, wanted: &Wanted, now: SystemTime) -> Result<Claimed, Fault> {
        let expires = self.time("exp")?;
        if wanted.must_end && expires.is_none() {
            return Err(Fault::Missing("exp"));
        }
        // The clock that it goes by may be behind ours, and then it lasts for longer by ours.
        let expires = expires.map(|at| at + wanted.leeway);
        if expires.is_some_and(|at| at <= now) {
            return Err(Fault::Expired);
        }
        if self.time("nbf")?.is_some_and(|at| at > now + wanted.leeway) {
            return Err(Fault::Early);
        }
        if let Some(issuer) = &wanted.issuer
            && self.text("iss").ok_or(Fault::Missing("iss"))? != issuer
        {
            return Err(Fault::Issuer);
        }
        if !wanted.audience.is_empty() {
            let audience = self.0.get("aud").and_then(texts).ok_or(Fault::Missing("aud"))?;
            if !audience.iter().any(|it| wanted.audience.iter().any(|wanted| wanted == it)) {
                return Err(Fault::Audience);
            }
        }
        let principal = self.find(&wanted.principal_claim).and_then(Value::as_str).ok_or(Fault::Principal)?;
        if !is_name(principal) {
            return Err(Fault::Principal);
        }
        let groups = self.find(&wanted.groups_claim).map(groups).unwrap_or_default();
        Ok(Claimed { principal: principal.to_owned(), groups, expires })
    }

    /// A time in seconds, whole or not.
    fn time(&self, name: &'static str) -> Result<Option<SystemTime>, Fault> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| (0.0..=FAR).contains(seconds)).ok_or(Fault::Missing(name))?;
        Ok(Some(UNIX_EPOCH + Duration::from_secs_f64(seconds)))
    }

    /// A claim of this name, or at the end of this path, as `realm_access.roles`.
    fn find(&self, name: &str) -> Option<&Value> {
        self.0.get(name).or_else(|| {
            let (section, rest) = name.split_once('.')?;
            rest.split('.').try_fold(self.0.get(section)?, |value, name| value.get(name))
        })
    }
}

/// Whether this can be a principal. One that looks like those that others vouch for would be taken for them.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = !text.chars().any(char::is_control) && text.trim() == text;
    let taken = ["cert:", "group:", "key:", "token:"].iter().any(|prefix| text.starts_with(prefix));
    !text.is_empty() && text != "*" && text.len() <= LONGEST_NAME && plain && !taken
}

/// A text, or a list of them.
fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// Groups as a list, or with blanks in between as scopes are. What is no name of a group is none.
fn groups(value: &Value) -> Vec<String> {
    let texts = match value {
        Value::String(text) => text.split_ascii_whitespace().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            texts(value).unwrap_or_default()
        }
    };
    texts.into_iter().filter(|text| is_name(text)).take(GROUPS).map(str::to_owned).collect()
}

/// An object that says each thing once.
struct Once(Map<String, Value>);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OnceVisitor)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object that says each thing once")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Once, A::Error> {
        let mut map = Map::new();
        while let Some((name, value)) = access.next_entry::<String, Value>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("it says a thing twice"));
            }
        }
        Ok(Once(map))
    }
}

/// The year 9999, as a clock counts it.
const FAR: f64 = 253_402_300_799.0;
const LONGEST_NAME: usize = 256;
/// More groups than anybody is in.
const GROUPS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            issuer: Some("https://idp".into()),
            audience: vec!["sudp".into(), "other".into()],
            must_end: true,
            leeway: Duration::from_secs(60),
            principal_claim: "sub".into(),
            groups_claim: "realm.roles".into(),
        }
    }

    fn judge(json: &str) -> Result<Claimed, Fault> {
        Claims::read(json.as_bytes())?.judge(&wanted(), UNIX_EPOCH + Duration::from_secs(1_000))
    }

    #[test]
    fn who_it_is_stands_in_good_claims() {
        let claimed = judge(
            r#"{"iss":"https://idp","aud":["x","sudp"],"exp":1000.5,"nbf":1060,"sub":"alice","realm":{"roles":["ops","*","token:x"]}}"#,
        );
        let expires = Some(UNIX_EPOCH + Duration::from_millis(1_060_500));
        assert_eq!(claimed, Ok(Claimed { principal: "alice".into(), groups: vec!["ops".into()], expires }));
        // By our clock it ended a while ago, and by its own it may not have: then what it grants has not ended either.
        let blanks = judge(r#"{"iss":"https://idp","aud":"sudp","exp":941,"sub":"a","realm":{"roles":"one  two"}}"#);
        let blanks = blanks.map(|it| (it.groups, it.expires));
        let expires = Some(UNIX_EPOCH + Duration::from_secs(1_001));
        assert_eq!(blanks, Ok((vec!["one".into(), "two".into()], expires)));
    }

    #[test]
    fn each_wrong_claim_has_its_fault() {
        let good = r#"{"iss":"https://idp","aud":"sudp","exp":2000,"sub":"alice"}"#;
        assert!(judge(good).is_ok());
        for (from, to, fault) in [
            (r#""exp":2000"#, r#""exp":940"#, Fault::Expired),
            (r#""exp":2000"#, r#""exp":"2000""#, Fault::Missing("exp")),
            (r#""exp":2000"#, r#""exp":1e300"#, Fault::Missing("exp")),
            (r#""exp":2000"#, r#""exp":-1"#, Fault::Missing("exp")),
            (r#""exp":2000"#, r#""exp":null"#, Fault::Missing("exp")),
            (r#""exp":2000,"#, "", Fault::Missing("exp")),
            (r#""exp":2000"#, r#""exp":2000,"nbf":1061"#, Fault::Early),
            (r#""exp":2000"#, r#""exp":2000,"nbf":"now""#, Fault::Missing("nbf")),
            (r#""exp":2000"#, r#""exp":2000,"exp":2000"#, Fault::Malformed),
            ("https://idp", "https://idp/", Fault::Issuer),
            (r#""https://idp""#, r#"["https://idp"]"#, Fault::Missing("iss")),
            (r#""aud":"sudp""#, r#""aud":"sudp2""#, Fault::Audience),
            (r#""aud":"sudp""#, r#""aud":[]"#, Fault::Audience),
            (r#""aud":"sudp""#, r#""aud":["sudp",1]"#, Fault::Missing("aud")),
            (r#""aud":"sudp","#, "", Fault::Missing("aud")),
            (r#""sub":"alice""#, r#""sub":"""#, Fault::Principal),
            (r#""sub":"alice""#, r#""sub":7"#, Fault::Principal),
            (r#""sub":"alice""#, r#""sub":"token:backup""#, Fault::Principal),
            (r#""sub":"alice""#, r#""sub":"*""#, Fault::Principal),
            (r#""sub":"alice""#, "\"sub\":\"a\\nb\"", Fault::Principal),
        ] {
            assert_eq!(judge(&good.replace(from, to)), Err(fault), "{to}");
        }
        for json in ["", "[]", "{", "null", "\"a\"", "{}x"] {
            assert_eq!(judge(json), Err(Fault::Malformed), "{json}");
        }
    }
}

//! How clients show who they are: what is configured of it, and whether it can be used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::Server;
use super::check::Reader;
use super::keys;
use super::values::{self, Kind};
use crate::access::records::{self, Record};
use crate::access::tokens::Token;
use crate::access::users::User;
use crate::access::web::check_url;
use crate::access::{self, Secret};

/// What clients show of themselves, and what that is checked against.
#[derive(Clone, Debug, Default)]
pub(crate) struct Auth {
    /// The file of users and their passwords.
    pub(crate) users: Option<PathBuf>,
    /// The file of tokens.
    pub(crate) tokens: Option<PathBuf>,
    /// How long the tickets of those who were let in are good; without it, there are none.
    pub(crate) tickets: Option<Duration>,
    /// Whether the names in certificates say who clients are.
    pub(crate) certificates: bool,
    /// The file of those who are known by the keys they seal with.
    pub(crate) keys: Option<PathBuf>,
    /// Whose tokens are believed.
    pub(crate) jwt: Option<Jwt>,
    /// Who is asked about tokens.
    pub(crate) introspection: Option<Introspection>,
}

/// Tokens that somebody else has signed.
#[derive(Clone, Debug)]
pub(crate) struct Jwt {
    /// Where the keys are.
    pub(crate) keys: JwtKeys,
    /// Who must have made them.
    pub(crate) issuer: String,
    /// For one of whom they must be.
    pub(crate) audience: Vec<String>,
    /// By what they may be signed.
    pub(crate) algorithms: Vec<Algorithm>,
    /// The claim with the name.
    pub(crate) principal_claim: String,
    /// The claim with the groups.
    pub(crate) groups_claim: String,
    /// By how much clocks may differ.
    pub(crate) leeway: Duration,
}

/// Where keys are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum JwtKeys {
    /// In a file.
    File(PathBuf),
    /// At an address.
    Address(String),
}

/// Who is asked about tokens.
#[derive(Clone, Debug)]
pub(crate) struct Introspection {
    /// The address.
    pub(crate) url: String,
    /// What we are called there.
    pub(crate) client_id: String,
    /// What we show of ourselves.
    pub(crate) client_secret: Secret,
    /// For one of whom tokens must be; without any, for anybody.
    pub(crate) audience: Vec<String>,
    /// The name in the answer.
    pub(crate) principal_claim: String,
    /// The groups in the answer.
    pub(crate) groups_claim: String,
}

impl Introspection {
    /// Whether another one says the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let said = |it: &Self| {
            let Self { url, client_id, client_secret, audience, principal_claim, groups_claim } = it.clone();
            (url, client_id, client_secret.expose().to_owned(), audience, principal_claim, groups_claim)
        };
        said(self) == said(other)
    }
}

impl Auth {
    /// Whether clients are asked who they are.
    pub(crate) fn asks(&self) -> bool {
        !self.sources().is_empty()
    }

    /// Whether what they show could be read on the way.
    pub(crate) fn is_sent(&self) -> bool {
        !Self { certificates: false, keys: None, ..self.clone() }.sources().is_empty()
    }

    /// What they are asked for, in words.
    pub(crate) fn sources(&self) -> Vec<&'static str> {
        let Self { users, tokens, certificates, keys, jwt, introspection, tickets: _ } = self;
        let all = [
            (*certificates, "the names in certificates"),
            (keys.is_some(), "the keys they seal with"),
            (users.is_some(), "users and passwords"),
            (tokens.is_some(), "tokens"),
            (jwt.is_some(), "JSON Web Tokens"),
            (introspection.is_some(), "asking about tokens"),
        ];
        all.into_iter().filter(|(is, _)| *is).map(|(_, words)| words).collect()
    }
}

/// Reads what is configured.
pub(super) fn auth(reader: &mut Reader<'_>) -> Auth {
    Auth {
        users: reader.file("server.auth.users"),
        tokens: reader.file("server.auth.tokens"),
        certificates: reader.truth("server.auth.certificates"),
        keys: reader.file("server.auth.keys"),
        jwt: jwt(reader),
        introspection: introspection(reader),
        tickets: reader.time("server.auth.tickets"),
    }
}

fn jwt(reader: &mut Reader<'_>) -> Option<Jwt> {
    let before = reader.problems();
    let file = reader.file("server.auth.jwt.keys");
    let address = reader.one("server.auth.jwt.jwks", |text| check_url(text).map(|_| text.to_owned()));
    let (issuer, audience) = (reader.text("server.auth.jwt.issuer"), texts(reader, "server.auth.jwt.audience"));
    let algorithms = reader.many("server.auth.jwt.algorithms", read_algorithm);
    let principal_claim = reader.text("server.auth.jwt.principal_claim").unwrap_or_default();
    let groups_claim = reader.text("server.auth.jwt.groups_claim").unwrap_or_default();
    let leeway = reader.time("server.auth.jwt.leeway").unwrap_or_default();
    // What is there and wrong is not missing.
    if reader.problems() > before || JWT.iter().all(|key| reader.is_default(key)) {
        return None;
    }
    if algorithms.is_empty() {
        reader.blame("server.auth.jwt.algorithms", "none is left; leave it out for all of them");
    }
    let keys = match (file, address) {
        (Some(file), None) => Some(JwtKeys::File(file)),
        (None, Some(address)) => Some(JwtKeys::Address(address)),
        (Some(_), Some(_)) => {
            reader.blame("server.auth.jwt.jwks", "there is `server.auth.jwt.keys` as well; leave one of them out");
            None
        }
        (None, None) => {
            lacks(
                reader,
                &JWT,
                "server.auth.jwt.keys",
                "or `server.auth.jwt.jwks`: no token can be checked without keys",
            );
            None
        }
    };
    if issuer.is_none() {
        lacks(reader, &JWT, "server.auth.jwt.issuer", "so that tokens of others are not taken");
    }
    if audience.is_empty() {
        lacks(reader, &JWT, "server.auth.jwt.audience", "so that tokens for others are not taken");
    }
    Some(Jwt { keys: keys?, issuer: issuer?, audience, algorithms, principal_claim, groups_claim, leeway })
}

fn introspection(reader: &mut Reader<'_>) -> Option<Introspection> {
    let before = reader.problems();
    let url = reader.one("server.auth.introspection.url", |text| check_url(text).map(|_| text.to_owned()));
    let client_id = reader.text("server.auth.introspection.client_id");
    let client_secret = reader.text("server.auth.introspection.client_secret").map(Secret::new);
    let audience = texts(reader, "server.auth.introspection.audience");
    let principal_claim = reader.text("server.auth.introspection.principal_claim").unwrap_or_default();
    let groups_claim = reader.text("server.auth.introspection.groups_claim").unwrap_or_default();
    if reader.problems() > before || INTROSPECTION.iter().all(|key| reader.is_default(key)) {
        return None;
    }
    for key in INTROSPECTION.into_iter().filter(|key| reader.is_default(key)).collect::<Vec<_>>() {
        lacks(reader, &INTROSPECTION, key, "so that somebody can be asked");
    }
    let (url, client_id, client_secret) = (url?, client_id?, client_secret?);
    Some(Introspection { url, client_id, client_secret, audience, principal_claim, groups_claim })
}

/// What is said is of no use without something that is not.
fn lacks(reader: &mut Reader<'_>, said: &[&str], missing: &str, why: &str) {
    let blamed = said.iter().find(|key| !reader.is_default(key)).unwrap_or(&missing);
    reader.blame(blamed, format!("is of no use without `{missing}`; set that, too, {why}"));
}

fn texts(reader: &mut Reader<'_>, path: &'static str) -> Vec<String> {
    let Some(Kind::Text(most)) = keys::find(path).map(|key| key.kind) else { unreachable!("{path} is a text") };
    reader.many(path, |text| values::read_text(text, most))
}

fn read_algorithm(text: &str) -> Result<Algorithm, String> {
    let algorithm = match values::read_choice(text, &ALGORITHMS)? {
        "HS256" => Algorithm::HS256,
        "RS256" => Algorithm::RS256,
        "ES256" => Algorithm::ES256,
        _ => Algorithm::EdDSA,
    };
    Ok(algorithm)
}

/// Whether each source that is named can be used, and who could come in at all.
pub(super) fn check(reader: &mut Reader<'_>, server: &Server) {
    if let Some(users) = &server.auth.users {
        file::<User>(reader, "server.auth.users", users, "sudp user add NAME");
    }
    if let Some(tokens) = &server.auth.tokens {
        file::<Token>(reader, "server.auth.tokens", tokens, "sudp token new NAME");
    }
    if server.auth.certificates && server.tls.as_ref().is_none_or(|tls| tls.client_ca.is_empty()) {
        let what = "nobody is asked for a certificate: set `server.tls.client_ca`, too";
        reader.blame("server.auth.certificates", what);
    }
    // An address is asked when it starts, and not where a configuration is only looked at.
    if let Some(jwt @ Jwt { keys: JwtKeys::File(_), .. }) = &server.auth.jwt
        && let Err(failure) = access::Jwt::load(jwt, None)
    {
        reader.blame("server.auth.jwt.keys", failure);
    }
}

/// Whether a file of records can be used. One without any lets nobody in, which nobody means.
fn file<R: Record>(reader: &mut Reader<'_>, key: &str, path: &Path, way: &str) {
    match records::load::<R>(path) {
        Ok(table) if table.is_empty() => {
            let shown = path.display();
            reader.blame(key, format!("{shown} has no {}: add one by `{way} --file {shown}`", R::SECTION));
        }
        Ok(_) => {}
        Err(problems) => {
            // Which key names a file is told where nothing in it can be.
            problems.into_iter().for_each(|problem| reader.blame(key, problem));
        }
    }
}

/// What tokens may be signed by.
pub(super) const ALGORITHMS: [&str; 4] = ["HS256", "RS256", "ES256", "EdDSA"];

/// Keys of which one that is set has tokens of somebody else believed.
const JWT: [&str; 4] =
    ["server.auth.jwt.keys", "server.auth.jwt.jwks", "server.auth.jwt.issuer", "server.auth.jwt.audience"];

/// The same, for asking about them.
const INTROSPECTION: [&str; 3] =
    ["server.auth.introspection.url", "server.auth.introspection.client_id", "server.auth.introspection.client_secret"];

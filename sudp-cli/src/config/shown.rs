//! What is configured of who a client is, read out of a tree.

use std::net::IpAddr;

use super::check::Reader;
use super::tree::quoted;
use super::{ClientAuth, OAuth, OAuthMethod};
use crate::access::Secret;

/// The one thing that a client shows: more than one is a mistake, and both are named.
pub(super) fn client(reader: &mut Reader<'_>, headers: &[(String, String)]) -> ClientAuth {
    let user = reader.text("client.auth.user").filter(|user| !user.is_empty());
    let password = secret(reader, "client.auth.password");
    let token = secret(reader, "client.auth.token");
    let command = reader.text("client.auth.token_command").filter(|command| !command.is_empty());
    let every = reader.time("client.auth.token_every").unwrap_or_default();
    let oauth = oauth(reader);
    let header = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let kinds = [
        ("client.auth.user", user.is_some()),
        ("client.auth.token", token.is_some()),
        ("client.auth.token_command", command.is_some()),
        ("client.auth.oauth", oauth.is_some()),
        ("client.headers (Authorization)", header),
    ];
    let mut given = kinds.iter().filter(|(_, given)| *given).map(|(key, _)| *key);
    if let (Some(one), Some(other)) = (given.next(), given.next()) {
        let blamed = if other == "client.auth.oauth" { "client.auth.oauth.url" } else { other };
        let blamed = if blamed.contains(' ') { "client.headers" } else { blamed };
        reader
            .blame(blamed, format!("`{other}` and `{one}` both say what is shown to be let in; leave one of them out"));
    }
    if let Some(user) = user.as_deref().filter(|user| user.contains(':')) {
        reader.blame("client.auth.user", format!("{} has a colon in it, which no name can have here", quoted(user)));
    }
    match (user, token, command, oauth) {
        (Some(user), ..) => ClientAuth::User { user, password },
        (None, Some(token), ..) => ClientAuth::Token(token),
        (None, None, Some(command), _) => ClientAuth::Command { command, every },
        (None, None, None, Some(oauth)) => ClientAuth::OAuth(oauth),
        (None, None, None, None) => {
            if password.is_some() {
                reader.blame("client.auth.password", "is of no use without `client.auth.user`; set that, too");
            }
            ClientAuth::Nothing
        }
    }
}

fn secret(reader: &mut Reader<'_>, key: &'static str) -> Option<Secret> {
    let text = reader.text(key)?;
    if text.is_empty() {
        reader.blame(key, "is empty; a secret was meant to be there");
        return None;
    }
    Some(Secret::new(text))
}

fn oauth(reader: &mut Reader<'_>) -> Option<OAuth> {
    let url = reader.one("client.auth.oauth.url", token_url);
    let client_id = reader.text("client.auth.oauth.client_id");
    let client_secret = secret(reader, "client.auth.oauth.client_secret");
    let (scope, audience) = (reader.text("client.auth.oauth.scope"), reader.text("client.auth.oauth.audience"));
    let method = reader.one("client.auth.oauth.method", |text| match text {
        "post" => Ok(OAuthMethod::Post),
        "basic" => Ok(OAuthMethod::Basic),
        _ => Err(format!("{} is not allowed here; allowed is one of basic, post", quoted(text))),
    });
    let said = url.is_some() || client_id.is_some() || client_secret.is_some() || scope.is_some() || audience.is_some();
    if !said || reader.failed() {
        return None;
    }
    let lacking =
        [("url", url.is_none()), ("client_id", client_id.is_none()), ("client_secret", client_secret.is_none())];
    for (name, _) in lacking.into_iter().filter(|(_, lacks)| *lacks) {
        let said =
            ["url", "client_id", "client_secret", "scope", "audience"].map(|it| format!("client.auth.oauth.{it}"));
        let blamed = said.iter().find(|key| !reader.is_default(key)).cloned().unwrap_or_default();
        reader.blame(&blamed, format!("is of no use without `client.auth.oauth.{name}`; set that, too"));
    }
    let method = method.unwrap_or_default();
    Some(OAuth { url: url?, client_id: client_id?, client_secret: client_secret?, scope, audience, method })
}

/// The URL of a token endpoint: a secret goes there, so nobody on the way may read it.
fn token_url(text: &str) -> Result<String, String> {
    let here = |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let inside = |rest: &str| -> Option<String> {
        let authority = rest.split(['/', '?']).next()?;
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let proper = !host.is_empty() && !authority.contains('@') && !text.contains(['#', ' ']) && text.is_ascii();
        proper.then(|| host.trim_matches(['[', ']']).to_owned())
    };
    match (text.strip_prefix("https://").map(inside), text.strip_prefix("http://").map(inside)) {
        (Some(Some(_)), _) => Ok(text.to_owned()),
        (_, Some(Some(host))) if here(&host) => Ok(text.to_owned()),
        (_, Some(Some(_))) => Err(format!(
            "{} would send a secret in clear; only https:// is allowed, but for this machine",
            quoted(text)
        )),
        (_, _) => Err(format!("{} is not allowed here; allowed is https://HOST[:PORT]/PATH", quoted(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_by_tls_or_on_this_machine_alone() {
        for good in
            ["https://a/token", "https://a:8443/t?x=1", "http://127.0.0.1:1/t", "http://[::1]:1/", "http://localhost/t"]
        {
            assert_eq!(token_url(good).as_deref(), Ok(good));
        }
        assert!(token_url("http://a/token").unwrap_err().contains("in clear"));
        for wrong in [
            "",
            "a",
            "https://",
            "https:///t",
            "https://me:pw@a/t",
            "ftp://a/t",
            "https://a/t#f",
            "http://localhost.evil/t",
        ] {
            assert!(token_url(wrong).is_err(), "{wrong}");
        }
    }
}

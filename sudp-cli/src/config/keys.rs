//! Every key there is, in one table. What is checked, shown, suggested and explained comes from here.

use std::sync::LazyLock;
use std::time::Duration;

use sudp_tokio::proto::MAX_CREDENTIAL;
use sudp_tokio::proto::config::{CapValue, Limits};

use super::values::{Kind, size, time};
use crate::status::Role;

/// A key, and all that is to be known of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Key {
    /// Where it stands, as `server.tls.cert`.
    pub(crate) path: &'static str,
    /// What it takes.
    pub(crate) kind: Kind,
    /// Whether it takes several of these; one alone is a list, too.
    pub(crate) list: bool,
    /// Whether the word `never` is allowed in place of a value.
    pub(crate) never: bool,
    /// What it is if nobody says anything, as a person would write it; without one it is not set.
    pub(crate) default: Option<String>,
    /// What somebody might set it to, where the default shows nothing.
    pub(crate) example: &'static str,
    /// What it means.
    pub(crate) help: String,
    /// Who reads it; without a role, both.
    pub(crate) role: Option<Role>,
    /// Whether a running instance takes up a change when it is reloaded.
    pub(crate) reload: bool,
    /// Whether it is never shown again. Then it can be given by `KEY_file`, too.
    pub(crate) secret: bool,
}

/// Every key, in the order in which they are shown.
pub(crate) static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let mut keys = own();
    keys.extend(Limits::caps().into_iter().map(|cap| {
        let (kind, default) = match (cap.default, cap.least, cap.most) {
            (CapValue::Bytes(it), CapValue::Bytes(least), CapValue::Bytes(most)) => (Kind::Size(least, most), size(it)),
            (CapValue::Count(it), CapValue::Count(least), CapValue::Count(most)) => {
                (Kind::Count(least, most), it.to_string())
            }
            (CapValue::Time(it), CapValue::Time(least), CapValue::Time(most)) => (Kind::Time(least, most), time(it)),
            mixed => unreachable!("the values of a cap are of one kind: {mixed:?}"),
        };
        let help = cap.help.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        // What is behind it is said by the default itself.
        let end = help.find(" Default ").unwrap_or(help.len());
        Key { default: Some(default), ..key(&format!("limits.{}", cap.name), kind, &help[..end]) }
    }));
    keys
});

/// The key of this path.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether keys stand below this path, as below `server.tls`.
pub(crate) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// What may stand directly in this section; the empty path is the whole file.
pub(crate) fn below(section: &str) -> impl Iterator<Item = &'static str> {
    let depth = if section.is_empty() { 0 } else { section.len() + 1 };
    let inside =
        move |path: &&str| section.is_empty() || path.strip_prefix(section).is_some_and(|it| it.starts_with('.'));
    let mut last = "";
    KEYS.iter().map(|key| key.path).filter(inside).filter_map(move |path| {
        let rest = &path[depth..];
        let name = rest.split_once('.').map_or(rest, |(name, _)| name);
        (name != last).then(|| last = name).map(|()| name)
    })
}

/// The words that end the message about a name that is not known.
pub(crate) fn suggest(section: &str, name: &str) -> String {
    let dotted = |name: &str| if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
    if let Some(near) = nearest(name, below(section)) {
        return did_you_mean(Some(&dotted(near)));
    }
    // A key that stands elsewhere was put into the wrong section, or into none.
    let elsewhere = KEYS.iter().find(|key| key.path.rsplit('.').next() == Some(name));
    match elsewhere {
        Some(key) => did_you_mean(Some(key.path)),
        None => format!("; allowed are {}", below(section).collect::<Vec<_>>().join(", ")),
    }
}

/// A suggestion as it ends a message.
pub(crate) fn did_you_mean(name: Option<&str>) -> String {
    name.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// The name that may have been meant: one that is not far from what was written.
pub(crate) fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let written: Vec<char> = written.chars().take(LONGEST).map(|it| it.to_ascii_lowercase()).collect();
    let near = names.map(|name| (distance(&written, &name.chars().collect::<Vec<_>>()), name));
    near.filter(|(steps, name)| *steps <= 1.max(name.chars().count() / 3))
        .min_by_key(|(steps, _)| *steps)
        .map(|it| it.1)
}

/// How many characters must be put in, left out, replaced or swapped with their neighbour.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut rows = vec![(0..=other.len()).collect::<Vec<_>>()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

fn key(path: &str, kind: Kind, help: &str) -> Key {
    Key {
        // The table is made once, and lives as long as the process.
        path: path.to_owned().leak(),
        kind,
        list: false,
        never: false,
        default: None,
        example: "",
        help: help.to_owned(),
        role: None,
        reload: false,
        secret: false,
    }
}

impl Key {
    fn by_default(self, default: &str) -> Self {
        Self { default: Some(default.to_owned()), ..self }
    }

    fn many(self) -> Self {
        Self { list: true, ..self }
    }

    fn or_never(self) -> Self {
        Self { never: true, ..self }
    }

    fn like(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    fn reloaded(self) -> Self {
        Self { reload: true, ..self }
    }

    fn hidden(self) -> Self {
        Self { secret: true, ..self }
    }

    /// Its name in the environment.
    pub(crate) fn variable(&self) -> String {
        format!("SUDP_{}", self.path.replace('.', "__").to_ascii_uppercase())
    }
}

#[rustfmt::skip]
fn own() -> Vec<Key> {
    let server = |path: &str, kind, help: &str| Key { role: Some(Role::Server), ..key(&format!("server.{path}"), kind, help) };
    let client = |path: &str, kind, help: &str| Key { role: Some(Role::Client), ..key(&format!("client.{path}"), kind, help) };
    let shutdown = || (Kind::Time(Duration::ZERO, minutes(60)), "How long it takes to finish what is under way when it is told to stop.");
    vec![
        key("log.level", Kind::Levels, "What is logged: a level, then levels for targets, as `info,sudp::link=debug`.").by_default("info").reloaded(),
        key("log.format", Kind::Choice(&["text", "json"]), "How a line looks: for people or for programs.").by_default("text").reloaded(),
        key("log.file", Kind::File, "The file that is logged to; without it, the standard error. An instance in the background has one by itself.").reloaded().like("/var/log/sudp/sudp.log"),
        key("log.max_size", Kind::Size(64 << 10, 1 << 40), "The size at which a new file is begun.").by_default("16MiB").reloaded(),
        key("log.daily", Kind::Bool, "Whether a new file is begun each day (UTC).").by_default("true").reloaded(),
        key("log.keep", Kind::Count(0, 1_000), "How many old files are kept.").by_default("7").reloaded(),
        key("log.figures", Kind::Time(Duration::from_secs(1), minutes(1_440)), "How often a line of figures is logged.").by_default("5m").or_never().reloaded(),

        server("listen", Kind::Socket, "Where it listens for links. Port 0 picks a free one.").many().by_default("127.0.0.1:8080"),
        server("path", Kind::RequestPath, "The path of the requests that begin a link.").by_default("/sudp"),
        server("rules", Kind::Rule, "Where everybody may send to; the first rule that matches decides, and where none does the answer is no.").many().by_default("").reloaded().like("deny 10.0.0.1,allow 10.0.0.0/8:53"),
        server("grants", Kind::Grant, "Who may do what: the first that speaks of a client decides, and of whom none speaks may do nothing. Without it everybody may do what `server.rules` says.").many().reloaded().like("{who: alice, rules: [allow 10.1.0.0/16], flows: 100, expires: 2099-01-01}"),
        server("anonymous", Kind::Bool, "Whether everybody is let in, also from other machines.").by_default("false").reloaded(),
        server("auth.users", Kind::File, "The users and what their passwords come to, as `sudp user add` writes them: who shows name and password is let in. A change counts within a second.").reloaded().like("/etc/sudp/users.yaml"),
        server("auth.tokens", Kind::File, "The tokens that let in whoever shows one, as `sudp token new` writes them. A change counts within a second.").reloaded().like("/etc/sudp/tokens.yaml"),
        server("auth.tickets", Kind::Time(Duration::from_secs(1), minutes(1_440)), "How long those who were let in by password or token may come again without its being checked.").by_default("10m").or_never().reloaded(),
        server("auth.certificates", Kind::Bool, "Whether the name in the certificate that a client shows says who it is, as `cert:NAME`: the first of its hosts, addresses of mail and URIs, else its common name.").by_default("false").reloaded(),
        server("auth.keys", Kind::File, "Who is let in by the key it seals with: lines of KEY NAME.").reloaded().like("/etc/sudp/clients.keys"),
        server("auth.jwt.keys", Kind::File, "The keys of an issuer of JSON Web Tokens: public ones as PEM or JWK, or a secret of at least 32 bytes.").reloaded().like("/etc/sudp/issuer.pem"),
        server("auth.jwt.jwks", Kind::Text(2_048), "The address at which the issuer publishes its keys, in place of a file.").reloaded().like("https://idp.example.com/keys"),
        server("auth.jwt.issuer", Kind::Text(1_024), "Who must have made a token (iss).").reloaded().like("https://idp.example.com/"),
        server("auth.jwt.audience", Kind::Text(1_024), "For one of whom a token must be (aud).").many().by_default("").reloaded().like("sudp"),
        server("auth.jwt.algorithms", Kind::Choice(&super::auth::ALGORITHMS), "What tokens may be signed by. Each key is good for one of them, whatever a token says.").many().by_default("HS256,RS256,ES256,EdDSA").reloaded(),
        server("auth.jwt.principal_claim", Kind::Text(256), "The claim that names the client.").by_default("sub").reloaded(),
        server("auth.jwt.groups_claim", Kind::Text(256), "The claim that names its groups, as `groups` or `realm_access.roles`.").by_default("groups").reloaded(),
        server("auth.jwt.leeway", Kind::Time(Duration::ZERO, minutes(5)), "By how much the clock of the issuer may differ.").by_default("1m").reloaded(),
        server("auth.introspection.url", Kind::Text(2_048), "The address that is asked about tokens (RFC 7662), where they say nothing by themselves.").reloaded().like("https://idp.example.com/introspect"),
        server("auth.introspection.client_id", Kind::Text(1_024), "What this server is called there.").reloaded().like("sudp"),
        server("auth.introspection.client_secret", Kind::Text(1_024), "What this server shows of itself there.").hidden().reloaded().like("4711"),
        server("auth.introspection.audience", Kind::Text(1_024), "For one of whom a token must be (aud); without it, for anybody.").many().by_default("").reloaded().like("sudp"),
        server("auth.introspection.principal_claim", Kind::Text(256), "What in the answer names the client.").by_default("sub").reloaded(),
        server("auth.introspection.groups_claim", Kind::Text(256), "What in the answer names its groups.").by_default("groups").reloaded(),
        server("tls.cert", Kind::File, "The certificate it shows, then those in between it and its authority, as PEM: with it, it speaks TLS.").reloaded().like("/etc/sudp/cert.pem"),
        server("tls.key", Kind::File, "The key of that certificate, as PEM, which only its owner may read.").reloaded().like("/etc/sudp/key.pem"),
        server("tls.client_ca", Kind::File, "The authorities of which a client must have a certificate, as PEM.").many().by_default("").reloaded().like("/etc/sudp/ca.pem"),
        server("strangers", Kind::Strangers, "What anybody gets to see who is not let in, whatever the reason: 404, a file, or what a web server says.").by_default("not-found").reloaded().like("/var/www/index.html"),
        server("origins", Kind::Text(256), "Pages whose scripts may come, as browsers write them; without any, none.").many().by_default("").like("https://example.com"),
        server("trusted_proxies", Kind::Network, "Proxies whose X-Forwarded-For says where a request comes from.").many().by_default("").like("127.0.0.1"),
        server("audit.file", Kind::File, "The file in which is written down who was let in and who was not, as JSON; without it, that goes to the log.").like("/var/log/sudp/audit.log"),
        server("key_file", Kind::File, "The private key that links are sealed with, as `sudp keygen` makes it: what is in between then reads and changes nothing.").reloaded().like("/etc/sudp/server.key"),
        server("sealed", Kind::Choice(&["offered", "required"]), "Whether links must be sealed, or may be.").by_default("offered").reloaded(),
        server("threads", Kind::Count(0, 256), "How many threads serve; 0 is one for each core.").by_default("0"),
        server("shutdown", shutdown().0, shutdown().1).by_default("10s").reloaded(),

        client("servers", Kind::ServerUrl, "Its servers, the preferred first; the others take over when it fails.").many().by_default("").like("wss://example.com/sudp"),
        client("name", Kind::Text(64), "A stable name at the server, whose next start takes over the ports of this one.").by_default("").like("office"),
        client("links", Kind::Count(1, 8), "How many links the session holds.").by_default("1"),
        client("max_link_age", Kind::Time(Duration::from_secs(10), minutes(10_080)), "The age at which a link is replaced, new before old.").by_default("never").or_never(),
        client("tunnels", Kind::Tunnel, "What it carries.").many().by_default("").reloaded().like("forward 5005:127.0.0.1:5006"),
        client("max_retries", Kind::Count(1, 1_000_000), "After how many retries in a row that came to nothing it gives up.").by_default("never").or_never().reloaded(),
        client("proxy", Kind::Proxy, "The proxy it dials through; without it, what HTTPS_PROXY and the like say.").hidden().like("http://proxy.example.com:3128"),
        client("headers", Kind::Headers, "Headers for every request, as a gateway may want them.").hidden().like("X-Gateway-Token: 4711"),
        client("auth.user", Kind::Text(256), "The name it comes in by, with a password.").reloaded().like("alice"),
        client("auth.password", Kind::Text(1_024), "The password of that; without one it is asked for at the terminal.").hidden().reloaded().like("correct-horse-4711"),
        client("auth.token", Kind::Text(MAX_CREDENTIAL - 7), "The token it comes in by.").hidden().reloaded().like("a-token-4711"),
        client("auth.token_command", Kind::Text(4_096), "The command, for /bin/sh, that says the token it comes in by. It is run again for the next one.").reloaded().like("vault read -field=token secret/sudp"),
        client("auth.token_every", Kind::Time(Duration::from_secs(1), minutes(1_440)), "How often that is run, unless the token is a JWT, which tells when it ends.").by_default("5m").reloaded(),
        client("auth.oauth.url", Kind::Text(2_048), "Where it asks for the token it comes in by (OAuth 2.0, client credentials).").reloaded().like("https://login.example.com/oauth2/token"),
        client("auth.oauth.client_id", Kind::Text(1_024), "Who it is there.").reloaded().like("sudp-office"),
        client("auth.oauth.client_secret", Kind::Text(4_096), "And what proves it.").hidden().reloaded().like("a-secret-4711"),
        client("auth.oauth.scope", Kind::Text(1_024), "What the token is to be good for.").reloaded().like("sudp"),
        client("auth.oauth.audience", Kind::Text(1_024), "And with whom.").reloaded().like("sudp.example.com"),
        client("auth.oauth.method", Kind::Choice(&["basic", "post"]), "Whether name and secret are said in a header or in the form.").by_default("basic").reloaded(),
        client("tls.ca", Kind::File, "The authorities it trusts instead of the system's, as PEM.").many().by_default("").like("/etc/sudp/ca.pem"),
        client("tls.pins", Kind::Pin, "The keys it trusts instead of any authority.").many().by_default("").like("sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        client("tls.server_name", Kind::Text(253), "The name that a server's certificate must be for, if it is not that of the URL.").like("example.com"),
        client("tls.cert", Kind::File, "The certificate it shows to a server that asks, as PEM.").like("/etc/sudp/client.pem"),
        client("tls.key", Kind::File, "The key of that certificate, as PEM, which only its owner may read.").like("/etc/sudp/client.key"),
        client("server_key", Kind::PublicKey, "The public key of its servers: with it, every link is sealed, and nothing is sent otherwise.").like("47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"),
        client("key_file", Kind::File, "The private key to seal with, by which servers may know it; without it, a fresh one.").like("/etc/sudp/client.key"),
        client("shutdown", shutdown().0, shutdown().1).by_default("10s").reloaded(),
    ]
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// Longer names than this are nobody's typing mistakes.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests;

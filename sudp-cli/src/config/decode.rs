//! From a tree to a configuration. What is wrong is collected, so that all of it can be told at once.

use std::path::PathBuf;

use sudp_tokio::ProxyUrl;
use sudp_tokio::proto::access::{Rule, Rules};
use sudp_tokio::proto::config::client::{ClientConfig, Scheme, ServerConfig};
use sudp_tokio::proto::config::{CapValue, ConfigError, Limits};
use sudp_tokio::proto::link::{self, ClientUpgrade};
use sudp_tokio::tls::{self, Identity, Pin, Trust};

use super::auth;
use super::check::Reader;
use super::grants;
use super::keys::KEYS;
use super::shown;
use super::tree::{Entry, Map, Node, Problem, Value, quoted};
use super::values::{self, Kind};
use super::{Client, ClientTls, Config, Log, LogFormat, Seal, Server, ServerTls, Strangers};
use crate::access::Keys;
use crate::args::spec::{self, TunnelSpec};
use crate::keygen;
use crate::status::Role;

/// Makes a configuration of a tree, and checks that it can be run in these roles. If any problem was noted, now or
/// before, what is returned is of no use.
pub(crate) fn decode(tree: &Map, roles: &[Role], problems: &mut Vec<Problem>) -> Config {
    decode_by(&mut Reader::new(tree, problems), roles)
}

pub(crate) fn decode_by(reader: &mut Reader<'_>, roles: &[Role]) -> Config {
    let config = Config { log: log(reader), server: server(reader), client: client(reader), limits: limits(reader) };
    // What goes together can only be judged of values that are right by themselves.
    if !reader.failed() {
        together(reader, &config.limits);
        for role in roles {
            match role {
                Role::Server => serves(reader, &config.server),
                Role::Client => connects(reader, &config.client),
            }
        }
    }
    config
}

fn log(reader: &mut Reader<'_>) -> Log {
    let Kind::Choice(formats) = super::keys::find("log.format").expect("it is in the table").kind else {
        unreachable!("the format is one of some words")
    };
    Log {
        level: reader.one("log.level", values::read_levels).unwrap_or_default(),
        format: match reader.one("log.format", |text| values::read_choice(text, formats)) {
            Some("json") => LogFormat::Json,
            Some(_) | None => LogFormat::Text,
        },
        file: reader.file("log.file"),
        max_size: reader.size("log.max_size").and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        daily: reader.truth("log.daily"),
        keep: reader.count("log.keep").unwrap_or_default(),
        figures: reader.time("log.figures").unwrap_or_default(),
    }
}

fn server(reader: &mut Reader<'_>) -> Server {
    let rules: Vec<Rule> = reader.many("server.rules", str::parse);
    let rules = Rules::new(rules).unwrap_or_else(|error| {
        reader.blame("server.rules", error);
        Rules::default()
    });
    let (cert, key) = (reader.file("server.tls.cert"), reader.file("server.tls.key"));
    let client_ca = reader.files("server.tls.client_ca");
    if let (None, false) = (&cert, client_ca.is_empty()) {
        reader.blame("server.tls.client_ca", "is of no use without `server.tls.cert`; set that, or leave this out");
    }
    let tls = pair(reader, "server.tls", cert, key).map(|(cert, key)| ServerTls { cert, key, client_ca });
    let folder = reader.node("server.strangers").and_then(|(_, node)| node.origin.folder());
    let strangers = reader.one("server.strangers", |text| values::read_strangers(text, folder.as_deref()));
    let (auth, key_file) = (auth::auth(reader), reader.file("server.key_file"));
    let sealed = reader.one("server.sealed", |text| values::read_choice(text, &["offered", "required"]));
    let required = sealed == Some("required");
    if key_file.is_none() && required {
        reader.blame(
            "server.sealed",
            "cannot be without a key to seal with; make one with `sudp keygen`, and name it in `server.key_file`",
        );
    }
    if key_file.is_none() && auth.keys.is_some() {
        reader.blame(
            "server.auth.keys",
            "is of no use without `server.key_file`: clients show their keys when they seal",
        );
    }
    Server {
        strangers: strangers.unwrap_or_default(),
        origins: reader.many("server.origins", read_origin),
        trusted_proxies: reader.many("server.trusted_proxies", values::read_network),
        audit: reader.file("server.audit.file"),
        listen: reader.many("server.listen", values::read_socket),
        path: reader.one("server.path", read_request_path).unwrap_or_default(),
        grants: grants::read(reader, rules.as_slice().len()),
        rules,
        anonymous: reader.truth("server.anonymous"),
        auth,
        tls,
        seal: key_file.map(|key| Seal { key, required }),
        threads: reader.count("server.threads").unwrap_or_default(),
        shutdown: reader.time("server.shutdown").unwrap_or_default(),
    }
}

fn client(reader: &mut Reader<'_>) -> Client {
    let (cert, key) = (reader.file("client.tls.cert"), reader.file("client.tls.key"));
    let identity = pair(reader, "client.tls", cert, key);
    let (cert, key) = identity.map_or((None, None), |(cert, key)| (Some(cert), Some(key)));
    let ca = reader.files("client.tls.ca");
    let pins: Vec<Pin> = reader.many("client.tls.pins", str::parse);
    if !ca.is_empty() && !pins.is_empty() {
        reader.blame(
            "client.tls.pins",
            "cannot go with `client.tls.ca`: a key is trusted without any authority; leave one of them out",
        );
    }
    let headers = headers(reader);
    let server_key = reader.one("client.server_key", keygen::public);
    let key_file = reader.file("client.key_file");
    if server_key.is_none() && key_file.is_some() {
        reader.blame("client.key_file", "is of no use without `client.server_key`, to which links are sealed");
    }
    Client {
        servers: reader.many("client.servers", spec::server),
        name: reader.text("client.name").unwrap_or_default(),
        links: reader.count("client.links").unwrap_or_default(),
        max_link_age: reader.time("client.max_link_age"),
        tunnels: reader.each("client.tunnels", |reader, path, _, node| tunnel(reader, path, node)),
        max_retries: reader.count("client.max_retries").and_then(|count| u32::try_from(count).ok()),
        proxy: reader.one("client.proxy", str::parse::<ProxyUrl>),
        auth: shown::client(reader, &headers),
        headers,
        tls: ClientTls { ca, pins, server_name: reader.text("client.tls.server_name"), cert, key },
        server_key,
        key_file,
        shutdown: reader.time("client.shutdown").unwrap_or_default(),
    }
}

fn limits(reader: &mut Reader<'_>) -> Limits {
    let mut limits = Limits::default();
    for key in KEYS.iter() {
        let Some(name) = key.path.strip_prefix("limits.") else { continue };
        let value = if matches!(key.kind, Kind::Size(..)) {
            reader.size(key.path).map(CapValue::Bytes)
        } else if matches!(key.kind, Kind::Count(..)) {
            reader.count(key.path).map(CapValue::Count)
        } else {
            reader.time(key.path).map(CapValue::Time)
        };
        if let Some(value) = value {
            let set = limits.set(name, value);
            debug_assert!(set, "{name} is a cap");
        }
    }
    limits
}

/// A certificate and its key, of which none is of use alone.
fn pair(
    reader: &mut Reader<'_>,
    section: &str,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Option<(PathBuf, PathBuf)> {
    match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) => {
            reader.blame(&format!("{section}.cert"), format!("is of no use without `{section}.key`; set both"));
            None
        }
        (None, Some(_)) => {
            reader.blame(&format!("{section}.key"), format!("is of no use without `{section}.cert`; set both"));
            None
        }
    }
}

fn read_request_path(text: &str) -> Result<String, String> {
    let proper =
        text.len() <= 1_024 && !text.contains('?') && ClientUpgrade::new(link::Scheme::Ws, "host", 80, text).is_ok();
    if proper { Ok(text.to_owned()) } else { Err(Kind::RequestPath.refuse(text)) }
}

/// An origin as browsers write it: compared byte by byte, it must be what they send.
fn read_origin(text: &str) -> Result<String, String> {
    let (scheme, host) = text.split_once("://").unwrap_or_default();
    let proper = matches!(scheme, "http" | "https") && !host.is_empty() && text.len() <= 256;
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    let default = host.ends_with(if scheme == "http" { ":80" } else { ":443" });
    if proper && !default && host.bytes().all(letters) {
        return Ok(text.to_owned());
    }
    let says = "allowed is an origin as browsers write it: in small letters, without a path and without the usual port";
    Err(format!("{} is not allowed; {says}, as https://example.com", quoted(text)))
}

/// A tunnel: `forward SPEC` as a text, or a section `{forward: SPEC, class: realtime}`.
fn tunnel(reader: &mut Reader<'_>, path: &str, node: &Node) -> Option<TunnelSpec> {
    let mut written = None;
    match &node.value {
        Value::Text(text) => {
            if let Some((kind, spec)) = text.trim().split_once(char::is_whitespace) {
                written = Some((kind.to_owned(), spec.trim().to_owned()));
            }
        }
        Value::Map(map) => written = tunnel_of_section(reader, path, map)?,
        Value::Nothing | Value::List(_) => {}
    }
    let read = match written.as_ref().map(|(kind, spec)| (kind.as_str(), spec.as_str())) {
        Some(("forward", spec)) => TunnelSpec::forward(spec),
        Some(("reverse", spec)) => TunnelSpec::reverse(spec),
        Some(("socks", spec)) => TunnelSpec::socks(spec),
        Some(_) | None => {
            let found = match &node.value {
                Value::Text(text) => quoted(text),
                Value::Nothing | Value::List(_) | Value::Map(_) => node.kind().to_owned(),
            };
            reader.note(node, path, format!("found is {found}; allowed is {}", Kind::Tunnel));
            return None;
        }
    };
    read.map_err(|error| reader.note(node, path, error)).ok()
}

/// The kind and the spec that a section comes to; its options become those of the spec.
fn tunnel_of_section(reader: &mut Reader<'_>, path: &str, map: &Map) -> Option<Option<(String, String)>> {
    let (mut written, mut options, mut failed) = (None, String::new(), false);
    for entry in &map.0 {
        let name = entry.name.as_str();
        let text = match &entry.node.value {
            Value::Nothing => continue,
            Value::Text(text) => text,
            Value::List(_) | Value::Map(_) => {
                reader.note(
                    &entry.node,
                    &format!("{path}.{name}"),
                    format!("found is {}; allowed is a single value", entry.node.kind()),
                );
                failed = true;
                continue;
            }
        };
        if WAYS.contains(&name) {
            if written.is_some() {
                let what = format!("a tunnel is one of {}, and this is a second one", WAYS.join(", "));
                reader.note(&entry.node, &format!("{path}.{name}"), what);
                failed = true;
            }
            written = Some((name.to_owned(), text.clone()));
        } else if OPTIONS.contains(&name) {
            options.push_str(&format!("&{name}={}", escaped(text)));
        } else {
            let near = super::keys::nearest(name, WAYS.into_iter().chain(OPTIONS));
            let meant = match near {
                Some(near) => super::keys::did_you_mean(Some(near)),
                None => format!("; allowed are {}, {}", WAYS.join(", "), OPTIONS.join(", ")),
            };
            reader.note(&entry.node, &format!("{path}.{name}"), format!("a tunnel has no `{name}`{meant}"));
            failed = true;
        }
    }
    if failed {
        return None;
    }
    Some(written.map(|(kind, spec)| {
        let joint = if spec.contains('?') || options.is_empty() { "" } else { "?" };
        (kind, format!("{spec}{joint}{}", options.get(usize::from(!joint.is_empty())..).unwrap_or_default()))
    }))
}

/// A text as it stands in an option of a spec.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~ :".contains(&byte) && byte != b' ';
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The headers: a section, or lines of `Name: value`. Of two of one name the later one counts.
fn headers(reader: &mut Reader<'_>) -> Vec<(String, String)> {
    let Some((_, node)) = reader.node("client.headers") else { return Vec::new() };
    let map = match &node.value {
        Value::Map(map) => map.clone(),
        Value::Text(_) | Value::List(_) | Value::Nothing => header_lines(node),
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    for entry in &map.0 {
        let Value::Text(value) = &entry.node.value else {
            let what = format!("found is {}; allowed is {}", entry.node.kind(), Kind::Headers);
            reader.note(&entry.node, "client.headers", what);
            continue;
        };
        // The message of what is wrong names the header, and never its value.
        let upgrade = ClientUpgrade::new(link::Scheme::Ws, "host", 80, "/").expect("a plain request can be made");
        if let Err(error) = upgrade.with_header(&entry.name, value) {
            reader.note(&entry.node, "client.headers", error);
            continue;
        }
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case(&entry.name));
        headers.push((entry.name.clone(), value.clone()));
    }
    headers
}

/// The section that lines of `Name: value` come to. What is no line keeps a place in it, to be told of.
pub(crate) fn header_lines(node: &Node) -> Map {
    let mut map = Map::default();
    let mut take = |node: &Node| {
        let mut put = |name: &str, node: Node| {
            map.0.push(Entry { name: name.to_owned(), at: node.origin.clone(), node });
        };
        let Value::Text(text) = &node.value else { return put("", node.clone()) };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            // A line that is none has an empty name, which no header may have.
            let (name, value) = line.split_once(':').unwrap_or(("", line));
            put(name.trim(), Node::text(value.trim(), node.origin.clone()));
        }
    };
    match &node.value {
        Value::List(list) => list.iter().for_each(take),
        Value::Nothing | Value::Text(_) | Value::Map(_) => take(node),
    }
    map
}

/// Caps that do not go together.
fn together(reader: &mut Reader<'_>, limits: &Limits) {
    for error in limits.contradictions() {
        match error {
            ConfigError::Contradiction { field, value, other, limit, why } => {
                let what = format!("is {value}, but `limits.{other}` is {limit}: {why}");
                // Whichever of them somebody set is the one to change.
                let said = |name: &str| format!("limits.{name}");
                let blamed = if reader.is_default(&said(field)) { said(other) } else { said(field) };
                match blamed == said(field) {
                    true => reader.blame(&blamed, what),
                    false => reader.blame(&blamed, format!("is {limit}, but `limits.{field}` is {value}: {why}")),
                }
            }
            error @ (ConfigError::OutOfRange { .. } | _) => reader.blame("limits", error),
        }
    }
}

/// Whether a server can be run.
fn serves(reader: &mut Reader<'_>, server: &Server) {
    if server.listen.is_empty() {
        reader.blame("server.listen", "no address is left to listen on; give one, as 127.0.0.1:8080");
    }
    let unasked = !server.auth.asks() && server.tls.as_ref().is_none_or(|tls| tls.client_ca.is_empty());
    let strangers = !server.anonymous && unasked;
    if let Some(open) = server.listen.iter().find(|at| strangers && !at.ip().to_canonical().is_loopback()) {
        reader.blame(
            "server.listen",
            format!(
                "{open} can be reached from other machines, and whoever reaches it would be let in; to want that, set \
                 `server.anonymous: true` (--anonymous); else listen on 127.0.0.1, or ask who they are, by \
                 `server.auth.users` (--users), by others of `server.auth`, or by `server.tls.client_ca`"
            ),
        );
    }
    if let Strangers::File(path) = &server.strangers
        && let Err(failure) = crate::access::stranger(path)
    {
        reader.blame("server.strangers", failure.message);
    }
    for (index, at) in server.listen.iter().enumerate() {
        if at.port() != 0 && server.listen[..index].contains(at) {
            reader.blame("server.listen", format!("{at} stands there twice; leave one of them out"));
        }
    }
    auth::check(reader, server);
    grants::possible(reader, server);
    if let Some(error) = server.seal.as_ref().and_then(|seal| keygen::read(&seal.key).err()) {
        reader.blame("server.key_file", error);
    }
    if let Some(error) = server.auth.keys.as_ref().and_then(|file| Keys::load(file).err()) {
        reader.blame("server.auth.keys", error);
    }
    if let Some(ServerTls { cert, key, client_ca }) = &server.tls {
        let identity = Identity { chain: cert.clone(), key: key.clone() };
        let options = tls::ServerOptions { client_roots: client_ca.clone(), ..tls::ServerOptions::new(identity) };
        if let Err(error) = tls::ServerTls::load(options) {
            reader.blame("server.tls.cert", error);
        }
    }
}

/// Whether a client can be run.
fn connects(reader: &mut Reader<'_>, client: &Client) {
    if client.servers.is_empty() {
        reader.blame("client.servers", "there is no server to connect to; give its URL, as wss://example.com/sudp");
        return;
    }
    let options = ClientConfig {
        name: client.name.clone(),
        servers: client.servers.clone(),
        links: client.links,
        max_link_age: client.max_link_age,
    };
    if let Err(error) = options.validate() {
        reader.blame("client.servers", error);
    }
    if let Some(error) = client.key_file.as_ref().and_then(|file| keygen::read(file).err()) {
        reader.blame("client.key_file", error);
    }
    for (index, tunnel) in client.tunnels.iter().enumerate() {
        let twin = client.tunnels[..index].iter().any(|other| other.name == tunnel.name);
        if let (Some(name), true) = (&tunnel.name, twin) {
            reader.blame("client.tunnels", format!("two tunnels have the name {}; a name is for one", quoted(name)));
        }
    }
    let wss = |server: &ServerConfig| server.scheme == Scheme::Wss;
    if client.servers.iter().any(wss) || client.tls != ClientTls::default() {
        let ClientTls { ca, pins, server_name, cert, key } = client.tls.clone();
        let trust = match (ca.is_empty(), pins.is_empty()) {
            (_, false) => Trust::Pins(pins),
            (false, true) => Trust::Roots(ca),
            (true, true) => Trust::System,
        };
        let identity = cert.zip(key).map(|(chain, key)| Identity { chain, key });
        let options = tls::ClientOptions { trust, name: server_name, identity, ..tls::ClientOptions::default() };
        if let Err(error) = options.load() {
            let key = if client.tls.cert.is_some() { "client.tls.cert" } else { "client.tls" };
            reader.blame(key, error);
        }
    }
}

/// What a tunnel can be.
pub(crate) const WAYS: [&str; 3] = ["forward", "reverse", "socks"];

/// What can be said of one.
pub(crate) const OPTIONS: [&str; 6] = ["name", "class", "copies", "spread", "in_doubt", "timeout"];

#[cfg(test)]
mod tests;

//! The kinds of values: what each takes, how it is read, and how a person is told.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use sudp_tokio::proto::access::{Network, Pattern, Rule};

use super::Strangers;
use super::tree::quoted;

/// What a key takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Bool,
    /// Bytes in a second.
    ByteRate,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A number, from least to most.
    Count(usize, usize),
    /// The path of a file.
    File,
    /// What somebody may do.
    Grant,
    /// Names and values of HTTP headers.
    Headers,
    /// Levels of the log.
    Levels,
    /// A point in time.
    Moment,
    /// An address, or a network of them.
    Network,
    /// The fingerprint of a key.
    Pin,
    /// A public key that links are sealed with.
    PublicKey,
    /// The URL of a proxy.
    Proxy,
    /// A number in a second.
    Rate,
    /// The path of a request.
    RequestPath,
    /// A rule of access.
    Rule,
    /// The URL of a server.
    ServerUrl,
    /// A size in bytes, from least to most.
    Size(usize, usize),
    /// An address and a port.
    Socket,
    /// What strangers get.
    Strangers,
    /// A text of at most so many bytes.
    Text(usize),
    /// A time, from least to most.
    Time(Duration, Duration),
    /// A tunnel.
    Tunnel,
    /// Of whom something is said.
    Who,
}

/// The word that says that something is not to happen, where that is allowed.
pub(crate) const NEVER: &str = "never";

impl fmt::Display for Kind {
    /// What is allowed, as it ends a message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::ByteRate => f.write_str("a size in a second, as 10MiB/s"),
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Self::Count(least, most) => write!(f, "a number from {least} to {most}"),
            Self::File => f.write_str("the path of a file"),
            Self::Grant => f.write_str("a section with `who` and what they may do"),
            Self::Network => f.write_str("an address or a network, as 10.0.0.0/8"),
            Self::Strangers => f.write_str("not-found, the path of a file, or http://ADDRESS:PORT of a web server"),
            Self::Headers => f.write_str("a section of names and values, as `X-Name: value`"),
            Self::Levels => f.write_str("a level (off, error, warn, info, debug, trace), then TARGET=LEVEL as wanted"),
            Self::Moment => f.write_str("a date, or a date and a time with its zone"),
            Self::Pin => f.write_str("the fingerprint of a key, as sha256/BASE64"),
            Self::PublicKey => f.write_str("a public key, as `sudp keygen` prints it"),
            Self::Proxy => f.write_str("http://HOST:PORT or socks5://HOST:PORT"),
            Self::Rate => f.write_str("a number in a second, as 5000/s"),
            Self::RequestPath => f.write_str("a path, as /sudp"),
            Self::Rule => f.write_str("`[allow|deny] HOST[:PORTS]`"),
            Self::ServerUrl => f.write_str("wss://HOST[:PORT][/PATH], or ws:// without TLS"),
            Self::Size(least, most) => write!(f, "a size from {} to {}", size(*least), size(*most)),
            Self::Socket => f.write_str("ADDRESS:PORT, as 127.0.0.1:8080 or [::1]:8080"),
            Self::Text(most) => write!(f, "a text of at most {most} bytes"),
            Self::Time(least, most) => write!(f, "a time from {} to {}", time(*least), time(*most)),
            Self::Tunnel => f.write_str("`forward SPEC`, `reverse SPEC`, `socks SPEC`, or a section with one of these"),
            Self::Who => {
                f.write_str("the name of a user, group:NAME, token:NAME, cert:NAME, key:NAME, jwt:NAME or '*'")
            }
        }
    }
}

impl Kind {
    /// The words for a value that is none of this kind.
    pub(crate) fn refuse(&self, text: &str) -> String {
        format!("{} is not allowed here; allowed is {self}", quoted(text))
    }
}

/// Reads `true` or `false`.
pub(crate) fn read_bool(text: &str) -> Result<bool, String> {
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        _ => {
            let meant = match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" | "1" => "; did you mean true?",
                "no" | "off" | "n" | "0" => "; did you mean false?",
                _ => "",
            };
            Err(format!("{}{meant}", Kind::Bool.refuse(text)))
        }
    }
}

/// Reads a number, as `8192` or `8_192`.
pub(crate) fn read_count(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let refused = || Kind::Count(least, most).refuse(text);
    let count = digits(text).ok_or_else(refused)?;
    if (least..=most).contains(&count) { Ok(count) } else { Err(refused()) }
}

/// Reads a size, as `65536`, `64KiB` or `2 MB`.
pub(crate) fn read_size(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let kind = Kind::Size(least, most);
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(format!("{}, as 64KiB; units are B, KiB, MiB, GiB, kB, MB, GB", kind.refuse(text))),
    };
    let bytes = digits(number).and_then(|number| number.checked_mul(factor));
    bytes.filter(|bytes| (least..=most).contains(bytes)).ok_or_else(|| kind.refuse(text))
}

/// Reads so many in a second, as `5000/s`.
pub(crate) fn read_rate(text: &str) -> Result<u64, String> {
    let refused = || Kind::Rate.refuse(text);
    let number = text.strip_suffix(PER_SECOND).ok_or_else(refused)?;
    digits(number)
        .and_then(|rate| u64::try_from(rate).ok())
        .filter(|rate| (1..=FASTEST).contains(rate))
        .ok_or_else(refused)
}

/// Reads so many bytes in a second, as `10MiB/s`.
pub(crate) fn read_byte_rate(text: &str) -> Result<u64, String> {
    let refused = || Kind::ByteRate.refuse(text);
    let amount = text.strip_suffix(PER_SECOND).ok_or_else(refused)?;
    let amount = read_size(amount, 1, 1 << 40).map_err(|_| refused())?;
    u64::try_from(amount).map_err(|_| refused())
}

/// Reads a time, as `10s`, `200ms` or `1h 30m`.
pub(crate) fn read_time(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let kind = Kind::Time(least, most);
    let read = humantime::parse_duration(text).ok().filter(|time| (least..=most).contains(time));
    read.ok_or_else(|| match digits(text) {
        Some(bare) if bare > 0 => format!("{} has no unit; allowed is {kind}, as {bare}s", quoted(text)),
        Some(_) | None => format!("{}, as 200ms, 10s or 1h30m", kind.refuse(text)),
    })
}

/// Reads an address and a port.
pub(crate) fn read_socket(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let refused = Kind::Socket.refuse(text);
    if let Ok(address) = text.parse::<IpAddr>() {
        let brackets = if address.is_ipv6() { ", and an address of IPv6 stands in brackets before it" } else { "" };
        return Err(format!("{refused}; a port is missing{brackets}, as {}", SocketAddr::new(address, 8080)));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let proper = port.parse::<u16>().is_ok();
    Err(match (host, proper) {
        ("" | "*", true) => format!("{refused}; for every address write 0.0.0.0:{port} or [::]:{port}"),
        ("localhost", true) => format!("{refused}; did you mean 127.0.0.1:{port}?"),
        (host, true) if host.parse::<Ipv6Addr>().is_ok() => {
            format!("{refused}; did you mean [{host}]:{port}?")
        }
        (_, true) if !host.starts_with(|it: char| it.is_ascii_digit() || it == '[') => {
            format!("{refused}; an address is needed, for a name may have several")
        }
        _ => refused,
    })
}

/// Reads an address or a network, as a rule has it.
pub(crate) fn read_network(text: &str) -> Result<Network, String> {
    match text.parse::<Rule>() {
        Ok(Rule { host: Pattern::Network(network), ports, .. }) if ports.is_all() && !text.contains(' ') => Ok(network),
        Ok(_) => Err(Kind::Network.refuse(text)),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads what strangers get; a path begins in this folder.
pub(crate) fn read_strangers(text: &str, folder: Option<&Path>) -> Result<Strangers, String> {
    if text == NOT_FOUND {
        return Ok(Strangers::NotFound);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return match super::keys::nearest(text, [NOT_FOUND].into_iter()) {
            Some(near) => Err(format!("{}{}", Kind::Strangers.refuse(text), super::keys::did_you_mean(Some(near)))),
            None => super::check::read_path(text, folder).map(Strangers::File),
        };
    };
    let at = rest.strip_suffix('/').unwrap_or(rest);
    let at = at.parse().or_else(|_| at.parse::<IpAddr>().map(|address| SocketAddr::new(address, 80)));
    match (scheme, at) {
        ("http", Ok(at)) => Ok(Strangers::Backend(at)),
        (_, _) => {
            let why = "a stream is passed on as it is, so to an address, and without TLS";
            Err(format!("{}; {why}", Kind::Strangers.refuse(text)))
        }
    }
}

/// Reads levels, as `info` or `info,sudp::link=debug`.
pub(crate) fn read_levels(text: &str) -> Result<String, String> {
    let level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let wrong = text.split(',').map(str::trim).find(|part| match part.split_once('=') {
        Some((target, word)) => target.is_empty() || target.contains(char::is_whitespace) || !level(word),
        None => !level(part),
    });
    match wrong {
        None => Ok(text.to_owned()),
        Some(part) => Err(Kind::Levels.refuse(part)),
    }
}

/// Reads one of several words.
pub(crate) fn read_choice(text: &str, words: &'static [&'static str]) -> Result<&'static str, String> {
    words.iter().find(|word| **word == text).copied().ok_or_else(|| {
        let meant = super::keys::nearest(text, words.iter().copied());
        format!("{}{}", Kind::Choice(words).refuse(text), super::keys::did_you_mean(meant))
    })
}

/// Reads a text.
pub(crate) fn read_text(text: &str, most: usize) -> Result<String, String> {
    let proper = text.len() <= most && !text.chars().any(char::is_control);
    if proper { Ok(text.to_owned()) } else { Err(format!("{}, in one line", Kind::Text(most).refuse(text))) }
}

/// A size as a person writes it.
pub(crate) fn size(bytes: usize) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = units.into_iter().find(|(factor, _)| bytes > 0 && bytes.is_multiple_of(*factor));
    whole.map_or_else(|| bytes.to_string(), |(factor, unit)| format!("{}{unit}", bytes / factor))
}

/// A time as a person writes it.
pub(crate) fn time(time: Duration) -> String {
    humantime::format_duration(time).to_string().replace(' ', "")
}

fn digits(text: &str) -> Option<usize> {
    let proper = text.starts_with(|it: char| it.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    proper.then(|| text.replace('_', "").parse().ok()).flatten()
}

const PER_SECOND: &str = "/s";
/// More datagrams than anybody can send.
const FASTEST: u64 = 1_000_000_000;

const NOT_FOUND: &str = "not-found";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[cfg(test)]
mod tests;

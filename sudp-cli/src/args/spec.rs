//! A tunnel, as people write it.
//!
//! ```text
//! [BIND:]PORT:HOST:PORT[/udp][?OPTION[&OPTION]…]    listen here, deliver there
//! HOST:PORT/udp                                     the same port on both sides
//! udp://[BIND:]PORT:HOST:PORT[?OPTION…]             the same, as a URL
//! [BIND:]PORT, socks5://[BIND:]PORT                 a SOCKS5 proxy
//! HOST:PORT, stdio://HOST:PORT                      standard input and output
//! ```
//!
//! An address of IPv6 stands in brackets. Without BIND it is 127.0.0.1; `*`, or nothing before the colon, is every
//! address of both families (`[::]`). Port 0 lets the system choose one, which is then printed. Options are
//! `class=reliable|realtime`, `copies=1..8`, `spread`, `in_doubt=drop|resend`, `timeout=3m` (or `timeout_sec=180`; 0
//! is never, which is [`TIMEOUT_MAX`]) and `name=TEXT`; `%XX` stands for a byte.

mod options;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sudp_tokio::proto::access::{HostError, parse_host};
use sudp_tokio::proto::config::client::ServerConfig;
use sudp_tokio::proto::config::text::UrlError;
use sudp_tokio::proto::session::{InDoubt, Treatment, Tunnel, Way};
use sudp_tokio::proto::wire::{Address, Host};

use options::Options;
pub(crate) use options::class_name;

/// A tunnel as it was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TunnelSpec {
    /// What it carries, and where to.
    pub kind: Kind,
    /// What it is called; without a name it is called as it is written.
    pub name: Option<String>,
    /// How its flows are treated.
    pub treatment: Treatment,
    /// What becomes of datagrams in doubt when a session is lost.
    pub in_doubt: InDoubt,
}

/// What a tunnel carries, and where to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    /// From a listener here to a destination of the server (`-L`).
    Forward {
        /// Where the client listens.
        listen: SocketAddr,
        /// Where the server sends to.
        to: Address,
    },
    /// From a listener of the server to a destination here (`-R`).
    Reverse {
        /// Where the server listens.
        listen: SocketAddr,
        /// Where the client sends to.
        to: Address,
    },
    /// A SOCKS5 proxy here, for UDP (`-D`).
    Socks {
        /// Where it listens.
        listen: SocketAddr,
    },
    /// Standard input and output, as netcat does (`-W`).
    Stdio {
        /// Where the server sends to.
        to: Address,
    },
}

/// Why a text is not what it should be, and what to write instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{spec}`: {problem}")]
pub struct SpecError {
    /// What was written.
    pub spec: String,
    /// The part that is wrong, why, and the way out.
    pub problem: String,
}

/// The longest a flow may be idle: what `timeout=0` means.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3_600);

impl SpecError {
    fn new(spec: &str, problem: String) -> Self {
        Self { spec: printable(spec), problem: printable(&problem) }
    }
}

impl TunnelSpec {
    /// Reads what follows `-L`. A URL of `socks5://` makes a proxy, as with wstunnel.
    pub fn forward(spec: &str) -> Result<Self, SpecError> {
        read(spec, |written| match written.scheme {
            Some("socks5") => Ok(Kind::Socks { listen: written.listener("-D 1080")? }),
            Some("stdio") => Err(format!("standard input and output are tied by `-W {}`", written.body)),
            _ if written.body.starts_with("R:") => {
                Err(format!("a tunnel from the server's side to this one is `-R {}`", &written.body[2..]))
            }
            _ => written.pair("-L 5005:10.0.0.1:53").map(|(listen, to)| Kind::Forward { listen, to }),
        })
    }

    /// Reads what follows `-R`.
    pub fn reverse(spec: &str) -> Result<Self, SpecError> {
        read(spec, |written| match written.scheme {
            Some("socks5") => Err("a SOCKS5 proxy at the server's side is not offered; `-D` makes one here".into()),
            Some("stdio") => Err(format!("standard input and output are tied by `-W {}`", written.body)),
            _ => {
                // chisel has it in front of what others write behind -R.
                let body = written.body.strip_prefix("R:").unwrap_or(written.body);
                let (listen, to) = Written { body, ..written }.pair("-R 5005:127.0.0.1:5006")?;
                Ok(Kind::Reverse { listen, to })
            }
        })
    }

    /// Reads what follows `-D`.
    pub fn socks(spec: &str) -> Result<Self, SpecError> {
        read(spec, |written| match written.scheme {
            None | Some("socks5") => Ok(Kind::Socks { listen: written.listener("-D 1080")? }),
            Some(_) => Err("`-D` takes the port of a SOCKS5 proxy, as in `-D 1080`".into()),
        })
    }

    /// Reads what follows `-W`.
    pub fn stdio(spec: &str) -> Result<Self, SpecError> {
        read(spec, |written| match written.scheme {
            None | Some("stdio" | "udp") => {
                Ok(Kind::Stdio { to: written.destination(written.body, "-W 10.0.0.1:53")? })
            }
            Some(_) => Err("`-W` takes a host and a port, as in `-W 10.0.0.1:53`".into()),
        })
    }

    /// What it is called: by its name, or as it is written.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.to_string())
    }

    /// As the session takes it; a proxy and standard input open their flows by hand.
    pub fn tunnel(&self) -> Option<Tunnel> {
        let way = match &self.kind {
            Kind::Forward { listen, to } => Way::Forward { listen: Some(*listen), to: Some(to.clone()) },
            Kind::Reverse { listen, to } => Way::Reverse { listen: *listen, to: to.clone() },
            Kind::Socks { .. } | Kind::Stdio { .. } => return None,
        };
        Some(Tunnel { way, treatment: self.treatment, in_doubt: self.in_doubt })
    }
}

/// Reads the URL of a server: `http://` and `https://` mean what `ws://` and `wss://` do.
pub fn server(url: &str) -> Result<ServerConfig, SpecError> {
    let wrong = |problem| SpecError::new(url, problem);
    let lower = url.to_ascii_lowercase();
    let known = if lower.starts_with("http://") || lower.starts_with("https://") {
        format!("ws{}", &url["http".len()..])
    } else {
        url.into()
    };
    known.parse().map_err(|error| match error {
        // It is not repeated: there is a password in it.
        UrlError::Credentials => {
            let problem = "the URL has credentials in it, which everybody can see in the list of processes; put the line \
                      `Authorization: Basic …` into a file that only you can read, and give it with `--header @FILE`";
            SpecError::new(&format!("{}://…", url.split("://").next().unwrap_or_default()), problem.into())
        }
        UrlError::Scheme(_) if url.contains("://") => {
            wrong("a server is reached at wss:// (over TLS) or ws:// (in the clear)".into())
        }
        UrlError::Scheme(_) => wrong(format!("a server's URL begins with wss:// or ws://; write `wss://{url}`")),
        UrlError::Authority(_) => {
            wrong("expected is wss://HOST[:PORT][/PATH], with an address of IPv6 in brackets".into())
        }
        UrlError::Fragment(_) => wrong("everything from the # on must go: it is never sent".into()),
        other @ (UrlError::Address(_) | _) => wrong(other.to_string()),
    })
}

impl fmt::Display for TunnelSpec {
    /// The normal form: with the address it listens at, and options only where they are not the usual ones.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Forward { listen, to } | Kind::Reverse { listen, to } => write!(f, "{}:{to}", Bind(*listen))?,
            Kind::Socks { listen } => write!(f, "{}", Bind(*listen))?,
            Kind::Stdio { to } => write!(f, "{to}")?,
        }
        options::write(self, f)
    }
}

/// Where something listens, as it is written.
struct Bind(SocketAddr);

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.ip() {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => write!(f, "*:{}", self.0.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => self.0.fmt(f),
        }
    }
}

/// A spec without its options.
#[derive(Clone, Copy, Debug)]
struct Written<'a> {
    scheme: Option<&'a str>,
    body: &'a str,
    /// It ends in `/udp`, as chisel has it.
    udp: bool,
}

fn read(spec: &str, kind: impl FnOnce(Written<'_>) -> Result<Kind, String>) -> Result<TunnelSpec, SpecError> {
    let wrong = |problem| SpecError::new(spec, problem);
    let (rest, options) = spec.split_once('?').map_or((spec, None), |(rest, options)| (rest, Some(options)));
    let written = Written::new(rest).map_err(wrong)?;
    let kind = kind(written).map_err(wrong)?;
    let Options { name, treatment, in_doubt } = Options::read(options.unwrap_or_default()).map_err(wrong)?;
    Ok(TunnelSpec { kind, name, treatment, in_doubt })
}

impl<'a> Written<'a> {
    fn new(text: &'a str) -> Result<Self, String> {
        let (scheme, body) = text.split_once("://").map_or((None, text), |(scheme, body)| (Some(scheme), body));
        match scheme {
            None | Some("udp" | "socks5" | "stdio") => {}
            Some("tcp" | "http" | "https" | "ws" | "wss") => {
                return Err("a tunnel carries UDP alone; write it as udp://PORT:HOST:PORT".into());
            }
            Some(_) => return Err("a tunnel's URL begins with udp://, socks5:// or stdio://".into()),
        }
        let (body, udp) = match body.rsplit_once('/') {
            Some((body, "udp" | "")) => (body, !body.is_empty()),
            Some((body, "tcp")) => return Err(format!("a tunnel carries UDP alone; write `{body}/udp`")),
            Some((_, other)) => return Err(format!("`/{other}` cannot be there: the port ends it, or `/udp`")),
            None => (body, false),
        };
        Ok(Self { scheme, body, udp: udp && text.ends_with("/udp") })
    }

    /// Listener and destination.
    fn pair(self, example: &str) -> Result<(SocketAddr, Address), String> {
        let parts = split(self.body)?;
        match *parts.as_slice() {
            [port, host, to] => Ok((listener(None, port)?, address(host, to)?)),
            [bind, port, host, to] => Ok((listener(Some(bind), port)?, address(host, to)?)),
            [host, port] if self.udp => Ok((listener(None, port)?, address(host, port)?)),
            [host, port] => Err(match address(host, port) {
                Ok(to) => format!("it does not say where to listen; write `{port}:{to}`, or `0:{to}` for any port"),
                Err(_) => format!("expected is [BIND:]PORT:HOST:PORT, as in `{example}`"),
            }),
            [port] if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() => {
                Err(format!("it does not say where to; write `{port}:HOST:PORT`, as in `{example}`"))
            }
            _ => Err(format!("expected is [BIND:]PORT:HOST:PORT, as in `{example}`")),
        }
    }

    /// A listener alone.
    fn listener(self, example: &str) -> Result<SocketAddr, String> {
        match *split(self.body)?.as_slice() {
            [port] => listener(None, port),
            [bind, port] => listener(Some(bind), port),
            _ => Err(format!("expected is [BIND:]PORT, as in `{example}`")),
        }
    }

    /// A destination alone.
    fn destination(self, text: &str, example: &str) -> Result<Address, String> {
        match *split(text)?.as_slice() {
            [host, port] => address(host, port),
            _ => Err(format!("expected is HOST:PORT, as in `{example}`")),
        }
    }
}

/// Takes a text apart at its colons, but for those in brackets.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut begin, mut inside) = (Vec::new(), 0, false);
    for (at, character) in text.char_indices() {
        match character {
            '[' if at == begin && !inside => inside = true,
            ']' if inside => inside = false,
            ':' if !inside => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            '[' | ']' => return Err(BRACKETS.into()),
            _ => {}
        }
    }
    if inside {
        return Err(BRACKETS.into());
    }
    parts.push(&text[begin..]);
    if parts.len() > 4 {
        return Err(BRACKETS.into());
    }
    Ok(parts)
}

fn listener(bind: Option<&str>, port: &str) -> Result<SocketAddr, String> {
    let ip = match bind {
        None | Some("localhost") => Ipv4Addr::LOCALHOST.into(),
        Some("*" | "") => Ipv6Addr::UNSPECIFIED.into(),
        Some(text) => match host(text)? {
            Host::Ip(ip) => ip,
            Host::Name(_) => {
                return Err(format!(
                    "`{text}` is a name, and only an address of the machine can be listened at; `*` is all of them"
                ));
            }
        },
    };
    Ok(SocketAddr::new(ip, number(port)?))
}

fn address(name: &str, port: &str) -> Result<Address, String> {
    let host = host(name)?;
    match number(port)? {
        0 => Err("nothing can be sent to port 0; it is allowed only where it is listened".into()),
        port => Ok(Address { host, port }),
    }
}

fn host(text: &str) -> Result<Host, String> {
    let refused = |error: HostError| format!("`{text}` is not a host: {error}");
    match text.strip_prefix('[') {
        Some(inside) => match inside.strip_suffix(']').map(str::parse::<Ipv6Addr>) {
            Some(Ok(ip)) => Ok(Host::Ip(ip.into())),
            Some(Err(_)) | None => Err(format!("`{text}` is not an address of IPv6, which brackets are for")),
        },
        None if text == "*" => Err("`*` can be listened at, and not be sent to; write one address or name".into()),
        None => parse_host(text).map_err(refused),
    }
}

fn number(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| format!("`{text}` is not a port: it must be a number up to 65535"))
}

/// A text as it can be shown: without what would move the cursor, and not for ever.
fn printable(text: &str) -> String {
    let (mut shown, mut rest) = (String::new(), text.chars());
    for character in rest.by_ref().take(SHOWN) {
        match character {
            '\'' | '"' | '\\' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}

const SHOWN: usize = 400;
const BRACKETS: &str = "an address of IPv6 stands in brackets, as in `[::1]:5005:[2001:db8::1]:53`";

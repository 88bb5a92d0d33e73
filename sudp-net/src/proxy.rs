//! Upstream proxies: which of them, if any, leads to which server.
//!
//! Names go to a proxy unresolved, whichever its kind: behind a network that has proxies, ours often knows no
//! other names than theirs, and a proxy can try all the addresses of a name. So `socks5://` means what others
//! call `socks5h://`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use sudp_proto::access::Network;
use sudp_proto::config::client::{Scheme, ServerConfig};
use sudp_proto::config::text::AddressError;
use sudp_proto::link::{Proxy, ProxyKind};
use sudp_proto::wire::{Address, Host};

/// A proxy, as it is read from a URL.
///
/// `http://user:password@host:port`, `socks5://` or `socks5h://`; a URL without a scheme is one of `http://`, one
/// without a port means port 1080, as with curl. Special characters of user and password are written `%40`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProxyUrl {
    /// Where it is.
    pub address: Address,
    /// What is said to it.
    pub proxy: Proxy,
}

/// Why a text is not the URL of a proxy. It may have a password in it, so it is never repeated whole.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// Its host or port is none.
    #[error(
        "the proxy's URL has no host and port that could be dialled: expected is http://HOST:PORT or \
             socks5://HOST:PORT, with an address of IPv6 in brackets"
    )]
    Address,
    /// A user or password that cannot be said to a proxy of its kind.
    #[error(
        "the proxy's URL has a user or password that cannot be said to it: each must have 1 to 255 bytes (with http:// the \
         password may be empty), no control characters, with http:// no colon in the user, and %XX must be UTF-8"
    )]
    Credentials,
    /// Something behind host and port.
    #[error("the proxy's URL goes on behind host and port: it must end there")]
    Path,
    /// It is spoken to in a way that is not known.
    #[error("`{0}://` is no kind of proxy that is known: it must be http://, socks5:// or socks5h://")]
    Scheme(String),
    /// A proxy that is spoken to over TLS.
    #[error("a proxy at https:// is not supported yet, for that is TLS in TLS: use one at http:// or socks5://")]
    Tls,
}

impl FromStr for ProxyUrl {
    type Err = ProxyUrlError;

    fn from_str(url: &str) -> Result<Self, ProxyUrlError> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => ProxyKind::Connect,
            "socks5" | "socks5h" => ProxyKind::Socks5,
            "https" => return Err(ProxyUrlError::Tls),
            // What is no scheme may be a password.
            other if other.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                return Err(ProxyUrlError::Scheme(other.into()));
            }
            _ => return Err(ProxyUrlError::Scheme("...".into())),
        };
        // A password may have anything in it but what ends it.
        let (credentials, at) = match rest.rsplit_once('@') {
            Some((credentials, at)) => (Some(credentials), at),
            None => (None, rest),
        };
        let at = at.strip_suffix('/').unwrap_or(at);
        if at.contains(['/', '?', '#']) {
            return Err(ProxyUrlError::Path);
        }
        let address = match at.parse::<Address>() {
            Err(AddressError::NoPort(_)) => format!("{at}:{PORT}").parse(),
            read => read,
        };
        // What is wrong with it is not said by repeating it: where a @ is missing, it is a password.
        let address = address.map_err(|_| ProxyUrlError::Address)?;
        let mut proxy = Proxy::new(kind);
        if let Some(credentials) = credentials {
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            let (Some(user), Some(password)) = (decode(user), decode(password)) else {
                return Err(ProxyUrlError::Credentials);
            };
            proxy = proxy.with_credentials(&user, &password).map_err(|_| ProxyUrlError::Credentials)?;
        }
        Ok(Self { address, proxy })
    }
}

/// What `%XX` stands for.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let proper = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(proper.then(|| u8::from_str_radix(digits, 16).ok()).flatten()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Which proxy leads to which server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ProxyRules {
    ws: Option<ProxyUrl>,
    wss: Option<ProxyUrl>,
    direct: Direct,
}

/// An environment variable that names a proxy, and none that can be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the environment variable {variable}: {source}; unset it to do without a proxy")]
pub struct ProxyError {
    /// Which.
    pub variable: &'static str,
    /// What is wrong with it.
    pub source: ProxyUrlError,
}

impl ProxyRules {
    /// No proxy leads anywhere: every server is dialled directly.
    pub fn none() -> Self {
        Self::default()
    }

    /// This proxy leads to every server.
    pub fn all(proxy: ProxyUrl) -> Self {
        Self { ws: Some(proxy.clone()), wss: Some(proxy), direct: Direct::default() }
    }

    /// What the environment says, read as curl does.
    ///
    /// `wss_proxy` or else `https_proxy` leads to servers at `wss://`, `ws_proxy` or else `http_proxy` to those at
    /// `ws://`, `all_proxy` to both; `no_proxy` names those that are dialled directly. The name in capitals counts
    /// where that in lower case is not set, but for `HTTP_PROXY`, which strangers set for programs that a web
    /// server starts. Variables that are empty are not set.
    ///
    /// Unlike curl, and like most, this sends nothing for this machine itself (`localhost` and loopback addresses)
    /// to a proxy, which would take it for its own: [`with_loopback`](Self::with_loopback) has it sent.
    pub fn from_env(lookup: impl Fn(&'static str) -> Option<String>) -> Result<Self, ProxyError> {
        let find = |names: &[&'static str]| {
            let set = names.iter().find_map(|name| Some((*name, lookup(name).filter(|value| !value.is_empty())?)));
            let read = |(variable, url): (_, String)| url.parse().map_err(|source| ProxyError { variable, source });
            set.map(read).transpose()
        };
        let unless = lookup("no_proxy").filter(|value| !value.is_empty()).or_else(|| lookup("NO_PROXY"));
        let mut direct = Direct::read(&unless.unwrap_or_default());
        direct.loopback = true;
        if direct.all {
            // Who wants no proxy minds none that cannot be used.
            return Ok(Self { ws: None, wss: None, direct });
        }
        let ws = find(&["ws_proxy", "WS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"])?;
        let wss = find(&["wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?;
        Ok(Self { ws, wss, direct })
    }

    /// Sends what is for this machine itself to the proxy, too.
    pub fn with_loopback(mut self) -> Self {
        self.direct.loopback = false;
        self
    }

    /// The proxy that leads to a server, unless that is dialled directly.
    pub fn proxy_for(&self, server: &ServerConfig) -> Option<(Address, Proxy)> {
        let proxy = match server.scheme {
            Scheme::Ws => &self.ws,
            Scheme::Wss => &self.wss,
        };
        let ProxyUrl { address, proxy } = proxy.as_ref().filter(|_| !self.direct.covers(&server.address.host))?;
        Some((address.clone(), proxy.clone()))
    }
}

/// What no proxy leads to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Direct {
    all: bool,
    loopback: bool,
    networks: Vec<Network>,
    /// Each with all that is below it, in lower case and without dots around it.
    names: Vec<String>,
}

impl Direct {
    /// Reads `no_proxy`. What is none of an address, a network and a name means nothing, as the variable is
    /// everybody's.
    fn read(list: &str) -> Self {
        let mut direct = Self { all: list.trim() == "*", ..Self::default() };
        for entry in list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()) {
            let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
            if let Some((address, prefix)) = bare.split_once('/') {
                let width = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
                if let (Ok(address), Ok(prefix)) = (address.parse::<IpAddr>(), prefix.parse::<u8>())
                    && prefix <= width(address)
                {
                    direct.networks.push(Network::around(address, prefix));
                }
            } else if let Ok(address) = bare.parse::<IpAddr>() {
                direct.networks.push(Network::host(address.to_canonical()));
            } else {
                direct.names.push(bare.trim_matches('.').to_ascii_lowercase());
            }
        }
        direct.names.retain(|name| !name.is_empty());
        direct
    }

    fn covers(&self, host: &Host) -> bool {
        if self.all {
            return true;
        }
        match host {
            Host::Ip(ip) => {
                let ip = ip.to_canonical();
                self.loopback && ip.is_loopback() || self.networks.iter().any(|network| network.contains(ip))
            }
            Host::Name(name) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                let below = |parent: &str| {
                    name.strip_suffix(parent).is_some_and(|before| before.is_empty() || before.ends_with('.'))
                };
                self.loopback && below("localhost") || self.names.iter().any(|parent| below(parent))
            }
        }
    }
}

impl fmt::Display for ProxyUrl {
    /// Where it is, and nothing of what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// Where a proxy is that does not say.
const PORT: u16 = 1_080;

#[cfg(test)]
mod tests;

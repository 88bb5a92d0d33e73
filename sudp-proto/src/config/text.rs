//! Addresses and URLs as people write them.

use std::str::FromStr;

use super::client::{Scheme, ServerConfig};
use crate::access::{HostError, parse_host};
use crate::wire::{Address, Host};

/// Why a text is not a host and a port.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It has no port.
    #[error("`{0}` has no port: expected is HOST:PORT, with an address of IPv6 in brackets")]
    NoPort(String),
    /// Its port is none.
    #[error("`{0}` is not a port: it must be 1 to 65535")]
    Port(String),
    /// Its host is none.
    #[error("`{0}` is not a host: {1}")]
    Host(String, HostError),
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads `HOST:PORT`, where the host is a name or an address.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let no_port = || AddressError::NoPort(text.into());
        let (host, port) = split_port(text).ok_or_else(no_port)?;
        let port = port.ok_or_else(no_port)?;
        Ok(Self { host: read_host(host)?, port: read_port(port)? })
    }
}

/// Why a text is not the URL of a server.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It does not begin with a scheme that is known.
    #[error("`{0}` is not a server's URL: it must begin with ws:// or wss://")]
    Scheme(String),
    /// It has credentials in it.
    #[error("the URL has credentials in it, which everybody can see: give them in a header instead")]
    Credentials,
    /// Its host or port is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// What stands between the scheme and the path cannot be read.
    #[error("`{0}` is not a server's URL: expected is ws://HOST:PORT/PATH")]
    Authority(String),
    /// It has a fragment, which is never sent.
    #[error("`{0}` has a fragment: everything from the # on must go")]
    Fragment(String),
}

impl FromStr for ServerConfig {
    type Err = UrlError;

    /// Reads a URL. The port is 80 or 443 where it is left out, the path `/sudp`.
    fn from_str(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = split_scheme(url).ok_or_else(|| UrlError::Scheme(url.into()))?;
        if rest.contains('#') {
            return Err(UrlError::Fragment(url.into()));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        let (host, port) = split_port(authority).ok_or_else(|| UrlError::Authority(url.into()))?;
        let port = match port {
            None if scheme == Scheme::Wss => 443,
            None => 80,
            Some(port) => read_port(port)?,
        };
        let host = read_host(host)?;
        let server = Self::new(scheme, Address { host, port });
        Ok(match path {
            "" => server,
            path if path.starts_with('/') => Self { path: path.into(), ..server },
            query => Self { path: format!("/{query}"), ..server },
        })
    }
}

fn split_scheme(url: &str) -> Option<(Scheme, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    match scheme.to_ascii_lowercase().as_str() {
        "ws" => Some((Scheme::Ws, rest)),
        "wss" => Some((Scheme::Wss, rest)),
        _ => None,
    }
}

/// Host and port, where there is one. An address of IPv6 stands in brackets.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if text.starts_with('[') {
        let (host, rest) = text.split_at(text.find(']')? + 1);
        return match rest {
            "" => Some((host, None)),
            rest => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    match text.split_once(':') {
        // An address of IPv6 without brackets, of which nobody can tell where the port begins.
        Some((_, port)) if port.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
        None => Some((text, None)),
    }
}

fn read_host(text: &str) -> Result<Host, AddressError> {
    let refused = |error| AddressError::Host(text.into(), error);
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(inside) if inside.contains(':') => parse_host(inside).map_err(refused),
        Some(_) => Err(refused(HostError::Character { character: '[', column: 1 })),
        None => parse_host(text).map_err(refused),
    }
}

fn read_port(text: &str) -> Result<u16, AddressError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.then(|| text.parse().ok()).flatten().filter(|port| *port > 0);
    port.ok_or_else(|| AddressError::Port(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<(Scheme, String, String), UrlError> {
        url.parse::<ServerConfig>().map(|server| (server.scheme, server.address.to_string(), server.path))
    }

    #[test]
    fn what_is_left_out_is_what_everybody_expects() {
        let server = |scheme, address: &str, path: &str| Ok((scheme, address.to_owned(), path.to_owned()));
        assert_eq!(read("ws://example.com"), server(Scheme::Ws, "example.com:80", "/sudp"));
        assert_eq!(read("WSS://example.com"), server(Scheme::Wss, "example.com:443", "/sudp"));
        assert_eq!(read("wss://example.com/"), server(Scheme::Wss, "example.com:443", "/"));
        assert_eq!(read("ws://[::1]:8080/a?b=c"), server(Scheme::Ws, "[::1]:8080", "/a?b=c"));
        assert_eq!(read("ws://127.0.0.1:8080?b"), server(Scheme::Ws, "127.0.0.1:8080", "/?b"));
    }

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in ["example.com:53", "127.0.0.1:5006", "[::1]:1"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()), Ok(text.to_owned()));
        }
        for text in ["::1", "localhost", "::1:53"] {
            assert_eq!(text.parse::<Address>(), Err(AddressError::NoPort(text.into())));
        }
    }

    #[test]
    fn a_mistake_is_named() {
        for url in ["", "example.com", "http://example.com", "ws:/example.com"] {
            assert_eq!(read(url), Err(UrlError::Scheme(url.into())));
        }
        for url in ["ws://", "ws://:80", "ws://[127.0.0.1]:80", "ws://a b/", "ws://127.1/"] {
            assert!(matches!(read(url), Err(UrlError::Address(AddressError::Host(..)))), "{url}: {:?}", read(url));
        }
        for url in ["ws://[::1", "ws://[::1]80", "ws://::1"] {
            assert_eq!(read(url), Err(UrlError::Authority(url.into())));
        }
        for port in ["0", "65536", "", "+80", "8o"] {
            assert_eq!(read(&format!("ws://host:{port}/")), Err(UrlError::Address(AddressError::Port(port.into()))));
        }
        assert_eq!(read("ws://me:secret@host/"), Err(UrlError::Credentials));
        assert!(matches!(read("ws://host/#x"), Err(UrlError::Fragment(_))));
    }
}

//! Addresses as the wire carries them: of either family, or a name that the other side resolves.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::error::Violation;

use super::varint::{Reader, malformed};
use super::{MAX_NAME, clip};

/// Where datagrams go: an address, or a name that the other side resolves.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Address {
    /// The host.
    pub host: Host,
    /// The UDP port.
    pub port: u16,
}

/// The host part of an [`Address`].
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Host {
    /// An address; IPv4-mapped IPv6 is sent as it is and judged in canonical form.
    Ip(IpAddr),
    /// A name of 1 to 253 bytes.
    Name(Box<str>),
}

impl Host {
    /// Whether the wire can carry `name` as the name of a host: 1 to 253 bytes without spaces and
    /// control characters. Whether it can be resolved is another matter.
    pub fn is_name(name: &str) -> bool {
        (1..=MAX_NAME).contains(&name.len()) && !name.contains(|c: char| c.is_control() || c.is_whitespace())
    }
}

impl Address {
    /// Appends this address; a name must satisfy [`Host::is_name`] or it is refused at the other end.
    #[inline]
    pub fn emit(&self, out: &mut Vec<u8>) {
        match &self.host {
            Host::Ip(ip) => put_ip(out, *ip),
            Host::Name(name) => {
                debug_assert!(Host::is_name(name), "names are checked where they come in");
                let name = clip(name, MAX_NAME).as_bytes();
                out.push(NAME);
                out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
                out.extend_from_slice(name);
            }
        }
        out.extend_from_slice(&self.port.to_be_bytes());
    }

    /// How many bytes [`Address::emit`] appends.
    #[inline]
    pub fn wire_len(&self) -> usize {
        let host = match &self.host {
            Host::Ip(IpAddr::V4(_)) => 4,
            Host::Ip(IpAddr::V6(_)) => 16,
            Host::Name(name) => 1 + clip(name, MAX_NAME).len(),
        };
        1 + host + 2
    }

    #[inline]
    pub(super) fn parse(body: &mut Reader<'_>) -> Result<Self, Violation> {
        let host = match body.byte()? {
            NAME => Host::Name(parse_name(body)?.into()),
            family => Host::Ip(parse_ip(family, body)?),
        };
        match u16::from_be_bytes(body.array()?) {
            0 => Err(malformed("port 0")),
            port => Ok(Self { host, port }),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(at: SocketAddr) -> Self {
        Self { host: Host::Ip(at.ip()), port: at.port() }
    }
}

impl fmt::Display for Address {
    /// `HOST:PORT`; what a name should not have in it is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{}:{}", name.escape_debug(), self.port),
        }
    }
}

/// Appends a socket address, whose port may be 0.
pub(super) fn put_socket(out: &mut Vec<u8>, at: SocketAddr) {
    put_ip(out, at.ip());
    out.extend_from_slice(&at.port().to_be_bytes());
}

/// Reads a socket address, whose port may be 0.
pub(super) fn parse_socket(body: &mut Reader<'_>) -> Result<SocketAddr, Violation> {
    let family = body.byte()?;
    let ip = parse_ip(family, body)?;
    Ok(SocketAddr::new(ip, u16::from_be_bytes(body.array()?)))
}

#[inline]
fn put_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            out.push(IPV4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(IPV6);
            out.extend_from_slice(&ip.octets());
        }
    }
}

#[inline]
fn parse_ip(family: u8, body: &mut Reader<'_>) -> Result<IpAddr, Violation> {
    match family {
        IPV4 => Ok(IpAddr::from(body.array::<4>()?)),
        IPV6 => Ok(IpAddr::from(body.array::<16>()?)),
        _ => Err(malformed("unknown family of an address")),
    }
}

fn parse_name<'a>(body: &mut Reader<'a>) -> Result<&'a str, Violation> {
    let length = body.byte()?;
    let Ok(name) = str::from_utf8(body.take(u64::from(length))?) else {
        return Err(malformed("name is not UTF-8"));
    };
    if Host::is_name(name) { Ok(name) } else { Err(malformed("name is empty, too long or has spaces or controls")) }
}

const IPV4: u8 = 4;
const IPV6: u8 = 6;
const NAME: u8 = 3;

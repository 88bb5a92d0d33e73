//! SOCKS5 as RFC 1928 writes it, as far as UDP needs it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sudp_tokio::proto::access::parse_host;
use sudp_tokio::proto::wire::{Address, Host};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What a client wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wish {
    /// An association; its datagrams come from this port, if it says so.
    Associate { port: u16 },
    /// Something that it is not given, and how it is told.
    Other(Reply),
}

/// What a client is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reply {
    Granted = 0,
    Command = 7,
    AddressType = 8,
}

impl Reply {
    /// The reply, with an address.
    pub(super) fn message(self, at: SocketAddr) -> Vec<u8> {
        let mut message = vec![VERSION, self as u8, 0];
        put(&mut message, &at.into());
        message
    }
}

/// Listens to what a client wants, and to how it says so.
pub(super) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Wish> {
    let [version, methods] = take(stream).await?;
    if version != VERSION {
        return Err(io::Error::other("it does not speak SOCKS 5"));
    }
    let mut offered = vec![0; usize::from(methods)];
    stream.read_exact(&mut offered).await?;
    if !offered.contains(&NO_PASSWORD) {
        stream.write_all(&[VERSION, NO_METHOD]).await?;
        return Err(io::Error::other("it wants to say a password, and there is none"));
    }
    stream.write_all(&[VERSION, NO_PASSWORD]).await?;
    let [version, command, _, family] = take(stream).await?;
    if version != VERSION {
        return Err(io::Error::other("it does not speak SOCKS 5"));
    }
    // Where an application is to send from is its own affair, but for the port.
    let length = match family {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(stream.read_u8().await?),
        _ => return Ok(Wish::Other(Reply::AddressType)),
    };
    let mut host = vec![0; length];
    stream.read_exact(&mut host).await?;
    let port = stream.read_u16().await?;
    Ok(if command == ASSOCIATE { Wish::Associate { port } } else { Wish::Other(Reply::Command) })
}

/// Takes a datagram of an association apart: where it goes, and what it carries. A fragment is none.
pub(super) fn parse(datagram: &[u8]) -> Option<(Address, &[u8])> {
    let ([_, _, 0, family], rest) = datagram.split_first_chunk()? else { return None };
    let (host, rest) = match *family {
        IPV4 => {
            let (ip, rest) = rest.split_first_chunk::<4>()?;
            (Host::Ip(Ipv4Addr::from(*ip).into()), rest)
        }
        IPV6 => {
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            (Host::Ip(Ipv6Addr::from(*ip).into()), rest)
        }
        NAME => {
            let (length, rest) = rest.split_first()?;
            let (name, rest) = rest.split_at_checked(usize::from(*length))?;
            (parse_host(str::from_utf8(name).ok()?).ok()?, rest)
        }
        _ => return None,
    };
    let (port, payload) = rest.split_first_chunk()?;
    let port = u16::from_be_bytes(*port);
    (port > 0).then_some((Address { host, port }, payload))
}

/// A datagram for an association, with where it comes from.
pub(super) fn wrap(from: &Address, payload: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0; 3];
    put(&mut datagram, from);
    datagram.extend_from_slice(payload);
    datagram
}

fn put(out: &mut Vec<u8>, address: &Address) {
    match &address.host {
        Host::Ip(IpAddr::V4(ip)) => {
            out.push(IPV4);
            out.extend_from_slice(&ip.octets());
        }
        Host::Ip(IpAddr::V6(ip)) => {
            out.push(IPV6);
            out.extend_from_slice(&ip.octets());
        }
        Host::Name(name) => {
            // One that was parsed has at most 253 bytes.
            out.push(NAME);
            out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(name.as_bytes());
        }
    }
    out.extend_from_slice(&address.port.to_be_bytes());
}

async fn take<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

const VERSION: u8 = 5;
const NO_PASSWORD: u8 = 0;
const NO_METHOD: u8 = 0xff;
const ASSOCIATE: u8 = 3;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> Address {
        text.parse().expect("an address")
    }

    #[test]
    fn a_datagram_says_where_it_goes_and_where_it_came_from() {
        for text in ["10.0.0.1:53", "[2001:db8::1]:53", "example.com:53"] {
            assert_eq!(parse(&wrap(&address(text), b"hello")), Some((address(text), &b"hello"[..])));
            assert_eq!(parse(&wrap(&address(text), b"")), Some((address(text), &b""[..])));
        }
    }

    #[test]
    fn fragments_and_what_is_cut_short_are_no_datagrams() {
        let whole = wrap(&address("example.com:53"), b"");
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), None, "{end}");
        }
        for (place, value) in [(2, 1), (2, 0x80), (3, 2), (4, 0), (16, 0)] {
            let mut other = whole.clone();
            other[place] = value;
            other[17] = if place == 16 { 0 } else { other[17] };
            assert_eq!(parse(&other), None, "{place}");
        }
    }

    proptest! {
        #[test]
        fn whatever_arrives_is_a_datagram_or_is_none(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Some((to, payload)) = parse(&bytes) {
                prop_assert!(to.port > 0 && payload.len() < bytes.len());
            }
        }
    }
}

//! Plain data: how numbers, moments, lists and addresses are written, and read again.
//!
//! Numbers are the wire's varints. A moment is written as its distance from the moment of the freeze,
//! so that it means something to another process.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ThawError;
use crate::wire::varint;

/// What is being frozen.
pub(super) struct Out {
    pub(super) bytes: Vec<u8>,
    now: Instant,
}

/// What is being thawed.
pub(super) struct In<'a> {
    rest: &'a [u8],
    now: Instant,
    away: Duration,
}

/// Something that can be written as plain data, and read again.
pub(super) trait Plain: Sized {
    fn put(&self, out: &mut Out);
    fn take(input: &mut In<'_>) -> Result<Self, ThawError>;
}

impl Out {
    pub(super) fn new(now: Instant) -> Self {
        Self { bytes: Vec::new(), now }
    }

    pub(super) fn slice(&mut self, bytes: &[u8]) {
        bytes.len().put(self);
        self.bytes.extend_from_slice(bytes);
    }
}

impl<'a> In<'a> {
    pub(super) fn new(now: Instant, away: Duration, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, now, away }
    }

    pub(super) fn take<T: Plain>(&mut self) -> Result<T, ThawError> {
        T::take(self)
    }

    /// As many bytes as are said to follow, if they do.
    pub(super) fn slice(&mut self) -> Result<&'a [u8], ThawError> {
        let length = self.take()?;
        self.bytes(length)
    }

    pub(super) fn byte(&mut self) -> Result<u8, ThawError> {
        let (&byte, rest) = self.rest.split_first().ok_or(CUT)?;
        self.rest = rest;
        Ok(byte)
    }

    /// Refuses bytes behind the last field.
    pub(super) fn finish(self) -> Result<(), ThawError> {
        if self.rest.is_empty() { Ok(()) } else { Err(ThawError::Malformed("bytes behind the last field")) }
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], ThawError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(CUT)?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// Nothing read is larger than the bytes that are there, whatever they declare.
const CUT: ThawError = ThawError::Malformed("field cut short");
const RANGE: ThawError = ThawError::Malformed("number out of its range");

impl Plain for u64 {
    fn put(&self, out: &mut Out) {
        varint::put(&mut out.bytes, *self);
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        let (number, size) = varint::read(input.rest).map_err(|_| CUT)?;
        input.rest = &input.rest[size..];
        Ok(number)
    }
}

/// Writes numbers of other widths as numbers of the wire.
macro_rules! narrow {
    ($($type:ty),+) => {$(
        impl Plain for $type {
            fn put(&self, out: &mut Out) {
                u64::try_from(*self).unwrap_or(varint::MAX).put(out);
            }

            fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
                Self::try_from(input.take::<u64>()?).map_err(|_| RANGE)
            }
        }
    )+};
}

narrow!(u8, u16, u32, u128, usize);

impl Plain for bool {
    fn put(&self, out: &mut Out) {
        out.bytes.push(u8::from(*self));
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        match input.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            2.. => Err(RANGE),
        }
    }
}

impl Plain for Duration {
    fn put(&self, out: &mut Out) {
        self.as_nanos().put(out);
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        Ok(Self::from_nanos(input.take()?))
    }
}

impl Plain for Instant {
    fn put(&self, out: &mut Out) {
        let ahead = *self > out.now;
        ahead.put(out);
        let apart =
            if ahead { self.saturating_duration_since(out.now) } else { out.now.saturating_duration_since(*self) };
        apart.put(out);
    }

    /// A moment before this machine's clock began becomes now: only what it ages is younger for it.
    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        let (ahead, apart): (bool, Duration) = (input.take()?, input.take()?);
        let (now, away) = (input.now, input.away);
        if ahead && apart > away {
            return now.checked_add(apart - away).ok_or(RANGE);
        }
        let ago = if ahead { away - apart } else { apart.saturating_add(away) };
        Ok(now.checked_sub(ago).unwrap_or(now))
    }
}

impl<T: Plain> Plain for Option<T> {
    fn put(&self, out: &mut Out) {
        self.is_some().put(out);
        if let Some(content) = self {
            content.put(out);
        }
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        if input.take()? { input.take().map(Some) } else { Ok(None) }
    }
}

impl<T: Plain, E: Plain> Plain for Result<T, E> {
    fn put(&self, out: &mut Out) {
        self.is_ok().put(out);
        match self {
            Ok(content) => content.put(out),
            Err(error) => error.put(out),
        }
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        Ok(if input.take()? { Ok(input.take()?) } else { Err(input.take()?) })
    }
}

impl<A: Plain, B: Plain> Plain for (A, B) {
    fn put(&self, out: &mut Out) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        Ok((input.take()?, input.take()?))
    }
}

impl<A: Plain, B: Plain, C: Plain> Plain for (A, B, C) {
    fn put(&self, out: &mut Out) {
        self.0.put(out);
        self.1.put(out);
        self.2.put(out);
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        Ok((input.take()?, input.take()?, input.take()?))
    }
}

/// Writes a list as its length and its items; storage grows with what is really there.
macro_rules! lists {
    ($($list:ident),+) => {$(
        impl<T: Plain> Plain for $list<T> {
            fn put(&self, out: &mut Out) {
                self.len().put(out);
                for item in self {
                    item.put(out);
                }
            }

            fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
                let length: usize = input.take()?;
                let mut list = Self::new();
                for _ in 0..length {
                    list.extend([input.take()?]);
                }
                Ok(list)
            }
        }
    )+};
}

lists!(Vec, VecDeque);

impl<K: Plain + Ord, V: Plain> Plain for BTreeMap<K, V> {
    fn put(&self, out: &mut Out) {
        self.len().put(out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        let length: usize = input.take()?;
        (0..length).map(|_| input.take::<(K, V)>()).collect()
    }
}

impl<const N: usize> Plain for [u8; N] {
    fn put(&self, out: &mut Out) {
        out.bytes.extend_from_slice(self);
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        let bytes = input.bytes(N)?;
        Self::try_from(bytes).map_err(|_| CUT)
    }
}

impl Plain for Bytes {
    fn put(&self, out: &mut Out) {
        out.slice(self);
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        input.slice().map(Self::copy_from_slice)
    }
}

impl Plain for String {
    fn put(&self, out: &mut Out) {
        out.slice(self.as_bytes());
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        let text = str::from_utf8(input.slice()?).map_err(|_| ThawError::Malformed("text is not UTF-8"))?;
        Ok(text.to_owned())
    }
}

impl Plain for IpAddr {
    fn put(&self, out: &mut Out) {
        match self {
            Self::V4(ip) => (true, ip.octets()).put(out),
            Self::V6(ip) => (false, ip.octets()).put(out),
        }
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        if input.take()? {
            input.take::<[u8; 4]>().map(|octets| Ipv4Addr::from(octets).into())
        } else {
            input.take::<[u8; 16]>().map(|octets| Ipv6Addr::from(octets).into())
        }
    }
}

/// With the zone of a link-local address, which the wire leaves out: sources are told apart by it.
impl Plain for SocketAddr {
    fn put(&self, out: &mut Out) {
        (self.ip(), self.port()).put(out);
        if let Self::V6(at) = self {
            (at.flowinfo(), at.scope_id()).put(out);
        }
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        match input.take()? {
            (IpAddr::V4(ip), port) => Ok(Self::from((ip, port))),
            (IpAddr::V6(ip), port) => {
                let (flowinfo, scope) = input.take()?;
                Ok(SocketAddrV6::new(ip, port, flowinfo, scope).into())
            }
        }
    }
}

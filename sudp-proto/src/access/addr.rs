//! Addresses: one strict way to read them, the forms they are judged in, and what is closed by default.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::Host;

/// Reads a host as an address or a name, and nothing in between.
///
/// An address is what the standard library reads; there is no zone, no octal, no missing part. All
/// else is a name: labels of letters, digits, `-` and `_`, returned in lower case without the final
/// dot. A name that ends in a number is refused, because resolvers read `127.1`, `0x7f.1` and
/// `2130706433` as addresses.
pub fn parse_host(text: &str) -> Result<Host, HostError> {
    if let Ok(address) = text.parse() {
        return Ok(Host::Ip(address));
    }
    Ok(Host::Name(parse_name(text)?.into()))
}

/// Reads a name, as [`parse_host`] does.
pub(super) fn parse_name(text: &str) -> Result<String, HostError> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    if name.len() > 253 {
        return Err(HostError::TooLong { bytes: name.len() });
    }
    let allowed = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    if let Some((index, character)) = name.chars().enumerate().find(|(_, it)| !allowed(*it)) {
        return Err(HostError::Character { character, column: index + 1 });
    }
    let mut column = 1;
    for label in name.split('.') {
        check_label(label, column)?;
        column += label.len() + 1;
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if is_number(last) {
        return Err(HostError::Number { label: last.into() });
    }
    Ok(name.to_ascii_lowercase())
}

fn check_label(label: &str, column: usize) -> Result<(), HostError> {
    if label.is_empty() {
        return Err(HostError::EmptyLabel { column });
    }
    if label.len() > 63 {
        return Err(HostError::LongLabel { bytes: label.len(), column });
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(HostError::Hyphen { column });
    }
    Ok(())
}

/// Whether a resolver may read a label as a part of an address: digits, or `0x` and hexadecimal digits.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|it| it.is_ascii_hexdigit()),
        None => label.bytes().all(|it| it.is_ascii_digit()),
    }
}

/// A host that is neither an address nor a name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// A character that no name has.
    #[error("{character:?} at column {column} is not allowed; a name has ASCII letters, digits, `-`, `_` and dots")]
    Character {
        /// Which.
        character: char,
        /// Where, in characters from 1.
        column: usize,
    },
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
    /// Two dots in a row, or one in front.
    #[error("the label at column {column} is empty")]
    EmptyLabel {
        /// Where, in characters from 1.
        column: usize,
    },
    /// A label that begins or ends with a hyphen.
    #[error("the label at column {column} begins or ends with `-`")]
    Hyphen {
        /// Where it begins, in characters from 1.
        column: usize,
    },
    /// A label of more than 63 bytes.
    #[error("the label at column {column} has {bytes} bytes; at most 63 are allowed")]
    LongLabel {
        /// Its length.
        bytes: usize,
        /// Where it begins, in characters from 1.
        column: usize,
    },
    /// Something that a resolver would read as an address, though it is not written as one.
    #[error("a name cannot end in the number {label:?}; an address is written in full, as 127.0.0.1 or ::1")]
    Number {
        /// Its last label.
        label: String,
    },
    /// A name of more than 253 bytes.
    #[error("the name has {bytes} bytes; at most 253 are allowed")]
    TooLong {
        /// Its length, without a final dot.
        bytes: usize,
    },
}

/// The addresses that must all be allowed before datagrams may go to `address`.
///
/// An IPv4-mapped address and one of the NAT64 prefix `64:ff9b::/96` *are* an IPv4 address and are
/// judged as that alone. IPv4-compatible, IPv4-translated, 6to4 and Teredo addresses are judged as
/// themselves and as each IPv4 address inside.
pub fn canonical(address: IpAddr) -> Canonical {
    let IpAddr::V6(v6) = address else {
        return Canonical::of(address, &[]);
    };
    let bits = v6.to_bits();
    let v4 = |shift: u32| IpAddr::V4(Ipv4Addr::from_bits(low_half(bits >> shift)));
    if MAPPED.contains(address) || NAT64.contains(address) {
        return Canonical::of(v4(0), &[]);
    }
    if v6.is_loopback() || v6.is_unspecified() {
        return Canonical::of(address, &[]);
    }
    if COMPATIBLE.contains(address) || TRANSLATED.contains(address) {
        return Canonical::of(address, &[v4(0)]);
    }
    if SIX_TO_FOUR.contains(address) {
        return Canonical::of(address, &[v4(80)]);
    }
    if TEREDO.contains(address) {
        let client = IpAddr::V4(Ipv4Addr::from_bits(!low_half(bits)));
        return Canonical::of(address, &[v4(64), client]);
    }
    Canonical::of(address, &[])
}

/// The low 32 bits.
fn low_half(bits: u128) -> u32 {
    u32::try_from(bits & u128::from(u32::MAX)).expect("32 bits fit")
}

/// The forms in which an address is judged, from [`canonical`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Canonical {
    forms: [IpAddr; 3],
    next: usize,
    end: usize,
}

impl Canonical {
    fn of(main: IpAddr, inside: &[IpAddr]) -> Self {
        let mut forms = [main; 3];
        for (form, address) in forms[1..].iter_mut().zip(inside) {
            *form = *address;
        }
        Self { forms, next: 0, end: 1 + inside.len() }
    }

    /// The address itself, without the wrapping that means nothing.
    pub const fn main(&self) -> IpAddr {
        self.forms[0]
    }
}

impl Iterator for Canonical {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        let form = self.forms[..self.end].get(self.next)?;
        self.next += 1;
        Some(*form)
    }
}

/// Addresses that share their first bits; all other bits are zero.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of `prefix` bits that begins at `address`, unless bits behind the prefix are set or it is too long.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let network = Self::around(address, prefix);
        (network == Self { address, prefix }).then_some(network)
    }

    /// The network of `prefix` bits that `address` lies in; a prefix that is too long is taken as the longest.
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(width(address));
        Self { address: Self { address, prefix }.first_of(address), prefix }
    }

    /// One address.
    pub const fn host(address: IpAddr) -> Self {
        Self { address, prefix: width(address) }
    }

    /// Its first address.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits are fixed.
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `address`, taken as it stands, belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && self.first_of(address) == self.address
    }

    /// Whether all of it belongs to `other`.
    pub fn lies_in(&self, other: Self) -> bool {
        self.prefix >= other.prefix && other.contains(self.address)
    }

    /// `address` with all bits behind the prefix cleared.
    fn first_of(&self, address: IpAddr) -> IpAddr {
        let free = u32::from(width(address).saturating_sub(self.prefix));
        match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(free).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(free).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        }
    }

    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    const fn v6(high: u64, low: u64, prefix: u8) -> Self {
        Self { address: IpAddr::V6(Ipv6Addr::from_bits((high as u128) << 64 | low as u128)), prefix }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.prefix < width(self.address) {
            write!(f, "/{}", self.prefix)?;
        }
        Ok(())
    }
}

/// Bits of an address of this family.
pub(super) const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// A network that datagrams do not go to by default.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Closed {
    /// Which.
    pub network: Network,
    /// What it is, in words.
    pub name: &'static str,
    /// What may open it.
    pub opening: Opening,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.opening {
            Opening::Never => "never sent to",
            Opening::Rule => "closed by default",
        };
        write!(f, "{} ({}), {how}", self.network, self.name)
    }
}

/// What may open a closed network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opening {
    /// Nothing.
    Never,
    /// An allow rule whose network lies inside it.
    Rule,
}

/// The narrowest closed network around a canonical address.
pub(super) fn closed(address: IpAddr) -> Option<&'static Closed> {
    CLOSED.iter().filter(|it| it.network.contains(address)).max_by_key(|it| it.network.prefix)
}

/// The network around a canonical address that no rule opens.
pub(super) fn never(address: IpAddr) -> Option<&'static Closed> {
    CLOSED.iter().find(|it| it.opening == Opening::Never && it.network.contains(address))
}

const fn rule(network: Network, name: &'static str) -> Closed {
    Closed { network, name, opening: Opening::Rule }
}

const fn shut(network: Network, name: &'static str) -> Closed {
    Closed { network, name, opening: Opening::Never }
}

const MAPPED: Network = Network::v6(0, 0xffff_0000_0000, 96);
const TRANSLATED: Network = Network::v6(0, 0xffff_0000_0000_0000, 96);
const COMPATIBLE: Network = Network::v6(0, 0, 96);
const NAT64: Network = Network::v6(0x0064_ff9b << 32, 0, 96);
const SIX_TO_FOUR: Network = Network::v6(0x2002 << 48, 0, 16);
const TEREDO: Network = Network::v6(0x2001_0000 << 32, 0, 32);

/// Networks that IPv4 addresses are written in; a rule names the IPv4 network instead.
pub(super) const WRITTEN_AS_V4: [Network; 2] = [MAPPED, NAT64];

/// What is closed by default, to be read against [canonical forms](canonical).
pub const CLOSED: &[Closed] = &[
    rule(Network::v4(0, 0, 0, 0, 8), "this network"),
    shut(Network::v4(0, 0, 0, 0, 32), "unspecified"),
    rule(Network::v4(10, 0, 0, 0, 8), "private"),
    rule(Network::v4(100, 64, 0, 0, 10), "carrier-grade NAT"),
    rule(Network::v4(100, 100, 100, 200, 32), "metadata"),
    rule(Network::v4(127, 0, 0, 0, 8), "loopback"),
    rule(Network::v4(168, 63, 129, 16, 32), "metadata"),
    rule(Network::v4(169, 254, 0, 0, 16), "link-local"),
    rule(Network::v4(169, 254, 169, 254, 32), "metadata"),
    rule(Network::v4(169, 254, 170, 2, 32), "metadata"),
    rule(Network::v4(172, 16, 0, 0, 12), "private"),
    rule(Network::v4(192, 0, 0, 0, 24), "protocol assignments"),
    rule(Network::v4(192, 0, 2, 0, 24), "documentation"),
    rule(Network::v4(192, 88, 99, 0, 24), "6to4 relay"),
    rule(Network::v4(192, 168, 0, 0, 16), "private"),
    rule(Network::v4(198, 18, 0, 0, 15), "benchmarking"),
    rule(Network::v4(198, 51, 100, 0, 24), "documentation"),
    rule(Network::v4(203, 0, 113, 0, 24), "documentation"),
    shut(Network::v4(224, 0, 0, 0, 4), "multicast"),
    rule(Network::v4(240, 0, 0, 0, 4), "reserved"),
    shut(Network::v4(255, 255, 255, 255, 32), "broadcast"),
    rule(COMPATIBLE, "IPv4-compatible"),
    shut(Network::v6(0, 0, 128), "unspecified"),
    rule(Network::v6(0, 1, 128), "loopback"),
    rule(TRANSLATED, "IPv4-translated"),
    rule(Network::v6(0x0064_ff9b_0001 << 16, 0, 48), "local NAT64"),
    rule(Network::v6(0x0100 << 48, 0, 64), "discard"),
    rule(Network::v6(0x2001 << 48, 0, 23), "protocol assignments, Teredo"),
    rule(Network::v6(0x2001_0db8 << 32, 0, 32), "documentation"),
    rule(SIX_TO_FOUR, "6to4"),
    rule(Network::v6(0x3fff << 48, 0, 20), "documentation"),
    rule(Network::v6(0x5f00 << 48, 0, 16), "segment routing"),
    rule(Network::v6(0xfc00 << 48, 0, 7), "private"),
    rule(Network::v6(0xfd00_0ec2 << 32, 0x254, 128), "metadata"),
    rule(Network::v6(0xfd20_00ce << 32, 0x254, 128), "metadata"),
    rule(Network::v6(0xfe80 << 48, 0, 10), "link-local"),
    rule(Network::v6(0xfec0 << 48, 0, 10), "site-local"),
    shut(Network::v6(0xff00 << 48, 0, 8), "multicast"),
];

/// What counts as one source: an address of IPv4, or a /64 of IPv6.
pub fn source(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests;

//! Datagrams as pcapng, as Wireshark opens it: each as the IP packet it could have been.
//!
//! The format is that of draft-ietf-opsawg-pcapng: blocks in our byte order, each with its length at both ends. A tunnel
//! is an interface; flow, session and fate are a comment of the packet; a name gets an address that is reserved for
//! benchmarks, and a record that says whose it is.

mod packet;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use self::packet::packet;
use super::wanted::split;
use crate::instance::protocol::{Direction, Record};
use crate::top::text::clean;

/// What makes a file of datagrams, block by block.
#[derive(Debug, Default)]
pub(super) struct Pcapng {
    interfaces: HashMap<Option<String>, u32>,
    names: HashMap<String, Ipv4Addr>,
    /// The time of the last datagram.
    last: u64,
}

impl Pcapng {
    /// Appends what a file begins with.
    pub(super) fn begin(out: &mut Vec<u8>) {
        block(out, SECTION, |body| {
            body.extend(0x1a2b_3c4d_u32.to_ne_bytes());
            body.extend(1_u16.to_ne_bytes());
            body.extend(0_u16.to_ne_bytes());
            // How long the section is: not known.
            body.extend(u64::MAX.to_ne_bytes());
            option(body, SHB_USERAPPL, concat!("sudp ", env!("CARGO_PKG_VERSION")).as_bytes());
            option(body, END, &[]);
        });
    }

    /// Appends a datagram, and whatever must be known before it.
    pub(super) fn write(&mut self, record: &Record, out: &mut Vec<u8>) {
        let interface = self.interface(record.tunnel.as_ref(), out);
        let (source, destination) = (self.end(record.source.as_ref(), out), self.end(record.destination.as_ref(), out));
        let payload = record.payload.as_deref().map(unhex).unwrap_or_default();
        let packet = packet(source, destination, record.size, &payload);
        let whole = packet.len() + (record.size as usize).saturating_sub(payload.len());
        self.last = record.at;
        block(out, PACKET, |body| {
            body.extend(interface.to_ne_bytes());
            time(body, record.at);
            body.extend(length(packet.len()).to_ne_bytes());
            body.extend(length(whole).to_ne_bytes());
            padded(body, &packet);
            option(body, COMMENT, comment(record).as_bytes());
            let way: u32 = match record.direction {
                Direction::In => 1,
                Direction::Out => 2,
            };
            option(body, EPB_FLAGS, &way.to_ne_bytes());
            if record.missed > 0 {
                option(body, EPB_DROPCOUNT, &record.missed.to_ne_bytes());
            }
            option(body, END, &[]);
        });
    }

    /// Appends what a file ends with: how many there were, and how many of them are missing.
    pub(super) fn end_with(&self, captured: u64, lost: u64, out: &mut Vec<u8>) {
        if self.interfaces.is_empty() {
            return;
        }
        block(out, STATISTICS, |body| {
            // Counts are of all interfaces; readers have no other place for them.
            body.extend(0_u32.to_ne_bytes());
            time(body, self.last);
            option(body, ISB_IFRECV, &captured.saturating_add(lost).to_ne_bytes());
            option(body, ISB_IFDROP, &lost.to_ne_bytes());
            option(body, END, &[]);
        });
    }

    /// The interface of a tunnel.
    fn interface(&mut self, tunnel: Option<&String>, out: &mut Vec<u8>) -> u32 {
        let tunnel = tunnel.cloned();
        if let Some(known) = self.interfaces.get(&tunnel) {
            return *known;
        }
        // What others name has no end: the last interface is for all the rest.
        let number = length(self.interfaces.len()).min(MOST_INTERFACES);
        if self.interfaces.len() <= MOST_INTERFACES as usize {
            let name = match &tunnel {
                Some(_) if number == MOST_INTERFACES => "others".to_owned(),
                Some(name) => clean(name),
                None => "sudp".to_owned(),
            };
            block(out, INTERFACE, |body| {
                body.extend(LINKTYPE_RAW.to_ne_bytes());
                body.extend(0_u16.to_ne_bytes());
                // No limit: how much is kept is said of each packet.
                body.extend(0_u32.to_ne_bytes());
                option(body, IF_NAME, name.as_bytes());
                option(body, IF_TSRESOL, &[9]);
                option(body, END, &[]);
            });
            self.interfaces.insert(tunnel, number);
        }
        number
    }

    /// The address of an end. What is not known is 0.0.0.0, port 0.
    fn end(&mut self, end: Option<&String>, out: &mut Vec<u8>) -> SocketAddr {
        let Some(end) = end else { return UNKNOWN };
        if let Ok(address) = end.parse::<SocketAddr>() {
            return SocketAddr::new(address.ip().to_canonical(), address.port());
        }
        let (name, port) = split(end);
        let port = port.unwrap_or_default();
        if let Some(address) = self.names.get(name) {
            return SocketAddr::new(IpAddr::V4(*address), port);
        }
        if self.names.len() >= MOST_NAMES {
            return SocketAddr::new(UNKNOWN.ip(), port);
        }
        let address = Ipv4Addr::from_bits(FIRST_INVENTED.to_bits() + length(self.names.len()));
        self.names.insert(name.to_owned(), address);
        block(out, NAMES, |body| {
            let mut named = clean(name).into_bytes();
            named.push(0);
            option(body, NRB_IPV4, &[&address.octets()[..], &named].concat());
            option(body, NRB_IPV6, &[&address.to_ipv6_mapped().octets()[..], &named].concat());
            option(body, END, &[]);
        });
        SocketAddr::new(IpAddr::V4(address), port)
    }
}

/// What a packet cannot say of a datagram.
fn comment(record: &Record) -> String {
    let fate = match record.fate.as_str() {
        fate @ (super::wanted::TAKEN | super::wanted::DELIVERED) => fate.to_owned(),
        reason => format!("dropped: {}", clean(reason)),
    };
    let end = |end: &Option<String>| end.as_deref().map_or_else(|| "?".to_owned(), clean);
    let mut text = format!("{fate}; flow {} of session {}", record.flow, clean(&record.session));
    if let Some(tunnel) = &record.tunnel {
        text += &format!(", tunnel {}", clean(tunnel));
    }
    text += &format!("; {} to {}", end(&record.source), end(&record.destination));
    if record.missed > 0 {
        text += &format!("; {} before it were lost", record.missed);
    }
    text
}

/// A block of this kind, with its length before and behind it.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_ne_bytes());
    out.extend([0; 4]);
    body(out);
    let total = length(out.len() - start + 4).to_ne_bytes();
    out[start + 4..start + 8].copy_from_slice(&total);
    out.extend(total);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    // A text is at most as long as its length can say.
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_ne_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_ne_bytes());
    padded(body, value);
}

fn padded(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend(bytes);
    body.resize(body.len() + bytes.len().next_multiple_of(4) - bytes.len(), 0);
}

fn time(body: &mut Vec<u8>, at: u64) {
    let (high, low) = (at >> 32, at & u64::from(u32::MAX));
    body.extend(u32::try_from(high).unwrap_or(u32::MAX).to_ne_bytes());
    body.extend(u32::try_from(low).unwrap_or(u32::MAX).to_ne_bytes());
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What the digits stand for, as far as they are digits.
fn unhex(digits: &str) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?);
    digits.as_bytes().chunks(2).map_while(byte).collect()
}

const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
/// The first of 198.18.0.0/15, which nobody has.
const FIRST_INVENTED: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const MOST_NAMES: usize = 0x1_fffe;
const MOST_INTERFACES: u32 = 255;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const NAMES: u32 = 4;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;

const LINKTYPE_RAW: u16 = 101;

const END: u16 = 0;
const COMMENT: u16 = 1;
const EPB_DROPCOUNT: u16 = 4;
const EPB_FLAGS: u16 = 2;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const ISB_IFDROP: u16 = 5;
const ISB_IFRECV: u16 = 4;
const NRB_IPV4: u16 = 1;
const NRB_IPV6: u16 = 2;
const SHB_USERAPPL: u16 = 4;

#[cfg(test)]
mod tests;

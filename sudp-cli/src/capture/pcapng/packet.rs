//! The IP packet that a datagram could have been.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The packet, as much of it as is known: headers, and what was kept of the payload. Where the ends are of different
/// versions, the one of version 4 is written as version 6 can.
pub(super) fn packet(source: SocketAddr, destination: SocketAddr, size: u32, kept: &[u8]) -> Vec<u8> {
    let kept = &kept[..kept.len().min(size as usize)];
    let length = short(UDP.saturating_add(size));
    let mut packet = Vec::with_capacity(48 + kept.len());
    // What the checksum of UDP covers beside UDP itself.
    let mut pseudo = Vec::with_capacity(40);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) if size <= MOST_V4 => {
            let total = short(IP_V4 + UDP + size);
            packet.extend([0x45, 0]);
            packet.extend(total.to_be_bytes());
            // No number, and no fragments: that needs none.
            packet.extend([0, 0, 0x40, 0, HOPS, PROTOCOL, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            let sum = checksum(&[&packet]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            pseudo.extend(&packet[12..20]);
            pseudo.extend([0, PROTOCOL]);
            pseudo.extend(length.to_be_bytes());
        }
        (from, to) => {
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(length.to_be_bytes());
            packet.extend([PROTOCOL, HOPS]);
            packet.extend(version_6(from).octets());
            packet.extend(version_6(to).octets());
            pseudo.extend(&packet[8..40]);
            pseudo.extend(u32::from(length).to_be_bytes());
            pseudo.extend([0, 0, 0, PROTOCOL]);
        }
    }
    let header = packet.len();
    packet.extend(source.port().to_be_bytes());
    packet.extend(destination.port().to_be_bytes());
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0]);
    let whole = kept.len() == size as usize;
    // Without the whole payload there is no sum. Version 4 can say so; in version 6 none would be an error, so there is
    // one that nobody checks, since readers check no packet that is cut short.
    let sum = match checksum(&[&pseudo, &packet[header..], kept]) {
        _ if !whole && packet[0] == 0x45 => 0,
        _ if !whole => 0xffff,
        0 => 0xffff,
        sum => sum,
    };
    packet[header + 6..].copy_from_slice(&sum.to_be_bytes());
    packet.extend(kept);
    packet
}

/// The sum of the Internet: ones' complement over 16-bit words. Every part but the last has an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]));
    let sum: u64 = parts.iter().flat_map(|part| part.chunks(2)).map(|pair| u64::from(word(pair))).sum();
    let mut sum = sum;
    while sum > u64::from(u16::MAX) {
        sum = (sum & u64::from(u16::MAX)) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

fn version_6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

fn short(length: u32) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

const IP_V4: u32 = 20;
const UDP: u32 = 8;
/// The longest payload of version 4.
const MOST_V4: u32 = 65_535 - IP_V4 - UDP;
const HOPS: u8 = 64;
const PROTOCOL: u8 = 17;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// What a receiver does: with its checksum in it, everything adds up to nothing.
    fn adds_up(packet: &[u8]) -> bool {
        let (addresses, udp) = match packet[0] {
            0x45 => (&packet[12..20], &packet[20..]),
            _ => (&packet[8..40], &packet[40..]),
        };
        let length = u32::try_from(udp.len()).expect("a datagram").to_be_bytes();
        checksum(&[addresses, &length, &[0, PROTOCOL], udp]) == 0
    }

    #[test]
    fn a_packet_of_version_4_is_as_the_standard_has_it() {
        let packet = packet(at("127.0.0.1:40001"), at("10.0.0.1:53"), 5, b"hello");
        assert_eq!(packet.len(), 33);
        assert_eq!(packet[..10], [0x45, 0, 0, 33, 0, 0, 0x40, 0, 64, 17]);
        assert_eq!(checksum(&[&packet[..20]]), 0, "the header adds up");
        assert_eq!(packet[12..20], [127, 0, 0, 1, 10, 0, 0, 1]);
        assert_eq!(packet[20..26], [0x9c, 0x41, 0, 53, 0, 13]);
        assert!(adds_up(&packet));
        assert_eq!(&packet[28..], b"hello");
    }

    #[test]
    fn ends_of_both_versions_meet_in_version_6() {
        let packet = packet(at("[2001:db8::1]:5000"), at("10.0.0.1:53"), 4, b"ping");
        assert_eq!(packet[..8], [0x60, 0, 0, 0, 0, 12, 17, 64]);
        assert_eq!(packet[24..40], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]);
        assert!(adds_up(&packet));
    }

    #[test]
    fn sums_hold_for_every_length_and_for_what_adds_up_to_nothing() {
        for size in [0_u32, 1, 2, 3, 1400, 65_507] {
            let payload: Vec<u8> = (0..size).map(|byte| u8::try_from(byte % 251).expect("below 251")).collect();
            assert!(adds_up(&packet(at("1.2.3.4:5"), at("6.7.8.9:10"), size, &payload)), "{size}");
            assert!(adds_up(&packet(at("[::1]:5"), at("[::2]:10"), size, &payload)), "{size}");
        }
        for word in 0..=u16::MAX {
            let packet = packet(at("0.0.0.0:0"), at("0.0.0.0:0"), 2, &word.to_be_bytes());
            assert_ne!(packet[26..28], [0, 0], "no sum at all would mean that there is none");
        }
    }

    #[test]
    fn what_was_cut_short_keeps_its_length_and_claims_no_sum() {
        let v4 = packet(at("1.2.3.4:5"), at("6.7.8.9:10"), 1000, b"abc");
        assert_eq!((v4.len(), &v4[2..4], &v4[24..28]), (31, &[4, 4][..], &[3, 240, 0, 0][..]));
        let v6 = packet(at("[::1]:5"), at("[::2]:10"), 1000, b"");
        assert_eq!((v6.len(), &v6[44..48]), (48, &[3, 240, 0xff, 0xff][..]));
    }

    #[test]
    fn a_size_beyond_any_datagram_breaks_nothing() {
        for size in [65_508, 65_527, 65_536, u32::MAX] {
            let packet = packet(at("1.2.3.4:5"), at("6.7.8.9:10"), size, b"abc");
            assert_eq!((packet[0], packet.len()), (0x60, 51), "{size}");
        }
    }
}

//! One address, written in every way. The proofs on real sockets include this file, too.

use std::net::IpAddr;

/// The ways in which people and attackers write an address.
pub(crate) fn textual_forms(address: IpAddr) -> Vec<String> {
    match address {
        IpAddr::V4(v4) => v4_forms(v4.octets()),
        IpAddr::V6(v6) => v6_forms(v6.segments(), &v6.to_string()),
    }
}

fn v4_forms([a, b, c, d]: [u8; 4]) -> Vec<String> {
    let number = u32::from_be_bytes([a, b, c, d]);
    let low = number & 0xff_ffff;
    let (high, tail) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let (high_inverted, tail_inverted) = (!high, !tail);
    let dotted = format!("{a}.{b}.{c}.{d}");
    let wide = dotted.chars().map(|it| it.to_digit(10).map_or(it, |digit| char::from_u32(0xff10 + digit).unwrap()));
    vec![
        wide.collect(),
        dotted.replace('.', "。"),
        format!("{dotted}."),
        format!(" {dotted}"),
        format!("{dotted}\0"),
        format!("[{dotted}]"),
        format!("x@{dotted}"),
        format!("{dotted}%eth0"),
        format!("{number}"),
        format!("0x{number:x}"),
        format!("0X{number:X}"),
        format!("0{number:o}"),
        format!("{a}.{low}"),
        format!("0x{a:x}.{low}"),
        format!("{a}.{b}.{tail}"),
        format!("0{a:03o}.0{b:03o}.0{c:03o}.0{d:03o}"),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("::ffff:{dotted}"),
        format!("::FFFF:{high:X}:{tail:X}"),
        format!("0:0:0:0:0:ffff:{high:x}:{tail:x}"),
        format!("::{dotted}"),
        format!("::ffff:0:{dotted}"),
        format!("64:ff9b::{high:x}:{tail:x}"),
        format!("64:ff9b::{dotted}"),
        format!("64:ff9b:1::{dotted}"),
        format!("2002:{high:x}:{tail:x}::"),
        format!("2002:{high:x}:{tail:x}::1"),
        format!("2001:0:{high:x}:{tail:x}::1"),
        format!("2001:0:808:808:0:0:{high_inverted:x}:{tail_inverted:x}"),
        format!("[::ffff:{dotted}]"),
        format!("::ffff:{dotted}%1"),
        dotted,
    ]
}

fn v6_forms(segments: [u16; 8], short: &str) -> Vec<String> {
    let padded = segments.map(|it| format!("{it:04x}")).join(":");
    let dotted = padded.rsplitn(3, ':').last().unwrap_or_default();
    let [.., high, low] = segments;
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    vec![
        short.to_uppercase(),
        padded.to_uppercase(),
        format!("{dotted}:{a}.{b}.{c}.{d}"),
        format!("[{short}]"),
        format!("[{short}"),
        format!("{short}]"),
        format!("{short}%eth0"),
        format!("{short}%1"),
        format!("{short}."),
        format!(" {short}"),
        format!("{short}\n"),
        format!("{short}/128"),
        short.into(),
        padded,
    ]
}

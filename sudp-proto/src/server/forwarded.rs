//! Where a request comes from that a proxy has passed on.

use std::net::IpAddr;

use crate::access::Network;
use crate::link::RequestHead;

/// The source of a request on a stream from `from`: itself, or if that is a proxy that is trusted, whom the proxy
/// names in `X-Forwarded-For`.
///
/// What counts is the last entry that is no trusted proxy itself: the entries in front of it are the words of whoever
/// it names. An entry that is not an address, by the strictest reading, names nobody; then it was the proxy behind it.
pub fn forwarded(head: &RequestHead, trusted: &[Network], from: IpAddr) -> IpAddr {
    let trusts = |address: IpAddr| trusted.iter().any(|network| network.contains(address.to_canonical()));
    let mut source = from.to_canonical();
    if !trusts(source) {
        return source;
    }
    let fields: Vec<&[u8]> = head.headers("X-Forwarded-For").collect();
    let entries = fields.into_iter().rev().flat_map(|field| field.rsplit(|byte| *byte == b','));
    for entry in entries.take(HOPS) {
        let entry = str::from_utf8(entry.trim_ascii()).ok().and_then(|entry| entry.parse::<IpAddr>().ok());
        let Some(named) = entry else { break };
        source = named.to_canonical();
        if !trusts(source) {
            break;
        }
    }
    source
}

/// Proxies in a row.
const HOPS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn from(fields: &[&str], stream: &str) -> String {
        let trusted = [127, 10].map(|first| Network::around([first, 0, 0, 0].into(), 8));
        let lines: String = fields.iter().map(|field| format!("X-Forwarded-For: {field}\r\n")).collect();
        let head = RequestHead::parse(format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n").as_bytes()).expect("a head");
        forwarded(&head, &trusted, stream.parse().expect("an address")).to_string()
    }

    #[test]
    fn d2_a_proxy_that_is_trusted_names_the_source_and_nobody_else_does() {
        assert_eq!(from(&["192.0.2.1"], "127.0.0.1"), "192.0.2.1");
        assert_eq!(from(&["192.0.2.1"], "::ffff:127.0.0.1"), "192.0.2.1");
        assert_eq!(from(&["192.0.2.1"], "198.51.100.1"), "198.51.100.1", "anybody can write a header");
        assert_eq!(from(&[], "127.0.0.1"), "127.0.0.1");
        assert_eq!(from(&["2001:db8::7"], "10.0.0.1"), "2001:db8::7");
    }

    #[test]
    fn d2_what_the_client_wrote_in_front_is_not_believed() {
        assert_eq!(from(&["203.0.113.9, 192.0.2.1"], "127.0.0.1"), "192.0.2.1");
        assert_eq!(from(&["203.0.113.9", "192.0.2.1"], "127.0.0.1"), "192.0.2.1", "two lines are one list");
        assert_eq!(from(&["203.0.113.9, 192.0.2.1,10.1.1.1 , 10.0.0.2"], "127.0.0.1"), "192.0.2.1");
        assert_eq!(from(&["10.9.9.9, 10.1.1.1"], "127.0.0.1"), "10.9.9.9", "from inside");
    }

    #[test]
    fn d2_an_entry_that_is_no_address_names_nobody() {
        for strange in ["unknown", "192.0.2.1:4711", "[2001:db8::1]", "_hidden", "", "0x7f.1", "192.0.2.01", "1.2.3"] {
            assert_eq!(from(&[strange], "127.0.0.1"), "127.0.0.1", "{strange:?}");
            assert_eq!(from(&[&format!("192.0.2.1, {strange}, 10.0.0.2")], "127.0.0.1"), "10.0.0.2", "{strange:?}");
        }
    }

    #[test]
    fn d2_ten_thousand_entries_cost_no_more_than_a_few() {
        let many = vec!["10.0.0.1"; 10_000].join(",");
        assert_eq!(from(&[&many], "127.0.0.1"), "10.0.0.1");
        let spoofed = vec!["203.0.113.9"; 10_000].join(",");
        assert_eq!(from(&[&format!("{spoofed}, 192.0.2.1")], "127.0.0.1"), "192.0.2.1");
    }
}

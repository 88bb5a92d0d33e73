//! Which datagrams are captured.

use std::net::{IpAddr, SocketAddr};

use crate::instance::protocol::{Record, Wanted};

/// The fate of a datagram that was taken for the other side.
pub(crate) const TAKEN: &str = "taken";
/// The fate of a datagram that was handed to its application or socket.
pub(crate) const DELIVERED: &str = "delivered";
/// Every other fate is the reason of a drop; this word means any of them.
pub(crate) const DROPPED: &str = "dropped";

impl Wanted {
    /// Whether this datagram is asked for.
    pub fn takes(&self, record: &Record) -> bool {
        let ends = || [&record.source, &record.destination].into_iter().flatten();
        let session = |session: &String| record.session.starts_with(session.as_str());
        self.session.as_ref().is_none_or(session)
            && self.flow.is_none_or(|flow| record.flow == flow)
            && self.tunnel.as_ref().is_none_or(|tunnel| record.tunnel.as_ref() == Some(tunnel))
            && self.direction.is_none_or(|direction| record.direction == direction)
            && self.fate.as_ref().is_none_or(|fate| is_fate(fate, &record.fate))
            && self.host.as_ref().is_none_or(|host| ends().any(|end| is_host(host, end)))
            && self.port.is_none_or(|port| ends().any(|end| split(end).1 == Some(port)))
    }
}

/// A host and a port, of what is written `10.0.0.1:53`, `[::1]:53` or `example.com:53`.
pub(crate) fn split(end: &str) -> (&str, Option<u16>) {
    let Some((host, port)) = end.rsplit_once(':') else { return (end, None) };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match (port.parse().ok(), bare) {
        (Some(port), Some(bare)) => (bare, Some(port)),
        // An address of version 6 has colons of its own.
        (Some(port), None) if !host.contains(':') => (host, Some(port)),
        _ => (end, None),
    }
}

fn is_fate(wanted: &str, fate: &str) -> bool {
    wanted == fate || (wanted == DROPPED && fate != TAKEN && fate != DELIVERED)
}

/// Whether an end is this host, or this host and port.
fn is_host(wanted: &str, end: &str) -> bool {
    if let (Ok(wanted), Ok(end)) = (wanted.parse::<SocketAddr>(), end.parse::<SocketAddr>()) {
        return canonical(wanted.ip()) == canonical(end.ip()) && wanted.port() == end.port();
    }
    if wanted.eq_ignore_ascii_case(end) {
        return true;
    }
    let (host, _) = split(end);
    match (wanted.trim_matches(['[', ']']).parse::<IpAddr>(), host.parse::<IpAddr>()) {
        (Ok(wanted), Ok(host)) => canonical(wanted) == canonical(host),
        _ => wanted.eq_ignore_ascii_case(host),
    }
}

fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::fixtures::record;
    use crate::instance::protocol::Direction;

    #[test]
    fn everything_is_wanted_unless_something_is_said() {
        assert!(Wanted::default().takes(&record()));
    }

    #[test]
    fn each_filter_takes_what_it_names_and_nothing_else() {
        let is = |wanted: Wanted| wanted.takes(&record());
        let text = |text: &str| Some(text.to_owned());
        for (session, taken) in [("5e55", true), ("5e5510115e551011", true), ("0dd5", false)] {
            assert_eq!(is(Wanted { session: text(session), ..Wanted::default() }), taken, "{session}");
        }
        for (flow, taken) in [(3, true), (4, false)] {
            assert_eq!(is(Wanted { flow: Some(flow), ..Wanted::default() }), taken, "{flow}");
        }
        for (tunnel, taken) in [("dns", true), ("dn", false)] {
            assert_eq!(is(Wanted { tunnel: text(tunnel), ..Wanted::default() }), taken, "{tunnel}");
        }
        for (direction, taken) in [(Direction::Out, true), (Direction::In, false)] {
            assert_eq!(is(Wanted { direction: Some(direction), ..Wanted::default() }), taken, "{direction:?}");
        }
        for (port, taken) in [(53, true), (40_001, true), (54, false)] {
            assert_eq!(is(Wanted { port: Some(port), ..Wanted::default() }), taken, "{port}");
        }
    }

    #[test]
    fn a_drop_is_asked_for_by_its_reason_or_as_any() {
        let is = |wanted: &str, fate: &str| {
            let wanted = Wanted { fate: Some(wanted.into()), ..Wanted::default() };
            wanted.takes(&Record { fate: fate.into(), ..record() })
        };
        assert!(is("taken", "taken") && is("delivered", "delivered") && is("age", "age") && is("dropped", "age"));
        assert!(!is("dropped", "taken") && !is("dropped", "delivered") && !is("full", "age") && !is("taken", "age"));
    }

    #[test]
    fn a_host_is_known_at_either_end_however_it_is_written() {
        let is = |wanted: &str, end: &str| is_host(wanted, end);
        assert!(is("10.0.0.1", "10.0.0.1:53") && is("10.0.0.1:53", "10.0.0.1:53"));
        assert!(
            is("::1", "[::1]:53") && is("[::1]", "[::1]:53") && is("0:0::1", "[::1]:53") && is("[::1]:53", "[::1]:53")
        );
        assert!(is("10.0.0.1", "[::ffff:10.0.0.1]:53"));
        assert!(is("Example.com", "example.com:53") && is("example.com:53", "example.com:53"));
        assert!(
            !is("10.0.0.1:54", "10.0.0.1:53")
                && !is("10.0.0.10", "10.0.0.1:53")
                && !is("example.com:5", "example.com:53")
        );
        let wanted = Wanted { host: Some("127.0.0.1".into()), ..Wanted::default() };
        assert!(wanted.takes(&record()));
        assert!(!wanted.takes(&Record { source: None, ..record() }));
    }

    #[test]
    fn ends_come_apart_where_the_port_begins() {
        assert_eq!(split("10.0.0.1:53"), ("10.0.0.1", Some(53)));
        assert_eq!(split("[::1]:53"), ("::1", Some(53)));
        assert_eq!(split("::1"), ("::1", None));
        assert_eq!(split("example.com:70000"), ("example.com:70000", None));
        assert_eq!(split("x"), ("x", None));
        assert_eq!(split(""), ("", None));
    }
}

//! Datagrams of others that come through the tunnel.

use super::super::echo::{count, say};

/// What others have sent.
#[derive(Debug, Default)]
pub(super) struct Others {
    count: u64,
    /// Whether they are told as they come.
    speaks: bool,
    /// How many more may be told in this second, and how many were not.
    breath: u32,
    untold: u64,
}

impl Others {
    /// From now on they are told as they come.
    pub(super) fn speak(&mut self) {
        (self.speaks, self.breath) = (true, BREATH);
    }

    /// A second has passed.
    pub(super) fn breathe(&mut self) {
        self.breath = BREATH;
        if self.untold > 0 {
            say(format_args!("and {} more", count(self.untold, "datagram")));
            self.untold = 0;
        }
    }

    /// One has reached the echo service.
    pub(super) fn take(&mut self, payload: &[u8]) {
        self.count += 1;
        if !self.speaks {
            return;
        }
        match self.breath.checked_sub(1) {
            Some(rest) => {
                self.breath = rest;
                say(format_args!("echoed {}: {}", count(payload.len() as u64, "byte"), readable(payload)));
            }
            None => self.untold += 1,
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

/// The beginning of a payload, with nothing in it that a terminal would obey.
fn readable(payload: &[u8]) -> String {
    let end = payload.trim_ascii_end();
    let shown = &end[..end.len().min(SHOWN)];
    let more = if shown.len() < end.len() { "..." } else { "" };
    format!("\"{}\"{more}", shown.escape_ascii())
}

/// Lines in a second.
const BREATH: u32 = 10;
/// Bytes of a payload.
const SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_as_what_it_is() {
        assert_eq!(readable(b"hello\n"), "\"hello\"");
        assert_eq!(readable(b"\x1b[2J\r\n\x07x\0"), "\"\\x1b[2J\\r\\n\\x07x\\x00\"");
        assert_eq!(readable("é".as_bytes()), "\"\\xc3\\xa9\"");
        assert_eq!(readable(&[b'a'; 50]), format!("\"{}\"...", "a".repeat(40)));
        assert_eq!(readable(b""), "\"\"");
    }

    #[test]
    fn a_flood_is_told_in_one_line_a_second() {
        let mut others = Others::default();
        others.take(b"before");
        others.speak();
        (0..1_000).for_each(|_| others.take(b"x"));
        assert_eq!((others.count(), others.untold), (1_001, 990));
        others.breathe();
        assert_eq!((others.untold, others.breath), (0, BREATH));
    }
}

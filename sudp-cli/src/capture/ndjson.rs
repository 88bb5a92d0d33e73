//! Datagrams as lines of JSON.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::wanted::{DELIVERED, DROPPED, TAKEN};
use crate::instance::protocol::{Direction, Record};

/// A line. Fields are added, and never change their meaning.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    session: &'a str,
    flow: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<&'a str>,
    direction: Direction,
    source: Option<&'a str>,
    destination: Option<&'a str>,
    size: u32,
    fate: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    lost: u64,
}

/// Appends the line of a datagram.
pub(super) fn write(record: &Record, out: &mut Vec<u8>) {
    let dropped = record.fate != TAKEN && record.fate != DELIVERED;
    let line = Line {
        time: humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(record.at)).to_string(),
        session: &record.session,
        flow: record.flow,
        tunnel: record.tunnel.as_deref(),
        direction: record.direction,
        source: record.source.as_deref(),
        destination: record.destination.as_deref(),
        size: record.size,
        fate: if dropped { DROPPED } else { &record.fate },
        reason: dropped.then_some(&record.fate),
        payload: record.payload.as_deref(),
        lost: record.missed,
    };
    serde_json::to_writer(&mut *out, &line).expect("texts and numbers are JSON, and memory takes what is written");
    out.push(b'\n');
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::fixtures::record;

    fn line(record: &Record) -> String {
        let mut out = Vec::new();
        write(record, &mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn a_datagram_is_one_line_that_leaves_out_what_there_is_not() {
        let expected = concat!(
            r#"{"time":"2027-01-15T08:00:00.123456789Z","session":"5e5510115e551011","flow":3,"tunnel":"dns","#,
            r#""direction":"out","source":"127.0.0.1:40001","destination":"10.0.0.1:53","size":5,"fate":"taken","#,
            r#""payload":"68656c6c6f"}"#,
            "\n"
        );
        assert_eq!(line(&record()), expected);
        let bare = Record { tunnel: None, source: None, payload: None, ..record() };
        assert!(line(&bare).contains(r#""source":null,"#) && !line(&bare).contains("tunnel"));
    }

    #[test]
    fn a_drop_has_a_reason_and_a_loss_a_number() {
        let dropped = line(&Record { fate: "age".into(), missed: 12, ..record() });
        assert!(
            dropped.contains(r#""fate":"dropped","reason":"age""#) && dropped.contains(r#""lost":12"#),
            "{dropped}"
        );
    }

    #[test]
    fn a_hostile_name_stays_within_its_line() {
        let name = "a\"\n\u{1b}[2J\u{202e}";
        let text = line(&Record { destination: Some(name.into()), ..record() });
        assert_eq!(text.matches('\n').count(), 1);
        assert!(!text.contains('\u{1b}'));
        let parsed: serde_json::Value = serde_json::from_str(&text).expect("one value");
        assert_eq!(parsed["destination"], name);
    }
}

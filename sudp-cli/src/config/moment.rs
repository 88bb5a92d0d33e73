//! Points in time, as people write them: a date, or a date and a time with its zone (RFC 3339).

use std::time::{Duration, SystemTime};

use super::values::Kind;

/// Reads `2027-01-31`, which is its first moment in UTC, or `2027-01-31T18:00:00+01:00`.
pub(crate) fn read(text: &str) -> Result<SystemTime, String> {
    let read = match text.len() {
        DATE => utc(&format!("{text}T00:00:00Z")),
        _ => with_zone(text),
    };
    read.ok_or_else(|| format!("{}, as 2027-01-31 or 2027-01-31T18:00:00Z", Kind::Moment.refuse(text)))
}

/// A point in time as it is read, in UTC.
pub(crate) fn write(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

fn with_zone(text: &str) -> Option<SystemTime> {
    if text.ends_with('Z') {
        return utc(text);
    }
    let (local, zone) = text.split_at_checked(text.len().checked_sub(ZONE)?)?;
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let ahead = Duration::from_secs(60 * (60 * digits(hours, 23)? + digits(minutes, 59)?));
    let at = utc(&format!("{local}Z"))?;
    match zone.as_bytes().first()? {
        b'+' => at.checked_sub(ahead),
        b'-' => at.checked_add(ahead),
        _ => None,
    }
}

fn utc(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

fn digits(text: &str, most: u64) -> Option<u64> {
    let proper = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    proper.then(|| text.parse().ok()).flatten().filter(|number| *number <= most)
}

/// `2027-01-31`.
const DATE: usize = 10;
/// `+01:00`.
const ZONE: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_its_first_moment_and_a_zone_is_minded() {
        for (text, utc) in [
            ("2027-01-31", "2027-01-31T00:00:00Z"),
            ("2027-01-31T18:00:00Z", "2027-01-31T18:00:00Z"),
            ("2027-01-31T18:00:00.5Z", "2027-01-31T18:00:00Z"),
            ("2027-01-31T18:00:00+01:00", "2027-01-31T17:00:00Z"),
            ("2027-01-31T18:00:00-05:30", "2027-01-31T23:30:00Z"),
            ("2028-02-29", "2028-02-29T00:00:00Z"),
        ] {
            assert_eq!(read(text).map(write), Ok(utc.into()), "{text}");
        }
    }

    #[test]
    fn what_is_no_point_in_time_is_refused_with_one_that_is() {
        for text in [
            "",
            "2027",
            "2027-1-1",
            "2027-02-30",
            "2027-13-01",
            "27-01-31xx",
            "tomorrow",
            "10d",
            "2027-01-31T18:00:00",
            "2027-01-31T18:00:00+0100",
            "2027-01-31T18:00:00+24:00",
            "2027-01-31T18:00:00+01:60",
            "2027-01-31T25:00:00Z",
            "2027-01-31T18:00:00 01:00",
            "1969-12-31",
            "ÿÿÿÿÿ",
            "2027-01-31T18:00:00+０１",
        ] {
            let error = read(text).expect_err(text);
            assert!(error.ends_with("as 2027-01-31 or 2027-01-31T18:00:00Z"), "{error}");
        }
    }
}

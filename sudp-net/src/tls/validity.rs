//! When a certificate of ours is valid, so that one that is not is found before anyone connects.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

use super::{TlsError, der};

/// Refuses a certificate that cannot be read, or that is not valid now.
pub(super) fn check(file: &Path, certificate: &CertificateDer<'_>) -> Result<(), TlsError> {
    let unreadable = |why: String| TlsError::Certificate { file: file.into(), why };
    ParsedCertificate::try_from(certificate).map_err(|error| unreadable(error.to_string()))?;
    let (from, to) = period(certificate).ok_or_else(|| unreadable("its times are malformed".into()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if now < from {
        return Err(TlsError::NotYet { file: file.into(), wait: from.saturating_sub(now) });
    }
    if now > to {
        return Err(TlsError::Expired { file: file.into(), ago: now.saturating_sub(to) });
    }
    Ok(())
}

/// From when to when, since 1970; what lies before that counts as its beginning.
pub(super) fn period(certificate: &[u8]) -> Option<(Duration, Duration)> {
    let der::Fields { validity, .. } = der::fields(certificate)?;
    let (kind, from, rest) = der::element(validity)?;
    let from = time(kind, from)?;
    let (kind, to, _) = der::element(rest)?;
    Some((from, time(kind, to)?))
}

/// `YYMMDDhhmmssZ`, or the same with four digits of the year.
fn time(kind: u8, text: &[u8]) -> Option<Duration> {
    let text = str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest): (i64, &str) = match kind {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2_000 + year } else { 1_900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let field = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day, hour, minute, second) = (field(0)?, field(2)?, field(4)?, field(6)?, field(8)?);
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Days since 1970, in the Gregorian calendar; the year begins in March, so that the leap day is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (century, shifted) = (year.div_euclid(100), (month + 9) % 12);
    let leaps = year.div_euclid(4) - century + century.div_euclid(4);
    365 * year + leaps + (153 * shifted + 2) / 5 + day - 1 - DAYS_TO_1970
}

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// From 1 March of the year 0.
const DAYS_TO_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_forms_are_read_to_the_second() {
        let seconds = |kind, text: &str| time(kind, text.as_bytes()).map(|time| time.as_secs());
        assert_eq!(seconds(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, "000229123456Z"), Some(951_827_696));
        assert_eq!(seconds(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(seconds(UTC_TIME, "500101000000Z"), Some(0), "1950 is before all time");
        assert_eq!(seconds(GENERALIZED_TIME, "20500101000000Z"), Some(2_524_608_000));
        assert_eq!(seconds(GENERALIZED_TIME, "21000301000000Z"), Some(4_107_542_400), "2100 has no leap day");
        for bad in ["", "Z", "7001010000Z", "700101000000", "70010100000xZ", "700101000000+0100"] {
            assert_eq!(seconds(UTC_TIME, bad), None, "{bad}");
        }
    }
}

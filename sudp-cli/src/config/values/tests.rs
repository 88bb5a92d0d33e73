use super::super::keys::KEYS;
use super::*;

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn a_time_has_a_unit() {
    let read = |text| read_time(text, Duration::ZERO, DAY);
    for (text, millis) in
        [("10s", 10_000), ("200ms", 200), ("10m", 600_000), ("1h30m", 5_400_000), ("1h 30m", 5_400_000)]
    {
        assert_eq!(read(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    assert_eq!((read("0s"), read("0")), (Ok(Duration::ZERO), Ok(Duration::ZERO)));
    assert_eq!(read("10"), Err("`10` has no unit; allowed is a time from 0s to 1day, as 10s".into()));
    for text in ["", "-5s", "1e9", "1e9s", "infinity", "s", "2days", "99999999999999999999s", "10 parsecs"] {
        let error = read(text).unwrap_err();
        assert_eq!(
            error,
            format!("`{text}` is not allowed here; allowed is a time from 0s to 1day, as 200ms, 10s or 1h30m")
        );
    }
}

#[test]
fn a_size_may_have_a_unit() {
    let read = |text| read_size(text, 0, 1 << 30);
    for (text, bytes) in [
        ("0", 0),
        ("65536", 65_536),
        ("65_536", 65_536),
        ("64KiB", 65_536),
        ("64 kib", 65_536),
        ("2MB", 2_000_000),
        ("1GiB", 1 << 30),
    ] {
        assert_eq!(read(text), Ok(bytes), "{text}");
    }
    for text in
        ["", "-1", "1.5MiB", "1e9", "64K", "KiB", "2GiB", "99999999999999999999", "18446744073709551615KiB", "_1"]
    {
        let error = read(text).unwrap_err();
        assert!(
            error.starts_with(&format!("`{text}` is not allowed here; allowed is a size from 0 to 1GiB")),
            "{error}"
        );
    }
}

#[test]
fn every_range_takes_its_ends_and_nothing_beyond() {
    let mut ranges = 0;
    for key in KEYS.iter() {
        let path = key.path;
        if let Kind::Count(least, most) | Kind::Size(least, most) = key.kind {
            let count = matches!(key.kind, Kind::Count(..));
            let read = |value: usize| {
                let text = value.to_string();
                if count { read_count(&text, least, most) } else { read_size(&text, least, most) }
            };
            assert_eq!((read(least), read(most)), (Ok(least), Ok(most)), "{path}");
            assert!(read(most + 1).is_err() && least.checked_sub(1).is_none_or(|below| read(below).is_err()), "{path}");
            ranges += 1;
        }
        if let Kind::Time(least, most) = key.kind {
            let read = |value: Duration| read_time(&time(value), least, most);
            let step = Duration::from_millis(1);
            assert_eq!((read(least), read(most)), (Ok(least), Ok(most)), "{path}");
            assert!(
                read(most + step).is_err() && least.checked_sub(step).is_none_or(|below| read(below).is_err()),
                "{path}"
            );
            ranges += 1;
        }
    }
    assert!(ranges > 40, "{ranges}");
}

#[test]
fn a_size_and_a_time_are_read_as_they_are_shown() {
    for bytes in [0, 1, 1_023, 1_024, 65_507, 66 << 10, 1 << 20, 3 << 30, 1 << 40] {
        assert_eq!(read_size(&size(bytes), 0, usize::MAX), Ok(bytes));
    }
    for millis in [0, 1, 999, 1_500, 60_000, 86_400_000, 90_061_001] {
        let value = Duration::from_millis(millis);
        assert_eq!(read_time(&time(value), Duration::ZERO, Duration::MAX), Ok(value));
    }
}

#[test]
fn an_address_is_told_what_it_misses() {
    assert!(read_socket("[::]:443").is_ok() && read_socket("[fe80::1%2]:80").is_ok());
    for (text, says) in [
        (":80", "for every address write 0.0.0.0:80 or [::]:80"),
        ("*:80", "for every address write 0.0.0.0:80 or [::]:80"),
        ("localhost:80", "did you mean 127.0.0.1:80?"),
        ("1:2:3:4:5:6:7:8:80", "did you mean [1:2:3:4:5:6:7:8]:80?"),
        ("example.com:80", "an address is needed, for a name may have several"),
        ("0.0.0.0", "a port is missing, as 0.0.0.0:8080"),
        ("::1", "an address of IPv6 stands in brackets before it, as [::1]:8080"),
        ("127.0.0.1:65536", "allowed is ADDRESS:PORT"),
        ("127.0.0.1:-1", "allowed is ADDRESS:PORT"),
        ("256.0.0.1:80", "allowed is ADDRESS:PORT"),
        ("", "allowed is ADDRESS:PORT"),
    ] {
        let error = read_socket(text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn a_truth_is_no_guess() {
    assert_eq!((read_bool("true"), read_bool("False")), (Ok(true), Ok(false)));
    for (text, says) in
        [("yes", "did you mean true?"), ("0", "did you mean false?"), ("maybe", "allowed is true or false")]
    {
        assert!(read_bool(text).unwrap_err().ends_with(says), "{text}");
    }
}

#[test]
fn levels_are_for_all_and_then_for_targets() {
    for text in ["info", "OFF", "warn,sudp::link=debug", "a=trace, b=off"] {
        assert_eq!(read_levels(text), Ok(text.to_owned()));
    }
    for (text, part) in
        [("inf", "inf"), ("", ""), ("info,", ""), ("info,x=y", "x=y"), ("=info", "=info"), ("a b=info", "a b=info")]
    {
        assert!(read_levels(text).unwrap_err().starts_with(&format!("`{part}` is not allowed")), "{text}");
    }
}

#[test]
fn a_word_that_is_nearly_right_is_suggested() {
    assert_eq!(read_choice("json", &["text", "json"]), Ok("json"));
    let error = read_choice("jsn", &["text", "json"]).unwrap_err();
    assert_eq!(error, "`jsn` is not allowed here; allowed is one of text, json; did you mean `json`?");
}

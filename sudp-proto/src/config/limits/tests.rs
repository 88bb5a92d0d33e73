use super::*;

#[test]
fn defaults_are_valid() {
    Limits::default().validate().unwrap();
}

#[test]
fn every_cap_takes_the_ends_of_its_range_and_nothing_beyond() {
    let edges = Limits::edges();
    assert!(edges.len() > 120, "{}", edges.len());
    for Edge { field, limits, allowed } in edges {
        match limits.within() {
            Ok(()) => assert!(allowed, "{field} is {limits:?}"),
            Err(ConfigError::OutOfRange { field: named, value, allowed: range }) => {
                assert!(!allowed, "{named} of {value} is refused but lies in {range}");
                assert_eq!(named, field);
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn an_error_names_the_field_its_value_and_what_is_allowed() {
    let error = Limits { idle: secs(119), ..Limits::default() }.validate().unwrap_err();
    assert_eq!(error.to_string(), "idle is 119s; allowed is 120s to 86400s");
    let error = Limits { links: 9, ..Limits::default() }.validate().unwrap_err();
    assert_eq!(error.to_string(), "links is 9; allowed is 1 to 8");
    let error = Limits { message: 65_507, ..Limits::default() }.validate().unwrap_err();
    let words = "datagram is 65507, but message is 65507: a datagram and 1 KiB more must fit into a message";
    assert_eq!(error.to_string(), words);
    let error =
        Limits { realtime_age: millis(1_500), reliable_age: secs(1), ..Limits::default() }.validate().unwrap_err();
    assert_eq!(error.to_string(), "realtime_age is 1.5s, but reliable_age is 1s: realtime is the shorter age");
}

#[test]
fn every_cap_can_be_listed_and_set_by_its_name() {
    let mut limits = Limits::default();
    for cap in Limits::caps() {
        assert!(!cap.help.is_empty(), "{}", cap.name);
        assert!(limits.set(cap.name, cap.most), "{}", cap.name);
        limits.within().unwrap();
        let other = match cap.default {
            CapValue::Time(_) => CapValue::Count(1),
            CapValue::Bytes(_) | CapValue::Count(_) => CapValue::Time(secs(1)),
        };
        assert!(!limits.set(cap.name, other), "{} is not of this kind", cap.name);
        assert!(limits.set(cap.name, cap.default), "{}", cap.name);
    }
    assert_eq!(limits, Limits::default());
    assert!(!limits.set("link", CapValue::Count(1)));
}

#[test]
fn everything_that_does_not_go_together_is_told_at_once() {
    let limits = Limits { links: 2, live_links: 1, strangers: 63, ..Limits::default() };
    let found: Vec<_> = limits.contradictions().iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "links is 2, but live_links is 1: a server must hold the links that are wished for",
            "strangers_early is 64, but strangers is 63: some are dropped before all are",
        ]
    );
}

#[test]
fn values_that_meet_go_together() {
    let base = Limits::default;
    for limits in [
        Limits { message: 65_507 + Limits::OVERHEAD, ..base() },
        Limits { silence: secs(10), ..base() },
        Limits { suspect_min: secs(3), ..base() },
        Limits { strangers: 64, ..base() },
    ] {
        limits.validate().unwrap();
    }
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    let base = Limits::default;
    let cases: [(&str, &str, Limits); 12] = [
        ("datagram", "message", Limits { message: 65_507 + Limits::OVERHEAD - 1, ..base() }),
        ("datagram", "hold_bytes", Limits { hold_bytes: 65_506, ..base() }),
        ("queue", "pool", Limits { pool: MIB, queue: MIB + 1, ..base() }),
        ("links", "live_links", Limits { links: 2, live_links: 1, ..base() }),
        ("strangers_per_source", "strangers", Limits { strangers: 15, strangers_early: 15, ..base() }),
        ("strangers_early", "strangers", Limits { strangers: 63, ..base() }),
        ("detached", "sessions", Limits { sessions: 4_095, ..base() }),
        ("idle_one_shot", "idle", Limits { idle_one_shot: secs(181), ..base() }),
        ("refusal_min", "refusal_max", Limits { refusal_min: secs(31), ..base() }),
        ("suspect_min", "suspect_max", Limits { suspect_min: millis(3_001), ..base() }),
        ("suspect_max", "silence", Limits { silence: millis(2_999), ..base() }),
        ("realtime_age", "reliable_age", Limits { realtime_age: millis(1_001), reliable_age: secs(1), ..base() }),
    ];
    for (first, second, limits) in cases {
        limits.within().unwrap();
        match limits.validate() {
            Err(ConfigError::Contradiction { field, other, .. }) => assert_eq!((field, other), (first, second)),
            outcome => panic!("{first} against {second}: {outcome:?}"),
        }
    }
}

/// Limits with one value at or beyond an end of its range.
pub(super) struct Edge {
    pub(super) field: &'static str,
    pub(super) limits: Limits,
    pub(super) allowed: bool,
}

/// The ends of a range, which it allows, and the nearest values beyond them.
pub(super) fn ends<T: Step>(range: RangeInclusive<T>) -> Vec<(T, bool)> {
    let (start, end) = (*range.start(), *range.end());
    let beyond = [start.down(), end.up()].into_iter().flatten().map(|value| (value, false));
    [(start, true), (end, true)].into_iter().chain(beyond).collect()
}

pub(super) trait Step: Copy {
    fn down(self) -> Option<Self>;
    fn up(self) -> Option<Self>;
}

impl Step for Duration {
    fn down(self) -> Option<Self> {
        self.checked_sub(Self::from_nanos(1))
    }
    fn up(self) -> Option<Self> {
        self.checked_add(Self::from_nanos(1))
    }
}

impl Step for usize {
    fn down(self) -> Option<Self> {
        self.checked_sub(1)
    }
    fn up(self) -> Option<Self> {
        self.checked_add(1)
    }
}

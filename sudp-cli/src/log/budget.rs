//! How much is written because of what others do: so much for each of them and so much for all together, so
//! that nobody fills a disk by being wrong often.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Whom a line speaks of: an address without its port, for ports cost nothing, and of IPv6 the network that one
/// has to oneself.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Source {
    /// An address, or the first of its network.
    Address(IpAddr),
    /// What is no address.
    Name(Box<str>),
}

impl Source {
    pub(super) fn new(text: &str) -> Self {
        let address = text.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| text.parse());
        match address.map(|address: IpAddr| address.to_canonical()) {
            Ok(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                Self::Address(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            Ok(address) => Self::Address(address),
            Err(_) => Self::Name(text.into()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(network)) => write!(f, "{network}/64"),
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// What may still be written.
#[derive(Debug)]
pub(super) struct Budget {
    sources: BTreeMap<Source, Account>,
    /// Those for whom there was no account left.
    others: Account,
    all: Pace,
    /// When those whose lines were left out are told.
    due: Option<Instant>,
    /// When accounts were last looked through.
    swept: Option<Instant>,
}

/// Lines that were left out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct LeftOut {
    /// Whose; none for several together.
    pub(super) source: Option<Source>,
    /// How many.
    pub(super) lines: u64,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { sources: BTreeMap::new(), others: Account::default(), all: Pace::default(), due: None, swept: None }
    }

    /// Whether a line of this many bytes is written.
    pub(super) fn admit(&mut self, now: Instant, source: Source, bytes: usize) -> bool {
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&source) {
            self.sweep(now);
        }
        let known = self.sources.len() < SOURCES || self.sources.contains_key(&source);
        let account = if known { self.sources.entry(source).or_default() } else { &mut self.others };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let fits = account.pace.fits(now, LINE, BURST) && self.all.fits(now, BYTE * bytes, BYTE * ALL_BURST);
        if fits {
            account.pace.take(now, LINE);
            self.all.take(now, BYTE * bytes);
        } else {
            account.left_out += 1;
            self.due.get_or_insert(now + SUMMARY);
        }
        fits
    }

    /// When there is something to tell of what was left out.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What was left out since this was last asked: of the worst by name, of the others together.
    pub(super) fn take_left_out(&mut self, now: Instant) -> Vec<LeftOut> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.due = None;
        let mut others = std::mem::take(&mut self.others.left_out);
        let affected = self.sources.iter_mut().filter(|(_, account)| account.left_out > 0);
        let mut all: Vec<_> =
            affected.map(|(source, account)| (std::mem::take(&mut account.left_out), source.clone())).collect();
        all.sort_by(|one, other| other.cmp(one));
        others += all.iter().skip(NAMED).map(|(lines, _)| lines).sum::<u64>();
        let named = all.into_iter().take(NAMED).map(|(lines, source)| LeftOut { source: Some(source), lines });
        let together = (others > 0).then_some(LeftOut { source: None, lines: others });
        named.chain(together).collect()
    }

    /// Forgets those who owe nothing; not more often than once a second, as it looks at all of them.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now >= swept + Duration::from_secs(1)) {
            self.swept = Some(now);
            self.sources.retain(|_, account| account.left_out > 0 || account.pace.0.is_some_and(|until| until > now));
        }
    }
}

#[derive(Debug, Default)]
struct Account {
    pace: Pace,
    left_out: u64,
}

/// Until when everything is spent that was taken so far.
#[derive(Clone, Copy, Debug, Default)]
struct Pace(Option<Instant>);

impl Pace {
    fn fits(self, now: Instant, cost: Duration, burst: Duration) -> bool {
        self.0.is_none_or(|until| until.saturating_duration_since(now) + cost <= burst)
    }

    fn take(&mut self, now: Instant, cost: Duration) {
        self.0 = Some(self.0.map_or(now, |until| until.max(now)) + cost);
    }
}

/// A source may have ten lines a second, and ten at once.
const LINE: Duration = Duration::from_millis(100);
const BURST: Duration = Duration::from_secs(1);
/// All sources together may have 12 KiB a second, and 128 KiB at once: less than 1 MiB in any minute, the
/// summaries included.
const BYTE: Duration = Duration::from_nanos(1_000_000_000 / (12 << 10));
const ALL_BURST: u32 = 128 << 10;
/// How long after the first line that was left out this is told.
const SUMMARY: Duration = Duration::from_secs(1);
/// Sources that are told by name.
const NAMED: usize = 8;
/// Sources that are told apart.
const SOURCES: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(budget: &mut Budget, now: Instant, from: &str, lines: usize) -> usize {
        (0..lines).filter(|_| budget.admit(now, Source::new(from), 200)).count()
    }

    #[test]
    fn a_source_has_ten_lines_a_second_and_a_summary() {
        let (mut budget, start) = (Budget::new(), Instant::now());

        assert_eq!(admitted(&mut budget, start, "10.0.0.1:1000", 500), 10);
        assert_eq!(admitted(&mut budget, start, "10.0.0.1:2000", 500), 0, "another port is the same source");
        assert_eq!(admitted(&mut budget, start, "10.0.0.2:1000", 5), 5, "another address is not");
        assert_eq!(budget.take_left_out(start), []);
        let later = budget.due().unwrap();
        let told = LeftOut { source: Some(Source::new("10.0.0.1")), lines: 990 };
        assert_eq!(budget.take_left_out(later), [told]);
        assert_eq!(budget.due(), None);
        assert_eq!(admitted(&mut budget, later, "10.0.0.1:1000", 500), 10);
    }

    #[test]
    fn who_has_a_network_of_ipv6_is_one_source() {
        assert_eq!(Source::new("[2001:db8::1]:1"), Source::new("2001:db8::ffff:2"));
        assert_ne!(Source::new("[2001:db8::1]:1"), Source::new("2001:db8:0:1::1"));
        assert_eq!(Source::new("[2001:db8::1]:1").to_string(), "2001:db8::/64");
        assert_eq!(Source::new("::ffff:10.0.0.1"), Source::new("10.0.0.1:9"));
        assert_eq!(Source::new("relay.example"), Source::Name("relay.example".into()));
    }

    #[test]
    fn any_number_of_sources_stays_below_a_mebibyte_a_minute() {
        let (mut budget, start) = (Budget::new(), Instant::now());
        let (mut bytes, mut summaries) = (0, 0);
        for tick in 0..6_000_u32 {
            let now = start + Duration::from_millis(u64::from(tick) * 10);
            for host in 0..20 {
                let source = Source::Address(IpAddr::from((0x0a00_0000 + tick % 500 * 20 + host).to_be_bytes()));
                bytes += if budget.admit(now, source, 400) { 400 } else { 0 };
            }
            summaries += budget.take_left_out(now).len();
        }

        assert!(summaries > 0);
        assert!(bytes > 512 << 10, "{bytes}");
        assert!(bytes + summaries * 200 < 1 << 20, "{bytes} and {summaries} summaries");
        assert!(budget.sources.len() <= SOURCES);
    }

    #[test]
    fn of_many_the_worst_are_named_and_nothing_is_forgotten() {
        let (mut budget, start) = (Budget::new(), Instant::now());
        let mut left_out = 0;
        for host in 0..20 {
            let lines = 20 + host;
            left_out += lines - admitted(&mut budget, start, &format!("10.0.0.{host}"), lines);
        }

        let told = budget.take_left_out(start + SUMMARY);

        assert_eq!(told.len(), NAMED + 1);
        assert_eq!(told[0].source, Some(Source::new("10.0.0.19")));
        assert_eq!(told[NAMED].source, None);
        assert_eq!(told.iter().map(|told| told.lines).sum::<u64>(), left_out as u64);
    }
}

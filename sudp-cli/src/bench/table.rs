//! What was found, for people and for programs.

use std::time::Duration;

use serde::Serialize;

use super::load::{Sample, Test};

/// What was found. Times are seconds.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) schema: u32,
    /// How many cores this process may use.
    pub(super) cores: usize,
    /// The server, if it was not our own.
    pub(super) server: Option<String>,
    /// How long each test took.
    pub(super) seconds: f64,
    pub(super) rounds: u8,
    /// Whether this program was built to be fast.
    pub(super) optimised: bool,
    pub(super) results: Vec<Figures>,
}

/// By which way the datagrams went.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Path {
    Plain,
    Tunnel,
}

/// Medians over the rounds; datagrams are those of all rounds together.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    payload: u16,
    test: &'static str,
    path: Path,
    sent: u64,
    answered: u64,
    lost: u64,
    /// Sent and answered in a second.
    sent_per_second: f64,
    answered_per_second: f64,
    round_trip: Option<f64>,
    round_trip_p99: Option<f64>,
    /// Of the processor, user and system, for each that was answered: this process, and the tunnel's ends.
    cpu: Option<f64>,
    cpu_client: Option<f64>,
    cpu_server: Option<f64>,
}

impl Report {
    /// Adds what the rounds of one test have found.
    pub(super) fn add(&mut self, payload: u16, test: Test, path: Path, samples: &[&Sample]) {
        if samples.is_empty() {
            return;
        }
        let median = |figure: &dyn Fn(&Sample) -> Option<f64>| {
            let mut found: Vec<f64> = samples.iter().filter_map(|sample| figure(sample)).collect();
            found.sort_by(f64::total_cmp);
            found.get(found.len() / 2).copied()
        };
        let sum = |count: &dyn Fn(&Sample) -> u64| samples.iter().map(|sample| count(sample)).sum::<u64>();
        let rate = |count: u64, sample: &Sample| Some(count as f64 / sample.time.as_secs_f64());
        let within = |sample: &Sample, share| sample.delays.within(share).map(|took| took.as_secs_f64());
        let each = |time: Duration, sample: &Sample| {
            (sample.answered > 0).then(|| time.as_secs_f64() / sample.answered as f64)
        };
        let (sent, answered) = (sum(&|sample| sample.sent), sum(&|sample| sample.answered));
        let of_tunnel = path == Path::Tunnel;
        self.results.push(Figures {
            payload,
            test: match test {
                Test::Quiet => "quiet",
                Test::Window(_) => "window",
                Test::Flood(_) => "flood",
            },
            path,
            sent,
            answered,
            lost: sent.saturating_sub(answered),
            sent_per_second: median(&|sample| rate(sample.sent, sample)).unwrap_or_default(),
            answered_per_second: median(&|sample| rate(sample.answered, sample)).unwrap_or_default(),
            round_trip: median(&|sample| within(sample, 500)),
            round_trip_p99: median(&|sample| within(sample, 990)),
            cpu: median(&|sample| each(sample.cpu, sample)),
            cpu_client: median(&|sample| each(sample.client, sample)).filter(|_| of_tunnel),
            cpu_server: median(&|sample| each(sample.server?, sample)).filter(|_| of_tunnel),
        });
    }

    /// As a table.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut last = None;
        for tunnel in self.results.iter().filter(|figures| figures.path == Path::Tunnel) {
            let twin = |figures: &&Figures| {
                (figures.payload, figures.test, figures.path) == (tunnel.payload, tunnel.test, Path::Plain)
            };
            let plain = self.results.iter().find(twin);
            if last.replace(tunnel.payload) != Some(tunnel.payload) {
                let bytes = format!("{} bytes", tunnel.payload);
                lines.extend([String::new(), row(&bytes, "", "plain UDP", "tunnel", "ratio", "")]);
            }
            lines.extend(rows(plain, tunnel));
        }
        lines.push(String::new());
        lines.extend(self.notes());
        lines
    }

    fn notes(&self) -> Vec<String> {
        let Self { cores, seconds, rounds, .. } = self;
        let s = if *cores == 1 { "" } else { "s" };
        let where_ = match &self.server {
            None => format!("Load, echo service, client and server share {cores} core{s}, a thread each"),
            Some(server) => format!("The server is {server}; this machine lends {cores} core{s} to load and client"),
        };
        let mut notes = vec![
            format!("{where_}."),
            format!("Medians of {rounds} rounds of {seconds} s; what was lost is that of all rounds together."),
            "Load and echo service make a system call for each datagram, as most applications do.".to_owned(),
            "CPU is user and system time of all threads of this process, for each datagram that came back.".to_owned(),
        ];
        if !self.results.iter().any(|figures| figures.path == Path::Plain) {
            notes.push(
                "To compare with plain UDP, name the echo service as it is reached directly: --plain ADDR".into(),
            );
        }
        if !self.optimised {
            notes.push("This is a debug build: build it with --release to learn what it really does.".to_owned());
        }
        notes
    }
}

fn rows(plain: Option<&Figures>, tunnel: &Figures) -> Vec<String> {
    let pair = |label: &str, figure: &dyn Fn(&Figures) -> Option<f64>, say: &dyn Fn(f64) -> String, more: &str| {
        let (there, here) = (plain.and_then(figure), figure(tunnel));
        let ratio = there.zip(here).filter(|(there, _)| *there > 0.0).map(|(there, here)| here / there);
        let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), say);
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        row("", label, &cell(there), &cell(here), &ratio, more)
    };
    let shares = match (tunnel.cpu_client, tunnel.cpu_server) {
        (Some(client), Some(server)) => format!("client {}, server {}", time(client), time(server)),
        (Some(client), None) => format!("client {}", time(client)),
        (None, _) => String::new(),
    };
    let mut rows = Vec::new();
    if tunnel.test != "quiet" {
        rows.push(pair("sent a second", &|figures| Some(figures.sent_per_second), &rate, ""));
        rows.push(pair("answered a second", &|figures| Some(figures.answered_per_second), &rate, ""));
    }
    rows.push(pair("round trip", &|figures| figures.round_trip, &time, ""));
    rows.push(pair("99 % within", &|figures| figures.round_trip_p99, &time, ""));
    rows.push(pair("CPU", &|figures| figures.cpu, &time, &shares));
    let lost = |figures: &Figures| match figures.lost {
        0 => "0".to_owned(),
        lost => format!("{} ({:.1} %)", grouped(&lost.to_string()), 100.0 * lost as f64 / figures.sent as f64),
    };
    let there = plain.map_or_else(|| "-".to_owned(), lost);
    rows.push(row("", "lost", &there, &lost(tunnel), "", ""));
    if let Some(first) = rows.first_mut() {
        // The name of the test stands in the margin of its first row.
        first.replace_range(2..2 + tunnel.test.len(), tunnel.test);
    }
    rows
}

fn row(margin: &str, label: &str, plain: &str, tunnel: &str, ratio: &str, more: &str) -> String {
    let label = if margin.is_empty() { format!("  {:MARGIN$}{label}", "") } else { margin.to_owned() };
    format!("{label:LABEL$}{plain:>16}{tunnel:>16}{ratio:>8}  {more}").trim_end().to_owned()
}

fn rate(a_second: f64) -> String {
    grouped(&format!("{a_second:.0}"))
}

/// Digits in groups of three.
fn grouped(digits: &str) -> String {
    let comma = |(index, digit): (usize, char)| {
        [(index > 0 && (digits.len() - index).is_multiple_of(3)).then_some(','), Some(digit)]
    };
    digits.chars().enumerate().flat_map(comma).flatten().collect()
}

fn time(seconds: f64) -> String {
    match seconds {
        1.0.. => format!("{seconds:.1} s"),
        0.001.. => format!("{:.1} ms", seconds * 1e3),
        0.000_1.. => format!("{:.0} us", seconds * 1e6),
        _ => format!("{:.1} us", seconds * 1e6),
    }
}

/// Columns of the names of the tests, and of all names.
const MARGIN: usize = 8;
const LABEL: usize = 28;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delays::Delays;

    fn sample(micros: u64, answered: u64) -> Sample {
        let mut delays = Delays::default();
        delays.record(Duration::from_micros(micros));
        let time = Duration::from_secs(1);
        let cpu = Duration::from_millis(answered);
        Sample { sent: 100, answered, time, delays, cpu, client: cpu / 4, server: Some(cpu / 2) }
    }

    fn report() -> Report {
        let mut report =
            Report { schema: 1, cores: 2, server: None, seconds: 0.4, rounds: 3, optimised: true, results: Vec::new() };
        let (fast, slow, odd) = (sample(10, 100), sample(20, 98), sample(900, 50));
        report.add(64, Test::Window(8), Path::Plain, &[&fast, &fast, &odd]);
        report.add(64, Test::Window(8), Path::Tunnel, &[&slow, &odd, &slow]);
        report
    }

    #[test]
    fn a_round_that_went_wrong_does_not_change_the_medians_but_its_losses_count() {
        let [plain, tunnel] = &report().results[..] else { panic!("two results") };
        assert_eq!((plain.answered_per_second, plain.lost), (100.0, 50));
        assert_eq!((tunnel.answered_per_second, tunnel.lost), (98.0, 54));
        assert_eq!((tunnel.cpu, tunnel.cpu_client, tunnel.cpu_server), (Some(0.001), Some(0.000_25), Some(0.000_5)));
        assert_eq!(plain.cpu_client, None);
    }

    #[test]
    fn the_table_sets_both_side_by_side() {
        let lines = report().lines();
        let wanted = [
            "64 bytes                           plain UDP          tunnel   ratio",
            "  window  sent a second                  100             100    1.00",
            "          answered a second              100              98    0.98",
            "          round trip                 10.2 us         20.5 us    2.00",
            "          99 % within                10.2 us         20.5 us    2.00",
            "          CPU                         1.0 ms          1.0 ms    1.00  client 250 us, server 500 us",
            "          lost                   50 (16.7 %)     54 (18.0 %)",
        ];
        assert_eq!(lines[1..=wanted.len()], wanted);
        assert!(lines.iter().any(|line| line.contains("2 cores")), "{lines:#?}");
    }

    #[test]
    fn large_numbers_are_grouped() {
        let found = ["1", "12", "123", "1234", "123456", "1234567"].map(grouped);
        assert_eq!(found, ["1", "12", "123", "1,234", "123,456", "1,234,567"]);
    }

    #[test]
    fn what_was_not_measured_is_not_made_up() {
        let mut report = Report { server: Some("host:443".into()), results: Vec::new(), ..report() };
        report.add(64, Test::Quiet, Path::Plain, &[]);
        report.add(
            64,
            Test::Quiet,
            Path::Tunnel,
            &[&Sample { sent: 3, time: Duration::from_secs(1), ..Sample::default() }],
        );
        let lines = report.lines();
        assert_eq!(lines[2], "  quiet   round trip                       -               -");
        assert!(lines.iter().any(|line| line.contains("3 (100.0 %)")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("--plain ADDR")), "{lines:#?}");
    }
}

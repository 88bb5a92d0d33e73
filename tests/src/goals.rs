//! What a session is meant to achieve on paths of known behaviour, measured in virtual time.
//!
//! Each scenario is run from fixed seeds, so that its figures are the same on every machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use sudp_proto::Rng;
use sudp_proto::config::Limits;
use sudp_proto::event::Event;

use crate::app::{Rhythm, What};
use crate::clock::{NEVER, Nanos, span};
use crate::goals::bench::{Bench, Course, after};
use crate::net::{Direction, Fault, Hop, Listener, Path};
use crate::pipe::Line;
use crate::proxy::Middlebox;

mod bench;

/// One figure of one scenario, and what it is held against.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Under which circumstances.
    pub scenario: &'static str,
    /// What was measured.
    pub name: &'static str,
    /// How it came out.
    pub value: f64,
    /// In what.
    pub unit: &'static str,
    /// What it is meant to be; without it, it is told for what it explains.
    pub goal: Option<Goal>,
}

/// What a figure is meant to be.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
}

impl Figure {
    /// Whether it is as it is meant to be.
    pub fn is_met(&self) -> bool {
        match self.goal {
            Some(Goal::AtLeast(least)) => self.value >= least,
            Some(Goal::AtMost(most)) => self.value <= most,
            None => true,
        }
    }
}

/// Measures everything.
pub fn measure() -> Vec<Figure> {
    let mut figures = Vec::new();
    share(&mut figures, "50 Mbit/s behind a proxy of 4 MiB", &bloated(), &SHARE_BEHIND_PROXY);
    share(&mut figures, "50 Mbit/s directly", &direct(), &SHARE_DIRECT);
    for (scenario, fault) in DEATHS {
        death(&mut figures, scenario, fault);
    }
    for (scenario, door) in OUTAGES {
        outage(&mut figures, scenario, &door);
    }
    figures
}

/// The figures as a table, and as one line of JSON.
pub fn tell(figures: &[Figure]) -> String {
    let mut table = format!("{:<46}  {:<34}  {:>14}  {:>10}  met\n", "scenario", "figure", "measured", "goal");
    let mut json = String::new();
    for figure in figures {
        let Figure { scenario, name, value, unit, goal } = figure;
        let (bound, met) = match goal {
            Some(Goal::AtLeast(least)) => (format!(">= {least}"), if figure.is_met() { "yes" } else { "NO" }),
            Some(Goal::AtMost(most)) => (format!("<= {most}"), if figure.is_met() { "yes" } else { "NO" }),
            None => ("-".to_owned(), "-"),
        };
        let measured = format!("{value:.1} {unit}");
        let _ = writeln!(table, "{scenario:<46}  {name:<34}  {measured:>14}  {bound:>10}  {met}");
        // What never came has no number in JSON.
        let value = if value.is_finite() { format!("{value:.3}") } else { "null".to_owned() };
        let comma = if json.is_empty() { "" } else { "," };
        let _ = write!(
            json,
            "{comma}{{\"scenario\":\"{scenario}\",\"figure\":\"{name}\",\"value\":{value},\"unit\":\"{unit}\",\"met\":{}}}",
            figure.is_met()
        );
    }
    let missed = figures.iter().filter(|figure| !figure.is_met()).count();
    format!("{table}{{\"missed\":{missed},\"goals\":[{json}]}}")
}

/// A greedy flow beside a sparse one, upwards on one link.
fn share(figures: &mut Vec<Figure>, scenario: &'static str, path: &Path, goals: &[Option<Goal>; 3]) {
    let mut bench = Bench::new(1, path.clone(), Limits::default(), Course::Up);
    bench.run_until(span(Duration::from_secs(1)));
    bench.send(GREEDY, Course::Up, Rhythm::steady(Duration::from_nanos(165_517)), 1_200);
    let sparse = bench.send(SPARSE, Course::Up, Rhythm::steady(Duration::from_millis(20)), 60);
    let start = after(bench.now(), WARM_UP);
    let end = after(bench.now(), Duration::from_secs(20));
    bench.run_until(end);
    bench.stop(sparse);
    bench.run_until(after(end, Duration::from_secs(1)));
    let mut delays = BTreeMap::new();
    let mut bytes = 0;
    for seen in &bench.seen {
        let Some(stamp) = seen.stamp else { continue };
        let sent = stamp.sent_micros * 1_000;
        match seen.what {
            What::Sent if stamp.flow == SPARSE && (start..end).contains(&sent) => {
                delays.entry(stamp.sequence).or_insert(NEVER);
            }
            What::Received if stamp.flow == SPARSE => {
                delays.entry(stamp.sequence).and_modify(|delay| *delay = stamp.age(seen.at));
            }
            What::Received if (start..end).contains(&seen.at) => bytes += seen.len as u64,
            What::Garbled | What::Received | What::Sent => {}
        }
    }
    let lost = delays.values().filter(|delay| **delay == NEVER).count();
    let delays = Spread::new(delays.into_values().collect());
    let share = bytes as f64 / (RATE as f64 * (end - start) as f64 / 1e9) * 100.0;
    let mut add = |name, value, unit, goal| figures.push(Figure { scenario, name, value, unit, goal });
    add("sparse one-way delay p50", delays.percent(50), "ms", goals[0]);
    add("sparse one-way delay p99", delays.percent(99), "ms", goals[1]);
    add("sparse one-way delay max", delays.percent(100), "ms", None);
    add("sparse datagrams lost", lost as f64, "", Some(Goal::AtMost(0.0)));
    add("greedy payload of the path", share, "%", goals[2]);
}

/// A path that dies while only the server sends, often or now and then.
fn death(figures: &mut Vec<Figure>, scenario: &'static str, fault: Fault) {
    let mut waits = Vec::new();
    for seed in 0..RUNS {
        let round_trip = Duration::from_millis(if seed % 2 == 0 { 50 } else { 200 });
        let line = Line::with_latency(round_trip / 2);
        let mut bench = Bench::new(seed, Path::direct(&line), Limits::default(), Course::Down);
        bench.run_until(span(Duration::from_secs(2)));
        let pause = Duration::from_millis(if seed % 4 < 2 { 20 } else { 700 });
        bench.send(SPARSE, Course::Down, Rhythm::steady(pause), 200);
        let died = bench.now() + span(Duration::from_secs(2)) + bench.rng.below(span(Duration::from_secs(12)));
        bench.run_until(died);
        let before = bench.told.len();
        bench.strike(fault);
        let suspected = |bench: &Bench| find_suspect(&bench.told[before..]);
        bench.run_while(after(died, Duration::from_secs(60)), |bench| suspected(bench).is_none());
        waits.push(suspected(&bench).map_or(NEVER, |at| at - died));
    }
    let waits = Spread::new(waits);
    let mut add = |name, value, goal| figures.push(Figure { scenario, name, value, unit: "ms", goal });
    add("death to suspicion p50", waits.percent(50), None);
    add("death to suspicion p99", waits.percent(99), None);
    add("death to suspicion max", waits.percent(100), Some(Goal::AtMost(3_000.0)));
}

fn find_suspect(told: &[(Nanos, Event)]) -> Option<Nanos> {
    told.iter().find(|(_, event)| matches!(event, Event::LinkSuspect { .. })).map(|(at, _)| *at)
}

/// Everything is down for a while, and comes back.
fn outage(figures: &mut Vec<Figure>, scenario: &'static str, door: &Listener) {
    let limits = Limits { reliable_age: Duration::from_secs(90), ..Limits::default() };
    let (mut waits, mut fresh, mut early) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lost, mut doubled) = (0, 0);
    for seed in 0..RUNS {
        let mut bench =
            Bench::new(seed, Path::direct(&Line::with_latency(Duration::from_millis(50))), limits.clone(), Course::Up);
        bench.run_until(span(Duration::from_secs(1)));
        let app = bench.send(SPARSE, Course::Up, Rhythm::steady(Duration::from_millis(20)), 200);
        let phase = between(&mut bench.rng, Duration::from_secs(1), Duration::from_secs(4));
        bench.run_until(bench.now() + phase);
        bench.strike(Fault::BlackHole);
        bench.set_door(door.clone());
        let length = between(&mut bench.rng, Duration::from_secs(1), Duration::from_secs(60));
        bench.run_until(bench.now() + length);
        bench.set_door(Listener::Open);
        let returned = bench.now();
        bench.run_until(after(returned, Duration::from_secs(20)));
        bench.stop(app);
        bench.run_until(after(bench.now(), Duration::from_secs(3)));
        waits.push(first_received(&bench, returned, 0));
        fresh.push(first_received(&bench, returned, returned));
        if length <= span(Duration::from_secs(15)) {
            early.extend(fresh.last());
        }
        let (missing, twice) = compare(&bench);
        lost += missing;
        doubled += twice;
    }
    let (waits, fresh, early) = (Spread::new(waits), Spread::new(fresh), Spread::new(early));
    let mut add = |name, value, unit, goal| figures.push(Figure { scenario, name, value, unit, goal });
    add("return to first datagram p50", waits.percent(50), "ms", None);
    add("return to first datagram p99", waits.percent(99), "ms", Some(Goal::AtMost(1_200.0)));
    add("return to first datagram max", waits.percent(100), "ms", None);
    // These wait behind what was kept in the meantime, which takes the new link's window some round trips.
    add("return to first one sent since p99", fresh.percent(99), "ms", None);
    add("the same, outages of up to 15 s", early.percent(99), "ms", None);
    add("datagrams lost, at an age of 90 s", lost as f64, "", Some(Goal::AtMost(0.0)));
    add("datagrams doubled", doubled as f64, "", Some(Goal::AtMost(0.0)));
}

/// How long after `returned` the first datagram came that was sent no earlier than `sent`.
fn first_received(bench: &Bench, returned: Nanos, sent: Nanos) -> Nanos {
    let received = bench.seen.iter().filter(|seen| seen.what == What::Received && seen.at > returned);
    let mut wanted = received.filter(|seen| seen.stamp.is_some_and(|stamp| stamp.sent_micros * 1_000 >= sent));
    wanted.next().map_or(NEVER, |seen| seen.at - returned)
}

/// How many datagrams never came, and how many came again.
fn compare(bench: &Bench) -> (u64, u64) {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    for seen in &bench.seen {
        let Some(stamp) = seen.stamp else { continue };
        let count = counts.entry(stamp.sequence).or_default();
        *count += u64::from(seen.what == What::Received);
    }
    let lost = counts.values().filter(|count| **count == 0).count();
    (lost as u64, counts.values().map(|count| count.saturating_sub(1)).sum())
}

fn between(rng: &mut Rng, least: Duration, most: Duration) -> Nanos {
    span(least) + rng.below(span(most - least))
}

/// Times in order.
struct Spread(Vec<Nanos>);

impl Spread {
    fn new(mut times: Vec<Nanos>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The least time, in milliseconds, that so many percent do not exceed; what never came took for ever.
    fn percent(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(rank).filter(|time| **time != NEVER).map_or(f64::INFINITY, |time| *time as f64 / 1e6)
    }
}

/// The bottleneck lies behind a proxy that takes in what it can.
fn bloated() -> Path {
    let near = Line::with_latency(Duration::from_millis(1)).rate(125_000_000).unsent(UNSENT);
    let behind = Line::with_latency(Duration::from_millis(24)).rate(RATE).capacity(1 << 20);
    Path::direct(&near).through(Middlebox::bloated(), Hop::both(&behind))
}

/// The bottleneck is what the client's socket writes to.
fn direct() -> Path {
    Path::direct(&Line::with_latency(Duration::from_millis(25)).rate(RATE).unsent(UNSENT))
}

/// The bottleneck, in bytes per second: 50 Mbit/s.
const RATE: u64 = 6_250_000;
/// `TCP_NOTSENT_LOWAT` of the ends.
const UNSENT: usize = 64 << 10;
const GREEDY: u32 = 1;
const SPARSE: u32 = 2;
const RUNS: u64 = 300;
/// What the first figures do not count: the flows begin and the link's window is found.
const WARM_UP: Duration = Duration::from_secs(2);

/// Delays at the median and for 99 of 100, and the greedy flow's share.
const SHARE_BEHIND_PROXY: [Option<Goal>; 3] =
    [Some(Goal::AtMost(60.0)), Some(Goal::AtMost(150.0)), Some(Goal::AtLeast(95.0))];
const SHARE_DIRECT: [Option<Goal>; 3] = [None, Some(Goal::AtMost(90.0)), None];

const DEATHS: [(&str, Fault); 3] = [
    ("both ways die, only the server sends", Fault::BlackHole),
    ("the way up dies, only the server sends", Fault::HalfOpen(Direction::Up)),
    ("the way down dies, only the server sends", Fault::HalfOpen(Direction::Down)),
];

const OUTAGES: [(&str, Listener); 2] = [
    ("1 to 60 s of silence, dials hang", Listener::BlackHole),
    ("1 to 60 s of silence, dials are refused", Listener::Refusing),
];

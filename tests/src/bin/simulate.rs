//! Runs worlds from seeds, and says what came of them.
//!
//! `simulate --seeds N [--from S]` runs seeds S to S + N; `simulate --seed K` runs one and tells its
//! story; `simulate --goals` measures what sessions are meant to achieve. The last line is one JSON
//! object. The exit code is 1 if anything was violated, or a goal was missed.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use sudp_tests::goals::{self, Figure};
use sudp_tests::op::Kind;
use sudp_tests::world::{Coverage, Outcome, Plan, World};

fn main() -> ExitCode {
    if std::env::args().skip(1).eq(["--goals"]) {
        return measure();
    }
    match Wish::parse(std::env::args().skip(1)) {
        Ok(wish) => run(&wish),
        Err(problem) => {
            eprintln!("simulate: {problem}\nusage: simulate [--seeds N] [--from S] [--seed K] [--threads T] | --goals");
            ExitCode::from(2)
        }
    }
}

fn measure() -> ExitCode {
    let figures = goals::measure();
    say(&goals::tell(&figures));
    if figures.iter().all(Figure::is_met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What was asked for.
struct Wish {
    from: u64,
    seeds: u64,
    threads: u64,
    /// Tell the story of a run that went well, too.
    tell: bool,
}

impl Wish {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut wish = Self { from: 0, seeds: 64, threads: 2, tell: false };
        while let Some(word) = words.next() {
            let mut number = || {
                let given = words.next().ok_or(format!("{word} wants a number"))?;
                given.parse::<u64>().map_err(|_| format!("{word} wants a number, not {given}"))
            };
            match word.as_str() {
                "--from" => wish.from = number()?,
                "--seed" => wish = Self { from: number()?, seeds: 1, threads: 1, tell: true },
                "--seeds" => wish.seeds = number()?,
                "--threads" => wish.threads = number()?.max(1),
                _ => return Err(format!("{word} is not known")),
            }
        }
        Ok(wish)
    }
}

/// What all runs came to.
#[derive(Default)]
struct Sum {
    hash: u64,
    seeds: u64,
    violations: u64,
    virtual_seconds: f64,
    coverage: Coverage,
    failures: BTreeMap<u64, Outcome>,
}

fn run(wish: &Wish) -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "how long the run took, which no simulation sees")]
    let started = Instant::now();
    let sum = Mutex::new(Sum::default());
    let next = AtomicU64::new(wish.from);
    thread::scope(|scope| {
        for _ in 0..wish.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= wish.from.saturating_add(wish.seeds) {
                        return;
                    }
                    let world = World::new(Plan::draw(seed));
                    let world = if wish.tell { world.with_whole_story() } else { world };
                    let outcome = world.run();
                    add(&sum, outcome, wish.tell);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    for outcome in sum.failures.values() {
        tell(outcome);
    }
    say(&json(&sum, started.elapsed().as_secs_f64()));
    if sum.violations > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn add(sum: &Mutex<Sum>, outcome: Outcome, tell: bool) {
    let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // The order in which threads finish must not matter.
    sum.hash = sum.hash.wrapping_add(outcome.hash.rotate_left(u32::try_from(outcome.seed % 64).unwrap_or(0)));
    sum.seeds += 1;
    sum.violations += outcome.violations.len() as u64;
    sum.virtual_seconds += outcome.virtual_time.as_secs_f64();
    sum.coverage.merge(&outcome.coverage);
    if !outcome.violations.is_empty() {
        if sum.failures.len() < TOLD {
            eprintln!("seed {}: {}", outcome.seed, outcome.violations[0]);
        }
        sum.failures.insert(outcome.seed, outcome);
        while sum.failures.len() > TOLD {
            sum.failures.pop_last();
        }
    } else if tell {
        say(&outcome.story);
    }
}

fn tell(outcome: &Outcome) {
    say(&outcome.story);
    for violation in &outcome.violations {
        say(&format!("seed {}: {violation}", outcome.seed));
    }
    say(&format!("again: cargo run --release -p sudp-tests --bin simulate -- --seed {}\n", outcome.seed));
}

fn json(sum: &Sum, wall: f64) -> String {
    let mut line = format!(
        "{{\"seeds\":{},\"violations\":{},\"virtual_s\":{:.0},\"wall_s\":{wall:.3},\"hash\":\"{:016x}\"",
        sum.seeds, sum.violations, sum.virtual_seconds, sum.hash
    );
    let Coverage { ops, words, turns, processes, sessions, totals } = &sum.coverage;
    let _ = write!(
        line,
        ",\"turns\":{turns},\"processes\":{processes},\"sessions\":{sessions},\"sent\":{},\"received\":{},\"repeated\":{}",
        totals.sent, totals.received, totals.repeated
    );
    let faults: Vec<String> =
        Kind::ALL.iter().zip(ops).map(|(kind, count)| format!("\"{}\":{count}", kind.as_str())).collect();
    let sometimes: Vec<String> = words.iter().map(|(word, count)| format!("\"{word}\":{count}")).collect();
    let _ = write!(line, ",\"faults\":{{{}}},\"sometimes\":{{{}}}}}", faults.join(","), sometimes.join(","));
    line
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn say(line: &str) {
    println!("{line}");
}

/// Failures whose story is told.
const TOLD: usize = 12;

//! Looks for the first violation, and says how long that took: `tests/teeth.sh` runs it with one rule off.
//!
//! `teeth scripts N` runs scripts of messages from seeds 0 to N, `teeth worlds N` whole worlds. The exit
//! code is 1 if something was violated; then the last line says after how many seeds and milliseconds, and what.

#![forbid(unsafe_code)]

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

use sudp_proto::{Rng, Seed};
use sudp_tests::fuzz::session;
use sudp_tests::world::{Plan, World};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (proof, seeds) = match &words[..] {
        [what, seeds] => (proof(what), seeds.parse::<u64>().ok()),
        _ => (None, None),
    };
    let (Some(proof), Some(seeds)) = (proof, seeds) else {
        eprintln!("usage: teeth (scripts | worlds) SEEDS");
        return ExitCode::from(2);
    };
    look(proof, seeds)
}

/// Runs one seed; says what was violated.
type Proof = fn(u64) -> Option<String>;

fn proof(what: &str) -> Option<Proof> {
    match what {
        "scripts" => Some(script),
        "worlds" => Some(world),
        _ => None,
    }
}

fn look(proof: Proof, seeds: u64) -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "how long the search took, which no simulation sees")]
    let started = Instant::now();
    for seed in 0..seeds {
        // What stumbles over a broken rule has noticed it.
        let found = catch_unwind(|| proof(seed)).unwrap_or_else(|_| Some("a panic".to_owned()));
        if let Some(breach) = found {
            say(&format!("{} {} {breach}", seed + 1, started.elapsed().as_millis()));
            return ExitCode::FAILURE;
        }
    }
    say(&format!("{seeds} {} nothing", started.elapsed().as_millis()));
    ExitCode::SUCCESS
}

fn script(seed: u64) -> Option<String> {
    let mut rng = Rng::new(&Seed::from(seed));
    let steps = 4 + rng.below(300);
    // Drawn evenly, steps hardly ever make several links, so half of the scripts are drawn by scenes.
    let scenes = rng.chance(1, 2);
    let mut script = Vec::new();
    while script.len() < 2 * usize::try_from(steps).unwrap_or(0) {
        let scene: &[u8] =
            if scenes { SCENES[usize::try_from(rng.below(SCENES.len() as u64)).unwrap_or(0)] } else { &[0] };
        for &step in scene {
            let [any, argument] = rng.array::<2>();
            script.extend([if scenes { step } else { any }, argument]);
        }
    }
    session::run(&script).err()
}

/// Steps that make sense behind each other, by their numbers in the script of a session.
const SCENES: &[&[u8]] = &[
    &[6, 7, 8, 9, 11, 9, 11],
    &[6, 7, 8, 9, 11],
    &[6, 6, 7, 8],
    &[0, 1, 2, 9, 11, 9, 11],
    &[0, 4, 23, 9, 11],
    &[9, 11, 9, 11, 9, 11],
    &[17, 9, 11, 17],
    &[18],
    &[13, 9, 11],
    &[14, 9, 11],
    &[6, 19, 16, 6, 7, 8, 9, 11, 20],
    &[22, 0, 9, 22],
    &[21, 9, 11],
];

fn world(seed: u64) -> Option<String> {
    World::new(Plan::draw(seed)).run().violations.into_iter().next()
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn say(line: &str) {
    println!("{line}");
}

//! Whole worlds from their seeds: the first ones, those that once failed, and the same ones twice.

use sudp_tests::world::{Outcome, Plan, World};

fn run(seed: u64) -> Outcome {
    World::new(Plan::draw(seed)).run()
}

fn assert_sound(outcome: &Outcome) {
    let Outcome { seed, violations, story, .. } = outcome;
    assert!(
        violations.is_empty(),
        "{story}\n{violations:#?}\nagain: cargo run --release -p sudp-tests --bin simulate -- --seed {seed}"
    );
}

#[test]
fn the_first_worlds_keep_every_law() {
    let seeds = std::env::var("SUDP_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(64);
    for seed in 0..seeds {
        assert_sound(&run(seed));
    }
}

#[test]
fn worlds_that_once_failed_keep_every_law() {
    let listed = include_str!("../regressions/seeds.txt");
    let seeds = listed.lines().filter(|line| !line.starts_with('#'));
    let seeds: Vec<u64> = seeds.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        assert_sound(&run(seed));
    }
}

#[test]
fn the_same_seed_gives_the_same_world() {
    for seed in [3, 14, 15, 92, 65] {
        assert_eq!(run(seed).hash, run(seed).hash, "seed {seed}");
    }
}

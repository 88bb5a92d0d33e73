//! Whole worlds from their seeds: the first ones, those that once failed, and the same ones twice.

use sudp_tests::world::{Outcome, Plan, World};

fn run(seed: u64) -> Outcome {
    World::new(Plan::draw(seed)).run()
}

fn seeds() -> u64 {
    std::env::var("SUDP_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(64)
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
    for seed in 0..seeds() {
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
        assert_sound(&World::new(Plan::unsealed(seed)).run());
    }
}

#[test]
fn somebody_who_flips_bits_in_sealed_worlds_ends_links_and_breaks_no_law() {
    let (mut met, mut sealed) = (0, 0);
    for seed in 0..seeds() / 4 {
        let outcome = World::new(Plan::draw(seed).seal()).run();
        assert_sound(&outcome);
        met += outcome.coverage.words.get("link meddled with").copied().unwrap_or_default();
        sealed += u64::from(Plan::draw(seed).sealed);
    }
    assert!(met > 0, "nobody was caught");
    assert!(sealed > 0, "none of the first worlds is sealed by itself");
}

#[test]
fn the_same_seed_gives_the_same_world() {
    for seed in [3, 14, 15, 92, 65] {
        assert_eq!(run(seed).hash, run(seed).hash, "seed {seed}");
        let sealed = || World::new(Plan::draw(seed).seal()).run().hash;
        assert_eq!(sealed(), sealed(), "seed {seed}, sealed");
        assert_ne!(sealed(), World::new(Plan::unsealed(seed)).run().hash, "seed {seed}: sealing changes what is sent");
    }
}

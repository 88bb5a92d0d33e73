use sudp_proto::{Rng, Seed};

use super::*;

/// Leaves out of a failing script all that it fails without.
fn shrink(mut script: Vec<u8>) -> Vec<u8> {
    let mut size = script.len() / 4 * 2;
    while size >= 2 {
        let mut at = 0;
        while at + size <= script.len() {
            let mut shorter = script.clone();
            shorter.drain(at..at + size);
            if run(&shorter).is_err() {
                script = shorter;
            } else {
                at += size;
            }
        }
        size = size / 4 * 2;
    }
    script
}

#[test]
fn random_scripts_break_no_law() {
    let scripts = std::env::var("SUDP_SCRIPTS").ok().and_then(|count| count.parse().ok()).unwrap_or(200);
    let from: u64 = std::env::var("SUDP_FROM").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    let mut bad = 0;
    for seed in from..from + scripts {
        let mut rng = Rng::new(&Seed::from(seed));
        let steps = usize::try_from(4 + rng.below(300)).unwrap();
        let mut script = Vec::new();
        for _ in 0..steps {
            script.extend(rng.array::<2>());
        }
        if run(&script).is_err() {
            let script = shrink(script);
            let breach = run(&script).expect_err("a shrunken script still fails");
            eprintln!(
                "script {seed}: {breach}\n  {:?}",
                script.chunks_exact(2).map(|step| (step[0] % 24, step[1])).collect::<Vec<_>>()
            );
            bad += 1;
        }
    }
    assert_eq!(bad, 0, "scripts that broke a law");
}

//! A whole world from bytes: the first eight name it, every six behind them are something that goes wrong.

use crate::op::Op;
use crate::world::{Outcome, Plan, Times, World};

/// Runs a world, and panics over what must not happen.
pub fn tunnel(data: &[u8]) {
    let Some((seed, script)) = data.split_first_chunk() else { return };
    let outcome = run(u64::from_le_bytes(*seed), Op::script(script, OPS));
    assert!(outcome.violations.is_empty(), "{}\n{:#?}", outcome.story, outcome.violations);
}

/// Runs the world of a seed through a script of its own, within three minutes.
pub fn run(seed: u64, ops: Vec<Op>) -> Outcome {
    World::new(Plan { ops, ..Plan::quiet(seed, Times::SHORT) }).run()
}

/// Ops of one script at the most.
const OPS: usize = 64;

//! Any script of faults, shrunk to the shortest that still fails.

use std::time::Duration;

use proptest::prelude::*;
use sudp_tests::fuzz::{session, tunnel};
use sudp_tests::op::{Kind, Op};

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = (0_u64..8_000, 0..Kind::ALL.len(), any::<u8>(), any::<u16>()).prop_map(|(after, kind, pick, amount)| Op {
        after: Duration::from_millis(after),
        kind: Kind::ALL[kind],
        pick,
        amount,
    });
    prop::collection::vec(op, 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_faults_leave_a_world_that_settles(seed in any::<u64>(), ops in ops()) {
        let outcome = tunnel::run(seed, ops);
        prop_assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
    }

    #[test]
    fn any_script_of_two_halves_ends_in_agreement(script in prop::collection::vec(any::<u8>(), 0..400)) {
        let outcome = session::run(&script);
        prop_assert!(outcome.is_ok(), "{outcome:?}");
    }
}

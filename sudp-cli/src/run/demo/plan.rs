//! When the connection is cut, and how.

use std::time::Duration;

use super::relay::Cut;

/// The cuts that are still to come.
#[derive(Debug)]
pub(super) struct Plan(Vec<(Duration, Cut)>);

impl Plan {
    /// Cuts of every kind, as many as fit into this time, with room behind the last.
    pub(super) fn new(length: Duration) -> Self {
        let gap = (length / 4).min(GAP);
        let kinds = [Cut::Reset, Cut::Silence, Cut::Refusal((gap / 2).min(REFUSAL))];
        let times = (0..).map(|turn| gap * 3 / 4 + gap * turn).take_while(|at| *at + gap / 2 < length);
        let mut cuts: Vec<_> = times.zip(kinds.into_iter().cycle()).collect();
        cuts.reverse();
        Self(cuts)
    }

    /// No cuts.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// The next one, and when it is due.
    pub(super) fn next(&self) -> Option<(Duration, Cut)> {
        self.0.last().copied()
    }

    /// The next one, which is done with now.
    pub(super) fn take(&mut self) -> Option<(Duration, Cut)> {
        self.0.pop()
    }
}

/// Between two cuts.
const GAP: Duration = Duration::from_secs(4);
/// How long dials are refused, at most.
const REFUSAL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_show_has_a_cut_of_every_kind_and_time_to_recover_from_the_last() {
        let plan = Plan::new(Duration::from_secs(20));
        let seconds = |(at, cut): &(Duration, Cut)| (at.as_secs(), *cut);
        let found: Vec<_> = plan.0.iter().rev().map(seconds).collect();
        let refusal = Cut::Refusal(Duration::from_secs(2));
        assert_eq!(found, [(3, Cut::Reset), (7, Cut::Silence), (11, refusal), (15, Cut::Reset)]);
    }

    #[test]
    fn a_short_one_has_every_kind_too() {
        for length in [500, 3_000, 5_000] {
            let mut plan = Plan::new(Duration::from_millis(length));
            assert_eq!(plan.0.len(), 3, "{length}");
            let (first, cut) = plan.take().unwrap();
            assert_eq!(cut, Cut::Reset);
            assert!(plan.next().unwrap().0 > first);
        }
    }
}

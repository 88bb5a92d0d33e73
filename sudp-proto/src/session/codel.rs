//! CoDel (RFC 8289) for the queue of one flow: told how long a datagram waited, it says whether to drop it.
//!
//! Times are nanoseconds of the session's progress clock, which stands still while no link makes
//! progress: a cut is no standing queue, and what waited through it is judged by what it waited besides.

/// What CoDel aims at.
#[derive(Clone, Copy, Debug)]
pub(super) struct CodelParams {
    /// The wait that may stand, in nanoseconds.
    pub(super) target: u64,
    /// How long the wait has to stand above the target before the first drop, in nanoseconds.
    pub(super) interval: u64,
}

/// The memory CoDel has of one flow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Codel {
    /// When the wait will have stood above the target for an interval.
    ripe: Option<u64>,
    /// When to drop next while `dropping`; else when the next drop would have been.
    next: u64,
    /// Drops of this spell; they come closer together with its square root.
    count: u32,
    /// `count` when this spell began.
    begun: u32,
    dropping: bool,
}

impl Codel {
    /// Whether to drop the datagram at the head of the flow's queue, which has waited for `wait`.
    ///
    /// The `last` datagram of a flow never goes: with nothing behind it, dropping it shortens no queue.
    pub(super) fn judge(&mut self, now: u64, wait: u64, last: bool, params: CodelParams) -> bool {
        if !self.stands(now, wait, last, params) {
            self.dropping = false;
            return false;
        }
        if !self.dropping {
            self.begin(now, params);
            return true;
        }
        if now < self.next {
            return false;
        }
        self.count = self.count.saturating_add(1);
        self.next = self.after(self.next, params);
        true
    }

    fn stands(&mut self, now: u64, wait: u64, last: bool, params: CodelParams) -> bool {
        if wait < params.target || last {
            self.ripe = None;
            return false;
        }
        now >= *self.ripe.get_or_insert(now.saturating_add(params.interval))
    }

    /// Begins a spell of drops, at the pace the previous one had found if that was not long ago.
    fn begin(&mut self, now: u64, params: CodelParams) {
        let found = self.count - self.begun;
        let recent = now.saturating_sub(self.next) < params.interval.saturating_mul(16);
        self.count = if found > 1 && recent { found } else { 1 };
        self.begun = self.count;
        self.next = self.after(now, params);
        self.dropping = true;
    }

    fn after(&self, from: u64, params: CodelParams) -> u64 {
        let square = u128::from(params.interval) * u128::from(params.interval);
        let gap = (square / u128::from(self.count.max(1))).isqrt();
        from.saturating_add(u64::try_from(gap).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;
    const PARAMS: CodelParams = CodelParams { target: 20 * MILLI, interval: 100 * MILLI };

    #[test]
    fn a_wait_below_the_target_drops_nothing() {
        assert_eq!(drops(0..10_000, |_| 19), []);
        assert_eq!(drops(0..150, |_| 20), [100]);
    }

    #[test]
    fn a_wait_has_to_stand_for_an_interval() {
        assert_eq!(drops(0..10_000, |now| if now % 100 == 99 { 19 } else { 500 }), []);
    }

    #[test]
    fn the_last_datagram_of_a_flow_is_spared() {
        let mut codel = Codel::default();
        assert!((0..10_000).all(|now| !codel.judge(now * MILLI, 500 * MILLI, true, PARAMS)));
    }

    #[test]
    fn drops_come_closer_together_with_the_square_root_of_their_number() {
        let drops = drops(0..600, |_| 500);
        assert_eq!(drops, [100, 200, 271, 329, 379, 424, 464, 502, 538, 571]);
    }

    #[test]
    fn a_spell_ends_with_the_standing_wait_and_the_next_resumes_its_pace() {
        let good = 571..580;
        let drops = drops(0..900, |now| if good.contains(&now) { 0 } else { 500 });
        assert_eq!(drops[9..], [680, 716, 749, 781, 811, 840, 868, 894]);
    }

    #[test]
    fn a_spell_long_after_another_begins_slowly() {
        let good = 571..5_000;
        let drops = drops(0..5_400, |now| if good.contains(&now) { 0 } else { 500 });
        assert_eq!(drops[9..], [5_100, 5_200, 5_271, 5_329, 5_379]);
    }

    #[test]
    fn a_spell_resumes_the_pace_of_another_less_than_sixteen_intervals_ago() {
        for (since, count) in [(1_600 * MILLI - 1, 9), (1_600 * MILLI, 1)] {
            let mut codel = Codel { ripe: Some(0), next: MILLI, count: 10, begun: 1, dropping: false };
            assert!(codel.judge(MILLI + since, 500 * MILLI, false, PARAMS));
            assert_eq!(codel.count, count, "after {since}");
        }
    }

    /// When something is dropped, of datagrams that leave every millisecond after such waits; all in milliseconds.
    fn drops(time: std::ops::Range<u64>, wait: impl Fn(u64) -> u64) -> Vec<u64> {
        let mut codel = Codel::default();
        time.filter(|now| codel.judge(now * MILLI, wait(*now) * MILLI, false, PARAMS)).collect()
    }
}

//! How many links a session should have, and which of them should go.

use std::time::{Duration, Instant};

use crate::session::{LinkState, Session};
use crate::wire::Ordinal;

/// Keeps a session's links at the number that is wanted, new before old.
#[derive(Debug)]
pub(super) struct Upkeep {
    wanted: usize,
    max_age: Option<Duration>,
    /// The ages at which the far side ended the last two links, and when.
    ends: [Option<(Instant, Duration)>; 2],
    /// When a link was last replaced with success.
    replaced: Option<Instant>,
    /// Links that began by then are to be replaced, because someone asked for it.
    renew: Option<Instant>,
    /// Since when there is one link too many, all of them sound.
    surplus: Option<Instant>,
    /// When this process went on after a pause.
    resumed: Option<Instant>,
    /// When it was last asked.
    now: Instant,
}

impl Upkeep {
    pub(super) fn new(now: Instant, wanted: usize, max_age: Option<Duration>) -> Self {
        Self { wanted, max_age, ends: [None; 2], replaced: None, renew: None, surplus: None, resumed: None, now }
    }

    /// How many more links are wanted now: those that are suspect, about to end or not proven since a
    /// pause do not count, but there is never more than one above what is wanted.
    pub(super) fn lacking(&self, session: &Session) -> usize {
        let awake = |state: &LinkState| self.resumed.is_none_or(|at| state.progress > at || state.since >= at);
        let sound = |state: &LinkState| state.suspect.is_none() && !self.aged(state) && awake(state);
        let sound = states(session).filter(|(_, state)| sound(state)).count();
        let wanted = self.wanted.min(session.links_allowed());
        let most = if self.resting() && !self.renewing(session) { wanted } else { wanted + 1 };
        wanted.saturating_sub(sound).min(most.saturating_sub(session.links().count()))
    }

    /// A dial became one of so many links.
    pub(super) fn handle_attached(&mut self, now: Instant, links: usize) {
        if links > self.wanted {
            self.replaced = Some(now);
        }
        self.surplus = None;
    }

    /// The far side ended a link of this age, in good order.
    pub(super) fn handle_ended_there(&mut self, now: Instant, lived: Duration) {
        // Links that end together say no more than one of them: it may have been a cut.
        let together = self.ends[1].is_some_and(|(at, _)| now < at + lived / 10);
        self.ends = [self.ends[usize::from(!together)], Some((now, lived))];
    }

    /// This process went on after a pause, in which any link may have died.
    pub(super) fn handle_pause(&mut self, now: Instant) {
        self.resumed = Some(now);
    }

    /// Every link there is now is to be replaced, new before old, one after the other and without a rest in between.
    pub(super) fn renew(&mut self, now: Instant) {
        self.renew = Some(now);
    }

    /// A link that should be ended now.
    pub(super) fn poll_retire(&mut self, now: Instant, session: &Session) -> Option<Ordinal> {
        self.now = now;
        if session.links().count() <= self.wanted {
            self.surplus = None;
            return None;
        }
        let states: Vec<_> = states(session).collect();
        let sound = states.iter().filter(|(_, state)| state.suspect.is_none()).count();
        if sound == 0 && self.resting() {
            None
        } else if sound == 0 {
            // All are suspect: the one without progress for longest makes room for a dial.
            states.iter().min_by_key(|(_, state)| state.progress).map(|(ordinal, _)| *ordinal)
        } else {
            self.surplus(now, &states, sound)
        }
    }

    pub(super) fn poll_timeout(&self, session: &Session) -> Option<Instant> {
        let surplus = self.surplus.map(|since| since + SURPLUS);
        let limit = self.age_limit();
        let ages = states(session).filter_map(|(_, state)| Some(state.since + limit?));
        let rest = self.replaced.map(|at| at + REST);
        // What has passed was seen, and is waited for no more.
        ages.chain(rest).chain(surplus).filter(|at| *at > self.now).min()
    }

    /// One link too many: an aged one goes as soon as another took its place, else the slower of two
    /// goes after a while, since the alarm was false.
    fn surplus(&mut self, now: Instant, states: &[(Ordinal, LinkState)], sound: usize) -> Option<Ordinal> {
        let aged = states.iter().find(|(_, state)| self.aged(state));
        if let Some((ordinal, _)) = aged.filter(|_| sound > 1) {
            return Some(*ordinal);
        }
        if sound < states.len() {
            // The session ends its suspect links itself.
            self.surplus = None;
            return None;
        }
        let since = *self.surplus.get_or_insert(now);
        if now < since + SURPLUS {
            return None;
        }
        self.surplus = None;
        states.iter().max_by_key(|(_, state)| state.srtt).map(|(ordinal, _)| *ordinal)
    }

    fn resting(&self) -> bool {
        self.replaced.is_some_and(|at| self.now < at + REST)
    }

    fn renewing(&self, session: &Session) -> bool {
        states(session).any(|(_, state)| self.outlived(&state))
    }

    fn outlived(&self, state: &LinkState) -> bool {
        self.renew.is_some_and(|at| state.since <= at)
    }

    fn aged(&self, state: &LinkState) -> bool {
        self.outlived(state) || self.age_limit().is_some_and(|limit| state.since + limit <= self.now)
    }

    /// Nine tenths of the age that is configured, or at which the far side ended two links alike.
    fn age_limit(&self) -> Option<Duration> {
        let learnt = match self.ends {
            [Some((at, one)), Some((_, other))] if self.now < at + MEMORY => {
                let (short, long) = (one.min(other), one.max(other));
                (short >= LEARNT && long - short <= long / 10).then_some(short)
            }
            [Some(_), Some(_)] | [_, None] | [None, _] => None,
        };
        [self.max_age, learnt].into_iter().flatten().min().map(|age| age / 10 * 9)
    }
}

fn states(session: &Session) -> impl Iterator<Item = (Ordinal, LinkState)> {
    session.links().filter_map(|ordinal| Some((ordinal, session.link(ordinal)?)))
}

/// After a false alarm both links stay for this long.
const SURPLUS: Duration = Duration::from_secs(10);
/// Between two successful replacements at least this passes.
const REST: Duration = Duration::from_secs(5);
/// What was learnt so long ago is tried again: the far side may have changed.
const MEMORY: Duration = Duration::from_secs(3_600);
/// Links that ended younger than this do not say at what age links end here.
const LEARNT: Duration = Duration::from_secs(20);

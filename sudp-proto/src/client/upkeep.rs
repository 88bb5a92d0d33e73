//! How many links a session should have, and which of them should go.

use std::time::{Duration, Instant};

use crate::session::{Live, Session};
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
        let limit = self.age_limit();
        let awake = |link: &Live| self.resumed.is_none_or(|at| link.progress > at || link.since >= at);
        let sound = |link: &&Live| link.suspect.is_none() && !self.aged(link, limit) && awake(link);
        let sound = session.live().iter().filter(sound).count();
        let wanted = self.wanted.min(session.links_allowed());
        let most = if self.resting() && !self.renewing(session) { wanted } else { wanted + 1 };
        wanted.saturating_sub(sound).min(most.saturating_sub(session.live().len()))
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
        let links = session.live();
        if links.len() <= self.wanted {
            self.surplus = None;
            return None;
        }
        let sound = links.iter().filter(|link| link.suspect.is_none()).count();
        if sound == 0 && self.resting() {
            None
        } else if sound == 0 {
            // All are suspect: the one without progress for longest makes room for a dial.
            links.iter().min_by_key(|link| link.progress).map(|link| link.ordinal)
        } else {
            self.surplus(now, links, sound)
        }
    }

    pub(super) fn poll_timeout(&self, session: &Session) -> Option<Instant> {
        let surplus = self.surplus.map(|since| since + SURPLUS);
        let limit = self.age_limit();
        let ages = session.live().iter().filter_map(|link| Some(link.since + limit?));
        let rest = self.replaced.map(|at| at + REST);
        // What has passed was seen, and is waited for no more.
        ages.chain(rest).chain(surplus).filter(|at| *at > self.now).min()
    }

    /// One link too many: an aged one goes as soon as another took its place, else the slower of two
    /// goes after a while, since the alarm was false.
    fn surplus(&mut self, now: Instant, links: &[Live], sound: usize) -> Option<Ordinal> {
        let limit = self.age_limit();
        let aged = links.iter().find(|link| self.aged(link, limit));
        if let Some(link) = aged.filter(|_| sound > 1) {
            return Some(link.ordinal);
        }
        if sound < links.len() {
            // The session ends its suspect links itself.
            self.surplus = None;
            return None;
        }
        let since = *self.surplus.get_or_insert(now);
        if now < since + SURPLUS {
            return None;
        }
        self.surplus = None;
        links.iter().max_by_key(|link| link.window.srtt()).map(|link| link.ordinal)
    }

    fn resting(&self) -> bool {
        self.replaced.is_some_and(|at| self.now < at + REST)
    }

    fn renewing(&self, session: &Session) -> bool {
        session.live().iter().any(|link| self.outlived(link))
    }

    fn outlived(&self, link: &Live) -> bool {
        self.renew.is_some_and(|at| link.since <= at)
    }

    fn aged(&self, link: &Live, limit: Option<Duration>) -> bool {
        self.outlived(link) || limit.is_some_and(|limit| link.since + limit <= self.now)
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

/// After a false alarm both links stay for this long.
const SURPLUS: Duration = Duration::from_secs(10);
/// Between two successful replacements at least this passes.
const REST: Duration = Duration::from_secs(5);
/// What was learnt so long ago is tried again: the far side may have changed.
const MEMORY: Duration = Duration::from_secs(3_600);
/// Links that ended younger than this do not say at what age links end here.
const LEARNT: Duration = Duration::from_secs(20);

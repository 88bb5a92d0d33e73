//! The links of a session: who carries what, who is suspect, what is known of those that ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::queue::Lane;
use super::recv::{Lateness, Owed};
use super::window::{Stamp, Window};
use crate::heartbeat::Heartbeat;
use crate::wire::{FinalCount, Frame, Number, Ordinal};

/// A link that carries the session now.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) ordinal: Ordinal,
    /// The lane of the flows at home here.
    pub(crate) lane: Lane,
    pub(crate) since: Instant,
    pub(crate) window: Window,
    /// What was sent on it and is not acknowledged, oldest first.
    pub(crate) sent: VecDeque<Sent>,
    /// Batches ever sent on it.
    pub(crate) sent_count: u64,
    /// How many of the oldest in `sent` are known to be overdue.
    pub(crate) overdue: usize,
    pub(crate) owed: Owed,
    /// How late what arrives is by the least delay of this link.
    pub(crate) late: Lateness,
    pub(crate) beat: Heartbeat,
    /// How long a round trip took when it began, if that is known: at least as long as one is.
    pub(crate) trip: Option<Duration>,
    /// When anything was heard on it.
    pub(crate) heard: Instant,
    /// When something we sent was last proven to have been read.
    pub(crate) progress: Instant,
    pub(crate) suspect: Option<Instant>,
    /// Since when it had no room although something waited.
    pub(crate) crowded: Option<Instant>,
    /// Copies it was chosen to carry.
    pub(crate) copies: VecDeque<Number>,
    /// Frames to send before any batch.
    pub(crate) frames: VecDeque<Frame>,
    /// It carries a batch that links die under, and nothing else until that is resolved.
    pub(crate) alone: bool,
    /// Whether the remote proved that it knows this link lives.
    pub(crate) proven: bool,
}

/// One batch on one link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) number: Number,
    pub(crate) bytes: usize,
    pub(crate) at: Instant,
    pub(crate) stamp: Stamp,
}

impl Live {
    pub(crate) fn new(now: Instant, ordinal: Ordinal, lane: Lane, window: usize) -> Self {
        Self {
            ordinal,
            lane,
            since: now,
            window: Window::new(now, window),
            sent: VecDeque::new(),
            sent_count: 0,
            overdue: 0,
            owed: Owed::new(now),
            late: Lateness::default(),
            trip: None,
            beat: Heartbeat::new(now),
            heard: now,
            progress: now,
            suspect: None,
            crowded: None,
            copies: VecDeque::new(),
            frames: VecDeque::new(),
            alone: false,
            proven: false,
        }
    }

    /// Batches known to have been processed by the remote.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.sent_count - self.sent.len() as u64
    }

    /// Whether anything we sent was ever proven to have been read.
    pub(crate) fn proven_by_remote(&self) -> bool {
        // An acknowledgement measures a round trip as a PONG does.
        self.window.srtt().is_some()
    }

    /// How long it may take one way: no longer than there and back.
    pub(crate) fn longest(&self) -> Option<Duration> {
        [self.window.rtt_min(), self.trip].into_iter().flatten().min()
    }

    /// Since when the oldest thing we sent waits for a proof.
    pub(crate) fn outstanding(&self) -> Option<Instant> {
        let batch = self.sent.front().map(|sent| sent.at);
        let ping = self.beat.waiting_since();
        [batch, ping].into_iter().flatten().min()
    }

    /// How long a datagram put on it now would take, for comparison with other links.
    pub(crate) fn cost(&self) -> Duration {
        let path = self.window.srtt().map_or(UNMEASURED, |srtt| srtt / 2);
        // A rate that is known is more than none.
        let queue = self.window.bandwidth().map_or(Duration::ZERO, |rate| {
            Duration::from_micros((self.window.unacked() as u64).saturating_mul(1_000_000) / rate)
        });
        path + queue
    }
}

/// A link that has ended and of which a count is still owed, on one side or the other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ended {
    /// Batches we processed from it: our final count, never more.
    pub(crate) ours: u64,
    /// The remote's final count.
    pub(crate) theirs: Option<u64>,
    /// Whether the remote said that it has ours.
    pub(crate) told: bool,
    /// What was acknowledged when it ended.
    pub(crate) acknowledged: u64,
    /// What was sent and not acknowledged, oldest first; empty once their count is known.
    pub(crate) open: Vec<Number>,
}

impl Ended {
    /// A dial that never became a link.
    pub(crate) fn unused() -> Self {
        Self { ours: 0, theirs: None, told: false, acknowledged: 0, open: Vec::new() }
    }
}

/// All links of a session.
#[derive(Debug)]
pub(crate) struct Links {
    /// At most [`Lane`]s many; searched by eye.
    pub(crate) live: Vec<Live>,
    pub(crate) ended: BTreeMap<Ordinal, Ended>,
    /// Dials whose welcome has not come.
    pub(crate) dialling: BTreeSet<Ordinal>,
    /// When their hellos were written.
    pub(crate) asked: BTreeMap<Ordinal, Instant>,
    pub(crate) ordinals: Ordinals,
    /// Where the next copy goes, in rotation.
    pub(crate) rotation: usize,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self {
            live: Vec::new(),
            ended: BTreeMap::new(),
            dialling: BTreeSet::new(),
            asked: BTreeMap::new(),
            ordinals: Ordinals::default(),
            rotation: 0,
        }
    }

    pub(crate) fn index(&self, ordinal: Ordinal) -> Option<usize> {
        self.live.iter().position(|link| link.ordinal == ordinal)
    }

    pub(crate) fn get(&self, ordinal: Ordinal) -> Option<&Live> {
        self.live.iter().find(|link| link.ordinal == ordinal)
    }

    pub(crate) fn get_mut(&mut self, ordinal: Ordinal) -> Option<&mut Live> {
        self.live.iter_mut().find(|link| link.ordinal == ordinal)
    }

    /// The lowest lane that no live link has.
    pub(crate) fn free_lane(&self) -> Option<Lane> {
        (0_u8..).take(LANES).map(Lane::of).find(|lane| self.live.iter().all(|link| link.lane != *lane))
    }

    /// Whether a live, unsuspected link holds what `carriers` carried.
    pub(crate) fn held(&self, carriers: &[Ordinal]) -> bool {
        carriers.iter().any(|&carrier| self.get(carrier).is_some_and(|link| link.suspect.is_none()))
    }

    /// Whether the remote certainly did not process what `carriers` carried and is not acknowledged:
    /// all of them have ended, and their final counts are known.
    pub(crate) fn certain(&self, carriers: &[Ordinal]) -> bool {
        carriers.iter().all(|carrier| {
            self.get(*carrier).is_none() && self.ended.get(carrier).is_none_or(|ended| ended.theirs.is_some())
        })
    }

    /// Whether another live link would take a fresh datagram further, or as far and sooner.
    pub(crate) fn better_than(&self, index: usize) -> bool {
        let Some(link) = self.live.get(index) else { return true };
        self.live.iter().enumerate().any(|(other, live)| {
            other != index
                && live.window.room() > 0
                && live.suspect <= link.suspect
                && (live.suspect.is_none() && link.suspect.is_some() || live.cost() < link.cost())
        })
    }

    /// Chooses a live link for a copy of what `carriers` carry already, each time another.
    pub(crate) fn rotate(&mut self, carriers: &[Ordinal]) -> Option<usize> {
        let count = self.live.len();
        let first = self.rotation;
        let chosen = (0..count).map(|step| (first + step) % count).find(|&index| {
            self.live.get(index).is_some_and(|link| link.suspect.is_none() && !carriers.contains(&link.ordinal))
        })?;
        self.rotation = chosen + 1;
        Some(chosen)
    }

    /// The ended links whose counts a hello or a welcome should tell; those of which we took nothing say so by absence.
    pub(crate) fn final_counts(&self) -> impl Iterator<Item = FinalCount> + '_ {
        self.ended.iter().filter(|(_, ended)| !ended.told).map(|(&ordinal, ended)| FinalCount {
            ordinal,
            count: ended.ours,
            known: ended.theirs.is_some(),
        })
    }

    /// Whether no link and no dial ever had this ordinal; one that both sides know everything of is forgotten, but was seen.
    pub(crate) fn never_seen(&self, ordinal: Ordinal) -> bool {
        self.ordinals.fresh(ordinal)
    }

    /// Forgets a link of which both sides know everything.
    pub(crate) fn forget(&mut self, ordinal: Ordinal) {
        if self.ended.get(&ordinal).is_some_and(|ended| ended.told && ended.theirs.is_some()) {
            self.ended.remove(&ordinal);
        }
    }
}

/// Which ordinals were used or burnt: exactly, for the last 64; all older ones were.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ordinals {
    pub(crate) top: u64,
    /// Bit `i` stands for `top - i`.
    pub(crate) bits: u64,
}

impl Ordinals {
    /// Whether a hello with this ordinal was never accepted, and may be.
    pub(crate) fn fresh(&self, ordinal: Ordinal) -> bool {
        match self.top.checked_sub(ordinal.0) {
            None => true,
            Some(back) if back < 64 => self.bits & (1 << back) == 0,
            Some(_) => false,
        }
    }

    /// Uses or burns an ordinal.
    pub(crate) fn burn(&mut self, ordinal: Ordinal) {
        match self.top.checked_sub(ordinal.0) {
            None => {
                let ahead = ordinal.0 - self.top;
                self.bits = if ahead < 64 { self.bits << ahead } else { 0 } | 1;
                self.top = ordinal.0;
            }
            Some(back) if back < 64 => self.bits |= 1 << back,
            Some(_) => {}
        }
    }

    /// Burns every ordinal below `ordinal` that is not in `but`, seen or not.
    pub(crate) fn burn_below(&mut self, ordinal: Ordinal, but: &[Ordinal]) {
        for back in 0..64 {
            let Some(lower) = self.top.checked_sub(back).map(Ordinal) else { break };
            if lower < ordinal && !but.contains(&lower) {
                self.burn(lower);
            }
        }
    }
}

/// Live links of a session at the most: eight, and three dials that have not lost yet.
pub(crate) const LANES: usize = 11;
/// What a link costs before a round trip was measured: neither best nor worst.
const UNMEASURED: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinal_serves_once() {
        let mut ordinals = Ordinals::default();
        assert!(ordinals.fresh(Ordinal(1)));
        ordinals.burn(Ordinal(1));
        assert!(!ordinals.fresh(Ordinal(1)));
        ordinals.burn(Ordinal(5));
        assert!(ordinals.fresh(Ordinal(3)) && !ordinals.fresh(Ordinal(5)));
        ordinals.burn_below(Ordinal(5), &[Ordinal(3)]);
        assert!(ordinals.fresh(Ordinal(3)) && !ordinals.fresh(Ordinal(2)) && !ordinals.fresh(Ordinal(4)));
    }

    #[test]
    fn the_window_of_ordinals_is_sixty_four_wide() {
        let mut ordinals = Ordinals::default();
        ordinals.burn(Ordinal(100));
        assert!(ordinals.fresh(Ordinal(37)), "63 back");
        assert!(!ordinals.fresh(Ordinal(36)), "64 back");
        ordinals.burn(Ordinal(36));
        ordinals.burn(Ordinal(1_000));
        assert!(ordinals.fresh(Ordinal(999)) && !ordinals.fresh(Ordinal(100)));
    }
}

//! How much may be under way on a link, and what its acknowledgements say of the path.
//!
//! A socket's buffer is only the first of many: behind a proxy, bytes written now may arrive seconds
//! late, and nothing of ours can schedule, age or drop them any more. So each link has a window of
//! unacknowledged bytes that just fills the path: `rate × (1.2 × least round trip + 4 ms) + 2
//! batches`, a queue of about a fifth of a round trip. It learns in four ways:
//!
//! - It doubles per round trip while the rate grows by a quarter, each acknowledgement adding what it
//!   acknowledged unless it shows a queue. It does so again whenever a full window meets no queue:
//!   following the rate alone, it would take 15 round trips to find a tenfold one.
//! - A rate that fell is believed after ten round trips, or after two that both took twice as long as
//!   they should: then a queue stands, and every sample is the truth. A stall is but one round trip.
//! - A least round trip not seen for 10 s is looked for: nothing is sent until half of what the path
//!   holds is under way, so that the next batch meets no queue. That costs half a round trip of the
//!   path's rate, where half a window for a whole round trip would cost as much and still keep a queue
//!   where round trips are short. A surprising answer is asked for once more, with nothing under way.
//!   A sender at which nothing waits is not held back for that as long as it sends little: a lone
//!   realtime datagram would be too old after a round trip.
//! - The same is done at once when round trips stay too long, or become shorter. The path may have
//!   become longer, and too small a window lowers the very rate it is computed from:
//!   where round trips grew fourfold, 39 % of the rate was lost until the 10 s were over, now 8 %.

#[cfg(test)]
mod path;
mod rate;
mod rtt;
#[cfg(test)]
mod tests;

use std::mem;
use std::time::{Duration, Instant};

use rate::Rate;
use rtt::RoundTrip;

/// What one link may have under way.
///
/// All is measured from the moment the link began. A link does not outlive a freeze of its session;
/// what is worth keeping for the next one is [`heir`](Self::heir).
#[derive(Clone, Debug)]
pub(crate) struct Window {
    began: Instant,
    size: u64,
    /// Bytes ever sent on this link.
    sent: u64,
    /// Of these, bytes acknowledged.
    acked: u64,
    /// `sent` when an acknowledgement was last asked for.
    asked: u64,
    /// `sent` when nothing was last left to be sent.
    limited: u64,
    phase: Phase,
    round: Round,
    rate: Rate,
    rtt: RoundTrip,
    /// Whether the least round trip has to be seen anew.
    stale: bool,
    /// A batch under way that met no queue of ours.
    clear: Option<Stamp>,
    /// Round trips since they were last found too long.
    calm: u64,
}

/// What has to be known of a batch when it is acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamp {
    /// Microseconds since the link began.
    sent: u64,
    /// Bytes sent on the link up to and including this batch.
    total: u64,
}

impl Window {
    /// The window of a link that begins now; `start` is [`START`] or the [`heir`](Self::heir) of an earlier one.
    pub(crate) fn new(now: Instant, start: usize) -> Self {
        Self {
            began: now,
            size: bytes(start).clamp(SMALLEST, LARGEST),
            sent: 0,
            acked: 0,
            asked: 0,
            limited: 0,
            phase: Phase::Growing { rate: 0, flat: false },
            round: Round::default(),
            rate: Rate::new(0),
            rtt: RoundTrip::default(),
            stale: false,
            clear: None,
            calm: 0,
        }
    }

    /// Counts a batch as sent.
    ///
    /// The stamp belongs beside the batch, and comes back with its acknowledgement.
    pub(crate) fn on_sent(&mut self, now: Instant, len: usize) -> Stamp {
        let sent = self.clock(now);
        if self.sent == 0 {
            self.rate = Rate::new(sent);
        }
        let clear = self.in_flight() <= self.clearance();
        self.sent += bytes(len);
        let stamp = Stamp { sent, total: self.sent };
        if clear {
            self.clear.get_or_insert(stamp);
        }
        self.round.full |= self.in_flight() >= self.size;
        stamp
    }

    /// Whether an acknowledgement should be asked for behind what was just sent; if so, it counts as done.
    pub(crate) fn asks(&mut self) -> bool {
        let unseen = self.rtt.least().is_none();
        let due = self.sent - self.asked >= self.size / ASKS;
        let looked_for = self.stale && self.clear.is_some_and(|clear| clear.total > self.asked);
        let asks = self.sent > self.asked && (unseen || due || looked_for);
        if asks {
            self.asked = self.sent;
        }
        asks
    }

    /// Takes an acknowledgement of every batch up to the one stamped `newest`, which was processed
    /// `delay` before the acknowledgement was written.
    pub(crate) fn on_acked(&mut self, now: Instant, newest: Stamp, delay: Duration) {
        let at = self.clock(now).saturating_sub(micros(delay)).max(newest.sent);
        let was_in_flight = self.in_flight();
        self.acked = self.acked.max(newest.total);

        let rtt = at - newest.sent;
        self.take_rtt(at, rtt, newest);
        self.take_rate(at, newest);
        if was_in_flight >= self.size / 2 {
            self.grow(was_in_flight - self.in_flight(), rtt);
        }
        if newest.total > self.round.start {
            self.end_round();
        }
        self.resize();
        self.stale = self.rtt.is_stale(at);
    }

    /// Takes the round trip of a ping, which says nothing of the delivery rate.
    pub(crate) fn on_pong(&mut self, now: Instant, sent: Instant) {
        let rtt = micros(now.saturating_duration_since(sent));
        let at = self.clock(now);
        self.rtt.on_sample(at, rtt);
        if self.in_flight() == 0 {
            self.rtt.on_clear_sample(at, rtt);
        }
    }

    /// Notes that nothing waits to be sent: what is delivered of the bytes under way does not show
    /// what the path could do.
    pub(crate) fn on_idle(&mut self) {
        if self.in_flight() < self.size {
            self.limited = self.sent;
        }
    }

    /// Bytes that may still be sent; where there is room for one, a whole batch may go.
    pub(crate) fn room(&self) -> usize {
        let looks = self.stale && self.clear.is_none() && self.rate.best().is_some();
        // Who sends a little and then nothing leaves the path empty soon enough: it need not be held back for that.
        let few = if self.sent - self.limited < FEW { FEW } else { 1 };
        let limit = if looks { self.clearance().max(few).min(self.size) } else { self.size };
        size(limit.saturating_sub(self.in_flight()))
    }

    /// Bytes sent and not acknowledged: what is given up when the link ends.
    pub(crate) fn unacked(&self) -> usize {
        size(self.in_flight())
    }

    /// The window itself.
    pub(crate) fn size(&self) -> usize {
        size(self.size)
    }

    /// Where the window of the next link to the same server may start: at half of this one, for the
    /// way there may have changed.
    pub(crate) fn heir(&self) -> usize {
        if self.rate.best().is_some() { self.size() / 2 } else { START }
    }

    /// The smoothed round trip.
    pub(crate) fn srtt(&self) -> Option<Duration> {
        self.rtt.mean().map(Duration::from_micros)
    }

    /// The spread of round trips.
    #[cfg(test)]
    pub(crate) fn rttvar(&self) -> Option<Duration> {
        self.rtt.deviation().map(Duration::from_micros)
    }

    /// The least round trip the path allows.
    pub(crate) fn rtt_min(&self) -> Option<Duration> {
        self.rtt.least().map(Duration::from_micros)
    }

    /// Bytes per second that the path delivers.
    pub(crate) fn bandwidth(&self) -> Option<u64> {
        self.rate.best()
    }

    /// How long without progress makes a link with something outstanding suspect.
    pub(crate) fn suspect_after(&self) -> Duration {
        let Some(patience) = self.patience() else { return UNKNOWN };
        Duration::from_micros((3 * patience + micros(ACK_DELAY)).clamp(SECOND / 2, 3 * SECOND))
    }

    /// How long without acknowledgement makes a batch overdue: a link with nothing fresh may send it again.
    pub(crate) fn overdue_after(&self) -> Duration {
        self.patience().map_or(UNKNOWN, |patience| Duration::from_micros(patience + micros(ACK_DELAY)))
    }

    /// How large a batch should become while more is waiting, on a path that carries at most `largest`.
    pub(crate) fn batch_target(&self, largest: usize) -> usize {
        size(self.batch()).min(largest)
    }

    /// How much the socket should hold unsent (`TCP_NOTSENT_LOWAT`).
    pub(crate) fn low_water(&self) -> usize {
        let wanted = self.rate.best().map_or(0, |rate| amount(rate, 4 * MILLISECOND));
        size(wanted.clamp(32 << 10, 512 << 10))
    }

    fn take_rtt(&mut self, at: u64, rtt: u64, newest: Stamp) {
        self.rtt.on_sample(at, rtt);
        if let Some(clear) = self.clear.take_if(|clear| clear.total <= newest.total) {
            self.rtt.on_clear_sample(at, at - clear.sent);
        }
        let found = self.stale && !self.rtt.is_stale(at);
        if found && self.rtt.mean().unwrap_or(0) > self.budget() * 3 / 2 {
            // Not the path was long but our queue in it, so every late rate is the truth.
            self.rate.forget();
        }
        self.round.least = self.round.least.min(rtt);
        self.round.sum += rtt;
        self.round.acks += 1;
    }

    fn take_rate(&mut self, at: u64, newest: Stamp) {
        let span = self.rtt.least().unwrap_or(0).max(SHORTEST_SPAN);
        let Some(sample) = self.rate.on_acked(at, newest, span) else { return };
        let limited = sample.since < self.limited;
        if !limited || self.rate.best().is_none_or(|best| sample.rate > best) {
            self.rate.count(sample.rate);
        }
        self.round.unlimited |= !limited;
    }

    fn grow(&mut self, acked: u64, rtt: u64) {
        let Phase::Growing { .. } = self.phase else { return };
        let budget = self.budget();
        if rtt <= budget {
            self.size = (self.size + acked).min(LARGEST);
        }
        if self.rate.best().is_some() && self.round.acks > 2 && self.round.least > budget {
            self.settle();
        }
    }

    fn end_round(&mut self) {
        let known = self.rtt.least().unwrap_or(0);
        let next = Round { start: self.sent, known, ..Round::default() };
        let round = mem::replace(&mut self.round, next);
        if round.unlimited {
            self.round.before = round.least;
            self.watch_growth(&round);
            self.watch_path(&round);
            self.rate.turn();
        }
    }

    fn watch_growth(&mut self, round: &Round) {
        let best = self.rate.best().unwrap_or(0);
        match self.phase {
            Phase::Growing { rate, .. } if best >= rate + rate / 4 => {
                self.phase = Phase::Growing { rate: best, flat: false };
            }
            // What a larger window achieves is acknowledged a round trip later.
            Phase::Growing { rate, flat: false } => self.phase = Phase::Growing { rate, flat: true },
            Phase::Growing { .. } => self.settle(),
            Phase::Steady if round.full && self.met_no_queue(round) => {
                self.phase = Phase::Growing { rate: best, flat: false };
            }
            Phase::Steady => {}
        }
    }

    /// Whether round trips stayed within a quarter of the queue that a full window should keep. Their
    /// mean, not their least: that is small whenever the window opens in bursts.
    fn met_no_queue(&self, round: &Round) -> bool {
        let least = self.rtt.least().unwrap_or(0);
        round.sum / round.acks.max(1) <= least + (self.budget() - least) / 4
    }

    fn settle(&mut self) {
        self.phase = Phase::Steady;
        if self.batch() < FIRST_BATCH {
            // On a slow path, what the first batches took was mostly their own length.
            self.rtt.doubt();
        }
    }

    /// Looks for signs that the path is no longer what it was. Looking for its least round trip too
    /// often would cost more than it brings, hence the pause.
    fn watch_path(&mut self, round: &Round) {
        let budget = self.budget();
        let shortest = round.least.min(round.before);
        if shortest > 2 * budget {
            self.rate.forget();
        }
        if self.rtt.least().unwrap_or(0) < round.known - round.known / 8 {
            // The path became shorter, and what was seen of that held the queue for the longer one.
            self.rtt.doubt();
        }
        self.calm += 1;
        if self.calm > DOUBT_PAUSE && shortest > budget + budget / 8 {
            self.rtt.doubt();
            self.calm = 0;
        }
    }

    fn resize(&mut self) {
        let Some(rate) = self.rate.best() else { return };
        let wanted = amount(rate, self.budget()).clamp(SMALLEST, LARGEST);
        self.size = match self.phase {
            Phase::Growing { .. } => self.size.max(wanted),
            Phase::Steady => wanted,
        };
    }

    /// How long a round trip may take with the window full.
    fn budget(&self) -> u64 {
        let least = self.rtt.least().unwrap_or(0);
        let batches = self.rate.best().map_or(0, |rate| 2 * self.batch() * SECOND / rate);
        least + least / 5 + 4 * MILLISECOND + batches
    }

    /// With no more than this under way, the next batch meets no queue of ours, even if the path
    /// became half as fast or the least round trip had been twice too long. Where more than that has
    /// changed, only an empty path is sure.
    fn clearance(&self) -> u64 {
        if self.rtt.is_surprised() {
            return 0;
        }
        let least = self.rtt.least().unwrap_or(0);
        amount(self.rate.best().unwrap_or(0), least).saturating_sub(self.batch()) / 2
    }

    fn batch(&self) -> u64 {
        let Some(rate) = self.rate.best() else { return FIRST_BATCH };
        amount(rate, 2 * MILLISECOND).clamp(SMALLEST_BATCH, LARGEST_BATCH)
    }

    /// In microseconds, after which a round trip has taken longer than it should.
    fn patience(&self) -> Option<u64> {
        Some(self.rtt.mean()? + 4 * self.rtt.deviation()?)
    }

    fn in_flight(&self) -> u64 {
        self.sent - self.acked
    }

    fn clock(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.began))
    }
}

/// Whether the window still looks for the size of the path.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Doubles per round trip, as long as `rate` grows; `flat` when it did not in the last one.
    Growing { rate: u64, flat: bool },
    /// Follows the delivery rate.
    Steady,
}

/// One round trip, until a batch is acknowledged that was sent after it began.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// `sent` when it began.
    start: u64,
    /// The least round trip known when it began.
    known: u64,
    /// The least round trip of the round before, if that was not limited by the application.
    before: u64,
    least: u64,
    sum: u64,
    acks: u64,
    /// The window was full at some time.
    full: bool,
    /// A rate was seen that the application did not limit.
    unlimited: bool,
}

impl Default for Round {
    fn default() -> Self {
        Self { start: 0, known: 0, before: 0, least: u64::MAX, sum: 0, acks: 0, full: false, unlimited: false }
    }
}

/// What `rate` bytes per second carry in `time` microseconds.
fn amount(rate: u64, time: u64) -> u64 {
    rate.saturating_mul(time) / SECOND
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn bytes(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The window of the first link to a server.
///
/// It is all queue where the path is slow: 0.3 s at 1 Mbit/s. 64 KiB are 0.6 s there and save one
/// round trip elsewhere, 16 KiB cost one more.
pub(crate) const START: usize = 32 << 10;

/// How long a receiver that was not asked may wait with an acknowledgement.
pub(crate) const ACK_DELAY: Duration = Duration::from_millis(25);

/// What is waited for a round trip of which nothing is known.
const UNKNOWN: Duration = Duration::from_secs(2);

const SECOND: u64 = 1_000_000;
const MILLISECOND: u64 = 1_000;

const SMALLEST: u64 = 4 << 10;
/// The memory that one session may hold unresolved.
const LARGEST: u64 = 32 << 20;

const FIRST_BATCH: u64 = 4 << 10;
/// One datagram of the usual size.
const SMALLEST_BATCH: u64 = 1_400;
/// What fits one TLS record beside the headers of a message.
const LARGEST_BATCH: u64 = 16_300;

/// What a sender that nothing waits at may have under way while the round trip is looked for: no more
/// than what every window holds beyond the path.
const FEW: u64 = 2 * SMALLEST_BATCH;

/// How often a window asks for an acknowledgement: what is delivered and not acknowledged is missing
/// from the path. Asking every quarter costs 2 to 10 % where the way back is uneven, every sixteenth
/// gains nothing.
const ASKS: u64 = 8;

/// The shortest time a rate is measured over: shorter round trips say more of the machines' clocks
/// and schedulers than of the path.
const SHORTEST_SPAN: u64 = 5 * MILLISECOND;

/// Round trips between two doubts.
const DOUBT_PAUSE: u64 = 10;

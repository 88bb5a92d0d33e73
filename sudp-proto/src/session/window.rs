//! How much may be under way on a link, and what its acknowledgements say of the path.
//!
//! A socket's buffer is the first of many: behind a proxy, bytes written now may arrive seconds late,
//! where nothing of ours can schedule, age or drop them. So each link has a window of unacknowledged
//! bytes, just large enough to fill the path: delivery rate × least round trip, and a little more.

#[cfg(test)]
mod path;
mod rate;
mod rtt;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use rate::Rate;
use rtt::RoundTrip;

/// What one link may have under way.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    origin: Instant,
    size: u64,
    /// Bytes ever sent and ever acknowledged on this link.
    sent: u64,
    acked: u64,
    /// `sent` when an acknowledgement was last asked for.
    asked: u64,
    /// `sent` when the application last had nothing to send.
    limited: u64,
    /// The batch under way that met no queue of ours.
    clear: Option<Stamp>,
    phase: Phase,
    /// The window is small until a batch can be sent that meets no queue of ours.
    probing: bool,
    round: Round,
    rate: Rate,
    rtt: RoundTrip,
    /// The best delivery rate since the least round trip was last put in doubt.
    anchor: u64,
}

/// What is known of a batch when it is sent, and needed when it is acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamp {
    /// Microseconds since the link began.
    sent: u64,
    /// Bytes sent on the link, up to and including this batch.
    total: u64,
}

impl Window {
    /// The window of a link that begins now.
    pub(crate) fn new(now: Instant, start: usize) -> Self {
        Self {
            origin: now,
            size: bytes(start).clamp(SMALLEST, LARGEST),
            sent: 0,
            acked: 0,
            asked: 0,
            limited: 0,
            clear: None,
            phase: Phase::Growing { before: 0, flat: 0 },
            probing: false,
            round: Round::default(),
            rate: Rate::new(0),
            rtt: RoundTrip::default(),
            anchor: 0,
        }
    }

    /// Counts a batch as sent; what it returns is given back when the batch is acknowledged.
    pub(crate) fn on_sent(&mut self, now: Instant, size: usize) -> Stamp {
        let sent = self.clock(now);
        if self.sent == 0 {
            self.rate = Rate::new(sent);
        }
        let clear = self.in_flight() <= self.clearance();
        self.sent += bytes(size);
        let stamp = Stamp { sent, total: self.sent };
        if clear && self.clear.is_none() {
            self.clear = Some(stamp);
            self.probing = false;
        }
        self.round.full |= self.in_flight() >= self.size;
        stamp
    }

    /// Takes an acknowledgement of all batches up to the one stamped `newest`, which had waited for
    /// `delay` at the receiver when it was written.
    pub(crate) fn on_acked(&mut self, now: Instant, newest: Stamp, delay: Duration) {
        let at = self.clock(now).saturating_sub(micros(delay)).max(newest.sent);
        let acked = newest.total.saturating_sub(self.acked);
        let was_in_flight = self.in_flight();
        self.acked = self.acked.max(newest.total);

        let rtt = at - newest.sent;
        self.rtt.on_sample(at, rtt);
        if let Some(clear) = self.clear.take_if(|clear| clear.total <= newest.total) {
            self.rtt.on_clear_sample(at, at - clear.sent);
        }
        self.round.least = self.round.least.min(rtt);
        self.round.sum += rtt;
        self.round.acks += 1;
        self.take_rate(at, newest);
        self.grow(acked, was_in_flight, rtt);
        if newest.total > self.round.end {
            self.end_round();
        }
        self.resize();
        self.probing = self.rate.best().is_some() && self.rtt.is_stale(at) && self.clear.is_none();
    }

    /// Notes that nothing waits to be sent: what is delivered now says little of what could be.
    pub(crate) fn on_idle(&mut self) {
        if self.room() > 0 {
            self.limited = self.sent;
        }
    }

    /// Takes the round trip of a ping, which says nothing of the delivery rate.
    pub(crate) fn on_pong(&mut self, now: Instant, sent_at: Instant) {
        let rtt = micros(now.saturating_duration_since(sent_at));
        let at = self.clock(now);
        self.rtt.on_sample(at, rtt);
        if self.in_flight() == 0 {
            self.rtt.on_clear_sample(at, rtt);
        }
    }

    /// Whether an acknowledgement is to be asked for behind what was just sent; if so, it counts as done.
    pub(crate) fn asks(&mut self) -> bool {
        let due = self.sent - self.asked >= self.size / ASKS;
        let none_coming = self.asked <= self.acked && self.room() == 0;
        let unseen = self.rtt.least().is_none() || self.clear.is_some_and(|clear| clear.total > self.asked);
        let asks = self.sent > self.asked && (due || none_coming || unseen);
        if asks {
            self.asked = self.sent;
        }
        asks
    }

    /// Bytes that may still be sent; with any, a whole batch may.
    pub(crate) fn room(&self) -> usize {
        let limit = if self.probing { self.size.min(self.clearance()) } else { self.size };
        size(limit.saturating_sub(self.in_flight()))
    }

    /// Bytes sent and not acknowledged.
    pub(crate) fn unacked(&self) -> usize {
        size(self.in_flight())
    }

    /// The window itself.
    pub(crate) fn size(&self) -> usize {
        size(self.size)
    }

    /// Where the window of the next link to the same server may start.
    pub(crate) fn heir(&self) -> usize {
        size((self.size / 2).max(START))
    }

    /// The smoothed round trip.
    pub(crate) fn srtt(&self) -> Option<Duration> {
        self.rtt.smoothed().map(Duration::from_micros)
    }

    /// The spread of round trips.
    pub(crate) fn rttvar(&self) -> Option<Duration> {
        self.rtt.deviation().map(Duration::from_micros)
    }

    /// The least round trip the path allows.
    pub(crate) fn rtt_min(&self) -> Option<Duration> {
        self.rtt.least().map(Duration::from_micros)
    }

    /// Bytes per second the path delivers.
    pub(crate) fn bandwidth(&self) -> Option<u64> {
        self.rate.best()
    }

    /// Without progress for this long, a link with something outstanding is suspect.
    pub(crate) fn suspect_after(&self) -> Duration {
        match self.patience() {
            Some(patience) => (patience * 3 + ACK_DELAY).clamp(Duration::from_millis(500), Duration::from_secs(3)),
            None => Duration::from_secs(2),
        }
    }

    /// Unacknowledged for this long, a batch may be sent again on a link with nothing fresh to send.
    pub(crate) fn overdue_after(&self) -> Duration {
        self.patience().map_or(Duration::from_secs(2), |patience| patience + ACK_DELAY)
    }

    /// How large a batch should become where more is waiting, on a path that carries at most `largest`.
    pub(crate) fn batch_target(&self, largest: usize) -> usize {
        size(self.batch()).min(largest)
    }

    /// How much the socket should hold unsent.
    pub(crate) fn low_water(&self) -> usize {
        let wanted = self.rate.best().map_or(0, |rate| amount(rate, 4 * MILLISECOND));
        size(wanted.clamp(32 << 10, 512 << 10))
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

    fn grow(&mut self, acked: u64, was_in_flight: u64, rtt: u64) {
        let Phase::Growing { .. } = self.phase else { return };
        if was_in_flight >= self.size / 2 && (rtt <= self.budget()) {
            self.size = (self.size + acked).min(LARGEST);
        }
        if self.rate.best().is_some() && (self.round.acks > 2 && self.round.least > self.budget()) {
            self.phase = Phase::Steady;
        }
    }

    fn end_round(&mut self) {
        let round = std::mem::replace(&mut self.round, Round { end: self.sent, ..Round::default() });
        if !round.unlimited {
            return;
        }
        let best = self.rate.best().unwrap_or(0);
        let least = self.rtt.least().unwrap_or(0);
        match self.phase {
            Phase::Growing { before, .. } if best >= before + before / 4 => {
                self.phase = Phase::Growing { before: best, flat: 0 };
            }
            Phase::Growing { before, flat: 0 } => self.phase = Phase::Growing { before, flat: 1 },
            Phase::Growing { .. } => self.phase = Phase::Steady,
            Phase::Steady if round.full && round.sum / round.acks <= least + (self.budget() - least) / 4 => {
                self.phase = Phase::Growing { before: best, flat: 0 };
            }
            Phase::Steady => {}
        }
        let slow = round.least > 2 * self.budget();
        if slow && round.slow {
            self.rate.forget();
        }
        self.round.slow = slow;
        self.watch_rate();
        self.rate.turn();
    }

    /// Doubts the least round trip when the rate has fallen: either the path became slower, then
    /// looking costs little, or longer, then the window is too small and would shrink for ever.
    fn watch_rate(&mut self) {
        let best = self.rate.recent().unwrap_or(0);
        if best < self.anchor - self.anchor / 8 {
            self.rtt.doubt();
            self.anchor = best;
        }
        self.anchor = self.anchor.max(best);
    }

    fn resize(&mut self) {
        let Some(rate) = self.rate.best() else { return };
        let wanted = amount(rate, self.budget()).clamp(SMALLEST, LARGEST);
        self.size = match self.phase {
            Phase::Growing { .. } => self.size.max(wanted),
            Phase::Steady => wanted,
        };
    }

    /// How long a batch should take from being sent to being acknowledged.
    fn budget(&self) -> u64 {
        let least = self.rtt.least().unwrap_or(0);
        let batches = self.rate.best().map_or(0, |rate| 2 * self.batch() * SECOND / rate);
        least + least / 4 + 5 * MILLISECOND + batches
    }

    /// Bytes in flight at which the path holds no queue of ours.
    fn clearance(&self) -> u64 {
        match (self.rate.recent(), self.rtt.least()) {
            (Some(rate), Some(least)) => amount(rate, least).saturating_sub(self.batch()) / 2,
            (None, _) | (_, None) => 0,
        }
    }

    fn batch(&self) -> u64 {
        self.rate.best().map_or(4 << 10, |rate| amount(rate, 2 * MILLISECOND).clamp(SMALLEST_BATCH, LARGEST_BATCH))
    }

    fn patience(&self) -> Option<Duration> {
        Some(Duration::from_micros(self.rtt.smoothed()? + 4 * self.rtt.deviation()?))
    }

    fn in_flight(&self) -> u64 {
        self.sent - self.acked
    }

    fn clock(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.origin))
    }
}

/// Whether the window still looks for the size of the path.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Doubles per round trip while the delivery rate, `before` at the end of the last one, grows.
    Growing { before: u64, flat: u8 },
    /// Follows the delivery rate.
    Steady,
}

/// One round trip: from an acknowledgement until that of a batch sent after it.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// `sent` when it began.
    end: u64,
    least: u64,
    sum: u64,
    acks: u64,
    full: bool,
    unlimited: bool,
    /// The one before took more than twice as long as it should.
    slow: bool,
}

impl Default for Round {
    fn default() -> Self {
        Self { end: 0, least: u64::MAX, sum: 0, acks: 0, full: false, unlimited: false, slow: false }
    }
}

/// What `rate` bytes per second carry in `time` microseconds.
fn amount(rate: u64, time: u64) -> u64 {
    rate.saturating_mul(time) / SECOND
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn bytes(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// How long a receiver that was not asked may wait with an acknowledgement.
pub(crate) const ACK_DELAY: Duration = Duration::from_millis(25);

const SECOND: u64 = 1_000_000;
const MILLISECOND: u64 = 1_000;

/// The window of the first link to a server.
pub(crate) const START_SIZE: usize = 64 << 10;
const START: u64 = START_SIZE as u64;
const SMALLEST: u64 = 4 << 10;
const LARGEST: u64 = 32 << 20;
const SMALLEST_BATCH: u64 = 1_400;
/// One TLS record with what stands around a batch.
const LARGEST_BATCH: u64 = 16_300;
/// How often a window asks for an acknowledgement.
const ASKS: u64 = 8;
const SHORTEST_SPAN: u64 = 5 * MILLISECOND;

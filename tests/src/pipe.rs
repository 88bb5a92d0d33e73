//! One direction of a TCP connection: when bytes arrive, how they are cut up, and whether at all.
//!
//! A pipe never loses, repeats or reorders a byte that arrives; it is TCP as its two ends see it, not
//! as packets. Everything is computed when somebody asks: a pipe has no events of its own, it only says
//! when it would be worth asking again.

use std::collections::VecDeque;

use sudp_proto::Rng;

use crate::clock::{NEVER, Nanos};
use crate::pipe::line::{Fixed, duration};

mod line;

pub use line::Line;

/// What one read brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Read {
    /// How many bytes were appended.
    pub n: usize,
    /// What the next attempt would meet.
    pub next: Next,
}

/// What a reader meets behind the bytes it got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// More is there now: bytes, or the news of an end.
    More,
    /// Nothing; a notification follows when that changes.
    Blocked,
    /// The other side has finished; only with `n` = 0.
    End,
    /// The connection is broken; only with `n` = 0.
    Reset,
}

/// The connection is broken: nothing can be written any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Broken;

/// One direction of a TCP connection.
#[derive(Debug)]
pub struct Pipe {
    line: Fixed,
    bytes: VecDeque<u8>,
    /// How `bytes` arrive; each no earlier than the one before.
    segments: VecDeque<Segment>,
    /// Bytes at the front that have arrived.
    arrived: usize,
    written: u64,
    /// When everything written so far has left the sender.
    free_at: Nanos,
    /// When the last byte written so far arrives.
    last_at: Nanos,
    /// After how many bytes the connection is cut.
    cut: Option<u64>,
    ending: Option<(Nanos, Ending)>,
    /// From when on the writer knows that the pipe is broken.
    broken_at: Nanos,
    /// Nothing arrives before this.
    held_until: Nanos,
    /// Nobody reads.
    abandoned: bool,
    reader: Bell,
    writer: Bell,
}

impl Pipe {
    /// An empty pipe; its reader is told of the first byte without having asked.
    pub fn new(line: &Line) -> Self {
        Self {
            line: Fixed::from(line),
            bytes: VecDeque::new(),
            segments: VecDeque::new(),
            arrived: 0,
            written: 0,
            free_at: 0,
            last_at: 0,
            cut: None,
            ending: None,
            broken_at: NEVER,
            held_until: 0,
            abandoned: false,
            reader: Bell { armed: true, rings_at: NEVER },
            writer: Bell { armed: false, rings_at: NEVER },
        }
    }

    /// Takes as much of `from` as there is room for, and says how much.
    ///
    /// If that is not all, the writer's bell is armed.
    pub fn write(&mut self, now: Nanos, rng: &mut Rng, from: &[u8]) -> Result<usize, Broken> {
        if now >= self.broken_at || matches!(self.ending, Some((_, Ending::Finished))) {
            return Err(Broken);
        }
        let taken = from.len().min(self.room(now));
        if taken < from.len() {
            self.writer.armed = true;
        }
        if self.ending.is_some() {
            return Ok(taken);
        }
        let passes = self.cut.map_or(taken, |cut| {
            usize::try_from(cut.saturating_sub(self.written)).map_or(taken, |left| left.min(taken))
        });
        self.written += passes as u64;
        self.bytes.extend(&from[..passes]);
        self.send(now, rng, passes);
        if self.abandoned {
            self.bounce(now);
        }
        Ok(taken)
    }

    /// Appends what has arrived to `into`, at most `max` bytes.
    ///
    /// If nothing is left, the reader's bell is armed.
    pub fn read(&mut self, now: Nanos, rng: &mut Rng, into: &mut Vec<u8>, max: usize) -> Read {
        self.settle(now);
        let mut n = self.arrived.min(max);
        if let Some(chunk) = self.line.chunk
            && n > 1
        {
            n = n.min(1 + usize::try_from(rng.below(chunk)).unwrap_or(0));
        }
        self.take(n, into);
        let next = if self.arrived > 0 {
            Next::More
        } else {
            match self.ending {
                Some((at, _)) if at <= now && n > 0 => Next::More,
                Some((at, Ending::Finished)) if at <= now => Next::End,
                Some((at, Ending::Reset)) if at <= now => Next::Reset,
                Some(_) | None => Next::Blocked,
            }
        };
        self.reader.armed = next == Next::Blocked;
        Read { n, next }
    }

    /// Ends the pipe behind what was written: the reader gets all of it, then the end.
    pub fn finish(&mut self, now: Nanos) {
        if self.ending.is_none() {
            let at = self.last_at.max(now.max(self.free_at).saturating_add(self.line.latency));
            self.ending = Some((at, Ending::Finished));
        }
    }

    /// Breaks the pipe for its reader at `at`: what arrives until then can still be read.
    pub fn break_reader(&mut self, at: Nanos) {
        while let Some(late) = self.segments.back().filter(|segment| segment.at > at).map(|segment| segment.len) {
            self.segments.pop_back();
            self.bytes.truncate(self.bytes.len() - late);
        }
        match self.ending {
            Some((earlier, _)) if earlier <= at => {}
            Some(_) | None => self.ending = Some((at, Ending::Reset)),
        }
    }

    /// Breaks the pipe for its reader as soon as everything written has arrived, but not before `at`;
    /// says when that is.
    pub fn break_behind(&mut self, at: Nanos) -> Nanos {
        let at = at.max(self.last_at).max(self.held_until);
        self.break_reader(at);
        at
    }

    /// Breaks the pipe for its writer at `at`.
    pub fn break_writer(&mut self, at: Nanos) {
        self.broken_at = self.broken_at.min(at);
    }

    /// Cuts the connection once `bytes` have passed in all; never less than what already has.
    pub fn cut_after(&mut self, bytes: u64) {
        self.cut = Some(bytes.max(self.written));
    }

    /// When the last byte before the cut arrives, once, as soon as that is known.
    ///
    /// The owner then breaks both directions at that time.
    pub fn take_cut(&mut self, now: Nanos) -> Option<Nanos> {
        self.cut.filter(|cut| self.written >= *cut)?;
        self.cut = None;
        let at = self.last_at.max(now);
        self.break_reader(at);
        Some(at)
    }

    /// Holds back everything that has not arrived: nothing is on its way again before `until`.
    ///
    /// [`NEVER`] is half-open: writes are taken until the capacity is reached, and nothing comes of them.
    pub fn hold(&mut self, now: Nanos, until: Nanos) {
        self.settle(now);
        self.held_until = self.held_until.max(until);
        self.resend(now);
    }

    /// Ends a hold: what was held back travels again from `now` on.
    pub fn release(&mut self, now: Nanos) {
        self.held_until = now;
        self.resend(now);
    }

    /// Nobody reads any more: what comes is answered by a reset, which the writer learns one latency
    /// after it arrived.
    pub fn abandon(&mut self, now: Nanos) {
        self.abandoned = true;
        if !self.bytes.is_empty() {
            self.bounce(now);
        }
    }

    /// Bytes written and not yet read.
    pub fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes ever written, without those beyond a cut.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How long a byte travels on this pipe.
    pub fn latency(&self) -> Nanos {
        self.line.latency
    }

    /// How much a write at `now` would take.
    pub fn room(&self, now: Nanos) -> usize {
        let room = self.line.capacity.saturating_sub(self.bytes.len());
        match self.line.unsent {
            Some(bound) => room.min(bound.saturating_sub(self.waiting(now))),
            None => room,
        }
    }

    /// When the reader's bell should be looked at, if it is armed and nobody will look before.
    pub fn set_reader(&mut self) -> Option<Nanos> {
        self.reader.set(self.reader_due())
    }

    /// When the writer's bell should be looked at, if it is armed and nobody will look before.
    pub fn set_writer(&mut self) -> Option<Nanos> {
        self.writer.set(self.writer_due())
    }

    /// Whether the reader is to be told now; its bell is silent until it has met the bottom again.
    pub fn ring_reader(&mut self, now: Nanos) -> bool {
        self.reader.ring(now, self.reader_due())
    }

    /// Whether the writer is to be told now; its bell is silent until it was pushed back again.
    pub fn ring_writer(&mut self, now: Nanos) -> bool {
        self.writer.ring(now, self.writer_due())
    }

    /// Makes the next notification of the writer due although no write was refused.
    pub fn arm_writer(&mut self) {
        self.writer.armed = true;
    }

    /// Throws away what nobody will read.
    fn bounce(&mut self, now: Nanos) {
        self.break_writer(self.last_at.max(now).saturating_add(self.line.latency));
        self.bytes.clear();
        self.segments.clear();
        self.arrived = 0;
    }

    fn reader_due(&self) -> Nanos {
        if self.arrived > 0 {
            return 0;
        }
        match (self.segments.front(), self.ending) {
            (Some(segment), _) => segment.at,
            (None, Some((at, _))) => at,
            (None, None) => NEVER,
        }
    }

    fn writer_due(&self) -> Nanos {
        let free = self.line.capacity.saturating_sub(self.bytes.len());
        if free < (self.line.capacity / 4).max(1) {
            return self.broken_at;
        }
        let drained = match (self.line.unsent, self.line.rate) {
            (Some(bound), Some(rate)) => self.free_at.saturating_sub(duration((bound / 2) as u64, rate)),
            (Some(_) | None, _) => 0,
        };
        drained.min(self.broken_at)
    }

    /// Puts the last `count` bytes on their way.
    fn send(&mut self, now: Nanos, rng: &mut Rng, mut count: usize) {
        while count > 0 {
            let len = count.min(self.line.quantum);
            count -= len;
            let jitter = if self.line.jitter == 0 { 0 } else { rng.below(self.line.jitter) };
            let at = self.depart(now, len).saturating_add(jitter).max(self.last_at);
            self.last_at = at;
            match self.segments.back_mut() {
                Some(segment) if segment.at == at => segment.len += len,
                Some(_) | None => self.segments.push_back(Segment { at, len }),
            }
        }
    }

    /// Lets `len` bytes leave as soon as the line is free, and says when they arrive.
    fn depart(&mut self, now: Nanos, len: usize) -> Nanos {
        let start = now.max(self.free_at).max(self.held_until);
        self.free_at = self.line.rate.map_or(start, |rate| start.saturating_add(duration(len as u64, rate)));
        self.free_at.saturating_add(self.line.latency)
    }

    /// Computes anew when what has not arrived arrives, after the hold was changed.
    fn resend(&mut self, now: Nanos) {
        let mut segments = std::mem::take(&mut self.segments);
        self.free_at = self.held_until.max(now);
        self.last_at = 0;
        for segment in &mut segments {
            let at = self.depart(now, segment.len);
            segment.at = later(segment.at, at).max(self.last_at);
            self.last_at = segment.at;
        }
        self.segments = segments;
        let behind = self.last_at.max(self.free_at.saturating_add(self.line.latency));
        if let Some((at, _)) = &mut self.ending
            && *at > now
        {
            *at = later(*at, behind);
        }
    }

    /// Counts what has arrived.
    fn settle(&mut self, now: Nanos) {
        while let Some(len) = self.segments.front().filter(|segment| segment.at <= now).map(|segment| segment.len) {
            self.segments.pop_front();
            self.arrived += len;
        }
    }

    fn take(&mut self, n: usize, into: &mut Vec<u8>) {
        let (front, back) = self.bytes.as_slices();
        let first = n.min(front.len());
        into.extend_from_slice(&front[..first]);
        into.extend_from_slice(&back[..n - first]);
        self.bytes.drain(..n);
        self.arrived -= n;
    }

    /// Bytes that have not left the sender.
    fn waiting(&self, now: Nanos) -> usize {
        let Some(rate) = self.line.rate else { return 0 };
        let ahead = u128::from(self.free_at.saturating_sub(now));
        usize::try_from(ahead * u128::from(rate) / 1_000_000_000).unwrap_or(usize::MAX)
    }
}

/// How a pipe ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    Finished,
    Reset,
}

#[derive(Debug)]
struct Segment {
    at: Nanos,
    len: usize,
}

/// Whether somebody wants to be told, and when that will be looked at.
#[derive(Debug)]
struct Bell {
    armed: bool,
    rings_at: Nanos,
}

impl Bell {
    fn set(&mut self, due: Nanos) -> Option<Nanos> {
        if !self.armed || due >= self.rings_at {
            return None;
        }
        self.rings_at = due;
        Some(due)
    }

    fn ring(&mut self, now: Nanos, due: Nanos) -> bool {
        if now >= self.rings_at {
            self.rings_at = NEVER;
        }
        let rings = self.armed && due <= now;
        if rings {
            self.armed = false;
        }
        rings
    }
}

/// The later of an old time and a new one; a time that never came counts for nothing.
fn later(old: Nanos, new: Nanos) -> Nanos {
    if old == NEVER { new } else { new.max(old) }
}

#[cfg(test)]
mod tests;

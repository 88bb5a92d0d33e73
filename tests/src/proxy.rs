//! Middleboxes: what stands between a client and a server, and what it does to their bytes.
//!
//! A middlebox ends TCP on both sides: it has a buffer of its own for each direction, reads while there
//! is room in it, and writes on as fast as the next hop takes it. What makes it slow is that hop's line.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use sudp_proto::{Rng, Seed};

use crate::clock::{NEVER, Nanos, span};
use crate::net::Direction;
use crate::proxy::flip::Flip;
use crate::proxy::head::{Keep, Strip};
use crate::proxy::pings::Pings;
use crate::proxy::poison::Poison;
use crate::proxy::reframe::Reframe;

mod flip;
pub mod frames;
mod head;
mod pings;
mod poison;
mod reframe;

/// A kind of middlebox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Middlebox {
    /// Ends the connection in order once it is this old.
    AgeLimit(Duration),
    /// Answers WebSocket pings of both sides itself, and sends its own each time this long has passed.
    AnswerPings(Duration),
    /// Takes in this many bytes per direction as fast as they come, whatever the next hop takes.
    Buffer(usize),
    /// Flips a bit of a message each time so many payload bytes of a direction have passed.
    Flip(u64),
    /// Ends the connection in order when nothing has passed for this long.
    IdleCutOff(Duration),
    /// Resets the connection when these bytes are in the unmasked payloads that go up.
    KillOn(Vec<u8>),
    /// Cuts WebSocket data frames into fragments of at most this many payload bytes, rounded up to a
    /// multiple of four so that the mask stays as it is.
    Reframe(usize),
    /// Sends the request's head once more, on a connection of its own.
    Replay {
        /// Where; the same address if not given.
        to: Option<SocketAddr>,
        /// How long after the first.
        after: Duration,
        /// How long it then keeps that connection, reading what comes.
        hold: Duration,
    },
    /// Takes request header lines away whose names begin so, whatever their case.
    Strip(Vec<String>),
}

impl Middlebox {
    /// A proxy with a buffer of 4 MiB, as behind many a bottleneck.
    pub fn bloated() -> Self {
        Self::Buffer(4 << 20)
    }

    /// A proxy that lets no `Sudp-*` header through.
    pub fn strip_ours() -> Self {
        Self::Strip(vec!["sudp-".to_owned()])
    }
}

/// A middlebox at work on one connection.
#[derive(Debug)]
pub(crate) struct Stage {
    work: Work,
    waiting: [VecDeque<u8>; 2],
    ended: [bool; 2],
    limit: usize,
}

/// What is to become of the connection.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// It goes on.
    Go,
    /// It ends in order, in both directions.
    Close,
    /// It is reset, in both directions.
    Kill,
    /// It goes on, and its request is made again.
    Repeat(Repeat),
}

/// A request to be made again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Repeat {
    pub(crate) to: Option<SocketAddr>,
    pub(crate) after: Duration,
    pub(crate) hold: Duration,
    pub(crate) request: Vec<u8>,
}

#[derive(Debug)]
enum Work {
    Age { limit: Nanos, over_at: Nanos },
    Flip(Flip),
    Idle { limit: Nanos, last_at: Nanos },
    Kill(Poison),
    Pass,
    Pings(Box<Pings>),
    Reframe(Reframe),
    Replay { keep: Option<Keep>, repeat: Repeat },
    Strip(Strip),
}

/// What an ordinary middlebox holds per direction.
const BUFFER: usize = 64 << 10;

impl Stage {
    pub(crate) fn new(middlebox: &Middlebox, seed: &Seed) -> Self {
        let mut limit = BUFFER;
        let work = match middlebox {
            Middlebox::AgeLimit(age) => Work::Age { limit: span(*age), over_at: NEVER },
            Middlebox::AnswerPings(every) => Work::Pings(Box::new(Pings::new(span(*every), Rng::new(seed)))),
            Middlebox::Buffer(bytes) => {
                limit = *bytes;
                Work::Pass
            }
            Middlebox::Flip(every) => Work::Flip(Flip::new(*every)),
            Middlebox::IdleCutOff(after) => Work::Idle { limit: span(*after), last_at: NEVER },
            Middlebox::KillOn(pattern) => Work::Kill(Poison::new(pattern)),
            Middlebox::Reframe(size) => Work::Reframe(Reframe::new(*size)),
            Middlebox::Replay { to, after, hold } => Work::Replay {
                keep: Some(Keep::default()),
                repeat: Repeat { to: *to, after: *after, hold: *hold, request: Vec::new() },
            },
            Middlebox::Strip(names) => Work::Strip(Strip::new(names)),
        };
        Self { work, waiting: [VecDeque::new(), VecDeque::new()], ended: [false; 2], limit }
    }

    /// The connection stands: deadlines count from now.
    pub(crate) fn start(&mut self, now: Nanos) {
        match &mut self.work {
            Work::Age { limit, over_at } => *over_at = now.saturating_add(*limit),
            Work::Idle { last_at, .. } => *last_at = now,
            Work::Pings(pings) => pings.start(now),
            Work::Flip(_) | Work::Kill(_) | Work::Pass | Work::Reframe(_) | Work::Replay { .. } | Work::Strip(_) => {}
        }
    }

    /// Bytes came in; what becomes of them is put where it waits for the next hop.
    pub(crate) fn pass(&mut self, now: Nanos, direction: Direction, bytes: &[u8]) -> Verdict {
        let out = &mut self.waiting[index(direction)];
        match &mut self.work {
            Work::Age { .. } | Work::Pass => out.extend(bytes),
            Work::Idle { last_at, .. } => {
                *last_at = now;
                out.extend(bytes);
            }
            Work::Flip(flip) => flip.pass(direction, bytes, out),
            Work::Kill(poison) => {
                if direction == Direction::Up && poison.finds(bytes) {
                    return Verdict::Kill;
                }
                out.extend(bytes);
            }
            Work::Pings(pings) => pings.pass(direction, bytes, &mut self.waiting),
            Work::Reframe(reframe) => reframe.pass(direction, bytes, out),
            Work::Replay { keep, repeat } => {
                out.extend(bytes);
                if direction == Direction::Up {
                    return replay(keep, repeat, bytes);
                }
            }
            Work::Strip(strip) if direction == Direction::Up => strip.pass(bytes, out),
            Work::Strip(_) => out.extend(bytes),
        }
        Verdict::Go
    }

    pub(crate) fn handle_timeout(&mut self, now: Nanos) -> Verdict {
        match &mut self.work {
            Work::Age { over_at, .. } if *over_at <= now => Verdict::Close,
            Work::Idle { limit, last_at } if last_at.saturating_add(*limit) <= now => Verdict::Close,
            Work::Pings(pings) => {
                pings.handle_timeout(now, &mut self.waiting);
                Verdict::Go
            }
            Work::Age { .. }
            | Work::Idle { .. }
            | Work::Flip(_)
            | Work::Kill(_)
            | Work::Pass
            | Work::Reframe(_)
            | Work::Replay { .. }
            | Work::Strip(_) => Verdict::Go,
        }
    }

    pub(crate) fn next_at(&self) -> Option<Nanos> {
        let at = match &self.work {
            Work::Age { over_at, .. } => *over_at,
            Work::Idle { limit, last_at } => last_at.saturating_add(*limit),
            Work::Pings(pings) => pings.next_at(),
            Work::Flip(_) | Work::Kill(_) | Work::Pass | Work::Reframe(_) | Work::Replay { .. } | Work::Strip(_) => {
                NEVER
            }
        };
        (at != NEVER).then_some(at)
    }

    /// How much may be read for a direction.
    pub(crate) fn room(&self, direction: Direction) -> usize {
        if self.ended[index(direction)] {
            return 0;
        }
        self.limit.saturating_sub(self.waiting[index(direction)].len())
    }

    /// Takes what waits for the next hop, to be put back without what that took.
    pub(crate) fn take_waiting(&mut self, direction: Direction) -> Option<VecDeque<u8>> {
        let waiting = &mut self.waiting[index(direction)];
        (!waiting.is_empty()).then(|| std::mem::take(waiting))
    }

    pub(crate) fn put_back(&mut self, direction: Direction, waiting: VecDeque<u8>) {
        self.waiting[index(direction)] = waiting;
    }

    /// Nothing more comes from that side.
    pub(crate) fn end(&mut self, direction: Direction) {
        self.ended[index(direction)] = true;
    }

    /// Whether a direction has ended and everything of it was written on.
    pub(crate) fn is_finished(&self, direction: Direction) -> bool {
        self.ended[index(direction)] && self.waiting[index(direction)].is_empty()
    }

    /// Bytes held in both directions.
    pub(crate) fn held(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }
}

fn index(direction: Direction) -> usize {
    match direction {
        Direction::Up => 0,
        Direction::Down => 1,
    }
}

fn replay(keep: &mut Option<Keep>, repeat: &Repeat, bytes: &[u8]) -> Verdict {
    let Some(request) = keep.as_mut().and_then(|keep| keep.head(bytes)) else { return Verdict::Go };
    *keep = None;
    Verdict::Repeat(Repeat { request, ..repeat.clone() })
}

#[cfg(test)]
mod tests;

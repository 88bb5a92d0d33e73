//! A simulated path for the window: a sender, a buffer, a bottleneck, a way there and a way back.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::{ACK_DELAY, MILLISECOND, SECOND, Stamp, Window, amount, bytes};

/// What the path is like and what is sent over it. Times are microseconds since the link began.
#[derive(Clone, Debug)]
pub(super) struct Path {
    /// Bytes per second of the bottleneck from some time on; 0 is a stall.
    pub(super) rates: Vec<(u64, u64)>,
    /// Round trips without any queue, from some time on.
    pub(super) trips: Vec<(u64, u64)>,
    /// What is ready in front of the bottleneck: a proxy's buffer.
    pub(super) buffer: u64,
    /// How long the receiver waits with an acknowledgement that was not asked for.
    pub(super) ack_delay: u64,
    /// What arrives in such a time arrives at its end: a retransmission below us.
    pub(super) spikes: Vec<(u64, u64)>,
    /// Every delivery is late by up to this.
    pub(super) jitter: u64,
    /// Acknowledgements arrive only at multiples of this.
    pub(super) clumps: u64,
    /// When there is always something to send.
    pub(super) bulk: (u64, u64),
    pub(super) until: u64,
}

impl Path {
    pub(super) fn new(mbit: u64, trip_ms: u64) -> Self {
        Self {
            rates: vec![(0, mbit * 125_000)],
            trips: vec![(0, trip_ms * MILLISECOND)],
            buffer: 4 << 20,
            ack_delay: super::micros(ACK_DELAY),
            spikes: Vec::new(),
            jitter: 0,
            clumps: 1,
            bulk: (0, u64::MAX),
            until: 20 * SECOND,
        }
    }

    pub(super) fn run(&self, start: usize) -> Run {
        let mut world = World::new(self, start);
        world.play();
        world.run
    }
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// Bytes delivered, by millisecond.
    pub(super) delivered: BTreeMap<u64, u64>,
    /// When each sparse datagram was given to the sender, and how long it took.
    pub(super) delays: Vec<(u64, u64)>,
    /// The window whenever an acknowledgement came.
    pub(super) sizes: Vec<(u64, usize)>,
    pub(super) acks: u64,
    pub(super) batches: u64,
    pub(super) trace: Vec<String>,
}

impl Run {
    /// Bytes per second delivered between two times.
    pub(super) fn throughput(&self, from: u64, until: u64) -> u64 {
        let bytes: u64 = self.delivered.range(from / MILLISECOND..until / MILLISECOND).map(|(_, bytes)| bytes).sum();
        bytes * SECOND / (until - from)
    }

    /// The delay, in milliseconds, that `percent` of the sparse datagrams of a time stayed below.
    pub(super) fn delay(&self, percent: usize, from: u64, until: u64) -> u64 {
        let mut delays: Vec<u64> =
            self.delays.iter().filter(|(at, _)| (from..until).contains(at)).map(|(_, delay)| *delay).collect();
        delays.sort_unstable();
        delays.get((delays.len() * percent / 100).min(delays.len().saturating_sub(1))).map_or(0, |us| us / MILLISECOND)
    }
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    Acked { batch: usize, delay: u64 },
    AckDue,
    Arrived { batch: usize },
    Passed,
    Sparse,
    Start,
}

struct Batch {
    bytes: usize,
    stamp: Stamp,
    ask: bool,
    sparse: Vec<u64>,
}

struct World<'a> {
    path: &'a Path,
    epoch: Instant,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    made: u64,
    window: Window,
    waiting: Vec<u64>,
    batches: Vec<Batch>,
    queue: VecDeque<usize>,
    queued: u64,
    passing: bool,
    last_arrival: u64,
    last_ack: u64,
    unacked_since: Option<u64>,
    newest: Option<(usize, u64)>,
    rng: crate::Rng,
    run: Run,
}

impl<'a> World<'a> {
    fn new(path: &'a Path, start: usize) -> Self {
        #[expect(clippy::disallowed_methods, reason = "every other instant is this one and a duration")]
        let epoch = Instant::now();
        Self {
            path,
            epoch,
            now: 0,
            events: BinaryHeap::new(),
            made: 0,
            window: Window::new(epoch, start),
            waiting: Vec::new(),
            batches: Vec::new(),
            queue: VecDeque::new(),
            queued: 0,
            passing: false,
            last_arrival: 0,
            last_ack: 0,
            unacked_since: None,
            newest: None,
            rng: crate::Rng::new(&crate::Seed::from(1)),
            run: Run::default(),
        }
    }

    fn play(&mut self) {
        self.at(0, Event::Sparse);
        self.at(self.path.bulk.0, Event::Start);
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > self.path.until {
                break;
            }
            self.now = at;
            self.handle(event);
            self.pump();
            self.pass();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Acked { batch, delay } => {
                let stamp = self.batches[batch].stamp;
                self.window.on_acked(self.instant(), stamp, Duration::from_micros(delay));
                self.run.acks += 1;
                self.run.sizes.push((self.now, self.window.size()));
                if std::env::var_os("TRACE").is_some_and(|t| !t.is_empty()) {
                    self.run.trace.push(format!(
                        "{:8} size {:7} unacked {:7} bw {:8} rtt {:6} least {:6} {:?} probing {} {:?}",
                        self.now,
                        self.window.size,
                        self.window.unacked(),
                        self.window.bandwidth().unwrap_or(0),
                        self.now - delay - stamp.sent,
                        self.window.rtt.least().unwrap_or(0),
                        self.window.phase,
                        self.window.probing,
                        self.window.round
                    ));
                }
            }
            Event::AckDue => {
                if self.unacked_since.is_some_and(|since| since + self.path.ack_delay <= self.now) {
                    self.acknowledge();
                }
            }
            Event::Arrived { batch } => self.arrive(batch),
            Event::Passed => {
                let batch = self.queue.pop_front().unwrap();
                self.queued -= bytes(self.batches[batch].bytes);
                self.passing = false;
                let mut at = self.now + since(&self.path.trips, self.now) / 2 + self.rng.below(self.path.jitter + 1);
                for &(from, until) in &self.path.spikes {
                    if (from..until).contains(&at) {
                        at = until;
                    }
                }
                self.last_arrival = at.max(self.last_arrival);
                self.at(self.last_arrival, Event::Arrived { batch });
            }
            Event::Sparse => {
                self.waiting.push(self.now);
                self.at(self.now + 20 * MILLISECOND, Event::Sparse);
            }
            Event::Start => {}
        }
    }

    fn arrive(&mut self, batch: usize) {
        let Batch { bytes: size, ask, ref sparse, .. } = self.batches[batch];
        *self.run.delivered.entry(self.now / MILLISECOND).or_default() += bytes(size);
        self.run.delays.extend(sparse.iter().map(|&at| (at, self.now - at)));
        self.newest = Some((batch, self.now));
        let first = *self.unacked_since.get_or_insert(self.now);
        if ask || self.path.ack_delay == 0 {
            self.acknowledge();
        } else if first == self.now {
            self.at(self.now + self.path.ack_delay, Event::AckDue);
        }
    }

    fn acknowledge(&mut self) {
        let Some((batch, processed)) = self.newest else { return };
        self.unacked_since = None;
        let at = self.now + since(&self.path.trips, self.now) / 2;
        let at = at.next_multiple_of(self.path.clumps).max(self.last_ack);
        self.last_ack = at;
        self.at(at, Event::Acked { batch, delay: self.now - processed });
    }

    fn pump(&mut self) {
        let bulk = (self.path.bulk.0..self.path.bulk.1).contains(&self.now);
        while self.queued < self.path.buffer + bytes(self.window.low_water()) {
            if self.waiting.is_empty() && !bulk {
                self.window.on_idle();
                return;
            }
            if self.window.room() == 0 {
                return;
            }
            let sparse = std::mem::take(&mut self.waiting);
            let size = sparse.len() * 60;
            let size = if bulk { size.max(self.window.batch_target(16_300)) } else { size };
            let stamp = self.window.on_sent(self.instant(), size);
            let ask = self.window.asks();
            self.queue.push_back(self.batches.len());
            self.queued += bytes(size);
            self.batches.push(Batch { bytes: size, stamp, ask, sparse });
            self.run.batches += 1;
        }
    }

    fn pass(&mut self) {
        let Some(&batch) = self.queue.front() else { return };
        if self.passing {
            return;
        }
        self.passing = true;
        let mut at = self.now;
        while since(&self.path.rates, at) == 0 {
            at += MILLISECOND;
        }
        let rate = since(&self.path.rates, at);
        debug_assert!(amount(rate, SECOND) == rate);
        self.at(at + bytes(self.batches[batch].bytes) * SECOND / rate, Event::Passed);
    }

    fn at(&mut self, at: u64, event: Event) {
        self.made += 1;
        self.events.push(Reverse((at, self.made, event)));
    }

    fn instant(&self) -> Instant {
        self.epoch + Duration::from_micros(self.now)
    }
}

/// The value that holds at a time.
fn since(values: &[(u64, u64)], at: u64) -> u64 {
    values.iter().rev().find(|(from, _)| *from <= at).map_or(0, |(_, value)| *value)
}

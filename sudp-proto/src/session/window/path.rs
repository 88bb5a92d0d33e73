//! A simulated path: a sender with a window, a buffer, a bottleneck, a way there and a way back.
//!
//! All times are microseconds since the link began.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::{ACK_DELAY, MILLISECOND, SECOND, START, Stamp, Window, bytes, micros};
use crate::{Rng, Seed};

/// What the path is like, and what is sent over it beside a sparse flow of 60 bytes every 20 ms.
#[derive(Clone, Debug)]
pub(super) struct Path {
    /// Bytes per second of the bottleneck from some time on; 0 is a stall.
    pub(super) rates: Vec<(u64, u64)>,
    /// The round trip without any queue from some time on.
    pub(super) trips: Vec<(u64, u64)>,
    /// Bytes that wait in front of the bottleneck before the sender's socket is full: a proxy's buffer.
    pub(super) buffer: u64,
    /// How long the receiver waits with an acknowledgement that was not asked for.
    pub(super) ack_delay: u64,
    /// What would arrive in such a time arrives at its end: a retransmission below us.
    pub(super) spikes: Vec<(u64, u64)>,
    /// Every batch is late by a random part of this, and never overtakes another.
    pub(super) jitter: u64,
    /// Acknowledgements arrive only at multiples of this.
    pub(super) clumps: u64,
    /// When there is always something to send.
    pub(super) bulk: Vec<(u64, u64)>,
    pub(super) until: u64,
}

impl Path {
    /// A path behind a proxy that buffers 4 MiB, with bulk from the start.
    pub(super) fn new(mbit: u64, trip_ms: u64) -> Self {
        Self {
            rates: vec![(0, mbit * 125_000)],
            trips: vec![(0, trip_ms * MILLISECOND)],
            buffer: 4 << 20,
            ack_delay: micros(ACK_DELAY),
            spikes: Vec::new(),
            jitter: 0,
            clumps: 1,
            bulk: vec![(0, u64::MAX)],
            until: 20 * SECOND,
        }
    }

    pub(super) fn run(&self) -> Run {
        let mut world = World::new(self);
        world.play();
        world.run
    }

    /// Bytes that could have passed between two times.
    pub(super) fn capacity(&self, from: u64, until: u64) -> u64 {
        (from / MILLISECOND..until / MILLISECOND).map(|at| value(&self.rates, at * MILLISECOND) / 1_000).sum()
    }
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// When each batch was delivered, and its length.
    delivered: Vec<(u64, u64)>,
    /// When each sparse datagram was given to the sender, and how long it took.
    delays: Vec<(u64, u64)>,
    /// The window after each acknowledgement.
    sizes: Vec<(u64, u64)>,
}

impl Run {
    /// Bytes delivered between two times.
    pub(super) fn bytes(&self, from: u64, until: u64) -> u64 {
        self.delivered.iter().filter(|(at, _)| (from..until).contains(at)).map(|(_, len)| len).sum()
    }

    /// The delay that `percent` of the sparse datagrams sent between two times did not exceed.
    pub(super) fn delay(&self, percent: usize, from: u64, until: u64) -> u64 {
        let mut delays = within(&self.delays, from, until);
        delays.sort_unstable();
        delays[(delays.len() * percent / 100).min(delays.len() - 1)]
    }

    /// The smallest and the largest window between two times.
    pub(super) fn sizes(&self, from: u64, until: u64) -> (u64, u64) {
        let sizes = within(&self.sizes, from, until);
        (*sizes.iter().min().unwrap(), *sizes.iter().max().unwrap())
    }
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    Acked { batch: usize, delay: u64 },
    AckDue,
    Arrived { batch: usize },
    Bulk,
    Passed,
    Sparse,
}

struct Batch {
    len: usize,
    stamp: Stamp,
    asks: bool,
    /// When the sparse datagrams in it were given to the sender.
    sparse: Vec<u64>,
}

struct World<'a> {
    path: &'a Path,
    epoch: Instant,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    scheduled: u64,
    window: Window,
    waiting: Vec<u64>,
    batches: Vec<Batch>,
    /// Batches in front of the bottleneck; the first is passing.
    queue: VecDeque<usize>,
    queued: u64,
    last_arrival: u64,
    last_ack: u64,
    unacked_since: Option<u64>,
    rng: Rng,
    run: Run,
}

impl<'a> World<'a> {
    fn new(path: &'a Path) -> Self {
        let epoch = super::tests::epoch();
        Self {
            path,
            epoch,
            now: 0,
            events: BinaryHeap::new(),
            scheduled: 0,
            window: Window::new(epoch, START),
            waiting: Vec::new(),
            batches: Vec::new(),
            queue: VecDeque::new(),
            queued: 0,
            last_arrival: 0,
            last_ack: 0,
            unacked_since: None,
            rng: Rng::new(&Seed::from(1)),
            run: Run::default(),
        }
    }

    fn play(&mut self) {
        self.schedule(0, Event::Sparse);
        for &(from, _) in &self.path.bulk {
            self.schedule(from, Event::Bulk);
        }
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > self.path.until {
                break;
            }
            self.now = at;
            self.handle(event);
            self.send();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Acked { batch, delay } => {
                let stamp = self.batches[batch].stamp;
                self.window.on_acked(self.instant(), stamp, Duration::from_micros(delay));
                self.run.sizes.push((self.now, bytes(self.window.size())));
            }
            Event::AckDue => {
                if self.unacked_since.is_some_and(|since| since + self.path.ack_delay <= self.now) {
                    self.acknowledge();
                }
            }
            Event::Arrived { batch } => self.arrive(batch),
            Event::Bulk => {}
            Event::Passed => self.leave(),
            Event::Sparse => {
                self.waiting.push(self.now);
                self.schedule(self.now + 20 * MILLISECOND, Event::Sparse);
            }
        }
    }

    fn send(&mut self) {
        let bulk = self.path.bulk.iter().any(|&(from, until)| (from..until).contains(&self.now));
        while self.queued < self.path.buffer + bytes(self.window.low_water()) {
            if self.waiting.is_empty() && !bulk {
                self.window.on_idle();
                return;
            }
            if self.window.room() == 0 {
                return;
            }
            let sparse = std::mem::take(&mut self.waiting);
            let filled = if bulk { self.window.batch_target(usize::MAX) } else { 0 };
            let len = filled.max(60 * sparse.len());
            let stamp = self.window.on_sent(self.instant(), len);
            let asks = self.window.asks();
            self.batches.push(Batch { len, stamp, asks, sparse });
            self.enter(self.batches.len() - 1);
        }
    }

    fn enter(&mut self, batch: usize) {
        self.queued += bytes(self.batches[batch].len);
        self.queue.push_back(batch);
        if self.queue.len() == 1 {
            self.pass(batch);
        }
    }

    fn pass(&mut self, batch: usize) {
        let mut at = self.now;
        while value(&self.path.rates, at) == 0 {
            at += MILLISECOND;
        }
        let rate = value(&self.path.rates, at);
        self.schedule(at + bytes(self.batches[batch].len) * SECOND / rate, Event::Passed);
    }

    fn leave(&mut self) {
        let batch = self.queue.pop_front().unwrap();
        self.queued -= bytes(self.batches[batch].len);
        if let Some(&next) = self.queue.front() {
            self.pass(next);
        }
        let at = self.now + value(&self.path.trips, self.now) / 2 + self.rng.below(self.path.jitter + 1);
        let spike = self.path.spikes.iter().find(|&&(from, until)| (from..until).contains(&at));
        self.last_arrival = spike.map_or(at, |&(_, until)| until).max(self.last_arrival);
        self.schedule(self.last_arrival, Event::Arrived { batch });
    }

    fn arrive(&mut self, batch: usize) {
        let Batch { len, asks, ref sparse, .. } = self.batches[batch];
        self.run.delivered.push((self.now, bytes(len)));
        self.run.delays.extend(sparse.iter().map(|&at| (at, self.now - at)));
        if self.unacked_since.is_none() {
            self.unacked_since = Some(self.now);
            self.schedule(self.now + self.path.ack_delay, Event::AckDue);
        }
        if asks {
            self.acknowledge();
        }
    }

    fn acknowledge(&mut self) {
        self.unacked_since = None;
        let batch = self.run.delivered.len() - 1;
        let delay = self.now - self.run.delivered[batch].0;
        let at = self.now + value(&self.path.trips, self.now) / 2;
        self.last_ack = at.next_multiple_of(self.path.clumps).max(self.last_ack);
        self.schedule(self.last_ack, Event::Acked { batch, delay });
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    fn instant(&self) -> Instant {
        self.epoch + Duration::from_micros(self.now)
    }
}

/// The value that holds at a time.
fn value(values: &[(u64, u64)], at: u64) -> u64 {
    values.iter().rev().find(|(from, _)| *from <= at).map_or(0, |(_, value)| *value)
}

fn within(values: &[(u64, u64)], from: u64, until: u64) -> Vec<u64> {
    values.iter().filter(|(at, _)| (from..until).contains(at)).map(|(_, value)| *value).collect()
}

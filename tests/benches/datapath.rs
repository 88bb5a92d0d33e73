//! What a datagram costs the core, from a local source to framed, masked bytes, and from these to its
//! delivery at the server. Every figure is for one datagram.
//!
//! Acknowledgements flow back meanwhile, so that no window stalls; "all of it" counts them too, with
//! the timers of both sides. A copy of the framed bytes is part of either half: it stands for what a
//! socket does.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::{Measurement as _, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sudp_proto::access::Pool;
use sudp_tests::rig::Rig;

fn datapath(criterion: &mut Criterion) {
    for ((name, load), sealed) in LOADS.into_iter().flat_map(|load| [(load, false), (load, true)]) {
        let mut course = Course::new(load, sealed);
        let name = if sealed { format!("{name}, sealed") } else { name.to_owned() };
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        group.bench_function("queue to framed bytes", |bencher| {
            bencher.iter_custom(|datagrams| course.run(datagrams, |spent| spent.out));
        });
        group.bench_function("framed bytes to delivered", |bencher| {
            bencher.iter_custom(|datagrams| course.run(datagrams, |spent| spent.taken));
        });
        group.bench_function("all of it", |bencher| {
            bencher.iter_custom(|datagrams| course.run(datagrams, |spent| spent.out + spent.taken + spent.back));
        });
        group.finish();
    }
}

/// How datagrams come.
#[derive(Clone, Copy)]
struct Load {
    bytes: usize,
    /// How many come before bytes are asked for.
    burst: usize,
    flows: u16,
}

/// A session under a load, and its bytes on the way.
struct Course {
    rig: Rig,
    load: Load,
    payload: Vec<u8>,
    wire: Vec<u8>,
    /// Where in `wire` each piece ends that was written at once.
    ends: Vec<usize>,
    back: Vec<u8>,
    next: u16,
}

/// Where the time of one round went.
struct Spent {
    out: Duration,
    taken: Duration,
    back: Duration,
}

impl Course {
    fn new(load: Load, sealed: bool) -> Self {
        let pool = Pool::memory(64 << 20, 128 << 10);
        let mut course = Self {
            rig: if sealed { Rig::sealed(1, &pool, &pool) } else { Rig::new(1, &pool, &pool) },
            load,
            payload: vec![7; load.bytes],
            wire: Vec::new(),
            ends: Vec::new(),
            back: Vec::new(),
            next: 0,
        };
        for _ in 0..WARM_UP {
            course.round();
        }
        course
    }

    /// The time that so many datagrams take, of the kind that `part` picks.
    fn run(&mut self, datagrams: u64, part: impl Fn(&Spent) -> Duration) -> Duration {
        let rounds = datagrams.div_ceil(ROUND as u64);
        let before = self.rig.server.session().counters().delivered;
        let time: Duration = (0..rounds).map(|_| part(&self.round())).sum();
        let delivered = self.rig.server.session().counters().delivered - before;
        assert_eq!(delivered, rounds * ROUND as u64, "nothing waits for a window");
        time.mul_f64(datagrams as f64 / (rounds * ROUND as u64) as f64)
    }

    /// So many datagrams from one side to the other.
    fn round(&mut self) -> Spent {
        let Self { rig, load, payload, wire, ends, back, next } = self;
        wire.clear();
        ends.clear();
        back.clear();
        let out = timed(|| {
            for _ in 0..ROUND / load.burst {
                for _ in 0..load.burst {
                    *next = (*next + 1) % load.flows;
                    rig.client.send(rig.now, *next, black_box(payload)).expect("the flow takes it");
                }
                rig.client.say(rig.now, wire);
                ends.push(wire.len());
            }
        });
        rig.now += HOP;
        let taken = timed(|| {
            let mut start = 0;
            for end in ends {
                rig.server.hear(rig.now, &wire[start..*end]);
                start = *end;
            }
        });
        let back = timed(|| {
            rig.server.wait(rig.now);
            rig.server.say(rig.now, back);
            rig.now += HOP;
            rig.client.hear(rig.now, back);
            rig.client.wait(rig.now);
        });
        Spent { out, taken, back }
    }
}

fn timed(what: impl FnOnce()) -> Duration {
    let start = WallTime.start();
    what();
    WallTime.end(start)
}

const LOADS: [(&str, Load); 5] = [
    ("64 bytes, bursts of 64, one flow", Load { bytes: 64, burst: 64, flows: 1 }),
    ("64 bytes, bursts of 64, eight flows", Load { bytes: 64, burst: 64, flows: 8 }),
    ("64 bytes, one by one, one flow", Load { bytes: 64, burst: 1, flows: 1 }),
    ("64 bytes, one by one, eight flows", Load { bytes: 64, burst: 1, flows: 8 }),
    ("1200 bytes, bursts of 16, one flow", Load { bytes: 1_200, burst: 16, flows: 1 }),
];
/// Datagrams between two looks at the clock.
const ROUND: usize = 64;
/// How long bytes take one way.
const HOP: Duration = Duration::from_micros(100);
const WARM_UP: usize = 200;

criterion_group!(benches, datapath);
criterion_main!(benches);

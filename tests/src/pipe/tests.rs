use std::time::Duration;

use sudp_proto::Seed;

use super::*;
use crate::clock::span;

const MS: Nanos = 1_000_000;

struct Tube {
    pipe: Pipe,
    rng: Rng,
}

impl Tube {
    fn new(line: Line) -> Self {
        Self { pipe: Pipe::new(&line), rng: Rng::new(&Seed::from(1)) }
    }

    fn write(&mut self, now: Nanos, bytes: &[u8]) -> usize {
        self.pipe.write(now, &mut self.rng, bytes).unwrap()
    }

    fn read(&mut self, now: Nanos, max: usize) -> (Vec<u8>, Next) {
        let mut into = Vec::new();
        let read = self.pipe.read(now, &mut self.rng, &mut into, max);
        assert_eq!(read.n, into.len());
        (into, read.next)
    }

    fn arrived(&mut self, now: Nanos) -> usize {
        self.read(now, usize::MAX).0.len()
    }
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_byte_arrives_after_exactly_the_latency() {
    let mut tube = Tube::new(Line::with_latency(ms(40)));
    assert_eq!(tube.write(7 * MS, b"x"), 1);
    assert_eq!(tube.pipe.set_reader(), Some(47 * MS));
    assert_eq!(tube.read(47 * MS - 1, 9), (vec![], Next::Blocked));
    assert_eq!(tube.read(47 * MS, 9), (b"x".to_vec(), Next::Blocked));
}

#[test]
fn the_rate_is_exact_however_the_bytes_were_written() {
    for piece in [1_000, 50_000, 1_000_000] {
        let mut tube = Tube::new(Line::with_latency(ms(10)).rate(1_000_000));
        for _ in 0..1_000_000 / piece {
            assert_eq!(tube.write(0, &vec![0; piece]), piece);
        }
        let half = tube.arrived(510 * MS);
        assert!((498_000..=500_000).contains(&half), "{half}");
        assert!(half + tube.arrived(1_010 * MS - 1) < 1_000_000);
        assert!(tube.arrived(1_010 * MS) > 0);
        assert_eq!(tube.pipe.held(), 0);
    }
}

#[test]
fn jitter_delays_but_never_reorders() {
    let mut tube = Tube::new(Line::with_latency(ms(10)).jitter(ms(20)));
    let mut got = Vec::new();
    for number in 0..100_u8 {
        tube.write(u64::from(number) * MS, &[number]);
    }
    let mut spread = std::collections::BTreeSet::new();
    while got.len() < 100 {
        let at = tube.pipe.reader_due();
        spread.insert(at);
        got.extend(tube.read(at, usize::MAX).0);
    }
    assert_eq!(got, (0..100).collect::<Vec<u8>>());
    assert!(spread.len() > 10 && spread.iter().all(|at| *at <= 129 * MS));
}

#[test]
fn a_full_pipe_pushes_back_and_calls_when_there_is_room() {
    let mut tube = Tube::new(Line::with_latency(ms(1)).capacity(1_000));
    assert_eq!(tube.write(0, &[0; 1_500]), 1_000);
    assert_eq!(tube.write(0, &[0; 1]), 0);
    assert_eq!(tube.pipe.set_writer(), None);
    tube.read(MS, 200);
    assert_eq!(tube.pipe.set_writer(), None, "a fifth is not worth a call");
    tube.read(MS, 200);
    let at = tube.pipe.set_writer().unwrap();
    assert!(at <= MS);
    assert!(tube.pipe.ring_writer(MS));
    assert!(!tube.pipe.ring_writer(MS), "only once");
    assert_eq!(tube.write(MS, &[0; 500]), 400);
}

#[test]
fn unsent_bytes_push_back_long_before_the_capacity_does() {
    let mut tube = Tube::new(Line::with_latency(ms(10)).rate(1_000_000).unsent(32_000));
    assert_eq!(tube.write(0, &[0; 100_000]), 32_000);
    assert_eq!(tube.pipe.set_writer(), Some(16 * MS), "woken at half of it");
    assert!(tube.pipe.ring_writer(16 * MS));
    assert_eq!(tube.write(16 * MS, &[0; 100_000]), 16_000);
}

#[test]
fn a_cut_lets_exactly_so_many_bytes_through() {
    for cut in [0_u64, 1, 99, 100, 101] {
        let mut tube = Tube::new(Line::with_latency(ms(5)));
        tube.pipe.cut_after(cut);
        tube.write(0, &[7; 60]);
        tube.write(MS, &[7; 60]);
        let at = tube.pipe.take_cut(MS).unwrap();
        assert!(at <= 6 * MS);
        let (bytes, next) = tube.read(at, usize::MAX);
        assert_eq!(bytes.len() as u64, cut);
        if cut > 0 {
            assert_eq!(next, Next::More);
        }
        assert_eq!(tube.read(at, usize::MAX), (vec![], Next::Reset));
        assert_eq!(tube.pipe.take_cut(MS), None);
    }
}

#[test]
fn a_stall_delays_everything_and_loses_nothing() {
    let mut tube = Tube::new(Line::with_latency(ms(10)));
    tube.write(0, b"early ");
    tube.write(8 * MS, b"late ");
    assert_eq!(tube.read(10 * MS, 3).0, b"ear");
    tube.pipe.hold(12 * MS, 100 * MS);
    tube.write(20 * MS, b"held");
    assert_eq!(tube.read(109 * MS, usize::MAX).0, b"ly ", "had arrived before");
    assert_eq!(tube.read(110 * MS, usize::MAX).0, b"late held");
}

#[test]
fn a_stalled_line_with_a_rate_does_not_make_up_for_lost_time() {
    let mut tube = Tube::new(Line::with_latency(ms(0)).rate(1_000_000));
    tube.write(0, &[0; 100_000]);
    tube.pipe.hold(0, 1_000 * MS);
    let half = tube.arrived(1_050 * MS);
    assert!((48_552..=50_000).contains(&half), "{half}");
    assert_eq!(half + tube.arrived(1_100 * MS - 1), 99_912, "the last 88 bytes are a segment of their own");
    assert_eq!(tube.arrived(1_100 * MS), 88);
}

#[test]
fn half_open_takes_bytes_until_it_is_full_and_a_release_delivers_them() {
    let mut tube = Tube::new(Line::with_latency(ms(10)).capacity(100));
    tube.write(0, b"never ");
    tube.pipe.hold(0, NEVER);
    assert_eq!(tube.write(MS, &[b'x'; 200]), 94);
    tube.pipe.finish(MS);
    assert_eq!(tube.read(span(Duration::from_secs(3_600)), 999), (vec![], Next::Blocked));
    assert_eq!(tube.pipe.set_reader(), None, "nothing will ever ring");
    tube.pipe.release(span(Duration::from_secs(3_600)));
    let at = tube.pipe.set_reader().unwrap();
    assert_eq!(at, span(Duration::from_secs(3_600)) + 10 * MS);
    assert_eq!(tube.arrived(at), 100);
    assert_eq!(tube.read(at, 9), (vec![], Next::End));
}

#[test]
fn the_end_comes_behind_the_last_byte() {
    let mut tube = Tube::new(Line::with_latency(ms(10)));
    tube.write(0, b"bye");
    tube.pipe.finish(0);
    assert_eq!(tube.pipe.write(0, &mut tube.rng, b"more"), Err(Broken));
    assert_eq!(tube.read(10 * MS, 2), (b"by".to_vec(), Next::More));
    assert_eq!(tube.read(10 * MS, 2), (b"e".to_vec(), Next::More), "data and the end in one edge");
    assert_eq!(tube.read(10 * MS, 2), (vec![], Next::End));
}

#[test]
fn what_arrives_after_a_break_is_not_read() {
    let mut tube = Tube::new(Line::with_latency(ms(10)));
    tube.write(0, b"in time");
    tube.write(5 * MS, b"too late");
    tube.pipe.break_reader(12 * MS);
    assert_eq!(tube.read(20 * MS, 99), (b"in time".to_vec(), Next::More));
    assert_eq!(tube.read(20 * MS, 99), (vec![], Next::Reset));
}

#[test]
fn writing_to_somebody_gone_is_answered_by_a_reset() {
    let mut tube = Tube::new(Line::with_latency(ms(10)));
    tube.pipe.abandon(0);
    assert_eq!(tube.write(5 * MS, b"hello?"), 6);
    assert_eq!(tube.write(24 * MS, b"hello?"), 6);
    assert_eq!(tube.pipe.write(25 * MS, &mut tube.rng, b"hello?"), Err(Broken));
    assert_eq!(tube.pipe.held(), 0);
}

#[test]
fn reads_are_cut_up_at_random_and_nothing_is_lost() {
    let mut tube = Tube::new(Line::with_latency(ms(0)).chunk(10));
    let sent: Vec<u8> = (0..=255).collect();
    tube.write(0, &sent);
    let (mut got, mut sizes) = (Vec::new(), std::collections::BTreeSet::new());
    loop {
        let (bytes, next) = tube.read(0, usize::MAX);
        assert!(bytes.len() <= 10);
        sizes.insert(bytes.len());
        got.extend(bytes);
        if next == Next::Blocked {
            break;
        }
    }
    assert_eq!(got, sent);
    assert!(sizes.len() > 5);
}

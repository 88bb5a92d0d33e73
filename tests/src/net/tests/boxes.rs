//! Whole paths: determinism, and middleboxes between two machines.

use super::*;
use crate::proxy::Middlebox;
use crate::trace::Trace;

/// Writes at random, in both directions, over a crooked path, and notes everything.
fn wild(seed: u64) -> (u64, usize, usize) {
    let line = Line::with_latency(ms(20)).jitter(ms(9)).rate(200_000).capacity(50_000).chunk(3_000).unsent(16_000);
    let path = Path::direct(&line).through(Middlebox::Buffer(100_000), Hop::both(&line));
    let mut world = World::new(path);
    let conn = world.connect();
    world.net.rng = Rng::new(&Seed::from(seed));
    let (mut rng, mut trace) = (Rng::new(&Seed::from(seed)), Trace::new());
    let (mut sent, mut got) = (0_usize, 0_usize);
    for _ in 0..2_000 {
        let side = if rng.chance(1, 2) { Side::Client } else { Side::Server };
        let bytes: Vec<u8> =
            (sent..sent + usize::try_from(rng.below(4_000)).unwrap()).map(|n| n.to_le_bytes()[0]).collect();
        if side == Side::Client {
            sent += world.write(conn, side, &bytes).unwrap();
        }
        world.run_for(Duration::from_micros(rng.below(20_000)));
        for (when, ready) in std::mem::take(&mut world.seen) {
            if matches!(ready, Ready::Stream { side: Side::Server, .. }) {
                let (bytes, _) = world.read(conn, Side::Server);
                assert!(bytes.iter().zip(got..).all(|(byte, n)| *byte == n.to_le_bytes()[0]));
                got += bytes.len();
                trace.note(when, 1, got as u64, 0);
            }
        }
    }
    world.run_for(ms(5_000));
    got += world.read(conn, Side::Server).0.len();
    (trace.hash(), sent, got)
}

#[test]
fn the_same_seed_gives_the_same_hash_and_no_byte_is_lost() {
    let (hash, sent, got) = wild(1);
    assert_eq!(sent, got);
    assert!(sent > 100_000);
    assert_eq!(wild(1), (hash, sent, got));
    assert_ne!(wild(2).0, hash);
}

#[test]
fn a_proxy_of_4_mib_takes_all_at_once_and_delivers_at_its_rate() {
    let near = Hop::both(&Line::with_latency(ms(5)));
    let far = Hop::both(&Line::with_latency(ms(20)).rate(1 << 20).capacity(64 << 10));
    let path = Path { near, boxes: Vec::new() }.through(Middlebox::bloated(), far);
    let mut world = World::new(path);
    let conn = world.connect();
    let start = world.now;
    let mut got = 0;
    assert_eq!(world.write(conn, Side::Client, &vec![0; 4 << 20]), Ok(4 << 20));
    world.run_for(ms(100));
    assert_eq!(world.write(conn, Side::Client, &vec![0; 64 << 10]), Ok(64 << 10), "the proxy has it, not the pipe");
    let mut last = start;
    while got < (4 << 20) + (64 << 10) {
        world.run_for(ms(1));
        let n = world.read(conn, Side::Server).0.len();
        got += n;
        last = if n > 0 { world.now } else { last };
        assert!(world.now < start + ms(6_000), "{got}");
    }
    let took = last - start;
    assert!((ms(4_085)..ms(4_200)).contains(&took), "{took:?}");
}

#[test]
fn a_reset_passes_through_middleboxes_both_ways() {
    for (leg, side) in [(Leg::Near, Side::Server), (Leg::Far, Side::Client)] {
        let line = Hop::both(&Line::with_latency(ms(5)));
        let path = Path { near: line.clone(), boxes: Vec::new() }.through(Middlebox::bloated(), line);
        let mut world = World::new(path);
        let conn = world.connect();
        world.net.inject(world.now, conn, leg, Fault::Reset);
        world.run_for(ms(10));
        assert_eq!(world.read(conn, side).1, Next::Reset);
    }
}

#[test]
fn the_end_passes_through_a_middlebox_behind_its_bytes() {
    let line = Hop::both(&Line::with_latency(ms(5)).rate(10_000));
    let path = Path { near: line.clone(), boxes: Vec::new() }.through(Middlebox::bloated(), line);
    let mut world = World::new(path);
    let conn = world.connect();
    assert_eq!(world.write(conn, Side::Client, &[3; 5_000]), Ok(5_000));
    world.net.close(world.now, conn, Side::Client);
    world.run_for(ms(2_000));
    assert_eq!(world.read(conn, Side::Server), (vec![3; 5_000], Next::End));
}

fn through(middlebox: Middlebox) -> World {
    let line = Hop::both(&Line::with_latency(ms(5)));
    World::new(Path { near: line.clone(), boxes: Vec::new() }.through(middlebox, line))
}

#[test]
fn an_idle_connection_is_ended_in_order_on_both_sides() {
    let mut world = through(Middlebox::IdleCutOff(ms(60_000)));
    let conn = world.connect();
    world.run_for(ms(30_000));
    assert_eq!(world.write(conn, Side::Client, b"still here"), Ok(10));
    world.run_for(ms(59_000));
    assert_eq!(world.read(conn, Side::Server), (b"still here".to_vec(), Next::Blocked));
    assert_eq!(world.read(conn, Side::Client).1, Next::Blocked);
    world.run_for(ms(1_100));
    assert_eq!(world.read(conn, Side::Server).1, Next::End);
    assert_eq!(world.read(conn, Side::Client).1, Next::End);
    assert_eq!(world.write(conn, Side::Client, b"x"), Ok(1));
    world.run_for(ms(20));
    assert_eq!(world.write(conn, Side::Client, b"x"), Err(Broken));
}

#[test]
fn a_replayed_request_reaches_another_server_and_goes_away_again() {
    let other: SocketAddr = "10.0.0.3:8080".parse().unwrap();
    let (after, hold) = (ms(500), ms(2_000));
    let mut world = through(Middlebox::Replay { to: Some(other), after, hold });
    let second = world.net.host(other.ip());
    world.net.listen(second, other, Listener::Open);
    let conn = world.connect();
    let start = world.now;
    assert_eq!(world.write(conn, Side::Client, b"GET / HTTP/1.1\r\nSudp-Hello: x\r\n\r\n"), Ok(33));
    world.run_for(ms(1_000));
    let late = world.net.accept(other).unwrap();
    assert_eq!(world.read(late, Side::Server), (b"GET / HTTP/1.1\r\nSudp-Hello: x\r\n\r\n".to_vec(), Next::Blocked));
    let accept = Ready::Accept { host: second, listener: other };
    assert_eq!(world.seen.iter().find(|(_, ready)| *ready == accept).map(|(when, _)| *when - start), Some(ms(530)));
    assert_eq!(world.write(late, Side::Server, b"HTTP/1.1 101 x\r\n\r\n"), Ok(18));
    world.run_for(ms(2_000));
    assert_eq!(world.read(late, Side::Server).1, Next::End);
    assert_eq!(world.read(conn, Side::Server).0.len(), 33, "the first is untouched");
}

#[test]
fn a_poisoned_payload_resets_both_sides_and_does_not_pass() {
    let mut world = through(Middlebox::KillOn(b"XYZ".to_vec()));
    let conn = world.connect();
    assert_eq!(world.write(conn, Side::Client, b"\r\n\r\n\x82\x83\0\0\0\0XYZ"), Ok(13));
    world.run_for(ms(20));
    assert_eq!(world.read(conn, Side::Server), (vec![], Next::Reset));
    assert_eq!(world.read(conn, Side::Client).1, Next::Reset);
}

fn random_path(rng: &mut Rng) -> Path {
    let line = |rng: &mut Rng| {
        let line = Line::with_latency(ms(rng.below(80))).jitter(ms(rng.below(10))).capacity(2_000 << rng.below(8));
        let line = if rng.chance(1, 2) { line.rate(50_000 << rng.below(8)) } else { line };
        if rng.chance(1, 2) { line.chunk(32 << rng.below(11)) } else { line }
    };
    let mut path = Path { near: Hop { up: line(rng), down: line(rng) }, boxes: Vec::new() };
    for _ in 0..rng.below(3) {
        let middlebox = match rng.below(4) {
            0 => Middlebox::AgeLimit(ms(rng.below(20_000))),
            1 => Middlebox::IdleCutOff(ms(rng.below(5_000))),
            2 => Middlebox::strip_ours(),
            _ => Middlebox::bloated(),
        };
        path = path.through(middlebox, Hop { up: line(rng), down: line(rng) });
    }
    path
}

fn random_fault(rng: &mut Rng, now: Instant) -> Fault {
    let direction = if rng.chance(1, 2) { Direction::Up } else { Direction::Down };
    let side = if rng.chance(1, 2) { Side::Client } else { Side::Server };
    match rng.below(8) {
        0 => Fault::BlackHole,
        1 => Fault::Cut { direction, bytes: rng.below(60_000) },
        2 => Fault::HalfOpen(direction),
        3 => Fault::Late { side, news: rng.chance(1, 2).then(|| ms(rng.below(2_000))) },
        4 | 5 => Fault::Release,
        6 => Fault::Reset,
        _ => Fault::Stall { direction, until: now + ms(rng.below(3_000)) },
    }
}

/// Both sides write numbered bytes through whatever happens; what comes is always what was sent first.
fn torture(seed: u64) -> usize {
    let mut rng = Rng::new(&Seed::from(seed));
    let mut world = World::new(random_path(&mut rng));
    let conn = world.net.dial(world.now, world.client, world.door);
    let (mut sent, mut got) = ([0_usize; 2], [0_usize; 2]);
    let mut notified = 0;
    for _ in 0..200 {
        world.run_for(ms(rng.below(200)));
        notified += std::mem::take(&mut world.seen).len();
        world.net.accept(world.door);
        for (mine, other, side) in [(0, 1, Side::Client), (1, 0, Side::Server)] {
            let bytes: Vec<u8> = (sent[mine]..).take(3_000).map(|n| (n % 251).to_le_bytes()[0]).collect();
            let bytes = if sent[mine] == 0 { [b"\r\n\r\n", &bytes[4..]].concat() } else { bytes };
            sent[mine] += world.write(conn, side, &bytes).unwrap_or(0);
            let (bytes, _) = world.read(conn, side);
            let expected = (got[mine]..).map(|n| if n < 4 { b"\r\n\r\n"[n] } else { (n % 251).to_le_bytes()[0] });
            assert!(bytes.iter().zip(expected).all(|(byte, wanted)| *byte == wanted), "seed {seed}");
            got[mine] += bytes.len();
            assert!(got[mine] <= sent[other], "seed {seed}");
        }
        if rng.chance(1, 40) {
            let leg = if rng.chance(1, 2) { Leg::Near } else { Leg::Far };
            world.net.inject(world.now, conn, leg, random_fault(&mut rng, world.now));
        }
        if rng.chance(1, 100) {
            let until = Some(world.now + ms(rng.below(3_000)));
            world.net.outage(world.now, world.client, world.server, until);
        }
        assert!(world.net.pending() < 100, "seed {seed}: bells are not set twice");
    }
    assert!(notified < 20_000, "seed {seed}: nobody is called in vain");
    world.net.close(world.now, conn, Side::Client);
    world.net.close(world.now, conn, Side::Server);
    assert_eq!(world.net.connections(), []);
    world.run_for(ms(300_000));
    assert_eq!((world.net.pending(), world.seen.len()), (0, 0), "seed {seed}: a closed connection is silent");
    got[0] + got[1]
}

#[test]
fn whatever_happens_what_arrives_is_a_prefix_of_what_was_sent() {
    let total: usize = (0..40).map(torture).sum();
    assert!(total > 4_000_000, "{total}");
}

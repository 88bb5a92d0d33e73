use super::*;
use crate::proxy::frames::{Header, Piece, Walker};

const HEAD: &[u8] = b"GET /sudp HTTP/1.1\r\nHost: x\r\nSudp-Hello: abc\r\nUpgrade: websocket\r\nSUDP-Owner: me\r\n\r\n";
const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];
const SEC: u64 = 1_000_000_000;

fn stage(middlebox: &Middlebox) -> Stage {
    let mut stage = Stage::new(middlebox, &Seed::from(1));
    stage.start(0);
    stage
}

/// A frame as a client sends it (masked) or a server.
fn frame(last: bool, opcode: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Header::new(last, opcode, mask, payload.len() as u64).bytes().to_vec();
    bytes.extend(payload.iter().zip(mask.unwrap_or([0; 4]).iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn taken(stage: &mut Stage, direction: Direction) -> Vec<u8> {
    stage.take_waiting(direction).map(Vec::from).unwrap_or_default()
}

/// Gives bytes to a stage in chunks of all kinds of sizes, and takes what comes out on that side.
fn through(stage: &mut Stage, direction: Direction, bytes: &[u8], chunk: usize) -> Vec<u8> {
    for part in bytes.chunks(chunk) {
        assert_eq!(stage.pass(0, direction, part), Verdict::Go);
    }
    taken(stage, direction)
}

#[derive(Debug, PartialEq)]
struct Frame {
    last: bool,
    opcode: u8,
    masked: bool,
    payload: Vec<u8>,
}

/// Reads a stream of whole frames back, unmasked.
fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let (mut walker, mut found, mut masks) = (Walker::at_frames(), Vec::<Frame>::new(), Vec::new());
    while let Some(piece) = walker.next(&mut bytes) {
        match piece {
            Piece::Head(_) => unreachable!("no head here"),
            Piece::Frame(it) => {
                let (last, opcode, masked) = (it.last, it.opcode, it.mask.is_some());
                found.push(Frame { last, opcode, masked, payload: Vec::new() });
                masks.push(it.mask.unwrap_or([0; 4]));
            }
            Piece::Body(body) => found.last_mut().unwrap().payload.extend(body),
        }
    }
    assert!(walker.between_frames());
    for (frame, mask) in found.iter_mut().zip(masks) {
        frame.payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
    found
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251).to_le_bytes()[0]).collect()
}

#[test]
fn headers_survive_writing_and_reading_at_every_length() {
    for len in [0, 1, 125, 126, 65_535, 65_536, u64::MAX >> 1] {
        for mask in [None, Some(MASK)] {
            let header = Header::new(true, 2, mask, len);
            let mut walker = Walker::at_frames();
            let mut found = None;
            for byte in header.bytes() {
                assert_eq!(found, None, "not before the last byte");
                let mut one = std::slice::from_ref(byte);
                found = walker.next(&mut one);
            }
            assert_eq!(found, Some(Piece::Frame(header)));
        }
    }
}

#[test]
fn reframing_keeps_payloads_and_cuts_them_at_1_kib() {
    let messages = [pattern(10), pattern(1_024), pattern(1_025), pattern(70_000), Vec::new()];
    let mut input = HEAD.to_vec();
    for message in &messages {
        input.extend(frame(true, 2, Some(MASK), message));
        input.extend(frame(true, 9, Some(MASK), b"ping"));
    }
    for chunk in [1, 7, 1_000, usize::MAX] {
        let output = through(&mut stage(&Middlebox::Reframe(1_024)), Direction::Up, &input, chunk);
        let found = frames(&output[HEAD.len()..]);
        assert!(output.starts_with(HEAD));
        assert!(found.iter().all(|it| it.payload.len() <= 1_024 && it.masked));
        let mut rebuilt: Vec<Vec<u8>> = Vec::new();
        for it in found.iter().filter(|it| it.opcode != 9) {
            if it.opcode == 2 {
                rebuilt.push(Vec::new());
            }
            rebuilt.last_mut().unwrap().extend(&it.payload);
        }
        assert_eq!(rebuilt, messages);
        assert_eq!(found.iter().filter(|it| it.opcode == 9 && it.payload == b"ping").count(), 5);
        assert_eq!(found.iter().filter(|it| it.last && it.opcode != 9).count(), 5, "one end per message");
        assert_eq!(found.len(), 5 + 1 + 1 + 2 + 69 + 1);
    }
}

#[test]
fn reframing_a_fragment_does_not_end_its_message() {
    let mut input = b"\r\n\r\n".to_vec();
    input.extend(frame(false, 2, None, &pattern(1_500)));
    input.extend(frame(true, 0, None, &pattern(1_500)));
    let output = through(&mut stage(&Middlebox::Reframe(1_024)), Direction::Down, &input, 100);
    let found: Vec<_> = frames(&output[4..]).iter().map(|it| (it.last, it.opcode, it.payload.len())).collect();
    assert_eq!(found, [(false, 2, 1_024), (false, 0, 476), (false, 0, 1_024), (true, 0, 476)]);
}

#[test]
fn stripping_takes_our_headers_and_nothing_else() {
    for chunk in [1, 5, usize::MAX] {
        let input = [HEAD, b"Sudp-Body: stays"].concat();
        let output = through(&mut stage(&Middlebox::strip_ours()), Direction::Up, &input, chunk);
        let expected = "GET /sudp HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\nSudp-Body: stays";
        assert_eq!(String::from_utf8(output).unwrap(), expected);
        assert_eq!(through(&mut stage(&Middlebox::strip_ours()), Direction::Down, HEAD, chunk), HEAD);
    }
}

#[test]
fn an_endless_head_is_passed_on_and_not_kept() {
    let mut stage = stage(&Middlebox::strip_ours());
    let output = through(&mut stage, Direction::Up, &[b'x'; 200_000], 1_000);
    assert_eq!(output.len(), 200_000);
}

#[test]
fn poison_is_found_behind_the_mask_and_across_frames_of_any_chunking() {
    let poison = b"ababac";
    let mut input = HEAD.to_vec();
    input.extend(frame(false, 2, Some(MASK), b"..abab"));
    input.extend(frame(true, 0, Some([9, 8, 7, 6]), b"abac and more"));
    for chunk in [1, 3, usize::MAX] {
        let mut stage = stage(&Middlebox::KillOn(poison.to_vec()));
        let verdicts: Vec<_> = input.chunks(chunk).map(|part| stage.pass(0, Direction::Up, part)).collect();
        assert_eq!(verdicts.iter().filter(|it| **it == Verdict::Kill).count(), 1);
        let before = taken(&mut stage, Direction::Up);
        assert!(!before.windows(4).any(|four| four == &frame(true, 0, Some([9, 8, 7, 6]), b"abac")[6..]));
    }
    let mut harmless = stage(&Middlebox::KillOn(poison.to_vec()));
    let other = [HEAD, poison, &frame(true, 2, Some(MASK), b"ababab ac")].concat();
    assert_eq!(through(&mut harmless, Direction::Up, &other, 1).len(), other.len());
    let down = [b"\r\n\r\n", &frame(true, 2, None, poison)[..]].concat();
    assert_eq!(through(&mut harmless, Direction::Down, &down, 1), down);
}

#[test]
fn pings_are_answered_by_the_proxy_and_pongs_swallowed() {
    let mut proxy = stage(&Middlebox::AnswerPings(Duration::from_secs(10)));
    let answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
    assert_eq!(through(&mut proxy, Direction::Up, HEAD, 9), HEAD);
    assert_eq!(through(&mut proxy, Direction::Down, answer, 9), answer);
    let data = frame(true, 2, Some(MASK), b"data");
    let input = [&data[..], &frame(true, 9, Some(MASK), b"are you there"), &frame(true, 10, Some(MASK), b""), &data];
    assert_eq!(through(&mut proxy, Direction::Up, &input.concat(), 3), [&data[..], &data].concat());
    assert_eq!(taken(&mut proxy, Direction::Down), frame(true, 10, None, b"are you there"));

    assert_eq!(through(&mut proxy, Direction::Down, &frame(true, 9, None, b"?"), 3), b"");
    let pong = frames(&taken(&mut proxy, Direction::Up));
    assert_eq!(pong, [Frame { last: true, opcode: 10, masked: true, payload: b"?".to_vec() }]);
}

#[test]
fn a_proxy_sends_its_pings_only_between_frames() {
    let mut proxy = stage(&Middlebox::AnswerPings(Duration::from_secs(10)));
    through(&mut proxy, Direction::Down, b"HTTP/1.1 101 x\r\n\r\n", 99);
    let message = frame(true, 2, None, &pattern(300));
    assert_eq!(proxy.pass(0, Direction::Down, &message[..100]), Verdict::Go);
    assert_eq!(proxy.next_at(), Some(10 * SEC));
    assert_eq!(proxy.handle_timeout(10 * SEC), Verdict::Go);
    assert_eq!(proxy.next_at(), Some(20 * SEC));
    assert_eq!(taken(&mut proxy, Direction::Down), message[..100]);
    assert_eq!(taken(&mut proxy, Direction::Up), b"", "no frames before the head is over");
    assert_eq!(proxy.pass(0, Direction::Down, &message[100..]), Verdict::Go);
    let ping = frame(true, 9, None, b"proxy");
    assert_eq!(taken(&mut proxy, Direction::Down), [&message[100..], &ping].concat());
}

#[test]
fn ages_and_idleness_end_a_connection_at_their_time() {
    let mut old = stage(&Middlebox::AgeLimit(Duration::from_secs(60)));
    assert_eq!((old.next_at(), old.handle_timeout(60 * SEC - 1)), (Some(60 * SEC), Verdict::Go));
    assert_eq!(old.pass(59 * SEC, Direction::Up, b"busy"), Verdict::Go);
    assert_eq!(old.handle_timeout(60 * SEC), Verdict::Close);

    let mut idle = stage(&Middlebox::IdleCutOff(Duration::from_secs(60)));
    assert_eq!(idle.pass(59 * SEC, Direction::Down, b"x"), Verdict::Go);
    assert_eq!(idle.handle_timeout(60 * SEC), Verdict::Go);
    assert_eq!(idle.next_at(), Some(119 * SEC));
    assert_eq!(idle.handle_timeout(119 * SEC), Verdict::Close);
}

#[test]
fn a_request_is_repeated_once_and_exactly() {
    let (after, hold) = (Duration::from_secs(1), Duration::from_secs(2));
    let mut proxy = stage(&Middlebox::Replay { to: None, after, hold });
    let (first, second) = HEAD.split_at(30);
    assert_eq!(proxy.pass(0, Direction::Up, first), Verdict::Go);
    let Verdict::Repeat(repeat) = proxy.pass(0, Direction::Up, &[second, b"frames"].concat()) else {
        panic!("the head is complete")
    };
    assert_eq!(repeat, Repeat { to: None, after, hold, request: HEAD.to_vec() });
    assert_eq!(proxy.pass(0, Direction::Up, HEAD), Verdict::Go);
}

#[test]
fn an_ordinary_middlebox_holds_64_kib_and_a_bloated_one_4_mib() {
    for (middlebox, limit) in [(Middlebox::AgeLimit(Duration::MAX), 64 << 10), (Middlebox::bloated(), 4 << 20)] {
        let mut stage = stage(&middlebox);
        assert_eq!(stage.room(Direction::Up), limit);
        assert_eq!(stage.pass(0, Direction::Up, &[0; 1_000]), Verdict::Go);
        assert_eq!((stage.room(Direction::Up), stage.room(Direction::Down)), (limit - 1_000, limit));
        stage.end(Direction::Up);
        assert_eq!((stage.room(Direction::Up), stage.is_finished(Direction::Up)), (0, false));
        taken(&mut stage, Direction::Up);
        assert!(stage.is_finished(Direction::Up));
    }
}

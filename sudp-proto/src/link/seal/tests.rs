use proptest::prelude::*;

use super::*;
use crate::rng::Rng;
use crate::wire::is_sealed;

const SESSION: SessionId = SessionId([5; 16]);
const SECRET: [u8; 32] = [6; 32];

fn keys(number: u64) -> Keypair {
    Keypair::draw(&mut Rng::new(&Seed::from(number)))
}

fn client(server: &Keypair) -> ClientSeal {
    ClientSeal { server: server.public(), key: keys(1) }
}

fn server() -> ServerSeal {
    ServerSeal { key: keys(2), required: false }
}

fn finish(responder: Responder, welcome: &[u8]) -> (Bytes, Sealer) {
    let (raw, sealer) = responder.seal(welcome);
    (raw, sealer.expect("what seals the link"))
}

/// Both ends of a link that makes a session.
fn founded() -> (Sealer, Sealer) {
    let server = server();
    let (initiator, hello) = client(&server.key).found(b"hello", Seed::from(3));
    let (responder, _) = server.open(&hello, Seed::from(4)).expect("the server's own key");
    let (welcome, theirs) = finish(responder, b"welcome");
    let (_, ours) = initiator.finish(&welcome).expect("the welcome of this hello");
    (ours, theirs)
}

fn sealed(by: &mut Sealer, message: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    by.seal(&[message], &mut out).expect("a fresh link");
    assert_eq!(out.len(), Sealer::sealed_len(message.len()));
    out
}

fn opened(by: &mut Sealer, mut message: BytesMut) -> Result<Vec<u8>, SealFault> {
    by.open(&mut message).map(|()| message.to_vec())
}

#[test]
fn a_session_is_made_by_who_knows_the_servers_key_and_the_server_learns_the_clients() {
    let server = server();
    let (initiator, hello) = client(&server.key).found(b"hello", Seed::from(3));
    assert!(is_sealed(&hello) && !hello.windows(5).any(|part| part == b"hello"));

    let (responder, inside) = server.open(&hello, Seed::from(4)).expect("the server's own key");
    assert_eq!((&inside[..], responder.client()), (&b"hello"[..], Some(keys(1).public().0)));
    let (welcome, mut theirs) = finish(responder, b"welcome");
    let (inside, mut ours) = initiator.finish(&welcome).expect("the welcome of this hello");
    assert_eq!(&inside[..], b"welcome");

    let up = sealed(&mut ours, b"up");
    assert_eq!(opened(&mut theirs, up).as_deref(), Ok(&b"up"[..]));
    let down = sealed(&mut theirs, b"down");
    assert_eq!(opened(&mut ours, down).as_deref(), Ok(&b"down"[..]));
}

#[test]
fn a_server_with_another_key_reads_nothing() {
    let (_, hello) = client(&keys(9)).found(b"hello", Seed::from(3));
    assert_eq!(server().open(&hello, Seed::from(4)).err(), Some(SealFault::Changed));
}

#[test]
fn a_link_joins_by_the_secret_of_its_session_and_no_other() {
    let seal = client(&server().key);
    let (initiator, hello) = seal.join(SESSION, &SECRET, b"hello", Seed::from(3));
    assert!(matches!(SealedHello::read(&hello), Some(SealedHello::Joining(SESSION, _))));

    let (responder, inside) = Responder::join(&SECRET, &hello, Seed::from(4)).expect("the secret of the session");
    assert_eq!((&inside[..], responder.client()), (&b"hello"[..], None));
    let (welcome, mut theirs) = finish(responder, b"welcome");
    let (_, mut ours) = initiator.finish(&welcome).expect("the welcome of this hello");
    let up = sealed(&mut ours, b"up");
    assert_eq!(opened(&mut theirs, up).as_deref(), Ok(&b"up"[..]));

    assert!(Responder::join(&[7; 32], &hello, Seed::from(4)).is_err(), "another secret");
    let mut moved = hello.to_vec();
    moved[1] ^= 1;
    assert!(Responder::join(&SECRET, &moved, Seed::from(4)).is_err(), "under the name of another session");
}

#[test]
fn a_hello_of_one_kind_is_not_taken_for_the_other() {
    let (server, seal) = (server(), client(&server().key));
    let (_, founding) = seal.found(b"hello", Seed::from(3));
    let (_, joining) = seal.join(SESSION, &SECRET, b"hello", Seed::from(3));
    assert!(
        server.open(&joining, Seed::from(4)).is_err() && Responder::join(&SECRET, &founding, Seed::from(4)).is_err()
    );
    let as_joining = [&[SEALED_JOINING], &SESSION.0[..], &founding[1..]].concat();
    assert!(Responder::join(&SECRET, &as_joining, Seed::from(4)).is_err());
    let as_founding = [&[SEALED_FOUNDING], &joining[17..]].concat();
    assert!(server.open(&as_founding, Seed::from(4)).is_err());
}

#[test]
fn no_end_takes_its_own_words_for_those_of_the_other() {
    let (mut ours, mut theirs) = founded();
    let (up, down) = (sealed(&mut ours, b"word"), sealed(&mut theirs, b"word"));
    assert_ne!(up, down);
    assert_eq!(opened(&mut ours, up), Err(SealFault::Changed));
    assert_eq!(opened(&mut theirs, down), Err(SealFault::Changed));
}

#[test]
fn every_bit_of_a_hello_and_of_a_welcome_counts() {
    let server = server();
    let (_, hello) = client(&server.key).found(b"hello", Seed::from(3));
    for bit in 0..hello.len() * 8 {
        let mut bent = hello.to_vec();
        bent[bit / 8] ^= 1 << (bit % 8);
        // X25519 ignores the highest bit of a point, but the transcript does not.
        assert!(server.open(&bent, Seed::from(4)).is_err(), "bit {bit}");
    }
    let (responder, _) = server.open(&hello, Seed::from(4)).expect("the hello as it was");
    let (welcome, _) = finish(responder, b"welcome");
    for bit in 0..welcome.len() * 8 {
        let (initiator, _) = client(&server.key).found(b"hello", Seed::from(3));
        let mut bent = welcome.to_vec();
        bent[bit / 8] ^= 1 << (bit % 8);
        // The kind of a welcome says nothing that the hello did not.
        let same = bit == 0 && is_sealed(&bent);
        assert!(same || initiator.finish(&bent).is_err(), "bit {bit}");
    }
}

#[test]
fn a_hello_said_again_gives_another_link_that_only_the_client_could_speak_on() {
    let server = server();
    let (initiator, hello) = client(&server.key).found(b"hello", Seed::from(3));
    let answer = |seed: u64| server.open(&hello, Seed::from(seed)).expect("the same hello").0;
    let ((first, _), (again, mut theirs)) = (finish(answer(4), b"secret"), finish(answer(5), b"secret"));
    assert_ne!(first, again);
    let (_, mut ours) = initiator.finish(&first).expect("the first answer");
    let word = sealed(&mut ours, b"word");
    assert_eq!(opened(&mut theirs, word), Err(SealFault::Changed), "what was recorded opens on no other link");
}

#[test]
fn what_was_cut_off_left_out_repeated_or_moved_does_not_open() {
    let three = |ours: &mut Sealer| [b"one", b"two", b"six"].map(|word| sealed(ours, word));
    let (mut ours, mut theirs) = founded();
    let [one, two, six] = three(&mut ours);
    assert_eq!(opened(&mut theirs, one.clone()).as_deref(), Ok(&b"one"[..]));
    assert_eq!(opened(&mut theirs, one), Err(SealFault::Changed), "repeated");
    let _ = (two, six);

    let (mut ours, mut theirs) = founded();
    let [_, two, _] = three(&mut ours);
    assert_eq!(opened(&mut theirs, two), Err(SealFault::Changed), "one was left out");

    let (mut ours, mut theirs) = founded();
    let [one, _, six] = three(&mut ours);
    assert!(opened(&mut theirs, one).is_ok());
    assert_eq!(opened(&mut theirs, six), Err(SealFault::Changed), "moved before its time");

    for length in 0..19 {
        let (mut ours, mut theirs) = founded();
        let mut one = sealed(&mut ours, b"one");
        one.truncate(length);
        assert_eq!(opened(&mut theirs, one), Err(SealFault::Changed), "cut to {length}");
    }

    let (mut ours, mut theirs) = founded();
    let [mut one, two, _] = three(&mut ours);
    one.extend_from_slice(&two);
    assert_eq!(opened(&mut theirs, one), Err(SealFault::Changed), "two in one");
}

#[test]
fn the_pieces_of_a_long_message_stand_and_fall_together() {
    let long = vec![7; 2 * PIECE + 5];
    let (mut ours, mut theirs) = founded();
    let message = sealed(&mut ours, &long);
    assert_eq!(opened(&mut theirs, message.clone()), Ok(long.clone()));

    for (from, to) in [(0, PIECE + TAG), (0, 2 * (PIECE + TAG)), (PIECE + TAG, message.len())] {
        let (mut ours, mut theirs) = founded();
        let mut part = sealed(&mut ours, &long);
        part = BytesMut::from(&part[from..to]);
        assert_eq!(opened(&mut theirs, part), Err(SealFault::Changed), "{from}..{to} alone");
    }
}

#[test]
fn keys_change_on_the_way_and_nobody_notices() {
    let (mut ours, mut theirs) = founded();
    let before = sealed(&mut ours, b"before");
    assert!(opened(&mut theirs, before).is_ok());
    for number in 1..REKEY + 3 {
        let message = sealed(&mut ours, b"");
        assert!(opened(&mut theirs, message).is_ok(), "number {number}");
    }
    // With the first key, the numbers behind the change would not open.
    let (_, mut stayed) = founded();
    stayed.skip_to(REKEY + 1);
    let (mut moved, _) = founded();
    moved.skip_to(REKEY);
    let _ = sealed(&mut moved, b"with the second key");
    let second = sealed(&mut moved, b"with the second key");
    assert_eq!(opened(&mut stayed, second), Err(SealFault::Changed));
}

#[test]
fn a_link_that_has_used_up_its_numbers_seals_and_opens_no_more() {
    let (mut ours, mut theirs) = founded();
    ours.skip_to(PIECES - 1);
    theirs.skip_to(PIECES - 1);
    let last = sealed(&mut ours, b"last");
    assert!(opened(&mut theirs, last.clone()).is_ok());
    assert_eq!(ours.seal(&[b"one more"], &mut BytesMut::new()), Err(SealFault::Spent));
    assert_eq!(opened(&mut theirs, last), Err(SealFault::Spent));
}

#[test]
fn keys_are_read_as_they_are_written_and_never_shown() {
    let key = keys(1);
    let text = key.private_text();
    let back: Keypair = text.parse().expect("what was written");
    assert_eq!((back.public(), text.len()), (key.public(), 43));
    assert_eq!(key.public().to_string().parse(), Ok(key.public()));
    let shown = format!("{key:?}");
    assert!(!shown.contains(text.as_str()) && !shown.contains(&format!("{:?}", key.private)), "{shown}");
    for bad in ["", "AAAA", "!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!", &format!("{}A", *text)] {
        assert_eq!(bad.parse::<PublicKey>(), Err(KeyError), "{bad:?}");
    }
}

#[test]
fn a_point_that_gives_everybody_the_same_secret_is_refused() {
    let server = server();
    let (_, hello) = client(&server.key).found(b"hello", Seed::from(3));
    let mut bent = hello.to_vec();
    bent[1..33].fill(0);
    assert!(server.open(&bent, Seed::from(4)).is_err());
}

/// Everything of two links that is fixed by their keys, as `tests/vectors/sealed.txt` has it.
fn vectors() -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let ephemeral = |seed: u64| Rng::new(&Seed::from(seed)).array::<32>();
    let (server, seal) = (keys(2), client(&keys(2)));
    let mut lines = Vec::new();
    let mut say = |key: &str, bytes: &[u8]| lines.push(format!("{key}: {}", hex(bytes)));
    let link = |say: &mut dyn FnMut(&str, &[u8]), founding: bool| {
        let ((initiator, hello), inside) = if founding {
            (seal.found(b"hello", Seed::from(3)), &b"hello"[..])
        } else {
            (seal.join(SESSION, &SECRET, b"another hello", Seed::from(3)), &b"another hello"[..])
        };
        let read = match founding {
            true => ServerSeal { key: server.clone(), required: true }.open(&hello, Seed::from(4)),
            false => Responder::join(&SECRET, &hello, Seed::from(4)),
        };
        let (responder, read) = read.expect("the right key");
        assert_eq!(read, inside);
        let (welcome, mut theirs) = finish(responder, b"welcome");
        let (read, mut ours) = initiator.finish(&welcome).expect("the right key");
        assert_eq!(&read[..], b"welcome");
        say("hello-inside", inside);
        say("hello", &hello);
        say("welcome-inside", b"welcome");
        say("welcome", &welcome);
        say("up-0", &sealed(&mut ours, b"first"));
        say("up-1", &sealed(&mut ours, b""));
        say("down-0", &sealed(&mut theirs, b"first"));
        (ours, theirs)
    };
    say("client-private", &*keys(1).private);
    say("client-public", &keys(1).public().0);
    say("server-private", &*server.private);
    say("server-public", &server.public().0);
    say("client-ephemeral-private", &ephemeral(3));
    say("server-ephemeral-private", &ephemeral(4));
    let (mut ours, _) = link(&mut say, true);
    say("session", &SESSION.0);
    say("secret", &SECRET);
    link(&mut say, false);
    // Two pieces: 65,519 bytes of zeros, and one; then the first piece with the second key.
    let long = sealed(&mut ours, &[0; PIECE + 1]);
    say("long-2-and-3-end-of-first", &long[PIECE..PIECE + TAG]);
    say("long-2-and-3-second", &long[PIECE + TAG..]);
    for _ in 4..REKEY {
        sealed(&mut ours, b"");
    }
    say("up-1048576", &sealed(&mut ours, b"with the next key"));
    lines.join("\n")
}

#[test]
fn the_vectors_hold() {
    let file = include_str!("../../../../tests/vectors/sealed.txt");
    let said: Vec<&str> = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(said.join("\n"), vectors(), "tests/vectors/sealed.txt");
}

proptest! {
    #[test]
    fn whatever_is_sealed_in_whatever_parts_opens(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..5),
        long in prop_oneof![Just(0), PIECE - 2..PIECE + 3, 2 * PIECE - 1..2 * PIECE + 2],
    ) {
        let (mut ours, mut theirs) = founded();
        let long = vec![3; long];
        let mut slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        slices.push(&long);
        for _ in 0..2 {
            let mut out = BytesMut::from(&b"before"[..]);
            ours.seal(&slices, &mut out).expect("a fresh link");
            prop_assert_eq!(&out[..6], b"before");
            let message = out.split_off(6);
            prop_assert_eq!(message.len(), Sealer::sealed_len(slices.concat().len()));
            prop_assert_eq!(opened(&mut theirs, message), Ok(slices.concat()));
        }
    }

    #[test]
    fn no_bent_message_opens(message in prop::collection::vec(any::<u8>(), 0..100), at: prop::sample::Index, bit in 0..8_u8) {
        let (mut ours, mut theirs) = founded();
        let mut bent = sealed(&mut ours, &message);
        let at = at.index(bent.len());
        bent[at] ^= 1 << bit;
        prop_assert_eq!(opened(&mut theirs, bent), Err(SealFault::Changed));
    }

    #[test]
    fn no_bytes_are_a_hello_by_chance(kind in 2..4_u8, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let raw = [&[kind], &bytes[..]].concat();
        prop_assert!(server().open(&raw, Seed::from(4)).is_err() && Responder::join(&SECRET, &raw, Seed::from(4)).is_err());
    }
}

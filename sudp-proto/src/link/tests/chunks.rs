//! How the input is cut never matters: the same bytes come out, and the same events.

use proptest::prelude::*;

use super::*;
use crate::rng::Rng;

/// Something an end does.
#[derive(Clone, Debug)]
enum Op {
    Send(Vec<u8>),
    Ping(Vec<u8>),
    Fragments(Vec<Vec<u8>>),
    Close(u16),
    Garbage(Vec<u8>),
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        6 => bytes().prop_map(Op::Send),
        3 => prop::collection::vec(any::<u8>(), 0..=125).prop_map(Op::Ping),
        3 => prop::collection::vec(bytes(), 1..5).prop_map(Op::Fragments),
        1 => (990_u16..1020).prop_map(Op::Close),
        1 => prop::collection::vec(any::<u8>(), 1..20).prop_map(Op::Garbage),
    ]
}

/// The bytes of some operations, as a client or a server writes them.
fn written(ops: &[Op], role: Role) -> Vec<u8> {
    let mut rng = Rng::new(&Seed::from(9));
    let mut output = BytesMut::new();
    for op in ops {
        match op {
            Op::Send(bytes) => put(0x82, bytes, role, &mut rng, &mut output),
            Op::Ping(bytes) => put(0x89, bytes, role, &mut rng, &mut output),
            Op::Close(code) => put(0x88, &code.to_be_bytes(), role, &mut rng, &mut output),
            Op::Garbage(bytes) => output.extend_from_slice(bytes),
            Op::Fragments(parts) => {
                for (at, part) in parts.iter().enumerate() {
                    let opcode = if at == 0 { 0x02 } else { 0x00 };
                    let last = if at + 1 == parts.len() { 0x80 } else { 0x00 };
                    put(opcode | last, part, role, &mut rng, &mut output);
                }
            }
        }
    }
    output.to_vec()
}

fn put(first: u8, body: &[u8], role: Role, rng: &mut Rng, output: &mut BytesMut) {
    let mask_bit = if role == Role::Client { 0x80 } else { 0 };
    output.extend_from_slice(&[first]);
    match u8::try_from(body.len()) {
        Ok(short @ 0..126) => output.extend_from_slice(&[short | mask_bit]),
        Ok(_) | Err(_) => {
            output.extend_from_slice(&[126 | mask_bit]);
            output.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
        }
    }
    let key: [u8; 4] = if role == Role::Client { rng.array() } else { [0; 4] };
    if role == Role::Client {
        output.extend_from_slice(&key);
    }
    output.extend(body.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
}

/// Feeds bytes cut at some places to a link whose caller echoes every message.
fn echoed(mut link: Link, bytes: &[u8], cuts: &[usize]) -> (String, Vec<u8>) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let (mut events, mut output, mut input) = (Vec::new(), Vec::new(), BytesMut::new());
    for cut in cuts.windows(2) {
        input.extend_from_slice(&bytes[cut[0]..cut[1]]);
        link.handle_input(epoch(), &mut input);
        while let Some(event) = link.poll_event() {
            match &event {
                LinkEvent::Request(_) => link.accept(epoch()).unwrap(),
                LinkEvent::Message(bytes) => link.send(&[bytes]).unwrap(),
                LinkEvent::Ended(_) | LinkEvent::Open { .. } | LinkEvent::Stranger(_) | LinkEvent::Text(_) => {}
            }
            events.push(format!("{event:?}"));
        }
        output.extend_from_slice(link.output());
        let written = link.output().len();
        link.advance_output(written);
    }
    (events.join("\n"), output)
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(any::<usize>(), 0..30)
}

proptest! {
    #[test]
    fn d1_frames_mean_the_same_however_they_are_cut(ops in prop::collection::vec(op(), 0..12), cuts in cuts()) {
        for role in [Role::Server, Role::Client] {
            let link = || if role == Role::Server { pair().0 } else { pair().1 };
            let bytes = written(&ops, role);
            prop_assert_eq!(echoed(link(), &bytes, &cuts), echoed(link(), &bytes, &[]));
        }
    }

    #[test]
    fn d2_heads_mean_the_same_however_they_are_cut(
        noise in prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 1..40)],
        at in any::<usize>(),
        flip in any::<u8>(),
        cuts in cuts(),
    ) {
        let mut request = client().output().to_vec();
        let at = at % request.len();
        request[at] ^= flip;
        request.extend(noise);
        prop_assert_eq!(held(server(), &request, &cuts), held(server(), &request, &[]));

        let mut answer = answer();
        let at = at % answer.len();
        answer[at] ^= flip;
        prop_assert_eq!(echoed(client(), &answer, &cuts), echoed(client(), &answer, &[]));
    }
}

/// What a link says when nobody looks before everything has arrived.
fn held(mut link: Link, bytes: &[u8], cuts: &[usize]) -> (String, Vec<u8>) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let mut input = BytesMut::new();
    for cut in cuts.windows(2) {
        input.extend_from_slice(&bytes[cut[0]..cut[1]]);
        link.handle_input(epoch(), &mut input);
    }
    let events: Vec<String> = std::iter::from_fn(|| link.poll_event()).map(|event| format!("{event:?}")).collect();
    (events.join("\n"), link.output().to_vec())
}

/// A server's answer to the client of all these tests, and one message.
fn answer() -> Vec<u8> {
    let mut server = server();
    let mut answer = feed(&mut server, client().output(), usize::MAX, true).output;
    server.send(&[b"message"]).unwrap();
    answer.extend_from_slice(server.output());
    answer
}

#[test]
fn the_same_seed_writes_the_same_bytes_and_another_others() {
    let write = |seed: u64| {
        let mut link = Link::client(epoch(), upgrade(), LinkLimits::default(), Seed::from(seed));
        let request = link.output().to_vec();
        let mut server = server();
        let answer = feed(&mut server, &request, usize::MAX, true).output;
        link.advance_output(request.len());
        feed(&mut link, &answer, usize::MAX, false);
        link.send(&[b"message"]).unwrap();
        (request, link.output().to_vec())
    };
    assert_eq!(write(1), write(1));
    let ((request, frame), (other_request, other_frame)) = (write(1), write(2));
    assert!(request != other_request && frame != other_frame);
}

#[test]
fn every_frame_of_a_client_has_a_fresh_mask() {
    let (mut client, _) = pair();
    let mut masks = std::collections::BTreeSet::new();
    for _ in 0..1_000 {
        client.send(&[b""]).unwrap();
        masks.insert(client.output()[2..6].to_vec());
        client.advance_output(6);
    }
    assert_eq!(masks.len(), 1_000);
}

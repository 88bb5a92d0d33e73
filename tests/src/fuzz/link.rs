//! Links against arbitrary bytes: both halves of the upgrade, and frames in both roles.
//!
//! The first byte of the data chooses how the rest is cut. Every input is also passed whole, and both
//! ways must come to the same; what a link holds and writes is bounded by what it was given.

use bytes::BytesMut;
use sudp_proto::Seed;
use sudp_proto::link::{Answer, ClientUpgrade, Link, LinkEvent, LinkLimits, Scheme, ServerExpect};

use crate::clock::epoch;

/// A server reads a request, and what follows it.
pub fn upgrade_server(data: &[u8]) {
    check(data, server, Patience::Held);
}

/// A client reads an answer, and what follows it.
pub fn upgrade_client(data: &[u8]) {
    check(data, client, Patience::Polled);
}

/// An open link reads frames: a server's if the second byte is even, else a client's.
pub fn frames(data: &[u8]) {
    let Some((cut, rest)) = data.split_first() else { return };
    let Some((role, rest)) = rest.split_first() else { return };
    let data = [&[*cut], rest].concat();
    match role % 2 {
        0 => check(&data, || open().1, Patience::Polled),
        _ => check(&data, || open().0, Patience::Polled),
    }
}

/// When events are taken.
#[derive(Clone, Copy, Debug)]
enum Patience {
    /// After every piece of input.
    Polled,
    /// After the last: a request is answered when all is there, or its answer would overtake the rest.
    Held,
}

/// What came of some input.
#[derive(Debug, Default, Eq, PartialEq)]
struct Outcome {
    events: Vec<String>,
    messages: usize,
    output: Vec<u8>,
}

fn check(data: &[u8], make: impl Fn() -> Link, patience: Patience) {
    let Some((cut, data)) = data.split_first() else { return };
    let cut = usize::from(*cut) + 1;
    let pieces = run(make(), data, cut, patience);
    let whole = run(make(), data, data.len().max(1), patience);
    assert_eq!(pieces, whole, "cut into {cut}");
    assert!(whole.messages <= data.len(), "{} bytes of messages", whole.messages);
    // A message is echoed with at most eight bytes of head more than it came with, and the upgrade has two short texts.
    assert!(whole.output.len() <= 1_024 + 5 * data.len(), "{} bytes written", whole.output.len());
    let ends = whole.events.iter().filter(|event| event.starts_with("Ended")).count();
    assert!(ends <= 1 && whole.events.iter().rev().skip(1).all(|event| !event.starts_with("Ended")));
}

fn run(mut link: Link, data: &[u8], piece: usize, patience: Patience) -> Outcome {
    let mut outcome = Outcome::default();
    let mut input = BytesMut::new();
    for piece in data.chunks(piece) {
        input.extend_from_slice(piece);
        link.handle_input(epoch(), &mut input);
        if matches!(patience, Patience::Polled) {
            drain(&mut link, &mut input, &mut outcome);
        }
        let limits = LinkLimits::default();
        assert!(input.len() <= piece.len() + limits.message + limits.head, "{} bytes wait", input.len());
        assert!(link.missing(&input) <= limits.message + 14);
        assert!(link.held() <= (128 << 10) + 3 * data.len(), "{} bytes are held", link.held());
    }
    drain(&mut link, &mut input, &mut outcome);
    end(link, &mut outcome);
    outcome
}

/// Takes what a link has to say, until nothing moves any more.
fn drain(link: &mut Link, input: &mut BytesMut, outcome: &mut Outcome) {
    for _ in 0..input.len() + 2 {
        let before = input.len();
        while let Some(event) = link.poll_event() {
            answer(link, &event, outcome);
        }
        link.handle_input(epoch(), input);
        if input.len() == before {
            break;
        }
    }
    outcome.output.extend_from_slice(link.output());
    let written = link.output().len();
    link.advance_output(written);
}

fn answer(link: &mut Link, event: &LinkEvent, outcome: &mut Outcome) {
    match event {
        LinkEvent::Message(bytes) => {
            outcome.messages += bytes.len();
            // Not open any more if the stream was closed in between.
            let _ = link.send(&[bytes]);
        }
        LinkEvent::Request(_) => link.accept(epoch()).expect("a request waits for an answer"),
        LinkEvent::Stranger(_) => link.refuse(epoch(), &Answer::not_found()).expect("a stranger waits for an answer"),
        LinkEvent::Ended(_) | LinkEvent::Open { .. } | LinkEvent::Text(_) | _ => {}
    }
    outcome.events.push(format!("{event:?}"));
}

/// Ends the stream, lets all deadlines pass, and sees that nothing is left.
fn end(mut link: Link, outcome: &mut Outcome) {
    link.handle_end(epoch());
    drain(&mut link, &mut BytesMut::new(), outcome);
    for _ in 0..2 {
        let Some(at) = link.poll_timeout() else { break };
        link.handle_timeout(at);
        assert!(link.poll_timeout().is_none_or(|next| next > at), "a deadline stands still");
    }
    assert!(link.is_finished() && link.poll_timeout().is_none() && link.poll_event().is_none());
}

fn client() -> Link {
    let upgrade = ClientUpgrade::new(Scheme::Ws, "sudp.example", 80, "/sudp").expect("a proper upgrade");
    Link::client(epoch(), upgrade, LinkLimits::default(), Seed::from(1))
}

fn server() -> Link {
    let expect = ServerExpect { path: "/sudp".into(), ..ServerExpect::default() };
    Link::server(epoch(), expect, LinkLimits::default(), Seed::from(2))
}

fn open() -> (Link, Link) {
    let (mut client, mut server) = (client(), server());
    pass(&mut client, &mut server);
    assert!(matches!(server.poll_event(), Some(LinkEvent::Request(_))));
    server.accept(epoch()).expect("a request waits for an answer");
    pass(&mut server, &mut client);
    assert!(matches!(client.poll_event(), Some(LinkEvent::Open { .. })));
    (client, server)
}

fn pass(from: &mut Link, to: &mut Link) {
    to.handle_input(epoch(), &mut BytesMut::from(from.output()));
    let written = from.output().len();
    from.advance_output(written);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REQUEST: &str = "GET /sudp HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: sudp.v1\r\nOrigin: x\r\nContent-Length: 0\r\n\r\n";
    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: x\r\nHTTP/1.1 503 Busy\r\nRetry-After: 9\r\n\r\n";

    /// Lines of a head, some left out, some doubled, some spoilt.
    fn heads(text: &'static str) -> impl Strategy<Value = Vec<u8>> {
        let lines: Vec<&str> = text.split_inclusive("\r\n").collect();
        let line = (0..lines.len()).prop_map(move |at| lines[at].as_bytes().to_vec());
        let noise = prop::collection::vec(any::<u8>(), 0..8);
        let piece = prop_oneof![8 => line, 1 => noise];
        (any::<u8>(), any::<bool>(), prop::collection::vec(piece, 0..12)).prop_map(move |(cut, good, pieces)| {
            let good = if good { text.as_bytes() } else { b"" };
            [&[cut][..], good, &pieces.concat()].concat()
        })
    }

    /// Heads of frames with bodies that fit, mostly.
    fn streams() -> impl Strategy<Value = Vec<u8>> {
        let first = prop::sample::select(vec![0x82_u8, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88, 0x81, 0xc2]);
        let frame = (first, any::<bool>(), prop::collection::vec(any::<u8>(), 0..130), 0..20_u8);
        let frames = prop::collection::vec(frame, 0..20);
        (any::<u8>(), any::<u8>(), frames).prop_map(|(cut, role, frames)| {
            let mut data = vec![cut, role];
            for (first, sane, body, lie) in frames {
                let length = u8::try_from(body.len()).unwrap_or(0).min(125);
                let length = if sane || lie > 0 { length } else { lie };
                let mask_bit = if role % 2 == 0 { 0x80 } else { 0 };
                data.extend([first, length | mask_bit]);
                if mask_bit != 0 {
                    data.extend([1, 2, 3, 4]);
                }
                data.extend(&body[..usize::from(length).min(body.len())]);
            }
            data
        })
    }

    proptest! {
        #[test]
        fn servers_withstand_heads(data in heads(REQUEST)) {
            upgrade_server(&data);
        }

        #[test]
        fn clients_withstand_heads(data in heads(ANSWER)) {
            upgrade_client(&data);
        }

        #[test]
        fn open_links_withstand_frames(data in streams()) {
            frames(&data);
        }

        #[test]
        fn all_withstand_noise(data in prop::collection::vec(any::<u8>(), 0..300)) {
            upgrade_server(&data);
            upgrade_client(&data);
            frames(&data);
        }
    }
}

//! What a link writes: whole messages, cut ones, text; and what is refused before it is written.

use super::*;

fn text_limits() -> LinkLimits {
    LinkLimits { text: true, ..LinkLimits::default() }
}

/// The length of each frame that an unmasked stream of short frames consists of, and its first byte.
fn frames(mut bytes: &[u8]) -> Vec<(u8, usize)> {
    let mut frames = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        let (head, length) = match (length, rest) {
            (126, [high, low, ..]) => (4, usize::from(u16::from_be_bytes([*high, *low]))),
            (short, _) => (2, usize::from(*short)),
        };
        frames.push((*first, length));
        bytes = &bytes[head + length..];
    }
    frames
}

#[test]
fn a_message_above_the_frame_limit_is_cut_and_arrives_whole() {
    let message: Vec<u8> = (0..=255).cycle().take(2_500).collect();
    let (mut client, mut server) = pair();
    client.set_frame_limit(Some(1_000));
    client.send(&[&message[..7], &message[7..]]).unwrap();
    assert_eq!(exchange(&mut client, &mut server).1.messages(), [&message[..]]);
    server.set_frame_limit(Some(1_000));
    server.send(&[&message]).unwrap();
    assert_eq!(frames(server.output()), [(0x02, 1_000), (0x00, 1_000), (0x80, 500)]);
    assert_eq!(exchange(&mut client, &mut server).0.messages(), [&message[..]]);

    server.send(&[&message[..1_000]]).unwrap();
    server.set_frame_limit(None);
    server.send(&[&message]).unwrap();
    assert_eq!(frames(server.output()), [(0x82, 1_000), (0x82, 2_500)], "nothing is cut that need not be");
}

#[test]
fn no_frame_is_cut_so_small_that_the_remote_would_count_it_as_small() {
    let (mut client, mut server) = pair();
    server.set_frame_limit(Some(1));
    server.send(&[&[7; 10_000]]).unwrap();
    assert_eq!(frames(server.output()).iter().map(|(_, length)| length).max(), Some(&256));
    assert_eq!(exchange(&mut client, &mut server).0.messages(), [&[7; 10_000]]);
}

#[test]
fn text_is_written_as_text_in_one_frame_or_several() {
    let (mut client, mut server) = pair_with(text_limits());
    client.set_frame_limit(Some(400));
    for text in ["", "grüße", &"ü".repeat(500)] {
        client.send_text(text).unwrap();
        let (_, seen) = exchange(&mut client, &mut server);
        assert!(matches!(&seen.events[..], [LinkEvent::Text(bytes)] if bytes == text), "{seen:?}");
    }
}

#[test]
fn nothing_is_written_on_a_link_that_is_not_open() {
    let mut link = client();
    let before = link.output().to_vec();
    assert_eq!((link.send(&[b"early"]), link.send_text("early")), (Err(WrongStage), Err(WrongStage)));
    assert_eq!(link.output(), before);
    let (open, _) = pair();
    assert!(open.hand_over().is_err(), "its stream is not a stranger's any more");
    assert!(link.hand_over().is_err());
}

#[test]
fn a_client_may_leave_the_subprotocol_out_and_a_server_decides_whether_it_may() {
    for (wanted, opens) in [(Subprotocol::Optional, true), (Subprotocol::Required, false)] {
        let request = upgrade().with_subprotocol(Subprotocol::Optional);
        let limits = LinkLimits::default();
        let mut client = Link::client(epoch(), request, limits, Seed::from(1));
        assert!(!String::from_utf8_lossy(client.output()).contains("Sec-WebSocket-Protocol"));
        let expect = ServerExpect { subprotocol: wanted, ..expect() };
        let mut server = Link::server(epoch(), expect, limits, Seed::from(2));
        exchange(&mut client, &mut server);
        assert_eq!((client.is_open(), server.is_open()), (opens, opens), "{wanted:?}");
    }
}

#[test]
fn an_answer_takes_no_header_that_is_not_one_or_that_is_its_own() {
    for name in ["", "two words", "Content-Length", "transfer-encoding", "CONNECTION"] {
        let refused = Answer::not_found().with_header(name, "value");
        assert!(matches!(refused, Err(UpgradeError::HeaderName(refused)) if refused == name), "{name}");
    }
    let refused = Answer::not_found().with_header("X-Name", "line\r\nline");
    assert!(matches!(refused, Err(UpgradeError::HeaderValue(refused)) if refused == "X-Name"));
    assert!(Answer::not_found().with_header("X-Name", "value").is_ok());
}

//! The life of a link: deadlines, the closing handshake, who lets go of the stream first.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn ended(link: &mut Link) -> LinkEnd {
    match link.poll_event() {
        Some(LinkEvent::Ended(end)) => end,
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_ends_open_and_agree_on_the_subprotocol() {
    let (mut client, mut server) = (client(), server());
    let (at_client, at_server) = exchange(&mut client, &mut server);
    assert!(matches!(at_client.events[..], [LinkEvent::Open { subprotocol: true }]));
    assert!(matches!(&at_server.events[..], [LinkEvent::Request(request)] if request.subprotocol));
    assert!(client.is_open() && server.is_open());
    assert_eq!((client.poll_timeout(), server.poll_timeout()), (None, None));
}

#[test]
fn t12_every_stage_has_one_total_deadline() {
    let start = epoch();
    let proxied = upgrade().with_proxy(Proxy::new(ProxyKind::Connect));
    let limits = LinkLimits::default();
    for (mut link, stage, deadline) in [
        (Link::server(start, expect(), limits, Seed::from(1)), LinkStage::Head, 5_000 * MS),
        (Link::client(start, upgrade(), limits, Seed::from(1)), LinkStage::Answer, 10_000 * MS),
        (Link::client(start, proxied, limits, Seed::from(1)), LinkStage::Proxy, 10_000 * MS),
    ] {
        let mut input = BytesMut::new();
        for second in 0..5 {
            input.extend_from_slice(b"H");
            link.handle_input(start + second * 1_000 * MS, &mut input);
        }
        assert_eq!(link.poll_timeout(), Some(start + deadline), "{stage:?}");
        link.handle_timeout(start + deadline - MS);
        assert!(link.poll_event().is_none());
        link.handle_timeout(start + deadline);
        assert_eq!(ended(&mut link), LinkEnd::Timeout(stage));
        assert!(link.is_finished() && link.poll_timeout().is_none() && link.output().is_empty());
    }
}

#[test]
fn t12_a_message_must_end_in_time_and_each_has_its_own() {
    let (mut client, mut server) = pair();
    let start = epoch();
    server.send(&[b"one"]).unwrap();
    server.send(&[b"two"]).unwrap();
    let bytes = server.output().to_vec();
    let mut input = BytesMut::from(&bytes[..3]);
    client.handle_input(start, &mut input);
    assert_eq!(client.poll_timeout(), Some(start + 90_000 * MS));

    input.extend_from_slice(&bytes[3..6]);
    client.handle_input(start + MS, &mut input);
    assert_eq!(client.poll_timeout(), Some(start + 90_001 * MS), "the second has begun");
    client.handle_input(start + 2 * MS, &mut input);
    assert_eq!(client.poll_timeout(), Some(start + 90_001 * MS), "and only its beginning counts");

    input.extend_from_slice(&bytes[6..]);
    client.handle_input(start + 3 * MS, &mut input);
    assert_eq!(client.poll_timeout(), None);

    client.handle_input(start, &mut BytesMut::from(&b"\x02\x01a"[..]));
    client.handle_timeout(start + 90_000 * MS);
    let last = std::iter::from_fn(|| client.poll_event()).last();
    assert!(matches!(last, Some(LinkEvent::Ended(LinkEnd::Timeout(LinkStage::Message)))));
}

#[test]
fn a_server_finishes_first_and_a_client_waits_for_it() {
    let (mut client, mut server) = pair();
    client.close(epoch(), 1000, "done");
    assert!(!client.is_open());
    assert_eq!(client.send(&[b"late"]), Err(WrongStage));

    let (at_client, at_server) = exchange(&mut client, &mut server);
    assert_eq!(at_server.end(), Some(&LinkEnd::Closed { code: 1000, reason: "done".into() }));
    assert_eq!(at_client.end(), Some(&LinkEnd::Closed { code: 1000, reason: "".into() }));
    assert!(server.wants_finish() && !server.is_finished());
    assert!(!client.wants_finish());

    client.handle_end(epoch());
    assert!(client.wants_finish() && client.is_finished());
    server.handle_end(epoch());
    assert!(server.is_finished());
}

#[test]
fn what_is_written_last_is_written_before_the_stream_is_let_go() {
    let (mut client, mut server) = pair();
    client.close(epoch(), 1000, "");
    let frame = client.output().to_vec();
    feed(&mut client, b"", 1, false);
    server.handle_input(epoch(), &mut BytesMut::from(&frame[..]));
    ended(&mut server);
    assert!(!server.output().is_empty() && !server.wants_finish());
    server.handle_end(epoch());
    assert!(!server.is_finished(), "the answer is not written yet");
    let written = server.output().len();
    server.advance_output(written);
    assert!(server.is_finished());
}

#[test]
fn d2_an_unanswered_close_is_dropped_after_three_seconds() {
    for mut link in [pair().0, pair().1] {
        let start = epoch();
        link.close(start, 1001, "");
        link.close(start + MS, 1000, "again");
        assert_eq!(link.poll_timeout(), Some(start + 3_000 * MS));
        link.handle_timeout(start + 3_000 * MS);
        assert_eq!(ended(&mut link), LinkEnd::Timeout(LinkStage::Close));
        assert!(link.is_finished());
    }
}

#[test]
fn d2_a_side_that_does_not_end_its_stream_is_left_after_three_seconds() {
    let (mut client, mut server) = pair();
    server.close(epoch(), 1001, "");
    exchange(&mut client, &mut server);
    for link in [&mut client, &mut server] {
        assert!(!link.is_finished());
        let at = link.poll_timeout().unwrap();
        link.handle_timeout(at);
        assert!(link.is_finished() && link.poll_timeout().is_none() && link.poll_event().is_none());
    }
}

#[test]
fn messages_still_arrive_after_our_close() {
    let (mut client, mut server) = pair();
    client.close(epoch(), 1000, "");
    server.send(&[b"under way"]).unwrap();
    let (at_client, _) = exchange(&mut client, &mut server);
    assert_eq!(at_client.messages(), [b"under way"]);
    assert!(matches!(at_client.end(), Some(LinkEnd::Closed { code: 1000, .. })));
}

#[test]
fn closes_that_cross_end_both_links() {
    let (mut client, mut server) = pair();
    client.close(epoch(), 1000, "");
    server.close(epoch(), 1001, "");
    let (at_client, at_server) = exchange(&mut client, &mut server);
    assert!(matches!(at_client.end(), Some(LinkEnd::Closed { code: 1001, .. })));
    assert!(matches!(at_server.end(), Some(LinkEnd::Closed { code: 1000, .. })));
}

#[test]
fn d2_a_stream_that_ends_without_a_close_frame_is_truncated() {
    for mut link in [client(), server(), pair().0, pair().1] {
        link.handle_end(epoch());
        assert_eq!(ended(&mut link), LinkEnd::Truncated);
        assert!(link.is_finished());
    }
    let (mut client, _) = pair();
    client.close(epoch(), 1000, "");
    client.handle_end(epoch());
    assert_eq!(ended(&mut client), LinkEnd::Truncated, "a close must be answered");
}

#[test]
fn an_end_of_stream_does_not_overtake_what_came_before_it() {
    let (mut client, mut server) = pair();
    server.send(&[b"last words"]).unwrap();
    server.close(epoch(), 1000, "");
    let mut input = BytesMut::from(server.output());
    client.handle_input(epoch(), &mut input);
    client.handle_end(epoch());

    assert!(matches!(client.poll_event(), Some(LinkEvent::Message(_))));
    assert!(matches!(ended(&mut client), LinkEnd::Closed { code: 1000, .. }));
    assert!(client.poll_event().is_none());
    let written = client.output().len();
    client.advance_output(written);
    assert!(client.is_finished());
}

#[test]
fn giving_up_is_silent_and_final() {
    let (mut client, _) = pair();
    client.send(&[b"never seen"]).unwrap();
    client.abort();
    assert_eq!(ended(&mut client), LinkEnd::Aborted);
    assert!(client.output().is_empty() && client.is_finished());
    client.abort();
    client.handle_end(epoch());
    client.close(epoch(), 1000, "");
    client.handle_input(epoch(), &mut BytesMut::from(&b"\x82\x01a"[..]));
    assert!(client.poll_event().is_none() && client.output().is_empty());
}

#[test]
fn closing_before_the_upgrade_gives_up() {
    for mut link in [client(), server()] {
        link.close(epoch(), 1000, "");
        assert_eq!(ended(&mut link), LinkEnd::Aborted);
        assert!(link.is_finished());
    }
}

#[test]
fn a_refusal_is_written_and_then_the_stream_is_finished() {
    let (mut client, mut server) = (client(), server());
    let asked = client.output().to_vec();
    feed(&mut server, &asked, usize::MAX, false);
    let wait = Duration::from_secs(7);
    let start = epoch();
    server.refuse(start, &Answer::unavailable(wait).with_code(11)).unwrap();
    assert_eq!(server.poll_timeout(), Some(start + 3_000 * MS));
    assert_eq!(server.refuse(epoch(), &Answer::not_found()), Err(WrongStage));
    assert!(matches!(ended(&mut server), LinkEnd::Request { status: 503, fault: RequestFault::Denied }));
    assert!(!server.wants_finish());

    let answer = server.output().to_vec();
    server.advance_output(answer.len());
    assert!(server.wants_finish() && !server.is_finished());
    let seen = feed(&mut client, &answer, usize::MAX, false);
    let refusal =
        Refusal { status: 503, kind: RefusalKind::Transient, retry_after: Some(wait), code: Some(11), server: None };
    assert_eq!(seen.end(), Some(&LinkEnd::Refused(refusal)));
    assert!(client.wants_finish());
}

#[test]
fn long_reasons_are_cut_and_odd_codes_left_out() {
    let (mut client, mut server) = pair();
    server.close(epoch(), 4000, &"é".repeat(100));
    let (at_client, _) = exchange(&mut client, &mut server);
    let reason = "é".repeat(61);
    assert_eq!(at_client.end(), Some(&LinkEnd::Closed { code: 4000, reason: reason.into() }));

    let (mut client, mut server) = pair();
    server.close(epoch(), 1006, "odd");
    let (at_client, _) = exchange(&mut client, &mut server);
    assert_eq!(at_client.end(), Some(&LinkEnd::Closed { code: 1005, reason: "".into() }));
}

#[test]
fn output_is_taken_in_parts_and_its_room_given_back() {
    let (mut client, _) = pair();
    let message = vec![7; 60_000];
    for _ in 0..10 {
        client.send(&[&message]).unwrap();
    }
    let all = client.output().to_vec();
    let mut taken = Vec::new();
    while !client.output().is_empty() {
        let length = client.output().len().min(7_001);
        taken.extend_from_slice(&client.output()[..length]);
        client.advance_output(length);
    }
    assert_eq!(taken, all);
    assert!(client.output.capacity() <= IDLE_OUTPUT);
    client.send(&[b"small"]).unwrap();
    let written = client.output().len();
    client.advance_output(written);
    assert!(client.held() > 0, "little room is kept");
    client.release();
    assert_eq!(client.held(), 0);
}

#[test]
fn memory_that_is_held_is_told() {
    let (mut client, _) = pair();
    client.release();
    assert_eq!(client.held(), 0);
    let fragment = [&[0x02, 126, 0x03, 0xe8][..], &[0; 1_000]].concat();
    client.handle_input(epoch(), &mut BytesMut::from(&fragment[..]));
    let gathered = client.held();
    assert!((1_000..3_000).contains(&gathered), "{gathered}");
    client.send(&[&[0; 1_000]]).unwrap();
    let sent = client.held();
    assert!((1_000..3_000).contains(&(sent - gathered)), "{sent}");
    client.handle_input(epoch(), &mut BytesMut::from(&b"\x89\x00"[..]));
    let heard = client.held();
    assert!((1..16).contains(&((heard - sent) / size_of::<Heard>())), "{heard}");
}

#[test]
fn many_small_messages_wait_their_turn_in_the_input() {
    let (mut client, _) = pair();
    let mut input = BytesMut::from(&[0x82, 0].repeat(3_000)[..]);
    client.handle_input(epoch(), &mut input);
    assert_eq!((client.heard.len(), input.len()), (MAX_HEARD, 2 * (3_000 - MAX_HEARD)));
    let seen = feed(&mut client, &input, usize::MAX, false);
    assert_eq!(seen.messages().len(), 3_000);
    assert!(client.held() < 1_024, "{}", client.held());
}

#[test]
fn t21_nothing_secret_is_printed() {
    let proxy = Proxy::new(ProxyKind::Socks5).with_credentials("canary", "canary").unwrap();
    let upgrade = upgrade().with_hello("canary").unwrap().with_owner("canary").unwrap();
    let upgrade = upgrade.with_header("Authorization", "canary").unwrap().with_proxy(proxy.clone());
    let mut link = Link::client(epoch(), upgrade.clone(), LinkLimits::default(), Seed::from(1));
    let mut direct = upgrade.clone();
    direct.proxy = None;
    let request = Link::client(epoch(), direct, LinkLimits::default(), Seed::from(1)).output().to_vec();
    let (mut asked, mut visited) = (server(), server());
    let known = feed(&mut asked, &request, usize::MAX, false);
    assert!(matches!(known.events[..], [LinkEvent::Request(_)]));
    let strange = b"GET /canary HTTP/1.1\r\nAuthorization: canary\r\n\r\n";
    let strange = feed(&mut visited, strange, usize::MAX, false);
    feed(&mut link, b"\x05", 1, false);
    let printed = format!("{upgrade:?} {proxy:?} {link:?} {asked:?} {visited:?} {known:?} {strange:?}");
    assert!(!printed.contains("canary"), "{printed}");
}

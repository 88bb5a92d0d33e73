//! The frame table of the catalogue of bad inputs, in both roles.

use proptest::prelude::*;

use super::*;

/// One frame, with any head one may wish for.
#[derive(Clone)]
struct Raw {
    first: u8,
    length: Vec<u8>,
    mask: Option<[u8; 4]>,
    body: Vec<u8>,
}

impl Raw {
    fn new(first: u8, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = match body.len() {
            short @ 0..126 => vec![u8::try_from(short).unwrap()],
            middle @ 126..65_536 => [&[126][..], &u16::try_from(middle).unwrap().to_be_bytes()].concat(),
            long => long_length(u64::try_from(long).unwrap()),
        };
        Self { first, length, mask: None, body }
    }

    /// Claims a length of its own, and brings no body.
    fn claiming(first: u8, length: Vec<u8>) -> Self {
        Self { first, length, mask: None, body: Vec::new() }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.first];
        bytes.extend(&self.length);
        if let Some(mask) = self.mask {
            bytes[1] |= 0x80;
            bytes.extend(mask);
        }
        let key = self.mask.unwrap_or_default();
        bytes.extend(self.body.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
        bytes
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} {:?} with {} bytes", self.first, self.length, self.body.len())
    }
}

fn long_length(length: u64) -> Vec<u8> {
    [&[127][..], &length.to_be_bytes()].concat()
}

/// What a server and a client see when they are sent the same frames, masked as each side must.
fn both(limits: LinkLimits, frames: &[Raw]) -> [Seen; 2] {
    let (mut client, mut server) = pair_with(limits);
    let plain: Vec<u8> = frames.iter().flat_map(Raw::bytes).collect();
    let masked = frames.iter().map(|frame| Raw { mask: Some([1, 2, 3, 4]), ..frame.clone() });
    let masked: Vec<u8> = masked.flat_map(|frame| frame.bytes()).collect();
    let (mut other_client, mut other_server) = pair_with(limits);
    let seen = [feed(&mut client, &plain, usize::MAX, false), feed(&mut server, &masked, usize::MAX, false)];
    if plain.len() < 4_096 {
        let bytewise = [feed(&mut other_client, &plain, 1, false), feed(&mut other_server, &masked, 1, false)];
        assert_eq!(format!("{seen:?}"), format!("{bytewise:?}"), "single bytes make no difference");
    }
    seen
}

/// Both roles end with this fault, and say so with the code that belongs to it.
fn assert_fault(limits: LinkLimits, frames: &[Raw], fault: FrameFault, code: u16) {
    let seen = both(limits, frames);
    for seen in &seen {
        assert_eq!(seen.end(), Some(&LinkEnd::Violation(fault)), "{frames:?}");
    }
    let close = [&[0x88, 2][..], &code.to_be_bytes()].concat();
    assert!(seen[1].output.ends_with(&close), "{frames:?}: {:?}", seen[1].output);
}

fn assert_messages(limits: LinkLimits, frames: &[Raw], messages: &[&[u8]]) {
    for seen in both(limits, frames) {
        assert_eq!(seen.messages(), messages, "{frames:?}");
        assert_eq!(seen.end(), None, "{frames:?}");
    }
}

fn limits() -> LinkLimits {
    LinkLimits::default()
}

fn text_limits() -> LinkLimits {
    LinkLimits { text: true, ..limits() }
}

fn close_frame(code: u16, reason: &[u8]) -> Raw {
    Raw::new(0x88, [&code.to_be_bytes()[..], reason].concat())
}

#[test]
fn d2_messages_of_every_length_form_arrive() {
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 66 << 10] {
        let body = vec![7; length];
        assert_messages(limits(), &[Raw::new(0x82, body.clone())], &[&body]);
    }
}

#[test]
fn t15_messages_above_the_limit_end_on_the_head() {
    let limit = 66 << 10;
    for length in [limit + 1, 1 << 31, (1 << 32) - 1, u64::MAX >> 1] {
        assert_fault(limits(), &[Raw::claiming(0x82, long_length(length))], FrameFault::Size, 1009);
        assert_fault(limits(), &[Raw::claiming(0x02, long_length(length))], FrameFault::Size, 1009);
    }
    let half = Raw::new(0x02, vec![0; 40 << 10]);
    let rest = Raw::claiming(0x80, vec![126, 0x68, 1]);
    assert_fault(limits(), &[half.clone(), rest], FrameFault::Size, 1009);
    let whole = [vec![0; 40 << 10], vec![1; 26 << 10]].concat();
    assert_messages(limits(), &[half, Raw::new(0x80, vec![1; 26 << 10])], &[&whole]);
}

#[test]
fn d2_lengths_are_minimal_and_have_no_top_bit() {
    for length in [
        vec![126, 0, 0],
        vec![126, 0, 125],
        long_length(0),
        long_length(126),
        long_length(65_535),
        long_length(1 << 63),
        long_length(u64::MAX),
    ] {
        assert_fault(limits(), &[Raw::claiming(0x82, length)], FrameFault::Length, 1002);
    }
}

#[test]
fn t14_reserved_bits_end_the_link() {
    for bits in 1..8 {
        for opcode in [0x80, 0x82, 0x88, 0x89, 0x8a] {
            let frame = Raw::new(opcode | bits << 4, *b"");
            assert_fault(limits(), &[frame], FrameFault::Reserved, 1002);
        }
    }
}

#[test]
fn d2_reserved_frame_types_end_the_link() {
    for opcode in (3..8).chain(11..16) {
        assert_fault(limits(), &[Raw::new(0x80 | opcode, *b"")], FrameFault::Opcode, 1002);
        assert_fault(limits(), &[Raw::new(opcode, *b"abc")], FrameFault::Opcode, 1002);
    }
}

#[test]
fn d2_frames_are_masked_by_clients_and_by_nobody_else() {
    let (mut client, mut server) = pair();
    let plain = Raw::new(0x82, *b"abc");
    let masked = Raw { mask: Some([0; 4]), ..plain.clone() };
    for (link, frame) in [(&mut client, &masked), (&mut server, &plain)] {
        let seen = feed(link, &frame.bytes(), usize::MAX, false);
        assert_eq!(seen.end(), Some(&LinkEnd::Violation(FrameFault::Mask)));
        assert_eq!(FrameFault::Mask.code(), 1002);
    }
    let (_, mut server) = pair();
    assert_eq!(feed(&mut server, &masked.bytes(), usize::MAX, false).messages(), [b"abc"], "a mask of zeros is one");
}

#[test]
fn d2_text_is_refused_unless_asked_for() {
    assert_fault(limits(), &[Raw::new(0x81, *b"abc")], FrameFault::Text, 1003);
    assert_fault(limits(), &[Raw::new(0x01, *b"")], FrameFault::Text, 1003);
    assert_messages(text_limits(), &[Raw::new(0x81, "κόσμε")], &["κόσμε".as_bytes()]);
    let parts = [Raw::new(0x01, *b"\xce"), Raw::new(0x00, *b""), Raw::new(0x80, *b"\xba")];
    assert_messages(text_limits(), &parts, &["κ".as_bytes()]);
}

#[test]
fn d2_bad_text_ends_at_its_first_bad_byte() {
    for frames in [
        vec![Raw::new(0x81, *b"\xff")],
        vec![Raw::new(0x81, *b"\xce")],
        vec![Raw::new(0x01, *b"\xce"), Raw::new(0x80, *b"\xce")],
        vec![Raw { length: vec![100], ..Raw::new(0x81, *b"abc\xf4\x90") }],
    ] {
        assert_fault(text_limits(), &frames, FrameFault::Utf8, 1007);
    }
}

#[test]
fn d2_fragments_have_an_order() {
    assert_fault(limits(), &[Raw::new(0x80, *b"a")], FrameFault::Continuation, 1002);
    assert_fault(limits(), &[Raw::new(0x00, *b"a")], FrameFault::Continuation, 1002);
    for second in [0x02, 0x82] {
        let frames = [Raw::new(0x02, *b"a"), Raw::new(second, *b"b")];
        assert_fault(limits(), &frames, FrameFault::Continuation, 1002);
    }
    let frames = [Raw::new(0x02, *b"a"), Raw::new(0x80, *b"b"), Raw::new(0x80, *b"c")];
    assert_fault(limits(), &frames, FrameFault::Continuation, 1002);
    let frames = [Raw::new(0x02, *b"a"), Raw::new(0x00, *b""), Raw::new(0x80, *b"b"), Raw::new(0x82, *b"c")];
    assert_messages(limits(), &frames, &[b"ab", b"c"]);
}

#[test]
fn t15_small_fragments_are_counted_and_large_ones_are_not() {
    let fragments = |number: usize, length: usize| {
        let mut frames = vec![Raw::new(0x00, vec![1; length]); number];
        frames[0].first = 0x02;
        frames[number - 1].first |= 0x80;
        frames
    };
    assert_messages(limits(), &fragments(16, 255), &[&[1; 16 * 255]]);
    assert_fault(limits(), &fragments(17, 255), FrameFault::SmallFragments, 1008);
    assert_fault(limits(), &fragments(17, 0), FrameFault::SmallFragments, 1008);
    assert_messages(limits(), &fragments(200, 256), &[&[1; 200 * 256]]);
}

#[test]
fn t15_a_million_empty_fragments_are_not_read() {
    let (mut client, _) = pair();
    let flood = [b"\x02\x00", &[0; 2_000_000][..]].concat();
    let seen = feed(&mut client, &flood, 64 << 10, false);
    assert_eq!(seen.end(), Some(&LinkEnd::Violation(FrameFault::SmallFragments)));
    assert_eq!(seen.output.len(), 8, "one close frame");
}

#[test]
fn d2_control_frames_are_short_and_whole() {
    for opcode in [0x88, 0x89, 0x8a] {
        assert_fault(limits(), &[Raw::new(opcode, vec![0; 126])], FrameFault::Control, 1002);
        assert_fault(limits(), &[Raw::new(opcode & 0x0f, *b"")], FrameFault::Control, 1002);
    }
    assert_messages(limits(), &[Raw::new(0x8a, vec![0; 125])], &[]);
}

#[test]
fn d2_pings_are_answered_even_inside_fragments() {
    let frames = [Raw::new(0x02, *b"a"), Raw::new(0x89, *b"ping"), Raw::new(0x80, *b"b")];
    let [_, server] = both(limits(), &frames);
    assert_eq!(server.messages(), [b"ab"]);
    assert_eq!(server.output, b"\x8a\x04ping");

    let [_, server] = both(limits(), &[Raw::new(0x89, vec![9; 125])]);
    assert_eq!(server.output, [&[0x8a, 125][..], &[9; 125]].concat());
}

#[test]
fn t15_a_flood_of_pings_is_answered_by_the_newest_when_output_is_backed_up() {
    let (_, mut server) = pair();
    let mut input = BytesMut::new();
    for number in 0..100_000_u32 {
        let ping = Raw { mask: Some([0; 4]), ..Raw::new(0x89, number.to_be_bytes()) };
        input.extend_from_slice(&ping.bytes());
        server.handle_input(epoch(), &mut input);
        assert!(server.poll_event().is_none());
    }
    let held = server.output().len();
    assert!(held <= LinkLimits::default().output + 127, "{held}");
    server.advance_output(held);
    assert_eq!(server.output(), [&[0x8a, 4][..], &99_999_u32.to_be_bytes()].concat());
}

#[test]
fn d2_close_frames_carry_codes_that_may_be_sent() {
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
        let [client, server] = both(limits(), &[close_frame(code, b"bye")]);
        let expected = LinkEnd::Closed { code, reason: "bye".into() };
        assert_eq!((client.end(), server.end()), (Some(&expected), Some(&expected)));
        assert_eq!(server.output, close_frame(code, b"").bytes());
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert_fault(limits(), &[close_frame(code, b"")], FrameFault::CloseCode, 1002);
    }
    assert_fault(limits(), &[Raw::new(0x88, *b"\x03")], FrameFault::CloseCode, 1002);
    assert_fault(limits(), &[close_frame(1000, b"\xff")], FrameFault::Utf8, 1007);
    assert_fault(limits(), &[close_frame(1000, b"\xce")], FrameFault::Utf8, 1007);

    let [client, server] = both(limits(), &[Raw::new(0x88, *b"")]);
    let expected = LinkEnd::Closed { code: 1005, reason: "".into() };
    assert_eq!((client.end(), server.end()), (Some(&expected), Some(&expected)));
    assert_eq!(server.output, [0x88, 0]);
}

#[test]
fn t17_the_words_of_a_close_are_escaped() {
    let [client, _] = both(limits(), &[close_frame(1000, "a\r\n\u{1b}[31m\u{202e}\u{2028}".as_bytes())]);
    let text = client.end().unwrap().to_string();
    assert!(text.chars().all(|letter| matches!(letter, ' '..='~')), "{text}");
}

#[test]
fn d2_nothing_is_read_behind_a_close() {
    let frames = [close_frame(1000, b""), Raw::new(0x82, *b"late"), Raw::new(0x8f, *b""), close_frame(1001, b"")];
    for seen in both(limits(), &frames) {
        assert_eq!(seen.messages(), [] as [&[u8]; 0]);
        assert_eq!(seen.end(), Some(&LinkEnd::Closed { code: 1000, reason: "".into() }));
    }
}

#[test]
fn d2_what_came_before_a_fault_is_answered_before_the_close() {
    let (_, mut server) = pair();
    let frames = [Raw::new(0x82, *b"first"), Raw::new(0x89, *b"p"), Raw::new(0xc2, *b"")];
    let masked = frames.map(|frame| Raw { mask: Some([5; 4]), ..frame }.bytes()).concat();
    server.handle_input(epoch(), &mut BytesMut::from(&masked[..]));

    assert!(matches!(server.poll_event(), Some(LinkEvent::Message(bytes)) if &bytes[..] == b"first"));
    server.send(&[b"echo"]).unwrap();
    assert!(matches!(server.poll_event(), Some(LinkEvent::Ended(LinkEnd::Violation(FrameFault::Reserved)))));
    assert_eq!(server.output(), b"\x82\x04echo\x8a\x01p\x88\x02\x03\xea");
}

#[test]
fn a_message_in_one_frame_is_a_slice_of_the_input() {
    let (mut client, _) = pair();
    let mut input = BytesMut::from(&Raw::new(0x82, *b"abcdef").bytes()[..]);
    let place = input[2..].as_ptr();
    client.handle_input(epoch(), &mut input);
    let Some(LinkEvent::Message(bytes)) = client.poll_event() else { panic!("no message") };
    assert_eq!(bytes.as_ptr(), place);
}

#[test]
fn a_half_frame_says_how_much_is_missing() {
    let (mut client, _) = pair();
    let frame = Raw::new(0x82, vec![0; 1_000]).bytes();
    for (length, missing) in [(0, 0), (1, 0), (3, 0), (4, 1_000), (500, 504), (1_003, 1)] {
        assert_eq!(client.missing(&BytesMut::from(&frame[..length])), missing, "{length}");
    }
    let mut part = BytesMut::from(&Raw::new(0x02, vec![0; 100]).bytes()[..50]);
    client.handle_input(epoch(), &mut part);
    assert_eq!((part.len(), client.missing(&part)), (0, 54 - 2));
    let lie = Raw::claiming(0x82, long_length(1 << 40)).bytes();
    let (client, _) = pair();
    assert!(client.missing(&BytesMut::from(&lie[..])) <= (66 << 10) + 14);
}

#[test]
fn memory_is_not_sized_by_a_claim() {
    let (_, mut server) = pair();
    let mut input = BytesMut::new();
    for _ in 0..2 {
        let claim = Raw { mask: Some([0; 4]), ..Raw::claiming(0x02, long_length(65_536)) };
        input.extend_from_slice(&claim.bytes());
        server.handle_input(epoch(), &mut input);
    }
    assert!(input.capacity() < 1_024, "{}", input.capacity());
    assert!(server.held() < 4_096, "{}", server.held());
}

proptest! {
    #[test]
    fn what_one_end_sends_the_other_gets(
        messages in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..4), 0..8),
    ) {
        let (mut client, mut server) = pair();
        for parts in &messages {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            client.send(&parts).unwrap();
            server.send(&parts).unwrap();
        }
        let expected: Vec<Vec<u8>> = messages.iter().map(|parts| parts.concat()).collect();
        let (at_client, at_server) = exchange(&mut client, &mut server);
        prop_assert_eq!(at_client.messages(), &expected[..]);
        prop_assert_eq!(at_server.messages(), expected);
    }

    #[test]
    fn d2_arbitrary_bytes_end_in_messages_or_one_fault(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for link in [&mut pair().0, &mut pair().1] {
            let seen = feed(link, &bytes, usize::MAX, false);
            let ends = seen.events.iter().filter(|event| matches!(event, LinkEvent::Ended(_))).count();
            prop_assert!(ends <= 1 && (ends == 0 || seen.end().is_some()));
        }
    }
}

//! The catalogue of bad input: what each of its items about encodings must end in.

use super::*;

fn verdict(message: &[u8]) -> Result<usize, Code> {
    let frames = parse_all(message.to_vec()).map_err(|violation| violation.code)?;
    for frame in &frames {
        if let Frame::Batch(_, body) = frame {
            read_records(body.clone()).map_err(|violation| violation.code)?;
        }
    }
    Ok(frames.len())
}

fn control_verdict(payload: &[u8]) -> Result<Control, Code> {
    Control::parse(payload).map_err(|violation| violation.code)
}

fn hello_verdict(raw: &[u8]) -> Result<Hello, Code> {
    Hello::parse(raw).map_err(|violation| violation.code)
}

fn framed(kind: u64, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    varint::put(&mut message, kind);
    varint::put(&mut message, u64::try_from(body.len()).unwrap());
    message.extend_from_slice(body);
    message
}

fn one_of_each() -> Vec<Frame> {
    let record = Record {
        flow: FlowId(70),
        address: Some(Address { host: Host::Name("example.org".into()), port: 53 }),
        extension: Some(1),
        payload: Bytes::from_static(b"query"),
    };
    vec![
        Frame::Ack(Ack { count: 1_000, delay: Duration::from_micros(250) }),
        Frame::LinkDown(LinkDown { ordinal: Ordinal(900), count: Some(77), known: true }),
        Frame::Close(Close { code: Code::Done, reason: "done".to_owned() }),
        Frame::GoAway(GoAway { reason: GoAwayReason::Shutdown, after: Duration::from_secs(1) }),
        Frame::Ping(1 << 40),
        Frame::Pong(1 << 20),
        Frame::Refuse(Refuse { code: Code::Full, retry_after: Some(Duration::from_secs(2)), server: 7 }),
        Frame::Batch(BatchHead { number: Number(5), class: Class::Realtime, clock: Some(9) }, records(&[record])),
    ]
}

#[test]
fn d1_1_an_empty_message_has_no_frame() {
    assert_eq!(verdict(&[]), Ok(0));
}

#[test]
fn d1_1_a_message_of_one_byte_is_malformed_whatever_the_byte() {
    for byte in 0..=255 {
        assert_eq!(verdict(&[byte]), Err(Code::Malformed), "{byte:#x}");
    }
}

#[test]
fn d1_1_a_frame_cut_at_any_byte_is_malformed() {
    for frame in one_of_each() {
        let whole = emitted(&[frame]);
        for end in 1..whole.len() {
            assert_eq!(verdict(&whole[..end]), Err(Code::Malformed), "{:02x?}", &whole[..end]);
        }
    }
}

#[test]
fn d1_1_a_body_cut_at_any_byte_never_reads_as_whole() {
    for frame in one_of_each() {
        let whole = emitted(std::slice::from_ref(&frame));
        for end in 2..whole.len() {
            let cut = framed(u64::from(whole[0]), &whole[2..end]);
            let same = parse_all(cut).is_ok_and(|frames| frames == [frame.clone()]);
            assert!(!same, "{:02x?}", &whole[..end]);
        }
    }
}

#[test]
fn d1_2_every_type_is_known_skipped_or_refused() {
    let known = [0x02, 0x04, 0x06, 0x08, 0x0a, 0x0c, 0x0e, 0x10, 0x12, 0x14, 0x16, 0x18];
    for kind in 0..256 {
        let expected = match kind {
            odd if odd % 2 == 1 => Ok(0),
            0x0e | 0x12 | 0x14 | 0x18 => Ok(1),
            even if known.contains(&even) => Err(Code::Malformed),
            _ => Err(Code::Unknown),
        };
        assert_eq!(verdict(&framed(kind, &[])), expected, "{kind:#x}");
    }
}

#[test]
fn d1_2_a_type_beyond_one_byte_is_judged_by_its_last_bit() {
    assert_eq!(verdict(&framed(grease(1_000_000), b"anything")), Ok(0));
    assert_eq!(verdict(&framed(varint::MAX, b"")), Ok(0));
    assert_eq!(verdict(&framed(varint::MAX - 1, b"")), Err(Code::Unknown));
}

#[test]
fn d1_3_a_length_beyond_the_message_is_malformed_for_skipped_frames_too() {
    for kind in [0x01, 0x02, 0x08] {
        for length in [1, 2, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, varint::MAX] {
            let mut message = vec![kind];
            varint::put(&mut message, length);
            assert_eq!(verdict(&message), Err(Code::Malformed), "{kind:#x} of {length}");
        }
    }
}

#[test]
fn d1_3_bytes_behind_the_last_field_are_malformed() {
    let frames = one_of_each();
    for frame in frames.iter().filter(|frame| !matches!(frame, Frame::Close(_) | Frame::Batch(..))) {
        let whole = emitted(std::slice::from_ref(frame));
        let long = [&whole[2..], &[0]].concat();
        assert_eq!(verdict(&framed(u64::from(whole[0]), &long)), Err(Code::Malformed), "{frame:?}");
    }
    assert_eq!(verdict(&framed(0x0e, &[0])), Err(Code::Malformed));
    assert_eq!(verdict(&framed(0x18, &[0])), Err(Code::Malformed));
}

#[test]
fn d1_4_numbers_that_are_not_minimal_are_malformed_wherever_they_stand() {
    let messages: [&[u8]; 6] = [
        &[0x40, 0x08, 0x01, 0x05],
        &[0x08, 0x40, 0x01, 0x05],
        &[0x08, 0x02, 0x40, 0x05],
        &[0x02, 0x05, 0x40, 0x01, 0x00, 0x01, 0x00],
        &[0x02, 0x05, 0x01, 0x00, 0x40, 0x01, 0x00],
        &[0x02, 0x05, 0x01, 0x00, 0x01, 0x40, 0x00],
    ];
    for message in messages {
        assert_eq!(verdict(message), Err(Code::Malformed), "{message:02x?}");
    }
}

#[test]
fn d1_5_a_hello_of_another_version_is_told_so() {
    for version in [0, 2, 0x40, 255] {
        assert_eq!(hello_verdict(&[version, 1]), Err(Code::Version));
    }
    assert_eq!(hello_verdict(&[]), Err(Code::Malformed));
    assert!(hello_verdict(&[1, 1]).is_ok());
}

#[test]
fn d1_5_fields_of_a_hello_are_judged_one_by_one() {
    let table: [(&[u8], Code); 14] = [
        (&[1, 0], Code::Malformed),
        (&[1, 1, 0x02, 1, b'a', 0x02, 1, b'b'], Code::Malformed),
        (&[1, 1, 0x04, 2, 1, 1, 0x02, 1, b'a'], Code::Malformed),
        (&[1, 1, 0x02, 5, b'a'], Code::Malformed),
        (&[1, 1, 0x02, 1, 0x00], Code::Malformed),
        (&[1, 1, 0x02, 1, 0xff], Code::Malformed),
        (&[1, 1, 0x04, 1, 1], Code::Malformed),
        (&[1, 1, 0x04, 3, 1, 1, 1], Code::Malformed),
        (&[1, 1, 0x20, 0], Code::Unknown),
        (&[1, 1, 0x3f, 0], Code::Malformed),
        (&[1, 1, 0x08, 1, 2], Code::Malformed),
        (&[1, 2], Code::Malformed),
        (&[1, 1, 0x0c, 3, 0x02, 1, 63], Code::Malformed),
        (&[1, 1, 0x0c, 2, 0x20, 0], Code::Unknown),
    ];
    for (raw, code) in table {
        assert_eq!(hello_verdict(raw), Err(code), "{raw:02x?}");
    }
    assert!(hello_verdict(&[1, 1, 0x21, 2, 9, 9]).is_ok(), "an odd field is skipped");
    assert!(hello_verdict(&[1, 1, 0x0c, 4, 0x21, 2, 9, 9]).is_ok(), "an odd parameter is skipped");
}

#[test]
fn d1_5_a_hello_over_its_limits_is_refused_before_anything_is_kept() {
    let many = |count: u64| {
        let mut raw = vec![1, 1];
        (0..count).for_each(|n| tlv::put_bytes(&mut raw, grease(n), &[]));
        raw
    };
    assert_eq!(hello_verdict(&many(10_000)), Err(Code::Limit));
    let mut raw = vec![1, 1];
    tlv::put_bytes(&mut raw, 0x02, &[b'a'; MAX_CLIENT + 1]);
    assert_eq!(hello_verdict(&raw), Err(Code::Limit));
    let header = Hello::from_header(&"A".repeat(1_025)).map_err(|violation| violation.code);
    assert_eq!(header, Err(Code::Limit));
}

#[test]
fn d1_7_a_proof_is_only_good_for_every_bit_of_its_hello() {
    let secret = [7; 32];
    let mut hello = attaching();
    hello.prove(&secret);
    let (read, raw) = Hello::from_header(&hello.to_header()).unwrap();
    assert!(read.attach.clone().unwrap().verify(&raw, &secret));
    assert!(!read.attach.unwrap().verify(&raw, &[8; 32]));
    for bit in 0..raw.len() * 8 {
        let mut bent = raw.to_vec();
        bent[bit / 8] ^= 1 << (bit % 8);
        let fooled =
            Hello::parse(&bent).is_ok_and(|hello| hello.attach.is_some_and(|attach| attach.verify(&bent, &secret)));
        assert!(!fooled, "bit {bit}");
    }
}

#[test]
fn d1_7_lists_that_lie_are_refused() {
    let refused = |bend: fn(&mut Attach)| {
        let mut hello = attaching();
        bend(hello.attach.as_mut().unwrap());
        Hello::from_header(&hello.to_header()).map_err(|violation| violation.code).unwrap_err()
    };
    let count = |ordinal| FinalCount { ordinal: Ordinal(ordinal), count: 0, known: false };
    assert_eq!(refused(|attach| attach.alive.push(Ordinal(9))), Code::Malformed);
    assert_eq!(refused(|attach| attach.alive = vec![Ordinal(8), Ordinal(7)]), Code::Malformed);
    assert_eq!(refused(|attach| attach.alive = vec![Ordinal(0)]), Code::Malformed);
    assert_eq!(refused(|attach| attach.alive = (10..27).map(Ordinal).collect()), Code::Limit);
    assert_eq!(refused(|attach| attach.alive.push(attach.ended[0].ordinal)), Code::Malformed);
    let too_many: Vec<_> = (10..35).map(count).collect();
    let mut hello = attaching();
    hello.attach.as_mut().unwrap().ended = too_many;
    assert_eq!(Hello::from_header(&hello.to_header()).unwrap_err().code, Code::Limit);
}

#[test]
fn d1_7_the_fullest_hello_fits_in_its_header() {
    let far = varint::MAX - 100;
    let mut hello = attaching();
    hello.ordinal = Ordinal(varint::MAX);
    hello.client = "c".repeat(MAX_CLIENT);
    hello.incarnation = (varint::MAX, varint::MAX);
    let attach = hello.attach.as_mut().unwrap();
    attach.alive = (far..far + 16).map(Ordinal).collect();
    attach.ended = (far + 20..far + 44)
        .map(|ordinal| FinalCount { ordinal: Ordinal(ordinal), count: varint::MAX, known: true })
        .collect();
    let most = Duration::from_millis(varint::MAX);
    hello.parameters =
        Parameters { message: varint::MAX, flows: varint::MAX, links: varint::MAX, ack_delay: most, resume: most };
    let header = hello.to_header();
    assert_eq!(header.len(), 995);
    assert_eq!(Hello::from_header(&header).unwrap().0, hello);

    // Sealed, there are the form and the session around it, an ephemeral key and a tag.
    let mut inside = Vec::new();
    hello.emit_inside(&mut inside);
    assert!(1 + 16 + 32 + 16 + inside.len() <= MAX_HELLO, "{} bytes inside", inside.len());
    let attach = hello.attach.as_mut().unwrap();
    attach.proof = [0; 32];
    let session = attach.session;
    assert_eq!(Hello::parse_inside(&inside, Some(session)), Ok(hello));
}

#[test]
fn what_stands_outside_of_a_sealed_hello_may_not_stand_inside() {
    let (mut hello, mut raw) = (attaching(), Vec::new());
    hello.emit(&mut raw);
    let session = hello.attach.as_ref().unwrap().session;
    let read = |raw: &[u8], session| Hello::parse_inside(raw, session).map_err(|violation| violation.code);
    assert_eq!(read(&raw, Some(session)), Err(Code::Malformed), "its session and proof");
    raw.clear();
    hello.emit_inside(&mut raw);
    assert_eq!(read(&raw, None), Err(Code::Malformed), "one that joins, where a session is made");
    raw.clear();
    (hello.ordinal, hello.attach) = (Ordinal::FIRST, None);
    hello.emit_inside(&mut raw);
    assert_eq!(read(&raw, Some(session)), Err(Code::Malformed), "one that makes a session, where it joins");
    assert_eq!(read(&raw, None), Ok(hello));
}

fn attaching() -> Hello {
    let attach = Attach {
        session: SessionId([3; 16]),
        alive: vec![Ordinal(4)],
        ended: vec![FinalCount { ordinal: Ordinal(2), count: 300, known: false }],
        proof: [0; 32],
    };
    let parameters = Parameters::default();
    Hello {
        ordinal: Ordinal(9),
        client: "laptop".to_owned(),
        incarnation: (1, 2),
        attach: Some(attach),
        ticket: Ticket::default(),
        parameters,
    }
}

#[test]
fn d1_8_an_open_is_judged_field_by_field() {
    let table: [(&[u8], Code); 13] = [
        (&[], Code::Malformed),
        (&[0x00], Code::Malformed),
        (&[0x00, 0, 0, 1], Code::Malformed),
        (&[0x00, 1, 0, 1, 0x02, 1, 2], Code::Malformed),
        (&[0x00, 1, 0, 1, 0x02, 1, 3], Code::Malformed),
        (&[0x00, 1, 0, 1, 0x02, 2, 0, 0], Code::Malformed),
        (&[0x00, 1, 0, 1, 0x04, 1, 0], Code::Malformed),
        (&[0x00, 1, 0, 1, 0x04, 1, 9], Code::Malformed),
        (&[0x00, 1, 0, 1, 0x06, 1, 2], Code::Malformed),
        (&[0x00, 1, 0, 1, 0x06, 0], Code::Malformed),
        (&[0x00, 1, 0, 1, 0x0e, 2, 0x41, 0x00], Code::Malformed),
        (&[0x00, 1, 0, 1, 0x10, 0], Code::Unknown),
        (&[0x00, 1, 0, 1, 0x0a, 5, 3, 1, b'a', 0, 1], Code::Malformed),
    ];
    for (payload, code) in table {
        assert_eq!(control_verdict(payload), Err(code), "{payload:02x?}");
    }
    let open = Control::Open(Box::new(Open::new(FlowId(1), TunnelId(1))));
    assert_eq!(control_verdict(&[0x00, 1, 0, 1, 0x1f, 2, 9, 9]), Ok(open), "an odd field is skipped");
}

#[test]
fn d1_8_names_and_ports_are_judged_by_what_the_wire_can_carry() {
    let parse = |name: &[u8], port: u16| {
        let mut body = vec![3, u8::try_from(name.len()).unwrap()];
        body.extend_from_slice(name);
        body.extend_from_slice(&port.to_be_bytes());
        Address::parse(&mut Reader::new(&body)).map_err(|violation| violation.code)
    };
    for name in
        [&b""[..], b"a\0b", b"a b", b"a\tb", b"a\x7fb", b"\xff", "a\u{a0}b".as_bytes(), &[b'a'; 254], &[b'a'; 255]]
    {
        assert_eq!(parse(name, 1), Err(Code::Malformed), "{name:02x?}");
    }
    for name in ["a", "example.org.", "bücher.example", "xn--bcher-kva.example", "a@b", "[::1", &"a".repeat(253)] {
        assert_eq!(parse(name.as_bytes(), 65_535).map(|at| at.host), Ok(Host::Name(name.into())));
    }
    assert_eq!(parse(b"a", 0), Err(Code::Malformed));
    for family in [0, 1, 2, 5, 7, 255] {
        assert!(Address::parse(&mut Reader::new(&[family, 1, 2, 3, 4, 0, 1])).is_err());
    }
}

#[test]
fn d1_8_controls_are_known_skipped_or_refused_and_have_one_length() {
    assert_eq!(control_verdict(&[0x0c]), Err(Code::Unknown));
    assert_eq!(control_verdict(&[0x0d, 1, 2, 3]), Ok(Control::Skipped));
    assert_eq!(control_verdict(&[0x0d; MAX_CONTROL + 1]), Err(Code::Limit));
    let table: [&[u8]; 9] = [
        &[0x02, 1, 0, 1, 1],
        &[0x02, 1, 0, 1, 1, 0, 0],
        &[0x02, 0, 0, 1, 1, 0],
        &[0x04, 0, 0],
        &[0x04, 1, 0, 0],
        &[0x06, 1],
        &[0x08, 1, 2, 0],
        &[0x08, 1, 0, 3, 1, b'a', 0, 1],
        &[0x0a, 1, 1],
    ];
    for payload in table {
        assert_eq!(control_verdict(payload), Err(Code::Malformed), "{payload:02x?}");
    }
}

#[test]
fn d1_9_payloads_are_bounded_by_what_udp_can_carry() {
    for (size, expected) in [
        (0, Ok(1)),
        (1, Ok(1)),
        (1_472, Ok(1)),
        (65_507, Ok(1)),
        (65_508, Err(Code::Limit)),
        (65_528, Err(Code::Limit)),
    ] {
        let mut body = vec![1, 0, 5];
        varint::put(&mut body, size << 2);
        body.resize(body.len() + usize::try_from(size).unwrap(), 0xaa);
        assert_eq!(verdict(&framed(0x02, &body)), expected, "{size}");
    }
}

#[test]
fn d1_9_a_payload_over_the_limit_is_refused_from_its_header() {
    let mut body = vec![1, 0, 5];
    varint::put(&mut body, 65_508 << 2);
    assert_eq!(verdict(&framed(0x02, &body)), Err(Code::Limit));
}

#[test]
fn d1_9_the_head_and_the_records_of_a_batch_are_judged() {
    let table: [&[u8]; 12] = [
        &[],
        &[0, 0, 5, 0],
        &[1],
        &[1, 0],
        &[1, 3, 5, 0],
        &[1, 8, 5, 0],
        &[1, 1, 5, 0],
        &[1, 4, 0, 0, 0, 0, 5, 0],
        &[1, 5, 0, 0, 0],
        &[1, 0, 5, 4],
        &[1, 0, 0, 1, 4, 1, 2, 3, 4, 0, 9],
        &[1, 0, 5, 2],
    ];
    for body in table {
        assert_eq!(verdict(&framed(0x02, body)), Err(Code::Malformed), "{body:02x?}");
    }
    assert_eq!(verdict(&framed(0x02, &[1, 0, 5, 0])), Ok(1), "an empty datagram is a datagram");
}

#[test]
fn d1_9_behind_a_violation_no_record_follows() {
    let mut records = Records::new(Bytes::from_static(&[5, 0, 5, 0x40, 0x00, 5, 0]));
    assert!(records.next().is_ok_and(|record| record.is_some()));
    assert!(records.next().is_err());
    assert_eq!(records.next(), Ok(None));
}

#[test]
fn d1_10_the_flags_and_the_ordinal_of_a_link_down_are_judged() {
    for flags in 4..=255 {
        assert_eq!(verdict(&framed(0x06, &[1, flags, 0])), Err(Code::Malformed), "{flags:#x}");
    }
    assert_eq!(verdict(&framed(0x06, &[0, 2])), Err(Code::Malformed));
    assert_eq!(verdict(&framed(0x06, &[1, 1])), Err(Code::Malformed));
    assert_eq!(verdict(&framed(0x06, &[1, 2, 0])), Err(Code::Malformed));
}

#[test]
fn d1_10_the_largest_count_and_delay_can_be_read() {
    let frame = Frame::Ack(Ack { count: varint::MAX, delay: Duration::from_micros(varint::MAX) });
    assert_eq!(parse_all(emitted(std::slice::from_ref(&frame))), Ok(vec![frame]));
}

#[test]
fn d1_11_a_ping_carries_one_number_and_nothing_else() {
    for kind in [0x08, 0x0a] {
        assert_eq!(verdict(&framed(kind, &[])), Err(Code::Malformed));
        assert_eq!(verdict(&framed(kind, &[1, 1])), Err(Code::Malformed));
        assert_eq!(verdict(&framed(kind, &[0xff; 125])), Err(Code::Malformed));
    }
}

#[test]
fn d1_12_a_reason_is_utf_8_of_at_most_123_bytes() {
    assert_eq!(verdict(&framed(0x10, &[0])), Ok(1));
    assert_eq!(verdict(&framed(0x10, &[&[0][..], &[b'a'; 123]].concat())), Ok(1));
    assert_eq!(verdict(&framed(0x10, &[&[0][..], &[b'a'; 124]].concat())), Err(Code::Limit));
    assert_eq!(verdict(&framed(0x10, &[0, 0xff])), Err(Code::Malformed));
    let long = Close { code: Code::Other(900), reason: "é".repeat(100) };
    let frames = parse_all(emitted(&[Frame::Close(long)])).unwrap();
    assert_eq!(frames, [Frame::Close(Close { code: Code::Other(900), reason: "é".repeat(61) })]);
}

#[test]
fn d1_17_a_message_of_the_smallest_frames_is_read_to_its_end() {
    assert_eq!(verdict(&[0x0e, 0x00].repeat(100_000)), Ok(100_000));
    assert_eq!(verdict(&[0x01, 0x00].repeat(100_000)), Ok(0));
}

#[test]
fn d1_5_hellos_and_welcomes_over_their_limits_are_refused_wherever_they_stand() {
    let limit = |read: Result<usize, Code>| assert_eq!(read, Err(Code::Limit));
    assert!(verdict(&framed(0x12, &[0; MAX_HELLO])).is_ok(), "its content is judged by whoever reads it");
    limit(verdict(&framed(0x12, &[0; MAX_HELLO + 1])));
    assert!(verdict(&framed(0x14, &[0; MAX_WELCOME])).is_ok());
    limit(verdict(&framed(0x14, &[0; MAX_WELCOME + 1])));
    limit(hello_verdict(&[1; MAX_HELLO + 1]).map(|_| 0));
    limit(Welcome::parse(&vec![1; MAX_WELCOME + 1].into()).map(|_| 0).map_err(|violation| violation.code));
}

#[test]
fn d1_5_a_header_that_is_not_base64url_is_malformed() {
    for value in ["AQE=", "AQ E", "AQ+/", "A"] {
        assert_eq!(Hello::from_header(value).unwrap_err().code, Code::Malformed, "{value}");
    }
}

#[test]
fn d1_5_a_side_that_takes_no_links_is_malformed() {
    let mut hello = Hello { attach: None, ordinal: Ordinal::FIRST, ..attaching() };
    assert!(Hello::from_header(&hello.to_header()).is_ok());
    hello.parameters.links = 0;
    assert_eq!(Hello::from_header(&hello.to_header()).unwrap_err().code, Code::Malformed);
}

#[test]
fn d1_7_session_lists_and_proof_come_together_or_not_at_all() {
    let field = |raw: &mut Vec<u8>, tag: u64, value: &[u8]| tlv::put_bytes(raw, tag, value);
    let [session, alive, ended, proof] = [0x06, 0x08, 0x0a, 0x3e];
    let table: [&[(u64, &[u8])]; 5] = [
        &[(session, &[3; 16])],
        &[(proof, &[0; 32])],
        &[(alive, &[4])],
        &[(ended, &[2, 0, 1])],
        // Ended, and the very link that says so.
        &[(session, &[3; 16]), (ended, &[9, 0, 1]), (proof, &[0; 32])],
    ];
    for fields in table {
        let mut raw = vec![1, 9];
        fields.iter().for_each(|(tag, value)| field(&mut raw, *tag, value));
        assert_eq!(hello_verdict(&raw), Err(Code::Malformed), "{raw:02x?}");
    }
    let mut raw = vec![1, 9];
    [(session, &[3; 16][..]), (ended, &[2, 0, 1]), (proof, &[0; 32])].iter().for_each(|(t, v)| field(&mut raw, *t, v));
    assert!(hello_verdict(&raw).is_ok());
}

#[test]
fn a_hello_that_makes_a_session_has_nothing_to_prove() {
    let mut hello = Hello { attach: None, ordinal: Ordinal::FIRST, ..attaching() };
    let before = hello.clone();
    hello.prove(&[7; 32]);
    assert_eq!(hello, before);
}

#[test]
fn d1_8_hops_and_idle_times_that_are_not_the_usual_ones_are_said() {
    let open = Open { hops: 3, idle: Duration::from_secs(7), ..Open::new(FlowId(1), TunnelId(1)) };
    let bind = Bind {
        tunnel: TunnelId(4),
        listen: SocketAddr::from(([0, 0, 0, 0], 53)),
        class: Class::Realtime,
        copies: 2,
        spread: true,
        idle: Duration::from_secs(9),
    };
    for control in [Control::Open(Box::new(open)), Control::Bind(bind)] {
        let mut payload = Vec::new();
        control.emit(&mut payload);
        assert_eq!(control_verdict(&payload), Ok(control));
    }
}

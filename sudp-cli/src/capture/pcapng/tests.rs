use super::*;
use crate::capture::fixtures::record;

/// The blocks of a file: kind and body. Both lengths of each must agree.
fn blocks(mut file: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut blocks = Vec::new();
    let number = |bytes: &[u8]| u32::from_ne_bytes(bytes[..4].try_into().expect("four bytes"));
    while !file.is_empty() {
        let total = number(&file[4..]) as usize;
        assert!(total.is_multiple_of(4) && total >= 12 && total <= file.len(), "a block of {total}");
        assert_eq!(number(&file[total - 4..]) as usize, total);
        blocks.push((number(file), file[8..total - 4].to_vec()));
        file = &file[total..];
    }
    blocks
}

/// The options in what is left of a body: code and value.
fn options(mut body: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut options = Vec::new();
    let short = |bytes: &[u8]| u16::from_ne_bytes(bytes[..2].try_into().expect("two bytes"));
    loop {
        let (code, length) = (short(body), usize::from(short(&body[2..])));
        if code == END {
            assert_eq!(body.len(), 4, "nothing follows the end");
            return options;
        }
        options.push((code, body[4..4 + length].to_vec()));
        body = &body[4 + length.next_multiple_of(4)..];
    }
}

fn file(records: &[Record]) -> Vec<u8> {
    let (mut out, mut pcapng) = (Vec::new(), Pcapng::default());
    Pcapng::begin(&mut out);
    records.iter().for_each(|record| pcapng.write(record, &mut out));
    pcapng.end_with(records.len() as u64, records.iter().map(|record| record.missed).sum(), &mut out);
    out
}

fn kinds(file: &[u8]) -> Vec<u32> {
    blocks(file).into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn a_file_is_a_section_with_an_interface_a_packet_and_the_counts() {
    let file = file(&[Record { missed: 2, ..record() }]);
    assert_eq!(kinds(&file), [SECTION, INTERFACE, PACKET, STATISTICS]);
    let blocks = blocks(&file);
    let [section, interface, packet, statistics] = [0, 1, 2, 3].map(|at| &blocks[at].1[..]);
    assert_eq!(section[..8], [&0x1a2b_3c4d_u32.to_ne_bytes()[..], &1_u16.to_ne_bytes(), &[0, 0]].concat());
    assert_eq!(interface[..2], 101_u16.to_ne_bytes());
    assert_eq!(options(&interface[8..]), [(IF_NAME, b"dns".to_vec()), (IF_TSRESOL, vec![9])]);
    let field = |at: usize| u32::from_ne_bytes(packet[at..at + 4].try_into().expect("four bytes"));
    assert_eq!(field(0), 0, "the interface");
    assert_eq!(u64::from(field(4)) << 32 | u64::from(field(8)), record().at);
    assert_eq!((field(12), field(16)), (33, 33), "kept, and as it was");
    assert_eq!(&packet[20 + 28..20 + 33], b"hello");
    let said = options(&packet[20 + 36..]);
    let text =
        "taken; flow 3 of session 5e5510115e551011, tunnel dns; 127.0.0.1:40001 to 10.0.0.1:53; 2 before it were lost";
    assert_eq!(said[0], (COMMENT, text.as_bytes().to_vec()));
    assert_eq!(said[1..], [(EPB_FLAGS, 2_u32.to_ne_bytes().to_vec()), (EPB_DROPCOUNT, 2_u64.to_ne_bytes().to_vec())]);
    let counts = [(ISB_IFRECV, 3_u64.to_ne_bytes().to_vec()), (ISB_IFDROP, 2_u64.to_ne_bytes().to_vec())];
    assert_eq!(options(&statistics[12..]), counts);
}

#[test]
fn a_file_of_nothing_is_a_file() {
    assert_eq!(kinds(&file(&[])), [SECTION]);
}

#[test]
fn each_tunnel_is_one_interface_and_each_name_one_address() {
    let to = |tunnel: Option<&str>, destination: &str| Record {
        tunnel: tunnel.map(Into::into),
        destination: Some(destination.into()),
        ..record()
    };
    let records = [
        to(Some("a"), "one.example:53"),
        to(Some("b"), "one.example:54"),
        to(Some("a"), "two.example:53"),
        to(None, "1.2.3.4:5"),
    ];
    let file = file(&records);
    let expected = [SECTION, INTERFACE, NAMES, PACKET, INTERFACE, PACKET, NAMES, PACKET, INTERFACE, PACKET, STATISTICS];
    assert_eq!(kinds(&file), expected);
    let packets: Vec<_> = blocks(&file).into_iter().filter(|(kind, _)| *kind == PACKET).map(|(_, body)| body).collect();
    let interfaces: Vec<_> =
        packets.iter().map(|body| u32::from_ne_bytes(body[..4].try_into().expect("four"))).collect();
    assert_eq!(interfaces, [0, 1, 0, 2]);
    let to: Vec<_> = packets.iter().map(|body| body[20 + 16..20 + 20].to_vec()).collect();
    assert_eq!(to, [[198, 18, 0, 1], [198, 18, 0, 1], [198, 18, 0, 2], [1, 2, 3, 4]]);
    let (_, names) = &blocks(&file)[2];
    assert_eq!(options(names)[0], (NRB_IPV4, b"\xc6\x12\x00\x01one.example\0".to_vec()));
}

#[test]
fn what_others_name_has_an_end() {
    let record =
        |at: u32| Record { tunnel: Some(format!("t{at}")), destination: Some(format!("n{at}.example:1")), ..record() };
    let mut pcapng = Pcapng::default();
    let mut out = Vec::new();
    for at in 0..140_000 {
        out.clear();
        pcapng.write(&record(at), &mut out);
    }
    assert_eq!((pcapng.interfaces.len(), pcapng.names.len()), (256, MOST_NAMES));
    assert_eq!(kinds(&out), [PACKET]);
    assert_eq!(out[8..12], MOST_INTERFACES.to_ne_bytes());
}

#[test]
fn a_packet_that_was_cut_short_says_how_long_it_was() {
    for (size, payload, kept, whole) in [(5, None, 28, 33), (5, Some("6865"), 30, 33), (0, Some(""), 28, 28)] {
        let file = file(&[Record { size, payload: payload.map(Into::into), ..record() }]);
        let packet = &blocks(&file)[2].1;
        let field = |at: usize| u32::from_ne_bytes(packet[at..at + 4].try_into().expect("four bytes"));
        assert_eq!((field(12), field(16)), (kept, whole), "{size} {payload:?}");
    }
}

#[test]
fn hostile_names_and_payloads_are_no_more_than_text_and_bytes() {
    let long = format!("{}:53", "\u{1b}[2J\0".repeat(20_000));
    let hostile = Record {
        session: "\u{202e}x".into(),
        tunnel: Some("\0\n".into()),
        source: Some(long),
        destination: Some("[::1".into()),
        fate: "\r".into(),
        payload: Some("0é1zz".into()),
        size: u32::MAX,
        missed: u64::MAX,
        at: u64::MAX,
        ..record()
    };
    let file = file(&[hostile]);
    for (kind, body) in blocks(&file) {
        let said = match kind {
            SECTION => options(&body[16..]),
            PACKET => {
                let kept = u32::from_ne_bytes(body[12..16].try_into().expect("four bytes")) as usize;
                options(&body[20 + kept.next_multiple_of(4)..])
            }
            INTERFACE => options(&body[8..]),
            _ => continue,
        };
        for (code, value) in said.iter().filter(|(code, _)| kind != PACKET || *code == COMMENT) {
            assert!(code == &IF_TSRESOL || !value.iter().any(u8::is_ascii_control), "{kind} {code}");
        }
    }
}

#[test]
fn digits_become_bytes_as_far_as_they_are_digits() {
    assert_eq!(unhex("00ff7F"), [0, 255, 127]);
    assert_eq!(unhex("00f"), [0]);
    assert_eq!(unhex("00zz11"), [0]);
    assert_eq!(unhex("é"), [0_u8; 0]);
}

mod bad_input;
mod bent;
mod limits;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use crate::credential::Credential;
use proptest::prelude::*;

use super::batch::{emit_record, record_len};
use super::*;

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..64u64, 0..16_384u64, 0..1u64 << 30, 0..=varint::MAX]
}

fn positive() -> impl Strategy<Value = u64> {
    number().prop_map(|number| number.max(1))
}

fn code() -> impl Strategy<Value = Code> {
    number().prop_map(Code::from_u64)
}

fn milliseconds() -> impl Strategy<Value = Duration> {
    number().prop_map(Duration::from_millis)
}

fn socket() -> impl Strategy<Value = SocketAddr> {
    any::<(IpAddr, u16)>().prop_map(SocketAddr::from)
}

fn address() -> impl Strategy<Value = Address> {
    let host =
        prop_oneof![any::<IpAddr>().prop_map(Host::Ip), "[a-zé0-9.-]{1,120}".prop_map(|name| Host::Name(name.into()))];
    (host, 1..=u16::MAX).prop_map(|(host, port)| Address { host, port })
}

fn payload() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..80).prop_map(Bytes::from)
}

fn record() -> impl Strategy<Value = Record> {
    (positive(), prop::option::of(address()), any::<Option<u8>>(), payload())
        .prop_map(|(flow, address, extension, payload)| Record { flow: FlowId(flow), address, extension, payload })
}

fn head() -> impl Strategy<Value = BatchHead> {
    let classes = prop_oneof![
        Just((Class::Reliable, None)),
        any::<u32>().prop_map(|clock| (Class::Realtime, Some(clock))),
        Just((Class::Control, None)),
    ];
    (positive(), classes).prop_map(|(number, (class, clock))| BatchHead { number: Number(number), class, clock })
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Reliable), Just(Class::Realtime)]
}

fn open() -> impl Strategy<Value = Open> {
    let terms = (class(), 1..=8u8, any::<bool>(), milliseconds());
    let ends = (prop::option::of(socket()), prop::option::of(address()), any::<u8>());
    (positive(), number(), number(), terms, ends).prop_map(|(flow, kind, tunnel, terms, ends)| Open {
        flow: FlowId(flow),
        kind,
        tunnel: TunnelId(tunnel),
        class: terms.0,
        copies: terms.1,
        spread: terms.2,
        idle: terms.3,
        source: ends.0,
        destination: ends.1,
        hops: ends.2,
    })
}

fn bind() -> impl Strategy<Value = Bind> {
    (number(), socket(), class(), 1..=8u8, any::<bool>(), milliseconds()).prop_map(
        |(tunnel, listen, class, copies, spread, idle)| Bind {
            tunnel: TunnelId(tunnel),
            listen,
            class,
            copies,
            spread,
            idle,
        },
    )
}

fn control() -> impl Strategy<Value = Control> {
    let totals = (number(), number(), number()).prop_map(|(accepted, acknowledged, dropped)| Totals {
        accepted,
        acknowledged,
        dropped,
    });
    let outcome = prop_oneof![socket().prop_map(Ok), code().prop_map(Err)];
    prop_oneof![
        open().prop_map(|open| Control::Open(Box::new(open))),
        bind().prop_map(Control::Bind),
        (number(), outcome).prop_map(|(tunnel, outcome)| Control::Bound(Bound { tunnel: TunnelId(tunnel), outcome })),
        (positive(), code(), totals).prop_map(|(flow, code, totals)| Control::Close(FlowClose {
            flow: FlowId(flow),
            code,
            totals
        })),
        (positive(), code()).prop_map(|(flow, code)| Control::Closed(Closed { flow: FlowId(flow), code })),
        number().prop_map(|tunnel| Control::Unbind(TunnelId(tunnel))),
        "[!-~]{1,40}".prop_map(|value| Control::Renew(Credential::new(&value).unwrap())),
        prop::collection::vec(any::<u8>(), 0..=MAX_TICKET).prop_map(|words| Control::Renewed(Ok(Ticket(words.into())))),
        code().prop_map(|code| Control::Renewed(Err(code))),
        Just(Control::Skipped),
    ]
}

fn final_counts() -> impl Strategy<Value = Vec<FinalCount>> {
    prop::collection::btree_map(2..=varint::MAX, (number(), any::<bool>()), 0..=MAX_ENDED).prop_map(|counts| {
        counts
            .into_iter()
            .map(|(ordinal, (count, known))| FinalCount { ordinal: Ordinal(ordinal), count, known })
            .collect()
    })
}

fn parameters() -> impl Strategy<Value = Parameters> {
    (2_048..=varint::MAX, number(), positive(), milliseconds(), milliseconds())
        .prop_map(|(message, flows, links, ack_delay, resume)| Parameters { message, flows, links, ack_delay, resume })
}

fn attach() -> impl Strategy<Value = Attach> {
    let alive = prop::collection::btree_set(2..=varint::MAX, 0..=MAX_ALIVE);
    (any::<[u8; 16]>(), alive, final_counts(), any::<[u8; 32]>()).prop_map(|(session, alive, ended, proof)| Attach {
        session: SessionId(session),
        ended: ended.into_iter().filter(|count| !alive.contains(&count.ordinal.0)).collect(),
        alive: alive.into_iter().map(Ordinal).collect(),
        proof,
    })
}

fn hello() -> impl Strategy<Value = Hello> {
    let ordinals = 2..=varint::MAX;
    let ticket = prop::collection::vec(any::<u8>(), 0..=MAX_TICKET);
    ("[a-zé]{0,32}", (number(), number()), prop::option::of((ordinals, attach())), ticket, parameters())
        .prop_map(|(client, incarnation, attach, ticket, parameters)| {
            let ordinal = attach.as_ref().map_or(Ordinal::FIRST, |(ordinal, _)| Ordinal(*ordinal));
            let ticket = Ticket(if attach.is_none() { ticket.into() } else { Bytes::new() });
            Hello { ordinal, client, incarnation, attach: attach.map(|(_, attach)| attach), ticket, parameters }
        })
        .prop_filter("a link is not in its own lists", |hello| {
            hello.attach.as_ref().is_none_or(|attach| {
                !attach.alive.contains(&hello.ordinal)
                    && attach.ended.iter().all(|count| count.ordinal != hello.ordinal)
            })
        })
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let ids = (any::<[u8; 16]>(), any::<Option<[u8; 32]>>(), number(), number(), number());
    let words = |limit| prop::collection::vec(any::<u8>(), 0..=limit).prop_map(Bytes::from);
    (positive(), ids, words(MAX_OWNER), words(MAX_TICKET), final_counts(), parameters()).prop_map(
        |(ordinal, ids, owner, ticket, ended, parameters)| Welcome {
            ordinal: Ordinal(ordinal),
            session: SessionId(ids.0),
            secret: ids.1,
            cluster: ids.2,
            server: ids.3,
            boot: ids.4,
            owner,
            ticket: Ticket(ticket),
            ended,
            parameters,
        },
    )
}

fn frame() -> impl Strategy<Value = Frame> {
    let wait = || prop::option::of(milliseconds());
    prop_oneof![
        (number(), number()).prop_map(|(count, delay)| Frame::Ack(Ack { count, delay: Duration::from_micros(delay) })),
        Just(Frame::Ask),
        Just(Frame::Settled),
        (head(), prop::collection::vec(record(), 1..6)).prop_map(|(head, list)| Frame::Batch(head, records(&list))),
        (code(), "[ -~é]{0,60}").prop_map(|(code, reason)| Frame::Close(Close { code, reason })),
        (number(), milliseconds())
            .prop_map(|(reason, after)| Frame::GoAway(GoAway { reason: GoAwayReason::from_u64(reason), after })),
        payload().prop_map(Frame::Hello),
        payload().prop_map(Frame::Welcome),
        (positive(), prop::option::of(number()), any::<bool>())
            .prop_map(|(ordinal, count, known)| Frame::LinkDown(LinkDown { ordinal: Ordinal(ordinal), count, known })),
        number().prop_map(Frame::Ping),
        number().prop_map(Frame::Pong),
        (code(), wait(), number()).prop_map(|(code, wait, server)| {
            let retry_after = wait.filter(|wait| !wait.is_zero());
            Frame::Refuse(Refuse { code, retry_after, server })
        }),
    ]
}

proptest! {
    #[test]
    fn frames_come_back_as_they_were_sent(frames in prop::collection::vec(frame(), 0..5)) {
        prop_assert_eq!(parse_all(emitted(&frames)), Ok(frames));
    }

    #[test]
    fn what_was_parsed_is_emitted_as_it_was(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(Some(frame)) = next_frame(&mut Bytes::from(bytes.clone())) {
            let again = emitted(std::slice::from_ref(&frame));
            prop_assert_eq!(parse_all(again.clone()), Ok(vec![frame]));
            // The first frame may stand behind others that were skipped.
            prop_assert!(bytes.windows(again.len()).any(|window| window == again));
        }
    }

    #[test]
    fn records_come_back_as_they_were_sent(list in prop::collection::vec(record(), 1..8)) {
        let sizes = list.iter().map(|one| record_len(one.flow, one.address.as_ref(), one.extension, one.payload.len()));
        let sizes: usize = sizes.sum();
        let body = records(&list);
        prop_assert_eq!(sizes, body.len());
        prop_assert_eq!(read_records(body), Ok(list));
    }

    #[test]
    fn controls_come_back_as_they_were_sent(control in control()) {
        let mut body = Vec::new();
        control.emit_record(&mut body);
        let record = Records::new(body.into()).next().unwrap().unwrap();
        prop_assert_eq!(record.flow, FlowId::CONTROL);
        prop_assert_eq!(Control::parse(&record.payload), Ok(control));
    }

    #[test]
    fn hellos_come_back_as_they_were_sent(hello in hello()) {
        let header = hello.to_header();
        prop_assert!(header.len() <= 1_014, "{} bytes", header.len());
        let (back, raw) = Hello::from_header(&header).unwrap();
        prop_assert_eq!(&back, &hello);
        prop_assert_eq!(Hello::parse(&raw), Ok(hello));
    }

    #[test]
    fn welcomes_come_back_as_they_were_sent(welcome in welcome()) {
        let mut raw = Vec::new();
        welcome.emit(&mut raw);
        prop_assert!(raw.len() <= MAX_WELCOME, "{} bytes", raw.len());
        prop_assert_eq!(Welcome::parse(&raw.into()), Ok(welcome));
    }
}

fn records(list: &[Record]) -> Bytes {
    let mut body = Vec::new();
    for one in list {
        emit_record(&mut body, one.flow, one.address.as_ref(), one.extension, &one.payload);
    }
    body.into()
}

fn read_records(body: Bytes) -> Result<Vec<Record>, Violation> {
    let mut records = Records::new(body);
    let mut list = Vec::new();
    while let Some(record) = records.next()? {
        list.push(record);
    }
    Ok(list)
}

fn emitted(frames: &[Frame]) -> Vec<u8> {
    let mut message = Vec::new();
    for frame in frames {
        frame.emit(&mut message);
    }
    message
}

fn parse_all(message: Vec<u8>) -> Result<Vec<Frame>, Violation> {
    let mut message = Bytes::from(message);
    let mut frames = Vec::new();
    while let Some(frame) = next_frame(&mut message)? {
        frames.push(frame);
    }
    Ok(frames)
}

#[test]
fn every_code_and_reason_has_a_number_of_its_own_and_comes_back() {
    for number in (0..200).chain([varint::MAX]) {
        let (code, reason) = (Code::from_u64(number), GoAwayReason::from_u64(number));
        assert_eq!((code.to_u64(), reason.to_u64()), (number, number));
        assert_eq!(code == Code::Other(number), number > 17 && !(21..=23).contains(&number), "{code:?}");
        assert_eq!(reason == GoAwayReason::Other(number), number > 4, "{reason:?}");
    }
}

#[test]
fn a_welcome_is_printed_without_what_opens_doors() {
    let welcome = Welcome {
        ordinal: Ordinal(1),
        session: SessionId([1; 16]),
        secret: Some([0xab; 32]),
        cluster: 2,
        server: 3,
        boot: 4,
        owner: Bytes::from_static(b"owner"),
        ticket: Ticket(Bytes::from_static(b"ticket")),
        ended: Vec::new(),
        parameters: Parameters::default(),
    };
    let printed = format!("{welcome:?}");
    assert!(printed.contains("server: 3"), "{printed}");
    for hidden in ["171", "ab", "secret", "ticket"] {
        assert!(!printed.contains(hidden), "{hidden} in {printed}");
    }
}

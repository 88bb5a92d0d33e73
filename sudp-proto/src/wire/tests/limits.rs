//! What has a limit may be as long as that, and not a byte longer.

use super::*;
use crate::credential::MAX_CREDENTIAL;

type Verdict = Result<(), Code>;

const OVER: Verdict = Err(Code::Limit);

fn verdict<T>(read: Result<T, Violation>) -> Verdict {
    read.map(|_| ()).map_err(|violation| violation.code)
}

/// This, made so long by a field that nobody knows.
fn padded(start: &[u8], length: usize) -> Vec<u8> {
    const HEAD: usize = 3; // a tag of one byte, a length of two
    let mut raw = start.to_vec();
    tlv::put_bytes(&mut raw, 0x21, &vec![9; length - start.len() - HEAD]);
    assert_eq!(raw.len(), length);
    raw
}

fn hello() -> Hello {
    let (client, parameters) = ("laptop".to_owned(), Parameters::default());
    let ticket = Ticket::default();
    Hello { ordinal: Ordinal::FIRST, client, incarnation: (1, 1), attach: None, ticket, parameters }
}

/// One of which nothing stands behind what [`padded`] adds.
fn welcome() -> Welcome {
    Welcome {
        ordinal: Ordinal(2),
        session: SessionId([3; 16]),
        secret: None,
        cluster: 0,
        server: 5,
        boot: 6,
        owner: Bytes::new(),
        ticket: Ticket::default(),
        ended: Vec::new(),
        parameters: Parameters::default(),
    }
}

#[test]
fn controls_have_their_limit_and_a_renewal_has_a_greater_one() {
    let skipped = |length| verdict(Control::parse(&vec![0x0d; length]));
    assert_eq!((skipped(MAX_CONTROL), skipped(MAX_CONTROL + 1)), (Ok(()), OVER));
    let longest = "x".repeat(MAX_CREDENTIAL);
    let mut renew = Vec::new();
    Control::Renew(Credential::new(&longest).unwrap()).emit(&mut renew);
    assert_eq!(verdict(Control::parse(&renew)), Ok(()));
    let ticket = |length| verdict(Control::parse(&[&[0x07, 0x00][..], &vec![1; length]].concat()));
    assert_eq!((ticket(MAX_TICKET), ticket(MAX_TICKET + 1)), (Ok(()), OVER));
}

#[test]
fn hellos_and_welcomes_have_theirs_and_sealing_adds_to_a_welcome() {
    let hello = |length| verdict(Hello::parse(&padded(&[1, 1], length)));
    assert_eq!((hello(MAX_HELLO), hello(MAX_HELLO + 1)), (Ok(()), OVER));
    let header = |length| verdict(hello::header(&base64::encode(&vec![1; length])));
    assert_eq!((header(MAX_HELLO), header(MAX_HELLO + 1), header(768)), (Ok(()), OVER, OVER));

    let mut shortest = Vec::new();
    welcome().emit(&mut shortest);
    let welcome = |length| verdict(Welcome::parse(&padded(&shortest, length).into()));
    assert_eq!((welcome(MAX_WELCOME), welcome(MAX_WELCOME + 1)), (Ok(()), OVER));
    for form in [SEALED_FOUNDING, SEALED_JOINING] {
        let sealed = |length| {
            let mut message = Vec::new();
            varint::put(&mut message, 0x14);
            varint::put(&mut message, length);
            message.resize(message.len() + usize::try_from(length).unwrap(), form);
            verdict(parse_all(message))
        };
        let most = u64::try_from(MAX_WELCOME + SEALED_WELCOME).unwrap();
        assert_eq!((sealed(most), sealed(most + 1)), (Ok(()), OVER));
    }
}

#[test]
fn a_message_may_be_as_short_as_every_side_must_take() {
    let smallest = |message| {
        let parameters = Parameters { message, ..Parameters::default() };
        verdict(Hello::from_header(&Hello { parameters, ..hello() }.to_header()))
    };
    assert_eq!((smallest(2_048), smallest(2_047)), (Ok(()), Err(Code::Malformed)));
}

#[test]
fn a_sealed_hello_is_told_by_its_first_byte_and_names_the_session_that_it_joins() {
    assert_eq!(SealedHello::read(&[SEALED_FOUNDING, 7, 8]), Some(SealedHello::Founding(&[7, 8])));
    let joining = [&[SEALED_JOINING][..], &[3; 16], &[7, 8]].concat();
    assert_eq!(SealedHello::read(&joining), Some(SealedHello::Joining(SessionId([3; 16]), &[7, 8])));
    for plain in [&[][..], &[1, 7, 8], &[4], &joining[..16]] {
        assert_eq!(SealedHello::read(plain), None);
    }
    assert!(is_sealed(&joining) && is_sealed(&[SEALED_FOUNDING]) && !is_sealed(&[1]) && !is_sealed(&[]));
}

#[test]
fn either_half_of_what_names_a_session_is_refused_inside_of_a_sealed_hello() {
    for field in [(0x06, &[3; 16][..]), (0x3e, &[0; 32])] {
        let mut raw = vec![1, 9];
        tlv::put_bytes(&mut raw, field.0, field.1);
        let read = Hello::parse_inside(&raw, Some(SessionId([4; 16])));
        assert_eq!(verdict(read), Err(Code::Malformed), "{:#x}", field.0);
    }
}

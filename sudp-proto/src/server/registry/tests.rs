use super::*;
use crate::config::Limits;
use crate::event::Event;
use crate::link::{RequestHead, ServerExpect};
use crate::server::{Incoming, IncomingSetup};
use crate::testing::epoch;
use crate::wire::{Attach, FinalCount, Hello, Ordinal, Parameters, Ticket};

fn registry(change: impl FnOnce(&mut Limits)) -> Registry {
    let mut limits = Limits::default();
    change(&mut limits);
    Registry::new(limits, &Seed::from(1))
}

fn principal(name: &str) -> Identification {
    Identification { principal: name.into() }
}

const SHARES: Shares = Shares { sessions: 2 };

/// Whatever a hello says, as it comes out of a stream.
fn claim(hello: Hello) -> Claim {
    use crate::driver::Endpoint;
    let expect = ServerExpect { path: "/".into(), ..ServerExpect::default() };
    let setup =
        IncomingSetup { expect, tls: None, seal: None, limits: Limits::default(), server: 1, seed: Seed::from(1) };
    let mut incoming = Incoming::new(epoch(), setup);
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSudp-Hello: {}\r\n\r\n",
        hello.to_header()
    );
    incoming.handle_input(epoch(), Incoming::KEY, &mut bytes::BytesMut::from(request.as_bytes()));
    let claim = incoming.poll_claim().unwrap();
    let head: &RequestHead = &claim.head;
    assert_eq!(head.method(), "GET");
    claim
}

fn first(client: &str, incarnation: (u64, u64)) -> Claim {
    let parameters = Parameters::default();
    claim(Hello {
        ordinal: Ordinal::FIRST,
        client: client.into(),
        incarnation,
        attach: None,
        ticket: Ticket::default(),
        parameters,
    })
}

fn second(founded: &Founded, secret: [u8; 32], ended: Vec<FinalCount>) -> Claim {
    let attach = Attach { session: founded.session, alive: Vec::new(), ended, proof: [0; 32] };
    let mut hello = Hello {
        ordinal: Ordinal(2),
        client: "laptop".into(),
        incarnation: (1, 0),
        attach: Some(attach),
        ticket: Ticket::default(),
        parameters: Parameters::default(),
    };
    hello.prove(&secret);
    claim(hello)
}

fn found(registry: &mut Registry, who: &str, claim: &Claim) -> Result<Founded, Code> {
    match registry.admit(claim, &principal(who), SHARES) {
        Ok(Admission::Found(founded)) => Ok(founded),
        Ok(Admission::Join(session)) => panic!("joined {session:?}"),
        Err(Refused(code)) => Err(code),
    }
}

#[test]
fn a_principal_has_its_share_of_sessions_and_others_have_theirs() {
    let mut registry = registry(|_| {});
    for client in ["a", "b"] {
        found(&mut registry, "ann", &first(client, (1, 0))).unwrap();
    }
    assert_eq!(found(&mut registry, "ann", &first("c", (1, 0))), Err(Code::Full));
    assert_eq!(found(&mut registry, "ann", &first("", (1, 0))), Err(Code::Full));
    found(&mut registry, "bob", &first("c", (1, 0))).unwrap();
}

#[test]
fn a_client_that_returns_needs_no_second_share() {
    let mut registry = registry(|_| {});
    found(&mut registry, "ann", &first("a", (1, 0))).unwrap();
    found(&mut registry, "ann", &first("b", (1, 0))).unwrap();
    found(&mut registry, "ann", &first("a", (2, 0))).unwrap();
    assert_eq!(registry.len(), 3);
}

#[test]
fn clients_without_a_name_each_count() {
    let mut registry = registry(|_| {});
    let one = found(&mut registry, "ann", &first("", (1, 0))).unwrap();
    found(&mut registry, "ann", &first("", (1, 0))).unwrap();
    assert_eq!(found(&mut registry, "ann", &first("", (1, 0))), Err(Code::Full));
    registry.remove(one.session);
    found(&mut registry, "ann", &first("", (1, 0))).unwrap();
}

#[test]
fn one_name_does_not_fill_the_table() {
    let mut registry = registry(|_| {});
    let made = (0..100).filter(|round| found(&mut registry, "ann", &first("a", (1, *round))).is_ok()).count();
    assert_eq!(made, RACED);
}

#[test]
fn a_full_table_takes_nobody() {
    let mut registry = registry(|limits| limits.sessions = 1);
    let one = found(&mut registry, "ann", &first("a", (1, 0))).unwrap();
    assert_eq!(found(&mut registry, "bob", &first("b", (1, 0))), Err(Code::Full));
    assert_eq!(registry.handle_event(one.session, &Event::Closed { code: Code::Done, by_remote: true }), []);
    found(&mut registry, "bob", &first("b", (1, 0))).unwrap();
    assert!(registry.principals.len() == 1 && registry.len() == 1);
}

#[test]
fn the_newest_incarnation_evicts_all_older_ones_when_it_stands_and_none_before() {
    let mut registry = registry(|_| {});
    let old = found(&mut registry, "ann", &first("a", (1, 7))).unwrap();
    let twin = found(&mut registry, "ann", &first("a", (1, 7))).unwrap();
    assert_eq!(registry.handle_event(old.session, &Event::Established), []);
    let new = found(&mut registry, "ann", &first("a", (2, 0))).unwrap();
    let other = found(&mut registry, "bob", &first("a", (1, 0))).unwrap();
    let up = Event::LinkUp { ordinal: Ordinal::FIRST };
    assert_eq!(registry.handle_event(new.session, &up), [], "a hello may be one that somebody repeated");
    let mut evicted = registry.handle_event(new.session, &Event::Established);
    evicted.sort_unstable_by_key(|(session, _)| *session);
    let mut expected = [(old.session, Code::Evicted), (twin.session, Code::Evicted)];
    expected.sort_unstable_by_key(|(session, _)| *session);
    assert_eq!(evicted, expected);
    assert_eq!(registry.handle_event(new.session, &Event::Established), [], "once");
    assert_eq!(found(&mut registry, "ann", &first("a", (1, 8))), Err(Code::Stale));
    assert_eq!(registry.handle_event(other.session, &Event::Established), []);
}

#[test]
fn only_so_many_sessions_wait_without_links() {
    let mut registry = registry(|limits| limits.detached = 1);
    let one = found(&mut registry, "ann", &first("a", (1, 0))).unwrap();
    let two = found(&mut registry, "ann", &first("b", (1, 0))).unwrap();
    assert_eq!(registry.handle_event(one.session, &Event::Detached), []);
    assert_eq!(registry.handle_event(two.session, &Event::Detached), [(two.session, Code::Full)]);
    assert_eq!(registry.handle_event(one.session, &Event::LinkUp { ordinal: Ordinal(2) }), []);
    assert_eq!(registry.handle_event(two.session, &Event::Detached), []);
    registry.remove(two.session);
    assert_eq!(registry.handle_event(one.session, &Event::Detached), []);
}

#[test]
fn t08_a_session_is_joined_by_its_secret_and_its_principal_and_dies_with_both() {
    let mut registry = registry(|_| {});
    let founded = found(&mut registry, "ann", &first("laptop", (1, 0))).unwrap();
    let right = second(&founded, founded.secret, Vec::new());
    let wrong = second(&founded, [7; 32], Vec::new());
    let (ann, mallory) = (principal("ann"), principal("mallory"));
    assert_eq!(registry.join(&right, None), Ok(founded.session));
    assert_eq!(registry.admit(&right, &ann, SHARES), Ok(Admission::Join(founded.session)));
    assert_eq!(registry.join(&right, Some(&mallory)), Err(Refused(Code::UnknownSession)));
    assert_eq!(registry.join(&wrong, Some(&mallory)), Err(Refused(Code::UnknownSession)));
    assert_eq!(registry.join(&wrong, None), Err(Refused(Code::BadProof)));
    assert_eq!(registry.join(&first("laptop", (1, 0)), None), Err(Refused(Code::Malformed)));
    registry.remove(founded.session);
    assert_eq!(registry.join(&right, None), Err(Refused(Code::UnknownSession)));
}

#[test]
fn t08_a_proof_is_over_every_byte_of_its_hello() {
    let mut registry = registry(|_| {});
    let founded = found(&mut registry, "ann", &first("laptop", (1, 0))).unwrap();
    let mut claim = second(&founded, founded.secret, vec![FinalCount { ordinal: Ordinal(1), count: 3, known: true }]);
    let raw = claim.raw.clone();
    for at in 0..raw.len() - 34 {
        let mut bent = raw.to_vec();
        bent[at] ^= 1;
        claim.raw = bent.into();
        assert_eq!(registry.join(&claim, None), Err(Refused(Code::BadProof)), "byte {at}");
    }
}

#[test]
fn a_server_that_leaves_or_takes_over_founds_nothing() {
    let mut registry = registry(|_| {});
    let founded = found(&mut registry, "ann", &first("laptop", (1, 0))).unwrap();
    let known = second(&founded, founded.secret, Vec::new());
    let mut unknown = known.clone();
    if let Some(attach) = &mut unknown.hello.attach {
        attach.session = SessionId([0; 16]);
    }
    for (stance, code) in [(Stance::TakingOver, Code::GoingAway), (Stance::Leaving, Code::UnknownSession)] {
        registry.set_stance(stance);
        assert_eq!(found(&mut registry, "bob", &first("b", (1, 0))), Err(Code::GoingAway));
        assert_eq!(registry.join(&known, None), Ok(founded.session));
        assert_eq!(registry.join(&unknown, None), Err(Refused(code)));
    }
}

#[test]
fn t32_sessions_of_a_principal_have_one_allowance_even_if_it_goes_and_comes_again() {
    let mut registry = registry(|_| {});
    let come = |registry: &mut Registry, who: &str, client: &str| found(registry, who, &first(client, (1, 0))).unwrap();
    let (one, other) = (come(&mut registry, "alice", "laptop"), come(&mut registry, "alice", "phone"));
    let bob = come(&mut registry, "bob", "laptop");
    assert!(one.allowance == other.allowance && one.allowance != bob.allowance);
    registry.remove(one.session);
    registry.remove(other.session);
    registry.remove(bob.session);
    assert!(registry.is_empty());
    let again = come(&mut registry, "alice", "laptop");
    assert_eq!(again.allowance, one.allowance);
    registry.remove(again.session);
    for index in 0..LEFT {
        let passing = come(&mut registry, &format!("passer-by {index}"), "");
        registry.remove(passing.session);
    }
    assert_eq!(registry.left.len(), LEFT);
    assert_ne!(come(&mut registry, "alice", "laptop").allowance, one.allowance, "not for ever");
}

#[test]
fn nobody_in_particular_shares_nothing_with_others() {
    let mut registry = registry(|_| {});
    let founded: Vec<_> = (0..5).map(|index| found(&mut registry, "", &first("", (index, 0))).unwrap()).collect();
    assert!(founded.windows(2).all(|pair| pair[0].allowance != pair[1].allowance));
    founded.iter().for_each(|founded| registry.remove(founded.session));
    assert_eq!(registry.left.len(), 0);
    assert!((0..3).map(|index| found(&mut registry, "alice", &first("", (index, 0)))).any(|it| it == Err(Code::Full)));
}

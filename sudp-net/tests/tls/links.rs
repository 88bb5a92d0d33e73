//! Good certificates, and links under TLS whatever the stream does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use proptest::prelude::*;
use sudp_net::tls::{ClientOptions, Pin, ServerOptions, ServerTls, Trust};
use sudp_proto::Seed;
use sudp_proto::config::client::Scheme;
use sudp_proto::link::{
    self, Answer, ClientTls, ClientUpgrade, Link, LinkEnd, LinkEvent, LinkLimits, LinkStage, Proxy, ProxyKind,
    ServerExpect, TlsEnd,
};
use sudp_proto::wire::Host;

use crate::certs::{Authority, Files, HOST, client, self_signed};
use crate::meeting::{Far, dial, dial_host, now};

/// With more than one, or none, this panics: features of any crate in the tree add up.
#[test]
fn there_is_exactly_one_provider_of_cryptography() {
    let chosen = rustls::ClientConfig::builder().crypto_provider().clone();
    let groups = |provider: &rustls::crypto::CryptoProvider| {
        provider.kx_groups.iter().map(|group| group.name()).collect::<Vec<_>>()
    };
    assert_eq!(groups(&chosen), groups(&rustls::crypto::aws_lc_rs::default_provider()));
    assert_eq!(groups(&chosen)[0], rustls::NamedGroup::X25519MLKEM768, "what is recorded today stays secret");
}

#[test]
fn a_chain_to_a_given_root_is_trusted() {
    let (files, root) = (Files::new(), Authority::root("Root"));
    let between = root.below("Between", |_| {});
    let server = between.issue(&[HOST]).serve(&files);
    let met = dial(client(root.trust(&files)), Far::Tls(server.current()));
    met.assert_claimed();
    assert_eq!(met.certificate, None, "nobody asked for one");
    assert!(!met.up.windows(4).any(|window| window == b"GET "), "the request is inside");
}

#[test]
fn an_address_and_a_wildcard_are_names_too() {
    let (files, root) = (Files::new(), Authority::root("Root"));
    let server = root.issue(&["192.0.2.1", "*.tunnel.example"]).serve(&files);
    let tls = client(root.trust(&files));
    let host = Host::Ip([192, 0, 2, 1].into());
    dial_host(host, Scheme::Wss, Some(tls.clone()), Far::Tls(server.current())).assert_claimed();
    let wildcard = Host::Name("A.tunnel.example.".into());
    dial_host(wildcard, Scheme::Wss, Some(tls), Far::Tls(server.current())).assert_claimed();
}

#[test]
fn another_name_is_asked_for_if_that_is_configured() {
    let (files, root) = (Files::new(), Authority::root("Root"));
    let server = root.issue(&["inside.example"]).serve(&files);
    let name = Some("inside.example".to_owned());
    let tls = ClientOptions { trust: root.trust(&files), name, ..ClientOptions::default() }.load().unwrap();
    dial(tls, Far::Tls(server.current())).assert_claimed();
}

#[test]
fn a_pin_is_enough_whatever_else_the_certificate_says() {
    let files = Files::new();
    let plain = self_signed(|params| params.subject_alt_names.clear());
    let authority = self_signed(|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    let expired = self_signed(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    for leaf in [plain, authority] {
        let server = leaf.serve(&files);
        let printed = server.pin().to_string();
        let pins =
            vec!["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".parse().unwrap(), printed.parse().unwrap()];
        dial(client(Trust::Pins(pins)), Far::Tls(server.current())).assert_claimed();
    }
    let pin = Pin::of(&expired.chain[0]).unwrap();
    dial(client(Trust::Pins(vec![pin])), Far::Tls(Arc::new(expired.serve_blindly()))).assert_claimed();
}

#[test]
fn a_client_shows_its_certificate_to_a_server_that_wants_one() {
    let (files, root) = (Files::new(), Authority::root("Root"));
    let members = Authority::root("Members");
    let client_roots = vec![files.write("members.pem", &members.certificate.pem())];
    let identity = root.issue(&[HOST]).identity(&files);
    let server = ServerTls::load(ServerOptions { client_roots, ..ServerOptions::new(identity) }).unwrap();
    let inside = Files::new();
    let me = members.issue(&["me"]);
    let identity = Some(me.identity(&inside));
    let tls = ClientOptions { trust: root.trust(&files), identity, ..ClientOptions::default() }.load().unwrap();
    let met = dial(tls, Far::Tls(server.current()));
    met.assert_claimed();
    assert_eq!(met.certificate.as_deref(), Some(&me.chain[0][..]), "the leaf, which names it");
    let met = dial(client(root.trust(&files)), Far::Tls(server.current()));
    assert_eq!(met.end, Some(LinkEnd::Tls(TlsEnd::NoCertificate)));
}

/// Both ends of a link and what is between them.
struct Pair {
    client: Link,
    server: Link,
    up: BytesMut,
    down: BytesMut,
    at_client: Vec<LinkEvent>,
    at_server: Vec<LinkEvent>,
    now: Instant,
}

fn both() -> (ClientTls, link::ServerTls) {
    let (files, root) = (Files::new(), Authority::root("Root"));
    (client(root.trust(&files)), root.issue(&[HOST]).serve(&files).link())
}

fn upgrade(tls: &ClientTls) -> ClientUpgrade {
    ClientUpgrade::new(link::Scheme::Wss, HOST, 443, "/sudp").unwrap().with_tls(tls.clone())
}

fn expect() -> ServerExpect {
    ServerExpect { path: "/sudp".into(), ..ServerExpect::default() }
}

impl Pair {
    fn new((tls, server): &(ClientTls, link::ServerTls), limits: LinkLimits) -> Self {
        let now = now();
        Self {
            client: Link::client(now, upgrade(tls), limits, Seed::from(1)),
            server: Link::secure_server(now, server, expect(), limits, Seed::from(2)),
            up: BytesMut::new(),
            down: BytesMut::new(),
            at_client: Vec::new(),
            at_server: Vec::new(),
            now,
        }
    }

    fn open(ends: &(ClientTls, link::ServerTls)) -> Self {
        let mut pair = Self::new(ends, LinkLimits::default());
        pair.run(&mut || usize::MAX);
        assert!(pair.client.is_open() && pair.server.is_open(), "{:?} {:?}", pair.at_client, pair.at_server);
        pair.at_client.clear();
        pair.at_server.clear();
        pair
    }

    /// Moves bytes in pieces of these sizes, both ways, until nothing moves.
    fn run(&mut self, piece: &mut impl FnMut() -> usize) {
        loop {
            let now = self.now;
            let moved = carry(now, &mut self.client, &mut self.server, &mut self.up, &mut self.at_server, piece)
                | carry(now, &mut self.server, &mut self.client, &mut self.down, &mut self.at_client, piece);
            if !moved {
                return;
            }
        }
    }
}

fn carry(
    now: Instant,
    from: &mut Link,
    to: &mut Link,
    input: &mut BytesMut,
    events: &mut Vec<LinkEvent>,
    piece: &mut impl FnMut() -> usize,
) -> bool {
    let mut moved = false;
    while !from.output().is_empty() {
        moved = true;
        let size = piece().clamp(1, from.output().len());
        input.extend_from_slice(&from.output()[..size]);
        from.advance_output(size);
        loop {
            let before = input.len();
            to.handle_input(now, input);
            while let Some(event) = to.poll_event() {
                if matches!(event, LinkEvent::Request(_)) {
                    to.accept(now).unwrap();
                }
                events.push(event);
            }
            if input.is_empty() || input.len() == before {
                break;
            }
        }
    }
    moved
}

fn messages(events: &[LinkEvent]) -> Vec<Vec<u8>> {
    let message = |event: &LinkEvent| if let LinkEvent::Message(bytes) = event { Some(bytes.to_vec()) } else { None };
    events.iter().filter_map(message).collect()
}

fn end(events: &[LinkEvent]) -> Option<&LinkEnd> {
    if let Some(LinkEvent::Ended(end)) = events.last() { Some(end) } else { None }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn how_bytes_are_cut_never_matters(
        sizes in prop::collection::vec(prop_oneof![1..40_usize, 1..5_000_usize, Just(70_000)], 1..8),
        up in prop::collection::vec(0..60_000_usize, 0..6),
        down in prop::collection::vec(0..60_000_usize, 0..6),
    ) {
        let mut turn = 0;
        let mut piece = || { turn += 1; sizes[turn % sizes.len()] };
        let mut pair = Pair::new(&both(), LinkLimits::default());
        pair.run(&mut piece);
        prop_assert!(pair.client.is_open() && pair.server.is_open());
        let fill = |length: &usize| (0..*length).map(|at| u8::try_from(at % 251).unwrap()).collect::<Vec<u8>>();
        let (up, down): (Vec<_>, Vec<_>) = (up.iter().map(fill).collect(), down.iter().map(fill).collect());
        for (said, message) in [(&up, true), (&down, false)] {
            let link = if message { &mut pair.client } else { &mut pair.server };
            said.iter().for_each(|message| link.send(&[message]).unwrap());
        }
        pair.run(&mut piece);
        prop_assert_eq!(messages(&pair.at_server), up);
        prop_assert_eq!(messages(&pair.at_client), down);
        pair.client.close(pair.now, 1_000, "bye");
        pair.run(&mut piece);
        prop_assert_eq!(end(&pair.at_server), Some(&LinkEnd::Closed { code: 1_000, reason: "bye".into() }));
        prop_assert_eq!(end(&pair.at_client), Some(&LinkEnd::Closed { code: 1_000, reason: "".into() }));
        prop_assert!(pair.client.is_finished() && pair.server.is_finished(), "both have said and heard the last word");
    }

    #[test]
    fn a_stream_that_is_altered_anywhere_ends_the_link_and_gives_no_other_message(
        at in 0..60_000_usize,
        flip in 1..=255_u8,
        size in 1..3_000_usize,
    ) {
        let mut pair = Pair::new(&both(), LinkLimits::default());
        let mut seen = 0;
        for round in 0..40 {
            for up in [true, false] {
                let (from, to, input, events) = if up {
                    (&mut pair.client, &mut pair.server, &mut pair.up, &mut pair.at_server)
                } else {
                    (&mut pair.server, &mut pair.client, &mut pair.down, &mut pair.at_client)
                };
                if from.is_open() && round % 3 == 0 {
                    from.send(&[&[7; 3_000]]).unwrap();
                }
                let mut bytes = from.output().to_vec();
                from.advance_output(bytes.len());
                if (seen..seen + bytes.len()).contains(&at) {
                    bytes[at - seen] ^= flip;
                }
                seen += bytes.len();
                for piece in bytes.chunks(size) {
                    input.extend_from_slice(piece);
                    to.handle_input(pair.now, input);
                    while let Some(event) = to.poll_event() {
                        if matches!(event, LinkEvent::Request(_)) {
                            to.accept(pair.now).unwrap();
                        }
                        events.push(event);
                    }
                }
            }
        }
        for events in [&pair.at_client, &pair.at_server] {
            prop_assert!(messages(events).iter().all(|message| message == &[7; 3_000]));
        }
        let ended = [&pair.at_client, &pair.at_server].iter().any(|events| end(events).is_some());
        prop_assert!(ended || seen <= at || is_padding(at), "altered at {at} of {seen}");
    }
}

/// The version in the head of the first record is not looked at, nor is it part of anything.
fn is_padding(at: usize) -> bool {
    at < 5
}

#[test]
fn a_message_of_many_records_and_a_record_of_many_messages_arrive_whole() {
    let mut pair = Pair::open(&both());
    let large = vec![3; 66 << 10];
    pair.server.send(&[&large]).unwrap();
    for _ in 0..3_000 {
        pair.server.send(&[b""]).unwrap();
    }
    pair.run(&mut || usize::MAX);
    let messages = messages(&pair.at_client);
    assert_eq!((messages.len(), &messages[0]), (3_001, &large));
    assert!(pair.client.held() < 512 << 10, "{}", pair.client.held());
}

#[test]
fn a_batch_fills_one_record_and_no_more() {
    let mut pair = Pair::open(&both());
    pair.client.send(&[&[1; 16_384 - 14 - 16]]).unwrap();
    let records = |mut bytes: &[u8]| {
        let mut count = 0;
        while let [23, 3, 3, high, low, rest @ ..] = bytes {
            count += 1;
            bytes = &rest[usize::from(u16::from_be_bytes([*high, *low]))..];
        }
        count
    };
    assert_eq!(records(pair.client.output()), 1);
}

#[test]
fn a_stream_that_ends_or_has_a_hole_is_the_end_of_the_link() {
    let mut pair = Pair::open(&both());
    pair.client.handle_end(pair.now);
    assert!(matches!(pair.client.poll_event(), Some(LinkEvent::Ended(LinkEnd::Truncated))));

    // A record is missing: what follows cannot be decrypted.
    let mut pair = Pair::open(&both());
    pair.server.send(&[b"lost"]).unwrap();
    let record = pair.server.output().len();
    pair.server.advance_output(record);
    pair.server.send(&[b"behind it"]).unwrap();
    pair.run(&mut || usize::MAX);
    assert_eq!(end(&pair.at_client), Some(&LinkEnd::Tls(TlsEnd::Damaged)));
    assert_eq!(end(&pair.at_server), Some(&LinkEnd::Tls(TlsEnd::Alert(20))));

    let mut pair = Pair::new(&both(), LinkLimits::default());
    pair.client.handle_end(pair.now);
    assert!(matches!(pair.client.poll_event(), Some(LinkEvent::Ended(LinkEnd::Tls(TlsEnd::HungUp)))));
}

#[test]
fn a_handshake_that_takes_too_long_ends_at_its_deadline_at_either_end() {
    let mut pair = Pair::new(&both(), LinkLimits::default());
    for link in [&mut pair.client, &mut pair.server] {
        let due = link.poll_timeout().unwrap();
        assert_eq!(due, pair.now + Duration::from_secs(10));
        // A byte now and then buys no time.
        link.handle_input(pair.now + Duration::from_secs(9), &mut BytesMut::from(&[22][..]));
        assert_eq!(link.poll_timeout(), Some(due));
        link.handle_timeout(due);
        assert!(matches!(link.poll_event(), Some(LinkEvent::Ended(LinkEnd::Timeout(LinkStage::Tls)))));
        assert!(link.is_finished() && link.output().is_empty());
    }
}

#[test]
fn a_handshake_without_end_is_cut_off() {
    let mut pair = Pair::new(&both(), LinkLimits::default());
    // One message of 64 KiB, announced and sent a byte a record.
    let mut bytes = BytesMut::from(&[22, 3, 1, 0, 4, 1, 0, 0xff, 0xf0][..]);
    let mut end = None;
    for _ in 0..100_000 {
        bytes.extend_from_slice(&[22, 3, 1, 0, 1, 0]);
        if bytes.len() % 16_000 < 6 {
            pair.server.handle_input(pair.now, &mut bytes);
            end = pair.server.poll_event();
            if end.is_some() {
                break;
            }
            assert!(bytes.len() <= 160 << 10, "{}", bytes.len());
        }
    }
    assert!(matches!(end, Some(LinkEvent::Ended(LinkEnd::Tls(_)))), "{end:?}");
    assert!(bytes.is_empty());
}

#[test]
fn tls_begins_behind_the_words_of_a_proxy() {
    let (tls, server) = both();
    for kind in [ProxyKind::Connect, ProxyKind::Socks5] {
        let mut pair = Pair::new(&(tls.clone(), server.clone()), LinkLimits::default());
        let through = upgrade(&tls).with_proxy(Proxy::new(kind));
        pair.client = Link::client(pair.now, through, LinkLimits::default(), Seed::from(1));
        let answers: &[&[u8]] = match kind {
            ProxyKind::Connect => &[b"HTTP/1.1 200 Fine\r\n\r\n"],
            ProxyKind::Socks5 => &[&[5, 0], &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]],
        };
        for answer in answers {
            let words = pair.client.output().to_vec();
            assert!(words.starts_with(b"CONNECT sudp.example:443") || words[0] == 5, "{words:?}");
            pair.client.advance_output(words.len());
            pair.client.handle_input(pair.now, &mut BytesMut::from(*answer));
        }
        assert_eq!(pair.client.output()[0], 22, "a handshake follows, and no request in clear");
        pair.run(&mut || 1_000);
        assert!(pair.client.is_open() && pair.server.is_open());
    }
}

#[test]
fn a_stranger_under_tls_is_answered_and_not_given_away() {
    let (tls, server) = both();
    let mut pair = Pair::new(&(tls.clone(), server), LinkLimits::default());
    let elsewhere = ClientUpgrade::new(link::Scheme::Wss, HOST, 443, "/other").unwrap().with_tls(tls);
    pair.client = Link::client(pair.now, elsewhere, LinkLimits::default(), Seed::from(1));
    pair.run(&mut || usize::MAX);
    assert!(matches!(pair.at_server[..], [LinkEvent::Stranger(_)]));
    pair.server.refuse(pair.now, &Answer::not_found()).unwrap();
    pair.run(&mut || usize::MAX);
    assert!(matches!(end(&pair.at_client), Some(LinkEnd::Refused(refusal)) if refusal.status == 404));
}

#[test]
fn pings_are_answered_and_idle_links_give_their_memory_back() {
    let mut pair = Pair::open(&both());
    pair.client.send(&[&[9; 60_000]]).unwrap();
    pair.run(&mut || usize::MAX);
    pair.at_server.clear();
    for link in [&mut pair.client, &mut pair.server] {
        link.release();
        assert!(link.held() < 16 << 10, "{}", link.held());
    }
    pair.server.send(&[b"again"]).unwrap();
    pair.run(&mut || usize::MAX);
    assert_eq!(messages(&pair.at_client), [b"again"]);
}

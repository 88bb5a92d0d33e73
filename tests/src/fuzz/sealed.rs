//! A sealed link between a client and a server, and somebody in between who does to their messages what
//! the data says: the ends see that something was done, or nothing was, and no datagram is delivered that
//! was not sent.

use bytes::BytesMut;
use sudp_proto::Seed;
use sudp_proto::access::Pool;
use sudp_proto::config::Limits;
use sudp_proto::driver::Endpoint as _;
use sudp_proto::link::{Keypair, ServerExpect, ServerSeal};
use sudp_proto::server::{Incoming, IncomingSetup};

use crate::clock::epoch;
use crate::rig::Rig;

/// The first byte chooses between a server that hears the rest as a hello, and a man in the middle.
pub fn sealed(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    match first % 4 {
        0 => hello(rest),
        _ => middle(rest),
    }
}

/// A server that seals reads whatever there is as the hello of a request.
fn hello(data: &[u8]) {
    let expect = ServerExpect { path: "/sudp".into(), ..ServerExpect::default() };
    let seal = Some(ServerSeal { key: Keypair::from_private([1; 32]), required: data.len().is_multiple_of(2) });
    let limits = Limits::default();
    let setup = IncomingSetup { expect, tls: None, seal, limits, server: 1, seed: Seed::from(1) };
    let mut incoming = Incoming::new(epoch(), setup);
    let mut input =
        BytesMut::from(&b"GET /sudp HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"[..]);
    input
        .extend_from_slice(b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSudp-Hello: ");
    input.extend_from_slice(data);
    input.extend_from_slice(b"\r\n\r\n");
    incoming.handle_input(epoch(), Incoming::KEY, &mut input);
    if let Some(claim) = incoming.poll_claim() {
        assert!(claim.key.is_some() <= claim.is_sealed());
        assert!(claim.key.is_none() || claim.hello.attach.is_none(), "who joins shows no key");
    }
}

/// What is done to the bytes of one turn.
fn middle(data: &[u8]) {
    let pool = Pool::memory(64 << 20, 128 << 10);
    let mut rig = Rig::sealed(1, &pool, &pool);
    let (mut wire, mut kept, mut meddled) = (Vec::new(), Vec::new(), false);
    for (number, deed) in (0_u32..).zip(data.chunks(3).take(TURNS)) {
        let [what, at, bit] = [deed[0], deed.get(1).copied().unwrap_or(0), deed.get(2).copied().unwrap_or(0)];
        // A flow that has ended with its link takes nothing more.
        let _ = rig.client.send(rig.now, 1, &payload(number, what));
        wire.clear();
        rig.client.say(rig.now, &mut wire);
        let before = wire.clone();
        match what % 7 {
            0 if !wire.is_empty() => {
                let at = usize::from(at) * wire.len() / 256;
                wire[at] ^= 1 << (bit % 8);
            }
            1 => wire.clear(),
            2 => wire.extend_from_within(..),
            3 => kept.append(&mut wire),
            4 => wire.truncate(usize::from(at) * wire.len() / 256),
            5 => wire.append(&mut kept),
            _ => {}
        }
        meddled |= wire != before;
        rig.server.hear(rig.now, &wire);
        let counters = rig.server.session().counters();
        assert!(counters.delivered <= u64::from(number) + 1, "more is delivered than was sent");
        if !meddled {
            assert_eq!(counters.delivered, u64::from(number) + 1, "whole messages arrive");
        }
        wire.clear();
        rig.server.say(rig.now, &mut wire);
        rig.client.hear(rig.now, &wire);
    }
    let (sent, delivered) = (rig.client.session().counters(), rig.server.session().counters());
    assert!(delivered.bytes_in <= sent.bytes_out);
    assert_eq!(delivered.violations, 0, "what opens was sealed by the client, and reads");
}

fn payload(number: u32, size: u8) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(4 + 10 * usize::from(size), size);
    payload
}

const TURNS: usize = 40;

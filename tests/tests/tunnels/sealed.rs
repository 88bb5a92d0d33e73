//! Links that are sealed end to end, on real sockets.

use std::net::SocketAddr;

use sudp_net::proto::access::Grant;
use sudp_net::proto::client::DialError;
use sudp_net::proto::wire::Code;
use sudp_net::seal::{ClientSeal, Keypair, ServerSeal, fresh};
use sudp_net::{Anyone, Client, Server};

use crate::outages::survives;
use crate::relay::{Fate, Relay};
use crate::rig::{address, client_options, failure, forward, server_options};
use crate::side::Side;
use crate::udp::{Echo, Source, anywhere};

fn sealing<S: Side>(key: &Keypair) -> Server<S> {
    let mut options = server_options(anywhere());
    options.seal = Some(ServerSeal { key: key.clone(), required: true });
    S::bind(options, Anyone(Grant::open())).expect("a server")
}

fn sealed<C: Side>(to: SocketAddr, server: &Keypair) -> Client<C> {
    let mut options = client_options(to);
    options.seal = Some(ClientSeal { server: server.public(), key: fresh().expect("randomness") });
    C::connect(options).expect("a client")
}

pub(crate) async fn a_sealed_tunnel_carries_datagrams_of_every_size<C: Side, S: Side>() {
    let (echo, key) = (Echo::new(), fresh().expect("randomness"));
    let server = sealing::<S>(&key);
    let client = sealed::<C>(address(&server), &key);
    let source = Source::to(forward(&client, echo.at).await).await;
    for size in [0_usize, 1, 1_200, 9_000, 65_000, 65_470, 65_507] {
        let payload: Vec<u8> = (0..size).map(|at| (at * 31 + size).to_le_bytes()[0]).collect();
        source.exchange(&payload).await;
        assert!(echo.heard().pop().expect("it came by").payload == payload, "{size} bytes");
    }
    let stats = client.stats().await.expect("the client lives");
    let there = server.stats(stats.session.expect("a session")).await.expect("the session lives");
    assert!(stats.sealed && there.sealed);
}

pub(crate) async fn who_is_in_between_and_flips_bits_or_cuts_changes_nothing<C: Side, S: Side>() {
    let key = fresh().expect("randomness");
    let server = sealing::<S>(&key);
    let relay = Relay::to(address(&server)).await;
    let client = sealed::<C>(relay.at, &key);
    survives(&client, &relay, &[Fate::Flip, Fate::Reset, Fate::Flip, Fate::Flip]).await;
}

pub(crate) async fn whoever_has_the_wrong_key_or_none_is_told_so<C: Side, S: Side>() {
    let (key, other) = (fresh().expect("randomness"), fresh().expect("randomness"));
    let server = sealing::<S>(&key);
    let at = address(&server);
    let relay = Relay::to(at).await;
    for (seal, code) in [(Some(&other), Code::Sealing), (None, Code::Unsealed)] {
        relay.set_open(false);
        let client = match seal {
            Some(key) => sealed::<C>(relay.at, key),
            None => C::connect(client_options(relay.at)).expect("a client"),
        };
        let mut events = client.events();
        relay.set_open(true);
        let why = loop {
            match failure(&mut events).await {
                // From before the relay was open.
                DialError::Broken(_) | DialError::Connect(_) => {}
                why => break why,
            }
        };
        assert!(matches!(why, DialError::Refused { code: said, .. } if said == code), "{why}");
        assert_eq!(client.stats().await.expect("the client lives").session, None);
    }
}

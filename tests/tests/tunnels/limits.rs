//! What the clients of one principal may do together.

use sudp_net::proto::access::{Grant, Rate, Rates};
use sudp_net::proto::server::Identification;
use sudp_net::{Admitted, Server, Verdict, Visit};

use crate::rig::{address, connect, forward, server_options};
use crate::side::Side;
use crate::udp::{Echo, Source, anywhere};

/// A server to which everybody is alice.
fn serve_alice<S: Side>(grant: Grant) -> Server<S> {
    let admit = move |_: Visit| {
        let who = Identification { principal: "alice".into() };
        let admitted = Admitted { who, ..Admitted::anyone(grant.clone()) };
        async move { Verdict::Admit(admitted) }
    };
    S::bind(server_options(anywhere()), admit).expect("a server")
}

pub(crate) async fn t32_flows_are_counted_over_all_clients_of_a_principal<C: Side, S: Side>() {
    let (echo, server) = (Echo::new(), serve_alice::<S>(Grant { flows: 3, ..Grant::open() }));
    let clients = [connect::<C>(address(&server)), connect::<C>(address(&server))];
    let doors = [forward(&clients[0], echo.at).await, forward(&clients[1], echo.at).await];
    let mut sources = Vec::new();
    for door in [doors[0], doors[0], doors[1]] {
        let source = Source::to(door).await;
        source.exchange(b"one of three").await;
        sources.push(source);
    }
    let fourth = Source::to(doors[1]).await;
    fourth.send(b"one too many").await;
    echo.hears(3).await;
    assert_eq!(echo.sources().len(), 3);
    sources[2].exchange(b"the others go on").await;
    // Who goes makes room.
    let [first, _second] = clients;
    first.close().await;
    fourth.persist(b"one of two").await;
}

pub(crate) async fn t32_rates_are_kept_over_all_clients_of_a_principal<C: Side, S: Side>() {
    let rates = Rates { datagrams: Some(Rate { per_second: 1, burst: 50 }), bytes: None };
    let (echo, server) = (Echo::new(), serve_alice::<S>(Grant { rates, ..Grant::open() }));
    let clients = [connect::<C>(address(&server)), connect::<C>(address(&server))];
    let mut sources = Vec::new();
    for client in &clients {
        let source = Source::to(forward(client, echo.at).await).await;
        source.exchange(b"it stands").await;
        sources.push(source);
    }
    for source in &sources {
        for _ in 0..60 {
            source.send(b"of these, half are too many").await;
        }
    }
    echo.hears(50).await;
    // A second or more may have passed meanwhile, but not twenty.
    let heard = echo.heard().len();
    assert!((50..70).contains(&heard), "{heard}");
}

//! What the clients of one principal may do together, and what all may when memory runs short.

use sudp_net::proto::access::{Grant, Lease, Pool, Rate, Rates};
use sudp_net::proto::client::DialError;
use sudp_net::proto::event::Event;
use sudp_net::proto::server::Identification;
use sudp_net::proto::wire::{Code, SessionId};
use sudp_net::{Admitted, Anyone, Client, Events, Server, ServerEvent, Verdict, Visit};
use tokio::time::{sleep, timeout};

use crate::relay::{Fate, Relay};
use crate::rig::{address, connect, failure, forward, server_options, told};
use crate::side::Side;
use crate::udp::{Echo, LONG, SOON, Source, anywhere};

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

/// A server, and the memory that its sessions share.
fn serve_from_memory<S: Side>() -> (Server<S>, Pool) {
    let memory = Pool::memory(64 << 20, 128 << 10);
    let mut options = server_options(anywhere());
    options.memory = memory.clone();
    (S::bind(options, Anyone(Grant::open())).expect("a server"), memory)
}

/// Takes memory until only so much of it is free, for as long as what is returned lives.
fn leave(memory: &Pool, hundredths: u64) -> Vec<Lease> {
    let free = memory.terms().total / 100 * hundredths;
    let mut taken = Vec::new();
    while memory.free() > free {
        let mut lease = memory.lease();
        let some = lease.room().min(memory.free().saturating_sub(free));
        assert!(lease.take(some));
        taken.push(lease);
    }
    taken
}

async fn is_turned_away<C: Side>(client: &Client<C>) {
    let failed = failure(&mut client.events()).await;
    assert!(matches!(failed, DialError::Refused { code: Code::Full, .. }), "{failed:?}");
}

/// Waits until a server has so many sessions.
async fn comes_to<S: Side>(server: &Server<S>, sessions: usize) {
    let come = async {
        while server.sessions().len() != sessions {
            sleep(SOON).await;
        }
    };
    timeout(LONG, come).await.expect("it has as many");
}

/// What a server tells next of its sessions, as far as it concerns the story.
async fn next<T>(events: &mut Events<ServerEvent>, mut wanted: impl FnMut(SessionId, Event) -> Option<T>) -> T {
    let found = async {
        loop {
            if let ServerEvent::Session(session, event) = events.next().await.expect("the server lives")
                && let Some(found) = wanted(session, event)
            {
                return found;
            }
        }
    };
    timeout(LONG, found).await.expect("the event comes")
}

pub(crate) async fn t13_of_the_last_tenth_of_memory_nobody_new_gets_any_and_who_is_there_goes_on<C: Side, S: Side>() {
    let (echo, (server, memory)) = (Echo::new(), serve_from_memory::<S>());
    let guest = connect::<C>(address(&server));
    let door = forward(&guest, echo.at).await;
    let source = Source::to(door).await;
    source.exchange(b"before").await;
    let most = leave(&memory, 12);
    let second = connect::<C>(address(&server));
    second.attached().await.expect("there is enough for another");
    let rest = leave(&memory, 8);
    let third = connect::<C>(address(&server));
    is_turned_away(&third).await;
    // Whoever is there sends as before, from new sources too, and has its connections replaced.
    source.exchange(b"as before").await;
    Source::to(door).await.exchange(b"another source").await;
    let mut events = guest.events();
    guest.reconnect().expect("the client lives");
    told(&mut events, |event| matches!(event, Event::LinkEnded { .. }).then_some(())).await;
    source.exchange(b"by another connection").await;
    assert_eq!(server.sessions().len(), 2);
    // What is given back is there for the next.
    drop(rest);
    third.attached().await.expect("there is enough again");
    assert_eq!(server.sessions().len(), 3);
    drop(most);
}

pub(crate) async fn t13_of_the_last_twentieth_of_memory_sessions_without_a_link_go_newest_first<C: Side, S: Side>() {
    let (echo, (server, memory)) = (Echo::new(), serve_from_memory::<S>());
    let mut events = server.events();
    let relay = Relay::to(address(&server)).await;
    let older = connect::<C>(relay.at);
    let first = older.attached().await.expect("a session");
    let newer = connect::<C>(relay.at);
    let sessions = [first, newer.attached().await.expect("a session")];
    // The newest of all has a link.
    let guest = connect::<C>(address(&server));
    let source = Source::to(forward(&guest, echo.at).await).await;
    source.exchange(b"before").await;
    let linked = guest.attached().await.expect("a session");
    relay.set_open(false);
    relay.strike(Fate::Reset);
    for _ in sessions {
        next(&mut events, |session, event| (event == Event::Detached).then_some(session)).await;
    }

    // As long as it is only a tenth that is left, those without a link keep theirs.
    let most = leave(&memory, 8);
    let stranger = connect::<C>(address(&server));
    is_turned_away(&stranger).await;
    assert_eq!(server.sessions().len(), 3);
    let rest = leave(&memory, 3);
    // Each who asks is turned away, and one session goes, of those that have the least to lose.
    let closed = |session, event| if let Event::Closed { code, .. } = event { Some((session, code)) } else { None };
    let gone = [next(&mut events, closed).await, next(&mut events, closed).await];
    assert_eq!(gone, [(sessions[1], Code::Full), (sessions[0], Code::Full)]);
    is_turned_away(&stranger).await;
    comes_to(&server, 1).await;
    assert_eq!(server.sessions(), [linked]);
    source.exchange(b"who has a link goes on").await;

    // Once there is enough again all come back, to sessions that are new.
    drop((most, rest));
    relay.set_open(true);
    stranger.attached().await.expect("there is enough again");
    comes_to(&server, 4).await;
    for (client, before) in [(&older, sessions[0]), (&newer, sessions[1])] {
        let now = client.attached().await.expect("the client lives");
        assert!(now != before && server.sessions().contains(&now), "{now:?}");
    }
}

//! Tunnels of both ways: which are refused, who listens for them, and what ends with them.

use std::sync::Arc;

use super::hostile::{controls, outcome, used};
use super::pair::{Pair, TUNNEL, source};
use crate::access::{Grant, Own, Replies, Rules};
use crate::config::Limits;
use crate::event::Event;
use crate::session::{Access, InDoubt, Need, Role, SendError, Treatment, Tunnel, TunnelError, Way};
use crate::stats::DropReason;
use crate::testing::{ms, secs};
use crate::wire::{Address, Bind, Class, Code, Control, FlowId, TunnelId};

const REVERSE: TunnelId = TunnelId(2);

fn tunnel(way: Way) -> Tunnel {
    Tunnel { way, treatment: Treatment::default(), in_doubt: InDoubt::Drop }
}

fn forward(listen: Option<u16>) -> Tunnel {
    tunnel(Way::Forward { listen: listen.map(source), to: Some(Address::from(source(9))) })
}

fn reverse() -> Tunnel {
    tunnel(Way::Reverse { listen: source(53), to: Address::from(source(9)) })
}

/// What a client says to have a listener of the server.
fn bind(tunnel: TunnelId, idle: u64) -> Control {
    let (class, copies) = (Class::Reliable, 1);
    Control::Bind(Bind { tunnel, listen: source(53), class, copies, spread: false, idle: secs(idle) })
}

/// A pair with a reverse tunnel, on which a source of the server has sent one datagram.
fn reversed() -> Pair {
    let mut pair = Pair::new();
    pair.client.add_tunnel(REVERSE, reverse()).unwrap();
    pair.connect();
    pair.run(ms(100));
    pair.server.handle_datagram(pair.now, REVERSE, source(7_000), b"question").unwrap();
    pair.drain();
    pair.run(ms(100));
    pair
}

fn needed(pair: &Pair, role: Role, need: &Need) -> usize {
    pair.needs.iter().filter(|(half, other)| *half == role && other == need).count()
}

#[test]
fn a_tunnel_that_may_not_be_is_refused_with_what_may() {
    let mut pair = Pair::with(Treatment::default(), Limits { links: 2, tunnels: 3, ..Limits::default() });
    let treated = |treatment| Tunnel { treatment, ..forward(None) };
    let copies = |copies| treated(Treatment { copies, ..Treatment::default() });
    for (id, tunnel, refusal) in [
        (TUNNEL, forward(None), TunnelError::Exists(TUNNEL)),
        (REVERSE, copies(0), TunnelError::Copies { copies: 0, links: 2 }),
        (REVERSE, copies(3), TunnelError::Copies { copies: 3, links: 2 }),
        (
            REVERSE,
            treated(Treatment { class: Class::Control, ..Treatment::default() }),
            TunnelError::Class(Class::Control),
        ),
    ] {
        assert_eq!(pair.client.add_tunnel(id, tunnel), Err(refusal));
    }
    pair.client.add_tunnel(REVERSE, copies(2)).unwrap();
    pair.client.add_tunnel(TunnelId(3), forward(None)).unwrap();
    assert_eq!(pair.client.add_tunnel(TunnelId(4), forward(None)), Err(TunnelError::Full { limit: 3 }));
    pair.client.close(pair.now, Code::Done);
    assert_eq!(pair.client.add_tunnel(TunnelId(4), forward(None)), Err(TunnelError::Closed));
}

#[test]
fn a_local_listener_is_asked_for_told_and_given_back() {
    let mut pair = Pair::new();
    pair.client.add_tunnel(TunnelId(3), forward(Some(5_005))).unwrap();
    pair.drain();
    let bound = Event::TunnelBound { tunnel: TunnelId(3), outcome: Ok(source(5_005)) };
    assert_eq!(pair.count(|event| *event == bound), 1);

    pair.client.remove_tunnel(pair.now, TunnelId(3));
    pair.client.remove_tunnel(pair.now, TUNNEL);
    pair.client.remove_tunnel(pair.now, TUNNEL);
    pair.drain();
    let given_back = |need: &&(Role, Need)| matches!(need.1, Need::Unlisten(_));
    let given_back: Vec<_> = pair.needs.iter().filter(given_back).collect();
    assert_eq!(given_back, [&(Role::Client, Need::Unlisten(TunnelId(3)))], "the other never listened");
    let gone = pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), b"late");
    assert_eq!(gone, Err(SendError::Tunnel(TUNNEL)));
}

#[test]
fn what_sources_of_the_server_send_into_a_reverse_tunnel_is_delivered_and_answered() {
    let mut pair = reversed();
    let flow = pair.server.flows().next().unwrap();
    assert_eq!(pair.answered, [(flow, "question".into())]);
    assert_eq!(needed(&pair, Role::Client, &Need::Socket { flow, to: source(9) }), 1);
    let words = pair.client.words(flow).unwrap();
    assert_eq!((words.tunnel, words.source), (REVERSE, Some(source(7_000))));

    pair.client.handle_answer(pair.now, flow, source(9), b"answer").unwrap();
    pair.drain();
    pair.run(ms(100));
    assert_eq!(pair.served, [(flow, "answer".into())]);
}

#[test]
fn a_reverse_tunnel_that_is_removed_ends_its_listener_and_its_flows_at_both_ends() {
    let mut pair = reversed();
    let flow = pair.server.flows().next().unwrap();
    pair.client.remove_tunnel(pair.now, REVERSE);
    pair.drain();
    pair.run(secs(1));
    assert_eq!((pair.client.flows().count(), pair.server.flows().count()), (0, 0));
    assert_eq!(needed(&pair, Role::Client, &Need::CloseSocket(flow)), 1);
    assert_eq!(needed(&pair, Role::Server, &Need::Unlisten(REVERSE)), 1);
    let gone = pair.server.handle_datagram(pair.now, REVERSE, source(7_000), b"late");
    assert_eq!(gone, Err(SendError::Tunnel(REVERSE)));
}

#[test]
fn removing_a_tunnel_leaves_the_flows_of_the_others() {
    let mut pair = reversed();
    pair.send(4_000, b"stays");
    pair.run(ms(100));
    pair.client.remove_tunnel(pair.now, REVERSE);
    pair.drain();
    pair.run(secs(1));
    let left: Vec<_> = pair.client.flows().collect();
    assert_eq!(left.len(), 1);
    assert_eq!(pair.client.words(left[0]).unwrap().tunnel, TUNNEL);
}

#[test]
fn a_listener_asked_for_twice_is_opened_anew_only_for_other_words() {
    let (mut pair, link) = used(Limits::default());
    for (number, idle, listened, unlistened) in [(100, 180, 1, 0), (101, 180, 1, 0), (102, 240, 2, 1)] {
        pair.inject(Role::Server, link, &[controls(number, &[bind(REVERSE, idle)])]);
        let listen = Need::Listen { tunnel: REVERSE, at: source(53) };
        assert_eq!(needed(&pair, Role::Server, &listen), listened, "idle {idle}");
        assert_eq!(needed(&pair, Role::Server, &Need::Unlisten(REVERSE)), unlistened, "idle {idle}");
    }
}

#[test]
fn a_listener_too_many_is_refused_and_those_there_stay() {
    let mut pair = Pair::with(Treatment::default(), Limits { tunnels: 1, ..Limits::default() });
    let link = pair.connect();
    pair.run(secs(1));
    pair.inject(Role::Server, link, &[controls(100, &[bind(TunnelId(7), 180), bind(TunnelId(8), 180)])]);
    let listens = pair.needs.iter().filter(|(_, need)| matches!(need, Need::Listen { .. }));
    assert_eq!(listens.count(), 1);
    // One that is there is none too many.
    pair.inject(Role::Server, link, &[controls(101, &[bind(TunnelId(7), 240)])]);
    let listens = pair.needs.iter().filter(|(_, need)| matches!(need, Need::Listen { .. }));
    assert_eq!(listens.count(), 2, "other words open it anew");
    let sent = pair.server.handle_datagram(pair.now, TunnelId(8), source(7_000), b"nobody listens");
    assert_eq!(sent, Err(SendError::Tunnel(TunnelId(8))));
    assert!(pair.server.handle_datagram(pair.now, TunnelId(7), source(7_000), b"somebody does").is_ok());
}

#[test]
fn a_grant_that_no_longer_allows_a_listener_withdraws_it_and_says_so() {
    let mut pair = reversed();
    pair.events.clear();
    let grant = Grant { reverse: Rules::default(), ..Grant::open() };
    pair.server.regrant(pair.now, Access { grant, own: Arc::new(Own::default()) });
    pair.drain();
    pair.run(ms(500));
    assert_eq!(needed(&pair, Role::Server, &Need::Unlisten(REVERSE)), 1);
    assert_eq!(pair.server.flows().count(), 0);
    let denied = Event::TunnelBound { tunnel: REVERSE, outcome: Err(Code::Denied) };
    assert_eq!(pair.count(|event| *event == denied), 1);
}

#[test]
fn a_listener_that_opened_where_the_grant_does_not_allow_is_closed_again() {
    let mut pair = reversed();
    pair.events.clear();
    let allowed = Rules::parse(["allow 127.0.0.1:53"]).unwrap();
    let grant = Grant { reverse: allowed, ..Grant::open() };
    pair.server.regrant(pair.now, Access { grant, own: Arc::new(Own::default()) });
    assert_eq!(needed(&pair, Role::Server, &Need::Unlisten(REVERSE)), 0);
    pair.server.handle_listening(pair.now, REVERSE, Ok(source(54)));
    pair.drain();
    pair.run(ms(500));
    assert_eq!(needed(&pair, Role::Server, &Need::Unlisten(REVERSE)), 1);
    let denied = Event::TunnelBound { tunnel: REVERSE, outcome: Err(Code::Denied) };
    assert_eq!(pair.count(|event| *event == denied), 1);
}

#[test]
fn news_of_a_listener_that_nobody_asked_for_is_ignored() {
    let (mut pair, _) = used(Limits::default());
    pair.needs.clear();
    for role in [Role::Client, Role::Server] {
        for news in [Ok(source(53)), Err(Code::Unreachable)] {
            let now = pair.now;
            pair.half(role).handle_listening(now, REVERSE, news);
        }
    }
    pair.drain();
    assert_eq!((pair.needs.len(), pair.events.len(), pair.server.controls.len()), (0, 0, 0));
    assert_eq!(outcome(&pair, Role::Client), super::hostile::Outcome::Lives);
}

#[test]
fn what_enters_a_reverse_tunnel_from_its_far_end_has_no_destination_and_is_refused() {
    let mut pair = reversed();
    let flow = pair.client.open_flow(pair.now, REVERSE, None, None).unwrap();
    pair.client.send(pair.now, flow, None, b"backwards").unwrap();
    pair.drain();
    pair.run(secs(1));
    assert!(pair.served.is_empty());
    let refused = Event::FlowClosed { flow, code: Code::Denied };
    assert!(pair.events.contains(&(Role::Client, refused)));
}

/// A pair whose client listens where others reach it, and a source that is one of them.
fn reached() -> (Pair, std::net::SocketAddr) {
    let mut pair = Pair::new();
    let listen = Some("192.0.2.1:5005".parse().unwrap());
    pair.client.add_tunnel(REVERSE, tunnel(Way::Forward { listen, to: Some(Address::from(source(9))) })).unwrap();
    pair.connect();
    pair.run(ms(100));
    (pair, "198.51.100.7:4000".parse().unwrap())
}

fn answer(pair: &mut Pair, flow: FlowId, bytes: usize) {
    pair.server.handle_answer(pair.now, flow, source(9), &vec![7; bytes]).unwrap();
    pair.drain();
    pair.run(ms(100));
}

#[test]
fn t05_a_listener_that_others_reach_answers_little_until_its_source_has_spoken_again() {
    let (mut pair, from) = reached();
    let flow = pair.client.handle_datagram(pair.now, REVERSE, from, b"question").unwrap();
    pair.drain();
    pair.run(ms(100));
    answer(&mut pair, flow, 4_000);
    answer(&mut pair, flow, 4_000);
    assert_eq!(pair.answered.len(), 1, "what else came was beyond its due");
    assert_eq!(pair.client.counters().dropped_in[DropReason::Unconfirmed], 1);

    pair.client.handle_datagram(pair.now, REVERSE, from, b"and more").unwrap();
    pair.drain();
    pair.run(ms(100));
    for _ in 0..20 {
        answer(&mut pair, flow, 4_000);
    }
    assert_eq!(pair.answered.len(), 21);
    assert_eq!(pair.client.counters().dropped_in[DropReason::Unconfirmed], 1);
}

#[test]
fn t05_a_listener_of_this_machine_alone_answers_whatever_comes() {
    let mut pair = Pair::new();
    pair.client.add_tunnel(REVERSE, forward(Some(5_005))).unwrap();
    pair.connect();
    pair.run(ms(100));
    let flow = pair.client.handle_datagram(pair.now, REVERSE, source(4_000), b"question").unwrap();
    pair.drain();
    pair.run(ms(100));
    for _ in 0..20 {
        answer(&mut pair, flow, 4_000);
    }
    assert_eq!(pair.answered.len(), 20);
}

#[test]
fn t05_this_machine_itself_is_answered_whatever_comes_at_a_listener_that_others_reach() {
    let (mut pair, _) = reached();
    let flow = pair.client.handle_datagram(pair.now, REVERSE, source(4_000), b"question").unwrap();
    pair.drain();
    pair.run(ms(100));
    for _ in 0..20 {
        answer(&mut pair, flow, 4_000);
    }
    assert_eq!(pair.answered.len(), 20);
}

#[test]
fn t05_listeners_of_several_sessions_share_one_budget() {
    let ((mut one, from), (mut other, _)) = (reached(), reached());
    let replies = Replies::new(&Limits::default());
    for pair in [&mut one, &mut other] {
        pair.client.share_replies(&replies);
        let flow = pair.client.handle_datagram(pair.now, REVERSE, from, b"question").unwrap();
        pair.drain();
        pair.run(ms(100));
        answer(pair, flow, 4_000);
    }
    // The second session's question came from where the first had been answered: that is what confirms a source.
    assert_eq!((one.answered.len(), other.answered.len()), (1, 1));
    assert_eq!(replies.sources(), 1);
}

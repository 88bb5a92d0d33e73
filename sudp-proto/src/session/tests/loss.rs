//! Sessions that are lost or closed: what moves to the next one, what is over, and that all of it is in the books.

use super::hostile::{down, message};
use super::pair::{Fate, Pair, TUNNEL, source};
use crate::event::{Event, LinkLoss};
use crate::session::{InDoubt, Need, Phase, Role, Session, Tunnel, Way};
use crate::stats::DropReason;
use crate::testing::{ms, secs};
use crate::wire::{Address, Code, Control, Ordinal, Totals, TunnelId};

const OTHER: TunnelId = TunnelId(2);

/// The server knows nothing any more; the client learns of it, and begins anew with the next.
fn lose(pair: &mut Pair) {
    pair.client.lose(pair.now, Code::UnknownSession);
    pair.server = Session::new(pair.now, Role::Server, pair.setup(Role::Server));
    pair.links.clear();
    pair.drain();
    pair.connect();
    pair.run(secs(2));
}

/// The client has put a datagram on a link that then ended, and nobody has told what became of it.
fn under_way(pair: &mut Pair, tunnel: TunnelId) -> Ordinal {
    let link = pair.connect();
    pair.run(ms(200));
    pair.path(link).fate = Fate::Hanging;
    pair.client.handle_datagram(pair.now, tunnel, source(4_000), b"under way").unwrap();
    pair.drain();
    link
}

/// It did not arrive: the server says so on another link, which carries nothing yet.
fn made_certain(pair: &mut Pair, link: Ordinal) {
    let next = pair.connect();
    pair.client.detach(pair.now, link, LinkLoss::Ended);
    pair.client.handle_message(pair.now, next, message(&down(link.0, Some(0), false)));
}

#[test]
fn what_is_in_doubt_is_dropped_or_sent_again_as_its_tunnel_wants() {
    for (in_doubt, arrived) in [(InDoubt::Drop, 0), (InDoubt::Resend, 1)] {
        let mut pair = Pair::new();
        let to = Some(Address::from(source(9)));
        let tunnel = Tunnel { in_doubt, ..Tunnel::new(Way::Forward { listen: None, to }) };
        pair.client.add_tunnel(OTHER, tunnel).unwrap();
        under_way(&mut pair, OTHER);
        lose(&mut pair);
        let counters = pair.client.counters();
        assert_eq!((pair.served.len(), counters.acknowledged), (arrived, arrived as u64), "{in_doubt:?}");
        assert_eq!(counters.in_doubt, 1 - counters.acknowledged, "{in_doubt:?}");
    }
}

#[test]
fn what_certainly_did_not_arrive_moves_to_the_next_session_whatever_its_tunnel_wants() {
    let mut pair = Pair::new();
    let link = under_way(&mut pair, TUNNEL);
    made_certain(&mut pair, link);
    lose(&mut pair);
    let counters = pair.client.counters();
    assert_eq!((pair.served.len(), counters.acknowledged, counters.in_doubt), (1, 1, 0));
}

#[test]
fn flows_that_the_lost_server_opened_are_over_and_an_answer_under_way_is_in_doubt() {
    let mut pair = Pair::new();
    let way = Way::Reverse { listen: source(53), to: Address::from(source(9)) };
    pair.client.add_tunnel(OTHER, Tunnel { in_doubt: InDoubt::Resend, ..Tunnel::new(way) }).unwrap();
    let link = pair.connect();
    pair.run(ms(200));
    let flow = pair.server.handle_datagram(pair.now, OTHER, source(7_000), b"question").unwrap();
    pair.drain();
    pair.run(ms(200));
    pair.path(link).fate = Fate::Hanging;
    pair.client.handle_answer(pair.now, flow, source(9), b"answer").unwrap();
    pair.drain();
    lose(&mut pair);
    assert_eq!(pair.client.flows().count(), 0);
    assert!(pair.needs.contains(&(Role::Client, Need::CloseSocket(flow))));
    let closed = Event::FlowClosed { flow, code: Code::UnknownSession };
    assert_eq!(pair.events.iter().filter(|event| **event == (Role::Client, closed.clone())).count(), 1);
    assert_eq!((pair.client.counters().accepted, pair.client.counters().in_doubt), (1, 1));
}

#[test]
fn each_session_of_a_client_is_a_later_one() {
    let mut pair = Pair::new();
    pair.connect();
    for number in 1..4 {
        assert_eq!(pair.client.identity().incarnation, (1, number));
        lose(&mut pair);
    }
}

#[test]
fn a_server_and_a_closed_client_have_no_session_to_lose() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(ms(200));
    pair.server.lose(pair.now, Code::UnknownSession);
    assert_eq!((pair.server.phase(), pair.server.links().count()), (Phase::Established, 1));
    pair.client.close(pair.now, Code::Done);
    pair.client.lose(pair.now, Code::UnknownSession);
    pair.drain();
    assert_eq!(pair.client.phase(), Phase::Closed(Code::Done));
    assert_eq!(pair.count(|event| matches!(event, Event::Lost { .. })), 0);
}

#[test]
fn all_that_a_closed_session_accepted_is_acknowledged_dropped_or_in_doubt() {
    for certain in [false, true] {
        let mut pair = Pair::new();
        let link = under_way(&mut pair, TUNNEL);
        if certain {
            made_certain(&mut pair, link);
        } else {
            pair.client.detach(pair.now, link, LinkLoss::Ended);
        }
        for port in [4_000, 4_001] {
            pair.client.handle_datagram(pair.now, TUNNEL, source(port), b"queued").unwrap();
        }
        let flows: Vec<_> = pair.client.flows().collect();
        pair.client.close(pair.now, Code::Done);
        pair.drain();
        let counters = pair.client.counters();
        let closed = counters.dropped_out[DropReason::Closed];
        assert_eq!((counters.accepted, counters.acknowledged), (3, 0));
        assert_eq!((counters.in_doubt, closed), if certain { (0, 3) } else { (1, 2) });
        assert_eq!(counters.dropped_out.total(), closed);
        for flow in flows {
            let closed = (Role::Client, Event::FlowClosed { flow, code: Code::Done });
            assert_eq!(pair.events.iter().filter(|event| **event == closed).count(), 1, "{flow:?}");
        }
        assert_eq!(pair.client.flows().count(), 0);
    }
}

#[test]
fn the_end_of_a_flow_that_outlived_a_session_tells_what_the_present_one_carried() {
    let mut pair = Pair::new();
    pair.send(4_000, b"too old before there is a link");
    pair.run(secs(20));
    pair.connect();
    for _ in 0..2 {
        pair.send(4_000, b"in the first session");
        pair.run(ms(200));
    }
    lose(&mut pair);
    pair.send(4_000, b"in the second");
    pair.run(ms(200));
    let flow = pair.client.flows().next().unwrap();
    let books = pair.client.books(flow).unwrap();
    assert_eq!((books.accepted, books.acknowledged, books.dropped.total()), (4, 3, 1));
    pair.client.close_flow(pair.now, flow);
    let told = pair.client.controls.iter().find_map(|control| {
        let Control::Close(close) = control else { return None };
        Some(close.totals)
    });
    assert_eq!(told, Some(Totals { accepted: 1, acknowledged: 1, dropped: 0 }));
    pair.drain();
    pair.run(secs(1));
    assert_eq!((pair.client.flows().count(), pair.server.flows().count()), (0, 0));
    assert_eq!(pair.count(|event| matches!(event, Event::BooksDiffer { .. })), 0);
}

//! Hosts with more than one address: only Linux tells, so far, which of them was spoken to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::{Door, PATIENCE, both_ways, hear, marked, peer, to};

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

#[test]
fn a_listener_answers_from_the_address_it_was_spoken_to() {
    both_ways(|options| {
        for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
            let mut listener = Door::listener((any, 0).into(), options);
            let port = listener.at.port();
            // A connected socket hears nobody but whom it speaks to.
            let peers = [HOME, AWAY, HOME, AWAY].map(|local| peer((local, port).into()));
            peers.iter().for_each(|peer| assert_eq!(peer.send(b"question").expect("sent"), 8));
            let asked: Vec<_> = listener.take(4).into_iter().map(|(from, _)| from).collect();
            assert_eq!(asked, peers.each_ref().map(|peer| peer.local_addr().expect("bound")));

            // Alone, in a train, and mixed.
            let mut answers: Vec<_> = asked.iter().flat_map(|&from| to(from, [b"alone"])).collect();
            answers.extend(asked.iter().flat_map(|&from| to(from, (0..5).map(|at| marked(at, 100)))));
            answers.extend(asked.iter().flat_map(|&from| to(from, [marked(1, 1), marked(2, 20)])));
            listener.send_all(&answers);
            for peer in &peers {
                let own = answers.iter().filter(|answer| answer.to == peer.local_addr().expect("bound"));
                let heard = own.clone().map(|_| hear(peer)).collect::<Vec<_>>();
                assert_eq!(heard, own.map(|answer| answer.payload.to_vec()).collect::<Vec<_>>());
            }
        }
    });
}

#[test]
fn a_peer_that_turns_to_another_address_is_answered_from_there() {
    both_ways(|options| {
        let mut listener = Door::listener((Ipv4Addr::UNSPECIFIED, 0).into(), options);
        let port = listener.at.port();
        let peer = UdpSocket::bind((HOME, 0)).expect("a port");
        peer.set_read_timeout(Some(PATIENCE)).expect("set");
        for local in [HOME, AWAY, HOME, AWAY] {
            peer.send_to(b"question", (local, port)).expect("sent");
            let (from, _) = listener.take(1).remove(0);
            listener.send_all(&to(from, [b"an", b"sw"]));
            let mut buffer = [0; 8];
            for _ in 0..2 {
                assert_eq!(peer.recv_from(&mut buffer).expect("answered").1, SocketAddr::from((local, port)));
            }
        }
    });
}

#[test]
fn an_address_that_is_gone_costs_no_datagram_and_no_speed() {
    both_ways(|options| {
        let mut listener = Door::listener((Ipv4Addr::UNSPECIFIED, 0).into(), options);
        let mut far = Door::local(options);
        let was = format!("{:?}", listener.udp.way);
        for payloads in [vec![marked(0, 9)], vec![marked(1, 1_300), marked(2, 1_300)]] {
            let gone = "192.0.2.1".parse().expect("an address");
            listener.udp.sources.as_mut().expect("kept").remember(far.at, gone);
            let batch = far.batch(payloads);
            listener.send_all(&batch);
            assert_eq!(far.take(batch.len()).len(), batch.len());
            assert_eq!(listener.udp.source(far.at), None, "not tried again");
        }
        assert_eq!(format!("{:?}", listener.udp.way), was, "nobody blames the offload");
    });
}

#[test]
fn a_network_that_is_down_makes_nobody_forget_from_where_to_answer() {
    both_ways(|options| {
        let mut listener = Door::listener((Ipv4Addr::UNSPECIFIED, 0).into(), options);
        // Port 0 stands for it: whatever it is sent from, it does not leave.
        let nowhere = SocketAddr::from((HOME, 0));
        listener.udp.sources.as_mut().expect("kept").remember(nowhere, AWAY);
        for batch in [to(nowhere, [b"alone"]), to(nowhere, [b"train"; 3]), to(nowhere, [&b"mixed"[..], b"more of it"])]
        {
            listener.send(&batch).expect_err("it does not leave");
            assert_eq!(listener.udp.source(nowhere), Some(AWAY));
        }
    });
}

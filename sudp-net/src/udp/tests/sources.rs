//! Hosts with more than one address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::{Door, both_ways, marked, to};

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

#[test]
#[cfg(target_os = "linux")]
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
#[cfg(target_os = "linux")]
fn a_peer_that_turns_to_another_address_is_answered_from_there() {
    both_ways(|options| {
        let mut listener = Door::listener((Ipv4Addr::UNSPECIFIED, 0).into(), options);
        let port = listener.at.port();
        let peer = UdpSocket::bind((HOME, 0)).expect("a port");
        peer.set_read_timeout(PATIENCE).expect("set");
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
#[cfg(target_os = "linux")]
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
fn a_listener_at_one_address_has_nothing_to_remember() {
    both_ways(|options| {
        assert!(Door::local(options).udp.sources.is_none());
        let flow = sudp_proto::driver::Socket::Flow((HOME, 9).into());
        assert!(Door::open(&flow, options).udp.sources.is_none(), "nobody speaks first to a flow");
    });
}

#[test]
fn a_listener_at_every_ipv6_address_serves_ipv4_as_what_it_is() {
    both_ways(|options| {
        let mut listener = Door::listener((Ipv6Addr::UNSPECIFIED, 0).into(), options);
        let port = listener.at.port();
        let peers = [peer((HOME, port).into()), peer((Ipv6Addr::LOCALHOST, port).into())];
        for peer in &peers {
            peer.send(b"question").expect("sent");
            let (from, payload) = listener.take(1).remove(0);
            assert_eq!((from, &payload[..]), (peer.local_addr().expect("bound"), &b"question"[..]));
        }
        let answers: Vec<_> = peers.iter().flat_map(|peer| to(peer.local_addr().expect("bound"), [b"yes"])).collect();
        listener.send_all(&answers);
        peers.iter().for_each(|peer| assert_eq!(hear(peer), b"yes"));

        // And so that nobody takes IPv4's port from under it.
        assert!(UdpSocket::bind((HOME, port)).is_err());
    });
}

#[test]
fn ipv4_in_the_guise_of_ipv6_is_bound_and_reached_as_ipv4() {
    both_ways(|options| {
        let guise = |address: SocketAddr| -> SocketAddr {
            let IpAddr::V4(ip) = address.ip() else { panic!("{address} is IPv6") };
            (ip.to_ipv6_mapped(), address.port()).into()
        };
        let mut listener = Door::listener(guise((HOME, 0).into()), options);
        assert_eq!(listener.at.ip(), HOME);
        let mut flow = Door::open(&sudp_proto::driver::Socket::Flow(guise(listener.at)), options);
        flow.send_all(&to(listener.at, [b"question"]));
        assert_eq!(listener.take(1)[0].0.ip(), HOME);
    });
}

fn peer(of: SocketAddr) -> UdpSocket {
    let any = if of.is_ipv4() { (HOME, 0) } else { (Ipv6Addr::LOCALHOST.into(), 0) };
    let peer = UdpSocket::bind(any).expect("a port");
    peer.connect(of).expect("connected");
    peer.set_read_timeout(PATIENCE).expect("set");
    peer
}

fn hear(peer: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 2_000];
    let count = peer.recv(&mut buffer).expect("heard in time");
    buffer.truncate(count);
    buffer
}

const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

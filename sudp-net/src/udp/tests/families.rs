//! IPv4, IPv6 and sockets of both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sudp_proto::driver::Socket;

use super::{Door, LOOPBACKS, both_ways, hear, peer, to};

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn a_listener_at_one_address_has_nothing_to_remember() {
    both_ways(|options| {
        assert!(Door::local(options).udp.sources.is_none());
        let flow = Socket::Flow((HOME, 9).into());
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
        let mut flow = Door::open(&Socket::Flow(guise(listener.at)), options);
        flow.send_all(&to(listener.at, [b"question"]));
        assert_eq!(listener.take(1)[0].0.ip(), HOME);
    });
}

#[test]
fn a_flow_is_of_the_family_of_its_destination_and_takes_any_port() {
    both_ways(|options| {
        for host in LOOPBACKS {
            let mut far = Door::listener((host, 0).into(), options);
            let mut near = Door::open(&Socket::Flow(far.at), options);
            assert_eq!((near.at.is_ipv4(), near.at.ip().is_unspecified()), (host.is_ipv4(), true));

            near.send_all(&far.batch([b"question"]));
            let (asker, _) = far.take(1).remove(0);
            assert_eq!(asker, (host, near.at.port()).into());
            far.send_all(&to(asker, [b"an", b"sw", b"er"]));
            assert_eq!(near.take(3).len(), 3);
        }
    });
}

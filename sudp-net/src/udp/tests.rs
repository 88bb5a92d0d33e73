//! Every story runs both ways: in batches, where the system has them, and one datagram at a time.

mod bench;
mod families;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod sources;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use socket2::SockRef;
use sudp_proto::driver::{Datagram, Socket};

use super::{Received, Udp, UdpOptions, open};

#[test]
fn an_empty_datagram_is_a_datagram() {
    both_ways(|options| {
        let (mut near, mut far) = pair(options);
        let batch = far.batch([&b""[..], b"after", b"", b""]);
        assert_eq!(near.send_all(&batch), 4);
        assert_eq!(far.take(4), from(&near, &batch));
    });
}

#[test]
fn the_largest_datagram_passes_and_one_larger_is_an_error_of_its_own() {
    both_ways(|options| {
        for host in LOOPBACKS {
            let (mut near, mut far) =
                (Door::listener((host, 0).into(), options), Door::listener((host, 0).into(), options));
            let batch = far.batch([patterned(65_507), patterned(65_507), patterned(3)]);
            near.send_all(&batch);
            assert_eq!(far.take(3), from(&near, &batch));

            let batch = far.batch([patterned(65_536), patterned(1)]);
            let error = near.send(&batch).expect_err("no packet holds it");
            assert!(quinn_udp::is_msg_size_err(&error), "{error:?}");
            assert_eq!(near.send(&batch[1..]).expect("an error ends nothing"), 1);
            assert_eq!(far.take(1), from(&near, &batch[1..]));
        }
    });
}

#[test]
fn a_burst_of_equal_lengths_arrives_whole_and_in_order() {
    both_ways(|options| {
        for (count, length, last) in
            [(2, 1_200, 1_200), (64, 1_200, 17), (65, 64, 64), (200, 1_000, 999), (9, 20_000, 1)]
        {
            let (mut near, mut far) = pair(options);
            let lengths = (0..count).map(|at| if at + 1 == count { last } else { length });
            let batch = far.batch(lengths.enumerate().map(|(at, length)| marked(at, length)));
            near.send_all(&batch);
            assert_eq!(far.take(count), from(&near, &batch), "{count} of {length}");
        }
    });
}

#[test]
fn one_batch_reaches_many_destinations() {
    both_ways(|options| {
        let mut near = Door::local(options);
        let mut far: Vec<_> = (0..5).map(|_| Door::local(options)).collect();
        let batch: Vec<_> = (0..100).flat_map(|at| far[at % 5].batch([marked(at, 10 + at % 3)])).collect();
        near.send_all(&batch);
        for (turn, far) in far.iter_mut().enumerate() {
            let own: Vec<_> = batch.iter().skip(turn).step_by(5).cloned().collect();
            assert_eq!(far.take(20), from(&near, &own));
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Runs of datagrams, each of one length to one of three places, and now and then another length.
    #[test]
    fn any_batch_arrives_as_it_was_sent(
        runs in prop::collection::vec((0_usize..3, 0_usize..1_500, 1_usize..12, any::<bool>()), 1..12),
    ) {
        both_ways(|options| {
            let mut near = Door::local(options);
            let mut far: Vec<_> = (0..3).map(|_| Door::local(options)).collect();
            let mut batch = Vec::new();
            for &(place, length, count, odd) in &runs {
                for at in 0..count {
                    let length = if odd && at == count / 2 { length / 2 } else { length };
                    batch.extend(far[place].batch([marked(batch.len(), length)]));
                }
            }
            near.send_all(&batch);
            for far in &mut far {
                let own: Vec<_> = batch.iter().filter(|datagram| datagram.to == far.at).cloned().collect();
                assert_eq!(far.take(own.len()), from(&near, &own));
            }
        });
    }
}

#[test]
fn what_comes_in_as_one_is_split_again() {
    // Whoever sends in batches sends trains, and loopback hands them on as they are.
    let mut near = Door::local(UdpOptions::default());
    both_ways(|options| {
        let mut far = Door::local(options);
        let batch = far.batch((0..40).map(|at| marked(at, if at == 39 { 5 } else { 700 })));
        near.send_all(&batch);
        let (received, first) = far.wait();
        assert_eq!(received.datagrams, first.len());
        assert_eq!(received, Received { datagrams: if far.batches() { 40 } else { 1 }, full: !far.batches() });
        assert_eq!([first, far.take(40 - received.datagrams)].concat(), from(&near, &batch));
    });
}

#[test]
fn a_call_that_finds_the_end_says_so_and_the_next_would_block() {
    both_ways(|options| {
        let mut far = Door::local(options);
        // One socket each: nothing joins what comes from different ports.
        let near: Vec<_> = (0..40).map(|_| UdpSocket::bind(far.at_any()).expect("a port")).collect();
        near.iter().for_each(|near| assert_eq!(near.send_to(b"here", far.at).expect("sent"), 4));
        let mut counts = Vec::new();
        let error = loop {
            match far.receive() {
                (Ok(received), got) => {
                    assert_eq!(received.datagrams, got.len());
                    counts.push((received.datagrams, received.full));
                }
                (Err(error), _) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let wanted = if far.batches() { vec![(4, true), (32, true), (4, false)] } else { vec![(1, true); 40] };
        assert_eq!(counts, wanted);
    });
}

#[test]
fn an_unreachable_port_is_told_by_the_next_call_which_sends_nothing() {
    both_ways(|options| {
        let mut far = Door::local(options);
        let mut near = Door::listener(far.at_any(), options);
        near.socket.connect(far.at).expect("connected");
        let nobody = far.at;
        drop(far);

        assert_eq!(near.send(&to(nobody, [b"one"])).expect("nothing is known yet"), 1);
        let error = near.send(&to(nobody, [b"two"])).expect_err("the first one came back");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);

        far = Door::listener(nobody, options);
        let batch = to(nobody, [b"three", b"four!"]);
        near.send_all(&batch);
        assert_eq!(far.take(2), from(&near, &batch));

        drop(far);
        assert_eq!(near.send(&to(nobody, [b"five"])).expect("nothing is known yet"), 1);
        let error = near.receive().0.expect_err("it came back");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(near.receive().0.expect_err("told once").kind(), io::ErrorKind::WouldBlock);
    });
}

#[test]
fn as_much_receive_buffer_is_obtained_as_is_said() {
    both_ways(|options| {
        let small = Door::local(UdpOptions { receive_buffer: 64 << 10, ..options });
        assert_eq!(small.udp.receive_buffer(), 64 << 10);
        let large = Door::local(options);
        assert!((small.udp.receive_buffer()..=4 << 20).contains(&large.udp.receive_buffer()), "{:?}", large.udp);
    });
}

#[test]
fn a_socket_says_what_it_lost_where_the_system_counts_it() {
    both_ways(|options| {
        let (mut near, mut far) = pair(options);
        near.send_all(&far.batch([b"one", b"two"]));
        far.take(2);
        let drops = far.udp.kernel_drops(&SockRef::from(&far.socket));
        assert_eq!((drops, far.udp.truncated()), (cfg!(target_os = "linux").then_some(0), 0));
    });
}

#[test]
fn a_port_in_use_is_an_error_that_says_so() {
    both_ways(|options| {
        let first = Door::local(options);
        let error = open(&Socket::Listener(first.at), &options).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    });
}

/// A socket, as a runtime holds it.
struct Door {
    socket: UdpSocket,
    udp: Udp,
    at: SocketAddr,
}

impl Door {
    fn open(socket: &Socket, options: UdpOptions) -> Self {
        let (socket, udp) = open(socket, &options).expect("opened");
        let at = socket.local_addr().expect("bound");
        Self { socket, udp, at }
    }

    fn listener(at: SocketAddr, options: UdpOptions) -> Self {
        Self::open(&Socket::Listener(at), options)
    }

    fn local(options: UdpOptions) -> Self {
        Self::listener((Ipv4Addr::LOCALHOST, 0).into(), options)
    }

    fn batches(&self) -> bool {
        !matches!(self.udp.way, super::Way::Plain)
    }

    fn at_any(&self) -> SocketAddr {
        (self.at.ip(), 0).into()
    }

    fn batch(&self, payloads: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<Datagram> {
        to(self.at, payloads)
    }

    fn send(&mut self, batch: &[Datagram]) -> io::Result<usize> {
        self.udp.send(&SockRef::from(&self.socket), batch)
    }

    /// Sends all of a batch. Says how many there were.
    fn send_all(&mut self, batch: &[Datagram]) -> usize {
        let mut sent = 0;
        while sent < batch.len() {
            match self.send(&batch[sent..]) {
                Ok(count) => {
                    assert!(count > 0, "a call sends something or fails");
                    sent += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) => panic!("{error} at {sent}"),
            }
        }
        sent
    }

    fn receive(&mut self) -> (io::Result<Received>, Vec<(SocketAddr, Vec<u8>)>) {
        let mut got = Vec::new();
        let received = self.udp.recv(&SockRef::from(&self.socket), |from, payload| got.push((from, payload.to_vec())));
        (received, got)
    }

    /// What the first call yields that finds anything.
    fn wait(&mut self) -> (Received, Vec<(SocketAddr, Vec<u8>)>) {
        let begin = Instant::now();
        loop {
            match self.receive() {
                (Ok(received), got) => return (received, got),
                (Err(error), _) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}"),
            }
            assert!(begin.elapsed() < PATIENCE, "nothing arrived");
            thread::yield_now();
        }
    }

    /// Takes so many datagrams, and makes sure that there are no more.
    fn take(&mut self, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let (mut got, begin) = (Vec::new(), Instant::now());
        loop {
            match self.receive() {
                (Ok(_), some) => got.extend(some),
                (Err(error), _) if error.kind() != io::ErrorKind::WouldBlock => panic!("{error}"),
                (Err(_), _) if got.len() >= count => return got,
                (Err(_), _) => thread::yield_now(),
            }
            assert!(begin.elapsed() < PATIENCE, "{} of {count} arrived", got.len());
        }
    }
}

fn both_ways(mut story: impl FnMut(UdpOptions)) {
    story(UdpOptions::default());
    story(UdpOptions { plain: true, ..UdpOptions::default() });
}

fn pair(options: UdpOptions) -> (Door, Door) {
    (Door::local(options), Door::local(options))
}

fn to(place: SocketAddr, payloads: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<Datagram> {
    let datagram = |payload: &[u8]| Datagram { to: place, payload: Bytes::copy_from_slice(payload) };
    payloads.into_iter().map(|payload| datagram(payload.as_ref())).collect()
}

/// What the far end of a batch is to hear.
fn from(near: &Door, batch: &[Datagram]) -> Vec<(SocketAddr, Vec<u8>)> {
    batch.iter().map(|datagram| (near.at, datagram.payload.to_vec())).collect()
}

/// Bytes that differ from place to place.
fn patterned(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

/// Bytes that differ from datagram to datagram.
fn marked(number: usize, length: usize) -> Vec<u8> {
    number.to_le_bytes().into_iter().cycle().take(length).collect()
}

/// A socket that hears nobody but whom it speaks to.
fn peer(of: SocketAddr) -> UdpSocket {
    let any = if of.is_ipv4() { (LOOPBACKS[0], 0) } else { (LOOPBACKS[1], 0) };
    let peer = UdpSocket::bind(any).expect("a port");
    peer.connect(of).expect("connected");
    peer.set_read_timeout(Some(PATIENCE)).expect("set");
    peer
}

fn hear(peer: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 2_000];
    let count = peer.recv(&mut buffer).expect("heard in time");
    buffer.truncate(count);
    buffer
}

const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
const PATIENCE: Duration = Duration::from_secs(10);

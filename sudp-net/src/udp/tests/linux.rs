//! What only Linux has.

use std::net::Ipv6Addr;

use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, ip_mtu_discover, ipv6_mtu_discover};
use socket2::SockRef;

use super::super::receive::{Scratch, state};
use super::super::{Way, linux};
use super::{Door, LOOPBACKS, UdpOptions, both_ways, from, marked, pair};

#[test]
fn a_batch_leaves_by_one_call_whatever_it_is_made_of() {
    let mut near = Door::local(UdpOptions::default());
    let mut far = [Door::local(UdpOptions::default()), Door::local(UdpOptions::default())];

    let train = far[0].batch((0..64).map(|at| marked(at, 900)));
    let two = far[0].batch((0..70).map(|at| marked(at, 1_400)));
    let mixed: Vec<_> = (0..64).flat_map(|at| far[at % 2].batch([marked(at, 900)])).collect();
    let growing = far[0].batch((0..10).map(|at| marked(at, 10 * at)));
    let all = [&growing[..], &train, &far[1].batch([b""]), &two].concat();
    for batch in [train, two, mixed, growing, all] {
        assert_eq!(near.send(&batch).expect("sent"), batch.len());
        for far in &mut far {
            let own: Vec<_> = batch.iter().filter(|datagram| datagram.to == far.at).cloned().collect();
            assert_eq!(far.take(own.len()), from(&near, &own));
        }
    }
}

#[test]
fn a_train_is_of_one_destination_and_one_length_and_ends_with_a_shorter_one() {
    let [one, other] = [Door::local(UdpOptions::default()), Door::local(UdpOptions::default())];
    let Way::Batches { offload } = one.udp.way else { panic!("this system has trains") };
    let train = |lengths: &[usize]| {
        let batch = one.batch(lengths.iter().map(|&length| marked(0, length)));
        offload.train(&[&batch[..], &other.batch([marked(0, 9)])].concat()).len()
    };
    assert_eq!([train(&[9, 9, 9]), train(&[9, 9, 4, 4]), train(&[9, 10, 9]), train(&[9, 9, 0])], [3, 3, 1, 2]);
    assert_eq!([train(&[0, 0]), train(&[9, 0, 9]), train(&[9; 70])], [1, 1, 64]);
    assert_eq!([train(&[1_400; 50]), train(&[32_500; 3]), train(&[32_501; 2]), train(&[65_507])], [46, 2, 1, 1]);
    assert_eq!(offload.train(&[]).len(), 0);
}

#[test]
fn of_a_batch_that_stops_half_way_the_first_half_is_counted() {
    let (mut near, mut far) = pair(UdpOptions::default());
    let mut nowhere = far.at;
    nowhere.set_port(0);
    let good = far.batch([marked(0, 9), marked(1, 9), marked(2, 30)]);
    let batch = [&good[..], &super::to(nowhere, [b"lost"]), &good].concat();
    assert_eq!(near.send(&batch).expect("the first three"), 3);
    near.send(&batch[3..]).expect_err("the next one has nowhere to go");
    assert_eq!(near.send(&batch[4..]).expect("the others"), 3);
    assert_eq!(far.take(6), from(&near, &[&good[..], &good].concat()));
}

#[test]
fn a_socket_whose_trains_are_refused_sends_without_for_good() {
    let (mut near, mut far) = pair(UdpOptions::default());
    // Without checksums there are no trains: the kernel says that the argument is invalid.
    linux::set(&SockRef::from(&near.socket), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).expect("known to every kernel");
    let batch = far.batch((0..8).map(|at| marked(at, 1_200)));
    assert_eq!(near.send(&batch).expect("the first one alone"), 1);
    assert_eq!(near.send(&batch[1..]).expect("the others in one call, as they are"), 7);
    assert_eq!(far.take(8), from(&near, &batch));

    linux::set(&SockRef::from(&near.socket), libc::SOL_SOCKET, libc::SO_NO_CHECK, 0).expect("known to every kernel");
    assert_eq!(near.send(&batch).expect("sent"), 8);
    assert_eq!(offload(&near), "Offload { longest: 0 }", "no train is tried again");
}

#[test]
fn a_destination_that_cannot_be_ends_no_trains() {
    both_ways(|options| {
        let (mut near, mut far) = pair(options);
        let was = offload(&near);
        let mut nowhere = far.at;
        nowhere.set_port(0);
        let batch = super::to(nowhere, (0..8).map(|at| marked(at, 1_200)));
        assert_eq!(near.send(&batch).expect_err("nobody is there").kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(offload(&near), was);
        let batch = far.batch((0..8).map(|at| marked(at, 1_200)));
        near.send_all(&batch);
        assert_eq!(far.take(8), from(&near, &batch));
    });
}

#[test]
fn a_train_too_long_for_its_path_is_told_from_one_that_cannot_be() {
    let door = Door::local(UdpOptions::default());
    let Way::Batches { mut offload } = door.udp.way else { panic!("this system has trains") };
    offload.refuse(1_473, &std::io::Error::from_raw_os_error(libc::EINVAL));
    let of = |length| door.batch([marked(0, length), marked(1, length)]);
    assert_eq!((offload.train(&of(1_473)).len(), offload.train(&of(1_472)).len()), (1, 2));
    offload.refuse(1_472, &std::io::Error::from_raw_os_error(libc::EIO));
    assert_eq!(offload.train(&of(10)).len(), 1);
}

#[test]
fn a_datagram_that_came_in_short_is_counted_and_not_handed_on() {
    let (mut near, far) = pair(UdpOptions { plain: true, ..UdpOptions::default() });
    near.send_all(&far.batch([marked(0, 99), marked(1, 100), marked(2, 5_000), marked(3, 7)]));
    let mut scratch = Scratch::new(100);
    let (mut truncated, mut got) = (0, Vec::new());
    let socket = SockRef::from(&far.socket);
    let each = |_: &quinn_udp::RecvMeta, payload: &[u8]| got.push(payload.len());
    let received = scratch.receive(state().expect("made"), &socket, 32, &mut truncated, each).expect("there");
    assert_eq!((got, truncated, received.datagrams), (vec![99, 7], 2, 2));
    assert_eq!(far.udp.truncated(), 0);
}

#[test]
fn what_the_kernel_drops_for_want_of_room_is_counted() {
    both_ways(|options| {
        let mut far = Door::local(UdpOptions { receive_buffer: 16 << 10, ..options });
        let mut near = Door::local(UdpOptions { plain: true, ..options });
        assert_eq!(far.udp.kernel_drops(&SockRef::from(&far.socket)), Some(0));
        near.send_all(&far.batch((0..500).map(|at| marked(at, 100))));
        let (mut got, begin) = (0, std::time::Instant::now());
        let lost = loop {
            if let (Ok(received), _) = far.receive() {
                got += received.datagrams as u64;
            }
            let lost = far.udp.kernel_drops(&SockRef::from(&far.socket)).expect("counted here");
            if got + lost >= 500 {
                break lost;
            }
            assert!(begin.elapsed() < super::PATIENCE, "{got} arrived and {lost} are said to be lost");
        };
        assert!(got > 0 && lost > 0 && got + lost == 500, "{got} arrived, {lost} were lost");
    });
}

#[test]
fn no_socket_forbids_fragments() {
    both_ways(|options| {
        let door = Door::local(options);
        let found = ip_mtu_discover(&door.socket).expect("asked");
        assert!(![Ipv4PathMtuDiscovery::DO, Ipv4PathMtuDiscovery::PROBE].contains(&found), "{found:?}");
        let door = Door::listener((Ipv6Addr::LOCALHOST, 0).into(), options);
        let found = ipv6_mtu_discover(&door.socket).expect("asked");
        assert!(![Ipv6PathMtuDiscovery::DO, Ipv6PathMtuDiscovery::PROBE].contains(&found), "{found:?}");
    });
}

#[test]
fn datagrams_larger_than_the_path_leave_in_fragments() {
    // With a loopback of 1,280 bytes, where it is allowed to make one: the stories run again in there.
    if std::env::var_os(INSIDE).is_some() {
        return fragments();
    }
    let program = std::env::current_exe().expect("a test is a program");
    let setup = "ip link set lo mtu 1280 up && exec \"$0\" \"$@\"";
    let story = "udp::tests::linux::datagrams_larger_than_the_path_leave_in_fragments";
    let mut command = std::process::Command::new("unshare");
    command.args(["--map-root-user", "--net", "sh", "-c", setup]).arg(program).args(["--exact", story]);
    let allowed = std::process::Command::new("unshare")
        .args(["--map-root-user", "--net", "ip", "link", "set", "lo", "mtu", "1280", "up"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !allowed {
        eprintln!("skipped: no network of its own can be made here (unshare and ip)");
        return;
    }
    let output = command.env(INSIDE, "1").output().expect("started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the story was told");
}

fn fragments() {
    for host in LOOPBACKS {
        both_ways(|options| {
            let mut near = Door::listener((host, 0).into(), options);
            let mut far = Door::listener((host, 0).into(), options);
            for (count, length) in [(2, 65_507), (10, 6_000), (10, 1_400)] {
                let batch = far.batch((0..count).map(|at| marked(at, length)));
                near.send_all(&batch);
                assert_eq!(far.take(count), from(&near, &batch), "{count} of {length}");
            }
            if !options.plain {
                let batch = far.batch((0..10).map(|at| marked(at, 1_200)));
                assert_eq!(near.send(&batch).expect("sent"), 10, "what fits still leaves as a train");
                assert_eq!(offload(&near), "Offload { longest: 1399 }");
                far.take(10);
            }
        });
    }
}

fn offload(door: &Door) -> String {
    match door.udp.way {
        Way::Batches { offload } => format!("{offload:?}"),
        Way::Plain => "none".into(),
    }
}

const INSIDE: &str = "SUDP_TEST_SMALL_LOOPBACK";

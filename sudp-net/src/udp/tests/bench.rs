//! What a datagram costs, sent and received, each way: a measurement, not a test.
//!
//! ```sh
//! cargo test --release -p sudp-net --lib udp::tests::bench -- --ignored --nocapture
//! ```

use std::io;
use std::time::Duration;

use super::{Datagram, Door, Ipv4Addr, UdpOptions, UdpSocket, marked};

#[test]
#[ignore = "measures, and asserts nothing"]
fn what_a_datagram_costs() {
    let batches = UdpOptions::default();
    let plain = UdpOptions { plain: true, ..batches };
    eprintln!("ns of CPU a datagram, 64 in a batch: sent (which includes its way into the far buffer), received");
    for length in [64, 1_200] {
        for (name, options, places) in [
            ("trains", batches, 1),
            ("pairs", batches, 32),
            ("mixed", batches, 64),
            ("plain", plain, 1),
            ("plain, mixed", plain, 64),
        ] {
            for any in [false, true] {
                let host = if any { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
                let near = Door::listener((host, 0).into(), options);
                let (sent, received) = measure(near, options, places, length, any);
                let host = if any { "wildcard" } else { "bound" };
                eprintln!("{length:5} {name:13} {host:9} {sent:6.0} {received:6.0}");
            }
        }
    }
}

/// Sends to so many places, and takes in what arrives at the first.
fn measure(mut near: Door, options: UdpOptions, places: usize, length: usize, ask: bool) -> (f64, f64) {
    let mut far: Vec<_> = (0..places).map(|_| Door::local(options)).collect();
    if ask {
        far.iter().for_each(|far| {
            let port = near.at.port();
            far.socket.send_to(b"question", (Ipv4Addr::LOCALHOST, port)).expect("sent");
        });
        near.take(places);
    }
    let batch: Vec<Datagram> = (0..64).flat_map(|at| far[at * places / 64].batch([marked(at, length)])).collect();
    let (mut sending, mut receiving) = (Duration::ZERO, Duration::ZERO);
    let (mut sent, mut received) = (0_u32, 0_u32);
    while sending + receiving < RUN {
        let begin = cpu();
        sent += u32::try_from(near.send_all(&batch)).expect("a batch");
        sending += cpu() - begin;
        let begin = cpu();
        for far in &mut far {
            loop {
                let outcome = far.udp.recv(&socket2::SockRef::from(&far.socket), |_, payload| {
                    std::hint::black_box(payload);
                });
                match outcome {
                    Ok(got) => {
                        received += u32::try_from(got.datagrams).expect("a batch");
                        if !got.full {
                            break;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        receiving += cpu() - begin;
    }
    (per(sending, sent), per(receiving, received))
}

#[test]
#[ignore = "measures, and asserts nothing"]
fn what_a_socket_costs() {
    let flow = sudp_proto::driver::Socket::Flow((Ipv4Addr::LOCALHOST, 9).into());
    let open = |options| Door::open(&flow, options).socket;
    let plain = UdpOptions { plain: true, ..UdpOptions::default() };
    let bare = || UdpSocket::bind("0.0.0.0:0").expect("a port");
    // The first so many descriptors cost more than the next: the table of them has to grow.
    drop((0..SOCKETS).map(|_| bare()).collect::<Vec<_>>());
    let report = |name: &str, open: &dyn Fn() -> UdpSocket| {
        let begin = cpu();
        let sockets: Vec<_> = (0..SOCKETS).map(|_| open()).collect();
        eprintln!("{name}: {:.0} ns to open a flow's socket", per(cpu() - begin, SOCKETS));
        drop(sockets);
    };
    report("batches", &|| open(UdpOptions::default()));
    report("plain", &|| open(plain));
    report("bare", &bare);
}

/// Time that this thread has worked: others may use the machine as well.
#[cfg(target_os = "linux")]
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("no thread has worked for less than nothing")
}

#[cfg(not(target_os = "linux"))]
fn cpu() -> Duration {
    static BEGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    BEGIN.get_or_init(std::time::Instant::now).elapsed()
}

fn per(time: Duration, count: u32) -> f64 {
    time.as_secs_f64() * 1e9 / f64::from(count.max(1))
}

const SOCKETS: u32 = 500;
const RUN: Duration = Duration::from_millis(400);

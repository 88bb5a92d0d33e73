//! The example's client and server, while the system refuses what they ask of it: nothing ends, nothing spins.
//!
//! `strace` makes the refusals. Where it is not installed, or may not trace, the stories are skipped and say so.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Which of the two is refused something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Victim {
    Client,
    Server,
}

/// A client and a server, one of which has bad luck.
struct Pair {
    client: Child,
    server: Child,
    /// What the victim asked for and did not get.
    log: PathBuf,
    entrance: SocketAddr,
}

impl Pair {
    /// `when` is strace's: which of the calls of each kind fail.
    fn new(victim: Victim, calls: &str, error: &str, when: &str) -> Option<Self> {
        static LOGS: AtomicU32 = AtomicU32::new(0);
        let number = LOGS.fetch_add(1, Ordering::Relaxed);
        let log = std::env::temp_dir().join(format!("sudp-socket-errors-{}-{number}", std::process::id()));
        let example = example()?;
        let (listen, entrance, echo) = (free(false), free(true), echo());
        let start = |whose, arguments: &[&str]| {
            let mut command = if whose == victim {
                let mut strace = Command::new("strace");
                let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:error={error}:when={when}"));
                // The program itself is to be our child, and not its tracer.
                strace.args(["-D", "-f", "-qq", "-e", &trace, "-e", &inject, "-o"]).arg(&log).arg(&example);
                strace
            } else {
                Command::new(&example)
            };
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("started")
        };
        let server = start(Victim::Server, &["server", &listen.to_string(), "127.0.0.0/8"]);
        let url = format!("ws://{listen}");
        let client = start(Victim::Client, &["client", &url, &entrance.to_string(), &echo.to_string()]);
        Some(Self { client, server, log, entrance })
    }

    /// Sends a few hundred datagrams, of which some may be lost; and then they come back again.
    fn survives(&mut self, what: &str) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        for number in 0_u32..300 {
            // Before it listens, this host says so.
            let _ = socket.send_to(&number.to_be_bytes(), self.entrance);
            let _ = socket.recv(&mut [0; 4]);
        }
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let asks = |number: u32| {
            let _ = socket.send_to(&number.to_be_bytes(), self.entrance);
            let mut answer = [0; 4];
            while socket.recv(&mut answer).is_ok() {
                if answer == number.to_be_bytes() {
                    return true;
                }
            }
            false
        };
        let answered = (1_000..1_100).filter(|number| asks(*number)).take(20).count();
        assert_eq!(answered, 20, "{what}");
        assert!(self.client.try_wait().unwrap().is_none() && self.server.try_wait().unwrap().is_none(), "{what}");
    }

    fn refusals(&self) -> usize {
        fs::read_to_string(&self.log).unwrap_or_default().matches("(INJECTED)").count()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for child in [&mut self.client, &mut self.server] {
            // Its tracer ends with it.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_file(&self.log);
    }
}

#[test]
fn what_a_socket_refuses_for_a_while_ends_nothing() {
    if !may_trace() {
        return;
    }
    let send = ["EAGAIN", "EINTR", "ENOBUFS", "ENOMEM", "EMSGSIZE", "EPERM", "EACCES", "ENETUNREACH", "EHOSTUNREACH"];
    let send = send.into_iter().chain(["EADDRNOTAVAIL", "ECONNREFUSED", "EINVAL", "EBADF"]);
    let receive = ["EAGAIN", "EINTR", "ECONNREFUSED", "ENOMEM", "ENOTCONN"];
    let cases = send.map(|error| (Victim::Server, "sendmmsg,sendmsg,sendto", error, "8..80+4"));
    let cases = cases.chain(receive.map(|error| (Victim::Client, "recvmmsg,recvmsg", error, "3..60+2")));
    let cases = cases.chain(
        ["EMFILE", "ENFILE", "ENOMEM", "ECONNABORTED", "EPERM", "EPROTO"]
            .map(|error| (Victim::Server, "accept4", error, "1..4")),
    );
    let cases = cases.chain(["ENETUNREACH", "EADDRNOTAVAIL"].map(|error| (Victim::Client, "connect", error, "1..2")));
    let cases: Vec<_> = cases.collect();
    // Each of them waits far more than it works.
    thread::scope(|scope| {
        for lane in 0..4 {
            let cases = cases.iter().skip(lane).step_by(4);
            scope.spawn(|| {
                for (victim, calls, error, when) in cases {
                    let Some(mut pair) = Pair::new(*victim, calls, error, when) else { return };
                    let what = format!("{victim:?} {calls} {error}");
                    pair.survives(&what);
                    assert!(pair.refusals() > 0, "{what}: it was refused nothing");
                }
            });
        }
    });
}

#[test]
fn what_a_socket_refuses_for_ever_is_not_asked_for_without_a_pause() {
    if !may_trace() {
        return;
    }
    for (victim, calls, error) in [
        (Victim::Server, "accept4", "EMFILE"),
        (Victim::Server, "accept4", "ECONNABORTED"),
        (Victim::Client, "recvmmsg", "ENOMEM"),
        (Victim::Client, "recvmmsg", "ECONNREFUSED"),
    ] {
        let began = Instant::now();
        let Some(pair) = Pair::new(victim, calls, error, "1+") else { return };
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        for _ in 0..150 {
            let _ = socket.send_to(b"anybody?", pair.entrance);
            let _ = socket.recv(&mut [0; 8]);
        }
        let (refusals, lasted) = (pair.refusals(), began.elapsed());
        // Without a pause it would be tens of thousands a second. A busy machine takes longer than three seconds for this.
        let most = usize::try_from(lasted.as_millis()).unwrap() * 3 / 10;
        assert!((1..most).contains(&refusals), "{victim:?} {calls} {error}: {refusals} refusals in {lasted:?}");
    }
}

fn may_trace() -> bool {
    let traced = Command::new("strace").args(["-D", "-f", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    let may = traced.is_ok_and(|status| status.success());
    if !may {
        eprintln!("skipped: strace is not installed, or may not trace here");
    }
    may
}

/// The program, which cargo builds with the tests unless it is told which of them it is to build.
fn example() -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let path = test.parent()?.parent()?.join("examples/tunnel");
    if !path.exists() {
        eprintln!("skipped: the example is not built (cargo build -p sudp-tokio --example tunnel)");
        return None;
    }
    Some(path)
}

/// An address that nobody uses.
fn free(udp: bool) -> SocketAddr {
    let any = (Ipv4Addr::LOCALHOST, 0);
    if udp { UdpSocket::bind(any).unwrap().local_addr() } else { TcpListener::bind(any).unwrap().local_addr() }.unwrap()
}

/// A socket that sends back what it gets.
fn echo() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2_048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    at
}

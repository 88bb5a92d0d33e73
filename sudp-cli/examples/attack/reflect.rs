//! Forged questions to a tunnel of a client, whose service answers fifty times as much: in a network of its own, where
//! what leaves for the forged sources is counted by the kernel.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::{Server, sudp};

pub(super) fn run(seconds: u64) -> Result<String, String> {
    let net = format!("sudp-{}", std::process::id());
    let ip = |arguments: &[&str]| {
        let ran = Command::new("ip").args(arguments).output().map_err(|error| format!("ip: {error}"))?;
        let says = String::from_utf8_lossy(&ran.stderr);
        if ran.status.success() { Ok(()) } else { Err(format!("ip {}: {}", arguments.join(" "), says.trim())) }
    };
    ip(&["netns", "add", &net])?;
    let inside = |arguments: &[&str]| ip(&[&["-n", &net], arguments].concat());
    let prepared = inside(&["link", "set", "lo", "up"])
        .and_then(|()| inside(&["link", "add", "v0", "type", "veth", "peer", "name", "v1"]))
        .and_then(|()| inside(&["link", "set", "v0", "mtu", "60000", "arp", "off", "addrgenmode", "none"]))
        .and_then(|()| inside(&["addr", "add", "10.77.0.1/16", "dev", "v0"]))
        .and_then(|()| inside(&["link", "set", "v1", "mtu", "60000", "addrgenmode", "none", "up"]))
        .and_then(|()| inside(&["link", "set", "v0", "up"]));
    let outcome = prepared.and_then(|()| {
        let me = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &net]).arg(me).args(["reflect-inside", &seconds.to_string()]);
        let ran = command.stderr(Stdio::inherit()).output().map_err(|error| error.to_string())?;
        let says = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
        let last = says.lines().last().unwrap_or_default().to_owned();
        if ran.status.success() { Ok(last) } else { Err(last) }
    });
    // Whatever has come of it, the network goes.
    let _ = ip(&["netns", "delete", &net]);
    outcome
}

pub(super) fn inside(seconds: u64) -> Result<String, String> {
    let forger = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)));
    let forger = forger.map_err(|error| format!("no raw socket: {error}"))?;
    let (server, service) = (Server::start(&["--port", "0"]), amplifier());
    let mut client = Command::new(sudp());
    client.env_clear().env("HOME", "/nonexistent");
    client.args(["client", &format!("ws://{}", server.at), "-L", &format!("10.77.0.1:5353:{service}")]);
    let mut client = client.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let mut lines = BufReader::new(client.stderr.take().unwrap()).lines();
    lines.by_ref().map_while(Result::ok).find(|line| line.contains("taking datagrams at")).unwrap();
    thread::spawn(move || lines.for_each(drop));
    thread::sleep(Duration::from_millis(500));

    let mut sources = (1_u32..).map(|number| Ipv4Addr::from(0x0a4d_0100 + number));
    let mut figures = serde_json::json!({"attack": "reflect", "amplification": FACTOR, "question_bytes": QUESTION});

    // One victim, a burst: all of it before the first answer.
    let (before, victim) = (left(), sources.next().unwrap());
    (0..100).for_each(|_| forge(&forger, victim));
    thread::sleep(Duration::from_secs(1));
    let (sent, answered) = (100 * QUESTION, left() - before);
    figures["burst"] = serde_json::json!({"sent": sent, "answered": answered, "at_most": 3 * sent + 4_096});

    // Many victims, a question each.
    let before = left();
    for victim in sources.by_ref().take(200) {
        forge(&forger, victim);
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_secs(1));
    figures["each"] = serde_json::json!({"victims": 200, "answered": left() - before, "at_most": 200 * 4_096});

    // More victims than the rate of all lets answer: when the burst of one second is over, what is left is the rate.
    let (mut forged, begun) = (0_u64, Instant::now());
    let mut from = None;
    while begun.elapsed() < Duration::from_secs(2 + seconds) {
        if begun.elapsed() >= Duration::from_secs(2) && from.is_none() {
            from = Some((Instant::now(), left()));
        }
        while forged < u64::try_from(begun.elapsed().as_millis()).unwrap() {
            forge(&forger, sources.next().unwrap());
            forged += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    let (since, before) = from.unwrap();
    let rate = f64::from(u32::try_from(left() - before).unwrap()) / since.elapsed().as_secs_f64();
    figures["all"] = serde_json::json!({"per_second": rate, "limit": 1 << 20, "of_limit": rate / f64::from(1 << 20)});
    // One that has ended is past it.
    let _ = client.kill();
    let _ = client.wait();
    Ok(figures.to_string())
}

/// A service that answers fifty times as much, a little later.
fn amplifier() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
    let at = socket.local_addr().unwrap();
    thread::spawn(move || {
        let (mut waiting, mut room) = (VecDeque::new(), [0; 2_048]);
        loop {
            if let Ok((length, from)) = socket.recv_from(&mut room) {
                waiting.push_back((Instant::now() + Duration::from_millis(100), length * FACTOR, from));
            }
            while let Some((_, length, from)) = waiting.front().copied().filter(|(at, ..)| *at <= Instant::now()) {
                waiting.pop_front();
                // Whoever has gone needs no answer.
                let _ = socket.send_to(&vec![7; length], from);
            }
        }
    });
    at
}

/// A question that says that it comes from somebody else.
fn forge(socket: &Socket, from: Ipv4Addr) {
    let (to, length) = (Ipv4Addr::new(10, 77, 0, 1), u16::try_from(28 + QUESTION).unwrap());
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0]);
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.octets());
    packet.extend_from_slice(&4_000_u16.to_be_bytes());
    packet.extend_from_slice(&5_353_u16.to_be_bytes());
    packet.extend_from_slice(&(length - 20).to_be_bytes());
    // A checksum of zero is none.
    packet.extend_from_slice(&[0, 0]);
    packet.resize(usize::from(length), b'?');
    socket.send_to(&packet, &SocketAddr::from((to, 0)).into()).unwrap();
}

/// The payload bytes that have left for forged sources, as the kernel has counted them.
fn left() -> usize {
    let count = |name: &str| {
        let text = fs::read_to_string(format!("/sys/class/net/v0/statistics/{name}")).unwrap();
        text.trim().parse::<usize>().unwrap()
    };
    count("tx_bytes").saturating_sub(count("tx_packets") * HEADS)
}

const FACTOR: usize = 50;
const QUESTION: usize = 60;
/// Ethernet, IP and UDP.
const HEADS: usize = 14 + 20 + 8;

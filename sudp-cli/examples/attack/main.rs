//! Attacks on a server as a process, beside a client that means well.
//!
//! `attack strangers [COUNT] [SECONDS]`: so many slow strangers, and a good client that comes again and again.
//! `attack guesses [COUNT] [ADDRESSES] [password|token]`: so many wrong passwords, from so many addresses, beside good
//! clients that come by a password or a token.
//! `attack reflect [SECONDS]`: forged questions to a tunnel whose service answers fifty times as much.
//!
//! The last line says what was measured, as JSON. What this machine does not allow is SKIPPED, with the reason.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that fails where something is wrong")]

mod guesses;
mod reflect;
mod strangers;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use guesses::By;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use sudp_tokio::proto::wire::{Frame, Hello, Ordinal, Parameters, Ticket};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, usual: u64| arguments.get(index).map_or(usual, |it| it.parse().unwrap());
    let outcome = match arguments.first().map(String::as_str) {
        Some("strangers") => strangers::run(number(1, 2_000), number(2, 20)),
        Some("guesses") => {
            let by = arguments.get(3).map_or(Ok(By::Password), |word| word.parse());
            by.and_then(|by| guesses::run(number(1, 10_000), number(2, 1), by))
        }
        Some("reflect") => reflect::run(number(1, 12)),
        Some("reflect-inside") => reflect::inside(number(1, 12)),
        _ => Err("say strangers, guesses or reflect".into()),
    };
    match outcome {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("SKIPPED: {why}");
            ExitCode::from(75)
        }
    }
}

/// The program beside this one.
fn sudp() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let sudp = here.parent().and_then(|folder| folder.parent()).unwrap().join("sudp");
    assert!(sudp.is_file(), "{} is not there: build it first, by cargo build -p sudp-cli", sudp.display());
    sudp
}

/// A server; it is killed when this is dropped.
struct Server {
    child: Child,
    at: SocketAddr,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        Self::start_at(Path::new("/nonexistent"), arguments)
    }

    /// One that keeps what it has to keep there.
    fn start_at(home: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(sudp());
        command.env_clear().env("HOME", home).args(["server", "--allow", "127.0.0.0/8"]).args(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.by_ref().map_while(Result::ok).find(|line| line.contains("listening on ws")).unwrap();
        let at = line.split("://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, at }
    }

    /// What a file of its process says, as `VmHWM`, in KiB.
    fn memory(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The seconds for which it has used a processor.
    fn cpu(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let rest = text.rsplit(") ").next().unwrap();
        let ticks: Vec<u64> = rest.split(' ').skip(11).take(2).map(|it| it.parse().unwrap()).collect();
        f64::from(u32::try_from(ticks.iter().sum::<u64>()).unwrap()) / 100.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended is past it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stream from this address of loopback.
fn dial(from: u32, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::from(from), 0)).into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(5))?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(8)))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Comes as a client would until it is let in, and says how long that took. A stream that is closed is a dial that
/// failed: it comes again after a moment, as a client does.
fn come(from: u32, to: SocketAddr, headers: &str, (name, number): (&str, u32)) -> Duration {
    let begun = Instant::now();
    let request = format!(
        "GET /sudp HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: sudp.v1\r\nSudp-Hello: {}\r\n{headers}\r\n",
        hello(name, number)
    );
    loop {
        let answered = dial(from, to).and_then(|mut stream| {
            stream.write_all(request.as_bytes())?;
            let mut line = [0; 12];
            stream.read_exact(&mut line)?;
            Ok((line, stream))
        });
        match answered {
            Ok((line, stream)) if &line == b"HTTP/1.1 101" => {
                let took = begun.elapsed();
                // The next start of this client takes over from it, but only if it has spoken.
                let _ = speak(stream);
                return took;
            }
            // It has no room for one more, and says when it may have; nobody is judged by that.
            Ok((line, _)) if &line == b"HTTP/1.1 503" => std::thread::sleep(LATER),
            Ok((line, _)) => panic!("{:?}", String::from_utf8_lossy(&line)),
            Err(_) => std::thread::sleep(Duration::from_millis(u64::from(number % 7) * 70)),
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the good client is shut out");
    }
}

/// When a client comes again that was told to come later.
const LATER: Duration = Duration::from_secs(2);

/// Says the first word of a session, and hears the answer.
fn speak(mut stream: TcpStream) -> std::io::Result<()> {
    let (mut frame, mut room) = (Vec::new(), [0; 4_096]);
    Frame::Ping(1).emit(&mut frame);
    let mut message = vec![0x82, 0x80 | u8::try_from(frame.len()).unwrap(), 0, 0, 0, 0];
    message.append(&mut frame);
    // What is said to it does not matter, but that it is.
    let _welcome = stream.read(&mut room)?;
    stream.write_all(&message)?;
    stream.read(&mut room).map(drop)
}

/// What a first hello says, as its header.
fn hello(client: &str, number: u32) -> String {
    let (client, incarnation) = (client.into(), (1, u64::from(number)));
    let (parameters, ticket) = (Parameters::default(), Ticket::default());
    Hello { ordinal: Ordinal(1), client, incarnation, attach: None, parameters, ticket }.to_header()
}

/// The quantiles of times, in milliseconds.
fn quantiles(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len() - 1)).unwrap().as_millis();
    serde_json::json!({
        "count": times.len(), "p50_ms": at(50), "p99_ms": at(99), "max_ms": times.last().unwrap().as_millis(),
    })
}

//! Echoes messages over our links on plain blocking sockets, for the Autobahn test suite.
//!
//! `server ADDRESS` answers its `fuzzingclient`, `client URL AGENT` runs the cases of its
//! `fuzzingserver`. Limits are raised to what the suite asks for and the product forbids: text,
//! 64 MiB messages, any number of fragments. The seed is the time: never use it so elsewhere.

#![expect(clippy::disallowed_methods, reason = "real sockets go by real time")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, thread};

use bytes::{Bytes, BytesMut};
use sudp_proto::Seed;
use sudp_proto::link::{
    Answer, ClientUpgrade, Link, LinkDeadlines, LinkEnd, LinkEvent, LinkLimits, Scheme, ServerExpect, Subprotocol,
};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", address] => serve(address),
        ["client", url, agent] => run_cases(url, agent),
        _ => Err("usage: autobahn_echo server ADDRESS | client ws://HOST:PORT AGENT".into()),
    }
}

fn serve(address: &str) -> Outcome<()> {
    for stream in TcpListener::bind(address)?.incoming() {
        let stream = stream?;
        thread::spawn(move || {
            let expect =
                ServerExpect { path: "/".into(), subprotocol: Subprotocol::Optional, ..ServerExpect::default() };
            let link = Link::server(Instant::now(), expect, limits(), seed());
            if let Err(error) = Connection::new(stream, link).echo() {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

fn run_cases(url: &str, agent: &str) -> Outcome<()> {
    let count = connect(url, "/getCaseCount")?.echo()?.ok_or("no count of cases")?;
    let count: u32 = std::str::from_utf8(&count)?.parse()?;
    for case in 1..=count {
        if let Err(error) = connect(url, &format!("/runCase?case={case}&agent={agent}"))?.echo() {
            eprintln!("case {case}: {error}");
        }
    }
    connect(url, &format!("/updateReports?agent={agent}"))?.echo()?;
    eprintln!("{count} cases");
    Ok(())
}

fn connect(url: &str, path: &str) -> Outcome<Connection> {
    let authority = url.strip_prefix("ws://").ok_or("the url must begin with ws://")?.trim_end_matches('/');
    let (host, port) = authority.rsplit_once(':').ok_or("the url must have a port")?;
    let upgrade = ClientUpgrade::new(Scheme::Ws, host, port.parse()?, path)?.with_subprotocol(Subprotocol::Optional);
    Ok(Connection::new(TcpStream::connect(authority)?, Link::client(Instant::now(), upgrade, limits(), seed())))
}

fn limits() -> LinkLimits {
    let minute = Duration::from_secs(60);
    LinkLimits {
        text: true,
        message: 64 << 20,
        small_fragments: usize::MAX,
        deadlines: LinkDeadlines { message: 10 * minute, ..LinkDeadlines::default() },
        ..LinkLimits::default()
    }
}

fn seed() -> Seed {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Seed::from(u64::from(since.subsec_nanos()) ^ since.as_secs() << 32)
}

struct Connection {
    stream: TcpStream,
    link: Link,
    input: BytesMut,
    last: Option<Bytes>,
}

impl Connection {
    fn new(stream: TcpStream, link: Link) -> Self {
        Self { stream, link, input: BytesMut::new(), last: None }
    }

    /// Echoes until the link has ended; returns the last message.
    fn echo(mut self) -> Outcome<Option<Bytes>> {
        self.stream.set_nodelay(true)?;
        let mut room = vec![0; 64 << 10];
        loop {
            self.drain()?;
            if self.link.is_finished() {
                return Ok(self.last);
            }
            if self.link.wants_finish() {
                // The other side may have gone already.
                let _ = self.stream.shutdown(Shutdown::Write);
            }
            self.read(&mut room)?;
        }
    }

    /// Handles all events, and all input they made room for, and writes what came of it.
    fn drain(&mut self) -> Outcome<()> {
        loop {
            let before = self.input.len();
            while let Some(event) = self.link.poll_event() {
                self.handle(event)?;
            }
            let output = self.link.output().len();
            self.stream.write_all(self.link.output())?;
            self.link.advance_output(output);
            self.link.handle_input(Instant::now(), &mut self.input);
            if self.input.len() == before && self.link.output().is_empty() {
                return Ok(());
            }
        }
    }

    fn handle(&mut self, event: LinkEvent) -> Outcome<()> {
        match event {
            LinkEvent::Request(_) => self.link.accept(Instant::now())?,
            LinkEvent::Message(bytes) => {
                self.echo_unless_closing(|link| link.send(&[&bytes]).is_ok());
                self.last = Some(bytes);
            }
            LinkEvent::Text(bytes) => {
                let text = std::str::from_utf8(&bytes)?;
                self.echo_unless_closing(|link| link.send_text(text).is_ok());
                self.last = Some(bytes);
            }
            LinkEvent::Ended(LinkEnd::Closed { .. } | LinkEnd::Violation(_)) => {}
            LinkEvent::Ended(end) => eprintln!("{end}"),
            LinkEvent::Stranger(_) => self.link.refuse(Instant::now(), &Answer::not_found())?,
            LinkEvent::Open { .. } | _ => {}
        }
        Ok(())
    }

    fn echo_unless_closing(&mut self, send: impl FnOnce(&mut Link) -> bool) {
        let open = self.link.is_open();
        assert_eq!(send(&mut self.link), open, "a link sends exactly while it is open");
    }

    fn read(&mut self, room: &mut [u8]) -> Outcome<()> {
        let wait = self.link.poll_timeout().map(|at| at.saturating_duration_since(Instant::now()));
        self.stream.set_read_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
        match self.stream.read(room) {
            Ok(0) => self.link.handle_end(Instant::now()),
            Ok(length) => {
                self.input.extend_from_slice(&room[..length]);
                self.link.handle_input(Instant::now(), &mut self.input);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                self.link.handle_timeout(Instant::now());
            }
            // A reset is an end: the suite's server resets each connection when it has been closed.
            Err(_) => self.link.handle_end(Instant::now()),
        }
        Ok(())
    }
}

//! The way to the server, as far as it is TCP: names, addresses, a proxy.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use sudp_tokio::proto::Seed;
use sudp_tokio::proto::client::DialError;
use sudp_tokio::proto::config::Limits;
use sudp_tokio::proto::link::{ClientUpgrade, Link, LinkEnd, LinkEvent, LinkLimits, LinkStage, ProxyEnd, Scheme};
use sudp_tokio::proto::wire::{Address, Host};

use super::Plan;
use super::report::{Step, span};
use crate::exit::Exit;

/// How long each step of the way may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long an address may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// Addresses of a name that are tried.
const ADDRESSES: usize = 16;

/// What the first hop is called.
pub(super) fn first_hop(plan: &Plan) -> &Address {
    plan.proxy.as_ref().map_or(&plan.server.address, |(address, _)| address)
}

/// Looks up where the first hop is.
pub(super) fn name(plan: &Plan) -> (Step, Vec<SocketAddr>) {
    let Address { host, port } = first_hop(plan);
    let host = match host {
        Host::Ip(ip) => return (Step::none("name", "an address, no name to look up"), vec![(*ip, *port).into()]),
        Host::Name(name) => name.clone(),
    };
    let (begun, asked, port) = (Instant::now(), host.clone(), *port);
    let (answer, answered) = mpsc::channel();
    // The system's resolver has its own idea of patience; it is left to it.
    thread::spawn(move || answer.send((&*asked, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>)));
    let spelling = "check its spelling, and that this machine's name servers answer (/etc/resolv.conf)";
    let mut found = match answered.recv_timeout(PATIENCE) {
        Ok(Ok(found)) if !found.is_empty() => found,
        Ok(Ok(_)) => {
            let says = format_args!("{host} has no address");
            return (Step::fail("name", Exit::Unreachable, says, spelling), Vec::new());
        }
        Ok(Err(error)) => {
            let says = format_args!("{host} does not resolve: {error}");
            return (Step::fail("name", Exit::Unreachable, says, spelling), Vec::new());
        }
        Err(_) => {
            let says = format_args!("no name server answers for {host}");
            let fix = "check this machine's network, and its name servers (/etc/resolv.conf)";
            return (Step::fail("name", Exit::Unreachable, says, fix), Vec::new());
        }
    };
    found.dedup();
    found.truncate(ADDRESSES);
    let list: Vec<_> = found.iter().map(|address| address.ip().to_string()).collect();
    let (says, took) = (format!("{host} is {}", list.join(", ")), begun.elapsed());
    let step = if took > Duration::from_secs(1) {
        Step::warn("name", says, "the name servers are slow: each first dial waits for them (/etc/resolv.conf)")
    } else {
        Step::ok("name", says)
    };
    (step.with("addresses", list).took(took), found)
}

/// Connects to every address of the first hop; gives those that answer, the quickest first.
pub(super) fn tcp(addresses: &[SocketAddr]) -> (Step, Vec<SocketAddr>) {
    let (answer, answers) = mpsc::channel();
    for address in addresses.iter().copied() {
        let answer = answer.clone();
        thread::spawn(move || {
            let begun = Instant::now();
            let outcome = TcpStream::connect_timeout(&address, CONNECT).map(|_| begun.elapsed());
            answer.send((address, outcome))
        });
    }
    drop(answer);
    let outcomes: Vec<_> = answers.iter().collect();
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (address, outcome) in &outcomes {
        match outcome {
            Ok(took) => good.push((*took, *address)),
            Err(error) => bad.push((*address, error)),
        }
    }
    good.sort();
    let alone = outcomes.len() == 1;
    let shown = |(took, address): &(Duration, SocketAddr)| match alone {
        true => format!("{address} answers"),
        false => format!("{address} answers in {}", span(*took)),
    };
    let mut says: Vec<_> = good.iter().map(shown).collect();
    says.extend(bad.iter().map(|(address, error)| format!("{address}: {}", connect_words(error))));
    let says = says.join("; ");
    let facts: Vec<_> = good.iter().map(|(_, address)| address.to_string()).collect();
    let answering: Vec<_> = good.iter().map(|(_, address)| *address).collect();
    // A machine without IPv6 is none the worse for it.
    let harmless = |(address, error): &(SocketAddr, &io::Error)| {
        address.is_ipv6() && matches!(error.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable)
    };
    let step = match (good.is_empty(), bad.iter().all(harmless)) {
        (true, _) => {
            Step::fail("tcp", Exit::Unreachable, says, connect_fix(bad.first().map(|(_, error)| error.kind())))
        }
        (false, true) => Step::ok("tcp", says),
        (false, false) => {
            let fix = "one address does not answer: a dial that begins there takes longer; repair it, or take it out of \
                       the name's records";
            Step::warn("tcp", says, fix)
        }
    };
    let step = match good.first() {
        Some((took, _)) => step.took(*took),
        None => step,
    };
    (step.with("answering", facts), answering)
}

fn connect_words(error: &io::Error) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of errors are not ours, and there are many")]
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::TimedOut => format!("no answer in {}", span(CONNECT)),
        io::ErrorKind::HostUnreachable => "no route to the host".into(),
        io::ErrorKind::NetworkUnreachable => "the network is unreachable".into(),
        _ => error.to_string(),
    }
}

fn connect_fix(kind: Option<io::ErrorKind>) -> &'static str {
    match kind {
        Some(io::ErrorKind::ConnectionRefused) => {
            "nothing listens there: check the port, that the server runs, and that it listens on more than 127.0.0.1"
        }
        Some(io::ErrorKind::TimedOut) => "check the host, and firewalls on the way: they drop what goes to this port",
        _ => "check the address, and this machine's network and firewall",
    }
}

/// Connects to the server: to the first hop, and through the proxy if there is one. What comes out is what the
/// server itself reads and writes.
pub(super) fn connect(plan: &Plan, hop: SocketAddr) -> Result<TcpStream, DialError> {
    let connected = TcpStream::connect_timeout(&hop, CONNECT).map_err(|error| DialError::Connect(error.kind()))?;
    // Small things are said at once.
    let _ = connected.set_nodelay(true);
    let Some((_, proxy)) = &plan.proxy else { return Ok(connected) };
    let (host, Address { port, .. }) = (host(plan), &plan.server.address);
    let upgrade = ClientUpgrade::new(Scheme::Ws, &host, *port, "/").map_err(DialError::Request)?;
    let mut link = Link::client(sudp_tokio::now(), upgrade.with_proxy(proxy.clone()), limits(), seed());
    let mut stream = Timed::new(connected, PATIENCE);
    let mut input = BytesMut::new();
    loop {
        let output = link.output();
        // The proxy has let us through: what it would hear next is for the server.
        if output.starts_with(b"GET ") {
            return Ok(stream.inner);
        }
        let length = output.len();
        stream.write_all(output).map_err(|error| broken(&error))?;
        link.advance_output(length);
        if let Some(end) = ended(&mut link) {
            return Err(DialError::from(&end));
        }
        let mut chunk = [0; 1_024];
        match stream.read(&mut chunk).map_err(|error| broken(&error))? {
            0 => link.handle_end(sudp_tokio::now()),
            count => {
                input.extend_from_slice(&chunk[..count]);
                link.handle_input(sudp_tokio::now(), &mut input);
            }
        }
        if let Some(end) = ended(&mut link) {
            return Err(DialError::from(&end));
        }
    }
}

/// Goes as far as the upgrade as a client does, to have its words for what goes wrong.
pub(super) fn ends_with(plan: &Plan, hop: SocketAddr) -> Option<LinkEnd> {
    let mut stream = Timed::new(connect(plan, hop).ok()?, PATIENCE);
    let (host, Address { port, .. }) = (host(plan), &plan.server.address);
    let upgrade = ClientUpgrade::new(Scheme::Wss, &host, *port, &plan.server.path).ok()?;
    let mut link = Link::client(sudp_tokio::now(), upgrade.with_tls(plan.tls.clone()), limits(), seed());
    let mut input = BytesMut::new();
    loop {
        let output = link.output();
        let length = output.len();
        // What was said before the stream broke is read yet.
        let _ = stream.write_all(output);
        link.advance_output(length);
        if let Some(end) = ended(&mut link) {
            return Some(end);
        }
        if link.is_open() {
            return None;
        }
        let mut chunk = [0; 4_096];
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => link.handle_end(sudp_tokio::now()),
            Ok(count) => {
                input.extend_from_slice(&chunk[..count]);
                link.handle_input(sudp_tokio::now(), &mut input);
            }
        }
    }
}

fn ended(link: &mut Link) -> Option<LinkEnd> {
    std::iter::from_fn(|| link.poll_event()).find_map(|event| match event {
        LinkEvent::Ended(end) => Some(end),
        LinkEvent::Message(_)
        | LinkEvent::Open { .. }
        | LinkEvent::Request(_)
        | LinkEvent::Stranger(_)
        | LinkEvent::Text(_)
        | _ => None,
    })
}

fn limits() -> LinkLimits {
    LinkLimits::from(&Limits::default())
}

/// Nothing of what is said here is secret, nor can it be confused with anything.
fn seed() -> Seed {
    let mut seed = [0; 32];
    // Without randomness it goes on: what it is for is no secret here.
    let _ = getrandom::fill(&mut seed);
    Seed(seed)
}

fn broken(error: &io::Error) -> DialError {
    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
        return DialError::Late(LinkStage::Proxy);
    }
    DialError::Broken(error.kind())
}

/// The host of the server, as it is said in requests.
pub(super) fn host(plan: &Plan) -> String {
    match &plan.server.address.host {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.to_string(),
    }
}

/// Goes through the proxy.
pub(super) fn proxy(plan: &Plan, hop: SocketAddr) -> Step {
    let Some((address, _)) = &plan.proxy else {
        return Step::none("proxy", "none: the server is dialled directly");
    };
    match connect(plan, hop) {
        Ok(_) => Step::ok("proxy", format_args!("{address} lets us through to {}", plan.server.address)),
        Err(why) => {
            let denied = matches!(
                why,
                DialError::Proxy(ProxyEnd::Credentials | ProxyEnd::Refused(403) | ProxyEnd::Reply(ProxyEnd::FORBIDDEN))
            );
            let exit = if denied { Exit::Denied } else { Exit::Unreachable };
            Step::fail("proxy", exit, format_args!("{address}: {why}"), proxy_fix(plan, &why))
        }
    }
}

fn proxy_fix(plan: &Plan, why: &DialError) -> String {
    let server = &plan.server.address;
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is said of these, the error says")]
    match why {
        DialError::Proxy(ProxyEnd::Credentials) => {
            "give user and password: http://USER:PASSWORD@HOST:PORT in the variable all_proxy, or as client.proxy in \
             the configuration"
                .into()
        }
        DialError::Proxy(ProxyEnd::Refused(403) | ProxyEnd::Reply(ProxyEnd::FORBIDDEN)) => {
            format!("many proxies allow port 443 only: have the server listen there, or have {server} allowed")
        }
        DialError::Proxy(ProxyEnd::Refused(_) | ProxyEnd::Reply(_)) => {
            format!("it is the proxy that must reach {server}: check that the server runs, and its name there")
        }
        _ => "check its address and kind (http:// or socks5://); unset the variables all_proxy and https_proxy, or \
              name the server in no_proxy, to do without it"
            .into(),
    }
}

/// A stream whose every word must be said before a deadline.
#[derive(Debug)]
pub(super) struct Timed {
    pub(super) inner: TcpStream,
    until: Instant,
}

impl Timed {
    pub(super) fn new(inner: TcpStream, within: Duration) -> Self {
        Self { inner, until: Instant::now() + within }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.inner.set_read_timeout(self.left()?)?;
        self.inner.read(into)
    }
}

impl Write for Timed {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.inner.set_write_timeout(self.left()?)?;
        self.inner.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Whether an address is this machine's own.
pub(super) fn is_here(host: &Host) -> bool {
    match host {
        Host::Ip(ip) => IpAddr::is_loopback(&ip.to_canonical()),
        Host::Name(name) => name.eq_ignore_ascii_case("localhost"),
    }
}

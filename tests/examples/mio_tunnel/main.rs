//! A tunnel on a bare `mio` loop: all that an event loop of your own has to do for SUDP.
//!
//! `server LISTEN` accepts links, `client SERVER LISTEN TO` takes datagrams at LISTEN and has the
//! server send them to TO; all are addresses with ports. There is no encryption, and everybody is let
//! in and may reach everything: run it on loopback.
//!
//! `doors.rs` is the half that moves bytes: it does what a driver asks. This is the half that decides
//! when: wait, report what is ready, take turns, and see to what comes out of them.

mod doors;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mio::net::TcpListener;
use mio::{Events, Interest};
use sudp_proto::Seed;
use sudp_proto::access::{Grant, Own, Pool};
use sudp_proto::client::{Client, ClientSetup};
use sudp_proto::config::Limits;
use sudp_proto::config::client::{ClientConfig, Scheme, ServerConfig};
use sudp_proto::driver::{Driver, Token, Turn, Way};
use sudp_proto::link::{Answer, ServerExpect, Subprotocol};
use sudp_proto::server::{
    Admission, Claim, Identification, Incoming, IncomingSetup, Names, Registry, Server, ServerSetup,
};
use sudp_proto::session::{Access, InDoubt, Treatment, Tunnel, Way as Direction};
use sudp_proto::wire::{Address, Code, SessionId, TunnelId};

use doors::{Behind, Doors, Lent, attempt};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", listen] => Loop::server(TcpListener::bind(listen.parse()?)?)?.run(),
        ["client", server, listen, to] => Loop::client(server.parse()?, listen.parse()?, to.parse()?)?.run(),
        _ => Err("usage: mio_tunnel server LISTEN | client SERVER LISTEN TO".into()),
    }
}

/// The event loop of a client or of a server.
pub(crate) struct Loop {
    doors: Doors,
    /// Every driver by a number: its doors are known by that and by the token.
    machines: BTreeMap<usize, Machine>,
    next: usize,
    listener: Option<TcpListener>,
    registry: Registry,
    sessions: BTreeMap<SessionId, usize>,
    pool: Pool,
}

enum Machine {
    Client(Box<Driver<Client>>),
    Incoming(Box<Driver<Incoming>>),
    Server(Box<Driver<Server>>),
}

impl Loop {
    /// A client of one server, with one tunnel.
    pub(crate) fn client(server: SocketAddr, listen: SocketAddr, to: SocketAddr) -> Outcome<Self> {
        let mut this = Self::new(None)?;
        let config = ClientConfig::new(vec![ServerConfig::new(Scheme::Ws, Address::from(server))]);
        config.validate()?;
        let (limits, pool, seed) = (Limits::default(), this.pool.clone(), seed()?);
        let setup = ClientSetup { config, limits, started: 0, headers: Vec::new(), proxy: None, pool, seed };
        let mut client = Client::new(now(), setup);
        let way = Direction::Forward { listen: Some(listen), to: Some(Address::from(to)) };
        let tunnel = Tunnel { way, treatment: Treatment::default(), in_doubt: InDoubt::Drop };
        client.add_tunnel(TunnelId(1), tunnel)?;
        this.machines.insert(0, Machine::Client(Box::new(Driver::new(client))));
        Ok(this)
    }

    /// A server for whoever comes.
    pub(crate) fn server(listener: TcpListener) -> Outcome<Self> {
        Self::new(Some(listener))
    }

    fn new(mut listener: Option<TcpListener>) -> Outcome<Self> {
        let doors = Doors::new()?;
        if let Some(listener) = &mut listener {
            doors.poll.registry().register(listener, LISTENER, Interest::READABLE)?;
        }
        let registry = Registry::new(Limits::default(), &seed()?);
        let pool = Pool::memory(256 << 20, 128 << 10);
        let (machines, sessions) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { doors, machines, next: 1, listener, registry, sessions, pool })
    }

    /// Runs until something is wrong with the loop itself.
    pub(crate) fn run(mut self) -> Outcome<()> {
        let mut events = Events::with_capacity(256);
        loop {
            let timeout = self.turns(now())?;
            attempt(|| self.doors.poll.poll(&mut events, timeout))?;
            for event in &events {
                if event.token() == LISTENER {
                    self.accept(now())?;
                }
                let Some((who, at)) = self.doors.answer(event) else { continue };
                let Some(machine) = self.machines.get_mut(&who) else { continue };
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    machine.handle_ready(at, Way::In);
                }
                if event.is_writable() || event.is_write_closed() || event.is_error() {
                    machine.handle_ready(at, Way::Out);
                }
            }
        }
    }

    /// One turn for every machine; says how long to wait. A turn with nothing to do costs little; a loop
    /// with thousands of sessions keeps a list of those that rang, and a heap of deadlines.
    fn turns(&mut self, now: Instant) -> Outcome<Option<Duration>> {
        let mut next: Option<Instant> = None;
        for who in self.machines.keys().copied().collect::<Vec<_>>() {
            let Some(mut machine) = self.machines.remove(&who) else { continue };
            let turn = machine.turn(now, &mut Lent(&mut self.doors, who));
            next = [next, if turn.again { Some(now) } else { turn.deadline }].into_iter().flatten().min();
            match machine {
                Machine::Incoming(driver) => {
                    if self.see_to(now, who, driver)? {
                        // It was told something, or became a link of a session: a turn is due.
                        next = Some(now);
                    }
                }
                Machine::Server(driver) => {
                    if self.tell(now, who, driver) {
                        next = Some(now);
                    }
                }
                Machine::Client(mut driver) => {
                    // Flows that were opened by hand would be asked for here, too: `Driver::poll_delivery`.
                    while let Some(event) = driver.endpoint_mut().session_mut().poll_event() {
                        eprintln!("{event:?}");
                    }
                    self.machines.insert(who, Machine::Client(driver));
                }
            }
        }
        Ok(next.map(|at| at.saturating_duration_since(now)))
    }

    fn accept(&mut self, now: Instant) -> Outcome<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        while let Some((stream, _)) = attempt(|| listener.accept())? {
            stream.set_nodelay(true)?;
            let expect =
                ServerExpect { path: "/sudp".into(), origins: Vec::new(), subprotocol: Subprotocol::default() };
            let setup = IncomingSetup { expect, limits: Limits::default(), server: SERVER, seed: seed()? };
            let mut driver = Driver::new(Incoming::new(now, setup));
            let at = driver.adopt(Incoming::KEY, BytesMut::new());
            self.doors.put(self.next, at, Behind::Tcp(stream))?;
            self.machines.insert(self.next, Machine::Incoming(Box::new(driver)));
            self.next += 1;
        }
        Ok(())
    }

    /// Decides on what a stream asks for, once it does. Says whether anything was decided.
    fn see_to(&mut self, now: Instant, who: usize, mut driver: Box<Driver<Incoming>>) -> Outcome<bool> {
        let incoming = driver.endpoint_mut();
        if incoming.is_finished() {
            driver.dismantle(&mut Lent(&mut self.doors, who));
            return Ok(true);
        }
        let stranger = incoming.poll_stranger().is_some();
        if stranger {
            incoming.answer(now, &Answer::not_found())?;
        }
        let Some(claim) = incoming.poll_claim() else {
            self.machines.insert(who, Machine::Incoming(driver));
            return Ok(stranger);
        };
        match self.admit(now, &claim)? {
            Ok(session) => self.join(now, who, driver, session),
            Err(refused) => {
                driver.endpoint_mut().refuse(now, refused);
                self.machines.insert(who, Machine::Incoming(driver));
            }
        }
        Ok(true)
    }

    /// Lets a claim in. Whoever asks for passwords does it here, and may take seconds: the stream is
    /// driven meanwhile, and tells when its client hangs up.
    fn admit(&mut self, now: Instant, claim: &Claim) -> Outcome<Result<SessionId, Code>> {
        let grant = Grant::open();
        let founded = match self.registry.admit(claim, &Identification::default(), (&grant).into()) {
            Ok(Admission::Found(founded)) => founded,
            Ok(Admission::Join(session)) => return Ok(Ok(session)),
            Err(refused) => return Ok(Err(refused.0)),
        };
        let access = Access { grant, own: Arc::new(Own::default()) };
        let (limits, pool, seed) = (Limits::default(), self.pool.clone(), seed()?);
        let names = Names { server: SERVER, ..Names::default() };
        let server = Server::new(now, &founded, names, ServerSetup { limits, access, pool, seed });
        self.machines.insert(self.next, Machine::Server(Box::new(Driver::new(server))));
        self.sessions.insert(founded.session, self.next);
        self.next += 1;
        Ok(Ok(founded.session))
    }

    /// Moves an admitted stream to the driver of its session.
    fn join(&mut self, now: Instant, who: usize, mut driver: Box<Driver<Incoming>>, session: SessionId) {
        let Some(stream) = driver.release(Incoming::KEY) else { return };
        let arrival = driver.dismantle(&mut Lent(&mut self.doors, who)).grant();
        let host = self.sessions.get(&session).copied().unwrap_or_default();
        let (Some(Machine::Server(server)), Some(arrival)) = (self.machines.get_mut(&host), arrival) else { return };
        let (key, _) = server.endpoint_mut().adopt(now, arrival);
        let at = server.adopt(key, stream.input);
        self.doors.hand_on((who, stream.token), (host, at));
    }

    /// The registry hears what happens to a session, and says which others are to be closed for it. Says
    /// whether there were any.
    fn tell(&mut self, now: Instant, who: usize, mut driver: Box<Driver<Server>>) -> bool {
        let (session, mut closing) = (driver.endpoint().id(), Vec::new());
        while let Some(event) = driver.endpoint_mut().session_mut().poll_event() {
            eprintln!("{event:?}");
            closing.extend(self.registry.handle_event(session, &event));
        }
        if driver.endpoint().is_finished() {
            driver.dismantle(&mut Lent(&mut self.doors, who));
            self.registry.remove(session);
            self.sessions.remove(&session);
        } else {
            self.machines.insert(who, Machine::Server(driver));
        }
        for (session, code) in &closing {
            let host = self.sessions.get(session).and_then(|host| self.machines.get_mut(host));
            if let Some(Machine::Server(server)) = host {
                server.endpoint_mut().session_mut().close(now, *code);
            }
        }
        !closing.is_empty()
    }
}

impl Machine {
    fn handle_ready(&mut self, at: Token, way: Way) {
        match self {
            Self::Client(driver) => driver.handle_ready(at, way),
            Self::Incoming(driver) => driver.handle_ready(at, way),
            Self::Server(driver) => driver.handle_ready(at, way),
        }
    }

    fn turn(&mut self, now: Instant, io: &mut Lent<'_>) -> Turn {
        match self {
            Self::Client(driver) => driver.turn(now, io),
            Self::Incoming(driver) => driver.turn(now, io),
            Self::Server(driver) => driver.turn(now, io),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a real loop has a real clock")]
fn now() -> Instant {
    Instant::now()
}

/// Randomness of the system: secrets are drawn from it.
fn seed() -> Outcome<Seed> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(Seed(seed))
}

const LISTENER: mio::Token = mio::Token(usize::MAX);
/// The server's own name, for its clients to know it again.
const SERVER: u64 = 1;

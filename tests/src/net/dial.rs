//! Dialling and listening: SYNs, the doors they meet, and outages on their way.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::clock::Nanos;
use crate::net::conn::{Connection, Duplex, End, State};
use crate::net::puppet::Puppet;
use crate::net::{Answer, Conn, Direction, Event, Host, Net, Path, Ready, Side, Way};
use crate::pipe::Pipe;
use crate::proxy::{Middlebox, Stage};

/// What dials meet at an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listener {
    /// Connections are answered by a canned answer and closed; nobody accepts them.
    Answering(Answer),
    /// SYNs vanish.
    BlackHole,
    /// Connections wait to be accepted.
    Open,
    /// SYNs are answered by a reset.
    Refusing,
}

/// How a dial stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialled {
    /// Still on its way; [`Way::Out`] follows.
    Pending,
    /// Connected.
    Open,
    /// Refused or timed out.
    Failed(ErrorKind),
}

/// A listener, and who waits there.
#[derive(Debug)]
pub(super) struct Door {
    host: Host,
    listener: Listener,
    backlog: VecDeque<Conn>,
}

/// A time during which nothing passes between two machines.
#[derive(Debug)]
pub(super) struct Outage {
    pub(super) client: Host,
    pub(super) server: Host,
    pub(super) until: Nanos,
}

impl Net {
    /// Listens at an address of `host`, or changes what a dial meets there.
    ///
    /// Connections already made are not touched.
    pub fn listen(&mut self, host: Host, address: SocketAddr, listener: Listener) {
        let door = self.listeners.entry(address).or_insert_with(|| Door {
            host,
            listener: Listener::Open,
            backlog: VecDeque::new(),
        });
        door.host = host;
        door.listener = listener;
    }

    /// Says which ways lead from a machine to an address; every dial takes one of them at random.
    ///
    /// Without this, or with none given, the way is direct with default lines.
    pub fn set_paths(&mut self, from: Host, to: SocketAddr, paths: Vec<Path>) {
        self.paths.insert((from, to), paths);
    }

    /// Starts a connection; [`Way::Out`] follows after one round trip, or when it fails.
    ///
    /// SYNs that vanish are repeated after 1, 3, 7, 15, 31 and 63 s; after 127 s the dial times out.
    pub fn dial(&mut self, now: Instant, from: Host, to: SocketAddr) -> Conn {
        self.tick(now);
        self.dial_as(from, to, None)
    }

    /// How a dial stands.
    pub fn dialled(&self, conn: Conn) -> Dialled {
        match self.conns.get(conn.index, conn.generation).map(|connection| connection.client.state) {
            Some(State::Dialling) => Dialled::Pending,
            Some(State::Open) => Dialled::Open,
            Some(State::Failed(kind)) => Dialled::Failed(kind),
            Some(State::Closed) | None => Dialled::Failed(ErrorKind::NotConnected),
        }
    }

    /// The connection that has waited longest at `listener`.
    pub fn accept(&mut self, listener: SocketAddr) -> Option<Conn> {
        self.listeners.get_mut(&listener)?.backlog.pop_front()
    }

    pub(super) fn dial_as(&mut self, from: Host, to: SocketAddr, puppet: Option<Puppet>) -> Conn {
        let mut path = self.choose_path(from, to);
        if puppet.is_some() {
            // What is a repetition is not repeated: two such boxes would never be done.
            path.boxes.retain(|(middlebox, _)| !matches!(middlebox, Middlebox::Replay { .. }));
        }
        let legs: Vec<Duplex> =
            path.hops().map(|hop| Duplex { up: Pipe::new(&hop.up), down: Pipe::new(&hop.down) }).collect();
        let stages = path.boxes.iter().map(|(middlebox, _)| Stage::new(middlebox, &self.rng.fork())).collect();
        let source = SocketAddr::new(self.address(from), self.port(from));
        let client = End { host: from, state: State::Dialling, puppet };
        let connection = Connection { from: source, to, legs, stages, client, server: None };
        let travel = connection.latency(Direction::Up);
        let (index, generation) = self.conns.add(connection);
        let conn = Conn { index, generation };
        self.agenda.add(self.now.saturating_add(travel), Event::Syn { conn, attempt: 0 });
        conn
    }

    /// A port that this machine has not used lately.
    pub(super) fn port(&mut self, host: Host) -> u16 {
        let machine = &mut self.machines[usize::from(host.0)];
        let port = machine.next_port;
        machine.next_port = port.checked_add(1).unwrap_or(32_768);
        port
    }

    pub(super) fn on_syn(&mut self, conn: Conn, attempt: u8) {
        let Some(connection) = self.conns.get(conn.index, conn.generation) else { return };
        let (from, to, back) = (connection.client.host, connection.to, connection.latency(Direction::Down));
        if connection.client.state == State::Closed {
            return;
        }
        match self.meet(from, to) {
            Met::Nothing => self.repeat_syn(conn, attempt),
            Met::Refusal => {
                let outcome = Dialled::Failed(ErrorKind::ConnectionRefused);
                self.agenda.add(self.now.saturating_add(back), Event::Dialled { conn, outcome });
            }
            Met::Door { host, answer } => {
                self.agenda.add(self.now.saturating_add(back), Event::Dialled { conn, outcome: Dialled::Open });
                self.open_server_end(conn, host, to, answer);
            }
        }
    }

    pub(super) fn on_dialled(&mut self, conn: Conn, outcome: Dialled) {
        let Some(connection) = self.conns.get_mut(conn.index, conn.generation) else { return };
        if connection.client.state != State::Dialling {
            return;
        }
        connection.client.state = match outcome {
            Dialled::Pending => State::Dialling,
            Dialled::Open => State::Open,
            Dialled::Failed(kind) => State::Failed(kind),
        };
        self.tell(conn, Side::Client, Way::Out);
    }

    /// Takes a machine's listeners away; who waited there meets a reset.
    pub(super) fn stop_listening(&mut self, host: Host) {
        self.listeners.retain(|_, door| door.host != host);
    }

    fn meet(&self, from: Host, to: SocketAddr) -> Met {
        let Some(door) = self.listeners.get(&to) else {
            return match self.machine_at(to) {
                Some(host) if !self.is_out(from, host) => Met::Refusal,
                Some(_) | None => Met::Nothing,
            };
        };
        if self.is_out(from, door.host) {
            return Met::Nothing;
        }
        match &door.listener {
            Listener::Answering(answer) => Met::Door { host: door.host, answer: Some(answer.clone()) },
            Listener::BlackHole => Met::Nothing,
            Listener::Open => Met::Door { host: door.host, answer: None },
            Listener::Refusing => Met::Refusal,
        }
    }

    fn machine_at(&self, to: SocketAddr) -> Option<Host> {
        let found = self.machines.iter().position(|machine| machine.address == to.ip())?;
        u16::try_from(found).ok().map(Host)
    }

    fn is_out(&self, client: Host, server: Host) -> bool {
        self.outages.iter().any(|out| out.client == client && out.server == server && out.until > self.now)
    }

    fn repeat_syn(&mut self, conn: Conn, attempt: u8) {
        let at = self.after(Duration::from_secs(1 << attempt));
        if attempt == 6 {
            let outcome = Dialled::Failed(ErrorKind::TimedOut);
            self.agenda.add(at, Event::Dialled { conn, outcome });
        } else {
            self.agenda.add(at, Event::Syn { conn, attempt: attempt + 1 });
        }
    }

    fn open_server_end(&mut self, conn: Conn, host: Host, to: SocketAddr, answer: Option<Answer>) {
        let Some(connection) = self.conns.get_mut(conn.index, conn.generation) else { return };
        let canned = answer.is_some();
        connection.server = Some(End { host, state: State::Open, puppet: answer.map(Puppet::answering) });
        for stage in 0..connection.stages.len() {
            self.start_stage(conn, stage);
        }
        if canned {
            self.tell(conn, Side::Server, Way::In);
        } else if let Some(door) = self.listeners.get_mut(&to) {
            door.backlog.push_back(conn);
            self.notify(host, Ready::Accept { host, listener: to });
        }
    }

    fn choose_path(&mut self, from: Host, to: SocketAddr) -> Path {
        let Some(paths) = self.paths.get(&(from, to)).filter(|paths| !paths.is_empty()) else {
            return Path::default();
        };
        let chosen = usize::try_from(self.rng.below(paths.len() as u64)).unwrap_or(0);
        paths[chosen].clone()
    }
}

/// What a SYN finds.
enum Met {
    Door { host: Host, answer: Option<Answer> },
    Nothing,
    Refusal,
}

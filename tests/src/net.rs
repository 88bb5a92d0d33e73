//! The network of a simulated world: hosts, listeners, connections, UDP sockets, names, and what can
//! happen to each.
//!
//! A world asks [`Net::next_at`] when something happens, calls [`Net::advance`], and drains
//! [`Net::poll_ready`]; everything else is "try now", as a driver's doors are: whoever met
//! [`Next::Blocked`] or wrote less than it wanted gets a [`Ready`] when that changes. A notification
//! too many is harmless and happens.
//!
//! Every instant given to a `Net` must be no earlier than the one before. All randomness comes from the
//! seed, and equal calls give equal answers.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sudp_proto::{Rng, Seed};

use crate::agenda::Agenda;
use crate::clock::{Nanos, instant, nanos};
use crate::net::conn::{Connection, Slots};
use crate::net::dial::Outage;
use crate::net::names::Names;
use crate::net::udp::Letters;

mod conn;
mod dial;
mod fault;
mod names;
mod path;
mod pump;
mod puppet;
mod udp;

pub use dial::{Dialled, Listener};
pub use fault::{Fault, Leg};
pub use names::{Lookup, Query};
pub use path::{Hop, Path};
pub use puppet::Answer;
pub use udp::{RECEIVE_BUFFER, Received, Sent, Socket, Trouble};

pub use crate::pipe::{Broken, Next, Read};

/// A machine of the world.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Host(pub u16);

/// One TCP connection, from the dial on; its number is never used for another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Conn {
    /// Its slot: small numbers, used again.
    pub index: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Side {
    /// Who dialled.
    Client,
    /// Who accepted.
    Server,
}

/// Which way bytes go on a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Direction {
    /// From the side that dialled.
    Up,
    /// To the side that dialled.
    Down,
}

impl Direction {
    /// The other way.
    pub fn reverse(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }

    /// The way in which `side` writes.
    pub fn from(side: Side) -> Self {
        match side {
            Side::Client => Self::Up,
            Side::Server => Self::Down,
        }
    }
}

/// What a notification says is worth trying.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Way {
    /// Reading or receiving.
    In,
    /// Writing or sending; on a dial, asking how it went.
    Out,
}

/// Something is worth trying again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Ready {
    /// A connection waits to be accepted on `listener`.
    Accept {
        /// Whose listener.
        host: Host,
        /// Where it listens.
        listener: SocketAddr,
    },
    /// The time of an alarm has come: what was given to [`Net::alarm`].
    Alarm(u64),
    /// A name was looked up.
    Name(Query),
    /// A stream can be read, written, or has connected, failed or ended.
    Stream {
        /// Which connection.
        conn: Conn,
        /// Which of its ends.
        side: Side,
        /// What to try.
        way: Way,
    },
    /// A UDP socket has something, or takes something again.
    Udp {
        /// Which socket.
        socket: Socket,
        /// What to try.
        way: Way,
    },
}

/// The network.
#[derive(Debug)]
pub struct Net {
    now: Nanos,
    rng: Rng,
    agenda: Agenda<Event>,
    ready: VecDeque<Ready>,
    machines: Vec<Machine>,
    conns: Slots<Connection>,
    listeners: BTreeMap<SocketAddr, dial::Door>,
    paths: BTreeMap<(Host, SocketAddr), Vec<Path>>,
    outages: Vec<Outage>,
    replays: Vec<Option<pump::Replay>>,
    letters: Letters,
    names: Names,
    scratch: Vec<u8>,
}

impl Net {
    /// An empty network.
    pub fn new(seed: &Seed) -> Self {
        Self {
            now: 0,
            rng: Rng::new(seed),
            agenda: Agenda::new(),
            ready: VecDeque::new(),
            machines: Vec::new(),
            conns: Slots::new(),
            listeners: BTreeMap::new(),
            paths: BTreeMap::new(),
            outages: Vec::new(),
            replays: Vec::new(),
            letters: Letters::new(),
            names: Names::new(),
            scratch: Vec::new(),
        }
    }

    /// Adds a machine with one address.
    pub fn host(&mut self, address: IpAddr) -> Host {
        let host = Host(u16::try_from(self.machines.len()).expect("a world has few machines"));
        self.machines.push(Machine { address, suspended: false, kept: Vec::new(), next_port: 32_768 });
        host
    }

    /// The address of a machine.
    pub fn address(&self, host: Host) -> IpAddr {
        self.machines[usize::from(host.0)].address
    }

    /// Rings [`Ready::Alarm`] with `key` at `at`; alarms cannot be taken back, so ignore stale ones.
    pub fn alarm(&mut self, at: Instant, key: u64) {
        self.agenda.add(nanos(at), Event::Alarm(key));
    }

    /// When the next thing happens; now, if notifications wait to be drained.
    pub fn next_at(&self) -> Option<Instant> {
        if !self.ready.is_empty() {
            return Some(instant(self.now));
        }
        self.agenda.next_at().map(|at| instant(at.max(self.now)))
    }

    /// Lets everything happen that is due at `now`.
    pub fn advance(&mut self, now: Instant) {
        self.now = self.now.max(nanos(now));
        while let Some((_, event)) = self.agenda.take_due(self.now) {
            self.handle(event);
        }
    }

    /// The next notification.
    pub fn poll_ready(&mut self) -> Option<Ready> {
        self.ready.pop_front()
    }

    /// Stops a machine: no notification reaches it until [`Net::resume`], though its kernel goes on
    /// taking in bytes, datagrams and connections.
    ///
    /// Whoever drives the machine must not run it meanwhile.
    pub fn suspend(&mut self, host: Host) {
        self.machines[usize::from(host.0)].suspended = true;
    }

    /// Lets a suspended machine go on, and notifies it of all that it missed.
    pub fn resume(&mut self, now: Instant, host: Host) {
        self.tick(now);
        let machine = &mut self.machines[usize::from(host.0)];
        machine.suspended = false;
        self.ready.extend(machine.kept.drain(..));
    }

    /// Whether a machine is suspended.
    pub fn is_suspended(&self, host: Host) -> bool {
        self.machines[usize::from(host.0)].suspended
    }

    /// How many events wait, for tests of bounds.
    pub fn pending(&self) -> usize {
        self.agenda.len()
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Alarm(key) => self.ready.push_back(Ready::Alarm(key)),
            Event::Bell { conn, leg, direction, way } => self.ring(conn, usize::from(leg), direction, way),
            Event::Dialled { conn, outcome } => self.on_dialled(conn, outcome),
            Event::Middlebox { conn, stage } => self.on_middlebox_timer(conn, usize::from(stage)),
            Event::Name { query, host } => self.notify(host, Ready::Name(query)),
            Event::Puppet { conn, side } => self.drive_puppet(conn, side),
            Event::Replay(slot) => self.on_replay(slot),
            Event::Syn { conn, attempt } => self.on_syn(conn, attempt),
            Event::Udp { socket, way } => self.ring_socket(socket, way),
        }
    }

    fn notify(&mut self, host: Host, ready: Ready) {
        let machine = &mut self.machines[usize::from(host.0)];
        if machine.suspended {
            machine.kept.push(ready);
        } else {
            self.ready.push_back(ready);
        }
    }

    fn tick(&mut self, now: Instant) -> Nanos {
        self.now = self.now.max(nanos(now));
        self.now
    }

    fn after(&self, delay: Duration) -> Nanos {
        self.now.saturating_add(crate::clock::span(delay))
    }
}

#[derive(Debug)]
struct Machine {
    address: IpAddr,
    suspended: bool,
    /// Notifications that came while it was suspended.
    kept: Vec<Ready>,
    next_port: u16,
}

/// What the agenda holds.
#[derive(Clone, Copy, Debug)]
enum Event {
    Alarm(u64),
    Bell { conn: Conn, leg: u8, direction: Direction, way: Way },
    Dialled { conn: Conn, outcome: Dialled },
    Middlebox { conn: Conn, stage: u8 },
    Name { query: Query, host: Host },
    Puppet { conn: Conn, side: Side },
    Replay(u32),
    Syn { conn: Conn, attempt: u8 },
    Udp { socket: Socket, way: Way },
}

#[cfg(test)]
mod tests;

//! UDP: sockets by address, and the troubles of the addresses they send to.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;

use crate::clock::{NEVER, Nanos, nanos, span};
use crate::net::conn::Slots;
use crate::net::{Event, Host, Net, Ready, Way};

/// One UDP socket; its number is never used for another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Socket {
    /// Its slot: small numbers, used again.
    pub index: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

/// What became of a datagram that was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    /// It is on its way; as with any UDP, that is no promise.
    Taken,
    /// Not sent, the buffer is full; [`Way::Out`] follows.
    Blocked,
    /// Not sent; after an ICMP error this speaks of an earlier datagram, and trying again is right.
    Failed(ErrorKind),
}

/// What a socket had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Received {
    /// A datagram, its payload is in the buffer.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// Whether another one is there now.
        more: bool,
    },
    /// Nothing; [`Way::In`] follows.
    Blocked,
    /// An ICMP error about something that was sent.
    Failed(ErrorKind),
}

/// What is wrong with an address that datagrams are sent to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// Sending fails at once, as `ENETUNREACH` does.
    Failing(ErrorKind),
    /// Whoever sends there is pushed back until then.
    Full(Instant),
    /// Datagrams vanish.
    Lossy,
    /// Datagrams vanish, and the sender's next call says so, as after an ICMP error.
    Refusing,
}

/// How much a socket holds unread: what we ask a kernel for.
pub const RECEIVE_BUFFER: usize = 4 << 20;

/// All sockets of the world.
#[derive(Debug)]
pub(super) struct Letters {
    sockets: Slots<Inbox>,
    by_address: HashMap<SocketAddr, Socket, FixedState>,
    troubles: BTreeMap<SocketAddr, Trouble>,
    hop: Nanos,
}

#[derive(Debug)]
struct Inbox {
    host: Host,
    address: SocketAddr,
    letters: VecDeque<Letter>,
    bytes: VecDeque<u8>,
    /// Datagrams that found no room here.
    overflowed: u64,
    /// When the last letter arrives; they do not overtake each other.
    last_at: Nanos,
    armed: bool,
    rings_at: Nanos,
    /// An ICMP error on its way back.
    error: Option<(Nanos, ErrorKind)>,
}

#[derive(Debug)]
struct Letter {
    at: Nanos,
    from: SocketAddr,
    len: usize,
}

impl Letters {
    pub(super) fn new() -> Self {
        Self { sockets: Slots::new(), by_address: HashMap::default(), troubles: BTreeMap::new(), hop: 0 }
    }
}

impl Net {
    /// How long a datagram travels, everywhere; 0 at first.
    pub fn set_hop(&mut self, latency: Duration) {
        self.letters.hop = span(latency);
    }

    /// Opens a socket; port 0 takes a free one.
    pub fn bind(&mut self, host: Host, at: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
        let mut address = at;
        if at.port() == 0 {
            address.set_port(self.port(host));
            while self.letters.by_address.contains_key(&address) {
                address.set_port(self.port(host));
            }
        }
        if self.letters.by_address.contains_key(&address) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let (index, generation) = self.letters.sockets.add(Inbox {
            host,
            address,
            letters: VecDeque::new(),
            bytes: VecDeque::new(),
            overflowed: 0,
            last_at: 0,
            armed: true,
            rings_at: NEVER,
            error: None,
        });
        let socket = Socket { index, generation };
        self.letters.by_address.insert(address, socket);
        Ok((socket, address))
    }

    /// Closes a socket; what it had not received is gone. Closing twice does nothing.
    pub fn unbind(&mut self, socket: Socket) {
        if let Some(inbox) = self.letters.sockets.remove(socket.index, socket.generation) {
            self.letters.by_address.remove(&inbox.address);
        }
    }

    /// Sends one datagram.
    pub fn send(&mut self, now: Instant, socket: Socket, to: SocketAddr, payload: &[u8]) -> Sent {
        let now = self.tick(now);
        let Some(sender) = self.letters.sockets.get_mut(socket.index, socket.generation) else {
            return Sent::Failed(ErrorKind::NotConnected);
        };
        if let Some(kind) = sender.take_error(now) {
            return Sent::Failed(kind);
        }
        let from = sender.address;
        if !self.letters.troubles.is_empty()
            && let Some(outcome) = self.meet_trouble(now, socket, to)
        {
            return outcome;
        }
        match self.letters.by_address.get(&to).copied() {
            Some(target) => self.deliver(now, from, target, payload),
            None => self.bounce(now, socket),
        }
        Sent::Taken
    }

    /// Takes one datagram: clears `into` and puts the payload there.
    pub fn receive(&mut self, now: Instant, socket: Socket, into: &mut Vec<u8>) -> Received {
        let now = self.tick(now);
        into.clear();
        let Some(inbox) = self.letters.sockets.get_mut(socket.index, socket.generation) else {
            return Received::Failed(ErrorKind::NotConnected);
        };
        if let Some(kind) = inbox.take_error(now) {
            return Received::Failed(kind);
        }
        let Some(letter) = inbox.take_letter(now, into) else {
            inbox.armed = true;
            self.set_socket_bell(socket);
            return Received::Blocked;
        };
        let more = inbox.letters.front().is_some_and(|next| next.at <= now);
        if !more {
            inbox.armed = true;
            self.set_socket_bell(socket);
        }
        Received::Datagram { from: letter.from, more }
    }

    /// Puts an address in trouble, or out of it.
    pub fn set_trouble(&mut self, to: SocketAddr, trouble: Option<Trouble>) {
        match trouble {
            Some(trouble) => self.letters.troubles.insert(to, trouble),
            None => self.letters.troubles.remove(&to),
        };
    }

    /// The socket bound to an address.
    pub fn socket_at(&self, address: SocketAddr) -> Option<Socket> {
        self.letters.by_address.get(&address).copied()
    }

    /// How many datagrams found no room in a socket.
    pub fn overflowed(&self, socket: Socket) -> u64 {
        self.letters.sockets.get(socket.index, socket.generation).map_or(0, |inbox| inbox.overflowed)
    }

    pub(super) fn close_sockets(&mut self, host: Host) {
        for (index, generation) in self.letters.sockets.find(|inbox| inbox.host == host) {
            self.unbind(Socket { index, generation });
        }
    }

    pub(super) fn ring_socket(&mut self, socket: Socket, way: Way) {
        let now = self.now;
        let Some(inbox) = self.letters.sockets.get_mut(socket.index, socket.generation) else { return };
        let host = inbox.host;
        if way == Way::In {
            if inbox.rings_at <= now {
                inbox.rings_at = NEVER;
            }
            if !inbox.armed || inbox.due() > now {
                return self.set_socket_bell(socket);
            }
            inbox.armed = false;
        }
        self.notify(host, Ready::Udp { socket, way });
    }

    fn deliver(&mut self, now: Nanos, from: SocketAddr, target: Socket, payload: &[u8]) {
        let hop = self.letters.hop;
        let Some(inbox) = self.letters.sockets.get_mut(target.index, target.generation) else { return };
        if inbox.bytes.len() + payload.len() > RECEIVE_BUFFER || inbox.letters.len() >= RECEIVE_BUFFER / 256 {
            inbox.overflowed += 1;
            return;
        }
        let at = now.saturating_add(hop).max(inbox.last_at);
        inbox.last_at = at;
        inbox.bytes.extend(payload);
        inbox.letters.push_back(Letter { at, from, len: payload.len() });
        self.set_socket_bell(target);
    }

    /// Nobody is there: an ICMP error comes back.
    fn bounce(&mut self, now: Nanos, socket: Socket) {
        let at = now.saturating_add(self.letters.hop.saturating_mul(2)).saturating_add(1);
        if let Some(sender) = self.letters.sockets.get_mut(socket.index, socket.generation) {
            sender.error.get_or_insert((at, ErrorKind::ConnectionRefused));
        }
        self.set_socket_bell(socket);
    }

    fn meet_trouble(&mut self, now: Nanos, socket: Socket, to: SocketAddr) -> Option<Sent> {
        match *self.letters.troubles.get(&to)? {
            Trouble::Failing(kind) => Some(Sent::Failed(kind)),
            Trouble::Full(until) if nanos(until) <= now => None,
            Trouble::Full(until) => {
                self.agenda.add(nanos(until), Event::Udp { socket, way: Way::Out });
                Some(Sent::Blocked)
            }
            Trouble::Lossy => Some(Sent::Taken),
            Trouble::Refusing => {
                self.bounce(now, socket);
                Some(Sent::Taken)
            }
        }
    }

    fn set_socket_bell(&mut self, socket: Socket) {
        let Some(inbox) = self.letters.sockets.get_mut(socket.index, socket.generation) else { return };
        let due = inbox.due();
        if inbox.armed && due < inbox.rings_at {
            inbox.rings_at = due;
            self.agenda.add(due, Event::Udp { socket, way: Way::In });
        }
    }
}

impl Inbox {
    fn due(&self) -> Nanos {
        let letter = self.letters.front().map_or(NEVER, |letter| letter.at);
        self.error.map_or(letter, |(at, _)| letter.min(at))
    }

    fn take_error(&mut self, now: Nanos) -> Option<ErrorKind> {
        let (_, kind) = self.error.take_if(|(at, _)| *at <= now)?;
        Some(kind)
    }

    fn take_letter(&mut self, now: Nanos, into: &mut Vec<u8>) -> Option<Letter> {
        if self.letters.front()?.at > now {
            return None;
        }
        let letter = self.letters.pop_front()?;
        let (front, back) = self.bytes.as_slices();
        let first = letter.len.min(front.len());
        into.extend_from_slice(&front[..first]);
        into.extend_from_slice(&back[..letter.len - first]);
        self.bytes.drain(..letter.len);
        Some(letter)
    }
}

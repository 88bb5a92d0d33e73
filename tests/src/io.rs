//! The driver's doors to the simulated network: a view of one host, for one driver's turn.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::BufMut;
use foldhash::fast::FixedState;
use sudp_proto::driver::{Datagram, Io, Progress, Socket as Kind, Step, Token, Way};

use crate::net::{self, Conn, Dialled, Host, Lookup, Net, Next, Query, Ready, Received, Sent, Side, Socket};

/// One driver of the world; its number is never used for another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Machine(pub u32);

/// What is behind the tokens of every driver of the world.
#[derive(Debug, Default)]
pub struct Doors {
    behind: BTreeMap<(Machine, u64), Behind>,
    streams: HashMap<(Conn, Side), (Machine, Token), FixedState>,
    sockets: HashMap<Socket, (Machine, Token), FixedState>,
    queries: HashMap<Query, (Machine, Token), FixedState>,
    scratch: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Behind {
    Name(Query),
    Stream(Conn, Side),
    Udp(Socket),
}

impl Doors {
    /// No doors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what stands behind a token that a driver adopted.
    pub fn adopt(&mut self, machine: Machine, token: Token, conn: Conn, side: Side) {
        self.behind.insert((machine, token.into()), Behind::Stream(conn, side));
        self.streams.insert((conn, side), (machine, token));
    }

    /// Takes a stream from a driver that released it.
    pub fn release(&mut self, machine: Machine, token: Token) -> Option<(Conn, Side)> {
        match self.behind.remove(&(machine, token.into()))? {
            Behind::Stream(conn, side) => {
                self.streams.remove(&(conn, side));
                Some((conn, side))
            }
            Behind::Name(_) | Behind::Udp(_) => None,
        }
    }

    /// Whom a notification concerns.
    pub fn find(&self, ready: &Ready) -> Option<(Machine, Token, Way)> {
        let way = |way: net::Way| match way {
            net::Way::In => Way::In,
            net::Way::Out => Way::Out,
        };
        match ready {
            Ready::Accept { .. } | Ready::Alarm(_) => None,
            Ready::Name(query) => self.queries.get(query).map(|(machine, token)| (*machine, *token, Way::In)),
            Ready::Stream { conn, side, way: at } => {
                self.streams.get(&(*conn, *side)).map(|(machine, token)| (*machine, *token, way(*at)))
            }
            Ready::Udp { socket, way: at } => {
                self.sockets.get(socket).map(|(machine, token)| (*machine, *token, way(*at)))
            }
        }
    }

    /// Forgets what a process left behind that was killed: the network has closed it already.
    pub fn forget(&mut self, machine: Machine) {
        let gone: Vec<u64> =
            self.behind.range((machine, 0)..=(machine, u64::MAX)).map(|((_, token), _)| *token).collect();
        for token in gone {
            self.remove(machine, token);
        }
    }

    /// How many doors a driver has.
    pub fn count(&self, machine: Machine) -> usize {
        self.behind.range((machine, 0)..=(machine, u64::MAX)).count()
    }

    /// The connections of a driver.
    pub fn streams_of(&self, machine: Machine) -> impl Iterator<Item = (Conn, Side)> + '_ {
        self.behind.range((machine, 0)..=(machine, u64::MAX)).filter_map(|(_, behind)| match behind {
            Behind::Stream(conn, side) => Some((*conn, *side)),
            Behind::Name(_) | Behind::Udp(_) => None,
        })
    }

    fn insert(&mut self, machine: Machine, token: Token, behind: Behind) {
        self.behind.insert((machine, token.into()), behind);
        match behind {
            Behind::Name(query) => self.queries.insert(query, (machine, token)),
            Behind::Stream(conn, side) => self.streams.insert((conn, side), (machine, token)),
            Behind::Udp(socket) => self.sockets.insert(socket, (machine, token)),
        };
    }

    fn remove(&mut self, machine: Machine, token: u64) -> Option<Behind> {
        let behind = self.behind.remove(&(machine, token))?;
        match behind {
            Behind::Name(query) => self.queries.remove(&query),
            Behind::Stream(conn, side) => self.streams.remove(&(conn, side)),
            Behind::Udp(socket) => self.sockets.remove(&socket),
        };
        Some(behind)
    }
}

/// The doors of one driver on one host, at one moment.
#[derive(Debug)]
pub struct View<'a> {
    /// The network.
    pub net: &'a mut Net,
    /// What is behind tokens.
    pub doors: &'a mut Doors,
    /// Where the driver runs.
    pub host: Host,
    /// Which driver it is.
    pub machine: Machine,
    /// When.
    pub now: Instant,
}

impl View<'_> {
    fn behind(&self, at: Token) -> Option<Behind> {
        self.doors.behind.get(&(self.machine, at.into())).copied()
    }

    fn stream(&self, at: Token) -> io::Result<(Conn, Side)> {
        match self.behind(at) {
            Some(Behind::Stream(conn, side)) => Ok((conn, side)),
            Some(Behind::Name(_) | Behind::Udp(_)) | None => Err(ErrorKind::NotConnected.into()),
        }
    }

    fn socket(&self, at: Token) -> io::Result<Socket> {
        match self.behind(at) {
            Some(Behind::Udp(socket)) => Ok(socket),
            Some(Behind::Name(_) | Behind::Stream(..)) | None => Err(ErrorKind::NotConnected.into()),
        }
    }
}

impl Io for View<'_> {
    fn dial(&mut self, at: Token, to: SocketAddr) -> io::Result<Progress> {
        let Some(Behind::Stream(conn, _)) = self.behind(at) else {
            let conn = self.net.dial(self.now, self.host, to);
            self.doors.insert(self.machine, at, Behind::Stream(conn, Side::Client));
            return Ok(Progress::Pending);
        };
        match self.net.dialled(conn) {
            Dialled::Pending => Ok(Progress::Pending),
            Dialled::Open => Ok(Progress::Done),
            Dialled::Failed(kind) => Err(kind.into()),
        }
    }

    fn read(&mut self, at: Token, into: &mut impl BufMut) -> io::Result<Step> {
        let (conn, side) = self.stream(at)?;
        let mut scratch = std::mem::take(&mut self.doors.scratch);
        scratch.clear();
        let read = self.net.read(self.now, conn, side, &mut scratch, into.remaining_mut());
        into.put_slice(&scratch);
        self.doors.scratch = scratch;
        match read.next {
            Next::More => Ok(Step::More(read.n)),
            Next::Blocked => Ok(Step::Blocked(read.n)),
            Next::End => Ok(Step::End),
            Next::Reset => Err(ErrorKind::ConnectionReset.into()),
        }
    }

    fn write(&mut self, at: Token, from: &[u8]) -> io::Result<Step> {
        let (conn, side) = self.stream(at)?;
        match self.net.write(self.now, conn, side, from) {
            Ok(taken) if taken < from.len() => Ok(Step::Blocked(taken)),
            Ok(taken) => Ok(Step::More(taken)),
            Err(_) => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn finish(&mut self, at: Token) -> io::Result<()> {
        let (conn, side) = self.stream(at)?;
        self.net.finish(self.now, conn, side);
        Ok(())
    }

    fn bind(&mut self, at: Token, socket: &Kind) -> io::Result<SocketAddr> {
        let wanted = match socket {
            Kind::Flow(_) => SocketAddr::new(self.net.address(self.host), 0),
            Kind::Listener(at) => *at,
        };
        let (socket, address) = self.net.bind(self.host, wanted)?;
        self.doors.insert(self.machine, at, Behind::Udp(socket));
        Ok(address)
    }

    fn recv(&mut self, at: Token, mut each: impl FnMut(SocketAddr, &[u8])) -> io::Result<Step> {
        let socket = self.socket(at)?;
        let mut scratch = std::mem::take(&mut self.doors.scratch);
        let mut outcome = Ok(Step::More(BATCH));
        for count in 0..BATCH {
            match self.net.receive(self.now, socket, &mut scratch) {
                Received::Datagram { from, more } => {
                    each(from, &scratch);
                    if !more {
                        outcome = Ok(Step::Blocked(count + 1));
                        break;
                    }
                }
                Received::Blocked => {
                    outcome = Ok(Step::Blocked(count));
                    break;
                }
                Received::Failed(kind) => {
                    outcome = Err(kind.into());
                    break;
                }
            }
        }
        self.doors.scratch = scratch;
        outcome
    }

    fn send(&mut self, at: Token, batch: &[Datagram]) -> io::Result<Step> {
        let socket = self.socket(at)?;
        for (count, datagram) in batch.iter().take(BATCH).enumerate() {
            match self.net.send(self.now, socket, datagram.to, &datagram.payload) {
                Sent::Taken => {}
                Sent::Blocked => return Ok(Step::Blocked(count)),
                Sent::Failed(kind) if count == 0 => return Err(kind.into()),
                // What was sent is told first; an error that stays is met again.
                Sent::Failed(_) => return Ok(Step::More(count)),
            }
        }
        Ok(Step::More(batch.len().min(BATCH)))
    }

    fn resolve(&mut self, at: Token, host: &str, port: u16, into: &mut Vec<SocketAddr>) -> io::Result<Progress> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            into.push(SocketAddr::new(ip, port));
            return Ok(Progress::Done);
        }
        let Some(Behind::Name(query)) = self.behind(at) else {
            let query = self.net.resolve(self.now, self.host, host);
            self.doors.insert(self.machine, at, Behind::Name(query));
            return Ok(Progress::Pending);
        };
        match self.net.resolved(query) {
            Lookup::Pending => Ok(Progress::Pending),
            Lookup::Failed => Err(ErrorKind::NotFound.into()),
            Lookup::Found(addresses) => {
                into.extend(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)));
                Ok(Progress::Done)
            }
        }
    }

    fn close(&mut self, at: Token) {
        match self.doors.remove(self.machine, at.into()) {
            Some(Behind::Stream(conn, side)) => self.net.close(self.now, conn, side),
            Some(Behind::Udp(socket)) => self.net.unbind(socket),
            Some(Behind::Name(_)) | None => {}
        }
    }
}

/// Datagrams that one call moves at most.
const BATCH: usize = 32;

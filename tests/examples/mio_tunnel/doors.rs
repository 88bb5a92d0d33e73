//! What moves bytes: sockets of mio behind the tokens of drivers.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};

use bytes::BufMut;
use mio::event::Source;
use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Poll};
use sudp_proto::driver::{Datagram, Io, Progress, Socket, Step, Token};

/// Everything that is open. A driver's tokens are its own, so doors are known by driver and token, and
/// each has a number for mio.
pub(crate) struct Doors {
    pub(crate) poll: Poll,
    open: BTreeMap<(usize, Token), Door>,
    bells: BTreeMap<mio::Token, (usize, Token)>,
    next: usize,
    /// One buffer for whatever is read next: a copy costs less than room for each door.
    scratch: Box<[u8]>,
}

struct Door {
    bell: mio::Token,
    behind: Behind,
    /// The other end has finished, and mio will not say so twice.
    hung_up: bool,
}

pub(crate) enum Behind {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

/// The doors of one driver, lent to it for one turn.
pub(crate) struct Lent<'a>(pub(crate) &'a mut Doors, pub(crate) usize);

impl Doors {
    pub(crate) fn new() -> io::Result<Self> {
        let scratch = vec![0; 65_536].into();
        Ok(Self { poll: Poll::new()?, open: BTreeMap::new(), bells: BTreeMap::new(), next: 0, scratch })
    }

    /// Whose a bell is; also notes that the other end has finished, if it says so.
    pub(crate) fn answer(&mut self, event: &mio::event::Event) -> Option<(usize, Token)> {
        let whose = *self.bells.get(&event.token())?;
        self.open.get_mut(&whose)?.hung_up |= event.is_read_closed();
        Some(whose)
    }

    pub(crate) fn put(&mut self, who: usize, at: Token, mut behind: Behind) -> io::Result<()> {
        let bell = mio::Token(self.next);
        self.next += 1;
        let source: &mut dyn Source = match &mut behind {
            Behind::Tcp(stream) => stream,
            Behind::Udp(socket) => socket,
        };
        self.poll.registry().register(source, bell, Interest::READABLE | Interest::WRITABLE)?;
        self.bells.insert(bell, (who, at));
        self.open.insert((who, at), Door { bell, behind, hung_up: false });
        Ok(())
    }

    /// The stream now belongs to another driver. Its bell stays the same.
    pub(crate) fn hand_on(&mut self, from: (usize, Token), to: (usize, Token)) {
        let Some(door) = self.open.remove(&from) else { return };
        self.bells.insert(door.bell, to);
        self.open.insert(to, door);
    }
}

impl Lent<'_> {
    fn stream(&mut self, at: Token) -> io::Result<(&mut TcpStream, &mut [u8], bool)> {
        match self.0.open.get_mut(&(self.1, at)) {
            Some(Door { behind: Behind::Tcp(stream), hung_up, .. }) => Ok((stream, &mut self.0.scratch, *hung_up)),
            _ => Err(ErrorKind::NotConnected.into()),
        }
    }

    fn socket(&mut self, at: Token) -> io::Result<(&mut UdpSocket, &mut [u8])> {
        match self.0.open.get_mut(&(self.1, at)) {
            Some(Door { behind: Behind::Udp(socket), .. }) => Ok((socket, &mut self.0.scratch)),
            _ => Err(ErrorKind::NotConnected.into()),
        }
    }
}

impl Io for Lent<'_> {
    fn dial(&mut self, at: Token, to: SocketAddr) -> io::Result<Progress> {
        let Ok((stream, ..)) = self.stream(at) else {
            self.0.put(self.1, at, Behind::Tcp(TcpStream::connect(to)?))?;
            return Ok(Progress::Pending);
        };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => stream.set_nodelay(true).map(|()| Progress::Done),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(Progress::Pending),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, at: Token, into: &mut impl BufMut) -> io::Result<Step> {
        let (stream, scratch, hung_up) = self.stream(at)?;
        let room = into.remaining_mut().min(scratch.len());
        let Some(count) = attempt(|| stream.read(&mut scratch[..room]))? else { return Ok(Step::Blocked(0)) };
        into.put_slice(&scratch[..count]);
        Ok(match count {
            0 => Step::End,
            // A short count means empty, unless the end was announced together with the bytes.
            _ if count < room && !hung_up => Step::Blocked(count),
            _ => Step::More(count),
        })
    }

    fn write(&mut self, at: Token, from: &[u8]) -> io::Result<Step> {
        let (stream, ..) = self.stream(at)?;
        Ok(attempt(|| stream.write(from))?.map_or(Step::Blocked(0), Step::More))
    }

    fn finish(&mut self, at: Token) -> io::Result<()> {
        self.stream(at)?.0.shutdown(Shutdown::Write)
    }

    fn bind(&mut self, at: Token, socket: &Socket) -> io::Result<SocketAddr> {
        let any = |to: &SocketAddr| match to {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(match socket {
            Socket::Flow(to) => any(to),
            Socket::Listener(here) => *here,
        })?;
        let here = socket.local_addr()?;
        self.0.put(self.1, at, Behind::Udp(socket)).map(|()| here)
    }

    fn recv(&mut self, at: Token, mut each: impl FnMut(SocketAddr, &[u8])) -> io::Result<Step> {
        let (socket, scratch) = self.socket(at)?;
        for count in 0..BURST {
            match attempt(|| socket.recv_from(scratch)) {
                Ok(Some((length, from))) => each(from, &scratch[..length]),
                Ok(None) => return Ok(Step::Blocked(count)),
                // It speaks of a datagram that left earlier, and is gone once told.
                Err(_) if count > 0 => return Ok(Step::More(count)),
                Err(error) => return Err(error),
            }
        }
        Ok(Step::More(BURST))
    }

    fn send(&mut self, at: Token, batch: &[Datagram]) -> io::Result<Step> {
        let (socket, _) = self.socket(at)?;
        for (count, datagram) in batch.iter().enumerate() {
            match attempt(|| socket.send_to(&datagram.payload, datagram.to)) {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Step::Blocked(count)),
                Err(_) if count > 0 => return Ok(Step::More(count)),
                Err(error) => return Err(error),
            }
        }
        Ok(Step::More(batch.len()))
    }

    fn resolve(&mut self, _at: Token, host: &str, port: u16, into: &mut Vec<SocketAddr>) -> io::Result<Progress> {
        // Looking up a name with std would block the loop: that is for a thread, which then rings.
        let literal: IpAddr = host.parse().map_err(|_| ErrorKind::Unsupported)?;
        into.push(SocketAddr::new(literal, port));
        Ok(Progress::Done)
    }

    fn close(&mut self, at: Token) {
        // What mio has registered is deregistered when it is dropped.
        if let Some(door) = self.0.open.remove(&(self.1, at)) {
            self.0.bells.remove(&door.bell);
        }
    }
}

/// Tries once: none is "would block".
pub(crate) fn attempt<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<Option<T>> {
    loop {
        match operation() {
            Ok(value) => return Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Datagrams received at one go.
const BURST: usize = 32;

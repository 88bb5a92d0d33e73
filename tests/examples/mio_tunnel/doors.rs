//! What moves bytes: sockets of mio behind the tokens of a driver or a host.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};

use bytes::BufMut;
use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll};
use sudp_proto::driver::{Datagram, Io, Progress, Socket, Step, Token, Turn, Way};

/// All that is open.
pub(crate) struct Doors {
    poll: Poll,
    events: Events,
    streams: BTreeMap<Token, TcpStream>,
    sockets: BTreeMap<Token, UdpSocket>,
    /// One buffer for whatever is read next: a copy costs less than room for each door.
    scratch: Box<[u8]>,
}

impl Doors {
    pub(crate) fn new() -> io::Result<Self> {
        let (poll, events, scratch) = (Poll::new()?, Events::with_capacity(256), vec![0; 65_536].into());
        Ok(Self { poll, events, streams: BTreeMap::new(), sockets: BTreeMap::new(), scratch })
    }

    /// Ends waiting when somebody connects.
    pub(crate) fn watch(&mut self, listener: &mut TcpListener) -> io::Result<()> {
        self.poll.registry().register(listener, LISTENER, Interest::READABLE)
    }

    /// Puts a stream behind a token. Its small frames are not to wait for one another.
    pub(crate) fn put(&mut self, at: Token, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        self.register(at, &mut stream)?;
        self.streams.insert(at, stream);
        Ok(())
    }

    /// Waits until the next turn is due, or something is ready, and says what.
    pub(crate) fn wait(&mut self, turn: Turn, mut ready: impl FnMut(Token, Way)) -> io::Result<()> {
        let waited = self.poll.poll(&mut self.events, turn.timeout(super::now()));
        waited.or_else(|error| if error.kind() == ErrorKind::Interrupted { Ok(()) } else { Err(error) })?;
        for event in self.events.iter().filter(|event| event.token() != LISTENER) {
            let at = Token::from(event.token().0 as u64);
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                ready(at, Way::In);
            }
            if event.is_writable() || event.is_write_closed() || event.is_error() {
                ready(at, Way::Out);
            }
        }
        Ok(())
    }

    /// A token is a `u64`, so mio can hand it back as it is.
    fn register(&self, at: Token, source: &mut dyn Source) -> io::Result<()> {
        let bell = usize::try_from(u64::from(at)).map_err(|_| ErrorKind::Unsupported)?;
        self.poll.registry().register(source, mio::Token(bell), Interest::READABLE | Interest::WRITABLE)
    }
}

/// mio rings when something becomes ready, not while it is: so `Blocked` is said when the system says it.
impl Io for Doors {
    fn dial(&mut self, at: Token, to: SocketAddr) -> io::Result<Progress> {
        let Some(stream) = self.streams.get(&at) else {
            self.put(at, TcpStream::connect(to)?)?;
            return Ok(Progress::Pending);
        };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(Progress::Done),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(Progress::Pending),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, at: Token, into: &mut impl BufMut) -> io::Result<Step> {
        let stream = self.streams.get_mut(&at).ok_or(ErrorKind::NotConnected)?;
        let room = into.remaining_mut().min(self.scratch.len());
        let step = Step::attempt(|| {
            let count = stream.read(&mut self.scratch[..room])?;
            into.put_slice(&self.scratch[..count]);
            Ok(count)
        })?;
        Ok(if step == Step::More(0) { Step::End } else { step })
    }

    fn write(&mut self, at: Token, from: &[u8]) -> io::Result<Step> {
        let stream = self.streams.get_mut(&at).ok_or(ErrorKind::NotConnected)?;
        Step::attempt(|| stream.write(from))
    }

    fn finish(&mut self, at: Token) -> io::Result<()> {
        self.streams.get(&at).ok_or(ErrorKind::NotConnected)?.shutdown(Shutdown::Write)
    }

    fn bind(&mut self, at: Token, socket: &Socket) -> io::Result<SocketAddr> {
        let mut socket = UdpSocket::bind(match socket {
            Socket::Flow(SocketAddr::V4(_)) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            Socket::Flow(SocketAddr::V6(_)) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            Socket::Listener(here) => *here,
        })?;
        self.register(at, &mut socket)?;
        let here = socket.local_addr();
        self.sockets.insert(at, socket);
        here
    }

    fn recv(&mut self, at: Token, mut each: impl FnMut(SocketAddr, &[u8])) -> io::Result<Step> {
        let socket = self.sockets.get(&at).ok_or(ErrorKind::NotConnected)?;
        Step::attempt(|| {
            let (length, from) = socket.recv_from(&mut self.scratch)?;
            each(from, &self.scratch[..length]);
            Ok(1)
        })
    }

    fn send(&mut self, at: Token, batch: &[Datagram]) -> io::Result<Step> {
        let socket = self.sockets.get(&at).ok_or(ErrorKind::NotConnected)?;
        let Some(first) = batch.first() else { return Ok(Step::More(0)) };
        Step::attempt(|| socket.send_to(&first.payload, first.to).map(|_| 1))
    }

    fn resolve(&mut self, _at: Token, host: &str, port: u16, into: &mut Vec<SocketAddr>) -> io::Result<Progress> {
        // Looking up a name with std would block the loop: that is for a thread, which then rings.
        let address = host.parse().map_err(|_| ErrorKind::Unsupported)?;
        into.push(SocketAddr::new(address, port));
        Ok(Progress::Done)
    }

    fn close(&mut self, at: Token) {
        // What mio has registered is deregistered when it is dropped.
        self.streams.remove(&at);
        self.sockets.remove(&at);
    }
}

const LISTENER: mio::Token = mio::Token(usize::MAX);

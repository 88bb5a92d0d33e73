//! The driver's doors, behind which are sockets that a runtime watches.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read as _};
use std::net::{Shutdown, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::BufMut;
use socket2::SockRef;
use sudp_proto::driver::{Datagram, Io, Progress, Socket, Step, Token, Way};

use crate::ready::{Bell, Board};
use crate::resolve::{Lookup, Names};
use crate::runtime::{Ready, Runtime};
use crate::tcp::{self, TcpOptions, Watch};
use crate::udp::{self, Udp, UdpOptions};

/// What every task of a client or a server opens its doors with.
#[derive(Clone, Debug)]
pub(crate) struct Means<R> {
    pub(crate) runtime: R,
    pub(crate) names: Names,
    pub(crate) tcp: TcpOptions,
    pub(crate) udp: UdpOptions,
}

impl<R: Runtime> Means<R> {
    /// The same for one more session, wherever the runtime has it live.
    pub(crate) fn elsewhere(&self) -> Arc<Self> {
        let Self { runtime, names, tcp, udp } = self;
        Arc::new(Self { runtime: runtime.elsewhere(), names: names.clone(), tcp: tcp.clone(), udp: *udp })
    }
}

/// Every door of one task.
pub(crate) struct Sockets<R: Runtime> {
    means: Arc<Means<R>>,
    board: Arc<Board>,
    slots: Vec<Option<Slot<R>>>,
    /// Sockets that were bound before the driver asked for them, so that whoever wanted them could be told.
    bound: Vec<(SocketAddr, (UdpSocket, Udp))>,
    /// What the kernel dropped at sockets that are closed.
    dropped: u64,
}

struct Slot<R: Runtime> {
    generation: u32,
    door: Door<R>,
    read: Waker,
    write: Waker,
    /// A UDP socket was full, and is watched until it takes something again.
    full: bool,
}

enum Door<R: Runtime> {
    Stream(R::Tcp, Watch),
    Udp(R::Udp, Udp),
    Lookup(Lookup),
}

impl<R: Runtime> Door<R> {
    fn kernel_drops(&self) -> u64 {
        match self {
            Self::Udp(socket, udp) => udp.kernel_drops(&socket.socket()).unwrap_or_default() + udp.truncated(),
            Self::Stream(..) | Self::Lookup(_) => 0,
        }
    }
}

impl<R: Runtime> Sockets<R> {
    pub(crate) fn new(means: Arc<Means<R>>, board: Arc<Board>) -> Self {
        Self { means, board, slots: Vec::new(), bound: Vec::new(), dropped: 0 }
    }

    /// Puts a stream behind a token.
    pub(crate) fn put(&mut self, at: Token, (stream, watch): (R::Tcp, Watch)) {
        self.insert(at, Door::Stream(stream, watch));
    }

    /// Puts a stream of another task behind a token. One that cannot be watched here is closed.
    pub(crate) fn adopt(&mut self, at: Token, from: &Arc<Means<R>>, (stream, watch): (R::Tcp, Watch)) {
        if Arc::ptr_eq(&self.means, from) {
            return self.put(at, (stream, watch));
        }
        if let Ok(stream) = self.means.runtime.adopt(stream) {
            self.put(at, (stream, watch));
        }
    }

    /// Takes the stream behind a token away.
    pub(crate) fn take(&mut self, at: Token) -> Option<(R::Tcp, Watch)> {
        self.slot(at)?;
        match self.slots.get_mut(place(at))?.take()?.door {
            Door::Stream(stream, watch) => Some((stream, watch)),
            Door::Udp(..) | Door::Lookup(_) => None,
        }
    }

    /// Holds a socket ready for a listener that the driver is about to open.
    pub(crate) fn offer(&mut self, at: SocketAddr, socket: (UdpSocket, Udp)) {
        self.bound.push((at, socket));
    }

    /// The datagrams that arrived at our sockets and were lost before they could be taken, as far as the
    /// system tells.
    pub(crate) fn kernel_drops(&self) -> u64 {
        self.dropped + self.slots.iter().flatten().map(|slot| slot.door.kernel_drops()).sum::<u64>()
    }

    /// The receive buffers of the listeners, as far as the system granted them.
    pub(crate) fn receive_buffers(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots.iter().flatten().filter_map(|slot| match &slot.door {
            Door::Udp(_, udp) => Some(udp.receive_buffer()),
            Door::Stream(..) | Door::Lookup(_) => None,
        })
    }

    fn insert(&mut self, at: Token, door: Door<R>) {
        let read = Waker::from(Bell::new(&self.board, at, Way::In));
        let write = Waker::from(Bell::new(&self.board, at, Way::Out));
        let slot = Slot { generation: at.generation, door, read, write, full: false };
        let place = place(at);
        if place >= self.slots.len() {
            self.slots.resize_with(place + 1, || None);
        }
        if let Some(free) = self.slots.get_mut(place) {
            *free = Some(slot);
        }
    }

    fn slot(&mut self, at: Token) -> Option<&mut Slot<R>> {
        self.slots.get_mut(place(at))?.as_mut().filter(|slot| slot.generation == at.generation)
    }

    fn stream(&mut self, at: Token) -> io::Result<Streaming<'_, R>> {
        let slot = self.slot(at).ok_or(ErrorKind::NotConnected)?;
        match &mut slot.door {
            Door::Stream(stream, watch) => Ok(Streaming { stream, watch, read: &slot.read, write: &slot.write }),
            Door::Udp(..) | Door::Lookup(_) => Err(ErrorKind::NotConnected.into()),
        }
    }

    fn open(&mut self, socket: &Socket) -> io::Result<(UdpSocket, Udp)> {
        let options = &self.means.udp;
        if let Socket::Listener(at) = socket
            && let Some(place) = self.bound.iter().position(|(wanted, _)| wanted == at)
        {
            return Ok(self.bound.swap_remove(place).1);
        }
        udp::open(socket, options)
    }
}

struct Streaming<'a, R: Runtime> {
    stream: &'a R::Tcp,
    watch: &'a mut Watch,
    read: &'a Waker,
    write: &'a Waker,
}

impl<R: Runtime> Io for Sockets<R> {
    fn dial(&mut self, at: Token, to: SocketAddr) -> io::Result<Progress> {
        if self.slot(at).is_none() {
            let stream = tcp::connect(to)?;
            let watch = tcp::tune(&SockRef::from(&stream), &self.means.tcp)?;
            let stream = self.means.runtime.tcp(stream)?;
            self.put(at, (stream, watch));
        }
        let Streaming { stream, write, .. } = self.stream(at)?;
        let mut connected = false;
        attempt(stream, Way::Out, write, |socket| {
            connected = tcp::connected(socket)?;
            if connected { Ok(Tried::more(0)) } else { Err(ErrorKind::WouldBlock.into()) }
        })?;
        Ok(if connected { Progress::Done } else { Progress::Pending })
    }

    fn read(&mut self, at: Token, into: &mut impl BufMut) -> io::Result<Step> {
        let Streaming { stream, read, .. } = self.stream(at)?;
        SCRATCH.with_borrow_mut(|scratch| {
            let room = into.remaining_mut().min(scratch.len());
            let mut ended = false;
            let step = attempt(stream, Way::In, read, |socket| {
                let count = (&**socket).read(scratch.get_mut(..room).unwrap_or_default())?;
                into.put_slice(scratch.get(..count).unwrap_or_default());
                ended = count == 0 && room > 0;
                Ok(Tried { count, full: count == room || ended })
            })?;
            Ok(if ended { Step::End } else { step })
        })
    }

    fn write(&mut self, at: Token, from: &[u8]) -> io::Result<Step> {
        let Streaming { stream, watch, write, .. } = self.stream(at)?;
        attempt(stream, Way::Out, write, |socket| {
            let count = tcp::write(socket, from)?;
            watch.on_written(socket, count);
            Ok(Tried { count, full: count == from.len() })
        })
    }

    fn finish(&mut self, at: Token) -> io::Result<()> {
        self.stream(at)?.stream.socket().shutdown(Shutdown::Write)
    }

    fn bind(&mut self, at: Token, socket: &Socket) -> io::Result<SocketAddr> {
        let (socket, udp) = self.open(socket)?;
        let here = socket.local_addr()?;
        let socket = self.means.runtime.udp(socket)?;
        self.insert(at, Door::Udp(socket, udp));
        let Some(Slot { door: Door::Udp(socket, _), read, .. }) = self.slot(at) else {
            return Err(ErrorKind::NotConnected.into());
        };
        if socket.poll_ready(Way::In, &mut Context::from_waker(read)).is_ready() {
            read.wake_by_ref();
        }
        Ok(here)
    }

    fn recv(&mut self, at: Token, mut each: impl FnMut(SocketAddr, &[u8])) -> io::Result<Step> {
        let Some(Slot { door: Door::Udp(socket, udp), read, .. }) = self.slot(at) else {
            return Err(ErrorKind::NotConnected.into());
        };
        attempt(socket, Way::In, read, |socket| {
            let received = udp.recv(socket, &mut each)?;
            Ok(Tried { count: received.datagrams, full: received.full })
        })
    }

    fn send(&mut self, at: Token, batch: &[Datagram]) -> io::Result<Step> {
        let Some(Slot { door: Door::Udp(socket, udp), write, full, .. }) = self.slot(at) else {
            return Err(ErrorKind::NotConnected.into());
        };
        let step = attempt(socket, Way::Out, write, |socket| udp.send(socket, batch).map(Tried::more))?;
        let blocked = matches!(step, Step::Blocked(_));
        if std::mem::replace(full, blocked) && !blocked {
            socket.unwatch(Way::Out);
        }
        Ok(step)
    }

    fn resolve(&mut self, at: Token, host: &str, port: u16, into: &mut Vec<SocketAddr>) -> io::Result<Progress> {
        if let Some(slot) = self.slot(at) {
            let Door::Lookup(lookup) = &slot.door else { return Err(ErrorKind::NotConnected.into()) };
            let Some(found) = lookup.take() else { return Ok(Progress::Pending) };
            into.extend(found?);
            return Ok(Progress::Done);
        }
        let means = Arc::clone(&self.means);
        if let Some(known) = means.names.get(host, port) {
            into.extend(known);
            return Ok(Progress::Done);
        }
        let bell = Waker::from(Bell::new(&self.board, at, Way::In));
        let lookup = means.names.look_up(&means.runtime, host, port, bell);
        self.insert(at, Door::Lookup(lookup));
        Ok(Progress::Pending)
    }

    fn close(&mut self, at: Token) {
        if self.slot(at).is_some() {
            if let Some(slot) = self.slots.get_mut(place(at)).and_then(Option::take) {
                self.dropped += slot.door.kernel_drops();
            }
            while let Some(None) = self.slots.last() {
                self.slots.pop();
            }
        }
    }
}

/// What one system call achieved, and whether it used all the room it was given.
struct Tried {
    count: usize,
    full: bool,
}

impl Tried {
    fn more(count: usize) -> Self {
        Self { count, full: true }
    }
}

/// Tries a system call, and arms the bell when it would block. The kernel is never asked what it has just
/// said: a short count means that there is no more, and is told to the runtime as "would block".
///
/// A runtime may hold a socket ready that is not, so it is tried twice at most.
fn attempt<S: Ready>(
    socket: &S,
    way: Way,
    bell: &Waker,
    mut call: impl FnMut(&SockRef<'_>) -> io::Result<Tried>,
) -> io::Result<Step> {
    let mut call = |socket: &SockRef<'_>| loop {
        match call(socket) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => break other,
        }
    };
    if way == Way::Out {
        // A socket can nearly always be written, and a new one before the runtime has heard of it.
        match call(&socket.socket()) {
            Ok(tried) => return Ok(Step::More(tried.count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    for _ in 0..2 {
        let mut done = 0;
        let outcome = socket.try_io(way, |socket| {
            let tried = call(socket)?;
            done = tried.count;
            if tried.full { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
        });
        match outcome {
            Ok(()) => return Ok(Step::More(done)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        match socket.poll_ready(way, &mut Context::from_waker(bell)) {
            Poll::Pending => return Ok(Step::Blocked(done)),
            Poll::Ready(ready) => ready?,
        }
        if done > 0 {
            return Ok(Step::More(done));
        }
    }
    Ok(Step::More(0))
}

fn place(at: Token) -> usize {
    usize::try_from(at.index).unwrap_or(usize::MAX)
}

thread_local! {
    /// What a stream is read into before it is copied to where it belongs: room that no session has to keep.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// Bytes that one read takes.
const READ: usize = 64 << 10;

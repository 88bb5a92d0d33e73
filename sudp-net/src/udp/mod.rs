//! UDP sockets, read and written in batches where the system can, one datagram at a time where it cannot.
//!
//! Nothing here waits or owns a socket: a runtime does, and lends it for each call.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;
mod plain;
mod port;
mod receive;
mod sources;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use quinn_udp::UdpSocketState;
use socket2::{Domain, Protocol, Socket, Type};
use sudp_proto::driver::{self, Datagram};

#[cfg(not(target_os = "linux"))]
use self::elsewhere as system;
#[cfg(target_os = "linux")]
use self::linux as system;
pub use self::port::UdpPort;
use self::sources::Sources;

/// What is asked for when a socket is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UdpOptions {
    /// Bytes of receive buffer, 4 MiB by default: a burst of small datagrams fills the system's own in no time.
    pub receive_buffer: usize,
    /// Bytes of send buffer. The system's own by default: what waits is to wait in our queues.
    pub send_buffer: Option<usize>,
    /// Whether to read and write one datagram at a time, though the system may offer better.
    pub plain: bool,
}

/// How a socket is read and written.
#[derive(Debug)]
pub(crate) struct Udp {
    state: &'static UdpSocketState,
    family: Family,
    way: Way,
    /// From which of our addresses each peer is answered, where the socket has many.
    sources: Option<Sources>,
    receive_buffer: usize,
    truncated: u64,
    /// Messages that the next call can take.
    slots: usize,
}

/// What one call has received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Received {
    /// How many datagrams there were.
    pub(crate) datagrams: usize,
    /// Whether there may be more: a call that was not filled has found the end.
    pub(crate) full: bool,
}

/// Opens a socket that does not block.
///
/// A flow's takes any port, and only its own family. A listener at `[::]` takes IPv4 as well, whatever the
/// system's default, so that one listener serves a host: its IPv4 peers look like IPv4.
pub(crate) fn open(socket: &driver::Socket, options: &UdpOptions) -> io::Result<(UdpSocket, Udp)> {
    let at = match *socket {
        driver::Socket::Flow(to) if to.ip().to_canonical().is_ipv4() => (Ipv4Addr::UNSPECIFIED, 0).into(),
        driver::Socket::Flow(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        driver::Socket::Listener(at) => canonical(at),
    };
    let listens = matches!(socket, driver::Socket::Listener(_));
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        socket.set_only_v6(!(listens && at.ip().is_unspecified()))?;
    }
    socket.bind(&at.into())?;
    let udp = Udp::new(&socket, options, listens)?;
    Ok((socket.into(), udp))
}

impl Udp {
    fn new(socket: &Socket, options: &UdpOptions, listens: bool) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let at = socket.local_addr()?.as_socket();
        let at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an internet socket"))?;
        let family = match at {
            SocketAddr::V4(_) => Family::V4,
            SocketAddr::V6(_) if socket.only_v6()? => Family::V6,
            SocketAddr::V6(_) => Family::Both,
        };
        // Less than was asked for is no reason to do without the socket.
        let _ = options.send_buffer.map(|bytes| socket.set_send_buffer_size(bytes));
        let answers_from_many = listens && at.ip().is_unspecified() && system::tell_local_addresses(socket, family);
        Ok(Self {
            state: receive::state()?,
            family,
            way: Way::new(socket, options),
            sources: answers_from_many.then(Sources::default),
            receive_buffer: system::ask_receive_buffer(socket, options.receive_buffer)?,
            truncated: 0,
            slots: FEW,
        })
    }

    /// Receives what one system call yields: an empty datagram is one, too.
    ///
    /// Nothing there is [`io::ErrorKind::WouldBlock`]. An error about a datagram that left earlier ends nothing.
    pub(crate) fn recv(&mut self, socket: &Socket, mut each: impl FnMut(SocketAddr, &[u8])) -> io::Result<Received> {
        let Self { state, family, way, sources, truncated, slots, .. } = self;
        let received = receive::receive(state, socket, way.slots().min(*slots), truncated, |meta, payload| {
            let from = family.heard(meta.addr);
            if let (Some(sources), Some(local)) = (sources.as_mut(), meta.dst_ip) {
                sources.remember(from, local);
            }
            each(from, payload);
        })?;
        *slots = if received.full { receive::SLOTS } else { (*slots / 2).max(2 * received.datagrams).max(FEW) };
        Ok(received)
    }

    /// Sends the first of `batch`, as many as one system call takes. Says how many.
    ///
    /// An error speaks of the first one, or of one that left earlier.
    pub(crate) fn send(&mut self, socket: &Socket, batch: &[Datagram]) -> io::Result<usize> {
        let Some(first) = batch.first() else { return Ok(0) };
        match self.way {
            Way::Plain => self.send_one(socket, first),
            #[cfg(target_os = "linux")]
            Way::Batches { offload } => self.send_batch(socket, batch, offload),
        }
    }

    /// The bytes of receive buffer that were obtained, to be compared with those asked for.
    pub(crate) fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// Datagrams that were dropped because they came in short: none with the buffers of this module.
    pub(crate) fn truncated(&self) -> u64 {
        self.truncated
    }

    /// Datagrams that the system has dropped for want of receive buffer, where it says so.
    pub(crate) fn kernel_drops(&self, socket: &Socket) -> Option<u64> {
        system::drops(socket)
    }

    fn send_one(&mut self, socket: &Socket, datagram: &Datagram) -> io::Result<usize> {
        let to = self.family.on_socket(datagram.to);
        if let Some(from) = self.source(datagram.to) {
            match system::send_from(socket, to, from, &datagram.payload) {
                // The address may be gone from this host, or be one that nothing is sent from. If nothing leaves
                // from any other either, it is not the address.
                Err(error) if may_speak_of_source(&error) => {
                    plain::send(socket, to, &datagram.payload)?;
                    self.forget_source(datagram.to);
                    return Ok(1);
                }
                outcome => return outcome.map(|()| 1),
            }
        }
        plain::send(socket, to, &datagram.payload).map(|()| 1)
    }

    fn source(&mut self, peer: SocketAddr) -> Option<std::net::IpAddr> {
        self.sources.as_mut()?.of(peer)
    }

    fn forget_source(&mut self, peer: SocketAddr) {
        if let Some(sources) = &mut self.sources {
            sources.forget(peer);
        }
    }
}

#[cfg(target_os = "linux")]
impl Udp {
    /// Sends all of a batch that one call takes, what can leave as a train as one.
    fn send_batch(&mut self, socket: &Socket, batch: &[Datagram], offload: linux::Offload) -> io::Result<usize> {
        let first = offload.train(batch);
        if first.len() == batch.len() {
            return self.send_first(socket, first);
        }
        let mut messages = linux::Messages::with_capacity(batch.len());
        let mut rest = batch;
        while !rest.is_empty() && !messages.is_full() {
            let train = offload.train(rest);
            let to = train[0].to;
            messages.push(self.family.on_socket(to), self.source(to), train);
            rest = &rest[train.len()..];
        }
        match messages.send(socket) {
            Err(error) if first.len() > 1 && linux::may_speak_of_train(&error) => self.send_first(socket, first),
            Err(error) if may_speak_of_source(&error) && self.source(first[0].to).is_some() => {
                self.send_first(socket, first)
            }
            outcome => outcome,
        }
    }

    /// Sends one message: a train, or a datagram alone.
    fn send_first(&mut self, socket: &Socket, train: &[Datagram]) -> io::Result<usize> {
        let first = &train[0];
        if train.len() == 1 {
            return self.send_one(socket, first);
        }
        let source = self.source(first.to);
        let Err(error) = linux::send_train(socket, self.family.on_socket(first.to), source, train) else {
            return Ok(train.len());
        };
        let of_train = linux::may_speak_of_train(&error);
        let of_source = source.is_some() && may_speak_of_source(&error);
        if !of_train && !of_source {
            return Err(error);
        }
        // It may speak of the destination, too: what becomes of one alone tells.
        let sent = self.send_one(socket, first)?;
        if of_train
            && self.source(first.to) == source
            && let Way::Batches { offload } = &mut self.way
        {
            offload.refuse(first.payload.len(), &error);
        }
        Ok(sent)
    }
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self { receive_buffer: 4 << 20, send_buffer: None, plain: false }
    }
}

/// How many datagrams a system call takes.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// One.
    Plain,
    /// Many, and some of them as one.
    #[cfg(target_os = "linux")]
    Batches { offload: linux::Offload },
}

impl Way {
    #[cfg(target_os = "linux")]
    fn new(socket: &Socket, options: &UdpOptions) -> Self {
        if options.plain { Self::Plain } else { Self::Batches { offload: linux::Offload::of(socket) } }
    }

    #[cfg(not(target_os = "linux"))]
    fn new(_: &Socket, _: &UdpOptions) -> Self {
        Self::Plain
    }

    fn slots(self) -> usize {
        match self {
            Self::Plain => 1,
            #[cfg(target_os = "linux")]
            Self::Batches { .. } => receive::SLOTS,
        }
    }
}

/// Which addresses a socket speaks to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Family {
    V4,
    V6,
    /// IPv6, and IPv4 in the guise of IPv6.
    Both,
}

impl Family {
    /// An address as the socket wants it.
    fn on_socket(self, to: SocketAddr) -> SocketAddr {
        match (self, to) {
            (Self::Both, SocketAddr::V4(to)) => SocketAddrV6::new(to.ip().to_ipv6_mapped(), to.port(), 0, 0).into(),
            (Self::V4 | Self::V6, SocketAddr::V4(_)) | (_, SocketAddr::V6(_)) => to,
        }
    }

    /// An address as everyone else wants it.
    fn heard(self, from: SocketAddr) -> SocketAddr {
        match self {
            Self::V4 | Self::V6 => from,
            Self::Both => canonical(from),
        }
    }
}

/// IPv4 in the guise of IPv6 as what it is; any other address, with its scope, as it stands.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => (ip, address.port()).into(),
        std::net::IpAddr::V6(_) => address,
    }
}

/// Messages that a call can take where they come one by one: to prepare for more costs as much as to take one.
const FEW: usize = 4;

/// Tries until nothing interrupts.
fn persist<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Whether an error may come of the address to send from.
fn may_speak_of_source(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, HostUnreachable, InvalidInput, NetworkUnreachable};
    matches!(error.kind(), AddrNotAvailable | HostUnreachable | InvalidInput | NetworkUnreachable)
}

//! TCP: options of the streams that carry links, and calls that do not raise signals.

mod congestion;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod system;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod system;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

pub use congestion::Congestion;
pub(crate) use congestion::Watch;

/// How TCP is used.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TcpOptions {
    /// How streams share a path with others.
    pub congestion: Congestion,
    /// Bytes that the kernel may hold unsent; more than this waits with us, where it can still be
    /// scheduled. Default 128 KiB.
    pub unsent: u32,
    /// Connections that wait to be accepted. Default 1,024.
    pub backlog: u32,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self { congestion: Congestion::default(), unsent: 128 << 10, backlog: 1_024 }
    }
}

/// Begins to connect.
pub(crate) fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Ok(()) => {}
        // One that was interrupted goes on by itself.
        Err(error) if error.kind() == io::ErrorKind::Interrupted || is_under_way(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// Whether a stream is connected by now.
pub(crate) fn connected(socket: &Socket) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// Listens, for a server that may be started again at once.
pub(crate) fn listen(at: SocketAddr, options: &TcpOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // On Windows this would let a second server take the port from the first.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if at.is_ipv6() && at.ip().is_unspecified() {
        // Where the system cannot do both at once, IPv6 alone is what was asked for.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&at.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Sets what every stream that carries a link has.
pub(crate) fn tune(socket: &SockRef<'_>, options: &TcpOptions) -> io::Result<Watch> {
    socket.set_tcp_nodelay(true)?;
    system::set_unsent(socket, options.unsent);
    Ok(Watch::begin(socket, options))
}

/// Writes, and fails where the other end is gone, without a signal.
pub(crate) fn write(socket: &Socket, from: &[u8]) -> io::Result<usize> {
    system::write(socket, from)
}

#[cfg(unix)]
fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(system::IN_PROGRESS)
}

#[cfg(not(unix))]
fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

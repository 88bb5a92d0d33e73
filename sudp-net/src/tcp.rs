//! TCP: options of the streams that carry links, and calls that do not raise signals.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// How TCP is used.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TcpOptions {
    /// The congestion control to ask for, if the system has it; what it has by default stands where this is
    /// refused. Default `bbr`, which keeps its rate on lossy paths.
    pub congestion: Option<String>,
    /// Bytes that the kernel may hold unsent; more than this waits with us, where it can still be
    /// scheduled. Default 128 KiB.
    pub unsent: u32,
    /// Connections that wait to be accepted. Default 1,024.
    pub backlog: u32,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self { congestion: Some("bbr".into()), unsent: 128 << 10, backlog: 1_024 }
    }
}

/// Begins to connect.
pub(crate) fn connect(to: SocketAddr, options: &TcpOptions) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    tune(&SockRef::from(&socket), options)?;
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if is_under_way(&error) => {}
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
pub(crate) fn tune(socket: &SockRef<'_>, options: &TcpOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    system::tune(socket, options);
    Ok(())
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

#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use rustix::net::{SendFlags, send};
    use socket2::{SockRef, Socket};

    use super::TcpOptions;

    pub(super) const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

    /// What the system does not have, it does without.
    pub(super) fn tune(socket: &SockRef<'_>, options: &TcpOptions) {
        if let Some(name) = &options.congestion {
            let _ = socket.set_tcp_congestion(name.as_bytes());
        }
        let _ = socket.set_tcp_notsent_lowat(options.unsent);
    }

    pub(super) fn write(socket: &Socket, from: &[u8]) -> io::Result<usize> {
        Ok(send(socket, from, SendFlags::NOSIGNAL)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use socket2::{SockRef, Socket};

    use super::TcpOptions;

    /// `EINPROGRESS` of the BSDs, which is the same on all of them.
    #[cfg(unix)]
    pub(super) const IN_PROGRESS: i32 = 36;

    pub(super) fn tune(_socket: &SockRef<'_>, _options: &TcpOptions) {}

    pub(super) fn write(socket: &Socket, from: &[u8]) -> io::Result<usize> {
        socket.send(from)
    }
}

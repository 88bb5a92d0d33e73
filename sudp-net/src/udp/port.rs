//! A UDP socket for whoever stands at the end of a tunnel: a service, an application, a load.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use socket2::SockRef;
use sudp_proto::driver::{Datagram, Socket, Way};

use super::{Udp, UdpOptions, open};
use crate::runtime::{Ready, Runtime};

/// A UDP socket, read and written in batches where the system can.
///
/// At a wildcard address it answers each peer from the address that the peer has sent to, and one at `[::]` takes
/// IPv4 as well.
pub struct UdpPort<R: Runtime> {
    socket: R::Udp,
    udp: Udp,
    at: SocketAddr,
}

impl<R: Runtime> UdpPort<R> {
    /// Opens one; port 0 lets the system choose.
    pub fn bind(runtime: &R, at: SocketAddr, options: &UdpOptions) -> io::Result<Self> {
        let (socket, udp) = open(&Socket::Listener(at), options)?;
        let at = socket.local_addr()?;
        Ok(Self { socket: runtime.udp(socket)?, udp, at })
    }

    /// Where it is.
    pub fn local_addr(&self) -> SocketAddr {
        self.at
    }

    /// Waits until there are datagrams, and gives `each` those that one system call takes. Nothing is lost when the
    /// future is dropped.
    ///
    /// An error about a datagram that left earlier ends nothing.
    pub async fn recv(&mut self, mut each: impl FnMut(SocketAddr, &[u8])) -> io::Result<()> {
        let Self { socket, udp, .. } = self;
        poll_fn(|cx| poll(socket, Way::In, cx, |socket| udp.recv(socket, &mut each).map(|_| ()))).await
    }

    /// Waits until the system takes some of `batch`, and says how many of its first.
    ///
    /// An error speaks of the first one, or of one that left earlier.
    pub async fn send(&mut self, batch: &[Datagram]) -> io::Result<usize> {
        let Self { socket, udp, .. } = self;
        poll_fn(|cx| poll(socket, Way::Out, cx, |socket| udp.send(socket, batch))).await
    }

    /// Datagrams that the system has dropped for want of receive buffer, where it says so.
    pub fn kernel_drops(&self) -> Option<u64> {
        self.udp.kernel_drops(&self.socket.socket())
    }
}

impl<R: Runtime> fmt::Debug for UdpPort<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpPort").field("at", &self.at).finish_non_exhaustive()
    }
}

/// Tries now, and once more if the socket became ready meanwhile.
fn poll<S: Ready, T>(
    socket: &S,
    way: Way,
    cx: &mut Context<'_>,
    mut op: impl FnMut(&SockRef<'_>) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    for _ in 0..TRIES {
        match socket.try_io(way, &mut op) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return Poll::Ready(outcome),
        }
        if let Err(error) = std::task::ready!(socket.poll_ready(way, cx)) {
            return Poll::Ready(Err(error));
        }
    }
    // Some runtimes call a socket ready that is not: whoever else wants to run does so first.
    cx.waker().wake_by_ref();
    Poll::Pending
}

const TRIES: usize = 2;

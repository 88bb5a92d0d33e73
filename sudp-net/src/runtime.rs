//! What a runtime lends: readiness of sockets, a timer, tasks and name lookups. Nothing else.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use sudp_proto::driver::Way;

/// An async runtime, as far as SUDP needs one.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// A UDP socket that the runtime watches.
    type Udp: Ready;
    /// A TCP stream that the runtime watches.
    type Tcp: Ready;
    /// A TCP listener that the runtime watches.
    type Listener: Accept;
    /// A timer.
    type Timer: Timer;

    /// Watches a non-blocking socket.
    fn udp(&self, socket: UdpSocket) -> io::Result<Self::Udp>;
    /// Watches a non-blocking stream, which may still be connecting.
    fn tcp(&self, stream: TcpStream) -> io::Result<Self::Tcp>;
    /// Watches a non-blocking listener.
    fn listener(&self, listener: TcpListener) -> io::Result<Self::Listener>;
    /// A timer that is not armed.
    fn timer(&self) -> Self::Timer;
    /// Where one more session is to live, with its links: here, or on another thread of those there are. What
    /// it returns counts as occupied until its last clone is dropped.
    fn elsewhere(&self) -> Self {
        self.clone()
    }
    /// Watches here a stream that was watched elsewhere.
    fn adopt(&self, stream: Self::Tcp) -> io::Result<Self::Tcp> {
        Ok(stream)
    }
    /// Runs a task to its end, whoever forgets about it.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
    /// Has the task that is being polled polled again, after the others and after the runtime has looked at
    /// its sockets: a task with much to do must not keep what arrives meanwhile from being heard.
    fn yield_now(cx: &mut Context<'_>);
    /// Looks a name up, without blocking any task.
    fn lookup(self, host: Box<str>, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static;
}

/// A socket that a runtime watches.
pub trait Ready: Send + Sync + Unpin + 'static {
    /// The socket, to be tried without asking whether it is ready.
    fn socket(&self) -> SockRef<'_>;

    /// Tries `op` if the socket may be ready. That it would block, whoever says so, is noted: then
    /// [`poll_ready`](Self::poll_ready) is pending until something has changed since.
    fn try_io<T>(&self, way: Way, op: impl FnOnce(&SockRef<'_>) -> io::Result<T>) -> io::Result<T>;

    /// Asks to be woken when the socket may be ready that way; the last waker of each way counts.
    fn poll_ready(&self, way: Way, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Nobody waits any more for the socket to be ready that way: what is watched for nothing else may rest.
    fn unwatch(&self, way: Way) {
        let _ = way;
    }
}

/// A listener that a runtime watches.
pub trait Accept: Send + Sync + Unpin + 'static {
    /// The next stream, non-blocking, and where it comes from.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>>;
}

/// A timer, armed once at a time.
pub trait Timer: Send + 'static {
    /// Fires after `wait`, and no longer when it was to before.
    fn arm(self: Pin<&mut Self>, wait: Duration);

    /// Whether it has fired. Asked only while it is armed.
    fn poll_fired(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
}

//! What tokio lends.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
#[cfg(unix)]
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use sudp_net::proto::driver::Way;
use sudp_net::{Accept, Ready, Runtime, Timer};
use tokio::io::Interest;
#[cfg(unix)]
use tokio::io::unix::AsyncFd;
#[cfg(not(unix))]
use tokio::net::UdpSocket;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep};

/// A tokio runtime.
#[derive(Clone, Debug)]
pub struct Tokio(Handle);

impl Tokio {
    /// The runtime of the caller, if it is inside one.
    pub fn current() -> Option<Self> {
        Handle::try_current().ok().map(Self)
    }
}

impl From<Handle> for Tokio {
    fn from(handle: Handle) -> Self {
        Self(handle)
    }
}

/// A socket that tokio watches.
#[derive(Debug)]
pub struct Watched<S>(S);

/// A UDP socket that tokio watches for what comes in, and for room only while someone waits for that.
///
/// The system says that there is room whenever a datagram has left: who always listens to that is woken
/// once more for each.
#[cfg(unix)]
#[derive(Debug)]
pub struct Datagrams {
    arrivals: AsyncFd<std::net::UdpSocket>,
    room: Mutex<Option<AsyncFd<std::net::UdpSocket>>>,
}

impl Runtime for Tokio {
    #[cfg(unix)]
    type Udp = Datagrams;
    #[cfg(not(unix))]
    type Udp = Watched<UdpSocket>;
    type Tcp = Watched<TcpStream>;
    type Listener = Watched<TcpListener>;
    type Timer = SleepUntil;

    fn udp(&self, socket: std::net::UdpSocket) -> io::Result<Self::Udp> {
        let _inside = self.0.enter();
        #[cfg(unix)]
        let watched = Datagrams::new(socket);
        #[cfg(not(unix))]
        let watched = UdpSocket::from_std(socket).map(Watched);
        watched
    }

    fn tcp(&self, stream: std::net::TcpStream) -> io::Result<Self::Tcp> {
        let _inside = self.0.enter();
        TcpStream::from_std(stream).map(Watched)
    }

    fn listener(&self, listener: std::net::TcpListener) -> io::Result<Self::Listener> {
        let _inside = self.0.enter();
        TcpListener::from_std(listener).map(Watched)
    }

    fn timer(&self) -> SleepUntil {
        SleepUntil { handle: self.0.clone(), sleep: None }
    }

    fn adopt(&self, stream: Self::Tcp) -> io::Result<Self::Tcp> {
        // Only its own runtime hears of a socket.
        self.tcp(stream.0.into_std()?)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }

    fn yield_now(cx: &mut Context<'_>) {
        // A task that just wakes itself would run sixty times before tokio looks at a socket.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
    }

    async fn lookup(self, host: Box<str>, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host((&*host, port)).await?.collect())
    }
}

macro_rules! watched {
    ($socket:ty, $poll_read:ident, $poll_write:ident) => {
        impl Ready for Watched<$socket> {
            fn socket(&self) -> SockRef<'_> {
                SockRef::from(&self.0)
            }

            fn try_io<T>(&self, way: Way, op: impl FnOnce(&SockRef<'_>) -> io::Result<T>) -> io::Result<T> {
                let interest = match way {
                    Way::In => Interest::READABLE,
                    Way::Out => Interest::WRITABLE,
                };
                self.0.try_io(interest, || op(&self.socket()))
            }

            fn poll_ready(&self, way: Way, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match way {
                    Way::In => self.0.$poll_read(cx),
                    Way::Out => self.0.$poll_write(cx),
                }
            }
        }
    };
}

#[cfg(not(unix))]
watched!(UdpSocket, poll_recv_ready, poll_send_ready);
watched!(TcpStream, poll_read_ready, poll_write_ready);

#[cfg(unix)]
impl Datagrams {
    fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        Ok(Self { arrivals: watch(socket, Interest::READABLE)?, room: Mutex::new(None) })
    }

    fn room(&self) -> MutexGuard<'_, Option<AsyncFd<std::net::UdpSocket>>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(unix)]
#[allow(
    deprecated,
    reason = "it asks for `unsafe` since types of any kind can lie about their descriptor; those of std do not"
)]
fn watch(socket: std::net::UdpSocket, interest: Interest) -> io::Result<AsyncFd<std::net::UdpSocket>> {
    AsyncFd::with_interest(socket, interest)
}

#[cfg(unix)]
impl Ready for Datagrams {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.arrivals.get_ref())
    }

    fn try_io<T>(&self, way: Way, op: impl FnOnce(&SockRef<'_>) -> io::Result<T>) -> io::Result<T> {
        if way == Way::In {
            return self.arrivals.try_io(Interest::READABLE, |socket| op(&SockRef::from(socket)));
        }
        match &*self.room() {
            Some(room) => room.try_io(Interest::WRITABLE, |socket| op(&SockRef::from(socket))),
            None => op(&self.socket()),
        }
    }

    fn poll_ready(&self, way: Way, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if way == Way::In {
            return self.arrivals.poll_read_ready(cx).map_ok(drop);
        }
        let mut room = self.room();
        let watched = match room.take() {
            Some(watched) => watched,
            // A descriptor is watched once; another one of the same socket can be watched for something else.
            None => watch(self.arrivals.get_ref().try_clone()?, Interest::WRITABLE)?,
        };
        room.insert(watched).poll_write_ready(cx).map_ok(drop)
    }

    fn unwatch(&self, way: Way) {
        if way == Way::Out {
            *self.room() = None;
        }
    }
}

impl Accept for Watched<TcpListener> {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(std::net::TcpStream, SocketAddr)>> {
        self.0.poll_accept(cx).map_ok(|(stream, from)| Ok((stream.into_std()?, from)))?
    }
}

/// A timer of tokio's.
#[derive(Debug)]
pub struct SleepUntil {
    handle: Handle,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer for SleepUntil {
    fn arm(mut self: Pin<&mut Self>, wait: Duration) {
        if let Some(sleep) = &mut self.sleep {
            return sleep.as_mut().reset(Instant::now() + wait);
        }
        let inside = self.handle.enter();
        let asleep = Box::pin(sleep(wait));
        drop(inside);
        self.sleep = Some(asleep);
    }

    fn poll_fired(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_socket_is_watched_for_room_only_while_someone_waits_for_that() -> io::Result<()> {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let socket = Tokio::current().expect("inside tokio").udp(socket)?;
        assert!(socket.room().is_none());

        poll_fn(|cx| socket.poll_ready(Way::Out, cx)).await?;
        assert!(socket.room().is_some());
        let here = socket.socket().local_addr()?;
        assert_eq!(socket.try_io(Way::Out, |socket| socket.send_to(b"hello", &here))?, 5);
        socket.unwatch(Way::Out);
        assert!(socket.room().is_none());

        poll_fn(|cx| socket.poll_ready(Way::In, cx)).await?;
        let heard = socket.try_io(Way::In, |socket| socket.recv(&mut [std::mem::MaybeUninit::uninit(); 16]))?;
        assert_eq!(heard, 5);
        Ok(())
    }
}

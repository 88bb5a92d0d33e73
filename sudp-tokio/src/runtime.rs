//! What tokio lends.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use sudp_net::proto::driver::Way;
use sudp_net::{Accept, Ready, Runtime, Timer};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UdpSocket, lookup_host};
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

impl Runtime for Tokio {
    type Udp = Watched<UdpSocket>;
    type Tcp = Watched<TcpStream>;
    type Listener = Watched<TcpListener>;
    type Timer = SleepUntil;

    fn udp(&self, socket: std::net::UdpSocket) -> io::Result<Self::Udp> {
        let _inside = self.0.enter();
        UdpSocket::from_std(socket).map(Watched)
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

watched!(UdpSocket, poll_recv_ready, poll_send_ready);
watched!(TcpStream, poll_read_ready, poll_write_ready);

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

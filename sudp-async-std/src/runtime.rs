//! What async-std lends: tasks of its own, sockets and timers of async-io, on which it stands.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Async;
use async_std::task;
use socket2::SockRef;
use sudp_net::proto::driver::Way;
use sudp_net::{Accept, Ready, Runtime, Timer};

/// The runtime of async-std, of which a process has one.
#[derive(Clone, Copy, Debug)]
pub struct AsyncStd;

/// A socket that async-io watches.
#[derive(Debug)]
pub struct Watched<S>(Async<S>);

impl Runtime for AsyncStd {
    type Udp = Watched<UdpSocket>;
    type Tcp = Watched<TcpStream>;
    type Listener = Watched<TcpListener>;
    type Timer = Alarm;

    fn udp(&self, socket: UdpSocket) -> io::Result<Self::Udp> {
        Async::new_nonblocking(socket).map(Watched)
    }

    fn tcp(&self, stream: TcpStream) -> io::Result<Self::Tcp> {
        Async::new_nonblocking(stream).map(Watched)
    }

    fn listener(&self, listener: TcpListener) -> io::Result<Self::Listener> {
        Async::new_nonblocking(listener).map(Watched)
    }

    fn timer(&self) -> Alarm {
        Alarm(async_io::Timer::never())
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        // What is dropped here is the handle: the task goes on.
        drop(task::spawn(future));
    }

    fn yield_now(cx: &mut Context<'_>) {
        // Its reactor has a thread of its own.
        cx.waker().wake_by_ref();
    }

    async fn lookup(self, host: Box<str>, port: u16) -> io::Result<Vec<SocketAddr>> {
        task::spawn_blocking(move || Ok((&*host, port).to_socket_addrs()?.collect())).await
    }
}

macro_rules! watched {
    ($socket:ty) => {
        impl Ready for Watched<$socket> {
            fn socket(&self) -> SockRef<'_> {
                SockRef::from(self.0.get_ref())
            }

            fn try_io<T>(&self, _way: Way, op: impl FnOnce(&SockRef<'_>) -> io::Result<T>) -> io::Result<T> {
                // async-io remembers no readiness: it asks the system anew each time it waits.
                op(&self.socket())
            }

            fn poll_ready(&self, way: Way, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match way {
                    Way::In => self.0.poll_readable(cx),
                    Way::Out => self.0.poll_writable(cx),
                }
            }
        }
    };
}

watched!(UdpSocket);
watched!(TcpStream);

impl Accept for Watched<TcpListener> {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            match self.0.get_ref().accept() {
                Ok((stream, from)) => {
                    stream.set_nonblocking(true)?;
                    return Poll::Ready(Ok((stream, from)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.0.poll_readable(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// A timer of async-io's.
#[derive(Debug)]
pub struct Alarm(async_io::Timer);

impl Timer for Alarm {
    fn arm(mut self: Pin<&mut Self>, wait: Duration) {
        self.0.set_after(wait);
    }

    fn poll_fired(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

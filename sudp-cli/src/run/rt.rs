//! What runs: one thread for a client, and for a server several, each with a runtime of its own.
//!
//! A session is one task and never leaves its thread, so nothing of a datagram crosses from one to another. A stream
//! that is accepted goes to the thread with the fewest sessions; if it turns out to be a further link of a session,
//! it moves to where that lives.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;
use std::thread::{self, JoinHandle};

use sudp_tokio::{Runtime, Tokio};
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

use crate::exit::{Exit, Failure, Outcome};

/// Runs this on a thread of its own making: the caller's.
pub(crate) fn block_on<T>(main: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let runtime = single().map_err(|error| {
        Failure::new(Exit::Temporary, format!("the system does not let this begin: {error}; it may be out of files"))
    })?;
    let outcome = runtime.block_on(main);
    // A name that is being looked up, or input that is waited for, holds up nobody.
    runtime.shutdown_background();
    outcome
}

/// The threads of a server, of which the caller's is the first.
#[derive(Clone, Debug)]
pub(crate) struct Threads {
    here: Tokio,
    all: Arc<[Place]>,
    /// What this one occupies; without it, it is the server's own.
    _seat: Option<Arc<Seat>>,
}

/// A thread, and how much lives on it.
#[derive(Clone, Debug)]
struct Place {
    runtime: Tokio,
    taken: Arc<AtomicUsize>,
}

/// What one session occupies of a thread.
#[derive(Debug)]
struct Seat(Arc<AtomicUsize>);

/// Ends the other threads when it is dropped.
#[derive(Debug)]
pub(crate) struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Threads {
    /// So many threads, the caller's included, which is inside a runtime; 0 is one for each core.
    pub(crate) fn start(count: usize) -> io::Result<(Self, Workers)> {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        let count = if count == 0 { cores() } else { count };
        let (mut places, mut workers) = (vec![Place::new(Handle::current())], Workers(Vec::new()));
        for number in 1..count {
            let runtime = single()?;
            places.push(Place::new(runtime.handle().clone()));
            let (stop, stopped) = oneshot::channel();
            let thread = thread::Builder::new().name(format!("sudp-{number}")).spawn(move || {
                // That nobody holds the other end any more says the same.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
            workers.0.push(Worker { stop, thread });
        }
        let here = Tokio::from(Handle::current());
        Ok((Self { here, all: places.into(), _seat: None }, workers))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    #[cfg(test)]
    fn taken(&self) -> Vec<usize> {
        self.all.iter().map(|place| place.taken.load(Ordering::Relaxed)).collect()
    }
}

impl Place {
    fn new(handle: Handle) -> Self {
        Self { runtime: handle.into(), taken: Arc::default() }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let (stops, threads): (Vec<_>, Vec<_>) = self.0.drain(..).map(|worker| (worker.stop, worker.thread)).unzip();
        drop(stops);
        for thread in threads {
            // What it panicked with was told when it did.
            let _ = thread.join();
        }
    }
}

impl Runtime for Threads {
    type Udp = <Tokio as Runtime>::Udp;
    type Tcp = <Tokio as Runtime>::Tcp;
    type Listener = <Tokio as Runtime>::Listener;
    type Timer = <Tokio as Runtime>::Timer;

    fn udp(&self, socket: UdpSocket) -> io::Result<Self::Udp> {
        self.here.udp(socket)
    }

    fn tcp(&self, stream: TcpStream) -> io::Result<Self::Tcp> {
        self.here.tcp(stream)
    }

    fn listener(&self, listener: TcpListener) -> io::Result<Self::Listener> {
        self.here.listener(listener)
    }

    fn timer(&self) -> Self::Timer {
        self.here.timer()
    }

    fn elsewhere(&self) -> Self {
        let free = self.all.iter().min_by_key(|place| place.taken.load(Ordering::Relaxed));
        let Some(Place { runtime, taken }) = free else { return self.clone() };
        taken.fetch_add(1, Ordering::Relaxed);
        let _seat = Some(Arc::new(Seat(Arc::clone(taken))));
        Self { here: runtime.clone(), all: Arc::clone(&self.all), _seat }
    }

    fn adopt(&self, stream: Self::Tcp) -> io::Result<Self::Tcp> {
        self.here.adopt(stream)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.here.spawn(task);
    }

    fn yield_now(cx: &mut Context<'_>) {
        Tokio::yield_now(cx);
    }

    async fn lookup(self, host: Box<str>, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.here.lookup(host, port).await
    }
}

fn single() -> io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_io().enable_time().build()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sudp_tokio::proto::access::Grant;
    use sudp_tokio::proto::config::Limits;
    use sudp_tokio::proto::config::client::ClientConfig;
    use sudp_tokio::proto::session::Treatment;
    use sudp_tokio::{Anyone, Client, ClientOptions, Server, ServerOptions};
    use tokio::net::UdpSocket;
    use tokio::time::{sleep, timeout};

    use super::*;

    #[test]
    fn sessions_share_the_threads_evenly_and_each_of_them_has_all_of_its_links() {
        block_on(async {
            let (threads, workers) = Threads::start(3).expect("three threads");
            assert_eq!(threads.count(), 3);
            let options = ServerOptions::new(vec!["127.0.0.1:0".parse().expect("an address")]);
            let server = Server::bind(threads.clone(), options, Anyone(Grant::open())).expect("a server");
            let url = format!("ws://{}", server.local_addrs()[0]);
            let echo = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
            let to = echo.local_addr().expect("its address");
            tokio::spawn(async move {
                let mut room = [0; 2_048];
                while let Ok((length, from)) = echo.recv_from(&mut room).await {
                    let _ = echo.send_to(&room[..length], from).await;
                }
            });
            let mut clients = Vec::new();
            for number in 0..6_u32 {
                let config = ClientConfig { links: 2, ..ClientConfig::new(vec![url.parse().expect("a URL")]) };
                let mut options = ClientOptions::new(config);
                options.limits = Limits { links: 2, ..Limits::default() };
                let client = Client::connect(Tokio::current().expect("inside"), options).expect("a client");
                let flow = client.open(to, Treatment::default()).await.expect("a flow");
                for round in 0..50_u32 {
                    let sent = [number.to_be_bytes(), round.to_be_bytes()].concat();
                    flow.send(sent.clone()).await.expect("it is open");
                    let back =
                        timeout(Duration::from_secs(5), flow.recv()).await.expect("in time").expect("it is open");
                    assert_eq!(back, sent);
                }
                clients.push((client, flow));
            }
            for (client, _) in &clients {
                while client.stats().await.expect("it runs").links.len() < 2 {
                    sleep(Duration::from_millis(10)).await;
                }
            }
            // The tasks that met the streams end when they have handed them over.
            let evenly = async {
                while threads.taken() != [2, 2, 2] {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(Duration::from_secs(5), evenly).await.unwrap_or_else(|_| panic!("{:?}", threads.taken()));
            drop(clients);
            server.close().await;
            drop(workers);
            Ok(())
        })
        .expect("it ran");
    }
}

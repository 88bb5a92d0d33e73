//! The ends of a tunnel: a service that echoes, and sources that ask it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};

/// Loopback, at a port of the system's choice.
pub(crate) fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A UDP socket with the largest buffers that can be had.
pub(crate) fn socket(at: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(4 << 20)?;
    socket.bind(&at.into())?;
    UdpSocket::from_std(socket.into())
}

/// A service that sends back whatever it hears, and remembers it.
pub(crate) struct Echo {
    pub(crate) at: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    task: JoinHandle<()>,
    /// No server may have the port that goes with it: nobody is let through to the ports of servers.
    _reserved: TcpListener,
}

/// A datagram that came to a service.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) from: SocketAddr,
    pub(crate) payload: Vec<u8>,
}

impl Echo {
    pub(crate) fn new() -> Self {
        Self::try_at(anywhere()).expect("an address for an echo service")
    }

    /// A service at an address that someone may hold for a moment yet.
    pub(crate) async fn at(at: SocketAddr) -> Self {
        loop {
            match Self::try_at(at) {
                Ok(echo) => return echo,
                Err(_) => sleep(SOON).await,
            }
        }
    }

    pub(crate) fn try_at(at: SocketAddr) -> std::io::Result<Self> {
        let (socket, reserved) = loop {
            let socket = socket(at)?;
            match TcpListener::bind(socket.local_addr()?) {
                Ok(reserved) => break (Arc::new(socket), reserved),
                Err(_) if at.port() == 0 => {}
                Err(error) => return Err(error),
            }
        };
        let heard = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(echo(Arc::clone(&socket), Arc::clone(&heard)));
        Ok(Self { at: socket.local_addr()?, heard, task, _reserved: reserved })
    }

    /// What came so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From where it was spoken to.
    pub(crate) fn sources(&self) -> BTreeSet<SocketAddr> {
        self.heard().into_iter().map(|heard| heard.from).collect()
    }

    /// Waits until so many datagrams came, and a moment longer for those that should not.
    pub(crate) async fn hears(&self, datagrams: usize) {
        until(|| self.heard().len() >= datagrams).await;
        sleep(MOMENT).await;
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(socket: Arc<UdpSocket>, heard: Arc<Mutex<Vec<Heard>>>) {
    let mut buffer = vec![0; 65_536];
    loop {
        // What ICMP says of an answer is no reason to stop.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let payload = buffer[..length].to_vec();
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(Heard { from, payload });
        let _ = socket.send_to(&buffer[..length], from).await;
    }
}

/// An application that speaks to a listener.
pub(crate) struct Source(UdpSocket);

impl Source {
    pub(crate) async fn to(listener: SocketAddr) -> Self {
        let at = if listener.is_ipv4() { anywhere() } else { SocketAddr::from(([0_u16, 0, 0, 0, 0, 0, 0, 1], 0)) };
        let socket = socket(at).expect("a socket for a source");
        socket.connect(listener).await.expect("a listener");
        Self(socket)
    }

    pub(crate) fn at(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    pub(crate) async fn send(&self, payload: &[u8]) {
        self.0.send(payload).await.expect("a datagram leaves");
    }

    pub(crate) async fn recv(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let length = self.0.recv(&mut buffer).await.expect("an answer");
        buffer.truncate(length);
        buffer
    }

    /// Sends a datagram, and waits for it to come back.
    pub(crate) async fn exchange(&self, payload: &[u8]) {
        self.send(payload).await;
        let answer = self.recv().await;
        assert!(answer == payload, "sent {} bytes, and {} others came back", payload.len(), answer.len());
    }

    /// Asks until there is an answer.
    pub(crate) async fn persist(&self, payload: &[u8]) {
        loop {
            // A service that is not there yet may be told of by ICMP.
            let _ = self.0.send(payload).await;
            let mut buffer = vec![0; 65_536];
            match timeout(SOON, self.0.recv(&mut buffer)).await {
                Ok(Ok(length)) if &buffer[..length] == payload => return,
                Ok(Ok(_)) | Err(_) => {}
                Ok(Err(_)) => sleep(SOON).await,
            }
        }
    }

    /// Sends numbered datagrams, one a millisecond, and collects the answers until all are there.
    pub(crate) async fn count(&self, numbers: std::ops::Range<u32>) -> Tally {
        let mut tally = Tally::default();
        let (mut pace, mut left) = (interval(PACE), numbers.clone());
        let mut buffer = [0; 64];
        while !tally.is_complete(&numbers) {
            tokio::select! {
                _ = pace.tick(), if !left.is_empty() => {
                    let number = left.next().expect("there is one left");
                    self.send(&number.to_be_bytes()).await;
                }
                length = self.0.recv(&mut buffer) => tally.note(&buffer[..length.expect("an answer")]),
                () = sleep(LONG) => break,
            }
        }
        while let Ok(length) = timeout(MOMENT, self.0.recv(&mut buffer)).await {
            tally.note(&buffer[..length.expect("an answer")]);
        }
        tally
    }
}

/// How often each number came.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<u32, usize>);

impl Tally {
    pub(crate) fn of<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut tally = Self::default();
        payloads.into_iter().for_each(|payload| tally.note(payload));
        tally
    }

    pub(crate) fn note(&mut self, payload: &[u8]) {
        let number = payload.try_into().map(u32::from_be_bytes).expect("a number");
        *self.0.entry(number).or_default() += 1;
    }

    pub(crate) fn is_complete(&self, numbers: &std::ops::Range<u32>) -> bool {
        self.0.len() >= numbers.len()
    }

    /// Asserts that each of the numbers came once, and nothing else.
    #[track_caller]
    pub(crate) fn assert_once(&self, numbers: std::ops::Range<u32>) {
        let missing: Vec<u32> = numbers.clone().filter(|number| !self.0.contains_key(number)).collect();
        let often: Vec<_> = self.0.iter().filter(|(number, count)| **count != 1 || !numbers.contains(number)).collect();
        assert!(missing.is_empty() && often.is_empty(), "missing: {missing:?}, too often or unknown: {often:?}");
    }
}

/// Asserts that each of the numbers reached a service once, all from one port.
#[track_caller]
pub(crate) fn assert_heard_once(echo: &Echo, numbers: std::ops::Range<u32>) {
    let heard = echo.heard();
    Tally::of(heard.iter().map(|heard| &heard.payload[..])).assert_once(numbers);
    assert_eq!(echo.sources().len(), 1, "the flow kept its port: {:?}", echo.sources());
}

/// Waits until something is so.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        sleep(SOON).await;
    }
}

/// Between two looks at what is waited for.
pub(crate) const SOON: Duration = Duration::from_millis(20);
/// In which what should not come would come.
pub(crate) const MOMENT: Duration = Duration::from_millis(150);
/// After which nothing will come any more.
pub(crate) const LONG: Duration = Duration::from_secs(20);
/// Between two numbered datagrams.
const PACE: Duration = Duration::from_millis(1);

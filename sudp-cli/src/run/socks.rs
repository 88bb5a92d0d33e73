//! A SOCKS5 proxy for UDP (`-D`): applications ask it for an association, and send through that.
//!
//! It is for programs of this machine, so it asks for no password; connections through it (CONNECT, BIND) are refused,
//! and so are fragments, as RFC 1928 permits. An association is one flow to as many destinations as it likes, and ends
//! with the TCP connection that asked for it.

mod wire;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sudp_tokio::proto::session::Treatment;
use sudp_tokio::proto::wire::Address;
use sudp_tokio::{Client, Flow};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::life::Life;
use super::tell::Note;
use wire::{Reply, Wish};

/// A proxy that listens. It ends, with all that goes through it, when it is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    at: SocketAddr,
    task: AbortHandle,
}

impl Proxy {
    pub(super) async fn listen(
        client: &Client,
        life: &Arc<Life>,
        at: SocketAddr,
        treatment: Treatment,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let at = listener.local_addr()?;
        if !at.ip().is_loopback() {
            let text = format!("everybody who can reach {at} may send through its proxy: it asks for no password");
            life.tell(Note::warn("sudp::tunnel", text));
        }
        let (client, life) = (client.clone(), Arc::clone(life));
        let task = tokio::spawn(accept(listener, client, life, treatment)).abort_handle();
        Ok(Self { at, task })
    }

    /// Where it listens.
    pub(super) fn at(&self) -> SocketAddr {
        self.at
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, client: Client, life: Arc<Life>, treatment: Treatment) {
    // They end with it, wherever it ends.
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if clients.len() < CLIENTS => match accepted {
                Ok((stream, from)) => {
                    let (client, life) = (client.clone(), Arc::clone(&life));
                    clients.spawn(async move {
                        if let Err(why) = serve(stream, from, client, treatment).await {
                            life.tell(Note::debug("sudp::tunnel", format!("a client of the proxy has ended: {why}")));
                        }
                    });
                }
                // The system has no room for one more, or the client is gone.
                Err(_) => sleep(BREATH).await,
            },
            Some(_) = clients.join_next() => {}
        }
    }
}

/// Sees to one client of the proxy, for as long as its connection lasts.
async fn serve(mut stream: TcpStream, from: SocketAddr, client: Client, treatment: Treatment) -> io::Result<()> {
    let here = stream.local_addr()?.ip();
    let asked = timeout(PATIENCE, wire::ask(&mut stream)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let port = match asked {
        Wish::Associate { port } => port,
        Wish::Other(reply) => {
            stream.write_all(&reply.message(SocketAddr::new(here, 0))).await?;
            return stream.shutdown().await;
        }
    };
    let relay = UdpSocket::bind(SocketAddr::new(here, 0)).await?;
    stream.write_all(&Reply::Granted.message(relay.local_addr()?)).await?;
    let application = Application { host: from.ip().to_canonical(), port: (port > 0).then_some(port), at: None };
    Association { relay, application, flow: None, client, treatment }.run(stream).await
}

/// Who uses an association: one address, from the first datagram on.
struct Application {
    host: IpAddr,
    port: Option<u16>,
    at: Option<SocketAddr>,
}

impl Application {
    /// Whether a datagram is its own.
    fn is(&mut self, from: SocketAddr) -> bool {
        let host = from.ip().to_canonical() == self.host && self.port.is_none_or(|port| port == from.port());
        host && *self.at.get_or_insert(from) == from
    }
}

struct Association {
    relay: UdpSocket,
    application: Application,
    /// Where its first datagram went, and what carries it and all others.
    flow: Option<(Address, Flow)>,
    client: Client,
    treatment: Treatment,
}

impl Association {
    async fn run(mut self, mut stream: TcpStream) -> io::Result<()> {
        let (mut room, mut rest) = (vec![0; ROOM], [0; 64]);
        loop {
            let answer = async {
                match &self.flow {
                    Some((_, flow)) => flow.recv_from().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = stream.read(&mut rest) => {
                    // What it still says means nothing.
                    if read? == 0 {
                        return Ok(());
                    }
                }
                received = self.relay.recv_from(&mut room) => {
                    // An error speaks of an answer that could not be delivered: the application may open its port anew.
                    if let Ok((length, from)) = received
                        && self.application.is(from)
                        && let Some(datagram) = room.get(..length)
                    {
                        self.send(datagram).await?;
                    }
                }
                answer = answer => match answer {
                    Ok((payload, from)) => self.deliver(&payload, from).await,
                    // It was idle, or is not allowed: its next datagram begins another.
                    Err(_) => self.flow = None,
                },
            }
        }
    }

    async fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let Some((to, payload)) = wire::parse(datagram) else { return Ok(()) };
        let payload = Bytes::copy_from_slice(payload);
        let (first, flow) = match self.flow.take() {
            Some(open) => open,
            None => {
                let flow = self.client.open(to.clone(), self.treatment).await.map_err(io::Error::other)?;
                (to.clone(), flow)
            }
        };
        let sent = if first == to { flow.send(payload).await } else { flow.send_to(payload, to).await };
        if sent.is_ok() {
            self.flow = Some((first, flow));
        }
        Ok(())
    }

    async fn deliver(&self, payload: &[u8], from: Option<SocketAddr>) {
        let (Some(to), Some((first, _))) = (self.application.at, &self.flow) else { return };
        let from = from.map_or_else(|| first.clone(), Address::from);
        // An application that has gone away says so by its connection.
        let _ = self.relay.send_to(&wire::wrap(&from, payload), to).await;
    }
}

/// Clients of one proxy at a time.
const CLIENTS: usize = 128;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
const BREATH: Duration = Duration::from_millis(100);
/// A datagram with the header of an association.
const ROOM: usize = 65_535;

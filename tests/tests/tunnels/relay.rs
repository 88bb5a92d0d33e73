//! A relay for TCP in the path, and what goes wrong there.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::udp::anywhere;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// They work.
    Pass,
    /// A bit of the next bytes is flipped, either way.
    Flip,
    /// Both ends are reset.
    Reset,
    /// Nothing moves any more, either way.
    Hang,
    /// What the client says is taken, and goes nowhere.
    SwallowUp,
    /// What the server says is taken, and goes nowhere.
    SwallowDown,
}

/// Passes connections on to a server, until something becomes of them.
pub(crate) struct Relay {
    pub(crate) at: SocketAddr,
    fate: Arc<Mutex<watch::Sender<Fate>>>,
    open: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(anywhere()).await.expect("an address for a relay");
        let at = listener.local_addr().expect("an address for a relay");
        let (fate, open) = (Arc::new(Mutex::new(watch::Sender::new(Fate::Pass))), watch::Sender::new(true));
        let task = tokio::spawn(accept(listener, server, Arc::clone(&fate), open.subscribe()));
        Self { at, fate, open, task }
    }

    /// This becomes of the connections there are; later ones work.
    pub(crate) fn strike(&self, fate: Fate) {
        let mut current = self.fate.lock().unwrap_or_else(PoisonError::into_inner);
        current.send_replace(fate);
        *current = watch::Sender::new(Fate::Pass);
    }

    /// From now on whoever comes is sent away, or not.
    pub(crate) fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    fate: Arc<Mutex<watch::Sender<Fate>>>,
    open: watch::Receiver<bool>,
) {
    // What hangs is dropped with the relay.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        if !*open.borrow() {
            reset(&client);
            continue;
        }
        let fate = fate.lock().unwrap_or_else(PoisonError::into_inner).subscribe();
        connections.spawn(connection(client, server, fate));
    }
}

async fn connection(client: TcpStream, server: SocketAddr, fate: watch::Receiver<Fate>) {
    let Ok(server) = TcpStream::connect(server).await else { return reset(&client) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = pump(from_client, to_server, fate.clone(), Fate::SwallowUp);
    let down = pump(from_server, to_client, fate, Fate::SwallowDown);
    // A direction that broke takes the other with it.
    let _ = tokio::try_join!(up, down);
}

/// A connection broke.
struct Broken;

/// Passes bytes on until they end, which is well, or the connection breaks.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut fate: watch::Receiver<Fate>,
    swallowing: Fate,
) -> Result<(), Broken> {
    let (mut buffer, mut swallow, mut flip) = (vec![0; 16 << 10], false, false);
    loop {
        tokio::select! {
            biased;
            // A sender that is gone has said its last word before.
            Ok(()) = fate.changed() => match current(&mut fate) {
                Fate::Pass => {}
                Fate::Flip => flip = true,
                Fate::Reset => return Err(break_off(&from, to)),
                Fate::Hang => std::future::pending().await,
                other => swallow = other == swallowing,
            },
            read = from.read(&mut buffer) => match read {
                Ok(0) if swallow => std::future::pending().await,
                Ok(0) => return to.shutdown().await.map_err(|_| Broken),
                Ok(length) if !swallow => {
                    buffer[length - 1] ^= u8::from(std::mem::take(&mut flip));
                    if to.write_all(&buffer[..length]).await.is_err() {
                        return Err(break_off(&from, to));
                    }
                }
                Ok(_) => {}
                Err(_) if swallow => std::future::pending().await,
                Err(_) => return Err(break_off(&from, to)),
            }
        }
    }
}

/// Has both streams end with a reset, and without a word before.
fn break_off(from: &OwnedReadHalf, to: OwnedWriteHalf) -> Broken {
    reset(from.as_ref());
    reset(to.as_ref());
    to.forget();
    Broken
}

/// Has a stream end with a reset once it is dropped.
fn reset(stream: &TcpStream) {
    // One that is gone already needs none.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

fn current(fate: &mut watch::Receiver<Fate>) -> Fate {
    *fate.borrow_and_update()
}

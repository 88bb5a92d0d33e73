//! A link of one's own that can be cut: the client dials through a proxy in this process.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

use super::Plan;
use super::way::connect;

/// Passes on what comes, until it is cut. It understands `CONNECT`, so that the client asks for the server by its
/// own name.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) at: SocketAddr,
    cuts: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl Relay {
    pub(super) async fn to(plan: Arc<Plan>, hop: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (at, cuts) = (listener.local_addr()?, watch::Sender::new(0));
        let task = tokio::spawn(accept(listener, plan, hop, cuts.subscribe()));
        Ok(Self { at, cuts, task })
    }

    /// Resets every connection there is; the next ones work.
    pub(super) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, plan: Arc<Plan>, hop: SocketAddr, cuts: watch::Receiver<u32>) {
    // Those that there are end with it.
    let mut streams = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let mut cuts = cuts.clone();
        cuts.mark_unchanged();
        streams.spawn(pass(client, Arc::clone(&plan), hop, cuts));
        while streams.try_join_next().is_some() {}
    }
}

async fn pass(mut client: TcpStream, plan: Arc<Plan>, hop: SocketAddr, mut cuts: watch::Receiver<u32>) {
    if asked(&mut client).await.is_err() {
        return;
    }
    let Ok(Ok(mut server)) =
        spawn_blocking(move || dial(&plan, hop)).await.map(|dialled| dialled.and_then(asynchronous))
    else {
        // Who does not hear it notices anyway.
        let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
        return;
    };
    if client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_err() {
        return;
    }
    let _ = client.set_nodelay(true);
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        Ok(()) = cuts.changed() => {
            for stream in [&client, &server] {
                // What is closed without a word is reset.
                let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            }
        }
    }
}

/// Reads the request to the end; what it says is known.
async fn asked(client: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 4_096 {
        head.push(client.read_u8().await?);
    }
    Ok(())
}

fn dial(plan: &Plan, hop: SocketAddr) -> io::Result<std::net::TcpStream> {
    connect(plan, hop).map_err(io::Error::other)
}

fn asynchronous(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

//! What stands between client and server: it passes on what they say, and cuts them off when it is told to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// A relay, which works for as long as this is held.
#[derive(Debug)]
pub(super) struct Relay {
    at: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Keeps the port while nobody listens there.
    _place: Socket,
}

/// A way to cut a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cut {
    /// Both ends are told at once.
    Reset,
    /// Nothing comes through any more, and nobody is told.
    Silence,
    /// Both ends are told, and who dials is refused for so long.
    Refusal(Duration),
}

/// What becomes of connections: each was accepted in an epoch, and every cut begins another.
#[derive(Clone, Copy, Debug)]
struct Weather {
    epoch: u64,
    /// Those from before are reset.
    reset: u64,
    /// Those from before are silent.
    silent: u64,
    /// Until when nobody listens.
    closed: Option<Instant>,
}

impl Relay {
    /// Opens one to this server, at a port of its own.
    pub(super) fn open(to: SocketAddr) -> io::Result<Self> {
        let place = socket((Ipv4Addr::LOCALHOST, 0).into())?;
        let at = place.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidInput)?;
        let (weather, seen) = watch::channel(Weather { epoch: 0, reset: 0, silent: 0, closed: None });
        tokio::spawn(accept(listen(at)?, at, to, seen));
        Ok(Self { at, weather, _place: place })
    }

    /// Where clients find it.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.at
    }

    /// Cuts every connection there is.
    pub(super) fn cut(&self, cut: Cut) {
        self.weather.send_modify(|weather| {
            weather.epoch += 1;
            match cut {
                Cut::Reset => weather.reset = weather.epoch,
                // What was silent so far has been found out: it may go.
                Cut::Silence => (weather.reset, weather.silent) = (weather.silent, weather.epoch),
                Cut::Refusal(time) => {
                    weather.reset = weather.epoch;
                    weather.closed = Some(Instant::now() + time);
                }
            }
        });
    }

    /// Ends what is silent, so that nobody waits for it any more.
    pub(super) fn clear(&self) {
        self.weather.send_modify(|weather| weather.reset = weather.reset.max(weather.silent));
    }

    /// Whether who dials is refused.
    pub(super) fn refuses(&self) -> bool {
        self.weather.borrow().closed.is_some_and(|until| Instant::now() < until)
    }
}

async fn accept(first: TcpListener, at: SocketAddr, to: SocketAddr, mut weather: watch::Receiver<Weather>) {
    let mut listener = Some(first);
    loop {
        let now = *weather.borrow_and_update();
        match now.closed.filter(|until| Instant::now() < *until) {
            Some(until) => {
                listener = None;
                tokio::select! {
                    () = sleep_until(until) => {}
                    changed = weather.changed() => if changed.is_err() { return },
                }
            }
            None => {
                // The port is ours, so that it fails only for want of descriptors: the client dials again.
                let open = match listener.take() {
                    Some(open) => Ok(open),
                    None => listen(at),
                };
                let Ok(open) = open else {
                    sleep_until(Instant::now() + PAUSE).await;
                    continue;
                };
                tokio::select! {
                    accepted = open.accept() => {
                        if let Ok((near, _)) = accepted {
                            tokio::spawn(carry(near, to, weather.clone(), now.epoch));
                        }
                    }
                    changed = weather.changed() => if changed.is_err() { return },
                }
                listener = Some(open);
            }
        }
    }
}

/// Passes on what the two say, until they have ended or are cut off.
async fn carry(mut near: TcpStream, to: SocketAddr, mut weather: watch::Receiver<Weather>, epoch: u64) {
    let Ok(mut far) = TcpStream::connect(to).await else { return };
    // Without it, small messages wait for more.
    let _ = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
    {
        let mut passing = pin!(copy_bidirectional(&mut near, &mut far));
        loop {
            let now = *weather.borrow_and_update();
            if epoch < now.reset {
                break;
            }
            tokio::select! {
                _ = &mut passing, if epoch >= now.silent => return,
                changed = weather.changed() => if changed.is_err() { return },
            }
        }
    }
    // Closed without a linger, a connection is reset.
    let _ = near.set_zero_linger().and_then(|()| far.set_zero_linger());
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(at)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// A socket that shares its port with one that keeps the port.
fn socket(at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&at.into())?;
    Ok(socket)
}

const BACKLOG: i32 = 64;
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;
    use crate::run::rt::block_on;

    async fn beside() -> (Relay, TcpListener) {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        (Relay::open(server.local_addr().unwrap()).unwrap(), server)
    }

    async fn pair(relay: &Relay, server: &TcpListener) -> (TcpStream, TcpStream) {
        let near = TcpStream::connect(relay.local_addr()).await.unwrap();
        let (mut far, _) = server.accept().await.unwrap();
        far.write_all(b"hello").await.unwrap();
        let (mut near, mut heard) = (near, [0; 5]);
        near.read_exact(&mut heard).await.unwrap();
        (near, far)
    }

    #[test]
    fn a_reset_is_told_to_both_ends_and_others_may_come() {
        let story = async {
            let (relay, server) = beside().await;
            let (mut near, mut far) = pair(&relay, &server).await;
            relay.cut(Cut::Reset);
            for end in [&mut near, &mut far] {
                assert_eq!(end.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            }
            pair(&relay, &server).await;
            Ok(())
        };
        block_on(story).unwrap();
    }

    #[test]
    fn a_silence_is_told_to_nobody_and_others_may_come() {
        let story = async {
            let (relay, server) = beside().await;
            let (mut near, mut far) = pair(&relay, &server).await;
            relay.cut(Cut::Silence);
            near.write_all(b"anybody?").await.unwrap();
            pair(&relay, &server).await;
            assert!(timeout(Duration::from_millis(100), far.read_u8()).await.is_err(), "something came through");
            assert!(timeout(Duration::from_millis(10), near.read_u8()).await.is_err(), "somebody was told");
            let (mut other, _far) = pair(&relay, &server).await;
            relay.clear();
            assert!(far.read_u8().await.is_err(), "what was held back came through at last");
            assert!(timeout(Duration::from_millis(50), other.read_u8()).await.is_err(), "another was ended, too");
            Ok(())
        };
        block_on(story).unwrap();
    }

    #[test]
    fn a_refusal_refuses_and_ends() {
        let story = async {
            let (relay, server) = beside().await;
            let (mut near, _far) = pair(&relay, &server).await;
            relay.cut(Cut::Refusal(Duration::from_millis(300)));
            assert!(near.read_u8().await.is_err());
            assert!(relay.refuses());
            let refused = TcpStream::connect(relay.local_addr()).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            while TcpStream::connect(relay.local_addr()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(!relay.refuses());
            drop(server.accept().await.unwrap());
            pair(&relay, &server).await;
            Ok(())
        };
        block_on(story).unwrap();
    }
}

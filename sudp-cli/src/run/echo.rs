//! A UDP service that sends back whatever it gets: something to reach through a tunnel.

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use sudp_tokio::proto::driver::Datagram;
use sudp_tokio::{Tokio, UdpOptions, UdpPort};
use tokio::task::JoinSet;

use super::interrupt::Interrupt;
use super::life::cannot_listen;
use super::rt::block_on;
use crate::args::Common;
use crate::exit::{Exit, Failure, Outcome};

/// An echo service, at one address.
#[derive(Debug)]
pub(crate) struct Echo {
    port: UdpPort,
    /// What was received, and waits to be sent back.
    waiting: Vec<Datagram>,
    counts: Counts,
}

/// What an echo service has done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Datagrams that were sent back.
    pub(crate) echoed: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Datagrams that could not be.
    pub(crate) failed: u64,
    /// Those who sent them, up to [`SENDERS`].
    pub(crate) senders: HashSet<SocketAddr>,
}

/// Echoes at these addresses until it is stopped.
pub(crate) fn run(listen: &[SocketAddr], common: &Common) -> Outcome {
    block_on(async {
        let mut interrupt = Interrupt::new()?;
        let mut services = JoinSet::new();
        let (stop, stopped) = tokio::sync::watch::channel(());
        for at in listen {
            let echo = Echo::bind(*at, "choose another with --listen, or --listen 127.0.0.1:0 for any that is free")?;
            say(format_args!("echoes at {}", echo.local_addr()));
            let (mut stopped, verbose) = (stopped.clone(), common.verbose > 0 && !common.quiet);
            services.spawn(async move {
                let (at, mut echo) = (echo.local_addr(), echo);
                tokio::select! {
                    ended = echo.serve(|from, payload| if verbose { tell(from, payload) }) => ended,
                    _ = stopped.changed() => {}
                }
                (at, echo.counts)
            });
        }
        interrupt.came().await;
        drop(stop);
        let mut all: Vec<_> = services.join_all().await;
        all.sort_by_key(|(at, _)| *at);
        for (at, counts) in all {
            say(format_args!("{at}: {}", counts.words()));
        }
        Ok(())
    })
}

impl Echo {
    /// Opens one; `way_out` says what to do when the port is in use.
    pub(crate) fn bind(at: SocketAddr, way_out: &str) -> Outcome<Self> {
        Self::bind_with(at, &UdpOptions::default(), way_out)
    }

    /// Opens one whose socket is used like this.
    pub(crate) fn bind_with(at: SocketAddr, options: &UdpOptions, way_out: &str) -> Outcome<Self> {
        let runtime = Tokio::current().ok_or_else(|| Failure::new(Exit::Internal, "no runtime to echo on"))?;
        let port = UdpPort::bind(&runtime, at, options);
        let port = port.map_err(|error| cannot_listen("the echo service", "UDP", at, &error, way_out))?;
        Ok(Self { port, waiting: Vec::new(), counts: Counts::default() })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.port.local_addr()
    }

    /// Sends everything back, and shows it to `seen` before.
    pub(crate) async fn serve(&mut self, mut seen: impl FnMut(SocketAddr, &[u8])) {
        loop {
            self.turn(&mut seen).await;
        }
    }

    /// Sends back what comes in with one call. Nothing is lost when the future is dropped.
    pub(crate) async fn turn(&mut self, mut seen: impl FnMut(SocketAddr, &[u8])) {
        let Self { port, waiting, counts } = self;
        if waiting.is_empty() {
            let received = port.recv(|from, payload| {
                seen(from, payload);
                counts.meet(from);
                waiting.push(Datagram { to: from, payload: Bytes::copy_from_slice(payload) });
            });
            if received.await.is_err() {
                // It speaks of a datagram that left, or of a system that is short of memory: nothing ends.
                tokio::time::sleep(PAUSE).await;
            }
        }
        let mut refused = false;
        while !waiting.is_empty() {
            match port.send(waiting).await {
                Ok(sent) => {
                    counts.echoed += sent as u64;
                    counts.bytes += waiting.drain(..sent).map(|datagram| datagram.payload.len() as u64).sum::<u64>();
                }
                // It may speak of one that left earlier: then this one is still to be sent.
                Err(_) if !refused => refused = true,
                Err(_) => {
                    refused = false;
                    counts.failed += 1;
                    waiting.remove(0);
                }
            }
        }
    }
}

impl Counts {
    fn meet(&mut self, from: SocketAddr) {
        if self.senders.len() < SENDERS {
            self.senders.insert(from);
        }
    }

    fn words(&self) -> String {
        let Self { echoed, bytes, failed, senders } = self;
        let more = if senders.len() == SENDERS { " or more" } else { "" };
        let senders = count(senders.len() as u64, "sender");
        let failed = if *failed == 0 { String::new() } else { format!(", {failed} could not be sent back") };
        format!("{}, {}, {senders}{more}{failed}", count(*echoed, "datagram"), count(*bytes, "byte"))
    }
}

fn tell(from: SocketAddr, payload: &[u8]) {
    say(format_args!("{}: {}", from, count(payload.len() as u64, "byte")));
}

/// A line on standard output. Whoever has closed it does not want to read it.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// So many of something.
pub(crate) fn count(number: u64, of: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {of}{s}")
}

/// How many senders are told apart: anybody can make up senders.
const SENDERS: usize = 65_536;
/// Between receiving that fails and trying again.
const PAUSE: Duration = Duration::from_millis(10);

//! SUDP on real sockets, without a runtime: what the adapters for tokio and for async-std share.
//!
//! An adapter implements [`Runtime`], which says how sockets are watched, tasks spawned, names looked up
//! and time waited for. All else is here: a [`Client`] that keeps a session, a [`Server`] that serves many,
//! a [`Flow`] that is used like a UDP socket.
//!
//! A session is one task, which owns its links, its UDP sockets and its timers. Nothing is shared
//! between sessions on the way of a datagram, and a session is bounded by one core.

#![deny(unsafe_code)]

mod accept;
mod admit;
mod arrival;
mod client;
mod clock;
mod error;
mod event;
mod flow;
mod mailbox;
mod options;
mod own;
mod proxy;
mod ready;
mod relay;
mod resolve;
mod runtime;
#[cfg(feature = "seal")]
pub mod seal;
mod server;
mod sockets;
mod tap;
mod task;
mod tcp;
#[cfg(feature = "tls")]
pub mod tls;
mod udp;
mod watch;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use admit::{Admit, Admitted, Anyone, Pass, Renewal, Stranger, Verdict, Visit};
pub use client::{Client, ClientOptions, ClientStats, Listening};
pub use clock::now;
pub use error::{BindError, ConnectError, Gone, TunnelRefused};
pub use event::{ClientEvent, Events, ServerEvent};
pub use flow::{Flow, FlowClosed};
pub use options::ServerOptions;
pub use own::own;
pub use proxy::{ProxyError, ProxyRules, ProxyUrl, ProxyUrlError};
pub use runtime::{Accept, Ready, Runtime, Timer};
pub use server::{Server, Turned};
pub use sudp_proto as proto;
pub use tap::{Captured, Records};
pub use tcp::{Congestion, TcpOptions};
pub use udp::{UdpOptions, UdpPort};
pub use watch::{ServerStats, SessionStats, TunnelState};

/// What a panic left in a lock is as good as what it found there: every change under one is complete.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What a server is started with.

use std::net::SocketAddr;
#[cfg(feature = "tls")]
use std::sync::Arc;

use sudp_proto::access::{Network, Pool};
use sudp_proto::config::Limits;
use sudp_proto::link::{ServerExpect, ServerSeal};

use crate::tcp::TcpOptions;
#[cfg(feature = "tls")]
use crate::tls::ServerTls;
use crate::udp::UdpOptions;

/// What a server is started with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Where it listens; port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// Which requests are ours.
    pub expect: ServerExpect,
    /// Proxies whose `X-Forwarded-For` says where a request comes from. From anybody else it is ignored.
    pub proxies: Vec<Network>,
    /// How it speaks TLS; without it, it does not. What is reloaded counts for the next stream.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<ServerTls>>,
    /// How links are sealed whose clients want that; without it, none is.
    pub seal: Option<ServerSeal>,
    /// Every cap.
    pub limits: Limits,
    /// Its name, stable over restarts; 0 is none.
    pub id: u64,
    /// Where the memory of its sessions comes from.
    pub memory: Pool,
    /// How TCP is used.
    pub tcp: TcpOptions,
    /// How UDP is used.
    pub udp: UdpOptions,
}

impl ServerOptions {
    /// The usual options, at the path `/sudp`.
    pub fn new(listen: Vec<SocketAddr>) -> Self {
        Self {
            listen,
            expect: ServerExpect { path: "/sudp".into(), ..ServerExpect::default() },
            proxies: Vec::new(),
            #[cfg(feature = "tls")]
            tls: None,
            seal: None,
            limits: Limits::default(),
            id: 0,
            memory: Pool::memory(MEMORY, GUARANTEED),
            tcp: TcpOptions::default(),
            udp: UdpOptions::default(),
        }
    }
}

/// Memory of all sessions, where nobody says otherwise.
const MEMORY: u64 = 256 << 20;
const GUARANTEED: u64 = 128 << 10;

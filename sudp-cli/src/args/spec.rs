//! A tunnel, as people write it.

use std::net::SocketAddr;

use sudp_tokio::proto::session::{InDoubt, Treatment};
use sudp_tokio::proto::wire::Address;

/// A tunnel as it was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TunnelSpec {
    /// What it carries, and where to.
    pub kind: Kind,
    /// What it is called; without a name it is called as it is written.
    pub name: Option<String>,
    /// How its flows are treated.
    pub treatment: Treatment,
    /// What becomes of datagrams in doubt when a session is lost.
    pub in_doubt: InDoubt,
}

/// What a tunnel carries, and where to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    /// From a listener here to a destination of the server (`-L`).
    Forward {
        /// Where the client listens.
        listen: SocketAddr,
        /// Where the server sends to.
        to: Address,
    },
    /// From a listener of the server to a destination here (`-R`).
    Reverse {
        /// Where the server listens.
        listen: SocketAddr,
        /// Where the client sends to.
        to: Address,
    },
    /// A SOCKS5 proxy here, for UDP (`-D`).
    Socks {
        /// Where it listens.
        listen: SocketAddr,
    },
    /// Standard input and output, as netcat does (`-W`).
    Stdio {
        /// Where the server sends to.
        to: Address,
    },
}

//! What can go wrong before anything runs; what goes wrong later is an event.

use std::io;
use std::net::SocketAddr;

use sudp_proto::client::SetupError;
use sudp_proto::config::ConfigError;
use sudp_proto::session::{SendError, TunnelError};

/// The client, server or session is over, and does nothing any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it has ended already")]
pub struct Gone;

/// Why a client was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// What it was told cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The usual configuration of TLS cannot be had.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// The system gives no randomness.
    #[error("no randomness from the system: {0}")]
    Randomness(io::Error),
    /// There is no runtime to run it.
    #[error("no runtime to run it: this is to be called from inside one")]
    NoRuntime,
}

/// Why a server was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// It was told to listen nowhere.
    #[error("no address to listen on")]
    Nowhere,
    /// It cannot listen there.
    #[error("cannot listen on {at}: {source}")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A limit cannot be used.
    #[error(transparent)]
    Limits(#[from] ConfigError),
    /// The system gives no randomness.
    #[error("no randomness from the system: {0}")]
    Randomness(io::Error),
    /// There is no runtime to run it.
    #[error("no runtime to run it: this is to be called from inside one")]
    NoRuntime,
}

/// Why a tunnel or a flow was not opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelRefused {
    /// Its datagrams cannot be listened for.
    #[error("cannot listen on UDP {at}: {source}")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The session does not take it.
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
    /// The session does not open the flow.
    #[error(transparent)]
    Flow(#[from] SendError),
    /// The client has ended.
    #[error(transparent)]
    Gone(#[from] Gone),
}

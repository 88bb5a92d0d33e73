//! Controls that must arrive, so they ride in batches as records of flow 0.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Class, Code, FlowId, TunnelId};

/// Where datagrams go: an address, or a name that the other side resolves.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Address {
    /// The host.
    pub host: Host,
    /// The UDP port.
    pub port: u16,
}

/// The host part of an [`Address`].
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Host {
    /// An address; IPv4-mapped IPv6 is sent as it is and judged in canonical form.
    Ip(IpAddr),
    /// A name of 1 to 253 bytes.
    Name(Box<str>),
}

impl From<SocketAddr> for Address {
    fn from(at: SocketAddr) -> Self {
        Self { host: Host::Ip(at.ip()), port: at.port() }
    }
}

/// A record of flow 0.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Control {
    /// Listen for a reverse tunnel.
    Bind(Bind),
    /// Answers a BIND.
    Bound(Bound),
    /// The sender stops this direction of a flow.
    Close(FlowClose),
    /// The sender knows no such flow, or will not have it: stop.
    Closed(Closed),
    /// Begins a flow; the same flow may be opened again with the same words.
    Open(Box<Open>),
    /// Stop listening for a reverse tunnel.
    Unbind(TunnelId),
    /// A control of an odd type that this version does not know.
    Skipped,
}

/// Begins a flow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Open {
    /// Its id, in the parity of the sender.
    pub flow: FlowId,
    /// 0 is UDP; others are reserved and refused with a CLOSED.
    pub kind: u64,
    /// The tunnel it belongs to.
    pub tunnel: TunnelId,
    /// How its datagrams want to be treated, both ways.
    pub class: Class,
    /// On how many links each datagram travels, 1 to 8.
    pub copies: u8,
    /// Whether each batch may choose its own link.
    pub spread: bool,
    /// How long it may be idle; the opener's own limit.
    pub idle: Duration,
    /// Who began it, on the opener's side.
    pub source: Option<SocketAddr>,
    /// Where it goes, unless the far side's tunnel knows.
    pub destination: Option<Address>,
    /// How many tunnels may still follow this one.
    pub hops: u8,
}

/// What one side has seen of a flow, in datagrams, when its direction ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Taken from the application.
    pub accepted: u64,
    /// Known to have been processed by the other side.
    pub acknowledged: u64,
    /// Dropped here, for any reason.
    pub dropped: u64,
}

/// Ends one direction of a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FlowClose {
    /// Which flow.
    pub flow: FlowId,
    /// Why.
    pub code: Code,
    /// The books of this direction.
    pub totals: Totals,
}

/// Tells the other side to stop a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Closed {
    /// Which flow.
    pub flow: FlowId,
    /// Why.
    pub code: Code,
}

/// Asks the server to listen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bind {
    /// The tunnel this is for.
    pub tunnel: TunnelId,
    /// Where to listen; port 0 lets the server choose.
    pub listen: SocketAddr,
    /// As in [`Open`], for the flows that begin there.
    pub class: Class,
    /// As in [`Open`].
    pub copies: u8,
    /// As in [`Open`].
    pub spread: bool,
    /// As in [`Open`].
    pub idle: Duration,
}

/// Answers a BIND.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bound {
    /// Which tunnel.
    pub tunnel: TunnelId,
    /// Where the server listens now, or why it does not.
    pub outcome: Result<SocketAddr, Code>,
}

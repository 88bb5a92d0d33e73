//! The first words on a link: who comes, for which session, and what each side can take.

use std::time::Duration;

use bytes::Bytes;

use super::{Ordinal, SessionId};

/// What the client says in its upgrade request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hello {
    /// The link's ordinal; 1 makes a session.
    pub ordinal: Ordinal,
    /// A stable name of the client, unique per principal; at most 64 bytes, may be empty.
    pub client: String,
    /// When the client's process started, and which of its sessions this is; later is newer.
    pub incarnation: (u64, u64),
    /// The session to join, with proof; none asks for a new one.
    pub attach: Option<Attach>,
    /// What the client can take.
    pub parameters: Parameters,
}

/// Joins a session that exists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attach {
    /// Which session.
    pub session: SessionId,
    /// Ordinals alive or being dialled, this one not among them, ascending.
    pub alive: Vec<Ordinal>,
    /// Final counts the server may not know yet.
    pub ended: Vec<FinalCount>,
    /// HMAC-SHA256 by the session secret over everything else in the hello.
    pub proof: [u8; 32],
}

/// What one side processed of an ended link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FinalCount {
    /// Which link.
    pub ordinal: Ordinal,
    /// Batches processed.
    pub count: u64,
    /// Whether the teller knows the other side's count.
    pub known: bool,
}

/// What a side can take; absent parameters have their defaults.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Parameters {
    /// Largest message, in bytes.
    pub message: u64,
    /// Flows at a time.
    pub flows: u64,
    /// Links at a time.
    pub links: u64,
    /// Longest wait before it acknowledges; milliseconds on the wire.
    pub ack_delay: Duration,
    /// How long it keeps a session without links; milliseconds on the wire.
    pub resume: Duration,
}

/// What the server answers behind the 101.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Welcome {
    /// The ordinal it answers.
    pub ordinal: Ordinal,
    /// The session.
    pub session: SessionId,
    /// For a new session: its secret, never sent again.
    pub secret: Option<[u8; 32]>,
    /// Which cluster, server and boot answered; 0 is no cluster.
    pub cluster: u64,
    /// Names the server, stable over restarts.
    pub server: u64,
    /// Names the table of sessions.
    pub boot: u64,
    /// Opaque words the client repeats so that a balancer finds the owner; at most 32 bytes.
    pub owner: Bytes,
    /// Opaque words that replace costly authentication for a while; at most 256 bytes.
    pub ticket: Bytes,
    /// Final counts the client may not know yet.
    pub ended: Vec<FinalCount>,
    /// What the server can take.
    pub parameters: Parameters,
}

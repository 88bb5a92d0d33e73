//! Frames about the session itself, and the codes it ends with.

use std::time::Duration;

/// Why a session, a link or a flow ended, as told to the other side. The wire fixes the numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Code {
    /// Ended because its work is done.
    Done,
    /// A frame, record or field could not be read, or may not stand where it stood.
    Malformed,
    /// A limit both sides know was exceeded.
    Limit,
    /// An acknowledgement or a final count that cannot be true.
    Count,
    /// A critical frame or parameter of unknown type.
    Unknown,
    /// The grant does not allow it, or no longer does.
    Denied,
    /// A newer incarnation of the same client took over.
    Evicted,
    /// The server knows no such session.
    UnknownSession,
    /// The ordinal was used or burnt; a fresh one will do.
    OrdinalBurnt,
    /// The proof of attachment is wrong.
    BadProof,
    /// No room: memory, sessions, links or flows.
    Full,
    /// The server is shutting down or restarting.
    GoingAway,
    /// No common version of the protocol.
    Version,
    /// Nothing was heard for too long.
    Silent,
    /// A control batch was lost with link after link.
    Poison,
    /// The name could not be resolved, or the socket not be opened.
    Unreachable,
    /// The flow was idle.
    Idle,
    /// The client's incarnation is older than one already seen.
    Stale,
    /// A code of a newer version.
    Other(u64),
}

/// The session is over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Close {
    /// Why.
    pub code: Code,
    /// Words for a person; at most 123 bytes, may be empty.
    pub reason: String,
}

/// The sender will go away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GoAway {
    /// Why.
    pub reason: GoAwayReason,
    /// How long to wait before dialling again; milliseconds on the wire.
    pub after: Duration,
}

/// Why a GOAWAY was sent. The wire fixes the numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GoAwayReason {
    /// Finish what is under way.
    Drain,
    /// Another server has more room.
    Rebalance,
    /// The session lives elsewhere now.
    Moved,
    /// The process ends.
    Shutdown,
    /// The grant was withdrawn.
    Revoked,
    /// A reason of a newer version.
    Other(u64),
}

/// Refuses a hello that came as a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refuse {
    /// Why.
    pub code: Code,
    /// How long to wait before trying again; milliseconds on the wire.
    pub retry_after: Option<Duration>,
}

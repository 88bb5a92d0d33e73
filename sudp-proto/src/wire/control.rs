//! Frames about the session itself, and the codes it ends with.

use std::time::Duration;

use crate::error::Violation;

use super::varint::{Reader, malformed};
use super::{MAX_REASON, clip, frame, millis};

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
    /// The grant has ended: the credential behind it was good until now.
    Expired,
    /// Something sealed does not open: another key, or it was changed on the way.
    Sealing,
    /// Links are sealed there, and this one is not.
    Unsealed,
    /// A code of a newer version.
    Other(u64),
}

impl Code {
    /// The number on the wire.
    pub const fn to_u64(self) -> u64 {
        match self {
            Self::Done => 0,
            Self::Malformed => 1,
            Self::Limit => 2,
            Self::Count => 3,
            Self::Unknown => 4,
            Self::Denied => 5,
            Self::Evicted => 6,
            Self::UnknownSession => 7,
            Self::OrdinalBurnt => 8,
            Self::BadProof => 9,
            Self::Full => 10,
            Self::GoingAway => 11,
            Self::Version => 12,
            Self::Silent => 13,
            Self::Poison => 14,
            Self::Unreachable => 15,
            Self::Idle => 16,
            Self::Stale => 17,
            Self::Expired => 21,
            Self::Sealing => 22,
            Self::Unsealed => 23,
            Self::Other(number) => number,
        }
    }

    /// The code of a number; never [`Code::Other`] for one that has a name.
    pub const fn from_u64(number: u64) -> Self {
        match number {
            0 => Self::Done,
            1 => Self::Malformed,
            2 => Self::Limit,
            3 => Self::Count,
            4 => Self::Unknown,
            5 => Self::Denied,
            6 => Self::Evicted,
            7 => Self::UnknownSession,
            8 => Self::OrdinalBurnt,
            9 => Self::BadProof,
            10 => Self::Full,
            11 => Self::GoingAway,
            12 => Self::Version,
            13 => Self::Silent,
            14 => Self::Poison,
            15 => Self::Unreachable,
            16 => Self::Idle,
            17 => Self::Stale,
            21 => Self::Expired,
            22 => Self::Sealing,
            23 => Self::Unsealed,
            18..=20 | 24.. => Self::Other(number),
        }
    }

    pub(super) fn parse(body: &mut Reader<'_>) -> Result<Self, Violation> {
        body.varint().map(Self::from_u64)
    }
}

/// The session is over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Close {
    /// Why.
    pub code: Code,
    /// Words for a person; at most 123 bytes, may be empty.
    pub reason: String,
}

impl Close {
    /// Appends this as a frame; a reason that is too long is cut.
    pub fn emit(&self, out: &mut Vec<u8>) {
        frame::put(out, frame::CLOSE, &[self.code.to_u64()], clip(&self.reason, MAX_REASON).as_bytes());
    }

    pub(super) fn parse(body: &mut Reader<'_>) -> Result<Self, Violation> {
        let code = Code::parse(body)?;
        if body.len() > MAX_REASON {
            return Err(Violation::new(Code::Limit, "reason over 123 bytes"));
        }
        let Ok(reason) = str::from_utf8(body.remainder()) else {
            return Err(malformed("reason is not UTF-8"));
        };
        Ok(Self { code, reason: reason.to_owned() })
    }
}

/// The sender will go away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GoAway {
    /// Why.
    pub reason: GoAwayReason,
    /// How long to wait before dialling again; milliseconds on the wire.
    pub after: Duration,
}

impl GoAway {
    /// Appends this as a frame.
    pub fn emit(&self, out: &mut Vec<u8>) {
        frame::put(out, frame::GOAWAY, &[self.reason.to_u64(), millis(self.after)], &[]);
    }

    pub(super) fn parse(body: &mut Reader<'_>) -> Result<Self, Violation> {
        let reason = GoAwayReason::from_u64(body.varint()?);
        Ok(Self { reason, after: Duration::from_millis(body.varint()?) })
    }
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

impl GoAwayReason {
    /// The number on the wire.
    pub const fn to_u64(self) -> u64 {
        match self {
            Self::Drain => 0,
            Self::Rebalance => 1,
            Self::Moved => 2,
            Self::Shutdown => 3,
            Self::Revoked => 4,
            Self::Other(number) => number,
        }
    }

    /// The reason of a number; never [`GoAwayReason::Other`] for one that has a name.
    pub const fn from_u64(number: u64) -> Self {
        match number {
            0 => Self::Drain,
            1 => Self::Rebalance,
            2 => Self::Moved,
            3 => Self::Shutdown,
            4 => Self::Revoked,
            5.. => Self::Other(number),
        }
    }
}

/// Refuses a hello that came as a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refuse {
    /// Why.
    pub code: Code,
    /// How long to wait before trying again; milliseconds on the wire.
    pub retry_after: Option<Duration>,
    /// Which server speaks; 0 is none.
    pub server: u64,
}

impl Refuse {
    /// Appends this as a frame.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let wait = self.retry_after.map_or(0, millis);
        let fields = [self.code.to_u64(), wait, self.server];
        let count = if self.server != 0 { 3 } else { 1 + usize::from(wait != 0) };
        frame::put(out, frame::REFUSE, &fields[..count], &[]);
    }

    pub(super) fn parse(body: &mut Reader<'_>) -> Result<Self, Violation> {
        let code = Code::parse(body)?;
        let mut field = || if body.is_empty() { Ok(0) } else { body.varint() };
        let (wait, server) = (field()?, field()?);
        Ok(Self { code, retry_after: (wait != 0).then(|| Duration::from_millis(wait)), server })
    }
}

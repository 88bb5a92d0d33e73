//! What travels between the two halves of a session: messages of frames.
//!
//! A message is the payload of one WebSocket message. It is a sequence of frames, acknowledgements
//! first; a frame is `type, length, body`, all numbers are varints. Unknown frames of odd type are
//! skipped, unknown ones of even type are a [`Violation`]. `docs/SPEC.md`
//! defines every byte.

pub mod ack;
pub mod address;
pub(crate) mod base64;
pub mod batch;
pub mod control;
pub mod flow;
mod frame;
pub mod hello;
pub mod sealed;
mod tlv;
pub mod varint;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::error::Violation;

use varint::{Reader, malformed};

pub use ack::{Ack, LinkDown};
pub use address::{Address, Host};
pub use batch::{BatchHead, Class, Record, Records};
pub use control::{Close, Code, GoAway, GoAwayReason, Refuse};
pub use flow::{Bind, Bound, Closed, Control, FlowClose, Open, Totals};
pub use frame::{Frame, next_frame};
pub use hello::{Attach, FinalCount, Hello, Parameters, Welcome};
pub use sealed::{SEALED_FOUNDING, SEALED_JOINING, SEALED_WELCOME, SealedHello, is_sealed};

/// Numbers a batch, per session and direction, from 1; never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Number(pub u64);

/// Names a link of a session, from 1; drawn fresh for every dial, never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ordinal(pub u64);

impl Ordinal {
    /// The link that makes a session.
    pub const FIRST: Self = Self(1);

    fn parse(body: &mut Reader<'_>) -> Result<Self, Violation> {
        match body.varint()? {
            0 => Err(malformed("ordinal 0")),
            ordinal => Ok(Self(ordinal)),
        }
    }
}

/// Names a flow of a session: odd when the client opened it, even when the server did; never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FlowId(pub u64);

impl FlowId {
    /// Marks the records that are controls.
    pub const CONTROL: Self = Self(0);

    fn parse(body: &mut Reader<'_>) -> Result<Self, Violation> {
        match Self(body.varint()?) {
            Self::CONTROL => Err(malformed("flow 0 in a control")),
            flow => Ok(flow),
        }
    }
}

/// Names a tunnel of a session; the client chooses it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TunnelId(pub u64);

/// Names a session on its server.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(pub [u8; 16]);

/// Words of a server that replace costly authentication for a while; at most [`MAX_TICKET`] bytes, opaque to the client,
/// and as good as a password.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Ticket(pub Bytes);

impl Ticket {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Ticket {
    /// Leaves out the words: they open doors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({} bytes)", self.0.len())
    }
}

/// Largest payload of a record: what one UDP datagram can carry over IPv4.
pub const MAX_PAYLOAD: usize = 65_507;
/// Largest control, its type included.
pub const MAX_CONTROL: usize = 1_024;
/// Largest hello before base64url, sealed or not; its header value then has at most 1,014 bytes.
pub const MAX_HELLO: usize = 760;
/// Largest welcome.
pub const MAX_WELCOME: usize = 1_024;
/// Longest name of a host.
pub const MAX_NAME: usize = 253;
/// Longest name of a client.
pub const MAX_CLIENT: usize = 64;
/// Longest reason of a CLOSE.
pub const MAX_REASON: usize = 123;
/// Longest owner in a welcome.
pub const MAX_OWNER: usize = 32;
/// Longest ticket in a welcome.
pub const MAX_TICKET: usize = 256;
/// Most ordinals that a hello lists as alive.
pub const MAX_ALIVE: usize = 16;
/// Most final counts in a hello or welcome.
pub const MAX_ENDED: usize = 24;

/// A type or tag that no version will ever define: odd, so every reader skips it.
pub const fn grease(n: u64) -> u64 {
    0x21 + 2 * 0x1f * (n % (1 << 32))
}

/// As much of `text` as fits in `limit` bytes.
fn clip(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(varint::MAX)
}

#[inline]
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(varint::MAX)
}

#[cfg(test)]
mod tests;

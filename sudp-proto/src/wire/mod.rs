//! What travels between the two halves of a session: messages of frames.
//!
//! A message is the payload of one WebSocket message. It is a sequence of frames, acknowledgements
//! first; a frame is `type, length, body`, all numbers are varints. Unknown frames of odd type are
//! skipped, unknown ones of even type are a [`Violation`](crate::error::Violation). `docs/SPEC.md`
//! defines every byte.

pub mod ack;
pub mod batch;
pub mod control;
pub mod flow;
pub mod hello;
pub mod varint;

use bytes::Bytes;

pub use ack::{Ack, LinkDown};
pub use batch::{BatchHead, Class, Record, Records};
pub use control::{Close, Code, GoAway, GoAwayReason, Refuse};
pub use flow::{Address, Bind, Bound, Closed, Control, FlowClose, Host, Open, Totals};
pub use hello::{Attach, FinalCount, Hello, Parameters, Welcome};

/// Numbers a batch, per session and direction, from 1; never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Number(pub u64);

/// Names a link of a session, from 1; drawn fresh for every dial, never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ordinal(pub u64);

/// Names a flow of a session: odd when the client opened it, even when the server did; never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FlowId(pub u64);

/// Names a tunnel of a session; the client chooses it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TunnelId(pub u64);

/// Names a session on its server.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(pub [u8; 16]);

/// One frame of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    /// How many batches of this link were processed.
    Ack(Ack),
    /// Acknowledge what came before this at once.
    Ask,
    /// Many records under one number; the bytes are read with [`Records`].
    Batch(BatchHead, Bytes),
    /// The session is over, and why.
    Close(Close),
    /// The sender will go away: dial elsewhere or later.
    GoAway(GoAway),
    /// The hello, where the upgrade request could not carry it.
    Hello(Bytes),
    /// What is known of an ended link.
    LinkDown(LinkDown),
    /// Answer with a pong that carries the same number.
    Ping(u64),
    /// Answers a ping.
    Pong(u64),
    /// The hello that came as a message was refused.
    Refuse(Refuse),
    /// The sender drains and has nothing unresolved.
    Settled,
    /// Answers a hello.
    Welcome(Bytes),
}

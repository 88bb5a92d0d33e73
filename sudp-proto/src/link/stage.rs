//! Where a link is in its life.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::LinkEvent;
use super::control::Close;
use super::end::FrameFault;
use super::http::Scan;
use super::open::Open;
use super::proxy::Dialogue;
use super::upgrade::{ClientUpgrade, Question, RequestHead, ServerExpect, UpgradeRequest};

/// Which end of the stream this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    Client,
    Server,
}

impl Role {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Where the link is in its life.
#[derive(Debug)]
pub(super) enum Stage {
    Proxy(Dialogue, Box<ClientUpgrade>),
    /// The handshake of TLS; what follows it.
    Secure(Next),
    Answer(Question),
    Head(Scan, ServerExpect),
    Asked(Asked),
    Open(Open),
    Ended(Rest),
}

/// What a link does once it is private.
#[derive(Debug)]
pub(super) enum Next {
    /// A client asks for the upgrade.
    Ask(Box<ClientUpgrade>),
    /// A server waits for the request.
    Head(ServerExpect),
}

/// A request that the caller decides on.
#[derive(Debug)]
pub(super) enum Asked {
    Stranger(Box<RequestHead>),
    Upgrade(Box<UpgradeRequest>),
}

/// What arrived and waits for its turn.
#[derive(Debug)]
pub(super) enum Heard {
    Close(Instant, Close),
    End,
    Event(LinkEvent),
    Fault(Instant, FrameFault),
    /// A binary message, which may be sealed.
    Message(Instant, BytesMut),
    Ping(Bytes),
}

/// What is left to do with the stream of a link that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rest {
    /// Write what is left, then wait for the other side to end the stream.
    Wait,
    /// Write what is left, shut down, then wait for the other side to end the stream.
    Finish,
    /// Write what is left.
    Finished,
    /// Nothing.
    Done,
}

impl Rest {
    pub(super) fn after_end(self) -> Self {
        match self {
            Self::Wait | Self::Finish | Self::Finished => Self::Finished,
            Self::Done => Self::Done,
        }
    }
}

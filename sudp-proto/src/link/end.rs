//! Why a link ended.

use std::time::Duration;

use super::http::HeadFault;
use super::proxy::ProxyEnd;
use super::tls_end::TlsEnd;

/// Why a link ended. The session survives all of these.
///
/// Words of the remote appear escaped.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkEnd {
    /// This side gave it up without a word.
    #[error("given up")]
    Aborted,
    /// The server's 101 is not one that can be accepted; nothing behind it was read.
    #[error("bad answer to the upgrade: {0}")]
    Answer(#[from] AnswerFault),
    /// The remote sent a close frame, of its own or in answer to ours.
    #[error("closed by the remote with code {code} {reason:?}")]
    Closed {
        /// Its code; 1005 when it gave none.
        code: u16,
        /// Its words, escaped.
        reason: Box<str>,
    },
    /// The upstream proxy did not let us through.
    #[error("proxy: {0}")]
    Proxy(#[from] ProxyEnd),
    /// The HTTP server answered something other than an upgrade.
    #[error("{0}")]
    Refused(Refusal),
    /// The remote's request was refused, by its faults or by [`Link::refuse`](super::Link::refuse).
    #[error("request refused with status {status}: {fault}")]
    Request {
        /// What it was told.
        status: u16,
        /// What was wrong.
        fault: RequestFault,
    },
    /// A stage took too long.
    #[error("{0} took too long")]
    Timeout(LinkStage),
    /// TLS did not come about, or broke.
    #[error("tls: {0}")]
    Tls(#[from] TlsEnd),
    /// It has sealed as many messages as a link may.
    #[error("the link has sealed as many messages as one may")]
    Spent,
    /// The stream ended before the closing handshake.
    #[error("stream ended without a close frame")]
    Truncated,
    /// The remote broke the WebSocket protocol; nothing it sent afterwards was read.
    #[error("{0}")]
    Violation(#[from] FrameFault),
}

/// A part of a link's life that has a deadline.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LinkStage {
    /// Waiting for an upstream proxy.
    #[error("proxy")]
    Proxy,
    /// The handshake of TLS.
    #[error("tls handshake")]
    Tls,
    /// A server waits for the request.
    #[error("request head")]
    Head,
    /// A client waits for the answer to its request.
    #[error("answer to the upgrade")]
    Answer,
    /// A message has begun and not ended.
    #[error("message")]
    Message,
    /// Waiting for the other side's close frame.
    #[error("close handshake")]
    Close,
}

/// What a server answered instead of an upgrade.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("upgrade refused with status {status}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What may help.
    pub kind: RefusalKind,
    /// How long to wait before trying again, between 1 s and 5 minutes.
    pub retry_after: Option<Duration>,
    /// The number of a [`Code`](crate::wire::Code), if a SUDP server gave one.
    pub code: Option<u64>,
    /// The id of the SUDP server that speaks, if it gave one.
    pub server: Option<u64>,
}

/// What may help after a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefusalKind {
    /// Another configuration: this is no SUDP server, or it does not want us.
    Permanent,
    /// Another address; redirects are not followed.
    Redirect,
    /// Time.
    Transient,
}

/// What a server found wrong with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFault {
    /// The caller refused it.
    #[error("not wanted")]
    Denied,
    /// A field that must stand once stands twice.
    #[error("field {0} stands twice")]
    Duplicate(&'static str),
    /// Bytes came behind the head before the answer.
    #[error("bytes behind the head")]
    Early,
    /// A field is missing or has a value that cannot be.
    #[error("field {0} is missing or bad")]
    Field(&'static str),
    /// The syntax of the head.
    #[error("{0}")]
    Head(#[from] HeadFault),
    /// A page that may not come here.
    #[error("origin not allowed")]
    Origin,
    /// Another version of WebSocket than 13.
    #[error("version of websocket is not 13")]
    Version,
}

/// What a client found wrong with a 101.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerFault {
    /// The proof that our key was read is wrong, missing or doubled.
    #[error("wrong proof of the key")]
    Accept,
    /// An extension, and none was offered.
    #[error("extension that was not offered")]
    Extension,
    /// A field is missing or has a value that cannot be.
    #[error("field {0} is missing or bad")]
    Field(&'static str),
    /// The syntax of the head.
    #[error("{0}")]
    Head(#[from] HeadFault),
    /// Too many interim answers.
    #[error("too many interim answers")]
    Interim,
    /// A subprotocol that was not offered.
    #[error("subprotocol that was not offered")]
    Subprotocol,
}

/// What was wrong with a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameFault {
    /// A close frame whose body is one byte or has a code that may not be sent.
    #[error("bad code in a close frame")]
    CloseCode,
    /// A continuation of nothing, or a new message inside another.
    #[error("fragments out of order")]
    Continuation,
    /// A control frame in fragments or with more than 125 bytes.
    #[error("control frame too long or in fragments")]
    Control,
    /// A length not in its shortest form, or with its highest bit set.
    #[error("bad length of a frame")]
    Length,
    /// A client's frame without a mask, or a server's with one.
    #[error("frame masked by the wrong side")]
    Mask,
    /// A frame type that is reserved.
    #[error("reserved frame type")]
    Opcode,
    /// A reserved bit, although no extension was agreed.
    #[error("reserved bit set")]
    Reserved,
    /// A message above the limit, seen in the head of its frame.
    #[error("message too long")]
    Size,
    /// A message on a sealed link that does not open.
    #[error("sealed message does not open: it was changed, left out, repeated or moved on the way")]
    Sealed,
    /// More small fragments than the limit.
    #[error("too many small fragments")]
    SmallFragments,
    /// Text, where only bytes are spoken.
    #[error("text on a binary link")]
    Text,
    /// Text or a reason that is not UTF-8.
    #[error("bad utf-8")]
    Utf8,
}

impl FrameFault {
    /// The close code that tells the remote.
    pub const fn code(self) -> u16 {
        match self {
            Self::CloseCode
            | Self::Continuation
            | Self::Control
            | Self::Length
            | Self::Mask
            | Self::Opcode
            | Self::Reserved => 1002,
            Self::Text => 1003,
            Self::Utf8 => 1007,
            Self::SmallFragments => 1008,
            Self::Size => 1009,
            Self::Sealed => SEALED,
        }
    }
}

/// 4000 and [`Code::Sealing`](crate::wire::Code::Sealing).
const SEALED: u16 = 4021;

//! A frame: `type, length, body`.

use bytes::{Buf as _, Bytes};

use crate::error::Violation;

use super::varint::{self, Reader, malformed};
use super::{Ack, BatchHead, Close, Code, GoAway, LinkDown, MAX_HELLO, MAX_WELCOME, Refuse, SEALED_WELCOME, is_sealed};

/// One frame of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    /// How many batches of this link were processed.
    Ack(Ack),
    /// Acknowledge what came before this at once.
    Ask,
    /// Many records under one number; the bytes are read with [`Records`](super::Records).
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

impl Frame {
    /// Appends this frame.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ack(ack) => ack.emit(out),
            Self::Ask => put(out, ASK, &[], &[]),
            Self::Batch(head, records) => {
                head.emit(records.len(), out);
                out.extend_from_slice(records);
            }
            Self::Close(close) => close.emit(out),
            Self::GoAway(go_away) => go_away.emit(out),
            Self::Hello(hello) => put(out, HELLO, &[], hello),
            Self::LinkDown(link_down) => link_down.emit(out),
            Self::Ping(number) => put(out, PING, &[*number], &[]),
            Self::Pong(number) => put(out, PONG, &[*number], &[]),
            Self::Refuse(refuse) => refuse.emit(out),
            Self::Settled => put(out, SETTLED, &[], &[]),
            Self::Welcome(welcome) => put(out, WELCOME, &[], welcome),
        }
    }
}

/// Takes the next frame off a message, or `None` at its end; unknown frames of odd type are skipped.
///
/// Nothing is copied: batches, hellos and welcomes are slices of the message.
pub fn next_frame(message: &mut Bytes) -> Result<Option<Frame>, Violation> {
    while !message.is_empty() {
        let mut reader = Reader::new(message);
        let kind = reader.varint()?;
        let length = reader.varint()?;
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= reader.len()) else {
            return Err(malformed("frame longer than its message"));
        };
        message.advance(message.len() - reader.len());
        let body = message.split_to(length);
        if let Some(frame) = parse(kind, body)? {
            return Ok(Some(frame));
        }
    }
    Ok(None)
}

/// Appends a frame whose body is numbers and then bytes.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, kind: u64, numbers: &[u64], bytes: &[u8]) {
    let length: usize = numbers.iter().map(|number| varint::len(*number)).sum();
    varint::put(out, kind);
    varint::put(out, u64::try_from(length + bytes.len()).unwrap_or(varint::MAX));
    for number in numbers {
        varint::put(out, *number);
    }
    out.extend_from_slice(bytes);
}

fn parse(kind: u64, mut body: Bytes) -> Result<Option<Frame>, Violation> {
    let mut reader = Reader::new(&body);
    let frame = match kind {
        BATCH => {
            let head = BatchHead::parse(&mut reader)?;
            body.advance(body.len() - reader.len());
            return Ok(Some(Frame::Batch(head, body)));
        }
        HELLO => return capped(body, MAX_HELLO).map(|body| Some(Frame::Hello(body))),
        WELCOME => {
            let sealed = if is_sealed(&body) { SEALED_WELCOME } else { 0 };
            return capped(body, MAX_WELCOME + sealed).map(|body| Some(Frame::Welcome(body)));
        }
        ACK => Frame::Ack(Ack::parse(&mut reader)?),
        ASK => Frame::Ask,
        CLOSE => Frame::Close(Close::parse(&mut reader)?),
        GOAWAY => Frame::GoAway(GoAway::parse(&mut reader)?),
        LINK_DOWN => Frame::LinkDown(LinkDown::parse(&mut reader)?),
        PING => Frame::Ping(reader.varint()?),
        PONG => Frame::Pong(reader.varint()?),
        REFUSE => Frame::Refuse(Refuse::parse(&mut reader)?),
        SETTLED => Frame::Settled,
        unknown if unknown % 2 == 1 => return Ok(None),
        _ => return Err(Violation::new(Code::Unknown, "unknown critical frame")),
    };
    reader.finish()?;
    Ok(Some(frame))
}

fn capped(body: Bytes, limit: usize) -> Result<Bytes, Violation> {
    if body.len() > limit { Err(Violation::new(Code::Limit, "hello or welcome over its limit")) } else { Ok(body) }
}

pub(super) const BATCH: u64 = 0x02;
pub(super) const ACK: u64 = 0x04;
pub(super) const LINK_DOWN: u64 = 0x06;
const PING: u64 = 0x08;
const PONG: u64 = 0x0a;
pub(super) const GOAWAY: u64 = 0x0c;
const SETTLED: u64 = 0x0e;
pub(super) const CLOSE: u64 = 0x10;
const HELLO: u64 = 0x12;
const WELCOME: u64 = 0x14;
pub(super) const REFUSE: u64 = 0x16;
const ASK: u64 = 0x18;

//! Frames: what comes in is checked before a byte of it is kept, what goes out is masked as it is copied.

use std::io::Cursor;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::control::Close;
use super::end::FrameFault;
use super::mask::Mask;
use super::utf8::Utf8;
use super::{LinkLimits, Role};
use crate::rng::Rng;

/// Something whole that has arrived.
#[derive(Debug)]
pub(super) enum Incoming {
    Close(Close),
    Message(BytesMut),
    Ping(Bytes),
    Pong,
    Text(Bytes),
}

/// Turns bytes into messages and control frames.
///
/// A message in one frame is a slice of the caller's buffer, and waits there until it is whole. One in
/// several frames is gathered as its bytes arrive, and so is text, which is refused at its first bad byte.
#[derive(Debug)]
pub(super) struct Reader {
    remote: Role,
    part: Option<Part>,
    message: Option<Gathered>,
}

/// The frame whose bytes are being gathered.
#[derive(Debug)]
struct Part {
    left: usize,
    last: bool,
    mask: Option<Mask>,
}

#[derive(Debug)]
struct Gathered {
    kind: Kind,
    bytes: BytesMut,
    small: usize,
}

#[derive(Debug)]
enum Kind {
    Binary,
    Text(Utf8),
}

/// A checked frame head.
struct Head {
    used: usize,
    length: usize,
    last: bool,
    opcode: OpCode,
    mask: Option<Mask>,
}

impl Reader {
    /// Reads what `remote` sends.
    pub(super) fn new(remote: Role) -> Self {
        Self { remote, part: None, message: None }
    }

    /// Takes the next message or control frame from the front of `input`.
    pub(super) fn next(&mut self, limits: &LinkLimits, input: &mut BytesMut) -> Result<Option<Incoming>, FrameFault> {
        loop {
            if self.part.is_some() {
                match self.gather(input)? {
                    Gather::Starved => return Ok(None),
                    Gather::Frame => continue,
                    Gather::Message(incoming) => return Ok(Some(incoming)),
                }
            }
            let Some(head) = Head::parse(input, self.remote)? else { return Ok(None) };
            let whole = match head.opcode {
                OpCode::Control(control) => return take_control(&head, control, input),
                OpCode::Data(data) => self.admit(&head, data, limits)?,
            };
            if whole {
                return Ok(take_body(&head, input).map(Incoming::Message));
            }
            input.advance(head.used);
            self.part = Some(Part { left: head.length, last: head.last, mask: head.mask });
        }
    }

    /// Whether a message has begun and not ended, given what lies in the caller's buffer.
    pub(super) fn is_within(&self, input: &BytesMut) -> bool {
        self.part.is_some() || self.message.is_some() || !input.is_empty()
    }

    /// How many bytes the frame at the front of `input` still lacks, as far as it is known.
    pub(super) fn missing(&self, input: &BytesMut) -> usize {
        match (&self.part, Head::parse(input, self.remote)) {
            (Some(part), _) => part.left.saturating_sub(input.len()),
            (None, Ok(Some(head))) => (head.used + head.length).saturating_sub(input.len()),
            (None, Ok(None) | Err(_)) => 0,
        }
    }

    /// Bytes of memory that hold fragments.
    pub(super) fn held(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.bytes.capacity())
    }

    /// Checks a data frame against the message it belongs to; says whether it is a message by itself.
    fn admit(&mut self, head: &Head, data: Data, limits: &LinkLimits) -> Result<bool, FrameFault> {
        let kind = match (data, &self.message) {
            (Data::Continue, Some(_)) => None,
            (Data::Binary, None) => Some(Kind::Binary),
            (Data::Text, None) if limits.text => Some(Kind::Text(Utf8::default())),
            (Data::Text, None) => return Err(FrameFault::Text),
            (Data::Continue, None) | (Data::Binary | Data::Text, Some(_)) => return Err(FrameFault::Continuation),
            (Data::Reserved(_), _) => return Err(FrameFault::Opcode),
        };
        let gathered = self.message.as_ref().map_or(0, |message| message.bytes.len());
        if head.length > limits.message.saturating_sub(gathered) {
            return Err(FrameFault::Size);
        }
        if head.last && matches!(kind, Some(Kind::Binary)) {
            return Ok(true);
        }
        if let Some(kind) = kind {
            self.message = Some(Gathered { kind, bytes: BytesMut::new(), small: 0 });
        }
        match &mut self.message {
            Some(message) => message.count(head.length, limits)?,
            None => unreachable!("a frame that begins or continues a message has one"),
        }
        Ok(false)
    }

    fn gather(&mut self, input: &mut BytesMut) -> Result<Gather, FrameFault> {
        let (Some(part), Some(message)) = (&mut self.part, &mut self.message) else {
            unreachable!("a frame that is gathered belongs to a message");
        };
        let mut bytes = input.split_to(part.left.min(input.len()));
        part.left -= bytes.len();
        if let Some(mask) = &mut part.mask {
            mask.apply(&mut bytes);
        }
        message.push(bytes)?;
        if part.left > 0 {
            return Ok(Gather::Starved);
        }
        let last = part.last;
        self.part = None;
        if !last {
            return Ok(Gather::Frame);
        }
        match self.message.take() {
            Some(message) => message.finish().map(Gather::Message),
            None => unreachable!("a frame that is gathered belongs to a message"),
        }
    }
}

enum Gather {
    Starved,
    Frame,
    Message(Incoming),
}

impl Gathered {
    /// Counts a fragment: many small ones cost more than the bytes they bring.
    fn count(&mut self, length: usize, limits: &LinkLimits) -> Result<(), FrameFault> {
        if length < SMALL {
            self.small += 1;
        }
        if self.small > limits.small_fragments {
            return Err(FrameFault::SmallFragments);
        }
        Ok(())
    }

    fn push(&mut self, bytes: BytesMut) -> Result<(), FrameFault> {
        if let Kind::Text(text) = &mut self.kind
            && !text.push(&bytes)
        {
            return Err(FrameFault::Utf8);
        }
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    fn finish(self) -> Result<Incoming, FrameFault> {
        match self.kind {
            Kind::Binary => Ok(Incoming::Message(self.bytes)),
            Kind::Text(text) if text.is_complete() => Ok(Incoming::Text(self.bytes.freeze())),
            Kind::Text(_) => Err(FrameFault::Utf8),
        }
    }
}

impl Head {
    fn parse(input: &BytesMut, remote: Role) -> Result<Option<Self>, FrameFault> {
        let mut cursor = Cursor::new(&input[..]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| FrameFault::Opcode)?;
        let Some((header, length)) = parsed else { return Ok(None) };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(FrameFault::Reserved);
        }
        if header.mask.is_some() != matches!(remote, Role::Client) {
            return Err(FrameFault::Mask);
        }
        if length > MAX_LENGTH || cursor.position() != u64::try_from(header.len(length)).unwrap_or(0) {
            return Err(FrameFault::Length);
        }
        if matches!(header.opcode, OpCode::Control(_)) && (!header.is_final || length > MAX_CONTROL) {
            return Err(FrameFault::Control);
        }
        Ok(Some(Self {
            used: header.len(length),
            length: usize::try_from(length).map_err(|_| FrameFault::Size)?,
            last: header.is_final,
            opcode: header.opcode,
            mask: header.mask.map(Mask::new),
        }))
    }
}

/// Takes a whole frame from the front of `input`, if it is there, as a slice of it.
fn take_body(head: &Head, input: &mut BytesMut) -> Option<BytesMut> {
    if input.len() < head.used.saturating_add(head.length) {
        return None;
    }
    input.advance(head.used);
    let mut body = input.split_to(head.length);
    if let Some(mut mask) = head.mask {
        mask.apply(&mut body);
    }
    Some(body)
}

fn take_control(head: &Head, control: Control, input: &mut BytesMut) -> Result<Option<Incoming>, FrameFault> {
    let Some(body) = take_body(head, input).map(BytesMut::freeze) else { return Ok(None) };
    match control {
        Control::Close => Close::parse(&body).map(|close| Some(Incoming::Close(close))),
        Control::Ping => Ok(Some(Incoming::Ping(body))),
        Control::Pong => Ok(Some(Incoming::Pong)),
        Control::Reserved(_) => Err(FrameFault::Opcode),
    }
}

/// Appends a frame; a client's under a fresh mask.
pub(super) fn put(opcode: OpCode, role: Role, parts: &[&[u8]], rng: &mut Rng, output: &mut BytesMut) {
    put_part(opcode, true, role, parts, rng, output);
}

/// Appends a message of `length` bytes in one frame; `write` appends its bytes, which are masked where they lie.
pub(super) fn put_whole<E>(
    length: usize,
    role: Role,
    rng: &mut Rng,
    output: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> Result<(), E>,
) -> Result<(), E> {
    let mask = put_head(OpCode::Data(Data::Binary), true, role, length, rng, output);
    let start = output.len();
    write(output)?;
    if let Some(mut mask) = mask {
        mask.apply(&mut output[start..]);
    }
    Ok(())
}

/// Writes a message in frames of at most `limit` bytes, for paths on which larger ones die.
pub(super) fn put_fragments(
    data: Data,
    limit: usize,
    role: Role,
    parts: &[&[u8]],
    rng: &mut Rng,
    output: &mut BytesMut,
) {
    let message = parts.concat();
    let mut opcode = OpCode::Data(data);
    let mut chunks = message.chunks(limit.max(SMALL)).peekable();
    while let Some(chunk) = chunks.next() {
        put_part(opcode, chunks.peek().is_none(), role, &[chunk], rng, output);
        opcode = OpCode::Data(Data::Continue);
    }
}

fn put_part(opcode: OpCode, last: bool, role: Role, parts: &[&[u8]], rng: &mut Rng, output: &mut BytesMut) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    match put_head(opcode, last, role, length, rng, output) {
        Some(mut mask) => parts.iter().for_each(|part| mask.append(part, output)),
        None => parts.iter().for_each(|part| output.put_slice(part)),
    }
}

/// Appends the head of a frame, and makes room for its body.
fn put_head(
    opcode: OpCode,
    last: bool,
    role: Role,
    length: usize,
    rng: &mut Rng,
    output: &mut BytesMut,
) -> Option<Mask> {
    let key = match role {
        Role::Client => Some(rng.array()),
        Role::Server => None,
    };
    output.reserve(length + MAX_HEAD);
    let header = FrameHeader { is_final: last, opcode, mask: key, ..FrameHeader::default() };
    let length = u64::try_from(length).expect("a slice has less than 2⁶⁴ bytes");
    header.format(length, &mut (&mut *output).writer()).expect("a growing buffer takes every byte");
    key.map(Mask::new)
}

/// Fragments below this are counted.
const SMALL: usize = 256;
const MAX_HEAD: usize = 14;
const MAX_CONTROL: u64 = 125;
const MAX_LENGTH: u64 = u64::MAX >> 1;

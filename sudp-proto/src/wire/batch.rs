//! Batches: records of one class under one number, immutable once cut.

use bytes::{Buf as _, Bytes};

use crate::error::Violation;

use super::varint::{self, Reader, malformed};
use super::{Address, Code, FlowId, MAX_PAYLOAD, Number, frame};

/// How the datagrams of a batch want to be treated. The wire fixes the numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// Replayed after a cut unless too old.
    Reliable = 0,
    /// Only what is fresh.
    Realtime = 1,
    /// Controls that must arrive: never stale, never dropped.
    Control = 2,
}

impl Class {
    /// The number on the wire.
    pub const fn to_u8(self) -> u8 {
        match self {
            Self::Reliable => 0,
            Self::Realtime => 1,
            Self::Control => 2,
        }
    }

    pub(super) fn from_u64(number: u64) -> Result<Self, Violation> {
        match number {
            0 => Ok(Self::Reliable),
            1 => Ok(Self::Realtime),
            2 => Ok(Self::Control),
            3.. => Err(malformed("unknown class")),
        }
    }
}

/// What stands before the records of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BatchHead {
    /// Its number.
    pub number: Number,
    /// The class of all its records.
    pub class: Class,
    /// The sender's clock in milliseconds, modulo 2³²; realtime batches carry it.
    pub clock: Option<u32>,
}

impl BatchHead {
    /// Appends everything of a batch frame that stands before its records, which take `body_len` bytes.
    ///
    /// The class alone decides whether a clock is written: a realtime batch without one says 0.
    #[inline]
    pub fn emit(&self, body_len: usize, out: &mut Vec<u8>) {
        let clock = match self.class {
            Class::Realtime => Some(self.clock.unwrap_or_default()),
            Class::Reliable | Class::Control => None,
        };
        let head = varint::len(self.number.0) + 1 + if clock.is_some() { 4 } else { 0 };
        varint::put(out, frame::BATCH);
        varint::put(out, u64::try_from(head + body_len).unwrap_or(varint::MAX));
        varint::put(out, self.number.0);
        out.push(self.class.to_u8() | if clock.is_some() { HAS_CLOCK } else { 0 });
        if let Some(clock) = clock {
            out.extend_from_slice(&clock.to_be_bytes());
        }
    }

    pub(super) fn parse(body: &mut Reader<'_>) -> Result<Self, Violation> {
        let number = Number(body.varint()?);
        if number.0 == 0 {
            return Err(malformed("batch number 0"));
        }
        let flags = body.byte()?;
        if flags & !(CLASS | HAS_CLOCK) != 0 {
            return Err(malformed("reserved bit of a batch"));
        }
        let class = Class::from_u64(u64::from(flags & CLASS))?;
        let clock = if flags & HAS_CLOCK != 0 { Some(u32::from_be_bytes(body.array()?)) } else { None };
        if clock.is_some() != (class == Class::Realtime) {
            return Err(malformed("clock without realtime, or realtime without clock"));
        }
        if body.is_empty() {
            return Err(malformed("batch without a record"));
        }
        Ok(Self { number, class, clock })
    }
}

/// One datagram or, for flow 0, one [`Control`](super::Control).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Whose it is; 0 for controls.
    pub flow: FlowId,
    /// Where it goes or came from, where that differs from what the flow's OPEN said.
    pub address: Option<Address>,
    /// Two ECN bits and a hop count, as the sender saw them.
    pub extension: Option<u8>,
    /// The datagram.
    pub payload: Bytes,
}

/// Reads the records of a batch one by one.
#[derive(Clone, Debug)]
pub struct Records {
    rest: Bytes,
}

impl Records {
    /// Starts at the first record of a batch.
    pub fn new(body: Bytes) -> Self {
        Self { rest: body }
    }

    /// Takes the next record, or `None` behind the last; behind a violation nothing follows.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "`?` reads better on this than on an item of an iterator")]
    pub fn next(&mut self) -> Result<Option<Record>, Violation> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let RecordHead { flow, address, extension, size, length } = match RecordHead::parse(&self.rest) {
            Ok(head) => head,
            Err(violation) => {
                self.rest.clear();
                return Err(violation);
            }
        };
        self.rest.advance(size);
        let payload = self.rest.split_to(length);
        Ok(Some(Record { flow, address, extension, payload }))
    }
}

/// What stands before a payload, and how long both are.
struct RecordHead {
    flow: FlowId,
    address: Option<Address>,
    extension: Option<u8>,
    size: usize,
    length: usize,
}

impl RecordHead {
    #[inline]
    fn parse(bytes: &[u8]) -> Result<Self, Violation> {
        let mut reader = Reader::new(bytes);
        let flow = FlowId(reader.varint()?);
        let sized = reader.varint()?;
        let flags = sized & (HAS_ADDRESS | HAS_EXTENSION);
        let length = usize::try_from(sized >> 2).unwrap_or(usize::MAX);
        if length > MAX_PAYLOAD {
            return Err(Violation::new(Code::Limit, "payload over 65507 bytes"));
        }
        let (mut address, mut extension) = (None, None);
        if flags != 0 {
            (address, extension) = options(flow, flags, &mut reader)?;
        }
        if length > reader.len() {
            return Err(malformed("record longer than its batch"));
        }
        Ok(Self { flow, address, extension, size: bytes.len() - reader.len(), length })
    }
}

fn options(flow: FlowId, flags: u64, reader: &mut Reader<'_>) -> Result<(Option<Address>, Option<u8>), Violation> {
    if flow == FlowId::CONTROL {
        return Err(malformed("control record with flags"));
    }
    let address = if flags & HAS_ADDRESS != 0 { Some(Address::parse(reader)?) } else { None };
    let extension = if flags & HAS_EXTENSION != 0 { Some(reader.byte()?) } else { None };
    Ok((address, extension))
}

/// Appends one record of at most [`MAX_PAYLOAD`] bytes.
#[inline]
pub fn emit_record(out: &mut Vec<u8>, flow: FlowId, address: Option<&Address>, extension: Option<u8>, payload: &[u8]) {
    debug_assert!(payload.len() <= MAX_PAYLOAD, "a datagram is never larger than UDP allows");
    varint::put(out, flow.0);
    varint::put(out, sized(payload.len(), address, extension));
    if let Some(address) = address {
        address.emit(out);
    }
    out.extend(extension);
    out.extend_from_slice(payload);
}

/// How many bytes [`emit_record`] appends.
#[inline]
pub fn record_len(flow: FlowId, address: Option<&Address>, extension: Option<u8>, payload_len: usize) -> usize {
    varint::len(flow.0)
        + varint::len(sized(payload_len, address, extension))
        + address.map_or(0, Address::wire_len)
        + usize::from(extension.is_some())
        + payload_len
}

#[inline]
fn sized(payload_len: usize, address: Option<&Address>, extension: Option<u8>) -> u64 {
    let flags = if address.is_some() { HAS_ADDRESS } else { 0 } | if extension.is_some() { HAS_EXTENSION } else { 0 };
    u64::try_from(payload_len).unwrap_or(varint::MAX) << 2 | flags
}

const CLASS: u8 = 0b011;
const HAS_CLOCK: u8 = 0b100;
const HAS_ADDRESS: u64 = 0b01;
const HAS_EXTENSION: u64 = 0b10;

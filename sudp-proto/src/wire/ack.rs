//! What a link's receiver says of it: counts, while it lives and when it has ended.

use std::time::Duration;

use crate::error::Violation;

use super::varint::{Reader, malformed};
use super::{Ordinal, frame, micros};

/// How many batches of this link were processed, duplicates included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ack {
    /// Batches since the link began.
    pub count: u64,
    /// How long the last of them waited for this; microseconds on the wire.
    pub delay: Duration,
}

impl Ack {
    /// Appends this as a frame.
    #[inline]
    pub fn emit(&self, out: &mut Vec<u8>) {
        frame::put(out, frame::ACK, &[self.count, micros(self.delay)], &[]);
    }

    pub(super) fn parse(body: &mut Reader<'_>) -> Result<Self, Violation> {
        Ok(Self { count: body.varint()?, delay: Duration::from_micros(body.varint()?) })
    }
}

/// What one side knows of a link that has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkDown {
    /// Which link.
    pub ordinal: Ordinal,
    /// How many batches the sender of this processed from it; absent when it has forgotten the link.
    pub count: Option<u64>,
    /// Whether the sender of this knows the other side's count.
    pub known: bool,
}

impl LinkDown {
    /// Appends this as a frame.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let known = if self.known { KNOWN } else { 0 };
        match self.count {
            Some(count) => frame::put(out, frame::LINK_DOWN, &[self.ordinal.0, known | HAS_COUNT, count], &[]),
            None => frame::put(out, frame::LINK_DOWN, &[self.ordinal.0, known], &[]),
        }
    }

    pub(super) fn parse(body: &mut Reader<'_>) -> Result<Self, Violation> {
        let ordinal = Ordinal::parse(body)?;
        let flags = u64::from(body.byte()?);
        if flags & !(HAS_COUNT | KNOWN) != 0 {
            return Err(malformed("reserved flag of a link down"));
        }
        let count = if flags & HAS_COUNT != 0 { Some(body.varint()?) } else { None };
        Ok(Self { ordinal, count, known: flags & KNOWN != 0 })
    }
}

const HAS_COUNT: u64 = 1;
const KNOWN: u64 = 2;

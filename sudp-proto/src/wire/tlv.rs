//! Tagged fields: `tag, length, value`, tags ascending.
//!
//! A reader that does not know a tag skips it when it is odd and refuses it when it is even.

use crate::error::Violation;

use super::Code;
use super::varint::{self, Reader, malformed};

/// Reads tagged fields one by one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tlvs<'a> {
    fields: Reader<'a>,
    last: Option<u64>,
}

impl<'a> Tlvs<'a> {
    pub(super) fn new(fields: Reader<'a>) -> Self {
        Self { fields, last: None }
    }

    /// Takes the next field.
    pub(super) fn take(&mut self) -> Result<Option<(u64, Value<'a>)>, Violation> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let tag = self.fields.varint()?;
        if self.last.is_some_and(|last| tag <= last) {
            return Err(malformed("tags do not ascend"));
        }
        self.last = Some(tag);
        let length = self.fields.varint()?;
        Ok(Some((tag, Value(self.fields.take(length)?))))
    }
}

/// The value of one field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a>(pub(super) &'a [u8]);

impl<'a> Value<'a> {
    pub(super) fn reader(self) -> Reader<'a> {
        Reader::new(self.0)
    }

    /// A value that is one number.
    pub(super) fn number(self) -> Result<u64, Violation> {
        self.whole(Reader::varint)
    }

    /// A value that is bytes of a fixed size.
    pub(super) fn array<const N: usize>(self) -> Result<[u8; N], Violation> {
        self.whole(Reader::array)
    }

    /// A value of at most `limit` bytes.
    pub(super) fn bytes(self, limit: usize) -> Result<&'a [u8], Violation> {
        if self.0.len() > limit {
            return Err(Violation::new(Code::Limit, "field longer than its limit"));
        }
        Ok(self.0)
    }

    /// A value that one parser uses up.
    pub(super) fn whole<T>(self, parse: impl FnOnce(&mut Reader<'a>) -> Result<T, Violation>) -> Result<T, Violation> {
        let mut reader = self.reader();
        let parsed = parse(&mut reader)?;
        reader.finish()?;
        Ok(parsed)
    }
}

/// Judges a tag that the caller does not know.
pub(super) fn unknown(tag: u64) -> Result<(), Violation> {
    if tag % 2 == 1 { Ok(()) } else { Err(Violation::new(Code::Unknown, "unknown critical field")) }
}

pub(super) fn put_bytes(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    varint::put(out, tag);
    varint::put(out, size(value));
    out.extend_from_slice(value);
}

pub(super) fn put_number(out: &mut Vec<u8>, tag: u64, number: u64) {
    let mut value = Vec::with_capacity(8);
    varint::put(&mut value, number);
    put_bytes(out, tag, &value);
}

/// The length of bytes in memory, as a number of the wire.
pub(super) fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(varint::MAX)
}

//! Variable-length numbers of up to 62 bits, as in QUIC.
//!
//! The two highest bits of the first byte say how many bytes there are: 1, 2, 4 or 8. Unlike QUIC,
//! a number longer than it need be is refused, so that a message has one encoding only.

use crate::error::Violation;

use super::Code;

/// The largest number that fits, 2⁶² − 1.
pub const MAX: u64 = (1 << 62) - 1;

/// Why a number could not be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// It fits in fewer bytes than it takes.
    NotMinimal,
    /// The bytes end inside it.
    Truncated,
}

impl From<Fault> for Violation {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotMinimal => malformed("varint longer than it need be"),
            Fault::Truncated => malformed("varint cut short"),
        }
    }
}

/// How many bytes a number takes.
#[inline]
pub const fn len(number: u64) -> usize {
    match number {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        0x4000_0000.. => 8,
    }
}

/// Appends a number; one above [`MAX`] is written as [`MAX`].
#[inline]
pub fn put(out: &mut Vec<u8>, number: u64) {
    let number = number.min(MAX);
    let bytes = number.to_be_bytes();
    match len(number) {
        1 => out.push(bytes[7]),
        2 => out.extend_from_slice(&[bytes[6] | 0x40, bytes[7]]),
        4 => out.extend_from_slice(&[bytes[4] | 0x80, bytes[5], bytes[6], bytes[7]]),
        _ => out.extend_from_slice(&(number | 0xc0 << 56).to_be_bytes()),
    }
}

/// Reads the number that `bytes` begin with, and says how many of them it took.
#[inline]
pub fn read(bytes: &[u8]) -> Result<(u64, usize), Fault> {
    match bytes.first() {
        None => Err(Fault::Truncated),
        Some(&first) if first < 0x40 => Ok((u64::from(first), 1)),
        Some(&first) => read_long(first, bytes),
    }
}

#[inline]
fn read_long(first: u8, bytes: &[u8]) -> Result<(u64, usize), Fault> {
    let (number, size) = match first >> 6 {
        1 => (u64::from(u16::from_be_bytes(chunk(bytes)?) & 0x3fff), 2),
        2 => (u64::from(u32::from_be_bytes(chunk(bytes)?) & 0x3fff_ffff), 4),
        _ => (u64::from_be_bytes(chunk(bytes)?) & MAX, 8),
    };
    if len(number) != size {
        return Err(Fault::NotMinimal);
    }
    Ok((number, size))
}

#[inline]
fn chunk<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.first_chunk().copied().ok_or(Fault::Truncated)
}

/// Takes fields off the front of bytes that are all there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Violation> {
        let (number, size) = read(self.rest)?;
        self.rest = &self.rest[size..];
        Ok(number)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Violation> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        let Some((field, rest)) = self.rest.split_first_chunk() else {
            return Err(malformed("field cut short"));
        };
        self.rest = rest;
        Ok(*field)
    }

    /// Takes as many bytes as the remote declared, if they are there.
    pub(super) fn take(&mut self, declared: u64) -> Result<&'a [u8], Violation> {
        let taken = usize::try_from(declared).ok().and_then(|size| self.rest.split_at_checked(size));
        let Some((field, rest)) = taken else {
            return Err(malformed("declared length beyond the end"));
        };
        self.rest = rest;
        Ok(field)
    }

    /// Takes everything that is left.
    pub(super) fn remainder(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Refuses bytes behind the last field.
    pub(super) fn finish(self) -> Result<(), Violation> {
        if self.is_empty() { Ok(()) } else { Err(malformed("bytes behind the last field")) }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

pub(super) const fn malformed(what: &'static str) -> Violation {
    Violation::new(Code::Malformed, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGES: [(u64, &[u8]); 8] = [
        (0, &[0]),
        (63, &[0x3f]),
        (64, &[0x40, 0x40]),
        (16_383, &[0x7f, 0xff]),
        (16_384, &[0x80, 0, 0x40, 0]),
        ((1 << 30) - 1, &[0xbf, 0xff, 0xff, 0xff]),
        (1 << 30, &[0xc0, 0, 0, 0, 0x40, 0, 0, 0]),
        (MAX, &[0xff; 8]),
    ];

    #[test]
    fn d1_4_every_size_is_used_from_its_first_number_to_its_last() {
        for (number, bytes) in EDGES {
            let mut out = Vec::new();
            put(&mut out, number);
            assert_eq!(out, bytes);
            assert_eq!(len(number), bytes.len());
            assert_eq!(read(bytes), Ok((number, bytes.len())));
        }
    }

    #[test]
    fn d1_4_a_number_cut_at_any_byte_is_truncated() {
        for (_, bytes) in EDGES {
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end]), Err(Fault::Truncated));
            }
        }
    }

    #[test]
    fn d1_4_a_number_longer_than_it_need_be_is_refused() {
        let long: [&[u8]; 6] = [
            &[0x40, 0],
            &[0x40, 0x3f],
            &[0x80, 0, 0, 1],
            &[0x80, 0, 0x3f, 0xff],
            &[0xc0, 0, 0, 0, 0, 0, 0, 1],
            &[0xc0, 0, 0, 0, 0x3f, 0xff, 0xff, 0xff],
        ];
        for bytes in long {
            assert_eq!(read(bytes), Err(Fault::NotMinimal), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_stands_behind_a_number_is_left_alone() {
        let mut reader = Reader::new(&[0x40, 0x40, 7, 8]);
        assert_eq!(reader.varint(), Ok(64));
        assert_eq!(reader.byte(), Ok(7));
        assert_eq!(reader.finish().map_err(|violation| violation.code), Err(Code::Malformed));
    }

    #[test]
    fn a_number_that_does_not_fit_is_written_as_the_largest() {
        let mut out = Vec::new();
        put(&mut out, u64::MAX);
        assert_eq!(out, [0xff; 8]);
    }
}

//! HTTP/1.1 heads, read strictly: one pass, CRLF only, capped in bytes and in fields.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

/// What is wrong with the syntax of a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeadFault {
    /// A control character, or a byte that may not stand where it stands.
    #[error("forbidden byte in the head")]
    Byte,
    /// A field continued on a further line.
    #[error("folded field in the head")]
    Fold,
    /// More bytes than [`LinkLimits::head`](super::LinkLimits::head) allows.
    #[error("head too long")]
    Length,
    /// A line that does not end in CR LF, or an empty one in front.
    #[error("line of the head ends badly")]
    Line,
    /// A field without a name, or space between the name and its colon.
    #[error("field of the head has no proper name")]
    Name,
    /// More fields than [`LinkLimits::headers`](super::LinkLimits::headers) allows.
    #[error("too many fields in the head")]
    Number,
    /// A first line that is neither a request nor a status line.
    #[error("first line of the head is malformed")]
    Start,
}

/// Looks for the end of a head, and remembers how far it has looked.
#[derive(Debug)]
pub(super) struct Scan {
    at: usize,
    fields: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Start,
    Line,
    Name,
    Value,
    Return,
    LastReturn,
}

impl Scan {
    pub(super) fn new() -> Self {
        Self { at: 0, fields: 0, place: Place::Start }
    }

    /// Takes the head from the front of `input` when it is complete.
    ///
    /// `input` must begin as it did in earlier calls.
    pub(super) fn take(
        &mut self,
        input: &mut BytesMut,
        bytes: usize,
        fields: usize,
    ) -> Result<Option<Head>, HeadFault> {
        while let Some(&byte) = input.get(self.at) {
            if self.at >= bytes {
                return Err(HeadFault::Length);
            }
            let done = matches!((self.place, byte), (Place::LastReturn, b'\n'));
            self.place = self.step(byte, fields)?;
            self.at += 1;
            if done {
                return Head::new(input.split_to(self.at).freeze()).map(Some);
            }
        }
        Ok(None)
    }

    fn step(&mut self, byte: u8, fields: usize) -> Result<Place, HeadFault> {
        match (self.place, byte) {
            (Place::Start, b'\r') if self.at > 0 => Ok(Place::Return),
            (Place::Start, b' '..=b'~') => Ok(Place::Start),
            (Place::Line, b'\r') => Ok(Place::LastReturn),
            (Place::Line, b' ' | b'\t') => Err(HeadFault::Fold),
            (Place::Line, byte) if is_token_byte(byte) && self.fields == fields => Err(HeadFault::Number),
            (Place::Line, byte) if is_token_byte(byte) => {
                self.fields += 1;
                Ok(Place::Name)
            }
            (Place::Name, b':') => Ok(Place::Value),
            (Place::Name, byte) if is_token_byte(byte) => Ok(Place::Name),
            (Place::Value, b'\r') => Ok(Place::Return),
            (Place::Value, byte) if is_value_byte(byte) => Ok(Place::Value),
            (Place::Return | Place::LastReturn, b'\n') => Ok(Place::Line),
            (Place::Return | Place::LastReturn, _) | (_, b'\r' | b'\n') => Err(HeadFault::Line),
            (Place::Start | Place::Value, _) => Err(HeadFault::Byte),
            (Place::Line | Place::Name, _) => Err(HeadFault::Name),
        }
    }
}

/// A complete head.
#[derive(Clone)]
pub(super) struct Head {
    raw: Bytes,
    start: Range<usize>,
    fields: Vec<(Range<usize>, Range<usize>)>,
}

impl Head {
    /// Cuts up bytes that a [`Scan`] has approved.
    fn new(raw: Bytes) -> Result<Self, HeadFault> {
        let mut lines = Lines { raw: &raw, at: 0 };
        let start = lines.next().ok_or(HeadFault::Start)?;
        let mut fields = Vec::new();
        for line in lines {
            let colon = raw[line.clone()].iter().position(|byte| *byte == b':').ok_or(HeadFault::Name)?;
            let value = trim(&raw, line.start + colon + 1..line.end);
            fields.push((line.start..line.start + colon, value));
        }
        Ok(Self { raw, start, fields })
    }

    pub(super) fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The first line.
    pub(super) fn start(&self) -> &str {
        str::from_utf8(&self.raw[self.start.clone()]).unwrap_or_default()
    }

    /// The values of all fields with this name, in order.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |(field, _)| self.raw[field.clone()].eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| &self.raw[value.clone()])
    }

    /// The value of the only field with this name.
    pub(super) fn one<'a>(&'a self, name: &'a str) -> Count<'a> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (None, _) => Count::None,
            (Some(value), None) => Count::One(value),
            (Some(_), Some(_)) => Count::Many,
        }
    }

    /// The members of a list, which may be spread over several fields.
    pub(super) fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }

    /// Whether a list has this member, in any case.
    pub(super) fn lists(&self, name: &str, member: &str) -> bool {
        self.list(name).any(|found| found.eq_ignore_ascii_case(member.as_bytes()))
    }
}

/// How often a field stands in a head, and its value if once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Count<'a> {
    None,
    One(&'a [u8]),
    Many,
}

struct Lines<'a> {
    raw: &'a [u8],
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let length = self.raw[self.at..].iter().position(|byte| *byte == b'\r')?;
        let line = self.at..self.at + length;
        self.at = line.end + 2;
        (!line.is_empty()).then_some(line)
    }
}

fn trim(raw: &[u8], range: Range<usize>) -> Range<usize> {
    let bytes = &raw[range.clone()];
    let start = range.start + (bytes.len() - bytes.trim_ascii_start().len());
    start..start + bytes.trim_ascii().len()
}

/// Whether `text` may be the name of a field.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Whether `text` may be the value of a field that we write.
pub(super) fn is_value(text: &str) -> bool {
    text.bytes().all(is_value_byte) && text.trim_ascii().len() == text.len()
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Appends a line.
pub(super) fn put_line(output: &mut BytesMut, line: &[&str]) {
    line.iter().for_each(|part| output.put_slice(part.as_bytes()));
    output.put_slice(b"\r\n");
}

/// Base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| chunk.get(at).copied().unwrap_or(0);
        let (a, b, c) = (byte(0), byte(1), byte(2));
        let sextets = [a >> 2, a << 4 & 0x30 | b >> 4, b << 2 & 0x3c | c >> 6, c & 0x3f];
        for (at, sextet) in sextets.into_iter().enumerate() {
            text.push(if at > chunk.len() { '=' } else { char::from(ALPHABET[usize::from(sextet)]) });
        }
    }
    text
}

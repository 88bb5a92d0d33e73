//! Walking along a WebSocket byte stream as a middlebox sees it: the HTTP head, then frames.

/// Where a walk along one direction of a WebSocket connection stands.
///
/// It holds no more than a frame header, whatever the sizes of the chunks it is given.
#[derive(Debug)]
pub struct Walker {
    at: At,
}

/// A stretch of the stream.
#[derive(Debug, Eq, PartialEq)]
pub enum Piece<'a> {
    /// Payload of the frame whose header came before, as it is on the wire.
    Body(&'a [u8]),
    /// A frame header is complete; its payload follows.
    Frame(Header),
    /// Bytes of the HTTP head.
    Head(&'a [u8]),
}

/// A frame header, and its bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Whether this frame ends its message.
    pub last: bool,
    /// What it carries.
    pub opcode: u8,
    /// Its mask, if it has one.
    pub mask: Option<[u8; 4]>,
    /// Payload bytes.
    pub len: u64,
    bytes: [u8; 14],
    size: usize,
}

#[derive(Debug)]
enum At {
    /// In the head, with so many bytes of its blank line seen.
    Head(usize),
    Header {
        bytes: [u8; 14],
        have: usize,
    },
    Body(u64),
}

impl Walker {
    /// A walk from the first byte of the HTTP head.
    pub fn new() -> Self {
        Self { at: At::Head(0) }
    }

    /// A walk from the first byte of a frame.
    pub fn at_frames() -> Self {
        Self { at: At::start() }
    }

    /// Whether the walk stands between two frames.
    pub fn between_frames(&self) -> bool {
        matches!(self.at, At::Header { have: 0, .. })
    }

    /// Takes the next piece off the front of `bytes`, or `None` when they are used up.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Piece<'a>> {
        while !bytes.is_empty() {
            match &mut self.at {
                At::Head(blank) => {
                    let (len, over) = head_len(blank, bytes);
                    if over {
                        self.at = At::start();
                    }
                    return Some(Piece::Head(split(bytes, len)));
                }
                At::Header { bytes: held, have } => {
                    let wanted = header_size(&held[..*have]);
                    let len = (wanted - *have).min(bytes.len());
                    held[*have..*have + len].copy_from_slice(split(bytes, len));
                    *have += len;
                    if *have >= 2 && *have == header_size(&held[..*have]) {
                        let header = Header::parse(*held, *have);
                        self.at = if header.len == 0 { At::start() } else { At::Body(header.len) };
                        return Some(Piece::Frame(header));
                    }
                }
                At::Body(left) => {
                    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= len as u64;
                    if *left == 0 {
                        self.at = At::start();
                    }
                    return Some(Piece::Body(split(bytes, len)));
                }
            }
        }
        None
    }
}

impl Default for Walker {
    fn default() -> Self {
        Self::new()
    }
}

impl At {
    fn start() -> Self {
        Self::Header { bytes: [0; 14], have: 0 }
    }
}

impl Header {
    /// A header with the shortest form of its length.
    pub fn new(last: bool, opcode: u8, mask: Option<[u8; 4]>, len: u64) -> Self {
        let mut bytes = [0; 14];
        bytes[0] = u8::from(last) << 7 | opcode;
        let mask_bit = u8::from(mask.is_some()) << 7;
        let mut size = 2;
        if let Ok(short) = u8::try_from(len)
            && short < 126
        {
            bytes[1] = mask_bit | short;
        } else if let Ok(middle) = u16::try_from(len) {
            bytes[1] = mask_bit | 126;
            bytes[2..4].copy_from_slice(&middle.to_be_bytes());
            size = 4;
        } else {
            bytes[1] = mask_bit | 127;
            bytes[2..10].copy_from_slice(&len.to_be_bytes());
            size = 10;
        }
        if let Some(mask) = mask {
            bytes[size..size + 4].copy_from_slice(&mask);
            size += 4;
        }
        Self { last, opcode, mask, len, bytes, size }
    }

    /// The header as it is on the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.size]
    }

    /// Whether this is a ping, pong or close.
    pub fn is_control(&self) -> bool {
        self.opcode >= 8
    }

    fn parse(bytes: [u8; 14], size: usize) -> Self {
        let masked = bytes[1] & 0x80 != 0;
        let rest = if masked { size - 4 } else { size };
        let len = match bytes[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([bytes[2], bytes[3]])),
            127 => bytes[2..10].iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
            short => u64::from(short),
        };
        let mask = masked.then(|| [bytes[rest], bytes[rest + 1], bytes[rest + 2], bytes[rest + 3]]);
        Self { last: bytes[0] & 0x80 != 0, opcode: bytes[0] & 0x0f, mask, len, bytes, size }
    }
}

/// How long a header is, as far as its first bytes tell.
fn header_size(start: &[u8]) -> usize {
    let [_, second, ..] = start else { return 2 };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 == 0 { 0 } else { 4 }
}

/// How many bytes belong to the head, and whether it ends with them.
fn head_len(blank: &mut usize, bytes: &[u8]) -> (usize, bool) {
    for (index, byte) in bytes.iter().enumerate() {
        let wanted = b"\r\n\r\n"[*blank];
        *blank = if *byte == wanted { *blank + 1 } else { usize::from(*byte == b'\r') };
        if *blank == 4 {
            return (index + 1, true);
        }
    }
    (bytes.len(), false)
}

fn split<'a>(bytes: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (front, rest) = bytes.split_at(len);
    *bytes = rest;
    front
}

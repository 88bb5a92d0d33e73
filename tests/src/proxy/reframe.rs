//! A proxy that cuts WebSocket messages into small fragments.

use std::collections::VecDeque;

use crate::net::Direction;
use crate::proxy::frames::{Header, Piece, Walker};

/// Both directions of a reframing proxy.
#[derive(Debug)]
pub(super) struct Reframe {
    up: Half,
    down: Half,
}

impl Reframe {
    pub(super) fn new(size: usize) -> Self {
        let size = (size.max(1) as u64).next_multiple_of(4);
        Self { up: Half::new(size), down: Half::new(size) }
    }

    pub(super) fn pass(&mut self, direction: Direction, bytes: &[u8], out: &mut VecDeque<u8>) {
        match direction {
            Direction::Up => self.up.pass(bytes, out),
            Direction::Down => self.down.pass(bytes, out),
        }
    }
}

#[derive(Debug)]
struct Half {
    size: u64,
    walker: Walker,
    /// The data frame that is being cut, with the payload bytes that no fragment was begun for.
    frame: Option<(Header, u64)>,
    /// Payload bytes missing in the fragment that was begun.
    open: u64,
}

impl Half {
    fn new(size: u64) -> Self {
        Self { size, walker: Walker::new(), frame: None, open: 0 }
    }

    fn pass(&mut self, mut bytes: &[u8], out: &mut VecDeque<u8>) {
        while let Some(piece) = self.walker.next(&mut bytes) {
            match piece {
                Piece::Head(head) => out.extend(head),
                Piece::Frame(header) if header.is_control() || header.len <= self.size => {
                    self.frame = None;
                    out.extend(header.bytes());
                }
                Piece::Frame(header) => {
                    self.frame = Some((header, header.len));
                    self.open = 0;
                }
                Piece::Body(body) => self.body(body, out),
            }
        }
    }

    fn body(&mut self, mut body: &[u8], out: &mut VecDeque<u8>) {
        let Some((header, left)) = &mut self.frame else { return out.extend(body) };
        while !body.is_empty() {
            if self.open == 0 {
                let opcode = if *left == header.len { header.opcode } else { 0 };
                self.open = self.size.min(*left);
                *left -= self.open;
                let last = header.last && *left == 0;
                out.extend(Header::new(last, opcode, header.mask, self.open).bytes());
            }
            let len = usize::try_from(self.open).unwrap_or(usize::MAX).min(body.len());
            out.extend(&body[..len]);
            self.open -= len as u64;
            body = &body[len..];
        }
    }
}

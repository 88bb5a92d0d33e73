//! A middlebox that changes what it carries.

use std::collections::VecDeque;

use crate::net::Direction;
use crate::proxy::frames::{Piece, Walker};

/// Flips a bit of the payloads of messages, each time so many bytes of a direction have passed.
#[derive(Debug)]
pub(super) struct Flip {
    every: u64,
    ways: [Way; 2],
}

#[derive(Debug)]
struct Way {
    walker: Walker,
    /// Bytes that still pass as they are.
    left: u64,
    /// Inside of a message, and not of a control frame.
    data: bool,
}

impl Flip {
    pub(super) fn new(every: u64) -> Self {
        let way = || Way { walker: Walker::new(), left: every, data: false };
        Self { every, ways: [way(), way()] }
    }

    pub(super) fn pass(&mut self, direction: Direction, bytes: &[u8], out: &mut VecDeque<u8>) {
        let way = &mut self.ways[super::index(direction)];
        let (start, mut rest) = (out.len(), bytes);
        out.extend(bytes);
        while let Some(piece) = way.walker.next(&mut rest) {
            match piece {
                Piece::Head(_) => {}
                Piece::Frame(header) => way.data = header.opcode < 8,
                Piece::Body(body) if way.data => {
                    let passes = body.len() as u64;
                    if passes <= way.left {
                        way.left -= passes;
                        continue;
                    }
                    let end = bytes.len() - rest.len();
                    let at = end - body.len() + usize::try_from(way.left).unwrap_or(0);
                    out[start + at] ^= 0x20;
                    way.left = self.every;
                }
                Piece::Body(_) => {}
            }
        }
    }
}

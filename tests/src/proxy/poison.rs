//! A middlebox that cannot bear certain bytes.

use crate::proxy::frames::{Piece, Walker};

/// Looks for a pattern in the unmasked payloads of one direction.
#[derive(Debug)]
pub(super) struct Poison {
    pattern: Vec<u8>,
    /// For each length of a match, the longest shorter match it ends with (Knuth, Morris, Pratt).
    fallback: Vec<usize>,
    matched: usize,
    walker: Walker,
    mask: [u8; 4],
    offset: usize,
}

impl Poison {
    pub(super) fn new(pattern: &[u8]) -> Self {
        let mut fallback = vec![0; pattern.len().max(1)];
        let mut length = 0;
        for index in 1..pattern.len() {
            while length > 0 && pattern[index] != pattern[length] {
                length = fallback[length - 1];
            }
            length += usize::from(pattern[index] == pattern[length]);
            fallback[index] = length;
        }
        let pattern = pattern.to_vec();
        Self { pattern, fallback, matched: 0, walker: Walker::new(), mask: [0; 4], offset: 0 }
    }

    /// Whether the pattern ends somewhere in these bytes.
    pub(super) fn finds(&mut self, mut bytes: &[u8]) -> bool {
        while let Some(piece) = self.walker.next(&mut bytes) {
            match piece {
                Piece::Head(_) => {}
                Piece::Frame(header) => {
                    self.mask = header.mask.unwrap_or([0; 4]);
                    self.offset = 0;
                }
                Piece::Body(body) => {
                    if self.finds_in(body) {
                        return true;
                    }
                }
            }
        }
        false
    }

    fn finds_in(&mut self, body: &[u8]) -> bool {
        for byte in body {
            let plain = byte ^ self.mask[self.offset % 4];
            self.offset += 1;
            while self.matched > 0 && plain != self.pattern[self.matched] {
                self.matched = self.fallback[self.matched - 1];
            }
            self.matched += usize::from(self.pattern.get(self.matched) == Some(&plain));
            if self.matched == self.pattern.len() && self.matched > 0 {
                self.matched = 0;
                return true;
            }
        }
        false
    }
}

//! Masking: an XOR with four bytes, eight at a time.

use bytes::{BufMut, BytesMut};

/// A mask, and how far into the payload it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask {
    /// The key twice, turned so that its lowest byte is the next to use.
    word: u64,
}

impl Mask {
    pub(super) fn new([a, b, c, d]: [u8; 4]) -> Self {
        Self { word: u64::from_le_bytes([a, b, c, d, a, b, c, d]) }
    }

    /// Masks or unmasks in place, and moves on by as many bytes.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_le_bytes(*word) ^ self.word).to_le_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.word.to_le_bytes()) {
            *byte ^= key;
        }
        self.turn(rest.len());
    }

    /// Appends a masked copy, and moves on by as many bytes.
    ///
    /// Each block is masked while it is still in the nearest cache.
    pub(super) fn append(&mut self, from: &[u8], to: &mut BytesMut) {
        to.reserve(from.len());
        for block in from.chunks(BLOCK) {
            let start = to.len();
            to.put_slice(block);
            self.apply(&mut to[start..]);
        }
    }

    fn turn(&mut self, bytes: usize) {
        for _ in 0..bytes % 4 {
            self.word = self.word.rotate_right(8);
        }
    }
}

/// A multiple of eight, well below the size of the nearest cache.
const BLOCK: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plainly(key: [u8; 4], bytes: &[u8]) -> Vec<u8> {
        bytes.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect()
    }

    proptest! {
        #[test]
        fn masking_in_pieces_is_masking_at_once(
            key: [u8; 4],
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
        ) {
            let expected = plainly(key, &pieces.concat());

            let (mut appended, mut copy) = (BytesMut::new(), Mask::new(key));
            let (mut applied, mut place) = (Vec::new(), Mask::new(key));
            for piece in &pieces {
                copy.append(piece, &mut appended);
                let mut piece = piece.clone();
                place.apply(&mut piece);
                applied.extend(piece);
            }

            prop_assert_eq!(&appended[..], &expected[..]);
            prop_assert_eq!(applied, expected);
        }
    }
}

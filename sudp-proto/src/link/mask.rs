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
        let mut chunks = bytes.chunks_exact_mut(8);
        for chunk in &mut chunks {
            self.xor(chunk);
        }
        let rest = chunks.into_remainder();
        for (byte, key) in rest.iter_mut().zip(self.word.to_le_bytes()) {
            *byte ^= key;
        }
        self.turn(rest.len());
    }

    /// Appends a masked copy, and moves on by as many bytes.
    ///
    /// The copy is masked block by block while it is still in registers or the nearest cache.
    pub(super) fn append(&mut self, from: &[u8], to: &mut BytesMut) {
        to.reserve(from.len());
        let (blocks, rest) = from.as_chunks::<BLOCK>();
        for block in blocks {
            let mut block = *block;
            block.chunks_exact_mut(8).for_each(|chunk| self.xor(chunk));
            to.put_slice(&block);
        }
        let start = to.len();
        to.put_slice(rest);
        self.apply(&mut to[start..]);
    }

    fn xor(&self, chunk: &mut [u8]) {
        for (byte, key) in chunk.iter_mut().zip(self.word.to_le_bytes()) {
            *byte ^= key;
        }
    }

    fn turn(&mut self, bytes: usize) {
        for _ in 0..bytes % 4 {
            self.word = self.word.rotate_right(8);
        }
    }
}

/// A multiple of eight that compilers turn into a few vector operations.
const BLOCK: usize = 128;

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

//! UTF-8 that arrives in pieces, refused at the first byte that cannot be continued.

/// Checks a text piece by piece.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8 {
    /// The beginning of a character whose end has not arrived.
    begun: [u8; 4],
    length: usize,
}

impl Utf8 {
    /// Whether the text can still be valid with this piece behind it.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> bool {
        while self.length > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return true };
            self.begun[self.length] = byte;
            self.length += 1;
            piece = rest;
            match std::str::from_utf8(&self.begun[..self.length]) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        let Err(error) = std::str::from_utf8(piece) else { return true };
        if error.error_len().is_some() {
            return false;
        }
        let tail = &piece[error.valid_up_to()..];
        self.begun[..tail.len()].copy_from_slice(tail);
        self.length = tail.len();
        true
    }

    /// Whether the text may end here.
    pub(super) fn is_complete(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytewise(bytes: &[u8]) -> Result<bool, usize> {
        let mut text = Utf8::default();
        for (at, byte) in bytes.iter().enumerate() {
            if !text.push(&[*byte]) {
                return Err(at);
            }
        }
        Ok(text.is_complete())
    }

    #[test]
    fn the_first_impossible_byte_is_refused() {
        for (bytes, outcome) in [
            (&b"caf\xc3\xa9"[..], Ok(true)),
            (b"caf\xc3", Ok(false)),
            (b"\xc0", Err(0)),
            (b"\xf5", Err(0)),
            (b"\x80", Err(0)),
            (b"\xe0\x80", Err(1)),
            (b"\xed\xa0", Err(1)),
            (b"\xf4\x90", Err(1)),
            (b"\xf4\x8f\xbf\xbf", Ok(true)),
            (b"\xf0\x9f\x92", Ok(false)),
            (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80", Err(12)),
        ] {
            assert_eq!(bytewise(bytes), outcome, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_are_judged_as_the_whole(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..12),
                "\\PC{0,12}".prop_map(String::into_bytes),
            ],
            cuts in prop::collection::vec(0usize..13, 0..4),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut text = Utf8::default();
            let possible = cuts.windows(2).all(|cut| text.push(&bytes[cut[0]..cut[1]]));
            prop_assert_eq!(possible && text.is_complete(), std::str::from_utf8(&bytes).is_ok());
        }
    }
}

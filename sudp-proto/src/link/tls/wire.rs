//! Encrypted bytes on their way out.

/// A buffer that is written at its end and read from its beginning.
///
/// Its memory stays initialised, for the encryption writes into slices.
#[derive(Debug, Default)]
pub(super) struct Wire {
    memory: Vec<u8>,
    from: usize,
    to: usize,
}

impl Wire {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.from..self.to]
    }

    pub(super) fn advance(&mut self, written: usize) {
        assert!(written <= self.to - self.from, "no more is written than there is");
        self.from += written;
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
            if self.memory.len() > IDLE {
                self.memory = Vec::new();
            }
        }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.room(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.to += bytes.len();
    }

    /// Lets `write` fill room of `guess` bytes, or of as many as it then asks for. None if it cannot.
    pub(super) fn fill(
        &mut self,
        guess: usize,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
    ) -> Option<()> {
        let written = match write(self.room(guess)) {
            Ok(written) => written,
            Err(required) => write(self.room(required?)).ok()?,
        };
        self.to += written;
        Some(())
    }

    /// Gives back memory that is not in use.
    pub(super) fn release(&mut self) {
        if self.from == self.to {
            *self = Self::default();
        }
    }

    pub(super) fn held(&self) -> usize {
        self.memory.capacity()
    }

    /// At least so many bytes behind the last.
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        if self.memory.len() - self.to < bytes {
            self.memory.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        if self.memory.len() - self.to < bytes {
            self.memory.resize(self.to + bytes, 0);
        }
        &mut self.memory[self.to..]
    }
}

/// Memory that is kept while nothing is on its way.
const IDLE: usize = 64 << 10;

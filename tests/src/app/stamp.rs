//! What is in the datagrams of the simulated applications.

use crate::clock::Nanos;

/// Names a datagram: whose it is, which one, and when it was sent.
///
/// It is the first 16 bytes of a payload; a filling that follows from it is the rest, so that a payload
/// that was altered, cut or mixed up is noticed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Stamp {
    /// The conversation, as whoever began it calls it; below 2³¹.
    pub flow: u32,
    /// Whether it is an answer of a service.
    pub answer: bool,
    /// Counted per flow from 0; answers have numbers of their own.
    pub sequence: u32,
    /// When it was sent, in microseconds since the epoch.
    pub sent_micros: u64,
}

impl Stamp {
    /// How long a payload must be to carry a stamp; shorter ones are empty.
    pub const SIZE: usize = 16;

    /// Writes a payload of `size` bytes to `into`, which is cleared; below [`Stamp::SIZE`] it is empty.
    pub fn emit(&self, size: usize, into: &mut Vec<u8>) {
        into.clear();
        if size < Self::SIZE {
            return;
        }
        let flow = self.flow << 1 | u32::from(self.answer);
        let len = u16::try_from(size).expect("a datagram has at most 65,507 bytes");
        into.extend_from_slice(&flow.to_be_bytes());
        into.extend_from_slice(&self.sequence.to_be_bytes());
        into.extend_from_slice(&self.sent_micros.to_be_bytes()[2..]);
        into.extend_from_slice(&len.to_be_bytes());
        into.resize(size, self.filling());
    }

    /// Reads the stamp of a payload, or `None` if the payload is not as it was sent.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (head, rest) = payload.split_first_chunk::<16>()?;
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let flow = u32::try_from(number(&head[..4])).ok()?;
        let sequence = u32::try_from(number(&head[4..8])).ok()?;
        let stamp = Self { flow: flow >> 1, answer: flow & 1 == 1, sequence, sent_micros: number(&head[8..14]) };
        let filling = stamp.filling();
        let altered = rest.iter().fold(0, |altered, byte| altered | (byte ^ filling));
        (altered == 0 && number(&head[14..]) == payload.len() as u64).then_some(stamp)
    }

    /// How long the datagram was under way at `now`, in nanoseconds.
    pub fn age(&self, now: Nanos) -> Nanos {
        now.saturating_sub(self.sent_micros * 1_000)
    }

    fn filling(&self) -> u8 {
        let [a, b, c, d] = self.sequence.to_be_bytes();
        let [e, f, g, h] = self.flow.to_be_bytes();
        a ^ b ^ c.rotate_left(3) ^ d ^ e ^ f ^ g.rotate_left(5) ^ h.rotate_left(1) ^ u8::from(self.answer)
    }
}

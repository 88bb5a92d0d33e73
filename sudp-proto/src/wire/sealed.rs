//! How sealed hellos and welcomes begin; what is inside of them is a matter of keys, and not of this.

use super::SessionId;

/// The first byte of the sealed hello that makes a session, and of its welcome.
pub const SEALED_FOUNDING: u8 = 2;
/// The first byte of a sealed hello that joins a session, and of its welcome.
pub const SEALED_JOINING: u8 = 3;
/// Most that sealing adds to a welcome.
pub const SEALED_WELCOME: usize = 1 + 32 + 16;

/// A hello that is sealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SealedHello<'a> {
    /// It makes a session: the first message of a handshake `IK`.
    Founding(&'a [u8]),
    /// It joins this session: the first message of a handshake `NNpsk0`.
    Joining(SessionId, &'a [u8]),
}

impl<'a> SealedHello<'a> {
    /// Reads how a hello begins; none if it is not sealed.
    pub fn read(raw: &'a [u8]) -> Option<Self> {
        match raw.split_first()? {
            (&SEALED_FOUNDING, message) => Some(Self::Founding(message)),
            (&SEALED_JOINING, rest) => {
                let (session, message) = rest.split_first_chunk()?;
                Some(Self::Joining(SessionId(*session), message))
            }
            _ => None,
        }
    }
}

/// Whether a hello or welcome says that it is sealed.
pub fn is_sealed(raw: &[u8]) -> bool {
    matches!(raw.first(), Some(&(SEALED_FOUNDING | SEALED_JOINING)))
}

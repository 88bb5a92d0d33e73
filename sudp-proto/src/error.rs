//! What can go wrong, and whose fault it is.

use crate::wire::Code;

/// The remote broke the protocol. It ends a link or a session with a code; it is never returned to
/// the application as an error of its own call.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what} ({code:?})")]
pub struct Violation {
    /// What the other side is told.
    pub code: Code,
    /// What was wrong, in words.
    pub what: &'static str,
}

impl Violation {
    /// Names a fault of the remote.
    pub const fn new(code: Code, what: &'static str) -> Self {
        Self { code, what }
    }
}

//! How an accepted stream moves to the session that its claim was granted.

use std::time::Instant;

use crate::driver::{Driver, Token};
use crate::wire::Code;

use super::{Incoming, Server};

/// A stream that has moved from one driver to another, with all that was read from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "whatever is behind the old token is to be put behind the new one"]
pub struct Joined {
    /// What its first driver called it; no [`Io::close`](crate::driver::Io::close) follows.
    pub from: Token,
    /// What the session's driver calls it, and has yet to try.
    pub to: Token,
    /// Whether the session took it. If not, the refusal is on its way out through it.
    pub taken: Result<(), Code>,
}

impl Driver<Incoming> {
    /// Grants the claim, and moves its stream to the driver of the session that it was admitted to. A turn
    /// of that driver is due afterwards.
    ///
    /// If the claim no longer stands, since its client has hung up or the decision took too long, there is
    /// nothing to move: the driver comes back as it was.
    pub fn join(mut self, now: Instant, session: &mut Driver<Server>) -> Result<Joined, Box<Self>> {
        if !self.endpoint().is_deciding() {
            return Err(Box::new(self));
        }
        let Some(stream) = self.release(Incoming::KEY) else { return Err(Box::new(self)) };
        let arrival = self.into_endpoint().grant().expect("a claim that stands can be granted");
        let (key, taken) = session.endpoint_mut().adopt(now, arrival);
        Ok(Joined { from: stream.token, to: session.adopt(key, stream.input), taken })
    }
}

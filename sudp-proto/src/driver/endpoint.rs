//! What the driver drives: a client, a server's half of a session, or a connection that is neither yet.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;

use crate::session::{Deadline, Session};

/// Names a stream of an endpoint: being dialled, or carrying a link. Never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key(pub u64);

/// What an endpoint needs done with streams and names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Order {
    /// Close a stream, whatever is still in it. Nothing about it is reported any more.
    Close(Key),
    /// Connect a stream; answer with [`Endpoint::handle_connected`] or [`Endpoint::handle_failed`].
    Dial {
        /// The stream.
        key: Key,
        /// Where to.
        to: SocketAddr,
    },
    /// Look a host up; answer with [`Endpoint::handle_resolved`], without answers if there are none.
    Resolve {
        /// What the answer is for; no stream has it yet.
        key: Key,
        /// The host, a name or an address.
        host: Box<str>,
        /// The port that goes with it.
        port: u16,
    },
}

/// A machine on bytes with streams, and with a session once there is one.
///
/// Implemented by [`Client`](crate::client::Client), [`Server`](crate::server::Server) and
/// [`Incoming`](crate::server::Incoming), and by nothing else.
pub trait Endpoint: sealed::Sealed {
    /// The session, once there is one.
    fn session(&mut self) -> Option<&mut Session>;

    /// The next order; they are asked for until there is none.
    fn poll_order(&mut self, now: Instant) -> Option<Order>;

    /// A host was looked up.
    fn handle_resolved(&mut self, now: Instant, key: Key, answers: &[SocketAddr]);

    /// A stream is connected.
    fn handle_connected(&mut self, now: Instant, key: Key);

    /// A stream could not be connected, or broke. It is closed already.
    fn handle_failed(&mut self, now: Instant, key: Key, why: io::ErrorKind);

    /// Bytes arrived on a stream; what is left in `input` is given again with the next ones.
    fn handle_input(&mut self, now: Instant, key: Key, input: &mut BytesMut);

    /// The other side has finished sending on a stream.
    fn handle_end(&mut self, now: Instant, key: Key);

    /// What to write to a stream next; first moves there what the session has to say, as far as the
    /// link has room. Less than 16 KiB is all there is to say for now.
    fn output(&mut self, now: Instant, key: Key) -> &[u8];

    /// So many bytes of the output were written.
    fn advance(&mut self, key: Key, written: usize);

    /// Whether the stream is to be finished once its output is written.
    fn wants_finish(&self, key: Key) -> bool;

    /// When [`handle_timeout`](Self::handle_timeout) is due, and why.
    fn poll_timeout(&self) -> Option<Deadline>;

    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);
}

pub(crate) mod sealed {
    /// Keeps [`Endpoint`](super::Endpoint) to the machines of this crate.
    pub trait Sealed {}
}

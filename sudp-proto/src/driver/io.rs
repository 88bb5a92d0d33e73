//! What the driver asks of the outside: non-blocking doors, each with a token.

use std::io;
use std::net::SocketAddr;

use bytes::{BufMut, Bytes};

/// Names one door: a stream, a UDP socket or a lookup.
///
/// A slot of a table and a generation, so that a late report about a door that is closed means
/// nothing. As one `u64` it fits the key of an epoll or mio registration.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Token {
    /// Its place in the table: small, and used again once the door is closed.
    pub index: u32,
    /// Which door of that place it is.
    pub generation: u32,
}

/// Which way a door became ready.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Way {
    /// Something can be read, received or collected.
    In,
    /// Something can be written or sent; a dial has come to something.
    Out,
}

/// What one attempt achieved, in bytes or in datagrams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Trying again at once may achieve more; nothing is armed.
    More(usize),
    /// No more is to be had; [`Driver::handle_ready`](super::Driver::handle_ready) follows when that changes.
    ///
    /// A short count says this without another system call, but where the other end may have finished
    /// behind the last bytes, and the doorbell will not ring for that again, it is [`Step::More`].
    Blocked(usize),
    /// The other end has finished sending. Only streams end, and only when read.
    End,
}

impl Step {
    /// Tries a system call that says how much it did: once, but for interruptions.
    ///
    /// "Would block" is [`Blocked`](Self::Blocked), all else is [`More`](Self::More): so whoever reads a
    /// stream with this makes [`End`](Self::End) of nothing.
    pub fn attempt(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Self> {
        loop {
            match call() {
                Ok(count) => return Ok(Self::More(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Self::Blocked(0)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether something that takes its time is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// It is done.
    Done,
    /// It goes on; [`Driver::handle_ready`](super::Driver::handle_ready) says when to ask again.
    Pending,
}

/// What a UDP socket is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Socket {
    /// For one flow, which sends to this address first, and perhaps to others of its family.
    ///
    /// It is not to be connected: the driver lets nobody in whom the flow has not sent to.
    Flow(SocketAddr),
    /// For everyone who sends to this address; port 0 lets the system choose.
    Listener(SocketAddr),
}

/// One datagram on its way out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Datagram {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub payload: Bytes,
}

/// Non-blocking doors to the outside, for every runtime, a bare loop and a simulator.
///
/// One rule for every method: *try now; after `Blocked` or `Pending`, a later
/// [`handle_ready`](super::Driver::handle_ready) says when to try again.* Nothing blocks, and neither
/// `WouldBlock` nor `Interrupted` comes out as an error. A report too many is harmless; one too few
/// stalls a door for good.
///
/// Each token is made known by the first call with it, and ended by one [`close`](Self::close),
/// whatever became of the door.
pub trait Io {
    /// Connects a stream: the first call begins, later ones collect.
    fn dial(&mut self, at: Token, to: SocketAddr) -> io::Result<Progress>;

    /// Reads what fits into `into`, with one system call. An error ends the stream.
    fn read(&mut self, at: Token, into: &mut impl BufMut) -> io::Result<Step>;

    /// Writes of `from` what the stream takes. An error ends the stream.
    fn write(&mut self, at: Token, from: &[u8]) -> io::Result<Step>;

    /// Finishes sending on a stream; reading goes on.
    fn finish(&mut self, at: Token) -> io::Result<()>;

    /// Opens a UDP socket and says where it is. It is armed for reading: nothing is tried before the
    /// first report.
    fn bind(&mut self, at: Token, socket: &Socket) -> io::Result<SocketAddr>;

    /// Receives what one system call yields, or a few tens of datagrams. What the system coalesced is
    /// split before `each` sees it; an empty datagram is one, too. An error ends nothing.
    fn recv(&mut self, at: Token, each: impl FnMut(SocketAddr, &[u8])) -> io::Result<Step>;

    /// Sends the first of `batch`, as many as one system call takes; the destinations may differ.
    ///
    /// An error speaks of the first datagram not counted, or of one that left earlier, and ends
    /// nothing. One too large for the socket is the system's `EMSGSIZE`, or
    /// [`io::ErrorKind::FileTooLarge`].
    fn send(&mut self, at: Token, batch: &[Datagram]) -> io::Result<Step>;

    /// Looks a host up, a name or an address: the first call begins, later ones collect.
    fn resolve(&mut self, at: Token, host: &str, port: u16, into: &mut Vec<SocketAddr>) -> io::Result<Progress>;

    /// Closes a door, or gives up what was begun behind it.
    fn close(&mut self, at: Token);
}

impl From<Token> for u64 {
    fn from(token: Token) -> Self {
        Self::from(token.generation) << 32 | Self::from(token.index)
    }
}

impl From<u64> for Token {
    fn from(number: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
        Self { generation: u32::from_be_bytes([a, b, c, d]), index: u32::from_be_bytes([e, f, g, h]) }
    }
}

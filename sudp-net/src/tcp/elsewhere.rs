//! What can be had of every system.

use std::io;

use socket2::{SockRef, Socket};

/// `EINPROGRESS` of the BSDs, which is the same on all of them.
#[cfg(unix)]
pub(super) const IN_PROGRESS: i32 = 36;

/// What a stream has sent so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Segments {
    pub(super) sent: u32,
    pub(super) retransmitted: u32,
}

pub(super) fn set_congestion(_socket: &SockRef<'_>, _name: &str) {}

pub(super) fn set_unsent(_socket: &SockRef<'_>, _bytes: u32) {}

/// Its sockets raise no signal by themselves.
pub(super) fn write(socket: &Socket, from: &[u8]) -> io::Result<usize> {
    socket.send(from)
}

pub(super) fn segments(_socket: &Socket) -> Option<Segments> {
    None
}

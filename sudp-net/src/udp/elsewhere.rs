//! What systems other than Linux answer where Linux has an answer of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::Socket;

use super::{Family, plain};

/// Asks for a receive buffer. Says what was obtained.
pub(super) fn ask_receive_buffer(socket: &Socket, bytes: usize) -> io::Result<usize> {
    // Some give as much as there is, others refuse what is too much.
    let mut asked = bytes;
    while socket.set_recv_buffer_size(asked).is_err() && asked > LITTLE {
        asked /= 2;
    }
    socket.recv_buffer_size()
}

/// No portable call says to which of our addresses a datagram came.
pub(super) fn tell_local_addresses(_: &Socket, _: Family) -> bool {
    false
}

/// The system chooses the source.
pub(super) fn send_from(socket: &Socket, to: SocketAddr, _: IpAddr, payload: &[u8]) -> io::Result<()> {
    plain::send(socket, to, payload)
}

/// No portable call counts drops.
pub(super) fn drops(_: &Socket) -> Option<u64> {
    None
}

/// Bytes that no system has reason to refuse.
const LITTLE: usize = 64 << 10;

//! What every system can: one datagram a call.

use std::io;
use std::net::SocketAddr;

use socket2::Socket;

use super::persist;

/// Sends one datagram.
pub(super) fn send(socket: &Socket, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
    let to = to.into();
    persist(|| socket.send_to(payload, &to)).map(drop)
}

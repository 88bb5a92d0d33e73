//! What Linux does for TCP streams.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::AsRawFd as _;

use rustix::net::{SendFlags, send};
use socket2::{SockRef, Socket};

pub(super) const IN_PROGRESS: i32 = libc::EINPROGRESS;

/// What a stream has sent so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Segments {
    pub(super) sent: u32,
    pub(super) retransmitted: u32,
}

pub(super) fn set_congestion(socket: &SockRef<'_>, name: &str) {
    // What the system does not have, it does without.
    let _ = socket.set_tcp_congestion(name.as_bytes());
}

pub(super) fn set_unsent(socket: &SockRef<'_>, bytes: u32) {
    // Likewise.
    let _ = socket.set_tcp_notsent_lowat(bytes);
}

pub(super) fn write(socket: &Socket, from: &[u8]) -> io::Result<usize> {
    Ok(send(socket, from, SendFlags::NOSIGNAL)?)
}

pub(super) fn segments(socket: &Socket) -> Option<Segments> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    #[expect(unsafe_code, reason = "no safe binding reads TCP_INFO")]
    // SAFETY: the descriptor is open while `socket` is borrowed; `info` has `length` bytes, of which the kernel
    // writes at most as many, and every pattern of bits in it, zeros included, is a `tcp_info`.
    let info = unsafe {
        let at = info.as_mut_ptr().cast();
        let done = libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, at, &raw mut length);
        (done == 0).then(|| info.assume_init())?
    };
    Some(Segments { sent: info.tcpi_segs_out, retransmitted: info.tcpi_total_retrans })
}

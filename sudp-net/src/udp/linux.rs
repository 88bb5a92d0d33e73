//! What Linux does better: many datagrams a call, some of them as one, and what it tells about them.
//!
//! The only file with `unsafe` in it: for options of a socket that no safe binding knows.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use libc::{c_int, socklen_t};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg, sockopt};
use socket2::{MsgHdr, SockAddr, Socket};
use sudp_proto::driver::Datagram;

use super::{Family, persist};

/// Datagrams that one call for mixed destinations takes.
pub(super) const MIXED: usize = 64;

/// What may leave as a train: one message that the system cuts into datagrams of equal length.
///
/// It saves the way through the system for all but one of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Offload {
    /// The longest datagram that may: 0 for none.
    longest: usize,
}

impl Offload {
    /// What a socket can; where it can, it also receives trains whole.
    pub(super) fn of(socket: &Socket) -> Self {
        // Sending trains is older than receiving them, so one answer is enough.
        let can = set(socket, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
        Self { longest: if can { usize::from(u16::MAX) } else { 0 } }
    }

    /// The longest train that a batch begins with; of one datagram, if it is none.
    pub(super) fn train(self, batch: &[Datagram]) -> &[Datagram] {
        let Some((first, rest)) = batch.split_first() else { return &[] };
        let length = first.payload.len();
        let (mut count, mut bytes) = (1, length);
        if length == 0 || length > self.longest {
            return &batch[..1];
        }
        for next in rest.iter().take(TRAIN - 1) {
            let part = next.payload.len();
            // An empty one at the end would vanish: nothing of it is in the message.
            if next.to != first.to || part > length || part == 0 || bytes + part > TRAIN_BYTES {
                break;
            }
            count += 1;
            bytes += part;
            if part < length {
                break;
            }
        }
        &batch[..count]
    }

    /// A train of such datagrams was refused, and its first one alone was not.
    pub(super) fn refuse(&mut self, length: usize, error: &io::Error) {
        let too_long = error.raw_os_error() != Some(libc::EIO) && length > ANY_PATH;
        self.longest = if too_long { length - 1 } else { 0 };
    }
}

/// Whether an error may speak of a train as such: of hardware that cannot, or of datagrams that need fragments.
pub(super) fn may_speak_of_train(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE))
}

/// Sends a train, from an address of ours if one is given.
pub(super) fn send_train(socket: &Socket, to: SocketAddr, from: Option<IpAddr>, train: &[Datagram]) -> io::Result<()> {
    let length = train.first().and_then(|first| u16::try_from(first.payload.len()).ok());
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    let mut control = Control::new();
    control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &length.to_ne_bytes());
    if let Some(from) = from {
        control.push_source(from);
    }
    let parts: Vec<_> = train.iter().map(|datagram| IoSlice::new(&datagram.payload)).collect();
    send_message(socket, to, &parts, &control)
}

/// Sends one datagram from an address of ours.
pub(super) fn send_from(socket: &Socket, to: SocketAddr, from: IpAddr, payload: &[u8]) -> io::Result<()> {
    let mut control = Control::new();
    control.push_source(from);
    send_message(socket, to, &[IoSlice::new(payload)], &control)
}

/// Sends datagrams to wherever they go. Says how many have left.
pub(super) fn send_mixed<'a>(
    socket: &Socket,
    batch: impl ExactSizeIterator<Item = &'a Datagram>,
    family: Family,
) -> io::Result<usize> {
    let mut parts = Vec::with_capacity(batch.len());
    parts.extend(batch.map(|datagram| {
        let to = SocketAddrAny::from(family.on_socket(datagram.to));
        (to, [IoSlice::new(&datagram.payload)], SendAncillaryBuffer::default())
    }));
    let mut messages = Vec::with_capacity(parts.len());
    messages.extend(parts.iter_mut().map(|(to, payload, control)| MMsgHdr::new_with_addr(to, &*payload, control)));
    persist(|| Ok(sendmmsg(socket, &mut messages, SendFlags::empty())?))
}

/// Asks for a receive buffer. Says what was obtained.
pub(super) fn ask_receive_buffer(socket: &Socket, bytes: usize) -> io::Result<usize> {
    // Who administers the network may have more than the limit; others get as much of it as there is.
    if sockopt::set_socket_recv_buffer_size_force(socket, bytes).is_err() {
        let _ = socket.set_recv_buffer_size(bytes);
    }
    // The kernel takes twice what it is asked for, to account for its overhead, and reports that.
    Ok(socket.recv_buffer_size()? / 2)
}

/// Has the system tell to which of our addresses each datagram came. Says whether it will.
pub(super) fn tell_local_addresses(socket: &Socket, family: Family) -> bool {
    match family {
        Family::V4 => set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1).is_ok(),
        Family::V6 | Family::Both => set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1).is_ok(),
    }
}

/// Datagrams that the system has dropped for want of receive buffer.
pub(super) fn drops(socket: &Socket) -> Option<u64> {
    let mut values = [0_u32; 9];
    let mut length: socklen_t = 36;
    // SAFETY: the descriptor is that of a live socket, and the call writes no more than `length` bytes, which
    // `values` has, of plain numbers.
    #[expect(unsafe_code, reason = "no safe binding has SO_MEMINFO")]
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (outcome == 0 && length == 36).then(|| u64::from(values[8]))
}

/// Sets an option that is a number.
pub(super) fn set(socket: &Socket, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the descriptor is that of a live socket, and the call reads four bytes, those of `value`.
    #[expect(unsafe_code, reason = "no safe binding has UDP_GRO and IP_PKTINFO")]
    let outcome = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), 4) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn send_message(socket: &Socket, to: SocketAddr, parts: &[IoSlice<'_>], control: &Control) -> io::Result<()> {
    let to = SockAddr::from(to);
    let message = MsgHdr::new().with_addr(&to).with_buffers(parts).with_control(control.bytes());
    persist(|| socket.sendmsg(&message, 0)).map(drop)
}

/// What accompanies a message, in the kernel's layout: for each item its length, level and type, and then the
/// item, padded to a machine word.
struct Control {
    bytes: [u8; 64],
    used: usize,
}

impl Control {
    fn new() -> Self {
        Self { bytes: [0; 64], used: 0 }
    }

    fn push_source(&mut self, from: IpAddr) {
        let mut item = [0; 20];
        match from {
            // The interface's index, then the address to send from, then one that counts only when receiving.
            IpAddr::V4(from) => {
                item[4..8].copy_from_slice(&from.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &item[..12]);
            }
            // The address, then the interface's index.
            IpAddr::V6(from) => {
                item[..16].copy_from_slice(&from.octets());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &item);
            }
        }
    }

    fn push(&mut self, level: c_int, kind: c_int, item: &[u8]) {
        let length = HEADER + item.len();
        let room = &mut self.bytes[self.used..];
        room[..WORD].copy_from_slice(&length.to_ne_bytes());
        room[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
        room[WORD + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        room[HEADER..length].copy_from_slice(item);
        self.used += length.next_multiple_of(WORD);
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

/// Datagrams in a train.
const TRAIN: usize = 64;
/// Bytes in a train.
const TRAIN_BYTES: usize = 65_000;
/// Bytes of payload that every path carries whole: 1,280 of a packet, less the headers of IPv6 and UDP.
const ANY_PATH: usize = 1_232;
const WORD: usize = size_of::<usize>();
const HEADER: usize = WORD + 8;

//! What Linux does better: many datagrams a call, some of them as one, and what it tells about them.
//!
//! The only file with `unsafe` in it: for calls and options that no safe binding knows.

use std::io::{self, IoSlice};
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use libc::{c_int, c_uint, socklen_t};
use rustix::net::sockopt;
use socket2::{MsgHdr, SockAddr, Socket};
use sudp_proto::driver::Datagram;

use super::{Family, persist};

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
    let parts: Vec<_> = train.iter().map(|datagram| IoSlice::new(&datagram.payload)).collect();
    send_message(socket, to, &parts, &Control::of(train, from))
}

/// Sends one datagram from an address of ours.
pub(super) fn send_from(socket: &Socket, to: SocketAddr, from: IpAddr, payload: &[u8]) -> io::Result<()> {
    let mut control = Control::new();
    control.push_source(from);
    send_message(socket, to, &[IoSlice::new(payload)], &control)
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

/// Messages that leave together, by one call.
///
/// A call costs as much as the way of a small datagram through the system, so it is worth its `unsafe`: the safe
/// bindings have no place for what accompanies a message.
pub(super) struct Messages<'a> {
    messages: Vec<Message>,
    parts: Vec<IoSlice<'a>>,
}

struct Message {
    to: SockAddr,
    control: Control,
    parts: usize,
}

impl<'a> Messages<'a> {
    pub(super) fn with_capacity(datagrams: usize) -> Self {
        Self { messages: Vec::with_capacity(datagrams.min(MESSAGES)), parts: Vec::with_capacity(datagrams) }
    }

    pub(super) fn is_full(&self) -> bool {
        self.messages.len() >= MESSAGES
    }

    pub(super) fn push(&mut self, to: SocketAddr, from: Option<IpAddr>, train: &'a [Datagram]) {
        self.parts.extend(train.iter().map(|datagram| IoSlice::new(&datagram.payload)));
        self.messages.push(Message { to: to.into(), control: Control::of(train, from), parts: train.len() });
    }

    /// Sends them, until one is refused. Says how many datagrams have left; an error speaks of the first message.
    pub(super) fn send(&self, socket: &Socket) -> io::Result<usize> {
        let mut rest = &self.parts[..];
        let mut headers = Vec::with_capacity(self.messages.len());
        for message in &self.messages {
            let (parts, others) = rest.split_at(message.parts);
            rest = others;
            headers.push(message.header(parts));
        }
        let (descriptor, count) = (socket.as_raw_fd(), c_uint::try_from(headers.len()).unwrap_or(0));
        let sent = persist(|| {
            // SAFETY: the descriptor is that of a live socket. The headers are as many as is said, and what they
            // point to is borrowed by `self` for longer than the call, which only reads it.
            #[expect(unsafe_code, reason = "no safe binding sends messages with control data of their own")]
            let outcome = unsafe { libc::sendmmsg(descriptor, headers.as_mut_ptr(), count, 0) };
            usize::try_from(outcome).map_err(|_| io::Error::last_os_error())
        })?;
        Ok(self.messages.iter().take(sent).map(|message| message.parts).sum())
    }
}

impl Message {
    fn header(&self, parts: &[IoSlice<'_>]) -> libc::mmsghdr {
        // SAFETY: it is made of numbers and pointers, and zero is a value of each.
        #[expect(unsafe_code, reason = "on some systems it has padding that cannot be named")]
        let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
        let message = &mut header.msg_hdr;
        message.msg_name = self.to.as_ptr().cast_mut().cast();
        message.msg_namelen = self.to.len();
        // `IoSlice` is laid out as `iovec` is.
        message.msg_iov = parts.as_ptr().cast_mut().cast();
        message.msg_iovlen = parts.len() as _;
        message.msg_control = self.control.bytes().as_ptr().cast_mut().cast();
        message.msg_controllen = self.control.used as _;
        header
    }
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

    /// What a train, or a datagram alone, is accompanied by.
    fn of(train: &[Datagram], from: Option<IpAddr>) -> Self {
        let mut control = Self::new();
        if let [first, _, ..] = train {
            // No train is made of datagrams for which this is too little.
            let length = u16::try_from(first.payload.len()).unwrap_or(u16::MAX);
            control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &length.to_ne_bytes());
        }
        if let Some(from) = from {
            control.push_source(from);
        }
        control
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
/// Messages in a call.
const MESSAGES: usize = 64;
/// Bytes of payload that every path carries whole: 1,280 of a packet, less the headers of IPv6 and UDP.
const ANY_PATH: usize = 1_232;
const WORD: usize = size_of::<usize>();
const HEADER: usize = WORD + 8;

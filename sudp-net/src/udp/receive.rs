//! What comes in: a thread's buffers, and the splitting of what the system joined.

use std::array;
use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::OnceLock;

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use socket2::Socket;

use super::{FEW, Received};

/// Messages that one call can take, each a datagram or several that the system joined.
pub(super) const SLOTS: usize = BATCH_SIZE;

/// Buffers for what comes in.
///
/// There is one set a thread, made when it first receives: with one a socket, five thousand flows would need 10 GiB.
pub(super) struct Scratch {
    bytes: Vec<u8>,
    slot: usize,
    meta: [RecvMeta; SLOTS],
}

/// The receiving half of `quinn-udp`, which is the same for every socket.
///
/// It is made for a socket of its own, because making it for one sets a dozen options there: ours are to leave
/// large datagrams in fragments, and nobody reads their timestamps.
pub(super) fn state() -> io::Result<&'static UdpSocketState> {
    static STATE: OnceLock<UdpSocketState> = OnceLock::new();
    if let Some(state) = STATE.get() {
        return Ok(state);
    }
    let socket = UdpSocket::bind(&[(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()][..])?;
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    Ok(STATE.get_or_init(|| state))
}

/// Receives with one call into up to `slots` of the thread's buffers.
pub(super) fn receive(
    state: &UdpSocketState,
    socket: &Socket,
    slots: usize,
    truncated: &mut u64,
    each: impl FnMut(&RecvMeta, &[u8]),
) -> io::Result<Received> {
    // Whoever receives from within `each` finds none here, and makes a set of its own.
    let mut scratch = SCRATCH.take().unwrap_or_else(|| Box::new(Scratch::new(SLOT)));
    let received = scratch.receive(state, socket, slots, truncated, each);
    SCRATCH.set(Some(scratch));
    received
}

impl Scratch {
    pub(super) fn new(slot: usize) -> Self {
        Self { bytes: vec![0; SLOTS * slot], slot, meta: [RecvMeta::default(); SLOTS] }
    }

    pub(super) fn receive(
        &mut self,
        state: &UdpSocketState,
        socket: &Socket,
        slots: usize,
        truncated: &mut u64,
        each: impl FnMut(&RecvMeta, &[u8]),
    ) -> io::Result<Received> {
        // To lay out buffers for many would cost more than to take one datagram.
        if slots > FEW {
            self.receive_into::<SLOTS>(state, socket, slots, truncated, each)
        } else {
            self.receive_into::<FEW>(state, socket, slots, truncated, each)
        }
    }

    /// Receives into up to `slots` of the first `N` buffers.
    fn receive_into<const N: usize>(
        &mut self,
        state: &UdpSocketState,
        socket: &Socket,
        slots: usize,
        truncated: &mut u64,
        mut each: impl FnMut(&RecvMeta, &[u8]),
    ) -> io::Result<Received> {
        let mut rest = self.bytes.chunks_exact_mut(self.slot);
        let mut buffers: [IoSliceMut<'_>; N] = array::from_fn(|_| IoSliceMut::new(rest.next().unwrap_or_default()));
        let slots = slots.min(N);
        let count = state.recv(UdpSockRef::from(socket), &mut buffers[..slots], &mut self.meta[..slots])?;

        let mut datagrams = 0;
        for (meta, buffer) in self.meta.iter().zip(self.bytes.chunks_exact(self.slot)).take(count) {
            let Some(message) = buffer.get(..meta.len).filter(|message| message.len() < buffer.len()) else {
                // No message is as large as a slot, so this one was larger.
                *truncated += 1;
                continue;
            };
            if message.is_empty() {
                datagrams += 1;
                each(meta, message);
            }
            for payload in message.chunks(meta.stride.max(1)) {
                datagrams += 1;
                each(meta, payload);
            }
        }
        Ok(Received { datagrams, full: count == slots })
    }
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Bytes of a slot: more than any datagram has, or any number of them that the system joins.
const SLOT: usize = 64 << 10;

//! Doors that do as they are told, and remember what was asked of them.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use bytes::BufMut;

use super::super::{Datagram, Io, Progress, Socket, Step, Token, Way};

/// Every door of one driver.
#[derive(Default)]
pub(super) struct Bench {
    pub(super) streams: BTreeMap<Token, Pipe>,
    pub(super) sockets: BTreeMap<Token, Plug>,
    pub(super) lookups: BTreeMap<Token, String>,
    /// What dials come to, the oldest first; then they all succeed at once.
    pub(super) dials: VecDeque<io::Result<Progress>>,
    /// What lookups come to, the oldest first; then they all go on.
    pub(super) answers: VecDeque<io::Result<Vec<SocketAddr>>>,
    /// Why nothing can be bound.
    pub(super) unbindable: Option<ErrorKind>,
    pub(super) closed: Vec<Token>,
    pub(super) calls: Calls,
}

/// How often was asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Calls {
    pub(super) dials: usize,
    pub(super) reads: usize,
    pub(super) receives: usize,
    pub(super) sends: usize,
    pub(super) resolves: usize,
}

/// A stream: what may be read from it, what was written to it.
#[derive(Default)]
pub(super) struct Pipe {
    pub(super) incoming: VecDeque<u8>,
    pub(super) written: Vec<u8>,
    /// Bytes it takes before it is full; none is no limit.
    pub(super) room: Option<usize>,
    /// Bytes that one read yields at most; none is no limit.
    pub(super) chunk: Option<usize>,
    /// How often it still takes nothing, and promises no bell.
    pub(super) lies: usize,
    pub(super) ends: bool,
    pub(super) finished: bool,
    pub(super) breaks: Option<ErrorKind>,
    /// It takes no more bytes, ever.
    pub(super) deaf: bool,
    /// It cannot be finished.
    pub(super) unfinishable: bool,
}

/// A UDP socket.
pub(super) struct Plug {
    pub(super) socket: Socket,
    pub(super) incoming: VecDeque<(SocketAddr, Vec<u8>)>,
    pub(super) sent: Vec<Datagram>,
    /// What the next calls yield before they work again. Counts are taken from the batch.
    pub(super) sends: VecDeque<io::Result<Step>>,
    pub(super) receives: VecDeque<io::Result<Step>>,
    /// How large each batch was.
    pub(super) batches: Vec<usize>,
}

impl Bench {
    pub(super) fn stream(&mut self, token: Token) -> &mut Pipe {
        self.streams.entry(token).or_default()
    }

    /// The one socket of its kind that was bound.
    pub(super) fn socket(&mut self, socket: Socket) -> (Token, &mut Plug) {
        let found = self.sockets.iter_mut().find(|(_, plug)| plug.socket == socket);
        found.map(|(token, plug)| (*token, plug)).unwrap()
    }

    /// The only socket there is.
    pub(super) fn only(&mut self) -> (Token, &mut Plug) {
        assert_eq!(self.sockets.len(), 1);
        let (token, plug) = self.sockets.iter_mut().next().unwrap();
        (*token, plug)
    }
}

impl Pipe {
    fn read(&mut self, into: &mut impl BufMut) -> io::Result<Step> {
        if let Some(kind) = self.breaks {
            return Err(kind.into());
        }
        let most = into.remaining_mut().min(self.chunk.unwrap_or(usize::MAX));
        let count = self.incoming.len().min(most);
        self.incoming.drain(..count).for_each(|byte| into.put_u8(byte));
        Ok(match (count, self.ends) {
            (0, true) => Step::End,
            (_, true) => Step::More(count),
            (count, false) if self.incoming.is_empty() => Step::Blocked(count),
            (count, false) => Step::More(count),
        })
    }

    fn write(&mut self, from: &[u8]) -> io::Result<Step> {
        if let Some(kind) = self.breaks {
            return Err(kind.into());
        }
        if self.deaf {
            return Ok(Step::End);
        }
        if let Some(left) = self.lies.checked_sub(1) {
            self.lies = left;
            return Ok(Step::More(0));
        }
        let count = from.len().min(self.room.unwrap_or(usize::MAX));
        self.written.extend_from_slice(&from[..count]);
        self.room = self.room.map(|room| room - count);
        Ok(if count < from.len() { Step::Blocked(count) } else { Step::More(count) })
    }
}

impl Io for Bench {
    fn dial(&mut self, at: Token, _to: SocketAddr) -> io::Result<Progress> {
        self.calls.dials += 1;
        self.streams.entry(at).or_default();
        self.dials.pop_front().unwrap_or(Ok(Progress::Done))
    }

    fn read(&mut self, at: Token, into: &mut impl BufMut) -> io::Result<Step> {
        self.calls.reads += 1;
        self.streams.get_mut(&at).expect("the stream is open").read(into)
    }

    fn write(&mut self, at: Token, from: &[u8]) -> io::Result<Step> {
        assert!(!from.is_empty());
        self.streams.get_mut(&at).expect("the stream is open").write(from)
    }

    fn finish(&mut self, at: Token) -> io::Result<()> {
        let pipe = self.stream(at);
        assert!(!pipe.finished);
        pipe.finished = true;
        if pipe.unfinishable { Err(ErrorKind::NotConnected.into()) } else { Ok(()) }
    }

    fn bind(&mut self, at: Token, socket: &Socket) -> io::Result<SocketAddr> {
        if let Some(kind) = self.unbindable {
            return Err(kind.into());
        }
        let plug = Plug {
            socket: *socket,
            incoming: VecDeque::new(),
            sent: Vec::new(),
            sends: VecDeque::new(),
            receives: VecDeque::new(),
            batches: Vec::new(),
        };
        assert!(self.sockets.insert(at, plug).is_none());
        let (Socket::Flow(address) | Socket::Listener(address)) = *socket;
        Ok(address)
    }

    fn recv(&mut self, at: Token, mut each: impl FnMut(SocketAddr, &[u8])) -> io::Result<Step> {
        self.calls.receives += 1;
        let plug = self.sockets.get_mut(&at).expect("the socket is open");
        if let Some(told) = plug.receives.pop_front() {
            return told;
        }
        let count = plug.incoming.len().min(32);
        plug.incoming.drain(..count).for_each(|(from, payload)| each(from, &payload));
        Ok(if count < 32 { Step::Blocked(count) } else { Step::More(count) })
    }

    fn send(&mut self, at: Token, batch: &[Datagram]) -> io::Result<Step> {
        self.calls.sends += 1;
        let plug = self.sockets.get_mut(&at).expect("the socket is open");
        plug.batches.push(batch.len());
        let step = plug.sends.pop_front().unwrap_or(Ok(Step::More(batch.len())));
        if let Ok(Step::More(count) | Step::Blocked(count)) = step {
            plug.sent.extend_from_slice(&batch[..count]);
        }
        step
    }

    fn resolve(&mut self, at: Token, host: &str, _port: u16, into: &mut Vec<SocketAddr>) -> io::Result<Progress> {
        self.calls.resolves += 1;
        self.lookups.insert(at, host.to_owned());
        match self.answers.pop_front() {
            None => Ok(Progress::Pending),
            Some(Ok(answers)) => {
                into.extend(answers);
                Ok(Progress::Done)
            }
            Some(Err(error)) => Err(error),
        }
    }

    fn close(&mut self, at: Token) {
        assert!(!self.closed.contains(&at), "{at:?} is closed twice");
        self.closed.push(at);
        self.streams.remove(&at);
        self.sockets.remove(&at);
        self.lookups.remove(&at);
    }
}

/// Rings both bells of a door.
pub(super) const BOTH: [Way; 2] = [Way::In, Way::Out];

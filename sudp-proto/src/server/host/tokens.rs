//! One table of tokens for many drivers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;

use bytes::BufMut;

use crate::driver::{Datagram, Io, Progress, Socket, Step, Token};

/// Names a machine of a host. Never reused.
pub(super) type Number = u64;

/// What every door of every driver is called outside.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    slots: Vec<Option<Slot>>,
    /// Empty slots; the lowest is used first, so that the table shrinks again.
    free: BTreeSet<u32>,
    /// The generation of the next token.
    next: u32,
    outside: BTreeMap<(Number, Token), Token>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    number: Number,
    inside: Token,
}

/// The caller's doors, under the names that one driver has for them.
pub(super) struct Renamed<'a, I> {
    pub(super) io: &'a mut I,
    pub(super) tokens: &'a mut Tokens,
    pub(super) number: Number,
}

impl Tokens {
    /// What a driver's door is called outside, from the first time on that it is asked for.
    pub(super) fn name(&mut self, number: Number, inside: Token) -> Token {
        if let Some(outside) = self.outside.get(&(number, inside)) {
            return *outside;
        }
        let index = self.free.pop_first().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("a process has far fewer than 2³² doors")
        });
        let outside = Token { index, generation: self.next };
        self.next = self.next.wrapping_add(1);
        self.put(outside, number, inside);
        outside
    }

    /// Whose door it is, and what its driver calls it.
    pub(super) fn find(&self, outside: Token) -> Option<(Number, Token)> {
        let slot = self.slots.get(place(outside.index))?.as_ref()?;
        (slot.generation == outside.generation).then_some((slot.number, slot.inside))
    }

    /// A door now belongs to another driver; outside its name stays.
    pub(super) fn hand_on(&mut self, from: (Number, Token), to: (Number, Token)) {
        if let Some(outside) = self.outside.remove(&from) {
            self.put(outside, to.0, to.1);
        }
    }

    fn put(&mut self, outside: Token, number: Number, inside: Token) {
        if let Some(slot) = self.slots.get_mut(place(outside.index)) {
            *slot = Some(Slot { generation: outside.generation, number, inside });
        }
        self.outside.insert((number, inside), outside);
    }

    fn remove(&mut self, number: Number, inside: Token) -> Option<Token> {
        let outside = self.outside.remove(&(number, inside))?;
        if let Some(slot) = self.slots.get_mut(place(outside.index)) {
            *slot = None;
        }
        self.free.insert(outside.index);
        while let Some(None) = self.slots.last() {
            self.slots.pop();
            self.free.pop_last();
        }
        Some(outside)
    }
}

impl<I> Renamed<'_, I> {
    fn name(&mut self, at: Token) -> Token {
        self.tokens.name(self.number, at)
    }
}

impl<I: Io> Io for Renamed<'_, I> {
    fn dial(&mut self, at: Token, to: SocketAddr) -> io::Result<Progress> {
        let at = self.name(at);
        self.io.dial(at, to)
    }

    fn read(&mut self, at: Token, into: &mut impl BufMut) -> io::Result<Step> {
        let at = self.name(at);
        self.io.read(at, into)
    }

    fn write(&mut self, at: Token, from: &[u8]) -> io::Result<Step> {
        let at = self.name(at);
        self.io.write(at, from)
    }

    fn finish(&mut self, at: Token) -> io::Result<()> {
        let at = self.name(at);
        self.io.finish(at)
    }

    fn bind(&mut self, at: Token, socket: &Socket) -> io::Result<SocketAddr> {
        let at = self.name(at);
        self.io.bind(at, socket)
    }

    fn recv(&mut self, at: Token, each: impl FnMut(SocketAddr, &[u8])) -> io::Result<Step> {
        let at = self.name(at);
        self.io.recv(at, each)
    }

    fn send(&mut self, at: Token, batch: &[Datagram]) -> io::Result<Step> {
        let at = self.name(at);
        self.io.send(at, batch)
    }

    fn resolve(&mut self, at: Token, host: &str, port: u16, into: &mut Vec<SocketAddr>) -> io::Result<Progress> {
        let at = self.name(at);
        self.io.resolve(at, host, port, into)
    }

    fn close(&mut self, at: Token) {
        if let Some(at) = self.tokens.remove(self.number, at) {
            self.io.close(at);
        }
    }
}

fn place(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

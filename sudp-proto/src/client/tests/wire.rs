//! A connection: bytes in order, late, bent or cut at any of them.

use std::collections::VecDeque;
use std::time::Duration;

use super::*;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Direction {
    Up,
    Down,
}

/// Who learns that a wire broke.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sees {
    Both,
    Client,
    Server,
    Nobody,
}

/// A wire breaks once so many bytes of one direction have passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) way: Direction,
    pub(super) after: usize,
    pub(super) sees: Sees,
}

impl Default for Fault {
    /// Never.
    fn default() -> Self {
        Self { way: Direction::Up, after: usize::MAX, sees: Sees::Both }
    }
}

#[derive(Debug)]
pub(super) struct Wire {
    /// Its name at the host.
    pub(super) id: u64,
    pub(super) host: usize,
    /// Its name at the client, until that has let go of it.
    pub(super) key: Option<Key>,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    pub(super) fault: Fault,
    /// What the client has not taken yet.
    pub(super) unread: BytesMut,
}

impl Wire {
    pub(super) fn new(id: u64, host: usize, key: Key, latency: Duration, fault: Fault) -> Self {
        let (mut up, mut down) = (Pipe::new(latency), Pipe::new(latency));
        match fault.way {
            Direction::Up => up.left = fault.after,
            Direction::Down => down.left = fault.after,
        }
        Self { id, host, key: Some(key), up, down, fault, unread: BytesMut::new() }
    }

    pub(super) fn pipe(&mut self, way: Direction) -> &mut Pipe {
        match way {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }

    /// Whether its fault has come to pass just now.
    pub(super) fn take_fault(&mut self, way: Direction) -> bool {
        let pipe = self.pipe(way);
        let now = pipe.left == 0 && !pipe.dead;
        pipe.dead |= now;
        now
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.up.next().into_iter().chain(self.down.next()).min()
    }

    pub(super) fn is_over(&self) -> bool {
        self.key.is_none() && self.up.dead && self.down.dead
    }
}

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) latency: Duration,
    flying: VecDeque<(Instant, Vec<u8>)>,
    /// Bytes that still pass.
    left: usize,
    /// Everything that came out of it.
    pub(super) passed: Vec<u8>,
    dead: bool,
    /// Takes everything and delivers nothing.
    pub(super) stuck: bool,
}

impl Pipe {
    fn new(latency: Duration) -> Self {
        let (flying, passed) = (VecDeque::new(), Vec::new());
        Self { latency, flying, left: usize::MAX, passed, dead: false, stuck: false }
    }

    pub(super) fn push(&mut self, now: Instant, bytes: Vec<u8>) {
        if !bytes.is_empty() && !self.dead {
            self.flying.push_back((now + self.latency, bytes));
        }
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.dead || self.stuck || self.left == 0 {
            return None;
        }
        let (_, mut bytes) = self.flying.pop_front_if(|(at, _)| *at <= now)?;
        bytes.truncate(self.left);
        self.left = if self.left == usize::MAX { usize::MAX } else { self.left - bytes.len() };
        self.passed.extend_from_slice(&bytes);
        Some(bytes)
    }

    pub(super) fn kill(&mut self) {
        self.dead = true;
        self.flying.clear();
    }

    pub(super) fn is_dry(&self) -> bool {
        self.flying.is_empty()
    }

    fn next(&self) -> Option<Instant> {
        self.flying.front().filter(|_| !self.dead && !self.stuck && self.left > 0).map(|(at, _)| *at)
    }
}

//! What each token stands for, and which doors are ready.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;

use super::keyed::Keyed;
use super::{Key, Socket, Token, Way};
use crate::wire::{FlowId, TunnelId};

/// Every door there is.
#[derive(Debug, Default)]
pub(super) struct Doors {
    slots: Vec<Option<Slot>>,
    /// Empty slots; the lowest is used first, so that the table shrinks again.
    free: BTreeSet<u32>,
    /// The generation of the next door.
    next: u32,
    ready: VecDeque<Token>,
    keys: Keyed<Token>,
    owners: BTreeMap<Owner, Token>,
    names: BTreeMap<Name, Token>,
}

/// One thing behind a token.
#[derive(Debug)]
pub(super) enum Door {
    Lookup(Lookup),
    Stream(Box<Stream>),
    Udp(Udp),
}

/// A byte stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) key: Key,
    /// Where it is being dialled to, until it is connected.
    pub(super) dialling: Option<SocketAddr>,
    /// What was read and not taken.
    pub(super) input: BytesMut,
    /// It came with bytes in `input` that were never shown.
    pub(super) unseen: bool,
    /// The last read filled all the room it had.
    pub(super) busy: bool,
    /// Reading waits until what came before has left.
    pub(super) paused: bool,
    /// The other end has finished.
    pub(super) ended: bool,
    /// It takes nothing until it is reported writable.
    pub(super) full: bool,
    /// We have finished.
    pub(super) finished: bool,
}

/// A UDP socket.
#[derive(Debug)]
pub(super) struct Udp {
    pub(super) owner: Owner,
    /// It takes nothing until it is reported writable.
    pub(super) full: bool,
    /// Flows that wait until it takes more.
    pub(super) waiting: Vec<FlowId>,
    /// How it was opened.
    pub(super) socket: Socket,
    /// How often in a row it was not empty when it was left.
    pub(super) behind: usize,
    /// Errors in a row when it was read.
    pub(super) faults: u32,
    /// Until when it is not read for that.
    pub(super) pauses: Option<Instant>,
}

/// Whose a UDP socket is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Owner {
    Flow(FlowId),
    Tunnel(TunnelId),
}

/// A host being looked up.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) name: Name,
    pub(super) asker: Asker,
}

/// Host and port.
pub(super) type Name = (Box<str>, u16);

/// Who waits for a lookup.
#[derive(Debug)]
pub(super) enum Asker {
    Endpoint(Key),
    Flows(Vec<FlowId>),
}

/// Which ways a door is ready.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ways {
    pub(super) read: bool,
    pub(super) write: bool,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    door: Door,
    /// It stands in the queue if any of them is set.
    ways: Ways,
}

impl Udp {
    pub(super) fn new(owner: Owner, socket: Socket) -> Self {
        Self { owner, full: false, waiting: Vec::new(), socket, behind: 0, faults: 0, pauses: None }
    }
}

impl Stream {
    pub(super) fn new(key: Key, dialling: Option<SocketAddr>, input: BytesMut) -> Self {
        let unseen = !input.is_empty();
        Self { key, dialling, input, unseen, busy: false, paused: false, ended: false, full: false, finished: false }
    }

    /// Makes room in `input` for the next read, and says how much may be used.
    pub(super) fn make_room(&mut self) -> usize {
        if self.input.capacity() - self.input.len() < LEAST_ROOM {
            self.input.reserve(if self.busy { BUSY_ROOM } else { IDLE_ROOM });
        }
        (self.input.capacity() - self.input.len()).min(BUSY_ROOM)
    }

    /// Gives the room back: a stream on which nothing happens holds nothing.
    pub(super) fn rest(&mut self) {
        self.busy = false;
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }
}

impl Doors {
    pub(super) fn insert(&mut self, door: Door) -> Token {
        let index = self.free.pop_first().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("a session has far fewer than 2³² doors")
        });
        let token = Token { index, generation: self.next };
        self.next = self.next.wrapping_add(1);
        match &door {
            Door::Lookup(Lookup { asker: Asker::Endpoint(key), .. }) => self.keys.insert(*key, token),
            Door::Lookup(Lookup { asker: Asker::Flows(_), name }) => drop(self.names.insert(name.clone(), token)),
            Door::Stream(stream) => self.keys.insert(stream.key, token),
            Door::Udp(udp) => drop(self.owners.insert(udp.owner, token)),
        }
        if let Some(slot) = self.slots.get_mut(place(index)) {
            *slot = Some(Slot { generation: token.generation, door, ways: Ways::default() });
        }
        token
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<Door> {
        self.slot(token)?;
        let door = self.slots.get_mut(place(token.index))?.take()?.door;
        self.free.insert(token.index);
        while let Some(None) = self.slots.last() {
            self.slots.pop();
            self.free.pop_last();
        }
        match &door {
            Door::Lookup(Lookup { asker: Asker::Endpoint(key), .. }) => self.keys.remove(*key),
            Door::Lookup(Lookup { asker: Asker::Flows(_), name }) => self.names.remove(name),
            Door::Stream(stream) => self.keys.remove(stream.key),
            Door::Udp(udp) => self.owners.remove(&udp.owner),
        };
        Some(door)
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut Door> {
        self.slot(token).map(|slot| &mut slot.door)
    }

    pub(super) fn stream_mut(&mut self, token: Token) -> Option<&mut Stream> {
        match self.get_mut(token)? {
            Door::Stream(stream) => Some(stream),
            Door::Lookup(_) | Door::Udp(_) => None,
        }
    }

    pub(super) fn udp_mut(&mut self, token: Token) -> Option<&mut Udp> {
        match self.get_mut(token)? {
            Door::Udp(udp) => Some(udp),
            Door::Lookup(_) | Door::Stream(_) => None,
        }
    }

    pub(super) fn lookup_mut(&mut self, token: Token) -> Option<&mut Lookup> {
        match self.get_mut(token)? {
            Door::Lookup(lookup) => Some(lookup),
            Door::Stream(_) | Door::Udp(_) => None,
        }
    }

    /// The stream or the lookup that an endpoint calls by this key.
    pub(super) fn key(&self, key: Key) -> Option<Token> {
        self.keys.get(key).copied()
    }

    /// The socket of a flow or of a tunnel.
    pub(super) fn owner(&self, owner: Owner) -> Option<Token> {
        self.owners.get(&owner).copied()
    }

    /// The lookup that flows wait for.
    pub(super) fn name(&self, name: &Name) -> Option<Token> {
        self.names.get(name).copied()
    }

    /// How many lookups run for flows.
    pub(super) fn names(&self) -> usize {
        self.names.len()
    }

    /// The first stream or lookup of the endpoint behind `last`.
    pub(super) fn stream_after(&self, last: Option<Key>) -> Option<(Key, Token)> {
        self.keys.after(last).map(|(key, token)| (key, *token))
    }

    /// All tokens in use.
    pub(super) fn tokens(&self) -> Vec<Token> {
        let tokens = self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let generation = slot.as_ref()?.generation;
            Some(Token { index: u32::try_from(index).ok()?, generation })
        });
        tokens.collect()
    }

    /// Notes that a door is ready. Nothing happens if it is noted already, or if the door is gone.
    pub(super) fn ring(&mut self, token: Token, way: Way) {
        let Some(slot) = self.slot(token) else { return };
        let listed = slot.ways.read || slot.ways.write;
        match way {
            Way::In => slot.ways.read = true,
            Way::Out => slot.ways.write = true,
        }
        if !listed {
            self.ready.push_back(token);
        }
    }

    /// The door that has been ready for longest.
    pub(super) fn pop_ready(&mut self) -> Option<(Token, Ways)> {
        loop {
            let token = self.ready.pop_front()?;
            if let Some(slot) = self.slot(token) {
                return Some((token, std::mem::take(&mut slot.ways)));
            }
        }
    }

    /// Whether any door is ready.
    pub(super) fn has_ready(&mut self) -> bool {
        while let Some(&token) = self.ready.front() {
            if self.slot(token).is_some() {
                return true;
            }
            self.ready.pop_front();
        }
        false
    }

    fn slot(&mut self, token: Token) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(place(token.index))?.as_mut()?;
        (slot.generation == token.generation).then_some(slot)
    }
}

fn place(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// Room that a read finds on a stream that was quiet.
const IDLE_ROOM: usize = 16 << 10;
/// Room that a read finds on a stream whose last read filled its room, and the most that one read uses.
pub(super) const BUSY_ROOM: usize = 64 << 10;
/// Less room than this is not worth a system call.
const LEAST_ROOM: usize = 4 << 10;

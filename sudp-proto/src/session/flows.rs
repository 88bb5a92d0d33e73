//! The table of a session's flows: who is who, who is idle, who must make room.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;

use super::flow::Flow;
use super::queue::Slot;
use crate::wire::{FlowId, TunnelId};

/// Who a flow belongs to on the side where it began.
pub(crate) type Key = (TunnelId, SocketAddr);

/// All flows of a session.
#[derive(Debug)]
pub(crate) struct Flows {
    slots: Vec<Option<Box<Flow>>>,
    free: Vec<u32>,
    ids: HashMap<FlowId, Slot, FixedState>,
    keys: HashMap<Key, Slot, FixedState>,
    /// The id our next flow gets.
    next: u64,
    /// When to look at which flow for being idle; a flow in use is only moved when its turn comes.
    looks: BTreeSet<(Instant, u32)>,
    /// One-shot flows of ours, the oldest first: they make room for others.
    one_shots: BTreeSet<(Instant, u32)>,
    /// Flows with something to deliver.
    ready: VecDeque<FlowId>,
    refusals: BTreeMap<Key, Refusal>,
}

/// A source whose flow was refused.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    until: Instant,
    wait: Duration,
}

impl Flows {
    /// A table whose own flows have ids from `first` on, in steps of two; `seed` keeps collisions from being planned.
    pub(crate) fn new(first: u64, seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            ids: HashMap::with_hasher(FixedState::with_seed(seed)),
            keys: HashMap::with_hasher(FixedState::with_seed(seed)),
            next: first,
            looks: BTreeSet::new(),
            one_shots: BTreeSet::new(),
            ready: VecDeque::new(),
            refusals: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The next id of our own.
    pub(crate) fn draw(&mut self) -> FlowId {
        let id = FlowId(self.next);
        self.next += 2;
        id
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next
    }

    pub(crate) fn set_next_id(&mut self, next: u64) {
        self.next = next;
    }

    pub(crate) fn insert(&mut self, flow: Flow, key: Option<Key>, look: Instant) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("a table of flows is capped far below 2³²")
        });
        self.ids.insert(flow.id(), Slot(slot));
        if let Some(key) = key {
            self.keys.insert(key, Slot(slot));
        }
        if flow.ours {
            self.one_shots.insert((flow.began, slot));
        }
        let mut flow = Box::new(flow);
        flow.look = look;
        self.looks.insert((look, slot));
        self.put(slot, flow);
        Slot(slot)
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Box<Flow>> {
        let flow = self.slots.get_mut(index(slot))?.take()?;
        self.ids.remove(&flow.id());
        if let Some(key) = key(&flow)
            && self.keys.get(&key) == Some(&slot)
        {
            self.keys.remove(&key);
        }
        self.looks.remove(&(flow.look, slot.0));
        if flow.ours {
            self.one_shots.remove(&(flow.began, slot.0));
        }
        self.free.push(slot.0);
        if self.ids.is_empty() {
            self.shrink();
        }
        Some(flow)
    }

    pub(crate) fn slot(&self, id: FlowId) -> Option<Slot> {
        self.ids.get(&id).copied()
    }

    /// The flow that a source has through a tunnel.
    pub(crate) fn find(&self, key: &Key) -> Option<Slot> {
        self.keys.get(key).copied()
    }

    /// Lets the source begin a new flow: this one takes no more.
    pub(crate) fn release_key(&mut self, slot: Slot) {
        let Some(key) = self.at(slot).and_then(key) else { return };
        if self.keys.get(&key) == Some(&slot) {
            self.keys.remove(&key);
        }
    }

    pub(crate) fn at(&self, slot: Slot) -> Option<&Flow> {
        self.slots.get(index(slot))?.as_deref()
    }

    pub(crate) fn at_mut(&mut self, slot: Slot) -> Option<&mut Flow> {
        self.slots.get_mut(index(slot))?.as_deref_mut()
    }

    pub(crate) fn get(&self, id: FlowId) -> Option<&Flow> {
        self.at(self.slot(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        let slot = self.slot(id)?;
        self.at_mut(slot)
    }

    /// All flows, in an order that repeats.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Flow)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(slot, flow)| Some((Slot(u32::try_from(slot).ok()?), flow.as_deref()?)))
    }

    pub(crate) fn slots(&self) -> Vec<Slot> {
        self.iter().map(|(slot, _)| slot).collect()
    }

    /// A flow has something to deliver.
    pub(crate) fn list(&mut self, slot: Slot) {
        let Some(flow) = self.slots.get_mut(index(slot)).and_then(Option::as_deref_mut) else { return };
        if !flow.inbox.listed && !flow.inbox.blocked && !flow.inbox.held.is_empty() {
            flow.inbox.listed = true;
            self.ready.push_back(flow.open.flow);
        }
    }

    /// The next flow with something to deliver.
    pub(crate) fn pop_ready(&mut self) -> Option<FlowId> {
        loop {
            let id = self.ready.pop_front()?;
            if let Some(flow) = self.get_mut(id) {
                flow.inbox.listed = false;
                if !flow.inbox.held.is_empty() && !flow.inbox.blocked {
                    return Some(id);
                }
            }
        }
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The flow is no question of one datagram any more, so it does not make room for others.
    pub(crate) fn keep(&mut self, slot: Slot) {
        if let Some(flow) = self.slots.get(index(slot)).and_then(Option::as_deref) {
            self.one_shots.remove(&(flow.began, slot.0));
        }
    }

    /// A one-shot flow of ours that was not used for `idle`, the oldest.
    pub(crate) fn evictable(&self, now: Instant, idle: Duration) -> Option<Slot> {
        self.one_shots.iter().map(|&(_, slot)| Slot(slot)).take(EVICTION_REACH).find(|&slot| {
            self.at(slot).is_some_and(|flow| flow.one_shot() && now.saturating_duration_since(flow.used) >= idle)
        })
    }

    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// A flow whose turn to be looked at has come; the caller closes it or names the next turn.
    pub(crate) fn pop_look(&mut self, now: Instant) -> Option<Slot> {
        let &(at, slot) = self.looks.first().filter(|(at, _)| *at <= now)?;
        self.looks.remove(&(at, slot));
        Some(Slot(slot))
    }

    pub(crate) fn look_again(&mut self, slot: Slot, at: Instant) {
        if let Some(flow) = self.slots.get_mut(index(slot)).and_then(Option::as_deref_mut) {
            self.looks.remove(&(flow.look, slot.0));
            flow.look = at;
            self.looks.insert((at, slot.0));
        }
    }

    /// Whether the source's last flow was refused so recently that none is begun for it.
    pub(crate) fn refused(&self, now: Instant, key: &Key) -> bool {
        self.refusals.get(key).is_some_and(|refusal| now < refusal.until)
    }

    /// Remembers a refusal, for longer each time, within a cap of how many are remembered.
    pub(crate) fn refuse(&mut self, now: Instant, key: Key, least: Duration, most: Duration, cap: usize) {
        let wait = self.refusals.get(&key).map_or(least, |refusal| (refusal.wait * 2).min(most));
        if self.refusals.len() >= cap && !self.refusals.contains_key(&key) {
            self.refusals.retain(|_, refusal| now < refusal.until);
            if self.refusals.len() >= cap {
                self.refusals.pop_first();
            }
        }
        self.refusals.insert(key, Refusal { until: now + wait, wait });
    }

    /// The remote took a flow of this source after all.
    pub(crate) fn forgive(&mut self, key: &Key) {
        self.refusals.remove(key);
    }

    fn put(&mut self, slot: u32, flow: Box<Flow>) {
        if let Some(place) = self.slots.get_mut(index(Slot(slot))) {
            *place = Some(flow);
        }
    }

    /// Gives back room for flows with something to deliver, and what inboxes do not need.
    pub(crate) fn shrink_ready(&mut self) {
        self.ready.shrink_to_fit();
        for flow in self.slots.iter_mut().flatten() {
            flow.inbox.held.shrink_to_fit();
        }
    }

    fn shrink(&mut self) {
        self.slots = Vec::new();
        self.free = Vec::new();
        self.ids.shrink_to_fit();
        self.keys.shrink_to_fit();
        self.ready = VecDeque::new();
    }
}

pub(crate) fn key(flow: &Flow) -> Option<Key> {
    flow.ours.then_some(())?;
    Some((flow.open.tunnel, flow.open.source?))
}

fn index(slot: Slot) -> usize {
    usize::try_from(slot.0).unwrap_or(usize::MAX)
}

/// How many one-shot flows are looked at for one that is old enough.
const EVICTION_REACH: usize = 16;

//! Where queued datagrams lie: in the order they came, each flow's chained through it.
//!
//! What leaves is marked dead; the rest slides together when room is needed or most of it is dead.
//! So memory stays within twice what is queued plus a constant, and no datagram allocates.

use std::ops::Range;

use super::{Slot, Tick};
use crate::session::sched::{Flow, Flows};

/// The queued datagrams of one class, oldest first.
#[derive(Debug, Default)]
pub(super) struct Arena {
    heads: Vec<Head>,
    bytes: Vec<u8>,
    /// Before this all heads are dead; it is live itself unless nothing is.
    front: usize,
    live: usize,
    live_bytes: usize,
}

/// What is known of one datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// When it came.
    pub(super) at: Tick,
    start: usize,
    len: u32,
    next: u32,
    /// Whose it is; none when it has left.
    pub(super) owner: Slot,
}

/// What a datagram takes besides its bytes, counted against every limit.
const OVERHEAD: usize = size_of::<Head>();

impl Head {
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// What it counts against limits and turns.
    pub(super) fn cost(&self) -> usize {
        self.len() + OVERHEAD
    }

    fn range(&self) -> Range<usize> {
        self.start..self.start + self.len()
    }
}

impl Arena {
    /// Whether there is room for a datagram of `len` bytes as it is.
    pub(super) fn fits(&self, len: usize) -> bool {
        self.heads.len() < self.heads.capacity() && self.bytes.capacity() - self.bytes.len() >= len
    }

    /// Makes room for a datagram of `len` bytes, sliding together what is queued where that helps; where
    /// it does not, grows by no more than `spare` beyond what must be.
    pub(super) fn make_room(&mut self, flows: &mut Flows, len: usize, spare: usize) {
        if self.fits(len) {
            return;
        }
        self.compact(flows);
        grow(&mut self.bytes, len, FIRST_BYTES, spare);
        grow(&mut self.heads, 1, FIRST_HEADS, spare / OVERHEAD);
    }

    /// Appends a datagram to the backlog of its flow.
    pub(super) fn push(&mut self, flow: &mut Flow, at: Tick, record: &[u8]) {
        let index = self.heads.len();
        let head = Head { at, start: self.bytes.len(), len: narrow(record.len()), next: 0, owner: flow.slot };
        self.bytes.extend_from_slice(record);
        self.heads.push(head);
        self.live += 1;
        self.live_bytes += head.len();

        let backlog = &mut flow.backlog;
        if backlog.datagrams == 0 {
            backlog.first = index;
        } else {
            self.heads[backlog.last].next = narrow(index);
        }
        backlog.last = index;
        backlog.datagrams += 1;
        backlog.bytes += head.cost();
    }

    /// The oldest datagram of a flow that has one.
    pub(super) fn first(&self, flow: &Flow) -> Head {
        self.heads[flow.backlog.first]
    }

    /// The bytes of a datagram that has not been popped.
    pub(super) fn record(&self, head: &Head) -> &[u8] {
        &self.bytes[head.range()]
    }

    /// The oldest datagram of all.
    pub(super) fn oldest(&self) -> Option<&Head> {
        self.heads.get(self.front)
    }

    /// Every datagram, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Head> {
        self.heads[self.front..].iter().filter(|head| head.owner != Slot::NONE)
    }

    /// Whose oldest datagram has come to `age`, if anyone's has.
    pub(super) fn expired(&self, now: u64, age: u64) -> Option<Slot> {
        self.oldest().filter(|head| now - head.at.now >= age).map(|head| head.owner)
    }

    /// Takes the oldest datagram out of the backlog of a flow that has one, for good.
    pub(super) fn discard(&mut self, flow: &mut Flow, witness: &mut Option<Vec<u8>>) -> Head {
        if let Some(witness) = witness {
            witness.extend_from_slice(self.record(&self.first(flow)));
        }
        self.pop(flow)
    }

    /// Takes the oldest datagram out of the backlog of a flow that has one.
    pub(super) fn pop(&mut self, flow: &mut Flow) -> Head {
        let index = flow.backlog.first;
        let head = self.heads[index];
        flow.backlog.first = head.next as usize;
        flow.backlog.datagrams -= 1;
        flow.backlog.bytes -= head.cost();

        self.heads[index].owner = Slot::NONE;
        self.live -= 1;
        self.live_bytes -= head.len();
        if self.live == 0 {
            self.heads.clear();
            self.bytes.clear();
            self.front = 0;
        } else if index == self.front {
            while self.heads[self.front].owner == Slot::NONE {
                self.front += 1;
            }
        }
        head
    }

    /// Gives back memory that far outgrew what is queued.
    pub(super) fn tidy(&mut self, flows: &mut Flows) {
        let fat_bytes = self.bytes.capacity() > 2 * self.live_bytes + SLACK_BYTES;
        let fat_heads = self.heads.capacity() > 2 * self.live + SLACK_HEADS;
        if !fat_bytes && !fat_heads {
            return;
        }
        self.compact(flows);
        self.bytes.shrink_to(self.live_bytes + self.live_bytes / 4 + SLACK_BYTES / 2);
        self.heads.shrink_to(self.live + self.live / 4 + SLACK_HEADS / 2);
    }

    /// Gives back all that nothing queued needs.
    pub(super) fn release(&mut self, flows: &mut Flows) {
        self.compact(flows);
        self.bytes.shrink_to_fit();
        self.heads.shrink_to_fit();
    }

    /// Bytes of memory taken.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity() + self.heads.capacity() * OVERHEAD
    }

    /// Slides the living together, and chains them anew.
    fn compact(&mut self, flows: &mut Flows) {
        if self.heads.len() == self.live {
            return;
        }
        let (mut kept, mut end) = (0, 0);
        for index in self.front..self.heads.len() {
            let mut head = self.heads[index];
            if head.owner == Slot::NONE {
                continue;
            }
            self.bytes.copy_within(head.range(), end);
            head.start = end;
            end += head.len();

            let backlog = &mut flows[head.owner].backlog;
            if backlog.first == index {
                backlog.first = kept;
            } else {
                self.heads[backlog.last].next = narrow(kept);
            }
            backlog.last = kept;
            self.heads[kept] = head;
            kept += 1;
        }
        self.heads.truncate(kept);
        self.bytes.truncate(end);
        self.front = 0;
    }
}

/// Makes room for `more`, and unless there is enough to be worth the sliding, for half as much again
/// if that is no more than `most`.
fn grow<T>(list: &mut Vec<T>, more: usize, first: usize, most: usize) {
    let spare = list.capacity() - list.len();
    if spare < more.max((list.len() / 4).min(most)) {
        list.reserve_exact(more.max((list.len() / 2).max(first).min(most)));
    }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("the cap of a queue is below 4 GiB")
}

const FIRST_BYTES: usize = 2 * 1024;
const FIRST_HEADS: usize = 32;
const SLACK_BYTES: usize = 32 * 1024;
const SLACK_HEADS: usize = 512;

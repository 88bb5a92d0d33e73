//! A session as bytes, so that a new process takes over where an old one stops.
//!
//! A freeze takes everything but handles, limits and instants: handles stay with the process that
//! hands them over, limits come with its setup, and instants become durations. Left out because they
//! are found anew in a moment: round trips, rates, levels of rate limits, refusals remembered.
//!
//! The bytes hold the session's secret, and are to be guarded like it.

mod flows;
mod parts;
mod plain;

use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use self::plain::{In, Out, Plain as _};
use super::flows::Flows;
use super::links::{Ended, Links};
use super::queue::{QueueLimits, Queues};
use super::recv::WINDOW;
use super::renewal::Renewal;
use super::send::{Batch, Unresolved};
use super::tunnels::Tunnels;
use super::{Phase, Session, Setup};
use crate::access::Allowance;
use crate::event::LinkLoss;
use crate::wire::{Code, varint};

/// Why bytes were not thawed. Nothing was made of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ThawError {
    /// They are not what was written.
    #[error("the frozen session is damaged: its checksum differs")]
    Damaged,
    /// They are not a frozen session.
    #[error("not a frozen session")]
    Foreign,
    /// There are fewer or more than were written.
    #[error("the frozen session has {len} bytes; {declared} were written")]
    Length {
        /// How many there are.
        len: usize,
        /// How many there were.
        declared: u64,
    },
    /// They are what was written, and make no sense: no session was ever like this.
    #[error("the frozen session contradicts itself: {0}")]
    Malformed(&'static str),
    /// Another version wrote them.
    #[error("the frozen session has version {found}; {supported} is supported")]
    Version {
        /// Theirs.
        found: u8,
        /// Ours.
        supported: u8,
    },
}

impl Session {
    /// Turns the session into bytes and ends this copy of it: its links are fenced, nothing more is
    /// emitted or taken, and the remote hears nothing of it.
    ///
    /// Everything is drained first, as after any call. Of what is given here, [`thaw`](Self::thaw)
    /// may be called for one copy once: two sessions from one freeze would both give out the same
    /// numbers, and datagrams would be lost or delivered twice. Whoever stores the bytes makes sure
    /// of it by taking them out of the store first (a pipe is read once; a file is removed before
    /// its content is thawed), so that a crash in between loses the session rather than doubling it.
    /// A session frozen once gives only a closed one the second time.
    pub fn freeze(&mut self, now: Instant) -> Bytes {
        self.fence(now);
        let mut out = Out::new(now);
        self.put(now, &mut out);
        self.bury(now);
        seal(&out.bytes)
    }

    /// Brings back what was frozen, `away` before `now`, as far as the caller can tell.
    ///
    /// Ages go on over the time away, so that nothing stale is sent, and the clock that the remote
    /// sees does not jump. No link lives; everything unresolved waits for the next. Sockets and
    /// listeners are asked for again by their flows and tunnels, so that they can be bound to those
    /// handed over. Every destination and listener is judged anew by the access of `setup`; its
    /// identity is not used.
    pub fn thaw(now: Instant, away: Duration, setup: Setup, frozen: &[u8]) -> Result<Self, ThawError> {
        let mut input = In::new(now, away, unseal(frozen)?);
        let mut session = Self::new(now, input.take()?, setup);
        session.take(now, &mut input)?;
        input.finish()?;
        session.share(Allowance::default());
        session.wake(now);
        Ok(session)
    }

    /// Ends every link and dial here, without a word and without blame.
    fn fence(&mut self, now: Instant) {
        let live: Vec<_> = self.links().collect();
        for ordinal in live {
            self.end_link(now, ordinal, LinkLoss::Replaced);
        }
        for ordinal in std::mem::take(&mut self.links.dialling) {
            self.links.ended.insert(ordinal, Ended::unused());
        }
    }

    /// Leaves nothing in this copy that could act.
    fn bury(&mut self, now: Instant) {
        if !self.closed() {
            self.phase = Phase::Closed(Code::GoingAway);
        }
        self.secret = None;
        self.links = Links::new();
        self.unresolved = Unresolved::new();
        self.queues = Queues::new(now, QueueLimits::new(&self.limits));
        self.flows = Flows::new(self.flows.next_id(), 0);
        self.tunnels = Tunnels::default();
        self.controls.clear();
        self.events.clear();
        self.needs.clear();
        self.tap = None;
        self.renewal = Renewal::default();
        self.memory.give(self.memory.used());
    }

    /// Writes everything down, and names what is left out: a field that is added belongs to either.
    fn put(&self, now: Instant, out: &mut Out) {
        #[rustfmt::skip]
        let Self {
            role, start, phase, detached, id, secret, identity, remote, links, first_window, unresolved, seen, late,
            tunnels, controls, drain, proven_size, frame_limit, counters,
            // Written by parts that need both.
            flows: _, queues: _,
            // From the setup, or begun anew.
            awake: _, limits: _, access: _, memory: _, link_memory: _, draw: _, activity: _, unknown: _, scratch: _, records: _, tap: _,
            // Drained before.
            events: _, needs: _, gone: _, lost: _, renewal: _, replies: _,
        } = self;
        // Fenced before: no link lives and none is being dialled.
        let Links { live: _, dialling: _, asked: _, rotation: _, ended, ordinals } = links;
        role.put(out);
        (*start, *phase, *detached).put(out);
        (*id, *secret).put(out);
        identity.put(out);
        remote.put(out);
        ordinals.put(out);
        ended.put(out);
        first_window.put(out);
        put_unresolved(unresolved, out);
        seen.put(out);
        late.put(out);
        tunnels.put(out);
        controls.put(out);
        drain.put(out);
        (*proven_size, *frame_limit).put(out);
        counters.put(out);
        self.put_flows(out);
        self.put_queue(now, out);
    }

    /// Reads in the order of [`put`](Self::put).
    fn take(&mut self, now: Instant, input: &mut In<'_>) -> Result<(), ThawError> {
        (self.start, self.phase, self.detached) = input.take()?;
        (self.id, self.secret) = input.take()?;
        self.identity = input.take()?;
        self.remote = input.take()?;
        self.links.ordinals = input.take()?;
        self.links.ended = input.take()?;
        self.first_window = input.take()?;
        self.unresolved = take_unresolved(input)?;
        self.seen = input.take()?;
        self.late = input.take()?;
        self.tunnels = input.take()?;
        self.controls = input.take()?;
        self.drain = input.take()?;
        (self.proven_size, self.frame_limit) = input.take()?;
        self.counters = input.take()?;
        self.take_flows(now, input)?;
        self.take_queue(now, input)?;
        self.balance()
    }

    /// Goes on: what nobody could do while it was frozen is not held against anyone.
    fn wake(&mut self, now: Instant) {
        if self.closed() {
            return;
        }
        self.detached = self.detached.map(|_| now);
        if let Some(access) = self.access.clone() {
            self.regrant(now, access);
        }
        self.expire(now);
        self.settle_memory();
        self.ask_for_listeners();
        self.ask_for_sockets();
    }
}

fn put_unresolved(unresolved: &Unresolved, out: &mut Out) {
    let (base, batches) = unresolved.freeze();
    let batches: Vec<Option<&Batch>> = batches.collect();
    base.put(out);
    batches.len().put(out);
    for batch in batches {
        batch.is_some().put(out);
        if let Some(batch) = batch {
            batch.put(out);
        }
    }
}

fn take_unresolved(input: &mut In<'_>) -> Result<Unresolved, ThawError> {
    let base: u64 = input.take()?;
    let batches: Vec<Option<Batch>> = input.take()?;
    let length = batches.len() as u64;
    if base == 0 || base > varint::MAX - WINDOW || length > WINDOW {
        return Err(ThawError::Malformed("batch numbers outside the window"));
    }
    if let Some(None) = batches.first() {
        return Err(ThawError::Malformed("the window begins with a batch that was resolved"));
    }
    Ok(Unresolved::thaw(base, batches))
}

/// Puts before the plain data what it is and how long, and a checksum behind it.
pub(super) fn seal(plain: &[u8]) -> Bytes {
    let mut sealed = Vec::with_capacity(HEAD + plain.len() + SUM);
    sealed.extend_from_slice(&MAGIC);
    sealed.push(VERSION);
    sealed.extend_from_slice(&(plain.len() as u64).to_be_bytes());
    sealed.extend_from_slice(plain);
    let sum = Sha256::digest(&sealed);
    sealed.extend_from_slice(&sum);
    sealed.into()
}

pub(super) fn unseal(sealed: &[u8]) -> Result<&[u8], ThawError> {
    let Some((&found, rest)) = sealed.strip_prefix(&MAGIC).and_then(<[u8]>::split_first) else {
        return Err(ThawError::Foreign);
    };
    if found != VERSION {
        return Err(ThawError::Version { found, supported: VERSION });
    }
    let Some((declared, rest)) = rest.split_first_chunk() else { return Err(ThawError::Foreign) };
    let declared = u64::from_be_bytes(*declared);
    let len = rest.len().saturating_sub(SUM);
    let Some((plain, sum)) = rest.split_at_checked(len).filter(|_| rest.len() >= SUM && len as u64 == declared) else {
        return Err(ThawError::Length { len, declared });
    };
    if Sha256::digest(&sealed[..HEAD + len])[..] == *sum { Ok(plain) } else { Err(ThawError::Damaged) }
}

/// What a frozen session begins with.
const MAGIC: [u8; 8] = *b"sudp.ice";
const VERSION: u8 = 1;
/// What stands before the plain data: magic, version, length.
const HEAD: usize = 8 + 1 + 8;
const SUM: usize = 32;

//! Datagrams on the side where they are taken and given: sources, sockets, inboxes.

use std::net::SocketAddr;
use std::time::Instant;

use super::flow::{Direction, Flow, Inbound, PlaceState};
use super::queue::{FlowSpec, Lane, Slot};
use super::tap::{Fate, Heading, Spot, Whose};
use super::{Role, Session};
use crate::access::{Limiter, Rates};
use crate::event::Event;
use crate::stats::DropReason;
use crate::wire::{Address, Code, Control, FlowClose, FlowId, Host, Open, TunnelId, batch};

/// Why a datagram or a flow was not taken. Nothing was changed, and nothing counted but the refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The session is over, or was asked to end.
    #[error("the session is closed")]
    Closed,
    /// There is no such flow, or it takes no more.
    #[error("flow {} is unknown or closing", .0.0)]
    Flow(FlowId),
    /// The table of flows is full of flows in use.
    #[error("{limit} flows are in use, and no more are allowed")]
    Full {
        /// How many are allowed.
        limit: usize,
    },
    /// The remote refused this source lately.
    #[error("the remote refused this source lately")]
    Refused,
    /// The datagram is larger than is carried.
    #[error("a datagram of {len} bytes, and at most {limit} are carried")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// There is no such tunnel here.
    #[error("tunnel {} is unknown", .0.0)]
    Tunnel(TunnelId),
}

impl Session {
    /// A datagram from a local source came in at a tunnel: it goes to the source's flow, or begins one.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        tunnel: TunnelId,
        source: SocketAddr,
        payload: &[u8],
    ) -> Result<FlowId, SendError> {
        let key = (tunnel, source);
        let slot = match self.flows.find(&key) {
            Some(slot) => slot,
            None if self.flows.refused(now, &key) => {
                self.counters.accepted += 1;
                self.counters.dropped_out.add(DropReason::Denied, 1);
                self.set_tap_time(now);
                self.witness_loss(Whose::Source(tunnel, source), Heading::Out, DropReason::Denied, payload);
                return Err(SendError::Refused);
            }
            None => {
                let begun = self.begin_flow(now, tunnel, Some(source), None);
                let slot = self.count_refusal(now, begun, Whose::Source(tunnel, source), payload)?;
                let unconfirmed = self.is_reached_by_others(tunnel, source);
                if let Some(flow) = self.flows.at_mut(slot) {
                    flow.unconfirmed = unconfirmed;
                }
                slot
            }
        };
        if let Some(flow) = self.flows.at_mut(slot).filter(|flow| flow.unconfirmed) {
            flow.unconfirmed = !self.replies.heard(now, source.ip(), payload.len());
        }
        let sent = self.send_on(now, slot, None, payload);
        self.count_refusal(now, sent, Whose::Source(tunnel, source), payload)
    }

    /// Whether a listener is one at which the source of a datagram may be forged. This machine's own addresses come
    /// from nowhere else.
    fn is_reached_by_others(&self, tunnel: TunnelId, source: SocketAddr) -> bool {
        let is_own = |at: SocketAddr| at.ip().to_canonical().is_loopback();
        let listening = self.tunnels.outcomes.get(&tunnel).and_then(|outcome| outcome.ok());
        listening.is_some_and(|at| !is_own(at)) && !is_own(source)
    }

    /// Begins a flow by hand. Datagrams may follow at once; the OPEN travels with them.
    pub fn open_flow(
        &mut self,
        now: Instant,
        tunnel: TunnelId,
        source: Option<SocketAddr>,
        destination: Option<Address>,
    ) -> Result<FlowId, SendError> {
        let slot = self.begin_flow(now, tunnel, source, destination)?;
        self.flows.at(slot).map(Flow::id).ok_or(SendError::Closed)
    }

    /// Sends a datagram on a flow; `address` is a destination other than the flow's own.
    pub fn send(
        &mut self,
        now: Instant,
        flow: FlowId,
        address: Option<&Address>,
        payload: &[u8],
    ) -> Result<FlowId, SendError> {
        let slot = self.flows.slot(flow).ok_or(SendError::Flow(flow))?;
        self.send_on(now, slot, address, payload)
    }

    /// Like [`send`](Self::send), for a datagram with nobody left to be returned to: what is not taken is
    /// dropped, and counted.
    pub fn post(
        &mut self,
        now: Instant,
        flow: FlowId,
        address: Option<&Address>,
        payload: &[u8],
    ) -> Result<FlowId, SendError> {
        let sent = self.send(now, flow, address, payload);
        self.count_refusal(now, sent, Whose::Flow(flow, address.into()), payload)
    }

    /// A datagram came back to a flow's socket.
    pub fn handle_answer(
        &mut self,
        now: Instant,
        flow: FlowId,
        from: SocketAddr,
        payload: &[u8],
    ) -> Result<FlowId, SendError> {
        let slot = self.flows.slot(flow).ok_or(SendError::Flow(flow))?;
        let alone = self.flows.at(slot).is_some_and(|flow| flow.places.len() <= 1);
        let address = (!alone).then(|| Address::from(from));
        let sent = self.send_on(now, slot, address.as_ref(), payload);
        self.count_refusal(now, sent, Whose::Flow(flow, Spot::At(from)), payload)
    }

    /// Ends a flow of this side, when what it sent so far is settled.
    pub fn close_flow(&mut self, now: Instant, flow: FlowId) {
        if let Some(slot) = self.flows.slot(flow) {
            self.begin_close(now, slot, Code::Done);
        }
    }

    /// Ends a flow now, whoever opened it: what is queued for it is dropped, and what comes for one of the
    /// remote is not delivered any more. Its source may begin another. Says whether there was such a flow.
    pub fn cut_flow(&mut self, now: Instant, flow: FlowId) -> bool {
        let Some(slot) = self.flows.slot(flow) else { return false };
        self.set_tap_time(now);
        self.drop_queue(slot, DropReason::Closed);
        self.end_flow(now, slot);
        true
    }

    /// The next flow with datagrams to deliver.
    pub fn poll_ready(&mut self) -> Option<FlowId> {
        self.flows.pop_ready()
    }

    /// Whether [`poll_ready`](Self::poll_ready) has something.
    pub fn has_ready(&self) -> bool {
        self.flows.has_ready()
    }

    /// What a flow holds to be delivered, oldest first.
    pub fn inbox(&self, flow: FlowId) -> impl Iterator<Item = &Inbound> {
        self.flows.get(flow).into_iter().flat_map(|flow| flow.inbox.held.iter())
    }

    /// Whose a flow is, where it began and where it goes.
    pub fn words(&self, flow: FlowId) -> Option<&Open> {
        self.flows.get(flow).map(|flow| &flow.open)
    }

    /// Whether this side opened the flow, so that what its inbox holds goes to its source.
    pub fn opened_here(&self, flow: FlowId) -> bool {
        self.flows.get(flow).is_some_and(|flow| flow.ours)
    }

    /// Whether a flow of the remote sends there, so that what comes from there may be an answer.
    pub fn sends_to(&self, flow: FlowId, from: SocketAddr) -> bool {
        let same = |at: SocketAddr| at.ip().to_canonical() == from.ip().to_canonical() && at.port() == from.port();
        let places = self.flows.get(flow).map_or(&[][..], |flow| &flow.places);
        places.iter().any(|place| matches!(place.state, PlaceState::At(at) if same(at)))
    }

    /// The first `count` datagrams of a flow's inbox reached their socket.
    pub fn delivered(&mut self, flow: FlowId, count: usize) {
        self.take_held(flow, count, None);
    }

    /// The first `count` datagrams of a flow's inbox did not, and never will.
    pub fn undelivered(&mut self, flow: FlowId, count: usize, reason: DropReason) {
        self.take_held(flow, count, Some(reason));
    }

    /// A flow's socket takes no more until [`unblock`](Self::unblock): its datagrams are held, within bounds.
    pub fn block(&mut self, flow: FlowId) {
        let Some(slot) = self.flows.slot(flow) else { return };
        if let Some(flow) = self.flows.at_mut(slot) {
            flow.inbox.block();
        }
        self.hold(slot);
    }

    /// A flow's socket takes datagrams again. What waited longer than its class allows is dropped.
    pub fn unblock(&mut self, now: Instant, flow: FlowId) {
        self.set_tap_time(now);
        let Some(slot) = self.flows.slot(flow) else { return };
        self.drop_aged(now, slot);
        if let Some(flow) = self.flows.at_mut(slot) {
            flow.inbox.blocked = false;
        }
        self.flows.list(slot);
    }

    /// Counts a datagram that is not taken, and has nobody to be returned to.
    fn count_refusal<T>(
        &mut self,
        now: Instant,
        outcome: Result<T, SendError>,
        whose: Whose<'_>,
        payload: &[u8],
    ) -> Result<T, SendError> {
        let reason = match &outcome {
            Ok(_) | Err(SendError::Refused) => return outcome,
            Err(SendError::TooLarge { .. }) => DropReason::Oversize,
            Err(SendError::Full { .. }) => DropReason::Full,
            Err(SendError::Closed | SendError::Flow(_) | SendError::Tunnel(_)) => DropReason::Closed,
        };
        self.counters.accepted += 1;
        self.counters.dropped_out.add(reason, 1);
        self.set_tap_time(now);
        self.witness_loss(whose, Heading::Out, reason, payload);
        outcome
    }

    /// Queues a datagram that is accepted already.
    pub(crate) fn enqueue(
        &mut self,
        now: Instant,
        slot: Slot,
        address: Option<&Address>,
        extension: Option<u8>,
        payload: &[u8],
    ) {
        let at = self.activity.moment(now, &self.links);
        let Some(flow) = self.flows.at_mut(slot) else { return };
        if flow.books.in_flight == 0 && self.queues.flow_len(slot) == 0 {
            flow.home = Lane::ANY;
        }
        let spec = FlowSpec { class: flow.open.class, copies: flow.open.copies, lane: flow.home };
        let mut record = std::mem::take(&mut self.scratch.record);
        record.clear();
        batch::emit_record(&mut record, flow.open.flow, address, extension, payload);
        let fits = self.memory.used() > 0 && self.queues.fits(slot, spec.class, record.len());
        let room = if fits { usize::MAX } else { usize::try_from(self.memory.room()).unwrap_or(usize::MAX) };
        let mut lost = Vec::new();
        self.queues.push(at, slot, spec, &record, room, &mut |dropped| lost.push(dropped));
        self.scratch.record = record;
        for dropped in lost {
            self.count_dropped(dropped);
        }
        if !fits {
            self.settle_memory();
        }
    }

    /// Brings the lease of memory to what is really held.
    pub(crate) fn settle_memory(&mut self) {
        let held = self.queues.held() + self.working_memory();
        let held = u64::try_from(held).unwrap_or(u64::MAX);
        let used = self.memory.used();
        if held < used {
            self.memory.give(used - held);
        } else if held > used {
            // Others may have been faster; what the pool does not have now, the next datagram is refused for.
            let missing = held - used;
            let _ = self.memory.take(missing) || self.memory.take(missing.min(self.memory.room()));
        }
    }

    /// What is held for batches under way. A session that is not at rest counts for what the first of
    /// them need before it has them, so that what was queued in the last of the pool can still leave.
    fn working_memory(&self) -> usize {
        let held = self.unresolved.held() + self.scratch.held() + self.link_memory;
        if self.is_resting() { held } else { held.max(WORKING) }
    }

    /// Whether another batch may be held until it is acknowledged.
    pub(crate) fn affords_batch(&self) -> bool {
        self.working_memory() <= WORKING || self.unresolved.is_empty() || self.memory.room() > 0
    }

    /// Says how much memory the links hold for what they have to write, so that it counts as the session's.
    pub fn set_link_memory(&mut self, bytes: usize) {
        self.link_memory = bytes;
    }

    /// Stops a flow's sending; its CLOSE follows when everything of it is settled.
    pub(crate) fn begin_close(&mut self, _now: Instant, slot: Slot, code: Code) {
        let Some(flow) = self.flows.at_mut(slot) else { return };
        if flow.out == Direction::Open {
            flow.out = Direction::Closing(code);
            self.flows.release_key(slot);
            // It makes room already: whoever is asked for room next has to be another.
            self.flows.keep(slot);
        }
        self.settle_close(slot);
    }

    /// Cuts a flow's CLOSE once nothing of it is queued or unresolved.
    pub(crate) fn settle_close(&mut self, slot: Slot) {
        let Some(flow) = self.flows.at_mut(slot) else { return };
        let Direction::Closing(code) = flow.out else { return };
        if flow.books.in_flight > 0 || self.queues.flow_len(slot) > 0 {
            return;
        }
        if flow.ours && !flow.short {
            // The remote never heard of it, so there is nobody to tell.
            self.remove_flow(slot, code);
            return;
        }
        flow.out = Direction::Closed(code);
        let totals = flow.totals();
        let flow = flow.open.flow;
        self.control(Control::Close(FlowClose { flow, code, totals }));
    }

    /// The remote has processed our CLOSE.
    pub(crate) fn close_processed(&mut self, _now: Instant, slot: Slot) {
        let Some(flow) = self.flows.at_mut(slot) else { return };
        let code = flow.code();
        flow.out = Direction::Done(code);
        if flow.over() {
            self.remove_flow(slot, code);
        }
    }

    /// Drops what a flow has queued.
    pub(crate) fn drop_queue(&mut self, slot: Slot, reason: DropReason) {
        let kept = self.queues.witness.as_ref().map_or(0, Vec::len);
        let (datagrams, _) = self.queues.clear(slot);
        self.witness_cleared(kept, reason);
        let count = datagrams as u64;
        self.counters.dropped_out.add(reason, count);
        if let Some(flow) = self.flows.at_mut(slot) {
            flow.books.dropped.add(reason, count);
        }
    }

    /// Forgets a flow for good.
    pub(crate) fn remove_flow(&mut self, slot: Slot, code: Code) {
        self.drop_queue(slot, DropReason::Closed);
        self.witness_inbox(slot, DropReason::Closed);
        let Some(mut flow) = self.flows.remove(slot) else { return };
        let left = flow.empty_inbox(DropReason::Closed);
        self.counters.dropped_in.add(DropReason::Closed, left);
        if flow.socket {
            self.needs.push_back(super::Need::CloseSocket(flow.id()));
        }
        self.event(Event::FlowClosed { flow: flow.id(), code });
    }

    /// Queues a control for the next batch of controls.
    pub(crate) fn control(&mut self, control: Control) {
        self.controls.push_back(control);
    }

    fn begin_flow(
        &mut self,
        now: Instant,
        tunnel: TunnelId,
        source: Option<SocketAddr>,
        destination: Option<Address>,
    ) -> Result<Slot, SendError> {
        if self.closed() || self.drain.takes_nothing() {
            return Err(SendError::Closed);
        }
        let (treatment, target) = self.tunnels.treatment(tunnel).ok_or(SendError::Tunnel(tunnel))?;
        let limit = self.limits.flows.min(usize::try_from(self.remote.flows).unwrap_or(usize::MAX));
        if self.flows.len() >= limit - limit / 4
            && let Some(idle) = self.flows.evictable(now, EVICTION_REST)
        {
            self.begin_close(now, idle, Code::Idle);
        }
        if self.flows.len() >= limit {
            return Err(SendError::Full { limit });
        }
        let seat = self.seat().map_err(|limit| SendError::Full { limit })?;
        let id = self.flows.draw();
        let open = Open {
            class: treatment.class,
            copies: treatment.copies,
            spread: treatment.spread,
            idle: treatment.idle,
            source,
            destination: destination.or(target),
            ..Open::new(id, tunnel)
        };
        let look = now + self.limits.idle_one_shot.min(treatment.idle);
        let key = source.map(|source| (tunnel, source));
        let flow = Flow { seat, ..Flow::new(now, open, true, Limiter::new(Rates::default())) };
        let slot = self.flows.insert(flow, key, look);
        self.event(Event::FlowOpened { flow: id, tunnel, by_remote: false });
        Ok(slot)
    }

    fn send_on(
        &mut self,
        now: Instant,
        slot: Slot,
        address: Option<&Address>,
        payload: &[u8],
    ) -> Result<FlowId, SendError> {
        if self.closed() || self.drain.takes_nothing() {
            return Err(SendError::Closed);
        }
        let limit = self.limits.datagram.min(self.largest_datagram(address));
        if payload.len() > limit {
            return Err(SendError::TooLarge { len: payload.len(), limit });
        }
        let Some(flow) = self.flows.at_mut(slot) else { return Err(SendError::Closed) };
        let id = flow.id();
        if flow.out != Direction::Open {
            return Err(SendError::Flow(id));
        }
        flow.books.accepted += 1;
        flow.books.bytes_out += payload.len() as u64;
        flow.used = now;
        if !flow.one_shot() {
            self.flows.keep(slot);
        }
        self.counters.accepted += 1;
        self.counters.bytes_out += payload.len() as u64;
        if self.tap.is_some() {
            self.set_tap_time(now);
            self.witness(slot, Heading::Out, Fate::Taken, address.into(), payload);
        }
        self.enqueue(now, slot, address, None, payload);
        Ok(id)
    }

    /// What fits in one message of the remote with everything that stands around it.
    fn largest_datagram(&self, address: Option<&Address>) -> usize {
        let name = match address.map(|address| &address.host) {
            Some(Host::Name(name)) => name.len(),
            Some(Host::Ip(_)) | None => 0,
        };
        usize::try_from(self.remote.message).unwrap_or(usize::MAX).saturating_sub(AROUND + name)
    }

    fn take_held(&mut self, flow: FlowId, count: usize, dropped: Option<DropReason>) {
        let Some(slot) = self.flows.slot(flow) else { return };
        for _ in 0..count {
            let Some((_, inbound)) = self.flows.at_mut(slot).and_then(|flow| flow.inbox.pop()) else { break };
            let spot = Spot::from(inbound.address);
            match dropped {
                Some(reason) => self.refuse_datagram(slot, reason, spot, &inbound.payload),
                None => {
                    self.witness(slot, Heading::In, Fate::Delivered, spot, &inbound.payload);
                    if let Some(flow) = self.flows.at_mut(slot) {
                        flow.books.delivered += 1;
                        flow.books.bytes_in += inbound.payload.len() as u64;
                    }
                    self.counters.delivered += 1;
                    self.counters.bytes_in += inbound.payload.len() as u64;
                }
            }
        }
        self.flows.list(slot);
    }

    /// Counts a datagram from the remote that is not delivered.
    pub(crate) fn refuse_datagram(&mut self, slot: Slot, reason: DropReason, spot: Spot<'_>, payload: &[u8]) {
        self.witness(slot, Heading::In, Fate::Dropped(reason), spot, payload);
        if let Some(flow) = self.flows.at_mut(slot) {
            flow.books.refused.add(reason, 1);
        }
        self.counters.dropped_in.add(reason, 1);
    }

    /// Drops from a flow's inbox what waited longer than its class allows.
    pub(crate) fn drop_aged(&mut self, now: Instant, slot: Slot) {
        let Some(flow) = self.flows.at(slot) else { return };
        let age = self.age(flow.open.class);
        let old = |inbound: &Inbound| now.saturating_duration_since(inbound.at) > age;
        let count = flow.inbox.held.iter().take_while(|inbound| old(inbound)).count();
        for _ in 0..count {
            let Some((_, inbound)) = self.flows.at_mut(slot).and_then(|flow| flow.inbox.pop()) else { break };
            self.refuse_datagram(slot, DropReason::Age, Spot::from(inbound.address), &inbound.payload);
        }
    }
}

impl Role {
    /// Whether a flow's id is one that the other half may draw.
    pub(crate) fn remote_may_open(self, flow: FlowId) -> bool {
        match self {
            Self::Client => flow.0.is_multiple_of(2),
            Self::Server => !flow.0.is_multiple_of(2),
        }
    }
}

/// A window at its start, the messages in a link's output and one in the making.
const WORKING: usize = 96 << 10;
/// Heads, an OPEN and an address beside one datagram in a message.
const AROUND: usize = 1_024;
/// A one-shot flow unused for this long may make room for another.
const EVICTION_REST: std::time::Duration = std::time::Duration::from_secs(1);

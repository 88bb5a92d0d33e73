//! The choke point: what the remote opens, where it may go, and what becomes of the rest.

use std::net::SocketAddr;
use std::time::Instant;

use super::flow::{Direction, Flow, Inbound, Place, PlaceState};
use super::queue::Slot;
use super::tap::Spot;
use super::{Access, Need, Role, Session};
use crate::access::{Admit, Decision, Destination, Limiter, RuleRef, Seat};
use crate::event::Event;
use crate::stats::DropReason;
use crate::wire::{Address, Class, Closed, Code, Control, FlowClose, FlowId, Host, Open, Record};

impl Session {
    pub(crate) fn handle_control(&mut self, now: Instant, control: Control) {
        match control {
            Control::Bind(bind) => self.handle_bind(now, bind),
            Control::Bound(bound) => self.handle_bound(now, bound),
            Control::Close(close) => self.handle_flow_close(now, close),
            Control::Closed(closed) => self.handle_closed(now, closed),
            Control::Open(open) => self.handle_open(now, *open),
            Control::Renew(credential) => self.handle_renew(credential),
            Control::Renewed(outcome) => self.handle_renewed(outcome),
            Control::Skipped => {}
            Control::Unbind(tunnel) => self.handle_unbind(now, tunnel),
        }
    }

    /// Answers [`Need::Socket`].
    pub fn handle_socket(&mut self, now: Instant, flow: FlowId, outcome: Result<(), Code>) {
        let Some(slot) = self.flows.slot(flow) else { return };
        if let Err(code) = outcome {
            if let Some(flow) = self.flows.at_mut(slot) {
                flow.socket = false;
            }
            self.refuse_flow(now, slot, code);
        }
    }

    /// Answers [`Need::Resolve`]. Every answer is judged; the first that is allowed is used.
    pub fn handle_resolved(&mut self, now: Instant, flow: FlowId, name: &str, port: u16, answers: &[SocketAddr]) {
        let Some(slot) = self.flows.slot(flow) else { return };
        let asked = |place: &Place| {
            place.state == PlaceState::Finding && place.address.port == port && is_name(&place.address, name)
        };
        let Some(index) = self.flows.at(slot).and_then(|flow| flow.places.iter().position(asked)) else { return };
        let mut judged = answers.iter().take(ANSWERS).map(|at| (*at, self.judge(now, Some(name), *at)));
        let first = judged.next();
        let chosen = first.filter(|(_, judged)| judged.allowed()).or_else(|| judged.find(|(_, it)| it.allowed()));
        let state = match chosen {
            Some((at, _)) => PlaceState::At(SocketAddr::new(at.ip(), port)),
            None if first.is_none() => PlaceState::Denied(DropReason::Unreachable),
            None => PlaceState::Denied(DropReason::Denied),
        };
        if let Some((at, judged)) = chosen.or(first) {
            self.tell_judged(slot, index, Some(SocketAddr::new(at.ip(), port)), judged);
        }
        let Some(place) = self.flows.at_mut(slot).and_then(|flow| flow.places.get_mut(index)) else { return };
        place.state = state;
        self.settle_place(now, slot, index);
    }

    /// Takes a new snapshot of what may be done, and looks at everything that is open again.
    pub fn regrant(&mut self, now: Instant, access: Access) {
        if self.closed() {
            return;
        }
        let (rates, flow_rates) = (access.grant.rates, access.grant.flow_rates);
        self.access = Some(access);
        self.draw.set_rates(rates);
        for slot in self.flows.slots() {
            let Some(flow) = self.flows.at_mut(slot).filter(|flow| !flow.ours) else { continue };
            flow.limiter.set_rates(now, flow_rates);
            let open = flow.open.clone();
            if let Some(code) = self.refusal(&open) {
                self.tell_refused(slot, code);
                self.refuse_flow(now, slot, code);
                continue;
            }
            let Some(flow) = self.flows.at(slot) else { continue };
            let places = flow.places.clone();
            for (index, place) in places.iter().enumerate() {
                let PlaceState::At(at) = place.state else { continue };
                let name = match &place.address.host {
                    Host::Name(name) => Some(&**name),
                    Host::Ip(_) => None,
                };
                let judged = self.judge(now, name, at);
                if !judged.allowed() {
                    self.tell_judged(slot, index, Some(at), judged);
                    self.deny_place(now, slot, index, DropReason::Denied);
                }
            }
        }
        self.recheck_listeners(now);
    }

    /// Takes one datagram for a flow that the remote sends on.
    pub(crate) fn deliver(&mut self, now: Instant, slot: Slot, record: Record) {
        let bytes = record.payload.len();
        let Some(flow) = self.flows.at_mut(slot) else { return };
        if flow.stopped || flow.ended {
            return self.refuse_datagram(slot, DropReason::Closed, record.address.as_ref().into(), &record.payload);
        }
        if flow.ours {
            // An answer: only an address can be named, since names are for those who resolve them.
            let address = record.address.as_ref().and_then(|address| match address.host {
                Host::Ip(ip) => Some(SocketAddr::new(ip, address.port)),
                Host::Name(_) => None,
            });
            let source = flow.open.source.filter(|_| flow.unconfirmed);
            if source.is_some_and(|source| !self.replies.admit(now, source.ip(), bytes)) {
                return self.refuse_datagram(slot, DropReason::Unconfirmed, address.into(), &record.payload);
            }
            flow.inbox.push(Inbound { at: now, address, payload: record.payload });
            return self.hold(slot);
        }
        // What a flow may not send must not use up what the others may.
        if flow.limiter.admit(now, bytes) != Admit::Yes || !self.draw.admit(now, bytes) {
            return self.refuse_datagram(slot, DropReason::Rate, record.address.as_ref().into(), &record.payload);
        }
        let index = match record.address {
            Some(address) => self.place(now, slot, address),
            None => 0,
        };
        let Some(flow) = self.flows.at_mut(slot) else { return };
        let used = flow.books.processed;
        let Some(place) = flow.places.get_mut(index) else {
            return self.refuse_datagram(slot, DropReason::Denied, Spot::Own, &record.payload);
        };
        place.used = used;
        match place.state {
            PlaceState::At(at) => flow.inbox.push(Inbound { at: now, address: Some(at), payload: record.payload }),
            PlaceState::Finding => {
                let address = place.address.clone();
                flow.inbox.push_finding(address, Inbound { at: now, address: None, payload: record.payload });
            }
            PlaceState::Denied(reason) => {
                return self.refuse_datagram(slot, reason, Spot::Place(index), &record.payload);
            }
        }
        self.hold(slot);
    }

    /// Refuses a flow of the remote, or ends it by policy: it is told, and its id stays closed until it answers.
    pub(crate) fn refuse_flow(&mut self, now: Instant, slot: Slot, code: Code) {
        let Some(flow) = self.flows.at_mut(slot) else { return };
        if flow.stopped {
            return;
        }
        flow.stopped = true;
        flow.seat = None;
        self.witness_inbox(slot, reason_of(code));
        let Some(flow) = self.flows.at_mut(slot) else { return };
        let left = flow.empty_inbox(reason_of(code));
        let (id, socket) = (flow.id(), std::mem::take(&mut flow.socket));
        self.counters.dropped_in.add(reason_of(code), left);
        if socket {
            self.needs.push_back(Need::CloseSocket(id));
        }
        self.control(Control::Closed(Closed { flow: id, code }));
        self.drop_queue(slot, DropReason::Closed);
        self.begin_close(now, slot, code);
    }

    fn handle_open(&mut self, now: Instant, open: Open) {
        if self.flows.slot(open.flow).is_some() {
            return;
        }
        if self.flows.len() >= self.limits.flows * 2 {
            // Refused flows hold a place until the remote has answered; one that never answers is no friend.
            return self.fail(now, Code::Limit);
        }
        let seat = self.seat();
        let crowded = self.flows.len() >= self.limits.flows || seat.is_err();
        let (id, tunnel) = (open.flow, open.tunnel);
        let refusal = if crowded { Some(Code::Full) } else { self.refusal(&open) };
        let destination = match self.role {
            Role::Client => self.tunnels.target(tunnel),
            Role::Server => open.destination.clone(),
        };
        let rates = self.access.as_ref().map(|access| access.grant.flow_rates).unwrap_or_default();
        let look = now + open.idle.saturating_mul(2).min(LONGEST_IDLE);
        let flow = Flow { seat: seat.unwrap_or_default(), ..Flow::new(now, open, false, Limiter::new(rates)) };
        let slot = self.flows.insert(flow, None, look);
        self.event(Event::FlowOpened { flow: id, tunnel, by_remote: true });
        match (refusal, destination) {
            (Some(code), _) => {
                self.tell_refused(slot, code);
                self.refuse_flow(now, slot, code);
            }
            (None, Some(destination)) => {
                self.place(now, slot, destination);
            }
            (None, None) => self.refuse_flow(now, slot, Code::Denied),
        }
    }

    /// A place for one more flow among those of the principal; a client needs none.
    pub(crate) fn seat(&self) -> Result<Option<Seat>, usize> {
        let Some(Access { grant, .. }) = &self.access else { return Ok(None) };
        self.draw.allowance().seat(grant.flows).map(Some).ok_or(grant.flows)
    }

    /// What about an OPEN is refused whatever its destination.
    fn refusal(&self, open: &Open) -> Option<Code> {
        if open.kind != 0 {
            return Some(Code::Unknown);
        }
        if self.grants(open.class, open.copies) { None } else { Some(Code::Denied) }
    }

    /// Whether datagrams may be treated like this.
    pub(crate) fn grants(&self, class: Class, copies: u8) -> bool {
        match (&self.access, self.role) {
            (Some(Access { grant, .. }), _) => grant.classes.allows(class) && copies <= grant.copies,
            (None, Role::Client) => true,
            (None, Role::Server) => false,
        }
    }

    fn handle_flow_close(&mut self, now: Instant, close: FlowClose) {
        let Some(slot) = self.flows.slot(close.flow) else { return };
        let Some(flow) = self.flows.at_mut(slot) else { return };
        if flow.ended {
            return;
        }
        flow.ended = true;
        let seen = flow.books.processed - flow.base.processed;
        if close.totals.acknowledged != seen {
            self.event(Event::BooksDiffer { flow: close.flow, said: close.totals.acknowledged, seen });
        }
        self.begin_close(now, slot, close.code);
        self.remove_if_over(slot);
    }

    /// The remote will not have this flow, or knows nothing of it.
    fn handle_closed(&mut self, now: Instant, closed: Closed) {
        let Some(slot) = self.flows.slot(closed.flow) else { return };
        let Some(flow) = self.flows.at_mut(slot) else { return };
        if closed.code == Code::Unknown {
            flow.ended = true;
        }
        // The remote answered, so it has heard of the flow, whatever became of the batch.
        flow.short = true;
        let refused = matches!(closed.code, Code::Denied | Code::Full | Code::Unreachable | Code::Unknown);
        if let Some(key) = super::flows::key(flow).filter(|_| refused) {
            let Self { flows, limits, .. } = self;
            flows.refuse(now, key, limits.refusal_min, limits.refusal_max, limits.refusals);
        }
        self.drop_queue(slot, DropReason::Closed);
        self.begin_close(now, slot, closed.code);
        self.remove_if_over(slot);
    }

    fn remove_if_over(&mut self, slot: Slot) {
        if let Some(flow) = self.flows.at(slot)
            && flow.over()
        {
            let code = flow.code();
            self.remove_flow(slot, code);
        }
    }

    /// Finds the destination of a flow by what the remote calls it, or judges a new one. Says which place it has.
    fn place(&mut self, now: Instant, slot: Slot, address: Address) -> usize {
        let Some(flow) = self.flows.at_mut(slot) else { return 0 };
        if let Some(index) = flow.places.iter().position(|place| place.address == address) {
            return index;
        }
        let (state, judged) = match &address.host {
            Host::Ip(ip) => {
                let at = SocketAddr::new(*ip, address.port);
                let judged = self.judge(now, None, at);
                let denied = PlaceState::Denied(DropReason::Denied);
                (if judged.allowed() { PlaceState::At(at) } else { denied }, Some((at, judged)))
            }
            Host::Name(name) => {
                let id = self.flows.at(slot).map_or(FlowId::CONTROL, Flow::id);
                self.needs.push_back(Need::Resolve { flow: id, name: name.clone(), port: address.port });
                (PlaceState::Finding, None)
            }
        };
        let cap = self.limits.destinations;
        let Some(flow) = self.flows.at_mut(slot) else { return 0 };
        let place = Place { address, state, used: flow.books.processed };
        let index = if flow.places.len() < cap { flow.places.len() } else { least_used(&flow.places) };
        let replaced = match flow.places.get_mut(index) {
            Some(old) => Some(std::mem::replace(old, place)),
            None => {
                flow.places.push(place);
                None
            }
        };
        if let Some(replaced) = replaced {
            // Nobody looks its name up any more, so nothing would ever come for what waits.
            self.drop_waiting(slot, &replaced.address, DropReason::Full);
        }
        if let Some((at, judged)) = judged {
            self.tell_judged(slot, index, Some(at), judged);
        }
        self.settle_place(now, slot, index);
        index
    }

    /// A place became an address, or nothing: moves what waited for it.
    fn settle_place(&mut self, now: Instant, slot: Slot, index: usize) {
        let Some(flow) = self.flows.at_mut(slot) else { return };
        let Some(place) = flow.places.get(index).cloned() else { return };
        match place.state {
            PlaceState::Finding => {}
            PlaceState::Denied(reason) => self.deny_place(now, slot, index, reason),
            PlaceState::At(at) => {
                let waiting = std::mem::take(&mut flow.inbox.finding);
                for (address, inbound) in waiting {
                    if address == place.address {
                        flow.inbox.held.push_back(Inbound { address: Some(at), ..inbound });
                    } else {
                        flow.inbox.finding.push_back((address, inbound));
                    }
                }
                if !flow.socket {
                    flow.socket = true;
                    let flow = flow.id();
                    self.needs.push_back(Need::Socket { flow, to: at });
                }
                self.drop_aged(now, slot);
                self.flows.list(slot);
            }
        }
    }

    /// A destination is not allowed: the first is what the flow was opened for, so the flow goes with it.
    fn deny_place(&mut self, now: Instant, slot: Slot, index: usize, reason: DropReason) {
        if index == 0 {
            let code = if reason == DropReason::Denied { Code::Denied } else { Code::Unreachable };
            return self.refuse_flow(now, slot, code);
        }
        let Some(flow) = self.flows.at_mut(slot) else { return };
        let Some(place) = flow.places.get_mut(index) else { return };
        place.state = PlaceState::Denied(reason);
        let address = place.address.clone();
        self.drop_waiting(slot, &address, reason);
    }

    /// Drops what waits for a destination to be found.
    fn drop_waiting(&mut self, slot: Slot, address: &Address, reason: DropReason) {
        let Some(flow) = self.flows.at_mut(slot) else { return };
        let waiting = std::mem::take(&mut flow.inbox.finding);
        let (lost, kept): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(other, _)| other == address);
        flow.inbox.bytes -= lost.iter().map(|(_, inbound)| inbound.payload.len()).sum::<usize>();
        flow.inbox.finding = kept.into();
        for (address, inbound) in lost {
            self.refuse_datagram(slot, reason, Spot::Named(&address), &inbound.payload);
        }
    }

    /// Bounds what a flow holds, and puts it on the list of those with something to deliver.
    pub(crate) fn hold(&mut self, slot: Slot) {
        let (most, bytes) = (self.limits.hold, self.limits.hold_bytes);
        while let Some(flow) = self.flows.at_mut(slot)
            && (flow.inbox.blocked || !flow.inbox.finding.is_empty())
            && (flow.inbox.len() > most || (flow.inbox.bytes > bytes && flow.inbox.len() > 1))
        {
            let Some((name, inbound)) = flow.inbox.pop() else { break };
            let spot = name.as_ref().map_or(Spot::from(inbound.address), Spot::Named);
            self.refuse_datagram(slot, DropReason::Full, spot, &inbound.payload);
        }
        self.flows.list(slot);
    }

    /// Whether datagrams may go there: the one place where this is decided.
    fn judge(&self, now: Instant, name: Option<&str>, address: SocketAddr) -> Judged {
        match (&self.access, self.role) {
            (Some(Access { grant, own }), _) => {
                Judged::By(grant.decide(now, &Destination { name, address }, own), grant.version)
            }
            // A client delivers where its own tunnels say, and nowhere else.
            (None, Role::Client) => Judged::Without(true),
            (None, Role::Server) => Judged::Without(false),
        }
    }

    /// Tells what a grant has decided on a place of a flow. Of further places that are allowed nobody is told: there
    /// may be one for every datagram.
    fn tell_judged(&mut self, slot: Slot, index: usize, at: Option<SocketAddr>, judged: Judged) {
        let Judged::By(decision, version) = judged else { return };
        let Some(flow) = self.flows.at(slot).filter(|flow| !flow.stopped && (index == 0 || !decision.allowed)) else {
            return;
        };
        let Some(place) = flow.places.get(index) else { return };
        let (flow, to) = (flow.id(), place.address.clone());
        self.event(Event::FlowJudged { flow, to, at, decision, version });
    }

    /// Tells that a flow may not be treated as it wants to be.
    fn tell_refused(&mut self, slot: Slot, code: Code) {
        let Some(Access { grant, .. }) = self.access.as_ref().filter(|_| code == Code::Denied) else { return };
        let version = grant.version;
        let Some(flow) = self.flows.at(slot) else { return };
        let Some(to) = flow.open.destination.clone() else { return };
        let decision = Decision::no(RuleRef::Treatment);
        self.event(Event::FlowJudged { flow: flow.id(), to, at: None, decision, version });
    }

    /// The remote took a flow, as its first answer shows: its source is forgiven earlier refusals.
    pub(crate) fn forgive(&mut self, slot: Slot) {
        let taken = self.flows.at(slot).filter(|flow| flow.out == Direction::Open);
        if let Some(key) = taken.and_then(super::flows::key) {
            self.flows.forgive(&key);
        }
    }
}

/// What came of a question where datagrams may go.
#[derive(Clone, Copy, Debug)]
enum Judged {
    /// A grant of this version has decided.
    By(Decision, u64),
    /// No grant was asked.
    Without(bool),
}

impl Judged {
    const fn allowed(self) -> bool {
        match self {
            Self::By(Decision { allowed, .. }, _) | Self::Without(allowed) => allowed,
        }
    }
}

fn is_name(address: &Address, name: &str) -> bool {
    matches!(&address.host, Host::Name(asked) if **asked == *name)
}

/// The least recently used destination but the first, which the flow was opened for.
fn least_used(places: &[Place]) -> usize {
    places.iter().enumerate().skip(1).min_by_key(|(_, place)| place.used).map_or(0, |(index, _)| index)
}

fn reason_of(code: Code) -> DropReason {
    if code == Code::Denied {
        DropReason::Denied
    } else if code == Code::Unreachable {
        DropReason::Unreachable
    } else {
        DropReason::Closed
    }
}

/// Answers to one name that are looked at.
const ANSWERS: usize = 32;
/// A remote may not keep an idle flow for longer than this.
const LONGEST_IDLE: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);

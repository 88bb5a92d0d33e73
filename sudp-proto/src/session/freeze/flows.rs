//! Flows, their inboxes and what they have queued, as plain data; and what they need anew.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use foldhash::fast::FixedState;

use super::ThawError;
use super::plain::{In, Out, Plain as _};
use crate::access::{Limiter, Rates};
use crate::session::flow::{Books, Direction, Flow, Inbox, PlaceState};
use crate::session::flows::key;
use crate::session::queue::{FlowSpec, Lane, Moment, QueueLimits, Queues};
use crate::session::tunnels::Way;
use crate::session::{Need, Session};
use crate::wire::{Bind, FlowId, Host, Open, Records};

impl Session {
    pub(super) fn put_flows(&self, out: &mut Out) {
        self.flows.next_id().put(out);
        self.flows.len().put(out);
        for (slot, flow) in self.flows.iter() {
            let keyed = key(flow).is_some_and(|key| self.flows.find(&key) == Some(slot));
            keyed.put(out);
            put_flow(flow, out);
        }
    }

    pub(super) fn take_flows(&mut self, now: Instant, input: &mut In<'_>) -> Result<(), ThawError> {
        let next: u64 = input.take()?;
        let count: usize = input.take()?;
        for _ in 0..count {
            let keyed: bool = input.take()?;
            let flow = self.take_flow(now, input)?;
            let (id, ours, look) = (flow.id(), flow.ours, flow.look);
            let busy = !flow.one_shot() || flow.out != Direction::Open;
            let known = self.flows.slot(id).is_some();
            if known || ours == self.role.remote_may_open(id) || ours && id.0 >= next {
                return Err(ThawError::Malformed("flow id used twice, or not its opener's to give"));
            }
            let key = key(&flow).filter(|_| keyed);
            let slot = self.flows.insert(flow, key, look);
            if busy {
                self.flows.keep(slot);
            }
            self.flows.list(slot);
        }
        if next == 0 || self.role.remote_may_open(FlowId(next)) {
            return Err(ThawError::Malformed("the next flow id is the remote's to give"));
        }
        self.flows.set_next_id(next);
        Ok(())
    }

    /// What is queued, oldest first whatever its class, as it has to be queued again.
    pub(super) fn put_queue(&self, now: Instant, out: &mut Out) {
        let mut queued: Vec<_> = self.queues.iter(now).collect();
        queued.sort_by_key(|(_, wait, _)| Reverse(*wait));
        let queued =
            queued.into_iter().filter_map(|(slot, wait, record)| Some((self.flows.at(slot)?.id(), wait, record)));
        let queued: Vec<_> = queued.collect();
        queued.len().put(out);
        for (flow, wait, record) in queued {
            (flow, now.checked_sub(wait).unwrap_or(now)).put(out);
            out.slice(record);
        }
    }

    /// Queues it again. How long it waited while links made progress is forgotten, as after a cut.
    pub(super) fn take_queue(&mut self, now: Instant, input: &mut In<'_>) -> Result<(), ThawError> {
        let count: usize = input.take()?;
        let mut lost = Vec::new();
        for index in 0..count {
            let (id, at): (FlowId, Instant) = input.take()?;
            let record = input.slice()?;
            let flow = self.flows.get(id).filter(|_| is_record_of(id, record));
            let (Some(flow), Some(slot)) = (flow, self.flows.slot(id)) else {
                return Err(ThawError::Malformed("queued datagram of no flow"));
            };
            if index == 0 {
                // Their ages count from here, so it has to be as old as the oldest.
                self.queues = Queues::new(at, QueueLimits::new(&self.limits));
            }
            let spec = FlowSpec { class: flow.open.class, copies: flow.open.copies, lane: Lane::ANY };
            let at = Moment { now: at.min(now), active: self.activity.moment(now, &self.links).active };
            self.queues.push(at, slot, spec, record, usize::MAX, &mut |dropped| lost.push(dropped));
        }
        for dropped in lost {
            self.count_dropped(dropped);
        }
        Ok(())
    }

    /// Checks both laws of accounting for every flow: nothing after this could tell that they never held.
    pub(super) fn balance(&self) -> Result<(), ThawError> {
        let mut in_flight: HashMap<FlowId, u64, FixedState> = HashMap::default();
        for (_, batch) in self.unresolved.iter() {
            for share in &batch.shares {
                *in_flight.entry(share.flow).or_default() += u64::from(share.datagrams);
            }
        }
        let balanced = self.flows.iter().all(|(slot, flow)| {
            let sent = in_flight.get(&flow.id()).copied().unwrap_or_default();
            flow.books.in_flight == sent
                && books_balance(flow, self.queues.flow_len(slot))
                && no_less(&flow.books, &flow.base)
        });
        if balanced { Ok(()) } else { Err(ThawError::Malformed("books that do not add up")) }
    }

    pub(super) fn ask_for_listeners(&mut self) {
        for (&tunnel, configured) in &self.tunnels.configured {
            match configured.way {
                Way::Forward { listen: Some(at), .. } => self.needs.push_back(Need::Listen { tunnel, at }),
                Way::Forward { listen: None, .. } | Way::Reverse { .. } => {}
            }
        }
        for &Bind { tunnel, listen, .. } in self.tunnels.bound.values() {
            self.needs.push_back(Need::Listen { tunnel, at: listen });
        }
    }

    pub(super) fn ask_for_sockets(&mut self) {
        for slot in self.flows.slots() {
            let Some(flow) = self.flows.at_mut(slot) else { continue };
            let id = flow.id();
            let to = flow.places.iter().find_map(|place| match place.state {
                PlaceState::At(at) => Some(at),
                PlaceState::Finding | PlaceState::Denied(_) => None,
            });
            // Without an address to tell the family, it asks when one is found.
            flow.socket &= to.is_some();
            if let Some(to) = to.filter(|_| flow.socket) {
                self.needs.push_back(Need::Socket { flow: id, to });
            }
            for place in flow.places.iter().filter(|place| place.state == PlaceState::Finding) {
                if let Host::Name(name) = &place.address.host {
                    self.needs.push_back(Need::Resolve { flow: id, name: name.clone(), port: place.address.port });
                }
            }
        }
    }

    fn take_flow(&self, now: Instant, input: &mut In<'_>) -> Result<Flow, ThawError> {
        let (open, ours): (Open, bool) = (input.take()?, input.take()?);
        let rates = match &self.access {
            Some(access) if !ours => access.grant.flow_rates,
            Some(_) | None => Rates::default(),
        };
        let mut flow = Flow::new(now, open, ours, Limiter::new(rates));
        flow.short = input.take()?;
        flow.out = input.take()?;
        (flow.ended, flow.stopped, flow.socket) = input.take()?;
        flow.books = input.take()?;
        flow.base = input.take()?;
        flow.places = input.take()?;
        (flow.began, flow.used, flow.look) = input.take()?;
        for inbound in input.take::<Vec<_>>()? {
            flow.inbox.push(inbound);
        }
        for (address, inbound) in input.take::<Vec<_>>()? {
            flow.inbox.push_finding(address, inbound);
        }
        Ok(flow)
    }
}

fn put_flow(flow: &Flow, out: &mut Out) {
    #[rustfmt::skip]
    let Flow {
        open, ours, short, out: direction, books, inbox, ended, stopped, base, places, began, used, look, socket,
        home: _, limiter: _, seat: _, unconfirmed: _,
    } = flow;
    // A new socket is not full, and who has something to deliver is listed anew.
    let Inbox { held, finding, bytes: _, blocked: _, listed: _ } = inbox;
    open.put(out);
    ours.put(out);
    short.put(out);
    direction.put(out);
    (*ended, *stopped, *socket).put(out);
    books.put(out);
    base.put(out);
    places.put(out);
    (*began, *used, *look).put(out);
    held.put(out);
    finding.put(out);
}

fn is_record_of(flow: FlowId, record: &[u8]) -> bool {
    let mut records = Records::new(Bytes::copy_from_slice(record));
    let first = records.next().is_ok_and(|record| record.is_some_and(|record| record.flow == flow));
    first && records.next() == Ok(None)
}

/// The law of the sender and that of the receiver.
fn books_balance(flow: &Flow, queued: usize) -> bool {
    #[rustfmt::skip]
    let Books {
        accepted, acknowledged, in_flight, in_doubt, dropped, processed, delivered, refused, bytes_out: _, bytes_in: _,
    } = &flow.books;
    let sum = |numbers: &[u64]| numbers.iter().map(|number| u128::from(*number)).sum::<u128>();
    let out = sum(&[*acknowledged, *in_flight, *in_doubt, dropped.total(), queued as u64]);
    let back = sum(&[*delivered, refused.total(), flow.inbox.len() as u64]);
    u128::from(*accepted) == out && u128::from(*processed) == back
}

/// Whether the books are those they began with, or further on.
fn no_less(books: &Books, base: &Books) -> bool {
    books.accepted >= base.accepted
        && books.acknowledged >= base.acknowledged
        && books.dropped.total() >= base.dropped.total()
        && books.processed >= base.processed
}

//! Tunnels: what is listened for, on whose behalf, and how its flows are treated.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::flow::Treatment;
use super::queue::Slot;
use super::{Need, Role, Session};
use crate::event::Event;
use crate::wire::{Address, Bind, Bound, Class, Code, Control, TunnelId};

/// One configured rule of a client: listen here, deliver there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tunnel {
    /// Which way it goes.
    pub way: Way,
    /// How its flows are treated.
    pub treatment: Treatment,
    /// What becomes of datagrams in doubt when a session is lost.
    pub in_doubt: InDoubt,
}

impl Tunnel {
    /// A tunnel with the usual treatment, whose datagrams in doubt are dropped.
    pub fn new(way: Way) -> Self {
        Self { way, treatment: Treatment::default(), in_doubt: InDoubt::Drop }
    }
}

/// Which way a tunnel goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Way {
    /// From a listener of the client to a destination of the server.
    Forward {
        /// Where the client listens; without it flows are opened by hand.
        listen: Option<SocketAddr>,
        /// Where to; without it every flow names its own.
        to: Option<Address>,
    },
    /// From a listener of the server to a destination of the client.
    Reverse {
        /// Where the server listens; port 0 lets it choose.
        listen: SocketAddr,
        /// Where the client delivers.
        to: Address,
    },
}

impl Way {
    pub(crate) fn destination(&self) -> Option<Address> {
        match self {
            Self::Forward { to, .. } => to.clone(),
            Self::Reverse { .. } => None,
        }
    }
}

/// What becomes of a datagram that was sent when a session was lost, so that nobody knows whether it arrived.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum InDoubt {
    /// It is dropped: never twice.
    #[default]
    Drop,
    /// It is sent again: rather twice than not at all.
    Resend,
}

/// Why a tunnel was not added. Nothing was changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    /// The id is taken.
    #[error("tunnel {} exists already", .0.0)]
    Exists(TunnelId),
    /// Datagrams cannot travel on so many links.
    #[error("copies is {copies}; allowed is 1 to {links}, the number of links")]
    Copies {
        /// What was asked for.
        copies: u8,
        /// How many links there may be.
        links: usize,
    },
    /// Flows of this class cannot be opened.
    #[error("class is {0:?}; allowed are reliable and realtime")]
    Class(Class),
    /// The session is over.
    #[error("the session is closed")]
    Closed,
    /// Too many tunnels.
    #[error("{limit} tunnels exist, and no more are allowed")]
    Full {
        /// How many are allowed.
        limit: usize,
    },
}

/// All tunnels of a session.
#[derive(Debug, Default)]
pub(crate) struct Tunnels {
    /// Those of a client.
    pub(crate) configured: BTreeMap<TunnelId, Tunnel>,
    /// Those a server listens for.
    pub(crate) bound: BTreeMap<TunnelId, Bind>,
    /// Where each is listened for, or why it is not, as far as that was told.
    pub(crate) outcomes: BTreeMap<TunnelId, Result<SocketAddr, Code>>,
    /// Those a server could not listen for, and when it is asked again.
    pub(crate) retries: BTreeMap<TunnelId, Retry>,
}

/// When to ask for a listener again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    pub(crate) at: Instant,
    pub(crate) wait: Duration,
}

impl Tunnels {
    /// How flows that begin here are treated; on a server the destination is the client's business.
    pub(crate) fn treatment(&self, tunnel: TunnelId) -> Option<(Treatment, Option<Address>)> {
        if let Some(tunnel) = self.configured.get(&tunnel) {
            return Some((tunnel.treatment, tunnel.way.destination()));
        }
        let bind = self.bound.get(&tunnel)?;
        let treatment = Treatment { class: bind.class, copies: bind.copies, spread: bind.spread, idle: bind.idle };
        Some((treatment, None))
    }

    /// Where flows go that the server opens for a reverse tunnel.
    pub(crate) fn target(&self, tunnel: TunnelId) -> Option<Address> {
        match &self.configured.get(&tunnel)?.way {
            Way::Reverse { to, .. } => Some(to.clone()),
            Way::Forward { .. } => None,
        }
    }

    pub(crate) fn in_doubt(&self, tunnel: TunnelId) -> InDoubt {
        self.configured.get(&tunnel).map(|tunnel| tunnel.in_doubt).unwrap_or_default()
    }

    pub(crate) fn listening(&self) -> impl Iterator<Item = TunnelId> + '_ {
        self.bound.keys().copied()
    }

    pub(crate) fn next_retry(&self) -> Option<Instant> {
        self.retries.values().map(|retry| retry.at).min()
    }

    fn postpone(&mut self, now: Instant, tunnel: TunnelId) {
        let wait = self.retries.get(&tunnel).map_or(FIRST_RETRY, |retry| (retry.wait * 2).min(LAST_RETRY));
        self.retries.insert(tunnel, Retry { at: now + wait, wait });
    }

    pub(crate) fn bound(&self) -> impl Iterator<Item = &Bind> {
        self.bound.values()
    }
}

impl Session {
    /// Adds a tunnel to a client; a reverse one asks the server to listen.
    pub fn add_tunnel(&mut self, id: TunnelId, tunnel: Tunnel) -> Result<(), TunnelError> {
        let Treatment { class, copies, .. } = tunnel.treatment;
        let limit = self.limits.tunnels;
        if self.closed() {
            return Err(TunnelError::Closed);
        }
        if self.tunnels.configured.contains_key(&id) {
            return Err(TunnelError::Exists(id));
        }
        if copies == 0 || usize::from(copies) > self.limits.links {
            return Err(TunnelError::Copies { copies, links: self.limits.links });
        }
        if class == Class::Control {
            return Err(TunnelError::Class(class));
        }
        if self.tunnels.configured.len() >= limit {
            return Err(TunnelError::Full { limit });
        }
        if let Way::Forward { listen: Some(at), .. } = tunnel.way {
            self.needs.push_back(Need::Listen { tunnel: id, at });
        }
        self.ask_to_listen(id, &tunnel);
        self.tunnels.configured.insert(id, tunnel);
        Ok(())
    }

    /// Removes a tunnel, and ends its flows.
    pub fn remove_tunnel(&mut self, now: Instant, id: TunnelId) {
        let Some(tunnel) = self.tunnels.configured.remove(&id) else { return };
        self.tunnels.retries.remove(&id);
        self.tunnels.outcomes.remove(&id);
        match tunnel.way {
            Way::Reverse { .. } => self.control(Control::Unbind(id)),
            Way::Forward { listen: Some(_), .. } => self.needs.push_back(Need::Unlisten(id)),
            Way::Forward { listen: None, .. } => {}
        }
        self.end_flows_of(now, id);
    }

    /// What is configured for a tunnel.
    pub fn tunnel(&self, id: TunnelId) -> Option<&Tunnel> {
        self.tunnels.configured.get(&id)
    }

    /// The tunnels that were added.
    pub fn tunnels(&self) -> impl Iterator<Item = (TunnelId, &Tunnel)> {
        self.tunnels.configured.iter().map(|(id, tunnel)| (*id, tunnel))
    }

    /// Where a tunnel is listened for, here or at the server, or why it is not. None while nobody knows, and
    /// for a tunnel whose flows are opened by hand.
    pub fn listening(&self, id: TunnelId) -> Option<Result<SocketAddr, Code>> {
        self.tunnels.outcomes.get(&id).copied()
    }

    /// The reverse tunnels that a server listens for, and where.
    pub fn listeners(&self) -> impl Iterator<Item = (TunnelId, SocketAddr)> + '_ {
        self.tunnels.bound.keys().filter_map(|id| Some((*id, self.listening(*id)?.ok()?)))
    }

    /// Answers [`Need::Listen`]: where the listener is, or why there is none.
    pub fn handle_listening(&mut self, now: Instant, tunnel: TunnelId, outcome: Result<SocketAddr, Code>) {
        if self.tunnels.configured.contains_key(&tunnel) {
            self.tunnels.outcomes.insert(tunnel, outcome);
            return self.event(Event::TunnelBound { tunnel, outcome });
        }
        if !self.tunnels.bound.contains_key(&tunnel) {
            return;
        }
        // The grant may name ports, and port 0 was only now made one.
        let outcome = outcome.and_then(|at| if self.may_bind(now, at) { Ok(at) } else { Err(Code::Denied) });
        if outcome.is_err() {
            self.tunnels.bound.remove(&tunnel);
            self.tunnels.outcomes.remove(&tunnel);
            self.needs.push_back(Need::Unlisten(tunnel));
        } else {
            self.tunnels.outcomes.insert(tunnel, outcome);
        }
        self.control(Control::Bound(Bound { tunnel, outcome }));
    }

    pub(crate) fn handle_bind(&mut self, now: Instant, bind: Bind) {
        let tunnel = bind.tunnel;
        let refusal = if self.role == Role::Client || !self.may_serve(now, &bind) {
            Some(Code::Denied)
        } else if self.tunnels.bound.len() >= self.limits.tunnels && !self.tunnels.bound.contains_key(&tunnel) {
            Some(Code::Full)
        } else {
            None
        };
        if let Some(code) = refusal {
            self.control(Control::Bound(Bound { tunnel, outcome: Err(code) }));
            return;
        }
        if let Some(known) = self.tunnels.bound.get(&tunnel) {
            if *known == bind {
                return;
            }
            self.handle_unbind(now, tunnel);
        }
        self.needs.push_back(Need::Listen { tunnel, at: bind.listen });
        self.tunnels.bound.insert(tunnel, bind);
    }

    pub(crate) fn handle_bound(&mut self, now: Instant, bound: Bound) {
        let Bound { tunnel, outcome } = bound;
        let configured = self.tunnels.configured.get(&tunnel).map(|tunnel| &tunnel.way);
        let Some(Way::Reverse { .. }) = configured else { return };
        match outcome {
            Ok(_) => {
                self.tunnels.retries.remove(&tunnel);
            }
            // Someone else may have the port for a while yet, this client's own former session most often;
            // or the grant may change.
            Err(_) => self.tunnels.postpone(now, tunnel),
        }
        self.tunnels.outcomes.insert(tunnel, outcome);
        self.event(Event::TunnelBound { tunnel, outcome });
    }

    /// When to ask again; nothing can be asked without a link.
    pub(crate) fn retry_due(&self) -> Option<Instant> {
        self.tunnels.next_retry().filter(|_| !self.links.live.is_empty())
    }

    /// Asks again for the listeners whose time has come.
    pub(crate) fn retry_listeners(&mut self, now: Instant) {
        if self.retry_due().is_none_or(|due| due > now) {
            return;
        }
        let due = self.tunnels.retries.iter().filter(|(_, retry)| retry.at <= now);
        let due: Vec<TunnelId> = due.map(|(tunnel, _)| *tunnel).collect();
        for tunnel in due {
            if let Some(retry) = self.tunnels.retries.get_mut(&tunnel) {
                // Until the answer comes, which says anew when.
                retry.at = now + ANSWER;
            }
            if let Some(rule) = self.tunnels.configured.get(&tunnel).cloned() {
                self.ask_to_listen(tunnel, &rule);
            }
        }
    }

    pub(crate) fn handle_unbind(&mut self, now: Instant, tunnel: TunnelId) {
        if self.tunnels.bound.remove(&tunnel).is_some() {
            self.tunnels.outcomes.remove(&tunnel);
            self.needs.push_back(Need::Unlisten(tunnel));
            self.end_flows_of(now, tunnel);
        }
    }

    /// Asks the next server for every listener of the lost one.
    pub(crate) fn rebind(&mut self) {
        self.tunnels.retries.clear();
        let tunnels: Vec<_> = self.tunnels.configured.iter().map(|(id, tunnel)| (*id, tunnel.clone())).collect();
        for (id, tunnel) in tunnels {
            if matches!(tunnel.way, Way::Reverse { .. }) {
                self.tunnels.outcomes.remove(&id);
            }
            self.ask_to_listen(id, &tunnel);
        }
    }

    /// Withdraws listeners that a new grant does not allow.
    pub(crate) fn recheck_listeners(&mut self, now: Instant) {
        let denied = |bind: &&Bind| !self.may_serve(now, bind);
        let denied: Vec<TunnelId> = self.tunnels.bound().filter(denied).map(|bind| bind.tunnel).collect();
        for tunnel in denied {
            self.handle_unbind(now, tunnel);
            self.control(Control::Bound(Bound { tunnel, outcome: Err(Code::Denied) }));
        }
    }

    /// Whether a reverse tunnel may be had: its flows are treated as an OPEN would ask for, and are opened here.
    fn may_serve(&self, now: Instant, bind: &Bind) -> bool {
        self.may_bind(now, bind.listen) && self.grants(bind.class, bind.copies)
    }

    fn may_bind(&self, now: Instant, at: SocketAddr) -> bool {
        self.access.as_ref().is_some_and(|access| access.grant.decide_bind(now, at).allowed)
    }

    fn ask_to_listen(&mut self, tunnel: TunnelId, rule: &Tunnel) {
        let Way::Reverse { listen, .. } = rule.way else { return };
        let Treatment { class, copies, spread, idle } = rule.treatment;
        self.control(Control::Bind(Bind { tunnel, listen, class, copies, spread, idle }));
    }

    fn end_flows_of(&mut self, now: Instant, tunnel: TunnelId) {
        for slot in self.flows.slots() {
            if self.flows.at(slot).is_some_and(|flow| flow.open.tunnel == tunnel) {
                self.end_flow(now, slot);
            }
        }
    }

    /// Ends a flow in the way of whoever opened it: our own takes no more, one of the remote is refused.
    pub(crate) fn end_flow(&mut self, now: Instant, slot: Slot) {
        if self.flows.at(slot).is_some_and(|flow| flow.ours) {
            self.begin_close(now, slot, Code::Done);
        } else {
            self.refuse_flow(now, slot, Code::Done);
        }
    }
}

const FIRST_RETRY: Duration = Duration::from_secs(1);
/// No rarer than PING: a port that this client's own former session held is free at a moment nobody
/// tells, and asking costs no more than that.
const LAST_RETRY: Duration = Duration::from_secs(10);
/// An answer to a BIND that is not there after this long is not waited for.
const ANSWER: Duration = Duration::from_secs(30);

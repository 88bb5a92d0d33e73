//! A session: what client and server share, on messages alone.
//!
//! Links attach and detach; messages go in by [`Session::handle_message`] and come out by
//! [`Session::poll_message`]; datagrams go in by [`Session::handle_datagram`] and
//! [`Session::send`] and come out through flows with an inbox. Everything a session needs done
//! outside itself is a [`Need`]; everything worth knowing is an [`Event`].
//!
//! One call in, then drain everything: needs, ready flows, messages of every link with room, events.
//! Then wait until [`Session::poll_timeout`].

mod activity;
mod codel;
mod datagrams;
mod drain;
mod ending;
mod flow;
mod flows;
mod freeze;
mod hello;
mod input;
mod links;
mod loss;
mod open;
mod output;
mod queue;
mod recv;
mod renewal;
mod report;
mod sched;
mod send;
mod tap;
mod timeouts;
mod tunnels;
mod window;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::access::{Allowance, Draw, Grant, Lease, Own, Pool, Replies};
use crate::config::Limits;
use crate::event::{Event, LinkLoss};
use crate::rng::{Rng, Seed};
use crate::stats::{Counters, QueueDelay};
use crate::wire::{Code, Control, FlowId, Ordinal, Parameters, SessionId, TunnelId};

pub use activity::Deadline;
#[cfg(feature = "driver")]
pub(crate) use activity::Earliest;
pub use datagrams::SendError;
pub use flow::{Books, Inbound, Treatment};
pub use freeze::ThawError;
pub use hello::{AttachError, Identity};
#[cfg(feature = "driver")]
pub(crate) use links::Live;
pub use output::Message;
pub use renewal::RenewError;
pub use report::{FlowReport, FlowState, LinkReport, Report};
pub use tap::{Fate, Heading, TapOptions, TapRecord};
pub use tunnels::{InDoubt, Tunnel, TunnelError, Way};

use activity::Activity;
use drain::Drain;
use flow::Flow;
use flows::Flows;
use links::Links;
use queue::Queues;
use recv::{Lateness, Seen};
use renewal::Renewal;
use send::Unresolved;
use tap::Tap;
use tunnels::Tunnels;

/// Which half of a session this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Dials, and opens flows with odd ids.
    Client,
    /// Accepts, and opens flows with even ids.
    Server,
}

/// One half of a session.
#[derive(Debug)]
pub struct Session {
    role: Role,
    limits: Limits,
    /// What the clocks on the wire count from.
    start: Instant,
    phase: Phase,
    /// When it was last asked for what to send, or told that time had passed.
    awake: Instant,
    /// Since when there is no link, once there was one.
    detached: Option<Instant>,
    id: Option<SessionId>,
    secret: Option<[u8; 32]>,
    identity: Identity,
    /// What the remote can take.
    remote: Parameters,
    access: Option<Access>,
    links: Links,
    /// Where the next link's window starts.
    first_window: usize,
    unresolved: Unresolved,
    queues: Queues,
    seen: Seen,
    late: Lateness,
    flows: Flows,
    tunnels: Tunnels,
    /// Controls that wait to be cut into a batch.
    controls: VecDeque<Control>,
    /// Unknown flows that were answered lately.
    unknown: VecDeque<(FlowId, Instant)>,
    drain: Drain,
    activity: Activity,
    /// The largest message the remote ever acknowledged on this path, and the largest we still send.
    proven_size: usize,
    frame_limit: Option<usize>,
    memory: Lease,
    /// What the links hold of it.
    link_memory: usize,
    /// What it may have others sent, of what its principal may.
    draw: Draw,
    /// What sources may be answered with that have not shown that answers reach them.
    replies: Replies,
    events: VecDeque<Event>,
    needs: VecDeque<Need>,
    /// Why the session was lost, until someone asks.
    lost: Option<(Code, Duration)>,
    /// Links that the session ended, for whoever holds their streams.
    gone: VecDeque<Gone>,
    counters: Counters,
    scratch: output::Scratch,
    records: Vec<input::Taken>,
    tap: Option<Box<Tap>>,
    renewal: Renewal,
}

/// The life of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// No welcome has come yet.
    Fresh,
    /// A new session that the client may not know of yet (server only).
    Provisional,
    /// The session stands; links come and go.
    Established,
    /// Over: it emits nothing and takes nothing.
    Closed(Code),
}

/// What is known of a link that carries a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LinkState {
    /// Which link.
    pub ordinal: Ordinal,
    /// When it began.
    pub since: Instant,
    /// Since when it is suspect.
    pub suspect: Option<Instant>,
    /// When something we sent was last proven to have been read.
    pub progress: Instant,
    /// Batches that the remote acknowledged.
    pub acknowledged: u64,
    /// The smoothed round trip.
    pub srtt: Option<Duration>,
    /// The least round trip of late.
    pub rtt_min: Option<Duration>,
    /// Bytes per second it delivers.
    pub bandwidth: Option<u64>,
    /// Bytes that may be under way on it.
    pub window: usize,
    /// Bytes that are.
    pub unacked: usize,
    /// How much its socket should hold unsent.
    pub low_water: usize,
}

/// A link that has ended, or a dial that was given up; whoever holds its stream closes that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gone {
    /// Which link.
    pub ordinal: Ordinal,
    /// Why.
    pub why: LinkLoss,
    /// Whether anything we sent on it was ever proven to have been read.
    pub proven: bool,
    /// The session is over with it, and the remote is to be told so by a [`Close`](crate::wire::Close)
    /// as the last word.
    pub farewell: Option<Code>,
}

/// What the far side of a session may do for its remote.
#[derive(Clone, Debug)]
pub struct Access {
    /// What the principal may do.
    pub grant: Grant,
    /// What belongs to the server itself.
    pub own: Arc<Own>,
}

impl Access {
    /// What this grant says, on a server of which nothing needs to be kept out of reach.
    pub fn new(grant: Grant) -> Self {
        Self { grant, own: Arc::default() }
    }
}

/// Something the session needs done outside itself.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Need {
    /// Open a socket for a flow; answer with [`Session::handle_socket`].
    Socket {
        /// For which flow.
        flow: FlowId,
        /// The first destination, which tells the family.
        to: SocketAddr,
    },
    /// Look a name up; answer with [`Session::handle_resolved`].
    Resolve {
        /// For which flow.
        flow: FlowId,
        /// The name.
        name: Box<str>,
        /// The port that goes with it.
        port: u16,
    },
    /// Close a flow's socket.
    CloseSocket(FlowId),
    /// Listen for a reverse tunnel; answer with [`Session::handle_listening`].
    Listen {
        /// For which tunnel.
        tunnel: TunnelId,
        /// Where.
        at: SocketAddr,
    },
    /// Stop listening for a reverse tunnel.
    Unlisten(TunnelId),
}

/// What a session is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Every cap.
    pub limits: Limits,
    /// Who the client is; the server learns it from the hello.
    pub identity: Identity,
    /// What the remote may have done for it; a client leaves it out, and then only its own tunnels count.
    pub access: Option<Access>,
    /// Where its memory comes from.
    pub pool: Pool,
    /// Where its randomness comes from.
    pub seed: Seed,
}

impl Session {
    /// A session that has no link yet.
    pub fn new(now: Instant, role: Role, setup: Setup) -> Self {
        let Setup { limits, identity, access, pool, seed } = setup;
        let mut rng = Rng::new(&seed);
        let first = match role {
            Role::Client => 1,
            Role::Server => 2,
        };
        let rates = access.as_ref().map(|access| access.grant.rates).unwrap_or_default();
        Self {
            role,
            start: now,
            phase: Phase::Fresh,
            awake: now,
            detached: None,
            id: None,
            secret: None,
            identity,
            remote: Parameters::default(),
            access,
            links: Links::new(),
            first_window: window::START,
            unresolved: Unresolved::new(),
            queues: Queues::new(now, queue::QueueLimits::new(&limits)),
            seen: Seen::new(),
            late: Lateness::default(),
            flows: Flows::new(first, rng.u64()),
            tunnels: Tunnels::default(),
            controls: VecDeque::new(),
            unknown: VecDeque::new(),
            drain: Drain::default(),
            activity: Activity::new(now),
            proven_size: 0,
            frame_limit: None,
            memory: pool.lease(),
            link_memory: 0,
            draw: Draw::new(Allowance::default(), rates),
            replies: Replies::new(&limits),
            events: VecDeque::new(),
            needs: VecDeque::new(),
            lost: None,
            gone: VecDeque::new(),
            counters: Counters::default(),
            scratch: output::Scratch::default(),
            records: Vec::new(),
            tap: None,
            renewal: Renewal::default(),
            limits,
        }
    }

    /// Counts its flows and what they send together with those of other sessions, as a principal has them. What it
    /// has counted so far is nobody else's.
    pub fn share(&mut self, allowance: Allowance) {
        let Some(access) = &self.access else { return };
        for slot in self.flows.slots() {
            if let Some(flow) = self.flows.at_mut(slot).filter(|flow| !flow.stopped) {
                flow.seat = Some(allowance.keep());
            }
        }
        self.draw = Draw::new(allowance, access.grant.rates);
    }

    /// Shares what unconfirmed sources may be answered with: listeners of many sessions are to be no more of a
    /// reflector than that of one.
    pub fn share_replies(&mut self, replies: &Replies) {
        self.replies = replies.clone();
    }

    /// Takes one event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes one need.
    pub fn poll_need(&mut self) -> Option<Need> {
        self.needs.pop_front()
    }

    /// A link that has ended or a dial that was given up: its stream is of no more use.
    pub fn poll_gone(&mut self) -> Option<Gone> {
        self.gone.pop_front()
    }

    /// What is known of a link that carries the session.
    pub fn link(&self, ordinal: Ordinal) -> Option<LinkState> {
        let link = self.links.get(ordinal)?;
        Some(LinkState {
            ordinal,
            since: link.since,
            suspect: link.suspect,
            progress: link.progress,
            acknowledged: link.acknowledged(),
            srtt: link.window.srtt(),
            rtt_min: link.window.rtt_min(),
            bandwidth: link.window.bandwidth(),
            window: link.window.size(),
            unacked: link.window.unacked(),
            low_water: link.window.low_water(),
        })
    }

    /// Where it stands in its life.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Who its client is, and which of that client's lives this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        self.closed()
    }

    /// Which half it is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its name, once there is one.
    pub fn id(&self) -> Option<SessionId> {
        self.id
    }

    /// The caps it was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The links that carry it, oldest first.
    pub fn links(&self) -> impl Iterator<Item = Ordinal> + '_ {
        self.links.live.iter().map(|link| link.ordinal)
    }

    /// What carries it, oldest first: for whoever looks at every link at every turn.
    #[cfg(feature = "driver")]
    pub(crate) fn live(&self) -> &[Live] {
        &self.links.live
    }

    /// Whether a link that carries it makes progress, as far as is known.
    pub fn healthy(&self) -> bool {
        self.links.live.iter().any(|link| link.suspect.is_none())
    }

    /// In how many bytes a WebSocket frame of this path must be cut; none is no limit.
    pub fn frame_limit(&self) -> Option<usize> {
        self.frame_limit
    }

    /// What it has done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How long datagrams waited in its queues.
    pub fn queue_delay(&self) -> QueueDelay {
        *self.queues.delay()
    }

    /// The books of one flow.
    pub fn books(&self, flow: FlowId) -> Option<Books> {
        self.flows.get(flow).map(|flow| flow.books)
    }

    /// The flows there are.
    pub fn flows(&self) -> impl Iterator<Item = FlowId> + '_ {
        self.flows.iter().map(|(_, flow)| flow.id())
    }

    /// How many there are.
    pub fn flow_count(&self) -> usize {
        self.flows.len()
    }

    /// Ended links of which a count is still owed, on one side or the other.
    #[cfg(all(test, feature = "driver"))]
    pub(crate) fn unforgotten(&self) -> Vec<Ordinal> {
        self.links.ended.keys().copied().collect()
    }

    fn closed(&self) -> bool {
        matches!(self.phase, Phase::Closed(_))
    }

    fn event(&mut self, event: Event) {
        // Events are few, but a caller that never asks must not cost memory without bound.
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        } else {
            self.counters.events_lost += 1;
        }
    }
}

/// Events kept for a caller that does not ask.
const EVENTS: usize = 4_096;

#[cfg(test)]
mod tests;

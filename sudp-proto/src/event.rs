//! What happened to a session, told once each.

use std::net::SocketAddr;

use crate::access::Decision;
use crate::wire::{Address, Code, FlowId, GoAway, Number, Ordinal, SessionId, TunnelId};

/// Something the application may want to know. State is asked for; events only say that it changed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Both ends' books of a flow disagree; it counts what the remote acknowledged and we did not see, or the reverse.
    BooksDiffer {
        /// Which flow.
        flow: FlowId,
        /// What the remote says we processed.
        said: u64,
        /// What we processed.
        seen: u64,
    },
    /// The session is over for good; nothing comes after this.
    Closed {
        /// Why.
        code: Code,
        /// Whether the remote said so.
        by_remote: bool,
    },
    /// No link is left; the session waits for the next.
    Detached,
    /// The remote drains or goes away.
    GoAway(GoAway),
    /// The client has shown that it knows the session: from now on it may evict older ones and hold ports.
    Established,
    /// A flow is over, in both directions.
    FlowClosed {
        /// Which flow.
        flow: FlowId,
        /// Why.
        code: Code,
    },
    /// The grant was asked about a flow of the remote: when it is opened, for each destination that is denied, and when
    /// what was allowed is not any more.
    FlowJudged {
        /// Which flow.
        flow: FlowId,
        /// Where it wants to send to, as the remote calls it. Nothing is sent there unless that is allowed.
        to: Address,
        /// The address that was judged, where it was one.
        at: Option<SocketAddr>,
        /// What was decided, and by what.
        decision: Decision,
        /// The version of the grant that has decided, whose rules are meant.
        version: u64,
    },
    /// A flow began.
    FlowOpened {
        /// Which flow.
        flow: FlowId,
        /// Whose it is.
        tunnel: TunnelId,
        /// Whether the remote opened it.
        by_remote: bool,
    },
    /// A link ended; the session lives on.
    LinkEnded {
        /// Which link.
        ordinal: Ordinal,
        /// Why.
        why: LinkLoss,
    },
    /// A link carries the session.
    LinkUp {
        /// Which link.
        ordinal: Ordinal,
    },
    /// A link made no progress for too long.
    LinkSuspect {
        /// Which link.
        ordinal: Ordinal,
    },
    /// A suspected link made progress after all.
    LinkCleared {
        /// Which link.
        ordinal: Ordinal,
    },
    /// This process did not run for a while; nothing is held against the links.
    Paused,
    /// A batch that link after link died under was dropped.
    Poisoned {
        /// Which batch.
        number: Number,
    },
    /// The server answered a renewal. Refused, the session lives until its grant ends.
    Renewed(Result<(), Code>),
    /// The client shows a new credential: [`Session::take_renewal`](crate::session::Session::take_renewal) has it.
    RenewalAsked,
    /// The session began.
    Started {
        /// Its name.
        session: SessionId,
    },
    /// The server lost the session; a new one takes its place.
    Lost {
        /// Why.
        code: Code,
        /// Datagrams of which nobody knows whether they arrived.
        in_doubt: u64,
    },
    /// A tunnel's listener is open, here or at the server, or it is not.
    TunnelBound {
        /// Which tunnel.
        tunnel: TunnelId,
        /// Where, or why not.
        outcome: Result<SocketAddr, Code>,
    },
}

/// Why a link ended. The session survives all of these.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LinkLoss {
    /// The dial was given up before a welcome came.
    GivenUp,
    /// The remote says that it has ended.
    Fenced,
    /// The stream or the WebSocket ended.
    Ended,
    /// It made no progress for three times the limit while another link did.
    Suspect,
    /// Nothing was heard for too long.
    Silent,
    /// It made room for another.
    Replaced,
    /// The remote broke the protocol on it.
    Violation(Code),
}

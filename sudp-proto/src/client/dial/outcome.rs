//! What is asked of the dialling, what it asks for, and what comes of a dial.

use std::time::Duration;

/// Names a dial, and the link it may become; never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DialId(pub u64);

/// What the client lacks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Want {
    /// Nothing.
    #[default]
    None,
    /// A session, on any server.
    NewSession,
    /// More links for the session it has.
    Join {
        /// The server that owns the session.
        server: usize,
        /// How many more than are attached now, dials not counted.
        links: usize,
    },
}

/// What the machine is to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Close this dial: it is no longer needed. It is over, whatever still comes of it.
    GiveUp(DialId),
    /// Close this dial: it took too long. It is over, whatever still comes of it.
    Late(DialId),
    /// End the session and ask for a new one; nothing is wanted until then.
    Lose(Lost),
    /// Begin a dial.
    Start(Start),
}

/// A dial to begin: take an ordinal, resolve, race, upgrade.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Start {
    /// Its name.
    pub dial: DialId,
    /// Where to, as an index of the configuration.
    pub server: usize,
    /// What for.
    pub purpose: Purpose,
}

/// What a dial is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Another link of the session.
    Join,
    /// A new session.
    NewSession,
    /// To see whether this server can be reached at all while the session's own cannot: connect, report
    /// [`Outcome::Connected`], say nothing.
    Probe,
}

/// Why the session cannot go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lost {
    /// A newer incarnation of the same client has taken its place.
    Evicted,
    /// Others answer, its owner does not.
    OwnerGone,
    /// Its owner knows it no longer.
    UnknownSession,
}

/// What came of a dial, or of the link it became.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The machine closed it of its own will; nothing is learnt.
    Abandoned,
    /// The welcome has come: it is a link now.
    Attached {
        /// The server's id.
        id: u64,
        /// How long the server keeps the session without links.
        resume: Duration,
    },
    /// The ordinal was used or burnt.
    Burnt,
    /// TCP is up.
    Connected,
    /// A newer incarnation of the same client has taken over.
    Evicted,
    /// The link it became has ended, not by our wish.
    LinkEnded {
        /// Its age.
        lived: Duration,
        /// Whether an ACK or a PONG ever came on it.
        acknowledged: bool,
    },
    /// It did not get through.
    PathFailed(PathFailure),
    /// An answer other than a welcome.
    Refused(Refusal),
    /// The session is not known there.
    UnknownSession {
        /// The id of the server that says so, if it gave one.
        by: Option<u64>,
    },
}

/// How the path failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PathFailure {
    /// Something answered, but the stream broke before an answer to the upgrade.
    Broken,
    /// The connection was refused.
    Refused,
    /// Nothing came back in time.
    TimedOut,
    /// No route.
    Unreachable,
    /// The name has no address.
    Unresolved,
}

/// An answer that is not a welcome.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// What waiting would change.
    pub kind: RefusalKind,
    /// How long to wait, if it said so.
    pub retry_after: Option<Duration>,
}

/// What waiting would change about a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefusalKind {
    /// Nothing, unless someone changes the configuration of one side: 401, 403, 404, 426, a bad certificate.
    Permanent,
    /// It points to another server of the configuration, or to a host that is none of it.
    Redirect(Option<usize>),
    /// Probably all: 429, 5xx.
    Transient,
}

impl Refusal {
    /// Judges an answer by its HTTP status; `redirect` is the configured server its location means.
    ///
    /// A 2xx other than an upgrade is transient: most likely a captive portal speaks.
    pub fn from_status(status: u16, retry_after: Option<Duration>, redirect: Option<usize>) -> Self {
        let kind = match status {
            300..=399 => RefusalKind::Redirect(redirect),
            408 | 421 | 425 | 429 => RefusalKind::Transient,
            400..=499 => RefusalKind::Permanent,
            _ => RefusalKind::Transient,
        };
        Self { kind, retry_after }
    }
}

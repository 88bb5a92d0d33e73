//! What is said at the control socket: one JSON value a line, both ways.
//!
//! The caller writes a [`Request`], the instance answers it by one [`Answer`], or, where that is said, by a stream of
//! them; then the caller may ask for more. A stream ends with [`Answer::Ok`] or [`Answer::Failed`], or when the
//! caller hangs up, which is also how it stops one early.

use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure, Outcome};
use crate::status::{Flow, Status};

/// What a caller wants: `{"command":"status"}`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Datagrams as they pass, from now on: a stream of [`Answer::Record`].
    Capture(Wanted),
    /// To end a flow.
    Cut {
        /// The session it belongs to, as [`Flow::session`] has it.
        session: String,
        /// Its number, as [`Flow::id`] has it.
        flow: u64,
    },
    /// The flows of all sessions.
    Flows {},
    /// To end the links, so that new ones are made.
    Reconnect {},
    /// To read the configuration anew. What is wrong with it is the message of [`Answer::Failed`].
    Reload {},
    /// How it is.
    Status {},
    /// To end, after what is under way is finished; asked once more, it ends at once.
    Stop {},
    /// How it is, over and over: a stream of [`Answer::Frame`].
    Watch {
        /// The time from one frame to the next, in seconds, of which it takes 0.1 to 60.
        every: f64,
    },
}

/// Which datagrams are captured, and how much of them. What is left out is not asked of them.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// Of this session, or of those whose name begins like this.
    pub session: Option<String>,
    /// Of the flow of this number.
    pub flow: Option<u64>,
    /// Of the tunnel of this name.
    pub tunnel: Option<String>,
    /// From or to this address, or this host with any port.
    pub host: Option<String>,
    /// From or to this port.
    pub port: Option<u16>,
    /// With this fate; `dropped` is any reason.
    pub fate: Option<String>,
    /// Of this direction.
    pub direction: Option<Direction>,
    /// How many bytes of each are kept; without it, none.
    pub snap: Option<u32>,
}

/// What an instance says: `"ok"`, `{"status":{…}}`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It is done.
    Ok,
    /// It is not done.
    Failed {
        /// What the command ends with.
        exit: u8,
        /// Why, and what to do.
        message: String,
    },
    /// How it is.
    Status(Box<Status>),
    /// Its flows.
    Flows(Vec<Flow>),
    /// How it is now, with what happened since the frame before.
    Frame {
        /// How it is.
        status: Box<Status>,
        /// Its flows.
        flows: Vec<Flow>,
        /// What happened, the oldest first.
        events: Vec<Event>,
        /// How many older events were left out.
        missed: u64,
    },
    /// A datagram.
    Record(Record),
}

/// Something that happened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Event {
    /// When, as RFC 3339.
    pub at: String,
    /// What, in words.
    pub text: String,
}

/// A datagram that passed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// When, in nanoseconds since 1970.
    pub at: u64,
    /// The session it belongs to.
    pub session: String,
    /// The flow it belongs to, by its number within the session; 0 for one that began none.
    pub flow: u64,
    /// The tunnel it came through, by name.
    pub tunnel: Option<String>,
    /// Who sent it: the source of its flow, or for an answer, the destination.
    pub source: Option<String>,
    /// Where it goes.
    pub destination: Option<String>,
    /// Which way it goes.
    pub direction: Direction,
    /// Its length in bytes, whatever is kept of it.
    pub size: u32,
    /// What became of it: `taken`, `delivered`, or the reason for which it was dropped.
    pub fate: String,
    /// What is kept of it, in hexadecimal digits.
    pub payload: Option<String>,
    /// How many before it were left out, since the caller was too slow.
    pub missed: u64,
}

/// Which way a datagram goes, seen from the instance.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the other side to an application or socket here.
    In,
    /// From an application or socket here to the other side.
    Out,
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Self::Failed { exit: failure.exit as u8, message: failure.message }
    }
}

impl Answer {
    /// The answer, unless it is a failure.
    pub fn done(self) -> Outcome<Self> {
        let Self::Failed { exit, message } = self else { return Ok(self) };
        Err(Failure { exit: Exit::of(exit).unwrap_or(Exit::Failed), message })
    }
}

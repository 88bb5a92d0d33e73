//! What a running instance says of itself, to `status`, `list`, `top` and whoever reads `-o json`.
//!
//! The schema is part of what users rely on: fields are added, and never change their meaning. Times are seconds,
//! sizes bytes, and counts are since the instance began.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of these shapes, as the field `schema`.
pub const SCHEMA: u32 = 1;

/// Whether it is a server or a client.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It accepts sessions.
    Server,
    /// It holds one.
    Client,
}

/// How an instance is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What it is.
    pub role: Role,
    /// What it is called, if it was given a name.
    pub instance: Option<String>,
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it began, as RFC 3339.
    pub started: String,
    /// For how long it has run.
    pub uptime: f64,
    /// How it is, in one word.
    pub health: Health,
    /// Why it is not well, where it is not.
    pub reason: Option<String>,
    /// The files its configuration comes from.
    pub config: Vec<String>,
    /// When its configuration was last read anew, and whether that worked.
    pub reload: Option<Reload>,
    /// Where it listens for links: a server's addresses. TLS or not is in the URL.
    pub listening: Vec<String>,
    /// The URLs of a client's servers, in the order in which they are tried.
    pub servers: Vec<String>,
    /// The tunnels of a client.
    pub tunnels: Vec<Tunnel>,
    /// The sessions: a client has none or one.
    pub sessions: Vec<Session>,
    /// Of a server: those who are not let in, or not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strangers: Option<Strangers>,
    /// All sessions together, those that have ended included.
    pub traffic: Traffic,
}

/// Those who are not let in, or not yet.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Strangers {
    /// Connections that belong to no session at the moment.
    pub waiting: usize,
    /// Requests for a session that were refused.
    pub refused: u64,
    /// Requests that had to wait, since others of their source had failed to show who they are.
    pub delayed: u64,
    /// Sources that are made to wait at the moment.
    pub penalised: usize,
    /// Connections that were closed because too many belonged to no session.
    pub dropped: u64,
}

/// How an instance is, in one word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// A server that serves, a client that has a link.
    Ok,
    /// A client without a link, that tries to get one.
    Connecting,
    /// It ends, and finishes what is under way.
    Draining,
}

/// How the last reload went.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Reload {
    /// When, as RFC 3339.
    pub at: String,
    /// What was wrong, if anything was: then what was in force stays in force.
    pub error: Option<String>,
}

/// A tunnel of a client.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Tunnel {
    /// Its name, or how it was written.
    pub name: String,
    /// How it was written, in the normal form.
    pub spec: String,
    /// Where its datagrams are taken, once they are.
    pub listening: Option<String>,
    /// Why they are not.
    pub error: Option<String>,
}

/// A session.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Session {
    /// What it is called.
    pub id: String,
    /// Who the client is, as the server knows it.
    pub principal: Option<String>,
    /// Where its first link came from, on a server; which server it is with, on a client.
    pub peer: Option<String>,
    /// For how long it is there.
    pub age: f64,
    /// Whether its links are sealed, end to end.
    #[serde(default)]
    pub sealed: bool,
    /// Its links.
    pub links: Vec<Link>,
    /// How many flows there are.
    pub flows: usize,
    /// What was counted.
    pub traffic: Traffic,
}

/// A link of a session.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Link {
    /// Its number within the session.
    pub ordinal: u64,
    /// Its round trip, once it is known.
    pub rtt: Option<f64>,
    /// The least of its round trips.
    pub rtt_min: Option<f64>,
    /// Its window, in bytes.
    pub window: u64,
    /// What is under way on it, in bytes.
    pub in_flight: u64,
    /// It makes no progress.
    pub suspect: bool,
}

/// A flow.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Flow {
    /// The session it belongs to.
    pub session: String,
    /// Its number within the session.
    pub id: u64,
    /// The tunnel it came through, by name.
    pub tunnel: Option<String>,
    /// Who began it.
    pub source: Option<String>,
    /// Where it goes.
    pub destination: Option<String>,
    /// Its delivery class.
    pub class: String,
    /// For how long it is there.
    pub age: f64,
    /// For how long nothing was sent or received.
    pub idle: f64,
    /// What waits to be sent, in bytes.
    pub queued: u64,
    /// What was counted.
    pub traffic: Traffic,
}

/// What was counted. Datagrams, unless a name says otherwise.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Traffic {
    /// Taken from applications and sockets here, for the other side.
    pub out: u64,
    /// Their payload, in bytes.
    pub out_bytes: u64,
    /// Delivered to applications and sockets here.
    #[serde(rename = "in")]
    pub in_: u64,
    /// Their payload, in bytes.
    pub in_bytes: u64,
    /// Dropped here on the way out, by reason; reasons that never occurred are left out.
    pub dropped_out: BTreeMap<String, u64>,
    /// Dropped here on the way in, by reason.
    pub dropped_in: BTreeMap<String, u64>,
    /// Dropped by the kernel before we could take them, as far as it says.
    pub kernel_drops: u64,
    /// Batches that were sent once more, on another link.
    pub replayed: u64,
    /// Batches that came again, and were recognised.
    pub duplicates: u64,
    /// Links there have been.
    pub links: u64,
}

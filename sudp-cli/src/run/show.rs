//! From what a session says of itself to what status prints.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use sudp_tokio::proto::session::{FlowState, LinkState};
use sudp_tokio::proto::stats::{Counters, Drops};
use sudp_tokio::proto::wire::{FlowId, SessionId};

use super::tell::session_name;
use crate::args::spec::class_name;
use crate::exit::{Exit, Failure};
use crate::status::{Flow, Link, Traffic};

/// A link.
pub(super) fn link(state: &LinkState) -> Link {
    Link {
        ordinal: state.ordinal.0,
        rtt: state.srtt.map(|rtt| rtt.as_secs_f64()),
        rtt_min: state.rtt_min.map(|rtt| rtt.as_secs_f64()),
        window: state.window as u64,
        in_flight: state.unacked as u64,
        suspect: state.suspect.is_some(),
    }
}

/// Why a flow is not cut.
pub(super) fn no_flow(session: &str, flow: u64) -> Failure {
    Failure::new(Exit::Failed, format!("there is no flow {flow} of a session {}", session.escape_debug()))
}

/// What a session, or all of them, counted.
pub(super) fn traffic(counters: &Counters, kernel_drops: u64) -> Traffic {
    Traffic {
        out: counters.accepted,
        out_bytes: counters.bytes_out,
        in_: counters.delivered,
        in_bytes: counters.bytes_in,
        dropped_out: drops(&counters.dropped_out),
        dropped_in: drops(&counters.dropped_in),
        kernel_drops,
        replayed: counters.batches_resent,
        duplicates: counters.duplicates,
        links: counters.links,
    }
}

/// A flow.
pub(super) fn flow(session: SessionId, id: FlowId, state: &FlowState, tunnel: Option<String>) -> Flow {
    let since = |at| age(at).as_secs_f64();
    let books = &state.books;
    let destination = state.destination.as_ref().map(ToString::to_string);
    Flow {
        session: session_name(session),
        id: id.0,
        tunnel,
        source: state.source.as_ref().map(SocketAddr::to_string),
        destination: destination.or_else(|| state.reaches.map(|at| at.to_string())),
        class: class_name(state.treatment.class).into(),
        age: since(state.opened),
        idle: since(state.active),
        queued: state.queued_bytes,
        traffic: Traffic {
            out: books.accepted,
            out_bytes: books.bytes_out,
            in_: books.delivered,
            in_bytes: books.bytes_in,
            dropped_out: drops(&books.dropped),
            dropped_in: drops(&books.refused),
            ..Traffic::default()
        },
    }
}

/// How long ago something was.
pub(super) fn age(at: std::time::Instant) -> Duration {
    sudp_tokio::now().saturating_duration_since(at)
}

fn drops(drops: &Drops) -> BTreeMap<String, u64> {
    drops.iter().filter(|(_, count)| *count > 0).map(|(reason, count)| (reason.as_str().into(), count)).collect()
}

//! `sudp top`: a running instance, live, on a terminal.

mod changes;
mod draw;
#[cfg(test)]
mod fixtures;
mod model;
mod rates;
mod sort;
mod text;

use std::time::SystemTime;

use crate::status::{Flow, Status};

/// How an instance is at one time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    /// When that was.
    pub(crate) at: SystemTime,
    /// How it is.
    pub(crate) status: Status,
    /// Its flows.
    pub(crate) flows: Vec<Flow>,
    /// What has happened since the frame before, as the instance tells it.
    pub(crate) events: Vec<(SystemTime, String)>,
    /// How many older events were left out.
    pub(crate) missed: u64,
}

//! A server, from its configuration to its end.

use tokio::sync::{broadcast, mpsc};

use super::Start;
use crate::exit::Outcome;
use crate::instance::protocol::{Event, Record, Wanted};
use crate::status::{Flow, Status};

/// A server that runs.
#[derive(Debug)]
pub struct App {}

/// Runs a server until it is stopped, by a signal or by [`App::stop`].
pub fn run(_start: Start) -> Outcome {
    unimplemented!()
}

impl App {
    pub(super) async fn status(&self) -> Status {
        unimplemented!()
    }

    pub(super) async fn flows(&self) -> Vec<Flow> {
        unimplemented!()
    }

    pub(super) async fn cut(&self, _session: &str, _flow: u64) -> Outcome {
        unimplemented!()
    }

    pub(super) async fn reload(&self) -> Outcome {
        unimplemented!()
    }

    pub(super) async fn reconnect(&self) -> Outcome {
        unimplemented!()
    }

    pub(super) fn events(&self) -> broadcast::Receiver<Event> {
        unimplemented!()
    }

    pub(super) async fn capture(&self, _wanted: Wanted) -> Outcome<mpsc::Receiver<Record>> {
        unimplemented!()
    }

    pub(super) fn stop(&self) {}
}

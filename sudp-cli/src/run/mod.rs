//! What runs: a server or a client, from its configuration to its end, and how others look into it.

pub mod client;
pub(crate) mod demo;
pub(crate) mod echo;
pub(crate) mod interrupt;
mod life;
pub(crate) mod rt;
pub mod server;
mod show;
mod socks;
pub mod stdio;
mod tell;

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};

use crate::args::Color;
use crate::config::load::Sources;
use crate::exit::Outcome;
use crate::instance::protocol::{Event, Record, Wanted};
use crate::status::{Flow, Status};

pub(crate) use life::lock;
pub(crate) use tell::words;

/// Tells whoever looks after a client what is not as it should be.
pub(crate) struct Teller(Box<dyn Fn(String) + Send + Sync>);

impl Teller {
    pub(crate) fn new(tell: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self(Box::new(tell))
    }

    /// Tells of it as a warning.
    pub(crate) fn warn(&self, text: String) {
        (self.0)(text);
    }
}

/// What runs, as the control socket, the dashboard and the signals know it.
#[derive(Clone, Debug)]
pub enum App {
    /// A server.
    Server(Arc<server::App>),
    /// A client.
    Client(Arc<client::App>),
}

impl App {
    /// How it is.
    pub async fn status(&self) -> Status {
        match self {
            Self::Server(app) => app.status().await,
            Self::Client(app) => app.status().await,
        }
    }

    /// Its flows, of all sessions.
    pub async fn flows(&self) -> Vec<Flow> {
        match self {
            Self::Server(app) => app.flows().await,
            Self::Client(app) => app.flows().await,
        }
    }

    /// Ends a flow.
    pub async fn cut(&self, session: &str, flow: u64) -> Outcome {
        match self {
            Self::Server(app) => app.cut(session, flow).await,
            Self::Client(app) => app.cut(session, flow).await,
        }
    }

    /// Reads its configuration anew, and applies what has changed; if anything is wrong, nothing changes.
    pub async fn reload(&self) -> Outcome {
        match self {
            Self::Server(app) => app.reload().await,
            Self::Client(app) => app.reload().await,
        }
    }

    /// Ends its links, so that new ones are made: all of a client's, or those of one session of a server.
    pub async fn reconnect(&self) -> Outcome {
        match self {
            Self::Server(app) => app.reconnect().await,
            Self::Client(app) => app.reconnect().await,
        }
    }

    /// What happens from now on, for `watch`. Who does not keep up misses the oldest.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        match self {
            Self::Server(app) => app.events(),
            Self::Client(app) => app.events(),
        }
    }

    /// The datagrams that pass from now on, until the receiver is dropped. What finds it full is left out and counted.
    pub async fn capture(&self, wanted: Wanted) -> Outcome<mpsc::Receiver<Record>> {
        match self {
            Self::Server(app) => app.capture(wanted).await,
            Self::Client(app) => app.capture(wanted).await,
        }
    }

    /// Ends it: what is under way is finished first, but a second call ends it at once.
    pub fn stop(&self) {
        match self {
            Self::Server(app) => app.stop(),
            Self::Client(app) => app.stop(),
        }
    }
}

/// What is run, and who is told once it serves.
pub struct Start {
    /// Where its configuration comes from, now and when it is reloaded.
    pub sources: Sources,
    /// Whether what it logs on a terminal is coloured.
    pub color: Color,
    /// Called once, when it serves, inside its runtime: from then on others may look into it. What goes wrong there
    /// ends it.
    pub ready: Box<dyn FnOnce(&App) -> Outcome + Send>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The control socket asks from tasks of its own.
    #[expect(dead_code, reason = "that it compiles says all")]
    fn what_is_asked_of_an_app_can_be_asked_from_any_task(app: &App) -> impl Send {
        (app.status(), app.flows(), app.cut("", 0), app.reload(), app.reconnect(), app.capture(Wanted::default()))
    }
}

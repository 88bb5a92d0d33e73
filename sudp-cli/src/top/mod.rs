//! `sudp top`: a running instance, live, on a terminal.

mod changes;
mod draw;
#[cfg(test)]
mod fixtures;
mod model;
mod rates;
mod sort;
mod source;
mod terminal;
pub(crate) mod text;

use std::io;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;
use std::time::SystemTime;

use tokio::runtime::Handle;

use self::draw::Look;
use self::model::Model;
use self::source::Source;
pub(crate) use self::source::reach;
use self::terminal::{Input, Left};
use crate::args::Color;
use crate::exit::{Exit, Failure, Outcome};
use crate::instance::Name;
use crate::run::{self, App, Start};
use crate::status::{Flow, Role, Status};

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

/// Shows an instance until somebody leaves.
pub fn run(name: &Name, role: Option<Role>, color: Color) -> Outcome {
    terminal::check("sudp top")?;
    let (id, mut call) = reach(name, role)?;
    // One that does not answer is told before the terminal is taken.
    call.status()?;
    drop(call);
    let source = Source::Control(id);
    let (tell, told) = sync_channel(WAITING);
    terminal::listen(tell.clone(), true)?;
    source.watch(tell.clone())?;
    let look = Look::of_environment(color.on(&io::stdout()));
    match terminal::show(&source, Model::new(false), look, &tell, &told, None)? {
        Left::Quit | Left::Ended => Ok(()),
        // As a process ends that does not listen for it.
        Left::Signal(number) => std::process::exit(128 + number),
    }
}

/// Runs a client, and shows it until it ends: who leaves ends it.
pub fn interactive(start: Start) -> Outcome {
    terminal::check("sudp client -i")?;
    let Start { sources, color, ready } = start;
    let (tell, told) = sync_channel(WAITING);
    let (begin, began) = channel();
    let ended = tell.clone();
    let run = move || {
        let ready = Box::new(move |app: &App| {
            ready(app)?;
            // Where nobody waits any more, it ends right away.
            let _ = begin.send((app.clone(), Handle::current()));
            Ok(())
        });
        let outcome = run::client::run(Start { sources, color, ready });
        // Nobody shows it who could have left first.
        let _ = ended.send(Input::Ended);
        outcome
    };
    let cannot = |error: io::Error| Failure::new(Exit::Failed, error);
    let running = thread::Builder::new().name("sudp-client".into()).spawn(run).map_err(cannot)?;
    let shown = began.recv().ok().map(|(app, within)| {
        let stop = {
            let app = app.clone();
            move || app.stop()
        };
        terminal::listen(tell.clone(), false)?;
        terminal::hush().map_err(cannot)?;
        let source = Source::Local(app, within);
        source.watch(tell.clone())?;
        let look = Look::of_environment(color.on(&io::stdout()));
        let left = terminal::show(&source, Model::new(true), look, &tell, &told, Some(&stop));
        if !matches!(left, Ok(Left::Ended)) {
            stop();
        }
        left
    });
    // Nothing reads what it tells: who waits to tell more is not to wait for ever.
    drop(told);
    let outcome = running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    outcome.and(shown.transpose().map(|_| ()))
}

/// How much may wait to be shown.
const WAITING: usize = 64;

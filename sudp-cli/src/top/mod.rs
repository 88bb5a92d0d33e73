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

use std::sync::mpsc::sync_channel;
use std::time::SystemTime;

use self::draw::Look;
use self::model::Model;
pub(crate) use self::source::reach;
use self::source::Source;
use self::terminal::Left;
use crate::args::Color;
use crate::exit::Outcome;
use crate::instance::Name;
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
    terminal::listen(tell.clone())?;
    source.watch(tell.clone())?;
    let look = Look::of_environment(color.on(&std::io::stdout()));
    match terminal::show(&source, Model::new(false), look, &tell, &told, None)? {
        Left::Quit | Left::Ended => Ok(()),
        // As a process ends that does not listen for it.
        Left::Signal(number) => std::process::exit(128 + number),
    }
}

/// How much may wait to be shown.
const WAITING: usize = 64;

//! Where the dashboard sees an instance: at its control socket, or in this process.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::{MissedTickBehavior, interval};

use super::Frame;
use super::rates::Key;
use super::terminal::Input;
use crate::exit::{Exit, Failure, Outcome};
use crate::instance::call::Call;
use crate::instance::manage::{Sought, choose};
use crate::instance::paths::Folders;
use crate::instance::protocol::{Answer, Event, Request};
use crate::instance::{Id, Name};
use crate::run::App;
use crate::status::Role;

/// Where an instance is seen, and told what to do.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// At its control socket.
    Control(Id),
    /// In this process, within its runtime.
    Local(App, Handle),
}

/// The instance of this name that runs. Without a role it is the one that does, if it is only one.
pub(crate) fn reach(name: &Name, role: Option<Role>) -> Outcome<(Id, Call)> {
    let roles = role.map_or_else(|| vec![Role::Server, Role::Client], |role| vec![role]);
    let files = choose(&Folders::new(), &roles, name, Sought::Running)?;
    Ok((files.id.clone(), Call::with(&files)?))
}

impl Source {
    /// Tells, once a second, how the instance is, and what has happened; for as long as anybody listens.
    pub(crate) fn watch(&self, tell: SyncSender<Input>) -> Outcome {
        match self.clone() {
            Self::Control(id) => {
                let watch = move || while follow(&id, &tell) {};
                let started = thread::Builder::new().name("sudp-watch".into()).spawn(watch);
                started.map_err(|error| Failure::new(Exit::Failed, format!("cannot start a thread: {error}")))?;
            }
            Self::Local(app, within) => {
                within.spawn(look(app, tell));
            }
        }
        Ok(())
    }

    /// Ends a flow.
    pub(crate) fn cut(&self, (session, flow): Key) -> Outcome {
        match self {
            Self::Control(id) => Call::open(id)?.tell(&Request::Cut { session, flow }),
            Self::Local(app, within) => within.block_on(app.cut(&session, flow)),
        }
    }

    /// Makes the links anew.
    pub(crate) fn reconnect(&self) -> Outcome {
        match self {
            Self::Control(id) => Call::open(id)?.tell(&Request::Reconnect {}),
            Self::Local(app, within) => within.block_on(app.reconnect()),
        }
    }
}

/// One conversation with the control socket. Afterwards, whether it is worth to try another.
fn follow(id: &Id, tell: &SyncSender<Input>) -> bool {
    let stream = Call::open(id).and_then(|call| call.stream(&Request::Watch { every: EVERY.as_secs_f64() }));
    let lost = match stream {
        Ok(stream) => {
            let mut why = None;
            for answer in stream {
                match answer {
                    Ok(Answer::Frame { status, flows, events, missed }) => {
                        let events = events.iter().map(told).collect();
                        let frame = Frame { at: SystemTime::now(), status: *status, flows, events, missed };
                        if !offer(tell, Input::Frame(Box::new(frame))) {
                            return false;
                        }
                    }
                    // Whatever else is said is from a later version.
                    Ok(_) => {}
                    Err(failure) => why = Some(failure.message),
                }
            }
            why.unwrap_or_else(|| format!("the {id} says nothing more"))
        }
        Err(failure) => failure.message,
    };
    if !offer(tell, Input::Lost(lost)) {
        return false;
    }
    thread::sleep(EVERY);
    true
}

async fn look(app: App, tell: SyncSender<Input>) {
    let mut happens = app.events();
    let mut clock = interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let (status, flows) = (app.status().await, app.flows().await);
        let (mut events, mut missed) = (Vec::new(), 0);
        loop {
            match happens.try_recv() {
                Ok(event) => events.push(told(&event)),
                Err(TryRecvError::Lagged(count)) => missed += count,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        let frame = Frame { at: SystemTime::now(), status, flows, events, missed };
        if !offer(&tell, Input::Frame(Box::new(frame))) {
            return;
        }
    }
}

fn told(event: &Event) -> (SystemTime, String) {
    // A time that cannot be read is from a clock or a version that is not ours: now is near enough.
    (humantime::parse_rfc3339(&event.at).unwrap_or_else(|_| SystemTime::now()), event.text.clone())
}

/// A terminal that takes nothing more, as after Ctrl-S, misses what it could not show. Says whether anybody is there.
fn offer(tell: &SyncSender<Input>, input: Input) -> bool {
    !matches!(tell.try_send(input), Err(TrySendError::Disconnected(_)))
}

/// From one frame to the next.
const EVERY: Duration = Duration::from_secs(1);

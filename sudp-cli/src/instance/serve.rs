//! What an instance does beside its work, from its beginning to its end: it holds its lock, answers at its control
//! socket, and tells who started it that it serves.

use std::sync::{Arc, Mutex, PoisonError};

use super::Id;
use super::control::Control;
use super::lock::Held;
use super::notify;
use super::paths::{Files, Folders};
use crate::exit::{Failure, Outcome};
use crate::run::{App, Start};

/// Runs a server or a client in the foreground. With a name, it is an instance that others find.
pub fn foreground(id: Option<&Id>, start: Start, run: impl FnOnce(Start) -> Outcome) -> Outcome {
    let Some(id) = id else { return run(with(start, |_| Ok(()))) };
    let files = Folders::new().files(id);
    files.prepare_run()?;
    named(&files, start, run, |_, _| Ok(()))
}

/// Runs an instance under the lock of these files; `ready` is called once it serves and can be asked, within its
/// runtime, and may end it by what it gives to [`Ending`].
pub(super) fn named(
    files: &Files,
    start: Start,
    run: impl FnOnce(Start) -> Outcome,
    ready: impl FnOnce(&App, Ending) -> Outcome + Send + 'static,
) -> Outcome {
    let held = Held::take(files)?;
    let control = Arc::new(Mutex::new(None));
    let ending = Ending::default();

    let start = with(start, {
        let (files, control, ending) = (files.clone(), Arc::clone(&control), ending.clone());
        move |app| {
            let open = Control::open(&files, app.clone())?;
            *control.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
            ready(app, ending)
        }
    });
    let outcome = run(start);

    // The socket goes first: while it is there, the lock says whose it is.
    drop(control.lock().unwrap_or_else(PoisonError::into_inner).take());
    drop(held);
    ending.or(outcome)
}

/// Why an instance ends that would have gone on.
#[derive(Clone, Debug, Default)]
pub(super) struct Ending(Arc<Mutex<Option<Failure>>>);

impl Ending {
    /// Ends an instance for this reason.
    pub(super) fn end(&self, app: &App, why: Failure) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        app.stop();
    }

    fn or(&self, outcome: Outcome) -> Outcome {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(outcome, Err)
    }
}

fn with(start: Start, also: impl FnOnce(&App) -> Outcome + Send + 'static) -> Start {
    let before = start.ready;
    let ready = Box::new(move |app: &App| {
        before(app)?;
        also(app)?;
        notify::ready();
        Ok(())
    });
    Start { ready, ..start }
}

//! The commands that manage instances: which one is meant, and what is done to it.

use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::call::{self, Call};
use super::lock::{self, Found};
use super::paths::{Files, Folders};
use super::protocol::Request;
use super::saved::Saved;
use super::spawn::{self, Plan, Serving};
use super::{Id, Name, word};
use crate::exit::{Exit, Failure, Outcome};
use crate::status::{Role, Status};

/// How an instance came to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// By itself, when it was told to.
    Finished,
    /// It took too long, and was told to end at once.
    Hurried,
    /// It took no notice, and was killed.
    Killed,
}

/// What instances are looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sought {
    /// Those that run, or have died.
    Running,
    /// Those that were ever started as well.
    Known,
}

/// The one instance that is meant by a name, among servers, clients, or both.
pub fn choose(folders: &Folders, roles: &[Role], name: &Name, sought: Sought) -> Outcome<Files> {
    let all: Vec<_> = roles.iter().map(|role| folders.find(&Id { role: *role, name: name.clone() })).collect();
    let runs = |files: &&Files| matches!(lock::look(&files.pid), Found::Running(_));
    let found =
        |files: &&Files| lock::look(&files.pid) != Found::Nothing || (sought == Sought::Known && files.state.exists());
    let running: Vec<_> = all.iter().filter(runs).collect();
    let candidates = if running.is_empty() { all.iter().filter(found).collect() } else { running };
    match candidates[..] {
        [] => Err(nothing(folders, roles, name)),
        [files] => Ok(files.clone()),
        [..] => {
            let ways: Vec<_> = roles.iter().map(|role| format!("'sudp {} …'", word(*role))).collect();
            let message = format!("a server and a client are called {name}: write {}", ways.join(" or "));
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

/// Asks an instance how it is. Where it does not run, or does not say, the exit tells which.
pub fn status(files: &Files) -> Outcome<Status> {
    if let Found::Dead(process) = lock::look(&files.pid) {
        let who = process.map(|process| format!(", which was process {}", process.pid)).unwrap_or_default();
        let message = format!(
            "the {} is dead: it was killed, or the system was; {} is left of it{who}",
            files.id,
            files.pid.display()
        );
        return Err(Failure::new(Exit::Failed, message));
    }
    let asked = Call::with(files).and_then(|mut call| call.status());
    asked.map_err(|failure| match failure.exit {
        Exit::NotRunning => failure,
        _ => Failure { exit: Exit::Unknown, ..failure },
    })
}

/// How an instance is, and how much passes.
#[derive(Clone, Debug)]
pub struct Sample {
    /// How it is.
    pub status: Status,
    /// What passes in a second: datagrams out, their bytes, datagrams in, their bytes.
    pub rate: Option<[f64; 4]>,
}

/// Asks an instance how it is; for a person who looks, who has the time for it, also how much passes right now.
pub fn sample(files: &Files) -> Outcome<Sample> {
    let before = status(files)?;
    if !std::io::stdout().is_terminal() {
        return Ok(Sample { status: before, rate: None });
    }
    thread::sleep(LOOK);
    let status = status(files)?;
    let time = (status.uptime - before.uptime).max(f64::EPSILON);
    let counts = |status: &Status| {
        let traffic = &status.traffic;
        [traffic.out, traffic.out_bytes, traffic.in_, traffic.in_bytes]
    };
    let (was, is) = (counts(&before), counts(&status));
    let rate = std::array::from_fn(|which| is[which].saturating_sub(was[which]) as f64 / time);
    Ok(Sample { status, rate: Some(rate) })
}

/// Has an instance read its configuration anew.
pub fn reload(files: &Files) -> Outcome {
    let asked = Call::with(files)?.tell(&Request::Reload {});
    asked.map_err(|failure| match failure.exit {
        Exit::Config => {
            let message = format!("the {} keeps the configuration it has: {}", files.id, failure.message);
            Failure { message, ..failure }
        }
        _ => failure,
    })
}

/// Ends an instance, and returns once it has ended.
pub fn stop(files: &Files, limit: Duration) -> Outcome<Ended> {
    match lock::look(&files.pid) {
        Found::Running(_) => {}
        Found::Dead(_) => {
            lock::clear(files);
            let message = format!("the {} did not run any more; what was left of it is gone now", files.id);
            return Err(Failure::new(Exit::NotRunning, message));
        }
        Found::Nothing => return Err(call::not_running(&files.id)),
        Found::Unknown => return Err(call::hidden(files)),
    }
    let deadline = Instant::now() + limit;
    // One that cannot be asked is told by a signal, which means the same to it.
    let asked = Call::with(files).and_then(|mut call| call.tell(&Request::Stop {}));
    if asked.is_err() {
        signal(files, Signal::TERM);
    }
    if gone(files, deadline) {
        return Ok(Ended::Finished);
    }
    signal(files, Signal::TERM);
    if gone(files, Instant::now() + HURRY) {
        return Ok(Ended::Hurried);
    }
    signal(files, Signal::KILL);
    if gone(files, Instant::now() + HURRY) {
        lock::clear(files);
        return Ok(Ended::Killed);
    }
    Err(Failure::new(Exit::Failed, format!("the {} cannot be ended: the system does not let go of it", files.id)))
}

/// Starts an instance as it was started, after ending it if it runs.
pub fn restart(files: &Files, limit: Duration) -> Outcome<(Option<Ended>, Serving)> {
    let Some(saved) = Saved::read(&files.state)? else {
        let Id { role, name } = &files.id;
        let message = format!(
            "the {} was not started by 'start', so that nothing says how: use 'sudp {} start --instance {name} …', \
             or what it was started by",
            files.id,
            word(*role)
        );
        return Err(Failure::new(Exit::NotRunning, message));
    };
    let ended = match stop(files, limit) {
        Ok(ended) => Some(ended),
        Err(failure) if failure.exit == Exit::NotRunning => None,
        Err(failure) => return Err(failure),
    };
    let plan = Plan {
        files: files.clone(),
        arguments: saved.arguments.into_iter().map(Into::into).collect(),
        folder: saved.folder,
        port: saved.port,
    };
    Ok((ended, spawn::start(&plan)?))
}

fn nothing(folders: &Folders, roles: &[Role], name: &Name) -> Failure {
    let what = match roles {
        [role] => format!("no {}", word(*role)),
        _ => "neither a server nor a client".into(),
    };
    let runs = |files: &Files| matches!(lock::look(&files.pid), Found::Running(_));
    let others: Vec<_> =
        folders.all().into_iter().filter(|files| roles.contains(&files.id.role) && runs(files)).collect();
    let others: Vec<_> = others.iter().take(SHOWN).map(|files| files.id.to_string()).collect();
    let hint = if others.is_empty() {
        "'sudp server start' and 'sudp client start' begin one".into()
    } else {
        format!("there are {}; choose one by --instance, or see 'sudp list'", others.join(", "))
    };
    Failure::new(Exit::NotRunning, format!("{what} called {name} runs: {hint}"))
}

/// Waits until nobody holds the lock of an instance.
fn gone(files: &Files, deadline: Instant) -> bool {
    while matches!(lock::look(&files.pid), Found::Running(_)) {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(PAUSE);
    }
    true
}

/// Signals the process that holds the lock of an instance, and never another that has come by its number.
#[cfg(target_os = "linux")]
fn signal(files: &Files, signal: Signal) {
    use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

    let Found::Running(Some(process)) = lock::look(&files.pid) else { return };
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    // The handle is held: if the process that began then still lives now, it is the one behind the handle.
    if process.lives() {
        let _ = pidfd_send_signal(handle, signal);
    }
}

#[cfg(not(target_os = "linux"))]
fn signal(files: &Files, signal: Signal) {
    use rustix::process::{Pid, kill_process};

    let Found::Running(Some(process)) = lock::look(&files.pid) else { return };
    if let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// How long one may take that is told to end at once.
const HURRY: Duration = Duration::from_secs(2);

/// How long it is looked at how much passes.
const LOOK: Duration = Duration::from_millis(250);

const PAUSE: Duration = Duration::from_millis(10);

/// How many instances a message names.
const SHOWN: usize = 8;

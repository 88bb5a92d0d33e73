//! The commands that manage instances: which one is meant, and what is done to it.

use std::fs;
use std::io::{self, IsTerminal};
use std::iter;
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

#[cfg(not(target_os = "linux"))]
use rustix::process::kill_process;
use rustix::process::{Pid, Signal};
#[cfg(target_os = "linux")]
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

use super::call::{self, Call};
use super::lock::{self, Found, Held, Process};
use super::paths::{self, Files, Folders};
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
        [] => Err(nothing(folders, roles, name, sought)),
        [files] => Ok(files.clone()),
        // Where we cannot look, there may be both, or none.
        [files, ..] if candidates.iter().all(|files| lock::look(&files.pid) == Found::Unknown) => {
            Err(call::hidden(files))
        }
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
    asked.map_err(|failure| {
        let exit = if failure.exit == Exit::NotRunning { failure.exit } else { Exit::Unknown };
        Failure { exit, ..failure }
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
    if !io::stdout().is_terminal() {
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
    asked.map_err(|failure| {
        if failure.exit != Exit::Config {
            return failure;
        }
        let message = format!("the {} keeps the configuration it has: {}", files.id, failure.message);
        Failure { message, ..failure }
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
    let target = Target::of(files);
    // One that cannot be asked is told by a signal, which means the same to it.
    let asked = Call::with(files).and_then(|mut call| call.tell(&Request::Stop {}));
    if asked.is_err() {
        target.signal(Signal::TERM);
    }
    if target.gone(files, deadline) {
        return Ok(Ended::Finished);
    }
    target.signal(Signal::TERM);
    if target.gone(files, Instant::now() + HURRY) {
        return Ok(Ended::Hurried);
    }
    target.signal(Signal::KILL);
    if target.gone(files, Instant::now() + HURRY) {
        lock::clear(files);
        return Ok(Ended::Killed);
    }
    Err(Failure::new(Exit::Failed, format!("the {} cannot be ended: the system does not let go of it", files.id)))
}

/// Removes what is left of an instance that does not run: how it was started, and what it logged.
pub fn forget(files: &Files) -> Outcome {
    match lock::look(&files.pid) {
        Found::Running(_) => {
            let Id { role, name } = &files.id;
            let message = format!("the {} runs: 'sudp {} stop --instance {name}' first", files.id, word(*role));
            return Err(Failure::new(Exit::Failed, message));
        }
        Found::Dead(_) => lock::clear(files),
        Found::Nothing => {}
        Found::Unknown => return Err(call::hidden(files)),
    }
    // While its lock is ours, nobody starts it.
    let _held = Held::take(files)?;
    for path in iter::once(files.state.clone()).chain(files.logs()) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(paths::cannot("remove", &path, &error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// How an instance was started.
pub fn saved(files: &Files) -> Outcome<Saved> {
    Saved::read(&files.state)?.ok_or_else(|| {
        let Id { role, name } = &files.id;
        let message = format!(
            "the {} was not started by 'start', so that nothing says how: use 'sudp {} start --instance {name} …', \
             or what it was started by",
            files.id,
            word(*role)
        );
        Failure::new(Exit::NotRunning, message)
    })
}

/// Starts an instance as it was started, after ending it if it runs.
pub fn restart(files: &Files, saved: Saved, limit: Duration) -> Outcome<(Option<Ended>, Serving)> {
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

fn nothing(folders: &Folders, roles: &[Role], name: &Name, sought: Sought) -> Failure {
    let what = match roles {
        [role] => format!("no {}", word(*role)),
        _ => "neither a server nor a client".into(),
    };
    let did = match sought {
        Sought::Running => "runs",
        Sought::Known => "was ever started here",
    };
    let found = |files: &Files| sought == Sought::Known || matches!(lock::look(&files.pid), Found::Running(_));
    let others: Vec<_> =
        folders.all().into_iter().filter(|files| roles.contains(&files.id.role) && found(files)).collect();
    let others: Vec<_> = others.iter().take(SHOWN).map(|files| files.id.to_string()).collect();
    let hint = if others.is_empty() {
        "'sudp server start' and 'sudp client start' begin one".into()
    } else {
        format!("there are {}; choose one by --instance, or see 'sudp list'", others.join(", "))
    };
    Failure::new(Exit::NotRunning, format!("{what} called {name} {did}: {hint}"))
}

/// The process that is an instance, and never another one that comes by its number.
#[derive(Debug)]
struct Target {
    process: Option<Process>,
    #[cfg(target_os = "linux")]
    handle: Option<OwnedFd>,
}

impl Target {
    /// The one that holds the lock now.
    fn of(files: &Files) -> Self {
        let process = match lock::look(&files.pid) {
            Found::Running(process) => process,
            Found::Dead(_) | Found::Nothing | Found::Unknown => None,
        };
        #[cfg(target_os = "linux")]
        {
            let pid = |process: Process| Pid::from_raw(i32::try_from(process.pid).ok()?);
            let handle = process.and_then(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
            // If the process that began then lives now, it is the one that the handle was opened for.
            let handle = handle.filter(|_| process.is_some_and(|process| process.lives()));
            Self { process, handle }
        }
        #[cfg(not(target_os = "linux"))]
        Self { process }
    }

    #[cfg(target_os = "linux")]
    fn signal(&self, signal: Signal) {
        if let Some(handle) = &self.handle {
            // It may have ended just now.
            let _ = pidfd_send_signal(handle, signal);
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn signal(&self, signal: Signal) {
        let pid = self.process.and_then(|process| Pid::from_raw(i32::try_from(process.pid).ok()?));
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until it has ended, and let go of its lock.
    fn gone(&self, files: &Files, deadline: Instant) -> bool {
        let ours = |process| self.process.is_none() || self.process == process;
        let runs = || matches!(lock::look(&files.pid), Found::Running(process) if ours(process));
        while runs() || self.process.is_some_and(|process| process.lives()) {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(PAUSE);
        }
        true
    }
}

/// How long one may take that is told to end at once.
const HURRY: Duration = Duration::from_secs(2);

/// How long it is looked at how much passes.
const LOOK: Duration = Duration::from_millis(250);

const PAUSE: Duration = Duration::from_millis(10);

/// How many instances a message names.
const SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::scratch::Scratch;

    const BOTH: [Role; 2] = [Role::Server, Role::Client];

    fn files(folders: &Folders, role: Role, name: &Name) -> Files {
        let files = folders.files(&Id { role, name: name.clone() });
        files.prepare().expect("folders");
        files
    }

    #[test]
    fn a_name_means_the_one_that_runs_and_neither_when_both_do() {
        let (scratch, name) = (Scratch::new(), Name::default());
        let folders = scratch.folders();
        let [server, client] = BOTH.map(|role| files(&folders, role, &name));
        let chosen = |sought| choose(&folders, &BOTH, &name, sought).map_err(|failure| failure.exit);
        assert_eq!(chosen(Sought::Running), Err(Exit::NotRunning));

        fs::write(&client.state, "{}").expect("a file");
        assert_eq!(chosen(Sought::Running), Err(Exit::NotRunning));
        assert_eq!(chosen(Sought::Known).as_ref(), Ok(&client));
        fs::write(&server.pid, "1\n").expect("a file");
        assert_eq!(chosen(Sought::Running).as_ref(), Ok(&server), "one that is dead can be meant");
        assert_eq!(chosen(Sought::Known), Err(Exit::Usage));

        let _client = Held::take(&client).expect("nobody has it");
        assert_eq!(chosen(Sought::Known).as_ref(), Ok(&client), "one that runs is meant before one that is dead");
        let _server = Held::take(&server).expect("nobody has it");
        assert_eq!(chosen(Sought::Running), Err(Exit::Usage));
        assert_eq!(choose(&folders, &BOTH[..1], &name, Sought::Running).as_ref(), Ok(&server));
    }

    #[test]
    fn where_nobody_may_look_it_is_not_said_that_there_are_two() {
        let (scratch, name) = (Scratch::new(), Name::default());
        let folders = scratch.folders();
        for role in BOTH {
            std::os::unix::fs::symlink("/nowhere", files(&folders, role, &name).pid).expect("a link");
        }
        let failure = choose(&folders, &BOTH, &name, Sought::Running).expect_err("it cannot be told");
        assert_eq!(failure.exit, Exit::Unknown);
    }

    #[test]
    fn what_runs_under_other_names_is_named() {
        let (scratch, name) = (Scratch::new(), Name::default());
        let folders = scratch.folders();
        let other = files(&folders, Role::Client, &"game".parse().expect("a name"));
        let _other = Held::take(&other).expect("nobody has it");
        let message = |roles: &[Role]| match choose(&folders, roles, &name, Sought::Running) {
            Err(failure) => failure.message,
            Ok(files) => panic!("{files:?}"),
        };
        assert!(message(&BOTH).contains("there are client game; choose one by --instance"), "{}", message(&BOTH));
        assert!(!message(&BOTH[..1]).contains("game"), "it is no server");
    }
}

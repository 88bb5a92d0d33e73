//! Who runs: the pid file, locked for as long as its process lives.
//!
//! The lock decides, not the file: the kernel frees it however a process ends, so that what a killed one left is
//! recognised, and of many that begin at once exactly one gets it.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::paths::{self, Files};
use crate::exit::{Exit, Failure, Outcome};

/// The lock of an instance, held by the process that is it. Dropped, it removes the pid file.
#[derive(Debug)]
pub struct Held {
    file: File,
    path: PathBuf,
}

/// What the pid file of an instance says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// Nothing: there is none.
    Nothing,
    /// What wrote it is dead, and had no chance to remove it.
    Dead(Option<Process>),
    /// What wrote it runs. It has not yet written who it is for a moment after it began.
    Running(Option<Process>),
    /// It cannot be told: it is not a file, or not for us to read.
    Unknown,
}

/// A process, told apart from a later one of the same number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it began, in ticks since the system did, where the system says so.
    pub began: Option<u64>,
}

impl Held {
    /// Takes the lock of an instance for this process, or says who has it.
    pub fn take(files: &Files) -> Outcome<Self> {
        // Who only looks whether it is free holds it for an instant.
        for _ in 0..TRIES {
            let file = paths::open(&files.pid, OFlags::empty())?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    thread::sleep(PAUSE);
                    continue;
                }
                Err(TryLockError::Error(error)) => return Err(paths::cannot("lock", &files.pid, &error)),
            }
            // Its last holder may have removed it between our opening and locking: then another one has its place.
            if same(&file, &files.pid) {
                return Self::sign(file, files);
            }
        }
        let who = match look(&files.pid) {
            Found::Running(Some(process)) => format!(", as process {}", process.pid),
            Found::Running(None) | Found::Dead(_) | Found::Nothing | Found::Unknown => String::new(),
        };
        let message = format!("the {} runs already{who}: stop it first, or choose another --instance", files.id);
        Err(Failure::new(Exit::CannotCreate, message))
    }

    fn sign(file: File, files: &Files) -> Outcome<Self> {
        let mut held = Self { file, path: files.pid.clone() };
        held.write(Process::own()).map_err(|error| paths::cannot("write", &held.path, &error))?;
        Ok(held)
    }

    fn write(&mut self, own: Process) -> std::io::Result<()> {
        let began = own.began.map(|began| format!("{began}\n")).unwrap_or_default();
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(format!("{}\n{began}", own.pid).as_bytes())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It is still locked: nobody else can have begun at this path.
        if same(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Process {
    fn own() -> Self {
        let pid = std::process::id();
        Self { pid, began: stat(pid).map(|(_, began)| began) }
    }

    /// Whether it is still the process of that number, and has not ended.
    pub fn lives(&self) -> bool {
        // One that has ended is there until its parent takes note of it.
        stat(self.pid).is_some_and(|(state, began)| Some(began) == self.began && state != "Z")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        // 0 and negative numbers mean groups of processes to the system.
        let pid = lines.next()?.parse().ok().filter(|pid| (1..=i32::MAX as u32).contains(pid))?;
        Some(Self { pid, began: lines.next().and_then(|began| began.parse().ok()) })
    }
}

/// Looks whether an instance runs, by its pid file.
pub fn look(path: &Path) -> Found {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Found::Nothing,
        Err(_) => return Found::Unknown,
    };
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Found::Unknown;
    }
    let mut text = String::new();
    let process = (&file).take(64).read_to_string(&mut text).ok().and_then(|_| Process::parse(&text));
    match file.try_lock_shared() {
        Ok(()) => Found::Dead(process),
        Err(TryLockError::WouldBlock) => Found::Running(process),
        Err(TryLockError::Error(_)) => Found::Unknown,
    }
}

/// Removes what a dead instance has left. One that begins meanwhile is not touched.
pub fn clear(files: &Files) {
    if !matches!(look(&files.pid), Found::Dead(_)) {
        return;
    }
    if let Ok(held) = Held::take(files) {
        let _ = paths::clear_socket(&files.socket);
        drop(held);
    }
}

fn same(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(there)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}

/// The state of a process, and when it began: the 3rd and the 22nd field of what Linux says of it. The 2nd one is its
/// name, in brackets, with anything inside.
fn stat(pid: u32) -> Option<(String, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.to_owned();
    Some((state, fields.nth(18)?.parse().ok()?))
}

const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;

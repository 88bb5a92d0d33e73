//! Where the files of instances are, and what is trusted there.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::geteuid;

use super::{Id, Name};
use crate::exit::{Exit, Failure, Outcome};

/// The folders that all instances of a user share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Folders {
    /// What outlives a process: how instances were started.
    pub state: PathBuf,
    /// Log files.
    pub logs: PathBuf,
    /// Pid files and control sockets.
    pub run: PathBuf,
}

/// The files of one instance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Files {
    /// Whose they are.
    pub id: Id,
    /// Its process, and the lock that says whether it runs.
    pub pid: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// How it was started.
    pub state: PathBuf,
    /// What it logs in the background, unless it is told otherwise.
    pub log: PathBuf,
}

impl Folders {
    /// Those of this process: systemd's if it gives any, else the system's for root and the user's for others.
    pub fn new() -> Self {
        let uid = geteuid();
        Self::from(uid.is_root(), uid.as_raw(), std::env::home_dir(), |name| std::env::var_os(name))
    }

    fn from(root: bool, uid: u32, home: Option<PathBuf>, var: impl Fn(&str) -> Option<OsString>) -> Self {
        // A relative path means another folder in every shell: the XDG specification has it ignored.
        let absolute = |path: PathBuf| path.is_absolute().then_some(path);
        let systemd = |name| {
            let list = var(name)?;
            let first = list.as_bytes().split(|byte| *byte == b':').next().map(std::ffi::OsStr::from_bytes);
            first.map(PathBuf::from).and_then(absolute)
        };
        let xdg = |name| var(name).map(PathBuf::from).and_then(absolute).map(|path| path.join("sudp"));
        let home = home.and_then(absolute);
        let temporary = || std::env::temp_dir().join(format!("sudp-{uid}"));

        let (state, logs, run) = if root {
            ("/var/lib/sudp".into(), "/var/log/sudp".into(), "/run/sudp".into())
        } else {
            let state = xdg("XDG_STATE_HOME").or_else(|| Some(home?.join(".local/state/sudp")));
            let state = state.unwrap_or_else(|| temporary().join("state"));
            let run = xdg("XDG_RUNTIME_DIR").unwrap_or_else(temporary);
            (state.clone(), state.join("log"), run)
        };
        Self {
            state: systemd("STATE_DIRECTORY").unwrap_or(state),
            logs: systemd("LOGS_DIRECTORY").unwrap_or(logs),
            run: systemd("RUNTIME_DIRECTORY").unwrap_or(run),
        }
    }

    /// The files of an instance that this process may begin.
    pub fn files(&self, id: &Id) -> Files {
        Files::within(id, &self.run, &self.state, &self.logs)
    }

    /// The files of an instance that may run already: a unit of systemd has folders of its own within the common ones.
    pub fn find(&self, id: &Id) -> Files {
        let own = self.nested(id);
        if !exists(&self.files(id)) && exists(&own) { own } else { self.files(id) }
    }

    /// Every instance there are files of: running, dead or stopped.
    pub fn all(&self) -> Vec<Files> {
        let mut found: Vec<Id> = [&self.run, &self.state].into_iter().flat_map(|folder| ids(folder)).collect();
        // The folders of units have the names of their instances.
        let units = names(&self.run).filter_map(|name| name.parse::<Name>().ok());
        found.extend(units.flat_map(|name| ids(&self.run.join(name.to_string()))));
        found.sort();
        found.dedup();
        found.iter().map(|id| self.find(id)).collect()
    }

    fn nested(&self, id: &Id) -> Files {
        let name = id.name.to_string();
        Files::within(id, &self.run.join(&name), &self.state.join(&name), &self.logs.join(&name))
    }
}

impl Default for Folders {
    fn default() -> Self {
        Self::new()
    }
}

impl Files {
    fn within(id: &Id, run: &Path, state: &Path, logs: &Path) -> Self {
        let stem = id.stem();
        Self {
            id: id.clone(),
            pid: run.join(format!("{stem}.pid")),
            socket: run.join(format!("{stem}.sock")),
            state: state.join(format!("{stem}.json")),
            log: logs.join(format!("{stem}.log")),
        }
    }

    /// Makes the folders that are not there, and checks those that are, before an instance begins in the background.
    pub fn prepare(&self) -> Outcome {
        self.prepare_run()?;
        make(folder(&self.state))?;
        make(folder(&self.log))
    }

    /// As [`Self::prepare`], for one in the foreground, which has a pid file and a control socket only.
    pub fn prepare_run(&self) -> Outcome {
        check_socket(&self.socket)?;
        make(folder(&self.pid))
    }

    /// Its log file, and the older ones that it has begun anew.
    pub fn logs(&self) -> Vec<PathBuf> {
        let old = |name: &OsString| {
            let number = name.as_bytes().strip_prefix(self.log.file_name()?.as_bytes())?.strip_prefix(b".")?;
            Some(!number.is_empty() && number.iter().all(u8::is_ascii_digit))
        };
        let listed = fs::read_dir(folder(&self.log)).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let older = listed.filter(|name| old(name) == Some(true)).map(|name| self.log.with_file_name(name));
        std::iter::once(self.log.clone()).chain(older).collect()
    }

    /// Whether what is found in the run folder can be believed: nobody but its owner and root could have put it there.
    pub fn trusted(&self) -> bool {
        fs::metadata(folder(&self.pid)).is_ok_and(|folder| safe(&folder, geteuid().as_raw()).is_ok())
    }
}

/// Opens a file of ours for reading and writing, and makes it where it is not there, for nobody else to read.
///
/// It is refused if it is anything else than a plain file of ours under one name, since then what is written might
/// land somewhere else.
pub(super) fn open(path: &Path, more: OFlags) -> Outcome<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags | more, Mode::RUSR | Mode::WUSR)
        .map_err(|error| cannot("open", path, &error.into()))?;
    let file = File::from(file);
    let found = file.metadata().map_err(|error| cannot("look at", path, &error))?;
    let refuse = |what: &str| {
        Failure::new(Exit::CannotCreate, format!("{} is {what}, and was left alone: remove it", path.display()))
    };
    if !found.is_file() {
        Err(refuse("not a plain file"))
    } else if found.uid() != geteuid().as_raw() {
        Err(refuse("somebody else's"))
    } else if found.nlink() > 1 {
        Err(refuse("a link to another file"))
    } else {
        Ok(file)
    }
}

/// Removes what a dead instance left at the place of its socket, if that is a socket.
pub(super) fn clear_socket(path: &Path) -> Outcome {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            fs::remove_file(path).map_err(|error| cannot("remove", path, &error))
        }
        Ok(_) => {
            let message = format!("{} is not a socket, and was left alone: remove it", path.display());
            Err(Failure::new(Exit::CannotCreate, message))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(cannot("look at", path, &error)),
    }
}

/// What is said when something cannot be done to a file.
pub(super) fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    let is = |kinds: &[io::ErrorKind]| kinds.contains(&error.kind());
    let hint = if is(&[io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem]) {
        ": give the user of the instance access, or set RUNTIME_DIRECTORY, STATE_DIRECTORY and LOGS_DIRECTORY"
    } else if is(&[io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded]) {
        ": make room there"
    } else {
        ""
    };
    Failure::new(Exit::CannotCreate, format!("cannot {verb} {}: {error}{hint}", path.display()))
}

fn make(path: &Path) -> Outcome {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| cannot("make", path, &error))?;
    let found = fs::metadata(path).map_err(|error| cannot("look at", path, &error))?;
    safe(&found, geteuid().as_raw())
        .map_err(|why| Failure::new(Exit::CannotCreate, format!("the folder {} {why}", path.display())))
}

/// Whether nobody but its owner, who is us or root, can change what is in a folder. Root looks into anybody's.
fn safe(folder: &Metadata, uid: u32) -> Result<(), &'static str> {
    if !folder.is_dir() {
        Err("is a file: remove it")
    } else if folder.uid() != uid && folder.uid() != 0 && uid != 0 {
        Err("is somebody else's: set another one, or remove it")
    } else if folder.mode() & 0o022 != 0 {
        Err("can be written by others: take that away, by chmod go-w")
    } else {
        Ok(())
    }
}

fn check_socket(path: &Path) -> Outcome {
    let length = path.as_os_str().len();
    if length <= SOCKET {
        return Ok(());
    }
    let message = format!(
        "the path of the control socket, {}, has {length} bytes, and a system takes at most {SOCKET}: \
         choose a shorter name, or set XDG_RUNTIME_DIR or RUNTIME_DIRECTORY to a shorter folder",
        path.display()
    );
    Err(Failure::new(Exit::CannotCreate, message))
}

fn exists(files: &Files) -> bool {
    [&files.pid, &files.state].into_iter().any(|path| fs::symlink_metadata(path).is_ok())
}

fn ids(folder: &Path) -> impl Iterator<Item = Id> + use<> {
    names(folder).filter_map(|name| {
        let stem = name.strip_suffix(".pid").or_else(|| name.strip_suffix(".json"))?;
        Id::of_stem(stem)
    })
}

fn names(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

fn folder(file: &Path) -> &Path {
    file.parent().expect("a file of an instance is within a folder")
}

/// What the address of a socket holds, without the zero at its end.
const SOCKET: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

#[cfg(test)]
mod tests;

//! Where lines go: the standard error, or a file that begins anew when it is too large or too old.
//!
//! Old files are `name.log.1`, the newest, to `name.log.N`, the oldest. A file that was moved away, by
//! `logrotate` or by hand, is noticed, and a new one made.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

/// Where lines go.
#[derive(Debug)]
pub(super) struct Sink {
    file: File,
    /// What makes it begin anew, if it has a name.
    named: Option<Named>,
    /// The last line went out in part, and could not be taken back.
    torn: bool,
}

/// When a file begins anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Rotation {
    /// Its size; zero is any.
    pub(super) max_size: u64,
    /// Each day, by UTC.
    pub(super) daily: bool,
    /// How many old ones are kept.
    pub(super) keep: usize,
}

/// What was written, and why not all of it.
#[derive(Debug)]
pub(super) struct Written {
    /// Lines that were not.
    pub(super) lost: u64,
    /// Why not.
    pub(super) error: Option<io::Error>,
    /// What else went wrong, and did not keep anything from being written.
    pub(super) trouble: Option<String>,
}

#[derive(Debug)]
struct Named {
    path: PathBuf,
    rotation: Rotation,
    id: (u64, u64),
    size: u64,
    day: u64,
    /// There was trouble, which was told; it is not tried again until then.
    pause: Option<SystemTime>,
}

impl Sink {
    /// The standard error. It is written to without the lock of the process, which a blocked pipe would hold.
    pub(super) fn stderr() -> io::Result<Self> {
        let file = io::stderr().as_fd().try_clone_to_owned().map(File::from);
        // A process whose standard error is closed has nobody to tell.
        let file = file.or_else(|_| OpenOptions::new().write(true).open("/dev/null"))?;
        Ok(Self::stream(file))
    }

    /// What has no name, and is never begun anew.
    pub(super) fn stream(file: File) -> Self {
        Self { file, named: None, torn: false }
    }

    /// A file, which is made if it is not there.
    pub(super) fn open(path: &Path, rotation: Rotation, now: SystemTime) -> io::Result<Self> {
        let (file, about) = open(path)?;
        let day = day_of(&about, now);
        let id = (about.dev(), about.ino());
        let named = Named { path: path.to_owned(), rotation, id, size: about.len(), day, pause: None };
        Ok(Self { file, named: Some(named), torn: false })
    }

    /// Opens the file of its name, whatever that is now.
    pub(super) fn reopen(&mut self, now: SystemTime) -> io::Result<()> {
        if let Some(Named { path, rotation, .. }) = &self.named {
            *self = Self::open(path, *rotation, now)?;
        }
        Ok(())
    }

    /// Writes whole lines, and begins the file anew where that is due.
    pub(super) fn write(&mut self, now: SystemTime, lines: &[u8]) -> Written {
        let mut written = Written { lost: 0, error: None, trouble: self.look(now) };
        let mut left = lines;
        while !left.is_empty() {
            if let Err(trouble) = self.rotate_for(now, left) {
                written.trouble = Some(trouble);
            }
            let (part, rest) = left.split_at(self.fitting(left));
            if let Err((done, error)) = self.put(part) {
                let lost = &part[done..];
                written.lost += count(lost);
                written.error = Some(error);
            }
            left = rest;
        }
        written
    }

    /// Sees whether the file still has its name, and what its size is.
    fn look(&mut self, now: SystemTime) -> Option<String> {
        let named = self.named.as_mut()?;
        let found = named.path.symlink_metadata();
        if let Ok(found) = &found
            && (found.dev(), found.ino()) == named.id
        {
            named.size = found.len();
            return None;
        }
        if named.pause.is_some_and(|pause| now < pause) {
            return None;
        }
        let path = named.path.display().to_string();
        let error = self.reopen(now).err()?;
        self.pause(now);
        Some(format!("cannot open {path} anew: {error}; what was opened before is written on"))
    }

    fn rotate_for(&mut self, now: SystemTime, lines: &[u8]) -> Result<(), String> {
        let Some(named) = &mut self.named else { return Ok(()) };
        let Rotation { max_size, daily, keep } = named.rotation;
        let today = day(now);
        let line = lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1);
        let full = max_size > 0 && named.size + line as u64 > max_size;
        let old = daily && today > named.day;
        if named.size == 0 {
            named.day = today;
        }
        if named.size == 0 || !(full || old) || named.pause.is_some_and(|pause| now < pause) {
            return Ok(());
        }
        let path = named.path.clone();
        let begun = shift(&path, keep).and_then(|()| self.reopen(now));
        begun.map_err(|error| {
            self.pause(now);
            format!("cannot begin {} anew: {error}; it grows beyond what was configured", path.display())
        })
    }

    /// How many bytes of these lines go into the file as it is: one line, or as many as fit.
    fn fitting(&self, lines: &[u8]) -> usize {
        let room = match &self.named {
            Some(named) if named.rotation.max_size > 0 => named.rotation.max_size.saturating_sub(named.size),
            Some(_) | None => return lines.len(),
        };
        let ends = lines.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        ends.clone().take_while(|end| *end as u64 <= room).last().or_else(|| ends.clone().next()).unwrap_or(lines.len())
    }

    /// Writes all of it, or says how many bytes, whole lines, were.
    fn put(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        if self.torn {
            self.file.write_all(b"\n").map_err(|error| (0, error))?;
            self.torn = false;
        }
        let mut done = 0;
        while done < lines.len() {
            let error = match self.file.write(&lines[done..]) {
                Ok(0) => io::Error::from(io::ErrorKind::WriteZero),
                Ok(count) => {
                    done += count;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Somebody else made the terminal or pipe that we share return at once.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(20));
                    continue;
                }
                Err(error) => error,
            };
            let whole = lines[..done].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            self.take_back(done - whole);
            self.grow(whole);
            return Err((whole, error));
        }
        self.grow(done);
        Ok(())
    }

    fn grow(&mut self, bytes: usize) {
        if let Some(named) = &mut self.named {
            named.size += bytes as u64;
        }
    }

    /// Takes the beginning of a line back, so that every line in the file is whole.
    fn take_back(&mut self, bytes: usize) {
        if bytes > 0 {
            let cut = |file: &File| file.set_len(file.metadata()?.len().saturating_sub(bytes as u64));
            self.torn = self.named.is_none() || cut(&self.file).is_err();
        }
    }

    fn pause(&mut self, now: SystemTime) {
        if let Some(named) = &mut self.named {
            named.pause = Some(now + PAUSE);
        }
    }
}

/// How many lines these are.
pub(super) fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Opens a file to append to it. It is ours alone, and not what a link points to, nor anything but a file.
fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // Not to wait for a reader, should it be a pipe.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).expect("the flags of the system fit its type for them");
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path);
    let file = file.map_err(|error| match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::LOOP) => io::Error::new(error.kind(), "it is a symbolic link, which is not followed"),
        Some(rustix::io::Errno::NXIO) => io::Error::new(error.kind(), NO_FILE),
        Some(_) | None => error,
    })?;
    let about = file.metadata()?;
    if about.is_file() { Ok((file, about)) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, NO_FILE)) }
}

/// Makes room for a new file: `name.log` becomes `name.log.1`, and so on; what is beyond `keep` goes.
fn shift(path: &Path, keep: usize) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, "its name is not UTF-8"));
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut old = Vec::new();
    for entry in folder.read_dir()? {
        let entry = entry?.file_name();
        let number = entry.to_str().and_then(|entry| entry.strip_prefix(name)?.strip_prefix('.'));
        let number = number.filter(|number| !number.starts_with(['0', '+']));
        old.extend(number.and_then(|number| number.parse::<usize>().ok()));
    }
    old.sort_unstable_by(|one, other| other.cmp(one));
    let numbered = |number: usize| folder.join(format!("{name}.{number}"));
    for number in old {
        if number >= keep {
            std::fs::remove_file(numbered(number))?;
        } else {
            std::fs::rename(numbered(number), numbered(number + 1))?;
        }
    }
    if keep == 0 { std::fs::remove_file(path) } else { std::fs::rename(path, numbered(1)) }
}

/// The day a file belongs to: that of its last line, or today.
fn day_of(about: &Metadata, now: SystemTime) -> u64 {
    let written = about.modified().ok().filter(|_| about.len() > 0);
    day(written.unwrap_or(now))
}

/// Days since the epoch, by UTC.
fn day(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400)
}

/// How long is waited after trouble that is not over at once.
const PAUSE: Duration = Duration::from_secs(60);
const NO_FILE: &str = "it is not a regular file";

#[cfg(test)]
pub(in crate::log) mod tests;

//! How an instance was started, kept for `restart`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::paths::{self, Files};
use crate::exit::{Exit, Failure, Outcome};

/// How an instance was started.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Saved {
    /// The version of this shape.
    pub schema: u32,
    /// What was typed behind `sudp`.
    pub arguments: Vec<String>,
    /// Where it was typed: what names files by a relative path means them from there.
    pub folder: PathBuf,
    /// The port that was picked, where it was asked to pick one.
    pub port: Option<u16>,
    /// Where it logs.
    pub log: Option<PathBuf>,
}

impl Saved {
    /// Keeps it. Whoever reads it finds all of this, or all of what was there before.
    pub fn write(&self, files: &Files) -> Outcome {
        let cannot = |error: std::io::Error| paths::cannot("write", &files.state, &error);
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| cannot(error.into()))?;
        text.push(b'\n');

        // The lock of the instance is held: nobody else writes there, so that what is there was left by a dead one.
        let new = files.state.with_extension("new");
        let _ = fs::remove_file(&new);
        let written = paths::open(&new, OFlags::EXCL)?.write_all(&text).and_then(|()| fs::rename(&new, &files.state));
        written.map_err(|error| {
            let _ = fs::remove_file(&new);
            cannot(error)
        })
    }

    /// How an instance was started, if it ever was.
    pub fn read(path: &Path) -> Outcome<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(unusable(path, &std::io::Error::from(error))),
        };
        let found = file.metadata().map_err(|error| unusable(path, &error))?;
        let (uid, owner) = (geteuid().as_raw(), found.uid());
        // What stands there is run: nobody but us and root may have written it.
        if !found.is_file() || (owner != uid && owner != 0 && uid != 0) || found.mode() & 0o022 != 0 {
            return Err(unusable(path, &"it is not a file that only its owner writes, who is us"));
        }
        let mut text = String::new();
        file.take(LIMIT).read_to_string(&mut text).map_err(|error| unusable(path, &error))?;
        let saved: Self = serde_json::from_str(&text).map_err(|error| unusable(path, &error))?;
        if saved.schema == SCHEMA { Ok(Some(saved)) } else { Err(unusable(path, &"it is of another version")) }
    }
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    let message = format!("cannot use {}, which says how it was started: {why}; use 'start' instead", path.display());
    Failure::new(Exit::Failed, message)
}

/// The version of [`Saved`].
pub const SCHEMA: u32 = 1;

/// What people type is shorter.
const LIMIT: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::scratch::Scratch;

    fn saved() -> Saved {
        Saved {
            schema: SCHEMA,
            arguments: vec!["server".into(), "start".into(), "--port".into(), "0".into()],
            folder: "/home/ä b".into(),
            port: Some(40_000),
            log: Some("/var/log/sudp/server-default.log".into()),
        }
    }

    #[test]
    fn what_was_kept_is_found_again() {
        let scratch = Scratch::new();
        let files = scratch.files();
        assert_eq!(Saved::read(&files.state), Ok(None));
        saved().write(&files).expect("there is room");
        fs::write(files.state.with_extension("new"), "half").expect("one died while it wrote");
        let later = Saved { port: None, ..saved() };
        later.write(&files).expect("there is room");
        assert_eq!(Saved::read(&files.state), Ok(Some(later)));
        assert_eq!(fs::metadata(&files.state).expect("a file").mode() & 0o777, 0o600);
        assert!(!files.state.with_extension("new").exists());
    }

    #[test]
    fn what_cannot_be_used_is_told_with_a_way_out() {
        let scratch = Scratch::new();
        let files = scratch.files();
        let text = serde_json::to_string(&saved()).expect("plain");
        let other = text.replace("\"schema\":1", "\"schema\":2");
        for text in ["", "{}", "null", "\0", &text[..text.len() / 2], &other] {
            fs::write(&files.state, text).expect("a file");
            rustix::fs::chmod(&files.state, Mode::RUSR | Mode::WUSR).expect("ours");
            let failure = Saved::read(&files.state).expect_err(text);
            assert!(failure.message.contains("'start'"), "{failure}");
        }
        fs::write(&files.state, &text).expect("a file");
        assert_eq!(Saved::read(&files.state), Ok(Some(saved())));
        rustix::fs::chmod(&files.state, Mode::from_raw_mode(0o666)).expect("ours");
        Saved::read(&files.state).expect_err("anybody could have written it");
    }
}

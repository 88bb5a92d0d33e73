//! A folder for a test, that goes with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::paths::{Files, Folders};
use super::{Id, Name};
use crate::status::Role;

/// A folder for a test, that goes with it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sudp-cli-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("a folder of ours");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn folders(&self) -> Folders {
        let below = |name: &str| self.0.join(name);
        Folders { state: below("state"), logs: below("logs"), run: below("run") }
    }

    /// The files of the server `default`, whose folders are there.
    pub(super) fn files(&self) -> Files {
        let files = self.folders().files(&Id { role: Role::Server, name: Name::default() });
        files.prepare().expect("folders");
        files
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

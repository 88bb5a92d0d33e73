//! The bodies of the fuzz targets: functions of bytes that panic when something does not hold.
//!
//! They live here, not with their binaries, so that libFuzzer, the corpus test and a replay on a
//! stable toolchain all run the same code.

pub mod access;
pub mod link;
pub mod sealed;
pub mod session;
pub mod tunnel;
pub mod wire;

use std::path::{Path, PathBuf};
use std::{fs, io, thread};

/// One body.
pub type Target = fn(&[u8]);

/// Every target by the name of its binary and of its directory in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("access", access::access),
    ("control", wire::control),
    ("frames", link::frames),
    ("hello", wire::hello),
    ("message", wire::message),
    ("sealed", sealed::sealed),
    ("session", session::session),
    ("tunnel", tunnel::tunnel),
    ("upgrade_client", link::upgrade_client),
    ("upgrade_server", link::upgrade_server),
    ("welcome", wire::welcome),
];

/// Runs `body` on the file `path`, or on every file under the directory `path` in the order of their
/// names.
///
/// Returns how many files that were.
pub fn replay(body: Target, path: &Path) -> io::Result<usize> {
    if !path.is_dir() {
        let data = fs::read(path)?;
        let _input = Input(path);
        body(&data);
        return Ok(1);
    }
    let mut entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    entries.sort();
    entries.iter().try_fold(0, |count, entry| Ok(count + replay(body, entry)?))
}

/// Names the input that a panic leaves behind.
struct Input<'a>(&'a Path);

impl Drop for Input<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("while replaying {}", self.0.display());
        }
    }
}

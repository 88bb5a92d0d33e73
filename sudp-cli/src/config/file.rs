//! Reading files that somebody named, who may have named anything.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// A text file, and who else may read it.
#[derive(Debug)]
pub(crate) struct Text {
    /// What is in it.
    pub(crate) text: String,
    /// Whether every user of the machine can read it.
    pub(crate) exposed: bool,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It is not there.
    #[error("there is no such file")]
    Missing,
    /// It cannot be read, for a reason of the system's.
    #[error("it cannot be read: {0}")]
    Io(io::Error),
    /// It is something else than a file.
    #[error("it is {0}, and not a file")]
    Kind(&'static str),
    /// It is longer than anything that people write.
    #[error("it has more than {LIMIT} bytes, which is no configuration")]
    Long,
    /// It is not text.
    #[error("it is not text: byte {column} of line {line} is not UTF-8")]
    Utf8 {
        /// The line.
        line: usize,
        /// The byte of that line, from 1.
        column: usize,
    },
}

/// Reads a file of text. It never waits, whatever stands under that name, and never reads without end.
pub(crate) fn read(path: &Path) -> Result<Text, FileError> {
    // Without this, opening a FIFO waits for somebody to write into it.
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).expect("flags fit");
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(refused)?;
    let metadata = file.metadata().map_err(refused)?;
    let kind = metadata.file_type();
    if !kind.is_file() {
        return Err(FileError::Kind(match () {
            () if kind.is_dir() => "a directory",
            () if kind.is_fifo() => "a pipe",
            () if kind.is_char_device() || kind.is_block_device() => "a device",
            () => "a socket",
        }));
    }
    let bytes = read_some(file)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Text { text, exposed: metadata.mode() & 0o004 != 0 }),
        Err(error) => {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
            Err(FileError::Utf8 { line, column })
        }
    }
}

/// Reads a file that has one value in it, or lines of them; what ends its last line does not belong to it.
pub(crate) fn read_value(path: &Path) -> Result<String, String> {
    match read(path) {
        Ok(Text { text, .. }) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => Err(format!("the file {}: {error}", path.display())),
    }
}

/// Whether every user of the machine can read a file.
pub(crate) fn is_exposed(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.mode() & 0o004 != 0)
}

fn read_some(file: File) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(refused)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= LIMIT) { Ok(bytes) } else { Err(FileError::Long) }
}

fn refused(error: io::Error) -> FileError {
    if error.kind() == io::ErrorKind::NotFound { FileError::Missing } else { FileError::Io(error) }
}

const LIMIT: u64 = 1 << 20;

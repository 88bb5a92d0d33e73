//! The log file of an instance: its end, and what is written from now on.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::paths::Files;
use super::saved::Saved;
use crate::exit::{Exit, Failure, Outcome};

/// Shows the last lines of the log of an instance, and goes on with what is written from now on, if that is wanted.
pub fn show(files: &Files, lines: usize, follow: bool) -> Outcome {
    let said = Saved::read(&files.state).ok().flatten().and_then(|saved| saved.log);
    let path = said.unwrap_or_else(|| files.log.clone());
    let file = File::open(&path).map_err(|error| {
        let (id, path) = (&files.id, path.display());
        if error.kind() != io::ErrorKind::NotFound {
            return Failure::new(Exit::Failed, format!("cannot read the log {path}: {error}"));
        }
        let message = format!(
            "the {id} has no log file, {path}: in the foreground it logs to the standard error, which a unit of \
             systemd has in its journal (journalctl -u 'sudp*@{}')",
            id.name
        );
        Failure::new(Exit::Failed, message)
    })?;
    let mut out = io::stdout().lock();
    let shown = copy(file, &path, lines, follow, &mut out, || {
        thread::sleep(PAUSE);
        true
    });
    match shown {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("cannot show the log {}: {error}", path.display())))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Copies from `file`, which was found at `path`; `wait` says whether to look once more.
fn copy(
    mut file: File,
    path: &Path,
    lines: usize,
    follow: bool,
    out: &mut impl Write,
    mut wait: impl FnMut() -> bool,
) -> io::Result<()> {
    let from = tail(&mut file, lines)?;
    file.seek(SeekFrom::Start(from))?;
    loop {
        io::copy(&mut file, out)?;
        out.flush()?;
        if !follow || !wait() {
            return Ok(());
        }
        let (ours, there) = (file.metadata()?, fs::metadata(path).ok());
        if ours.len() < file.stream_position()? {
            // It was emptied in its place.
            file.seek(SeekFrom::Start(0))?;
        }
        let moved = there.filter(|there| (there.dev(), there.ino()) != (ours.dev(), ours.ino()));
        if moved.is_some()
            && let Ok(next) = File::open(path)
        {
            // What was written just before it was moved away is not lost.
            io::copy(&mut file, out)?;
            file = next;
        }
    }
}

/// Where the last lines begin.
fn tail(file: &mut File, lines: usize) -> io::Result<u64> {
    let end = file.metadata()?.len();
    if lines == 0 {
        return Ok(end);
    }
    let (mut at, mut found) = (end, 0);
    let mut chunk = vec![0; CHUNK];
    while at > 0 {
        let size = CHUNK.min(usize::try_from(at).unwrap_or(CHUNK));
        at -= size as u64;
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut chunk[..size])?;
        for (index, _) in chunk[..size].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let next = at + index as u64 + 1;
            // The newline at the end of all belongs to the last line.
            if next == end {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok(next);
            }
        }
    }
    Ok(0)
}

/// How often it is looked for more.
const PAUSE: Duration = Duration::from_millis(200);

const CHUNK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::scratch::Scratch;

    fn last(text: &str, lines: usize) -> String {
        let scratch = Scratch::new();
        let path = scratch.path().join("log");
        fs::write(&path, text).expect("a file");
        let mut out = Vec::new();
        copy(File::open(&path).expect("a file"), &path, lines, false, &mut out, || false).expect("it is read");
        String::from_utf8(out).expect("as it was")
    }

    #[test]
    fn the_last_lines_are_shown() {
        assert_eq!(last("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last("a\nb\nc", 2), "b\nc");
        assert_eq!(last("a\nb\nc\n", 9), "a\nb\nc\n");
        assert_eq!(last("a\nb\nc\n", 0), "");
        assert_eq!(last("", 5), "");
        assert_eq!(last("\n\n\n", 2), "\n\n");
        let long: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
        assert_eq!(last(&long, 15_000), long.split_inclusive('\n').skip(5_000).collect::<String>());
    }

    #[test]
    fn what_follows_is_shown_whatever_becomes_of_the_file() {
        let scratch = Scratch::new();
        let path = scratch.path().join("log");
        fs::write(&path, "old\nlast\n").expect("a file");
        let append = |path: &Path, text: &str| {
            let file = File::options().append(true).create(true).open(path);
            file.and_then(|mut file| file.write_all(text.as_bytes())).expect("there is room");
        };
        let mut step = 0;
        let wait = || {
            step += 1;
            match step {
                1 => append(&path, "more\n"),
                2 => {
                    append(&path, "before it moves\n");
                    fs::rename(&path, path.with_extension("1")).expect("it is ours");
                    append(&path.with_extension("1"), "after it moved\n");
                }
                3 => append(&path, "in the new one\n"),
                4 => {
                    fs::write(&path, "").expect("it is ours");
                    append(&path, "emptied\n");
                }
                _ => return false,
            }
            true
        };
        let mut out = Vec::new();
        copy(File::open(&path).expect("a file"), &path, 1, true, &mut out, wait).expect("it is read");
        let expected = "last\nmore\nbefore it moves\nafter it moved\nin the new one\nemptied\n";
        assert_eq!(String::from_utf8(out).expect("as it was"), expected);
    }
}

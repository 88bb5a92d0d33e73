//! Asking for a secret: on the terminal, without showing it, or in a line of the standard input.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use crate::access::Secret;
use crate::config::file;
use crate::exit::{Exit, Failure, Outcome};

/// A secret that is chosen now: typed twice on a terminal, or a line of the standard input where that is none.
pub(crate) fn new_secret(what: &str) -> Outcome<Secret> {
    if !io::stdin().is_terminal() {
        return from_input(what);
    }
    let first = typed(&format!("{what}: "))?;
    let again = typed(&format!("{what}, again: "))?;
    if first.expose() == again.expose() {
        return Ok(first);
    }
    Err(Failure::new(Exit::Usage, "the two are not the same; nothing was changed"))
}

/// The secret in a file.
pub(crate) fn in_file(path: &Path) -> Outcome<Secret> {
    let text = file::read_value(path).map_err(|error| Failure::new(Exit::Config, error))?;
    Ok(Secret::new(text))
}

fn from_input(what: &str) -> Outcome<Secret> {
    let mut line = String::new();
    let read = BufReader::new(io::stdin().lock().take(LONGEST as u64)).read_line(&mut line);
    let secret = Secret::new(line.trim_end_matches(['\r', '\n']));
    zeroize::Zeroize::zeroize(&mut line);
    match read {
        Ok(1..) => Ok(secret),
        Ok(0) => Err(Failure::new(Exit::Usage, format!("the standard input ended before there was a {what} in it"))),
        Err(error) => Err(Failure::new(Exit::Failed, format!("the standard input cannot be read: {error}"))),
    }
}

/// What somebody types on the terminal of this process, which does not show it.
pub(crate) fn typed(prompt: &str) -> Outcome<Secret> {
    let cannot = |error: io::Error| {
        Failure::new(Exit::Failed, format!("the terminal cannot be asked: {error}; give it on the standard input"))
    };
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(cannot)?;
    terminal.write_all(prompt.as_bytes()).map_err(cannot)?;
    let quiet = Quiet::new(&terminal).map_err(cannot)?;
    let read = read_line(&terminal);
    drop(quiet);
    // The line that was typed did not end the one of the prompt.
    let _ = terminal.write_all(b"\n");
    let line = read.map_err(cannot)?;
    if line.contains(&INTERRUPT) {
        return Err(Failure::new(Exit::Interrupted, "nothing was changed"));
    }
    let text = String::from_utf8(line).map_err(|_| Failure::new(Exit::Usage, "what was typed is not text"))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

/// A line, or what there is of it when somebody gives up.
fn read_line(mut terminal: &File) -> io::Result<Vec<u8>> {
    let (mut line, mut room) = (Vec::new(), [0; 1_024]);
    while line.len() < LONGEST && !line.iter().any(|byte| [b'\n', INTERRUPT].contains(byte)) {
        match terminal.read(&mut room)? {
            0 => break,
            length => line.extend_from_slice(&room[..length]),
        }
    }
    zeroize::Zeroize::zeroize(&mut room);
    Ok(line)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet<'a>(&'a File, Termios);

impl<'a> Quiet<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        // Ctrl-C would end the process and leave the terminal as it is then; so it ends the line instead.
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self(terminal, before))
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.0, OptionalActions::Flush, &self.1);
    }
}

/// Ctrl-C, as a terminal hands it over.
const INTERRUPT: u8 = 3;
/// Longer than any secret.
const LONGEST: usize = 16 << 10;

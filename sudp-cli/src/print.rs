//! What a command answers, on the standard output.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::exit::{Exit, Failure, Outcome};

/// Prints a text. Whoever has read enough of it may hang up.
pub(crate) fn text(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("the standard output cannot be written: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints something for programs.
pub(crate) fn json(what: &impl Serialize) -> Outcome {
    let json = serde_json::to_string_pretty(what);
    let json = json.map_err(|error| Failure::new(Exit::Internal, format!("this cannot be told as JSON: {error}")))?;
    text(&(json + "\n"))
}

//! A command that says a token.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::secret;
use crate::access::Secret;
use crate::config;

/// Runs a command by the shell, and takes the one line that it says.
pub(super) fn run(command: &str) -> Result<Secret, String> {
    run_within(command, TIME)
}

fn run_within(command: &str, time: Duration) -> Result<Secret, String> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // It is to say a secret, not to be told others.
    for variable in config::secret_variables() {
        shell.env_remove(variable);
    }
    // With all that it begins, it can be ended as one.
    shell.process_group(0);
    let mut child = shell.spawn().map_err(|error| format!("/bin/sh cannot be run: {error}"))?;
    let group = Pid::from_child(&child);
    let (said, heard) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = output.take(LENGTH + 1).read_to_end(&mut bytes).map(|_| bytes);
            // Nobody may wait any more.
            let _ = said.send(read);
        });
    }
    let read = heard.recv_timeout(time);
    let long = matches!(&read, Ok(Ok(bytes)) if bytes.len() as u64 > LENGTH);
    if long || read.is_err() {
        // What has ended by itself meanwhile needs no ending.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait().map_err(|error| format!("it cannot be waited for: {error}"))?;
    let bytes = match read {
        Ok(Ok(_)) if long => {
            return Err(format!("it says more than {LENGTH} bytes; it is to say a token, and no more"));
        }
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return Err(format!("what it says cannot be read: {error}")),
        Err(RecvTimeoutError::Timeout) => {
            return Err(format!("it takes more than {} s; it was ended", time.as_secs_f32()));
        }
        Err(RecvTimeoutError::Disconnected) => return Err("what it says cannot be read".to_owned()),
    };
    if !status.success() {
        return Err(format!("it fails ({status}); run it by hand to see why"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "what it says is not text".to_owned())?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(token), None) if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(secret(token)),
        (Some(_), None) => Err("what it says is no token: there are blanks or other characters in it".to_owned()),
        (None, _) => Err("it says nothing".to_owned()),
        (Some(_), Some(_)) => Err("it says several lines; it is to say a token, and no more".to_owned()),
    }
}

/// How long it may take.
const TIME: Duration = Duration::from_secs(30);
/// How much it may say.
const LENGTH: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn said(command: &str) -> Result<String, String> {
        run_within(command, Duration::from_millis(700)).map(|token| token.expose().to_owned())
    }

    #[test]
    fn one_line_is_taken_and_everything_else_is_told_in_words() {
        assert_eq!(said("echo; echo '  abc.def '").as_deref(), Ok("abc.def"));
        for (command, words) in [
            ("exit 3", "run it by hand"),
            ("echo abc; exit 1", "it fails (exit status: 1)"),
            ("true", "says nothing"),
            ("echo a b", "no token"),
            ("echo a; echo b", "several lines"),
            ("printf '\\377'", "not text"),
            ("/nonexistent/command", "it fails"),
            ("yes", "more than 16384 bytes"),
        ] {
            let why = said(command).expect_err(command);
            assert!(why.contains(words), "{command}: {why}");
        }
    }

    #[test]
    fn one_that_hangs_is_ended_with_all_that_it_has_begun() {
        let begun = Instant::now();
        assert!(said("sleep 600 & sleep 600").expect_err("it hangs").contains("it was ended"));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn it_is_not_told_the_secrets_of_the_environment() {
        for variable in ["SUDP_CLIENT__AUTH__PASSWORD", "SUDP_CLIENT__AUTH__TOKEN", "SUDP_CLIENT__PROXY"] {
            assert!(config::secret_variables().any(|name| name == variable), "{variable}");
        }
    }
}

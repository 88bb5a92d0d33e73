//! Into the background: the parent's side, which waits for what becomes of it, and the child's.
//!
//! The child is this program with the same arguments, a mark in its environment, and a pipe as its standard output, by
//! which it tells that it serves, or why it does not.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::paths::{self, Files};
use super::saved::Saved;
use super::{lock, serve};
use crate::exit::{Exit, Failure, Outcome};
use crate::run::{App, Start};
use crate::status::Tunnel;

/// What is started, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its files.
    pub files: Files,
    /// What was typed behind `sudp`.
    pub arguments: Vec<OsString>,
    /// Where it was typed.
    pub folder: PathBuf,
    /// The port it had, where it was asked to pick one.
    pub port: Option<u16>,
}

/// What an instance that serves says of itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Serving {
    /// Its process.
    pub pid: u32,
    /// Where a server listens.
    pub listening: Vec<String>,
    /// The servers of a client.
    pub servers: Vec<String>,
    /// What each tunnel is called, and where it listens or why not.
    pub tunnels: Vec<(String, Result<Option<String>, String>)>,
    /// Where it logs.
    pub log: Option<PathBuf>,
}

/// What the child tells, as one line.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Told {
    Ready(Serving),
    Failed { exit: u8, message: String },
}

/// What a parent gets to hear.
#[derive(Debug)]
enum Word {
    Told(Told),
    Silence,
    Late,
}

/// What the child knows of why it was begun.
#[derive(Debug)]
pub struct Background {
    parent: File,
    /// The port it had before.
    pub port: Option<u16>,
}

/// Begins an instance in the background, and waits until it serves. If it does not, nothing of it is left.
pub fn start(plan: &Plan) -> Outcome<Serving> {
    let Plan { files, arguments, folder, port } = plan;
    files.prepare()?;
    let mut log = paths::open(&files.log, OFlags::APPEND)?;
    let before = log.seek(SeekFrom::End(0)).map_err(|error| paths::cannot("read", &files.log, &error))?;

    let cannot = |error: io::Error| Failure::new(Exit::Failed, format!("cannot begin a process: {error}"));
    let (told, tell) = io::pipe().map_err(cannot)?;
    if !folder.is_dir() {
        let message = format!("the folder it was started in, {}, is gone: make it, or use 'start'", folder.display());
        return Err(Failure::new(Exit::Failed, message));
    }
    let mut child = Command::new(env::current_exe().map_err(cannot)?)
        .args(arguments)
        .current_dir(folder)
        .env(MARK, port.map(|port| port.to_string()).unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(tell)
        .stderr(log)
        .spawn()
        .map_err(cannot)?;

    let failure = match wait(told) {
        Word::Told(Told::Ready(serving)) => return Ok(serving),
        Word::Told(Told::Failed { exit, message }) => {
            end(&mut child, GRACE);
            Failure { exit: Exit::of(exit).unwrap_or(Exit::Failed), message }
        }
        Word::Silence => {
            let ended = end(&mut child, GRACE).map_or_else(String::new, |status| format!(" ({status})"));
            Failure::new(Exit::Failed, format!("the {} ended without a word{ended}; {}", files.id, tail(files, before)))
        }
        Word::Late => {
            end(&mut child, Duration::ZERO);
            let limit = PATIENCE.as_secs();
            let message =
                format!("the {} did not serve within {limit} s, and was ended; {}", files.id, tail(files, before));
            Failure::new(Exit::Temporary, message)
        }
    };
    lock::clear(files);
    Err(failure)
}

/// Whether this process was begun by [`start`].
pub fn is_child() -> bool {
    env::var_os(MARK).is_some()
}

impl Background {
    /// What this process was begun as, if it was begun to go into the background. To be called first of all: it takes
    /// leave of terminal and folder, before there is a thread.
    pub fn enter() -> Outcome<Option<Self>> {
        let Some(port) = env::var_os(MARK) else { return Ok(None) };
        let cannot = |what: &str, error: io::Error| Failure::new(Exit::Internal, format!("cannot {what}: {error}"));
        let parent = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3);
        let parent = parent.map_err(|error| cannot("keep the way to the parent", error.into()))?;
        let null = File::options().write(true).open("/dev/null").map_err(|error| cannot("open /dev/null", error))?;
        rustix::stdio::dup2_stdout(&null).map_err(|error| cannot("leave the standard output", error.into()))?;
        // It fails where we are the first of a session already, which is as well.
        let _ = rustix::process::setsid();
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        env::set_current_dir("/").map_err(|error| cannot("go to /", error))?;
        Ok(Some(Self { parent: parent.into(), port: port.to_str().and_then(|port| port.parse().ok()) }))
    }

    /// Runs the instance, and tells the parent what becomes of it.
    pub fn run(self, files: &Files, saved: Saved, start: Start, run: impl FnOnce(Start) -> Outcome) -> Outcome {
        let Ok(mut parent) = self.parent.try_clone() else {
            return Err(Failure::new(Exit::Internal, "cannot keep the way to the parent"));
        };
        let outcome = serve::named(files, start, run, {
            let (files, parent) = (files.clone(), self.parent);
            move |app, ending| {
                let app = app.clone();
                // Until the parent knows, nothing is settled; what it is told has to be asked of what runs.
                tokio::spawn(async move {
                    if let Err(failure) = settle(&app, &files, saved, parent).await {
                        ending.end(&app, failure);
                    }
                });
                Ok(())
            }
        });
        if let Err(Failure { exit, message }) = &outcome {
            // It has been told already, or nobody listens any more, if it served.
            let _ = tell(&mut parent, &Told::Failed { exit: *exit as u8, message: message.clone() });
        }
        outcome
    }

    /// Tells the parent why nothing comes of it.
    pub fn fail(mut self, failure: &Failure) {
        let _ = tell(&mut self.parent, &Told::Failed { exit: failure.exit as u8, message: failure.message.clone() });
    }
}

/// Keeps how it was started, and tells the parent that it serves.
async fn settle(app: &App, files: &Files, saved: Saved, mut parent: File) -> Outcome {
    let status = app.status().await;
    let picked = status.listening.iter().filter_map(|url| port_of(url)).next();
    let log = saved.log.clone();
    Saved { port: picked.filter(|_| status.listening.len() == 1), ..saved }.write(files)?;

    let tunnel = |Tunnel { name, listening, error, .. }| (name, error.map_or(Ok(listening), Err));
    let serving = Serving {
        pid: status.pid,
        listening: status.listening,
        servers: status.servers,
        tunnels: status.tunnels.into_iter().map(tunnel).collect(),
        log,
    };
    // Whoever wanted it has gone away meanwhile: then nobody wants it.
    tell(&mut parent, &Told::Ready(serving))
        .map_err(|error| Failure::new(Exit::Failed, format!("who started it did not wait for it: {error}")))
}

fn tell(parent: &mut File, told: &Told) -> io::Result<()> {
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    parent.write_all(&line)
}

/// What the child tells, if it tells anything in time.
fn wait(mut told: PipeReader) -> Word {
    let (give, take) = mpsc::channel();
    // The pipe has no time limit of its own. When it is over the child is ended, and with it this thread.
    thread::spawn(move || {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while told.read_exact(&mut byte).is_ok() && byte != *b"\n" && line.len() < LINE {
            line.push(byte[0]);
        }
        let _ = give.send(serde_json::from_slice(&line).map_or(Word::Silence, Word::Told));
    });
    take.recv_timeout(PATIENCE).unwrap_or(Word::Late)
}

/// Waits until the child has ended, and ends it if it takes too long.
fn end(child: &mut Child, grace: Duration) -> Option<ExitStatus> {
    let limit = Instant::now() + grace;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= limit {
            let _ = child.kill();
            return child.wait().ok();
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The last words of an instance, as far as they were written since it was begun.
fn tail(files: &Files, before: u64) -> String {
    let path = files.log.display();
    let mut text = Vec::new();
    let read = File::open(&files.log).and_then(|mut log| {
        let from = before.max(log.metadata()?.len().saturating_sub(TAIL));
        log.seek(SeekFrom::Start(from))?;
        log.take(TAIL).read_to_end(&mut text)
    });
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().rev().take(LINES).collect();
    if read.is_err() || lines.is_empty() {
        return format!("nothing is in its log, {path}");
    }
    let lines: String = lines.into_iter().rev().map(|line| format!("\n  {line}")).collect();
    format!("the end of its log, {path}:{lines}")
}

/// The port in what an instance says of where it listens.
pub(super) fn port_of(url: &str) -> Option<u16> {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

/// In the environment of a child: that it is one, and the port it had before.
const MARK: &str = "__SUDP_START";

/// How long an instance may take until it serves.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one may take to end that has said that it does.
const GRACE: Duration = Duration::from_secs(10);

/// The longest line of a child, in bytes.
const LINE: usize = 1024 * 1024;

/// How much of a log is shown, in bytes and in lines.
const TAIL: u64 = 4 * 1024;
const LINES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::scratch::Scratch;

    #[test]
    fn the_port_is_found_in_any_address() {
        let urls = ["ws://127.0.0.1:8080/sudp", "wss://[::1]:443/a:1/b", "127.0.0.1:5005", "[::]:7"];
        assert_eq!(urls.map(port_of), [Some(8080), Some(443), Some(5005), Some(7)]);
        assert_eq!(["", "ws://host/path", "ws://host:0x1/", "ws://host:65536"].map(port_of), [None; 4]);
    }

    #[test]
    fn only_what_was_written_since_is_told() {
        let scratch = Scratch::new();
        let files = scratch.files();
        assert!(tail(&files, 0).starts_with("nothing is in its log"));
        let old = "an old line\n";
        let new: String = (0..9).map(|number| format!("line {number}\n")).collect();
        std::fs::write(&files.log, format!("{old}{new}")).expect("a file");
        let told = tail(&files, old.len() as u64);
        assert!(told.ends_with(":\n  line 4\n  line 5\n  line 6\n  line 7\n  line 8"), "{told}");
        std::fs::write(&files.log, old).expect("a file");
        assert!(tail(&files, old.len() as u64).starts_with("nothing is in its log"));
    }

    #[test]
    fn a_child_that_dies_without_a_word_is_told_with_its_last_ones() {
        let scratch = Scratch::new();
        let files = scratch.files();
        std::fs::write(&files.log, "an old line\n").expect("a file");
        // This program, which takes other arguments, says on its standard error that it does not know this one.
        let plan = Plan { files, arguments: vec!["--begin".into()], folder: "/".into(), port: None };
        let failure = start(&plan).expect_err("it is no server");
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.message.starts_with("the server default ended without a word (exit status: "), "{failure}");
        assert!(failure.message.contains("begin") && !failure.message.contains("an old line"), "{failure}");
        assert_eq!(lock::look(&plan.files.pid), lock::Found::Nothing);

        let gone = Plan { folder: scratch.path().join("gone"), ..plan };
        start(&gone).expect_err("there is no such folder");
    }

    #[test]
    fn a_child_is_heard_whatever_it_says() {
        let hear = |what: &[u8]| {
            let (told, mut tell) = io::pipe().expect("a pipe");
            tell.write_all(what).expect("there is room");
            drop(tell);
            wait(told)
        };
        let failed = Told::Failed { exit: 78, message: "a\nb".into() };
        let line = serde_json::to_string(&failed).expect("plain") + "\n";
        assert!(matches!(hear(line.as_bytes()), Word::Told(told) if told == failed));
        for nonsense in ["", "\n", "panic", "{\"ready\":{}}\n", "\0"] {
            assert!(matches!(hear(nonsense.as_bytes()), Word::Silence), "{nonsense:?}");
        }
    }
}

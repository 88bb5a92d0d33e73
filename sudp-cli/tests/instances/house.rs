//! A place with folders of its own, in which instances run, and after which none does.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sudp_cli::instance::lock::{self, Found};

/// A place with folders of its own.
pub(crate) struct House {
    root: PathBuf,
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl House {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("sudp-instances-{}-{number}", std::process::id()));
        for folder in ["config", "state", "logs", "run"] {
            fs::create_dir_all(root.join(folder)).expect("a folder");
            fs::set_permissions(root.join(folder), fs::Permissions::from_mode(0o700)).expect("ours");
        }
        Self { root }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// A file of the configuration.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.root.join("config").join(name);
        fs::write(&path, text).expect("there is room");
        path.display().to_string()
    }

    /// A command that is about to run here, as one types it: words between blanks.
    pub(crate) fn command(&self, program: &str, line: &str) -> Command {
        let mut command = Command::new(program);
        command.args(line.split_whitespace()).stdin(Stdio::null()).current_dir(&self.root);
        command.env_remove("NOTIFY_SOCKET").env_remove("XDG_RUNTIME_DIR");
        for (name, folder) in [
            ("CONFIGURATION_DIRECTORY", "config"),
            ("STATE_DIRECTORY", "state"),
            ("LOGS_DIRECTORY", "logs"),
            ("RUNTIME_DIRECTORY", "run"),
        ] {
            command.env(name, self.root.join(folder));
        }
        command
    }

    pub(crate) fn sudp(&self, line: &str) -> Said {
        said(self.command(SUDP, line).output().expect("it runs"))
    }

    /// Does what has to work.
    pub(crate) fn well(&self, line: &str) -> String {
        let said = self.sudp(line);
        assert_eq!(said.exit, 0, "sudp {line}: {said:?}");
        said.out
    }

    /// What an instance says of itself.
    pub(crate) fn status(&self, role: &str) -> Value {
        let text = self.well(&format!("{role} status -o json"));
        serde_json::from_str(&text).expect("it is JSON")
    }

    /// The process of an instance.
    pub(crate) fn pid(&self, stem: &str) -> u32 {
        let found = lock::look(&self.path(&format!("run/{stem}.pid")));
        let Found::Running(Some(process)) = found else { panic!("{stem}: {found:?}") };
        process.pid
    }

    pub(crate) fn signal(&self, stem: &str, signal: Signal) {
        kill(self.pid(stem), signal);
    }

    /// What is in a folder.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).expect("a folder").map(|entry| entry.expect("an entry"));
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().display().to_string()).collect();
        names.sort();
        names
    }

    /// Nothing runs, and nothing looks as if.
    pub(crate) fn is_empty(&self) {
        assert_eq!(self.files("run"), Vec::<String>::new());
        assert_eq!(self.processes(), Vec::<u32>::new());
    }

    /// The processes that run with our folders.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mark = format!("RUNTIME_DIRECTORY={}\0", self.path("run").display());
        let ours = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(mark.len()).any(|part| part == mark.as_bytes())
        };
        let entries = fs::read_dir("/proc").expect("a system with /proc").flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(ours).collect()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        for pid in self.processes() {
            kill(pid, Signal::KILL);
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

pub(crate) fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process")).expect("a process");
    let _ = kill_process(pid, signal);
}

pub(crate) fn said(output: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is UTF-8");
    Said { exit: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, so: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < limit, "it never came to this: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Says why a story is not told here.
pub(crate) fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// What follows a word in a text.
pub(crate) fn after<'a>(text: &'a str, word: &str) -> &'a str {
    let (_, rest) = text.split_once(word).unwrap_or_else(|| panic!("{word} is not in: {text}"));
    rest.split_whitespace().next().expect("something follows")
}

pub(crate) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

pub(crate) const SUDP: &str = env!("CARGO_BIN_EXE_sudp");
pub(crate) const SUDPD: &str = env!("CARGO_BIN_EXE_sudpd");
pub(crate) const SUDPC: &str = env!("CARGO_BIN_EXE_sudpc");

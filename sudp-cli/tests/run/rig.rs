//! Processes, what they say, and sockets to speak through them.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_sudp");

/// Longer than anything here takes, however busy the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A command that runs; it is killed when this is dropped.
pub(crate) struct Sudp {
    child: Child,
    errors: Receiver<String>,
    output: Receiver<Vec<u8>>,
    /// What it has said so far.
    said: Vec<String>,
}

/// How a command has ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) code: Option<i32>,
    pub(crate) errors: String,
    pub(crate) output: Vec<u8>,
}

impl Sudp {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        // What this machine is configured to do is none of a test's business.
        command.env_clear().env("HOME", "/nonexistent").args(arguments);
        Self::of(command)
    }

    /// One that was prepared in another way.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (said, errors) = mpsc::channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| said.send(line)));
        let (said, output) = mpsc::channel();
        let mut from = child.stdout.take().unwrap();
        thread::spawn(move || {
            let mut room = [0; 65_536];
            while let Ok(length @ 1..) = from.read(&mut room) {
                if said.send(room[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, errors, output, said: Vec::new() }
    }

    /// A server on any port, and its URL.
    pub(crate) fn server(arguments: &[&str]) -> (Self, String) {
        let mut server = Self::start(&[&["server", "--port", "0"], arguments].concat());
        let url = server.word("listening on ");
        (server, url)
    }

    /// A client, once it is connected.
    pub(crate) fn client(url: &str, arguments: &[&str]) -> Self {
        let mut client = Self::start(&[&["client", url], arguments].concat());
        client.line("connected");
        client
    }

    /// Waits for a line with these words.
    pub(crate) fn line(&mut self, words: &str) -> String {
        if let Some(line) = self.said.iter().find(|line| line.contains(words)) {
            return line.clone();
        }
        let until = Instant::now() + PATIENCE;
        loop {
            match self.errors.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(words) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no {words:?} in {:#?}", self.said)
                }
            }
        }
    }

    /// Forgets what was said: what is waited for from now on is new.
    pub(crate) fn forget(&mut self) {
        self.said.clear();
    }

    /// The word that follows these, in the first line that has them.
    pub(crate) fn word(&mut self, words: &str) -> String {
        let line = self.line(words);
        let rest = line.split(words).nth(1).unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    }

    /// The address that follows these words.
    pub(crate) fn address(&mut self, words: &str) -> SocketAddr {
        self.word(words).parse().unwrap()
    }

    pub(crate) fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// The next piece of its output.
    pub(crate) fn output(&mut self) -> Vec<u8> {
        self.output.recv_timeout(PATIENCE).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> End {
        let until = Instant::now() + PATIENCE;
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            assert!(Instant::now() < until, "it goes on: {:#?}", self.said);
            thread::sleep(Duration::from_millis(5));
        };
        self.said.extend(self.errors.iter());
        End { code, errors: self.said.join("\n"), output: self.output.iter().flatten().collect() }
    }
}

impl Drop for Sudp {
    fn drop(&mut self) {
        // One that was stopped must go on to be killed, and one that has ended is past it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl End {
    /// It has ended with this code, and said these words.
    pub(crate) fn with(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(words.is_empty() || self.errors.contains(words), "no {words:?} in {self:#?}");
        assert!(code < 3 || self.errors.lines().any(|line| line.starts_with("sudp: ")), "{self:#?}");
    }
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str]) -> End {
    let mut running = Sudp::start(arguments);
    drop(running.input());
    running.end()
}

/// A service that sends back what it gets, from another thread.
pub(crate) fn echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut room = [0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut room) {
            // Whoever has gone needs no answer.
            let _ = socket.send_to(&room[..length], from);
        }
    });
    at
}

/// A socket to speak to this address, and hear nobody else.
pub(crate) fn speaks_to(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends this there, and has it back.
pub(crate) fn answers(to: SocketAddr, payload: &[u8]) {
    let (socket, mut room) = (speaks_to(to), [0; 65_536]);
    socket.send(payload).unwrap();
    let length = socket.recv(&mut room).unwrap();
    assert_eq!(&room[..length], payload);
}

/// Whether this is answered soon.
pub(crate) fn is_answered(to: SocketAddr, payload: &[u8], within: Duration) -> bool {
    let (socket, mut room) = (speaks_to(to), [0; 65_536]);
    socket.set_read_timeout(Some(within)).unwrap();
    socket.send(payload).unwrap();
    socket.recv(&mut room).is_ok_and(|length| &room[..length] == payload)
}

/// A folder of a test's own, removed with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sudp-run-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A file with this in it, by its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left over is in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

//! The commands to try and measure with, as processes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bench;
mod cert;
mod demo;
mod echo;

use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::net::UdpSocket;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A command that runs; it is killed when this is dropped.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// Runs a command to its end.
fn run(arguments: &[&str]) -> Output {
    sudp(arguments).stdin(Stdio::null()).output().unwrap()
}

fn sudp(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sudp"));
    command.args(arguments);
    command
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = sudp(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line with these words.
    fn line(&mut self, words: &str) -> String {
        let mut seen = Vec::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            if line.contains(words) {
                return line;
            }
            seen.push(line);
        }
        panic!("no {words:?} in {seen:#?}");
    }

    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// Waits for the end. Gives the exit code, the rest of what it prints, and what it says of errors.
    fn end(mut self) -> (Option<i32>, String, String) {
        let rest: Vec<String> = self.lines.by_ref().map(Result::unwrap).collect();
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (self.child.wait().unwrap().code(), rest.join("\n"), errors)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is past killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A socket that speaks to this address, and hears nobody else.
fn speaks_to(to: &str) -> UdpSocket {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

/// What comes back for this.
fn echoed(socket: &UdpSocket, payload: &[u8]) -> Vec<u8> {
    let mut answer = vec![0; 70_000];
    socket.send(payload).unwrap();
    let length = socket.recv(&mut answer).unwrap();
    answer.truncate(length);
    answer
}

/// The code of a command that has ended, and what it said of errors.
fn failure(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

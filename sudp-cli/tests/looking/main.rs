//! `sudp top` and `sudp capture` as processes, at instances that run.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A server, a client and an application in a place of their own. Whatever runs there ends with it.
struct Place {
    root: PathBuf,
    echo: UdpSocket,
    application: UdpSocket,
    listening: String,
}

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("sudp-looking-{}-{number}", std::process::id()));
        for folder in ["config", "state", "logs", "run"] {
            fs::create_dir_all(root.join(folder)).expect("a folder");
            fs::set_permissions(root.join(folder), fs::Permissions::from_mode(0o700)).expect("ours");
        }
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
            socket
        };
        let mut place = Self { root, echo: socket(), application: socket(), listening: String::new() };
        place.well("server start --port 0 --allow 127.0.0.1");
        let status: Value = serde_json::from_str(&place.well("server status -o json")).expect("JSON");
        let url = status["listening"][0].as_str().expect("it listens").to_owned();
        let to = place.echo.local_addr().expect("bound");
        place.well(&format!("client start {url} -L 0:{to}?name=echo"));
        let status: Value = serde_json::from_str(&place.well("client status -o json")).expect("JSON");
        place.listening = status["tunnels"][0]["listening"].as_str().expect("it listens").to_owned();
        place
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sudp"));
        command.args(line.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.current_dir(&self.root).envs(self.folders());
        command
    }

    fn folders(&self) -> [(&'static str, PathBuf); 4] {
        [
            ("CONFIGURATION_DIRECTORY", self.root.join("config")),
            ("STATE_DIRECTORY", self.root.join("state")),
            ("LOGS_DIRECTORY", self.root.join("logs")),
            ("RUNTIME_DIRECTORY", self.root.join("run")),
        ]
    }

    fn run(&self, line: &str) -> (i32, String, String) {
        ended(self.command(line).output().expect("it runs"))
    }

    fn well(&self, line: &str) -> String {
        let (exit, out, err) = self.run(line);
        assert_eq!(exit, 0, "sudp {line}: {out}{err}");
        out
    }

    /// Begins to capture, and makes sure that it has.
    fn capture(&self, line: &str) -> Child {
        let mut child = self.command(line).spawn().expect("it runs");
        let mut first = String::new();
        let mut out = BufReader::with_capacity(1, child.stdout.take().expect("a pipe"));
        let limit = Instant::now() + Duration::from_secs(20);
        self.application.set_read_timeout(Some(Duration::from_millis(100))).expect("a limit");
        thread::scope(|scope| {
            let reading = scope.spawn(|| out.read_line(&mut first));
            while !reading.is_finished() {
                assert!(Instant::now() < limit, "nothing was captured");
                self.echo_once(b"first");
            }
        });
        assert!(first.contains(r#""tunnel":"echo""#), "{first}");
        child.stdout = Some(out.into_inner());
        child
    }

    /// There and back, if nothing goes wrong on the way.
    fn echo_once(&self, payload: &[u8]) {
        let mut buffer = [0; 2048];
        self.application.send_to(payload, &self.listening).expect("sent");
        self.echo.set_read_timeout(Some(Duration::from_millis(500))).expect("a limit");
        let Ok((length, from)) = self.echo.recv_from(&mut buffer) else { return };
        self.echo.send_to(&buffer[..length], from).expect("sent");
        let _ = self.application.recv_from(&mut buffer);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.run("client stop");
        let _ = self.run("server stop");
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn ended(output: Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn interrupt(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process")).expect("a process");
    kill_process(pid, Signal::INT).expect("it runs");
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[test]
fn a_datagram_is_seen_going_there_and_coming_back_with_its_contents() {
    let place = Place::new();
    let mut child = place.capture("client capture --snap 4 --tunnel echo");
    let mut seen = String::new();
    let mut out = BufReader::with_capacity(1, child.stdout.take().expect("a pipe"));
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            while seen.matches("68656c6c").count() < 2 && out.read_line(&mut seen).is_ok_and(|length| length > 0) {}
        });
        while !reading.is_finished() {
            place.echo_once(b"hello");
        }
    });
    child.stdout = Some(out.into_inner());
    interrupt(&child);
    let (exit, out, err) = ended(child.wait_with_output().expect("it ends"));
    assert_eq!(exit, 0, "{err}");
    assert!(err.contains("captured"), "{err}");
    let all = lines(&(seen + &out));
    let to = place.echo.local_addr().expect("bound").to_string();
    let from = place.application.local_addr().expect("bound").port();
    let is = |line: &Value, direction: &str, fate: &str| {
        line["direction"] == direction && line["fate"] == fate && line["payload"] == "68656c6c"
    };
    let there = all.iter().find(|line| is(line, "out", "taken")).expect("it was taken");
    let back = all.iter().find(|line| is(line, "in", "delivered")).expect("it was delivered");
    assert_eq!((&there["destination"], &there["size"]), (&Value::from(to.clone()), &Value::from(5)));
    assert!(there["source"].as_str().is_some_and(|source| source.ends_with(&format!(":{from}"))), "{there}");
    assert_eq!((&back["source"], &back["destination"]), (&Value::from(to), &there["source"]));
}

#[test]
fn who_hangs_up_or_wants_only_some_ends_the_capture_quietly() {
    let place = Place::new();
    let mut child = place.capture("client capture");
    drop(child.stdout.take());
    let limit = Instant::now() + Duration::from_secs(20);
    while child.try_wait().expect("a process").is_none() {
        assert!(Instant::now() < limit, "it goes on for nobody");
        place.echo_once(b"more");
    }
    assert_eq!(ended(child.wait_with_output().expect("it ended")), (0, String::new(), String::new()));

    let (exit, out, err) = place.run("client capture --for 200ms --fate dropped");
    assert_eq!((exit, out.as_str(), err.as_str()), (0, "", "sudp: 0 datagrams captured\n"));
    let (exit, _, err) = place.run("server capture --session ffffffffffffffffffffffffffffffffffff");
    assert_eq!(exit, 1);
    assert_eq!(err.lines().count(), 1, "{err}");
    let (exit, _, err) = place.run("client capture -w /nowhere/x.pcapng");
    assert!(exit == 73 && err.contains("/nowhere/x.pcapng"), "{exit} {err}");
}

#[test]
fn an_instance_that_stops_ends_the_capture_with_its_counts() {
    let place = Place::new();
    let child = place.capture("client capture");
    place.well("client stop");
    let (exit, _, err) = ended(child.wait_with_output().expect("it ends"));
    assert!(exit == 0 && err.contains("captured"), "{exit} {err}");
    let (exit, _, err) = place.run("client capture");
    assert!(exit == 3 && err.contains("default"), "{exit} {err}");
}

#[test]
fn without_a_terminal_top_names_what_needs_none() {
    let place = Place::new();
    let (exit, out, err) = place.run("client top");
    assert_eq!((exit, out.as_str()), (2, ""));
    assert!(err.contains("'sudp status'"), "{err}");
}

#[test]
fn on_a_terminal_top_shows_the_instance_and_leaves_the_terminal_as_it_was() {
    let place = Place::new();
    let socket = place.root.join("tmux");
    let tmux = |args: &[&str]| {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&socket).args(["-f", "/dev/null"]).args(args).envs(place.folders());
        command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).output()
    };
    let top =
        format!("{} client top; echo left with $?; stty -a | grep -o '.icanon'; sleep 60", env!("CARGO_BIN_EXE_sudp"));
    if !tmux(&["new-session", "-d", "-x", "90", "-y", "24", &top]).is_ok_and(|output| output.status.success()) {
        let _ = writeln!(std::io::stderr(), "SKIPPED: tmux is not installed, so there is no terminal");
        return;
    }
    let screen = || String::from_utf8_lossy(&tmux(&["capture-pane", "-p"]).expect("it runs").stdout).into_owned();
    let until = |what: &str| {
        let limit = Instant::now() + Duration::from_secs(30);
        loop {
            let shown = screen();
            if shown.contains(what) {
                return shown;
            }
            assert!(Instant::now() < limit, "{what} never came:\n{shown}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    place.echo_once(b"hello");
    let port = place.application.local_addr().expect("bound").port().to_string();
    let shown = until(&port);
    assert!(shown.contains("client default") && shown.contains("FLOWS 1"), "{shown}");
    tmux(&["send-keys", "Down", "k"]).expect("it runs");
    until("y/n");
    tmux(&["send-keys", "y"]).expect("it runs");
    until("the flow is cut");
    until("FLOWS 0");
    tmux(&["send-keys", "q"]).expect("it runs");
    let shown = until("icanon");
    assert!(shown.contains("left with 0") && !shown.contains("-icanon") && !shown.contains("FLOWS"), "{shown}");
    tmux(&["kill-server"]).expect("it runs");
}

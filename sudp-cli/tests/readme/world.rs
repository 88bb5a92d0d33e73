//! Programs and sockets around the commands that are run.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A command that runs; it is killed when this is dropped.
pub(crate) struct Sudp(Child);

impl Sudp {
    /// Runs it until it says this, on either of its outputs.
    pub(crate) fn start(arguments: &[String], says: &str) -> Self {
        let mut child = command(arguments).stdin(Stdio::null()).spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (said, lines) = std::sync::mpsc::channel();
        let also = said.clone();
        thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).for_each(|line| drop(said.send(line))));
        thread::spawn(move || BufReader::new(err).lines().map_while(Result::ok).for_each(|line| drop(also.send(line))));
        let (running, until, mut heard) = (Self(child), Instant::now() + PATIENCE, Vec::new());
        while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            heard.push(line);
            if heard.iter().any(|line| line.contains(says)) {
                return running;
            }
        }
        panic!("{arguments:?} did not say {says:?}: {heard:#?}");
    }

    /// Runs it to its end with this as its input, and takes its output.
    pub(crate) fn run(arguments: &[String], input: &[u8]) -> Vec<u8> {
        let mut child = command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }
}

impl Drop for Sudp {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

fn command(arguments: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sudp"));
    // What this machine is configured to do is none of a test's business.
    command.env_clear().env("HOME", "/nonexistent").args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A socket that sends everything back.
pub(crate) struct Echo {
    pub(crate) at: SocketAddr,
}

impl Echo {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut room = [0; 2_048];
            while let Ok((length, from)) = socket.recv_from(&mut room) {
                socket.send_to(&room[..length], from).unwrap();
            }
        });
        Self { at }
    }

    /// What comes back from this port.
    pub(crate) fn ask(port: u16, what: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(what, (Ipv4Addr::LOCALHOST, port)).unwrap();
        let mut room = [0; 2_048];
        let (length, _) = socket.recv_from(&mut room).unwrap();
        room[..length].to_vec()
    }
}

/// A port that nobody has, for UDP and TCP.
pub(crate) fn free_port() -> u16 {
    loop {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Another program, until it is dropped.
pub(crate) struct Program(Child);

impl Program {
    /// nginx with a server as it is handed out, at another port, in front of another one.
    pub(crate) fn nginx(path: &Path, folder: &Path, handed_out: &str, web: u16, port: u16) -> Self {
        let here = folder.display();
        let mut server = handed_out.to_owned();
        for (from, to) in [
            ("listen 443 ssl;", format!("listen 127.0.0.1:{port} ssl;")),
            ("listen [::]:443 ssl;", String::new()),
            ("/etc/letsencrypt/live/tunnel.example/fullchain.pem", format!("{here}/cert.pem")),
            ("/etc/letsencrypt/live/tunnel.example/privkey.pem", format!("{here}/key.pem")),
            ("http://127.0.0.1:8080", format!("http://127.0.0.1:{web}")),
        ] {
            assert!(server.contains(from), "no {from} in it");
            server = server.replace(from, &to);
        }
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|name| format!("{name}_temp_path {here}/{name};\n")).concat();
        let whole = format!(
            "daemon off; master_process off; pid {here}/pid; error_log {here}/error.log;\nevents {{}}\nhttp {{\naccess_log \
             off;\n{temporary}{server}\n}}\n"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, whole).unwrap();
        let mut command = Command::new(path);
        command.arg("-p").arg(folder).arg("-c").arg(&file).stdin(Stdio::null());
        let running = Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let log = fs::read_to_string(folder.join("error.log"));
            assert!(Instant::now() < until, "nginx does not answer: {log:?}");
            thread::sleep(Duration::from_millis(20));
        }
        running
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// Where nginx is, if it is.
pub(crate) fn nginx() -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"];
    let found = folders.iter().map(|folder| Path::new(folder).join("nginx")).find(|path| path.exists());
    if found.is_none() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: nginx is not installed");
    }
    found
}

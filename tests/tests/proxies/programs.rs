//! The proxies that a system may have.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// A proxy that runs until it is killed or dropped.
pub(crate) struct Proxy {
    command: Command,
    running: Option<Child>,
    port: u16,
    home: PathBuf,
}

/// `CONNECT` to the port of a server and to no other, for everybody or for one.
pub(crate) fn tinyproxy(server: SocketAddr, who: Option<(&str, &str)>) -> Option<Proxy> {
    let port = free_port();
    let auth = who.map(|(user, password)| format!("BasicAuth {user} {password}\n")).unwrap_or_default();
    let config = format!(
        "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nConnectPort {}\nLogLevel Critical\n{auth}",
        server.port()
    );
    start("tinyproxy", "tinyproxy", port, &[("conf", &config)], &["-d", "-c", "conf"])
}

/// `CONNECT` to the port of a server and to no other, with a name that nobody else knows.
pub(crate) fn squid(server: SocketAddr) -> Option<Proxy> {
    let port = free_port();
    let config = format!(
        "http_port 127.0.0.1:{port}\npid_filename none\ncache deny all\naccess_log none\ncache_log /dev/null\n\
         hosts_file hosts\ndns_nameservers 127.0.0.1\nshutdown_lifetime 0 seconds\npinger_enable off\n\
         acl theirs port {}\nhttp_access allow CONNECT theirs\nhttp_access deny all\n",
        server.port()
    );
    let hosts = "127.0.0.1 localhost only-there.invalid\n";
    start("squid", "squid", port, &[("conf", &config), ("hosts", hosts)], &["-N", "-f", "conf"])
}

/// SOCKS 5, for everybody or for one.
pub(crate) fn microsocks(who: Option<(&str, &str)>) -> Option<Proxy> {
    let port = free_port();
    let (number, mut arguments) = (port.to_string(), vec!["-i", "127.0.0.1"]);
    if let Some((user, password)) = who {
        arguments.extend(["-u", user, "-P", password]);
    }
    arguments.extend(["-p", &number]);
    start("microsocks", "microsocks", port, &[], &arguments)
}

fn start(program: &str, package: &str, port: u16, files: &[(&str, &str)], arguments: &[&str]) -> Option<Proxy> {
    static HOMES: AtomicU32 = AtomicU32::new(0);
    let found = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"]
        .into_iter()
        .map(|folder| PathBuf::from(folder).join(program))
        .find(|path| path.exists());
    let Some(path) = found else {
        eprintln!("skipped: {program} is not installed (Debian's package {package})");
        return None;
    };
    let number = HOMES.fetch_add(1, Ordering::Relaxed);
    let home = std::env::temp_dir().join(format!("sudp-proxies-{}-{number}", std::process::id()));
    fs::create_dir_all(&home).unwrap();
    let mut command = Command::new(path);
    for argument in arguments {
        match files.iter().find(|(name, _)| name == argument) {
            Some(_) => command.arg(home.join(argument)),
            None => command.arg(argument),
        };
    }
    for (name, text) in files {
        let others = files.iter().fold((*text).to_owned(), |text, (other, _)| {
            text.replace(&format!("_file {other}\n"), &format!("_file {}\n", home.join(other).display()))
        });
        fs::write(home.join(name), others).unwrap();
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut proxy = Proxy { command, running: None, port, home };
    proxy.start();
    Some(proxy)
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl Proxy {
    pub(crate) fn url(&self, scheme: &str, who: Option<(&str, &str)>) -> String {
        let encoded = |text: &str| text.replace('@', "%40").replace(' ', "%20");
        let who = who.map(|(user, password)| format!("{}:{}@", encoded(user), encoded(password))).unwrap_or_default();
        format!("{scheme}://{who}127.0.0.1:{}", self.port)
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn start(&mut self) {
        self.running = Some(self.command.spawn().unwrap());
        for _ in 0..600 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return;
            }
            thread::park_timeout(PROBE);
        }
        panic!("{:?} does not answer", self.command);
    }

    /// Ends it and all its connections at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill().unwrap();
            running.wait().unwrap();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.kill();
        fs::remove_dir_all(&self.home).unwrap();
    }
}

/// How long to wait before a port is asked again.
const PROBE: Duration = Duration::from_millis(50);

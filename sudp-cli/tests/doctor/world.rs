//! Servers, and what may stand in front of them.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use sudp_cli::args::Output;
use sudp_cli::doctor::{self, Plan};
use sudp_cli::exit::Exit;
use sudp_tokio::proto::access::Grant;
use sudp_tokio::proto::config::client::{Scheme, ServerConfig};
use sudp_tokio::tls::{ClientOptions, Identity, Pin, ServerTls, Trust};
use sudp_tokio::{Anyone, ServerOptions, tls};
use tokio::sync::oneshot;

/// What the doctor says of a path.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) report: serde_json::Value,
    pub(crate) exit: Option<Exit>,
}

impl Found {
    pub(crate) fn step(&self, name: &str) -> &serde_json::Value {
        let steps = self.report["steps"].as_array().unwrap();
        steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no {name} in {:#}", self.report))
    }

    /// How each step went, in order.
    pub(crate) fn results(&self) -> Vec<String> {
        let steps = self.report["steps"].as_array().unwrap();
        steps.iter().map(|step| format!("{} {}", text(&step["step"]), text(&step["result"]))).collect()
    }

    pub(crate) fn says(&self, name: &str) -> &str {
        text(&self.step(name)["says"])
    }

    pub(crate) fn fix(&self, name: &str) -> &str {
        text(&self.step(name)["fix"])
    }

    /// It failed at this step, which was the last, and ends so.
    #[track_caller]
    pub(crate) fn failed(&self, name: &str, exit: Exit) {
        let last = self.report["steps"].as_array().unwrap().last().unwrap();
        assert_eq!((text(&last["step"]), text(&last["result"])), (name, "fail"), "{:#}", self.report);
        assert_eq!(self.exit, Some(exit), "{:#}", self.report);
        assert_eq!(self.report["exit"], exit as u8);
        assert!(!self.fix(name).is_empty());
    }

    #[track_caller]
    pub(crate) fn worked(&self) {
        assert_eq!(self.exit, None, "{:#}", self.report);
        assert_eq!(self.report["ok"], true);
    }
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn examine(plan: Plan) -> Found {
    let mut out = Vec::new();
    let exit = doctor::run(plan, Output::Json, false, &mut out).err().map(|failure| failure.exit);
    Found { report: serde_json::from_slice(&out).unwrap(), exit }
}

/// The plan to look at the path to a server, in the clear.
pub(crate) fn plan(at: SocketAddr) -> Plan {
    let server = ServerConfig::new(Scheme::Ws, at.into());
    Plan { server, proxy: None, headers: Vec::new(), tls: None, seal: None, echo: None, idle: None }
}

/// The same over TLS.
pub(crate) fn secure_plan(at: SocketAddr, trust: Trust) -> Plan {
    let options = ClientOptions { trust, ..ClientOptions::default() };
    let mut plan = plan(at);
    plan.server.scheme = Scheme::Wss;
    plan.tls = Some(options.load().unwrap());
    plan
}

/// A server of SUDP, until it is dropped.
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn open() -> Self {
        Self::with(Grant::open(), None)
    }

    pub(crate) fn with(grant: Grant, tls: Option<ServerTls>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (serves, at) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut options = ServerOptions::new(vec![(Ipv4Addr::LOCALHOST, 0).into()]);
                options.tls = tls.map(Arc::new);
                let server = sudp_tokio::bind(options, Anyone(grant)).unwrap();
                serves.send(server.local_addrs()[0]).unwrap();
                // It is dropped that is waited for.
                let _ = stopped.await;
                server.close().await;
            });
        });
        Self { at: at.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(thread::JoinHandle::join);
    }
}

/// Sends back what comes, if it is wanted back.
pub(crate) fn echo(wanted: impl Fn(&[u8]) -> bool + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = socket.local_addr().unwrap();
    // It ends with the process.
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if wanted(&buffer[..length]) {
                let _ = socket.send_to(&buffer[..length], from);
            }
        }
    });
    at
}

/// Takes connections, and does something with each, by its number.
pub(crate) fn listen(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (at, serve) = (listener.local_addr().unwrap(), Arc::new(serve));
    // It ends with the process.
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (serve, Ok(stream)) = (Arc::clone(&serve), stream) else { continue };
            thread::spawn(move || serve(number, stream));
        }
    });
    at
}

/// Reads the head of a request.
pub(crate) fn head(stream: &TcpStream) -> String {
    let (mut reader, mut head) = (BufReader::with_capacity(1, stream), String::new());
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|count| count > 0) {}
    head
}

/// Answers every request with the same.
pub(crate) fn answers(with: &'static [u8]) -> SocketAddr {
    listen(move |_, mut stream| {
        if !head(&stream).is_empty() {
            let _ = stream.write_all(with);
        }
    })
}

/// Passes on what one says to the other, until either ends, or `quiet` has passed without a word.
pub(crate) fn pass(client: &TcpStream, server: &TcpStream, quiet: Option<Duration>) {
    let pump = |mut from: TcpStream, mut to: TcpStream| {
        from.set_read_timeout(quiet).unwrap();
        move || {
            let mut buffer = [0; 16_384];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
        }
    };
    let clone = |stream: &TcpStream| stream.try_clone().unwrap();
    let up = thread::spawn(pump(clone(client), clone(server)));
    pump(clone(server), clone(client))();
    up.join().unwrap();
}

/// A certificate in files of its own, which go with it.
pub(crate) struct Shown {
    pub(crate) tls: Option<ServerTls>,
    pub(crate) pin: Pin,
    pub(crate) authority: PathBuf,
    folder: PathBuf,
}

impl Shown {
    pub(crate) fn new(name: &str, authority: bool) -> Self {
        let folder = folder();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let identity = Identity { chain: folder.join("cert.pem"), key: folder.join("key.pem") };
        fs::write(&identity.chain, certificate.pem()).unwrap();
        write_secret(&identity.key, &key.serialize_pem());
        let authority = identity.chain.clone();
        let tls = ServerTls::load(tls::ServerOptions::new(identity)).unwrap();
        Self { pin: tls.pin(), tls: Some(tls), authority, folder }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn write_secret(path: &PathBuf, text: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("sudp-doctor-{}-{number}", std::process::id()));
    fs::create_dir(&path).unwrap();
    path
}

/// A program that stands in the way, until it is dropped.
pub(crate) struct Program {
    pub(crate) at: SocketAddr,
    child: Child,
    folder: PathBuf,
}

impl Program {
    /// nginx in front of a server, with these lines in its `location`.
    pub(crate) fn nginx(server: SocketAddr, lines: &str) -> Option<Self> {
        Self::start("nginx", |folder, port| {
            let folder = folder.display();
            let config = format!(
                "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\nhttp {{ \
                 access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path \
                 {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;\nserver {{ listen \
                 127.0.0.1:{port};\nlocation /sudp {{ proxy_pass http://{server};\n{lines}\n}} }} }}\n"
            );
            (config, vec!["-c".into(), format!("{folder}/conf"), "-p".into(), folder.to_string()])
        })
    }

    /// tinyproxy, which connects to these ports alone.
    pub(crate) fn tinyproxy(ports: &str, more: &str) -> Option<Self> {
        Self::start("tinyproxy", |folder, port| {
            let config = format!(
                "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nConnectPort {ports}\nLogLevel Critical\n{more}\n"
            );
            (config, vec!["-d".into(), "-c".into(), folder.join("conf").display().to_string()])
        })
    }

    fn start(program: &str, configure: impl Fn(&PathBuf, u16) -> (String, Vec<String>)) -> Option<Self> {
        let found = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
        let found = found.into_iter().map(|folder| PathBuf::from(folder).join(program)).find(|path| path.exists());
        let Some(path) = found else {
            eprintln!("SKIPPED: {program} is not installed");
            return None;
        };
        let folder = folder();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let (config, arguments) = configure(&folder, port);
        fs::write(folder.join("conf"), config).unwrap();
        let mut command = Command::new(path);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let program = Self { at: (Ipv4Addr::LOCALHOST, port).into(), child: command.spawn().unwrap(), folder };
        for _ in 0..600 {
            if TcpStream::connect(program.at).is_ok() {
                return Some(program);
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("{command:?} does not answer");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
        let _ = fs::remove_dir_all(&self.folder);
    }
}

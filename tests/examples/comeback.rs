//! How long it takes until everybody is back when a server was killed, by tickets or without.
//!
//! ```text
//! cargo build --release -p sudp-cli && cargo run --release -p sudp-tests --example comeback -- target/release/sudp 5000
//! ```
//!
//! The server is a process of its own; all clients are in this one, each with a session of its own on a socket of its
//! own, and a user of its own with a password. The server is killed when all of them are attached, and started again at
//! the same port. Told is, as one line of JSON, how long it took from then until the last of them had a session again,
//! and how much time the processor spent on the new server. With `never` as the third argument there are no tickets. It
//! fails when somebody is not back within two minutes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sudp_net::ClientOptions;
use sudp_net::proto::Credential;
use sudp_net::proto::config::client::{ClientConfig, Scheme, ServerConfig};
use sudp_net::proto::wire::{Address, SessionId};
use sudp_tokio::Client;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

type Problem = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(sudp), count) = (arguments.next(), arguments.next().map_or(Ok(5_000), |count| count.parse())) else {
        eprintln!("usage: comeback PATH-OF-SUDP [SESSIONS] [LIFE-OF-TICKETS]");
        return ExitCode::from(2);
    };
    let tickets = arguments.next().unwrap_or_else(|| "10m".to_owned());
    let told = count.map_err(Problem::from).and_then(|count: usize| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(measure(&sudp, count, &tickets))
    });
    match told {
        Ok(line) => {
            // Whoever reads it may have gone.
            let _ = writeln!(std::io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("comeback: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(sudp: &str, count: usize, tickets: &str) -> Result<String, Problem> {
    raise_limit()?;
    let house = House::new(sudp, count, tickets)?;
    // Its keys go by where it listens, so it has the same port from the beginning.
    let (server, at) = house.serve(0)?;
    drop(server);
    let (server, at) = house.serve(at.port())?;
    let begun = sudp_net::now();
    let clients = connect(at, count).await?;
    let founded = begun.elapsed();
    // The sessions are to stand, not to be just founded.
    sleep(Duration::from_secs(2)).await;
    let before = sessions(&clients).await?;
    drop(server);
    let killed = sudp_net::now();
    let (server, _) = house.serve(at.port())?;
    let served = killed.elapsed();
    let (mut waits, mut back) = (Vec::with_capacity(count), 0);
    while back < count {
        if killed.elapsed() > PATIENCE {
            return Err(format!("only {back} of {count} are back after {PATIENCE:?}").into());
        }
        sleep(LOOK).await;
        let now = sessions(&clients).await?;
        back = before.iter().zip(&now).filter(|(before, now)| now.is_some() && now != before).count();
        waits.resize(back.max(waits.len()), killed.elapsed());
    }
    let cpu = cpu_of(server.0.id());
    let at = |part: usize| waits[(waits.len() * part / 100).min(waits.len() - 1)].as_secs_f64();
    Ok(format!(
        r#"{{"sessions":{count},"tickets":"{tickets}","founded_s":{:.2},"server_up_s":{:.3},"p50_s":{:.2},"p99_s":{:.2},"all_back_s":{:.2},"server_cpu_s":{cpu:.2}}}"#,
        founded.as_secs_f64(),
        served.as_secs_f64(),
        at(50),
        at(99),
        at(100)
    ))
}

/// So many clients, once each has a session.
async fn connect(server: SocketAddr, count: usize) -> Result<Vec<Client>, Problem> {
    // A password costs the server time and memory: to come all at once is what is measured later.
    let turns = Arc::new(Semaphore::new(32));
    let mut tasks = Vec::with_capacity(count);
    for index in 0..count {
        let turns = Arc::clone(&turns);
        tasks.push(tokio::spawn(async move {
            let _turn = turns.acquire().await?;
            let server = ServerConfig::new(Scheme::Ws, Address::from(server));
            let mut options = ClientOptions::new(ClientConfig::new(vec![server]));
            options.credential = Some(Credential::basic(&format!("user-{index}"), PASSWORD)?);
            let client = sudp_tokio::connect(options)?;
            timeout(PATIENCE, client.attached()).await.map_err(|_| format!("user-{index} is not let in"))??;
            Ok::<_, Problem>(client)
        }));
    }
    let mut clients = Vec::with_capacity(count);
    for task in tasks {
        clients.push(task.await??);
    }
    Ok(clients)
}

async fn sessions(clients: &[Client]) -> Result<Vec<Option<SessionId>>, Problem> {
    let mut sessions = Vec::with_capacity(clients.len());
    for client in clients {
        let stats = client.stats().await?;
        sessions.push(stats.session.filter(|_| !stats.links.is_empty()));
    }
    Ok(sessions)
}

/// A place with users, a configuration, and servers that have it.
struct House {
    sudp: PathBuf,
    folder: PathBuf,
    tickets: String,
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended by itself needs no ending.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl House {
    fn new(sudp: &str, count: usize, tickets: &str) -> Result<Self, Problem> {
        let folder = std::env::temp_dir().join(format!("sudp-comeback-{}", std::process::id()));
        fs::create_dir(&folder)?;
        let house = Self { sudp: fs::canonicalize(sudp)?, folder, tickets: tickets.to_owned() };
        let (users, given) = (house.folder.join("users.yaml"), house.folder.join("given"));
        private(&given, PASSWORD)?;
        let mut add = house.command();
        add.args(["user", "add", "user-0", "--file"]).arg(&users).arg("--password-file").arg(&given);
        if !add.output()?.status.success() {
            return Err("no user can be added".into());
        }
        // One hash is enough for all, for each is checked anew.
        let text = fs::read_to_string(&users)?;
        let (head, entry) = text.split_at(text.find("user-0").ok_or("the file of users has none")?);
        let indent = head.rsplit('\n').next().unwrap_or_default();
        let all: Vec<String> = (0..count).map(|index| entry.replace("user-0", &format!("user-{index}"))).collect();
        private(&users, &format!("{head}{}", all.join(indent)))?;
        Ok(house)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.sudp);
        command.env_clear().env("HOME", &self.folder);
        command
    }

    /// A server at this port; 0 is any.
    fn serve(&self, port: u16) -> Result<(Server, SocketAddr), Problem> {
        let config = self.folder.join("server.yaml");
        let text = format!(
            "server:\n  listen: 127.0.0.1:{port}\n  auth: {{users: users.yaml, tickets: {}}}\nlimits:\n  sessions: 65536\n  \
             strangers: 8192\n  strangers_early: 8192\n  strangers_per_source: 8192\n",
            self.tickets
        );
        private(&config, &text)?;
        let mut command = self.command();
        command.args(["server", "--config"]).arg(&config).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let lines = BufReader::new(child.stderr.take().ok_or("it says nothing")?).lines();
        let (tell, told): (_, Receiver<SocketAddr>) = channel();
        let said: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let all = Arc::clone(&said);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let at = line.split("listening on ws://").nth(1).and_then(|rest| rest.split('/').next());
                if let Some(at) = at.and_then(|at| at.parse().ok()) {
                    // Whoever waited for it may have given up.
                    let _ = tell.send(at);
                }
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                if all.len() < 32 {
                    *all.entry(line).or_default() += 1;
                }
            }
        });
        let server = Server(child);
        let at = told.recv_timeout(Duration::from_secs(30));
        let at = at.map_err(|_| {
            format!("the server does not serve: {:?}", said.lock().unwrap_or_else(PoisonError::into_inner))
        })?;
        Ok((server, at))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // What is left of it is in the folder for such things.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn private(path: &Path, text: &str) -> Result<(), Problem> {
    let mut file = fs::File::create(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

/// As many files as the system allows, here and in what is begun here.
fn raise_limit() -> Result<(), Problem> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(())
}

/// Seconds that the processor spent on a process.
fn cpu_of(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / TICKS
}

const PASSWORD: &str = "correct horse battery staple";
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(200);
/// Ticks of that clock in a second, on every Linux there is.
const TICKS: f64 = 100.0;

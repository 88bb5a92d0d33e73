//! Every instance, with how it is. All are asked at once, so that many take no longer than one, and one that hangs
//! holds up nobody.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::call::Call;
use super::lock::{self, Found};
use super::paths::{Files, Folders};
use super::protocol::{Answer, Request};
use super::show::Ink;
use super::spawn::port_of;
use super::word;
use crate::status::{Health, Role, SCHEMA, Status};
use crate::top::text::{clean, left, right, time};

/// All instances.
#[derive(Clone, Debug, Serialize)]
pub struct All {
    /// The version of these shapes.
    pub schema: u32,
    /// One entry each, servers first, by name.
    pub instances: Vec<Entry>,
}

/// One instance.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// What it is.
    pub role: Role,
    /// What it is called.
    pub instance: String,
    /// Whether it runs.
    pub state: State,
    /// Its process, or, of one that is dead, the process that it was.
    pub pid: Option<u32>,
    /// How it is, if it says so.
    pub health: Option<Health>,
    /// Why it is not well, where it is not.
    pub reason: Option<String>,
    /// The ports it listens at: for links, or for the datagrams of tunnels.
    pub ports: Vec<u16>,
    /// How many sessions there are.
    pub sessions: Option<usize>,
    /// For how long it has run, in seconds.
    pub uptime: Option<f64>,
}

/// Whether an instance runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It runs, and answers.
    Running,
    /// It runs, and does not answer.
    Hung,
    /// It was killed, and its files are left.
    Dead,
    /// It was started before, and has ended.
    Stopped,
    /// It cannot be told: it is somebody else's.
    Unknown,
}

/// Asks every instance of these roles.
pub fn all(folders: &Folders, roles: &[Role]) -> All {
    let files: Vec<_> = folders.all().into_iter().filter(|files| roles.contains(&files.id.role)).collect();
    let asked: Vec<_> = files.iter().map(ask).collect();
    let deadline = Instant::now() + PATIENCE;
    let instances = files.iter().zip(asked).map(|(files, asked)| asked.entry(files, deadline)).collect();
    All { schema: SCHEMA, instances }
}

/// The same for people.
pub fn table(all: &All, ink: Ink) -> String {
    if all.instances.is_empty() {
        return "there are no instances: 'sudp server start' and 'sudp client start' begin one\n".into();
    }
    let rows: Vec<_> = all.instances.iter().map(Row::new).collect();
    let wide = |column: fn(&Row) -> &str, title: &str| {
        rows.iter().map(|row| column(row).len()).chain([title.len()]).max().unwrap_or(0)
    };
    let (names, healths) = (wide(|row| &row.name, "INSTANCE"), wide(|row| &row.health, "HEALTH"));
    let (pids, ports) = (wide(|row| &row.pid, "PID"), wide(|row| &row.ports, "PORT"));
    let line = |row: &Row, health: String| {
        let (name, pid, ports) = (left(&row.name, names), right(&row.pid, pids), left(&row.ports, ports));
        let (sessions, uptime) = (right(&row.sessions, 8), &row.uptime);
        format!("{name}  {health}  {pid}  {ports}  {sessions}  {uptime}").trim_end().to_owned() + "\n"
    };
    let title = line(&Row::title(), left("HEALTH", healths));
    let mut text = ink.title(title.trim_end()) + "\n";
    for (row, entry) in rows.iter().zip(&all.instances) {
        let health = left(&row.health, healths);
        let health = match (entry.state, entry.health) {
            (State::Running, Some(Health::Ok)) => ink.good(&health),
            (State::Running, Some(Health::Connecting | Health::Draining) | None) => ink.doubtful(&health),
            (State::Hung | State::Dead | State::Unknown, _) => ink.bad(&health),
            (State::Stopped, _) => health,
        };
        text += &line(row, health);
        if let Some(reason) = &entry.reason {
            text += &format!("  {}\n", clean(reason));
        }
    }
    text
}

/// How far it has come to ask one.
enum Asked {
    Calling(Call, Option<u32>),
    Known(State, Option<u32>),
}

fn ask(files: &Files) -> Asked {
    let pid = |process: Option<lock::Process>| process.map(|process| process.pid);
    match lock::look(&files.pid) {
        Found::Nothing => Asked::Known(State::Stopped, None),
        Found::Dead(process) => Asked::Known(State::Dead, pid(process)),
        Found::Unknown => Asked::Known(State::Unknown, None),
        Found::Running(process) if !files.trusted() => Asked::Known(State::Unknown, pid(process)),
        Found::Running(process) => match Call::connect(files).and_then(|mut call| {
            call.send(&Request::Status {})?;
            Ok(call)
        }) {
            Ok(call) => Asked::Calling(call, pid(process)),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Asked::Known(State::Unknown, pid(process))
            }
            Err(_) => Asked::Known(State::Hung, pid(process)),
        },
    }
}

impl Asked {
    fn entry(self, files: &Files, deadline: Instant) -> Entry {
        let (state, pid, status) = match self {
            Self::Known(state, pid) => (state, pid, None),
            // What has come meanwhile is there without waiting, also when others have used up the time.
            Self::Calling(mut call, pid) => match call.receive(Some(deadline.max(Instant::now() + LEAST))) {
                Ok(Answer::Status(status)) => (State::Running, pid, Some(*status)),
                Ok(_) | Err(_) => (State::Hung, pid, None),
            },
        };
        let status = status.as_ref();
        Entry {
            role: files.id.role,
            instance: files.id.name.to_string(),
            state,
            pid: pid.or(status.map(|status| status.pid)),
            health: status.map(|status| status.health),
            reason: status.and_then(|status| status.reason.clone()),
            ports: status.map(ports).unwrap_or_default(),
            sessions: status.map(|status| status.sessions.len()),
            uptime: status.map(|status| status.uptime),
        }
    }
}

fn ports(status: &Status) -> Vec<u16> {
    let tunnels = status.tunnels.iter().filter_map(|tunnel| tunnel.listening.as_ref());
    let mut ports: Vec<_> = status.listening.iter().chain(tunnels).filter_map(|at| port_of(at)).collect();
    ports.dedup();
    ports
}

struct Row {
    name: String,
    health: String,
    pid: String,
    ports: String,
    sessions: String,
    uptime: String,
}

impl Row {
    fn title() -> Self {
        let [name, health, pid, ports, sessions, uptime] =
            ["INSTANCE", "HEALTH", "PID", "PORT", "SESSIONS", "UPTIME"].map(String::from);
        Self { name, health, pid, ports, sessions, uptime }
    }

    fn new(entry: &Entry) -> Self {
        let health = match (entry.state, entry.health) {
            (State::Running, Some(Health::Ok)) => "ok",
            (State::Running, Some(Health::Connecting)) => "connecting",
            (State::Running, Some(Health::Draining)) => "draining",
            (State::Running, None) => "running",
            (State::Hung, _) => "does not answer",
            (State::Dead, _) => "dead",
            (State::Stopped, _) => "stopped",
            (State::Unknown, _) => "somebody else's",
        };
        let mut ports: Vec<_> = entry.ports.iter().take(PORTS).map(ToString::to_string).collect();
        if entry.ports.len() > PORTS {
            ports.push("…".into());
        }
        Self {
            name: format!("{} {}", word(entry.role), entry.instance),
            health: health.into(),
            pid: entry.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            ports: ports.join(","),
            sessions: entry.sessions.map(|sessions| sessions.to_string()).unwrap_or_default(),
            uptime: entry.uptime.map(time).unwrap_or_default(),
        }
    }
}

/// How long all of them together may take to answer.
const PATIENCE: Duration = Duration::from_millis(600);

/// How long it takes to read what is there.
const LEAST: Duration = Duration::from_millis(2);

/// How many ports the table names.
const PORTS: usize = 4;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::instance::lock::Held;
    use crate::instance::scratch::Scratch;
    use crate::instance::{Id, Name};

    #[test]
    fn every_instance_is_shown_however_it_is() {
        let scratch = Scratch::new();
        let folders = scratch.folders();
        let files = |role, name: &str| {
            let files = folders.files(&Id { role, name: name.parse::<Name>().expect("a name") });
            files.prepare().expect("folders");
            files
        };
        let stopped = files(Role::Server, "stopped");
        std::fs::write(&stopped.state, "{}").expect("a file");
        let dead = files(Role::Client, "dead");
        std::fs::write(&dead.pid, "77\n").expect("a file");
        let deaf = files(Role::Server, "deaf");
        let _held = Held::take(&deaf).expect("nobody has it");
        let silent = files(Role::Server, "silent");
        let _held = (_held, Held::take(&silent).expect("nobody has it"));
        let _listener = UnixListener::bind(&silent.socket).expect("a socket");

        let found = all(&folders, &[Role::Server, Role::Client]);
        let states: Vec<_> = found.instances.iter().map(|entry| (entry.instance.as_str(), entry.state)).collect();
        let expected =
            [("deaf", State::Hung), ("silent", State::Hung), ("stopped", State::Stopped), ("dead", State::Dead)];
        assert_eq!(states, expected);
        assert_eq!(found.instances[3].pid, Some(77));
        assert_eq!(all(&folders, &[Role::Client]).instances.len(), 1);

        let text = table(&found, Ink::of(crate::args::Color::Never));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>(),
            ["INSTANCE", "HEALTH", "PID", "PORT", "SESSIONS", "UPTIME"]
        );
        assert!(lines[1].starts_with("server deaf     does not answer"), "{text}");
        assert!(lines[4].starts_with("client dead     dead"), "{text}");
    }

    #[test]
    fn without_instances_it_says_how_to_begin_one() {
        let scratch = Scratch::new();
        let found = all(&scratch.folders(), &[Role::Server, Role::Client]);
        assert!(table(&found, Ink::of(crate::args::Color::Never)).contains("start"));
    }
}

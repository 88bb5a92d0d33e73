//! What servers and clients have in common: where their configuration comes from, how they are told to end, and what
//! they tell of themselves.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use humantime::{format_rfc3339_millis, format_rfc3339_seconds};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

use super::App;
use super::tell::Note;
use crate::args::Color;
use crate::config::Config;
use crate::config::load::{Loaded, Sources};
use crate::exit::{Exit, Failure, Outcome};
use crate::instance::notify;
use crate::instance::protocol::Event;
use crate::log::{self, figures};
use crate::status::{Health, Reload, Role, SCHEMA, Status, Traffic};

/// What a server or a client is beside what it does.
#[derive(Debug)]
pub(super) struct Life {
    role: Role,
    sources: Sources,
    started: SystemTime,
    began: Instant,
    loaded: Mutex<Loaded>,
    reload: Mutex<Option<Reload>>,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
    /// How often it was told to end.
    stops: watch::Sender<u32>,
    news: broadcast::Sender<Event>,
    figures: Mutex<Option<AbortHandle>>,
    log: log::Guard,
}

impl Life {
    /// Reads the configuration, and begins to log as it says.
    pub(super) fn begin(role: Role, sources: Sources, color: Color) -> Outcome<Arc<Self>> {
        let loaded = sources.load(role)?;
        let log = log::init(&loaded.config.log, color.on_stderr())?;
        let life = Arc::new(Self {
            role,
            sources,
            started: SystemTime::now(),
            began: Instant::now(),
            loaded: Mutex::new(loaded),
            reload: Mutex::default(),
            reloading: tokio::sync::Mutex::default(),
            stops: watch::Sender::new(0),
            news: broadcast::Sender::new(NEWS),
            figures: Mutex::default(),
            log,
        });
        life.warn();
        Ok(life)
    }

    /// What is in force.
    pub(super) fn config(&self) -> Config {
        lock(&self.loaded).config.clone()
    }

    /// Whoever is to be told is told that it serves, and signals and figures are seen to from now on.
    pub(super) fn serve(&self, app: &App, ready: Box<dyn FnOnce(&App) -> Outcome + Send>) -> Outcome {
        self.count(app);
        ready(app)
    }

    /// Reads the configuration anew, and has it applied: all of it, or nothing.
    pub(super) async fn reload(&self, app: &App, apply: impl AsyncFnOnce(&Config, &Config) -> Outcome) -> Outcome {
        let _alone = self.reloading.lock().await;
        notify::reloading();
        let outcome = self.try_reload(app, apply).await;
        let error = outcome.as_ref().err().map(|failure| failure.message.clone());
        match &error {
            None => self.tell(Note::info("sudp::config", "the configuration was read anew, and is in force")),
            Some(error) => {
                let text = format!("the configuration was read anew and is not used; what was in force stays: {error}");
                self.tell(Note::error("sudp::config", text));
            }
        }
        notify::reloaded(error.as_deref());
        let at = format_rfc3339_seconds(SystemTime::now()).to_string();
        *lock(&self.reload) = Some(Reload { at, error });
        outcome
    }

    async fn try_reload(&self, app: &App, apply: impl AsyncFnOnce(&Config, &Config) -> Outcome) -> Outcome {
        let new = self.sources.load(self.role)?;
        let old = self.config();
        apply(&old, &new.config).await?;
        if old.log != new.config.log {
            self.log.reload(&new.config.log)?;
        }
        let figures = old.log.figures != new.config.log.figures;
        *lock(&self.loaded) = new;
        self.warn();
        if figures {
            self.count(app);
        }
        Ok(())
    }

    /// Tells what is not wrong with the configuration, and still worth a line.
    fn warn(&self) {
        let warnings = lock(&self.loaded).warnings.clone();
        warnings.into_iter().for_each(|warning| self.tell(Note::warn("sudp::config", warning)));
    }

    /// Writes the line of figures as often as is configured, and no longer as it was before.
    fn count(&self, app: &App) {
        let interval = lock(&self.loaded).config.log.figures;
        let task = (!interval.is_zero()).then(|| tokio::spawn(figures::every(app.clone(), interval)).abort_handle());
        if let Some(before) = std::mem::replace(&mut *lock(&self.figures), task) {
            before.abort();
        }
    }

    /// Tells it to end; the second time, at once.
    pub(super) fn stop(&self) {
        notify::stopping();
        self.stops.send_modify(|stops| *stops += 1);
    }

    /// Waits until it is told to end, so often.
    pub(super) async fn stopped(&self, times: u32) {
        // The sender lives in here.
        let _ = self.stops.subscribe().wait_for(|stops| *stops >= times).await;
    }

    /// Whether it was told to end.
    pub(super) fn is_stopping(&self) -> bool {
        *self.stops.borrow() > 0
    }

    /// Does what signals ask for. It ends when it was twice told to end by them, with how that is told.
    async fn obey(&self, mut signals: Signals, app: App) -> Failure {
        let (terminal, mut last) = (has_terminal(), None);
        loop {
            let asked = signals.next().await;
            let asked = if asked == Asked::Reload && terminal && !has_terminal() { Asked::HangUp } else { asked };
            match asked {
                Asked::Interrupt | Asked::Terminate | Asked::HangUp if last.is_some() => {
                    let exit = if asked == Asked::Interrupt { Exit::Interrupted } else { Exit::Terminated };
                    return Failure::new(exit, "ended at once, by a second signal");
                }
                Asked::Interrupt | Asked::Terminate | Asked::HangUp => {
                    last = Some(asked);
                    self.stop();
                }
                // What is wrong was logged.
                Asked::Reload => drop(app.reload().await),
                Asked::Reopen => self.log.reopen(),
                Asked::Figures => {
                    let mut figures = figures::Figures::new(self.began, &self.status(Health::Ok, None));
                    figures.log(Instant::now(), &app.status().await);
                }
            }
        }
    }

    /// Logs what happened, and tells whoever watches.
    pub(super) fn tell(&self, note: Note) {
        note.log();
        if self.news.receiver_count() > 0 {
            let at = format_rfc3339_millis(SystemTime::now()).to_string();
            // Whoever watched a moment ago may be gone.
            let _ = self.news.send(Event { at, text: note.line() });
        }
    }

    /// Whether anybody would see what happens to flows, of which there may be very many.
    pub(super) fn minds_flows(&self) -> bool {
        self.news.receiver_count() > 0 || tracing::enabled!(target: "sudp::flow", tracing::Level::DEBUG)
    }

    pub(super) fn events(&self) -> broadcast::Receiver<Event> {
        self.news.subscribe()
    }

    /// How it is, as far as servers and clients are alike.
    pub(super) fn status(&self, health: Health, reason: Option<String>) -> Status {
        Status {
            schema: SCHEMA,
            role: self.role,
            instance: self.sources.instance.as_ref().map(ToString::to_string),
            pid: process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            started: format_rfc3339_seconds(self.started).to_string(),
            uptime: self.began.elapsed().as_secs_f64(),
            health: if self.is_stopping() { Health::Draining } else { health },
            reason,
            config: lock(&self.loaded).files.iter().map(|file| file.display().to_string()).collect(),
            reload: lock(&self.reload).clone(),
            listening: Vec::new(),
            servers: Vec::new(),
            tunnels: Vec::new(),
            sessions: Vec::new(),
            strangers: None,
            traffic: Traffic::default(),
        }
    }
}

/// Runs until `main` has ended, or it is told to end for the second time.
pub(super) async fn until_done(
    life: &Life,
    signals: Signals,
    app: App,
    main: impl Future<Output = Outcome>,
) -> Outcome {
    tokio::select! {
        outcome = main => outcome,
        failure = life.obey(signals, app) => Err(failure),
        () = life.stopped(2) => Ok(()),
    }
}

/// What a configuration says that cannot change while it runs: refused, so that what is written and what is in force
/// never differ without anybody knowing.
pub(super) fn unchanged<const N: usize>(keys: [(&str, bool); N], role: Role) -> Outcome {
    let changed: Vec<_> = keys.iter().filter(|(_, same)| !same).map(|(key, _)| *key).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let role = match role {
        Role::Server => "server",
        Role::Client => "client",
    };
    let message = format!(
        "{} cannot change while it runs, so nothing was changed; `sudp {role} restart` applies all of it",
        changed.join(", ")
    );
    Err(Failure::new(Exit::Config, message))
}

/// Why a port cannot be had by whoever it is for, and what to do.
#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of errors are not ours, and there are many")]
pub(super) fn cannot_listen(who: &str, protocol: &str, at: SocketAddr, error: &io::Error, elsewhere: &str) -> Failure {
    let (exit, way_out) = match error.kind() {
        io::ErrorKind::AddrInUse => {
            (Exit::CannotCreate, format!("; another program has that port: end it, or {elsewhere}"))
        }
        io::ErrorKind::PermissionDenied => {
            (Exit::Denied, format!("; ports below 1024 need the capability CAP_NET_BIND_SERVICE, or {elsewhere}"))
        }
        io::ErrorKind::AddrNotAvailable => (Exit::CannotCreate, "; this machine does not have that address".into()),
        _ if at.is_ipv6() => (Exit::CannotCreate, "; for IPv4 alone, write an address of it, as 0.0.0.0".into()),
        _ => (Exit::CannotCreate, String::new()),
    };
    Failure::new(exit, format!("{who} cannot listen at {protocol} {at}: {error}{way_out}"))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    Figures,
    /// The terminal is gone.
    HangUp,
    Interrupt,
    Reload,
    Reopen,
    Terminate,
}

/// The signals that are listened to, from the moment this is made.
pub(super) struct Signals {
    figures: Signal,
    interrupt: Signal,
    reload: Signal,
    reopen: Signal,
    terminate: Signal,
}

impl Signals {
    /// To be called inside the runtime, before anything is there that a signal could leave behind.
    pub(super) fn listen() -> Outcome<Self> {
        let listen = |kind| {
            let failed = |error| Failure::new(Exit::Temporary, format!("cannot listen for signals: {error}"));
            signal(kind).map_err(failed)
        };
        Ok(Self {
            figures: listen(SignalKind::user_defined2())?,
            interrupt: listen(SignalKind::interrupt())?,
            reload: listen(SignalKind::hangup())?,
            reopen: listen(SignalKind::user_defined1())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.reload.recv() => Asked::Reload,
            _ = self.reopen.recv() => Asked::Reopen,
            _ = self.figures.recv() => Asked::Figures,
        }
    }
}

/// Whether there is a terminal that this process belongs to.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Events kept for a watcher that is slow.
const NEWS: usize = 256;

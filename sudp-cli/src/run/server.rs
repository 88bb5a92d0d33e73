//! A server, from its configuration to its end.

use std::future::ready;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sudp_tokio::proto::access::Pool;
use sudp_tokio::proto::config::Limits;
use sudp_tokio::proto::wire::{FlowId, SessionId};
use sudp_tokio::seal::ServerSeal;
use sudp_tokio::tls::{self, Identity, ServerTls, TlsError};
use sudp_tokio::{BindError, Gone, Server, ServerEvent, ServerOptions};
use tokio::sync::{broadcast, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;

use super::life::{Life, Signals, cannot_listen, lock, unchanged, until_done};
use super::rt::{self, Threads};
use super::tell::{self, Note, session_name};
use super::{Start, show};
use crate::access::ticket::Tickets;
use crate::access::{Answers, Gate, Porch};
use crate::capture::feed;
use crate::config::{Config, Seal, Server as Settings, ServerTls as Files};
use crate::exit::{Exit, Failure, Outcome};
use crate::instance::paths::Folders;
use crate::instance::protocol::{Event, Record, Wanted};
use crate::keygen;
use crate::status::{Flow, Health, Role, Session, Status, Strangers};

/// A server that runs.
#[derive(Debug)]
pub struct App {
    life: Arc<Life>,
    server: Mutex<Option<Arc<Server<Threads>>>>,
    listening: Vec<SocketAddr>,
    tls: Option<Arc<ServerTls>>,
    gate: Gate,
    porch: Arc<Porch>,
}

/// Runs a server until it is stopped, by a signal or by `App::stop`.
pub fn run(start: Start) -> Outcome {
    let Start { sources, color, ready } = start;
    let life = Life::begin(Role::Server, sources, color)?;
    rt::block_on(async {
        let (signals, config) = (Signals::listen()?, life.config());
        let (threads, _workers) = Threads::start(config.server.threads).map_err(|error| {
            Failure::new(Exit::Temporary, format!("cannot begin as many threads as configured: {error}"))
        })?;
        let app = Arc::new(App::begin(Arc::clone(&life), &config, threads.clone())?);
        app.introduce(&config, threads.count());
        let all = super::App::Server(Arc::clone(&app));
        life.serve(&all, ready)?;
        let done = until_done(&life, signals, all, app.serve()).await;
        // Ended by force, it still has one: whoever is connected is told, if there is time for it.
        drop(lock(&app.server).take());
        done
    })
}

impl App {
    fn begin(life: Arc<Life>, config: &Config, threads: Threads) -> Outcome<Self> {
        let settings = &config.server;
        let tls = settings.tls.as_ref().map(|files| ServerTls::load(options(files)).map(Arc::new)).transpose();
        let tls = tls.map_err(|error| cannot_tls(&error))?;
        let mut options = ServerOptions::new(settings.listen.clone());
        options.expect.path = settings.path.clone();
        options.expect.origins = settings.origins.clone();
        options.expect.quiet = true;
        options.proxies = settings.trusted_proxies.clone();
        options.tls = tls.clone();
        options.limits = config.limits.clone();
        options.id = identity(settings);
        options.memory = Pool::memory(memory(&config.limits), config.limits.guaranteed as u64);
        options.seal = seal(settings)?;
        let porch = Arc::new(Porch::new(config)?);
        let gate = Gate::new(settings, &porch, tickets(&life, settings, options.id)?)?;
        let server = Server::bind(threads, options, gate.clone()).map_err(cannot_bind)?;
        let listening = server.local_addrs().to_vec();
        Ok(Self { life, server: Mutex::new(Some(Arc::new(server))), listening, tls, gate, porch })
    }

    /// Says what is in force.
    fn introduce(&self, config: &Config, threads: usize) {
        let tell = |note| self.life.tell(note);
        let settings = &config.server;
        for url in self.urls(settings) {
            tell(Note::info("sudp::server", format!("listening on {url}")));
        }
        tell(Note::debug("sudp::server", format!("serving with {threads} threads")));
        if let Some(tls) = &self.tls {
            tell(Note::info("sudp::server", format!("the pin of its key is {}", tls.pin())));
        }
        self.tell_seal(settings);
        self.grants(settings);
        let asked = settings.auth.sources();
        if !asked.is_empty() {
            tell(Note::info("sudp::server", format!("clients are asked who they are, by {}", asked.join(", "))));
        }
        let reachable = settings.listen.iter().any(|at| !at.ip().is_loopback());
        if settings.auth.is_sent() && reachable && self.tls.is_none() {
            let text = "passwords and tokens come here without TLS, unless a proxy in front has it: whoever is in between \
                        can read them; set `server.tls`, or listen on loopback behind that proxy";
            tell(Note::warn("sudp::server", text));
        }
        if settings.anonymous && reachable && !asks_for_certificates(settings) {
            tell(Note::warn("sudp::server", "everybody who can reach it is let in (--anonymous)"));
        }
    }

    /// Says by which key its clients know it.
    fn tell_seal(&self, settings: &Settings) {
        // What cannot be read was refused before.
        let Ok(Some(seal)) = seal(settings) else { return };
        let must = if seal.required { "links must be sealed" } else { "links may be sealed" };
        let text = format!("{must}, to its public key {}", seal.key.public());
        self.life.tell(Note::info("sudp::server", text));
    }

    fn grants(&self, settings: &Settings) {
        let tell = |text| self.life.tell(Note::info("sudp::server", text));
        for rule in settings.rules.as_slice() {
            tell(format!("rule: {rule}"));
        }
        for section in &settings.grants {
            let who: Vec<_> = section.who.iter().map(ToString::to_string).collect();
            let who = who.join(", ");
            for rule in section.rules.as_slice() {
                tell(format!("rule for {who}: {rule}"));
            }
            for rule in section.reverse.as_slice() {
                tell(format!("rule for the reverse tunnels of {who}: {rule}"));
            }
        }
        let rules = settings.grants.iter().flat_map(|section| [&section.rules, &section.reverse]);
        if rules.chain([&settings.rules]).all(|rules| rules.as_slice().is_empty()) {
            let text = "no rule allows anything, so clients can send nowhere; allow it by --allow HOST[:PORTS], as \
                        --allow 127.0.0.0/8 or --allow '*'";
            self.life.tell(Note::warn("sudp::server", text));
        }
    }

    fn urls(&self, settings: &Settings) -> Vec<String> {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        self.listening.iter().map(|at| format!("{scheme}://{at}{}", settings.path)).collect()
    }

    /// Tells what happens until it is to end; then it ends in peace.
    async fn serve(&self) -> Outcome {
        let Some(server) = self.server() else { return Ok(()) };
        let (life, porch) = (Arc::clone(&self.life), Arc::clone(&self.porch));
        let mut events = server.events_where(move |event| {
            let of_flow = matches!(event, ServerEvent::Session(_, event) if tell::is_of_flow(event));
            !of_flow || porch.minds(event) || life.minds_flows()
        });
        let stopped = self.life.stopped(1);
        tokio::pin!(stopped);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut handed = Instant::now();
        loop {
            tokio::select! {
                () = &mut stopped => break,
                _ = look.tick() => {
                    self.follow(&server).await;
                    self.hand_out(&server, &mut handed);
                }
                event = events.next() => match event {
                    Some(event) => self.on_event(&server, &event).await,
                    None => break,
                },
            }
        }
        let within = self.life.config().server.shutdown;
        let sessions = server.sessions().len();
        let text = format!("stopping; {sessions} sessions may finish what is under way, for up to {within:?}");
        self.life.tell(Note::info("sudp::server", text));
        lock(&self.server).take();
        // Others who hold it ask it something, and are done in no time.
        let mut held = server;
        let server = loop {
            match Arc::try_unwrap(held) {
                Ok(server) => break server,
                Err(shared) => held = shared,
            }
            tokio::task::yield_now().await;
        };
        let drained = server.drain(within);
        tokio::pin!(drained);
        loop {
            tokio::select! {
                () = &mut drained => break,
                Some(event) = events.next() => {
                    self.tell(&event);
                    self.porch.hear(&event, |_, _, rule| rule.to_string());
                }
            }
        }
        self.life.tell(Note::info("sudp::server", "stopped"));
        Ok(())
    }

    async fn on_event(&self, server: &Server<Threads>, event: &ServerEvent) {
        self.tell(event);
        self.porch.hear(event, |session, version, rule| match server.pass(session) {
            Some(pass) => self.gate.name(&pass, version, rule),
            // It has ended, and nobody knows any more what was granted to it.
            None => rule.to_string(),
        });
        // It may have been admitted just before the rules changed.
        if let ServerEvent::Founded { session, .. } = event
            && self.gate.has_changed()
        {
            self.regrant(server, *session).await;
        }
    }

    /// Follows files of users and tokens: who is not in them any more is not here any more.
    async fn follow(&self, server: &Server<Threads>) {
        let followed = self.gate.follow();
        followed.trouble.into_iter().for_each(|text| self.life.tell(Note::error("sudp::config", text)));
        if followed.changed {
            self.life.tell(Note::info("sudp::config", "users or tokens have changed"));
            self.regrant_all(server).await;
        }
    }

    /// Gives everybody a new ticket when half the time of the old ones is over, so that who loses its session has one
    /// that is good, however long that session was.
    fn hand_out(&self, server: &Server<Threads>, last: &mut Instant) {
        let Some(good_for) = self.life.config().server.auth.tickets else { return };
        if last.elapsed() < good_for / 2 {
            return;
        }
        *last = Instant::now();
        if let Err(failure) = self.gate.turn_tickets() {
            self.life.tell(Note::warn("sudp::server", failure.message));
        }
        for session in server.sessions() {
            if let Some(ticket) = server.pass(session).and_then(|pass| self.gate.ticket(&pass)) {
                // One that has ended meanwhile needs none.
                let _ = server.hand_ticket(session, ticket);
            }
        }
    }

    async fn regrant_all(&self, server: &Server<Threads>) {
        for session in server.sessions() {
            self.regrant(server, session).await;
        }
    }

    /// Gives a session what is granted now.
    async fn regrant(&self, server: &Server<Threads>, session: SessionId) {
        // One that is gone already needs no grant.
        let Some(pass) = server.pass(session) else { return };
        let _ = server.regrant(session, self.gate.grant(&pass)).await;
    }

    fn tell(&self, event: &ServerEvent) {
        if let Some(note) = tell::server(event, self.life.minds_flows()) {
            self.life.tell(note);
        }
    }

    /// The server, until it ends.
    fn server(&self) -> Option<Arc<Server<Threads>>> {
        lock(&self.server).clone()
    }

    pub(super) async fn status(&self) -> Status {
        let config = self.life.config();
        let mut status = self.life.status(Health::Ok, None);
        status.listening = self.urls(&config.server);
        let Some(server) = self.server() else { return status };
        for id in server.sessions() {
            // One that has ended since is left out.
            let Ok(stats) = server.stats(id).await else { continue };
            status.sessions.push(Session {
                id: session_name(id),
                sealed: stats.sealed,
                principal: Some(stats.principal).filter(|principal| !principal.is_empty()),
                peer: Some(stats.from.to_string()),
                age: show::age(stats.since).as_secs_f64(),
                links: stats.links.iter().map(show::link).collect(),
                flows: stats.flows,
                traffic: show::traffic(&stats.counters, stats.kernel_drops),
            });
        }
        let (counts, turned) = (self.porch.counts(), server.turned());
        status.strangers = Some(Strangers {
            waiting: turned.now,
            refused: counts.refused,
            delayed: counts.delayed,
            penalised: counts.penalised,
            dropped: turned.away + turned.out,
        });
        let totals = server.totals().await;
        status.traffic = show::traffic(&totals.counters, totals.kernel_drops);
        status
    }

    pub(super) async fn flows(&self) -> Vec<Flow> {
        let Some(server) = self.server() else { return Vec::new() };
        let mut all = Vec::new();
        for session in server.sessions() {
            let Ok(flows) = server.flows(session).await else { continue };
            all.extend(flows.iter().map(|(id, state)| show::flow(session, *id, state, None)));
        }
        all
    }

    pub(super) async fn cut(&self, session: &str, flow: u64) -> Outcome {
        let none = || show::no_flow(session, flow);
        let server = self.server().ok_or_else(none)?;
        let id = find(&server.sessions(), session)?;
        server.cut_flow(id, FlowId(flow)).await.ok().filter(|cut| *cut).map(drop).ok_or_else(none)
    }

    pub(super) async fn reload(self: &Arc<Self>) -> Outcome {
        let app = super::App::Server(Arc::clone(self));
        self.life.reload(&app, async |old, new| self.apply(old, new).await).await
    }

    /// Applies access rules and certificates; what else has changed is refused.
    async fn apply(&self, old: &Config, new: &Config) -> Outcome {
        let (was, is) = (&old.server, &new.server);
        let keys = [
            ("server.listen", was.listen == is.listen),
            ("server.path", was.path == is.path),
            ("server.origins", was.origins == is.origins),
            ("server.trusted_proxies", was.trusted_proxies == is.trusted_proxies),
            ("server.audit.file", was.audit == is.audit),
            ("server.threads", was.threads == is.threads),
            ("server.tls (on or off)", was.tls.is_some() == is.tls.is_some()),
            ("limits", old.limits == new.limits),
        ];
        unchanged(keys, Role::Server)?;
        // It may have to ask an address.
        let (gate, settings) = (self.gate.clone(), is.clone());
        let read = spawn_blocking(move || gate.read(&settings)).await;
        let rules = read.map_err(|error| Failure::new(Exit::Internal, error))??;
        // A file may be another by now, though it has the same name.
        let (answers, seal) = (Answers::load(&is.strangers)?, seal(is)?);
        if let (Some(tls), Some(files)) = (&self.tls, &is.tls) {
            tls.change(options(files)).map_err(|error| cannot_tls(&error))?;
            self.life.tell(Note::info("sudp::server", format!("the pin of its key is {}", tls.pin())));
        }
        if let Some(server) = self.server() {
            server.set_seal(seal);
        }
        if was.seal != is.seal {
            self.tell_seal(is);
        }
        self.porch.change(answers);
        self.gate.change(rules);
        if was.rules != is.rules || was.grants != is.grants {
            self.grants(is);
        }
        let Some(server) = self.server() else { return Ok(()) };
        self.regrant_all(&server).await;
        Ok(())
    }

    pub(super) async fn reconnect(&self) -> Outcome {
        let Some(server) = self.server() else { return Ok(()) };
        for session in server.sessions() {
            // One that has ended since has no links.
            let _ = server.reconnect(session).await;
        }
        Ok(())
    }

    pub(super) fn events(&self) -> broadcast::Receiver<Event> {
        self.life.events()
    }

    pub(super) async fn capture(&self, wanted: Wanted) -> Outcome<mpsc::Receiver<Record>> {
        let over = |()| Failure::new(Exit::NotRunning, "the server has ended");
        let server = self.server().ok_or(()).map_err(over)?;
        let session = wanted.session.as_ref().map(|name| find(&server.sessions(), name)).transpose()?;
        let records = server.tap(session, feed::options(&wanted)).await.map_err(|_: Gone| over(()))?;
        Ok(feed::feed(records, wanted, session_name, |_| Box::pin(ready(None))))
    }

    pub(super) fn stop(&self) {
        self.life.stop();
    }
}

/// What tickets are made with: by keys that outlive this process, if there is anywhere to keep them.
fn tickets(life: &Life, settings: &Settings, name: u64) -> Outcome<Tickets> {
    if settings.auth.tickets.is_none() || !settings.auth.asks() {
        return Tickets::passing();
    }
    let path = Folders::new().state.join(format!("tickets-{name:016x}"));
    Tickets::load(&path).or_else(|failure| {
        let text = format!("{failure}; tickets are good until this process ends");
        life.tell(Note::warn("sudp::server", text));
        Tickets::passing()
    })
}

/// How links are sealed, as it is configured.
fn seal(settings: &Settings) -> Outcome<Option<ServerSeal>> {
    let Some(Seal { key, required }) = &settings.seal else { return Ok(None) };
    let key = keygen::read(key).map_err(|why| Failure::new(Exit::Config, why))?;
    Ok(Some(ServerSeal { key, required: *required }))
}

fn asks_for_certificates(settings: &Settings) -> bool {
    settings.tls.as_ref().is_some_and(|tls| !tls.client_ca.is_empty())
}

fn options(files: &Files) -> tls::ServerOptions {
    let Files { cert, key, client_ca } = files;
    let mut options = tls::ServerOptions::new(Identity { chain: cert.clone(), key: key.clone() });
    options.client_roots = client_ca.clone();
    options
}

fn cannot_tls(error: &TlsError) -> Failure {
    Failure::new(Exit::Config, error)
}

fn cannot_bind(error: BindError) -> Failure {
    match error {
        BindError::Listen { at, source } => {
            cannot_listen("the server", "TCP", at, &source, "choose another by --listen or --port (0 is any)")
        }
        BindError::Nowhere => Failure::new(Exit::Config, "no address to listen on: say where by --listen"),
        BindError::Limits(error) => Failure::new(Exit::Config, format!("limits: {error}")),
        error @ (BindError::Randomness(_) | BindError::NoRuntime | _) => Failure::new(Exit::Temporary, error),
    }
}

/// The session that is meant, by its name or how that begins.
fn find(sessions: &[SessionId], name: &str) -> Outcome<SessionId> {
    let mut meant = sessions.iter().filter(|id| !name.is_empty() && session_name(**id).starts_with(name));
    match (meant.next(), meant.next()) {
        (Some(id), None) => Ok(*id),
        (None, _) => Err(Failure::new(Exit::Failed, format!("there is no session {}", name.escape_debug()))),
        (Some(_), Some(_)) => {
            Err(Failure::new(Exit::Usage, format!("several sessions begin with {name}; write more of it")))
        }
    }
}

/// A name that is the same after a restart, so that clients know at once that their session is gone, and that differs
/// from that of another server they fail over to.
fn identity(settings: &Settings) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in ["/etc/machine-id", "/proc/sys/kernel/hostname"] {
        std::fs::read(file).unwrap_or_default().hash(&mut hasher);
    }
    settings.listen.hash(&mut hasher);
    settings.path.hash(&mut hasher);
    // The wire has two bits less, and 0 would be no name.
    (hasher.finish() >> 2).max(1)
}

/// How often files of users and tokens are looked at: a change counts within a second, after two looks.
const LOOK: Duration = Duration::from_millis(400);

/// The memory that sessions share: a quarter of what there is, unless another amount is configured.
fn memory(limits: &Limits) -> u64 {
    let usual = Limits::default().pool;
    if limits.pool != usual {
        return limits.pool as u64;
    }
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let machine = read("/proc/meminfo").lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()?;
        Some(kib << 10)
    });
    let group = read("/sys/fs/cgroup/memory.max").trim().parse::<u64>().ok();
    let most = machine.into_iter().chain(group).min();
    most.map_or(usual as u64, |bytes| (bytes / 4).max(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_by_how_its_name_begins() {
        let sessions = [SessionId([0x12; 16]), SessionId([0x1f; 16])];
        assert_eq!(find(&sessions, "12"), Ok(sessions[0]));
        assert_eq!(find(&sessions, &session_name(sessions[1])), Ok(sessions[1]));
        assert_eq!(find(&sessions, "1").map_err(|failure| failure.exit), Err(Exit::Usage));
        for name in ["", "2", "é"] {
            assert_eq!(find(&sessions, name).map_err(|failure| failure.exit), Err(Exit::Failed), "{name}");
        }
    }

    #[test]
    fn a_server_keeps_its_name_and_shares_it_with_no_other() {
        let settings = |port| Settings {
            strangers: crate::config::Strangers::default(),
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            audit: None,
            listen: vec![SocketAddr::from(([127, 0, 0, 1], port))],
            path: "/sudp".into(),
            rules: sudp_tokio::proto::access::Rules::default(),
            grants: Vec::new(),
            anonymous: false,
            auth: crate::config::Auth::default(),
            tls: None,
            seal: None,
            threads: 1,
            shutdown: Duration::from_secs(1),
        };
        assert_eq!(identity(&settings(1)), identity(&settings(1)));
        assert_ne!(identity(&settings(1)), identity(&settings(2)));
        assert!(identity(&settings(1)) < 1 << 62);
    }
}

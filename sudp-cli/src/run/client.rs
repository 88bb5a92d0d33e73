//! A client, from its configuration to its end.

mod progress;
mod tunnels;

use std::sync::Arc;
use std::time::Duration;

use sudp_tokio::proto::Credential;
use sudp_tokio::proto::access::Pool;
use sudp_tokio::proto::client::{DialError, SetupError};
use sudp_tokio::proto::config::client::{ClientConfig, Scheme, ServerConfig};
use sudp_tokio::proto::event::Event as SessionEvent;
use sudp_tokio::proto::stats::Counters;
use sudp_tokio::proto::wire::{Code, FlowId, Host, SessionId};
use sudp_tokio::{Client, ClientEvent, ClientOptions, ConnectError, Events};
use tokio::sync::{Mutex, broadcast, mpsc};

use super::life::{Life, Signals, unchanged, until_done};
use super::tell::{self, Note, session_name};
use super::{Start, Teller, lock, rt, show};
use crate::capture::feed;
use crate::config::{Client as Settings, ClientAuth, Config};
use crate::exit::{Exit, Failure, Outcome};
use crate::instance::protocol::{Event, Record, Wanted};
use crate::login::{self, First, Login};
use crate::status::{Flow, Health, Role, Session, Status};

pub(super) use progress::Progress;
use tunnels::Tunnels;

/// A client that runs.
#[derive(Debug)]
pub struct App {
    life: Arc<Life>,
    client: Client,
    tunnels: Mutex<Tunnels>,
    login: std::sync::Mutex<Option<Login>>,
}

/// Runs a client until it is stopped, by a signal or by `App::stop`.
pub fn run(start: Start) -> Outcome {
    let Start { sources, color, ready } = start;
    let life = Life::begin(Role::Client, sources, color)?;
    rt::block_on(async {
        let (signals, config) = (Signals::listen()?, life.config());
        let (client, events) = connect(&life, &config)?;
        let app = App::new(&life, client);
        app.open_tunnels(&config).await?;
        let all = super::App::Client(Arc::clone(&app));
        let serving = || life.serve(&all, ready);
        until_done(&life, signals, all.clone(), app.keep(events, serving)).await
    })
}

/// Starts a client as it is configured. No event is missed.
pub(super) fn connect(life: &Arc<Life>, config: &Config) -> Outcome<(Client, Events<ClientEvent>)> {
    let options = options(config)?;
    let client = sudp_tokio::connect(options).map_err(|error| cannot_connect(&config.client, error))?;
    if let Some(server) = config.client.servers.iter().find(|server| overhears(&config.client, server)) {
        let text = "is reached without TLS: whoever is in between can read what it is shown to be let in; use wss://";
        life.tell(Note::warn("sudp::client", format!("{} {text}", url(server))));
    }
    let life = Arc::clone(life);
    let events = client.events_where(move |event| {
        !matches!(event, ClientEvent::Session(event) if tell::is_of_flow(event)) || life.minds_flows()
    });
    Ok((client, events))
}

impl App {
    pub(super) fn new(life: &Arc<Life>, client: Client) -> Arc<Self> {
        let login = Login::begin(&client, &life.config().client, teller(life));
        Arc::new(Self { life: Arc::clone(life), client, tunnels: Mutex::default(), login: login.into() })
    }

    /// Opens every tunnel; one that cannot be ends all.
    async fn open_tunnels(&self, config: &Config) -> Outcome {
        let mut tunnels = self.tunnels.lock().await;
        if config.client.tunnels.is_empty() {
            let text = "no tunnel is configured, so nothing is carried; add one by -L, -R or -D";
            self.life.tell(Note::warn("sudp::client", text));
        }
        for spec in &config.client.tunnels {
            let opened = tunnels.open(&self.client, &self.life, spec).await?;
            self.life.tell(opened);
        }
        Ok(())
    }

    /// Tells what happens until it is to end; then it ends in peace.
    async fn keep(&self, mut events: Events<ClientEvent>, serving: impl FnOnce() -> Outcome) -> Outcome {
        let mut progress = Progress::new(self.life.config().client);
        let mut serving = Some(serving);
        let stopped = self.life.stopped(1);
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(stopped, patience);
        loop {
            tokio::select! {
                () = &mut stopped => break,
                () = &mut patience, if serving.is_some() => {
                    let text = "there is no link yet; it goes on dialling, and what is sent meanwhile waits";
                    self.life.tell(Note::warn("sudp::client", text));
                    serving.take().map_or(Ok(()), |serving| serving())?;
                }
                event = events.next() => {
                    let Some(event) = event else { return Err(over()) };
                    self.on_event(&mut progress, &event).await?;
                    if progress.was_connected() && let Some(serving) = serving.take() {
                        serving()?;
                    }
                }
            }
        }
        let within = self.life.config().client.shutdown;
        self.life.tell(Note::info("sudp::client", format!("stopping; what is under way may take up to {within:?}")));
        self.tunnels.lock().await.close_proxies();
        finish(&self.client, within).await;
        self.life.tell(Note::info("sudp::client", "stopped"));
        Ok(())
    }

    async fn on_event(&self, progress: &mut Progress, event: &ClientEvent) -> Outcome {
        if let Some(login) = &*lock(&self.login)
            && is_turned_away(event)
        {
            login.doubt();
        }
        follow(&self.client, &self.life, progress, event).await?;
        if let Some(note) = self.tunnels.lock().await.handle(event) {
            self.life.tell(note);
        }
        Ok(())
    }

    pub(super) async fn status(&self) -> Status {
        let config = self.life.config().client;
        let Ok(stats) = self.client.stats().await else { return self.life.status(Health::Draining, None) };
        let (health, reason) = if stats.links.is_empty() {
            (Health::Connecting, stats.failure.map(|failure| failure.to_string()))
        } else {
            (Health::Ok, None)
        };
        let mut status = self.life.status(health, reason);
        status.servers = config.servers.iter().map(url).collect();
        status.tunnels = self.tunnels.lock().await.states(&self.client).await;
        status.traffic = show::traffic(&stats.counters, stats.kernel_drops);
        status.sessions.extend(stats.session.map(|id| Session {
            id: session_name(id),
            principal: None,
            peer: stats.server.and_then(|server| config.servers.get(server)).map(url),
            age: stats.since.map_or(0.0, |since| show::age(since).as_secs_f64()),
            sealed: stats.sealed,
            links: stats.links.iter().map(show::link).collect(),
            flows: stats.flows,
            traffic: status.traffic.clone(),
        }));
        status
    }

    pub(super) async fn flows(&self) -> Vec<Flow> {
        let (Ok(stats), Ok(flows)) = (self.client.stats().await, self.client.flows().await) else { return Vec::new() };
        // Before there is a session, its flows are those of none.
        let session = stats.session.unwrap_or(SessionId([0; 16]));
        let tunnels = self.tunnels.lock().await;
        flows.iter().map(|(id, state)| show::flow(session, *id, state, tunnels.label(state.tunnel))).collect()
    }

    pub(super) async fn cut(&self, session: &str, flow: u64) -> Outcome {
        let none = || show::no_flow(session, flow);
        let id = self.client.stats().await.ok().and_then(|stats| stats.session).map(session_name);
        if !session.is_empty() && !id.is_some_and(|id| id.starts_with(session)) {
            return Err(none());
        }
        self.client.cut_flow(FlowId(flow)).await.ok().filter(|cut| *cut).map(drop).ok_or_else(none)
    }

    pub(super) async fn reload(self: &Arc<Self>) -> Outcome {
        let app = super::App::Client(Arc::clone(self));
        self.life.reload(&app, async |old, new| self.apply(old, new).await).await
    }

    /// Applies tunnels; what else has changed is refused.
    async fn apply(&self, old: &Config, new: &Config) -> Outcome {
        let (was, is) = (&old.client, &new.client);
        let keys = [
            ("client.servers", was.servers == is.servers),
            ("client.name", was.name == is.name),
            ("client.links", was.links == is.links),
            ("client.max_link_age", was.max_link_age == is.max_link_age),
            ("client.proxy", was.proxy == is.proxy),
            ("client.headers", was.headers == is.headers),
            ("client.tls", was.tls == is.tls),
            ("limits", old.limits == new.limits),
        ];
        unchanged(keys, Role::Client)?;
        if was.auth != is.auth {
            let first = login::first(is)?;
            // What was fetched before is shown until there is something new.
            *lock(&self.login) = Login::begin(&self.client, is, teller(&self.life));
            match first {
                First::Nothing => self.show(None).await,
                First::Fixed(credential) => self.show(Some(credential)).await,
                First::Fetched => {}
            }
        }
        let notes = self.tunnels.lock().await.change(&self.client, &self.life, &is.tunnels).await?;
        notes.into_iter().for_each(|note| self.life.tell(note));
        Ok(())
    }

    async fn show(&self, credential: Option<Credential>) {
        // A client that has ended shows nothing any more.
        let _ = self.client.set_credential(credential).await;
    }

    pub(super) async fn reconnect(&self) -> Outcome {
        // One that has ended has no links.
        let _ = self.client.reconnect();
        Ok(())
    }

    pub(super) fn events(&self) -> broadcast::Receiver<Event> {
        self.life.events()
    }

    pub(super) async fn capture(self: &Arc<Self>, wanted: Wanted) -> Outcome<mpsc::Receiver<Record>> {
        let tapped = self.client.tap(feed::options(&wanted)).await;
        let records = tapped.map_err(|_| Failure::new(Exit::NotRunning, "the client has ended"))?;
        let app = Arc::clone(self);
        let label = move |tunnel| -> feed::Label {
            let app = Arc::clone(&app);
            Box::pin(async move { app.tunnels.lock().await.label(tunnel) })
        };
        Ok(feed::feed(records, wanted, session_name, label))
    }

    pub(super) fn stop(&self) {
        self.life.stop();
    }
}

/// Whether others can read what a server is shown.
fn overhears(settings: &Settings, server: &ServerConfig) -> bool {
    let here = match &server.address.host {
        Host::Ip(ip) => ip.to_canonical().is_loopback(),
        Host::Name(name) => &**name == "localhost",
    };
    settings.auth != ClientAuth::Nothing && server.scheme == Scheme::Ws && !here
}

fn teller(life: &Arc<Life>) -> Teller {
    let life = Arc::clone(life);
    Teller::new(move |text| life.tell(Note::warn("sudp::client", text)))
}

/// Whether a server does not take what it was shown, or will not for longer.
fn is_turned_away(event: &ClientEvent) -> bool {
    match event {
        ClientEvent::DialFailed(failure) => {
            failure.shown && matches!(failure.why, DialError::Http { status: 401 | 403 | 404, .. })
        }
        ClientEvent::Session(SessionEvent::Renewed(outcome)) => outcome.is_err(),
        ClientEvent::Session(SessionEvent::Lost { code, .. }) => matches!(code, Code::Denied | Code::Expired),
        ClientEvent::Session(_) | _ => false,
    }
}

/// Tells what happened to a client, unless that is the end of it.
pub(super) async fn follow(client: &Client, life: &Life, progress: &mut Progress, event: &ClientEvent) -> Outcome {
    let settings = life.config().client;
    let mut server = None;
    if let ClientEvent::Session(SessionEvent::LinkUp { .. }) = event {
        // One that has ended since has no server.
        server = client.stats().await.ok().and_then(|stats| stats.server);
    }
    let server = server.and_then(|server| settings.servers.get(server)).map(url);
    if let Some(note) = progress.handle(event, &settings, server.as_deref(), life.minds_flows())? {
        life.tell(note);
    }
    Ok(())
}

/// Ends a client in peace: at once where there is no link, and nothing that waits for one.
pub(super) async fn finish(client: &Client, within: Duration) {
    let idle = client.stats().await.is_ok_and(|stats| stats.links.is_empty() && is_settled(&stats.counters));
    if idle { client.close().await } else { client.drain(within).await }
}

/// Whether everything that was taken has arrived, or was given up.
pub(super) fn is_settled(counters: &Counters) -> bool {
    counters.acknowledged + counters.dropped_out.total() >= counters.accepted
}

/// The URL of a server, as it is shown.
pub(super) fn url(server: &ServerConfig) -> String {
    let scheme = match server.scheme {
        Scheme::Ws => "ws",
        Scheme::Wss => "wss",
    };
    // What stands behind a question mark may be a secret.
    let path = server.path.split('?').next().unwrap_or_default();
    format!("{scheme}://{}{path}", server.address)
}

fn options(config: &Config) -> Outcome<ClientOptions> {
    let settings = &config.client;
    let Settings { servers, name, links, max_link_age, headers, .. } = settings;
    if servers.is_empty() {
        let message = "no server is configured: name one, as in `sudp client wss://example.com -L 5005:10.0.0.1:53`, or \
                       in the configuration file as client.servers";
        return Err(Failure::new(Exit::Config, message));
    }
    // The first is preferred, and so on: a later one is dialled only while none before it answers.
    let ranked = (0..).zip(servers).map(|(priority, server)| ServerConfig { priority, ..server.clone() });
    let (servers, name, links, max_link_age) = (ranked.collect(), name.clone(), *links, *max_link_age);
    let mut options = ClientOptions::new(ClientConfig { name, servers, links, max_link_age });
    options.limits = config.limits.clone();
    options.headers = headers.clone();
    match login::first(settings)? {
        First::Nothing => {}
        First::Fixed(credential) => options.credential = Some(credential),
        First::Fetched => options.awaits_credential = true,
    }
    options.memory = Pool::memory(config.limits.pool as u64, config.limits.guaranteed as u64);
    options.proxies = settings.proxies()?;
    options.tls = settings.speaks()?;
    options.seal = settings.seals()?;
    Ok(options)
}

fn cannot_connect(settings: &Settings, error: ConnectError) -> Failure {
    match error {
        ConnectError::Setup(SetupError::TlsMissing(server)) => {
            let url = settings.servers.get(server).map(url).unwrap_or_default();
            Failure::new(Exit::Config, format!("{url} is to be reached by TLS, and there is no configuration of it"))
        }
        ConnectError::Setup(error) => Failure::new(Exit::Config, format!("client: {error}")),
        ConnectError::Tls(error) => Failure::new(Exit::Config, error),
        error @ (ConnectError::Randomness(_) | ConnectError::NoRuntime | _) => Failure::new(Exit::Temporary, error),
    }
}

/// The session is over, and nobody asked for that.
pub(super) fn over() -> Failure {
    Failure::new(Exit::Internal, "the client ended by itself; please report it with the log of what happened before")
}

/// For how long the first link is waited for before others may look.
const PATIENCE: Duration = Duration::from_secs(3);

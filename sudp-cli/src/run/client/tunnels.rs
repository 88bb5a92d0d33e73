//! The tunnels of a client: opened all or none, changed while it runs, and how each is.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use sudp_tokio::proto::event::Event;
use sudp_tokio::proto::session::TunnelError;
use sudp_tokio::proto::wire::{Code, TunnelId};
use sudp_tokio::{Client, ClientEvent, TunnelRefused};

use crate::args::spec::{Kind, TunnelSpec};
use crate::exit::{Exit, Failure, Outcome};
use crate::run::life::{Life, cannot_listen};
use crate::run::socks::Proxy;
use crate::run::tell::{Note, words};
use crate::status;

/// The tunnels there are, in the order of the configuration.
#[derive(Debug, Default)]
pub(super) struct Tunnels(Vec<Open>);

/// A tunnel that is open.
#[derive(Debug)]
struct Open {
    spec: TunnelSpec,
    what: What,
    /// Where its datagrams are taken, here or at the server, or why they are not.
    listening: Option<Result<SocketAddr, Code>>,
}

#[derive(Debug)]
enum What {
    Tunnel(TunnelId),
    Proxy {
        /// It ends when this is dropped.
        _proxy: Proxy,
    },
}

impl Tunnels {
    /// Opens one more, and says so.
    pub(super) async fn open(&mut self, client: &Client, life: &Arc<Life>, spec: &TunnelSpec) -> Outcome<Note> {
        let open = Open::new(client, life, spec).await?;
        let note = open.note();
        self.0.push(open);
        Ok(note)
    }

    /// Closes those that are not wanted any more, and opens those that are new. If one cannot be opened, all are as
    /// they were.
    pub(super) async fn change(
        &mut self,
        client: &Client,
        life: &Arc<Life>,
        wanted: &[TunnelSpec],
    ) -> Outcome<Vec<Note>> {
        let mut before: VecDeque<_> = std::mem::take(&mut self.0).into();
        let (mut notes, mut closed) = (Vec::new(), Vec::new());
        let mut fresh = Vec::new();
        // First what is given up, for its port may be wanted by what is new.
        let mut kept = Vec::new();
        let mut left: Vec<_> = wanted.to_vec();
        while let Some(open) = before.pop_front() {
            if let Some(place) = left.iter().position(|spec| *spec == open.spec) {
                left.swap_remove(place);
                kept.push(open);
            } else {
                closed.push(open.spec.clone());
                notes.push(Note::info("sudp::tunnel", format!("{} is closed", open.spec.label())));
                open.close(client).await;
            }
        }
        let mut failure = None;
        for spec in &left {
            match Open::new(client, life, spec).await {
                Ok(open) => {
                    notes.push(open.note());
                    fresh.push(open);
                }
                Err(refused) => {
                    failure = Some(refused);
                    break;
                }
            }
        }
        let Some(failure) = failure else {
            self.0 = kept;
            self.0.append(&mut fresh);
            let place = |open: &Open| wanted.iter().position(|spec| *spec == open.spec);
            self.0.sort_by_key(place);
            return Ok(notes);
        };
        for open in fresh {
            open.close(client).await;
        }
        self.0 = kept;
        for spec in closed {
            match Open::new(client, life, &spec).await {
                Ok(open) => self.0.push(open),
                // Somebody has taken its port in that moment.
                Err(lost) => life.tell(Note::error("sudp::tunnel", format!("{} is lost: {lost}", spec.label()))),
            }
        }
        Err(failure)
    }

    /// Ends proxies, whose clients would else go on asking.
    pub(super) fn close_proxies(&mut self) {
        self.0.retain(|open| matches!(open.what, What::Tunnel(_)));
    }

    /// Follows what happens to those that the server listens for.
    pub(super) fn handle(&mut self, event: &ClientEvent) -> Option<Note> {
        let ClientEvent::Session(Event::TunnelBound { tunnel, outcome }) = event else { return None };
        let open = self.0.iter_mut().find(|open| open.is(*tunnel))?;
        if open.listening == Some(*outcome) {
            // Asked for again and again, it is refused again and again.
            return None;
        }
        open.listening = Some(*outcome);
        Some(open.note())
    }

    /// What a tunnel is called.
    pub(super) fn label(&self, id: TunnelId) -> Option<String> {
        self.0.iter().find(|open| open.is(id)).map(|open| open.spec.label())
    }

    /// How they are.
    pub(super) async fn states(&self, client: &Client) -> Vec<status::Tunnel> {
        // Once it has ended, nothing listens.
        let known = client.tunnels().await.unwrap_or_default();
        let state = |open: &Open| {
            let now = known.iter().find(|state| open.is(state.id)).and_then(|state| state.listening);
            let listening = now.or(open.listening);
            status::Tunnel {
                name: open.spec.label(),
                spec: open.spec.to_string(),
                listening: listening.and_then(Result::ok).map(|at| at.to_string()),
                error: listening.and_then(Result::err).map(words),
            }
        };
        self.0.iter().map(state).collect()
    }
}

impl Open {
    async fn new(client: &Client, life: &Arc<Life>, spec: &TunnelSpec) -> Outcome<Self> {
        if let Kind::Socks { listen } = spec.kind {
            let proxy = Proxy::listen(client, life, listen, spec.treatment).await;
            let proxy = proxy.map_err(|error| taken(spec, "TCP", listen, &error))?;
            let listening = Some(Ok(proxy.at()));
            return Ok(Self { spec: spec.clone(), what: What::Proxy { _proxy: proxy }, listening });
        }
        let Some(tunnel) = spec.tunnel() else {
            let message = format!("{spec}: standard input and output are tied by `sudp client URL -W HOST:PORT`");
            return Err(Failure::new(Exit::Usage, message));
        };
        let added = client.add_tunnel(tunnel).await.map_err(|refused| cannot_open(spec, &refused))?;
        Ok(Self { spec: spec.clone(), what: What::Tunnel(added.tunnel), listening: added.at.map(Ok) })
    }

    fn is(&self, id: TunnelId) -> bool {
        matches!(self.what, What::Tunnel(known) if known == id)
    }

    async fn close(self, client: &Client) {
        if let What::Tunnel(id) = self.what {
            // A client that has ended has no tunnels.
            let _ = client.remove_tunnel(id).await;
        }
    }

    /// How it stands, in words.
    fn note(&self) -> Note {
        let name = self.spec.name.as_ref().map(|name| format!("{}: ", name.escape_debug())).unwrap_or_default();
        let text = match (&self.spec.kind, self.listening) {
            (Kind::Forward { to, .. }, Some(Ok(at))) => {
                format!("{name}taking datagrams at {at} for {to} of the server")
            }
            (Kind::Reverse { to, .. }, Some(Ok(at))) => {
                format!("{name}the server takes datagrams at {at} for {to} here")
            }
            (Kind::Reverse { listen, .. }, Some(Err(code))) => {
                let text = format!(
                    "{name}the server does not listen at {listen}: {}; it is asked again and again",
                    words(code)
                );
                return Note::warn("sudp::tunnel", text);
            }
            (Kind::Reverse { listen, .. }, None) => format!("{name}the server is asked to listen at {listen}"),
            (Kind::Socks { .. }, Some(Ok(at))) => format!("{name}a SOCKS5 proxy for UDP is at {at}"),
            (_, Some(Err(code))) => {
                return Note::warn("sudp::tunnel", format!("{name}{} does not listen: {}", self.spec, words(code)));
            }
            (_, None) => format!("{name}{} is open", self.spec),
            (Kind::Stdio { .. }, Some(Ok(_))) => format!("{name}{} is open", self.spec),
        };
        Note::info("sudp::tunnel", text)
    }
}

fn cannot_open(spec: &TunnelSpec, refused: &TunnelRefused) -> Failure {
    match refused {
        TunnelRefused::Listen { at, source } => taken(spec, "UDP", *at, source),
        TunnelRefused::Tunnel(TunnelError::Copies { copies, links }) => {
            let message = format!(
                "{spec}: datagrams cannot travel on {copies} links where there may be {links}; set --links {copies} \
                 (client.links), or fewer copies"
            );
            Failure::new(Exit::Config, message)
        }
        TunnelRefused::Tunnel(error) => Failure::new(Exit::Config, format!("{spec}: {error}")),
        other @ (TunnelRefused::Flow(_) | TunnelRefused::Gone(_) | _) => {
            Failure::new(Exit::Failed, format!("{spec}: {other}"))
        }
    }
}

fn taken(spec: &TunnelSpec, protocol: &str, at: SocketAddr, error: &io::Error) -> Failure {
    let elsewhere = match &spec.kind {
        Kind::Forward { to, .. } | Kind::Reverse { to, .. } => format!("take another port, as with `0:{to}` for any"),
        Kind::Socks { .. } | Kind::Stdio { .. } => "take another port, as with `-D 0` for any".into(),
    };
    cannot_listen("the client", protocol, at, error, &elsewhere)
}

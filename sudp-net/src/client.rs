//! A client: one task that keeps a session, and the handle to it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sudp_proto::access::Pool;
use sudp_proto::client::{Client as Endpoint, ClientSetup, DialFailure};
use sudp_proto::config::Limits;
use sudp_proto::config::client::ClientConfig;
#[cfg(feature = "tls")]
use sudp_proto::config::client::Scheme;
use sudp_proto::driver::Socket;
use sudp_proto::event::Event;
use sudp_proto::link::{ClientSeal, ClientTls};
use sudp_proto::session::{LinkState, Treatment, Tunnel, Way};
use sudp_proto::stats::{Counters, QueueDelay};
use sudp_proto::wire::{Address, Code, GoAwayReason, SessionId, TunnelId};
use sudp_proto::{Credential, Seed};

use crate::error::{ConnectError, Gone, TunnelRefused};
use crate::event::{ClientEvent, Events, Subscribers};
use crate::flow::{Carrier, Flow};
use crate::mailbox::Mailbox;
use crate::proxy::ProxyRules;
use crate::resolve::Names;
use crate::runtime::{Runtime, Timer};
use crate::sockets::Means;
use crate::task::{Core, Engine};
use crate::tcp::TcpOptions;
use crate::udp::{self, UdpOptions};

/// What a client is started with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Where its servers are, and how many links it wants.
    pub config: ClientConfig,
    /// Every cap.
    pub limits: Limits,
    /// Headers for every upgrade request, as a host name of its own.
    pub headers: Vec<(String, String)>,
    /// What lets it in: sent when a session is founded, never when a link attaches to one.
    pub credential: Option<Credential>,
    /// It dials nobody before [`Client::set_credential`] has given it something to show.
    pub awaits_credential: bool,
    /// Which of its servers are dialled through a proxy: none by default, whatever the environment says.
    pub proxies: ProxyRules,
    /// How it speaks TLS with servers of `wss`. Without it, the system's roots say whom to trust.
    pub tls: Option<ClientTls>,
    /// How it seals its links, all to the same server key; without it, none is. A client that seals never speaks
    /// otherwise.
    pub seal: Option<ClientSeal>,
    /// Where its memory comes from.
    pub memory: Pool,
    /// How TCP is used.
    pub tcp: TcpOptions,
    /// How UDP is used.
    pub udp: UdpOptions,
}

impl ClientOptions {
    /// The usual options for these servers.
    pub fn new(config: ClientConfig) -> Self {
        Self {
            config,
            limits: Limits::default(),
            headers: Vec::new(),
            credential: None,
            awaits_credential: false,
            proxies: ProxyRules::none(),
            tls: None,
            seal: None,
            memory: Pool::memory(MEMORY, GUARANTEED),
            tcp: TcpOptions::default(),
            udp: UdpOptions::default(),
        }
    }
}

/// A client, which dials by itself and keeps its session for as long as any handle to it is held.
pub struct Client<R: Runtime>(pub(crate) Arc<Handle<R>>);

pub(crate) struct Handle<R: Runtime> {
    runtime: R,
    pub(crate) mailbox: Arc<Mailbox<Core<R, Endpoint>>>,
    events: Arc<Subscribers<ClientEvent>>,
    tunnels: AtomicU64,
    udp: UdpOptions,
}

/// A tunnel that was added.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listening {
    /// What it is called.
    pub tunnel: TunnelId,
    /// Where its datagrams are taken, if that is here.
    pub at: Option<SocketAddr>,
}

/// How a client is.
#[derive(Clone, Debug)]
pub struct ClientStats {
    /// The session, once there is one.
    pub session: Option<SessionId>,
    /// When it began.
    pub since: Option<Instant>,
    /// The server that owns it, as an index of the configuration.
    pub server: Option<usize>,
    /// Why the last dial came to nothing, if none has come to something since.
    pub failure: Option<DialFailure>,
    /// Whether its links are sealed end to end.
    pub sealed: bool,
    /// Its links.
    pub links: Vec<LinkState>,
    /// What was counted.
    pub counters: Counters,
    /// How long datagrams wait before they leave.
    pub queue_delay: QueueDelay,
    /// How many flows there are.
    pub flows: usize,
    /// Datagrams that the kernel dropped before we could take them, as far as it says.
    pub kernel_drops: u64,
    /// The smallest receive buffer of its UDP sockets, as the system granted it.
    pub receive_buffer: Option<usize>,
}

impl<R: Runtime> Client<R> {
    /// Starts a client. It dials at once, and again for as long as it lives.
    pub fn connect(runtime: R, options: ClientOptions) -> Result<Self, ConnectError> {
        let ClientOptions {
            config,
            limits,
            headers,
            credential,
            awaits_credential,
            proxies,
            tls,
            seal,
            memory,
            tcp,
            udp,
        } = options;
        let tls = tls.map_or_else(|| usual_tls(&config), |tls| Ok(Some(tls)))?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| ConnectError::Randomness(error.into()))?;
        // A later start of the same name takes over the ports of an earlier one.
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let servers = config.servers.iter().enumerate();
        let proxies = servers.filter_map(|(index, server)| Some((index, proxies.proxy_for(server)?))).collect();
        let means = Means { runtime: runtime.clone(), names: Names::default(), tcp, udp };
        let (pool, seed) = (memory, Seed(seed));
        let setup = ClientSetup {
            config,
            limits,
            started,
            headers,
            credential,
            awaits_credential,
            proxies,
            tls,
            seal,
            pool,
            seed,
        };
        setup.validate()?;
        let engine = Engine::new(&Arc::new(means), Endpoint::new(crate::now(), setup));
        let mailbox = Arc::clone(engine.mailbox());
        let events = Arc::new(Subscribers::new());
        runtime.spawn(Task { engine: Some(engine), events: Arc::clone(&events) });
        Ok(Self(Arc::new(Handle { runtime, mailbox, events, tunnels: AtomicU64::new(1), udp })))
    }

    /// Adds a tunnel. The datagrams of a forward one are taken from now on, whether there is a link or
    /// not; whether the server listens for a reverse one is told by [`Event::TunnelBound`].
    pub async fn add_tunnel(&self, mut tunnel: Tunnel) -> Result<Listening, TunnelRefused> {
        let id = TunnelId(self.0.tunnels.fetch_add(1, Ordering::Relaxed));
        let mut bound = None;
        if let Way::Forward { listen: Some(at), .. } = &mut tunnel.way {
            let refused = |source| TunnelRefused::Listen { at: *at, source };
            let socket = udp::open(&Socket::Listener(*at), &self.0.udp).map_err(refused)?;
            let here = socket.0.local_addr().map_err(refused)?;
            *at = here;
            bound = Some((here, socket));
        }
        let at = bound.as_ref().map(|(here, _)| *here);
        let added = self.0.mailbox.ask(move |core| {
            core.driver.endpoint_mut().add_tunnel(id, tunnel)?;
            if let Some((here, socket)) = bound {
                core.sockets.offer(here, socket);
            }
            Ok::<(), TunnelRefused>(())
        });
        added.await??;
        Ok(Listening { tunnel: id, at })
    }

    /// Removes a tunnel, and ends its flows.
    pub async fn remove_tunnel(&self, tunnel: TunnelId) -> Result<(), Gone> {
        let removed = self.0.mailbox.ask(move |core| {
            let now = core.now;
            core.driver.endpoint_mut().session_mut().remove_tunnel(now, tunnel);
        });
        removed.await
    }

    /// Opens a flow to a destination of the server, to be used like a UDP socket. No round trip is spent:
    /// its first datagram may be sent at once.
    pub async fn open(&self, to: impl Into<Address>, treatment: Treatment) -> Result<Flow, TunnelRefused> {
        let (to, id) = (to.into(), TunnelId(self.0.tunnels.fetch_add(1, Ordering::Relaxed)));
        let opened = self.0.mailbox.ask(move |core| {
            let now = core.now;
            let (endpoint, way) = (core.driver.endpoint_mut(), Way::Forward { listen: None, to: None });
            let session = endpoint.session_mut();
            // Flows that are treated alike share a tunnel.
            let like = |tunnel: &Tunnel| tunnel.way == way && tunnel.treatment == treatment;
            let known = session.tunnels().find(|(_, tunnel)| like(tunnel)).map(|(known, _)| known);
            let tunnel = match known {
                Some(known) => known,
                None => {
                    session.add_tunnel(id, Tunnel { treatment, ..Tunnel::new(way) })?;
                    id
                }
            };
            let flow = session.open_flow(now, tunnel, None, Some(to))?;
            Ok::<_, TunnelRefused>((flow, core.hands.add(flow)))
        });
        let (flow, hand) = opened.await??;
        Ok(Flow::new(flow, hand, Arc::clone(&self.0.mailbox) as Arc<dyn Carrier>))
    }

    /// What happens from now on. What has happened before, as the beginning of a session, is seen in
    /// [`stats`](Self::stats): a client does not wait for anybody to listen.
    pub fn events(&self) -> Events<ClientEvent> {
        self.events_where(|_| true)
    }

    /// Of what happens from now on, that which is wanted: where nobody cares, flows that come and go by the
    /// thousand wake nobody.
    pub fn events_where(&self, wanted: impl Fn(&ClientEvent) -> bool + Send + 'static) -> Events<ClientEvent> {
        self.0.events.subscribe(wanted)
    }

    /// Waits until the client has a session, which is not to say that it never loses it. Why there is none so
    /// far is in [`stats`](Self::stats).
    pub async fn attached(&self) -> Result<SessionId, Gone> {
        let mut events = self.events();
        loop {
            if let Some(session) = self.stats().await?.session {
                return Ok(session);
            }
            events.next().await.ok_or(Gone)?;
        }
    }

    /// How it is.
    pub async fn stats(&self) -> Result<ClientStats, Gone> {
        let asked = self.0.mailbox.ask(|core| {
            let endpoint = core.driver.endpoint();
            let session = endpoint.session();
            ClientStats {
                session: session.id(),
                since: core.since,
                server: endpoint.server(),
                failure: core.failure.clone(),
                sealed: endpoint.is_sealed(),
                links: session.links().filter_map(|ordinal| session.link(ordinal)).collect(),
                counters: session.counters(),
                queue_delay: session.queue_delay(),
                flows: session.flows().count(),
                kernel_drops: core.sockets.kernel_drops(),
                receive_buffer: core.sockets.receive_buffers().min(),
            }
        });
        asked.await
    }

    /// Shows this from now on to be let in: a session that stands is renewed with it, and what refused the former
    /// one is asked again at once. What the server makes of a renewal is told by [`Event::Renewed`].
    pub async fn set_credential(&self, credential: Option<Credential>) -> Result<(), Gone> {
        let asked = self.0.mailbox.ask(move |core| {
            let now = core.now;
            core.driver.endpoint_mut().set_credential(now, credential);
        });
        asked.await
    }

    /// The network has changed: what waits for a better time is tried now.
    pub fn handle_network_change(&self) -> Result<(), Gone> {
        self.0.mailbox.tell(|core| {
            let now = core.now;
            core.driver.endpoint_mut().handle_wake(now);
        })
    }

    /// Ends the session in peace: what is under way arrives, and nothing new is taken. What has not arrived
    /// `within` this time is given up.
    pub async fn drain(&self, within: Duration) {
        let begun = self.0.mailbox.tell(|core| {
            let now = core.now;
            let session = core.driver.endpoint_mut().session_mut();
            if session.id().is_some() {
                session.drain(now, GoAwayReason::Shutdown, Duration::ZERO);
            } else {
                session.close(now, Code::Done);
            }
        });
        if begun.is_err() {
            return;
        }
        let mut timer = Box::pin(self.0.runtime.timer());
        timer.as_mut().arm(within);
        let ended = poll_fn(|cx| {
            if self.0.mailbox.poll_closed(cx).is_ready() {
                return Poll::Ready(true);
            }
            timer.as_mut().poll_fired(cx).map(|()| false)
        });
        if !ended.await {
            self.close().await;
        }
    }

    /// Ends the session at once, and waits until everything is closed.
    pub async fn close(&self) {
        self.0.close();
        poll_fn(|cx| self.0.mailbox.poll_closed(cx)).await;
    }
}

impl<R: Runtime> Handle<R> {
    fn close(&self) {
        // A client that is gone is closed.
        let _ = self.mailbox.tell(|core| {
            let now = core.now;
            core.driver.endpoint_mut().session_mut().close(now, Code::Done);
        });
    }
}

impl<R: Runtime> Drop for Handle<R> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<R: Runtime> Clone for Client<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Runtime> fmt::Debug for Client<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// What is done for servers of `wss` where nobody says how.
#[cfg(feature = "tls")]
fn usual_tls(config: &ClientConfig) -> Result<Option<ClientTls>, ConnectError> {
    let secure = config.servers.iter().any(|server| server.scheme == Scheme::Wss);
    Ok(if secure { Some(crate::tls::ClientOptions::default().load()?) } else { None })
}

/// Without TLS, servers of `wss` are refused.
#[cfg(not(feature = "tls"))]
fn usual_tls(_config: &ClientConfig) -> Result<Option<ClientTls>, ConnectError> {
    Ok(None)
}

/// The task that owns a client.
struct Task<R: Runtime> {
    engine: Option<Engine<R, Endpoint>>,
    events: Arc<Subscribers<ClientEvent>>,
}

impl<R: Runtime> Future for Task<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { engine: running, events } = &mut *self;
        loop {
            let Some(engine) = running else { return Poll::Ready(()) };
            let turn = engine.turn(cx);
            let core = &mut engine.core;
            while let Some(event) = core.driver.poll_event() {
                if let Event::FlowClosed { flow, code } = event {
                    core.hands.end(flow, code);
                } else if let Event::LinkUp { .. } = event {
                    core.failure = None;
                } else if let Event::Started { .. } = event {
                    core.since = Some(core.now);
                } else if let Event::Lost { .. } = event {
                    core.since = None;
                }
                events.tell(&ClientEvent::Session(event));
            }
            while let Some(failure) = core.driver.poll_failure() {
                events.tell(&ClientEvent::DialFailed(failure.clone()));
                core.failure = Some(failure);
            }
            if core.driver.endpoint().is_finished() {
                events.close();
                drop(running.take().map(Engine::dismantle));
                return Poll::Ready(());
            }
            if engine.poll_rest(cx, turn).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// Memory of a client: enough for the windows of eight fast links.
const MEMORY: u64 = 128 << 20;
const GUARANTEED: u64 = 128 << 10;

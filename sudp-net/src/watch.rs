//! What is seen of a client or a server while it runs, and what can be done about it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use sudp_proto::server::Server as Endpoint;
use sudp_proto::session::{FlowState, LinkState, Session as Half, Tunnel};
use sudp_proto::stats::{Counters, QueueDelay};
use sudp_proto::wire::{Code, FlowId, SessionId, TunnelId};

use crate::admit::Pass;
use crate::client::Client;
use crate::error::Gone;
use crate::lock;
use crate::runtime::Runtime;
use crate::server::{Server, Session};
use crate::tap::Writer;
use crate::task::Core;

/// How a tunnel of a client is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TunnelState {
    /// What it is called.
    pub id: TunnelId,
    /// What was asked for.
    pub tunnel: Tunnel,
    /// Where its datagrams are taken, here or at the server, or why they are not. None while nobody has
    /// answered, and for a tunnel whose flows are opened by hand.
    pub listening: Option<Result<SocketAddr, Code>>,
}

/// How a session of a server is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionStats {
    /// Who the client is, as admission has found out; empty is anybody.
    pub principal: String,
    /// Where its first link came from.
    pub from: SocketAddr,
    /// What the client calls itself, over all its starts; empty if it does not.
    pub client: String,
    /// When it began.
    pub since: Instant,
    /// Whether its links are sealed end to end.
    pub sealed: bool,
    /// Its links.
    pub links: Vec<LinkState>,
    /// The reverse tunnels that are listened for, and where.
    pub listening: Vec<(TunnelId, SocketAddr)>,
    /// What was counted.
    pub counters: Counters,
    /// How long datagrams wait before they leave.
    pub queue_delay: QueueDelay,
    /// How many flows there are.
    pub flows: usize,
    /// Datagrams that the kernel dropped before we could take them, as far as it says.
    pub kernel_drops: u64,
}

/// How a server is: all its sessions together, those that have ended included.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ServerStats {
    /// When it began.
    pub since: Instant,
    /// How many sessions there are.
    pub sessions: usize,
    /// How many there were, these included.
    pub founded: u64,
    /// How many flows there are.
    pub flows: usize,
    /// What was counted since it began.
    pub counters: Counters,
    /// How long datagrams waited before they left.
    pub queue_delay: QueueDelay,
    /// Datagrams that the kernel dropped before we could take them, as far as it says.
    pub kernel_drops: u64,
}

impl<R: Runtime> Client<R> {
    /// The flows there are, and how each is.
    pub async fn flows(&self) -> Result<Vec<(FlowId, FlowState)>, Gone> {
        self.0.mailbox.ask(|core| flows(core.driver.endpoint().session())).await
    }

    /// The tunnels there are, those of flows that were opened by hand included.
    pub async fn tunnels(&self) -> Result<Vec<TunnelState>, Gone> {
        let asked = self.0.mailbox.ask(|core| {
            let session = core.driver.endpoint().session();
            let state = |(id, tunnel): (TunnelId, &Tunnel)| {
                let (tunnel, listening) = (tunnel.clone(), session.listening(id));
                TunnelState { id, tunnel, listening }
            };
            session.tunnels().map(state).collect()
        });
        asked.await
    }

    /// Ends a flow now; what it has queued is dropped. Its source may begin another with its next datagram.
    /// Says whether there was such a flow.
    pub async fn cut_flow(&self, flow: FlowId) -> Result<bool, Gone> {
        let cut = self.0.mailbox.ask(move |core| core.driver.endpoint_mut().session_mut().cut_flow(core.now, flow));
        cut.await
    }

    /// Replaces every link by a new one, while the session and its flows go on. An old link goes when a new one
    /// has taken its place: where no new one can be had, it stays.
    pub fn reconnect(&self) -> Result<(), Gone> {
        self.0.mailbox.tell(|core| core.driver.endpoint_mut().reconnect(core.now))
    }
}

impl<R: Runtime> Server<R> {
    /// What admission has kept with a session, if there is such a session.
    pub fn pass(&self, session: SessionId) -> Option<Pass> {
        lock(&self.shared.sessions).live.get(&session)?.about.pass()
    }

    /// How a session is.
    pub async fn stats(&self, session: SessionId) -> Result<SessionStats, Gone> {
        let living = lock(&self.shared.sessions).live.get(&session).cloned();
        let Living { mailbox, about } = living.ok_or(Gone)?;
        let stats = mailbox.ask(move |core| {
            let Figures { counters, queue_delay, kernel_drops } = Figures::of(core);
            let sealed = core.driver.endpoint().is_sealed();
            let session = core.driver.endpoint().session();
            SessionStats {
                principal: about.principal.clone(),
                from: about.from,
                client: session.identity().client.clone(),
                since: about.since,
                sealed,
                links: session.links().filter_map(|ordinal| session.link(ordinal)).collect(),
                listening: session.listeners().collect(),
                counters,
                queue_delay,
                flows: session.flows().count(),
                kernel_drops,
            }
        });
        stats.await
    }

    /// How all sessions are together, those that have ended included: each is counted once.
    pub async fn totals(&self) -> ServerStats {
        let (live, ended, over) = {
            // In one step: a session moves from the one to the other in one.
            let sessions = lock(&self.shared.sessions);
            (sessions.live.values().cloned().collect::<Vec<_>>(), sessions.ended, sessions.over)
        };
        let founded = over + live.len() as u64;
        let (mut all, mut sessions, mut flows) = (ended, 0, 0);
        for Living { mailbox, about } in live {
            let asked = mailbox.ask(|core| (Figures::of(core), core.driver.endpoint().session().flows().count()));
            match asked.await {
                Ok((figures, count)) => {
                    all += figures;
                    sessions += 1;
                    flows += count;
                }
                // It has ended meanwhile, and left its figures; one that was cut off with its runtime has not.
                Err(Gone) => all += about.last.get().copied().unwrap_or_default(),
            }
        }
        let Figures { counters, queue_delay, kernel_drops } = all;
        ServerStats { since: self.shared.since, sessions, founded, flows, counters, queue_delay, kernel_drops }
    }

    /// The flows of a session, and how each is.
    pub async fn flows(&self, session: SessionId) -> Result<Vec<(FlowId, FlowState)>, Gone> {
        self.shared.session(session).ok_or(Gone)?.ask(|core| flows(core.driver.endpoint().session())).await
    }

    /// Ends a flow of a session now; nothing of it is delivered any more. Its source may begin another with its
    /// next datagram. Says whether there was such a flow.
    pub async fn cut_flow(&self, session: SessionId, flow: FlowId) -> Result<bool, Gone> {
        let asked = self.shared.session(session).ok_or(Gone)?;
        asked.ask(move |core| core.driver.endpoint_mut().session_mut().cut_flow(core.now, flow)).await
    }

    /// Ends a session at once, and tells its client that it is denied. The client asks for another after a while:
    /// whether it gets one is up to admission.
    pub async fn kick(&self, session: SessionId) -> Result<(), Gone> {
        self.regrant(session, None).await
    }

    /// Ends the links of a session, so that its client dials anew; the session and its flows go on when it has.
    pub async fn reconnect(&self, session: SessionId) -> Result<(), Gone> {
        let asked = self.shared.session(session).ok_or(Gone)?;
        asked.ask(|core| core.driver.endpoint_mut().reconnect(core.now)).await
    }
}

fn flows(session: &Half) -> Vec<(FlowId, FlowState)> {
    session.flows().filter_map(|id| Some((id, session.flow(id)?))).collect()
}

/// The sessions of a server, and what is left of those that have ended.
pub(crate) struct Sessions<R: Runtime> {
    pub(crate) live: BTreeMap<SessionId, Living<R>>,
    ended: Figures,
    /// How many have ended.
    over: u64,
    /// Who looks at the datagrams of every session.
    pub(crate) taps: Vec<Writer>,
}

impl<R: Runtime> Sessions<R> {
    pub(crate) fn end(&mut self, session: SessionId) {
        let Some(living) = self.live.remove(&session) else { return };
        self.ended += living.about.last.get().copied().unwrap_or_default();
        self.over += 1;
    }
}

impl<R: Runtime> Default for Sessions<R> {
    fn default() -> Self {
        Self { live: BTreeMap::new(), ended: Figures::default(), over: 0, taps: Vec::new() }
    }
}

/// A session that has a task.
pub(crate) struct Living<R: Runtime> {
    pub(crate) mailbox: Session<R>,
    pub(crate) about: Arc<About>,
}

impl<R: Runtime> Clone for Living<R> {
    fn clone(&self) -> Self {
        Self { mailbox: Arc::clone(&self.mailbox), about: Arc::clone(&self.about) }
    }
}

/// What a server knows of a session beside the session itself.
pub(crate) struct About {
    pub(crate) principal: String,
    pub(crate) from: SocketAddr,
    pub(crate) since: Instant,
    /// What admission keeps with it; renewed with its credential.
    pass: Mutex<Option<Pass>>,
    /// What it had counted when it ended.
    pub(crate) last: OnceLock<Figures>,
}

impl About {
    pub(crate) fn new(principal: String, from: SocketAddr, pass: Option<Pass>) -> Self {
        Self { principal, from, since: crate::now(), pass: Mutex::new(pass), last: OnceLock::new() }
    }

    pub(crate) fn pass(&self) -> Option<Pass> {
        lock(&self.pass).clone()
    }

    pub(crate) fn set_pass(&self, pass: Option<Pass>) {
        *lock(&self.pass) = pass;
    }
}

/// What can be added up over sessions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    counters: Counters,
    queue_delay: QueueDelay,
    kernel_drops: u64,
}

impl Figures {
    pub(crate) fn of<R: Runtime>(core: &Core<R, Endpoint>) -> Self {
        let session = core.driver.endpoint().session();
        let (counters, queue_delay) = (session.counters(), session.queue_delay());
        Self { counters, queue_delay, kernel_drops: core.sockets.kernel_drops() }
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.counters += other.counters;
        self.queue_delay += other.queue_delay;
        self.kernel_drops += other.kernel_drops;
    }
}

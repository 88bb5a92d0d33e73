//! A server: tasks that accept, one task for each session, and the handle to them.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_channel::oneshot;
use sudp_proto::access::{Grant, Network, Own, Pool, Replies};
use sudp_proto::config::Limits;
use sudp_proto::event::Event;
use sudp_proto::link::{self, ServerExpect, ServerSeal};
use sudp_proto::rng::{Rng, Seed};
use sudp_proto::server::{
    Entry, Founded, Identification, Incoming, IncomingSetup, Names, Registry, Server as Endpoint, ServerSetup, Stance,
    Strangers,
};
use sudp_proto::session::Access;
use sudp_proto::wire::{Code, GoAwayReason, SessionId, Ticket};

use crate::accept::{Accepting, Trouble};
use crate::admit::{Admit, Admitted, Renewal};
use crate::error::{BindError, Gone};
use crate::event::{Events, ServerEvent, Subscribers};
use crate::lock;
use crate::mailbox::{Mailbox, enlist};
use crate::options::ServerOptions;
use crate::resolve;
use crate::runtime::{Runtime, Timer};
use crate::sockets::Means;
use crate::task::{Core, Engine};
use crate::tcp;
#[cfg(feature = "tls")]
use crate::tls::ServerTls;
use crate::watch::{About, Figures, Living, Sessions};

/// A server, which serves for as long as the handle to it is held.
pub struct Server<R: Runtime> {
    pub(crate) shared: Arc<Shared<R>>,
    listening: Vec<SocketAddr>,
    /// Each ends a task that accepts when it is dropped.
    accepting: Vec<oneshot::Sender<()>>,
}

type Renew = Box<dyn Fn(Renewal) -> Renewing + Send + Sync>;
type Renewing = Pin<Box<dyn Future<Output = Option<Admitted>> + Send>>;
pub(crate) type Session<R> = Arc<Mailbox<Core<R, Endpoint>>>;

/// What the tasks of a server have in common. None of it is touched on the way of a datagram.
pub(crate) struct Shared<R: Runtime> {
    pub(crate) means: Arc<Means<R>>,
    pub(crate) events: Subscribers<ServerEvent>,
    /// Asks admission about a renewal.
    renew: Renew,
    expect: ServerExpect,
    pub(crate) proxies: Vec<Network>,
    replies: Replies,
    #[cfg(feature = "tls")]
    tls: Option<Arc<ServerTls>>,
    seal: Mutex<Option<ServerSeal>>,
    pub(crate) limits: Limits,
    names: Names,
    memory: Pool,
    rng: Mutex<Rng>,
    registry: Mutex<Registry>,
    hall: Mutex<Hall<R>>,
    pub(crate) sessions: Mutex<Sessions<R>>,
    /// When it began.
    pub(crate) since: Instant,
    ports: Vec<u16>,
    own: Mutex<Option<(Instant, Arc<Own>)>>,
    /// Nobody holds the server any more.
    ended: AtomicBool,
    /// Who waits until there is no session.
    watchers: Mutex<Vec<Waker>>,
}

impl<R: Runtime> Server<R> {
    /// Starts to listen, and to serve whom `admit` lets in.
    pub fn bind<A: Admit>(runtime: R, options: ServerOptions, admit: A) -> Result<Self, BindError> {
        #[cfg(feature = "tls")]
        let tls = options.tls.clone();
        let ServerOptions { listen, expect, proxies, seal, limits, id, memory, tcp, udp, .. } = options;
        limits.validate()?;
        if listen.is_empty() {
            return Err(BindError::Nowhere);
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| BindError::Randomness(error.into()))?;
        let mut rng = Rng::new(&Seed(seed));
        let (mut listeners, mut listening) = (Vec::new(), Vec::new());
        for at in listen {
            let refused = |source| BindError::Listen { at, source };
            let listener = tcp::listen(at, &tcp).map_err(refused)?;
            listening.push(listener.local_addr().map_err(refused)?);
            listeners.push(runtime.listener(listener).map_err(refused)?);
        }
        let names = Names { server: id, boot: rng.u64() >> VARINT_SPARE, ..Names::default() };
        let admit = Arc::new(admit);
        let renewer = Arc::clone(&admit);
        let shared = Arc::new(Shared {
            renew: Box::new(move |renewal| Box::pin(renewer.renew(renewal))),
            means: Arc::new(Means { runtime, names: resolve::Names::default(), tcp, udp }),
            events: Subscribers::new(),
            registry: Mutex::new(Registry::new(limits.clone(), &rng.fork())),
            expect,
            proxies,
            replies: Replies::new(&limits),
            #[cfg(feature = "tls")]
            tls,
            seal: Mutex::new(seal),
            limits,
            names,
            memory,
            rng: Mutex::new(rng),
            hall: Mutex::default(),
            sessions: Mutex::default(),
            since: crate::now(),
            ports: listening.iter().map(SocketAddr::port).collect(),
            own: Mutex::default(),
            ended: AtomicBool::new(false),
            watchers: Mutex::default(),
        });
        let mut accepting = Vec::new();
        for (listener, at) in listeners.into_iter().zip(&listening) {
            let (end, stop) = oneshot::channel();
            accepting.push(end);
            shared.means.runtime.spawn(Accepting {
                shared: Arc::clone(&shared),
                admit: Arc::clone(&admit),
                listener,
                at: *at,
                stop,
                pause: Box::pin(shared.means.runtime.timer()),
                trouble: Trouble::default(),
            });
        }
        Ok(Self { shared, listening, accepting })
    }

    /// Where it listens.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// What happens from now on.
    pub fn events(&self) -> Events<ServerEvent> {
        self.events_where(|_| true)
    }

    /// Of what happens from now on, that which is wanted: where nobody cares, flows that come and go by the
    /// thousand wake nobody.
    pub fn events_where(&self, wanted: impl Fn(&ServerEvent) -> bool + Send + 'static) -> Events<ServerEvent> {
        self.shared.events.subscribe(wanted)
    }

    /// Says how links are sealed from now on. What a session is made with does not change.
    pub fn set_seal(&self, seal: Option<ServerSeal>) {
        *lock(&self.shared.seal) = seal;
    }

    /// The sessions there are.
    pub fn sessions(&self) -> Vec<SessionId> {
        lock(&self.shared.sessions).live.keys().copied().collect()
    }

    /// How many streams came to nothing because there were too many without a session.
    pub fn turned(&self) -> Turned {
        let hall = lock(&self.shared.hall);
        Turned { now: hall.strangers.count(), ..hall.turned }
    }

    /// Says anew what a session may do. Flows and listeners that it may no longer have are ended; without a
    /// grant the session is.
    pub async fn regrant(&self, session: SessionId, grant: Option<Grant>) -> Result<(), Gone> {
        let own = self.shared.own();
        let asked = self.shared.session(session).ok_or(Gone)?;
        let done = asked.ask(move |core| {
            let now = core.now;
            core.driver.endpoint_mut().regrant(now, grant.map(|grant| Access { grant, own }));
        });
        done.await
    }

    /// Hands a session's client a new ticket for its next one, as what it has grows old.
    pub fn hand_ticket(&self, session: SessionId, ticket: Bytes) -> Result<(), Gone> {
        let asked = self.shared.session(session).ok_or(Gone)?;
        asked.tell(move |core| core.driver.endpoint_mut().answer_renewal(Ok(Ticket(ticket))))
    }

    /// Stops in peace: no session begins, those there are finish what is under way and end. What has not
    /// ended `within` this time is cut off.
    pub async fn drain(mut self, within: Duration) {
        self.shared.registry().set_stance(Stance::Leaving);
        for session in self.shared.all() {
            // One that is gone already has drained.
            let _ = session.tell(|core| {
                let now = core.now;
                core.driver.endpoint_mut().session_mut().drain(now, GoAwayReason::Shutdown, Duration::ZERO);
            });
        }
        self.wait(within).await;
        self.end();
        self.wait(LAST_WORDS).await;
    }

    /// Stops at once: every session is ended, and its client told so.
    pub async fn close(mut self) {
        self.end();
        self.wait(LAST_WORDS).await;
    }

    /// Waits until there is no session, but not for longer than this.
    async fn wait(&self, within: Duration) {
        let mut timer = Box::pin(self.shared.means.runtime.timer());
        timer.as_mut().arm(within);
        poll_fn(|cx| {
            enlist(&mut lock(&self.shared.watchers), cx.waker());
            if lock(&self.shared.sessions).live.is_empty() {
                return Poll::Ready(());
            }
            timer.as_mut().poll_fired(cx)
        })
        .await;
    }

    fn end(&mut self) {
        self.accepting.clear();
        self.shared.registry().set_stance(Stance::Leaving);
        self.shared.ended.store(true, Ordering::SeqCst);
        lock(&self.shared.sessions).taps.clear();
        self.shared.all().iter().for_each(send_away);
    }
}

fn send_away<R: Runtime>(session: &Session<R>) {
    // One that is gone already is closed.
    let _ = session.tell(|core| {
        let now = core.now;
        core.driver.endpoint_mut().session_mut().close(now, Code::GoingAway);
    });
}

impl<R: Runtime> Drop for Server<R> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<R: Runtime> fmt::Debug for Server<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listening", &self.listening).finish_non_exhaustive()
    }
}

impl<R: Runtime> Shared<R> {
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        lock(&self.registry)
    }

    pub(crate) fn session(&self, session: SessionId) -> Option<Session<R>> {
        lock(&self.sessions).live.get(&session).map(|living| Arc::clone(&living.mailbox))
    }

    pub(crate) fn incoming_setup(&self) -> IncomingSetup {
        let (expect, limits, seed) = (self.expect.clone(), self.limits.clone(), lock(&self.rng).fork());
        let seal = lock(&self.seal).clone();
        IncomingSetup { expect, tls: self.tls(), seal, limits, server: self.names.server, seed }
    }

    #[cfg(feature = "tls")]
    fn tls(&self) -> Option<link::ServerTls> {
        self.tls.as_ref().map(|tls| tls.link())
    }

    #[cfg(not(feature = "tls"))]
    fn tls(&self) -> Option<link::ServerTls> {
        None
    }

    /// Whether one more stream may come in, under which number.
    pub(crate) fn enter(&self, from: SocketAddr) -> Option<u64> {
        let proxy = self.proxies.iter().any(|network| network.contains(from.ip().to_canonical()));
        let mut hall = lock(&self.hall);
        let number = hall.next;
        hall.next += 1;
        let from = (!proxy).then(|| from.ip());
        let other = match hall.strangers.enter(number, from, &self.limits, &mut lock(&self.rng)) {
            Entry::In => return Some(number),
            Entry::Out => {
                hall.turned.away += 1;
                return None;
            }
            Entry::InsteadOf(other) => other,
        };
        hall.turned.out += 1;
        let arrival = hall.arrivals.remove(&other);
        drop(hall);
        if let Some(arrival) = arrival {
            // One that has just said what it wants, or has hung up, is past it.
            let _ = arrival.tell(|core| core.driver.endpoint_mut().give_up());
        }
        Some(number)
    }

    /// A stream that entered is driven by the owner of this mailbox.
    pub(crate) fn drives(&self, number: u64, mailbox: &Arc<Mailbox<Core<R, Incoming>>>) {
        lock(&self.hall).arrivals.insert(number, Arc::clone(mailbox));
    }

    /// A stream has said what it wants, and where it comes from. Says whether there is room for it.
    pub(crate) fn heard(&self, number: u64, from: Option<IpAddr>) -> bool {
        let mut hall = lock(&self.hall);
        hall.strangers.heard(number);
        let room = from.is_none_or(|from| hall.strangers.comes_from(number, from, &self.limits));
        hall.turned.away += u64::from(!room);
        room
    }

    pub(crate) fn leave(&self, number: u64) {
        let mut hall = lock(&self.hall);
        hall.strangers.leave(number);
        hall.arrivals.remove(&number);
    }

    /// Whether there is memory for one more session: the last tenth is for those there are.
    ///
    /// Of the last twentieth, the newest session that has no link gives back what it holds: it has the least to lose.
    pub(crate) fn has_memory(&self) -> bool {
        let (free, total) = (self.memory.free(), self.memory.terms().total);
        if free < total / HARD {
            let registry = self.registry();
            let sessions = lock(&self.sessions);
            let idle = registry.detached().filter_map(|session| sessions.live.get(&session));
            if let Some(newest) = idle.max_by_key(|living| living.about.since) {
                // One that is gone already has given it back.
                let _ = newest.mailbox.tell(|core| {
                    let now = core.now;
                    core.driver.endpoint_mut().session_mut().close(now, Code::Full);
                });
            }
        }
        free >= total / SOFT
    }

    /// Starts the task of a session that was just founded.
    pub(crate) fn found(
        self: &Arc<Self>,
        means: &Arc<Means<R>>,
        founded: &Founded,
        grant: Grant,
        ticket: Ticket,
        about: About,
    ) {
        let access = Access { grant, own: self.own() };
        let (limits, pool, seed) = (self.limits.clone(), self.memory.clone(), lock(&self.rng).fork());
        let setup = ServerSetup { limits, access, pool, seed, ticket };
        let mut endpoint = Endpoint::new(crate::now(), founded, self.names.clone(), setup);
        endpoint.session_mut().share_replies(&self.replies);
        let mut engine = Engine::new(means, endpoint);
        let about = Arc::new(about);
        let living = Living { mailbox: Arc::clone(engine.mailbox()), about: Arc::clone(&about) };
        let mut sessions = lock(&self.sessions);
        sessions.live.insert(founded.session, living);
        for tap in &sessions.taps {
            let core = &mut engine.core;
            core.taps.add(core.now, core.driver.endpoint_mut().session_mut(), tap.clone());
        }
        drop(sessions);
        // Whoever ended the server meanwhile may not have seen this one.
        if self.ended.load(Ordering::SeqCst) {
            send_away(engine.mailbox());
        }
        let task = Task { shared: Arc::clone(self), id: founded.session, about, engine: Some(engine), renewing: None };
        means.runtime.spawn(task);
    }

    /// Follows up a new credential that a client has shown: one at a time, and the newest next.
    fn renew(
        &self,
        cx: &mut Context<'_>,
        session: SessionId,
        about: &About,
        engine: &mut Engine<R, Endpoint>,
        renewing: &mut Option<Renewing>,
    ) {
        loop {
            if let Some(decision) = renewing {
                let Poll::Ready(admitted) = decision.as_mut().poll(cx) else { return };
                *renewing = None;
                let admitted = admitted.filter(|admitted| admitted.who.principal == about.principal);
                let (now, endpoint) = (crate::now(), engine.core.driver.endpoint_mut());
                let outcome = admitted.map(|Admitted { grant, pass, ticket, .. }| {
                    about.set_pass(pass);
                    endpoint.regrant(now, Some(Access { grant, own: self.own() }));
                    Ticket(ticket)
                });
                endpoint.answer_renewal(outcome.ok_or(Code::Denied));
            }
            // Only then: who has had the endpoint in hand may have changed anything, and its timers are looked at anew.
            if !engine.core.driver.endpoint().session().wants_renewal() {
                return;
            }
            let asked = engine.core.driver.endpoint_mut().session_mut().take_renewal();
            let Some(credential) = asked else { return };
            let who = Identification { principal: about.principal.clone() };
            *renewing = Some((self.renew)(Renewal { session, from: about.from, who, pass: about.pass(), credential }));
        }
    }

    fn all(&self) -> Vec<Session<R>> {
        lock(&self.sessions).live.values().map(|living| Arc::clone(&living.mailbox)).collect()
    }

    fn forget(&self, session: SessionId) {
        lock(&self.sessions).end(session);
        self.registry().remove(session);
        let watchers = std::mem::take(&mut *lock(&self.watchers));
        watchers.into_iter().for_each(Waker::wake);
    }

    /// The addresses of this machine, and our ports: what a tunnel must not lead to unasked.
    fn own(&self) -> Arc<Own> {
        let (mut own, now) = (lock(&self.own), crate::now());
        if let Some((at, known)) = &*own
            && now.saturating_duration_since(*at) < OWN_FRESH
        {
            return Arc::clone(known);
        }
        let known = Arc::new(crate::own::own(self.ports.iter().copied()));
        *own = Some((now, Arc::clone(&known)));
        known
    }
}

/// Streams that belong to no session yet.
struct Hall<R: Runtime> {
    strangers: Strangers,
    /// Who drives them, until they are told to give up.
    arrivals: BTreeMap<u64, Arc<Mailbox<Core<R, Incoming>>>>,
    next: u64,
    turned: Turned,
}

impl<R: Runtime> Default for Hall<R> {
    fn default() -> Self {
        let (strangers, turned) = (Strangers::default(), Turned::default());
        Self { strangers, arrivals: BTreeMap::new(), next: 0, turned }
    }
}

/// Streams that came to nothing because there were too many without a session.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Turned {
    /// How many there are at the moment without a session.
    pub now: usize,
    /// Closed as they came.
    pub away: u64,
    /// Closed for others, since they had not said what they want.
    pub out: u64,
}

/// The task that owns a session.
struct Task<R: Runtime> {
    shared: Arc<Shared<R>>,
    id: SessionId,
    about: Arc<About>,
    engine: Option<Engine<R, Endpoint>>,
    /// What is being found out about a new credential.
    renewing: Option<Renewing>,
}

impl<R: Runtime> Future for Task<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { shared, id, about, engine: running, renewing } = &mut *self;
        loop {
            let Some(engine) = running else { return Poll::Ready(()) };
            // Before the turn, which sends what comes of it.
            shared.renew(cx, *id, about, engine, renewing);
            let turn = engine.turn(cx);
            let mut asked = false;
            while let Some(event) = engine.core.driver.poll_event() {
                let ended = shared.registry().handle_event(*id, &event);
                for (other, code) in ended {
                    if let Some(other) = shared.session(other) {
                        // One that has ended by itself meanwhile needs no ending.
                        let _ = other.tell(move |core| {
                            let now = core.now;
                            core.driver.endpoint_mut().session_mut().close(now, code);
                        });
                    }
                }
                asked |= event == Event::RenewalAsked;
                shared.events.tell(&ServerEvent::Session(*id, event));
            }
            if engine.core.driver.endpoint().is_finished() {
                // Before the mailbox closes: who then learns that it is gone finds the figures.
                let _ = about.last.set(Figures::of(&engine.core));
                drop(running.take().map(Engine::dismantle));
                shared.forget(*id);
                return Poll::Ready(());
            }
            if asked && renewing.is_none() {
                continue;
            }
            if engine.poll_rest(cx, turn).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// Bits of a `u64` that do not fit the wire.
const VARINT_SPARE: u32 = 2;
/// One part in so many of the memory is for sessions there are; of the last part in so many, some have to go.
const SOFT: u64 = 10;
const HARD: u64 = 20;
/// How long the addresses of the machine are taken to be what they were.
const OWN_FRESH: Duration = Duration::from_secs(10);
/// For how long the last words to the clients are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

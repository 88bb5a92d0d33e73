//! The dialling half: keeps a session on its links, whatever happens to them.
//!
//! [`Client`] joins three machines: the [`Session`], its links, and the
//! [`Dialer`], which decides when to dial where. It is an [`Endpoint`]: the driver, or
//! any loop that does what the driver does, moves its bytes and datagrams.
//!
//! A client dials by itself for as long as it lives, and a session that is lost is followed by another:
//! its flows live on, and [`Event::Lost`](crate::event::Event::Lost) says how many datagrams are in doubt.
//! It ends with [`Session::close`], at once, or [`Session::drain`], in peace; then nothing is due any more.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::time::Instant;
//!
//! use sudp_proto::{Credential, Seed};
//! use sudp_proto::access::Pool;
//! use sudp_proto::client::{Client, ClientSetup};
//! use sudp_proto::config::{Limits, client::{ClientConfig, Scheme, ServerConfig}};
//! use sudp_proto::driver::{Endpoint, Order};
//! use sudp_proto::wire::{Address, Code};
//!
//! let now = Instant::now();
//! let server = "192.0.2.1:80".parse::<std::net::SocketAddr>()?;
//! let servers = vec![ServerConfig::new(Scheme::Ws, Address::from(server))];
//! let config = ClientConfig { links: 2, ..ClientConfig::new(servers) };
//! let mut client = Client::new(now, ClientSetup {
//!     config,
//!     limits: Limits::default(),
//!     started: 1_700_000_000,
//!     headers: Vec::new(),
//!     credential: Some(Credential::bearer("abc")?),
//!     awaits_credential: false,
//!     proxies: BTreeMap::new(),
//!     tls: None,
//!     seal: None,
//!     pool: Pool::memory(64 << 20, 128 << 10),
//!     seed: Seed::from(1),
//! });
//!
//! // It wants a session first; the second link follows when there is one.
//! let Some(Order::Dial { key, to }) = client.poll_order(now) else { panic!("a new client dials") };
//! assert_eq!(to, server);
//! client.handle_connected(now, key);
//! assert!(client.output(now, key).starts_with(b"GET /sudp HTTP/1.1\r\n"));
//!
//! client.session_mut().close(now, Code::Done);
//! while let Some(order) = client.poll_order(now) {
//!     assert_eq!(order, Order::Close(key));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod dial;
pub mod servers;

mod answer;
mod attempt;
mod failure;
mod setup;
mod showing;
mod upkeep;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::carrier::{Carrier, Said};
use crate::config::client::ClientConfig;
use crate::credential::Credential;
use crate::driver::{Driver, Endpoint, Key, Order, sealed};
use crate::event::LinkLoss;
use crate::link::{ClientSeal, ClientTls, LinkLimits, Proxy};
use crate::rng::Rng;
use crate::session::{Deadline, Earliest, Gone, Identity, Role, Session, Setup, Tunnel, TunnelError};
use crate::wire::{Address, Code, Frame, Ordinal, Ticket, TunnelId, next_frame};

pub use failure::{DialError, DialFailure};
pub use setup::{ClientSetup, SetupError};

use attempt::Attempt;
use dial::{Action, DialId, DialPolicy, Dialer, Lost, Outcome, Want};
use failure::Failures;
use upkeep::Upkeep;

/// A client: one session, its links, and the dials for more of them.
#[derive(Debug)]
pub struct Client {
    carrier: Carrier,
    dialer: Dialer,
    config: ClientConfig,
    headers: Vec<(String, String)>,
    credential: Option<Credential>,
    /// How often the credential has changed.
    changes: u64,
    /// There is to be one before anybody is dialled.
    awaits_credential: bool,
    /// What servers have given in place of it, by the index of the server.
    tickets: BTreeMap<usize, Ticket>,
    proxies: BTreeMap<usize, (Address, Proxy)>,
    tls: Option<ClientTls>,
    seal: Option<ClientSeal>,
    link_limits: LinkLimits,
    rng: Rng,
    attempts: BTreeMap<DialId, Attempt>,
    /// Streams that may still bring a session which is not wanted any more, and how long they may take.
    declined: BTreeMap<Key, Instant>,
    /// The links that dials became.
    links: BTreeMap<Ordinal, Attached>,
    /// The server that owns the session, as an index of the configuration.
    server: Option<usize>,
    /// What the owner wants to see repeated.
    owner: Bytes,
    upkeep: Upkeep,
    failures: Failures,
}

/// A link, and the dial it was.
#[derive(Clone, Copy, Debug)]
struct Attached {
    dial: DialId,
    since: Instant,
}

impl Client {
    /// A client that dials as soon as it is driven.
    pub fn new(now: Instant, setup: ClientSetup) -> Self {
        let ClientSetup {
            config,
            mut limits,
            started,
            headers,
            credential,
            awaits_credential,
            proxies,
            tls,
            seal,
            pool,
            seed,
        } = setup;
        let mut rng = Rng::new(&seed);
        limits.links = config.links;
        let link_limits = LinkLimits::from(&limits);
        let identity = Identity { client: config.name.clone(), incarnation: (started, 0) };
        let session = Setup { limits, identity, access: None, pool, seed: rng.fork() };
        let dialer = Dialer::new(config.servers.clone(), DialPolicy::default(), &rng.fork());
        let upkeep = Upkeep::new(now, config.links, config.max_link_age);
        Self {
            carrier: Carrier::new(Session::new(now, Role::Client, session)),
            dialer,
            config,
            headers,
            credential,
            changes: 0,
            awaits_credential,
            tickets: BTreeMap::new(),
            proxies,
            tls,
            seal,
            link_limits,
            rng,
            attempts: BTreeMap::new(),
            declined: BTreeMap::new(),
            links: BTreeMap::new(),
            server: None,
            owner: Bytes::new(),
            upkeep,
            failures: Failures::default(),
        }
    }

    /// Adds a tunnel; the session need not stand for it.
    pub fn add_tunnel(&mut self, id: TunnelId, tunnel: Tunnel) -> Result<(), TunnelError> {
        self.carrier.session.add_tunnel(id, tunnel)
    }

    /// The session, to send and to ask.
    pub fn session(&self) -> &Session {
        &self.carrier.session
    }

    /// The session, to change it.
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.carrier.session
    }

    /// Whether nothing is left to be done: the session was closed, and every stream is.
    pub fn is_finished(&self) -> bool {
        self.carrier.session.is_closed()
            && self.carrier.is_empty()
            && self.attempts.is_empty()
            && self.declined.is_empty()
    }

    /// The server that owns the session, as an index of the configuration.
    pub fn server(&self) -> Option<usize> {
        self.server
    }

    /// Whether all of its links are sealed.
    pub fn is_sealed(&self) -> bool {
        self.seal.is_some()
    }

    /// Why a dial came to nothing, the oldest first. Of those that are not asked for, the newest 64 are kept.
    ///
    /// A link that was attached and has ended is no dial any more: [`Event::LinkEnded`] tells of it.
    ///
    /// [`Event::LinkEnded`]: crate::event::Event::LinkEnded
    pub fn poll_failure(&mut self) -> Option<DialFailure> {
        self.failures.pop()
    }

    /// The network changed, or the process slept: what waited for a better time is tried now.
    pub fn handle_wake(&mut self, now: Instant) {
        self.carrier.session.handle_pause(now);
        self.pause(now);
        self.settle(now);
    }

    /// Replaces every link, and dials at once if there is none. An old link goes when a new one has taken its
    /// place, so that nothing is lost by it, nor late; where nothing can be reached, the old ones stay.
    pub fn reconnect(&mut self, now: Instant) {
        self.dialer.handle_wake(now);
        self.upkeep.renew(now);
        self.settle(now);
    }

    fn pause(&mut self, now: Instant) {
        self.dialer.handle_wake(now);
        self.upkeep.handle_pause(now);
    }

    /// Does whatever follows from what has just happened.
    fn settle(&mut self, now: Instant) {
        self.collect_lost(now);
        self.collect_gone(now);
        self.collect_ticket();
        self.tend(now);
        self.dialer.want(now, self.want());
        if !self.dialer.is_content() {
            self.dial(now);
        }
        for key in self.carrier.sweep() {
            self.forget_stream(key);
        }
    }

    /// Does what dialling asks for.
    fn dial(&mut self, now: Instant) {
        while let Some(action) = self.dialer.poll(now) {
            match action {
                Action::GiveUp(dial) => self.give_up(now, dial),
                Action::Late(dial) => self.late(now, dial),
                Action::Lose(lost) => self.lose(now, lost),
                Action::Start(start) => self.start(now, start),
            }
            self.dialer.want(now, self.want());
        }
    }

    fn want(&self) -> Want {
        let session = &self.carrier.session;
        if session.is_closed() || self.awaits_credential {
            return Want::None;
        }
        match (session.id(), self.server) {
            (Some(_), Some(server)) => match self.upkeep.lacking(session) {
                0 => Want::None,
                links => Want::Join { server, links },
            },
            (None, _) | (_, None) => Want::NewSession,
        }
    }

    /// The session ended links on its own: their dials are told.
    fn collect_gone(&mut self, now: Instant) {
        self.carrier.part(now);
        while let Some(gone) = self.carrier.poll_gone() {
            match self.links.remove(&gone.ordinal) {
                Some(link) => self.link_ended(now, link, &gone),
                // The server fenced a dial that is still under way: another ordinal will do.
                None => self.fenced(now, gone.ordinal),
            }
        }
    }

    fn link_ended(&mut self, now: Instant, link: Attached, gone: &Gone) {
        let lived = now.saturating_duration_since(link.since);
        let outcome = match gone.why {
            LinkLoss::Replaced => Outcome::Abandoned,
            LinkLoss::Ended
            | LinkLoss::Fenced
            | LinkLoss::GivenUp
            | LinkLoss::Silent
            | LinkLoss::Suspect
            | LinkLoss::Violation(_) => Outcome::LinkEnded { lived, acknowledged: gone.proven },
        };
        self.dialer.handle_outcome(now, link.dial, outcome);
    }

    /// Replaces links before they end by themselves, and ends what is too much.
    fn tend(&mut self, now: Instant) {
        while let Some(ordinal) = self.upkeep.poll_retire(now, &self.carrier.session) {
            self.carrier.session.detach(now, ordinal, LinkLoss::Replaced);
            self.collect_gone(now);
        }
    }

    /// The server ended the session, or broke it: what was dialled for it is of no use, and what the
    /// server said decides when and where the next one is asked for.
    fn collect_lost(&mut self, now: Instant) {
        let Some((code, away)) = self.carrier.session.take_lost() else { return };
        self.carrier.part(now);
        // Ordinals begin anew with the next session.
        while self.carrier.poll_gone().is_some() {}
        let server = self.server.take();
        self.owner = Bytes::new();
        for (_, link) in std::mem::take(&mut self.links) {
            let lived = now.saturating_duration_since(link.since);
            let outcome = match code {
                Code::Evicted | Code::Stale => Outcome::Evicted,
                Code::Done | Code::GoingAway | Code::UnknownSession | Code::Silent => Outcome::Abandoned,
                // The next one is founded with what the client has to show by now; a server that ends it
                // again as soon as it stands has spoken.
                Code::Expired => Outcome::LinkEnded { lived, acknowledged: lived >= TERM },
                Code::BadProof
                | Code::Count
                | Code::Denied
                | Code::Full
                | Code::Idle
                | Code::Limit
                | Code::Malformed
                | Code::OrdinalBurnt
                | Code::Other(_)
                | Code::Poison
                | Code::Sealing
                | Code::Unknown
                | Code::Unreachable
                | Code::Unsealed
                | Code::Version => Outcome::LinkEnded { lived, acknowledged: false },
            };
            self.dialer.handle_outcome(now, link.dial, outcome);
        }
        if let (Code::GoingAway, Some(server)) = (code, server) {
            self.dialer.handle_go_away(now, server, Some(away).filter(|away| !away.is_zero()), None);
        }
        let dials: Vec<DialId> = self.attempts.keys().copied().collect();
        for dial in dials {
            self.end_attempt(now, dial, Outcome::Abandoned);
        }
    }

    fn lose(&mut self, now: Instant, lost: Lost) {
        let code = match lost {
            Lost::Evicted => Code::Evicted,
            Lost::OwnerGone | Lost::UnknownSession => Code::UnknownSession,
        };
        if self.carrier.session.id().is_some() {
            self.carrier.session.lose(now, code);
        }
        self.collect_lost(now);
    }

    fn handle_said(&mut self, now: Instant, key: Key, said: Said) {
        match said {
            Said::Ended(end) => self.upgrade_ended(now, key, &end),
            Said::Finished(ordinal) => {
                if let Some(link) = self.links.get(&ordinal) {
                    self.upkeep.handle_ended_there(now, now.saturating_duration_since(link.since));
                }
            }
            Said::Message(mut message) if self.declined.remove(&key).is_some() => {
                // Only who has opened the welcome can say anything to its server.
                if let Ok(Some(Frame::Welcome(raw))) = next_frame(&mut message) {
                    let _ = self.carrier.open_welcome(key, &raw);
                }
                self.carrier.dismiss(now, key, Code::Done);
            }
            Said::Message(message) => self.first_message(now, key, message),
            // The welcome follows by itself, and nothing may be said before it.
            Said::Open => {}
        }
    }
}

impl Driver<Client> {
    /// [`Client::poll_failure`], asked for after every turn until there is none.
    pub fn poll_failure(&mut self) -> Option<DialFailure> {
        self.endpoint.poll_failure()
    }
}

impl sealed::Sealed for Client {}

impl Endpoint for Client {
    fn session(&mut self) -> Option<&mut Session> {
        Some(&mut self.carrier.session)
    }

    fn poll_order(&mut self, now: Instant) -> Option<Order> {
        self.settle(now);
        self.carrier.poll_order()
    }

    fn handle_resolved(&mut self, now: Instant, key: Key, answers: &[SocketAddr]) {
        self.resolved(now, key, answers);
        self.settle(now);
    }

    fn handle_connected(&mut self, now: Instant, key: Key) {
        self.connected(now, key);
        self.settle(now);
    }

    fn handle_failed(&mut self, now: Instant, key: Key, why: io::ErrorKind) {
        if !self.carrier.holds(key) {
            self.dial_failed(now, key, why);
        } else if self.carrier.handle_broken(now, key).is_some() {
            self.upgrade_broken(now, key, why);
        }
        self.settle(now);
    }

    fn handle_input(&mut self, now: Instant, key: Key, input: &mut BytesMut) {
        loop {
            let before = input.len();
            self.carrier.handle_input(now, key, input);
            while let Some(said) = self.carrier.poll_said(now, key) {
                self.handle_said(now, key, said);
            }
            if input.is_empty() || input.len() == before {
                break;
            }
        }
        self.collect_lost(now);
        self.collect_gone(now);
    }

    fn handle_end(&mut self, now: Instant, key: Key) {
        self.carrier.handle_end(now, key);
        while let Some(said) = self.carrier.poll_said(now, key) {
            self.handle_said(now, key, said);
        }
        self.settle(now);
    }

    fn output(&mut self, now: Instant, key: Key) -> &[u8] {
        self.carrier.output(now, key)
    }

    fn advance(&mut self, key: Key, written: usize) {
        self.carrier.advance(key, written);
    }

    fn wants_finish(&self, key: Key) -> bool {
        self.carrier.wants_finish(key)
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let mut first = Earliest::from(self.carrier.poll_timeout());
        for attempt in self.attempts.values() {
            first.offer(attempt.poll_timeout(), "dial the next address");
        }
        for at in self.declined.values() {
            first.offer(Some(*at), "hang up on a welcome that does not come");
        }
        if !self.dialer.is_content() {
            first.offer(self.dialer.poll_timeout(), self.dialer.cause());
        }
        first.offer(self.upkeep.poll_timeout(&self.carrier.session), "replace a link");
        first.get()
    }

    fn handle_timeout(&mut self, now: Instant) {
        // What is this late says that the process was paused.
        if self.poll_timeout().is_some_and(|due| due.at + PAUSE < now) {
            self.pause(now);
        }
        self.carrier.handle_timeout(now);
        let mut last = None;
        while let Some(key) = self.carrier.key_after(last) {
            last = Some(key);
            while let Some(said) = self.carrier.poll_said(now, key) {
                self.handle_said(now, key, said);
            }
        }
        let dials: Vec<DialId> = self.attempts.keys().copied().collect();
        for dial in dials {
            self.race(now, dial);
        }
        let late: Vec<Key> = self.declined.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect();
        for key in late {
            self.declined.remove(&key);
            self.carrier.abort(key);
        }
        self.settle(now);
    }
}

/// A grant that lasted this long was worth having.
const TERM: Duration = Duration::from_secs(10);
/// A timer this much late says that this process was paused.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

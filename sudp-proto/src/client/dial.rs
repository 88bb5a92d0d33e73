//! What to dial next: which server, when, and when to give a dial up.
//!
//! For one wanted link up to three dials race: while none has connected within 1 s another begins. When
//! three are under way the eldest is kept, for a path that is merely slow, and a younger one makes room.
//! In an outage all wanted links of a server together are one race, paced by its [`Backoff`].

mod due;
mod outcome;
mod owner;
mod race;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::servers::Servers;
use crate::backoff::{self, Backoff};
use crate::config::client::ServerConfig;
use crate::rng::{Rng, Seed};
use owner::Owner;

pub use outcome::{Action, DialId, Lost, Outcome, PathFailure, Purpose, Refusal, RefusalKind, Start, Want};
pub use race::{Race, State};

/// Times of the dialling.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DialPolicy {
    /// After how long a dial that has not connected is raced by another (1 s).
    pub unconnected: Duration,
    /// After how long a dial that connected but was not answered is raced by another (5 s).
    pub unanswered: Duration,
    /// How long a dial may take to connect (10 s).
    pub connect_within: Duration,
    /// How long it may then take until its welcome (20 s).
    pub attach_within: Duration,
    /// How long a session looks for its owner while others answer, or its resume window if that is
    /// shorter (10 s).
    pub owner_within: Duration,
}

impl Default for DialPolicy {
    fn default() -> Self {
        Self {
            unconnected: Duration::from_secs(1),
            unanswered: Duration::from_secs(5),
            connect_within: Duration::from_secs(10),
            attach_within: Duration::from_secs(20),
            owner_within: Duration::from_secs(10),
        }
    }
}

/// Decides what to dial. After every call its actions are drained with [`poll`](Self::poll).
#[derive(Debug)]
pub struct Dialer {
    servers: Servers,
    policy: DialPolicy,
    rng: Rng,
    want: Want,
    open: BTreeMap<DialId, Dial>,
    /// The servers of attached links, until they end.
    links: BTreeMap<DialId, usize>,
    next: u64,
    actions: VecDeque<Action>,
    /// What holds for all servers alike: an eviction.
    all: Backoff,
    /// Paces new sessions over servers whose paths all fail, so that many servers are not many attempts.
    paced_until: Option<Instant>,
    /// Where a redirect or a GOAWAY points.
    hint: Option<usize>,
    owner: Owner,
    /// When anything was last said, so that what is due at once has a time.
    seen: Option<Instant>,
    woken: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Dial {
    server: usize,
    purpose: Purpose,
    connected: Option<Instant>,
    /// Before this nothing races it, whatever comes of it.
    overtaken: Instant,
    /// When it no longer keeps another from being started.
    late: Instant,
    /// When it is given up.
    deadline: Instant,
}

impl Dialer {
    /// A dialler of these servers.
    pub fn new(servers: Vec<ServerConfig>, policy: DialPolicy, seed: &Seed) -> Self {
        let mut rng = Rng::new(seed);
        let servers = Servers::new(servers, &mut rng);
        Self {
            servers,
            policy,
            rng,
            want: Want::None,
            open: BTreeMap::new(),
            links: BTreeMap::new(),
            next: 0,
            actions: VecDeque::new(),
            all: Backoff::default(),
            paced_until: None,
            hint: None,
            owner: Owner::default(),
            seen: None,
            woken: None,
        }
    }

    /// Says what is lacking; saying it again changes nothing.
    ///
    /// [`Outcome::Attached`] takes what it brings from the want by itself, and [`Action::Lose`] clears it:
    /// after that nothing may be said here that was meant for the session that is lost.
    pub fn want(&mut self, now: Instant, want: Want) {
        if want == self.want {
            return;
        }
        self.seen = Some(now);
        self.want = want;
        self.trim();
    }

    /// Whether nothing is wanted and nothing is under way: then there is nothing to poll for, whatever the
    /// time, until something else is wanted.
    pub fn is_content(&self) -> bool {
        matches!(self.want, Want::None | Want::Join { links: 0, .. }) && self.open.is_empty() && self.actions.is_empty()
    }

    /// What to do next. Drained until it has nothing more to say.
    pub fn poll(&mut self, now: Instant) -> Option<Action> {
        self.expire(now);
        if self.actions.is_empty() {
            self.start(now);
        }
        if self.actions.is_empty() {
            self.start_probe(now);
        }
        self.actions.pop_front()
    }

    /// Takes note of what came of a dial, or of the link it became; a dial that is over is ignored.
    pub fn handle_outcome(&mut self, now: Instant, dial: DialId, outcome: Outcome) {
        self.seen = Some(now);
        match outcome {
            Outcome::Connected => return self.on_connected(now, dial),
            Outcome::Attached { id, resume } => return self.on_attached(now, dial, id, resume),
            Outcome::Abandoned
            | Outcome::Burnt
            | Outcome::Evicted
            | Outcome::LinkEnded { .. }
            | Outcome::PathFailed(_)
            | Outcome::Refused(_)
            | Outcome::UnknownSession { .. } => {}
        }
        let opened = self.open.remove(&dial);
        let Some(server) = opened.map(|dial| dial.server).or_else(|| self.links.remove(&dial)) else { return };
        if opened.is_some_and(|dial| dial.purpose == Purpose::Probe) {
            self.owner.handle_probe_failed();
        }
        self.on_ended(now, server, outcome);
    }

    /// Takes note that a server announced that it goes away: it is left alone for `after`, or for up to
    /// 5 s if it did not say. `instead` is the configured server it points to, if any.
    pub fn handle_go_away(&mut self, now: Instant, server: usize, after: Option<Duration>, instead: Option<usize>) {
        self.seen = Some(now);
        self.servers.backoff_mut(server).handle_planned_close(now, &mut self.rng, after);
        self.hint = instead.filter(|instead| *instead != server);
    }

    /// Takes note that the network changed, or that we were suspended: what is wanted is dialled at once.
    ///
    /// Heard at most once a second, so that an interface that comes and goes makes no storm.
    pub fn handle_wake(&mut self, now: Instant) {
        if self.woken.is_some_and(|woken| now < woken + WAKES_APART) {
            return;
        }
        self.woken = Some(now);
        self.seen = Some(now);
        self.servers.handle_wake(now);
        self.paced_until = None;
        // Dials begun on the network that is gone must not make the next one wait.
        for dial in self.open.values_mut().filter(|dial| dial.connected.is_none()) {
            (dial.late, dial.overtaken) = (now, now);
        }
    }

    /// Takes note that servers will be shown something else than what they refused.
    pub fn handle_amends(&mut self, now: Instant) {
        self.seen = Some(now);
        self.servers.handle_amends();
    }

    /// When [`poll`](Self::poll) will have something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline().map(|(at, _)| at)
    }

    /// What [`poll_timeout`](Self::poll_timeout) waits for.
    pub fn cause(&self) -> &'static str {
        self.next_deadline().map_or("nothing", |(_, cause)| cause)
    }

    /// The configured servers.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    fn on_connected(&mut self, now: Instant, id: DialId) {
        let Some(dial) = self.open.get_mut(&id) else { return };
        match dial.purpose {
            Purpose::Join => self.owner.handle_reached(),
            Purpose::NewSession => {}
            Purpose::Probe => {
                self.owner.handle_probe_connected(now);
                return self.give_up(id);
            }
        }
        dial.connected = Some(now);
        dial.late = now + self.policy.unanswered;
        dial.deadline = now + self.policy.attach_within;
    }

    fn on_attached(&mut self, now: Instant, id: DialId, server_id: u64, resume: Duration) {
        let Some(dial) = self.open.remove(&id) else { return };
        self.links.insert(id, dial.server);
        self.servers.backoff_mut(dial.server).handle_attached(now, &mut self.rng);
        self.owner = Owner::new(server_id, resume);
        self.hint = None;
        self.want = match self.want {
            Want::None | Want::NewSession => Want::None,
            Want::Join { links, .. } => Want::Join { server: dial.server, links: links.saturating_sub(1) },
        };
        self.trim();
    }

    fn on_ended(&mut self, now: Instant, server: usize, outcome: Outcome) {
        let (backoff, rng) = (self.servers.backoff_mut(server), &mut self.rng);
        match outcome {
            Outcome::Abandoned | Outcome::Attached { .. } | Outcome::Connected => {}
            Outcome::Burnt | Outcome::PathFailed(_) => backoff.handle_path_failed(now, rng),
            Outcome::Evicted => {
                self.all.handle_banned(now, rng, None);
                self.lose(Lost::Evicted);
            }
            Outcome::LinkEnded { lived, acknowledged } => {
                backoff.handle_link_ended(now, rng, lived, acknowledged);
                if backoff::is_proof(lived, acknowledged) {
                    self.all = Backoff::default();
                }
            }
            Outcome::Refused(Refusal { kind, retry_after }) => match kind {
                RefusalKind::Permanent | RefusalKind::Redirect(None) => backoff.handle_banned(now, rng, retry_after),
                RefusalKind::Redirect(Some(to)) => {
                    backoff.handle_refused(now, rng, retry_after);
                    self.hint = Some(to).filter(|to| *to != server);
                }
                RefusalKind::Transient => backoff.handle_refused(now, rng, retry_after),
            },
            // The owner is there, and so is its place in the order: nothing to wait for.
            Outcome::UnknownSession { by } if self.owner.is(by) => {
                backoff.handle_heard();
                self.lose(Lost::UnknownSession);
            }
            Outcome::UnknownSession { .. } => {
                // The next answer may be the owner's: no reason to wait longer each time.
                backoff.handle_path_failed(now, rng);
                if !self.is_linked(server) {
                    self.owner.handle_stranger(now);
                }
            }
        }
    }

    /// Whether any link to this server is attached.
    fn is_linked(&self, server: usize) -> bool {
        self.links.values().any(|linked| *linked == server)
    }

    /// Ends what belongs to the session; its links are the machine's to close.
    fn lose(&mut self, why: Lost) {
        self.want = Want::None;
        self.owner = Owner::default();
        self.links.clear();
        self.trim();
        self.actions.push_back(Action::Lose(why));
    }

    /// Gives up the dials that no longer serve what is wanted, the youngest first.
    fn trim(&mut self) {
        let useful = match self.want {
            Want::None | Want::Join { links: 0, .. } => None,
            Want::NewSession => Some((Purpose::NewSession, 1 + EXTRA)),
            Want::Join { links, .. } => Some((Purpose::Join, links + EXTRA)),
        };
        let searches = matches!(self.want, Want::Join { server, links: 1.. } if !self.is_linked(server));
        let mut room = useful.map_or(0, |(_, most)| most);
        let surplus = self.open.iter().filter(|(_, dial)| {
            let fits = useful.is_some_and(|(purpose, _)| purpose == dial.purpose);
            let probes = dial.purpose == Purpose::Probe && searches;
            let keep = probes || (fits && room > 0);
            room -= usize::from(keep && !probes);
            !keep
        });
        let surplus: Vec<DialId> = surplus.map(|(id, _)| *id).collect();
        surplus.into_iter().for_each(|id| self.give_up(id));
    }

    fn give_up(&mut self, id: DialId) {
        if self.open.remove(&id).is_some() {
            self.actions.push_back(Action::GiveUp(id));
        }
    }

    /// Gives up a dial because nothing came of it, which is a failure of its path.
    fn time_out(&mut self, now: Instant, id: DialId) {
        let Some(dial) = self.open.get(&id).copied() else { return };
        self.servers.backoff_mut(dial.server).handle_path_failed(now, &mut self.rng);
        if dial.purpose == Purpose::Probe {
            self.owner.handle_probe_failed();
        }
        if self.open.remove(&id).is_some() {
            self.actions.push_back(Action::Late(id));
        }
    }
}

/// How many dials may race for the last wanted link, besides the first.
const EXTRA: usize = 2;
const WAKES_APART: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

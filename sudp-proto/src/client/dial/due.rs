//! When the next dial is due, and which server it goes to.

use std::time::{Duration, Instant};

use super::{Action, Dial, DialId, Dialer, EXTRA, Lost, Purpose, Start, Want};
use crate::backoff::{self, Cause};

impl Dialer {
    /// Gives up what took too long.
    pub(super) fn expire(&mut self, now: Instant) {
        let overdue: Vec<DialId> =
            self.open.iter().filter(|(_, dial)| dial.deadline <= now).map(|(id, _)| *id).collect();
        overdue.into_iter().for_each(|id| self.time_out(now, id));
        if self.owner_deadline().is_some_and(|at| at <= now) {
            self.lose(Lost::OwnerGone);
        }
    }

    /// Begins the next dial, if one is due.
    pub(super) fn start(&mut self, now: Instant) {
        let Some((purpose, links)) = self.lacking() else { return };
        let ready: Vec<usize> = self.candidates().filter(|server| self.due_at(*server) <= Some(now)).collect();
        if ready.is_empty() || self.race_at(links).is_none_or(|at| at > Some(now)) {
            return;
        }
        let dialled = |server| self.racing().any(|(_, dial)| dial.server == server);
        let hint = self.hint.filter(|hint| ready.contains(hint));
        let Some(server) = hint.or_else(|| self.servers.best(now, &ready, dialled)) else { return };
        if hint.is_some() {
            self.hint = None;
        }
        if self.racing().count() >= links + EXTRA
            && let Some(id) = self.rotated()
        {
            self.time_out(now, id);
        }
        self.pace(now, server);
        self.begin(now, server, purpose, self.policy.connect_within);
    }

    /// Looks whether another server can be reached, if the owner has been away for a while.
    pub(super) fn start_probe(&mut self, now: Instant) {
        if self.next_probe().is_none_or(|at| at > now) {
            return;
        }
        let others: Vec<usize> = self.others().filter(|server| self.due_at(*server) <= Some(now)).collect();
        let Some(server) = self.servers.best(now, &others, |_| false) else { return };
        self.owner.handle_probe(now);
        self.begin(now, server, Purpose::Probe, PROBE_WITHIN);
    }

    /// The next time for [`poll`](Self::poll), and its cause.
    pub(super) fn next_deadline(&self) -> Option<(Instant, &'static str)> {
        if !self.actions.is_empty() {
            return self.seen.map(|at| (at, "action"));
        }
        let deadline = self.open.values().map(|dial| dial.deadline).min().map(|at| (at, "dial deadline"));
        let owner = self.owner_deadline().map(|at| (at, "owner search"));
        [self.next_start(), self.next_probe().map(|at| (at, "probe")), deadline, owner].into_iter().flatten().min()
    }

    fn next_start(&self) -> Option<(Instant, &'static str)> {
        let (_, links) = self.lacking()?;
        let race = self.race_at(links)?;
        let (due, server) = self.candidates().map(|server| (self.due_at(server), server)).min()?;
        let seen = self.seen?;
        if race > due {
            return Some((race?.max(seen), "race"));
        }
        let cause = match self.servers.backoff(server).cause(seen) {
            Some(Cause::Path) => "path backoff",
            Some(Cause::Server) => "server backoff",
            None => "dial",
        };
        Some((due.map_or(seen, |at| at.max(seen)), cause))
    }

    /// When to look for another server, if there is reason to.
    fn next_probe(&self) -> Option<Instant> {
        let Want::Join { server, links: 1.. } = self.want else { return None };
        if self.is_linked(server) || self.open.values().any(|dial| dial.purpose == Purpose::Probe) {
            return None;
        }
        let away = self.servers.backoff(server).outage()?;
        let due = self.others().map(|other| self.due_at(other)).min()?;
        due.max(Some(self.owner.next_probe(away)))
    }

    fn owner_deadline(&self) -> Option<Instant> {
        match self.want {
            Want::Join { links: 1.., .. } => self.owner.deadline(self.policy.owner_within),
            Want::None | Want::NewSession | Want::Join { links: 0, .. } => None,
        }
    }

    /// What is wanted, and how many dials may be under way without being late.
    fn lacking(&self) -> Option<(Purpose, usize)> {
        match self.want {
            Want::None | Want::Join { links: 0, .. } => None,
            Want::NewSession => Some((Purpose::NewSession, 1)),
            Want::Join { server, links } => {
                let alone = self.servers.backoff(server).outage().is_some();
                Some((Purpose::Join, if alone { 1 } else { links }))
            }
        }
    }

    fn candidates(&self) -> impl Iterator<Item = usize> {
        let own = match self.want {
            Want::None | Want::NewSession => None,
            Want::Join { server, .. } => Some(server),
        };
        let hint = self.hint;
        (0..self.servers.len()).filter(move |server| own.is_none_or(|own| own == *server) || hint == Some(*server))
    }

    fn others(&self) -> impl Iterator<Item = usize> {
        let own = match self.want {
            Want::None | Want::NewSession => None,
            Want::Join { server, .. } => Some(server),
        };
        (0..self.servers.len()).filter(move |server| own.is_some_and(|own| own != *server))
    }

    /// When this server may be dialled; none means at once.
    fn due_at(&self, server: usize) -> Option<Instant> {
        let backoff = self.servers.backoff(server);
        let paced = match self.want {
            Want::NewSession => self.paced_until.filter(|_| backoff.outage().is_some()),
            Want::None | Want::Join { .. } => None,
        };
        backoff.not_before().max(self.all.not_before()).max(paced)
    }

    /// When those under way no longer keep another from starting: none within is at once, none at all
    /// is not before one of them has ended.
    fn race_at(&self, links: usize) -> Option<Option<Instant>> {
        let mut late: Vec<Instant> = self.racing().map(|(_, dial)| dial.late).collect();
        if late.len() >= links + EXTRA && self.rotated().is_none() {
            return None;
        }
        if late.len() < links {
            return Some(None);
        }
        late.sort_unstable();
        let enough = late[late.len() - links];
        // However many are late together, others follow one at a time.
        let newest = self.racing().map(|(_, dial)| dial.overtaken).max();
        Some(newest.max(Some(enough)))
    }

    fn racing(&self) -> impl Iterator<Item = (DialId, &Dial)> {
        self.open.iter().filter(|(_, dial)| dial.purpose != Purpose::Probe).map(|(id, dial)| (*id, dial))
    }

    /// The dial that makes room for another: not the eldest, which is kept for a path that is slow.
    fn rotated(&self) -> Option<DialId> {
        self.racing().filter(|(_, dial)| dial.connected.is_none()).nth(1).map(|(id, _)| id)
    }

    /// Spaces out dials over servers that are all away.
    fn pace(&mut self, now: Instant, server: usize) {
        if self.want != Want::NewSession || self.servers.backoff(server).outage().is_none() {
            return;
        }
        let outages = (0..self.servers.len()).filter_map(|server| self.servers.backoff(server).outage());
        let age = outages.max().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.paced_until = Some(now + backoff::slot(&mut self.rng, age));
    }

    fn begin(&mut self, now: Instant, server: usize, purpose: Purpose, within: Duration) {
        self.next += 1;
        let id = DialId(self.next);
        let late = now + self.policy.unconnected;
        let dial = Dial { server, purpose, connected: None, overtaken: late, late, deadline: now + within };
        self.open.insert(id, dial);
        self.servers.handle_start(now, server, &mut self.rng);
        self.actions.push_back(Action::Start(Start { dial: id, server, purpose }));
    }
}

const PROBE_WITHIN: Duration = Duration::from_secs(2);

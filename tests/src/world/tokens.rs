//! Credentials that end: clients get new ones while their sessions go on, and servers judge them.
//!
//! A token says of itself until when it is good, and whether it is: no server has to know it. What is right is kept
//! beside the sessions: what each was last granted, whatever becomes of its links, and what clients were told.

use std::collections::BTreeMap;
use std::time::Duration;

use sudp_proto::access::Grant;
use sudp_proto::event::Event;
use sudp_proto::session::Access;
use sudp_proto::wire::{Code, SessionId, Ticket};
use sudp_proto::{Credential, Rng, Seed};

use super::server::grant;
use super::{Chore, Role, Said, World};
use crate::clock::{NEVER, Nanos, instant, span};
use crate::io::Machine;

/// What clients show at the moment, and what servers have made of it.
#[derive(Debug)]
pub(super) struct Tokens {
    /// A source of its own, so that a world without tokens is what it was.
    rng: Rng,
    /// What is shown: until when it is good, if it is at all.
    shown: Option<Nanos>,
    /// Until when sessions may be there, by what they were last granted.
    granted: BTreeMap<SessionId, Nanos>,
    /// Renewals that servers took and refused, and those of which clients were told.
    answered: [u64; 2],
    told: [u64; 2],
    /// Some server has ended grants by itself.
    pub(super) ended: bool,
}

impl Tokens {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(&Seed::from(seed ^ 0x746f_6b65_6e73));
        let shown = Some(lifetime(&mut rng));
        Self { rng, shown, granted: BTreeMap::new(), answered: [0; 2], told: [0; 2], ended: false }
    }

    /// What a client shows that starts now.
    pub(super) fn credential(&self) -> Credential {
        let token = self.shown.map_or_else(|| "bad".to_owned(), |until| format!("good-{until}"));
        Credential::bearer(&token).expect("it can be shown")
    }

    /// Until when a session has what it has.
    pub(super) fn expiry(&self, session: SessionId) -> Option<Nanos> {
        self.granted.get(&session).copied()
    }

    /// A session has begun.
    pub(super) fn found(&mut self, session: SessionId, until: Nanos) {
        self.granted.insert(session, until);
    }
}

/// Until when what is shown is good, if it is.
pub(super) fn judge(shown: Option<&str>, now: Nanos) -> Option<Nanos> {
    let until = shown?.strip_prefix("Bearer good-")?.parse().ok()?;
    (until > now).then_some(until)
}

/// What a session may do that is granted it until then.
pub(super) fn until(grant: Grant, end: Option<Nanos>) -> Grant {
    Grant { expires: end.filter(|end| *end != NEVER).map(instant), ..grant }
}

impl World {
    /// Clients are given another token: most in time, some too late, and some that are no good.
    pub(super) fn next_token(&mut self) {
        let now = self.now;
        let Some(tokens) = &mut self.tokens else { return };
        let rng = &mut tokens.rng;
        let wait = if rng.chance(1, 5) {
            tokens.shown = None;
            Duration::from_millis(100 + rng.below(10_000))
        } else {
            let life = lifetime(rng);
            tokens.shown = Some(now + life);
            let share = if rng.chance(1, 6) { 100 + rng.below(20) } else { 30 + rng.below(60) };
            Duration::from_nanos(life / 100 * share)
        };
        self.later(wait, Chore::Token);
        self.show_token();
    }

    /// What is shown from now on is good for ever.
    pub(super) fn last_token(&mut self) {
        let Some(tokens) = &mut self.tokens else { return };
        tokens.shown = Some(NEVER);
        self.show_token();
    }

    /// Whoever runs shows what there is to show; whoever sleeps does so when it wakes up.
    pub(super) fn show_token(&mut self) {
        let now = instant(self.now);
        let Some(tokens) = &self.tokens else { return };
        let (credential, shown) = (tokens.credential(), tokens.shown);
        self.trace.note(now, Said::Token as u8, u64::from(shown.is_some()), shown.unwrap_or_default());
        for machine in self.clients.iter().filter_map(|client| client.machine).collect::<Vec<_>>() {
            if !self.runs(machine) {
                self.later(Duration::from_secs(1), Chore::ShowToken);
            } else if let Some(Role::Client { driver, .. }) =
                self.drivers.get_mut(&machine).map(|process| &mut process.role)
            {
                driver.endpoint_mut().set_credential(now, Some(credential.clone()));
                self.dirty.insert(machine);
            }
        }
    }

    /// A server hears of a new credential, and takes its time.
    pub(super) fn renewal_asked(&mut self, machine: Machine) {
        let Some(tokens) = &mut self.tokens else {
            return self.violate("a session is to be renewed that nothing was shown for".to_owned());
        };
        let wait = if tokens.rng.chance(1, 2) { 0 } else { tokens.rng.below(1_500) };
        self.later(Duration::from_millis(wait), Chore::Renew(machine));
    }

    /// A server judges what a session has shown last.
    pub(super) fn renew(&mut self, machine: Machine) {
        let now = self.now;
        if self.drivers.contains_key(&machine) && !self.runs(machine) {
            return self.later(Duration::from_secs(1), Chore::Renew(machine));
        }
        let Some(tokens) = &mut self.tokens else { return };
        // One that has ended, or was frozen, asks no more.
        let Some(Role::Session { driver, server, id }) =
            self.drivers.get_mut(&machine).map(|process| &mut process.role)
        else {
            return;
        };
        let endpoint = driver.endpoint_mut();
        let Some(shown) = endpoint.session_mut().take_renewal() else { return };
        if endpoint.session_mut().is_closed() {
            return;
        }
        let good = judge(Some(shown.expose()), now);
        tokens.answered[usize::from(good.is_none())] += 1;
        if let Some(end) = good {
            tokens.granted.insert(*id, end);
            let ends = self.servers[*server].ends_grants;
            let access = (!ends).then(|| Access::new(until(grant(&self.servers[*server]), Some(end))));
            endpoint.regrant(instant(now), access);
        }
        endpoint.answer_renewal(good.map(|_| Ticket::default()).ok_or(Code::Denied));
        self.coverage.sometimes(if good.is_some() { "renewed" } else { "renewal refused" });
        self.dirty.insert(machine);
    }

    /// What happens to sessions must fit what was granted to them.
    pub(super) fn judge_tokens(&mut self, machine: Machine, client: Option<usize>, event: &Event) {
        let now = self.now;
        let Some(tokens) = &mut self.tokens else { return };
        let id = match self.drivers.get(&machine).map(|process| &process.role) {
            Some(Role::Session { id, .. }) => Some(*id),
            Some(Role::Client { .. }) => client.and_then(|client| self.clients[client].session),
            Some(Role::Incoming { .. }) | None => None,
        };
        let wrong = match event {
            Event::Started { session } => {
                if let Some(client) = client {
                    self.clients[client].session = Some(*session);
                }
                None
            }
            Event::Renewed(outcome) => {
                let which = usize::from(outcome.is_err());
                tokens.told[which] += 1;
                (tokens.told[which] > tokens.answered[which]).then_some("a renewal is told of that nobody answered")
            }
            Event::Closed { code: Code::Expired, .. } | Event::Lost { code: Code::Expired, .. } => {
                self.coverage.sometimes("grant ended");
                let end = id.and_then(|id| tokens.expiry(id));
                end.is_none_or(|end| now < end).then_some("a session ends before its grant does")
            }
            Event::Closed { code: Code::Denied, .. } | Event::Lost { code: Code::Denied, .. } if !tokens.ended => {
                Some("a session ends though nothing was taken away: a refused renewal costs nothing")
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.violate(format!("machine {}: {event:?}: {wrong}", machine.0));
        }
    }

    /// No session is there for longer than what it was granted.
    pub(super) fn audit_tokens(&mut self) {
        let Some(tokens) = &self.tokens else { return };
        let grace = span(Duration::from_secs(1));
        let mut over = Vec::new();
        for (machine, process) in &self.drivers {
            let Role::Session { driver, id, .. } = &process.role else { continue };
            let end = tokens.expiry(*id).unwrap_or(NEVER);
            // One that has just woken up has not had its turn yet.
            let awake = self.runs(*machine) && !self.dirty.contains(machine);
            if end.saturating_add(grace) < self.now && awake && !driver.endpoint().session().is_closed() {
                over.push(format!("machine {}: its grant has ended, and its session has not", machine.0));
            }
        }
        self.violations.extend(over);
    }

    /// In the end the client's session has what it was shown last, whatever has become of its links.
    pub(super) fn check_tokens(&mut self) {
        let Some(tokens) = &self.tokens else { return };
        let Some(session) = self.client_session_id() else { return };
        let end = tokens.expiry(session);
        if end != Some(NEVER) {
            self.violate(format!("the client's last credential is good for ever, its session until {end:?}"));
        }
    }
}

/// How long a token is good.
fn lifetime(rng: &mut Rng) -> Nanos {
    span(Duration::from_secs(10 + rng.below(110)))
}

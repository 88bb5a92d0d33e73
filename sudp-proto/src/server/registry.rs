//! The table of a server's sessions: who may join which, who evicts whom, who has no room.
//!
//! Pure and synchronous; it is touched when a stream attaches and when a session begins, loses its
//! links or ends, never per datagram, so that one lock around it costs nothing.

use std::collections::{BTreeMap, VecDeque};

use crate::access::Allowance;
use crate::config::Limits;
use crate::event::Event;
use crate::link::Responder;
use crate::rng::{Rng, Seed};
use crate::session::{Identity, Phase};
use crate::wire::{Code, SessionId};

use super::Server;
use super::incoming::Claim;

/// Who a client is to this server, once someone has found out.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Identification {
    /// The principal: a user, a token, a certificate. Empty is nobody in particular, whose sessions are not counted
    /// together.
    pub principal: String,
}

/// What a grant says that concerns the table.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    /// Sessions of the principal at a time.
    pub sessions: usize,
}

/// Where an admitted claim goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Admission {
    /// A new session, to be made with [`Server::new`](super::Server::new).
    Found(Founded),
    /// One more link of this session: hand the arrival to whoever drives it.
    Join(SessionId),
}

/// A session that begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Founded {
    /// Its name.
    pub session: SessionId,
    /// Its secret.
    pub(super) secret: [u8; 32],
    /// Who its client is.
    pub(super) identity: Identity,
    /// What it has together with the other sessions of its principal.
    pub(super) allowance: Allowance,
    /// Whether its links are sealed.
    pub(super) sealed: bool,
}

/// Why a claim is refused; it changed nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the claim is refused ({0:?})")]
pub struct Refused(pub Code);

/// All sessions of a server.
#[derive(Debug)]
pub struct Registry {
    limits: Limits,
    rng: Rng,
    sessions: BTreeMap<SessionId, Entry>,
    principals: BTreeMap<Identification, Principal>,
    /// What those had whose last session has ended, the latest last: who comes again goes on with it, or whoever is
    /// over a limit would only have to come again.
    left: VecDeque<(Identification, Allowance)>,
    /// Sessions without links.
    detached: usize,
    stance: Stance,
}

/// Whether new sessions are welcome.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Stance {
    /// Sessions of a former process are on their way here: none is called unknown, and none begins.
    TakingOver,
    /// Come in.
    #[default]
    Open,
    /// The server is on its way out: sessions that exist may be joined, none begins.
    Leaving,
}

#[derive(Debug)]
struct Entry {
    secret: [u8; 32],
    sealed: bool,
    who: Identification,
    client: String,
    incarnation: (u64, u64),
    provisional: bool,
    detached: bool,
}

/// The sessions of one principal.
#[derive(Debug, Default)]
struct Principal {
    /// Those whose client gave no name.
    unnamed: usize,
    named: BTreeMap<String, Vec<SessionId>>,
    allowance: Allowance,
}

impl Principal {
    /// How many clients it has; one that is about to replace its own session counts once.
    fn clients(&self) -> usize {
        self.unnamed + self.named.len()
    }

    fn of(&self, client: &str) -> &[SessionId] {
        self.named.get(client).map_or(&[], Vec::as_slice)
    }
}

impl Registry {
    /// An empty table.
    pub fn new(limits: Limits, seed: &Seed) -> Self {
        Self {
            limits,
            rng: Rng::new(seed),
            sessions: BTreeMap::new(),
            principals: BTreeMap::new(),
            left: VecDeque::new(),
            detached: 0,
            stance: Stance::default(),
        }
    }

    /// Says whether new sessions are welcome from now on.
    pub fn set_stance(&mut self, stance: Stance) {
        self.stance = stance;
    }

    /// Decides on a claim for a new session of a principal with this grant, or on the second half of a
    /// claim to join one: its proof, and that it is of the same principal.
    pub fn admit(&mut self, claim: &Claim, who: &Identification, shares: Shares) -> Result<Admission, Refused> {
        match &claim.hello.attach {
            Some(_) => self.join(claim, Some(who)).map(Admission::Join),
            None => self.found(claim, who, shares).map(Admission::Found),
        }
    }

    /// Decides on a claim to join a session by its proof alone, which is all that it needs: attaching is
    /// authorised by the session's secret, never by a password. With `who` its principal must match too.
    pub fn join(&self, claim: &Claim, who: Option<&Identification>) -> Result<SessionId, Refused> {
        let Some(attach) = &claim.hello.attach else { return Err(Refused(Code::Malformed)) };
        let Some(entry) = self.sessions.get(&attach.session) else {
            return Err(Refused(match self.stance {
                Stance::TakingOver => Code::GoingAway,
                Stance::Open | Stance::Leaving => Code::UnknownSession,
            }));
        };
        // A session of someone else is as unknown as one that does not exist.
        if who.is_some_and(|who| *who != entry.who) {
            return Err(Refused(Code::UnknownSession));
        }
        let proved = match claim.is_sealed() {
            // Whoever takes the link opens it once more, with a key of its own to answer by.
            true => entry.sealed && Responder::join(&entry.secret, &claim.raw, Seed([0; 32])).is_ok(),
            false => !entry.sealed && attach.verify(&claim.raw, &entry.secret),
        };
        if !proved {
            return Err(Refused(Code::BadProof));
        }
        Ok(attach.session)
    }

    /// Takes note of an event of a session, and names the sessions that are to be closed, each with
    /// its code.
    ///
    /// Every event of every session comes here: an older session gives way when the newer one of its
    /// client is established, and of those without links only so many are kept.
    pub fn handle_event(&mut self, session: SessionId, event: &Event) -> Vec<(SessionId, Code)> {
        match event {
            Event::Established => self.establish(session),
            Event::Detached => self.detach(session),
            Event::LinkUp { .. } => self.reattach(session),
            Event::Closed { .. } => {
                self.remove(session);
                Vec::new()
            }
            Event::BooksDiffer { .. }
            | Event::FlowClosed { .. }
            | Event::FlowJudged { .. }
            | Event::FlowOpened { .. }
            | Event::GoAway(_)
            | Event::LinkCleared { .. }
            | Event::LinkEnded { .. }
            | Event::LinkSuspect { .. }
            | Event::Lost { .. }
            | Event::Paused
            | Event::Poisoned { .. }
            | Event::Renewed(_)
            | Event::RenewalAsked
            | Event::Started { .. }
            | Event::TunnelBound { .. } => Vec::new(),
        }
    }

    /// Knows a session again that was frozen with a former table and thawed now, for the principal that
    /// it had there. It has no link yet.
    pub fn restore(&mut self, server: &mut Server, who: Identification) {
        let session = server.session();
        let Some(secret) = session.secret().filter(|_| !self.sessions.contains_key(&server.id())) else { return };
        let (identity, provisional) = (session.identity().clone(), session.phase() == Phase::Provisional);
        let known = Founded {
            session: server.id(),
            secret,
            identity,
            allowance: self.allowance(&who),
            sealed: server.is_sealed(),
        };
        server.session_mut().share(known.allowance.clone());
        self.insert(&known, who, provisional);
        if let Some(entry) = self.sessions.get_mut(&known.session) {
            entry.detached = true;
            self.detached += 1;
        }
    }

    /// Forgets a session that is over, or whose claim came to nothing after all.
    pub fn remove(&mut self, session: SessionId) {
        let Some(entry) = self.sessions.remove(&session) else { return };
        self.detached -= usize::from(entry.detached);
        let Some(principal) = self.principals.get_mut(&entry.who) else { return };
        if entry.client.is_empty() {
            principal.unnamed -= 1;
        } else if let Some(sessions) = principal.named.get_mut(&entry.client) {
            sessions.retain(|other| *other != session);
            if sessions.is_empty() {
                principal.named.remove(&entry.client);
            }
        }
        if principal.clients() == 0
            && let Some((who, principal)) = self.principals.remove_entry(&entry.who)
            && !who.principal.is_empty()
        {
            if self.left.len() == LEFT {
                self.left.pop_front();
            }
            self.left.push_back((who, principal.allowance));
        }
    }

    /// The sessions that have no link at the moment.
    pub fn detached(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.sessions.iter().filter(|(_, entry)| entry.detached).map(|(session, _)| *session)
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// What the sessions of a principal have together. Nobody in particular has nothing together with others.
    fn allowance(&mut self, who: &Identification) -> Allowance {
        if who.principal.is_empty() {
            return Allowance::default();
        }
        if let Some(principal) = self.principals.get(who) {
            return principal.allowance.clone();
        }
        let left = self.left.iter().rposition(|(other, _)| other == who);
        left.and_then(|index| self.left.remove(index)).map(|(_, allowance)| allowance).unwrap_or_default()
    }

    fn insert(&mut self, founded: &Founded, who: Identification, provisional: bool) {
        let Identity { client, incarnation } = founded.identity.clone();
        let fresh = || Principal { allowance: founded.allowance.clone(), ..Principal::default() };
        let principal = self.principals.entry(who.clone()).or_insert_with(fresh);
        if client.is_empty() {
            principal.unnamed += 1;
        } else {
            principal.named.entry(client.clone()).or_default().push(founded.session);
        }
        let sealed = founded.sealed;
        let entry = Entry { secret: founded.secret, sealed, who, client, incarnation, provisional, detached: false };
        self.sessions.insert(founded.session, entry);
    }

    fn found(&mut self, claim: &Claim, who: &Identification, shares: Shares) -> Result<Founded, Refused> {
        if self.stance != Stance::Open {
            return Err(Refused(Code::GoingAway));
        }
        let hello = &claim.hello;
        let principal = self.principals.get(who);
        let same = principal.map_or(&[][..], |principal| principal.of(&hello.client));
        // One of the very same age is this hello again: raced, or repeated by a proxy. The first to be heard wins.
        let newer = |id: &SessionId| self.sessions.get(id).is_some_and(|entry| entry.incarnation > hello.incarnation);
        if same.iter().any(newer) {
            return Err(Refused(Code::Stale));
        }
        let clients = principal.map_or(0, Principal::clients) + usize::from(same.is_empty());
        let crowded = clients > shares.sessions && !who.principal.is_empty();
        if self.sessions.len() >= self.limits.sessions || crowded || same.len() >= RACED {
            return Err(Refused(Code::Full));
        }
        let identity = Identity { client: hello.client.clone(), incarnation: hello.incarnation };
        let (session, secret) = (SessionId(self.rng.array()), self.rng.array());
        let founded = Founded { session, secret, identity, allowance: self.allowance(who), sealed: claim.is_sealed() };
        self.insert(&founded, who.clone(), true);
        Ok(founded)
    }

    /// A session's client has spoken, so it stands, and the older ones of the same client do not.
    fn establish(&mut self, session: SessionId) -> Vec<(SessionId, Code)> {
        let Some(entry) = self.sessions.get_mut(&session).filter(|entry| entry.provisional) else { return Vec::new() };
        entry.provisional = false;
        let incarnation = entry.incarnation;
        let same = self.principals.get(&entry.who).map_or(&[][..], |principal| principal.of(&entry.client));
        let older = |id: &&SessionId| self.sessions.get(id).is_some_and(|other| other.incarnation < incarnation);
        same.iter().filter(older).map(|id| (*id, Code::Evicted)).collect()
    }

    fn detach(&mut self, session: SessionId) -> Vec<(SessionId, Code)> {
        let Some(entry) = self.sessions.get_mut(&session).filter(|entry| !entry.detached) else { return Vec::new() };
        if self.detached >= self.limits.detached {
            return vec![(session, Code::Full)];
        }
        entry.detached = true;
        self.detached += 1;
        Vec::new()
    }

    fn reattach(&mut self, session: SessionId) -> Vec<(SessionId, Code)> {
        if let Some(entry) = self.sessions.get_mut(&session).filter(|entry| entry.detached) {
            entry.detached = false;
            self.detached -= 1;
        }
        Vec::new()
    }
}

/// Sessions of one client at a time: one that stands, and those whose welcome may not have arrived.
const RACED: usize = 16;
/// Principals without a session whose allowances are kept.
const LEFT: usize = 1_024;

#[cfg(test)]
mod tests;

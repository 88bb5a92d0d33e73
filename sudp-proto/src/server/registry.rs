//! The table of a server's sessions: who may join which, who evicts whom, who has no room.
//!
//! Pure and synchronous; it is touched when a stream attaches and when a session ends, never per
//! datagram, so that one lock around it costs nothing.

use std::collections::BTreeMap;

use crate::config::Limits;
use crate::rng::{Rng, Seed};
use crate::wire::{Code, SessionId};

use super::incoming::Claim;

/// Who a client is to this server, once someone has found out.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Identification {
    /// The principal: a user, a token, a certificate. Empty is anybody.
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
    /// The newest incarnation of each named client, and the session that has it.
    clients: BTreeMap<(Identification, String), SessionId>,
    /// Sessions without links.
    detached: usize,
    /// Sessions may still be on their way from a former process.
    taking_over: bool,
}

#[derive(Debug)]
struct Entry {
    secret: [u8; 32],
    who: Identification,
    client: String,
    incarnation: (u64, u64),
    provisional: bool,
    detached: bool,
}

impl Registry {
    /// An empty table.
    pub fn new(limits: Limits, seed: &Seed) -> Self {
        Self {
            limits,
            rng: Rng::new(seed),
            sessions: BTreeMap::new(),
            clients: BTreeMap::new(),
            detached: 0,
            taking_over: false,
        }
    }

    /// While sessions of a former process are on their way here, none is called unknown.
    pub fn set_taking_over(&mut self, taking_over: bool) {
        self.taking_over = taking_over;
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
            let code = if self.taking_over { Code::GoingAway } else { Code::UnknownSession };
            return Err(Refused(code));
        };
        // A session of someone else is as unknown as one that does not exist.
        if who.is_some_and(|who| *who != entry.who) {
            return Err(Refused(Code::UnknownSession));
        }
        if !attach.verify(&claim.raw, &entry.secret) {
            return Err(Refused(Code::BadProof));
        }
        Ok(attach.session)
    }

    /// A session's client has spoken, so it stands: names the older sessions of the same client, which
    /// are to be closed with [`Code::Evicted`].
    pub fn establish(&mut self, session: SessionId) -> Vec<SessionId> {
        let Some(entry) = self.sessions.get_mut(&session).filter(|entry| entry.provisional) else { return Vec::new() };
        entry.provisional = false;
        if entry.client.is_empty() {
            return Vec::new();
        }
        let (who, client, incarnation) = (entry.who.clone(), entry.client.clone(), entry.incarnation);
        let older = self.sessions.iter().filter(|(id, other)| {
            **id != session && other.who == who && other.client == client && other.incarnation < incarnation
        });
        let older: Vec<SessionId> = older.map(|(id, _)| *id).collect();
        self.clients.insert((who, client), session);
        older
    }

    /// A session has lost its last link, or has one again. Refused when too many wait for links: the
    /// session is then to be closed with [`Code::Full`].
    pub fn set_detached(&mut self, session: SessionId, detached: bool) -> Result<(), Refused> {
        let Some(entry) = self.sessions.get_mut(&session) else { return Ok(()) };
        if entry.detached == detached {
            return Ok(());
        }
        if detached && self.detached >= self.limits.detached {
            return Err(Refused(Code::Full));
        }
        entry.detached = detached;
        if detached {
            self.detached += 1;
        } else {
            self.detached -= 1;
        }
        Ok(())
    }

    /// A session is over.
    pub fn remove(&mut self, session: SessionId) {
        let Some(entry) = self.sessions.remove(&session) else { return };
        if entry.detached {
            self.detached -= 1;
        }
        let name = (entry.who, entry.client);
        if self.clients.get(&name) == Some(&session) {
            self.clients.remove(&name);
        }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn found(&mut self, claim: &Claim, who: &Identification, shares: Shares) -> Result<Founded, Refused> {
        let hello = &claim.hello;
        let same = |entry: &&Entry| entry.who == *who && entry.client == hello.client && !hello.client.is_empty();
        // One of the very same age is this hello again: raced, or repeated by a proxy. The first to be heard wins.
        if self.sessions.values().filter(same).any(|entry| entry.incarnation > hello.incarnation) {
            return Err(Refused(Code::Stale));
        }
        let replaced = self.sessions.values().filter(same).count();
        let held = self.sessions.values().filter(|entry| entry.who == *who).count();
        if self.sessions.len() >= self.limits.sessions || held.saturating_sub(replaced) >= shares.sessions {
            return Err(Refused(Code::Full));
        }
        let founded = Founded { session: SessionId(self.rng.array()), secret: self.rng.array() };
        let entry = Entry {
            secret: founded.secret,
            who: who.clone(),
            client: hello.client.clone(),
            incarnation: hello.incarnation,
            provisional: true,
            detached: false,
        };
        self.sessions.insert(founded.session, entry);
        Ok(founded)
    }
}

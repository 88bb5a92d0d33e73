//! How links attach: hellos and welcomes, ordinals used and burnt.

use std::time::Instant;

use bytes::Bytes;

use super::ending::ENDED;
use super::links::{LANES, Links, Live};
use super::{Phase, Role, Session};
use crate::event::{Event, LinkLoss};
use crate::wire::{
    Attach, Code, FinalCount, Frame, Hello, LinkDown, MAX_ALIVE, MAX_ENDED, Ordinal, Parameters, SessionId, Ticket,
    Welcome,
};

/// Who a client is, and which of its lives this is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Identity {
    /// A stable name, unique per principal; at most 64 bytes, may be empty.
    pub client: String,
    /// When the process started, and which of its sessions this is; later is newer.
    pub incarnation: (u64, u64),
}

/// Why a welcome was not taken. The link it came on is of no use.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The dial was given up, or the link ended, before the welcome came.
    #[error("link {} was given up before its welcome came", .0.0)]
    Fenced(Ordinal),
    /// Another dial made the session already.
    #[error("the welcome is for another session")]
    OtherSession,
    /// The welcome contradicts what was agreed, or the session ended over its counts.
    #[error("the welcome contradicts or ends the session ({0:?})")]
    Contradiction(Code),
    /// The session is over.
    #[error("the session is closed")]
    Closed,
}

impl Session {
    /// Draws a fresh ordinal and writes the hello for a dial: one step, so that no count in it is stale.
    ///
    /// None when the session cannot be joined or made now: it is closed, or so many links are open or
    /// ended that a hello cannot list them.
    pub fn hello(&mut self, now: Instant) -> Option<Hello> {
        if self.closed() || self.role == Role::Server {
            return None;
        }
        let attach = match (self.id, self.secret) {
            (Some(session), Some(_)) => Some(self.attachment(session)?),
            (None, _) | (_, None) => None,
        };
        let ordinal = if attach.is_some() { Ordinal(self.links.ordinals.top.max(1) + 1) } else { Ordinal::FIRST };
        self.links.ordinals.burn(ordinal);
        if attach.is_some() {
            self.links.dialling.insert(ordinal);
            let Links { asked, dialling, .. } = &mut self.links;
            asked.retain(|asked, _| dialling.contains(asked));
            asked.insert(ordinal, now);
        }
        let mut hello = Hello {
            ordinal,
            client: self.identity.client.clone(),
            incarnation: self.identity.incarnation,
            attach,
            ticket: Ticket::default(),
            parameters: self.parameters(),
        };
        if let Some(secret) = &self.secret {
            hello.prove(secret);
        }
        Some(hello)
    }

    /// Takes the welcome that answers a hello; the link of its ordinal is live from here on.
    pub fn welcome(&mut self, now: Instant, welcome: &Welcome) -> Result<(), AttachError> {
        if self.closed() {
            return Err(AttachError::Closed);
        }
        let ordinal = welcome.ordinal;
        match self.id {
            None => {
                let secret = welcome.secret.filter(|_| ordinal == Ordinal::FIRST);
                let Some(secret) = secret else { return Err(AttachError::Contradiction(Code::Malformed)) };
                // The dial may be older than a loss, which forgot what was burnt before.
                self.links.ordinals.burn(ordinal);
                self.begin(welcome.session, secret);
            }
            Some(id) if id != welcome.session => return Err(AttachError::OtherSession),
            Some(_) => {
                if !self.links.dialling.remove(&ordinal) {
                    return Err(AttachError::Fenced(ordinal));
                }
            }
        }
        self.remote = welcome.parameters;
        self.learn(now, &welcome.ended).map_err(AttachError::Contradiction)?;
        self.link_up(now, ordinal);
        let asked = self.links.asked.remove(&ordinal);
        if let Some(link) = self.links.get_mut(ordinal) {
            link.trip = asked.map(|at| now.saturating_duration_since(at));
            // The welcome proves that our hello was read; the server waits for proof that we read it.
            link.proven = true;
            let number = link.beat.ping(now);
            link.frames.push_back(Frame::Ping(number));
        }
        self.tell_final_counts(now, ordinal);
        self.confirm(ordinal, &welcome.ended);
        Ok(())
    }

    /// Takes a hello whose proof was checked; the link of its ordinal is live from here on. A refused
    /// hello changes nothing, unless the session ended over its counts.
    pub fn accept(&mut self, now: Instant, hello: &Hello) -> Result<Vec<FinalCount>, Code> {
        match self.phase {
            Phase::Fresh | Phase::Provisional | Phase::Established => {}
            Phase::Closed(Code::Evicted) => return Err(Code::Evicted),
            Phase::Closed(_) => return Err(Code::UnknownSession),
        }
        let ordinal = hello.ordinal;
        if !self.links.ordinals.fresh(ordinal) {
            return Err(Code::OrdinalBurnt);
        }
        let alive = hello.attach.as_ref().map_or(&[][..], |attach| &attach.alive);
        let staying = self.links.live.iter().filter(|link| link.ordinal > ordinal || alive.contains(&link.ordinal));
        if staying.count() >= self.limits.live_links.min(LANES) || self.links.ended.len() >= ENDED {
            return Err(Code::Full);
        }
        self.remote = hello.parameters;
        self.links.ordinals.burn(ordinal);
        self.links.ordinals.burn_below(ordinal, alive);
        if let Some(attach) = &hello.attach {
            let said = self.end_unlisted(now, ordinal, attach);
            // Unless the hello itself is at fault, it hears what the next one would: the session is over.
            said.map_err(|code| if is_false(code) { code } else { Code::UnknownSession })?;
            self.establish();
        }
        if self.phase == Phase::Fresh {
            self.phase = Phase::Provisional;
        }
        self.link_up(now, ordinal);
        Ok(self.links.final_counts().take(MAX_ENDED).collect())
    }

    /// Makes this a session with a name and a secret, on the server.
    pub fn found(&mut self, id: SessionId, secret: [u8; 32]) {
        self.id = Some(id);
        self.secret = Some(secret);
    }

    /// What proves an attachment; told once, in the first welcome.
    #[cfg(feature = "driver")]
    pub(crate) fn secret(&self) -> Option<[u8; 32]> {
        self.secret
    }

    /// What this side can take.
    pub fn parameters(&self) -> Parameters {
        Parameters {
            message: self.limits.message as u64,
            flows: self.limits.flows as u64,
            links: match self.role {
                Role::Client => self.limits.links as u64,
                Role::Server => self.limits.live_links.min(MOST_LINKS) as u64,
            },
            ack_delay: self.limits.ack_delay,
            resume: self.limits.resume,
        }
    }

    /// How many links there may be at a time: what this side wants, and the other allows.
    pub fn links_allowed(&self) -> usize {
        self.limits.links.min(usize::try_from(self.remote.links).unwrap_or(usize::MAX))
    }

    /// The bytes of a welcome, to be sent as a message of its own before anything else on the link.
    pub fn welcome_frame(welcome: &Welcome) -> Vec<u8> {
        let mut body = Vec::new();
        welcome.emit(&mut body);
        let mut out = Vec::new();
        Frame::Welcome(Bytes::from(body)).emit(&mut out);
        out
    }

    /// The client knows the session: it spoke behind the welcome, or came a second time.
    pub(crate) fn establish(&mut self) {
        if self.phase == Phase::Provisional {
            self.phase = Phase::Established;
            self.event(Event::Established);
        }
    }

    fn begin(&mut self, id: SessionId, secret: [u8; 32]) {
        self.id = Some(id);
        self.secret = Some(secret);
        self.phase = Phase::Established;
        self.event(Event::Started { session: id });
    }

    /// What a hello says of the session's other links.
    fn attachment(&self, session: SessionId) -> Option<Attach> {
        let mut counts: Vec<FinalCount> = self.links.final_counts().filter(|count| count.count > 0).collect();
        let live = self.links.live.iter().map(|link| link.ordinal);
        let mut alive: Vec<Ordinal> = live.chain(self.links.dialling.iter().copied()).collect();
        // What does not fit is called alive: nothing is then concluded from its absence, and its
        // count follows on the link itself.
        alive.extend(counts.drain(counts.len().min(MAX_ENDED)..).map(|count| count.ordinal));
        alive.sort_unstable();
        (alive.len() <= MAX_ALIVE).then_some(Attach { session, alive, ended: counts, proof: [0; 32] })
    }

    /// Ends what a hello no longer lists. Absence says that the client processed nothing, unless it gave
    /// a count, now or before. Fails if the session ended over it.
    fn end_unlisted(&mut self, now: Instant, ordinal: Ordinal, attach: &Attach) -> Result<(), Code> {
        let gone = |other: Ordinal| other < ordinal && !attach.alive.contains(&other);
        let live: Vec<Ordinal> = self.links.live.iter().map(|link| link.ordinal).filter(|other| gone(*other)).collect();
        for other in live {
            self.end_link(now, other, LinkLoss::Fenced);
        }
        self.learn(now, &attach.ended)?;
        let silent = self.links.ended.iter().filter(|(other, ended)| gone(**other) && ended.theirs.is_none());
        let silent: Vec<Ordinal> = silent.map(|(other, _)| *other).collect();
        for other in silent {
            self.final_count(now, other, 0)?;
        }
        Ok(())
    }

    /// Takes final counts, and whether ours are known there; fails if the session ended over one.
    fn learn(&mut self, now: Instant, counts: &[FinalCount]) -> Result<(), Code> {
        for told in counts {
            if self.links.index(told.ordinal).is_some() || self.links.dialling.contains(&told.ordinal) {
                self.detach(now, told.ordinal, LinkLoss::Fenced);
            }
            self.burn_unseen(now, told.ordinal)?;
            self.final_count(now, told.ordinal, told.count)?;
            if let Some(ended) = self.links.ended.get_mut(&told.ordinal) {
                ended.told |= told.known;
            }
            self.links.forget(told.ordinal);
        }
        Ok(())
    }

    /// Says that the counts of a welcome have arrived, so that the server may forget those links.
    fn confirm(&mut self, on: Ordinal, counts: &[FinalCount]) {
        let Some(link) = self.links.get_mut(on) else { return };
        let known = |told: &FinalCount| LinkDown { ordinal: told.ordinal, count: None, known: true };
        link.frames.extend(counts.iter().map(known).map(Frame::LinkDown));
    }

    fn link_up(&mut self, now: Instant, ordinal: Ordinal) {
        let Some(lane) = self.links.free_lane() else { return };
        self.activity.moment(now, &self.links);
        // Most sessions have one link, and room for one more is cheaper made when it comes.
        self.links.live.reserve_exact(1);
        self.links.live.push(Live::new(now, ordinal, lane, self.first_window));
        self.detached = None;
        self.counters.links += 1;
        self.event(Event::LinkUp { ordinal });
        self.tell_drain();
        let unplaced: Vec<_> =
            self.unresolved.iter().filter(|(_, batch)| batch.copies > 1).map(|(number, _)| number).collect();
        for number in unplaced {
            self.place_copies(number, None);
        }
    }
}

/// Whether a session that ended with this code over a count was told what cannot be true.
fn is_false(code: Code) -> bool {
    matches!(code, Code::Count | Code::Limit)
}

/// Links a session is meant to have; a server takes a few more while dials are being replaced.
const MOST_LINKS: usize = 8;

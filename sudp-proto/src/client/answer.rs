//! What a server says to a dial: a welcome, a refusal, or nothing that makes sense.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::attempt::{Attempt, Stage};
use super::dial::{DialId, Outcome, PathFailure, Purpose, Refusal, RefusalKind};
use super::{Attached, Client, DialError};
use crate::driver::Key;
use crate::link::{LinkEnd, ProxyEnd, SealFault};
use crate::session::AttachError;
use crate::wire::{Code, Frame, Ordinal, Refuse, Welcome, next_frame};

impl Client {
    /// The first message on a link: the welcome, or why there is none.
    pub(super) fn first_message(&mut self, now: Instant, key: Key, mut message: Bytes) {
        let Some(dial) = self.upgrading(key) else { return };
        match next_frame(&mut message) {
            Ok(Some(Frame::Welcome(raw))) => {
                let raw = match self.carrier.open_welcome(key, &raw) {
                    // Nothing that is not sealed stands beside what is.
                    Ok(raw) if self.seal.is_none() || message.is_empty() => raw,
                    Ok(_) => return self.unwelcome(now, dial, key, Code::Malformed),
                    Err(fault) => return self.unsealed(now, dial, key, fault),
                };
                if let Some(ordinal) = self.welcomed(now, dial, key, &raw) {
                    // A welcome only begins its message.
                    self.carrier.session.handle_message(now, ordinal, message);
                }
            }
            Ok(Some(Frame::Hello(asked))) if asked.is_empty() => self.send_hello(now, dial, key),
            Ok(Some(Frame::Refuse(refuse))) => self.refused(now, dial, key, refuse),
            Ok(_) | Err(_) => self.unwelcome(now, dial, key, Code::Malformed),
        }
    }

    /// Takes a welcome; names the link that lives by it.
    fn welcomed(&mut self, now: Instant, dial: DialId, key: Key, raw: &Bytes) -> Option<Ordinal> {
        let Attempt { start, stage: Stage::Upgrading(_, hello), .. } = self.attempts.get(&dial)? else {
            return None;
        };
        let (server, ordinal, outdated) = (start.server, hello.ordinal, self.outdated(dial));
        let Some(welcome) = Welcome::parse(raw).ok().filter(|welcome| welcome.ordinal == ordinal) else {
            self.unwelcome(now, dial, key, Code::Malformed);
            return None;
        };
        match self.carrier.session.welcome(now, &welcome) {
            Ok(()) => {}
            Err(AttachError::Contradiction(code)) => {
                self.unwelcome(now, dial, key, code);
                return None;
            }
            Err(AttachError::OtherSession | AttachError::Fenced(_) | AttachError::Closed) => {
                self.decline(now, dial, key, Code::Done, Outcome::Abandoned);
                return None;
            }
        }
        self.attempts.remove(&dial);
        self.carrier.attach(key, ordinal);
        self.server = Some(server);
        self.owner = welcome.owner.clone();
        self.keep_ticket(server, outdated, &welcome);
        self.links.insert(ordinal, Attached { dial, since: now });
        self.upkeep.handle_attached(now, self.carrier.session.links().count());
        let resume = welcome.parameters.resume;
        self.dialer.handle_outcome(now, dial, Outcome::Attached { id: welcome.server, resume });
        Some(ordinal)
    }

    /// A welcome cannot be taken. A session that was made for it is of no use; one that exists has only
    /// this link less, for who knows whose fault it is.
    fn unwelcome(&mut self, now: Instant, dial: DialId, key: Key, code: Code) {
        self.note(dial, DialError::Welcome);
        self.decline(now, dial, key, code, Outcome::Refused(TRANSIENT));
    }

    /// A welcome that had to be sealed is not, or not by the server whose key we have.
    fn unsealed(&mut self, now: Instant, dial: DialId, key: Key, fault: SealFault) {
        let (why, refusal) = match fault {
            SealFault::Plain => (DialError::Unsealed, PERMANENT),
            // The server has opened our hello, so its key is right: it is the way that is at fault.
            SealFault::Changed | SealFault::Spent => (DialError::Sealing, TRANSIENT),
        };
        self.note(dial, why);
        self.take_attempt(now, dial);
        self.carrier.close(now, key, Code::Sealing);
        self.dialer.handle_outcome(now, dial, Outcome::Refused(refusal));
    }

    fn decline(&mut self, now: Instant, dial: DialId, key: Key, code: Code, outcome: Outcome) {
        let joins = self.attempts.get(&dial).is_some_and(|attempt| attempt.start.purpose == Purpose::Join);
        self.take_attempt(now, dial);
        if joins && self.carrier.session.id().is_some() {
            self.carrier.close(now, key, code);
        } else {
            self.carrier.dismiss(now, key, code);
        }
        self.dialer.handle_outcome(now, dial, outcome);
    }

    /// The hello did not come through in the request, so it is said once more.
    fn send_hello(&mut self, now: Instant, dial: DialId, key: Key) {
        let Some(Attempt { stage: Stage::Upgrading(_, hello), .. }) = self.attempts.get(&dial) else { return };
        let mut frame = Vec::new();
        Frame::Hello(hello.raw.clone()).emit(&mut frame);
        if !self.carrier.send(key, &frame) {
            let why = DialError::Broken(io::ErrorKind::BrokenPipe);
            self.fail(now, dial, Outcome::PathFailed(PathFailure::Broken), why);
        }
    }

    fn refused(&mut self, now: Instant, dial: DialId, key: Key, refuse: Refuse) {
        self.carrier.abort(key);
        if self.shown_in_vain(dial, None, Some(refuse.code)) {
            return self.end_attempt(now, dial, Outcome::Burnt);
        }
        let by = Some(refuse.server).filter(|server| *server != 0);
        let outcome = self.judge_code(dial, Some(refuse.code), by, refuse.retry_after);
        let why = DialError::Refused { code: refuse.code, retry_after: refuse.retry_after };
        self.fail(now, dial, outcome.unwrap_or(Outcome::Refused(TRANSIENT)), why);
        self.forbidden(now, Some(refuse.code));
    }

    /// A server that denies a session its links has taken it away.
    fn forbidden(&mut self, now: Instant, code: Option<Code>) {
        let session = &mut self.carrier.session;
        if code == Some(Code::Denied) && session.id().is_some() && session.links().next().is_none() {
            session.lose(now, Code::Denied);
        }
    }

    /// A stream ended before it carried the session.
    pub(super) fn upgrade_ended(&mut self, now: Instant, key: Key, end: &LinkEnd) {
        let Some(dial) = self.upgrading(key) else { return };
        let code = if let LinkEnd::Refused(refusal) = end { refusal.code.map(Code::from_u64) } else { None };
        if let LinkEnd::Refused(refusal) = end
            && self.shown_in_vain(dial, Some(refusal.status), code)
        {
            return self.end_attempt(now, dial, Outcome::Burnt);
        }
        let outcome = match end {
            LinkEnd::Refused(refusal) => {
                self.judge_code(dial, code, refusal.server, refusal.retry_after).unwrap_or_else(|| {
                    // Redirects are not followed: nobody named where they lead.
                    Outcome::Refused(Refusal::from_status(refusal.status, refusal.retry_after, None))
                })
            }
            LinkEnd::Tls(end) if end.is_permanent() => Outcome::Refused(PERMANENT),
            LinkEnd::Answer(_) | LinkEnd::Violation(_) | LinkEnd::Closed { .. } => Outcome::Refused(TRANSIENT),
            LinkEnd::Timeout(_) => Outcome::PathFailed(PathFailure::TimedOut),
            LinkEnd::Proxy(end) => refused_by_proxy(*end).unwrap_or(Outcome::PathFailed(PathFailure::Broken)),
            LinkEnd::Tls(_) | LinkEnd::Truncated | LinkEnd::Aborted | LinkEnd::Spent | LinkEnd::Request { .. } => {
                Outcome::PathFailed(PathFailure::Broken)
            }
        };
        self.note(dial, end.into());
        if matches!(end, LinkEnd::Tls(_)) {
            // The stream stays until the server has been told why it is not trusted.
            self.take_attempt(now, dial);
            self.dialer.handle_outcome(now, dial, outcome);
        } else {
            self.end_attempt(now, dial, outcome);
        }
        self.forbidden(now, code);
    }

    /// A stream broke before it carried the session.
    pub(super) fn upgrade_broken(&mut self, now: Instant, key: Key, why: io::ErrorKind) {
        if let Some(dial) = self.upgrading(key) {
            self.fail(now, dial, Outcome::PathFailed(PathFailure::Broken), DialError::Broken(why));
        }
    }

    /// What a SUDP server's own code says about a dial; none if it says no more than the status.
    fn judge_code(
        &self,
        dial: DialId,
        code: Option<Code>,
        by: Option<u64>,
        retry_after: Option<Duration>,
    ) -> Option<Outcome> {
        let joins = self.attempts.get(&dial).is_some_and(|attempt| attempt.start.purpose == Purpose::Join);
        let refusal = |kind| Some(Outcome::Refused(Refusal { kind, retry_after }));
        match code? {
            Code::OrdinalBurnt => Some(Outcome::Burnt),
            Code::UnknownSession | Code::BadProof if joins => Some(Outcome::UnknownSession { by }),
            Code::Evicted | Code::Stale => Some(Outcome::Evicted),
            Code::Full | Code::GoingAway => refusal(RefusalKind::Transient),
            Code::Denied
            | Code::Expired
            | Code::Version
            | Code::Malformed
            | Code::Limit
            | Code::Sealing
            | Code::Unsealed => refusal(RefusalKind::Permanent),
            Code::BadProof
            | Code::Count
            | Code::Done
            | Code::Idle
            | Code::Other(_)
            | Code::Poison
            | Code::Silent
            | Code::Unknown
            | Code::UnknownSession
            | Code::Unreachable => None,
        }
    }
}

/// What a proxy has decided against us; none if it merely could not, which is the path's failure.
///
/// Wrong credentials said again and again lock accounts.
fn refused_by_proxy(end: ProxyEnd) -> Option<Outcome> {
    match end {
        ProxyEnd::Credentials | ProxyEnd::Reply(ProxyEnd::FORBIDDEN) => Some(Outcome::Refused(PERMANENT)),
        ProxyEnd::Refused(status @ 400..=499) => Some(Outcome::Refused(Refusal::from_status(status, None, None))),
        ProxyEnd::Early | ProxyEnd::Head(_) | ProxyEnd::Refused(_) | ProxyEnd::Reply(_) | ProxyEnd::Socks => None,
    }
}

/// It would not do any good to ask again soon.
pub(super) const PERMANENT: Refusal = Refusal { kind: RefusalKind::Permanent, retry_after: None };
const TRANSIENT: Refusal = Refusal { kind: RefusalKind::Transient, retry_after: None };

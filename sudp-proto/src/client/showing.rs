//! What a client shows to be let in: its credential, or the ticket that stands for it.

use std::time::Instant;

use super::Client;
use super::attempt::Attempt;
use super::dial::{DialId, Purpose};
use crate::credential::Credential;
use crate::wire::{Code, Hello, Welcome};

/// What a dial has shown to be let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shown {
    Nothing,
    Credential,
    Ticket,
}

impl Client {
    /// Shows this from now on to be let in. A session that stands is [renewed](crate::session::Session::renew) with it, and what
    /// refused the former one is asked again at once.
    pub fn set_credential(&mut self, now: Instant, credential: Option<Credential>) {
        if self.credential == credential {
            return;
        }
        self.awaits_credential &= credential.is_none();
        self.credential = credential;
        self.changes += 1;
        // They stand for what was shown before.
        self.tickets.clear();
        self.renew();
        self.dialer.handle_amends(now);
        self.settle(now);
    }

    /// Shows the credential of today to a server that has let in an earlier one.
    fn renew(&mut self) {
        if let Some(credential) = self.credential.clone() {
            // Without a session to renew, or if it is too long for that, the next one is founded with it.
            let _ = self.carrier.session.renew(credential);
        }
    }

    /// Takes the ticket of a welcome, unless it is for what is shown no more: then that is made up for.
    pub(super) fn keep_ticket(&mut self, server: usize, outdated: bool, welcome: &Welcome) {
        if outdated {
            self.renew();
        } else if !welcome.ticket.is_empty() {
            self.tickets.insert(server, welcome.ticket.clone());
        }
    }

    /// A ticket that came while the session stood.
    pub(super) fn collect_ticket(&mut self) {
        if let (Some(ticket), Some(server)) = (self.carrier.session.take_ticket(), self.server) {
            self.tickets.insert(server, ticket);
        }
    }

    /// What is shown to a server to found a session: what it gave itself rather than what costs it more.
    pub(super) fn show(&self, server: usize, hello: &mut Hello) -> Shown {
        if let Some(ticket) = self.tickets.get(&server) {
            hello.ticket = ticket.clone();
            return Shown::Ticket;
        }
        if self.credential.is_some() { Shown::Credential } else { Shown::Nothing }
    }

    /// Whether a dial has shown what is shown no more. Who attaches shows nothing that could change.
    pub(super) fn outdated(&self, dial: DialId) -> bool {
        let attempt = self.attempts.get(&dial);
        attempt.is_some_and(|attempt| attempt.start.purpose != Purpose::Join && attempt.changes != self.changes)
    }

    /// Whether a dial was refused, as far as one can tell, for something that the next one does not show: its ticket,
    /// which is forgotten, since how long it is good is the server's secret, or what was replaced in the meantime.
    pub(super) fn shown_in_vain(&mut self, dial: DialId, status: Option<u16>, code: Option<Code>) -> bool {
        let outdated = self.outdated(dial);
        let Some(Attempt { start, shown, .. }) = self.attempts.get(&dial) else { return false };
        let for_it = match (code, status) {
            (Some(code), _) => {
                matches!(code, Code::Denied | Code::BadProof | Code::Expired | Code::Unknown | Code::Malformed)
            }
            (None, Some(status)) => matches!(status, 400..=499) && !matches!(status, 408 | 426 | 429),
            (None, None) => false,
        };
        for_it && (outdated || *shown == Shown::Ticket && self.tickets.remove(&start.server).is_some())
    }
}

/// The header that a credential is sent in.
pub(super) const AUTHORIZATION: &str = "Authorization";

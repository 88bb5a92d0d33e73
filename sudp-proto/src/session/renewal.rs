//! A credential that takes the place of one that ends, while the session goes on.

use super::{Role, Session};
use crate::credential::Credential;
use crate::event::Event;
use crate::wire::{Code, Control, Ticket};

/// What was shown or answered, until someone asks.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    /// The newest credential that the client has shown; an older one that nobody looked at is of no use.
    asked: Option<Credential>,
    /// The newest ticket of the server.
    ticket: Option<Ticket>,
}

/// Why a session is not renewed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RenewError {
    /// There is no session, so the credential is for the next one.
    #[error("there is no session to renew; the next one is founded with this credential")]
    NoSession,
    /// The server takes no message that long.
    #[error("the credential is longer than the server's messages; the next session is founded with it")]
    Length,
}

impl Session {
    /// Shows the server a new credential, so that the session need not end when the old one does. What the
    /// server makes of it is told by [`Event::Renewed`]. For clients.
    pub fn renew(&mut self, credential: Credential) -> Result<(), RenewError> {
        if self.closed() || self.id.is_none() || self.role == Role::Server {
            return Err(RenewError::NoSession);
        }
        if credential.expose().len() + RECORD > self.largest_batch() {
            return Err(RenewError::Length);
        }
        // One that still waits to be sent is outdated.
        self.controls.retain(|control| !matches!(control, Control::Renew(_)));
        self.control(Control::Renew(credential));
        Ok(())
    }

    /// Whether [`take_renewal`](Self::take_renewal) has one.
    pub fn wants_renewal(&self) -> bool {
        self.renewal.asked.is_some()
    }

    /// The credential that the client shows, once [`Event::RenewalAsked`] has told of it. For servers.
    pub fn take_renewal(&mut self) -> Option<Credential> {
        self.renewal.asked.take()
    }

    /// Answers a renewal, or hands out a new ticket unasked. What the session may do from now on is said with
    /// [`regrant`](Self::regrant). For servers.
    pub fn answer_renewal(&mut self, outcome: Result<Ticket, Code>) {
        if self.closed() || self.role == Role::Client {
            return;
        }
        if outcome.is_ok() {
            self.controls.retain(|control| !matches!(control, Control::Renewed(Ok(_))));
        }
        self.control(Control::Renewed(outcome));
    }

    /// The newest ticket that came while the session stood.
    pub fn take_ticket(&mut self) -> Option<Ticket> {
        self.renewal.ticket.take()
    }

    pub(crate) fn handle_renew(&mut self, credential: Credential) {
        if self.role == Role::Client {
            return;
        }
        // However often it is asked, one question waits.
        if self.renewal.asked.replace(credential).is_none() {
            self.event(Event::RenewalAsked);
        }
    }

    pub(crate) fn handle_renewed(&mut self, outcome: Result<Ticket, Code>) {
        if self.role == Role::Server {
            return;
        }
        let outcome = outcome.map(|ticket| {
            if !ticket.is_empty() {
                self.renewal.ticket = Some(ticket);
            }
        });
        self.event(Event::Renewed(outcome));
    }
}

/// What a record needs besides the credential.
const RECORD: usize = 32;

//! What becomes of those who were let in, as far as it is written down.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use sudp_tokio::ServerEvent;
use sudp_tokio::proto::event::Event;
use sudp_tokio::proto::wire::{Code, FlowId, SessionId};

use super::audit::{Entry, What};
use super::porch::Porch;
use crate::run::{lock, words};

/// Whose sessions there are.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<BTreeMap<SessionId, (SocketAddr, String)>>);

impl Sessions {
    /// Knows one more. Where too many have ended without anybody being told, one of them is forgotten.
    fn insert(&self, session: SessionId, from: SocketAddr, principal: &str) {
        let mut known = lock(&self.0);
        if known.len() >= KNOWN {
            known.pop_first();
        }
        known.insert(session, (from, principal.to_owned()));
    }
}

impl Porch {
    /// Whether an event is written down, of those that speak of flows.
    pub(crate) fn minds(event: &ServerEvent) -> bool {
        matches!(event, ServerEvent::Session(_, Event::FlowClosed { code: Code::Denied, .. }))
    }

    /// Writes down what sessions begin and end, and what flows they may not have.
    pub(crate) fn hear(&self, event: &ServerEvent) {
        match event {
            ServerEvent::Founded { session, from, principal } => {
                self.sessions.insert(*session, *from, principal);
                let (session, from) = (Some(*session), Some(*from));
                self.say(&Entry { session, from, principal, ..Entry::of(What::Opened) });
            }
            ServerEvent::Refused { from, code } => {
                self.count_refusal();
                self.say(&Entry { from: Some(*from), reason: &words(*code), ..Entry::of(What::Refused) });
            }
            ServerEvent::Session(session, Event::Closed { code, .. }) => {
                let known = lock(&self.sessions.0).remove(session);
                self.say_of(*session, known.as_ref(), What::Closed, &words(*code));
            }
            ServerEvent::Session(session, Event::FlowClosed { flow: FlowId(flow), code: Code::Denied }) => {
                let known = lock(&self.sessions.0).get(session).cloned();
                let reason = format!("flow {flow}: {}", words(Code::Denied));
                self.say_of(*session, known.as_ref(), What::FlowRefused, &reason);
            }
            ServerEvent::AcceptPaused { .. } | ServerEvent::Ended { .. } | ServerEvent::Session(..) | _ => {}
        }
    }

    fn say_of(&self, session: SessionId, known: Option<&(SocketAddr, String)>, what: What, reason: &str) {
        let (session, from) = (Some(session), known.map(|(from, _)| *from));
        let principal = known.map_or("", |(_, principal)| principal);
        self.say(&Entry { session, from, principal, reason, ..Entry::of(what) });
    }
}

/// Sessions whose ends are waited for.
const KNOWN: usize = 65_536;

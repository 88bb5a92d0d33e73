//! What becomes of those who were let in, as far as it is written down.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use sudp_tokio::ServerEvent;
use sudp_tokio::proto::access::{Decision, RuleRef};
use sudp_tokio::proto::event::Event;
use sudp_tokio::proto::wire::{FlowId, Host, SessionId};

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
    pub(crate) fn minds(&self, event: &ServerEvent) -> bool {
        let ServerEvent::Session(_, Event::FlowJudged { decision, .. }) = event else { return false };
        !decision.allowed || self.is_thorough()
    }

    /// Writes down what sessions begin and end, and what flows they may have and may not. `rule` says by which name
    /// everybody knows the rule of a session's grant of some version.
    pub(crate) fn hear(&self, event: &ServerEvent, rule: impl FnOnce(SessionId, u64, RuleRef) -> String) {
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
                self.say_of(*session, known.as_ref(), Entry { reason: &words(*code), ..Entry::of(What::Closed) });
            }
            ServerEvent::Session(session, Event::FlowJudged { flow: FlowId(flow), to, at, decision, version })
                if self.minds(event) =>
            {
                let known = lock(&self.sessions.0).get(session).cloned();
                let Decision { allowed, rule: decided } = *decision;
                let (what, verdict) =
                    if allowed { (What::FlowOpened, "allowed") } else { (What::FlowRefused, "not allowed") };
                let reason = format!("flow {flow}: {verdict}");
                let to = match (&to.host, at) {
                    (Host::Name(_), Some(at)) => format!("{to} ({})", at.ip()),
                    (Host::Name(_), None) | (Host::Ip(_), _) => to.to_string(),
                };
                let rule = rule(*session, *version, decided);
                let entry = Entry { reason: &reason, to: &to, rule: Some(&rule), ..Entry::of(what) };
                self.say_of(*session, known.as_ref(), entry);
            }
            ServerEvent::AcceptPaused { .. } | ServerEvent::Ended { .. } | ServerEvent::Session(..) | _ => {}
        }
    }

    fn say_of(&self, session: SessionId, known: Option<&(SocketAddr, String)>, entry: Entry<'_>) {
        let (session, from) = (Some(session), known.map(|(from, _)| *from));
        let principal = known.map_or("", |(_, principal)| principal);
        self.say(&Entry { session, from, principal, ..entry });
    }
}

/// Sessions whose ends are waited for.
const KNOWN: usize = 65_536;

//! How a client fares: connected, lost, dialling again, and when it gives up.

use std::time::{Duration, Instant};

use sudp_tokio::ClientEvent;
use sudp_tokio::proto::client::DialFailure;
use sudp_tokio::proto::event::Event;
use sudp_tokio::proto::wire::{Ordinal, SessionId};

use super::url;
use crate::config::Client as Settings;
use crate::exit::{Exit, Failure, Outcome};
use crate::run::tell::{self, Note};

/// How a client fares.
#[derive(Debug)]
pub(in crate::run) struct Progress {
    max_retries: Option<u32>,
    servers: usize,
    /// Dials in a row that came to nothing.
    failed: u32,
    /// Servers that have refused it for good, before there ever was a session.
    refused: Vec<usize>,
    connected: bool,
    session: Option<SessionId>,
    links: Vec<Ordinal>,
    /// What was last told of a dial, and when.
    told: Option<(String, Instant)>,
}

impl Progress {
    pub(in crate::run) fn new(settings: Settings) -> Self {
        Self {
            max_retries: settings.max_retries,
            servers: settings.servers.len(),
            failed: 0,
            refused: Vec::new(),
            connected: false,
            session: None,
            links: Vec::new(),
            told: None,
        }
    }

    /// Whether there ever was a link.
    pub(in crate::run) fn was_connected(&self) -> bool {
        self.connected
    }

    /// Follows what happens, and says what is to be told of it. It fails when there is no more use in trying.
    ///
    /// `server` is the one that owns the session, where that is known.
    pub(in crate::run) fn handle(
        &mut self,
        event: &ClientEvent,
        settings: &Settings,
        server: Option<&str>,
        flows: bool,
    ) -> Outcome<Option<Note>> {
        self.max_retries = settings.max_retries;
        match event {
            ClientEvent::DialFailed(failure) => self.on_failure(failure, settings).map(Some),
            ClientEvent::Session(event) => Ok(self.on_session(event, server, flows)),
            _ => Ok(None),
        }
    }

    fn on_failure(&mut self, failure: &DialFailure, settings: &Settings) -> Outcome<Note> {
        self.failed = self.failed.saturating_add(1);
        let permanent = failure.why.is_permanent();
        if permanent && !self.connected && !self.refused.contains(&failure.server) {
            self.refused.push(failure.server);
        }
        let server = settings.servers.get(failure.server).map(url).unwrap_or_default();
        if !self.connected && self.refused.len() == self.servers {
            return Err(Failure::new(Exit::Denied, format!("{failure}")));
        }
        if self.max_retries.is_some_and(|most| self.failed > most) {
            let exit = if permanent { Exit::Denied } else { Exit::Unreachable };
            let times = if self.failed == 1 { "1 dial".into() } else { format!("{} dials", self.failed) };
            return Err(Failure::new(exit, format!("no server was reached in {times} in a row; the last: {failure}")));
        }
        let text = format!("{server} was not reached: {failure}; dialling again");
        // The same again and again says nothing new.
        let (now, known) = (Instant::now(), self.told.as_ref());
        if known.is_some_and(|(before, at)| *before == text && now.saturating_duration_since(*at) < REPEATED) {
            return Ok(Note::debug("sudp::client", text));
        }
        self.told = Some((text.clone(), now));
        Ok(Note::warn("sudp::client", text))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not told otherwise is told as by a server")]
    fn on_session(&mut self, event: &Event, server: Option<&str>, flows: bool) -> Option<Note> {
        let of = |note: Note, session: Option<SessionId>| session.map_or(note.clone(), |session| note.of(session));
        match event {
            Event::Started { session } => {
                self.session = Some(*session);
                Some(Note::info("sudp::session", "has begun").of(*session))
            }
            Event::LinkUp { ordinal } => {
                (self.failed, self.connected, self.told) = (0, true, None);
                self.refused.clear();
                self.links.push(*ordinal);
                let to = server.map(|url| format!(" to {url}")).unwrap_or_default();
                let text = format!("connected{to}: link {} is up", ordinal.0);
                Some(of(Note::info("sudp::link", text), self.session))
            }
            Event::LinkEnded { ordinal, .. } if !self.links.contains(ordinal) => None,
            Event::LinkEnded { ordinal, .. } => {
                self.links.retain(|known| known != ordinal);
                tell::session(event, flows).map(|note| of(note, self.session))
            }
            Event::Detached => {
                let text = "no link is left: dialling again; what is sent meanwhile waits";
                Some(of(Note::warn("sudp::session", text), self.session))
            }
            Event::Lost { .. } => {
                let note = tell::session(event, flows).map(|note| of(note, self.session));
                self.session = None;
                note
            }
            other => tell::session(other, flows).map(|note| of(note, self.session)),
        }
    }
}

/// After this long, what is still so is told again.
const REPEATED: Duration = Duration::from_secs(60);

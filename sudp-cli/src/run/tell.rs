//! What happened, in words: for the log, and for whoever watches.

use std::net::SocketAddr;

use sudp_tokio::ServerEvent;
use sudp_tokio::proto::event::{Event, LinkLoss};
use sudp_tokio::proto::link::LinkEnd;
use sudp_tokio::proto::wire::{Code, SessionId};
use tracing::Level;

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Note {
    pub(super) level: Level,
    target: &'static str,
    session: Option<String>,
    /// Because of whom: what strangers cause has a budget.
    from: Option<SocketAddr>,
    text: String,
}

impl Note {
    pub(super) fn debug(target: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::DEBUG, target, text)
    }

    pub(super) fn info(target: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::INFO, target, text)
    }

    pub(super) fn warn(target: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::WARN, target, text)
    }

    pub(super) fn error(target: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::ERROR, target, text)
    }

    fn new(level: Level, target: &'static str, text: impl Into<String>) -> Self {
        Self { level, target, session: None, from: None, text: text.into() }
    }

    /// It happened to this session.
    pub(super) fn of(self, session: SessionId) -> Self {
        Self { session: Some(session_name(session)), ..self }
    }

    fn by(self, from: SocketAddr) -> Self {
        Self { from: Some(from), ..self }
    }

    pub(super) fn log(&self) {
        let Self { level, target, session, from, text } = self;
        let (session, from) = (session.as_deref(), from.map(tracing::field::display));
        // The log decides by what is known when it is compiled, so every target stands here.
        macro_rules! log {
            ($($name:literal)+) => {
                match (*target, *level) {
                    $(
                        ($name, Level::ERROR) => tracing::error!(target: $name, session, from, "{text}"),
                        ($name, Level::WARN) => tracing::warn!(target: $name, session, from, "{text}"),
                        ($name, Level::INFO) => tracing::info!(target: $name, session, from, "{text}"),
                        ($name, _) => tracing::debug!(target: $name, session, from, "{text}"),
                    )+
                    (_, _) => tracing::info!(target: "sudp", session, from, "{text}"),
                }
            };
        }
        log!("sudp::client" "sudp::config" "sudp::flow" "sudp::link" "sudp::server" "sudp::session" "sudp::tunnel");
    }

    /// As one line.
    pub(super) fn line(&self) -> String {
        let Self { session, from, text, .. } = self;
        let session = session.as_ref().map(|session| format!("session {session}: ")).unwrap_or_default();
        let from = from.map(|from| format!(" (from {from})")).unwrap_or_default();
        format!("{session}{text}{from}")
    }
}

/// What a server has to tell; events of flows only where somebody minds them.
pub(super) fn server(event: &ServerEvent, flows: bool) -> Option<Note> {
    match event {
        ServerEvent::Session(id, event) => {
            let note = session(event, flows)?;
            // The end of a session has said why already, and its links end with it.
            Some(note.of(*id))
        }
        ServerEvent::Founded { session, from, principal } => {
            let who = if principal.is_empty() { "anybody".into() } else { shown(principal) };
            Some(Note::info("sudp::session", format!("begins, of {who}")).of(*session).by(*from))
        }
        ServerEvent::Refused { from, code } => {
            Some(Note::warn("sudp::session", format!("a client was refused: {}", words(*code))).by(*from))
        }
        ServerEvent::Ended { from, end } => {
            let text = format!("a stream ended before it was anybody's: {end}");
            Some(
                if let LinkEnd::Tls(_) = end {
                    Note::info("sudp::link", text)
                } else {
                    Note::debug("sudp::link", text)
                }
                .by(*from),
            )
        }
        ServerEvent::AcceptPaused { at, kind } => {
            let text = format!("no stream can be accepted at {at} at the moment: {kind}; what is connected goes on");
            Some(Note::warn("sudp::server", text))
        }
        _ => None,
    }
}

/// What a session has to tell, of either side.
pub(super) fn session(event: &Event, flows: bool) -> Option<Note> {
    let note = match event {
        Event::BooksDiffer { flow, said, seen } => Note::warn(
            "sudp::flow",
            format!("flow {}: the other side counts {said} datagrams, and this one {seen}", flow.0),
        ),
        Event::Closed { code, by_remote } => {
            let who = if *by_remote { "the other side says" } else { "this side says" };
            Note::info("sudp::session", format!("has ended: {} ({who})", words(*code)))
        }
        Event::Detached => Note::info("sudp::session", "no link is left; what is sent waits for the next"),
        Event::Established => Note::debug("sudp::session", "is established"),
        Event::FlowClosed { flow, code } if flows => {
            Note::debug("sudp::flow", format!("flow {} has ended: {}", flow.0, words(*code)))
        }
        Event::FlowOpened { flow, tunnel, by_remote } if flows => {
            let who = if *by_remote { "by the other side" } else { "here" };
            Note::debug("sudp::flow", format!("flow {} begins {who}, of tunnel {}", flow.0, tunnel.0))
        }
        Event::GoAway(_) => Note::info("sudp::session", "the other side is about to go away"),
        Event::LinkCleared { ordinal } => Note::info("sudp::link", format!("link {} makes progress again", ordinal.0)),
        Event::LinkEnded { ordinal, why } => {
            Note::info("sudp::link", format!("link {} has ended: {}", ordinal.0, loss(*why)))
        }
        Event::LinkSuspect { ordinal } => Note::info("sudp::link", format!("link {} makes no progress", ordinal.0)),
        Event::LinkUp { ordinal } => Note::info("sudp::link", format!("link {} is up", ordinal.0)),
        Event::Lost { code, in_doubt } => {
            // It may be lost with the process that had it, or taken away on purpose.
            let has = if matches!(code, Code::Denied | Code::Expired) { "taken away" } else { "lost" };
            let why = words(*code);
            let text = format!(
                "the server has {has} the session ({why}), and a new one begins; of {in_doubt} datagrams nobody knows \
                 whether they arrived"
            );
            Note::warn("sudp::session", text)
        }
        Event::Paused => Note::info("sudp::session", "this machine or process was asleep for a while"),
        Event::Poisoned { number } => {
            Note::warn("sudp::session", format!("batch {} was dropped: link after link ended under it", number.0))
        }
        Event::Renewed(Ok(())) => Note::debug("sudp::session", "is renewed"),
        Event::Renewed(Err(code)) => Note::warn(
            "sudp::session",
            format!(
                "the server does not take the new credential ({}); the session lives until its grant ends",
                words(*code)
            ),
        ),
        Event::RenewalAsked => Note::debug("sudp::session", "its client shows a new credential"),
        // Whoever has sessions tells of these in its own words.
        Event::Started { .. } | Event::TunnelBound { .. } => return None,
        Event::FlowClosed { .. } | Event::FlowOpened { .. } | _ => return None,
    };
    Some(note)
}

/// Whether it speaks of a flow, of which there may be very many.
pub(super) fn is_of_flow(event: &Event) -> bool {
    matches!(event, Event::FlowClosed { .. } | Event::FlowJudged { .. } | Event::FlowOpened { .. })
}

/// A session's name, as everybody writes it.
pub(super) fn session_name(session: SessionId) -> String {
    session.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a code means.
pub(crate) fn words(code: Code) -> String {
    let words = match code {
        Code::BadProof => "the proof that it belongs to the session is wrong",
        Code::Count => "an acknowledgement that cannot be true",
        Code::Denied => "not allowed",
        Code::Done => "its work is done",
        Code::Evicted => "a newer client of the same name has taken over",
        Code::Expired => "the grant has ended",
        Code::Full => "there is no room",
        Code::GoingAway => "the server stops or restarts",
        Code::Idle => "it was idle",
        Code::Limit => "a limit was exceeded",
        Code::Malformed => "the protocol was broken",
        Code::OrdinalBurnt => "the dial was known already",
        Code::Poison => "link after link ended under what was sent",
        Code::Silent => "nothing was heard for too long",
        Code::Stale => "a client of the same name was started later",
        Code::Unknown => "something that is not known was asked for",
        Code::UnknownSession => "no such session is known",
        Code::Unreachable => "the destination cannot be reached, or the port not be listened at",
        Code::Version => "no version of the protocol is common to both",
        other @ (Code::Other(_) | _) => return format!("code {}", other.to_u64()),
    };
    words.into()
}

fn loss(why: LinkLoss) -> String {
    let words = match why {
        LinkLoss::Ended => "the connection ended",
        LinkLoss::Fenced => "the other side says so",
        LinkLoss::GivenUp => "its dial was given up",
        LinkLoss::Replaced => "another has taken its place",
        LinkLoss::Silent => "nothing was heard for too long",
        LinkLoss::Suspect => "it made no progress while another did",
        LinkLoss::Violation(Code::Sealing) => {
            "what came was not what the other side has sealed: somebody on the way changes it"
        }
        LinkLoss::Violation(code) => return format!("the other side broke the protocol ({})", words(code)),
        _ => "for a reason without a name",
    };
    words.into()
}

/// What others call themselves: escaped, and not for ever.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

//! What has happened between two frames, told as events.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::Frame;
use super::text::clean;
use crate::status::{Role, Session};

/// How many events of flows a frame tells one by one.
const SINGLY: usize = 4;

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Event {
    /// How much it matters.
    pub(crate) weight: Weight,
    /// What it was, safe to show.
    pub(crate) text: String,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Weight {
    /// It is the usual course of things.
    Usual,
    /// Something became better.
    Good,
    /// Something became worse.
    Bad,
}

impl Event {
    /// An event with a text that is made safe.
    pub(crate) fn new(weight: Weight, text: impl AsRef<str>) -> Self {
        Self { weight, text: clean(text.as_ref()) }
    }
}

/// What differs and is not told by the instance itself.
pub(crate) fn changes(before: &Frame, now: &Frame) -> Vec<Event> {
    if before.status.pid != now.status.pid {
        let text = format!("another process took over: {}, before {}", now.status.pid, before.status.pid);
        return vec![Event::new(Weight::Usual, text)];
    }
    let stuck = |frame: &Frame| -> BTreeSet<(String, u64)> {
        let links = frame.status.sessions.iter().flat_map(|session| {
            session.links.iter().filter(|link| link.suspect).map(|link| (session.id.clone(), link.ordinal))
        });
        links.collect()
    };
    let (was, is) = (stuck(before), stuck(now));
    let alive = |(session, ordinal): &&(String, u64)| {
        let of = |known: &&Session| known.id == *session;
        let links = now.status.sessions.iter().find(of).map(|session| &session.links);
        links.is_some_and(|links| links.iter().any(|link| link.ordinal == *ordinal))
    };
    let freed = was.difference(&is).filter(alive);
    let text = |(session, ordinal): &(String, u64)| match now.status.role {
        Role::Client => format!("link {ordinal} goes on"),
        Role::Server => format!("session {}: link {ordinal} goes on", brief(session)),
    };
    freed.map(|link| Event::new(Weight::Good, text(link))).collect()
}

/// What the instance tells, as it is shown: sessions by the beginning of their names, the only one of a client without
/// any, and what happens to many flows at once as their number.
pub(crate) fn told(before: Option<&Frame>, now: &Frame) -> Vec<(SystemTime, Event)> {
    let frames = [before, Some(now)].into_iter().flatten();
    let sessions: BTreeSet<&str> =
        frames.flat_map(|frame| &frame.status.sessions).map(|session| session.id.as_str()).collect();
    let shorter = |text: &str| {
        let Some((id, rest)) = text.strip_prefix("session ").and_then(|text| text.split_once(": ")) else {
            return text.to_owned();
        };
        match now.status.role {
            Role::Client if sessions.contains(id) => rest.to_owned(),
            Role::Client | Role::Server => format!("session {}: {rest}", brief(id)),
        }
    };
    let of_flow = |text: &str| text.starts_with("flow ") || text.contains(": flow ");
    let flows = now.events.iter().filter(|(_, text)| of_flow(text)).count();
    let mut events = Vec::new();
    for (at, text) in &now.events {
        if flows <= SINGLY || !of_flow(text) {
            events.push((*at, Event::new(Weight::Usual, shorter(text))));
        }
    }
    if flows > SINGLY {
        events.push((now.at, Event::new(Weight::Usual, format!("{flows} times flows began or ended"))));
    }
    events
}

/// Enough of a session's name to tell it from the others.
pub(crate) fn brief(session: &str) -> String {
    session.chars().take(8).collect()
}

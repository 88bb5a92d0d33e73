//! What has happened between two frames, told as events.

use std::collections::BTreeMap;

use super::Frame;
use super::rates::key;
use super::text::clean;
use crate::status::{Flow, Health, Link, Role, Session};

/// How many events of one kind a frame tells one by one: more are told as their number.
const SINGLY: usize = 3;

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

/// What differs.
pub(crate) fn changes(before: &Frame, now: &Frame) -> Vec<Event> {
    if before.status.pid != now.status.pid {
        let text = format!("another process took over: {}, before {}", now.status.pid, before.status.pid);
        return vec![Event::new(Weight::Usual, text)];
    }
    let mut events = Vec::new();
    health(before, now, &mut events);
    reload(before, now, &mut events);
    tunnels(before, now, &mut events);
    sessions(before, now, &mut events);
    flows(before, now, &mut events);
    events
}

fn health(before: &Frame, now: &Frame, events: &mut Vec<Event>) {
    let (was, is) = (&before.status, &now.status);
    if was.health != is.health {
        let (weight, text) = match is.health {
            Health::Ok => (Weight::Good, "all is well"),
            Health::Connecting => (Weight::Bad, "no link: dialling"),
            Health::Draining => (Weight::Bad, "it ends, and finishes what is under way"),
        };
        events.push(Event::new(weight, text));
    }
    if let Some(reason) = is.reason.as_ref().filter(|reason| was.reason.as_ref() != Some(reason)) {
        events.push(Event::new(Weight::Bad, reason));
    }
}

fn reload(before: &Frame, now: &Frame, events: &mut Vec<Event>) {
    let Some(reload) = &now.status.reload else { return };
    if before.status.reload.as_ref().is_some_and(|before| before.at == reload.at) {
        return;
    }
    events.push(match &reload.error {
        None => Event::new(Weight::Good, "the configuration was read anew"),
        Some(error) => Event::new(Weight::Bad, format!("the new configuration was not taken: {error}")),
    });
}

fn tunnels(before: &Frame, now: &Frame, events: &mut Vec<Event>) {
    for tunnel in &now.status.tunnels {
        let was = before.status.tunnels.iter().find(|was| was.spec == tunnel.spec);
        if was.is_some_and(|was| was.listening == tunnel.listening && was.error == tunnel.error) {
            continue;
        }
        match (&tunnel.error, &tunnel.listening) {
            (Some(error), _) => {
                events.push(Event::new(Weight::Bad, format!("tunnel {}: {error}", tunnel.name)));
            }
            (None, Some(at)) => {
                events.push(Event::new(Weight::Good, format!("tunnel {} listens at {at}", tunnel.name)));
            }
            (None, None) => {}
        }
    }
    let gone = before.status.tunnels.iter().filter(|was| now.status.tunnels.iter().all(|is| is.spec != was.spec));
    events.extend(gone.map(|tunnel| Event::new(Weight::Usual, format!("tunnel {} was removed", tunnel.name))));
}

fn sessions(before: &Frame, now: &Frame, events: &mut Vec<Event>) {
    let index = |frame: &Frame| -> BTreeMap<String, Session> {
        frame.status.sessions.iter().map(|session| (session.id.clone(), session.clone())).collect()
    };
    let (was, is) = (index(before), index(now));
    let who = |session: &Session| {
        let with = if now.status.role == Role::Client { "with" } else { "from" };
        let principal = session.principal.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
        let peer = session.peer.as_ref().map(|peer| format!(" {with} {peer}")).unwrap_or_default();
        format!("session {}{principal}{peer}", brief(&session.id))
    };
    let began: Vec<_> = is.values().filter(|session| !was.contains_key(&session.id)).collect();
    let ended: Vec<_> = was.values().filter(|session| !is.contains_key(&session.id)).collect();
    tell(events, Weight::Good, &began, "sessions began", |session| format!("{} began", who(session)));
    tell(events, Weight::Bad, &ended, "sessions ended", |session| format!("{} ended", who(session)));
    let mut up = Vec::new();
    let (mut down, mut stuck, mut freed) = (Vec::new(), Vec::new(), Vec::new());
    for session in is.values() {
        let links = was.get(&session.id).map_or(&[] as &[Link], |was| &was.links);
        let known = |link: &Link| links.iter().find(|was| was.ordinal == link.ordinal);
        for link in &session.links {
            match known(link) {
                None => up.push((session, link)),
                Some(was) if link.suspect && !was.suspect => stuck.push((session, link)),
                Some(was) if !link.suspect && was.suspect => freed.push((session, link)),
                Some(_) => {}
            }
        }
        let gone = links.iter().filter(|was| session.links.iter().all(|link| link.ordinal != was.ordinal));
        down.extend(gone.map(|link| (session, link)));
    }
    let of = |session: &Session| match now.status.role {
        Role::Client => String::new(),
        Role::Server => format!(" of session {}", brief(&session.id)),
    };
    let name = |(session, link): &(&Session, &Link)| format!("link {}{}", link.ordinal, of(session));
    tell(events, Weight::Bad, &down, "links ended", |link| format!("{} ended", name(link)));
    tell(events, Weight::Good, &up, "links came up", |link| format!("{} is up", name(link)));
    tell(events, Weight::Bad, &stuck, "links are stuck", |link| format!("{} makes no progress", name(link)));
    tell(events, Weight::Good, &freed, "links go on", |link| format!("{} goes on", name(link)));
}

fn flows(before: &Frame, now: &Frame, events: &mut Vec<Event>) {
    let index = |frame: &Frame| -> BTreeMap<_, Flow> {
        frame.flows.iter().map(|flow| (key(flow), flow.clone())).collect()
    };
    let (was, is) = (index(before), index(now));
    let opened: Vec<_> = is.iter().filter(|(key, _)| !was.contains_key(*key)).collect();
    let closed: Vec<_> = was.iter().filter(|(key, _)| !is.contains_key(*key)).collect();
    let name = |flow: &Flow| {
        let end = |end: &Option<String>| end.clone().unwrap_or_else(|| "?".into());
        format!("flow {}, {} to {},", flow.id, end(&flow.source), end(&flow.destination))
    };
    tell(events, Weight::Usual, &opened, "flows opened", |(_, flow)| format!("{} opened", name(flow)));
    tell(events, Weight::Usual, &closed, "flows closed", |(_, flow)| format!("{} closed", name(flow)));
}

/// Tells a few one by one, and many as their number.
fn tell<T>(events: &mut Vec<Event>, weight: Weight, which: &[T], many: &str, each: impl Fn(&T) -> String) {
    if which.len() > SINGLY {
        events.push(Event::new(weight, format!("{} {many}", which.len())));
    } else {
        events.extend(which.iter().map(|one| Event::new(weight, each(one))));
    }
}

/// Enough of a session's name to tell it from the others.
pub(crate) fn brief(session: &str) -> String {
    session.chars().take(8).collect()
}

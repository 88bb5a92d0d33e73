//! The parts above and below the table.

use std::collections::BTreeMap;
use std::time::SystemTime;

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{Look, chart, heading};
use crate::status::{Health, Link, Role, Session, Status, Tunnel};
use crate::top::Frame;
use crate::top::changes::brief;
use crate::top::model::{Model, View};
use crate::top::rates::Rates;
use crate::top::text::{bits, both_ends, clean, count, left, right, size, span, time, whole};

/// What it is, and how it is.
pub(super) fn header(model: &Model, look: Look, width: usize) -> Line<'static> {
    let view = model.view();
    let Some(Frame { status, at, .. }) = &view.frame else {
        return Line::styled(left(" sudp top", width), look.bar());
    };
    let role = match status.role {
        Role::Client => "client",
        Role::Server => "server",
    };
    let name = clean(status.instance.as_deref().unwrap_or("in the foreground"));
    let (health, style) = match (status.health, &view.lost) {
        (_, Some(_)) => ("gone", look.bad()),
        (Health::Ok, None) => ("ok", look.good()),
        (Health::Connecting, None) => ("connecting", look.warn()),
        (Health::Draining, None) => ("draining", look.warn()),
    };
    let paused = if model.paused() { "  PAUSED" } else { "" };
    let mut line = vec![
        Span::styled(format!(" {role} {name} "), look.bar().add_modifier(Modifier::BOLD)),
        Span::styled(format!(" {health} "), style.patch(look.bar())),
    ];
    let used: usize = line.iter().map(Span::width).sum();
    let room = width.saturating_sub(used);
    let clock = format!("{} ", clock(*at));
    let full = format!("  up {}  version {}  pid {}{paused}", time(status.uptime), clean(&status.version), status.pid);
    let short = format!("  up {}{paused}", time(status.uptime));
    let said = if span(&full) + span(&clock) <= room { full } else { short };
    let said =
        if span(&said) + span(&clock) <= room { left(&said, room - span(&clock)) + &clock } else { left(&said, room) };
    line.push(Span::styled(said, look.bar()));
    Line::from(line)
}

/// Why it is not well.
pub(super) fn trouble(view: &View, look: Look, width: usize) -> Option<Line<'static>> {
    if let Some(why) = &view.lost {
        return Some(Line::styled(left(&format!(" {why}"), width), look.bad()));
    }
    let status = &view.frame.as_ref()?.status;
    let reload = status.reload.as_ref().and_then(|reload| reload.error.as_ref());
    let reload = reload.map(|error| format!(" the new configuration was not taken: {}", clean(error)));
    let reason = status.reason.as_ref().filter(|_| status.health != Health::Ok);
    let text = reason.map(|reason| format!(" {}", clean(reason))).or(reload)?;
    Some(Line::styled(left(&text, width), look.bad()))
}

/// Where it is, or whom it is with, and its tunnels.
pub(super) fn places(status: &Status, look: Look, width: usize, tunnels: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    match status.role {
        Role::Server => {
            let sessions = status.sessions.len();
            let count = format!("   {sessions} {}", if sessions == 1 { "session" } else { "sessions" });
            let listening = clean(&status.listening.join(", "));
            let listening = left(&listening, span(&listening).min(width.saturating_sub(12 + span(&count))));
            lines.push(Line::from(vec![
                Span::styled(" listens at ", look.label()),
                Span::raw(listening),
                Span::raw(count),
            ]));
        }
        Role::Client => lines.push(server(status, look, width)),
    }
    let mut shown: Vec<_> = status.tunnels.iter().collect();
    // What does not work goes before what does.
    shown.sort_by_key(|tunnel| tunnel.error.is_none());
    let more = shown.len().saturating_sub(tunnels);
    for (at, tunnel) in shown.into_iter().take(tunnels).enumerate() {
        let more = if at + 1 == tunnels && more > 0 { format!("  and {more} more") } else { String::new() };
        lines.push(tunnel_line(tunnel, &more, look, width));
    }
    lines
}

fn server(status: &Status, look: Look, width: usize) -> Line<'static> {
    let session = status.sessions.first();
    let server = session.and_then(|session| session.peer.as_ref()).or(status.servers.first());
    let server = server.map_or_else(|| "none".to_owned(), |server| clean(server));
    let others = status.servers.len().saturating_sub(1);
    let mut rest = if others > 0 { format!(" (+{others} more)") } else { String::new() };
    if let Some(Session { id, age, .. }) = session {
        rest += &format!("   session {} for {}", clean(&brief(id)), time(*age));
    }
    let room = width.saturating_sub(9);
    let server = left(&server, span(&server).min(room));
    let rest = left(&rest, room - span(&server));
    Line::from(vec![Span::styled(" server  ", look.label()), Span::raw(server), Span::raw(rest)])
}

fn tunnel_line(tunnel: &Tunnel, more: &str, look: Look, width: usize) -> Line<'static> {
    let state = match (&tunnel.error, &tunnel.listening) {
        (Some(error), _) => format!("  {}", clean(error)),
        (None, Some(at)) => format!("  at {}", clean(at)),
        (None, None) => "  waits for the server".to_owned(),
    };
    let style = if tunnel.error.is_some() { look.bad() } else { Style::new() };
    let mut name = clean(&tunnel.name);
    if tunnel.name != tunnel.spec {
        name += &format!("  {}", clean(&tunnel.spec));
    }
    let room = width.saturating_sub(9 + span(more));
    let name = left(&name, span(&name).min(room));
    let state = left(&state, span(&state).min(room - span(&name)));
    Line::from(vec![
        Span::styled(" tunnel  ", look.label()),
        Span::raw(name),
        Span::styled(state, style),
        Span::styled(more.to_owned(), look.label()),
    ])
}

/// What passes, with a chart of this height of the last minutes.
pub(super) fn rates(view: &View, look: Look, width: usize, height: usize) -> Vec<Line<'static>> {
    let total = view.rates.total;
    let mut lines = Vec::new();
    let ways = [
        ("out", total.out_bytes, total.out, &view.rates.history_out, look.good()),
        ("in", total.in_bytes, total.in_, &view.rates.history_in, look.title()),
    ];
    for (name, bytes, datagrams, history, style) in ways {
        let rate = format!("{} bit/s {} /s ", right(&bits(bytes), 6), right(&count(whole(datagrams.round())), 6));
        let peak = history.iter().max().copied().unwrap_or_default();
        let peak =
            if width >= 70 { format!(" peak {}", right(&count(peak.saturating_mul(8)), 5)) } else { String::new() };
        let columns = width.saturating_sub(5 + span(&rate) + span(&peak));
        let mut chart = chart::lines(history, view.rates.seen, columns, height.max(1), look);
        let last = chart.pop().unwrap_or_default();
        for bars in chart {
            lines.push(Line::from(vec![Span::raw(" ".repeat(5 + span(&rate))), Span::styled(bars, style)]));
        }
        lines.push(Line::from(vec![
            Span::styled(format!(" {name:<3} "), look.label()),
            Span::styled(rate, Style::new().add_modifier(Modifier::BOLD)),
            Span::styled(last, style),
            Span::styled(peak, look.label()),
        ]));
    }
    if height == 0 {
        lines.truncate(2);
    }
    lines
}

/// The links, at most so many lines of them: those that are stuck before those that carry most.
pub(super) fn links(status: &Status, look: Look, width: usize, room: usize) -> Vec<Line<'static>> {
    let mut links: Vec<(&Session, &Link)> = Vec::new();
    for session in &status.sessions {
        links.extend(session.links.iter().map(|link| (session, link)));
    }
    links.sort_by_key(|(session, link)| {
        let first = std::cmp::Reverse((link.suspect, if status.role == Role::Server { link.in_flight } else { 0 }));
        (first, session.id.clone(), link.ordinal)
    });
    if room < 3 || width < 60 || links.is_empty() {
        return vec![links_in_short(&links, look, width)];
    }
    let server = status.role == Role::Server;
    let names = if server { " LINK  SESSION         " } else { " LINK  " };
    let titles = format!("{names}    RTT  LEAST RTT   WINDOW  IN FLIGHT");
    let mut lines = vec![Line::styled(left(&titles, width), look.label())];
    let fits = if links.len() < room { links.len() } else { room.saturating_sub(2) };
    for (session, link) in &links[..fits] {
        let known = |seconds: Option<f64>| seconds.map_or_else(|| "?".to_owned(), time);
        let who = clean(session.principal.as_ref().unwrap_or(&brief(&session.id)));
        let who = if server { left(&who, 14) + "  " } else { String::new() };
        let text = format!(
            " {}  {who}{} {}   {} {}  ",
            right(&link.ordinal.to_string(), 4),
            right(&known(link.rtt), 7),
            right(&known(link.rtt_min), 10),
            right(&size(link.window), 6),
            right(&size(link.in_flight), 10),
        );
        let bar = gauge(link.in_flight, link.window, 20, look);
        let state = if link.suspect { " no progress" } else { "" };
        lines.push(Line::from(vec![Span::raw(text), Span::styled(bar, look.good()), Span::styled(state, look.bad())]));
    }
    if links.len() > fits {
        lines.push(Line::styled(format!("       and {} more", links.len() - fits), look.label()));
    }
    lines
}

fn links_in_short(links: &[(&Session, &Link)], look: Look, width: usize) -> Line<'static> {
    let suspects = links.iter().filter(|(_, link)| link.suspect).count();
    let rtts = links.iter().filter_map(|(_, link)| link.rtt);
    let rtt = rtts.min_by(f64::total_cmp).map(|rtt| format!(", RTT {}", time(rtt))).unwrap_or_default();
    let in_flight = links.iter().fold(0_u64, |sum, (_, link)| sum.saturating_add(link.in_flight));
    let flying = if links.is_empty() { String::new() } else { format!(", {} in flight", size(in_flight)) };
    let stuck = if suspects > 0 { format!(", {suspects} without progress") } else { String::new() };
    let style = if suspects > 0 || links.is_empty() { look.bad() } else { Style::new() };
    let text = format!("{}{stuck}{rtt}{flying}", links.len());
    Line::from(vec![Span::styled(" links   ", look.label()), Span::styled(left(&text, width.saturating_sub(9)), style)])
}

fn gauge(part: u64, whole: u64, columns: usize, look: Look) -> String {
    let share = u128::from(part) * columns as u128 / u128::from(whole.max(1));
    let full = usize::try_from(share).unwrap_or(columns).min(columns);
    let (on, off) = if look.unicode { ("█", "░") } else { ("#", ".") };
    on.repeat(full) + &off.repeat(columns - full)
}

/// What was dropped, by reason, and what else went wrong and was made good.
pub(super) fn drops(frame: &Frame, rates: &Rates, look: Look, width: usize) -> Line<'static> {
    let traffic = &frame.status.traffic;
    let mut line = Line::from(Span::styled(" drops   ", look.label()));
    let mut any = false;
    let ways = [("out", &traffic.dropped_out, &rates.dropping_out), ("in", &traffic.dropped_in, &rates.dropping_in)];
    for (way, drops, now) in ways {
        if drops.values().any(|count| *count > 0) {
            any = true;
            line.push_span(Span::styled(format!("{way} "), look.label()));
            by_reason(&mut line, drops, now, look);
        }
    }
    if traffic.kernel_drops > 0 {
        any = true;
        line.push_span(Span::styled(format!("kernel {}  ", count(traffic.kernel_drops)), look.warn()));
    }
    if !any {
        line.push_span(Span::styled("none  ", look.good()));
    }
    let counts =
        [("sent again", traffic.replayed), ("recognised", traffic.duplicates), ("links so far", traffic.links)];
    for (name, number) in counts {
        if number > 0 && line.width() + name.len() + 8 <= width {
            line.push_span(Span::styled(format!("{name} "), look.label()));
            line.push_span(Span::raw(format!("{}  ", count(number))));
        }
    }
    line
}

fn by_reason(line: &mut Line<'_>, drops: &BTreeMap<String, u64>, now: &BTreeMap<String, f64>, look: Look) {
    for (reason, number) in drops.iter().filter(|(_, number)| **number > 0) {
        let (rate, style) = match now.get(reason) {
            Some(rate) => (format!(" +{}/s", count(whole(rate.ceil()))), look.bad()),
            None => (String::new(), look.warn()),
        };
        line.push_span(Span::styled(format!("{} {}{rate}  ", clean(reason), count(*number)), style));
    }
}

/// What has happened, as far as there is room for it.
pub(super) fn events(view: &View, look: Look, width: usize, room: usize) -> Vec<Line<'static>> {
    let Some(rows) = room.checked_sub(1).filter(|rows| *rows > 0) else { return Vec::new() };
    let mut lines = vec![heading(" EVENTS", look, width)];
    let first = view.events.len().saturating_sub(rows);
    for (at, event) in view.events.iter().skip(first) {
        lines.push(Line::from(vec![
            Span::styled(format!(" {} ", &clock(*at)[..8]), look.label()),
            Span::styled(both_ends(&event.text, width.saturating_sub(10)), look.weight(event.weight)),
        ]));
    }
    lines.resize(room, Line::default());
    lines
}

/// The time of day.
fn clock(at: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.get(11..19).map_or(text.clone(), |time| format!("{time} UTC"))
}

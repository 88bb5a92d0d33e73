//! What lies over the table: help, everything about a flow, and questions.

use ratatui::text::{Line, Span};

use super::{Look, chart};
use crate::status::Traffic;
use crate::top::model::{Ask, Mode, Model};
use crate::top::text::{bits, both_ends, clean, count, left, size, span, time, whole};

/// What is asked, with the keys that answer it. The answer is in sight however narrow the terminal is.
pub(super) fn question(ask: &Ask, width: usize) -> String {
    let keys = "  y/n";
    let text = match ask {
        Ask::Cut(_, what) => format!(" Cut {what}?"),
        Ask::Reconnect => " Make all links anew? Flows and their ports stay.".to_owned(),
        Ask::Stop => " Stop this client? Its flows end.".to_owned(),
    };
    let room = width.saturating_sub(keys.len());
    both_ends(&text, span(&text).min(room)) + keys
}

/// The lines of what is to be seen over the table, if anything is.
pub(super) fn lines(model: &Model, look: Look, width: usize) -> Option<Vec<Line<'static>>> {
    match &model.mode {
        Mode::Help => Some(help(model, look)),
        Mode::Details => details(model, look, width.saturating_sub(4)),
        Mode::Table | Mode::Filter(_) | Mode::Ask(_) => None,
    }
}

/// Lays a box with these lines over the middle of others.
pub(super) fn lay_over(below: &mut [Line<'static>], lines: Vec<Line<'static>>, look: Look, width: usize) {
    let inner = lines.iter().map(Line::width).max().unwrap_or_default().min(width.saturating_sub(4));
    let [corner, flat, upright] = if look.unicode { ["┌┐└┘", "─", "│"] } else { ["++++", "-", "|"] };
    let corner: Vec<_> = corner.chars().collect();
    let edge = |one: char, other: char| Line::raw(format!("{one}{}{other}", flat.repeat(inner + 2)));
    let mut framed = vec![edge(corner[0], corner[1])];
    // The footer stays to be seen, and the lower edge is part of the box.
    let room = below.len().saturating_sub(3);
    for line in lines.into_iter().take(room) {
        let blanks = inner.saturating_sub(line.width());
        let mut spans = vec![Span::raw(format!("{upright} "))];
        spans.extend(shortened(line, inner));
        spans.push(Span::raw(format!("{} {upright}", " ".repeat(blanks))));
        framed.push(Line::from(spans));
    }
    framed.push(edge(corner[2], corner[3]));
    let top = below.len().saturating_sub(1 + framed.len()) / 2;
    let margin = width.saturating_sub(inner + 4) / 2;
    for (line, over) in below.iter_mut().skip(top).zip(framed) {
        // What is at the sides would be cut anywhere: blanks are easier on the eye.
        let mut spans = vec![Span::raw(" ".repeat(margin))];
        spans.extend(over.spans);
        *line = Line::from(spans);
    }
}

fn shortened(line: Line<'static>, columns: usize) -> Vec<Span<'static>> {
    let mut room = columns;
    let cut = |span_of: Span<'static>| {
        let text = left(&span_of.content, span(&span_of.content).min(room));
        room -= span(&text);
        Span::styled(text, span_of.style)
    };
    line.spans.into_iter().map(cut).collect()
}

fn help(model: &Model, look: Look) -> Vec<Line<'static>> {
    let quit = if model.owner { "stop the client, once asked (Ctrl-C: at once)" } else { "quit; the instance goes on" };
    let keys = [
        ("q", quit),
        ("s  S", "sort by the next, the previous column"),
        ("r", "turn the order round"),
        ("/", "show only flows that have a text in them"),
        ("up down", "select a flow (also PgUp, PgDn, Home, End)"),
        ("Enter", "everything about the selected flow"),
        ("k  x", "cut the selected flow, once asked"),
        ("R", "make the links anew, once asked"),
        ("p", "pause: the screen stays as it is"),
        ("Esc", "give up the selection, then the filter"),
        ("Ctrl-L", "draw everything anew"),
    ];
    let mut lines: Vec<_> = keys
        .into_iter()
        .map(|(key, does)| Line::from(vec![Span::styled(format!("{key:<8} "), look.title()), Span::raw(does)]))
        .collect();
    lines.push(Line::default());
    let notes = [
        "out: taken here for the other side; in: delivered here".to_owned(),
        "sizes in bytes, rates in bits".to_owned(),
        format!("a column of the chart is {} seconds", chart::SECONDS),
    ];
    lines.extend(notes.into_iter().map(|note| Line::styled(note, look.label())));
    lines
}

fn details(model: &Model, look: Look, width: usize) -> Option<Vec<Line<'static>>> {
    let (flow, rate) = model.selected()?;
    let text = |text: &Option<String>| text.as_deref().map_or_else(|| "not known".to_owned(), clean);
    let bits = |bytes: f64, datagrams: f64| format!("{} bit/s, {} /s", bits(bytes), count(whole(datagrams.round())));
    let Traffic { out, out_bytes, in_, in_bytes, dropped_out, dropped_in, .. } = &flow.traffic;
    let sum = |datagrams: &u64, bytes: &u64| format!("{datagrams} datagrams, {} bytes", size(*bytes));
    let drops = |drops: &std::collections::BTreeMap<String, u64>| {
        let some: Vec<_> = drops.iter().map(|(reason, number)| format!("{} {number}", clean(reason))).collect();
        if some.is_empty() { "none".to_owned() } else { some.join(", ") }
    };
    let facts = [
        ("flow", format!("{} of session {}", flow.id, clean(&flow.session))),
        ("tunnel", text(&flow.tunnel)),
        ("source", text(&flow.source)),
        ("destination", text(&flow.destination)),
        ("class", clean(&flow.class)),
        ("age, idle", format!("{}, {}", time(flow.age), time(flow.idle))),
        ("rate out", bits(rate.out_bytes, rate.out)),
        ("rate in", bits(rate.in_bytes, rate.in_)),
        ("out", sum(out, out_bytes)),
        ("in", sum(in_, in_bytes)),
        ("queued", format!("{} bytes", flow.queued)),
        ("dropped out", drops(dropped_out)),
        ("dropped in", drops(dropped_in)),
    ];
    let line = |(name, fact): (&str, String)| {
        let fact = both_ends(&fact, span(&fact).min(width.saturating_sub(12)));
        Line::from(vec![Span::styled(format!("{name:<12}"), look.label()), Span::raw(fact)])
    };
    Some(facts.into_iter().map(line).collect())
}

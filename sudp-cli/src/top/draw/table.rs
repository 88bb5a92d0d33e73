//! The table of flows.

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{Look, heading};
use crate::status::{Flow, Role};
use crate::top::changes::brief;
use crate::top::model::Model;
use crate::top::rates::{Rate, key};
use crate::top::sort::{Sort, drops, total};
use crate::top::text::{bits, both_ends, clean, count, left, right, size, span, time};

/// A column behind source and destination.
struct Column {
    title: &'static str,
    width: usize,
    sort: Option<Sort>,
    cell: fn(&Flow, &Rate) -> String,
}

/// A heading, the titles, and the flows, in all so many lines.
pub(super) fn lines(model: &Model, look: Look, width: usize, room: usize) -> Vec<Line<'static>> {
    let view = model.view();
    let Some(frame) = view.frame.as_ref().filter(|_| room > 0) else { return Vec::new() };
    let flows = model.rows();
    let mut text = format!(" FLOWS {}", flows.len());
    if flows.len() != frame.flows.len() {
        text += &format!(" of {}", frame.flows.len());
    }
    text += &format!("  by {}{}", model.sort.name(), if model.reversed { ", reversed" } else { "" });
    if !model.filter.is_empty() {
        text += &format!("  with '{}'", clean(&model.filter));
    }
    let mut lines = vec![heading(&text, look, width)];
    let columns = columns(width, frame.status.role);
    let taken: usize = columns.iter().map(|column| column.width + 1).sum();
    let ends = width.saturating_sub(taken + span(look.arrow()) + 1);
    let (source, destination) = (ends / 2, ends - ends / 2);
    lines.push(titles(model, &columns, source, destination, look));
    let rows = room.saturating_sub(2);
    let at = model.selected.as_ref().and_then(|selected| flows.iter().position(|(flow, _)| key(flow) == *selected));
    // The selection is always on the screen.
    let first = at.map_or(0, |at| (at + 1).saturating_sub(rows));
    for (index, (flow, rate)) in flows.iter().enumerate().skip(first).take(rows) {
        let end = |end: &Option<String>, room| both_ends(&end.as_deref().map_or_else(|| "?".into(), clean), room);
        let mut text = format!(" {}{}{}", end(&flow.source, source), look.arrow(), end(&flow.destination, destination));
        for column in &columns {
            text.push(' ');
            text += &aligned(&(column.cell)(flow, rate), column);
        }
        let quiet = rate.bytes() == 0.0;
        let style = match (at == Some(index), drops(flow) > 0) {
            (true, _) => look.bar(),
            (false, true) => look.warn(),
            (false, false) if quiet => look.label(),
            (false, false) => Style::new(),
        };
        lines.push(Line::styled(text, style));
    }
    if flows.is_empty() && rows > 0 {
        let why = if frame.flows.is_empty() { " no datagram has passed yet" } else { " no flow has that" };
        lines.push(Line::styled(why, look.label()));
    }
    lines.resize(room, Line::default());
    lines
}

fn titles(model: &Model, columns: &[Column], source: usize, destination: usize, look: Look) -> Line<'static> {
    let styled = |text: String, sort: Option<Sort>| {
        let sorted = sort == Some(model.sort);
        let style = if sorted { look.title().add_modifier(Modifier::UNDERLINED) } else { look.label() };
        Span::styled(text, style)
    };
    let mut line = Line::from(vec![
        Span::raw(" "),
        styled(left("SOURCE", source), Some(Sort::Source)),
        Span::raw(" ".repeat(span(look.arrow()))),
        styled(left("DESTINATION", destination), Some(Sort::Destination)),
    ]);
    for column in columns {
        line.push_span(Span::raw(" "));
        line.push_span(styled(aligned(column.title, column), column.sort));
    }
    line
}

/// Texts begin at the left, numbers end at the right.
fn aligned(text: &str, column: &Column) -> String {
    if column.sort.is_none() { left(text, column.width) } else { right(text, column.width) }
}

/// What there is room for.
fn columns(width: usize, role: Role) -> Vec<Column> {
    let column = |title, width, sort, cell| Column { title, width, sort, cell };
    let rate = column("BIT/S", 5, Some(Sort::Rate), |_, rate| bits(rate.bytes()));
    let queued = column("QUEUED", 6, Some(Sort::Queued), |flow, _| size(flow.queued));
    if width < 60 {
        return vec![rate, queued];
    }
    let class = column("CLASS", 8, None, |flow, _| clean(&flow.class));
    let sum = column("TOTAL", 5, Some(Sort::Total), |flow, _| size(total(flow)));
    let idle = column("IDLE", 7, Some(Sort::Idle), |flow, _| time(flow.idle));
    let dropped = column("DROPS", 5, Some(Sort::Drops), |flow, _| count(drops(flow)));
    if width < 116 {
        return vec![class, rate, sum, queued, idle, dropped];
    }
    let from = match role {
        Role::Client => column("TUNNEL", 14, None, |flow, _| clean(flow.tunnel.as_deref().unwrap_or("?"))),
        Role::Server => column("SESSION", 8, None, |flow, _| clean(&brief(&flow.session))),
    };
    let out = column("OUT BIT/S", 9, Some(Sort::Rate), |_, rate| bits(rate.out_bytes));
    let in_ = column("IN BIT/S", 8, Some(Sort::Rate), |_, rate| bits(rate.in_bytes));
    vec![from, class, out, in_, sum, queued, idle, dropped]
}

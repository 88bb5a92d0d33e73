//! How the dashboard looks: a model in, a screen out. Everything is lines, put together from the top to the bottom.

mod chart;
mod dialog;
mod parts;
mod table;

use ratatui::Frame as Screen;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::changes::Weight;
use super::model::{Mode, Model};
use super::text::{left, span};

/// What the terminal can show.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Look {
    /// Whether there are colours.
    pub(crate) color: bool,
    /// Whether there is more than ASCII.
    pub(crate) unicode: bool,
}

impl Look {
    /// What the environment says of the terminal.
    pub(crate) fn of_environment(color: bool) -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_lowercase();
        let unicode = locale.contains("utf-8") || locale.contains("utf8");
        Self { color, unicode: unicode && set("TERM").is_none_or(|term| term != "linux") }
    }

    fn arrow(self) -> &'static str {
        if self.unicode { " → " } else { " > " }
    }

    fn title(self) -> Style {
        self.colored(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    fn label(self) -> Style {
        if self.color { Style::new().fg(Color::DarkGray) } else { Style::new() }
    }

    fn good(self) -> Style {
        self.colored(Color::Green)
    }

    fn warn(self) -> Style {
        self.colored(Color::Yellow)
    }

    fn bad(self) -> Style {
        self.colored(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn bar(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn weight(self, weight: Weight) -> Style {
        match weight {
            Weight::Usual => Style::new(),
            Weight::Good => self.good(),
            Weight::Bad => self.bad(),
        }
    }

    fn colored(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }
}

/// Draws it all, and returns how many rows of flows there was room for.
pub(crate) fn draw(model: &Model, look: Look, screen: &mut Screen<'_>) -> usize {
    let area = screen.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let (mut lines, rows) = compose(model, look, width, height);
    if let Some(dialog) = dialog::lines(model, look, width) {
        dialog::lay_over(&mut lines, dialog, look, width);
    }
    let buffer = screen.buffer_mut();
    for (line, y) in lines.iter().zip(area.top()..area.bottom()) {
        buffer.set_line(area.left(), y, line, area.width);
    }
    if let (Mode::Filter(_), Some(row)) = (&model.mode, area.bottom().checked_sub(1)) {
        let column = u16::try_from(1 + span(&model.filter)).unwrap_or(u16::MAX);
        screen.set_cursor_position((area.left() + column.min(area.width.saturating_sub(1)), row));
    }
    rows
}

/// The screen, line by line. What there is no room for is left out, the least important first.
fn compose(model: &Model, look: Look, width: usize, height: usize) -> (Vec<Line<'static>>, usize) {
    let view = model.view();
    let mut lines = vec![parts::header(model, look, width)];
    let mut rows = 0;
    let foot = footer(model, look, width);
    if let Some(frame) = &view.frame {
        if let Some(trouble) = parts::trouble(view, look, width) {
            lines.push(trouble);
        }
        if height >= 18 {
            lines.extend(parts::places(&frame.status, look, width, if height >= 36 { 4 } else { 1 }));
        }
        let tall = match height {
            0..30 => 1,
            30..50 => 3,
            _ => 5,
        };
        lines.extend(parts::rates(view, look, width, if height >= 10 { tall } else { 0 }));
        lines.extend(parts::links(&frame.status, look, width, height / 5));
        lines.push(parts::drops(frame, &view.rates, look, width));
        if height >= 18 {
            lines.push(Line::default());
        }
        // What is left is shared by flows and events.
        let left_over = height.saturating_sub(lines.len() + 1);
        let events = match left_over {
            0..6 => 0,
            6..10 => 2,
            _ => left_over / 3,
        };
        rows = left_over.saturating_sub(events + 2);
        lines.extend(table::lines(model, look, width, left_over - events));
        lines.extend(parts::events(view, look, width, events));
    } else if let Some(why) = &view.lost {
        lines.push(Line::styled(left(why, width), look.bad()));
    } else {
        lines.push(Line::raw("waiting for the instance to say how it is"));
    }
    lines.truncate(height.saturating_sub(1));
    lines.resize(height.saturating_sub(1), Line::default());
    lines.push(foot);
    (lines, rows)
}

/// The last line: what is asked, what is typed, what was said, or what the keys do.
fn footer(model: &Model, look: Look, width: usize) -> Line<'static> {
    match &model.mode {
        Mode::Ask(ask) => return Line::styled(left(&dialog::question(ask, width), width), look.bar()),
        Mode::Filter(_) => {
            let keys = "Enter keep  Esc undo";
            let room = width.saturating_sub(span(keys) + 3);
            let typed = left(&super::text::clean(&model.filter), room);
            return Line::from(vec![Span::raw(format!("/{typed} ")), Span::styled(keys, look.label())]);
        }
        Mode::Table | Mode::Details | Mode::Help => {}
    }
    if let Some(said) = &model.said {
        return Line::styled(left(&said.text, width), look.weight(said.weight));
    }
    let keys = [
        ("?", "help"),
        ("q", "quit"),
        ("s", "sort"),
        ("/", "filter"),
        ("k", "cut"),
        ("p", "pause"),
        ("R", "reconnect"),
        ("r", "reverse"),
        ("Enter", "details"),
    ];
    let mut line = Line::default();
    for (key, does) in keys {
        if line.width() + key.len() + does.len() + 3 > width {
            break;
        }
        line.push_span(Span::styled(key, look.title()));
        line.push_span(Span::styled(format!(" {does}  "), look.label()));
    }
    line
}

/// A title that goes over the whole line.
fn heading(text: &str, look: Look, width: usize) -> Line<'static> {
    let rule = if look.unicode { "─" } else { "-" };
    let text = left(text, span(text).min(width));
    let rest = rule.repeat(width.saturating_sub(span(&text) + 1));
    Line::from(vec![Span::styled(text, look.title()), Span::raw(" "), Span::styled(rest, look.label())])
}

#[cfg(test)]
mod tests;

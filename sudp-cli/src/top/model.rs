//! What the dashboard knows and does: keys and frames go in, and what is to be done comes out. It draws nothing.

#![expect(clippy::wildcard_enum_match_arm, reason = "most keys mean nothing, and new ones mean nothing either")]

use std::collections::VecDeque;
use std::time::SystemTime;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::Frame;
use super::changes::{Event, Weight, changes, told};
use super::rates::{Key, Rate, Rates, key};
use super::sort::{Sort, in_order, matches};
use super::text::clean;
use crate::exit::Outcome;
use crate::status::Flow;

/// How many events are kept.
const EVENTS: usize = 500;
/// How long a filter may be.
const FILTER: usize = 64;

/// The dashboard, but for its looks.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// Whether it ends the instance when it ends, as `sudp client -i` does.
    pub(crate) owner: bool,
    /// What takes the keys.
    pub(crate) mode: Mode,
    /// The order of the flows.
    pub(crate) sort: Sort,
    /// Whether that order is turned round.
    pub(crate) reversed: bool,
    /// What a flow must have in it to be shown.
    pub(crate) filter: String,
    /// The flow that keys are about.
    pub(crate) selected: Option<Key>,
    /// What became of the last command, until the next key.
    pub(crate) said: Option<Event>,
    live: View,
    frozen: Option<View>,
    /// How many rows of flows the screen shows, as it was drawn last.
    page: usize,
}

/// What is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// The last frame, once there is one.
    pub(crate) frame: Option<Frame>,
    /// What happens a second.
    pub(crate) rates: Rates,
    /// What has happened, the latest at the end.
    pub(crate) events: VecDeque<(SystemTime, Event)>,
    /// Why no more frames come, while that is so.
    pub(crate) lost: Option<String>,
}

/// What takes the keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// The table.
    Table,
    /// A filter is typed; what it was before is kept, to go back to.
    Filter(String),
    /// A question is asked.
    Ask(Ask),
    /// All about the selected flow.
    Details,
    /// What the keys do.
    Help,
}

/// A question, to be answered before anything happens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Ask {
    /// Whether this flow is to be cut; with its description.
    Cut(Key, String),
    /// Whether the links are to be made anew.
    Reconnect,
    /// Whether the instance is to end with its dashboard.
    Stop,
}

/// What is to be done for a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    /// Cut this flow.
    Cut(Key),
    /// Leave.
    Quit,
    /// Make the links anew.
    Reconnect,
    /// Draw everything anew, whatever the terminal shows.
    Redraw,
    /// Stop this process until the shell has it go on.
    Suspend,
}

impl Model {
    /// A dashboard that has not seen anything yet.
    pub(crate) fn new(owner: bool) -> Self {
        Self {
            owner,
            mode: Mode::Table,
            sort: Sort::Rate,
            reversed: false,
            filter: String::new(),
            selected: None,
            said: None,
            live: View::default(),
            frozen: None,
            page: 10,
        }
    }

    /// Takes how the instance is now.
    pub(crate) fn handle_frame(&mut self, frame: Frame) {
        let live = &mut self.live;
        live.lost = None;
        live.rates.handle_frame(&frame.status, &frame.flows);
        if frame.missed > 0 {
            let text = format!("{} earlier events were left out", frame.missed);
            note(&mut live.events, frame.at, Event::new(Weight::Usual, text));
        }
        let found = live.frame.as_ref().map(|before| changes(before, &frame)).unwrap_or_default();
        for (at, event) in told(live.frame.as_ref(), &frame) {
            note(&mut live.events, at, event);
        }
        for event in found {
            note(&mut live.events, frame.at, event);
        }
        live.frame = Some(frame);
        self.keep_selection();
    }

    /// Takes that no frames come any more, until the instance is there again.
    pub(crate) fn handle_loss(&mut self, at: SystemTime, why: &str) {
        if self.live.lost.is_none() {
            note(&mut self.live.events, at, Event::new(Weight::Bad, why));
        }
        self.live.lost = Some(clean(why));
        // A frozen view would hide that there is nothing behind it any more.
        self.frozen = None;
    }

    /// Takes what became of a command.
    pub(crate) fn handle_outcome(&mut self, done: &str, outcome: &Outcome) {
        self.said = Some(match outcome {
            Ok(()) => Event::new(Weight::Good, done),
            Err(failure) => Event::new(Weight::Bad, &failure.message),
        });
    }

    /// Takes a key, and says what is to be done for it.
    pub(crate) fn handle_key(&mut self, event: KeyEvent) -> Option<Action> {
        if event.kind == KeyEventKind::Release {
            return None;
        }
        self.said = None;
        if event.modifiers.contains(KeyModifiers::CONTROL) {
            return match event.code {
                KeyCode::Char('c' | 'd') => Some(Action::Quit),
                KeyCode::Char('z') => Some(Action::Suspend),
                KeyCode::Char('l') => Some(Action::Redraw),
                KeyCode::Char('u') => self.clear_filter(),
                _ => None,
            };
        }
        match self.mode.clone() {
            Mode::Table => self.on_table(event.code),
            Mode::Filter(before) => self.on_filter(event.code, before),
            Mode::Ask(ask) => self.on_answer(event.code, ask),
            Mode::Details => self.on_details(event.code),
            Mode::Help => {
                self.mode = Mode::Table;
                None
            }
        }
    }

    /// Takes how many rows of flows there is room for.
    pub(crate) fn handle_page(&mut self, rows: usize) {
        self.page = rows.max(1);
    }

    /// What is shown: what is, or what was when it was paused.
    pub(crate) fn view(&self) -> &View {
        self.frozen.as_ref().unwrap_or(&self.live)
    }

    /// Whether it is paused.
    pub(crate) fn paused(&self) -> bool {
        self.frozen.is_some()
    }

    /// The flows that are shown, in their order, each with what it does.
    pub(crate) fn rows(&self) -> Vec<(&Flow, Rate)> {
        let view = self.view();
        let Some(frame) = &view.frame else { return Vec::new() };
        let rows = frame.flows.iter().filter(|flow| matches(flow, &self.filter));
        in_order(rows.map(|flow| (flow, view.rates.of(&key(flow)))).collect(), self.sort, self.reversed)
    }

    /// The selected flow.
    pub(crate) fn selected(&self) -> Option<(&Flow, Rate)> {
        let selected = self.selected.as_ref()?;
        self.rows().into_iter().find(|(flow, _)| key(flow) == *selected)
    }

    fn on_table(&mut self, code: KeyCode) -> Option<Action> {
        match code {
            KeyCode::Char('q') if self.owner => self.mode = Mode::Ask(Ask::Stop),
            KeyCode::Char('q') => return Some(Action::Quit),
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('S') => self.sort = self.sort.previous(),
            KeyCode::Char('r') => self.reversed = !self.reversed,
            KeyCode::Char('R') => self.mode = Mode::Ask(Ask::Reconnect),
            KeyCode::Char('p' | ' ') => self.pause(),
            KeyCode::Char('/') => self.mode = Mode::Filter(self.filter.clone()),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.mode = Mode::Help,
            KeyCode::Char('k' | 'x') | KeyCode::Delete => self.ask_to_cut(),
            KeyCode::Enter => self.details(),
            // The first Esc puts down the selection, the next one the filter.
            KeyCode::Esc if self.selected.is_some() => self.selected = None,
            KeyCode::Esc => self.filter.clear(),
            other => self.move_to(other),
        }
        None
    }

    fn on_filter(&mut self, code: KeyCode, before: String) -> Option<Action> {
        match code {
            KeyCode::Enter => self.mode = Mode::Table,
            KeyCode::Esc => {
                self.filter = before;
                self.mode = Mode::Table;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(char) if !char.is_control() && self.filter.chars().count() < FILTER => {
                self.filter.push(char);
            }
            KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown => self.move_to(code),
            _ => {}
        }
        self.keep_selection();
        None
    }

    fn on_answer(&mut self, code: KeyCode, ask: Ask) -> Option<Action> {
        self.mode = Mode::Table;
        if !matches!(code, KeyCode::Char('y' | 'Y')) {
            return None;
        }
        Some(match ask {
            Ask::Cut(key, _) => Action::Cut(key),
            Ask::Reconnect => Action::Reconnect,
            Ask::Stop => Action::Quit,
        })
    }

    fn on_details(&mut self, code: KeyCode) -> Option<Action> {
        match code {
            KeyCode::Char('k' | 'x') | KeyCode::Delete => self.ask_to_cut(),
            KeyCode::Char('p' | ' ') => self.pause(),
            KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown => self.move_to(code),
            _ => self.mode = Mode::Table,
        }
        None
    }

    fn clear_filter(&mut self) -> Option<Action> {
        self.filter.clear();
        None
    }

    fn pause(&mut self) {
        self.frozen = match self.frozen {
            Some(_) => None,
            None => Some(self.live.clone()),
        };
        self.keep_selection();
    }

    fn ask_to_cut(&mut self) {
        let asked = self.selected().map(|(flow, _)| {
            let end = |end: &Option<String>| end.as_deref().map_or_else(|| "?".to_owned(), clean);
            Ask::Cut(key(flow), format!("flow {}, {} to {}", flow.id, end(&flow.source), end(&flow.destination)))
        });
        match asked {
            Some(ask) => self.mode = Mode::Ask(ask),
            None => self.said = Some(Event::new(Weight::Bad, "select a flow with the arrows first")),
        }
    }

    fn details(&mut self) {
        if self.selected().is_none() {
            self.move_to(KeyCode::Down);
        }
        if self.selected().is_some() {
            self.mode = Mode::Details;
        }
    }

    /// Moves the selection; one that is not there yet begins at the top, or at the bottom for going up.
    fn move_to(&mut self, code: KeyCode) {
        let keys: Vec<_> = self.rows().iter().map(|(flow, _)| key(flow)).collect();
        let Some(last) = keys.len().checked_sub(1) else { return };
        let at = self.selected.as_ref().and_then(|selected| keys.iter().position(|key| key == selected));
        let to = match (code, at) {
            (KeyCode::Down | KeyCode::Char('j'), Some(at)) => at + 1,
            (KeyCode::Up, Some(at)) => at.saturating_sub(1),
            (KeyCode::PageDown, Some(at)) => at + self.page,
            (KeyCode::PageUp, Some(at)) => at.saturating_sub(self.page),
            (KeyCode::Down | KeyCode::PageDown | KeyCode::Char('j'), None) | (KeyCode::Home, _) => 0,
            (KeyCode::Up | KeyCode::PageUp, None) | (KeyCode::End, _) => last,
            _ => return,
        };
        self.selected = Some(keys[to.min(last)].clone());
    }

    /// A selection goes with its flow.
    fn keep_selection(&mut self) {
        if self.selected.is_some() && self.selected().is_none() {
            self.selected = None;
            if self.mode == Mode::Details {
                self.mode = Mode::Table;
                self.said = Some(Event::new(Weight::Usual, "this flow has ended"));
            }
        }
    }
}

fn note(events: &mut VecDeque<(SystemTime, Event)>, at: SystemTime, event: Event) {
    events.push_back((at, event));
    if events.len() > EVENTS {
        events.pop_front();
    }
}

#[cfg(test)]
mod tests;

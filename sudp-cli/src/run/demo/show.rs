//! What is shown: one block that is painted anew on a terminal, plain lines elsewhere.

use std::collections::VecDeque;
use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use ratatui::crossterm::terminal;

use super::super::echo::say;
use crate::args::Color;

/// How things are.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// For how long it has run, and will.
    pub(super) elapsed: Duration,
    pub(super) length: Duration,
    /// The ports of client, server and echo service.
    pub(super) ports: [u16; 3],
    pub(super) link: Link,
    /// How many cuts there were, and connections.
    pub(super) cuts: u64,
    pub(super) links: u64,
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) under_way: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    /// Batches that were sent again, and those that came again and were recognised.
    pub(super) replayed: u64,
    pub(super) recognised: u64,
    /// Datagrams that the tunnel itself says it dropped, with the reasons.
    pub(super) dropped: String,
    pub(super) now: Option<Duration>,
    /// For how long nothing came, though something is under way.
    pub(super) waiting: Option<Duration>,
    pub(super) half: Option<Duration>,
    pub(super) most: Option<Duration>,
    /// The ports from which the numbered datagrams reached the echo service.
    pub(super) egress: Vec<u16>,
    /// Datagrams of others.
    pub(super) others: u64,
    /// Answers in each of the last spans of time, and how many there would be.
    pub(super) answers: Vec<u64>,
    pub(super) usual: u64,
}

/// How the connection is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Link {
    #[default]
    Connecting,
    Up,
    /// It makes no progress, for so long.
    Suspect(Duration),
    /// There is none.
    Dialling,
    /// There is none, and dials are refused.
    Refused,
}

/// Where it is shown.
#[derive(Debug)]
pub(super) struct Show {
    /// Whether it is a terminal.
    terminal: bool,
    /// Whether a block is painted; without it, there are lines.
    block: bool,
    /// Letters that only some terminals have.
    fancy: bool,
    /// The widths of the rows that were painted last.
    painted: Vec<usize>,
    /// What has happened.
    story: VecDeque<String>,
}

/// A row of the block.
struct Row {
    label: &'static str,
    value: String,
    tone: Tone,
    note: String,
    /// The same for a narrow terminal.
    brief: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
}

impl Show {
    pub(super) fn new(color: Color) -> Self {
        let said = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let plain = said("NO_COLOR").is_some() && color != Color::Always;
        let dumb = said("TERM").is_none_or(|term| term == "dumb");
        let terminal = io::stdout().is_terminal();
        let block = terminal && color != Color::Never && !plain && !dumb;
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(said).unwrap_or_default();
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        let fancy = block && (locale.contains("utf-8") || locale.contains("utf8"));
        Self { terminal, block, fancy, painted: Vec::new(), story: VecDeque::new() }
    }

    /// It begins.
    pub(super) fn begin(&self, [client, server, echo]: [u16; 3]) {
        if !self.block {
            let ways = format!("client UDP {client}, server TCP {server}, echo service UDP {echo}");
            self.say(&format!("On 127.0.0.1: {ways}. Ctrl-C ends it."), 0);
        }
    }

    /// How often it is to be shown.
    pub(super) fn pace(&self) -> Duration {
        if self.block { Duration::from_millis(100) } else { Duration::from_secs(1) }
    }

    /// Something has happened.
    pub(super) fn tell(&mut self, at: Duration, what: &str) {
        let line = format!("{:>5.1} s  {what}", at.as_secs_f64());
        if self.block {
            self.story.push_back(line);
            if self.story.len() > STORY {
                self.story.pop_front();
            }
        } else {
            self.say(&line, TIME);
        }
    }

    /// Says a line, broken where the terminal ends; what does not fit goes on at this column.
    pub(super) fn say(&self, line: &str, column: usize) {
        if !self.terminal {
            return say(format_args!("{line}"));
        }
        wrap(line, width().max(20), column).iter().for_each(|line| say(format_args!("{line}")));
    }

    /// Shows how things are.
    pub(super) fn paint(&mut self, view: &View) {
        if !self.block {
            return self.say(&plain(view), TIME);
        }
        let (width, height) = terminal::size().map_or((80, 24), |(width, height)| (width.into(), height.into()));
        let frame = self.frame(view, width, height);
        let mut text = self.back(width);
        for row in &frame {
            text.push_str(row);
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        self.painted = frame.iter().map(|row| visible(row)).collect();
        write(&text);
    }

    /// Takes the block away, and goes on with what was told in it.
    pub(super) fn finish(&mut self) {
        if self.block {
            let text = self.back(width()) + "\x1b[J";
            write(&text);
            self.painted.clear();
            self.block = false;
            let story = std::mem::take(&mut self.story);
            story.iter().for_each(|line| self.say(line, TIME));
        }
    }

    /// A terminal has shown the keys that interrupted: what follows begins a line.
    pub(super) fn end_line(&self) {
        if self.terminal {
            self.say("", 0);
        }
    }

    /// To where the block begins. A terminal that has become narrower has broken its rows.
    fn back(&self, width: usize) -> String {
        let rows: usize = self.painted.iter().map(|row| row.div_ceil(width.max(1)).max(1)).sum();
        if rows == 0 { String::new() } else { format!("\r\x1b[{rows}A") }
    }

    fn frame(&self, view: &View, width: usize, height: usize) -> Vec<String> {
        // The last column stays free: some terminals begin a new row after it.
        let width = width.saturating_sub(1).max(20);
        let mut rows = vec![title(view, width), String::new(), self.path(view, width), String::new()];
        let figures: Vec<Row> = figures(view);
        rows.extend(figures.iter().flat_map(|row| row.lines(width)));
        rows.push(format!("{:LABEL$}{}", "answers", self.chart(view, width)));
        rows.push(String::new());
        let room = height.saturating_sub(rows.len() + 1);
        let mut story: Vec<Vec<String>> = self.story.iter().map(|line| wrap(line, width, TIME)).collect();
        while story.iter().map(Vec::len).sum::<usize>() > room {
            story.remove(0);
        }
        rows.extend(story.into_iter().flatten());
        rows.truncate(height.saturating_sub(1).max(1));
        rows
    }

    /// Who speaks to whom, and where it is cut.
    fn path(&self, view: &View, width: usize) -> String {
        let (arrow, line) = if self.fancy { ("─▶", "══════") } else { ("->", "======") };
        let (broken, tone) = match (&view.link, self.fancy) {
            (Link::Up, _) => (line, Tone::Good),
            (Link::Suspect(_), true) => ("══ ? ══", Tone::Warn),
            (Link::Suspect(_), false) => ("== ? ==", Tone::Warn),
            (Link::Connecting | Link::Dialling | Link::Refused, true) => ("══ ╳ ══", Tone::Bad),
            (Link::Connecting | Link::Dialling | Link::Refused, false) => ("== x ==", Tone::Bad),
        };
        let [client, server, echo] = view.ports;
        let line = tone.paint(broken);
        let long = format!("you {arrow} client :{client} {line} server :{server} {arrow} echo service :{echo}");
        let short = format!("you {arrow} client {line} server {arrow} echo");
        let least = format!("you {arrow} {line} {arrow} echo");
        [long, short].into_iter().find(|path| visible(path) <= width).unwrap_or(least)
    }

    /// How many answers came, over time.
    fn chart(&self, view: &View, width: usize) -> String {
        let steps: &[char] =
            if self.fancy { &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] } else { &['.', ':', '+', '#'] };
        let room = width.saturating_sub(LABEL).min(view.answers.len());
        let top = steps.len() as u64;
        let step = |answers: &u64| match *answers {
            0 => ' ',
            // The usual is half the height.
            some => {
                let height = (some * top / 2).div_ceil(view.usual.max(1)).clamp(1, top);
                steps[usize::try_from(height - 1).unwrap_or_default()]
            }
        };
        view.answers[view.answers.len() - room..].iter().map(step).collect()
    }
}

impl Row {
    /// One line, or two where there is no room for one.
    fn lines(&self, width: usize) -> Vec<String> {
        let Self { label, value, tone, note, brief } = self;
        let first = format!("{label:LABEL$}{}", tone.paint(value));
        if note.is_empty() {
            return vec![first];
        }
        let taken = visible(&first);
        let column = (LABEL + VALUE).max(taken + 2);
        for (column, note) in [(column, note), (taken + 2, brief)] {
            if column + note.chars().count() <= width {
                return vec![format!("{first}{}{note}", " ".repeat(column - taken))];
            }
        }
        let mut lines = vec![first];
        lines.extend(wrap(&format!("{:LABEL$}{brief}", ""), width, LABEL));
        lines
    }
}

impl Tone {
    fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Good => 32,
            Self::Warn => 33,
            Self::Bad => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    fn good_if(good: bool) -> Self {
        if good { Self::Good } else { Self::Bad }
    }
}

impl Link {
    fn words(&self) -> (String, Tone) {
        match self {
            Self::Connecting => ("connecting".to_owned(), Tone::Warn),
            Self::Up => ("up".to_owned(), Tone::Good),
            Self::Suspect(since) => (format!("silent for {}", short(*since)), Tone::Warn),
            Self::Dialling => ("cut, dialling".to_owned(), Tone::Bad),
            Self::Refused => ("cut, dials are refused".to_owned(), Tone::Bad),
        }
    }
}

fn title(view: &View, width: usize) -> String {
    let (left, length) = ("SUDP demo", view.length.as_secs());
    let right = match view.elapsed.as_secs() {
        seconds if seconds < length => format!("{seconds} of {length} s, Ctrl-C ends it"),
        _ => "waiting for what is under way".to_owned(),
    };
    let gap = width.saturating_sub(left.len() + right.len()).max(2);
    format!("\x1b[1m{left}\x1b[0m{}{right}", " ".repeat(gap))
}

fn figures(view: &View) -> Vec<Row> {
    let row = |label, value: String, tone, note: String, brief: String| Row { label, value, tone, note, brief };
    let bare = |label, value, tone| row(label, value, tone, String::new(), String::new());
    let same = |label, value, tone, note: String| row(label, value, tone, note.clone(), note);
    let (link, tone) = view.link.words();
    let (cuts, links) = (plural(view.cuts, "cut"), plural(view.links, "connection"));
    let mut rows = vec![
        row("link", link, tone, format!("{cuts} so far, {links}"), format!("{cuts}, {links}")),
        bare("sent", view.sent.to_string(), Tone::Plain),
        same("answered", view.answered.to_string(), Tone::Plain, format!("{} under way", view.under_way)),
        same("lost", view.lost.to_string(), Tone::good_if(view.lost == 0), view.dropped.clone()),
        bare("doubled", view.doubled.to_string(), Tone::good_if(view.doubled == 0)),
    ];
    let (replayed, again) = (batches(view.replayed), view.recognised);
    rows.push(match again {
        0 => bare("replayed", replayed, Tone::Plain),
        _ => {
            let note = format!("{again} came twice, and were recognised");
            row("replayed", replayed, Tone::Plain, note, format!("{again} recognised"))
        }
    });
    let (now, tone) = match (view.waiting, view.now) {
        (Some(waiting), _) => (format!("none for {}", short(waiting)), Tone::Warn),
        (None, Some(now)) => (format!("{} now", short(now)), Tone::Plain),
        (None, None) => (String::new(), Tone::Plain),
    };
    rows.push(match (view.half, view.most) {
        (Some(half), Some(most)) => {
            let (half, most) = (short(half), short(most));
            let note = format!("half within {half}, 99 % within {most}");
            row("round trip", now, tone, note, format!("99 % in {most}"))
        }
        (None, _) | (_, None) => bare("round trip", now, tone),
    });
    rows.push(match view.egress.as_slice() {
        [] => bare("egress", String::new(), Tone::Plain),
        [port] => {
            let note = "unchanged, as the echo service sees it".to_owned();
            row("egress", format!("port {port}"), Tone::Good, note, "unchanged".to_owned())
        }
        [ports @ .., last] => same(
            "egress",
            format!("port {last}"),
            Tone::Warn,
            format!("changed {}", plural(ports.len() as u64, "time")),
        ),
    });
    if view.others > 0 {
        rows.push(bare("others", format!("{} echoed", view.others), Tone::Good));
    }
    rows
}

fn plain(view: &View) -> String {
    let now = match (view.waiting, view.now) {
        (Some(waiting), _) => format!("no answer for {}", short(waiting)),
        (None, Some(now)) => format!("round trip {}", short(now)),
        (None, None) => "no answer yet".to_owned(),
    };
    let View { sent, answered, under_way, lost, doubled, replayed, .. } = view;
    let replayed = batches(*replayed);
    format!(
        "{:>5.1} s  sent {sent}, answered {answered}, under way {under_way}, lost {lost}, doubled {doubled}, \
         replayed {replayed}; {now}; link {}",
        view.elapsed.as_secs_f64(),
        view.link.words().0,
    )
}

pub(super) fn batches(number: u64) -> String {
    if number == 1 { "1 batch".to_owned() } else { format!("{number} batches") }
}

pub(super) fn plural(number: u64, of: &str) -> String {
    super::super::echo::count(number, of)
}

/// A time as people say it.
pub(crate) fn short(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        1.0.. => format!("{seconds:.1} s"),
        0.01.. => format!("{:.0} ms", seconds * 1e3),
        0.001.. => format!("{:.1} ms", seconds * 1e3),
        0.0001.. => format!("{:.2} ms", seconds * 1e3),
        _ => format!("{:.0} us", seconds * 1e6),
    }
}

/// Breaks a line between words; what does not fit goes on at this column.
fn wrap(line: &str, width: usize, column: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = line.to_owned();
    while rest.chars().count() > width {
        let (at, _) = rest.char_indices().nth(width).unwrap_or((rest.len(), ' '));
        // A blank of the indentation is none between words.
        let indent = rest.len() - rest.trim_start().len();
        let blank = if rest[at..].starts_with(' ') { Some(at) } else { rest[..at].rfind(' ') };
        let end = blank.filter(|end| *end > indent.max(column)).unwrap_or(at);
        let after = format!("{:column$}{}", "", rest[end..].trim_start());
        rest.truncate(end);
        lines.push(rest.trim_end().to_owned());
        rest = after;
    }
    lines.push(rest);
    lines
}

/// How many columns a row takes: escape sequences take none.
fn visible(row: &str) -> usize {
    let mut escaped = false;
    let columns = row.chars().filter(|letter| {
        let shown = !escaped && *letter != '\x1b';
        escaped = (escaped || *letter == '\x1b') && *letter != 'm';
        shown
    });
    columns.count()
}

fn width() -> usize {
    terminal::size().map_or(80, |(width, _)| width.into())
}

/// A terminal that has gone needs no painting.
fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Columns of the labels, of the values behind them, and of the times of the story.
const LABEL: usize = 12;
const VALUE: usize = 24;
const TIME: usize = 9;
/// How much of the story is shown.
const STORY: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn show() -> Show {
        let mut show = Show { terminal: true, block: true, fancy: true, painted: Vec::new(), story: VecDeque::new() };
        show.tell(Duration::from_secs(3), "cut 1: the connection is reset, and both ends are told");
        show
    }

    fn view() -> View {
        View {
            elapsed: Duration::from_secs(7),
            length: Duration::from_secs(20),
            ports: [5005, 8080, 5006],
            link: Link::Refused,
            cuts: 12,
            links: 13,
            sent: 123_456,
            replayed: 12,
            recognised: 3,
            waiting: Some(Duration::from_millis(1_234)),
            half: Some(Duration::from_micros(412)),
            most: Some(Duration::from_millis(2_345)),
            egress: vec![47_113],
            answers: vec![50; 60],
            usual: 50,
            ..View::default()
        }
    }

    #[test]
    fn no_row_is_wider_than_the_terminal_and_no_block_higher() {
        for width in [20, 30, 40, 41, 60, 80, 132, 400] {
            for height in [5, 24, 60] {
                let frame = show().frame(&view(), width, height);
                assert!(frame.len() < height, "{height}: {frame:#?}");
                let limit = width.max(21);
                // The picture, the values and the title cannot be broken.
                let broken = frame.iter().filter(|row| visible(row) >= limit && width >= 40);
                assert_eq!(broken.count(), 0, "{width}: {frame:#?}");
            }
        }
    }

    #[test]
    fn a_line_is_broken_between_words_and_goes_on_where_it_is_told() {
        assert_eq!(wrap("3.0 s  one two three", 13, 7), ["3.0 s  one", "       two", "       three"]);
        assert_eq!(wrap("0123456789abc", 10, 0), ["0123456789", "abc"]);
        assert_eq!(wrap("short", 10, 3), ["short"]);
        assert_eq!(wrap("éééé éé", 5, 0), ["éééé", "éé"]);
    }

    #[test]
    fn times_are_said_in_the_unit_that_fits() {
        let said = |nanos| short(Duration::from_nanos(nanos));
        assert_eq!(said(41_400), "41 us");
        assert_eq!(said(412_000), "0.41 ms");
        assert_eq!(said(4_120_000), "4.1 ms");
        assert_eq!(said(41_200_000), "41 ms");
        assert_eq!(said(1_260_000_000), "1.3 s");
    }

    #[test]
    fn a_narrower_terminal_has_broken_the_rows_that_were_painted() {
        let show = Show { painted: vec![80, 10, 0], ..show() };
        assert_eq!(show.back(80), "\r\x1b[3A");
        assert_eq!(show.back(40), "\r\x1b[4A");
    }
}

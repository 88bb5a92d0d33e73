//! What was found, step by step, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::args::Output;
use crate::exit::Exit;

/// The version of what programs are told, as the field `schema`.
const SCHEMA: u32 = 1;

/// How a step went.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mark {
    /// As it should.
    Ok,
    /// It works, and could be better.
    Warn,
    /// It does not work.
    Fail,
    /// There is nothing of the kind on this path.
    None,
    /// It was not looked at.
    Untested,
}

/// One step of a path.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    /// What it is called.
    pub(super) step: &'static str,
    /// How it went.
    pub(super) result: Mark,
    /// How long it took.
    pub(super) seconds: f64,
    /// What was found.
    pub(super) says: String,
    /// What to change, where something should be.
    pub(super) fix: Option<String>,
    /// The figures behind it.
    pub(super) facts: BTreeMap<&'static str, Value>,
    #[serde(skip)]
    exit: Exit,
}

impl Step {
    fn new(step: &'static str, result: Mark, says: impl Display) -> Self {
        let says = says.to_string();
        Self { step, result, seconds: 0.0, says, fix: None, facts: BTreeMap::new(), exit: Exit::Failed }
    }

    /// It went as it should.
    pub(super) fn ok(step: &'static str, says: impl Display) -> Self {
        Self::new(step, Mark::Ok, says)
    }

    /// It works, and this would be better.
    pub(super) fn warn(step: &'static str, says: impl Display, fix: impl Display) -> Self {
        Self { fix: Some(fix.to_string()), ..Self::new(step, Mark::Warn, says) }
    }

    /// It does not work; nothing behind it does.
    pub(super) fn fail(step: &'static str, exit: Exit, says: impl Display, fix: impl Display) -> Self {
        Self { fix: Some(fix.to_string()), exit, ..Self::new(step, Mark::Fail, says) }
    }

    /// There is nothing of the kind on this path.
    pub(super) fn none(step: &'static str, says: impl Display) -> Self {
        Self::new(step, Mark::None, says)
    }

    /// It was not looked at, and why.
    pub(super) fn untested(step: &'static str, says: impl Display) -> Self {
        Self::new(step, Mark::Untested, says)
    }

    /// Adds a figure.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.facts.insert(name, value.into());
        self
    }

    /// How long it took, if that is not the time since the step before.
    pub(super) fn took(mut self, time: Duration) -> Self {
        self.seconds = time.as_secs_f64();
        self
    }
}

/// What was found so far; people see it as it is found.
#[derive(Debug)]
pub(super) struct Report<W> {
    url: String,
    steps: Vec<Step>,
    output: Output,
    color: bool,
    out: W,
    since: Instant,
}

/// What a program is told.
#[derive(Debug, Serialize)]
struct Whole<'a> {
    schema: u32,
    url: &'a str,
    ok: bool,
    verdict: &'a str,
    exit: u8,
    steps: &'a [Step],
}

impl<W: Write> Report<W> {
    /// Begins a report on the path to this URL.
    pub(super) fn new(url: String, output: Output, color: bool, out: W) -> Self {
        Self { url, steps: Vec::new(), output, color, out, since: Instant::now() }
    }

    /// Adds a step; it took the time since the last one, unless it says otherwise.
    pub(super) fn add(&mut self, mut step: Step) -> io::Result<Mark> {
        let spent = std::mem::replace(&mut self.since, Instant::now()).elapsed();
        if step.seconds == 0.0 && !matches!(step.result, Mark::None | Mark::Untested) {
            step.seconds = spent.as_secs_f64();
        }
        if self.output == Output::Text {
            self.show(&step)?;
        }
        let result = step.result;
        self.steps.push(step);
        Ok(result)
    }

    fn show(&mut self, step: &Step) -> io::Result<()> {
        let (mark, color) = match step.result {
            Mark::Ok => ("ok", "\x1b[32m"),
            Mark::Warn => ("warn", "\x1b[33m"),
            Mark::Fail => ("FAIL", "\x1b[31m"),
            Mark::None | Mark::Untested => ("-", "\x1b[2m"),
        };
        let (color, normal) = if self.color { (color, "\x1b[0m") } else { ("", "") };
        // What takes no time takes no room.
        let time = if step.seconds < 2e-5 { String::new() } else { format!(" ({})", time(step.seconds)) };
        writeln!(self.out, "{:<8}{color}{mark:<4}{normal}  {}{time}", step.step, step.says)?;
        for line in step.fix.iter().flat_map(|fix| fix.lines()).flat_map(wrapped) {
            writeln!(self.out, "              {line}")?;
        }
        self.out.flush()
    }

    /// What it comes to, and the code to end with.
    pub(super) fn end(mut self) -> io::Result<Option<Exit>> {
        let of = |mark| self.steps.iter().filter(move |step| step.result == mark);
        let (failed, warned) = (of(Mark::Fail).next(), of(Mark::Warn).map(|step| step.step).collect::<Vec<_>>());
        let untested: Vec<_> = of(Mark::Untested).map(|step| step.step).collect();
        let untested =
            if untested.is_empty() { String::new() } else { format!(" Not tested: {}.", untested.join(", ")) };
        let verdict = match failed {
            Some(step) => format!("This path does not work: {} failed, {}.", step.step, step.says),
            None if warned.is_empty() => format!("This path works.{untested}"),
            None => format!("This path works, but see {}.{untested}", warned.join(", ")),
        };
        let exit = failed.map(|step| step.exit);
        match self.output {
            Output::Text => writeln!(self.out, "\n{verdict}")?,
            Output::Json => {
                let (url, steps) = (self.url.as_str(), self.steps.as_slice());
                let code = exit.map_or(0, |exit| exit as u8);
                let whole = Whole { schema: SCHEMA, url, ok: exit.is_none(), verdict: &verdict, exit: code, steps };
                serde_json::to_writer_pretty(&mut self.out, &whole)?;
                writeln!(self.out)?;
            }
        }
        self.out.flush()?;
        Ok(exit)
    }
}

/// Breaks a line where it is too long to be read; what is indented is to be copied, and stays as it is.
fn wrapped(line: &str) -> Vec<String> {
    if line.starts_with(' ') {
        return vec![line.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.len() - 1;
        match lines[last].chars().count() + word.chars().count() {
            _ if lines[last].is_empty() => lines[last].push_str(word),
            ..WIDTH => lines[last] += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What is comfortably read beside the names of the steps.
const WIDTH: usize = 85;

/// A time, as people say it.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        ..0.000_95 => format!("{:.0} µs", seconds * 1e6),
        ..0.009_95 => format!("{:.1} ms", seconds * 1e3),
        ..0.999_5 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{seconds:.1} s"),
    }
}

/// The same of a duration.
pub(super) fn span(time_span: Duration) -> String {
    time(time_span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words_and_what_is_copied_is_not() {
        let long = "word ".repeat(40);
        let lines = wrapped(long.trim_end());
        assert!(lines.len() == 3 && lines.iter().all(|line| line.len() <= WIDTH), "{lines:?}");
        assert_eq!(lines.join(" "), long.trim_end());
        assert_eq!(wrapped(&"x".repeat(200)), ["x".repeat(200)]);
        assert_eq!(wrapped(&format!("  {long}")), [format!("  {long}")]);
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        let shown = [0.000_012, 0.003_44, 0.027, 0.999_6, 12.04].map(time);
        assert_eq!(shown, ["12 µs", "3.4 ms", "27 ms", "1.0 s", "12.0 s"]);
    }
}

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
pub const SCHEMA: u32 = 1;

/// How a step went.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// As it should.
    Ok,
    /// It works, and could be better.
    Warn,
    /// It does not work.
    Fail,
    /// It was not looked at.
    Skipped,
}

/// One step of a path.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// What it is called.
    pub step: &'static str,
    /// How it went.
    pub result: Mark,
    /// How long it took.
    pub seconds: f64,
    /// What was found.
    pub says: String,
    /// What to change, where something should be.
    pub fix: Option<String>,
    /// The figures behind it.
    pub facts: BTreeMap<&'static str, Value>,
    #[serde(skip)]
    exit: Exit,
}

impl Step {
    fn new(step: &'static str, result: Mark, says: impl Display) -> Self {
        let says = says.to_string();
        Self { step, result, seconds: 0.0, says, fix: None, facts: BTreeMap::new(), exit: Exit::Failed }
    }

    /// It went as it should.
    pub fn ok(step: &'static str, says: impl Display) -> Self {
        Self::new(step, Mark::Ok, says)
    }

    /// It works, and this would be better.
    pub fn warn(step: &'static str, says: impl Display, fix: impl Display) -> Self {
        Self { fix: Some(fix.to_string()), ..Self::new(step, Mark::Warn, says) }
    }

    /// It does not work; nothing behind it does.
    pub fn fail(step: &'static str, exit: Exit, says: impl Display, fix: impl Display) -> Self {
        Self { fix: Some(fix.to_string()), exit, ..Self::new(step, Mark::Fail, says) }
    }

    /// It was not looked at, and why.
    pub fn skipped(step: &'static str, says: impl Display) -> Self {
        Self::new(step, Mark::Skipped, says)
    }

    /// Adds a figure.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.facts.insert(name, value.into());
        self
    }

    /// How long it took, if that is not the time since the step before.
    pub fn took(mut self, time: Duration) -> Self {
        self.seconds = time.as_secs_f64();
        self
    }
}

/// What was found so far; people see it as it is found.
#[derive(Debug)]
pub struct Report<W> {
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
    pub fn new(url: String, output: Output, color: bool, out: W) -> Self {
        Self { url, steps: Vec::new(), output, color, out, since: Instant::now() }
    }

    /// Adds a step; it took the time since the last one, unless it says otherwise.
    pub fn add(&mut self, mut step: Step) -> io::Result<Mark> {
        let spent = std::mem::replace(&mut self.since, Instant::now()).elapsed();
        if step.seconds == 0.0 && step.result != Mark::Skipped {
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
            Mark::Skipped => ("-", "\x1b[2m"),
        };
        let (color, normal) = if self.color { (color, "\x1b[0m") } else { ("", "") };
        let time = match step.result {
            Mark::Skipped => String::new(),
            Mark::Ok | Mark::Warn | Mark::Fail => format!(" ({})", time(step.seconds)),
        };
        writeln!(self.out, "{:<8}{color}{mark:<4}{normal}  {}{time}", step.step, step.says)?;
        for line in step.fix.iter().flat_map(|fix| fix.lines()) {
            writeln!(self.out, "              {line}")?;
        }
        self.out.flush()
    }

    /// What it comes to, and the code to end with.
    pub fn end(mut self) -> io::Result<Option<Exit>> {
        let of = |mark| self.steps.iter().filter(move |step| step.result == mark);
        let (failed, warned) = (of(Mark::Fail).next(), of(Mark::Warn).map(|step| step.step).collect::<Vec<_>>());
        let untested: Vec<_> = of(Mark::Skipped).map(|step| step.step).collect();
        let untested =
            if untested.is_empty() { String::new() } else { format!(" Not tested: {}.", untested.join(", ")) };
        let verdict = match failed {
            Some(step) => format!("This path does not work: {} failed, {}.", step.step, step.says),
            None if warned.is_empty() => format!("This path works.{untested}"),
            None => format!("This path works, but see {}.{untested}", warned.join(", ")),
        };
        let exit = failed.map(|step| step.exit);
        match self.output {
            Output::Text => {
                writeln!(self.out, "\n{verdict}")?;
                for line in failed.and_then(|step| step.fix.as_deref()).iter().flat_map(|fix| fix.lines()) {
                    writeln!(self.out, "  {line}")?;
                }
            }
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

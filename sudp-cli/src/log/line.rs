//! One event, one line: for people or for programs.

use std::error::Error;
use std::fmt::{self, Write};
use std::time::SystemTime;

use humantime::format_rfc3339_millis;
use tracing::Level;
use tracing::field::{Field, Visit};

use super::words::Words;

/// How lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Shape {
    /// A JSON object each, rather than words.
    pub(super) json: bool,
    /// With colours: of a terminal, and never in JSON.
    pub(super) color: bool,
    /// With the time: who keeps a journal has it there. JSON always has it.
    pub(super) time: bool,
}

/// What every line begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    /// When it happened.
    pub(super) at: SystemTime,
    /// How much it matters.
    pub(super) level: Level,
    /// What part of the program speaks.
    pub(super) target: &'a str,
}

/// A line, and whom it speaks of.
#[derive(Debug)]
pub(super) struct Line {
    /// With its end, which is the only one in it.
    pub(super) text: String,
    /// What its field `from` or `peer` says.
    pub(super) source: Option<Words>,
}

impl Line {
    /// Writes an event down; `record` shows its fields.
    pub(super) fn new(shape: Shape, about: About<'_>, record: impl FnOnce(&mut Fields)) -> Self {
        let mut fields = Fields { json: shape.json, message: None, rest: String::new(), source: None };
        record(&mut fields);
        let Fields { message, rest, source, .. } = fields;
        let mut text =
            String::with_capacity(80 + rest.len() + message.as_ref().map_or(0, |words| words.as_str().len()));
        let written = match shape.json {
            true => write_json(&mut text, about, message.as_ref(), &rest),
            false => write_text(&mut text, shape, about, message.as_ref(), &rest),
        };
        // A string takes everything.
        debug_assert!(written.is_ok());
        Self { text, source }
    }
}

fn write_text(out: &mut String, shape: Shape, about: About<'_>, message: Option<&Words>, rest: &str) -> fmt::Result {
    let About { at, level, target } = about;
    let (dim, normal) = if shape.color { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
    if shape.time {
        write!(out, "{dim}{}{normal} ", format_rfc3339_millis(at.max(SystemTime::UNIX_EPOCH)))?;
    }
    let color = if shape.color { color(level) } else { "" };
    write!(out, "{color}{level:>5}{normal} {dim}{target}:{normal}")?;
    if let Some(message) = message {
        out.push(' ');
        message.write_message(out);
    }
    out.push_str(rest);
    out.push('\n');
    Ok(())
}

fn write_json(out: &mut String, about: About<'_>, message: Option<&Words>, rest: &str) -> fmt::Result {
    let About { at, level, target } = about;
    let (time, level) = (format_rfc3339_millis(at.max(SystemTime::UNIX_EPOCH)), lower(level));
    write!(out, "{{\"time\":\"{time}\",\"level\":\"{level}\",\"target\":")?;
    Words::of(format_args!("{target}"), FIELD).write_json(out);
    out.push_str(",\"message\":");
    match message {
        Some(message) => message.write_json(out),
        None => out.push_str("\"\""),
    }
    writeln!(out, ",\"fields\":{{{rest}}}}}")
}

/// The fields of an event, written as they come.
pub(super) struct Fields {
    json: bool,
    message: Option<Words>,
    rest: String,
    source: Option<Words>,
}

impl Fields {
    /// Whatever can be displayed.
    pub(super) fn words(&mut self, name: &str, value: fmt::Arguments<'_>) {
        if name == "message" {
            self.message = Some(Words::of(value, MESSAGE));
            return;
        }
        let words = Words::of(value, FIELD);
        self.name(name);
        if self.json {
            words.write_json(&mut self.rest)
        } else {
            words.write_value(&mut self.rest)
        }
        if matches!(name, "from" | "peer") {
            self.source.get_or_insert(words);
        }
    }

    /// What cannot be anything but short and harmless.
    pub(super) fn plain(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        // A string takes everything.
        let _ = write!(self.rest, "{value}");
    }

    fn name(&mut self, name: &str) {
        let name = name.trim_start_matches("r#");
        let before = match (self.json, self.rest.is_empty()) {
            (false, _) => " ",
            (true, true) => "",
            (true, false) => ",",
        };
        self.rest.push_str(before);
        if self.json {
            Words::of(format_args!("{name}"), FIELD).write_json(&mut self.rest);
            self.rest.push(':');
        } else {
            self.rest.push_str(name);
            self.rest.push('=');
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for what is not a number.
        if value.is_finite() {
            self.plain(field.name(), value)
        } else {
            self.words(field.name(), format_args!("{value}"))
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.words(field.name(), format_args!("{value}"));
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        // More than fits is not looked at.
        let value = &value[..value.len().min(2 * FIELD)];
        self.words(field.name(), format_args!("{}", String::from_utf8_lossy(value)));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.words(field.name(), format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.words(field.name(), format_args!("{value:?}"));
    }
}

fn lower(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn color(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// The most that is written of a field, in bytes.
pub(super) const FIELD: usize = 256;
/// The most that is written of a message, in bytes; its words are ours, with some of others in between.
const MESSAGE: usize = 1_024;

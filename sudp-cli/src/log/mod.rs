//! The log: lines for people or programs, in files that are rotated, which never holds up what it speaks of.
//!
//! Who logs puts a line into a queue, and goes on; one thread writes. While a pipe is blocked or a disk is full, lines
//! are lost; how many is said as soon as there is a way to. Words of others are escaped and cut, and lines with a
//! field `from` or `peer`, which are written because of what others do, have a budget.
//!
//! A line for people is `TIME LEVEL TARGET: MESSAGE NAME=VALUE …`, one for programs an object with `time`, `level`,
//! `target`, `message` and `fields`.

mod budget;
pub mod figures;
pub mod levels;
mod line;
mod queue;
mod sink;
mod words;

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::{Registry, reload};

use crate::config::{Log, LogFormat};
use crate::exit::{Exit, Failure, Outcome};

use budget::{Budget, LeftOut, Source};
use levels::Levels;
use line::{About, Fields, Line, Shape};
use queue::{Job, Queue, Taken};
use sink::{Rotation, Sink, Written};

/// Holds the log open; what was written is flushed when it is dropped.
pub struct Guard {
    shared: Arc<Shared>,
    filter: reload::Handle<Targets, Registry>,
    color: bool,
}

/// Begins to log as configured. To be called once, before anything runs.
///
/// `color` says whether the standard error is written in colour, as [`Color::on_stderr`](crate::args::Color::on_stderr)
/// finds out; a file and a journal never are.
pub fn init(config: &Log, color: bool) -> Outcome<Guard> {
    let (guard, subscriber) = begin(config, color, Arc::new(SystemTime::now), Sink::stderr)?;
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|_| Failure::new(Exit::Internal, "the log was begun twice"))?;
    Ok(guard)
}

/// The clock on the wall.
type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

fn begin(
    config: &Log,
    color: bool,
    clock: Clock,
    stderr: impl FnOnce() -> io::Result<Sink>,
) -> Outcome<(Guard, impl Subscriber + Send + Sync)> {
    let levels = levels(config)?;
    let sink = sink(config, clock(), stderr)?;
    let shared = Arc::new(Shared {
        shape: AtomicU8::new(pack(shape(config, color))),
        queue: Queue::new(),
        budget: Mutex::new(Budget::new()),
        clock,
    });
    begin_writing(&shared, sink)?;
    let (filter, handle) = reload::Layer::new(Targets::from(levels));
    let subscriber = Registry::default().with(filter).with(Lines(Arc::clone(&shared)));
    Ok((Guard { shared, filter: handle, color }, subscriber))
}

fn begin_writing(shared: &Arc<Shared>, sink: Sink) -> Outcome {
    let writer = Writer { shared: Arc::clone(shared), sink, lost: 0, why: None };
    let begun = thread::Builder::new().name("sudp-log".into()).spawn(move || writer.run());
    begun
        .map(drop)
        .map_err(|error| Failure::new(Exit::Temporary, format_args!("cannot start the thread of the log: {error}")))
}

/// A file of its own, beside the log, with lines of JSON that have a budget as those of the log do.
pub(crate) struct Trail(Arc<Shared>);

impl Trail {
    /// Begins to write into a file, which is rotated as the log is.
    pub(crate) fn open(path: &Path, log: &Log) -> Outcome<Self> {
        let log = Log { file: Some(path.to_owned()), format: LogFormat::Json, ..log.clone() };
        let shared = Arc::new(Shared {
            shape: AtomicU8::new(pack(shape(&log, false))),
            queue: Queue::new(),
            budget: Mutex::new(Budget::new()),
            clock: Arc::new(SystemTime::now),
        });
        begin_writing(&shared, sink(&log, SystemTime::now(), Sink::stderr)?)?;
        Ok(Self(shared))
    }

    /// Writes a line, of words that others may have said. One that stands apart takes nothing from the budget that its
    /// source has for other messages.
    pub(crate) fn say(&self, target: &str, message: &str, fields: &[(&str, &dyn fmt::Display)], apart: bool) {
        let line = self.0.line(Level::INFO, target, |line| {
            line.words("message", format_args!("{message}"));
            fields.iter().for_each(|(name, value)| line.words(name, format_args!("{value}")));
        });
        self.0.put(line, Some(message).filter(|_| apart));
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.0.queue.close(FLUSH);
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trail").finish_non_exhaustive()
    }
}

impl Guard {
    /// Changes level, format and file to what is configured now. If anything of it cannot be used, nothing changes.
    pub fn reload(&self, config: &Log) -> Outcome {
        let levels = levels(config)?;
        let sink = sink(config, (self.shared.clock)(), Sink::stderr)?;
        self.shared.queue.push(Job::Change(sink));
        self.shared.shape.store(pack(shape(config, self.color)), Ordering::Relaxed);
        self.filter
            .reload(Targets::from(levels))
            .map_err(|error| Failure::new(Exit::Internal, format_args!("cannot change the level of the log: {error}")))
    }

    /// Opens the file anew, as is wanted after it was moved away. That it was is noticed without this, too.
    pub fn reopen(&self) {
        self.shared.queue.push(Job::Reopen);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.queue.close(FLUSH);
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

fn levels(config: &Log) -> Outcome<Levels> {
    Levels::parse(&config.level).map_err(|error| Failure::new(Exit::Config, format_args!("log.level: {error}")))
}

fn sink(config: &Log, now: SystemTime, stderr: impl FnOnce() -> io::Result<Sink>) -> Outcome<Sink> {
    let Some(path) = &config.file else {
        return stderr().map_err(|error| {
            Failure::new(Exit::CannotCreate, format_args!("cannot log to the standard error: {error}"))
        });
    };
    let rotation = Rotation { max_size: config.max_size, daily: config.daily, keep: config.keep };
    Sink::open(path, rotation, now).map_err(|error| {
        let path = path.display();
        let message = format_args!("cannot open the log {path}: {error}; change log.file, or what is in its way");
        Failure::new(Exit::CannotCreate, message)
    })
}

fn shape(config: &Log, color: bool) -> Shape {
    let json = config.format == LogFormat::Json;
    let journal = config.file.is_none() && is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref(), io::stderr());
    Shape { json, color: color && !json && !journal && config.file.is_none(), time: !journal }
}

/// Whether a stream leads to the journal of systemd, which has the time of each line, and wants no colours.
fn is_journal(named: Option<&str>, stream: impl AsFd) -> bool {
    let Some((device, inode)) = named.and_then(|named| named.split_once(':')) else { return false };
    let Ok(about) = rustix::fs::fstat(stream) else { return false };
    device.parse() == Ok(about.st_dev) && inode.parse() == Ok(about.st_ino)
}

/// What those who log, the one who writes, and the guard have in common.
struct Shared {
    /// How lines look, as [`pack`] has it.
    shape: AtomicU8,
    queue: Queue,
    budget: Mutex<Budget>,
    clock: Clock,
}

impl Shared {
    fn line(&self, level: Level, target: &str, record: impl FnOnce(&mut Fields)) -> Line {
        let about = About { at: (self.clock)(), level, target };
        Line::new(unpack(self.shape.load(Ordering::Relaxed)), about, record)
    }

    /// Puts a line where the writer finds it, unless whom it speaks of has none left, be it of lines with this message
    /// alone.
    fn put(&self, Line { text, source }: Line, apart: Option<&str>) {
        if let Some(source) = source {
            let (now, source) = (Instant::now(), Source::new(source.as_str()));
            let source = match apart {
                Some(message) => Source::Name(format!("{message}, {source}").into()),
                None => source,
            };
            let mut budget = self.budget();
            let told = budget.due().is_some();
            let admitted = budget.admit(now, source, text.len());
            let first = !told && budget.due().is_some();
            drop(budget);
            if first {
                // The writer is to know until when it may sleep.
                self.queue.wake();
            }
            if !admitted {
                return;
            }
        }
        self.queue.push_line(&text);
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pack(shape: Shape) -> u8 {
    u8::from(shape.json) | u8::from(shape.color) << 1 | u8::from(shape.time) << 2
}

fn unpack(bits: u8) -> Shape {
    Shape { json: bits & 1 != 0, color: bits & 2 != 0, time: bits & 4 != 0 }
}

/// Makes lines of events.
struct Lines(Arc<Shared>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let about = event.metadata();
        self.0.put(self.0.line(*about.level(), about.target(), |fields| event.record(fields)), None);
    }
}

/// The one who writes.
struct Writer {
    shared: Arc<Shared>,
    sink: Sink,
    /// Lines that were lost, and not told of.
    lost: u64,
    why: Option<String>,
}

impl Writer {
    fn run(mut self) {
        loop {
            let due = self.shared.budget().due();
            let again = (self.lost > 0).then(|| Instant::now() + AGAIN);
            let Taken { jobs, lost, last } = self.shared.queue.take(due.into_iter().chain(again).min());
            for job in jobs {
                // What was lost before is told before what comes now.
                self.tell_lost();
                match job {
                    Job::Lines(lines) => self.write(&lines),
                    Job::Reopen => self.reopen(),
                    Job::Change(sink) => self.sink = sink,
                }
            }
            if lost > 0 {
                self.lost += lost;
                self.why.get_or_insert_with(|| "they came faster than they could be written".into());
            }
            self.tell_lost();
            self.tell_left_out(last);
            if last {
                break;
            }
        }
        self.shared.queue.end();
    }

    fn write(&mut self, lines: &[u8]) {
        let written = self.put(lines);
        if written.lost > 0 {
            self.lost += written.lost;
            self.why = written.error.map(|error| error.to_string());
        }
    }

    fn put(&mut self, lines: &[u8]) -> Written {
        let mut written = self.sink.write((self.shared.clock)(), lines);
        if let Some(trouble) = written.trouble.take() {
            let line =
                self.shared.line(Level::WARN, TARGET, |fields| fields.words("message", format_args!("{trouble}")));
            // Trouble is told once in a while: this does not come here again.
            let told = self.sink.write((self.shared.clock)(), line.text.as_bytes());
            written.lost += told.lost;
            written.error = written.error.or(told.error);
        }
        written
    }

    fn reopen(&mut self) {
        if let Err(error) = self.sink.reopen((self.shared.clock)()) {
            let line = self.shared.line(Level::WARN, TARGET, |fields| {
                fields.words("message", format_args!("cannot open the log anew; what was opened before is written on"));
                fields.words("error", format_args!("{error}"));
            });
            self.write(line.text.as_bytes());
        }
    }

    fn tell_lost(&mut self) {
        if self.lost == 0 {
            return;
        }
        let (lost, why) = (self.lost, self.why.take().unwrap_or_default());
        let line = self.shared.line(Level::WARN, TARGET, |fields| {
            fields.words("message", format_args!("lines of the log were lost"));
            fields.plain("lines", lost);
            fields.words("error", format_args!("{why}"));
        });
        if self.put(line.text.as_bytes()).lost == 0 {
            self.lost = 0;
        } else {
            self.why = Some(why);
        }
    }

    /// Tells what the budget left out; the last time, whether it is due or not.
    fn tell_left_out(&mut self, last: bool) {
        let now = Instant::now();
        let mut budget = self.shared.budget();
        let now = budget.due().filter(|_| last).map_or(now, |due| due.max(now));
        let left_out = budget.take_left_out(now);
        drop(budget);
        for LeftOut { source, lines } in left_out {
            let line = self.shared.line(Level::WARN, TARGET, |fields| {
                fields.words("message", format_args!("lines were left out: there were too many about one source"));
                match &source {
                    Some(source) => fields.words("from", format_args!("{source}")),
                    None => fields.words("from", format_args!("others")),
                }
                fields.plain("lines", lines);
            });
            self.write(line.text.as_bytes());
        }
    }
}

/// Words of others, for people to read: what is not printable is escaped, and what is long is cut.
pub(crate) fn harmless(words: &str) -> String {
    let mut out = String::new();
    words::Words::of(format_args!("{words}"), line::FIELD).write_message(&mut out);
    out
}

/// What the log says of itself.
const TARGET: &str = "sudp::log";
/// How long a process waits for its last lines to be written.
const FLUSH: Duration = Duration::from_secs(1);
/// How long after lines were lost it is tried to say so.
const AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

//! `sudp capture`: the datagrams of a running instance, as lines of JSON or as a file for Wireshark.

pub(crate) mod feed;
#[cfg(test)]
mod fixtures;
mod ndjson;
mod pcapng;
mod wanted;
mod writer;

use std::fs::OpenOptions;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use self::writer::{Bounds, Shape, Writer};
use crate::exit::{Exit, Failure, Outcome};
use crate::instance::call::{Call, HangUp, Stream};
use crate::instance::protocol::{Answer, Record, Request, Wanted};

/// What is captured, how much of it, and where to.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which datagrams, and how much of each.
    pub wanted: Wanted,
    /// How they are written.
    pub format: Format,
    /// The file; without it, the standard output.
    pub file: Option<PathBuf>,
    /// How many at most.
    pub count: Option<u64>,
    /// How many bytes of output at most.
    pub size: Option<u64>,
    /// For how long.
    pub time: Option<Duration>,
}

/// How datagrams are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// A JSON object a line.
    Ndjson,
    /// As Wireshark opens it.
    Pcapng,
}

/// Captures until a bound is reached, somebody ends it, or the instance ends.
pub fn run(mut call: Call, plan: Plan) -> Outcome {
    if plan.format == Format::Pcapng && plan.file.is_none() && io::stdout().is_terminal() {
        let message =
            "pcapng is nothing for a terminal: write it to a file with -w FILE, or pipe it to 'wireshark -k -i -'";
        return Err(Failure::new(Exit::Usage, message));
    }
    // Only an instance that answers is worth a file.
    call.status()?;
    let out = open(plan.file.as_deref())?;
    let (deadline, bounds) =
        (plan.time.map(|time| Instant::now() + time), Bounds { count: plan.count, size: plan.size });
    let shape = match plan.format {
        Format::Ndjson => Shape::Ndjson,
        Format::Pcapng => Shape::Pcapng(Box::default()),
    };
    let stream = call.stream(&Request::Capture(plan.wanted))?;
    let ended = Arc::new(AtomicBool::new(false));
    let hang_up = stream.hang_up().map_err(|error| Failure::new(Exit::Failed, error))?;
    on_signal(hang_up, Arc::clone(&ended))?;
    let (tell, told) = sync_channel(QUEUE);
    let reader = thread::Builder::new().name("sudp-capture".into()).spawn(move || read(stream, &tell));
    reader.map_err(|error| Failure::new(Exit::Failed, format!("cannot start a thread: {error}")))?;

    let to = plan.file.as_deref();
    let mut writer = match Writer::begin(out, shape, bounds) {
        Ok(writer) => writer,
        Err(error) => return cannot_write(to, &error),
    };
    let failure = match pump(&told, &mut writer, deadline) {
        Ok(failure) => failure,
        Err(error) => return cannot_write(to, &error),
    };
    if let Err(error) = writer.end() {
        return cannot_write(to, &error);
    }
    // An instance that ends has shown all there was, whether it said so before it was gone or not.
    let over = |failure: &Failure| failure.exit == Exit::NotRunning || ended.load(Ordering::Relaxed);
    let failure = failure.filter(|failure| !over(failure));
    // What was refused from the start has no count.
    if failure.is_none() || writer.captured > 0 {
        eprintln!("sudp: {}", counts(&writer));
    }
    failure.map_or(Ok(()), Err)
}

/// Writes what comes, until there is enough, time is over, or nothing comes any more: then the reason is returned.
fn pump(
    told: &Receiver<Said>,
    writer: &mut Writer<impl Write>,
    deadline: Option<Instant>,
) -> io::Result<Option<Failure>> {
    if writer.full() {
        return Ok(None);
    }
    loop {
        let said = match told.try_recv() {
            Ok(said) => said,
            Err(TryRecvError::Disconnected) => return Ok(None),
            Err(TryRecvError::Empty) => {
                // Who reads along sees everything that is there, and a busy instance costs no write for each.
                writer.flush()?;
                let left =
                    deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
                match told.recv_timeout(left) {
                    Ok(said) => said,
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(None),
                }
            }
        };
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(None);
        }
        match said {
            Said::Record(record) => {
                if writer.record(&record)?.is_break() {
                    return Ok(None);
                }
            }
            Said::End(failure) => return Ok(failure),
        }
    }
}

/// What the reading thread says.
enum Said {
    Record(Box<Record>),
    /// There is no more, and why.
    End(Option<Failure>),
}

fn read(stream: Stream, tell: &SyncSender<Said>) {
    for answer in stream {
        let said = match answer {
            Ok(Answer::Record(record)) => Said::Record(Box::new(record)),
            // Whatever else is said is from a later version, and not about datagrams.
            Ok(_) => continue,
            Err(failure) => Said::End(Some(failure)),
        };
        if tell.send(said).is_err() {
            return;
        }
    }
    let _ = tell.send(Said::End(None));
}

/// Ends the stream at the first signal, so that what has come is still written, and the process at the second.
fn on_signal(hang_up: HangUp, ended: Arc<AtomicBool>) -> Outcome {
    let cannot = |error: io::Error| Failure::new(Exit::Failed, format!("cannot listen for signals: {error}"));
    let runtime = Builder::new_current_thread().enable_io().build().map_err(cannot)?;
    let within = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut closed = signal(SignalKind::hangup()).map_err(cannot)?;
    drop(within);
    let wait = move || {
        runtime.block_on(async {
            for last in [false, true] {
                let number = tokio::select! {
                    _ = interrupt.recv() => 2,
                    _ = terminate.recv() => 15,
                    _ = closed.recv() => 1,
                };
                if last {
                    // Somebody who reads nothing holds up the writing: there is nothing to wait for.
                    std::process::exit(128 + number);
                }
                ended.store(true, Ordering::Relaxed);
                hang_up.now();
            }
        });
    };
    thread::Builder::new().name("sudp-signals".into()).spawn(wait).map_err(cannot)?;
    Ok(())
}

/// What is captured may be private: only its owner reads it.
fn open(file: Option<&Path>) -> Outcome<Box<dyn Write>> {
    let Some(file) = file else { return Ok(Box::new(BufWriter::with_capacity(BUFFER, io::stdout()))) };
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    let opened = opened.map_err(|error| {
        Failure::new(
            Exit::CannotCreate,
            format!("cannot create {}: {error}: name another file with -w", file.display()),
        )
    })?;
    Ok(Box::new(BufWriter::with_capacity(BUFFER, opened)))
}

/// Who has read enough has hung up, which is no failure.
fn cannot_write(file: Option<&Path>, error: &io::Error) -> Outcome {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    let to = file.map_or_else(|| "the standard output".into(), |file| file.display().to_string());
    Err(Failure::new(Exit::Failed, format!("cannot write to {to}: {error}; it ends where that happened")))
}

fn counts(writer: &Writer<impl Write>) -> String {
    let datagrams = |count: u64| if count == 1 { "1 datagram".to_owned() } else { format!("{count} datagrams") };
    let mut text = format!("{} captured", datagrams(writer.captured));
    if writer.lost > 0 {
        let lost = datagrams(writer.lost);
        text += &format!(", {lost} lost: ask for less with a filter or a smaller --snap, or write to a faster place");
    }
    text
}

/// How many datagrams may wait to be written: more of them wait at the instance, which leaves out what it cannot hold.
const QUEUE: usize = 4096;
const BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests;

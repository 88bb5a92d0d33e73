//! One caller: what they ask, and what they are answered.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Door, Served};
use crate::exit::{Exit, Failure, Outcome};
use crate::instance::protocol::{Answer, Event, Request, Wanted};

/// One caller.
pub(super) struct Conversation<S> {
    door: Door<S>,
    /// The process that calls.
    caller: i32,
    hears: Ear,
    says: Mouth,
}

impl<S: Served> Conversation<S> {
    pub(super) fn new(door: Door<S>, stream: UnixStream, caller: i32) -> Self {
        let (read, write) = stream.into_split();
        Self { door, caller, hears: Ear(BufReader::with_capacity(1024, read)), says: Mouth(write) }
    }

    /// Answers until the caller hangs up, is silent for too long, or says what is no request.
    pub(super) async fn hold(mut self) -> io::Result<()> {
        loop {
            let request = match self.hears.request().await? {
                Some(Ok(request)) => request,
                Some(Err(failure)) => return self.says.answer(&failure.into()).await,
                None => return Ok(()),
            };
            let answer = match request {
                Request::Capture(wanted) => return self.capture(wanted).await,
                Request::Watch { every } => return self.watch(every).await,
                Request::Stop {} => {
                    // The answer goes first: it may be the last thing that this process says.
                    let answered = self.says.answer(&Answer::Ok).await;
                    self.note("stop");
                    self.door.served.stop();
                    answered?;
                    continue;
                }
                once @ (Request::Cut { .. }
                | Request::Flows {}
                | Request::Reconnect {}
                | Request::Reload {}
                | Request::Status {}) => self.once(once).await.unwrap_or_else(Answer::from),
            };
            self.says.answer(&answer).await?;
        }
    }

    /// What has one answer.
    async fn once(&self, request: Request) -> Outcome<Answer> {
        let served = self.door.served.clone();
        match request {
            Request::Cut { session, flow } => {
                self.note("cut a flow");
                self.door.ask(PATIENCE, async move { served.cut(&session, flow).await }).await??;
            }
            Request::Reconnect {} => {
                self.note("reconnect");
                self.door.ask(PATIENCE, async move { served.reconnect().await }).await??;
            }
            Request::Reload {} => {
                self.note("reload");
                self.door.ask(RELOAD, async move { served.reload().await }).await??;
            }
            Request::Flows {} => {
                return self.door.ask(PATIENCE, async move { served.flows().await }).await.map(Answer::Flows);
            }
            Request::Status {} => {
                let status = self.door.ask(PATIENCE, async move { served.status().await }).await;
                return status.map(|status| Answer::Status(Box::new(status)));
            }
            Request::Capture(_) | Request::Stop {} | Request::Watch { .. } => {
                return Err(Failure::new(Exit::Internal, "this has more than one answer"));
            }
        }
        Ok(Answer::Ok)
    }

    async fn watch(mut self, every: f64) -> io::Result<()> {
        let every = if every.is_finite() { every.clamp(0.1, 60.0) } else { 1.0 };
        let mut events = self.door.served.events();
        let mut next = interval(Duration::from_secs_f64(every));
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = next.tick() => {}
                () = self.hears.anything() => return Ok(()),
            }
            let served = self.door.served.clone();
            let (status, flows) =
                match self.door.ask(PATIENCE, async move { (served.status().await, served.flows().await) }).await {
                    Ok(found) => found,
                    Err(failure) => return self.says.answer(&failure.into()).await,
                };
            let (events, missed) = drain(&mut events);
            self.says.answer(&Answer::Frame { status: Box::new(status), flows, events, missed }).await?;
        }
    }

    async fn capture(mut self, wanted: Wanted) -> io::Result<()> {
        self.note("capture");
        let served = self.door.served.clone();
        let begun = self.door.ask(PATIENCE, async move { served.capture(wanted).await }).await;
        let mut records = match begun.and_then(|records| records) {
            Ok(records) => records,
            Err(failure) => return self.says.answer(&failure.into()).await,
        };
        let mut lines = Vec::new();
        loop {
            tokio::select! {
                record = records.recv() => match record {
                    Some(record) => line(&Answer::Record(record), &mut lines)?,
                    None => return self.says.answer(&Answer::Ok).await,
                },
                () = self.hears.anything() => return Ok(()),
            }
            // What is there already goes with it: a write for each would cost more than the rest.
            while lines.len() < BURST
                && let Ok(record) = records.try_recv()
            {
                line(&Answer::Record(record), &mut lines)?;
            }
            self.says.lines(&lines).await?;
            lines.clear();
        }
    }

    /// Who told an instance to do something is found in its log.
    fn note(&self, what: &str) {
        tracing::info!(target: "sudp::control", process = self.caller, "told at the control socket to {what}");
    }
}

/// Where a caller is heard.
struct Ear(BufReader<OwnedReadHalf>);

impl Ear {
    /// The next request; nothing, if the caller has hung up or is silent for too long.
    async fn request(&mut self) -> io::Result<Option<Outcome<Request>>> {
        let mut line = Vec::new();
        let limit = u64::try_from(REQUEST).unwrap_or(u64::MAX);
        match timeout(IDLE, (&mut self.0).take(limit).read_until(b'\n', &mut line)).await {
            Ok(read) => read?,
            Err(_) => return Ok(None),
        };
        if line.last() != Some(&b'\n') {
            let much = line.len() >= REQUEST;
            let failure = || Failure::new(Exit::Usage, format!("a request has at most {REQUEST} bytes"));
            return Ok(much.then(|| Err(failure())));
        }
        let request = serde_json::from_slice(&line);
        Ok(Some(request.map_err(|error| {
            Failure::new(
                Exit::Usage,
                format!("the instance, of version {}, knows no such request: {error}", env!("CARGO_PKG_VERSION")),
            )
        })))
    }

    /// Waits until the caller hangs up, or says something more, which ends a stream as well.
    async fn anything(&mut self) {
        let _ = self.0.fill_buf().await;
    }
}

/// What a caller is told by.
struct Mouth(OwnedWriteHalf);

impl Mouth {
    async fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        let mut text = Vec::new();
        line(answer, &mut text)?;
        self.lines(&text).await
    }

    async fn lines(&mut self, lines: &[u8]) -> io::Result<()> {
        // A caller that does not read loses the conversation.
        timeout(READ, self.0.write_all(lines)).await?
    }
}

fn line(answer: &Answer, lines: &mut Vec<u8>) -> io::Result<()> {
    serde_json::to_writer(&mut *lines, answer)?;
    lines.push(b'\n');
    Ok(())
}

/// What has happened since it was last asked, and how much of it is lost.
fn drain(events: &mut broadcast::Receiver<Event>) -> (Vec<Event>, u64) {
    let (mut happened, mut missed) = (Vec::new(), 0);
    loop {
        match events.try_recv() {
            Ok(event) => happened.push(event),
            Err(TryRecvError::Lagged(count)) => missed += count,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return (happened, missed),
        }
    }
}

/// The longest request, in bytes.
const REQUEST: usize = 64 * 1024;

/// How much of a capture is written at once, in bytes.
const BURST: usize = 64 * 1024;

/// How long the instance may take for an answer.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// How long it may take to read its configuration anew.
const RELOAD: Duration = Duration::from_secs(25);

/// How long a caller may be silent.
const IDLE: Duration = Duration::from_secs(30);

/// How long a caller may take to read.
const READ: Duration = Duration::from_secs(10);

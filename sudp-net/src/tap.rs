//! Taps: what is seen of the datagrams of a client or a server while someone looks.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_core::Stream;
use sudp_proto::session::{Session, TapOptions, TapRecord};
use sudp_proto::wire::SessionId;

use crate::client::Client;
use crate::error::Gone;
use crate::lock;
use crate::runtime::Runtime;
use crate::server::Server;

/// What a tap saw, and in which session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Captured {
    /// The session; a client may have none yet.
    pub session: Option<SessionId>,
    /// What was seen.
    pub record: TapRecord,
}

/// What a tap sees, in order for each session. Who does not keep up misses the newest, and is told how many;
/// the datagrams themselves are never held up. Dropping it ends the tap.
pub struct Records(Arc<Pipe>);

impl Records {
    /// The next record; none once whatever it is of has ended.
    pub async fn next(&mut self) -> Option<Captured> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// How many records were missed so far, over all sessions.
    pub fn missed(&self) -> u64 {
        lock(&self.0.state).missed
    }
}

impl Stream for Records {
    type Item = Captured;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Captured>> {
        let mut state = lock(&self.0.state);
        if let Some(captured) = state.records.pop_front() {
            state.bytes -= captured.record.payload.len();
            return Poll::Ready(Some(captured));
        }
        if state.writers == 0 {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("missed", &self.missed()).finish_non_exhaustive()
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.abandoned = true;
        state.records = VecDeque::new();
    }
}

/// Between the tasks of sessions and one reader.
struct Pipe {
    options: TapOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: VecDeque<Captured>,
    /// Bytes of their payloads.
    bytes: usize,
    /// All that was missed.
    missed: u64,
    /// What was missed since the last record that was not.
    gap: u64,
    writers: usize,
    abandoned: bool,
    reader: Option<Waker>,
}

/// An end of a pipe that records go into; the stream ends with the last of them.
pub(crate) struct Writer(Arc<Pipe>);

impl Writer {
    pub(crate) fn new(options: TapOptions) -> (Self, Records) {
        let pipe = Arc::new(Pipe { options, state: Mutex::new(State { writers: 1, ..State::default() }) });
        (Self(Arc::clone(&pipe)), Records(pipe))
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        lock(&self.0.state).abandoned
    }

    /// Says whether anybody still reads.
    fn put(&self, session: Option<SessionId>, record: &TapRecord) -> bool {
        let options = &self.0.options;
        let kept = record.payload.len().min(options.snap);
        let mut state = lock(&self.0.state);
        if state.abandoned {
            return false;
        }
        state.missed += record.missed;
        state.gap += record.missed;
        if state.records.len() >= options.records || state.bytes + kept > options.bytes {
            state.missed += 1;
            state.gap += 1;
            return true;
        }
        let missed = std::mem::take(&mut state.gap);
        let mut record = record.clone();
        record.payload.truncate(kept);
        record.missed = missed;
        state.bytes += kept;
        state.records.push_back(Captured { session, record });
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }
}

impl Clone for Writer {
    fn clone(&self) -> Self {
        lock(&self.0.state).writers += 1;
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.writers -= 1;
        let reader = if state.writers == 0 { state.reader.take() } else { None };
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// Who looks at the datagrams of one session.
#[derive(Default)]
pub(crate) struct Taps(Vec<Writer>);

impl Taps {
    pub(crate) fn add(&mut self, now: Instant, session: &mut Session, writer: Writer) {
        self.0.push(writer);
        self.settle(now, session);
    }

    /// Hands out what was seen in a turn.
    pub(crate) fn drain(&mut self, now: Instant, session: &mut Session) {
        let before = self.0.len();
        self.0.retain(|writer| !writer.is_abandoned());
        let id = session.id();
        while let Some(record) = session.poll_record() {
            self.0.retain(|writer| writer.put(id, &record));
        }
        if self.0.len() != before {
            self.settle(now, session);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nobody sees anything any more.
    pub(crate) fn close(&mut self) {
        self.0.clear();
    }

    /// One tap of the session serves all: it keeps as much as any of them wants.
    fn settle(&self, now: Instant, session: &mut Session) {
        let options = self.0.iter().map(|writer| writer.0.options);
        let most = options.reduce(|one, other| TapOptions {
            snap: one.snap.max(other.snap),
            records: one.records.max(other.records),
            bytes: one.bytes.max(other.bytes),
        });
        match most {
            Some(most) => session.tap(now, most),
            None => session.untap(),
        }
    }
}

impl<R: Runtime> Client<R> {
    /// Shows every datagram that this client takes, delivers or drops from now on. Several may look at a time.
    pub async fn tap(&self, options: TapOptions) -> Result<Records, Gone> {
        let (writer, records) = Writer::new(options);
        let begun = self.0.mailbox.ask(move |core| {
            let session = core.driver.endpoint_mut().session_mut();
            core.taps.add(core.now, session, writer);
        });
        begun.await.map(|()| records)
    }
}

impl<R: Runtime> Server<R> {
    /// Shows every datagram that a session of this server, or every session there is and will be, takes,
    /// delivers or drops from now on. Several may look at a time.
    pub async fn tap(&self, session: Option<SessionId>, options: TapOptions) -> Result<Records, Gone> {
        let (writer, records) = Writer::new(options);
        let asked = match session {
            Some(session) => vec![self.shared.session(session).ok_or(Gone)?],
            None => {
                // In one step: a session that begins meanwhile is either among these, or finds the tap.
                let mut sessions = lock(&self.shared.sessions);
                sessions.taps.retain(|tap| !tap.is_abandoned());
                sessions.taps.push(writer.clone());
                sessions.live.values().map(|living| Arc::clone(&living.mailbox)).collect()
            }
        };
        for mailbox in asked {
            let writer = writer.clone();
            let begun = mailbox.ask(move |core| {
                let session_mut = core.driver.endpoint_mut().session_mut();
                core.taps.add(core.now, session_mut, writer);
            });
            // One of many may have ended meanwhile.
            if begun.await.is_err() && session.is_some() {
                return Err(Gone);
            }
        }
        Ok(records)
    }
}

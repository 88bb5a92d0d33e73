//! Between those who log and the one who writes: bounded, and nobody ever waits to put something in.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::sink::Sink;

/// What waits to be written.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is something to write.
    filled: Condvar,
    /// The writer has ended.
    ended: Condvar,
}

/// One thing to do for the writer.
#[derive(Debug)]
pub(super) enum Job {
    /// Whole lines.
    Lines(Vec<u8>),
    /// To open its file anew.
    Reopen,
    /// To write elsewhere from now on.
    Change(Sink),
}

/// What the writer takes at a time.
#[derive(Debug)]
pub(super) struct Taken {
    /// What to do, in order.
    pub(super) jobs: VecDeque<Job>,
    /// Lines behind them for which there was no room.
    pub(super) lost: u64,
    /// Nothing comes after this.
    pub(super) last: bool,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Bytes of the lines among them.
    bytes: usize,
    lost: u64,
    /// The writer is to look up, though there is nothing to write.
    woken: bool,
    closed: bool,
    ended: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), ended: Condvar::new() }
    }

    /// Puts a line in, or counts it as lost.
    pub(super) fn push_line(&self, line: &str) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        // What came behind a lost line does not overtake the word of the loss.
        if state.lost > 0 || state.bytes + line.len() > BYTES {
            state.lost += 1;
            return;
        }
        state.bytes += line.len();
        match state.jobs.back_mut() {
            Some(Job::Lines(lines)) => lines.extend_from_slice(line.as_bytes()),
            Some(Job::Reopen | Job::Change(_)) | None => state.jobs.push_back(Job::Lines(line.into())),
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Puts something else in; there is always room for that.
    pub(super) fn push(&self, job: Job) {
        let mut state = self.lock();
        if matches!((&job, state.jobs.back()), (Job::Reopen, Some(Job::Reopen))) {
            return;
        }
        state.jobs.push_back(job);
        drop(state);
        self.filled.notify_one();
    }

    /// Has the writer look up: it may have slept for too long.
    pub(super) fn wake(&self) {
        self.lock().woken = true;
        self.filled.notify_one();
    }

    /// Takes what there is; waits for it, but not beyond `until`.
    pub(super) fn take(&self, until: Option<Instant>) -> Taken {
        let mut state = self.lock();
        while state.jobs.is_empty() && state.lost == 0 && !state.woken && !state.closed {
            let left = until.map_or(FOR_EVER, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            state = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.bytes = 0;
        state.woken = false;
        Taken { jobs: std::mem::take(&mut state.jobs), lost: std::mem::take(&mut state.lost), last: state.closed }
    }

    /// Lets the writer finish, for as long as `within`: a blocked pipe does not keep a process alive.
    pub(super) fn close(&self, within: Duration) {
        let mut state = self.lock();
        state.closed = true;
        self.filled.notify_one();
        let until = Instant::now() + within;
        while !state.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The writer has ended.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.ended.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As good as that.
const FOR_EVER: Duration = Duration::from_secs(86_400);
/// Bytes of lines that wait.
const BYTES: usize = 256 << 10;

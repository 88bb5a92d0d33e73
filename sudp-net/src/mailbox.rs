//! What other tasks ask of the task that owns a session.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_channel::oneshot;
use sudp_proto::wire::{Address, FlowId};

use crate::ready::Board;
use crate::{Gone, lock};

/// Something to be done by the task, with what it owns.
pub(crate) type Call<C> = Box<dyn FnOnce(&mut C) + Send>;

/// One way into a task for all others: calls, and datagrams of flows that were opened by hand.
pub(crate) struct Mailbox<C> {
    board: Arc<Board>,
    post: Mutex<Post<C>>,
}

struct Post<C> {
    calls: Vec<Call<C>>,
    datagrams: Vec<Outbound>,
    /// Bytes of those datagrams.
    bytes: usize,
    /// Who waits for room for one more.
    senders: Vec<Waker>,
    /// Who waits for the end.
    mourners: Vec<Waker>,
    closed: bool,
}

/// A datagram that the application sends.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) flow: FlowId,
    pub(crate) to: Option<Address>,
    pub(crate) payload: Bytes,
}

impl<C> Mailbox<C> {
    pub(crate) fn new(board: Arc<Board>) -> Arc<Self> {
        let post = Post {
            calls: Vec::new(),
            datagrams: Vec::new(),
            bytes: 0,
            senders: Vec::new(),
            mourners: Vec::new(),
            closed: false,
        };
        Arc::new(Self { board, post: Mutex::new(post) })
    }

    /// Has something done soon, unless the task is gone.
    pub(crate) fn tell(&self, call: impl FnOnce(&mut C) + Send + 'static) -> Result<(), Gone> {
        let mut post = lock(&self.post);
        if post.closed {
            return Err(Gone);
        }
        post.calls.push(Box::new(call));
        drop(post);
        self.board.wake();
        Ok(())
    }

    /// Has something done, and waits for what comes of it.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut C) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        let (answer, asked) = oneshot::channel();
        self.tell(move |core| {
            // Whoever asked may not wait any more.
            let _ = answer.send(call(core));
        })?;
        asked.await.map_err(|_| Gone)
    }

    /// Has a datagram sent, once there is room for it.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, datagram: &mut Option<Outbound>) -> Poll<Result<(), Gone>> {
        let mut post = lock(&self.post);
        if post.closed {
            return Poll::Ready(Err(Gone));
        }
        if post.bytes >= ROOM {
            enlist(&mut post.senders, cx.waker());
            return Poll::Pending;
        }
        if let Some(datagram) = datagram.take() {
            // An empty datagram takes room, too.
            post.bytes += datagram.payload.len() + OVERHEAD;
            post.datagrams.push(datagram);
        }
        drop(post);
        self.board.wake();
        Poll::Ready(Ok(()))
    }

    /// Wakes the task to look again at what it knows.
    pub(crate) fn nudge(&self) {
        self.board.wake();
    }

    /// Takes out what has come, into vectors that are empty.
    pub(crate) fn take(&self, calls: &mut Vec<Call<C>>, datagrams: &mut Vec<Outbound>) {
        let mut post = lock(&self.post);
        std::mem::swap(&mut post.calls, calls);
        std::mem::swap(&mut post.datagrams, datagrams);
        post.bytes = 0;
        if post.senders.is_empty() {
            return;
        }
        let senders = std::mem::take(&mut post.senders);
        drop(post);
        senders.into_iter().for_each(Waker::wake);
    }

    /// Waits until nothing is done any more.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut post = lock(&self.post);
        if post.closed {
            return Poll::Ready(());
        }
        enlist(&mut post.mourners, cx.waker());
        Poll::Pending
    }

    /// Nothing is done any more: whoever asks learns so.
    pub(crate) fn close(&self) {
        let mut post = lock(&self.post);
        post.closed = true;
        let calls = std::mem::take(&mut post.calls);
        let mut wakers = std::mem::take(&mut post.senders);
        wakers.append(&mut post.mourners);
        post.datagrams.clear();
        drop(post);
        // Whoever asked is told by what a call drops.
        drop(calls);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Adds one who waits, once, however often it asks in vain.
pub(crate) fn enlist(waiting: &mut Vec<Waker>, waker: &Waker) {
    if !waiting.iter().any(|known| known.will_wake(waker)) {
        waiting.push(waker.clone());
    }
}

impl<C> std::fmt::Debug for Mailbox<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

/// Bytes of datagrams that wait for the task; it takes them once a turn.
const ROOM: usize = 256 << 10;
/// What a datagram counts for beside its payload.
const OVERHEAD: usize = 64;

//! Events, for whoever wants to know.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use futures_channel::mpsc;
use futures_core::Stream;
use sudp_proto::client::DialFailure;
use sudp_proto::event::Event;
use sudp_proto::link::LinkEnd;
use sudp_proto::wire::{Code, SessionId};

use crate::lock;

/// Something that happened to a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A dial came to nothing; another follows.
    DialFailed(DialFailure),
    /// Something happened to its session.
    Session(Event),
}

/// Something that happened to a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// Something happened to a session.
    Session(SessionId, Event),
    /// A client was admitted, and has founded this session.
    Founded {
        /// The session.
        session: SessionId,
        /// Where its first link comes from.
        from: SocketAddr,
        /// Who the client is.
        principal: String,
    },
    /// A client was refused.
    Refused {
        /// Where it comes from.
        from: SocketAddr,
        /// Why.
        code: Code,
    },
    /// A stream ended before it was anybody's.
    Ended {
        /// Where it came from.
        from: SocketAddr,
        /// Why.
        end: LinkEnd,
    },
    /// Accepting pauses, for the system has no room for one more stream; what is connected goes on.
    AcceptPaused {
        /// Where.
        at: SocketAddr,
        /// Why.
        kind: io::ErrorKind,
    },
}

/// What happens, in order. Who does not keep up misses the newest.
#[derive(Debug)]
pub struct Events<T>(mpsc::Receiver<T>);

impl<T> Events<T> {
    /// The next event; none once whatever it speaks of has ended.
    pub async fn next(&mut self) -> Option<T> {
        poll_fn(|cx| Pin::new(&mut self.0).poll_next(cx)).await
    }
}

impl<T> Stream for Events<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll_next(cx)
    }
}

/// Who wants to know.
pub(crate) struct Subscribers<T>(Mutex<Option<Vec<Subscriber<T>>>>);

struct Subscriber<T> {
    sender: mpsc::Sender<T>,
    wanted: Wanted<T>,
}

/// Whether an event is one of those that somebody wants to know.
type Wanted<T> = Box<dyn Fn(&T) -> bool + Send>;

impl<T: Clone> Subscribers<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }

    pub(crate) fn subscribe(&self, wanted: impl Fn(&T) -> bool + Send + 'static) -> Events<T> {
        let (sender, receiver) = mpsc::channel(KEPT);
        if let Some(subscribers) = &mut *lock(&self.0) {
            subscribers.push(Subscriber { sender, wanted: Box::new(wanted) });
        }
        Events(receiver)
    }

    pub(crate) fn tell(&self, event: &T) {
        if let Some(subscribers) = &mut *lock(&self.0) {
            subscribers.retain_mut(|Subscriber { sender, wanted }| {
                if !wanted(event) {
                    return !sender.is_closed();
                }
                match sender.try_send(event.clone()) {
                    Ok(()) => true,
                    Err(error) => !error.is_disconnected(),
                }
            });
        }
    }

    /// There is nothing more to tell.
    pub(crate) fn close(&self) {
        *lock(&self.0) = None;
    }
}

/// Events kept for one who does not ask for them.
const KEPT: usize = 1_024;

//! Accepting streams, and pausing where the system has no room for more.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_channel::oneshot;

use crate::admit::Admit;
use crate::arrival;
use crate::event::ServerEvent;
use crate::runtime::{Accept as _, Runtime, Timer};
use crate::server::Shared;

/// The task that accepts at one listener, until its server stops.
pub(crate) struct Accepting<R: Runtime, A> {
    pub(crate) shared: Arc<Shared<R>>,
    pub(crate) admit: Arc<A>,
    pub(crate) listener: R::Listener,
    pub(crate) at: SocketAddr,
    /// Ends when the server is stopped or dropped.
    pub(crate) stop: oneshot::Receiver<()>,
    pub(crate) pause: Pin<Box<R::Timer>>,
    /// For how long it pauses, if it does.
    pub(crate) pausing: Option<Duration>,
}

impl<R: Runtime, A: Admit> Future for Accepting<R, A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if Pin::new(&mut this.stop).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if this.pausing.is_some() && this.pause.as_mut().poll_fired(cx).is_pending() {
            return Poll::Pending;
        }
        for _ in 0..ACCEPTED {
            match this.listener.poll_accept(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok((stream, from))) => {
                    this.pausing = None;
                    arrival::begin(&this.shared, &this.admit, stream, from);
                }
                // The stream was gone before it was accepted, or the network has a bad moment.
                Poll::Ready(Err(error)) if !is_exhaustion(&error) => {}
                Poll::Ready(Err(error)) => {
                    // The listener stays ready, so that trying again at once would spin.
                    let pause = this.pausing.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LAST_PAUSE));
                    if this.pausing.is_none() {
                        this.shared.events.tell(&ServerEvent::AcceptPaused { at: this.at, kind: error.kind() });
                    }
                    this.pausing = Some(pause);
                    this.pause.as_mut().arm(pause);
                    if this.pause.as_mut().poll_fired(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Whether the system has no descriptor or memory left: what is open goes on, and something may end.
fn is_exhaustion(error: &io::Error) -> bool {
    let passing = [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::Interrupted,
        io::ErrorKind::TimedOut,
        io::ErrorKind::HostUnreachable,
        io::ErrorKind::NetworkUnreachable,
        io::ErrorKind::NetworkDown,
    ];
    !passing.contains(&error.kind())
}

/// Streams accepted before others have their turn.
const ACCEPTED: usize = 32;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);

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
    pub(crate) trouble: Trouble,
}

/// What has gone wrong since a stream was last accepted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    /// The pause has not ended.
    pausing: bool,
    /// How long the last pause was.
    pause: Option<Duration>,
    /// Errors since then that called for no pause.
    passed: usize,
}

impl Trouble {
    /// For how long to pause over an error, if at all.
    fn handle(&mut self, error: &io::Error) -> Option<Duration> {
        if is_passing(error) && self.passed < PASSED {
            self.passed += 1;
            return None;
        }
        let pause = self.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LAST_PAUSE));
        *self = Self { pausing: true, pause: Some(pause), passed: 0 };
        Some(pause)
    }
}

impl<R: Runtime, A: Admit> Future for Accepting<R, A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if Pin::new(&mut this.stop).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        for _ in 0..ACCEPTED {
            if this.trouble.pausing && this.pause.as_mut().poll_fired(cx).is_pending() {
                return Poll::Pending;
            }
            this.trouble.pausing = false;
            match this.listener.poll_accept(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok((stream, from))) => {
                    this.trouble = Trouble::default();
                    arrival::begin(&this.shared, &this.admit, stream, from);
                }
                Poll::Ready(Err(error)) => {
                    let first = this.trouble.pause.is_none();
                    // The listener stays ready, so that trying again at once would spin.
                    let Some(pause) = this.trouble.handle(&error) else { continue };
                    if first {
                        this.shared.events.tell(&ServerEvent::AcceptPaused { at: this.at, kind: error.kind() });
                    }
                    this.pause.as_mut().arm(pause);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Whether an error speaks of one stream, which was gone before it was accepted, or whose network had a bad
/// moment: the next may be well. Any other, as that no descriptor is left, speaks of all.
fn is_passing(error: &io::Error) -> bool {
    let passing = [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::HostUnreachable,
        io::ErrorKind::Interrupted,
        io::ErrorKind::NetworkDown,
        io::ErrorKind::NetworkUnreachable,
        // A firewall of this host minds this one.
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::TimedOut,
    ];
    passing.contains(&error.kind()) || error.raw_os_error().is_some_and(|number| PASSING.contains(&number))
}

/// Errors of a stream's network that have no kind of their own, and that Linux tells of when accepting it.
#[cfg(target_os = "linux")]
const PASSING: &[i32] = &[libc::EHOSTDOWN, libc::ENONET, libc::ENOPROTOOPT, libc::EOPNOTSUPP, libc::EPROTO];
#[cfg(not(target_os = "linux"))]
const PASSING: &[i32] = &[];
/// Errors in a row that are passed over: more of them speak of all streams, whatever they say.
const PASSED: usize = 64;
/// Streams accepted before others have their turn.
const ACCEPTED: usize = 32;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_accepting_is_passed_over_or_calls_for_a_pause_and_none_of_them_for_ever() {
        for (number, passes) in [
            (libc::ECONNABORTED, true),
            (libc::EINTR, true),
            (libc::EPERM, true),
            (libc::EPROTO, true),
            (libc::ENETDOWN, true),
            (libc::ENOPROTOOPT, true),
            (libc::EHOSTDOWN, true),
            (libc::ENONET, true),
            (libc::EHOSTUNREACH, true),
            (libc::EOPNOTSUPP, true),
            (libc::ENETUNREACH, true),
            (libc::ETIMEDOUT, true),
            (libc::EMFILE, false),
            (libc::ENFILE, false),
            (libc::ENOBUFS, false),
            (libc::ENOMEM, false),
            (libc::EBADF, false),
            (libc::EINVAL, false),
        ] {
            let (error, mut trouble) = (io::Error::from_raw_os_error(number), Trouble::default());
            assert_eq!(trouble.handle(&error).is_none(), passes, "{error}");
            let pauses: Vec<_> = (0..1_000).filter_map(|_| trouble.handle(&error)).collect();
            assert!(pauses.len() >= 14 && pauses.is_sorted() && pauses.last() == Some(&LAST_PAUSE), "{error}");
        }
    }
}

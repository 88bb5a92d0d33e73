//! A stranger's stream that a web server answers: bytes, both ways, for a while.

use std::future::Future;
use std::io::{self, ErrorKind, Read as _};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use socket2::SockRef;
use sudp_proto::driver::Way;
use sudp_proto::link::Handed;

use crate::arrival::Guest;
use crate::clock;
use crate::runtime::{Ready, Runtime, Timer};
use crate::sockets::Means;
use crate::tcp;

/// The task between a stranger and a web server. It holds little, and ends when either has hung up, when nothing has
/// passed for a while, or when it has lasted too long.
pub(crate) struct Relay<R: Runtime> {
    stranger: R::Tcp,
    server: R::Tcp,
    connected: bool,
    handed: Handed,
    /// What the stranger has sent, as it came.
    input: BytesMut,
    /// The stranger sends no more, and the server was told so.
    asked: Ended,
    /// The server sends no more, and the stranger was told so.
    answered: Ended,
    timer: Pin<Box<R::Timer>>,
    idle_from: Instant,
    until: Instant,
    armed: bool,
    /// Its place among those that nobody knows.
    _guest: Guest<R>,
}

/// How far one way of a stream has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ended {
    No,
    Heard,
    Told,
}

impl<R: Runtime> Relay<R> {
    pub(crate) fn new(
        means: &Arc<Means<R>>,
        stranger: R::Tcp,
        handed: Handed,
        input: BytesMut,
        to: SocketAddr,
        guest: Guest<R>,
    ) -> io::Result<Self> {
        let server = means.runtime.tcp(tcp::connect(to)?)?;
        let now = clock::now();
        Ok(Self {
            stranger,
            server,
            connected: false,
            handed,
            input,
            asked: Ended::No,
            answered: Ended::No,
            timer: Box::pin(means.runtime.timer()),
            idle_from: now,
            until: now + LASTS,
            armed: false,
            _guest: guest,
        })
    }

    /// Moves what can be moved. Says whether there was anything, and fails where the relay is over.
    fn step(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if !self.connected {
            let ready = attempt(&self.server, Way::Out, cx, |socket| {
                if tcp::connected(socket)? { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
            })?;
            if ready.is_none() {
                return Ok(false);
            }
            self.connected = true;
        }
        let asked = self.ask(cx)?;
        let answered = self.answer(cx)?;
        Ok(asked || answered)
    }

    /// From the stranger to the server.
    fn ask(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut moved = false;
        if self.asked == Ended::No && self.handed.heard().len() < ROOM && self.input.len() < ROOM {
            let read = attempt(&self.stranger, Way::In, cx, |socket| read(socket, &mut self.input))?;
            match read {
                Some(0) => self.asked = Ended::Heard,
                Some(_) => moved = true,
                None => {}
            }
        }
        self.handed.receive(&mut self.input).map_err(|_| ErrorKind::InvalidData)?;
        if self.handed.has_ended() && self.asked == Ended::No {
            self.asked = Ended::Heard;
        }
        if !self.handed.heard().is_empty() {
            let heard = self.handed.heard();
            if let Some(count) = attempt(&self.server, Way::Out, cx, |socket| tcp::write(socket, heard))? {
                heard.advance(count);
                moved |= count > 0;
            }
        }
        if self.asked == Ended::Heard && self.handed.heard().is_empty() {
            self.asked = Ended::Told;
            self.server.socket().shutdown(Shutdown::Write)?;
        }
        Ok(moved)
    }

    /// From the server to the stranger.
    fn answer(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut moved = false;
        if self.answered == Ended::No && self.unwritten()? < ROOM {
            let mut room = BytesMut::new();
            match attempt(&self.server, Way::In, cx, |socket| read(socket, &mut room))? {
                Some(0) => {
                    self.answered = Ended::Heard;
                    self.handed.finish();
                    moved = true;
                }
                Some(_) => {
                    self.handed.say(&room);
                    moved = true;
                }
                None => {}
            }
        }
        let output = self.handed.output().map_err(|_| ErrorKind::InvalidData)?;
        if !output.is_empty()
            && let Some(count) = attempt(&self.stranger, Way::Out, cx, |socket| tcp::write(socket, output))?
        {
            self.handed.advance(count);
            moved |= count > 0;
        }
        if self.answered == Ended::Heard && self.unwritten()? == 0 {
            self.answered = Ended::Told;
            self.stranger.socket().shutdown(Shutdown::Write)?;
        }
        Ok(moved)
    }

    fn unwritten(&mut self) -> io::Result<usize> {
        Ok(self.handed.output().map_err(|_| ErrorKind::InvalidData)?.len())
    }

    /// Whether nothing more can come of it. A stranger that was told the end need not say it, too.
    fn is_over(&self) -> bool {
        self.answered == Ended::Told && self.asked != Ended::No
    }
}

impl<R: Runtime> Future for Relay<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        for _ in 0..STEPS {
            match this.step(cx) {
                Err(_) => return Poll::Ready(()),
                Ok(_) if this.is_over() => return Poll::Ready(()),
                Ok(true) => this.idle_from = clock::now(),
                Ok(false) => loop {
                    let due = this.until.min(this.idle_from + IDLE);
                    let now = clock::now();
                    if now >= due {
                        return Poll::Ready(());
                    }
                    if !std::mem::replace(&mut this.armed, true) {
                        this.timer.as_mut().arm(due - now);
                    }
                    if this.timer.as_mut().poll_fired(cx).is_pending() {
                        return Poll::Pending;
                    }
                    this.armed = false;
                },
            }
        }
        R::yield_now(cx);
        Poll::Pending
    }
}

/// Tries something on a socket; none if it is to be tried again when the socket is ready, which wakes the task.
fn attempt<S: Ready, T>(
    socket: &S,
    way: Way,
    cx: &mut Context<'_>,
    mut call: impl FnMut(&SockRef<'_>) -> io::Result<T>,
) -> io::Result<Option<T>> {
    for _ in 0..2 {
        match socket.try_io(way, &mut call) {
            Ok(done) => return Ok(Some(done)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        match socket.poll_ready(way, cx) {
            Poll::Pending => return Ok(None),
            Poll::Ready(ready) => ready?,
        }
    }
    cx.waker().wake_by_ref();
    Ok(None)
}

fn read(socket: &SockRef<'_>, into: &mut BytesMut) -> io::Result<usize> {
    let before = into.len();
    into.resize(before + READ, 0);
    let outcome = (&**socket).read(into.get_mut(before..).unwrap_or_default());
    into.truncate(before + outcome.as_ref().copied().unwrap_or_default());
    outcome
}

/// Bytes that wait, each way, before more are read.
const ROOM: usize = 16 << 10;
const READ: usize = 16 << 10;
/// How long nothing may pass.
const IDLE: Duration = Duration::from_secs(10);
/// How long it may last in all.
const LASTS: Duration = Duration::from_secs(300);
/// Steps in a row.
const STEPS: usize = 32;

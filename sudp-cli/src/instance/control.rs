//! The control socket: lets the user of an instance, and root, look into it and tell it what to do.
//!
//! It has a thread of its own, so that however many ask, however much and however slowly, no datagram waits for it.
//! What is asked of the instance itself runs where the instance runs.

mod conversation;

use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use conversation::Conversation;

use super::paths::{self, Files};
use super::protocol::{Answer, Event, Record, Wanted};
use crate::exit::{Exit, Failure, Outcome};
use crate::run::App;
use crate::status::{Flow, Status};

/// An open control socket. Dropped, it is removed, and nobody is answered any more.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    _end: oneshot::Sender<()>,
}

/// What a control socket lets others look into.
pub trait Served: Clone + Send + Sync + 'static {
    /// How it is.
    fn status(&self) -> impl Future<Output = Status> + Send;
    /// Its flows.
    fn flows(&self) -> impl Future<Output = Vec<Flow>> + Send;
    /// Ends a flow.
    fn cut(&self, session: &str, flow: u64) -> impl Future<Output = Outcome> + Send;
    /// Reads its configuration anew.
    fn reload(&self) -> impl Future<Output = Outcome> + Send;
    /// Replaces its links.
    fn reconnect(&self) -> impl Future<Output = Outcome> + Send;
    /// What happens from now on.
    fn events(&self) -> broadcast::Receiver<Event>;
    /// The datagrams that pass from now on.
    fn capture(&self, wanted: Wanted) -> impl Future<Output = Outcome<mpsc::Receiver<Record>>> + Send;
    /// Ends it.
    fn stop(&self);
}

impl Control {
    /// Opens the socket of an instance whose lock this process holds. To be called within the runtime of the instance.
    pub fn open(files: &Files, served: impl Served) -> Outcome<Self> {
        let path = files.socket.clone();
        paths::clear_socket(&path)?;
        let cannot = |error: io::Error| paths::cannot("listen at", &path, &error);

        let runtime = Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let within = runtime.enter();
        let listener = UnixListener::bind(&path).map_err(cannot)?;
        drop(within);
        // Until this is done the folder keeps others out, and whoever gets through is asked for their user.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(cannot)?;

        let (end, ended) = oneshot::channel();
        let door = Door { served, home: Handle::current() };
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = door.accept(listener) => {}
                    _ = ended => {}
                }
            });
        };
        thread::Builder::new().name("sudp-control".into()).stack_size(STACK).spawn(serve).map_err(cannot)?;
        Ok(Self { path, _end: end })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// What is served, and where it is at home.
#[derive(Clone)]
struct Door<S> {
    served: S,
    home: Handle,
}

impl<S: Served> Door<S> {
    async fn accept(self, listener: UnixListener) {
        let room = Arc::new(Semaphore::new(CALLERS));
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(target: "sudp::control", %error, "the control socket takes no callers for a moment");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(caller) = caller(&stream) else { continue };
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                refuse(&stream);
                continue;
            };
            let door = self.clone();
            tokio::spawn(async move {
                // However it ends, there is nobody left to tell.
                let _ = Conversation::new(door, stream, caller).hold().await;
                drop(place);
            });
        }
    }

    /// Has the instance do something, at its home, for as long as a caller waits for it.
    async fn ask<T: Send + 'static>(
        &self,
        limit: Duration,
        what: impl Future<Output = T> + Send + 'static,
    ) -> Outcome<T> {
        match timeout(limit, self.home.spawn(what)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.is_cancelled() => Err(Failure::new(Exit::NotRunning, "it has just ended")),
            Ok(Err(_)) => Err(Failure::new(Exit::Internal, "it failed at this: its log says more")),
            Err(_) => {
                let message = format!("it does not come to answer this within {limit:?}: it hangs");
                Err(Failure::new(Exit::Temporary, message))
            }
        }
    }
}

impl Served for App {
    async fn status(&self) -> Status {
        Self::status(self).await
    }

    async fn flows(&self) -> Vec<Flow> {
        Self::flows(self).await
    }

    async fn cut(&self, session: &str, flow: u64) -> Outcome {
        Self::cut(self, session, flow).await
    }

    async fn reload(&self) -> Outcome {
        Self::reload(self).await
    }

    async fn reconnect(&self) -> Outcome {
        Self::reconnect(self).await
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        Self::events(self)
    }

    async fn capture(&self, wanted: Wanted) -> Outcome<mpsc::Receiver<Record>> {
        Self::capture(self, wanted).await
    }

    fn stop(&self) {
        Self::stop(self);
    }
}

/// The process that calls, if it is one of our user or root's.
fn caller(stream: &UnixStream) -> Option<i32> {
    let caller = stream.peer_cred().ok()?;
    let uid = caller.uid();
    if uid == geteuid().as_raw() || uid == 0 {
        return Some(caller.pid().unwrap_or(0));
    }
    tracing::warn!(target: "sudp::control", uid, "a caller at the control socket is neither our user nor root");
    None
}

/// Says that there are too many. A new socket has room for that.
fn refuse(stream: &UnixStream) {
    let failure = Failure::new(Exit::Temporary, format!("{CALLERS} others ask already: ask again later"));
    let mut line = serde_json::to_vec(&Answer::from(failure)).unwrap_or_default();
    line.push(b'\n');
    let _ = stream.try_write(&line);
}

/// How many may ask at once.
const CALLERS: usize = 256;

/// How long no caller is taken when there are no more files for them.
const PAUSE: Duration = Duration::from_millis(100);

const STACK: usize = 512 * 1024;

#[cfg(test)]
mod tests;

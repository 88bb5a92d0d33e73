//! Threads whose use of the processor can be asked for.

use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, oneshot};

use crate::exit::{Exit, Failure, Outcome};
use crate::run::rt::block_on;

/// A thread with a runtime, on which something runs for as long as this is held.
#[derive(Debug)]
pub(super) struct Worker {
    name: &'static str,
    asked: mpsc::UnboundedSender<oneshot::Sender<Duration>>,
}

impl Worker {
    /// Sets something up in a thread of its own, and keeps what that gives second.
    pub(super) fn start<T: Send + 'static, K>(
        name: &'static str,
        set: impl AsyncFnOnce() -> Outcome<(T, K)> + Send + 'static,
    ) -> Outcome<(Self, T)> {
        let (asked, mut questions) = mpsc::unbounded_channel::<oneshot::Sender<Duration>>();
        let (ready, up) = std::sync::mpsc::channel();
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let run = async {
                let (told, kept) = set().await?;
                // Nobody waits for it when the bench has failed elsewhere.
                let _ = ready.send(Ok(told));
                while let Some(question) = questions.recv().await {
                    let _ = question.send(clock(ClockId::ThreadCPUTime));
                }
                drop(kept);
                Ok(())
            };
            if let Err(failure) = block_on(run) {
                let _ = ready.send(Err(failure));
            }
        });
        spawned.map_err(|error| Failure::new(Exit::Failed, format!("no thread for the {name}: {error}")))?;
        let up = up.recv().unwrap_or_else(|_| Err(gone(name)));
        Ok((Self { name, asked }, up?))
    }

    /// What its thread has used so far.
    pub(super) async fn cpu(&self) -> Outcome<Duration> {
        let (answer, answered) = oneshot::channel();
        self.asked.send(answer).map_err(|_| gone(self.name))?;
        answered.await.map_err(|_| gone(self.name))
    }
}

/// What all threads of this process have used so far.
pub(super) fn cpu_of_process() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

fn clock(id: ClockId) -> Duration {
    clock_gettime(id).try_into().unwrap_or_default()
}

fn gone(name: &str) -> Failure {
    Failure::new(Exit::Internal, format!("the thread of the {name} has ended by itself"))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_worker_is_charged_for_its_own_work_alone() {
        let busy = |time| {
            let begun = Instant::now();
            while clock(ClockId::ThreadCPUTime) < time {
                assert!(begun.elapsed() < Duration::from_secs(60), "no processor for a minute");
            }
        };
        let worked = Duration::from_millis(30);
        let set = move || async move {
            busy(worked);
            Ok(((), ()))
        };
        let (worker, ()) = Worker::start("busy", set).unwrap();
        busy(worked * 4);
        let used = block_on(worker.cpu()).unwrap();
        assert!((worked..worked * 3).contains(&used), "{used:?}");
        assert!(cpu_of_process() >= worked * 5);
    }

    #[test]
    fn a_worker_that_cannot_be_set_up_says_why() {
        let set = async || Err::<((), ()), _>(Failure::new(Exit::Denied, "not today"));
        assert_eq!(Worker::start("lazy", set).unwrap_err().message, "not today");
    }
}

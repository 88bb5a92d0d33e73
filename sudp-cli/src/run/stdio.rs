//! Standard input and output, tied to a UDP port of the server's side.
//!
//! What one read of the input yields is one datagram, as with netcat: a line of a terminal, and of a pipe or file what
//! is there, in pieces. Each datagram that comes back is written as it is.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use sudp_tokio::proto::wire::{Address, Code};
use sudp_tokio::{Client, ClientEvent, Events, Flow, FlowClosed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until};

use super::client::{App, Progress, connect, finish, follow, is_settled, over};
use super::life::{Life, Signals, until_done};
use super::{Start, rt};
use crate::args::spec::{Kind, TunnelSpec};
use crate::exit::{Exit, Failure, Outcome};
use crate::status::Role;

/// Runs until the input has ended, and a moment longer, for the answers. The configured tunnels stay closed.
pub fn run(start: Start, to: &str) -> Outcome {
    let Start { sources, color, ready } = start;
    let spec = TunnelSpec::stdio(to).map_err(|error| Failure::new(Exit::Usage, error))?;
    let Kind::Stdio { to } = spec.kind.clone() else {
        return Err(Failure::new(Exit::Usage, format!("`{to}` is no host and port")));
    };
    let life = Life::begin(Role::Client, sources, color)?;
    rt::block_on(async {
        let signals = Signals::listen()?;
        let (client, events) = connect(&life, &life.config())?;
        let app = super::App::Client(App::new(&life, client.clone()));
        life.serve(&app, ready)?;
        let tie = Tie { client, life: &life, to, spec, settled: None };
        until_done(&life, signals, app, tie.run(events)).await
    })
}

struct Tie<'a> {
    client: Client,
    life: &'a Life,
    to: Address,
    spec: TunnelSpec,
    /// Since when everything that was read has arrived, once the input has ended.
    settled: Option<Instant>,
}

impl Tie<'_> {
    async fn run(mut self, events: Events<ClientEvent>) -> Outcome {
        let done = self.carry(events).await;
        // However it went, the server is told: else it would keep the session for somebody who does not come back.
        let within = self.life.config().client.shutdown;
        finish(&self.client, if done.is_ok() { within } else { within.min(FAREWELL) }).await;
        done
    }

    async fn carry(&mut self, mut events: Events<ClientEvent>) -> Outcome {
        let (mut input, mut output) = (tokio::io::stdin(), tokio::io::stdout());
        let mut progress = Progress::new(self.life.config().client);
        let mut flow = self.open().await?;
        let mut room = vec![0; PIECE];
        let (mut ended, mut look) = (false, Instant::now());
        let stopped = self.life.stopped(1);
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                () = &mut stopped => break,
                event = events.next() => {
                    follow(&self.client, self.life, &mut progress, &event.ok_or_else(over)?).await?;
                }
                read = input.read(&mut room), if !ended => match read {
                    Ok(0) => (ended, look) = (true, Instant::now()),
                    Ok(length) => {
                        let piece = Bytes::copy_from_slice(room.get(..length).unwrap_or_default());
                        if let Err(closed) = flow.send(piece.clone()).await {
                            flow = self.again(closed).await?;
                            // It was idle; if this one ends as well, it is told with the answers.
                            let _ = flow.send(piece).await;
                        }
                    }
                    Err(error) => {
                        return Err(Failure::new(Exit::Failed, format!("cannot read the standard input: {error}")));
                    }
                },
                answer = flow.recv() => match answer {
                    Ok(payload) => {
                        self.settled = self.settled.map(|_| Instant::now());
                        if !write(&mut output, &payload).await? {
                            break;
                        }
                    }
                    Err(closed) => flow = self.again(closed).await?,
                },
                () = sleep_until(look), if ended => {
                    if self.is_done().await {
                        break;
                    }
                    look = Instant::now() + LOOK;
                }
            }
        }
        Ok(())
    }

    async fn open(&self) -> Outcome<Flow> {
        let opened = self.client.open(self.to.clone(), self.spec.treatment).await;
        opened.map_err(|refused| Failure::new(Exit::Config, format!("{}: {refused}", self.to)))
    }

    /// Another flow, where one was only idle.
    #[expect(clippy::wildcard_enum_match_arm, reason = "there is a way out of some, and of the others there is not")]
    async fn again(&self, FlowClosed(code): FlowClosed) -> Outcome<Flow> {
        let to = &self.to;
        match code {
            Code::Idle => self.open().await,
            Code::Denied => {
                let message = format!("the server does not allow {to}; its rules would have to (--allow {to})");
                Err(Failure::new(Exit::Denied, message))
            }
            Code::Unreachable => {
                let message = format!("the server cannot reach {to}; check its spelling, and that it resolves there");
                Err(Failure::new(Exit::Unreachable, message))
            }
            other => {
                let why = super::tell::words(other);
                Err(Failure::new(Exit::Failed, format!("the flow to {to} has ended: {why}")))
            }
        }
    }

    /// Whether all that was read has arrived, and nothing has come back for a while.
    async fn is_done(&mut self) -> bool {
        let Ok(stats) = self.client.stats().await else { return true };
        if stats.session.is_none() || !is_settled(&stats.counters) {
            self.settled = None;
            return false;
        }
        self.settled.get_or_insert_with(Instant::now).elapsed() >= LINGER
    }
}

/// Writes a datagram; false if nobody reads any more.
async fn write(output: &mut tokio::io::Stdout, payload: &[u8]) -> Outcome<bool> {
    let mut written = output.write_all(payload).await;
    if written.is_ok() {
        written = output.flush().await;
    }
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(Exit::Failed, format!("cannot write to the standard output: {error}"))),
    }
}

/// What one read takes at most, as netcat has it.
const PIECE: usize = 16_384;
/// How long answers are waited for.
const LINGER: Duration = Duration::from_secs(1);
/// How long it may take to tell the server that something went wrong here.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often is looked whether everything has arrived.
const LOOK: Duration = Duration::from_millis(20);

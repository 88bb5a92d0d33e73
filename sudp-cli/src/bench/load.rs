//! What is sent to an echo service, and what is found out from what comes back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, BytesMut};
use sudp_tokio::UdpPort;
use sudp_tokio::proto::driver::Datagram;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::delays::Delays;
use crate::exit::{Exit, Failure, Outcome};

/// A way to send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Test {
    /// One at a time, with pauses.
    Quiet,
    /// So many under way, all the time.
    Window(u16),
    /// So many a second, whatever comes back.
    Flood(u32),
}

/// What one test has found.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) sent: u64,
    pub(super) answered: u64,
    /// For how long was sent.
    pub(super) time: Duration,
    pub(super) delays: Delays,
    /// What the processor did for it: all of this process, and the shares of the tunnel's ends.
    pub(super) cpu: Duration,
    pub(super) client: Duration,
    pub(super) server: Option<Duration>,
}

/// Who sends.
#[derive(Debug)]
pub(super) struct Load {
    port: UdpPort,
    begun: Instant,
    /// Every test marks its datagrams, so that late ones are not taken for the next one's.
    mark: u32,
}

impl Load {
    pub(super) fn new(port: UdpPort) -> Self {
        Self { port, begun: Instant::now(), mark: 0 }
    }

    /// Whether anything comes back from there.
    pub(super) async fn reaches(&mut self, to: SocketAddr) -> Outcome<bool> {
        for _ in 0..TRIES {
            self.mark += 1;
            let mut sample = Sample::default();
            self.send(to, SMALLEST, 1, &mut sample).await?;
            if self.wait(&mut sample, TRY).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) async fn run(&mut self, test: Test, size: usize, to: SocketAddr, time: Duration) -> Outcome<Sample> {
        self.mark += 1;
        let mut sample = Sample::default();
        let begun = Instant::now();
        match test {
            Test::Quiet => {
                while begun.elapsed() < time {
                    self.send(to, size, 1, &mut sample).await?;
                    self.wait(&mut sample, PATIENCE).await?;
                    sleep(PAUSE).await;
                }
            }
            Test::Window(window) => {
                let mut given_up = 0;
                while begun.elapsed() < time {
                    let under_way = (sample.sent - sample.answered).saturating_sub(given_up);
                    self.send(to, size, u64::from(window).saturating_sub(under_way), &mut sample).await?;
                    if !self.wait(&mut sample, STALL).await? {
                        given_up = sample.sent - sample.answered;
                    }
                }
            }
            Test::Flood(rate) => {
                let mut ticks = interval(TICK);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
                while begun.elapsed() < time {
                    let Self { port, begun: epoch, mark, .. } = self;
                    tokio::select! {
                        biased;
                        _ = ticks.tick() => {
                            let due = begun.elapsed().as_nanos() * u128::from(rate) / 1_000_000_000;
                            let owing = u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(sample.sent);
                            self.send(to, size, owing, &mut sample).await?;
                        }
                        received = port.recv(|_, payload| sample.take(*epoch, *mark, payload)) => {
                            received.map_err(|error| broken(&error))?;
                        }
                    }
                }
            }
        }
        sample.time = begun.elapsed();
        // What is under way may still come; a pause says that nothing does.
        let end = Instant::now() + GRACE;
        while sample.answered < sample.sent && Instant::now() < end && self.wait(&mut sample, STALL).await? {}
        Ok(sample)
    }

    async fn send(&mut self, to: SocketAddr, size: usize, count: u64, sample: &mut Sample) -> Outcome {
        let mut left = count;
        while left > 0 {
            let some = left.min(BATCH as u64);
            let since = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let mut bytes = BytesMut::with_capacity(size * BATCH);
            let mut datagram = || {
                bytes.put_u32(self.mark);
                bytes.put_u64(since);
                bytes.put_bytes(0, size - SMALLEST);
                Datagram { to, payload: bytes.split().freeze() }
            };
            let batch: Vec<_> = (0..some).map(|_| datagram()).collect();
            let mut rest = batch.as_slice();
            while !rest.is_empty() {
                // What cannot be sent is lost, and counted so.
                let sent = self.port.send(rest).await.unwrap_or(1);
                rest = &rest[sent..];
            }
            sample.sent += some;
            left -= some;
        }
        Ok(())
    }

    /// Waits for answers, but not for longer than this. Says whether there were any.
    async fn wait(&mut self, sample: &mut Sample, patience: Duration) -> Outcome<bool> {
        let before = sample.answered;
        let Self { port, begun, mark } = self;
        let answered = async {
            while sample.answered == before {
                port.recv(|_, payload| sample.take(*begun, *mark, payload)).await?;
            }
            Ok::<(), std::io::Error>(())
        };
        match timeout(patience, answered).await {
            Ok(outcome) => outcome.map(|()| true).map_err(|error| broken(&error)),
            Err(_) => Ok(false),
        }
    }
}

impl Sample {
    fn take(&mut self, begun: Instant, mark: u32, payload: &[u8]) {
        let Some((head, rest)) = payload.split_first_chunk() else { return };
        let Some((sent, _)) = rest.split_first_chunk() else { return };
        if u32::from_be_bytes(*head) != mark {
            return;
        }
        self.answered += 1;
        self.delays.record(begun.elapsed().saturating_sub(Duration::from_nanos(u64::from_be_bytes(*sent))));
    }
}

fn broken(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("the load cannot receive: {error}"))
}

/// The mark, and when it was sent.
const SMALLEST: usize = 12;
/// What is sent at once.
const BATCH: usize = 64;
/// How often a path is tried, and for how long each time.
const TRIES: u32 = 20;
const TRY: Duration = Duration::from_millis(250);
/// How long a quiet one is waited for, and the pause after it.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(2);
/// After which time without answers those under way are taken for lost.
const STALL: Duration = Duration::from_millis(200);
/// How long is waited at the end, at most.
const GRACE: Duration = Duration::from_millis(500);
/// How often a flood sends.
const TICK: Duration = Duration::from_millis(1);

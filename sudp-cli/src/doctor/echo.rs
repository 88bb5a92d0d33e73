//! Datagrams to an echo service behind the server, and back: loss, delay, and how large they may be.

use std::cell::RefCell;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use sudp_tokio::proto::session::Treatment;
use sudp_tokio::proto::wire::{Address, Code};
use sudp_tokio::{Client, Flow};
use tokio::time::{Instant, sleep_until};

use super::report::{Mark, Step, span};
use crate::exit::{Exit, Failure, Outcome};

/// Sends datagrams to an echo service, and counts what comes back.
#[derive(Debug)]
pub(super) struct Echo {
    to: Address,
    flow: Flow,
    /// So that nobody else's echoes are counted.
    run: [u8; 8],
    rounds: u32,
}

/// What came back.
#[derive(Debug, Default)]
struct Exchange {
    /// The delay of each, in the order in which they were sent.
    delays: Vec<Option<Duration>>,
    doubled: usize,
    closed: Option<Code>,
}

impl Echo {
    pub(super) async fn open(client: &Client, to: &Address) -> Outcome<Self> {
        let mut run = [0; 8];
        // Without randomness there is nobody else's echo either.
        let _ = getrandom::fill(&mut run);
        let flow = client.open(to.clone(), Treatment::default()).await;
        let flow = flow.map_err(|error| Failure::new(Exit::Failed, format_args!("no flow to {to}: {error}")))?;
        Ok(Self { to: to.clone(), flow, run, rounds: 0 })
    }

    /// A few small ones, with time in between.
    pub(super) async fn idle(&mut self) -> Step {
        let round = self.exchange(&[64; 20], Duration::from_millis(25)).await;
        let to = &self.to;
        match round.closed {
            Some(Code::Denied) => {
                let says = format_args!("the server does not let us send to {to}");
                let fix = format_args!("allow it there (--allow {to}), or give another --echo");
                return Step::fail("echo", Exit::Denied, says, fix);
            }
            Some(code) => {
                let says = format_args!("the server closed the flow to {to} ({code:?})");
                let fix = "check that the name resolves at the server, and that it has a route there";
                return Step::fail("echo", Exit::Failed, says, fix);
            }
            None => {}
        }
        if round.returned() == 0 {
            let says = format_args!("nothing comes back from {to}");
            let fix = "start an echo service there (`sudp echo`), check that the address is right as the server sees it, \
                       and that its firewall lets UDP through";
            return Step::fail("echo", Exit::Failed, says, fix);
        }
        let step = round.step("echo", format_args!("{to}"), "UDP is lost between the server and the echo service");
        round.facts(step)
    }

    /// A few Mbit/s for a few seconds.
    pub(super) async fn load(&mut self) -> Step {
        let count = RATE * SECONDS / (8 * SIZE);
        let gap = Duration::from_secs(SECONDS as u64) / u32::try_from(count).unwrap_or(u32::MAX);
        let round = self.exchange(&vec![SIZE; count], gap).await;
        let what = format!("{} Mbit/s for {SECONDS} s", RATE / 1_000_000);
        let step = round.step("load", what, "this path does not carry as much: UDP that is sent faster is dropped");
        let bloated = round.quantile(0.95).is_some_and(|delay| delay > BLOAT + round.quantile(0.0).unwrap_or_default());
        let step = if bloated && step.result == Mark::Ok {
            let fix = "delay grows under load: something in between buffers much. For voice and games use class=realtime, \
                       which drops what is late";
            Step::warn("load", step.says, fix)
        } else {
            step
        };
        round.facts(step)
    }

    /// Ever larger ones, to see which arrive.
    pub(super) async fn sizes(&mut self) -> Step {
        let (mut good, bad) = self.largest(&SIZES).await;
        let Some(mut bad) = bad else {
            return Step::ok("size", format_args!("datagrams of every size arrive, up to {good} bytes"))
                .with("largest", good);
        };
        while bad - good > 1 {
            let step = (bad - good).div_ceil(17).max(1);
            let between: Vec<_> = (1..17).map(|n| good + n * step).take_while(|size| *size < bad).collect();
            let (next, failed) = self.largest(&between).await;
            (good, bad) = (next.max(good), failed.unwrap_or(bad));
        }
        let inner = good.saturating_sub(WIREGUARD) / 16 * 16;
        let says = format_args!("datagrams of up to {good} bytes arrive, larger ones vanish");
        let fix = format!(
            "have what is inside keep to {good} bytes: for WireGuard, MTU = {inner}. They vanish where UDP leaves the \
             server or comes back, not in the tunnel: some networks drop fragments"
        );
        let step = if good >= USUAL { Step::ok("size", says) } else { Step::warn("size", says, fix) };
        step.with("largest", good).with("wireguard_mtu", inner)
    }

    /// The largest size that arrived with all smaller ones, and the smallest that did not.
    async fn largest(&mut self, sizes: &[usize]) -> (usize, Option<usize>) {
        let shots: Vec<_> = sizes.iter().flat_map(|size| [*size; 2]).collect();
        let round = self.exchange(&shots, Duration::from_millis(10)).await;
        let arrived = |index: usize| round.delays[2 * index].is_some() || round.delays[2 * index + 1].is_some();
        let failed = (0..sizes.len()).find(|index| !arrived(*index));
        let good = failed.map_or(sizes.len(), |index| index).checked_sub(1).map_or(0, |index| sizes[index]);
        (good, failed.map(|index| sizes[index]))
    }

    async fn exchange(&mut self, sizes: &[usize], gap: Duration) -> Exchange {
        self.rounds += 1;
        let (round, begun) = (self.rounds, Instant::now());
        let sent = RefCell::new(vec![None; sizes.len()]);
        let mut exchange = Exchange { delays: vec![None; sizes.len()], ..Exchange::default() };
        let send = async {
            for (index, size) in sizes.iter().enumerate() {
                let number = u32::try_from(index).unwrap_or(u32::MAX);
                sleep_until(begun + gap * number).await;
                sent.borrow_mut()[index] = Some(Instant::now());
                self.flow.send(datagram(self.run, round, number, *size)).await?;
            }
            Ok::<_, sudp_tokio::FlowClosed>(())
        };
        let mut send = std::pin::pin!(send);
        let mut until = None;
        while until.is_none() || exchange.returned() < sizes.len() {
            tokio::select! {
                done = &mut send, if until.is_none() => match done {
                    Ok(()) => until = Some(Instant::now() + PATIENCE),
                    Err(closed) => {
                        exchange.closed = Some(closed.0);
                        break;
                    }
                },
                got = self.flow.recv() => match got {
                    Ok(datagram) => {
                        let Some(index) = index_of(&datagram, self.run, round) else { continue };
                        let Some(Some(at)) = sent.borrow().get(index).copied() else { continue };
                        match &mut exchange.delays[index] {
                            Some(_) => exchange.doubled += 1,
                            delay => *delay = Some(at.elapsed()),
                        }
                    }
                    Err(closed) => {
                        exchange.closed = Some(closed.0);
                        break;
                    }
                },
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => break,
            }
        }
        exchange
    }
}

impl Exchange {
    fn returned(&self) -> usize {
        self.delays.iter().flatten().count()
    }

    fn quantile(&self, share: f64) -> Option<Duration> {
        let mut delays: Vec<_> = self.delays.iter().flatten().copied().collect();
        delays.sort();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small count")]
        let index = ((delays.len().saturating_sub(1)) as f64 * share).round() as usize;
        delays.get(index).copied()
    }

    fn step(&self, name: &'static str, what: impl std::fmt::Display, lost: &str) -> Step {
        let (sent, returned) = (self.delays.len(), self.returned());
        let shown = |share| self.quantile(share).map(span).unwrap_or_default();
        let delay = format!("{} (19 of 20 within {})", shown(0.5), shown(0.95));
        let loss = (sent - returned) as f64 * 100.0 / sent.max(1) as f64;
        if returned < sent {
            let says = format_args!("{what}: {loss:.1} % of {sent} do not come back, delay {delay}");
            return Step::warn(name, says, lost);
        }
        Step::ok(name, format_args!("{what}: all {sent} come back, delay {delay}"))
    }

    fn facts(&self, step: Step) -> Step {
        let seconds = |share| self.quantile(share).map(|delay| delay.as_secs_f64());
        step.with("sent", self.delays.len())
            .with("returned", self.returned())
            .with("doubled", self.doubled)
            .with("delay_min", seconds(0.0))
            .with("delay_median", seconds(0.5))
            .with("delay_p95", seconds(0.95))
    }
}

fn datagram(run: [u8; 8], round: u32, number: u32, size: usize) -> Bytes {
    let mut datagram = BytesMut::with_capacity(size);
    datagram.put_slice(&run);
    datagram.put_u32(round);
    datagram.put_u32(number);
    datagram.resize(size.max(HEAD), 0);
    datagram.freeze()
}

fn index_of(datagram: &[u8], run: [u8; 8], round: u32) -> Option<usize> {
    let (head, _) = datagram.split_first_chunk::<HEAD>()?;
    let (whose, rest) = head.split_at(8);
    let (of, number) = rest.split_at(4);
    (whose == run && of == round.to_be_bytes()).then_some(())?;
    usize::try_from(u32::from_be_bytes(number.try_into().ok()?)).ok()
}

/// Whose it is, of which round, and which it is.
const HEAD: usize = 16;
/// How long echoes are waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bits per second under load, for how long, and in bytes of what size.
const RATE: usize = 4_000_000;
const SECONDS: usize = 3;
const SIZE: usize = 1_200;
/// More delay than this under load is felt.
const BLOAT: Duration = Duration::from_millis(200);
/// What is tried, about where networks have their limits.
const SIZES: [usize; 13] = [512, 1_200, 1_280, 1_392, 1_420, 1_452, 1_472, 2_000, 4_000, 8_000, 16_000, 32_000, 65_507];
/// What every network carries without fragments, nearly.
const USUAL: usize = 1_452;
/// What WireGuard adds to a packet that it pads to 16 bytes.
const WIREGUARD: usize = 32;

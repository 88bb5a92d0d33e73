//! Numbered datagrams through a connection that is cut again and again, and what becomes of them.
//!
//! Echo service, server, client and what cuts them off from each other run in this process, on real sockets.

mod judge;
mod ledger;
mod others;
mod plan;
mod relay;
mod show;

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sudp_tokio::proto::access::{Grant, Rules};
use sudp_tokio::proto::config::client::{ClientConfig, Scheme, ServerConfig};
use sudp_tokio::proto::driver::Datagram;
use sudp_tokio::proto::session::{Tunnel, Way};
use sudp_tokio::proto::stats::{Counters, DropReason};
use sudp_tokio::{
    Anyone, BindError, Client, ClientOptions, ClientStats, Server, ServerOptions, Tokio, TunnelRefused, UdpOptions,
    UdpPort,
};
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};

use self::judge::Verdict;
use self::ledger::Ledger;
use self::others::Others;
use self::plan::Plan;
use self::relay::{Cut, Relay};
use self::show::{Link, Show, View, short};
use super::echo::Echo;
use super::interrupt::Interrupt;
use super::life::cannot_listen;
use super::rt::block_on;
use crate::args::Common;
use crate::args::demo::DemoArgs;
use crate::exit::{Exit, Failure, Outcome};

/// Shows it.
pub(crate) fn run(args: &DemoArgs, common: &Common) -> Outcome {
    block_on(async {
        let mut interrupt = Interrupt::new()?;
        let mut stage = Stage::set(args, Show::new(common.color)).await?;
        let stays = stage.play(&mut interrupt).await && (args.stay || args.length.is_none());
        let verdict = stage.end().await;
        verdict.tell(&stage.show);
        if stays {
            stage.stay(&mut interrupt).await;
        }
        stage.leave().await;
        verdict.outcome()
    })
}

/// Everything that takes part.
struct Stage {
    echo: Echo,
    server: Server,
    relay: Relay,
    client: Client,
    /// The application's socket, and where the client takes its datagrams.
    application: UdpPort,
    entrance: SocketAddr,
    books: RefCell<Books>,
    plan: Plan,
    cuts: u64,
    /// The cut after which nothing has come through so far: when it was, and what was under way.
    cut: Option<(Instant, u64)>,
    rate: u32,
    length: Duration,
    begun: Instant,
    show: Show,
}

/// What is known of datagrams, ours and those of others.
struct Books {
    ledger: Ledger,
    /// What tells ours from any other's.
    mark: String,
    /// The ports from which ours have reached the echo service.
    egress: Vec<u16>,
    others: Others,
    /// Answers in each span of time.
    answers: Vec<u64>,
}

impl Stage {
    async fn set(args: &DemoArgs, show: Show) -> Outcome<Self> {
        let (client_port, echo_port, server_port) = args.ports();
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let echo = Echo::bind(local(echo_port), &way_out("--echo-port"))?;
        let service = echo.local_addr();

        let rules = Rules::parse([format!("allow {service}").as_str()]);
        let rules =
            rules.map_err(|(_, error)| Failure::new(Exit::Internal, format!("the rule of the demo: {error}")))?;
        let options = ServerOptions::new(vec![local(server_port)]);
        let server = sudp_tokio::bind(options, Anyone(Grant::new(rules))).map_err(no_server)?;

        let relay = Relay::open(server.local_addrs()[0]);
        let relay =
            relay.map_err(|error| Failure::new(Exit::CannotCreate, format!("cannot cut connections: {error}")))?;
        let config = ClientConfig::new(vec![ServerConfig::new(Scheme::Ws, relay.local_addr().into())]);
        let client = sudp_tokio::connect(ClientOptions::new(config))
            .map_err(|error| Failure::new(Exit::Failed, format!("the client does not start: {error}")))?;
        let way = Way::Forward { listen: Some(local(client_port)), to: Some(service.into()) };
        let tunnel = client.add_tunnel(Tunnel::new(way)).await.map_err(no_tunnel)?;
        let entrance = tunnel.at.unwrap_or(local(client_port));

        let runtime = Tokio::current().ok_or_else(|| Failure::new(Exit::Internal, "no runtime for the demo"))?;
        let application = UdpPort::bind(&runtime, local(0), &UdpOptions::default())
            .map_err(|error| Failure::new(Exit::CannotCreate, format!("no UDP port for the application: {error}")))?;
        let length = args.length.unwrap_or(SHOW);
        let begun = Instant::now();
        let plan = if args.no_cuts { Plan::none() } else { Plan::new(length) };
        let books = RefCell::new(Books::new()?);
        let rate = args.rate;
        Ok(Self {
            echo,
            server,
            relay,
            client,
            application,
            entrance,
            books,
            plan,
            cuts: 0,
            cut: None,
            rate,
            length,
            begun,
            show,
        })
    }

    /// Sends and cuts for as long as it is to last, and until everything is answered. Says whether nobody has
    /// interrupted it.
    async fn play(&mut self, interrupt: &mut Interrupt) -> bool {
        let (mut uninterrupted, mut sending, mut settled) = (true, true, None);
        self.show.begin(self.ports());
        let mut pace = interval(PACE);
        let mut frames = interval(self.show.pace());
        for ticks in [&mut pace, &mut frames] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        }
        let end = self.begun + self.length;
        let mut patience = end + PATIENCE;
        loop {
            let next_cut = self.plan.next().filter(|_| sending).map(|(after, _)| self.begun + after);
            let Self { echo, application, books, begun, .. } = self;
            tokio::select! {
                () = echo.turn(|from, payload| books.borrow_mut().arrived(from, payload)) => continue,
                received = application.recv(|_, payload| books.borrow_mut().answered(*begun, payload)) => {
                    if received.is_err() {
                        sleep(PACE).await;
                    }
                }
                () = sleep_until(next_cut.unwrap_or(end + PATIENCE).into()), if next_cut.is_some() => self.cut(),
                _ = pace.tick() => {
                    if sending && Instant::now() >= end {
                        sending = false;
                    }
                    if sending {
                        self.send().await;
                    } else if self.books.borrow().ledger.missing().count > 0 {
                        settled = None;
                    } else if settled.get_or_insert_with(Instant::now).elapsed() >= SETTLED {
                        return uninterrupted;
                    }
                    if Instant::now() >= patience {
                        return uninterrupted;
                    }
                }
                _ = frames.tick() => self.paint().await,
                () = interrupt.came() => {
                    if !uninterrupted {
                        return false;
                    }
                    (uninterrupted, sending) = (false, false);
                    patience = Instant::now() + PATIENCE;
                }
            }
            self.notice();
        }
    }

    /// Sends what is due by now.
    async fn send(&mut self) {
        let now = Instant::now();
        let due = now.duration_since(self.begun).as_micros() * u128::from(self.rate) / 1_000_000;
        let batch: Vec<Datagram> = {
            let books = &mut *self.books.borrow_mut();
            let owing = due.saturating_sub(books.ledger.sent().into()).min(BURST);
            (0..owing).map(|_| Datagram { to: self.entrance, payload: books.next(now) }).collect()
        };
        let mut rest = batch.as_slice();
        while !rest.is_empty() {
            // What cannot be sent is not answered, and missed at the end.
            let sent = self.application.send(rest).await.unwrap_or(1);
            rest = &rest[sent..];
        }
    }

    fn cut(&mut self) {
        let Some((_, cut)) = self.plan.take() else { return };
        self.relay.cut(cut);
        self.cuts += 1;
        self.cut = Some((Instant::now(), self.books.borrow().ledger.under_way()));
        let what = match cut {
            Cut::Reset => "the connection is reset".to_owned(),
            Cut::Silence => "the connection falls silent: nothing comes through, and nobody is told".to_owned(),
            Cut::Refusal(time) => {
                format!("the connection is reset, and every new one refused for {:.1} s", time.as_secs_f64())
            }
        };
        self.show.tell(self.begun.elapsed(), &format!("cut {}: {what}", self.cuts));
    }

    /// Tells that a cut is over, when something that was sent after it has come back.
    fn notice(&mut self) {
        let Some((cut, _)) = self.cut else { return };
        let books = self.books.borrow();
        let Some((answered, took)) = books.ledger.last else { return };
        if answered.checked_sub(took).is_some_and(|sent| sent > cut) {
            let after = answered.duration_since(cut);
            drop(books);
            self.cut = None;
            let what = format!("flowing again, {} after the cut", short(after));
            self.show.tell(self.begun.elapsed(), &what);
        }
    }

    async fn paint(&mut self) {
        let Ok(stats) = self.client.stats().await else { return };
        let far = self.far(&stats).await;
        let (elapsed, now) = (self.begun.elapsed(), Instant::now());
        let books = &mut *self.books.borrow_mut();
        books.ledger.expire(now);
        let ledger = &books.ledger;
        let waited = ledger.last.map_or(elapsed, |(at, _)| now.duration_since(at));
        let spans = span(elapsed);
        books.answers.resize(spans + 1, 0);
        let view = View {
            elapsed,
            length: self.length,
            ports: self.ports(),
            link: link(now, &stats, self.relay.refuses()),
            cuts: self.cuts,
            links: stats.counters.links,
            sent: ledger.sent(),
            answered: ledger.answered,
            under_way: ledger.under_way(),
            lost: ledger.lost,
            doubled: ledger.doubled,
            replayed: stats.counters.batches_resent + far.batches_resent,
            recognised: stats.counters.duplicates + far.duplicates,
            dropped: dropped(&[stats.counters, far]),
            now: ledger.last.map(|(_, took)| took),
            waiting: (waited > LATE && ledger.under_way() > 0).then_some(waited),
            half: ledger.delays.within(500),
            most: ledger.delays.within(990),
            egress: books.egress.clone(),
            others: books.others.count(),
            answers: books.answers[spans.saturating_sub(CHART)..spans].to_vec(),
            usual: u64::from(self.rate) * u64::try_from(SPAN.as_millis()).unwrap_or(0) / 1_000,
        };
        self.show.paint(&view);
    }

    /// Those of client, server and echo service.
    fn ports(&self) -> [u16; 3] {
        [self.entrance.port(), self.server.local_addrs()[0].port(), self.echo.local_addr().port()]
    }

    /// What the server has counted.
    async fn far(&self, stats: &ClientStats) -> Counters {
        let Some(session) = stats.session else { return Counters::default() };
        self.server.stats(session).await.map_or_else(|_| Counters::default(), |stats| stats.counters)
    }

    /// What came of it.
    async fn end(&mut self) -> Verdict {
        self.show.finish();
        let stats = self.client.stats().await.ok();
        let (mut counters, mut links) = (Vec::new(), 0);
        if let Some(stats) = stats {
            counters = vec![stats.counters, self.far(&stats).await];
            links = stats.counters.links;
        }
        let books = self.books.borrow();
        let ledger = &books.ledger;
        Verdict {
            sent: ledger.sent(),
            answered: ledger.answered,
            doubled: ledger.doubled,
            missing: ledger.missing(),
            cuts: self.cuts,
            links,
            replayed: counters.iter().map(|counters| counters.batches_resent).sum(),
            recognised: counters.iter().map(|counters| counters.duplicates).sum(),
            dropped: dropped(&counters),
            half: ledger.delays.within(500),
            most: ledger.delays.within(990),
            egress: books.egress.clone(),
            seconds: self.begun.elapsed().as_secs_f64(),
        }
    }

    /// Lets others use the tunnel, until it is interrupted.
    async fn stay(&mut self, interrupt: &mut Interrupt) {
        let port = self.entrance.port();
        for line in [
            "",
            "The tunnel stays up. Type one of these into another terminal:",
            "",
            &format!("    nc -u 127.0.0.1 {port}"),
            &format!("    socat - UDP:127.0.0.1:{port}"),
            "",
            "and every line you type there comes back from the echo service. Ctrl-C ends the demo.",
            "",
        ] {
            self.show.say(line, 0);
        }
        let mut lines = interval(SECOND);
        let Self { echo, application, books, begun, .. } = self;
        books.borrow_mut().others.speak();
        loop {
            tokio::select! {
                () = echo.turn(|from, payload| books.borrow_mut().arrived(from, payload)) => {}
                // Nothing is sent any more: what comes now would be doubled, and does not.
                _ = application.recv(|_, payload| books.borrow_mut().answered(*begun, payload)) => {}
                _ = lines.tick() => books.borrow_mut().others.breathe(),
                () = interrupt.came() => return self.show.end_line(),
            }
        }
    }

    async fn leave(self) {
        let Self { client, server, relay, .. } = self;
        relay.clear();
        client.drain(SECOND).await;
        server.drain(SECOND).await;
    }
}

impl Books {
    fn new() -> Outcome<Self> {
        let mut random = [0; 3];
        getrandom::fill(&mut random)
            .map_err(|error| Failure::new(Exit::Failed, format!("no randomness from the system: {error}")))?;
        let [a, b, c] = random;
        Ok(Self {
            ledger: Ledger::default(),
            mark: format!("sudp demo {a:02x}{b:02x}{c:02x} "),
            egress: Vec::new(),
            others: Others::default(),
            answers: Vec::new(),
        })
    }

    /// The next one to send: text, so that whoever looks at it on its way knows what it is.
    fn next(&mut self, now: Instant) -> Bytes {
        let number = self.ledger.send(now);
        format!("{}{number:010}", self.mark).into()
    }

    fn number(&self, payload: &[u8]) -> Option<u64> {
        str::from_utf8(payload.strip_prefix(self.mark.as_bytes())?).ok()?.parse().ok()
    }

    fn arrived(&mut self, from: SocketAddr, payload: &[u8]) {
        let Some(number) = self.number(payload) else { return self.others.take(payload) };
        self.ledger.arrive(number);
        if self.egress.last() != Some(&from.port()) && self.egress.len() < EGRESS {
            self.egress.push(from.port());
        }
    }

    fn answered(&mut self, begun: Instant, payload: &[u8]) {
        let Some(number) = self.number(payload) else { return };
        let now = Instant::now();
        if self.ledger.answer(now, number).is_some() {
            let span = span(now.duration_since(begun));
            if self.answers.len() <= span {
                self.answers.resize(span + 1, 0);
            }
            self.answers[span] += 1;
        }
    }
}

/// How the connection is; `refused` says whether dials are.
fn link(now: Instant, stats: &ClientStats, refused: bool) -> Link {
    let progress = stats.links.iter().map(|link| link.progress).max();
    match progress {
        Some(since) if stats.links.iter().all(|link| link.suspect.is_some()) => {
            Link::Suspect(now.saturating_duration_since(since))
        }
        Some(_) => Link::Up,
        None if refused => Link::Refused,
        None if stats.counters.links > 0 => Link::Dialling,
        None => Link::Connecting,
    }
}

/// What the tunnel dropped, with the reasons.
fn dropped(counters: &[Counters]) -> String {
    let count = |reason: DropReason| {
        counters.iter().map(|counters| counters.dropped_out[reason] + counters.dropped_in[reason]).sum::<u64>()
    };
    let reasons = DropReason::ALL.into_iter().map(|reason| (reason.as_str(), count(reason)));
    let some: Vec<_> = reasons.filter(|(_, count)| *count > 0).map(|(word, count)| format!("{count} {word}")).collect();
    some.join(", ")
}

fn span(elapsed: Duration) -> usize {
    usize::try_from(elapsed.as_millis() / SPAN.as_millis()).unwrap_or(usize::MAX)
}

fn way_out(flag: &str) -> String {
    format!("choose another with {flag}, or any free ones with --port 0")
}

fn no_server(error: BindError) -> Failure {
    if let BindError::Listen { at, source } = &error {
        return cannot_listen("the server", "TCP", *at, source, &way_out("--server-port"));
    }
    Failure::new(Exit::Failed, format!("the server does not start: {error}"))
}

fn no_tunnel(error: TunnelRefused) -> Failure {
    if let TunnelRefused::Listen { at, source } = &error {
        return cannot_listen("the client", "UDP", *at, source, &way_out("--client-port"));
    }
    Failure::new(Exit::Failed, format!("the tunnel is refused: {error}"))
}

/// How long it cuts, where nobody says.
const SHOW: Duration = Duration::from_secs(20);
/// How often it looks what is to be sent.
const PACE: Duration = Duration::from_millis(2);
/// How many it sends at once, after it could not for a while.
const BURST: u128 = 64;
/// After which time without answers it says so.
const LATE: Duration = Duration::from_millis(250);
/// How long it waits for answers at the end, and for what may come twice when there is nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(30);
const SETTLED: Duration = Duration::from_millis(300);
const SECOND: Duration = Duration::from_secs(1);
/// How long a step of the chart is, and how many there are.
const SPAN: Duration = Duration::from_millis(250);
const CHART: usize = 60;
/// How many ports are told.
const EGRESS: usize = 100;

//! Stories of one session, told on messages.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::access::{Grant, Own, Pool};
use crate::event::LinkLoss;
use crate::testing::{epoch, ms, secs};
use crate::wire::{Address, Class, Hello, Ordinal, Welcome};

/// Two halves and the links between them: each takes `latency`, and may be cut.
struct Pair {
    now: Instant,
    client: Session,
    server: Session,
    latency: Duration,
    links: Vec<Path>,
    /// What the server's sockets got, and what the client's sources got back.
    served: Vec<(FlowId, Bytes)>,
    answered: Vec<(FlowId, Bytes)>,
    events: Vec<(Role, Event)>,
    echo: bool,
}

struct Path {
    ordinal: Ordinal,
    up: VecDeque<(Instant, Bytes)>,
    down: VecDeque<(Instant, Bytes)>,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Healthy,
    /// Nothing passes any more, and nobody is told.
    Hanging,
    Cut,
}

const TUNNEL: TunnelId = TunnelId(1);

fn source(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Pair {
    fn new() -> Self {
        Self::with(Treatment::default(), Limits { links: 3, ..Limits::default() })
    }

    fn with(treatment: Treatment, limits: Limits) -> Self {
        let now = epoch();
        let pool = Pool::memory(64 << 20, 128 << 10);
        let setup = |access, seed: u64| Setup {
            limits: limits.clone(),
            identity: Identity { client: "laptop".into(), incarnation: (1, 1) },
            access,
            pool: pool.clone(),
            seed: Seed::from(seed),
        };
        let access = Access { grant: Grant::open(), own: Arc::new(Own::default()) };
        let mut client = Session::new(now, Role::Client, setup(None, 1));
        let to = Some(Address::from(source(9)));
        let tunnel = Tunnel { way: Way::Forward { listen: None, to }, treatment, in_doubt: InDoubt::Drop };
        client.add_tunnel(TUNNEL, tunnel).unwrap();
        Self {
            now,
            client,
            server: Session::new(now, Role::Server, setup(Some(access), 2)),
            latency: ms(25),
            links: Vec::new(),
            served: Vec::new(),
            answered: Vec::new(),
            events: Vec::new(),
            echo: false,
        }
    }

    /// Dials and attaches at once.
    fn connect(&mut self) -> Ordinal {
        let hello = self.client.hello(self.now).unwrap();
        self.attach(&hello).unwrap()
    }

    fn attach(&mut self, hello: &Hello) -> Result<Ordinal, Code> {
        let ended = self.server.accept(self.now, hello)?;
        if hello.attach.is_none() {
            self.server.found(SessionId([7; 16]), [9; 32]);
        }
        let welcome = Welcome {
            ordinal: hello.ordinal,
            session: SessionId([7; 16]),
            secret: hello.attach.is_none().then_some([9; 32]),
            cluster: 0,
            server: 1,
            boot: 1,
            owner: Bytes::new(),
            ticket: Bytes::new(),
            ended,
            parameters: self.server.parameters(),
        };
        self.client.welcome(self.now, &welcome).unwrap();
        let (up, down) = (VecDeque::new(), VecDeque::new());
        self.links.push(Path { ordinal: hello.ordinal, up, down, fate: Fate::Healthy });
        self.drain();
        Ok(hello.ordinal)
    }

    fn path(&mut self, ordinal: Ordinal) -> &mut Path {
        self.links.iter_mut().find(|path| path.ordinal == ordinal).unwrap()
    }

    fn cut(&mut self, ordinal: Ordinal) {
        self.path(ordinal).fate = Fate::Cut;
        self.client.detach(self.now, ordinal, LinkLoss::Ended);
        self.server.detach(self.now, ordinal, LinkLoss::Ended);
        self.drain();
    }

    fn send(&mut self, port: u16, payload: &[u8]) {
        self.client.handle_datagram(self.now, TUNNEL, source(port), payload).unwrap();
        self.drain();
    }

    /// Takes everything out of both halves.
    fn drain(&mut self) {
        let now = self.now;
        for path in &mut self.links {
            while let Some(message) = self.client.poll_message(now, path.ordinal, 65_536) {
                let message = message.to_bytes();
                if path.fate == Fate::Healthy {
                    path.up.push_back((now + self.latency, message));
                }
            }
            while let Some(message) = self.server.poll_message(now, path.ordinal, 65_536) {
                let message = message.to_bytes();
                if path.fate == Fate::Healthy {
                    path.down.push_back((now + self.latency, message));
                }
            }
        }
        while let Some(need) = self.server.poll_need() {
            if let Need::Socket { flow, .. } = need {
                self.server.handle_socket(now, flow, Ok(()));
            }
        }
        let mut answers = Vec::new();
        while let Some(flow) = self.server.poll_ready() {
            let got: Vec<Bytes> = self.server.inbox(flow).map(|inbound| inbound.payload.clone()).collect();
            self.server.delivered(flow, got.len());
            for payload in got {
                answers.push((flow, payload.clone()));
                self.served.push((flow, payload));
            }
        }
        while let Some(flow) = self.client.poll_ready() {
            let got: Vec<Bytes> = self.client.inbox(flow).map(|inbound| inbound.payload.clone()).collect();
            self.client.delivered(flow, got.len());
            self.answered.extend(got.into_iter().map(|payload| (flow, payload)));
        }
        while let Some(event) = self.client.poll_event() {
            self.events.push((Role::Client, event));
        }
        while let Some(event) = self.server.poll_event() {
            self.events.push((Role::Server, event));
        }
        if self.echo && !answers.is_empty() {
            for (flow, payload) in answers {
                self.server.handle_answer(now, flow, source(9), &payload).unwrap();
            }
            self.drain();
        }
        self.check();
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrivals = self.links.iter().filter(|path| path.fate == Fate::Healthy);
            let arrivals = arrivals.flat_map(|path| [path.up.front(), path.down.front()]).flatten().map(|(at, _)| *at);
            let timers =
                [&self.client, &self.server].into_iter().filter_map(|half| half.poll_timeout()).map(|due| due.at);
            let Some(next) = arrivals.chain(timers).min().filter(|next| *next <= end) else { break };
            // What another call made due at once lies in the past.
            let next = next.max(self.now);
            self.now = next;
            self.deliver();
            self.client.handle_timeout(next);
            self.server.handle_timeout(next);
            self.drain();
            for half in [&self.client, &self.server] {
                assert!(half.poll_timeout().is_none_or(|due| due.at > next), "{:?}", half.poll_timeout());
            }
        }
        self.now = end;
    }

    fn deliver(&mut self) {
        let now = self.now;
        for index in 0..self.links.len() {
            while let Some((_, message)) = self.links[index].up.pop_front_if(|(at, _)| *at <= now) {
                self.server.handle_message(now, self.links[index].ordinal, message);
            }
            while let Some((_, message)) = self.links[index].down.pop_front_if(|(at, _)| *at <= now) {
                self.client.handle_message(now, self.links[index].ordinal, message);
            }
        }
    }

    /// The law of the sender and that of the receiver, on both halves, for every flow.
    fn check(&self) {
        for half in [&self.client, &self.server] {
            for (slot, flow) in half.flows.iter() {
                let books = &flow.books;
                let queued = half.queues.flow_len(slot) as u64;
                let out = books.acknowledged + books.dropped.total() + queued + books.in_flight + books.in_doubt;
                assert_eq!(books.accepted, out, "{:?} sends on {:?}: {books:?}", half.role, flow.id());
                let held = flow.inbox.len() as u64;
                assert_eq!(
                    books.processed,
                    books.delivered + books.refused.total() + held,
                    "{:?}: {books:?}",
                    half.role
                );
            }
        }
    }

    fn numbers(list: &[(FlowId, Bytes)]) -> Vec<u32> {
        list.iter().map(|(_, payload)| u32::from_be_bytes(payload[..4].try_into().unwrap())).collect()
    }

    fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(_, event)| wanted(event)).count()
    }
}

#[test]
fn a_datagram_and_its_answer_need_no_round_trip_to_open_the_flow() {
    let mut pair = Pair::new();
    pair.echo = true;
    pair.connect();
    pair.send(4_000, b"question");
    pair.run(ms(49));
    assert_eq!((pair.served.len(), pair.answered.len()), (1, 0));
    pair.run(ms(2));
    assert_eq!(pair.answered[0].1, "question");
}

#[test]
fn what_waited_for_the_first_link_is_sent_on_it() {
    let mut pair = Pair::new();
    for number in 0..50_u32 {
        pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), &number.to_be_bytes()).unwrap();
    }
    pair.connect();
    pair.run(secs(1));
    assert_eq!(Pair::numbers(&pair.served), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_cut_link_loses_and_doubles_nothing() {
    let mut pair = Pair::new();
    let mut link = pair.connect();
    for number in 0..400_u32 {
        pair.send(4_000, &number.to_be_bytes());
        pair.run(ms(3));
        if number % 80 == 41 {
            pair.cut(link);
            pair.run(ms(200));
            link = pair.connect();
        }
    }
    pair.run(secs(2));
    let mut got = Pair::numbers(&pair.served);
    got.sort_unstable();
    assert_eq!(got, (0..400).collect::<Vec<_>>());
    assert_eq!(pair.client.counters().acknowledged, 400);
    assert!(pair.client.counters().batches_resent > 0);
    assert_eq!(pair.client.links.ended.len() + pair.server.links.ended.len(), 0, "ended links are forgotten");
}

#[test]
fn a_hanging_link_is_suspected_and_passed_by() {
    let mut pair = Pair::new();
    let link = pair.connect();
    pair.send(4_000, &0_u32.to_be_bytes());
    pair.run(secs(1));
    pair.path(link).fate = Fate::Hanging;
    pair.send(4_000, &1_u32.to_be_bytes());
    pair.run(secs(3));
    assert_eq!(pair.count(|event| *event == Event::LinkSuspect { ordinal: link }), 1);
    pair.connect();
    pair.run(ms(100));
    assert_eq!(Pair::numbers(&pair.served), [0, 1]);
    pair.run(secs(40));
    assert_eq!(pair.client.links().count(), 1, "the hanging link is given up");
    assert_eq!(pair.client.links.ended.len() + pair.server.links.ended.len(), 0);
}

#[test]
fn a_path_that_dies_while_only_the_server_sends_is_suspected_within_three_seconds() {
    let mut pair = Pair::new();
    let link = pair.connect();
    pair.send(4_000, b"hello");
    pair.run(secs(20));
    let flow = pair.server.flows().next().unwrap();
    for _ in 0..20 {
        pair.server.handle_answer(pair.now, flow, source(9), b"stream").unwrap();
        pair.drain();
        pair.run(ms(100));
    }
    pair.path(link).fate = Fate::Hanging;
    let died = pair.now;
    while pair.count(|event| *event == Event::LinkSuspect { ordinal: link }) == 0 && pair.now < died + secs(5) {
        pair.server.handle_answer(pair.now, flow, source(9), b"stream").unwrap();
        pair.drain();
        pair.run(ms(50));
    }
    let client =
        |(role, event): &(Role, Event)| *role == Role::Client && *event == Event::LinkSuspect { ordinal: link };
    pair.run(died + secs(3) - pair.now);
    assert!(pair.events.iter().any(client));
}

#[test]
fn copies_travel_on_two_links_and_the_first_wins() {
    let treatment = Treatment { class: Class::Realtime, copies: 2, ..Treatment::default() };
    let mut pair = Pair::with(treatment, Limits { links: 2, ..Limits::default() });
    let (first, _) = (pair.connect(), pair.connect());
    pair.run(secs(1));
    pair.path(first).fate = Fate::Hanging;
    for number in 0..20_u32 {
        pair.send(4_000, &number.to_be_bytes());
        pair.run(ms(20));
    }
    pair.run(ms(10));
    assert_eq!(Pair::numbers(&pair.served), (0..20).collect::<Vec<_>>());
}

#[test]
fn stale_realtime_datagrams_are_not_replayed_and_every_one_is_accounted_for() {
    let treatment = Treatment { class: Class::Realtime, ..Treatment::default() };
    let mut pair = Pair::with(treatment, Limits::default());
    let link = pair.connect();
    pair.send(4_000, &0_u32.to_be_bytes());
    pair.run(secs(1));
    pair.path(link).fate = Fate::Hanging;
    for number in 1..20_u32 {
        pair.send(4_000, &number.to_be_bytes());
        pair.run(ms(20));
    }
    pair.cut(link);
    pair.run(secs(1));
    pair.connect();
    pair.run(secs(2));
    assert_eq!(Pair::numbers(&pair.served), [0]);
    let counters = pair.client.counters();
    assert_eq!(counters.accepted, counters.acknowledged + counters.dropped_out.total());
}

#[test]
fn an_idle_flow_is_closed_and_forgotten_at_both_ends() {
    let mut pair = Pair::new();
    pair.echo = true;
    pair.connect();
    pair.send(4_000, b"one shot");
    pair.run(secs(29));
    assert_eq!((pair.client.flows().count(), pair.server.flows().count()), (1, 1));
    pair.run(secs(3));
    assert_eq!((pair.client.flows().count(), pair.server.flows().count()), (0, 0));
    assert_eq!(pair.count(|event| matches!(event, Event::BooksDiffer { .. })), 0);
}

#[test]
fn a_refused_destination_closes_the_flow_and_is_remembered() {
    let mut pair = Pair::new();
    pair.connect();
    pair.server.regrant(
        pair.now,
        Access { grant: Grant::new(crate::access::Rules::default()), own: Arc::new(Own::default()) },
    );
    pair.send(4_000, b"denied");
    pair.run(ms(200));
    assert_eq!(pair.served.len(), 0);
    assert_eq!((pair.client.flows().count(), pair.server.flows().count()), (0, 0));
    let again = pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), b"again");
    assert_eq!(again, Err(SendError::Refused));
}

#[test]
fn a_drain_settles_everything_before_it_closes() {
    let mut pair = Pair::new();
    pair.connect();
    for number in 0..100_u32 {
        pair.send(4_000, &number.to_be_bytes());
    }
    pair.server.drain(pair.now, crate::wire::GoAwayReason::Shutdown, secs(1));
    pair.drain();
    pair.run(secs(2));
    assert_eq!(pair.served.len(), 100);
    assert_eq!(pair.server.phase(), Phase::Closed(Code::GoingAway));
    assert_eq!(pair.count(|event| *event == Event::Lost { code: Code::GoingAway, in_doubt: 0 }), 1);
    assert_eq!(pair.client.counters().acknowledged, 100);
}

#[test]
fn a_lost_session_moves_what_was_never_sent_and_counts_what_is_in_doubt() {
    let mut pair = Pair::new();
    let link = pair.connect();
    pair.send(4_000, &0_u32.to_be_bytes());
    pair.run(secs(1));
    pair.path(link).fate = Fate::Hanging;
    pair.send(4_000, &1_u32.to_be_bytes());
    pair.client.detach(pair.now, link, LinkLoss::Ended);
    pair.client.handle_datagram(pair.now, TUNNEL, source(4_000), &2_u32.to_be_bytes()).unwrap();
    pair.client.lose(pair.now, Code::UnknownSession);
    let fresh = Pair::new();
    pair.server = fresh.server;
    pair.links.clear();
    pair.drain();
    pair.connect();
    pair.run(secs(2));
    assert_eq!(Pair::numbers(&pair.served), [0, 2]);
    assert_eq!(pair.client.counters().in_doubt, 1);
    assert_eq!(pair.count(|event| matches!(event, Event::Lost { in_doubt: 1, .. })), 1);
}

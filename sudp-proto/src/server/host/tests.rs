//! A host and clients on streams in memory.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::BufMut;

use super::*;
use crate::access::Grant;
use crate::client::{Client, ClientSetup};
use crate::config::client::{ClientConfig, Scheme, ServerConfig};
use crate::driver::{Datagram, Progress, Socket, Step};
use crate::session::{Access, Phase};
use crate::testing::epoch;
use crate::wire::Address;

#[test]
fn a_claim_founds_a_session_and_a_token_stays_with_its_stream() {
    let mut story = Story::new();
    let at = story.connect(0);
    let (visitor, claim) = story.claim();
    let verdict = story.admit(visitor, &claim);
    let Verdict::Founded(session) = verdict else { panic!("{verdict:?}") };
    story.settle();

    assert_eq!(story.clients[0].0.endpoint_mut().session_mut().phase(), Phase::Established);
    assert_eq!(story.host.sessions().collect::<Vec<_>>(), [session]);
    assert!(story.doors.streams.contains_key(&at), "no door was closed or renamed");
    assert!(story.doors.closed.is_empty());
    let events: Vec<_> = std::iter::from_fn(|| story.host.poll_event()).collect();
    assert!(events.contains(&(session, Event::Established)), "{events:?}");
}

#[test]
fn a_stream_that_comes_back_joins_its_session() {
    let mut story = Story::new();
    let first = story.connect(0);
    let (visitor, claim) = story.claim();
    let Verdict::Founded(session) = story.admit(visitor, &claim) else { panic!("a first claim founds") };
    story.settle();
    story.cut(0, first);
    story.wait(Duration::from_secs(2));

    story.connect(0);
    let (visitor, claim) = story.claim();
    assert_eq!(story.admit(visitor, &claim), Verdict::Joined(session));
    story.settle();
    assert_eq!(story.host.sessions().count(), 1);
    assert_eq!(story.doors.closed, [first]);
}

#[test]
fn what_is_decided_too_late_or_about_a_client_that_hung_up_founds_nothing() {
    let mut story = Story::new();
    let at = story.connect(0);
    let (visitor, claim) = story.claim();
    story.cut(0, at);
    assert_eq!(story.admit(visitor, &claim), Verdict::Gone);

    story.wait(Duration::from_secs(2));
    story.connect(0);
    let (visitor, claim) = story.claim();
    story.wait(Limits::default().auth_deadline);
    assert_eq!(story.admit(visitor, &claim), Verdict::Gone);
    assert_eq!(story.host.refuse(story.now, visitor, Code::Denied), Verdict::Gone);
    assert_eq!(story.host.sessions().count(), 0);
    assert!(story.host.registry.is_empty());
}

#[test]
fn a_stream_without_a_claim_that_stands_does_not_move() {
    let mut story = Story::new();
    story.connect(0);
    let (visitor, claim) = story.claim();
    let Verdict::Founded(session) = story.admit(visitor, &claim) else { panic!("a first claim founds") };
    story.accept(SOURCE).unwrap();
    let number = story.host.next - 1;
    let Some(Role::Incoming { driver }) = story.host.remove(number) else { panic!("it was just accepted") };
    let to = story.host.sessions[&session];
    let mut back = driver.join(story.now, story.host.driver_mut(to).unwrap()).unwrap_err();
    assert!(back.release(Incoming::KEY).is_some(), "it still has its stream");
}

#[test]
fn a_claim_whose_client_hangs_up_unasked_is_not_held() {
    let mut story = Story::new();
    let at = story.connect(0);
    assert_eq!(story.host.claims.len(), 1);
    story.cut(0, at);
    assert!(story.host.claims.is_empty());
    assert!(story.host.poll_claim().is_none());
}

#[test]
fn a_refused_client_hears_so_and_its_stream_is_closed() {
    let mut story = Story::new();
    let at = story.connect(0);
    let (visitor, _) = story.claim();
    assert_eq!(story.host.refuse(story.now, visitor, Code::Denied), Verdict::Refused(Code::Denied));
    story.settle();
    story.wait(Limits::default().close_wait);
    assert_eq!(story.doors.closed, [at]);
    assert!(story.host.machines.is_empty() && story.host.due.is_empty() && story.host.strangers.count() == 0);
}

#[test]
fn a_session_that_ends_leaves_nothing_behind() {
    let mut story = Story::new();
    story.connect(0);
    let (visitor, claim) = story.claim();
    let Verdict::Founded(session) = story.admit(visitor, &claim) else { panic!("a first claim founds") };
    story.settle();
    story.host.session_mut(session).unwrap().session_mut().close(story.now, Code::Done);
    story.settle();
    story.wait(Limits::default().close_wait);
    assert!(story.host.machines.is_empty() && story.host.due.is_empty() && story.host.registry.is_empty());
    assert!(story.host.session_mut(session).is_none());
    assert!(story.doors.streams.is_empty());
}

#[test]
fn a_newer_session_of_a_client_ends_the_older_one() {
    let mut story = Story::new();
    for (client, started) in [(1, 0), (2, 1)] {
        story.add_client("twin", started);
        story.connect(client);
        let (visitor, claim) = story.claim();
        assert!(matches!(story.admit(visitor, &claim), Verdict::Founded(_)));
        story.settle();
    }
    let closed = std::iter::from_fn(|| story.host.poll_event())
        .filter(|(_, event)| matches!(event, Event::Closed { code: Code::Evicted, .. }));
    assert_eq!(closed.count(), 1);
}

#[test]
fn a_request_that_is_not_ours_is_not_found() {
    let mut story = Story::new();
    let at = story.accept(SOURCE).unwrap();
    story.doors.say(at, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n");
    story.host.handle_ready(at, Way::In);
    story.turn();
    assert!(story.doors.streams[&at].written.starts_with(b"HTTP/1.1 404 "));
}

#[test]
fn one_source_has_room_for_so_many_streams_and_gets_it_back() {
    let mut story = Story::new();
    let most = Limits::default().strangers_per_source;
    let from: Vec<IpAddr> =
        (0..).take(most + 1).map(|host| Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host).into()).collect();
    let accepted: Vec<Token> = from.iter().filter_map(|from| story.accept(*from)).collect();
    story.turn();
    assert_eq!(accepted.len(), most + 1);
    assert_eq!(story.doors.closed, [accepted[0]], "the oldest, which has said nothing, makes room");
    assert!(story.accept(SOURCE).is_some(), "another source");
    story.turn();
    assert_eq!(story.doors.streams.len(), most + 1);
}

#[test]
fn streams_that_say_nothing_are_closed_in_time_and_never_exceed_the_cap() {
    let mut story = Story::new();
    let limits = Limits::default();
    for host in 0..2_000_u32 {
        assert!(story.accept(Ipv4Addr::from(host).into()).is_some(), "the newest may be who speaks at once");
        story.turn();
        assert!(story.doors.streams.len() <= limits.strangers);
    }
    assert!(story.doors.streams.len() >= limits.strangers_early);
    story.wait(limits.head_deadline + limits.auth_deadline);
    assert!(story.doors.streams.is_empty());
    assert!(story.host.machines.is_empty() && story.host.strangers.count() == 0);
}

#[test]
fn a_token_of_a_closed_door_means_nothing_to_the_next_one_in_its_place() {
    let mut story = Story::new();
    let first = story.accept(SOURCE).unwrap();
    story.doors.streams.get_mut(&first).unwrap().ended = true;
    story.host.handle_ready(first, Way::In);
    story.turn();
    let second = story.accept(SOURCE).unwrap();
    assert_eq!(first.index, second.index);
    story.turn();
    story.host.handle_ready(first, Way::In);
    assert!(story.host.ready.is_empty());
}

/// One host, and clients whose streams are handed over by hand.
struct Story {
    now: Instant,
    host: Host,
    doors: Doors,
    clients: Vec<(Driver<Client>, Doors)>,
    /// The stream of each client: its name there, and at the host.
    wires: BTreeMap<usize, (Token, Token)>,
}

impl Story {
    fn new() -> Self {
        let setup = HostSetup::new(pool(), Seed::from(1));
        let mut story = Self {
            now: epoch(),
            host: Host::new(setup),
            doors: Doors::default(),
            clients: Vec::new(),
            wires: BTreeMap::new(),
        };
        story.add_client("", 0);
        story
    }

    fn add_client(&mut self, name: &str, started: u64) {
        let server = ServerConfig::new(Scheme::Ws, Address::from(SocketAddr::from(([192, 0, 2, 1], 80))));
        let config = ClientConfig { name: name.into(), ..ClientConfig::new(vec![server]) };
        let setup = ClientSetup { started, ..ClientSetup::new(config, pool(), Seed::from(10 + started)) };
        self.clients.push((Driver::new(Client::new(self.now, setup)), Doors::default()));
    }

    /// Lets a client dial, and the host hear its claim.
    fn connect(&mut self, client: usize) -> Token {
        let (driver, doors) = &mut self.clients[client];
        driver.turn(self.now, doors);
        let theirs = *doors.streams.keys().next_back().expect("a client dials");
        let ours = self.accept(SOURCE).expect("there is room");
        self.wires.insert(client, (theirs, ours));
        self.settle();
        ours
    }

    fn accept(&mut self, from: IpAddr) -> Option<Token> {
        let at = self.host.accept(self.now, from)?;
        self.doors.streams.insert(at, Pipe::default());
        Some(at)
    }

    fn claim(&mut self) -> (Visitor, Claim) {
        self.host.poll_claim().expect("a hello is a claim")
    }

    fn admit(&mut self, visitor: Visitor, claim: &Claim) -> Verdict {
        self.host.admit(self.now, visitor, claim, &Identification::default(), Access::new(Grant::open()))
    }

    /// Turns of the host until nothing is left to do but what waits for the caller.
    fn turn(&mut self) {
        for _ in 0..64 {
            self.host.turn(self.now, &mut self.doors);
            if self.host.ready.is_empty() {
                return;
            }
        }
        panic!("the host finds no end");
    }

    /// Lets both sides say and hear until nobody has anything to say.
    fn settle(&mut self) {
        for _ in 0..64 {
            let mut moved = false;
            self.turn();
            for (index, (driver, doors)) in self.clients.iter_mut().enumerate() {
                while driver.turn(self.now, doors).again {}
                let Some((theirs, ours)) = self.wires.get(&index).copied() else { continue };
                let up = doors.take(theirs);
                let down = self.doors.take(ours);
                moved |= !up.is_empty() || !down.is_empty();
                self.doors.say(ours, &up);
                doors.say(theirs, &down);
                self.host.handle_ready(ours, Way::In);
                driver.handle_ready(theirs, Way::In);
            }
            if !moved {
                return;
            }
        }
        panic!("they find no end");
    }

    /// Ends a stream, for both sides.
    fn cut(&mut self, client: usize, ours: Token) {
        let (theirs, _) = self.wires.remove(&client).expect("it is connected");
        let (driver, doors) = &mut self.clients[client];
        for (doors, at) in [(doors, theirs), (&mut self.doors, ours)] {
            doors.streams.get_mut(&at).expect("it is open").ended = true;
        }
        driver.handle_ready(theirs, Way::In);
        self.host.handle_ready(ours, Way::In);
        self.settle();
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = (self.now + Duration::from_millis(100)).min(end);
            self.settle();
        }
    }
}

#[derive(Default)]
struct Doors {
    streams: BTreeMap<Token, Pipe>,
    closed: Vec<Token>,
}

#[derive(Default)]
struct Pipe {
    unread: VecDeque<u8>,
    written: Vec<u8>,
    ended: bool,
}

impl Doors {
    fn say(&mut self, at: Token, bytes: &[u8]) {
        if let Some(pipe) = self.streams.get_mut(&at) {
            pipe.unread.extend(bytes);
        }
    }

    fn take(&mut self, at: Token) -> Vec<u8> {
        self.streams.get_mut(&at).map_or(Vec::new(), |pipe| std::mem::take(&mut pipe.written))
    }

    fn pipe(&mut self, at: Token) -> &mut Pipe {
        self.streams.get_mut(&at).expect("the stream is open")
    }
}

impl Io for Doors {
    fn dial(&mut self, at: Token, _to: SocketAddr) -> io::Result<Progress> {
        self.streams.insert(at, Pipe::default());
        Ok(Progress::Done)
    }

    fn read(&mut self, at: Token, into: &mut impl BufMut) -> io::Result<Step> {
        let pipe = self.pipe(at);
        let count = pipe.unread.len().min(into.remaining_mut());
        pipe.unread.drain(..count).for_each(|byte| into.put_u8(byte));
        Ok(if count > 0 {
            Step::More(count)
        } else if pipe.ended {
            Step::End
        } else {
            Step::Blocked(0)
        })
    }

    fn write(&mut self, at: Token, from: &[u8]) -> io::Result<Step> {
        self.pipe(at).written.extend_from_slice(from);
        Ok(Step::More(from.len()))
    }

    fn finish(&mut self, at: Token) -> io::Result<()> {
        // Here nobody waits any longer than this.
        self.pipe(at).ended = true;
        Ok(())
    }

    fn bind(&mut self, _at: Token, _socket: &Socket) -> io::Result<SocketAddr> {
        unreachable!("no tunnel is configured")
    }

    fn recv(&mut self, _at: Token, _each: impl FnMut(SocketAddr, &[u8])) -> io::Result<Step> {
        unreachable!("no socket is bound")
    }

    fn send(&mut self, _at: Token, _batch: &[Datagram]) -> io::Result<Step> {
        unreachable!("no socket is bound")
    }

    fn resolve(&mut self, _at: Token, _host: &str, _port: u16, _into: &mut Vec<SocketAddr>) -> io::Result<Progress> {
        unreachable!("no name is configured")
    }

    fn close(&mut self, at: Token) {
        self.streams.remove(&at).expect("the stream is open");
        self.closed.push(at);
    }
}

fn pool() -> Pool {
    Pool::memory(64 << 20, 128 << 10)
}

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));

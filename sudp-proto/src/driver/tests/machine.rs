//! The least that is an endpoint: a session whose links are messages with a length before them.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf as _, Bytes, BytesMut};

use super::super::{Endpoint, Key, Order, sealed};
use crate::access::{Grant, Own, Pool};
use crate::config::Limits;
use crate::rng::Seed;
use crate::session::{Access, Deadline, Identity, Role, Session, Setup};
use crate::wire::{Ordinal, SessionId, Ticket, Welcome};

/// What a machine was told, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Told {
    Connected(Key),
    Ended(Key),
    Failed(Key, ErrorKind),
    Input(Key),
    Resolved(Key, Vec<SocketAddr>),
    Timeout,
}

/// A session, or none, and its streams.
pub(super) struct Machine {
    pub(super) session: Option<Session>,
    /// Bytes to be written to each stream; those that carry a link say which.
    pub(super) streams: BTreeMap<Key, Stream>,
    pub(super) orders: VecDeque<Order>,
    pub(super) told: Vec<Told>,
    /// When this machine itself wants to be woken.
    pub(super) alarm: Option<Instant>,
}

#[derive(Default)]
pub(super) struct Stream {
    pub(super) link: Option<Ordinal>,
    pub(super) output: BytesMut,
    pub(super) finishing: bool,
}

/// The key of the stream that carries the first link.
pub(super) const LINK: Key = Key(1);

impl Machine {
    pub(super) fn new(session: Option<Session>) -> Self {
        Self { session, streams: BTreeMap::new(), orders: VecDeque::new(), told: Vec::new(), alarm: None }
    }

    /// Both halves of a session that has a link, at stream [`LINK`] of each.
    pub(super) fn pair(now: Instant) -> (Self, Self) {
        let limits = Limits { links: 2, ..Limits::default() };
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
        let mut server = Session::new(now, Role::Server, setup(Some(access), 2));
        let hello = client.hello(now).unwrap();
        let ended = server.accept(now, &hello).unwrap();
        server.found(SessionId([7; 16]), [9; 32]);
        let welcome = Welcome {
            ordinal: hello.ordinal,
            session: SessionId([7; 16]),
            secret: Some([9; 32]),
            cluster: 0,
            server: 1,
            boot: 1,
            owner: Bytes::new(),
            ticket: Ticket::default(),
            ended,
            parameters: server.parameters(),
        };
        client.welcome(now, &welcome).unwrap();
        let machine = |session| {
            let mut machine = Self::new(Some(session));
            machine.streams.insert(LINK, Stream { link: Some(hello.ordinal), ..Stream::default() });
            machine
        };
        (machine(client), machine(server))
    }

    /// Attaches another link to the session of two machines, at this stream of the first.
    pub(super) fn join(client: &mut Self, server: &mut Self, now: Instant, key: Key) {
        let hello = client.session().hello(now).unwrap();
        let ended = server.session().accept(now, &hello).unwrap();
        let welcome = Welcome {
            ordinal: hello.ordinal,
            session: SessionId([7; 16]),
            secret: None,
            cluster: 0,
            server: 1,
            boot: 1,
            owner: Bytes::new(),
            ticket: Ticket::default(),
            ended,
            parameters: server.session().parameters(),
        };
        client.session().welcome(now, &welcome).unwrap();
        client.streams.insert(key, Stream { link: Some(hello.ordinal), ..Stream::default() });
    }

    pub(super) fn session(&mut self) -> &mut Session {
        self.session.as_mut().unwrap()
    }

    /// What the link has to say now, as bytes for the other machine.
    pub(super) fn say(&mut self, now: Instant) -> Vec<u8> {
        let said = self.output(now, LINK).to_vec();
        self.advance(LINK, said.len());
        said
    }
}

impl sealed::Sealed for Machine {}

impl Endpoint for Machine {
    fn session(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    fn poll_order(&mut self, _now: Instant) -> Option<Order> {
        self.orders.pop_front()
    }

    fn handle_resolved(&mut self, _now: Instant, key: Key, answers: &[SocketAddr]) {
        self.told.push(Told::Resolved(key, answers.to_vec()));
    }

    fn handle_connected(&mut self, _now: Instant, key: Key) {
        self.told.push(Told::Connected(key));
    }

    fn handle_failed(&mut self, _now: Instant, key: Key, why: ErrorKind) {
        self.told.push(Told::Failed(key, why));
    }

    fn handle_input(&mut self, now: Instant, key: Key, input: &mut BytesMut) {
        self.told.push(Told::Input(key));
        let link = self.streams.get(&key).and_then(|stream| stream.link);
        let (Some(session), Some(link)) = (&mut self.session, link) else { return };
        while let Some(head) = input.first_chunk::<4>() {
            let len = usize::try_from(u32::from_be_bytes(*head)).unwrap();
            if input.len() < 4 + len {
                break;
            }
            input.advance(4);
            let message = input.split_to(len).freeze();
            session.handle_message(now, link, message);
        }
    }

    fn handle_end(&mut self, _now: Instant, key: Key) {
        self.told.push(Told::Ended(key));
    }

    fn output(&mut self, now: Instant, key: Key) -> &[u8] {
        let Some(stream) = self.streams.get_mut(&key) else { return &[] };
        if let (Some(session), Some(link)) = (&mut self.session, stream.link) {
            while stream.output.len() < ROOM
                && let Some(message) = session.poll_message(now, link, ROOM - stream.output.len())
            {
                let len = u32::try_from(message.len()).unwrap();
                stream.output.extend_from_slice(&len.to_be_bytes());
                stream.output.extend_from_slice(message.head);
                stream.output.extend_from_slice(message.body);
            }
        }
        &stream.output
    }

    fn advance(&mut self, key: Key, written: usize) {
        self.streams.get_mut(&key).unwrap().output.advance(written);
    }

    fn wants_finish(&self, key: Key) -> bool {
        self.streams.get(&key).is_some_and(|stream| stream.finishing && stream.output.is_empty())
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let alarm = self.alarm.map(|at| Deadline::new(at, "alarm"));
        let session = self.session.as_ref().and_then(Session::poll_timeout);
        [alarm, session].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.told.push(Told::Timeout);
        self.alarm = self.alarm.filter(|at| *at > now);
        if let Some(session) = &mut self.session {
            session.handle_timeout(now);
        }
    }
}

/// What a stream of a machine takes from the session before it is written.
const ROOM: usize = 64 << 10;

//! Links between the halves: dials, hellos and welcomes on their way, messages, cuts.

use std::collections::VecDeque;

use bytes::Bytes;
use sudp_proto::event::LinkLoss;
use sudp_proto::session::{Phase, Role, Session};
use sudp_proto::wire::{Code, Hello, Ordinal, SessionId, Ticket, Welcome};

use super::{Pair, setup};
use crate::clock::instant;

/// One link, and what is on its way.
pub(super) struct Path {
    pub(super) ordinal: Ordinal,
    pub(super) server: usize,
    pub(super) up: VecDeque<Bytes>,
    pub(super) down: VecDeque<Bytes>,
    /// Whether the client, and the server, still hold their end.
    pub(super) open: [bool; 2],
    pub(super) welcomed: bool,
    pub(super) room: usize,
    /// Nothing on it arrives.
    pub(super) stuck: bool,
}

impl Pair {
    pub(super) fn dial(&mut self) {
        if self.hellos.len() < 6
            && let Some(hello) = self.client.hello(instant(self.now))
        {
            self.hellos.push(hello);
        }
    }

    /// A hello reaches the server.
    pub(super) fn attach(&mut self, hello: &Hello) {
        let now = instant(self.now);
        let (index, secret) = match &hello.attach {
            Some(attach) => {
                let known = usize::from(attach.session.0[0]);
                match self.servers.get(known).and_then(Option::as_ref) {
                    Some(server) if !matches!(server.phase(), Phase::Closed(_)) => (known, None),
                    Some(_) | None => return self.unknown(attach.session),
                }
            }
            None => {
                let index = self.servers.len();
                if index > 200 {
                    return;
                }
                let number = u8::try_from(index).unwrap_or(u8::MAX);
                let mut server = Session::new(now, Role::Server, setup(1_000 + u64::from(number)));
                server.found(SessionId([number; 16]), [number; 32]);
                self.servers.push(Some(server));
                (index, Some([number; 32]))
            }
        };
        let Some(server) = self.servers[index].as_mut() else { return };
        let Some(session) = server.id() else { return };
        let ended = match server.accept(now, hello) {
            Ok(ended) => ended,
            Err(Code::UnknownSession) => return self.unknown(session),
            Err(_) => {
                if hello.attach.is_some() {
                    self.client.detach(now, hello.ordinal, LinkLoss::GivenUp);
                }
                return;
            }
        };
        let welcome = Welcome {
            ordinal: hello.ordinal,
            session,
            secret,
            cluster: 0,
            server: 1,
            boot: 1,
            owner: Bytes::new(),
            ticket: Ticket::default(),
            ended,
            parameters: server.parameters(),
        };
        self.paths.push(Path {
            ordinal: hello.ordinal,
            server: index,
            up: VecDeque::new(),
            down: VecDeque::new(),
            open: [false, true],
            welcomed: false,
            room: 65_536,
            stuck: false,
        });
        self.welcomes.push((self.paths.len() - 1, welcome));
        self.judge_accepted(index, hello);
    }

    /// The server does not know the session: it is lost, if it is still the client's.
    pub(super) fn unknown(&mut self, session: SessionId) {
        if self.client.id() == Some(session) {
            self.lose(Code::UnknownSession);
        }
    }

    pub(super) fn lose(&mut self, code: Code) {
        self.client.lose(instant(self.now), code);
        for path in &mut self.paths {
            path.open[0] = false;
        }
        self.hellos.clear();
        self.draining = false;
    }

    pub(super) fn welcome(&mut self, pick: usize) {
        if self.welcomes.is_empty() {
            return;
        }
        let (index, welcome) = self.welcomes.remove(pick % self.welcomes.len());
        let taken = self.client.welcome(instant(self.now), &welcome);
        let path = &mut self.paths[index];
        path.welcomed = true;
        path.open[0] = taken.is_ok();
        if taken.is_err() {
            self.end_server_side(index);
        }
    }

    fn end_server_side(&mut self, index: usize) {
        let path = &mut self.paths[index];
        if std::mem::take(&mut path.open[1])
            && let Some(server) = self.servers[path.server].as_mut()
        {
            server.detach(instant(self.now), path.ordinal, LinkLoss::Ended);
        }
    }

    pub(super) fn carry(&mut self, pick: usize, up: bool) {
        let now = instant(self.now);
        let count = 1 + pick / 32;
        let live = self.paths.iter().filter(|path| path.welcomed).count();
        let Some(path) = self.paths.iter_mut().filter(|path| path.welcomed).nth(pick % live.max(1)) else { return };
        let Some(server) = self.servers[path.server].as_mut() else { return };
        for _ in 0..count {
            // What a fenced link still delivers changes nothing.
            if up {
                let Some(message) = path.up.pop_front() else { return };
                server.handle_message(now, path.ordinal, message);
            } else if server.id() == self.client.id() {
                let Some(message) = path.down.pop_front() else { return };
                self.client.handle_message(now, path.ordinal, message);
            }
        }
    }

    pub(super) fn cut(&mut self, index: usize, sides: [bool; 2]) {
        let now = instant(self.now);
        let Some(path) = self.paths.get_mut(index) else { return };
        if sides[0] && std::mem::take(&mut path.open[0]) {
            self.client.detach(now, path.ordinal, LinkLoss::Ended);
        }
        if sides[1]
            && std::mem::take(&mut path.open[1])
            && let Some(server) = self.servers[path.server].as_mut()
        {
            server.detach(now, path.ordinal, LinkLoss::Ended);
        }
    }

    /// The client no longer waits for one of its dials.
    pub(super) fn give_up(&mut self, pick: usize) {
        let ordinals = self.client.report().dialling;
        if !ordinals.is_empty() {
            self.client.detach(instant(self.now), ordinals[pick % ordinals.len()], LinkLoss::GivenUp);
        }
    }
}

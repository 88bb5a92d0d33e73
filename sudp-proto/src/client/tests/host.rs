//! A server's process: what `sudp-net` does around the machines, in a few lines.

use std::collections::BTreeMap;

use super::rig::{Sessions, open_access};
use super::*;
use crate::event::Event;
use crate::link::{Answer, ServerExpect, ServerSeal};
use crate::server::{
    Admission, Claim, Identification, Incoming, IncomingSetup, Names, Refused, Registry, Server, ServerSetup, Shares,
};
use crate::session::Need;
use crate::wire::{SessionId, Ticket};

pub(super) struct Host {
    pub(super) registry: Registry,
    pub(super) sessions: Sessions,
    pub(super) names: Names,
    pub(super) limits: Limits,
    /// Who comes, as its admission says.
    pub(super) who: Identification,
    pub(super) shares: Shares,
    pub(super) seal: Option<ServerSeal>,
    /// Nobody listens there.
    pub(super) away: bool,
    /// The credential without which nobody founds a session: who comes without gets a web server's answer.
    pub(super) wants: Option<&'static str>,
    /// What it gives in place of it, and takes.
    pub(super) ticket: Ticket,
    /// What every claim is refused with.
    pub(super) refuses: Option<Code>,
    /// Claims are left waiting.
    pub(super) ponders: bool,
    /// Answers every datagram.
    pub(super) echoes: bool,
    pub(super) served: Vec<Bytes>,
    pub(super) refused: Vec<Code>,
    pub(super) claims: Vec<Claim>,
    pub(super) events: Vec<(SessionId, Event)>,
    lines: BTreeMap<u64, Line>,
    pool: Pool,
    next: u64,
}

/// A stream, as far as it has come.
enum Line {
    Incoming(Box<Incoming>, BytesMut),
    Joined(SessionId, Key, BytesMut),
}

impl Host {
    pub(super) fn new(index: usize) -> Self {
        let owner = Bytes::from(vec![0xfb, 0xff, u8::try_from(index).unwrap()]);
        Self {
            registry: Registry::new(Limits::default(), &Seed::from(100 + index as u64)),
            sessions: Sessions::new(),
            names: Names { cluster: 0, server: 7 + index as u64, boot: 1, owner },
            limits: Limits::default(),
            who: Identification::default(),
            shares: Shares { sessions: 16 },
            seal: rig::server_seal(),
            away: false,
            wants: None,
            ticket: Ticket::default(),
            refuses: None,
            ponders: false,
            echoes: false,
            served: Vec::new(),
            refused: Vec::new(),
            claims: Vec::new(),
            events: Vec::new(),
            lines: BTreeMap::new(),
            pool: Pool::memory(64 << 20, 128 << 10),
            next: 0,
        }
    }

    /// The same server in a new process; only what was served is remembered.
    pub(super) fn reborn(&mut self) -> Self {
        let mut host = Self::new(0);
        host.registry = Registry::new(Limits::default(), &Seed::from(1_000 + self.names.boot));
        host.seal = self.seal.clone();
        host.names = Names { boot: self.names.boot + 1, ..self.names.clone() };
        host.served = std::mem::take(&mut self.served);
        host.next = self.next;
        (host.wants, host.ticket) = (self.wants, self.ticket.clone());
        host
    }

    pub(super) fn thaw(&mut self, now: Instant, away: Duration, frozen: &[u8]) {
        let (access, pool) = (open_access(), self.pool.clone());
        let setup = ServerSetup {
            limits: self.limits.clone(),
            access,
            pool,
            seed: Seed::from(5_000),
            ticket: Ticket::default(),
        };
        let mut server = Server::thaw(now, away, self.names.clone(), setup, frozen).unwrap();
        self.registry.restore(&mut server, self.who.clone());
        self.sessions.insert(server.id(), server);
    }

    pub(super) fn accept(&mut self, now: Instant) -> u64 {
        self.next += 1;
        let expect = ServerExpect { path: "/sudp".into(), ..ServerExpect::default() };
        let (limits, server, seed) = (self.limits.clone(), self.names.server, Seed::from(1_000 + self.next));
        let incoming =
            Incoming::new(now, IncomingSetup { expect, tls: None, seal: self.seal.clone(), limits, server, seed });
        self.lines.insert(self.next, Line::Incoming(Box::new(incoming), BytesMut::new()));
        self.next
    }

    /// Someone else dials, says this, and hears the answer.
    pub(super) fn visit(&mut self, now: Instant, bytes: &[u8]) -> Vec<u8> {
        let id = self.accept(now);
        self.handle_input(now, id, bytes);
        let answer = self.output(now, id);
        self.hang_up(now, id);
        self.settle(now);
        answer
    }

    /// The sessions that are not over.
    pub(super) fn standing(&self) -> Vec<SessionId> {
        self.sessions.iter().filter(|(_, server)| !Server::session(server).is_closed()).map(|(id, _)| *id).collect()
    }

    pub(super) fn handle_input(&mut self, now: Instant, id: u64, bytes: &[u8]) {
        match self.lines.get_mut(&id) {
            Some(Line::Incoming(incoming, unread)) => {
                unread.extend_from_slice(bytes);
                incoming.handle_input(now, Incoming::KEY, unread);
                if !self.ponders {
                    self.decide(now, id);
                }
            }
            Some(Line::Joined(session, key, unread)) => {
                unread.extend_from_slice(bytes);
                if let Some(server) = self.sessions.get_mut(session) {
                    server.handle_input(now, *key, unread);
                }
            }
            None => {}
        }
        self.settle(now);
    }

    pub(super) fn decide(&mut self, now: Instant, id: u64) {
        let Some(Line::Incoming(incoming, _)) = self.lines.get_mut(&id) else { return };
        let Some(claim) = incoming.poll_claim() else { return };
        self.claims.push(claim.clone());
        if !knows(&claim, self.wants, &self.ticket) {
            incoming.answer(now, &Answer::not_found()).unwrap();
            return;
        }
        let admitted = match self.refuses {
            Some(code) => Err(Refused(code)),
            None => self.registry.admit(&claim, &self.who, self.shares),
        };
        let session = match admitted {
            Ok(Admission::Join(session)) => session,
            Ok(Admission::Found(founded)) => {
                let (limits, pool, seed) = (self.limits.clone(), self.pool.clone(), Seed::from(5_000 + id));
                let setup = ServerSetup { limits, access: open_access(), pool, seed, ticket: self.ticket.clone() };
                let server = Server::new(now, &founded, self.names.clone(), setup);
                self.sessions.insert(founded.session, server);
                founded.session
            }
            Err(Refused(code)) => {
                self.refused.push(code);
                return incoming.refuse(now, code);
            }
        };
        let Some(Line::Incoming(incoming, unread)) = self.lines.remove(&id) else { return };
        let arrival = incoming.grant().expect("decided at once");
        let (key, adopted) = self.sessions.get_mut(&session).expect("the registry knows it").adopt(now, arrival);
        self.refused.extend(adopted.err());
        self.lines.insert(id, Line::Joined(session, key, unread));
    }

    pub(super) fn output(&mut self, now: Instant, id: u64) -> Vec<u8> {
        match self.lines.get_mut(&id) {
            Some(Line::Incoming(incoming, _)) => {
                let bytes = incoming.output(now, Incoming::KEY).to_vec();
                incoming.advance(Incoming::KEY, bytes.len());
                bytes
            }
            Some(Line::Joined(session, key, _)) => self.sessions.get_mut(session).map_or(Vec::new(), |server| {
                let bytes = server.output(now, *key).to_vec();
                server.advance(*key, bytes.len());
                bytes
            }),
            None => Vec::new(),
        }
    }

    /// The other side has gone.
    pub(super) fn hang_up(&mut self, now: Instant, id: u64) {
        if let Some(Line::Joined(session, key, _)) = self.lines.remove(&id)
            && let Some(server) = self.sessions.get_mut(&session)
        {
            server.handle_failed(now, key, io::ErrorKind::ConnectionReset);
        }
        self.settle(now);
    }

    /// Whether this side has closed the stream.
    pub(super) fn hung_up(&self, id: u64) -> bool {
        !self.lines.contains_key(&id)
    }

    /// Tells the registry what happened, and does what follows from it.
    pub(super) fn settle(&mut self, now: Instant) {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.serve(now, id);
            while let Some(event) = self.sessions.get_mut(&id).and_then(|server| server.session_mut().poll_event()) {
                for (other, code) in self.registry.handle_event(id, &event) {
                    if let Some(server) = self.sessions.get_mut(&other) {
                        server.session_mut().close(now, code);
                    }
                }
                if event == Event::RenewalAsked {
                    self.renew(id);
                }
                self.events.push((id, event));
            }
        }
        self.close_lines(now);
        self.sessions.retain(|_, server| !server.is_finished());
    }

    fn renew(&mut self, id: SessionId) {
        let Some(server) = self.sessions.get_mut(&id) else { return };
        let credential = server.session_mut().take_renewal().expect("it was asked for");
        let good = self.wants.is_some_and(|wanted| wanted == credential.expose());
        server.answer_renewal(if good { Ok(self.ticket.clone()) } else { Err(Code::Denied) });
    }

    fn serve(&mut self, now: Instant, id: SessionId) {
        let Some(server) = self.sessions.get_mut(&id) else { return };
        let session = server.session_mut();
        while let Some(need) = session.poll_need() {
            if let Need::Socket { flow, .. } = need {
                session.handle_socket(now, flow, Ok(()));
            }
        }
        while let Some(flow) = session.poll_ready() {
            let got: Vec<Bytes> = session.inbox(flow).map(|inbound| inbound.payload.clone()).collect();
            session.delivered(flow, got.len());
            for payload in got {
                if self.echoes {
                    let from = SocketAddr::from(([192, 0, 2, 99], 9));
                    // One that drains takes nothing more, and counts it.
                    let taken = session.handle_answer(now, flow, from, &payload);
                    assert!(taken.is_ok() || session.draining());
                }
                self.served.push(payload);
            }
        }
    }

    fn close_lines(&mut self, now: Instant) {
        let mut closed = Vec::new();
        for (id, line) in &mut self.lines {
            if let Line::Incoming(incoming, _) = line
                && incoming.poll_order(now).is_some()
            {
                closed.push(*id);
            }
        }
        for (session, server) in &mut self.sessions {
            while let Some(order) = server.poll_order(now) {
                let Order::Close(key) = order else { unreachable!("a server dials nobody") };
                let is = |line: &Line| matches!(line, Line::Joined(of, at, _) if of == session && *at == key);
                closed.extend(self.lines.iter().find(|(_, line)| is(line)).map(|(id, _)| *id));
            }
        }
        closed.iter().for_each(|id| drop(self.lines.remove(id)));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let incoming = self.lines.values().filter_map(|line| match line {
            Line::Incoming(incoming, _) => incoming.poll_timeout(),
            Line::Joined(..) => None,
        });
        self.sessions.values().filter_map(Endpoint::poll_timeout).chain(incoming).map(|due| due.at).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for line in self.lines.values_mut() {
            if let Line::Incoming(incoming, _) = line {
                incoming.handle_timeout(now);
            }
        }
        self.sessions.values_mut().for_each(|server| server.handle_timeout(now));
        self.settle(now);
    }
}

fn knows(claim: &Claim, wants: Option<&str>, ticket: &Ticket) -> bool {
    let shown = claim.head.header("Authorization");
    let by_ticket = !ticket.is_empty() && claim.hello.ticket == *ticket;
    claim.hello.attach.is_some() || by_ticket || wants.is_none_or(|wanted| shown == Some(wanted))
}

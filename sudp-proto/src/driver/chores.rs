//! Orders of the endpoint and needs of its session: dials, lookups, sockets.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;

use super::doors::{Asker, Door, Lookup, Name, Owner, Stream, Udp};
use super::{Driver, Endpoint, Io, Order, Progress, Socket, Token, Way};
use crate::session::{Need, Session};
use crate::wire::{Code, FlowId};

impl<E: Endpoint> Driver<E> {
    /// Does what the endpoint and its session want done, up to a bound. Says whether there was anything.
    pub(super) fn do_chores(&mut self, now: Instant, io: &mut impl Io) -> bool {
        for done in 0..CHORES {
            if let Some(order) = self.endpoint.poll_order(now) {
                self.obey(now, order, io);
            } else if let Some(need) = self.endpoint.session().and_then(Session::poll_need) {
                self.meet(now, need, io);
            } else {
                self.chores_left = false;
                return done > 0;
            }
        }
        self.chores_left = true;
        true
    }

    /// Asks for the answers to a lookup.
    pub(super) fn collect(&mut self, now: Instant, token: Token, io: &mut impl Io) {
        let Some(lookup) = self.doors.lookup_mut(token) else { return };
        let mut answers = std::mem::take(&mut self.answers);
        answers.clear();
        match io.resolve(token, &lookup.name.0, lookup.name.1, &mut answers) {
            Ok(Progress::Pending) => {}
            Ok(Progress::Done) => self.end_lookup(now, token, &answers, io),
            Err(_) => self.end_lookup(now, token, &[], io),
        }
        self.answers = answers;
    }

    /// Asks whether a stream is connected.
    pub(super) fn dial(&mut self, now: Instant, token: Token, to: SocketAddr, io: &mut impl Io) {
        match io.dial(token, to) {
            Ok(Progress::Pending) => {}
            Ok(Progress::Done) => {
                let Some(stream) = self.doors.stream_mut(token) else { return };
                stream.dialling = None;
                let key = stream.key;
                self.endpoint.handle_connected(now, key);
                self.doors.ring(token, Way::In);
            }
            Err(error) => self.fail(now, token, error.kind(), io),
        }
    }

    fn obey(&mut self, now: Instant, order: Order, io: &mut impl Io) {
        match order {
            Order::Close(key) => {
                if let Some(token) = self.doors.key(key) {
                    self.close(token, io);
                }
            }
            Order::Dial { key, to } => {
                let stream = Stream::new(key, Some(to), BytesMut::new());
                let token = self.doors.insert(Door::Stream(Box::new(stream)));
                self.dial(now, token, to, io);
            }
            Order::Resolve { key, host, port } => self.look_up(now, (host, port), Asker::Endpoint(key), io),
        }
    }

    fn meet(&mut self, now: Instant, need: Need, io: &mut impl Io) {
        match need {
            Need::CloseSocket(flow) => self.close_owner(now, Owner::Flow(flow), io),
            Need::Listen { tunnel, at } => {
                let outcome = self.bind(now, Owner::Tunnel(tunnel), &Socket::Listener(at), io);
                if let Some(session) = self.endpoint.session() {
                    session.handle_listening(now, tunnel, outcome);
                }
            }
            Need::Resolve { flow, name, port } => self.look_up_for(now, flow, (name, port), io),
            Need::Socket { flow, to } => {
                let outcome = self.bind(now, Owner::Flow(flow), &Socket::Flow(to), io);
                if let Some(session) = self.endpoint.session() {
                    session.handle_socket(now, flow, outcome.map(drop));
                    session.unblock(now, flow);
                }
            }
            Need::Unlisten(tunnel) => self.close_owner(now, Owner::Tunnel(tunnel), io),
        }
    }

    pub(super) fn bind(
        &mut self,
        now: Instant,
        owner: Owner,
        socket: &Socket,
        io: &mut impl Io,
    ) -> Result<SocketAddr, Code> {
        self.close_owner(now, owner, io);
        let token = self.doors.insert(Door::Udp(Udp::new(owner, *socket)));
        match io.bind(token, socket) {
            Ok(here) => {
                if let (Some(udp), Socket::Listener(at)) = (self.doors.udp_mut(token), socket) {
                    // Should it be opened anew, it is where it was.
                    udp.socket = Socket::Listener((at.ip(), here.port()).into());
                }
                Ok(here)
            }
            Err(error) => {
                self.close(token, io);
                Err(code_of(error.kind()))
            }
        }
    }

    /// Closes the socket of a flow or a tunnel, if there is one.
    pub(super) fn close_owner(&mut self, now: Instant, owner: Owner, io: &mut impl Io) {
        let Some(token) = self.doors.owner(owner) else { return };
        self.unblock(now, token);
        self.close(token, io);
    }

    fn close(&mut self, token: Token, io: &mut impl Io) {
        self.doors.remove(token);
        io.close(token);
    }

    /// Looks up a name for a flow. Flows that want the same name share one lookup.
    fn look_up_for(&mut self, now: Instant, flow: FlowId, name: Name, io: &mut impl Io) {
        let Some(token) = self.doors.name(&name) else {
            if self.doors.names() >= LOOKUPS {
                return self.answer(now, flow, &name, &[]);
            }
            return self.look_up(now, name, Asker::Flows(vec![flow]), io);
        };
        match self.doors.lookup_mut(token).map(|lookup| &mut lookup.asker) {
            Some(Asker::Flows(flows)) if flows.len() < WAITING => flows.push(flow),
            Some(Asker::Flows(_) | Asker::Endpoint(_)) | None => self.answer(now, flow, &name, &[]),
        }
    }

    fn look_up(&mut self, now: Instant, name: Name, asker: Asker, io: &mut impl Io) {
        let token = self.doors.insert(Door::Lookup(Lookup { name, asker }));
        self.collect(now, token, io);
    }

    fn end_lookup(&mut self, now: Instant, token: Token, answers: &[SocketAddr], io: &mut impl Io) {
        let Some(Door::Lookup(Lookup { name, asker })) = self.doors.remove(token) else { return };
        io.close(token);
        match asker {
            Asker::Endpoint(key) => self.endpoint.handle_resolved(now, key, answers),
            Asker::Flows(flows) => flows.into_iter().for_each(|flow| self.answer(now, flow, &name, answers)),
        }
    }

    fn answer(&mut self, now: Instant, flow: FlowId, (name, port): &Name, answers: &[SocketAddr]) {
        if let Some(session) = self.endpoint.session() {
            session.handle_resolved(now, flow, name, *port, answers);
        }
    }

    /// The stream broke: it is closed, and the endpoint told.
    pub(super) fn fail(&mut self, now: Instant, token: Token, why: ErrorKind, io: &mut impl Io) {
        let Some(key) = self.doors.stream_mut(token).map(|stream| stream.key) else { return };
        self.close(token, io);
        self.endpoint.handle_failed(now, key, why);
    }
}

/// What the remote is told of a socket that could not be opened.
fn code_of(kind: ErrorKind) -> Code {
    if kind == ErrorKind::PermissionDenied { Code::Denied } else { Code::Unreachable }
}

/// Orders and needs met at one go. Each may cost a system call or two.
const CHORES: usize = 256;
/// Names looked up for flows at a time.
const LOOKUPS: usize = 256;
/// Flows that wait for one name.
const WAITING: usize = 8_192;

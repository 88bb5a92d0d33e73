//! What leaves by UDP: ready flows, grouped by socket, in batches.

use std::collections::VecDeque;

use super::doors::Owner;
use super::sockets::{reason_of, speaks_of_the_past};
use super::{Datagram, Driver, Endpoint, Io, Step, Token};
use crate::session::Session;
use crate::stats::DropReason;
use crate::wire::FlowId;

/// Datagrams that leave by one socket.
#[derive(Debug, Default)]
pub(super) struct Batch {
    at: Option<Token>,
    datagrams: Vec<Datagram>,
    /// How many of them are settled.
    sent: usize,
    bytes: usize,
    /// Whose they are, in their order; no flow is there twice.
    runs: VecDeque<Run>,
}

/// Datagrams of one flow that stand together.
#[derive(Clone, Copy, Debug)]
struct Run {
    flow: FlowId,
    count: usize,
}

/// By which way a flow's datagrams leave.
enum Exit {
    /// By a socket.
    Door(Token),
    /// The application takes them.
    Hand,
    /// Its socket is still to be opened.
    Later,
}

impl<E: Endpoint> Driver<E> {
    /// Sends what flows have to deliver, up to a bound.
    pub(super) fn flush(&mut self, io: &mut impl Io) {
        self.deliveries.extend(self.left.drain(..));
        // Nobody asked for these, or not for all of them: of such a flow only the newest are held.
        for index in 0..self.deliveries.len() {
            self.hold(self.deliveries[index]);
        }
        let mut left = FLUSH;
        while left > 0 {
            let Some(session) = self.endpoint.session() else { return };
            let Some(flow) = session.poll_ready() else {
                // Sending may bring back flows that had more than fits in one batch.
                if self.batch.is_empty() {
                    break;
                }
                self.send_batch(io);
                continue;
            };
            match self.exit(flow) {
                Exit::Door(token) => left = left.saturating_sub(self.take(flow, token, io)),
                Exit::Hand => self.deliveries.push_back(flow),
                Exit::Later => self.hold(flow),
            }
        }
        self.send_batch(io);
        self.unsent = self.endpoint.session().is_some_and(|session| session.has_ready());
    }

    fn exit(&mut self, flow: FlowId) -> Exit {
        let Some(session) = self.endpoint.session() else { return Exit::Later };
        if !session.opened_here(flow) {
            return self.doors.owner(Owner::Flow(flow)).map_or(Exit::Later, Exit::Door);
        }
        let tunnel = session.words(flow).filter(|open| open.source.is_some()).map(|open| open.tunnel);
        tunnel.and_then(|tunnel| self.doors.owner(Owner::Tunnel(tunnel))).map_or(Exit::Hand, Exit::Door)
    }

    /// Puts what fits of a flow's inbox into the batch of its socket. Says how many datagrams.
    fn take(&mut self, flow: FlowId, token: Token, io: &mut impl Io) -> usize {
        if self.batch.at != Some(token) || self.batch.is_full() {
            self.send_batch(io);
            self.batch.at = Some(token);
        }
        let Some(udp) = self.doors.udp_mut(token) else { return 0 };
        if udp.full {
            udp.waiting.push(flow);
            self.hold(flow);
            return 0;
        }
        let Some(session) = self.endpoint.session() else { return 0 };
        let count = self.batch.fill(session, flow);
        if count == 0 {
            session.undelivered(flow, 1, DropReason::Unreachable);
        }
        count.max(1)
    }

    fn hold(&mut self, flow: FlowId) {
        if let Some(session) = self.endpoint.session() {
            session.block(flow);
        }
    }

    /// Sends the batch: at the end each of its datagrams is delivered or dropped, or its flow waits.
    fn send_batch(&mut self, io: &mut impl Io) {
        let Self { batch, doors, endpoint, .. } = self;
        let (Some(token), Some(session)) = (batch.at.take(), endpoint.session()) else { return };
        let mut tried = false;
        while !batch.is_empty() {
            let again = !std::mem::replace(&mut tried, false);
            match io.send(token, batch.rest()) {
                Ok(Step::Blocked(sent)) => {
                    batch.settle(session, sent, None);
                    let Some(udp) = doors.udp_mut(token) else { break };
                    udp.full = true;
                    batch.runs.iter().for_each(|run| session.block(run.flow));
                    udp.waiting.extend(batch.runs.iter().map(|run| run.flow));
                    break;
                }
                Ok(Step::More(0)) if again => tried = true,
                // Writable, it says, and takes nothing: who waits for that spins.
                Ok(Step::End | Step::More(0)) => batch.settle(session, usize::MAX, Some(DropReason::Full)),
                Ok(Step::More(sent)) => batch.settle(session, sent, None),
                // An error about an earlier datagram has kept this one from leaving.
                Err(error) if again && speaks_of_the_past(error.kind()) => tried = true,
                Err(error) => batch.settle(session, 1, Some(reason_of(&error))),
            }
        }
        batch.clear();
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.sent == self.datagrams.len()
    }

    fn is_full(&self) -> bool {
        self.datagrams.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    fn rest(&self) -> &[Datagram] {
        self.datagrams.get(self.sent..).unwrap_or_default()
    }

    /// Takes of a flow's inbox what there is room for. Says how many datagrams.
    fn fill(&mut self, session: &Session, flow: FlowId) -> usize {
        let here = session.opened_here(flow);
        let source = session.words(flow).and_then(|open| open.source);
        let before = self.datagrams.len();
        for inbound in session.inbox(flow) {
            let Some(to) = (if here { source } else { inbound.address }) else { break };
            if self.is_full() {
                break;
            }
            self.bytes += inbound.payload.len();
            self.datagrams.push(Datagram { to, payload: inbound.payload.clone() });
        }
        let count = self.datagrams.len() - before;
        if count > 0 {
            self.runs.push_back(Run { flow, count });
        }
        count
    }

    /// Tells the session what became of the next datagrams.
    fn settle(&mut self, session: &mut Session, count: usize, dropped: Option<DropReason>) {
        let mut left = count.min(self.datagrams.len() - self.sent);
        self.sent += left;
        while let Some(run) = self.runs.front_mut() {
            let part = run.count.min(left);
            match dropped {
                Some(reason) => session.undelivered(run.flow, part, reason),
                None => session.delivered(run.flow, part),
            }
            run.count -= part;
            left -= part;
            if run.count > 0 {
                break;
            }
            self.runs.pop_front();
        }
    }

    fn clear(&mut self) {
        self.sent = 0;
        self.bytes = 0;
        self.datagrams.clear();
        self.runs.clear();
    }
}

/// Datagrams in one batch.
const BATCH: usize = 64;
/// Bytes in one batch, but for its last datagram.
const BATCH_BYTES: usize = 64 << 10;
/// Datagrams sent in one turn; more come out of one read only where datagrams are tiny.
pub(super) const FLUSH: usize = 1_024;

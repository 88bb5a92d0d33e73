//! UDP sockets: what comes in at listeners and flows, and what an error says.

use std::io::{self, ErrorKind};
use std::time::Instant;

use super::doors::{Door, Owner, Ways};
use super::{Budget, Driver, Endpoint, Io, Step, Token, Way};
use crate::stats::DropReason;
use crate::wire::Code;

impl<E: Endpoint> Driver<E> {
    pub(super) fn serve_socket(
        &mut self,
        now: Instant,
        token: Token,
        ways: Ways,
        io: &mut impl Io,
        budget: &mut Budget,
    ) {
        if ways.write {
            self.unblock(now, token);
        }
        if ways.read {
            self.receive(now, token, io, budget);
        }
    }

    /// The socket takes datagrams again, or is about to be closed: nobody waits for it any more.
    pub(super) fn unblock(&mut self, now: Instant, token: Token) {
        let Some(udp) = self.doors.udp_mut(token) else { return };
        udp.full = false;
        let Some(session) = self.endpoint.session() else { return };
        std::mem::take(&mut udp.waiting).into_iter().for_each(|flow| session.unblock(now, flow));
    }

    /// Takes what one call yields. UDP is taken whatever stands in queues: what is dropped, the session
    /// drops, with a reason.
    fn receive(&mut self, now: Instant, token: Token, io: &mut impl Io, budget: &mut Budget) {
        let Self { doors, endpoint, .. } = self;
        let (Some(udp), Some(session)) = (doors.udp_mut(token), endpoint.session()) else { return };
        let (mut datagrams, mut bytes) = (0, 0);
        let outcome = io.recv(token, |from, payload| {
            datagrams += 1;
            bytes += payload.len();
            // What is refused here is the sender's loss, as on any path; the session has counted it.
            let _ = match udp.owner {
                Owner::Flow(flow) if !session.sends_to(flow, from) => return,
                Owner::Flow(flow) => session.handle_answer(now, flow, from, payload),
                Owner::Tunnel(tunnel) => session.handle_datagram(now, tunnel, from, payload),
            };
        });
        budget.spend(datagrams, bytes);
        match outcome {
            Ok(step) => {
                udp.faults = 0;
                if matches!(step, Step::More(_)) {
                    doors.ring(token, Way::In);
                }
            }
            Err(error) if speaks_of_the_past(error.kind()) => doors.ring(token, Way::In),
            Err(_) if udp.faults < FAULTS => {
                udp.faults += 1;
                doors.ring(token, Way::In);
            }
            Err(_) => self.give_up(now, token, io),
        }
    }

    /// A socket that says nothing but errors is closed, and whose it was learns so.
    fn give_up(&mut self, now: Instant, token: Token, io: &mut impl Io) {
        self.unblock(now, token);
        let Some(Door::Udp(udp)) = self.doors.remove(token) else { return };
        io.close(token);
        let Some(session) = self.endpoint.session() else { return };
        match udp.owner {
            Owner::Flow(flow) => session.handle_socket(now, flow, Err(Code::Unreachable)),
            Owner::Tunnel(tunnel) => session.handle_listening(now, tunnel, Err(Code::Unreachable)),
        }
    }
}

/// Whether an error tells what became of a datagram that left before, as ICMP does: the call that
/// reports it has done nothing.
pub(super) fn speaks_of_the_past(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}

/// Why a datagram is lost that could not be sent.
pub(super) fn reason_of(error: &io::Error) -> DropReason {
    if error.kind() == ErrorKind::FileTooLarge || error.raw_os_error() == Some(MESSAGE_SIZE) {
        DropReason::Oversize
    } else {
        DropReason::Unreachable
    }
}

/// Errors in a row, none of them about the past, after which a socket is given up.
const FAULTS: u32 = 64;
/// `EMSGSIZE`: the one error that has no kind of its own.
const MESSAGE_SIZE: i32 = if cfg!(windows) {
    10_040
} else if cfg!(any(target_os = "linux", target_os = "android")) {
    90
} else {
    40
};

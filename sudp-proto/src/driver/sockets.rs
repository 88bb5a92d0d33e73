//! UDP sockets: what comes in at listeners and flows, and what an error says.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::doors::{Owner, Udp, Ways};
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
    ///
    /// A socket that is never empty is overrun, and what stands in it waits behind whoever overruns it. Where
    /// that may be another flow, more and more is taken at a time, to wait where flows are told apart.
    fn receive(&mut self, now: Instant, token: Token, io: &mut impl Io, budget: &mut Budget) {
        let Self { doors, endpoint, .. } = self;
        let (Some(udp), Some(session)) = (doors.udp_mut(token), endpoint.session()) else { return };
        if udp.pauses.is_some_and(|until| now < until) {
            return;
        }
        let (mut datagrams, mut bytes) = (0, 0);
        let mut calls = if session.flow_count() > 1 { (udp.behind / PATIENCE).clamp(1, RUSH) } else { 1 };
        let outcome = loop {
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
            calls -= 1;
            if calls == 0 || !matches!(outcome, Ok(Step::More(1..))) {
                break outcome;
            }
        };
        budget.spend(datagrams, bytes);
        match outcome {
            Ok(step) => {
                (udp.faults, udp.pauses) = (0, None);
                udp.behind = if matches!(step, Step::More(_)) { udp.behind.saturating_add(1) } else { 0 };
                if udp.behind > 0 {
                    doors.ring(token, Way::In);
                }
            }
            Err(error) => {
                udp.faults = udp.faults.saturating_add(1);
                let past = speaks_of_the_past(error.kind());
                if past && udp.faults <= AT_ONCE {
                    // What arrived stands behind it.
                    doors.ring(token, Way::In);
                } else if past || udp.faults < FAULTS {
                    // Nobody rings for what may be there, and to ask again at once would spin.
                    let until = now + FIRST_PAUSE.saturating_mul(1 << udp.faults.min(16)).min(LAST_PAUSE);
                    udp.pauses = Some(until);
                    self.pauses.insert((until, token));
                } else {
                    self.replace(now, token, io);
                }
            }
        }
    }

    /// Rings for the sockets whose pause is over.
    pub(super) fn end_pauses(&mut self, now: Instant) {
        while let Some((until, token)) = self.pauses.first().copied().filter(|(until, _)| *until <= now) {
            self.pauses.remove(&(until, token));
            self.doors.ring(token, Way::In);
        }
    }

    /// A socket that says nothing but errors is worth nothing. A listener is opened anew where it was; a
    /// flow ends, for its port is gone with it.
    fn replace(&mut self, now: Instant, token: Token, io: &mut impl Io) {
        let Some(Udp { owner, socket, .. }) = self.doors.udp_mut(token) else { return };
        let (owner, socket) = (*owner, *socket);
        self.close_owner(now, owner, io);
        match owner {
            Owner::Flow(flow) => {
                if let Some(session) = self.endpoint.session() {
                    session.handle_socket(now, flow, Err(Code::Unreachable));
                }
            }
            Owner::Tunnel(tunnel) => {
                let outcome = self.bind(now, owner, &socket, io);
                if let (Err(_), Some(session)) = (&outcome, self.endpoint.session()) {
                    session.handle_listening(now, tunnel, outcome);
                }
            }
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
    match (error.raw_os_error(), error.kind()) {
        (Some(MESSAGE_SIZE), _) | (_, ErrorKind::FileTooLarge) => DropReason::Oversize,
        (Some(NO_BUFFERS), _) | (_, ErrorKind::OutOfMemory) => DropReason::Full,
        // A firewall of this host, or an address that takes special leave, as broadcast does.
        (_, ErrorKind::PermissionDenied) => DropReason::Denied,
        _ => DropReason::Unreachable,
    }
}

/// How often in a row a socket is left with something in it before one call more is made at a time.
const PATIENCE: usize = 8;
/// Calls made at a time to a socket that is overrun.
const RUSH: usize = 16;
/// Errors in a row about the past that are passed over without a pause.
const AT_ONCE: u32 = 8;
/// Errors in a row, none of them about the past, after which a socket is worth nothing: about a minute of pauses.
const FAULTS: u32 = 64;
/// Pauses double up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// `EMSGSIZE`, which has no kind of its own.
const MESSAGE_SIZE: i32 = if cfg!(windows) {
    10_040
} else if cfg!(any(target_os = "linux", target_os = "android")) {
    90
} else {
    40
};
/// `ENOBUFS`, which has no kind of its own.
const NO_BUFFERS: i32 = if cfg!(windows) {
    10_055
} else if cfg!(any(target_os = "linux", target_os = "android")) {
    105
} else {
    55
};

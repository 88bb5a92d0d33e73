//! What goes wrong with connections and machines.

use std::time::{Duration, Instant};

use crate::clock::{NEVER, Nanos, nanos, span};
use crate::net::conn::{End, State};
use crate::net::dial::Outage;
use crate::net::{Conn, Direction, Host, Net, Side};

/// Which stretch of a path a fault is on; the same one if there is no middlebox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leg {
    /// Between the accepting side and the last middlebox.
    Far,
    /// Between the dialling side and the first middlebox.
    Near,
}

/// One thing that goes wrong on one stretch of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Both directions go silent for ever; each side only sees its writes no longer drain.
    BlackHole,
    /// The connection is reset as soon as this many bytes in all have passed in a direction; the
    /// reader gets exactly these, everything behind them vanishes. If more have been written already,
    /// it is cut behind those.
    Cut {
        /// Whose bytes are counted.
        direction: Direction,
        /// How many pass.
        bytes: u64,
    },
    /// One direction goes silent for ever.
    HalfOpen(Direction),
    /// One side meets a reset now, while what it wrote is still on its way and will be read; the other
    /// side learns of it after `news`, or never.
    Late {
        /// Who meets the reset.
        side: Side,
        /// After how long the other side does.
        news: Option<Duration>,
    },
    /// What was held back travels again.
    Release,
    /// Both sides meet a reset, behind what is on its way to them.
    Reset,
    /// Nothing travels in a direction before `until`; nothing is lost.
    Stall {
        /// Which way.
        direction: Direction,
        /// When it goes on.
        until: Instant,
    },
}

impl Net {
    /// Lets something go wrong on one stretch of a connection.
    pub fn inject(&mut self, now: Instant, conn: Conn, leg: Leg, fault: Fault) {
        self.tick(now);
        let Some(connection) = self.conns.get(conn.index, conn.generation) else { return };
        let leg = match leg {
            Leg::Far => connection.legs.len() - 1,
            Leg::Near => 0,
        };
        match fault {
            Fault::BlackHole => {
                self.hold(conn, leg, Direction::Up, NEVER);
                self.hold(conn, leg, Direction::Down, NEVER);
            }
            Fault::Cut { direction, bytes } => {
                self.with_pipe(conn, leg, direction, |pipe| pipe.cut_after(bytes));
                self.carry_out_cut(conn, leg, direction);
            }
            Fault::HalfOpen(direction) => self.hold(conn, leg, direction, NEVER),
            Fault::Late { side, news } => self.forget_side(conn, leg, side, news),
            Fault::Release => self.release(conn, leg),
            Fault::Reset => self.break_leg(conn, leg),
            Fault::Stall { direction, until } => self.hold(conn, leg, direction, nanos(until)),
        }
    }

    /// Lets nothing pass between two machines until `until`, in either direction; `None` is until
    /// [`Net::heal`].
    ///
    /// Dials repeat their SYNs, and connections go on when TCP tries again: its retransmissions double
    /// from 200 ms, so that a connection needs up to twice the outage.
    pub fn outage(&mut self, now: Instant, client: Host, server: Host, until: Option<Instant>) {
        let now = self.tick(now);
        let until = until.map_or(NEVER, nanos);
        self.outages.retain(|out| out.until > now);
        self.outages.push(Outage { client, server, until });
        let resumed = retransmitted(now, until);
        for conn in self.between(client, server) {
            self.hold_all(conn, resumed);
        }
    }

    /// Ends every outage between two machines; what their connections held back travels again.
    pub fn heal(&mut self, now: Instant, client: Host, server: Host) {
        self.tick(now);
        self.outages.retain(|out| out.client != client || out.server != server);
        for conn in self.between(client, server) {
            let legs = self.conns.get(conn.index, conn.generation).map_or(0, |connection| connection.legs.len());
            for leg in 0..legs {
                self.release(conn, leg);
            }
        }
    }

    /// Ends a machine's processes as `kill -9` does: its listeners and UDP sockets are gone, and its
    /// connections are reset. The machine itself goes on.
    pub fn kill(&mut self, now: Instant, host: Host) {
        self.tick(now);
        self.stop_listening(host);
        self.close_sockets(host);
        for (conn, side) in self.ends_of(host) {
            self.abort(now, conn, side);
        }
    }

    /// Takes a machine off the network as a power cut does: as [`Net::kill`], but nobody is told.
    pub fn vanish(&mut self, now: Instant, host: Host) {
        self.tick(now);
        self.stop_listening(host);
        self.close_sockets(host);
        for (conn, side) in self.ends_of(host) {
            self.hold_all(conn, NEVER);
            self.close(now, conn, side);
        }
    }

    fn hold(&mut self, conn: Conn, leg: usize, direction: Direction, until: Nanos) {
        let now = self.now;
        self.with_pipe(conn, leg, direction, |pipe| pipe.hold(now, until));
    }

    fn hold_all(&mut self, conn: Conn, until: Nanos) {
        let legs = self.conns.get(conn.index, conn.generation).map_or(0, |connection| connection.legs.len());
        for leg in 0..legs {
            self.hold(conn, leg, Direction::Up, until);
            self.hold(conn, leg, Direction::Down, until);
        }
    }

    fn release(&mut self, conn: Conn, leg: usize) {
        let now = self.now;
        for direction in [Direction::Up, Direction::Down] {
            self.with_pipe(conn, leg, direction, |pipe| pipe.release(now));
        }
    }

    fn forget_side(&mut self, conn: Conn, leg: usize, side: Side, news: Option<Duration>) {
        let now = self.now;
        let (out, back) = (Direction::from(side), Direction::from(side).reverse());
        let known_at = news.map_or(NEVER, |news| now.saturating_add(span(news)));
        self.with_pipe(conn, leg, back, |pipe| {
            pipe.break_reader(now);
            pipe.break_writer(known_at);
        });
        self.with_pipe(conn, leg, out, |pipe| {
            pipe.break_writer(now);
            if known_at != NEVER {
                pipe.break_behind(known_at);
            }
        });
    }

    fn between(&self, client: Host, server: Host) -> Vec<Conn> {
        self.find_conns(|connection| {
            connection.client.host == client && connection.server.as_ref().is_some_and(|end| end.host == server)
        })
    }

    fn ends_of(&self, host: Host) -> Vec<(Conn, Side)> {
        let mine = |end: &End| end.host == host && end.state != State::Closed;
        let mut ends = Vec::new();
        for conn in self.find_conns(|connection| mine(&connection.client)) {
            ends.push((conn, Side::Client));
        }
        for conn in self.find_conns(|connection| connection.server.as_ref().is_some_and(mine)) {
            ends.push((conn, Side::Server));
        }
        ends
    }
}

/// When TCP tries again for the first time after an outage from `start` to `until`.
fn retransmitted(start: Nanos, until: Nanos) -> Nanos {
    let mut wait = span(Duration::from_millis(200));
    let mut at = start;
    while at < until {
        at = at.saturating_add(wait);
        wait = wait.saturating_mul(2).min(span(Duration::from_secs(120)));
        if until == NEVER {
            return NEVER;
        }
    }
    at
}

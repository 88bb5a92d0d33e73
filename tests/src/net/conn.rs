//! Connections: their ends, and reading, writing and closing them.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Instant;

use crate::agenda::Agenda;
use crate::clock::{NEVER, Nanos};
use crate::net::puppet::Puppet;
use crate::net::{Broken, Conn, Direction, Event, Host, Net, Next, Read, Ready, Side, Way};
use crate::pipe::Pipe;
use crate::proxy::Stage;

/// Things with numbers that are never used twice.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn add(&mut self, thing: T) -> (u32, u32) {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.1 = Some(thing);
            return (index, slot.0);
        }
        let index = u32::try_from(self.slots.len()).expect("a world has few things");
        self.slots.push((0, Some(thing)));
        (index, 0)
    }

    pub(super) fn get(&self, index: u32, generation: u32) -> Option<&T> {
        let slot = self.slots.get(index as usize)?;
        if slot.0 == generation { slot.1.as_ref() } else { None }
    }

    pub(super) fn get_mut(&mut self, index: u32, generation: u32) -> Option<&mut T> {
        let slot = self.slots.get_mut(index as usize)?;
        if slot.0 == generation { slot.1.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, index: u32, generation: u32) -> Option<T> {
        let slot = self.slots.get_mut(index as usize)?;
        if slot.0 != generation {
            return None;
        }
        let thing = slot.1.take()?;
        slot.0 += 1;
        self.free.push(index);
        Some(thing)
    }

    /// The numbers of all that `wanted` picks, in the order of their slots.
    pub(super) fn find(&self, mut wanted: impl FnMut(&T) -> bool) -> Vec<(u32, u32)> {
        let mut found = Vec::new();
        for (index, (generation, thing)) in (0..).zip(&self.slots) {
            if thing.as_ref().is_some_and(&mut wanted) {
                found.push((index, *generation));
            }
        }
        found
    }
}

/// One TCP connection, with the middleboxes it goes through.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// One more than there are stages.
    pub(super) legs: Vec<Duplex>,
    pub(super) stages: Vec<Stage>,
    pub(super) client: End,
    pub(super) server: Option<End>,
}

impl Connection {
    pub(super) fn end(&self, side: Side) -> Option<&End> {
        match side {
            Side::Client => Some(&self.client),
            Side::Server => self.server.as_ref(),
        }
    }

    pub(super) fn end_mut(&mut self, side: Side) -> Option<&mut End> {
        match side {
            Side::Client => Some(&mut self.client),
            Side::Server => self.server.as_mut(),
        }
    }

    /// The leg at which `side` stands.
    pub(super) fn leg(&self, side: Side) -> usize {
        match side {
            Side::Client => 0,
            Side::Server => self.legs.len() - 1,
        }
    }

    /// How long the whole way takes in `direction`.
    pub(super) fn latency(&self, direction: Direction) -> Nanos {
        self.legs.iter().map(|leg| leg.pipe(direction).latency()).sum()
    }
}

/// The two pipes of one stretch.
#[derive(Debug)]
pub(super) struct Duplex {
    pub(super) up: Pipe,
    pub(super) down: Pipe,
}

impl Duplex {
    pub(super) fn pipe(&self, direction: Direction) -> &Pipe {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    pub(super) fn pipe_mut(&mut self, direction: Direction) -> &mut Pipe {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) host: Host,
    pub(super) state: State,
    /// Who acts at this end, if not somebody outside.
    pub(super) puppet: Option<Puppet>,
}

/// What an end can do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    Dialling,
    Failed(ErrorKind),
    Open,
    Closed,
}

impl Net {
    /// Appends what `side` can read to `into`, at most `max` bytes.
    ///
    /// An end that is not connected, or was closed, reads as reset.
    pub fn read(&mut self, now: Instant, conn: Conn, side: Side, into: &mut Vec<u8>, max: usize) -> Read {
        self.tick(now);
        match self.leg_of(conn, side) {
            Some(leg) => self.read_leg(conn, leg, Direction::from(side).reverse(), into, max),
            None => Read { n: 0, next: Next::Reset },
        }
    }

    /// Takes as much of `from` as the connection has room for, and says how much.
    ///
    /// Less than all means pushed back: [`Way::Out`] follows.
    pub fn write(&mut self, now: Instant, conn: Conn, side: Side, from: &[u8]) -> Result<usize, Broken> {
        self.tick(now);
        let leg = self.leg_of(conn, side).ok_or(Broken)?;
        self.write_leg(conn, leg, Direction::from(side), from)
    }

    /// How many bytes a write would take now: how a socket with `TCP_NOTSENT_LOWAT` answers a poll.
    pub fn room(&self, conn: Conn, side: Side) -> usize {
        let Some((leg, connection)) = self.leg_of(conn, side).zip(self.conns.get(conn.index, conn.generation)) else {
            return 0;
        };
        connection.legs[leg].pipe(Direction::from(side)).room(self.now)
    }

    /// Finishes sending: the other side reads the end behind what was written; reading goes on.
    pub fn finish(&mut self, now: Instant, conn: Conn, side: Side) {
        self.tick(now);
        if let Some(leg) = self.leg_of(conn, side) {
            self.finish_leg(conn, leg, Direction::from(side));
        }
    }

    /// Gives up an end as closing a socket does: what was written still goes out, what comes in is
    /// answered by a reset. Closing twice, or what is gone, does nothing.
    pub fn close(&mut self, now: Instant, conn: Conn, side: Side) {
        self.tick(now);
        let open = self.leg_of(conn, side);
        if let Some(leg) = open {
            self.finish_leg(conn, leg, Direction::from(side));
            self.abandon_leg(conn, leg, Direction::from(side).reverse());
        }
        self.give_up_dial(conn, side);
        self.drop_end(conn, side);
    }

    /// Gives up an end at once: the other side meets a reset behind what has left so far.
    pub fn abort(&mut self, now: Instant, conn: Conn, side: Side) {
        self.tick(now);
        if let Some(leg) = self.leg_of(conn, side) {
            self.break_leg(conn, leg);
        }
        self.give_up_dial(conn, side);
        self.drop_end(conn, side);
    }

    /// The addresses of a connection as `side` sees them: its own and the other's.
    ///
    /// `None` once the connection is gone.
    pub fn addresses(&self, conn: Conn, side: Side) -> Option<(SocketAddr, SocketAddr)> {
        let connection = self.conns.get(conn.index, conn.generation)?;
        Some(match side {
            Side::Client => (connection.from, connection.to),
            Side::Server => (connection.to, connection.from),
        })
    }

    /// How many bytes are somewhere between the two ends of a connection.
    pub fn in_between(&self, conn: Conn) -> usize {
        let Some(connection) = self.conns.get(conn.index, conn.generation) else { return 0 };
        let pipes: usize = connection.legs.iter().map(|leg| leg.up.held() + leg.down.held()).sum();
        pipes + connection.stages.iter().map(Stage::held).sum::<usize>()
    }

    /// Every connection that is not yet gone, in the order of their slots.
    pub fn connections(&self) -> Vec<Conn> {
        self.find_conns(|_| true)
    }

    pub(super) fn find_conns(&self, wanted: impl FnMut(&Connection) -> bool) -> Vec<Conn> {
        let found = self.conns.find(wanted);
        found.into_iter().map(|(index, generation)| Conn { index, generation }).collect()
    }

    pub(super) fn read_leg(
        &mut self,
        conn: Conn,
        leg: usize,
        direction: Direction,
        into: &mut Vec<u8>,
        max: usize,
    ) -> Read {
        let Some(connection) = self.conns.get_mut(conn.index, conn.generation) else {
            return Read { n: 0, next: Next::Reset };
        };
        let pipe = connection.legs[leg].pipe_mut(direction);
        let read = pipe.read(self.now, &mut self.rng, into, max);
        set_bells(&mut self.agenda, pipe, conn, leg, direction);
        read
    }

    pub(super) fn write_leg(
        &mut self,
        conn: Conn,
        leg: usize,
        direction: Direction,
        from: &[u8],
    ) -> Result<usize, Broken> {
        let connection = self.conns.get_mut(conn.index, conn.generation).ok_or(Broken)?;
        let pipe = connection.legs[leg].pipe_mut(direction);
        let taken = pipe.write(self.now, &mut self.rng, from)?;
        set_bells(&mut self.agenda, pipe, conn, leg, direction);
        self.carry_out_cut(conn, leg, direction);
        Ok(taken)
    }

    pub(super) fn finish_leg(&mut self, conn: Conn, leg: usize, direction: Direction) {
        let now = self.now;
        self.with_pipe(conn, leg, direction, |pipe| pipe.finish(now));
    }

    /// Nobody reads here any more.
    pub(super) fn abandon_leg(&mut self, conn: Conn, leg: usize, direction: Direction) {
        let now = self.now;
        self.with_pipe(conn, leg, direction, |pipe| pipe.abandon(now));
    }

    /// Breaks one stretch in both directions, each behind what is on its way.
    pub(super) fn break_leg(&mut self, conn: Conn, leg: usize) {
        let now = self.now;
        for direction in [Direction::Up, Direction::Down] {
            let mut known_at = NEVER;
            self.with_pipe(conn, leg, direction, |pipe| {
                known_at = pipe.break_behind(now.saturating_add(pipe.latency()));
            });
            self.with_pipe(conn, leg, direction.reverse(), |pipe| pipe.break_writer(known_at));
        }
    }

    /// Breaks both directions if enough bytes have passed.
    pub(super) fn carry_out_cut(&mut self, conn: Conn, leg: usize, direction: Direction) {
        let now = self.now;
        let mut cut = None;
        self.with_pipe(conn, leg, direction, |pipe| cut = pipe.take_cut(now));
        let Some(at) = cut else { return };
        let mut known_at = NEVER;
        self.with_pipe(conn, leg, direction.reverse(), |pipe| {
            known_at = at.saturating_add(pipe.latency());
            pipe.break_reader(known_at);
            pipe.break_writer(at);
        });
        self.with_pipe(conn, leg, direction, |pipe| pipe.break_writer(known_at));
    }

    /// Changes a pipe, and sees to it that whoever is concerned is told.
    pub(super) fn with_pipe(&mut self, conn: Conn, leg: usize, direction: Direction, change: impl FnOnce(&mut Pipe)) {
        let Some(connection) = self.conns.get_mut(conn.index, conn.generation) else { return };
        let pipe = connection.legs[leg].pipe_mut(direction);
        change(pipe);
        set_bells(&mut self.agenda, pipe, conn, leg, direction);
    }

    /// A bell set earlier is due: whoever stands there is told, if there is still something to tell.
    pub(super) fn ring(&mut self, conn: Conn, leg: usize, direction: Direction, way: Way) {
        let Some(connection) = self.conns.get_mut(conn.index, conn.generation) else { return };
        let last = connection.legs.len() - 1;
        let pipe = connection.legs[leg].pipe_mut(direction);
        let rings = match way {
            Way::In => pipe.ring_reader(self.now),
            Way::Out => pipe.ring_writer(self.now),
        };
        set_bells(&mut self.agenda, pipe, conn, leg, direction);
        if !rings {
            return;
        }
        let towards_server = (direction == Direction::Up) == (way == Way::In);
        match (towards_server, leg) {
            (true, leg) if leg == last => self.tell(conn, Side::Server, way),
            (true, leg) => self.pump(conn, leg, direction),
            (false, 0) => self.tell(conn, Side::Client, way),
            (false, leg) => self.pump(conn, leg - 1, direction),
        }
    }

    /// Tells whoever acts at one end.
    pub(super) fn tell(&mut self, conn: Conn, side: Side, way: Way) {
        let connection = self.conns.get(conn.index, conn.generation);
        let Some(end) = connection.and_then(|connection| connection.end(side)) else { return };
        let (host, puppet) = (end.host, end.puppet.is_some());
        if end.state == State::Closed {
            return;
        }
        if puppet {
            self.drive_puppet(conn, side);
        } else {
            self.notify(host, Ready::Stream { conn, side, way });
        }
    }

    /// Where an open end stands.
    pub(super) fn leg_of(&self, conn: Conn, side: Side) -> Option<usize> {
        let connection = self.conns.get(conn.index, conn.generation)?;
        let end = connection.end(side)?;
        (end.state == State::Open).then(|| connection.leg(side))
    }

    /// A dial given up half way: the kernel answers the server's SYN with a reset.
    fn give_up_dial(&mut self, conn: Conn, side: Side) {
        let connection = self.conns.get(conn.index, conn.generation);
        if side == Side::Client && connection.is_some_and(|it| it.client.state == State::Dialling) {
            self.break_leg(conn, 0);
        }
    }

    /// Closes an end, and forgets the connection when both are closed.
    fn drop_end(&mut self, conn: Conn, side: Side) {
        let Some(connection) = self.conns.get_mut(conn.index, conn.generation) else { return };
        if let Some(end) = connection.end_mut(side) {
            end.state = State::Closed;
            end.puppet = None;
        }
        let gone = |end: &End| end.state == State::Closed;
        if gone(&connection.client) && connection.server.as_ref().is_none_or(gone) {
            self.conns.remove(conn.index, conn.generation);
        }
    }
}

fn set_bells(agenda: &mut Agenda<Event>, pipe: &mut Pipe, conn: Conn, leg: usize, direction: Direction) {
    let leg = u8::try_from(leg).unwrap_or(u8::MAX);
    if let Some(at) = pipe.set_reader() {
        agenda.add(at, Event::Bell { conn, leg, direction, way: Way::In });
    }
    if let Some(at) = pipe.set_writer() {
        agenda.add(at, Event::Bell { conn, leg, direction, way: Way::Out });
    }
}

//! Middleboxes at work: bytes in from one stretch, through a stage, out to the next.

use std::net::SocketAddr;

use crate::clock::{Nanos, span};
use crate::net::puppet::Puppet;
use crate::net::{Conn, Direction, Event, Host, Net, Next};
use crate::proxy::{Repeat, Verdict};

/// A request that a middlebox will send once more.
#[derive(Debug)]
pub(super) struct Replay {
    from: Host,
    to: SocketAddr,
    request: Vec<u8>,
    hold: Nanos,
}

/// How much a stage takes in at once.
const GULP: usize = 64 << 10;

impl Net {
    /// Moves what there is to move through a stage in one direction.
    pub(super) fn pump(&mut self, conn: Conn, stage: usize, direction: Direction) {
        let mut scratch = std::mem::take(&mut self.scratch);
        while self.pump_once(conn, stage, direction, &mut scratch) {}
        self.scratch = scratch;
    }

    /// The first deadlines of a stage.
    pub(super) fn start_stage(&mut self, conn: Conn, stage: usize) {
        let now = self.now;
        let Some(connection) = self.conns.get_mut(conn.index, conn.generation) else { return };
        connection.stages[stage].start(now);
        self.schedule_stage(conn, stage);
    }

    pub(super) fn on_middlebox_timer(&mut self, conn: Conn, stage: usize) {
        let now = self.now;
        let Some(connection) = self.conns.get_mut(conn.index, conn.generation) else { return };
        let verdict = connection.stages[stage].handle_timeout(now);
        if self.judge(conn, stage, verdict) {
            self.flush_stage(conn, stage, Direction::Up);
            self.flush_stage(conn, stage, Direction::Down);
            self.schedule_stage(conn, stage);
        }
    }

    /// The repeated request is due.
    pub(super) fn on_replay(&mut self, slot: u32) {
        let Some(replay) = self.replays.get_mut(slot as usize).and_then(Option::take) else { return };
        self.dial_as(replay.from, replay.to, Some(Puppet::repeating(replay.request, replay.hold)));
    }

    fn pump_once(&mut self, conn: Conn, stage: usize, direction: Direction, scratch: &mut Vec<u8>) -> bool {
        if !self.flush_stage(conn, stage, direction) {
            return false;
        }
        let Some(connection) = self.conns.get(conn.index, conn.generation) else { return false };
        let room = connection.stages[stage].room(direction);
        if room == 0 {
            return false;
        }
        let (from, _) = legs(stage, direction);
        scratch.clear();
        let read = self.read_leg(conn, from, direction, scratch, room.min(GULP));
        if read.n > 0 {
            let Some(connection) = self.conns.get_mut(conn.index, conn.generation) else { return false };
            let verdict = connection.stages[stage].pass(self.now, direction, scratch);
            if !self.judge(conn, stage, verdict) {
                return false;
            }
            self.flush_stage(conn, stage, direction.reverse());
        }
        match read.next {
            Next::More => true,
            Next::Blocked => {
                self.flush_stage(conn, stage, direction);
                false
            }
            Next::End => {
                if let Some(connection) = self.conns.get_mut(conn.index, conn.generation) {
                    connection.stages[stage].end(direction);
                }
                self.flush_stage(conn, stage, direction);
                false
            }
            Next::Reset => {
                self.break_all(conn);
                false
            }
        }
    }

    /// Writes on what a stage has let through; false if the connection is gone behind it.
    fn flush_stage(&mut self, conn: Conn, stage: usize, direction: Direction) -> bool {
        let (_, to) = legs(stage, direction);
        loop {
            let Some(connection) = self.conns.get_mut(conn.index, conn.generation) else { return false };
            let Some(mut waiting) = connection.stages[stage].take_waiting(direction) else { break };
            let (front, _) = waiting.as_slices();
            let whole = front.len();
            let taken = self.write_leg(conn, to, direction, front);
            if let Ok(taken) = taken {
                waiting.drain(..taken);
            }
            if let Some(connection) = self.conns.get_mut(conn.index, conn.generation) {
                connection.stages[stage].put_back(direction, waiting);
            }
            match taken {
                Ok(taken) if taken == whole => {}
                Ok(_) => return true,
                Err(_) => {
                    self.break_all(conn);
                    return false;
                }
            }
        }
        let finished = self
            .conns
            .get(conn.index, conn.generation)
            .is_some_and(|connection| connection.stages[stage].is_finished(direction));
        if finished {
            self.finish_leg(conn, to, direction);
        }
        true
    }

    /// Carries out what a stage decided; false if it ended the connection.
    fn judge(&mut self, conn: Conn, stage: usize, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Go => true,
            Verdict::Close => {
                for direction in [Direction::Up, Direction::Down] {
                    if let Some(connection) = self.conns.get_mut(conn.index, conn.generation) {
                        connection.stages[stage].end(direction);
                    }
                    self.flush_stage(conn, stage, direction);
                    self.abandon_leg(conn, legs(stage, direction).0, direction);
                }
                false
            }
            Verdict::Kill => {
                self.break_all(conn);
                false
            }
            Verdict::Repeat(repeat) => {
                self.repeat_request(conn, repeat);
                true
            }
        }
    }

    fn repeat_request(&mut self, conn: Conn, repeat: Repeat) {
        let Some(connection) = self.conns.get(conn.index, conn.generation) else { return };
        let to = repeat.to.unwrap_or(connection.to);
        let replay = Replay { from: connection.client.host, to, request: repeat.request, hold: span(repeat.hold) };
        let slot = u32::try_from(self.replays.len()).expect("a world has few replays");
        self.replays.push(Some(replay));
        let at = self.after(repeat.after);
        self.agenda.add(at, Event::Replay(slot));
    }

    /// A reset met anywhere on the path breaks all of it.
    fn break_all(&mut self, conn: Conn) {
        let legs = self.conns.get(conn.index, conn.generation).map_or(0, |connection| connection.legs.len());
        for leg in 0..legs {
            self.break_leg(conn, leg);
        }
    }

    fn schedule_stage(&mut self, conn: Conn, stage: usize) {
        let next =
            self.conns.get(conn.index, conn.generation).and_then(|connection| connection.stages[stage].next_at());
        if let (Some(at), Ok(stage)) = (next, u8::try_from(stage)) {
            self.agenda.add(at, Event::Middlebox { conn, stage });
        }
    }
}

/// The stretches from and to which a stage moves bytes.
fn legs(stage: usize, direction: Direction) -> (usize, usize) {
    match direction {
        Direction::Up => (stage, stage + 1),
        Direction::Down => (stage + 1, stage),
    }
}

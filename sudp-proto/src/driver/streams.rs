//! Byte streams: read with room and within the budget, written as far as they take it.

use std::io::ErrorKind;
use std::time::Instant;

use bytes::BufMut as _;

use super::doors::Ways;
use super::{Budget, Driver, Endpoint, Io, Step, Token, Way};
use crate::carrier::OUTPUT;

impl<E: Endpoint> Driver<E> {
    pub(super) fn serve_stream(
        &mut self,
        now: Instant,
        token: Token,
        ways: Ways,
        io: &mut impl Io,
        budget: &mut Budget,
    ) {
        let behind = self.behind();
        let Some(stream) = self.doors.stream_mut(token) else { return };
        if let Some(to) = stream.dialling {
            return self.dial(now, token, to, io);
        }
        stream.full &= !ways.write;
        stream.paused |= ways.read && behind;
        if ways.read && !behind {
            self.read(now, token, io, budget);
        }
    }

    /// Reads every stream, ready or not.
    pub(super) fn read_all(&mut self, now: Instant, io: &mut impl Io, budget: &mut Budget) {
        let mut last = None;
        while let Some((key, token)) = self.doors.stream_after(last) {
            last = Some(key);
            let ways = Ways { read: true, write: false };
            self.serve_stream(now, token, ways, io, budget);
        }
    }

    /// Writes what there is to every stream that takes it, and finishes those that are to be.
    ///
    /// What one link takes may leave something to another that had nothing before: a copy, or what is
    /// not its turn any more. So all are asked again until none has anything, or nobody would ask until
    /// the next event.
    pub(super) fn write_all(&mut self, now: Instant, io: &mut impl Io) {
        loop {
            let (mut last, mut streams, mut wrote) = (None, 0, false);
            while let Some((key, token)) = self.doors.stream_after(last) {
                last = Some(key);
                streams += 1;
                wrote |= self.write(now, token, io);
            }
            if streams < 2 || !wrote {
                return;
            }
        }
    }

    /// Lets paused readers go on, once nothing is in their way: nobody rings for them again.
    pub(super) fn resume_reading(&mut self) {
        if self.behind() {
            return;
        }
        let mut last = None;
        while let Some((key, token)) = self.doors.stream_after(last) {
            last = Some(key);
            if let Some(stream) = self.doors.stream_mut(token)
                && std::mem::take(&mut stream.paused)
            {
                self.doors.ring(token, Way::In);
            }
        }
    }

    fn read(&mut self, now: Instant, token: Token, io: &mut impl Io, budget: &mut Budget) {
        let Some(stream) = self.doors.stream_mut(token) else { return };
        if stream.ended {
            return;
        }
        if std::mem::take(&mut stream.unseen) {
            self.endpoint.handle_input(now, stream.key, &mut stream.input);
        }
        let (key, room, before) = (stream.key, stream.make_room(), stream.input.len());
        let outcome = io.read(token, &mut (&mut stream.input).limit(room));
        let bytes = stream.input.len() - before;
        stream.busy = bytes == room;
        budget.spend(0, bytes);
        if bytes > 0 {
            self.endpoint.handle_input(now, key, &mut stream.input);
        }
        match outcome {
            Ok(Step::More(_)) => self.doors.ring(token, Way::In),
            Ok(Step::Blocked(_)) => stream.rest(),
            Ok(Step::End) => {
                stream.ended = true;
                self.endpoint.handle_end(now, key);
            }
            Err(error) => self.fail(now, token, error.kind(), io),
        }
    }

    /// Whether anything was written.
    fn write(&mut self, now: Instant, token: Token, io: &mut impl Io) -> bool {
        let Some(stream) = self.doors.stream_mut(token) else { return false };
        if stream.full || stream.dialling.is_some() {
            return false;
        }
        let (key, mut left, mut wrote) = (stream.key, WRITE, false);
        loop {
            let output = self.endpoint.output(now, key);
            let said = output.len();
            if said == 0 {
                break;
            }
            match io.write(token, output) {
                Ok(Step::Blocked(written)) => {
                    stream.full = true;
                    self.endpoint.advance(key, written);
                    return wrote || written > 0;
                }
                Ok(Step::More(written)) => {
                    self.endpoint.advance(key, written);
                    left = left.saturating_sub(written);
                    wrote = true;
                    if written == 0 || left == 0 {
                        // The next turn follows at once.
                        self.doors.ring(token, Way::Out);
                        return false;
                    }
                    // It had room for more, and said no more.
                    if written == said && said < OUTPUT {
                        break;
                    }
                }
                Ok(Step::End) => {
                    self.fail(now, token, ErrorKind::WriteZero, io);
                    return wrote;
                }
                Err(error) => {
                    self.fail(now, token, error.kind(), io);
                    return wrote;
                }
            }
        }
        if !stream.finished && self.endpoint.wants_finish(key) {
            stream.finished = true;
            if let Err(error) = io.finish(token) {
                self.fail(now, token, error.kind(), io);
            }
        }
        wrote
    }
}

/// Bytes written to one stream in one turn.
const WRITE: usize = 256 << 10;

//! Ends of connections at which nobody of the world acts: canned answers, and requests sent again.

use std::time::Duration;

use crate::clock::{Nanos, span};
use crate::net::conn::State;
use crate::net::{Conn, Event, Net, Next, Side};
use crate::pipe::Broken;

/// What a listener that is no SUDP server says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Header lines without end, 4 KiB every 10 ms.
    EndlessHead,
    /// These bytes, as soon as it is connected; then it closes.
    Greeting(Vec<u8>),
    /// These bytes behind the request's head; then it closes.
    Raw(Vec<u8>),
    /// Nothing, ever: it takes everything in and keeps the connection open.
    Silent,
    /// A 101 head, one byte each time this long has passed; then nothing.
    SlowHead(Duration),
}

impl Answer {
    /// An empty HTTP answer behind the request's head.
    pub fn status(status: u16, reason: &str) -> Self {
        Self::with_headers(status, reason, "")
    }

    /// An HTTP answer with `Retry-After`.
    pub fn retry_after(status: u16, reason: &str, seconds: u32) -> Self {
        Self::with_headers(status, reason, &format!("Retry-After: {seconds}\r\n"))
    }

    /// An HTTP answer with further header lines, each with its line end.
    pub fn with_headers(status: u16, reason: &str, lines: &str) -> Self {
        Self::Raw(format!("HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\n{lines}\r\n").into_bytes())
    }

    /// A redirect to another address.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::with_headers(status, "Moved", &format!("Location: {location}\r\n"))
    }
}

/// Who acts at such an end.
#[derive(Debug)]
pub(super) struct Puppet {
    role: Role,
    /// How much of what it says was said.
    said: usize,
    /// Bytes of the blank line behind the head that were seen in a row.
    blank: usize,
    started_at: Option<Nanos>,
    /// When its timer rings; 0 if none is set.
    timer_at: Nanos,
}

#[derive(Debug)]
enum Role {
    Answering(Answer),
    Repeating { request: Vec<u8>, hold: Nanos },
}

const SLOW_HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Slow: ";
const FILLER: &[u8] = b"X-Filler: all work and no play makes an endless head\r\n";

impl Puppet {
    pub(super) fn answering(answer: Answer) -> Self {
        Self { role: Role::Answering(answer), said: 0, blank: 0, started_at: None, timer_at: 0 }
    }

    /// Sends a request, reads on, and closes after `hold`.
    pub(super) fn repeating(request: Vec<u8>, hold: Nanos) -> Self {
        Self { role: Role::Repeating { request, hold }, said: 0, blank: 0, started_at: None, timer_at: 0 }
    }

    /// Takes in what the other side said.
    fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.blank == 4 {
                return;
            }
            let wanted = b"\r\n\r\n"[self.blank];
            self.blank = if *byte == wanted { self.blank + 1 } else { usize::from(*byte == b'\r') };
        }
    }

    /// What it does now.
    fn act(&mut self, now: Nanos) -> Act {
        let started_at = *self.started_at.get_or_insert(now);
        let head_seen = self.blank == 4;
        match &self.role {
            Role::Answering(Answer::EndlessHead) => {
                let due = head_seen && now >= self.timer_at;
                let line = FILLER[self.said % FILLER.len()..].to_vec();
                let bytes = if due { [line, FILLER.repeat(78)].concat() } else { Vec::new() };
                Act { bytes, again_at: Some(now + span(Duration::from_millis(10))), close: false }
            }
            Role::Answering(Answer::Greeting(bytes)) => Act::last(&bytes[self.said..]),
            Role::Answering(Answer::Raw(bytes)) if head_seen => Act::last(&bytes[self.said..]),
            Role::Answering(Answer::Raw(_) | Answer::Silent) => Act::wait(),
            Role::Answering(Answer::SlowHead(every)) => {
                let every = span(*every).max(1);
                let due = usize::try_from((now - started_at) / every).unwrap_or(usize::MAX).min(SLOW_HEAD.len());
                let again_at = (due < SLOW_HEAD.len()).then(|| started_at + every * (due as u64 + 1));
                Act { bytes: SLOW_HEAD[self.said.min(due)..due].to_vec(), again_at, close: false }
            }
            Role::Repeating { request, hold } => {
                let over_at = started_at.saturating_add(*hold);
                let bytes = request[self.said..].to_vec();
                Act { bytes, again_at: (now < over_at).then_some(over_at), close: now >= over_at }
            }
        }
    }
}

/// One turn of a puppet.
struct Act {
    bytes: Vec<u8>,
    again_at: Option<Nanos>,
    /// Close once `bytes` are written.
    close: bool,
}

impl Act {
    fn last(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), again_at: None, close: true }
    }

    fn wait() -> Self {
        Self { bytes: Vec::new(), again_at: None, close: false }
    }
}

impl Net {
    /// Lets a puppet read, say its part, and close.
    pub(super) fn drive_puppet(&mut self, conn: Conn, side: Side) {
        let now = crate::clock::instant(self.now);
        let state = self.conns.get(conn.index, conn.generation).and_then(|it| it.end(side)).map(|end| end.state);
        match state {
            Some(State::Open) => {}
            Some(State::Failed(_)) => return self.close(now, conn, side),
            Some(State::Dialling | State::Closed) | None => return,
        }
        let mut heard = Vec::new();
        let over = loop {
            match self.read(now, conn, side, &mut heard, usize::MAX).next {
                Next::More => {}
                Next::Blocked => break false,
                Next::End | Next::Reset => break true,
            }
        };
        let time = self.now;
        let Some(puppet) = self.puppet(conn, side) else { return };
        puppet.hear(&heard);
        let act = puppet.act(time);
        let written = self.write(now, conn, side, &act.bytes);
        if let (Ok(count), Some(puppet)) = (written, self.puppet(conn, side)) {
            puppet.said += count;
        }
        let all_said = written == Ok(act.bytes.len());
        if over || written == Err(Broken) || (act.close && all_said) {
            return self.close(now, conn, side);
        }
        let Some(puppet) = self.puppet(conn, side) else { return };
        if let Some(at) = act.again_at
            && puppet.timer_at <= time
        {
            puppet.timer_at = at;
            self.agenda.add(at, Event::Puppet { conn, side });
        }
    }

    fn puppet(&mut self, conn: Conn, side: Side) -> Option<&mut Puppet> {
        self.conns.get_mut(conn.index, conn.generation)?.end_mut(side)?.puppet.as_mut()
    }
}

//! A proxy that answers WebSocket pings for the far side, and sends its own.

use std::collections::VecDeque;

use sudp_proto::Rng;

use crate::clock::{NEVER, Nanos};
use crate::net::Direction;
use crate::proxy::frames::{Header, Piece, Walker};

const PING: u8 = 9;
const PONG: u8 = 10;

/// Both directions of such a proxy.
#[derive(Debug)]
pub(super) struct Pings {
    every: Nanos,
    next_at: Nanos,
    rng: Rng,
    halves: [Half; 2],
}

#[derive(Debug)]
struct Half {
    walker: Walker,
    in_frames: bool,
    /// The control frame that is being swallowed, with its payload so far.
    swallowed: Option<(Header, Vec<u8>)>,
    /// Frames of our own that wait for the end of a frame that passes.
    own: Vec<u8>,
}

impl Half {
    fn new() -> Self {
        Self { walker: Walker::new(), in_frames: false, swallowed: None, own: Vec::new() }
    }

    /// Lets our own frames out where no frame of others is open.
    fn slip_in(&mut self, out: &mut VecDeque<u8>) {
        if self.in_frames && self.swallowed.is_none() && self.walker.between_frames() {
            out.extend(&self.own);
            self.own.clear();
        }
    }

    /// Passes what is not ours on; gives the payload of a ping that was swallowed whole.
    fn piece(&mut self, piece: Piece<'_>, out: &mut VecDeque<u8>) -> Option<Vec<u8>> {
        match piece {
            Piece::Head(head) => {
                out.extend(head);
                self.in_frames = self.walker.between_frames();
            }
            Piece::Frame(header) if header.opcode == PING || header.opcode == PONG => {
                self.swallowed = Some((header, Vec::new()));
            }
            Piece::Frame(header) => out.extend(header.bytes()),
            Piece::Body(body) => match &mut self.swallowed {
                Some((_, payload)) => payload.extend_from_slice(body),
                None => out.extend(body),
            },
        }
        let (header, mut payload) = self.swallowed.take_if(|(header, payload)| header.len == payload.len() as u64)?;
        for (byte, mask) in payload.iter_mut().zip(header.mask.unwrap_or([0; 4]).iter().cycle()) {
            *byte ^= mask;
        }
        (header.opcode == PING).then_some(payload)
    }
}

impl Pings {
    pub(super) fn new(every: Nanos, rng: Rng) -> Self {
        Self { every, next_at: NEVER, rng, halves: [Half::new(), Half::new()] }
    }

    pub(super) fn start(&mut self, now: Nanos) {
        self.next_at = now.saturating_add(self.every);
    }

    pub(super) fn next_at(&self) -> Nanos {
        self.next_at
    }

    pub(super) fn pass(&mut self, direction: Direction, mut bytes: &[u8], waiting: &mut [VecDeque<u8>; 2]) {
        let (here, there) = match direction {
            Direction::Up => (0, 1),
            Direction::Down => (1, 0),
        };
        loop {
            let half = &mut self.halves[here];
            let Some(piece) = half.walker.next(&mut bytes) else { break };
            if let Some(payload) = half.piece(piece, &mut waiting[here]) {
                self.say(there, PONG, &payload);
            }
            self.halves[here].slip_in(&mut waiting[here]);
        }
        self.halves[there].slip_in(&mut waiting[there]);
    }

    pub(super) fn handle_timeout(&mut self, now: Nanos, waiting: &mut [VecDeque<u8>; 2]) {
        if now < self.next_at {
            return;
        }
        self.next_at = now.saturating_add(self.every);
        for (way, out) in waiting.iter_mut().enumerate() {
            if self.halves[way].own.len() < 1_024 {
                self.say(way, PING, b"proxy");
            }
            self.halves[way].slip_in(out);
        }
    }

    /// A control frame of our own; what goes up is masked, as from a client.
    fn say(&mut self, way: usize, opcode: u8, payload: &[u8]) {
        let mask = (way == 0).then(|| self.rng.array());
        let own = &mut self.halves[way].own;
        own.extend_from_slice(Header::new(true, opcode, mask, payload.len() as u64).bytes());
        own.extend(payload.iter().zip(mask.unwrap_or([0; 4]).iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }
}

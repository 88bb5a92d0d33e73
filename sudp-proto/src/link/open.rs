//! The stage of frames: messages both ways, pings, the closing handshake.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::control::{Close, Pong};
use super::end::{FrameFault, LinkEnd, LinkStage};
use super::frame::{self, Incoming, Reader};
use super::stage::{Heard, Rest, Role, Stage};
use super::{Link, LinkEvent, WrongStage};

/// An open link.
#[derive(Debug)]
pub(super) struct Open {
    reader: Reader,
    pong: Pong,
    /// Whether our close frame was sent.
    closing: bool,
    /// Whether nothing more is read: the remote's close frame or a fault of its waits for its turn.
    deaf: bool,
    /// Whether a message ended since the deadline of the present one was set.
    progress: bool,
}

impl Open {
    pub(super) fn new(remote: Role) -> Self {
        Self { reader: Reader::new(remote), pong: Pong::default(), closing: false, deaf: false, progress: false }
    }

    /// Whether our close frame was sent.
    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    pub(super) fn missing(&self, input: &BytesMut) -> usize {
        self.reader.missing(input)
    }

    pub(super) fn held(&self) -> usize {
        self.reader.held()
    }
}

impl Link {
    /// Puts one binary message, made of all parts, into the output.
    pub fn send(&mut self, parts: &[&[u8]]) -> Result<(), WrongStage> {
        self.send_as(Data::Binary, parts)
    }

    /// Puts one text message into the output; a sealed link has none.
    pub fn send_text(&mut self, text: &str) -> Result<(), WrongStage> {
        if self.sealing.is_some() {
            return Err(WrongStage);
        }
        self.send_as(Data::Text, &[text.as_bytes()])
    }

    fn send_as(&mut self, data: Data, parts: &[&[u8]]) -> Result<(), WrongStage> {
        if !self.is_open() {
            return Err(WrongStage);
        }
        if self.sealing.is_some() {
            return self.send_sealed(parts);
        }
        let length: usize = parts.iter().map(|part| part.len()).sum();
        match self.frame_limit.filter(|limit| length > *limit) {
            None => frame::put(OpCode::Data(data), self.role, parts, &mut self.rng, &mut self.output),
            Some(limit) => {
                frame::put_fragments(data, limit, self.role, parts, &mut self.rng, &mut self.output);
            }
        }
        Ok(())
    }

    /// Cuts messages into frames of at most so many bytes; none leaves each in one frame.
    pub fn set_frame_limit(&mut self, limit: Option<usize>) {
        self.frame_limit = limit;
    }

    /// Reads one frame or message; false when there is none.
    pub(super) fn step_open(&mut self, now: Instant, input: &mut BytesMut) -> bool {
        let Stage::Open(open) = &mut self.stage else { return false };
        if open.deaf {
            input.clear();
            return false;
        }
        match open.reader.next(&self.limits, input) {
            Ok(None) => return false,
            Ok(Some(Incoming::Close(close))) => {
                open.deaf = true;
                self.heard.push_back(Heard::Close(now, close));
            }
            Ok(Some(Incoming::Message(bytes))) => {
                open.progress = true;
                self.heard.push_back(Heard::Message(now, bytes));
            }
            Ok(Some(Incoming::Ping(payload))) => self.heard.push_back(Heard::Ping(payload)),
            Ok(Some(Incoming::Pong)) => {}
            Ok(Some(Incoming::Text(bytes))) => {
                open.progress = true;
                self.tell(LinkEvent::Text(bytes));
            }
            Err(fault) => {
                open.deaf = true;
                self.heard.push_back(Heard::Fault(now, fault));
            }
        }
        true
    }

    /// Sends the held pong if there is room again.
    pub(super) fn flush_pong(&mut self) {
        if self.unwritten() > self.limits.output {
            return;
        }
        let Stage::Open(open) = &mut self.stage else { return };
        if let Some(payload) = open.pong.take() {
            self.put_control(Control::Pong, &payload);
        }
    }

    pub(super) fn begin_close(&mut self, now: Instant, code: u16, reason: &str) {
        let Stage::Open(open) = &mut self.stage else { return };
        open.closing = true;
        open.pong.take();
        self.deadline = Some((now + self.limits.deadlines.close, LinkStage::Close));
        self.put_control(Control::Close, &Close::new(code, reason).body());
    }

    /// Sets the deadline of a message that has begun, and lifts that of one that has ended.
    pub(super) fn watch_message(&mut self, now: Instant, input: &BytesMut) {
        let Stage::Open(open) = &mut self.stage else { return };
        if open.closing {
            return;
        }
        if !open.reader.is_within(input) {
            self.deadline = None;
        } else if open.progress || self.deadline.is_none() {
            self.deadline = Some((now + self.limits.deadlines.message, LinkStage::Message));
        }
        open.progress = false;
    }

    pub(super) fn answer_ping(&mut self, payload: &Bytes) {
        let Stage::Open(open) = &mut self.stage else { return };
        if open.closing {
            return;
        }
        open.pong.put(payload);
        self.flush_pong();
    }

    /// The remote's close frame: echoed if it is the first, and the end either way.
    pub(super) fn closed(&mut self, now: Instant, close: Close) {
        let Stage::Open(open) = &self.stage else { return };
        if !open.closing {
            let echo = Close { code: close.code, reason: "".into() };
            self.put_control(Control::Close, &echo.body());
        }
        let reason = close.reason.escape_debug().to_string().into();
        self.end_politely(now, LinkEnd::Closed { code: close.code.unwrap_or(NO_CODE), reason });
        if matches!(self.role, Role::Client) {
            self.stage = Stage::Ended(Rest::Wait);
        }
    }

    /// Tells the remote what it did wrong, unless the last word was spoken.
    pub(super) fn fail(&mut self, now: Instant, fault: FrameFault) {
        let Stage::Open(open) = &self.stage else { return };
        if !open.closing {
            self.put_control(Control::Close, &Close::new(fault.code(), "").body());
        }
        self.end_politely(now, fault.into());
    }

    fn put_control(&mut self, control: Control, body: &[u8]) {
        frame::put(OpCode::Control(control), self.role, &[body], &mut self.rng, &mut self.output);
    }
}

/// What stands for a close frame without a code, and is never sent.
const NO_CODE: u16 = 1005;

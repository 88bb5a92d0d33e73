//! A session with its links on bytes: what a client and a server have in common.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::driver::{Key, Keyed, Order};
use crate::event::LinkLoss;
use crate::link::{FrameFault, Initiator, Link, LinkEnd, LinkEvent, SealFault};
use crate::session::{Deadline, Earliest, Gone, Phase, Role, Session};
use crate::wire::{Close, Code, Frame, Ordinal, next_frame};

/// A session and the streams that carry it.
#[derive(Debug)]
pub(crate) struct Carrier {
    pub(crate) session: Session,
    streams: Keyed<Stream>,
    next: u64,
    orders: VecDeque<Order>,
    /// What ended on a client, for its dialling.
    gone: VecDeque<Gone>,
}

#[derive(Debug)]
struct Stream {
    /// Boxed, for the row keeps room for several.
    link: Box<Link>,
    /// The link of the session it carries, once it is attached.
    ordinal: Option<Ordinal>,
    /// The session's last words on it were written.
    parted: bool,
    /// What is remembered until the first message.
    greeting: Option<Box<Greeting>>,
}

/// What a side remembers of the first words on a stream.
#[derive(Debug)]
enum Greeting {
    /// The hello that a server has answered, which may come once more.
    Answered(Bytes),
    /// What opens the welcome of a client that seals.
    Sealed(Box<Initiator>),
}

impl Stream {
    fn is_copy(&self, message: &Bytes) -> bool {
        matches!(self.greeting.as_deref(), Some(Greeting::Answered(hello)) if is_copy(message, hello))
    }

    fn say_close(&mut self, code: Code) {
        let mut frame = Vec::new();
        Frame::Close(Close { code, reason: String::new() }).emit(&mut frame);
        // A link that is not open any more has nothing left to be told.
        let _ = self.link.send(&[&frame]);
    }
}

/// What happened on a stream that is not the session's business.
#[derive(Debug)]
pub(crate) enum Said {
    /// The client's upgrade succeeded.
    Open,
    /// A message on a stream that is not attached.
    Message(Bytes),
    /// A link has ended that did not carry the session.
    Ended(LinkEnd),
    /// The far side has ended, in good order, a link that carried the session.
    Finished(Ordinal),
}

impl Carrier {
    pub(crate) fn new(session: Session) -> Self {
        Self { session, streams: Keyed::default(), next: 1, orders: VecDeque::new(), gone: VecDeque::new() }
    }

    /// A name for a stream to come.
    pub(crate) fn draw(&mut self) -> Key {
        let key = Key(self.next);
        self.next += 1;
        key
    }

    /// Puts a link on a stream.
    pub(crate) fn put(&mut self, key: Key, link: Link, ordinal: Option<Ordinal>) {
        self.streams.insert(key, Stream { link: Box::new(link), ordinal, parted: false, greeting: None });
    }

    /// The welcome on this stream will be sealed, and all that follows.
    pub(crate) fn expect_sealed(&mut self, key: Key, initiator: Initiator) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.link.expect_sealed();
            stream.greeting = Some(Box::new(Greeting::Sealed(Box::new(initiator))));
        }
    }

    /// What a welcome says; if it had to be sealed, so is the stream from here on.
    pub(crate) fn open_welcome(&mut self, key: Key, raw: &Bytes) -> Result<Bytes, SealFault> {
        let Some(stream) = self.streams.get_mut(key) else { return Err(SealFault::Changed) };
        let Some(Greeting::Sealed(initiator)) = stream.greeting.take().map(|greeting| *greeting) else {
            return Ok(raw.clone());
        };
        let (welcome, sealer) = initiator.finish(raw)?;
        stream.link.begin_sealing(sealer, None);
        Ok(welcome)
    }

    /// On an impatient client's link its hello may come a second time, as a message.
    pub(crate) fn expect_copy(&mut self, key: Key, hello: Bytes) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.greeting = Some(Box::new(Greeting::Answered(hello)));
        }
    }

    /// Leaves the stream of a link without numbers to seal by.
    #[cfg(all(test, feature = "seal"))]
    pub(crate) fn spend(&mut self, ordinal: Ordinal) {
        let stream = self.streams.values_mut().find(|stream| stream.ordinal == Some(ordinal));
        stream.expect("a live link").link.spend();
    }

    /// From here on the stream carries this link of the session.
    pub(crate) fn attach(&mut self, key: Key, ordinal: Ordinal) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.ordinal = Some(ordinal);
        }
    }

    pub(crate) fn order(&mut self, order: Order) {
        self.orders.push_back(order);
    }

    pub(crate) fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Whether no stream is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    pub(crate) fn handle_input(&mut self, now: Instant, key: Key, input: &mut BytesMut) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.link.handle_input(now, input);
        } else {
            input.clear();
        }
    }

    pub(crate) fn handle_end(&mut self, now: Instant, key: Key) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.link.handle_end(now);
        }
    }

    /// The stream broke and is closed.
    pub(crate) fn handle_broken(&mut self, now: Instant, key: Key) -> Option<Said> {
        let stream = self.streams.remove(key)?;
        let Some(ordinal) = stream.ordinal else { return Some(Said::Ended(LinkEnd::Truncated)) };
        self.session.detach(now, ordinal, LinkLoss::Ended);
        None
    }

    /// The next thing that happened on a stream; what is the session's business goes there.
    pub(crate) fn poll_said(&mut self, now: Instant, key: Key) -> Option<Said> {
        loop {
            let stream = self.streams.get_mut(key)?;
            let event = stream.link.poll_event()?;
            match (event, stream.ordinal) {
                // It does not prove that the welcome was read.
                (LinkEvent::Message(message), Some(_)) if stream.is_copy(&message) => {}
                (LinkEvent::Message(message), Some(ordinal)) => {
                    stream.greeting = None;
                    self.session.handle_message(now, ordinal, message);
                    self.part(now);
                }
                (LinkEvent::Message(message), None) => return Some(Said::Message(message)),
                (LinkEvent::Open { .. }, _) => return Some(Said::Open),
                (LinkEvent::Ended(LinkEnd::Violation(FrameFault::Sealed)), Some(ordinal)) => {
                    self.session.detach(now, ordinal, LinkLoss::Violation(Code::Sealing));
                }
                (LinkEvent::Ended(end), Some(ordinal)) => {
                    self.session.detach(now, ordinal, LinkLoss::Ended);
                    if matches!(end, LinkEnd::Closed { .. } | LinkEnd::Truncated) {
                        return Some(Said::Finished(ordinal));
                    }
                }
                (LinkEvent::Ended(end), None) => return Some(Said::Ended(end)),
                // A server's link says these before it comes here, and text is refused by its limits.
                (LinkEvent::Request(_) | LinkEvent::Stranger(_) | LinkEvent::Text(_), _) => {}
            }
        }
    }

    /// Lets go of the streams of links that have ended.
    pub(crate) fn part(&mut self, now: Instant) {
        while let Some(gone) = self.session.poll_gone() {
            if self.session.role() == Role::Client {
                self.gone.push_back(gone);
            }
            let stream = self.streams.values_mut().find(|stream| stream.ordinal == Some(gone.ordinal));
            let Some(stream) = stream else { continue };
            stream.ordinal = None;
            if let Some(code) = gone.farewell {
                stream.say_close(code);
            }
            match gone.why {
                LinkLoss::Violation(code) => stream.link.close(now, close_code(code), ""),
                LinkLoss::Fenced | LinkLoss::Replaced => stream.link.close(now, NORMAL, ""),
                LinkLoss::Ended | LinkLoss::GivenUp | LinkLoss::Silent | LinkLoss::Suspect => stream.link.abort(),
            }
        }
    }

    /// A link of a client that has ended, or a dial that the session gave up.
    pub(crate) fn poll_gone(&mut self) -> Option<Gone> {
        self.gone.pop_front()
    }

    /// Whether there is such a stream.
    pub(crate) fn holds(&self, key: Key) -> bool {
        self.streams.get(key).is_some()
    }

    /// Ends a stream without a word.
    pub(crate) fn abort(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.link.abort();
        } else {
            self.orders.push_back(Order::Close(key));
        }
    }

    /// Ends a stream that is not attached.
    pub(crate) fn close(&mut self, now: Instant, key: Key, code: Code) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.link.close(now, close_code(code), "");
        }
    }

    /// Ends a stream that is not attached, and the session that was made for it.
    pub(crate) fn dismiss(&mut self, now: Instant, key: Key, code: Code) {
        if let Some(stream) = self.streams.get_mut(key) {
            // What may not be said in the clear is not said at all.
            if stream.greeting.is_none() {
                stream.say_close(code);
            }
            stream.link.close(now, NORMAL, "");
        }
    }

    /// Sends a frame on a stream that is not attached.
    pub(crate) fn send(&mut self, key: Key, frame: &[u8]) -> bool {
        self.streams.get_mut(key).is_some_and(|stream| stream.link.send(&[frame]).is_ok())
    }

    /// Moves what the session has to say to the link, as far as it has room, and shows what to write.
    pub(crate) fn output(&mut self, now: Instant, key: Key) -> &[u8] {
        let Some(stream) = self.streams.get_mut(key) else { return &[] };
        let Stream { link, ordinal, parted, greeting: _ } = stream;
        let mut spent = None;
        if let Some(ordinal) = *ordinal
            && link.is_open()
        {
            link.set_frame_limit(self.session.frame_limit());
            loop {
                let room = OUTPUT.saturating_sub(link.unwritten());
                let Some(message) = self.session.poll_message(now, ordinal, room) else { break };
                if link.send(&[message.head, message.body]).is_err() {
                    spent = Some(ordinal);
                    break;
                }
            }
            if let Phase::Closed(code) = self.session.phase()
                && !*parted
            {
                *parted = true;
                link.close(now, close_code(code), "");
            }
        }
        if let Some(ordinal) = spent {
            self.session.detach(now, ordinal, LinkLoss::Ended);
        }
        self.part(now);
        self.session.set_link_memory(self.streams.iter().map(|(_, stream)| stream.link.held()).sum());
        self.streams.get_mut(key).map_or(&[], |stream| stream.link.output())
    }

    pub(crate) fn advance(&mut self, key: Key, written: usize) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.link.advance_output(written);
        }
    }

    pub(crate) fn wants_finish(&self, key: Key) -> bool {
        self.streams.get(key).is_some_and(|stream| stream.link.wants_finish())
    }

    /// Closes the streams that have nothing more to say or hear; names them.
    pub(crate) fn sweep(&mut self) -> Vec<Key> {
        let finished = self.streams.iter().filter(|(_, stream)| stream.link.is_finished());
        let finished: Vec<Key> = finished.map(|(key, _)| key).collect();
        for key in &finished {
            self.streams.remove(*key);
            self.orders.push_back(Order::Close(*key));
        }
        finished
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        let mut first = Earliest::from(self.session.poll_timeout());
        for (_, stream) in self.streams.iter() {
            first.offer(stream.link.poll_timeout(), "a link's deadline");
        }
        first.get()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for stream in self.streams.values_mut() {
            if stream.link.poll_timeout().is_some_and(|at| at <= now) {
                stream.link.handle_timeout(now);
            }
        }
        self.session.handle_timeout(now);
        self.part(now);
        if self.session.is_resting() {
            self.streams.values_mut().for_each(|stream| stream.link.release());
        }
    }

    /// The stream behind `last`, so that all can be gone through while they come and go.
    pub(crate) fn key_after(&self, last: Option<Key>) -> Option<Key> {
        self.streams.after(last).map(|(key, _)| key)
    }

    /// The stream that carries a link.
    pub(crate) fn key_of(&self, ordinal: Ordinal) -> Option<Key> {
        self.streams.iter().find(|(_, stream)| stream.ordinal == Some(ordinal)).map(|(key, _)| key)
    }
}

/// Whether a message is nothing but this hello.
pub(crate) fn is_copy(message: &Bytes, hello: &Bytes) -> bool {
    let mut rest = message.clone();
    matches!(next_frame(&mut rest), Ok(Some(Frame::Hello(said))) if said == *hello) && rest.is_empty()
}

/// The WebSocket close code that goes with one of ours.
pub(crate) fn close_code(code: Code) -> u16 {
    if matches!(code, Code::Done | Code::Evicted) {
        NORMAL
    } else if code == Code::GoingAway {
        1_001
    } else {
        4_000 + u16::try_from(code.to_u64()).unwrap_or(999).min(999)
    }
}

/// A link keeps at most about this much that is not written: what waits longer waits in our queues. So one that keeps
/// less has all that the session had to say.
pub(crate) const OUTPUT: usize = 16 * 1_024;
const NORMAL: u16 = 1_000;

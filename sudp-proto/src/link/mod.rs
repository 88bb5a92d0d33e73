//! One WebSocket connection, as a machine on bytes.
//!
//! A link goes through stages: words with an upstream proxy, the handshake of TLS, the upgrade, frames,
//! the closing handshake. Bytes that arrived go in with [`Link::handle_input`], what happened comes out of
//! [`Link::poll_event`], and what should be written lies in [`Link::output`]. A link knows nothing of
//! sessions; [`LinkEvent::Ended`] is the last thing it says.

mod answer;
mod control;
mod end;
mod frame;
mod handed;
mod http;
mod limits;
mod mask;
mod open;
mod proxy;
#[cfg_attr(not(feature = "seal"), path = "unsealed.rs")]
#[cfg_attr(not(feature = "driver"), expect(dead_code, reason = "who drives links begins to seal them"))]
mod seal;
mod seal_end;
#[cfg_attr(not(feature = "driver"), expect(dead_code, reason = "who drives links begins to seal them"))]
mod sealed;
mod secure;
mod stage;
#[cfg_attr(not(feature = "tls"), path = "clear.rs")]
mod tls;
mod tls_end;
mod upgrade;
mod utf8;

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};

pub use answer::Answer;
pub use end::{AnswerFault, FrameFault, LinkEnd, LinkStage, Refusal, RefusalKind, RequestFault};
pub use handed::Handed;
pub use http::HeadFault;
pub use limits::{LinkDeadlines, LinkLimits};
pub use proxy::{Proxy, ProxyEnd, ProxyKind};
pub use seal::{ClientSeal, ServerSeal};
#[cfg(feature = "seal")]
pub use seal::{Keypair, PublicKey};
pub use seal_end::KeyError;
pub use tls::{ClientTls, ServerTls};
pub use tls_end::{CertificateFault, TlsEnd};
pub use upgrade::{
    ClientUpgrade, RequestHead, SUBPROTOCOL, Scheme, ServerExpect, Subprotocol, UpgradeError, UpgradeRequest,
};

use crate::rng::{Rng, Seed};
use http::Scan;
pub(crate) use http::base64;
use open::Open;
use proxy::Dialogue;
pub(crate) use seal::Sealer;
#[cfg(feature = "driver")]
pub(crate) use seal::{Initiator, Responder};
#[cfg(feature = "driver")]
pub(crate) use seal_end::SealFault;
use sealed::Sealing;
use stage::{Asked, Heard, Next, Rest, Role, Stage};
use tls::Tls;
use upgrade::{Question, Verdict};

/// What happened on a link.
#[derive(Debug)]
#[non_exhaustive]
pub enum LinkEvent {
    /// The link is over; nothing follows.
    Ended(LinkEnd),
    /// A binary message, if possible a slice of what was passed to [`Link::handle_input`].
    Message(Bytes),
    /// A client's upgrade succeeded.
    Open {
        /// Whether the server confirmed [`SUBPROTOCOL`]; a proxy may have taken that away.
        subprotocol: bool,
    },
    /// A request for an upgrade waits for [`Link::accept`], [`Link::refuse`] or [`Link::hand_over`].
    Request(Box<UpgradeRequest>),
    /// A request that wants something else waits for [`Link::refuse`] or [`Link::hand_over`].
    ///
    /// What stands behind its head stays in the caller's buffer.
    Stranger(Box<RequestHead>),
    /// A text message; only if [`LinkLimits::text`] says so.
    Text(Bytes),
}

/// The link is in a stage in which that cannot be done: it has ended, or has not come so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the link is not in the stage for this")]
pub struct WrongStage;

/// One WebSocket connection.
///
/// The caller owns the buffer of what arrived, and passes the same one every time. After each call
/// that changes something, events are polled, output is written, and the timeout is looked at.
pub struct Link {
    role: Role,
    limits: LinkLimits,
    rng: Rng,
    stage: Stage,
    deadline: Option<(Instant, LinkStage)>,
    /// What is to be written; under TLS, what is still to be sealed.
    output: BytesMut,
    /// What lies between the stages and the stream.
    tls: Option<Box<Tls>>,
    /// What lies between messages and frames.
    sealing: Option<Box<Sealing>>,
    frame_limit: Option<usize>,
    /// What is wrong with a request for the right path is told to nobody who may be a stranger.
    quiet: bool,
    /// Bytes stand behind a request that was not answered.
    early: bool,
    heard: VecDeque<Heard>,
}

impl Link {
    /// The client's end of a fresh stream; its first words are in the output at once.
    pub fn client(now: Instant, mut upgrade: ClientUpgrade, limits: LinkLimits, seed: Seed) -> Self {
        let stage = Stage::Ended(Rest::Done);
        let mut link = Self::new(Role::Client, limits, &seed, stage);
        match upgrade.proxy.take() {
            None => link.reach(now, upgrade),
            Some(proxy) => {
                let dialogue = Dialogue::new(proxy, upgrade.target().clone(), &mut link.output);
                link.stage = Stage::Proxy(dialogue, Box::new(upgrade));
                link.deadline = Some((now + limits.deadlines.proxy, LinkStage::Proxy));
            }
        }
        link
    }

    /// The server's end of a fresh stream.
    pub fn server(now: Instant, expect: ServerExpect, limits: LinkLimits, seed: Seed) -> Self {
        let mut link = Self::new(Role::Server, limits, &seed, Stage::Head(Scan::new(), expect));
        link.deadline = Some((now + limits.deadlines.head, LinkStage::Head));
        link
    }

    /// The server's end of a fresh stream on which the client begins with TLS.
    pub fn secure_server(now: Instant, tls: &ServerTls, expect: ServerExpect, limits: LinkLimits, seed: Seed) -> Self {
        let mut link = Self::new(Role::Server, limits, &seed, Stage::Ended(Rest::Done));
        link.secure(now, tls.accept(), Next::Head(expect));
        link
    }

    fn new(role: Role, limits: LinkLimits, seed: &Seed, stage: Stage) -> Self {
        Self {
            role,
            limits,
            rng: Rng::new(seed),
            stage,
            deadline: None,
            output: BytesMut::new(),
            tls: None,
            sealing: None,
            frame_limit: None,
            quiet: false,
            early: false,
            heard: VecDeque::new(),
        }
    }

    /// Takes what it can of the bytes that arrived, and leaves the beginning of what is not complete.
    ///
    /// Bytes are unmasked where they lie, and messages are slices of the buffer, or of what TLS unsealed. At
    /// most 1,024 messages and control frames wait at a time, and the rest of one record: who finds the buffer not empty after polling all events
    /// calls again, until nothing more is taken. After the end of a link all bytes are discarded.
    pub fn handle_input(&mut self, now: Instant, input: &mut BytesMut) {
        while self.heard.len() < MAX_HEARD && self.tls.is_none() && self.step(now, input) {}
        if self.tls.is_some() {
            self.read_sealed(now, input);
        } else {
            self.watch_message(now, input);
        }
    }

    /// The stream ended: the other side will not send another byte.
    pub fn handle_end(&mut self, _now: Instant) {
        if self.heard.is_empty() {
            self.stream_ended();
        } else {
            self.heard.push_back(Heard::End);
        }
    }

    /// Takes the next event, and answers the pings and the close frame that came in front of it.
    ///
    /// What the caller sends on account of one event is in the output before the answer to what came
    /// behind it, however the input was cut.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        loop {
            let heard = self.heard.pop_front();
            if self.heard.is_empty() && self.heard.capacity() > IDLE_HEARD {
                self.heard = VecDeque::new();
            }
            match heard? {
                Heard::Close(at, close) => self.closed(at, close),
                Heard::End => self.stream_ended(),
                Heard::Event(event) => return Some(event),
                Heard::Fault(at, fault) => self.fail(at, fault),
                Heard::Message(at, message) => match self.unsealed(message) {
                    Ok(Some(message)) => return Some(LinkEvent::Message(message)),
                    Ok(None) => {}
                    Err(fault) => {
                        self.heard.clear();
                        self.fail(at, fault);
                    }
                },
                Heard::Ping(payload) => self.answer_ping(&payload),
            }
        }
    }

    /// Answers a [`LinkEvent::Request`] with the upgrade.
    pub fn accept(&mut self, now: Instant) -> Result<(), WrongStage> {
        let Stage::Asked(Asked::Upgrade(request)) = &self.stage else { return Err(WrongStage) };
        if self.early {
            self.refuse_with(now, RequestFault::Early, &RequestFault::Early.into());
            return Err(WrongStage);
        }
        upgrade::put_accept(request, &mut self.output);
        self.stage = Stage::Open(Open::new(self.role.other()));
        Ok(())
    }

    /// Answers a [`LinkEvent::Request`] or [`LinkEvent::Stranger`] with plain HTTP, and ends the link.
    pub fn refuse(&mut self, now: Instant, answer: &Answer) -> Result<(), WrongStage> {
        let Stage::Asked(_) = &self.stage else { return Err(WrongStage) };
        self.refuse_with(now, RequestFault::Denied, answer);
        Ok(())
    }

    /// Gives up the stream of a request that was not answered, for someone else to serve. It begins with the request's
    /// head; what stands behind that is in the caller's buffer, or under TLS in what is handed over.
    pub fn hand_over(self) -> Result<Handed, WrongStage> {
        match self.stage {
            Stage::Asked(Asked::Stranger(head)) => Ok(Handed::new(self.tls, head.raw())),
            Stage::Asked(Asked::Upgrade(request)) => Ok(Handed::new(self.tls, request.head.raw())),
            Stage::Proxy(..)
            | Stage::Secure(..)
            | Stage::Answer(..)
            | Stage::Head(..)
            | Stage::Open(_)
            | Stage::Ended(_) => Err(WrongStage),
        }
    }

    /// Begins the closing handshake; before the link is open, gives it up.
    ///
    /// A code that may not be sent is left out, and a reason is cut at 123 bytes. Messages of the
    /// remote still arrive until its close frame.
    pub fn close(&mut self, now: Instant, code: u16, reason: &str) {
        match &mut self.stage {
            Stage::Ended(_) => {}
            Stage::Open(open) if open.is_closing() => {}
            Stage::Open(_) => self.begin_close(now, code, reason),
            Stage::Proxy(..) | Stage::Secure(..) | Stage::Answer(..) | Stage::Head(..) | Stage::Asked(..) => {
                self.abort()
            }
        }
    }

    /// Ends the link without a word; output that was not taken is forgotten.
    pub fn abort(&mut self) {
        self.give_up(LinkEnd::Aborted);
    }

    /// Ends the link, unless it has ended, and leaves nothing to be done.
    fn give_up(&mut self, end: LinkEnd) {
        match &mut self.stage {
            Stage::Ended(rest) => *rest = Rest::Done,
            Stage::Proxy(..)
            | Stage::Secure(..)
            | Stage::Answer(..)
            | Stage::Head(..)
            | Stage::Asked(..)
            | Stage::Open(_) => {
                self.end(end, Rest::Done);
            }
        }
        self.forget_output();
    }

    /// What should be written to the stream. Under TLS, everything said so far is sealed now.
    pub fn output(&mut self) -> &[u8] {
        self.seal();
        match &self.tls {
            Some(tls) => tls.wire(),
            None => &self.output,
        }
    }

    /// The certificate that the remote showed in TLS, in DER, and was believed.
    pub fn certificate(&self) -> Option<Bytes> {
        self.tls.as_ref().and_then(|tls| tls.certificate())
    }

    /// How many bytes wait to be written; under TLS, those that are not sealed yet count as they are.
    pub fn unwritten(&self) -> usize {
        self.output.len() + self.tls.as_ref().map_or(0, |tls| tls.wire().len())
    }

    /// Forgets the first `written` bytes of the output.
    ///
    /// # Panics
    ///
    /// If the output has fewer.
    pub fn advance_output(&mut self, written: usize) {
        match &mut self.tls {
            Some(tls) => tls.advance(written),
            None => self.output.advance(written),
        }
        if self.output.is_empty() && self.output.capacity() > IDLE_OUTPUT {
            self.output = BytesMut::new();
        }
        self.flush_pong();
    }

    /// Gives back memory that is not in use; for a link that has been idle for a while.
    pub fn release(&mut self) {
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
        if let Some(tls) = &mut self.tls {
            tls.release();
        }
        self.heard.shrink_to_fit();
    }

    /// How many bytes the frame at the front of `input` still lacks, so that room can be made for all
    /// of it; never more than the limits allow, 0 if it is not known, as under TLS.
    pub fn missing(&self, input: &BytesMut) -> usize {
        match &self.stage {
            Stage::Open(open) if self.tls.is_none() => {
                open.missing(input).min(self.limits.message.saturating_add(MAX_FRAME_HEAD))
            }
            Stage::Proxy(..)
            | Stage::Secure(..)
            | Stage::Answer(..)
            | Stage::Head(..)
            | Stage::Asked(..)
            | Stage::Open(_)
            | Stage::Ended(_) => 0,
        }
    }

    /// Whether messages can be sent.
    pub fn is_open(&self) -> bool {
        matches!(&self.stage, Stage::Open(open) if !open.is_closing())
    }

    /// Whether the write side of the stream should be shut down: all is written, and nothing follows.
    pub fn wants_finish(&self) -> bool {
        matches!(self.stage, Stage::Ended(Rest::Finish | Rest::Finished | Rest::Done)) && self.unwritten() == 0
    }

    /// Whether the stream can be dropped.
    pub fn is_finished(&self) -> bool {
        matches!(self.stage, Stage::Ended(Rest::Finished | Rest::Done)) && self.unwritten() == 0
    }

    /// How many bytes of memory the link holds, room that is not in use included; what the caller's
    /// buffer holds comes on top.
    pub fn held(&self) -> usize {
        let gathered = match &self.stage {
            Stage::Open(open) => open.held(),
            Stage::Proxy(..)
            | Stage::Secure(..)
            | Stage::Answer(..)
            | Stage::Head(..)
            | Stage::Asked(..)
            | Stage::Ended(_) => 0,
        };
        let tls = self.tls.as_ref().map_or(0, |tls| tls.held());
        tls + self.output.capacity() + self.heard.capacity() * size_of::<Heard>() + gathered
    }

    /// When [`Link::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.is_finished()).map(|(at, _)| at)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some((_, stage)) = self.deadline.filter(|(at, _)| *at <= now) else { return };
        self.give_up(LinkEnd::Timeout(stage));
        self.deadline = None;
    }

    /// Does one thing with the input; false when there is nothing to do.
    fn step(&mut self, now: Instant, input: &mut BytesMut) -> bool {
        match &mut self.stage {
            Stage::Proxy(..) => self.step_proxy(now, input),
            Stage::Secure(..) => false,
            Stage::Answer(..) => self.step_answer(now, input),
            Stage::Head(..) => self.step_head(now, input),
            Stage::Asked(Asked::Stranger(_)) => false,
            Stage::Asked(Asked::Upgrade(_)) if input.is_empty() => false,
            // It is told so when it is known that it is no stranger.
            Stage::Asked(Asked::Upgrade(_)) if self.quiet => {
                self.early = true;
                false
            }
            Stage::Asked(Asked::Upgrade(_)) => {
                self.heard.clear();
                self.refuse_with(now, RequestFault::Early, &RequestFault::Early.into());
                true
            }
            Stage::Open(_) => self.step_open(now, input),
            Stage::Ended(_) => {
                input.clear();
                false
            }
        }
    }

    fn step_proxy(&mut self, now: Instant, input: &mut BytesMut) -> bool {
        let Stage::Proxy(dialogue, upgrade) = &mut self.stage else { return false };
        match dialogue.handle_input(&self.limits, input, &mut self.output) {
            Ok(false) => return false,
            Ok(true) => {
                let upgrade = (**upgrade).clone();
                self.reach(now, upgrade);
            }
            Err(end) => self.end(end.into(), Rest::Done),
        }
        true
    }

    fn step_answer(&mut self, now: Instant, input: &mut BytesMut) -> bool {
        let Stage::Answer(question) = &mut self.stage else { return false };
        match question.read(&self.limits, input) {
            Ok(None) => return false,
            Ok(Some(subprotocol)) => {
                self.deadline = None;
                self.stage = Stage::Open(Open::new(self.role.other()));
                self.tell(LinkEvent::Open { subprotocol });
            }
            Err(end) => self.end_politely(now, end),
        }
        true
    }

    fn step_head(&mut self, now: Instant, input: &mut BytesMut) -> bool {
        let Stage::Head(scan, expect) = &mut self.stage else { return false };
        self.quiet = expect.quiet;
        let verdict = match scan.take(input, self.limits.head, self.limits.headers) {
            Ok(None) => return false,
            Ok(Some(head)) => upgrade::judge(head, expect),
            Err(fault) => Err(fault.into()),
        };
        self.deadline = None;
        match verdict {
            Ok(Verdict::Stranger(head)) => {
                self.stage = Stage::Asked(Asked::Stranger(Box::new(head.clone())));
                self.tell(LinkEvent::Stranger(Box::new(head)));
            }
            Ok(Verdict::Upgrade(request)) => {
                self.stage = Stage::Asked(Asked::Upgrade(Box::new(request.clone())));
                self.tell(LinkEvent::Request(Box::new(request)));
            }
            Err(fault) => self.refuse_with(now, fault, &fault.into()),
        }
        true
    }

    /// A client's stream leads to the server.
    fn reach(&mut self, now: Instant, mut upgrade: ClientUpgrade) {
        match upgrade.tls.take() {
            None => self.ask(now, &upgrade),
            Some(tls) => {
                let begun = tls.connect(upgrade.target());
                self.secure(now, begun, Next::Ask(Box::new(upgrade)));
            }
        }
    }

    fn ask(&mut self, now: Instant, upgrade: &ClientUpgrade) {
        self.stage = Stage::Answer(Question::put(upgrade, &mut self.rng, &mut self.output));
        self.deadline = Some((now + self.limits.deadlines.answer, LinkStage::Answer));
    }

    fn refuse_with(&mut self, now: Instant, fault: RequestFault, answer: &Answer) {
        answer.put(&mut self.output);
        self.end_politely(now, LinkEnd::Request { status: answer.status(), fault });
    }

    /// Ends the link, with time to write what is left and to read the end of the other side's stream,
    /// so that the system does not reset the connection under our last words.
    fn end_politely(&mut self, now: Instant, end: LinkEnd) {
        self.end(end, Rest::Finish);
        self.deadline = Some((now + self.limits.deadlines.close, LinkStage::Close));
    }

    fn stream_ended(&mut self) {
        match &mut self.stage {
            Stage::Ended(rest) => *rest = rest.after_end(),
            Stage::Secure(_) => self.end(TlsEnd::HungUp.into(), Rest::Done),
            Stage::Proxy(..) | Stage::Answer(..) | Stage::Head(..) | Stage::Asked(..) | Stage::Open(_) => {
                self.end(LinkEnd::Truncated, Rest::Done);
            }
        }
    }

    fn tell(&mut self, event: LinkEvent) {
        self.heard.push_back(Heard::Event(event));
    }

    fn end(&mut self, end: LinkEnd, rest: Rest) {
        match rest {
            Rest::Done => self.forget_output(),
            Rest::Wait | Rest::Finish | Rest::Finished => self.seal_last(),
        }
        self.stage = Stage::Ended(rest);
        self.deadline = None;
        self.tell(LinkEvent::Ended(end));
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("role", &self.role)
            .field("stage", &self.stage)
            .field("deadline", &self.deadline)
            .field("output", &self.output.len())
            .field("heard", &self.heard.len())
            .finish_non_exhaustive()
    }
}

/// Things that may wait.
const MAX_HEARD: usize = 1_024;
/// Things whose room is kept.
const IDLE_HEARD: usize = 64;
/// Bytes of output whose room is kept.
const IDLE_OUTPUT: usize = 64 << 10;
const MAX_FRAME_HEAD: usize = 14;

#[cfg(test)]
mod tests;

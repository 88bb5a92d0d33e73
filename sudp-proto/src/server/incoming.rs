//! A stream that nobody knows yet: from its first byte to a claim, and to the answer.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::carrier;
use crate::config::Limits;
use crate::driver::{Endpoint, Key, Order, sealed};
use crate::link::{
    Answer, Handed, Link, LinkEnd, LinkEvent, LinkLimits, RequestHead, Responder, ServerExpect, ServerSeal, ServerTls,
    WrongStage,
};
use crate::rng::Seed;
use crate::session::{Deadline, Session};
use crate::wire::{Code, Frame, Hello, Refuse, SealedHello, hello, next_frame};

/// What an accepted stream is met with.
#[derive(Clone, Debug)]
pub struct IncomingSetup {
    /// Which requests are ours.
    pub expect: ServerExpect,
    /// How TLS is spoken on the stream, if it is.
    pub tls: Option<ServerTls>,
    /// How its link is sealed, if its client wants that.
    pub seal: Option<ServerSeal>,
    /// Every cap.
    pub limits: Limits,
    /// Names the server in refusals.
    pub server: u64,
    /// Where its randomness comes from.
    pub seed: Seed,
}

/// An accepted stream before it belongs to a session.
#[derive(Debug)]
pub struct Incoming {
    link: Link,
    stage: Stage,
    seal: Option<ServerSeal>,
    opened: Opened,
    /// For what sealing draws.
    seed: Seed,
    server: u64,
    /// Until when a claim must be made, and then decided on.
    deadline: Instant,
    patience: Duration,
    closed: bool,
    end: Option<LinkEnd>,
    /// What is wrong with a hello is told to nobody who may be a stranger.
    quiet: bool,
}

#[derive(Debug)]
enum Stage {
    /// No request yet.
    Reading,
    /// The upgrade was answered, since the hello may come behind it.
    Waiting(Box<RequestHead>),
    /// A claim to be polled.
    Claiming(Box<Claim>),
    /// A claim that someone decides on.
    Deciding { in_band: bool, hello: Box<Hello>, raw: Bytes },
    /// A request that is not ours, to be polled.
    Strange(Box<RequestHead>),
    /// A stranger that someone answers.
    Stranger,
    /// Refused, or broken: only its last words remain.
    Over,
}

/// How far a hello was opened.
#[derive(Debug)]
pub(super) enum Opened {
    /// It came in the clear.
    Plain,
    /// It makes a session, and was sealed for this server.
    Founding(Box<Responder>),
    /// It joins a session, whose secret alone opens it.
    Joining,
}

/// What a connecting client asks for, to be decided on with [`Incoming::grant`] or [`Incoming::refuse`].
#[derive(Clone)]
pub struct Claim {
    /// What it says of itself and of the session it wants; of a sealed one that joins a session nothing is known
    /// but which.
    pub hello: Hello,
    /// The bytes of the hello, over which its proof is.
    pub raw: Bytes,
    /// The client's own key, if the hello is sealed and makes a session.
    ///
    /// Who repeats a hello shows this key without having it, and gets a session that it can neither use nor keep.
    pub key: Option<[u8; 32]>,
    /// The head of its request, with its credentials.
    pub head: RequestHead,
    /// The certificate that it showed in TLS, in DER, and proved to have the key of; only if it was asked for one.
    pub certificate: Option<Bytes>,
    in_band: bool,
    pub(super) sealed: bool,
}

impl Claim {
    /// Whether its link is going to be sealed.
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }
}

impl fmt::Debug for Claim {
    /// Leaves out what opens doors: the bytes of the hello, and the head of the request.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("hello", &self.hello).finish_non_exhaustive()
    }
}

/// A stream whose claim was granted: a link for [`Server::adopt`](super::Server::adopt).
#[derive(Debug)]
pub struct Arrival {
    pub(super) link: Link,
    pub(super) hello: Hello,
    pub(super) raw: Bytes,
    /// The hello came as a message, so that the upgrade was answered already.
    pub(super) in_band: bool,
    pub(super) opened: Opened,
    pub(super) seed: Seed,
}

impl Arrival {
    /// What the client said of itself; of a sealed hello that joins a session only which.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }
}

impl Incoming {
    /// The only stream of an incoming connection.
    pub const KEY: Key = Key(0);

    /// A stream that was just accepted.
    pub fn new(now: Instant, setup: IncomingSetup) -> Self {
        let IncomingSetup { expect, tls, seal, limits, server, seed } = setup;
        let seal_seed = seed.branch("seal");
        let link_limits = LinkLimits::from(&limits);
        let patience = limits.auth_deadline;
        let quiet = expect.quiet;
        let handshake = if tls.is_some() { limits.tls_deadline } else { Duration::ZERO };
        let link = match &tls {
            Some(tls) => Link::secure_server(now, tls, expect, link_limits, seed),
            None => Link::server(now, expect, link_limits, seed),
        };
        Self {
            link,
            stage: Stage::Reading,
            seal,
            opened: Opened::Plain,
            seed: seal_seed,
            server,
            deadline: now + handshake + limits.head_deadline + patience,
            patience,
            closed: false,
            end: None,
            quiet,
        }
    }

    /// The claim, once there is one.
    pub fn poll_claim(&mut self) -> Option<Claim> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Claiming(claim) => {
                let (in_band, raw) = (claim.in_band, claim.raw.clone());
                self.stage = Stage::Deciding { in_band, hello: Box::new(claim.hello.clone()), raw };
                Some(*claim)
            }
            other @ (Stage::Reading
            | Stage::Waiting(_)
            | Stage::Deciding { .. }
            | Stage::Strange(_)
            | Stage::Stranger
            | Stage::Over) => {
                self.stage = other;
                None
            }
        }
    }

    /// The head of a request that is not ours, to be answered with [`answer`](Self::answer) or
    /// [`hand_over`](Self::hand_over).
    pub fn poll_stranger(&mut self) -> Option<RequestHead> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Strange(head) => {
                self.stage = Stage::Stranger;
                Some(*head)
            }
            other @ (Stage::Reading
            | Stage::Waiting(_)
            | Stage::Claiming(_)
            | Stage::Deciding { .. }
            | Stage::Stranger
            | Stage::Over) => {
                self.stage = other;
                None
            }
        }
    }

    /// Grants the claim. The stream goes with it, and so does the unread rest of its input.
    pub fn grant(self) -> Option<Arrival> {
        match self.stage {
            Stage::Deciding { in_band, hello, raw } => {
                let Self { link, opened, seed, .. } = self;
                Some(Arrival { link, hello: *hello, raw, in_band, opened, seed })
            }
            Stage::Reading
            | Stage::Waiting(_)
            | Stage::Claiming(_)
            | Stage::Strange(_)
            | Stage::Stranger
            | Stage::Over => None,
        }
    }

    /// Whether the claim still stands: its client has not hung up, and its time is not over.
    pub fn is_deciding(&self) -> bool {
        matches!(self.stage, Stage::Deciding { .. })
    }

    /// Refuses the claim, with words that a SUDP client understands.
    pub fn refuse(&mut self, now: Instant, code: Code) {
        if let Stage::Deciding { in_band, .. } = self.stage {
            refuse(now, &mut self.link, in_band, code, self.server);
        }
        self.stage = Stage::Over;
    }

    /// Answers a claim or a stranger as an ordinary web server would. A claim that came behind the upgrade has had
    /// its answer: it is told that it is denied.
    pub fn answer(&mut self, now: Instant, answer: &Answer) -> Result<(), WrongStage> {
        if let Stage::Deciding { in_band: true, .. } = self.stage {
            self.refuse(now, Code::Denied);
            return Ok(());
        }
        self.stage = Stage::Over;
        self.link.refuse(now, answer)
    }

    /// Gives the stream to someone else: it begins with the request's head, and what follows that is in the input.
    pub fn hand_over(self) -> Result<Handed, WrongStage> {
        self.link.hand_over()
    }

    /// Whether it waits for someone to decide on it, claim or stranger.
    pub fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Stranger | Stage::Deciding { .. })
    }

    /// Whether [`hand_over`](Self::hand_over) would give it: not behind the upgrade.
    pub fn can_hand_over(&self) -> bool {
        matches!(self.stage, Stage::Stranger | Stage::Deciding { in_band: false, .. })
    }

    /// Closes the stream without a word.
    pub fn give_up(&mut self) {
        self.stage = Stage::Over;
        self.link.abort();
    }

    /// Why the stream ended, once it has; for logs and status.
    pub fn end(&self) -> Option<&LinkEnd> {
        self.end.as_ref()
    }

    /// Whether the stream is closed and nothing is left to do.
    pub fn is_finished(&self) -> bool {
        self.closed
    }

    fn drain(&mut self, now: Instant) {
        while let Some(event) = self.link.poll_event() {
            match event {
                LinkEvent::Request(request) => {
                    self.deadline = now + self.patience;
                    match request.hello {
                        Some(hello) => self.claim_header(now, &hello, request.head),
                        None => self.ask_for_hello(now, request.head),
                    }
                }
                LinkEvent::Stranger(head) => self.stage = Stage::Strange(head),
                LinkEvent::Message(message) => self.claim_message(now, message),
                LinkEvent::Ended(end) => {
                    self.stage = Stage::Over;
                    self.end = Some(end);
                }
                LinkEvent::Open { .. } | LinkEvent::Text(_) => {}
            }
        }
    }

    fn claim_header(&mut self, now: Instant, hello: &str, head: RequestHead) {
        match hello::header(hello) {
            Ok(raw) => self.claim(now, raw, head, false),
            Err(violation) => self.turn_away(now, Some(head), violation.code),
        }
    }

    fn claim(&mut self, now: Instant, raw: Bytes, head: RequestHead, in_band: bool) {
        match self.open(&raw) {
            Ok((hello, opened)) => {
                let key = if let Opened::Founding(responder) = &opened { responder.client() } else { None };
                let (certificate, sealed) = (self.link.certificate(), !matches!(opened, Opened::Plain));
                self.opened = opened;
                let claim = Claim { hello, raw, key, head, certificate, in_band, sealed };
                self.stage = Stage::Claiming(Box::new(claim));
            }
            Err(code) => self.turn_away(now, Some(head).filter(|_| !in_band), code),
        }
    }

    /// Reads a hello, sealed or not.
    fn open(&self, raw: &Bytes) -> Result<(Hello, Opened), Code> {
        match SealedHello::read(raw) {
            Some(SealedHello::Founding(_)) => {
                let seal = self.seal.as_ref().ok_or(Code::Sealing)?;
                let (responder, inside) = seal.open(raw, self.seed.clone()).map_err(|_| Code::Sealing)?;
                let hello = Hello::parse_inside(&inside, None).map_err(|violation| violation.code)?;
                Ok((hello, Opened::Founding(Box::new(responder))))
            }
            Some(SealedHello::Joining(session, _)) => Ok((Hello::joining(session), Opened::Joining)),
            None => {
                let hello = Hello::parse(raw).map_err(|violation| violation.code)?;
                match &self.seal {
                    Some(seal) if seal.is_required() => Err(Code::Unsealed),
                    Some(_) | None => Ok((hello, Opened::Plain)),
                }
            }
        }
    }

    /// Refuses a hello that cannot be read. A server that hides takes one that came in a header, and makes no sense, for
    /// a stranger's.
    fn turn_away(&mut self, now: Instant, head: Option<RequestHead>, code: Code) {
        let in_band = head.is_none();
        if let Some(head) = head.filter(|_| self.quiet && code == Code::Malformed) {
            self.stage = Stage::Strange(Box::new(head));
            return;
        }
        refuse(now, &mut self.link, in_band, code, self.server);
        self.stage = Stage::Over;
    }

    /// A proxy has taken the hello away, or a browser cannot set it: it is asked for in a message.
    fn ask_for_hello(&mut self, now: Instant, head: RequestHead) {
        let mut frame = Vec::new();
        Frame::Hello(Bytes::new()).emit(&mut frame);
        if self.link.accept(now).is_ok() && self.link.send(&[&frame]).is_ok() {
            self.stage = Stage::Waiting(Box::new(head));
        }
    }

    fn claim_message(&mut self, now: Instant, mut message: Bytes) {
        let asked = match &self.stage {
            Stage::Claiming(claim) => Some(&claim.raw),
            Stage::Deciding { raw, .. } => Some(raw),
            Stage::Reading | Stage::Waiting(_) | Stage::Strange(_) | Stage::Stranger | Stage::Over => None,
        };
        if asked.is_some_and(|raw| carrier::is_copy(&message, raw)) {
            return;
        }
        let Stage::Waiting(head) = &self.stage else {
            // Nothing may be said before the welcome.
            self.link.close(now, UNEXPECTED, "");
            self.stage = Stage::Over;
            return;
        };
        let head = (**head).clone();
        match next_frame(&mut message) {
            Ok(Some(Frame::Hello(raw))) => self.claim(now, raw, head, true),
            Ok(_) => self.turn_away(now, None, Code::Malformed),
            Err(violation) => self.turn_away(now, None, violation.code),
        }
    }
}

impl sealed::Sealed for Incoming {}

impl Endpoint for Incoming {
    fn session(&mut self) -> Option<&mut Session> {
        None
    }

    fn poll_order(&mut self, _now: Instant) -> Option<Order> {
        if self.closed || !self.link.is_finished() {
            return None;
        }
        self.closed = true;
        Some(Order::Close(Self::KEY))
    }

    fn handle_resolved(&mut self, _now: Instant, _key: Key, _answers: &[SocketAddr]) {}

    fn handle_connected(&mut self, _now: Instant, _key: Key) {}

    fn handle_failed(&mut self, _now: Instant, _key: Key, _why: io::ErrorKind) {
        self.stage = Stage::Over;
        self.link.abort();
        self.closed = true;
    }

    fn handle_input(&mut self, now: Instant, _key: Key, input: &mut BytesMut) {
        loop {
            let before = input.len();
            self.link.handle_input(now, input);
            self.drain(now);
            if input.is_empty() || input.len() == before {
                break;
            }
        }
        // Nobody reads on before the request is answered, and the rest of it waits here.
        if input.len() > BEHIND {
            self.give_up();
        }
    }

    fn handle_end(&mut self, now: Instant, _key: Key) {
        self.link.handle_end(now);
        self.drain(now);
    }

    fn output(&mut self, _now: Instant, _key: Key) -> &[u8] {
        self.link.output()
    }

    fn advance(&mut self, _key: Key, written: usize) {
        self.link.advance_output(written);
    }

    fn wants_finish(&self, _key: Key) -> bool {
        self.link.wants_finish()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let over = matches!(self.stage, Stage::Over) || self.closed;
        let own = (!over).then(|| Deadline::new(self.deadline, "decide on a claim"));
        let link = self.link.poll_timeout().map(|at| Deadline::new(at, "a link's deadline"));
        [own, link].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.link.poll_timeout().is_some_and(|at| at <= now) {
            self.link.handle_timeout(now);
            self.drain(now);
        }
        if now < self.deadline || matches!(self.stage, Stage::Over) {
            return;
        }
        match self.stage {
            Stage::Deciding { .. } => self.refuse(now, Code::Full),
            Stage::Reading
            | Stage::Waiting(_)
            | Stage::Claiming(_)
            | Stage::Strange(_)
            | Stage::Stranger
            | Stage::Over => {
                self.link.abort();
                self.stage = Stage::Over;
            }
        }
    }
}

/// Refuses a hello where it came from: as an HTTP answer, or as a frame.
pub(super) fn refuse(now: Instant, link: &mut Link, in_band: bool, code: Code, server: u64) {
    let retry_after = matches!(code, Code::Full | Code::GoingAway).then_some(RETRY);
    if in_band {
        let mut frame = Vec::new();
        Frame::Refuse(Refuse { code, retry_after, server }).emit(&mut frame);
        // A link that is gone already has nothing left to be told.
        let _ = link.send(&[&frame]);
        link.close(now, carrier::close_code(code), "");
        return;
    }
    let Ok(mut answer) = Answer::new(status(code)) else { return };
    answer = answer.with_code(code.to_u64()).with_server(server);
    if let Some(retry_after) = retry_after {
        answer = answer.with_retry_after(retry_after);
    }
    let _ = link.refuse(now, &answer);
}

/// The HTTP status that says most nearly what a code says.
fn status(code: Code) -> u16 {
    match code {
        Code::Version => 426,
        Code::Denied | Code::BadProof | Code::Expired | Code::Sealing | Code::Unsealed => 403,
        Code::UnknownSession => 404,
        Code::OrdinalBurnt | Code::Evicted | Code::Stale => 409,
        Code::Full | Code::GoingAway => 503,
        Code::Count
        | Code::Done
        | Code::Idle
        | Code::Limit
        | Code::Malformed
        | Code::Other(_)
        | Code::Poison
        | Code::Silent
        | Code::Unknown
        | Code::Unreachable => 400,
    }
}

/// A frame where the welcome is waited for.
const UNEXPECTED: u16 = 1_002;
/// Bytes behind a request that was not answered.
const BEHIND: usize = 64 << 10;
const RETRY: Duration = Duration::from_secs(1);

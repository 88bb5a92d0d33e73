//! How a link uses TLS: below everything but the words with a proxy.

use std::time::Instant;

use bytes::BytesMut;

use super::end::{LinkEnd, LinkStage};
use super::http::Scan;
use super::stage::{Next, Rest, Role, Stage};
use super::tls::Tls;
use super::tls_end::TlsEnd;
use super::{Answer, Link, MAX_FRAME_HEAD, MAX_HEARD};

impl Link {
    /// Begins the handshake.
    pub(super) fn secure(&mut self, now: Instant, begun: Result<Tls, TlsEnd>, next: Next) {
        match begun {
            Ok(tls) => {
                self.tls = Some(Box::new(tls));
                self.stage = Stage::Secure(next);
                self.deadline = Some((now + self.limits.deadlines.tls, LinkStage::Tls));
                // A client has the first word.
                self.read_sealed(now, &mut BytesMut::new());
            }
            Err(end) => self.end(end.into(), Rest::Done),
        }
    }

    /// Takes what it can of sealed bytes, a record at a time, and all that a record holds at once.
    pub(super) fn read_sealed(&mut self, now: Instant, input: &mut BytesMut) {
        while self.heard.len() < MAX_HEARD {
            let Some(tls) = &mut self.tls else { return };
            if tls.plain_mut().len() > self.limits.head.max(self.limits.message) + MAX_FRAME_HEAD {
                return;
            }
            match tls.receive(input) {
                Ok(received) => match received {
                    Received::Nothing => return,
                    Received::Plain => self.read_plain(now),
                    Received::Ready => {
                        self.secured(now);
                        self.read_plain(now);
                    }
                    Received::Closed => self.handle_end(now),
                },
                Err(end) => return self.fail_tls(now, end, input),
            }
        }
    }

    /// Encrypts what there is to say.
    pub(super) fn seal(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        if let Err(end) = tls.seal(&mut self.output) {
            self.end(end.into(), Rest::Done);
        }
    }

    /// Encrypts the last words, and that they are the last.
    pub(super) fn seal_last(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.finish(&mut self.output);
        }
    }

    pub(super) fn forget_output(&mut self) {
        self.output = BytesMut::new();
        if let Some(tls) = &mut self.tls {
            tls.forget();
        }
    }

    fn read_plain(&mut self, now: Instant) {
        let Some(tls) = &mut self.tls else { return };
        let mut plain = std::mem::take(tls.plain_mut());
        while self.step(now, &mut plain) {}
        self.watch_message(now, &plain);
        if let Some(tls) = &mut self.tls {
            *tls.plain_mut() = plain;
        }
    }

    /// The handshake is over, and what was put off because of it begins.
    fn secured(&mut self, now: Instant) {
        let Stage::Secure(next) = std::mem::replace(&mut self.stage, Stage::Ended(Rest::Done)) else {
            unreachable!("a handshake ends once, in its stage");
        };
        match next {
            Next::Ask(upgrade) => self.ask(now, &upgrade),
            Next::Head(expect) => {
                self.stage = Stage::Head(Scan::new(), expect);
                self.deadline = Some((now + self.limits.deadlines.head, LinkStage::Head));
            }
        }
    }

    fn fail_tls(&mut self, now: Instant, end: TlsEnd, input: &mut BytesMut) {
        if matches!(self.stage, Stage::Ended(_)) {
            return input.clear();
        }
        let lost = self.role == Role::Server && end == TlsEnd::NotTls && speaks_http(input);
        if let Some(tls) = self.tls.as_mut().filter(|_| lost) {
            let mut words = BytesMut::new();
            Answer::lost().put(&mut words);
            tls.say_in_clear(&words);
        }
        input.clear();
        self.end_politely(now, LinkEnd::Tls(end));
    }
}

/// What `Tls::receive` found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "nothing is received by what cannot be"))]
pub(super) enum Received {
    /// More bytes are needed.
    Nothing,
    /// There is more plaintext.
    Plain,
    /// The handshake is over.
    Ready,
    /// The remote sends no more.
    Closed,
}

/// Whether a request in clear begins here, as far as can be seen from five bytes.
fn speaks_http(input: &[u8]) -> bool {
    let method = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b' ' | b'/' | b'*');
    input.len() >= 5 && input[..5].iter().all(method)
}

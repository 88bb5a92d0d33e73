//! A stream that is handed over: its bytes both ways, and TLS below them if it was spoken.

use std::fmt;

use bytes::{Buf, BytesMut};

use super::secure::Received;
use super::tls::Tls;
use super::tls_end::TlsEnd;

/// The stream of a request that someone else is to answer, whatever lies below it.
///
/// What arrives goes in with [`receive`](Self::receive) and lies in [`heard`](Self::heard), the request's head in
/// front. What is to be said goes in with [`say`](Self::say), and what is to be written lies in
/// [`output`](Self::output). Each holds as much as the caller puts in.
pub struct Handed {
    tls: Option<Box<Tls>>,
    heard: BytesMut,
    output: BytesMut,
    ended: bool,
}

impl Handed {
    pub(super) fn new(mut tls: Option<Box<Tls>>, head: &[u8]) -> Self {
        let mut heard = BytesMut::from(head);
        if let Some(tls) = &mut tls {
            heard.unsplit(std::mem::take(tls.plain_mut()));
        }
        Self { tls, heard, output: BytesMut::new(), ended: false }
    }

    /// Takes bytes that arrived; what is not complete is left.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<(), TlsEnd> {
        let Some(tls) = &mut self.tls else {
            self.heard.unsplit(input.split());
            return Ok(());
        };
        loop {
            let received = tls.receive(input)?;
            self.heard.unsplit(std::mem::take(tls.plain_mut()));
            match received {
                Received::Nothing => return Ok(()),
                Received::Plain | Received::Ready => {}
                Received::Closed => {
                    self.ended = true;
                    return Ok(());
                }
            }
        }
    }

    /// What the other side has said, to be taken from the front.
    pub fn heard(&mut self) -> &mut BytesMut {
        &mut self.heard
    }

    /// Whether the other side has said, by TLS, that nothing follows.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Says something to the other side.
    pub fn say(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Says that nothing follows.
    pub fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.finish(&mut self.output);
        }
    }

    /// What should be written to the stream.
    pub fn output(&mut self) -> Result<&[u8], TlsEnd> {
        match &mut self.tls {
            Some(tls) => {
                tls.seal(&mut self.output)?;
                Ok(tls.wire())
            }
            None => Ok(&self.output),
        }
    }

    /// Forgets the first `written` bytes of the output.
    ///
    /// # Panics
    ///
    /// If the output has fewer.
    pub fn advance(&mut self, written: usize) {
        match &mut self.tls {
            Some(tls) => tls.advance(written),
            None => self.output.advance(written),
        }
    }
}

impl fmt::Debug for Handed {
    /// Says only how much there is: the words are others'.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handed({} bytes heard)", self.heard.len())
    }
}

//! Sealing: what two ends of a link say to each other is encrypted and authenticated inside of WebSocket,
//! so that whoever ends TLS on the way reads nothing and changes nothing. This module alone names `snow`.
//!
//! The hello that makes a session and its welcome are the two messages of a handshake `IK` of Noise, whose
//! responder's key the client has pinned. Those of every later link are one of `NNpsk0`, whose key is the
//! session's secret. Then each direction counts what it seals, and a message that was changed, left out,
//! repeated or moved does not open. All of it is plain calculation: randomness comes in as a [`Seed`].
//!
//! AES-GCM is the cipher: where a processor has instructions for it, as every server and nearly every client
//! has, `aws-lc-rs` seals and opens 1,300 bytes with it in 0.4 of the time of ChaCha20-Poly1305, and 16 KiB in
//! 0.26 to 0.3.

mod resolver;

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::aead::{Aad, LessSafeKey};
use bytes::{Bytes, BytesMut};
use snow::{Builder, HandshakeState};
use zeroize::Zeroizing;

use super::seal_end::{KeyError, SealFault};
use crate::rng::{Rng, Seed};
use crate::wire::{SEALED_FOUNDING, SEALED_JOINING, SealedHello, SessionId, base64};
use resolver::{Resolver, key, nonce, public};

/// The public half of a [`Keypair`]: what the other side pins.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Display for PublicKey {
    /// 43 characters of base64url.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64::encode(&self.0))
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        key_bytes(text).map(|bytes| Self(*bytes))
    }
}

/// A static key of X25519, by which one side knows the other.
#[derive(Clone)]
pub struct Keypair {
    private: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl Keypair {
    /// A fresh key.
    pub fn draw(rng: &mut Rng) -> Self {
        Self::from_private(rng.array())
    }

    /// The key whose private half this is.
    pub fn from_private(private: [u8; 32]) -> Self {
        Self { private: Zeroizing::new(private), public: PublicKey(public(&private)) }
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Its private half as text, for a file that nobody else can read.
    pub fn private_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base64::encode(&*self.private))
    }
}

impl FromStr for Keypair {
    type Err = KeyError;

    /// Reads the text of a private key.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        key_bytes(text).map(|bytes| Self::from_private(*bytes))
    }
}

impl fmt::Debug for Keypair {
    /// Leaves out the private half.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keypair").field("public", &self.public).finish_non_exhaustive()
    }
}

/// How a client seals all of its links.
#[derive(Clone, Debug)]
pub struct ClientSeal {
    /// The key of its servers, learned from whoever runs them.
    pub server: PublicKey,
    /// Its own, by which servers may know it.
    pub key: Keypair,
}

/// How a server seals links.
#[derive(Clone, Debug)]
pub struct ServerSeal {
    /// Its key.
    pub key: Keypair,
    /// Whether links that are not sealed are refused.
    pub required: bool,
}

impl ClientSeal {
    /// Begins the first link of a session; the bytes are the hello to be sent.
    pub(crate) fn found(&self, hello: &[u8], seed: Seed) -> (Initiator, Bytes) {
        let builder = builder(FOUND, seed)
            .prologue(PROLOGUE)
            .and_then(|builder| builder.local_private_key(&*self.key.private))
            .and_then(|builder| builder.remote_public_key(&self.server.0));
        let state = builder.and_then(Builder::build_initiator);
        Initiator::write(state.expect("all that the pattern needs"), &[SEALED_FOUNDING], hello)
    }

    /// Begins a later link of a session.
    pub(crate) fn join(&self, session: SessionId, secret: &[u8; 32], hello: &[u8], seed: Seed) -> (Initiator, Bytes) {
        let state = joining(session, secret, seed, |builder| builder.build_initiator());
        Initiator::write(state, &[&[SEALED_JOINING], &session.0[..]].concat(), hello)
    }
}

impl ServerSeal {
    /// Whether links that are not sealed are refused.
    pub(crate) fn is_required(&self) -> bool {
        self.required
    }

    /// Opens the hello of a first link.
    pub(crate) fn open(&self, raw: &[u8], seed: Seed) -> Result<(Responder, Bytes), SealFault> {
        let SealedHello::Founding(message) = SealedHello::read(raw).ok_or(SealFault::Plain)? else {
            return Err(SealFault::Changed);
        };
        let builder =
            builder(FOUND, seed).prologue(PROLOGUE).and_then(|builder| builder.local_private_key(&*self.key.private));
        let state = builder.and_then(Builder::build_responder);
        Responder::read(state.expect("all that the pattern needs"), SEALED_FOUNDING, message)
    }
}

/// A client between its hello and the welcome.
pub(crate) struct Initiator(HandshakeState);

impl Initiator {
    fn write(mut state: HandshakeState, head: &[u8], hello: &[u8]) -> (Self, Bytes) {
        let mut raw = vec![0; head.len() + OVERHEAD + hello.len()];
        raw[..head.len()].copy_from_slice(head);
        let written = state.write_message(hello, &mut raw[head.len()..]);
        raw.truncate(head.len() + written.expect("a hello is shorter than a message of Noise"));
        (Self(state), raw.into())
    }

    /// Takes the sealed welcome; gives what it says, and what seals the link from here on.
    pub(crate) fn finish(mut self, raw: &[u8]) -> Result<(Bytes, Sealer), SealFault> {
        let Some((SEALED_FOUNDING | SEALED_JOINING, message)) = raw.split_first().map(|(kind, rest)| (*kind, rest))
        else {
            return Err(SealFault::Plain);
        };
        let mut welcome = vec![0; message.len()];
        let length = self.0.read_message(message, &mut welcome).map_err(|_| SealFault::Changed)?;
        welcome.truncate(length);
        let (up, down) = self.0.dangerously_get_raw_split();
        Ok((welcome.into(), Sealer::new(&up, &down)))
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Initiator(..)")
    }
}

/// A server between a hello and its welcome.
pub(crate) struct Responder(HandshakeState, u8);

impl Responder {
    /// Opens the hello of a later link, with the secret of its session.
    pub(crate) fn join(secret: &[u8; 32], raw: &[u8], seed: Seed) -> Result<(Self, Bytes), SealFault> {
        let SealedHello::Joining(session, message) = SealedHello::read(raw).ok_or(SealFault::Plain)? else {
            return Err(SealFault::Changed);
        };
        let state = joining(session, secret, seed, |builder| builder.build_responder());
        Self::read(state, SEALED_JOINING, message)
    }

    fn read(mut state: HandshakeState, kind: u8, message: &[u8]) -> Result<(Self, Bytes), SealFault> {
        let mut hello = vec![0; message.len()];
        let length = state.read_message(message, &mut hello).map_err(|_| SealFault::Changed)?;
        hello.truncate(length);
        Ok((Self(state, kind), hello.into()))
    }

    /// The client's own key, if the handshake shows one.
    pub(crate) fn client(&self) -> Option<[u8; 32]> {
        self.0.get_remote_static().and_then(|key| key.try_into().ok())
    }

    /// Seals the welcome, and gives what seals the link from here on.
    pub(crate) fn seal(mut self, welcome: &[u8]) -> (Bytes, Option<Sealer>) {
        let mut raw = vec![self.1; 1 + OVERHEAD + welcome.len()];
        let written = self.0.write_message(welcome, &mut raw[1..]);
        raw.truncate(1 + written.expect("a welcome is shorter than a message of Noise"));
        let (up, down) = self.0.dangerously_get_raw_split();
        (raw.into(), Some(Sealer::new(&down, &up)))
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder(..)")
    }
}

fn joining(
    session: SessionId,
    secret: &[u8; 32],
    seed: Seed,
    build: fn(Builder<'_>) -> Result<HandshakeState, snow::Error>,
) -> HandshakeState {
    // The id of the session travels in the clear, and what it names is agreed on here.
    let prologue = [PROLOGUE, &session.0[..]].concat();
    let builder = builder(JOIN, seed).prologue(&prologue).and_then(|builder| builder.psk(0, secret));
    builder.and_then(build).expect("all that the pattern needs")
}

fn builder(name: &str, seed: Seed) -> Builder<'_> {
    Builder::with_resolver(name.parse().expect("a name of Noise"), Box::new(Resolver { seed }))
}

/// Seals and opens the messages of a link, each direction with a key and a count of its own.
pub(crate) struct Sealer {
    ours: Half,
    theirs: Half,
}

struct Half {
    key: LessSafeKey,
    /// The number of the next piece.
    next: u64,
}

impl Half {
    fn new(bytes: &[u8; 32]) -> Self {
        Self { key: key(bytes), next: 0 }
    }

    /// The number of the piece that is sealed or opened now.
    fn step(&mut self) -> Result<u64, SealFault> {
        let number = self.next;
        if number >= PIECES {
            return Err(SealFault::Spent);
        }
        if number > 0 && number.is_multiple_of(REKEY) {
            self.rekey();
        }
        self.next += 1;
        Ok(number)
    }

    /// The next key, from which the last cannot be found.
    fn rekey(&mut self) {
        let mut next = Zeroizing::new([0; 32]);
        let sealed = self.key.seal_in_place_separate_tag(nonce(u64::MAX), Aad::empty(), &mut *next);
        let _ = sealed.expect("32 bytes are not too long for a cipher");
        self.key = key(&next);
    }
}

impl Sealer {
    fn new(ours: &[u8; 32], theirs: &[u8; 32]) -> Self {
        Self { ours: Half::new(ours), theirs: Half::new(theirs) }
    }

    /// How long a message of `length` bytes is when it is sealed.
    pub(crate) const fn sealed_len(length: usize) -> usize {
        let pieces = length.div_ceil(PIECE);
        length + TAG * if pieces == 0 { 1 } else { pieces }
    }

    /// Appends the sealed message, made of all parts.
    pub(crate) fn seal(&mut self, parts: &[&[u8]], out: &mut BytesMut) -> Result<(), SealFault> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        out.reserve(Self::sealed_len(length));
        let (mut left, mut parts, mut part) = (length, parts.iter(), &[][..]);
        loop {
            let start = out.len();
            while out.len() - start < left.min(PIECE) {
                if part.is_empty() {
                    part = parts.next().expect("parts are as long as they were");
                    continue;
                }
                let (now, later) = part.split_at(part.len().min(PIECE - (out.len() - start)));
                out.extend_from_slice(now);
                part = later;
            }
            left -= out.len() - start;
            let number = self.ours.step()?;
            let tag = self.ours.key.seal_in_place_separate_tag(nonce(number), data(left > 0), &mut out[start..]);
            out.extend_from_slice(tag.expect("a piece is not too long for a cipher").as_ref());
            if left == 0 {
                return Ok(());
            }
        }
    }

    /// Opens a message where it lies.
    pub(crate) fn open(&mut self, message: &mut BytesMut) -> Result<(), SealFault> {
        let (mut read, mut written) = (0, 0);
        loop {
            let length = (message.len() - read).min(PIECE + TAG);
            let more = read + length < message.len();
            let number = self.theirs.step()?;
            let piece = &mut message[read..read + length];
            let plain = self.theirs.key.open_in_place(nonce(number), data(more), piece);
            let plain = plain.map_err(|_| SealFault::Changed)?.len();
            if read > written {
                message.copy_within(read..read + plain, written);
            }
            (read, written) = (read + length, written + plain);
            if !more {
                message.truncate(written);
                return Ok(());
            }
        }
    }

    /// Goes on as if so many pieces had been sealed and opened already.
    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, number: u64) {
        (self.ours.next, self.theirs.next) = (number, number);
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("sealed", &self.ours.next)
            .field("opened", &self.theirs.next)
            .finish_non_exhaustive()
    }
}

/// Tells a piece that others of its message follow from one that ends it, so that none can be cut short.
fn data(more: bool) -> Aad<&'static [u8]> {
    Aad::from(if more { &[1][..] } else { &[][..] })
}

fn key_bytes(text: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let bytes = Zeroizing::new(base64::decode(text.trim()).ok_or(KeyError)?);
    bytes[..].try_into().map(Zeroizing::new).map_err(|_| KeyError)
}

const FOUND: &str = "Noise_IK_25519_AESGCM_SHA256";
const JOIN: &str = "Noise_NNpsk0_25519_AESGCM_SHA256";
/// What both sides mean to speak.
const PROLOGUE: &[u8] = b"sudp.v1 sealed";
/// Most that a message of a handshake adds to what it says: an ephemeral key, a static key and its tag, a tag.
const OVERHEAD: usize = 32 + 48 + 16;
const TAG: usize = 16;
/// Bytes of a message that one message of Noise holds.
const PIECE: usize = 65_535 - TAG;
/// Pieces after which a direction changes its key.
const REKEY: u64 = 1 << 20;
/// Pieces after which a link has no numbers left, by far fewer than there are: it ends, and another follows.
const PIECES: u64 = 1 << 48;

#[cfg(test)]
mod tests;

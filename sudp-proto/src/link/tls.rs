//! TLS as a layer under a link's own bytes. This module alone names `rustls`.
//!
//! Two functions over the caller's buffers: [`Tls::receive`] decrypts what arrived, [`Tls::seal`]
//! encrypts what is to be said. What a connection is made with comes from outside; its provider draws
//! random numbers and its verifier reads a clock, so that the same calls give the same plaintext, and
//! other bytes on the wire.

mod fault;
mod wire;

use std::fmt;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{ClientConfig, ServerConfig};

use super::secure::Received;
use super::tls_end::TlsEnd;
use super::upgrade::Target;
use wire::Wire;

/// How a client speaks TLS.
#[derive(Clone)]
pub struct ClientTls {
    /// Whom it trusts, and what it shows of itself.
    pub config: Arc<ClientConfig>,
    /// The name that a server's certificate must be for, if it is another than that of its address.
    pub name: Option<ServerName<'static>>,
}

impl ClientTls {
    pub(super) fn connect(&self, target: &Target) -> Result<Tls, TlsEnd> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => server_name(target)?,
        };
        let conn = UnbufferedClientConnection::new(self.config.clone(), name).map_err(fault::end)?;
        Ok(Tls::new(Connection::Client(conn)))
    }
}

impl From<Arc<ClientConfig>> for ClientTls {
    fn from(config: Arc<ClientConfig>) -> Self {
        Self { config, name: None }
    }
}

impl fmt::Debug for ClientTls {
    /// Leaves out the configuration: it holds a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How a server speaks TLS.
#[derive(Clone)]
pub struct ServerTls {
    /// What it shows of itself, and whom it lets in.
    pub config: Arc<ServerConfig>,
}

impl ServerTls {
    pub(super) fn accept(&self) -> Result<Tls, TlsEnd> {
        let conn = UnbufferedServerConnection::new(self.config.clone()).map_err(fault::end)?;
        Ok(Tls::new(Connection::Server(conn)))
    }
}

impl From<Arc<ServerConfig>> for ServerTls {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self { config }
    }
}

impl fmt::Debug for ServerTls {
    /// Leaves out the configuration: it holds a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// One end of a TLS connection.
pub(super) struct Tls {
    conn: Connection,
    /// Decrypted, and not read by the link.
    plain: BytesMut,
    wire: Wire,
    state: State,
    /// Bytes of the remote that were taken before the handshake was over.
    handshake: usize,
    /// What is left of the input is half of a handshake message, which `rustls` refers to: until the rest
    /// has come, it must not be called without.
    midway: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Handshake,
    Open,
    /// The remote has said that it sends no more.
    Heard,
    /// Nothing is read or sealed any more.
    Broken,
}

enum Connection {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

impl Tls {
    fn new(conn: Connection) -> Self {
        let (plain, wire) = (BytesMut::new(), Wire::default());
        Self { conn, plain, wire, state: State::Handshake, handshake: 0, midway: false }
    }

    /// Takes at most one record with something for the link, and any number of others.
    ///
    /// After an error nothing is read any more, and what there is to say about it lies on the wire.
    pub(super) fn receive(&mut self, cipher: &mut BytesMut) -> Result<Received, TlsEnd> {
        match self.state {
            State::Handshake | State::Open => {}
            State::Heard | State::Broken => {
                cipher.clear();
                return Ok(Received::Nothing);
            }
        }
        let outcome = self.process(cipher);
        if outcome.is_err() {
            self.state = State::Broken;
        }
        outcome
    }

    fn process(&mut self, cipher: &mut BytesMut) -> Result<Received, TlsEnd> {
        loop {
            let (discard, outcome) = self.conn.process(cipher, &mut self.plain, &mut self.wire);
            let is_tls = self.handshake > 0 || looks_like_tls(cipher);
            cipher.advance(discard);
            if self.state == State::Handshake {
                self.handshake += discard;
            }
            match outcome {
                Ok(Step::Again) => {}
                Ok(Step::Blocked) => {
                    self.midway = begins_with_record(cipher);
                    self.check_size(cipher)?;
                    return Ok(self.opened().unwrap_or(Received::Nothing));
                }
                Ok(Step::Plain) => {
                    self.midway = false;
                    return Ok(self.opened().unwrap_or(Received::Plain));
                }
                Ok(Step::Closed) => {
                    self.state = State::Heard;
                    return Ok(Received::Closed);
                }
                Err(_) if !is_tls => return Err(TlsEnd::NotTls),
                Err(error) => {
                    self.tell_fault(cipher);
                    return Err(fault::end(error));
                }
            }
        }
    }

    fn opened(&mut self) -> Option<Received> {
        let opened = self.state == State::Handshake && !self.conn.is_handshaking();
        opened.then(|| {
            self.state = State::Open;
            Received::Ready
        })
    }

    fn check_size(&self, cipher: &BytesMut) -> Result<(), TlsEnd> {
        let handshake = if self.state == State::Handshake { self.handshake } else { 0 };
        if handshake + cipher.len() > HANDSHAKE { Err(TlsEnd::Size) } else { Ok(()) }
    }

    /// Puts the alert about what has just gone wrong on the wire, and whatever was to be said before it.
    fn tell_fault(&mut self, cipher: &mut BytesMut) {
        // Words come before any look at the input, which must not be looked at again.
        while self.conn.wants_write() {
            let (discard, outcome) = self.conn.process(cipher, &mut self.plain, &mut self.wire);
            cipher.advance(discard);
            if outcome.is_err() {
                return;
            }
        }
    }

    /// Encrypts all of `plain`, unless it is too early or too late for that.
    pub(super) fn seal(&mut self, plain: &mut BytesMut) -> Result<(), TlsEnd> {
        if !self.can_seal() {
            return Ok(());
        }
        while !plain.is_empty() {
            let piece = plain.len().min(RECORD);
            let sealed = self.conn.seal(&plain[..piece], &mut self.wire);
            if let Err(error) = sealed {
                self.state = State::Broken;
                return Err(error);
            }
            plain.advance(piece);
        }
        Ok(())
    }

    /// Encrypts the last words, and says that nothing follows.
    pub(super) fn finish(&mut self, plain: &mut BytesMut) {
        if self.seal(plain).is_ok() && self.can_seal() {
            self.conn.say_close(&mut self.wire);
        }
        plain.clear();
    }

    fn can_seal(&self) -> bool {
        !self.midway && matches!(self.state, State::Open | State::Heard)
    }

    /// Says something that is not TLS, to a remote that does not speak it.
    pub(super) fn say_in_clear(&mut self, words: &[u8]) {
        debug_assert_eq!(self.state, State::Broken, "the clear is for those who never spoke TLS");
        self.wire.put(words);
    }

    /// What the remote showed of itself, in DER, once that is verified.
    pub(super) fn certificate(&self) -> Option<Bytes> {
        let shown = match &self.conn {
            Connection::Client(conn) => conn.peer_certificates(),
            Connection::Server(conn) => conn.peer_certificates(),
        };
        let shown = shown.filter(|_| self.state != State::Handshake);
        shown.and_then(<[_]>::first).map(|leaf| Bytes::copy_from_slice(leaf))
    }

    pub(super) fn plain_mut(&mut self) -> &mut BytesMut {
        &mut self.plain
    }

    /// What should be written to the stream.
    pub(super) fn wire(&self) -> &[u8] {
        self.wire.bytes()
    }

    pub(super) fn advance(&mut self, written: usize) {
        self.wire.advance(written);
    }

    /// Drops what was not written.
    pub(super) fn forget(&mut self) {
        self.wire = Wire::default();
        self.state = State::Broken;
    }

    /// Gives back memory that is not in use.
    pub(super) fn release(&mut self) {
        self.wire.release();
        if self.plain.is_empty() {
            self.plain = BytesMut::new();
        }
    }

    /// Bytes of memory; those of `rustls` are what connections usually have.
    pub(super) fn held(&self) -> usize {
        self.plain.capacity() + self.wire.held() + CONNECTION
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("state", &self.state).finish_non_exhaustive()
    }
}

/// What one call of `rustls` came to.
enum Step {
    Again,
    Blocked,
    Plain,
    Closed,
}

impl Connection {
    fn process(
        &mut self,
        cipher: &mut [u8],
        plain: &mut BytesMut,
        wire: &mut Wire,
    ) -> (usize, Result<Step, rustls::Error>) {
        match self {
            Self::Client(conn) => take(conn.process_tls_records(cipher), plain, wire),
            Self::Server(conn) => take(conn.process_tls_records(cipher), plain, wire),
        }
    }

    fn seal(&mut self, piece: &[u8], wire: &mut Wire) -> Result<(), TlsEnd> {
        match self {
            Self::Client(conn) => while !seal(conn.process_tls_records(&mut []), piece, wire)? {},
            Self::Server(conn) => while !seal(conn.process_tls_records(&mut []), piece, wire)? {},
        }
        Ok(())
    }

    fn say_close(&mut self, wire: &mut Wire) {
        // Without it the remote sees a stream that was cut, which it is prepared for.
        let _ = match self {
            Self::Client(conn) => say_close(conn.process_tls_records(&mut []), wire),
            Self::Server(conn) => say_close(conn.process_tls_records(&mut []), wire),
        };
    }

    /// Whether it has something to say that is not on the wire.
    fn wants_write(&self) -> bool {
        match self {
            Self::Client(conn) => conn.wants_write(),
            Self::Server(conn) => conn.wants_write(),
        }
    }

    fn is_handshaking(&self) -> bool {
        match self {
            Self::Client(conn) => conn.is_handshaking(),
            Self::Server(conn) => conn.is_handshaking(),
        }
    }
}

/// Does what one status of a connection asks for; how much of the input is to be discarded.
fn take<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    plain: &mut BytesMut,
    wire: &mut Wire,
) -> (usize, Result<Step, rustls::Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            while let Some(record) = traffic.next_record() {
                let record = match record {
                    Ok(record) => record,
                    Err(error) => return (discard, Err(error)),
                };
                discard += record.discard;
                plain.extend_from_slice(record.payload);
            }
            Ok(Step::Plain)
        }
        Ok(other) => answer(other, wire),
        Err(error) => Err(error),
    };
    (discard, step)
}

/// Does what a status asks for that brings nothing to read.
#[expect(clippy::wildcard_enum_match_arm, reason = "more states may be added, and none is asked for")]
fn answer<Data>(state: ConnectionState<'_, '_, Data>, wire: &mut Wire) -> Result<Step, rustls::Error> {
    match state {
        ConnectionState::EncodeTlsData(mut data) => {
            let encoded = wire.fill(LETTER, |room| {
                data.encode(room).map_err(|error| match error {
                    EncodeError::InsufficientSize(size) => Some(size.required_size),
                    EncodeError::AlreadyEncoded => None,
                })
            });
            encoded.map(|()| Step::Again).ok_or_else(|| rustls::Error::General("words said twice".into()))
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Step::Again)
        }
        ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Ok(Step::Blocked),
        ConnectionState::PeerClosed | ConnectionState::Closed => Ok(Step::Closed),
        // Early data is never allowed, for it could be replayed.
        _ => Err(rustls::Error::General("a state that is not known".into())),
    }
}

/// Encrypts a piece if the connection is ready for it; else does what it asks for first.
fn seal<Data>(status: UnbufferedStatus<'_, '_, Data>, piece: &[u8], wire: &mut Wire) -> Result<bool, TlsEnd> {
    match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            let sealed = wire.fill(piece.len() + OVERHEAD, |room| encrypt(&mut traffic, piece, room));
            sealed.map(|()| true).ok_or_else(|| TlsEnd::Local("its keys are used up".into()))
        }
        Ok(other) => match answer(other, wire).map_err(fault::end)? {
            Step::Again => Ok(false),
            Step::Closed => Ok(false),
            Step::Blocked | Step::Plain => Err(TlsEnd::Local("it is not the time to write".into())),
        },
        Err(error) => Err(fault::end(error)),
    }
}

fn say_close<Data>(status: UnbufferedStatus<'_, '_, Data>, wire: &mut Wire) -> Option<()> {
    match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            wire.fill(LETTER, |room| traffic.queue_close_notify(room).map_err(required))
        }
        Ok(_) | Err(_) => None,
    }
}

fn encrypt<Data>(traffic: &mut WriteTraffic<'_, Data>, piece: &[u8], room: &mut [u8]) -> Result<usize, Option<usize>> {
    traffic.encrypt(piece, room).map_err(required)
}

/// How much room is lacking, if that is what is wrong.
fn required(error: EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(size) => Some(size.required_size),
        EncryptError::EncryptExhausted => None,
    }
}

/// The name that the certificate of an address must be for.
fn server_name(target: &Target) -> Result<ServerName<'static>, TlsEnd> {
    if let Some(address) = target.address() {
        return Ok(ServerName::IpAddress(address.into()));
    }
    let name = target.host();
    let name = name.strip_suffix('.').unwrap_or(name);
    ServerName::try_from(name.to_owned()).map_err(|_| TlsEnd::Name(name.escape_debug().to_string().into()))
}

/// Whether the first bytes are those of a TLS record: change of cipher, alert, handshake or data, version 3.
fn looks_like_tls(cipher: &[u8]) -> bool {
    matches!(cipher, [] | [20..=23] | [20..=23, 3, ..])
}

/// Whether a whole record stands at the front. One that was not discarded is part of something larger.
fn begins_with_record(cipher: &[u8]) -> bool {
    match cipher {
        [_, _, _, high, low, body @ ..] => body.len() >= usize::from(u16::from_be_bytes([*high, *low])),
        _ => false,
    }
}

/// Bytes of plaintext in one record.
const RECORD: usize = 16_384;
/// What a record has besides its plaintext, at most: header, nonce, type, seal.
const OVERHEAD: usize = 64;
/// Room for what is not data: most of a handshake's flights fit.
const LETTER: usize = 4 << 10;
/// Bytes of a handshake, and of a single message later.
const HANDSHAKE: usize = 128 << 10;
/// What a connection of `rustls` holds behind its handshake: 3 KiB were counted, and its provider has some more.
const CONNECTION: usize = 4 << 10;

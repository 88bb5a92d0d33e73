//! The first words on a link: who comes, for which session, and what each side can take.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::error::Violation;

use super::tlv::{self, Tlvs, Value};
use super::varint::{self, Reader, malformed};
use super::{
    Code, MAX_ALIVE, MAX_CLIENT, MAX_ENDED, MAX_HELLO, MAX_OWNER, MAX_TICKET, MAX_WELCOME, Ordinal, SessionId, Ticket,
    base64, clip, grease, millis,
};

/// What the client says in its upgrade request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hello {
    /// The link's ordinal; 1 makes a session.
    pub ordinal: Ordinal,
    /// A stable name of the client, unique per principal; at most 64 bytes without controls, may be empty.
    pub client: String,
    /// When the client's process started, and which of its sessions this is; later is newer.
    pub incarnation: (u64, u64),
    /// The session to join, with proof; none asks for a new one.
    pub attach: Option<Attach>,
    /// What an earlier welcome of this server gave, in place of a credential; only to make a session, and may be empty.
    pub ticket: Ticket,
    /// What the client can take.
    pub parameters: Parameters,
}

impl Hello {
    /// Appends the hello, with the proof it has.
    ///
    /// A list longer than [`MAX_ALIVE`] or [`MAX_ENDED`] is written in full and refused at the other
    /// end: a hello with parts left out would end links.
    pub fn emit(&self, out: &mut Vec<u8>) {
        self.emit_unsigned(self.attach.as_ref().map(|attach| attach.session), out);
        if let Some(attach) = &self.attach {
            tlv::put_bytes(out, PROOF, &attach.proof);
        }
    }

    /// Proves with the session's secret that this hello may attach; a hello that makes a session needs no proof.
    pub fn prove(&mut self, secret: &[u8; 32]) {
        let mut signed = Vec::with_capacity(MAX_HELLO);
        self.emit_unsigned(self.attach.as_ref().map(|attach| attach.session), &mut signed);
        if let Some(attach) = &mut self.attach {
            attach.proof = mac(&signed, secret).finalize().into_bytes().into();
        }
    }

    /// Appends what is sealed of the hello: without the session, which stands before it, and without the
    /// proof, which sealing is.
    pub fn emit_inside(&self, out: &mut Vec<u8>) {
        self.emit_unsigned(None, out);
    }

    /// The value of the `Sudp-Hello` header.
    pub fn to_header(&self) -> String {
        let mut raw = Vec::with_capacity(MAX_HELLO);
        self.emit(&mut raw);
        base64::encode(&raw)
    }

    /// Reads the value of the `Sudp-Hello` header; the bytes are what [`Attach::verify`] wants.
    pub fn from_header(value: &str) -> Result<(Self, Bytes), Violation> {
        let raw = header(value)?;
        Ok((Self::parse(&raw)?, raw))
    }

    /// Reads a hello.
    pub fn parse(raw: &[u8]) -> Result<Self, Violation> {
        Self::read(raw, None)
    }

    /// Reads what was sealed of a hello, which joins this session or makes one.
    pub fn parse_inside(raw: &[u8], session: Option<SessionId>) -> Result<Self, Violation> {
        Self::read(raw, Some(session))
    }

    /// A hello of which no more is known than which session it joins, for the rest is sealed.
    pub fn joining(session: SessionId) -> Self {
        let attach = Attach { session, alive: Vec::new(), ended: Vec::new(), proof: [0; 32] };
        let (client, parameters) = (String::new(), Parameters::default());
        Self {
            ordinal: Ordinal(2),
            client,
            incarnation: (0, 0),
            attach: Some(attach),
            ticket: Ticket::default(),
            parameters,
        }
    }

    fn read(raw: &[u8], inside: Option<Option<SessionId>>) -> Result<Self, Violation> {
        if raw.len() > MAX_HELLO {
            return Err(TOO_LONG);
        }
        let mut body = Reader::new(raw);
        version(&mut body)?;
        let ordinal = Ordinal::parse(&mut body)?;
        let mut read = HelloFields::default();
        let mut fields = Tlvs::new(body);
        while let Some((tag, value)) = fields.take()? {
            read.take(tag, value)?;
        }
        match inside {
            Some(session) if read.session.is_none() && read.proof.is_none() => {
                read.session = session.map(|session| session.0);
                read.proof = session.map(|_| [0; 32]);
            }
            Some(_) => return Err(malformed("session and proof stand outside of what is sealed")),
            None => {}
        }
        let attach = read.attach(ordinal)?;
        if attach.is_some() == (ordinal == Ordinal::FIRST) {
            return Err(malformed("ordinal 1 makes a session, others attach"));
        }
        let HelloFields { client, incarnation, parameters, ticket, .. } = read;
        if attach.is_some() && !ticket.is_empty() {
            return Err(malformed("a ticket beside a proof"));
        }
        Ok(Self { ordinal, client, incarnation, attach, ticket, parameters })
    }

    /// The part of a hello with a proof that the proof is over: everything before it.
    pub fn signed_part(raw: &[u8]) -> &[u8] {
        &raw[..raw.len().saturating_sub(PROOF_FIELD)]
    }

    fn emit_unsigned(&self, session: Option<SessionId>, out: &mut Vec<u8>) {
        out.push(VERSION);
        varint::put(out, self.ordinal.0);
        if !self.client.is_empty() {
            tlv::put_bytes(out, CLIENT, clip(&self.client, MAX_CLIENT).as_bytes());
        }
        if self.incarnation != (0, 0) {
            let mut value = Vec::with_capacity(16);
            varint::put(&mut value, self.incarnation.0);
            varint::put(&mut value, self.incarnation.1);
            tlv::put_bytes(out, INCARNATION, &value);
        }
        if let Some(session) = session {
            tlv::put_bytes(out, HELLO_SESSION, &session.0);
        }
        if let Some(attach) = &self.attach {
            put_ordinals(out, &attach.alive);
            put_final_counts(out, HELLO_ENDED, &attach.ended);
        }
        self.parameters.emit(HELLO_PARAMETERS, self.ordinal, out);
        if !self.ticket.is_empty() {
            tlv::put_bytes(out, TICKET, &self.ticket.0[..self.ticket.0.len().min(MAX_TICKET)]);
        }
    }
}

/// Joins a session that exists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attach {
    /// Which session.
    pub session: SessionId,
    /// Ordinals alive or being dialled, this one not among them, ascending; at most [`MAX_ALIVE`].
    pub alive: Vec<Ordinal>,
    /// Final counts the server may not know yet, by ascending ordinal.
    pub ended: Vec<FinalCount>,
    /// HMAC-SHA-256 by the session secret over every byte of the hello that stands before it.
    pub proof: [u8; 32],
}

impl Attach {
    /// Whether the proof is that of the session whose secret this is; takes the same time either way.
    pub fn verify(&self, raw: &[u8], secret: &[u8; 32]) -> bool {
        mac(Hello::signed_part(raw), secret).verify_slice(&self.proof).is_ok()
    }
}

/// What one side processed of an ended link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FinalCount {
    /// Which link.
    pub ordinal: Ordinal,
    /// Batches processed.
    pub count: u64,
    /// Whether the teller knows the other side's count.
    pub known: bool,
}

impl FinalCount {
    fn emit(&self, out: &mut Vec<u8>) {
        varint::put(out, self.ordinal.0);
        out.push(u8::from(self.known));
        varint::put(out, self.count);
    }

    fn parse(body: &mut Reader<'_>) -> Result<Self, Violation> {
        let ordinal = Ordinal::parse(body)?;
        let known = match body.byte()? {
            0 => false,
            1 => true,
            2.. => return Err(malformed("reserved flag of a final count")),
        };
        Ok(Self { ordinal, count: body.varint()?, known })
    }
}

/// What a side can take; absent parameters have their defaults.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Parameters {
    /// Largest message, in bytes.
    pub message: u64,
    /// Flows at a time.
    pub flows: u64,
    /// Links at a time.
    pub links: u64,
    /// Longest wait before it acknowledges; milliseconds on the wire.
    pub ack_delay: Duration,
    /// How long it keeps a session without links; milliseconds on the wire.
    pub resume: Duration,
}

impl Parameters {
    /// Appends one tagged field with all that differ from the defaults, and one that every reader skips.
    fn emit(&self, tag: u64, ordinal: Ordinal, out: &mut Vec<u8>) {
        let default = Self::default();
        let fields = [
            (MESSAGE, self.message, default.message),
            (FLOWS, self.flows, default.flows),
            (LINKS, self.links, default.links),
            (ACK_DELAY, millis(self.ack_delay), millis(default.ack_delay)),
            (RESUME, millis(self.resume), millis(default.resume)),
        ];
        let mut value = Vec::with_capacity(64);
        for (tag, number, default) in fields {
            if number != default {
                tlv::put_number(&mut value, tag, number);
            }
        }
        let varied = ordinal.0 % 4;
        tlv::put_bytes(&mut value, grease(varied), &GREASE[..usize::try_from(varied).unwrap_or_default()]);
        tlv::put_bytes(out, tag, &value);
    }

    fn parse(value: Value<'_>) -> Result<Self, Violation> {
        let mut read = Self::default();
        let mut fields = Tlvs::new(value.reader());
        while let Some((tag, value)) = fields.take()? {
            match tag {
                MESSAGE => read.message = value.number()?,
                FLOWS => read.flows = value.number()?,
                LINKS => read.links = value.number()?,
                ACK_DELAY => read.ack_delay = Duration::from_millis(value.number()?),
                RESUME => read.resume = Duration::from_millis(value.number()?),
                other => tlv::unknown(other)?,
            }
        }
        if read.message < MIN_MESSAGE || read.links == 0 {
            return Err(malformed("parameter below its minimum"));
        }
        Ok(read)
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            message: 66 * 1024,
            flows: 8_192,
            links: 8,
            ack_delay: Duration::from_millis(25),
            resume: Duration::from_secs(60),
        }
    }
}

/// What the server answers behind the 101.
#[derive(Clone, Eq, PartialEq)]
pub struct Welcome {
    /// The ordinal it answers.
    pub ordinal: Ordinal,
    /// The session.
    pub session: SessionId,
    /// For a new session: its secret, never sent again.
    pub secret: Option<[u8; 32]>,
    /// Which cluster, server and boot answered; 0 is no cluster.
    pub cluster: u64,
    /// Names the server, stable over restarts.
    pub server: u64,
    /// Names the table of sessions.
    pub boot: u64,
    /// Opaque words the client repeats so that a balancer finds the owner; at most 32 bytes.
    pub owner: Bytes,
    /// What the client may show instead of a credential when it founds its next session; may be empty.
    pub ticket: Ticket,
    /// Final counts the client may not know yet, by ascending ordinal.
    pub ended: Vec<FinalCount>,
    /// What the server can take.
    pub parameters: Parameters,
}

impl Welcome {
    /// Appends the welcome; a list longer than [`MAX_ENDED`] is refused at the other end.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        varint::put(out, self.ordinal.0);
        tlv::put_bytes(out, WELCOME_SESSION, &self.session.0);
        if let Some(secret) = &self.secret {
            tlv::put_bytes(out, SECRET, secret);
        }
        for (tag, number) in [(CLUSTER, self.cluster), (SERVER, self.server), (BOOT, self.boot)] {
            if number != 0 {
                tlv::put_number(out, tag, number);
            }
        }
        for (tag, words, limit) in [(OWNER, &self.owner, MAX_OWNER), (TICKET, &self.ticket.0, MAX_TICKET)] {
            if !words.is_empty() {
                tlv::put_bytes(out, tag, &words[..words.len().min(limit)]);
            }
        }
        put_final_counts(out, WELCOME_ENDED, &self.ended);
        self.parameters.emit(WELCOME_PARAMETERS, self.ordinal, out);
    }

    /// Reads a welcome.
    pub fn parse(raw: &Bytes) -> Result<Self, Violation> {
        if raw.len() > MAX_WELCOME {
            return Err(Violation::new(Code::Limit, "welcome over 1024 bytes"));
        }
        let mut body = Reader::new(raw);
        version(&mut body)?;
        let ordinal = Ordinal::parse(&mut body)?;
        let mut fields = Tlvs::new(body);
        let Some((WELCOME_SESSION, session)) = fields.take()? else {
            return Err(malformed("welcome does not begin with its session"));
        };
        let mut welcome = Self::bare(ordinal, SessionId(session.array()?));
        while let Some((tag, value)) = fields.take()? {
            match tag {
                SECRET => welcome.secret = Some(value.array()?),
                CLUSTER => welcome.cluster = value.number()?,
                SERVER => welcome.server = value.number()?,
                BOOT => welcome.boot = value.number()?,
                OWNER => welcome.owner = raw.slice_ref(value.bytes(MAX_OWNER)?),
                TICKET => welcome.ticket = Ticket(raw.slice_ref(value.bytes(MAX_TICKET)?)),
                WELCOME_ENDED => welcome.ended = parse_final_counts(value)?,
                WELCOME_PARAMETERS => welcome.parameters = Parameters::parse(value)?,
                other => tlv::unknown(other)?,
            }
        }
        Ok(welcome)
    }

    fn bare(ordinal: Ordinal, session: SessionId) -> Self {
        Self {
            ordinal,
            session,
            secret: None,
            cluster: 0,
            server: 0,
            boot: 0,
            owner: Bytes::new(),
            ticket: Ticket::default(),
            ended: Vec::new(),
            parameters: Parameters::default(),
        }
    }
}

impl fmt::Debug for Welcome {
    /// Leaves out the secret and the ticket, which open doors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome")
            .field("ordinal", &self.ordinal)
            .field("session", &self.session)
            .field("cluster", &self.cluster)
            .field("server", &self.server)
            .field("boot", &self.boot)
            .field("ended", &self.ended)
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// The fields of a hello while they are read.
#[derive(Default)]
struct HelloFields {
    client: String,
    incarnation: (u64, u64),
    session: Option<[u8; 16]>,
    alive: Vec<Ordinal>,
    ended: Vec<FinalCount>,
    parameters: Parameters,
    ticket: Ticket,
    proof: Option<[u8; 32]>,
}

impl HelloFields {
    fn take(&mut self, tag: u64, value: Value<'_>) -> Result<(), Violation> {
        match tag {
            CLIENT => self.client = parse_client(value)?,
            INCARNATION => self.incarnation = value.whole(|reader| Ok((reader.varint()?, reader.varint()?)))?,
            HELLO_SESSION => self.session = Some(value.array()?),
            HELLO_ALIVE => self.alive = parse_ordinals(value)?,
            HELLO_ENDED => self.ended = parse_final_counts(value)?,
            HELLO_PARAMETERS => self.parameters = Parameters::parse(value)?,
            TICKET => self.ticket = Ticket(Bytes::copy_from_slice(value.bytes(MAX_TICKET)?)),
            PROOF => self.proof = Some(value.array()?),
            beyond if beyond > PROOF => return Err(malformed("field behind the proof")),
            other => tlv::unknown(other)?,
        }
        Ok(())
    }

    fn attach(&mut self, own: Ordinal) -> Result<Option<Attach>, Violation> {
        let alive = std::mem::take(&mut self.alive);
        let ended = std::mem::take(&mut self.ended);
        match (self.session, self.proof) {
            (Some(session), Some(proof)) => {
                let twice = |ordinal: &Ordinal| *ordinal == own || alive.contains(ordinal);
                if alive.contains(&own) || ended.iter().any(|count| twice(&count.ordinal)) {
                    return Err(malformed("ordinal both alive and ended, or this link's own"));
                }
                Ok(Some(Attach { session: SessionId(session), alive, ended, proof }))
            }
            (None, None) if alive.is_empty() && ended.is_empty() => Ok(None),
            (None, None | Some(_)) | (Some(_), None) => Err(malformed("session, lists and proof come together")),
        }
    }
}

/// The bytes of a `Sudp-Hello` header.
pub(crate) fn header(value: &str) -> Result<Bytes, Violation> {
    if value.len() > MAX_HEADER {
        return Err(TOO_LONG);
    }
    let raw = base64::decode(value).ok_or(malformed("hello is not base64url without padding"))?;
    if raw.len() > MAX_HELLO { Err(TOO_LONG) } else { Ok(raw.into()) }
}

fn version(body: &mut Reader<'_>) -> Result<(), Violation> {
    match body.byte()? {
        VERSION => Ok(()),
        _ => Err(Violation::new(Code::Version, "no common version")),
    }
}

fn parse_client(value: Value<'_>) -> Result<String, Violation> {
    match str::from_utf8(value.bytes(MAX_CLIENT)?) {
        Ok(client) if !client.contains(char::is_control) => Ok(client.to_owned()),
        Ok(_) | Err(_) => Err(malformed("client name is not UTF-8 or has controls")),
    }
}

fn parse_ordinals(value: Value<'_>) -> Result<Vec<Ordinal>, Violation> {
    parse_list(value, MAX_ALIVE, Ordinal::parse, |ordinal| *ordinal)
}

fn parse_final_counts(value: Value<'_>) -> Result<Vec<FinalCount>, Violation> {
    parse_list(value, MAX_ENDED, FinalCount::parse, |count| count.ordinal)
}

fn parse_list<T>(
    value: Value<'_>,
    limit: usize,
    parse: fn(&mut Reader<'_>) -> Result<T, Violation>,
    ordinal: fn(&T) -> Ordinal,
) -> Result<Vec<T>, Violation> {
    let mut reader = value.reader();
    let mut list: Vec<T> = Vec::new();
    while !reader.is_empty() {
        if list.len() == limit {
            return Err(Violation::new(Code::Limit, "list of ordinals over its limit"));
        }
        let item = parse(&mut reader)?;
        if list.last().is_some_and(|last| ordinal(last) >= ordinal(&item)) {
            return Err(malformed("ordinals do not ascend"));
        }
        list.push(item);
    }
    Ok(list)
}

fn put_ordinals(out: &mut Vec<u8>, alive: &[Ordinal]) {
    if alive.is_empty() {
        return;
    }
    let mut value = Vec::with_capacity(8 * alive.len());
    for ordinal in alive {
        varint::put(&mut value, ordinal.0);
    }
    tlv::put_bytes(out, HELLO_ALIVE, &value);
}

fn put_final_counts(out: &mut Vec<u8>, tag: u64, ended: &[FinalCount]) {
    if ended.is_empty() {
        return;
    }
    let mut value = Vec::with_capacity(17 * ended.len());
    for count in ended {
        count.emit(&mut value);
    }
    tlv::put_bytes(out, tag, &value);
}

fn mac(signed: &[u8], secret: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes a key of any length").chain_update(signed)
}

const VERSION: u8 = 1;

const CLIENT: u64 = 0x02;
const INCARNATION: u64 = 0x04;
const HELLO_SESSION: u64 = 0x06;
const HELLO_ALIVE: u64 = 0x08;
const HELLO_ENDED: u64 = 0x0a;
const HELLO_PARAMETERS: u64 = 0x0c;
/// The largest tag of a hello, so that nothing can stand behind what it proves.
const PROOF: u64 = 0x3e;
/// Bytes of the proof with its tag and length.
const PROOF_FIELD: usize = 1 + 1 + 32;

const WELCOME_SESSION: u64 = 0x02;
const SECRET: u64 = 0x04;
const CLUSTER: u64 = 0x06;
const SERVER: u64 = 0x08;
const BOOT: u64 = 0x0a;
const OWNER: u64 = 0x0c;
/// In a hello and in a welcome.
const TICKET: u64 = 0x0e;
const WELCOME_ENDED: u64 = 0x10;
const WELCOME_PARAMETERS: u64 = 0x12;

const MESSAGE: u64 = 0x02;
const FLOWS: u64 = 0x04;
const LINKS: u64 = 0x06;
const ACK_DELAY: u64 = 0x08;
const RESUME: u64 = 0x0a;

/// A message must hold any hello, welcome and control, and a datagram of the usual size.
const MIN_MESSAGE: u64 = 2_048;
const GREASE: [u8; 3] = *b"\x0f\xf0\x5a";

/// Longest value of the header.
const MAX_HEADER: usize = 1_024;
const TOO_LONG: Violation = Violation::new(Code::Limit, "hello over 760 bytes");

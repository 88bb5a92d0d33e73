//! Controls that must arrive, so they ride in batches as records of flow 0.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::credential::{Credential, MAX_CREDENTIAL};
use crate::error::Violation;

use super::address::{parse_socket, put_socket};
use super::tlv::{self, Tlvs, Value};
use super::varint::{self, Reader, malformed};
use super::{Address, Class, Code, FlowId, MAX_CONTROL, MAX_TICKET, Ticket, TunnelId, batch, grease, millis};

/// A record of flow 0.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Control {
    /// Listen for a reverse tunnel.
    Bind(Bind),
    /// Answers a BIND.
    Bound(Bound),
    /// The sender stops this direction of a flow.
    Close(FlowClose),
    /// The sender knows no such flow, or will not have it: stop.
    Closed(Closed),
    /// Shows what is to let the session go on when its grant ends.
    Renew(Credential),
    /// Answers a RENEW, or hands out a ticket unasked.
    Renewed(Result<Ticket, Code>),
    /// Begins a flow; the same flow may be opened again with the same words.
    Open(Box<Open>),
    /// Stop listening for a reverse tunnel.
    Unbind(TunnelId),
    /// A control of an odd type that this version does not know.
    Skipped,
}

impl Control {
    /// Appends this as a record of flow 0; [`Control::Skipped`] is written as grease.
    pub fn emit_record(&self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(64);
        self.emit(&mut body);
        batch::emit_record(out, FlowId::CONTROL, None, None, &body);
    }

    /// Reads the payload of a record of flow 0.
    pub fn parse(payload: &[u8]) -> Result<Self, Violation> {
        let mut body = Reader::new(payload);
        let kind = body.varint()?;
        let limit = if kind == RENEW { MAX_RENEW } else { MAX_CONTROL };
        if payload.len() > limit {
            return Err(Violation::new(Code::Limit, "control over 1024 bytes, or RENEW over 8194"));
        }
        match kind {
            OPEN => Open::parse(body).map(|open| Self::Open(Box::new(open))),
            CLOSE => FlowClose::parse(body).map(Self::Close),
            CLOSED => Closed::parse(body).map(Self::Closed),
            BIND => Bind::parse(body).map(Self::Bind),
            BOUND => Bound::parse(body).map(Self::Bound),
            RENEW => parse_renew(body).map(Self::Renew),
            RENEWED => parse_renewed(body).map(Self::Renewed),
            UNBIND => parse_unbind(body).map(Self::Unbind),
            unknown if unknown % 2 == 1 => Ok(Self::Skipped),
            _ => Err(Violation::new(Code::Unknown, "unknown critical control")),
        }
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bind(bind) => bind.emit(out),
            Self::Bound(bound) => bound.emit(out),
            Self::Close(close) => close.emit(out),
            Self::Closed(closed) => put(out, CLOSED, &[closed.flow.0, closed.code.to_u64()]),
            Self::Open(open) => open.emit(out),
            Self::Renew(credential) => {
                put(out, RENEW, &[]);
                out.extend_from_slice(credential.expose().as_bytes());
            }
            Self::Renewed(Ok(ticket)) => {
                put(out, RENEWED, &[RENEWAL]);
                out.extend_from_slice(&ticket.0[..ticket.0.len().min(MAX_TICKET)]);
            }
            Self::Renewed(Err(code)) => put(out, RENEWED, &[REFUSED, code.to_u64()]),
            Self::Unbind(tunnel) => put(out, UNBIND, &[tunnel.0]),
            Self::Skipped => put(out, grease(0), &[]),
        }
    }
}

/// Begins a flow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Open {
    /// Its id, in the parity of the sender.
    pub flow: FlowId,
    /// 0 is UDP; others are reserved and refused with a CLOSED.
    pub kind: u64,
    /// The tunnel it belongs to.
    pub tunnel: TunnelId,
    /// How its datagrams want to be treated, both ways.
    pub class: Class,
    /// On how many links each datagram travels, 1 to 8.
    pub copies: u8,
    /// Whether each batch may choose its own link.
    pub spread: bool,
    /// How long it may be idle; the opener's own limit.
    pub idle: Duration,
    /// Who began it, on the opener's side.
    pub source: Option<SocketAddr>,
    /// Where it goes, unless the far side's tunnel knows.
    pub destination: Option<Address>,
    /// How many tunnels may still follow this one.
    pub hops: u8,
}

impl Open {
    /// How long a flow may be idle unless its OPEN says otherwise.
    pub const IDLE: Duration = Duration::from_secs(180);
    /// How many tunnels may follow unless the OPEN says otherwise.
    pub const HOPS: u8 = 4;

    /// A UDP flow with every parameter at its default.
    pub fn new(flow: FlowId, tunnel: TunnelId) -> Self {
        Self {
            flow,
            kind: 0,
            tunnel,
            class: Class::Reliable,
            copies: 1,
            spread: false,
            idle: Self::IDLE,
            source: None,
            destination: None,
            hops: Self::HOPS,
        }
    }

    fn emit(&self, out: &mut Vec<u8>) {
        put(out, OPEN, &[self.flow.0, self.kind, self.tunnel.0]);
        self.terms().emit(out);
        if let Some(source) = self.source {
            let mut value = Vec::new();
            put_socket(&mut value, source);
            tlv::put_bytes(out, SOURCE, &value);
        }
        if let Some(destination) = &self.destination {
            let mut value = Vec::new();
            destination.emit(&mut value);
            tlv::put_bytes(out, DESTINATION, &value);
        }
        if self.hops != Self::HOPS {
            tlv::put_number(out, HOPS, u64::from(self.hops));
        }
    }

    fn parse(mut body: Reader<'_>) -> Result<Self, Violation> {
        let (flow, kind) = (FlowId::parse(&mut body)?, body.varint()?);
        let mut open = Self { kind, ..Self::new(flow, TunnelId(body.varint()?)) };
        let mut terms = Terms::DEFAULT;
        let mut fields = Tlvs::new(body);
        while let Some((tag, value)) = fields.take()? {
            match tag {
                SOURCE => open.source = Some(value.whole(parse_socket)?),
                DESTINATION => open.destination = Some(value.whole(Address::parse)?),
                HOPS => open.hops = small(value)?,
                other => terms.take(other, value)?,
            }
        }
        let Terms { class, copies, spread, idle } = terms;
        Ok(Self { class, copies, spread, idle, ..open })
    }

    fn terms(&self) -> Terms {
        Terms { class: self.class, copies: self.copies, spread: self.spread, idle: self.idle }
    }
}

/// What one side has seen of a flow, in datagrams, when its direction ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Taken from the application.
    pub accepted: u64,
    /// Known to have been processed by the other side.
    pub acknowledged: u64,
    /// Dropped here, for any reason.
    pub dropped: u64,
}

/// Ends one direction of a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FlowClose {
    /// Which flow.
    pub flow: FlowId,
    /// Why.
    pub code: Code,
    /// The books of this direction.
    pub totals: Totals,
}

impl FlowClose {
    fn emit(&self, out: &mut Vec<u8>) {
        let Totals { accepted, acknowledged, dropped } = self.totals;
        put(out, CLOSE, &[self.flow.0, self.code.to_u64(), accepted, acknowledged, dropped]);
    }

    fn parse(mut body: Reader<'_>) -> Result<Self, Violation> {
        let (flow, code) = (FlowId::parse(&mut body)?, Code::parse(&mut body)?);
        let totals = Totals { accepted: body.varint()?, acknowledged: body.varint()?, dropped: body.varint()? };
        body.finish()?;
        Ok(Self { flow, code, totals })
    }
}

/// Tells the other side to stop a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Closed {
    /// Which flow.
    pub flow: FlowId,
    /// Why.
    pub code: Code,
}

impl Closed {
    fn parse(mut body: Reader<'_>) -> Result<Self, Violation> {
        let closed = Self { flow: FlowId::parse(&mut body)?, code: Code::parse(&mut body)? };
        body.finish()?;
        Ok(closed)
    }
}

/// Asks the server to listen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bind {
    /// The tunnel this is for.
    pub tunnel: TunnelId,
    /// Where to listen; port 0 lets the server choose.
    pub listen: SocketAddr,
    /// As in [`Open`], for the flows that begin there.
    pub class: Class,
    /// As in [`Open`].
    pub copies: u8,
    /// As in [`Open`].
    pub spread: bool,
    /// As in [`Open`].
    pub idle: Duration,
}

impl Bind {
    fn emit(&self, out: &mut Vec<u8>) {
        put(out, BIND, &[self.tunnel.0]);
        Terms { class: self.class, copies: self.copies, spread: self.spread, idle: self.idle }.emit(out);
        let mut listen = Vec::new();
        put_socket(&mut listen, self.listen);
        tlv::put_bytes(out, LISTEN, &listen);
    }

    fn parse(mut body: Reader<'_>) -> Result<Self, Violation> {
        let tunnel = TunnelId(body.varint()?);
        let mut terms = Terms::DEFAULT;
        let mut listen = None;
        let mut fields = Tlvs::new(body);
        while let Some((tag, value)) = fields.take()? {
            match tag {
                LISTEN => listen = Some(value.whole(parse_socket)?),
                other => terms.take(other, value)?,
            }
        }
        let Some(listen) = listen else {
            return Err(malformed("bind without an address"));
        };
        let Terms { class, copies, spread, idle } = terms;
        Ok(Self { tunnel, listen, class, copies, spread, idle })
    }
}

/// Answers a BIND.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bound {
    /// Which tunnel.
    pub tunnel: TunnelId,
    /// Where the server listens now, or why it does not.
    pub outcome: Result<SocketAddr, Code>,
}

impl Bound {
    fn emit(&self, out: &mut Vec<u8>) {
        match self.outcome {
            Ok(at) => {
                put(out, BOUND, &[self.tunnel.0, LISTENING]);
                put_socket(out, at);
            }
            Err(code) => put(out, BOUND, &[self.tunnel.0, REFUSED, code.to_u64()]),
        }
    }

    fn parse(mut body: Reader<'_>) -> Result<Self, Violation> {
        let tunnel = TunnelId(body.varint()?);
        let outcome = match u64::from(body.byte()?) {
            LISTENING => Ok(parse_socket(&mut body)?),
            REFUSED => Err(Code::parse(&mut body)?),
            _ => return Err(malformed("unknown outcome of a bind")),
        };
        body.finish()?;
        Ok(Self { tunnel, outcome })
    }
}

/// What OPEN and BIND both say of flows.
struct Terms {
    class: Class,
    copies: u8,
    spread: bool,
    idle: Duration,
}

impl Terms {
    const DEFAULT: Self = Self { class: Class::Reliable, copies: 1, spread: false, idle: Open::IDLE };

    fn emit(&self, out: &mut Vec<u8>) {
        if self.class != Class::Reliable {
            tlv::put_number(out, CLASS, u64::from(self.class.to_u8()));
        }
        if self.copies != 1 {
            tlv::put_number(out, COPIES, u64::from(self.copies));
        }
        if self.spread {
            tlv::put_number(out, SPREAD, 1);
        }
        if self.idle != Open::IDLE {
            tlv::put_number(out, IDLE, millis(self.idle));
        }
    }

    fn take(&mut self, tag: u64, value: Value<'_>) -> Result<(), Violation> {
        match tag {
            CLASS => self.class = parse_class(value)?,
            COPIES => self.copies = parse_copies(value)?,
            SPREAD => self.spread = parse_spread(value)?,
            IDLE => self.idle = Duration::from_millis(value.number()?),
            other => tlv::unknown(other)?,
        }
        Ok(())
    }
}

fn parse_class(value: Value<'_>) -> Result<Class, Violation> {
    match Class::from_u64(value.number()?)? {
        class @ (Class::Reliable | Class::Realtime) => Ok(class),
        Class::Control => Err(malformed("flow of class control")),
    }
}

fn parse_copies(value: Value<'_>) -> Result<u8, Violation> {
    let copies = small(value)?;
    if (1..=MAX_COPIES).contains(&copies) { Ok(copies) } else { Err(malformed("copies outside 1 to 8")) }
}

fn parse_spread(value: Value<'_>) -> Result<bool, Violation> {
    match value.number()? {
        0 => Ok(false),
        1 => Ok(true),
        2.. => Err(malformed("spread is neither 0 nor 1")),
    }
}

fn parse_renew(mut body: Reader<'_>) -> Result<Credential, Violation> {
    let Some(credential) = str::from_utf8(body.remainder()).ok().and_then(|value| Credential::new(value).ok()) else {
        return Err(malformed("renewal with what is no credential"));
    };
    Ok(credential)
}

fn parse_renewed(mut body: Reader<'_>) -> Result<Result<Ticket, Code>, Violation> {
    match u64::from(body.byte()?) {
        RENEWAL if body.len() > MAX_TICKET => Err(Violation::new(Code::Limit, "ticket over 256 bytes")),
        RENEWAL => Ok(Ok(Ticket(Bytes::copy_from_slice(body.remainder())))),
        REFUSED => {
            let code = Code::parse(&mut body)?;
            body.finish()?;
            Ok(Err(code))
        }
        _ => Err(malformed("unknown outcome of a renewal")),
    }
}

fn parse_unbind(mut body: Reader<'_>) -> Result<TunnelId, Violation> {
    let tunnel = TunnelId(body.varint()?);
    body.finish()?;
    Ok(tunnel)
}

fn small(value: Value<'_>) -> Result<u8, Violation> {
    u8::try_from(value.number()?).map_err(|_| malformed("number over 255"))
}

fn put(out: &mut Vec<u8>, kind: u64, numbers: &[u64]) {
    varint::put(out, kind);
    for number in numbers {
        varint::put(out, *number);
    }
}

const OPEN: u64 = 0x00;
const CLOSE: u64 = 0x02;
const CLOSED: u64 = 0x04;
const BIND: u64 = 0x06;
const BOUND: u64 = 0x08;
const UNBIND: u64 = 0x0a;
/// Odd, so that who does not know them skips them: the session then lives until its grant ends.
const RENEW: u64 = 0x05;
const RENEWED: u64 = 0x07;

const CLASS: u64 = 0x02;
const COPIES: u64 = 0x04;
const SPREAD: u64 = 0x06;
const IDLE: u64 = 0x08;
const SOURCE: u64 = 0x0a;
const DESTINATION: u64 = 0x0c;
const HOPS: u64 = 0x0e;
const LISTEN: u64 = 0x10;

const LISTENING: u64 = 0;
const REFUSED: u64 = 1;
const RENEWAL: u64 = 0;
/// Longest RENEW, its type included.
const MAX_RENEW: usize = 2 + MAX_CREDENTIAL;

const MAX_COPIES: u8 = 8;

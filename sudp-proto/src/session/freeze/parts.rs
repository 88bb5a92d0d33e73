//! What a session is made of, as plain data.
//!
//! What a struct or an enum is made of is written once, for both ways, and names everything: a field
//! that is added cannot be forgotten.

use super::ThawError;
use super::plain::{In, Out, Plain};
use crate::session::drain::Drain;
use crate::session::flow::{Books, Direction, Inbound, Place, PlaceState, Treatment};
use crate::session::hello::Identity;
use crate::session::links::{Ended, Ordinals};
use crate::session::recv::{Lateness, Seen};
use crate::session::send::{Batch, Share};
use crate::session::tunnels::{InDoubt, Retry, Tunnel, Tunnels, Way};
use crate::session::{Phase, Role};
use crate::stats::{Counters, DropReason, Drops};
use crate::wire::{
    Address, Bind, Class, Code, Control, FlowId, GoAwayReason, Host, Number, Open, Ordinal, Parameters, Records,
    SessionId, TunnelId,
};

/// Writes a struct field by field.
macro_rules! fields {
    ($($type:ident { $($field:ident),+ $(,)? })+) => {$(
        impl Plain for $type {
            fn put(&self, out: &mut Out) {
                let Self { $($field),+ } = self;
                $($field.put(out);)+
            }

            fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
                Ok(Self { $($field: input.take()?),+ })
            }
        }
    )+};
}

/// Writes a number or a name as what it wraps.
macro_rules! wraps {
    ($($type:ident),+) => {$(
        impl Plain for $type {
            fn put(&self, out: &mut Out) {
                self.0.put(out);
            }

            fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
                input.take().map(Self)
            }
        }
    )+};
}

/// Writes an enum as the number of its variant and what that holds.
macro_rules! variants {
    ($($type:ident { $($number:literal = $variant:ident $(($content:ident))? $({ $($field:ident),+ })?),+ $(,)? })+) => {$(
        impl Plain for $type {
            fn put(&self, out: &mut Out) {
                match self {
                    $(Self::$variant $(($content))? $({ $($field),+ })? => {
                        out.bytes.push($number);
                        $($content.put(out);)?
                        $($($field.put(out);)+)?
                    })+
                }
            }

            fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
                match input.byte()? {
                    $($number => {
                        $(let $content = input.take()?;)?
                        Ok(Self::$variant $(($content))? $({ $($field: input.take()?),+ })?)
                    })+
                    _ => Err(ThawError::Malformed("unknown variant")),
                }
            }
        }
    )+};
}

/// Writes codes by their number on the wire.
macro_rules! codes {
    ($($type:ident),+) => {$(
        impl Plain for $type {
            fn put(&self, out: &mut Out) {
                self.to_u64().put(out);
            }

            fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
                input.take().map(Self::from_u64)
            }
        }
    )+};
}

fields! {
    Address { host, port }
    Batch { class, copies, clock, body, shares, stale, carriers, strikes }
    Bind { tunnel, listen, class, copies, spread, idle }
    Books { accepted, acknowledged, in_flight, in_doubt, dropped, processed, delivered, refused, bytes_out, bytes_in }
    Counters {
        accepted, acknowledged, dropped_out, in_doubt, processed, delivered, dropped_in, bytes_out, bytes_in,
        batches_out, batches_resent, batches_in, duplicates, messages_out, messages_in, links, links_ended,
        suspicions, violations, events_lost,
    }
    Drain { reason, after, ours, settled_here, settled_there }
    Ended { ours, theirs, told, acknowledged, open }
    Identity { client, incarnation }
    Inbound { at, address, payload }
    Lateness { buckets }
    Open { flow, kind, tunnel, class, copies, spread, idle, source, destination, hops }
    Parameters { message, flows, links, ack_delay, resume }
    Place { address, state, used }
    Share { flow, datagrams, long, close }
    Treatment { class, copies, spread, idle }
    Tunnel { way, treatment, in_doubt }
    Retry { at, wait }
    Tunnels { configured, bound, outcomes, retries }
}

wraps!(FlowId, Number, Ordinal, SessionId, TunnelId);

variants! {
    Class { 0 = Reliable, 1 = Realtime, 2 = Control }
    Direction { 0 = Open, 1 = Closing(code), 2 = Closed(code), 3 = Done(code) }
    DropReason {
        0 = Age, 1 = Closed, 2 = Codel, 3 = Denied, 4 = Full, 5 = InDoubt, 6 = Late, 7 = Oversize, 8 = Poison,
        9 = Rate, 10 = Stale, 11 = Unreachable, 12 = Unconfirmed,
    }
    Host { 0 = Ip(ip), 1 = Name(name) }
    InDoubt { 0 = Drop, 1 = Resend }
    Phase { 0 = Fresh, 1 = Provisional, 2 = Established, 3 = Closed(code) }
    PlaceState { 0 = Finding, 1 = At(at), 2 = Denied(reason) }
    Role { 0 = Client, 1 = Server }
    Way { 0 = Forward { listen, to }, 1 = Reverse { listen, to } }
}

codes!(Code, GoAwayReason);

impl Plain for Box<str> {
    fn put(&self, out: &mut Out) {
        out.slice(self.as_bytes());
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        input.take::<String>().map(Self::from)
    }
}

impl Plain for Drops {
    fn put(&self, out: &mut Out) {
        let some: Vec<_> = self.iter().filter(|(_, count)| *count > 0).collect();
        some.put(out);
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        let mut drops = Self::default();
        let mut total: u64 = 0;
        for (reason, count) in input.take::<Vec<(DropReason, u64)>>()? {
            total = total.checked_add(count).ok_or(ThawError::Malformed("more drops than can be counted"))?;
            drops.add(reason, count);
        }
        Ok(drops)
    }
}

impl Plain for Ordinals {
    fn put(&self, out: &mut Out) {
        (self.top, self.bits.to_be_bytes()).put(out);
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        let (top, bits) = input.take()?;
        Ok(Self { top, bits: u64::from_be_bytes(bits) })
    }
}

impl Plain for Seen {
    fn put(&self, out: &mut Out) {
        let words: Vec<_> = self.words().iter().map(|word| word.to_be_bytes()).collect();
        (self.top(), words).put(out);
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        let (top, words): (_, Vec<_>) = input.take()?;
        let words: Vec<_> = words.into_iter().map(u64::from_be_bytes).collect();
        Self::thaw(top, &words).ok_or(ThawError::Malformed("duplicate window of another size"))
    }
}

/// As on the wire, where it would be next.
impl Plain for Control {
    fn put(&self, out: &mut Out) {
        let mut record = Vec::new();
        self.emit_record(&mut record);
        out.slice(&record);
    }

    fn take(input: &mut In<'_>) -> Result<Self, ThawError> {
        let record = Records::new(input.take()?).next().ok().flatten().ok_or(CONTROL)?;
        Self::parse(&record.payload).map_err(|_| CONTROL)
    }
}

const CONTROL: ThawError = ThawError::Malformed("control that no remote would take");

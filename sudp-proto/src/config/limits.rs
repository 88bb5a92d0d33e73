//! Every cap in one place: what it is, what it defaults to, what it may be.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::ConfigError;

/// A cap, as whoever reads, writes or explains configurations needs to know it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cap {
    /// Its field of [`Limits`].
    pub name: &'static str,
    /// What it bounds, line by line; the default is said at the end.
    pub help: &'static [&'static str],
    /// What it is unless something else is said.
    pub default: CapValue,
    /// The least it may be.
    pub least: CapValue,
    /// The most it may be.
    pub most: CapValue,
}

/// What a cap is set to; all values of one cap are of one kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CapValue {
    /// A size in bytes.
    Bytes(usize),
    /// A number of things.
    Count(usize),
    /// A time.
    Time(Duration),
}

/// Writes the table of caps out as a struct, its defaults and its checks, so that they cannot differ.
macro_rules! limits {
    ($($(#[doc = $doc:literal])* $field:ident: $kind:ident = $default:expr, in $allowed:expr;)+) => {
        /// What a session, its links and a server hold or wait at most.
        ///
        /// One value serves a client and a server; each reads what concerns it. Sizes are in bytes.
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub struct Limits {
            $($(#[doc = $doc])* pub $field: $kind,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl Limits {
            /// Every cap, in the order of the fields.
            pub fn caps() -> Vec<Cap> {
                vec![$(Cap {
                    name: stringify!($field),
                    help: &[$($doc),*],
                    default: CapValue::$kind($default),
                    least: CapValue::$kind(*$allowed.start()),
                    most: CapValue::$kind(*$allowed.end()),
                }),+]
            }

            /// Sets a cap by its name. It is not set, and `false`, if there is none of this name and kind.
            pub fn set(&mut self, name: &str, value: CapValue) -> bool {
                $(if let (stringify!($field), CapValue::$kind(value)) = (name, value) {
                    self.$field = value;
                    return true;
                })+
                false
            }

            /// Checks each value by itself.
            fn within(&self) -> Result<(), ConfigError> {
                $(within(stringify!($field), self.$field, $allowed)?;)+
                Ok(())
            }

            /// One set of limits for each end of each range, which is allowed, and for each step beyond, which is not.
            #[cfg(test)]
            fn edges() -> Vec<tests::Edge> {
                let mut edges = Vec::new();
                $(for (value, allowed) in tests::ends::<$kind>($allowed) {
                    let limits = Self { $field: value, ..Self::default() };
                    edges.push(tests::Edge { field: stringify!($field), limits, allowed });
                })+
                edges
            }
        }
    };
}

/// Checks pairs of values of which one must not exceed the other.
macro_rules! in_order {
    ($limits:ident, $problems:ident: $($field:ident <= $other:ident, $why:literal;)+) => {
        $(if $limits.$field > $limits.$other {
            let (low, high) = ((stringify!($field), $limits.$field), (stringify!($other), $limits.$other));
            $problems.push(contradiction(low, high, $why));
        })+
    };
}

limits! {
    // What travels.

    /// Largest datagram taken from or given to a socket. Default 65,507, which is all UDP over IPv4 can carry.
    datagram: Bytes = 65_507, in 1..=65_507;
    /// Largest WebSocket message and frame, either way. Default 66 KiB.
    message: Bytes = 66 * KIB, in 2 * KIB..=MIB;
    /// Fragments of under 256 bytes in one message; some proxies cut at 1 KiB, none cuts smaller. Default 16.
    small_fragments: Count = 16, in 0..=1_024;

    // What a session holds.

    /// Links of a session at a time, as the client wishes. Default 1.
    links: Count = 1, in 1..=8;
    /// Live links a server holds of one session: the wished ones, and dials it has not yet seen lose. Default 8 + 3.
    live_links: Count = 11, in 1..=16;
    /// Bytes cut into batches and not yet resolved, per session and direction. Default 32 MiB.
    unresolved: Bytes = 32 * MIB, in 128 * KIB..=1_024 * MIB;
    /// Bytes queued and not yet cut, per session; at the cap the head of the fattest flow goes. Default 2 MiB,
    /// for a burst of 1,024 datagrams of the usual size.
    queue: Bytes = 2 * MIB, in 128 * KIB..=64 * MIB;
    /// Flows of a session at a time. Default 8,192.
    flows: Count = 8_192, in 1..=65_536;
    /// Tunnels of a session, reverse ones included. Default 256.
    tunnels: Count = 256, in 1..=4_096;
    /// Destinations of one flow; the least recently used one goes. Default 64.
    destinations: Count = 64, in 1..=1_024;
    /// Datagrams one flow holds while its name resolves or its socket is full; the oldest goes. Default 64.
    hold: Count = 64, in 1..=4_096;
    /// Bytes of those datagrams. Default 64 KiB, and never less than one datagram.
    hold_bytes: Bytes = 64 * KIB, in 2 * KIB..=MIB;
    /// Sources whose refused flows are remembered, per session. Default 1,024.
    refusals: Count = 1_024, in 1..=65_536;

    // How long a datagram is worth keeping.

    /// Age at which a `reliable` datagram is dropped. Default 15 s: longer than to detect a cut and dial again.
    reliable_age: Time = secs(15), in secs(1)..=secs(600);
    /// Age at which a `realtime` datagram is dropped. Default 200 ms.
    realtime_age: Time = millis(200), in millis(10)..=secs(10);

    // How long a session and its flows live.

    /// How long a session without links is kept. Default 60 s.
    resume: Time = secs(60), in secs(1)..=secs(3_600);
    /// How long a session is kept whose client never spoke behind the welcome. Default 10 s.
    provisional: Time = secs(10), in secs(1)..=secs(60);
    /// How long a flow may be idle. Default 180 s, and never under the 120 s that applications rely on.
    idle: Time = secs(180), in secs(120)..=secs(86_400);
    /// How long a flow of one datagram and at most one answer may be idle. Default 30 s.
    idle_one_shot: Time = secs(30), in secs(1)..=secs(86_400);
    /// Least time for which a refused flow is remembered; doubles with each refusal. Default 1 s.
    refusal_min: Time = secs(1), in millis(100)..=secs(60);
    /// Most time for which a refused flow is remembered. Default 30 s.
    refusal_max: Time = secs(30), in secs(1)..=secs(600);

    // How a link is judged.

    /// Longest wait before a batch is acknowledged. Default 25 ms.
    ack_delay: Time = millis(25), in millis(0)..=secs(1);
    /// Least time without progress before a link is suspect. Default 0.5 s.
    suspect_min: Time = millis(500), in millis(100)..=secs(10);
    /// Most time without progress before a link is suspect. Default 3 s.
    suspect_max: Time = secs(3), in millis(500)..=secs(30);
    /// How long a link may be silent before it is ended. Default 25 s, under the 60 s of common proxies.
    silence: Time = secs(25), in secs(2)..=secs(300);
    /// How long to wait for the other side's close frame. Default 3 s.
    close_wait: Time = secs(3), in millis(100)..=secs(30);

    // How a link begins.

    /// Time for the handshake of TLS. Default 10 s.
    tls_deadline: Time = secs(10), in millis(500)..=secs(60);
    /// Request and answer heads. Default 16 KiB.
    head: Bytes = 16 * KIB, in 2 * KIB..=64 * KIB;
    /// Header lines in a head. Default 64.
    head_lines: Count = 64, in 16..=256;
    /// Time for all of a head to arrive. Default 5 s.
    head_deadline: Time = secs(5), in millis(500)..=secs(60);
    /// Time to decide on a claim. Default 5 s.
    auth_deadline: Time = secs(5), in millis(500)..=secs(60);

    // What goes to those of whom nobody knows that it reaches them.

    /// Bytes a source may be answered with in a window before it has spoken again, however little it sent: a plain
    /// answer of DNS. Default 4 KiB.
    reply_first: Bytes = 4 * KIB, in 0..=MIB;
    /// How many times what it sent it may be answered with, if that is more. Default 3.
    reply_factor: Count = 3, in 1..=1_000;
    /// After what time both begin anew. Default 10 s.
    reply_window: Time = secs(10), in secs(1)..=secs(600);
    /// Bytes a second that all such sources together are answered with. Default 1 MiB.
    reply_rate: Bytes = MIB, in 64 * KIB..=1_024 * MIB;
    /// How many of them are told apart; others are not answered. Default 65,536.
    reply_sources: Count = 65_536, in 1..=1_048_576;

    // What a server holds for all.

    /// Connections that have not been admitted, in all. Default 256.
    strangers: Count = 256, in 1..=65_536;
    /// How many of those there are when the oldest that has not said what it wants begins to make room for new ones; at
    /// the cap it always does. Default 64.
    strangers_early: Count = 64, in 1..=65_536;
    /// In how many of a hundred cases it does. Default 30.
    strangers_drop: Count = 30, in 0..=100;
    /// Connections that have not been admitted, per IPv4 address or IPv6 /64. Default 16.
    strangers_per_source: Count = 16, in 1..=65_536;
    /// Sessions of a server, with or without links. Default 16,384.
    sessions: Count = 16_384, in 1..=1_048_576;
    /// Sessions of a server that have no link at the moment. Default 4,096.
    detached: Count = 4_096, in 1..=1_048_576;
    /// Bytes that all sessions hold together. Default 256 MiB; a program sets a quarter of its memory.
    pool: Bytes = 256 * MIB, in MIB..=1_024 * 1_024 * MIB;
    /// Bytes of the pool that each session gets however full it is. Default 128 KiB.
    guaranteed: Bytes = 128 * KIB, in 0..=MIB;
}

impl Limits {
    /// Batch numbers a receiver remembers, so that nothing is delivered twice.
    ///
    /// Both sides count on the same number, so it belongs to the protocol and cannot be configured.
    pub const WINDOW: u64 = 8_192;

    /// Bytes of a message that are not the datagram, at most: the long form of one flow with a name of
    /// 253 bytes, and acknowledgements for eight links.
    pub const OVERHEAD: usize = 1_024;

    /// Checks that every value is in its range and that they go together.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.within()?;
        self.contradictions().into_iter().next().map_or(Ok(()), Err)
    }

    /// Every two values that do not go together.
    pub fn contradictions(&self) -> Vec<ConfigError> {
        let mut found = Vec::new();
        in_order! { self, found:
            datagram <= hold_bytes, "a flow must be able to hold a datagram";
            queue <= pool, "a session's queue must fit into the pool";
            links <= live_links, "a server must hold the links that are wished for";
            strangers_early <= strangers, "some are dropped before all are";
            strangers_per_source <= strangers, "one source is part of all";
            detached <= sessions, "detached sessions are part of all";
            idle_one_shot <= idle, "one-shot flows go first";
            refusal_min <= refusal_max, "the least cannot be above the most";
            suspect_min <= suspect_max, "the least cannot be above the most";
            suspect_max <= silence, "a link is suspected before it is ended";
            realtime_age <= reliable_age, "realtime is the shorter age";
        }
        if self.datagram + Self::OVERHEAD > self.message {
            let why = "a datagram and 1 KiB more must fit into a message";
            found.push(contradiction(("datagram", self.datagram), ("message", self.message), why));
        }
        found
    }
}

/// A size in bytes.
type Bytes = usize;

/// A number of things.
type Count = usize;

/// A time.
type Time = Duration;

/// A value that can be compared with its range and shown to a person.
trait Bound: Copy + PartialOrd {
    /// As a person would write it.
    fn show(self) -> impl fmt::Display;
}

impl Bound for Duration {
    fn show(self) -> impl fmt::Display {
        format!("{self:?}")
    }
}

impl Bound for usize {
    fn show(self) -> impl fmt::Display {
        self
    }
}

fn within<T: Bound>(field: &'static str, value: T, allowed: RangeInclusive<T>) -> Result<(), ConfigError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let allowed = format!("{} to {}", allowed.start().show(), allowed.end().show());
    Err(ConfigError::OutOfRange { field, value: value.show().to_string(), allowed })
}

fn contradiction<T: Bound>(
    (field, value): (&'static str, T),
    (other, limit): (&'static str, T),
    why: &'static str,
) -> ConfigError {
    ConfigError::Contradiction { field, value: value.show().to_string(), other, limit: limit.show().to_string(), why }
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;

#[cfg(test)]
mod tests;

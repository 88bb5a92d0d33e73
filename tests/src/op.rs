//! One thing that goes wrong in a world, scripted, drawn, or decoded from bytes.

use std::time::Duration;

use sudp_proto::Rng;

/// Writes the kinds out with the list of all of them, so that none is left out of it.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident,)+) => {
        /// What goes wrong.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Kind {
            $($(#[$doc])* $kind,)+
        }

        impl Kind {
            /// Every kind, in the order of their names.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// The kind as one word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)+
                }
            }
        }
    };
}

kinds! {
    /// A connection goes silent in both directions.
    BlackHole,
    /// An application sends many datagrams at once.
    Burst,
    /// A client closes its session in peace, and starts anew.
    ClientDrain,
    /// A client's process is killed, and starts anew.
    ClientKill,
    /// A client's machine loses its power, and starts anew.
    ClientVanish,
    /// A client closes one of its flows.
    CloseFlow,
    /// A connection is cut after so many bytes.
    Cut,
    /// The server's rules deny a destination for a while, or its grant ends.
    Deny,
    /// Connection after connection is reset.
    Flap,
    /// One direction of a connection goes silent.
    HalfOpen,
    /// One side learns of a reset at once, the other later or never.
    Late,
    /// What dials meet at a server is no server.
    Listener,
    /// A name cannot be looked up, or leads elsewhere, or it takes long.
    Name,
    /// Nothing passes between client and server for a while.
    Outage,
    /// Later dials take other ways.
    Paths,
    /// A connection is reset.
    Reset,
    /// Dials to a server are refused, or vanish.
    Refuse,
    /// A server ends its sessions in peace, and starts anew.
    ServerDrain,
    /// A server is frozen, and another process goes on with its sessions.
    ServerFreeze,
    /// A server's process is killed, and starts anew.
    ServerKill,
    /// A service's socket takes nothing for a while, or nothing reaches it.
    Socket,
    /// A connection passes nothing in one direction for a while.
    Stall,
    /// The client's process does not run for a while.
    SuspendClient,
    /// A server's process does not run for a while.
    SuspendServer,
    /// Another client of the same name appears.
    Twin,
    /// The client is told that its network changed.
    Wake,
}

/// Something that goes wrong, and how much.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Op {
    /// How long after the one before.
    pub after: Duration,
    /// What.
    pub kind: Kind,
    /// Which connection, server or tunnel.
    pub pick: u8,
    /// How long or how much; each kind reads it in its own way.
    pub amount: u16,
}

impl Op {
    /// Bytes of an op.
    pub const SIZE: usize = 6;

    /// Reads an op; every six bytes are one.
    pub fn decode(bytes: [u8; Self::SIZE]) -> Self {
        let [low, high, kind, pick, least, most] = bytes;
        Self {
            after: Duration::from_millis(u64::from(u16::from_le_bytes([low, high]))),
            kind: Kind::ALL[usize::from(kind) % Kind::ALL.len()],
            pick,
            amount: u16::from_le_bytes([least, most]),
        }
    }

    /// Writes an op so that it decodes to the same.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let [low, high] = u16::try_from(self.after.as_millis()).unwrap_or(u16::MAX).to_le_bytes();
        let kind = Kind::ALL.iter().position(|kind| *kind == self.kind).unwrap_or(0);
        let [least, most] = self.amount.to_le_bytes();
        [low, high, u8::try_from(kind).unwrap_or(0), self.pick, least, most]
    }

    /// Reads a script, at most `most` ops; bytes that are no whole op are left out.
    pub fn script(bytes: &[u8], most: usize) -> Vec<Self> {
        let ops = bytes.as_chunks::<{ Self::SIZE }>().0;
        ops.iter().take(most).map(|op| Self::decode(*op)).collect()
    }

    /// Draws an op that comes within `apart` of the one before.
    pub fn draw(rng: &mut Rng, apart: Duration) -> Self {
        let [_, _, kind, pick, least, most] = rng.array();
        let millis = u64::try_from(apart.as_millis()).unwrap_or(u64::MAX);
        // Half of them come close together: faults that meet are worth more than faults alone.
        let within = if rng.chance(1, 2) { millis } else { millis / 20 + 1 };
        Self { after: Duration::from_millis(rng.below(within)), ..Self::decode([0, 0, kind, pick, least, most]) }
    }

    /// The amount as a time from `least` to `most`, short ones as often as long ones.
    pub fn time(&self, least: Duration, most: Duration) -> Duration {
        let part = f64::from(self.amount) / f64::from(u16::MAX);
        least.mul_f64((most.as_secs_f64() / least.as_secs_f64()).powf(part))
    }
}

#[cfg(test)]
mod tests {
    use sudp_proto::Seed;

    use super::*;

    #[test]
    fn any_six_bytes_are_an_op_and_come_back() {
        let mut rng = Rng::new(&Seed::from(1));
        for _ in 0..1_000 {
            let op = Op::decode(rng.array());
            assert_eq!(Op::decode(op.encode()), op);
        }
        assert_eq!(Op::script(&[0; 20], 64).len(), 3);
        assert_eq!(Op::script(&[0; 600], 64).len(), 64);
    }

    #[test]
    fn the_kinds_are_in_the_order_of_their_bytes_and_have_words() {
        for (index, kind) in (0..).zip(Kind::ALL) {
            assert_eq!(Op::decode([0, 0, index, 0, 0, 0]).kind, *kind);
            assert!(!kind.as_str().is_empty());
        }
    }

    #[test]
    fn amounts_are_times_between_the_bounds() {
        let op = |amount| Op { amount, ..Op::decode([0; 6]) };
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(64));
        assert_eq!(op(0).time(least, most), least);
        assert!((op(u16::MAX).time(least, most).as_secs_f64() - 64.0).abs() < 1e-6);
        assert!(op(u16::MAX / 2).time(least, most) < Duration::from_secs(9));
    }
}

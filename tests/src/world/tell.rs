//! What the trace of a world says, in words.

use crate::op::Kind;
use crate::trace::Note;

/// What was noted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Said {
    /// All faults ended.
    Calm,
    /// A server decided on a claim: its ordinal, and whether it was granted.
    Claim,
    /// A client's process started: which client, which process.
    ClientStarted,
    /// Something happened to a session: which machine, which event.
    Event,
    /// Something went wrong: what, and how much.
    Op,
    /// A datagram came to an application: its flow, its sequence.
    Received,
    /// A datagram left an application: its flow, its sequence.
    Sent,
    /// A server's process started: which server, which boot.
    ServerStarted,
    /// Clients show another token: whether it is good, and until when.
    Token,
    /// A driver took a turn: which machine, and how long it will sleep.
    Turn,
}

impl Said {
    const ALL: [Self; 10] = [
        Self::Calm,
        Self::Claim,
        Self::ClientStarted,
        Self::Event,
        Self::Op,
        Self::Received,
        Self::Sent,
        Self::ServerStarted,
        Self::Token,
        Self::Turn,
    ];

    /// A note in words.
    pub fn tell(note: &Note) -> String {
        let Note { a, b, .. } = *note;
        let flow = |a: u64| format!("{}{}", if a & 1 == 1 { "answer of flow " } else { "flow " }, a >> 1);
        match Self::ALL.get(usize::from(note.kind)) {
            Some(Self::Calm) => "all faults end".to_owned(),
            Some(Self::Claim) if b == 1 => format!("claim for link {a} granted"),
            Some(Self::Claim) => format!("claim for link {a} refused"),
            Some(Self::ClientStarted) => format!("client {a} starts as process {b}"),
            Some(Self::Event) => format!("machine {a}: {}", super::judge::event_word(b)),
            Some(Self::Op) => {
                let kind = usize::try_from(a).ok().and_then(|kind| Kind::ALL.get(kind));
                format!("fault: {} (pick {}, amount {})", kind.map_or("?", |kind| kind.as_str()), b >> 16, b & 0xffff)
            }
            Some(Self::Received) => format!("{} receives {b}", flow(a)),
            Some(Self::Sent) => format!("{} sends {b}", flow(a)),
            Some(Self::ServerStarted) => format!("server {a} starts, boot {b}"),
            Some(Self::Token) if a == 0 => "clients show a token that is no good".to_owned(),
            Some(Self::Token) => format!("clients show a token that is good until {} s", b / 1_000_000_000),
            Some(Self::Turn) if b > u64::MAX / 2 => format!("machine {a} takes a turn"),
            Some(Self::Turn) => format!("machine {a} takes a turn, sleeps {} us", b / 1_000),
            None => format!("note {} {a} {b}", note.kind),
        }
    }
}

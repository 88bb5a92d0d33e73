//! What a link's receiver says of it: counts, while it lives and when it has ended.

use std::time::Duration;

use super::Ordinal;

/// How many batches of this link were processed, duplicates included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ack {
    /// Batches since the link began.
    pub count: u64,
    /// How long the last of them waited for this; microseconds on the wire.
    pub delay: Duration,
}

/// What one side knows of a link that has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkDown {
    /// Which link.
    pub ordinal: Ordinal,
    /// How many batches the sender of this processed from it; absent when it has forgotten the link.
    pub count: Option<u64>,
    /// Whether the sender of this knows the other side's count.
    pub known: bool,
}

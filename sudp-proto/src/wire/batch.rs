//! Batches: records of one class under one number, immutable once cut.

use bytes::Bytes;

use super::{Address, FlowId, Number};

/// How the datagrams of a batch want to be treated. The wire fixes the numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// Replayed after a cut unless too old.
    Reliable = 0,
    /// Only what is fresh.
    Realtime = 1,
    /// Controls that must arrive: never stale, never dropped.
    Control = 2,
}

/// What stands before the records of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BatchHead {
    /// Its number.
    pub number: Number,
    /// The class of all its records.
    pub class: Class,
    /// The sender's clock in milliseconds, modulo 2³²; realtime batches carry it.
    pub clock: Option<u32>,
}

/// One datagram or, for flow 0, one [`Control`](super::Control).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Whose it is; 0 for controls.
    pub flow: FlowId,
    /// Where it goes or came from, where that differs from what the flow's OPEN said.
    pub address: Option<Address>,
    /// Two ECN bits and a hop count, as the sender saw them.
    pub extension: Option<u8>,
    /// The datagram.
    pub payload: Bytes,
}

/// Reads the records of a batch one by one.
#[derive(Clone, Debug)]
pub struct Records {
    rest: Bytes,
}

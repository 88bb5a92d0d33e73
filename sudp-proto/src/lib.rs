//! SUDP as a pure state machine: UDP carried over WebSocket sessions that outlive their connections.
//!
//! Nothing here opens a socket, reads a clock, draws global randomness or writes a log. Time comes in
//! as an argument, randomness as a [`Seed`], bytes and datagrams through calls; what should happen
//! next comes out of `poll_*`.

#![forbid(unsafe_code)]

pub mod access;
pub mod backoff;
#[cfg(feature = "driver")]
mod carrier;
#[cfg(feature = "driver")]
pub mod client;
pub mod config;
#[cfg(feature = "driver")]
pub mod driver;
pub mod error;
pub mod event;
pub mod heartbeat;
#[cfg(feature = "link")]
pub mod link;
pub mod rng;
#[cfg(feature = "driver")]
pub mod server;
pub mod session;
pub mod stats;
#[cfg(test)]
mod testing;
pub mod wire;

pub use rng::{Rng, Seed};

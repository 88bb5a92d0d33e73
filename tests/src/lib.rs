//! The simulator: one virtual world, its faults, and what must always hold in it.

#![forbid(unsafe_code)]
#![expect(clippy::wildcard_enum_match_arm, reason = "who watches a world looks at the few events that concern it")]

pub mod agenda;
pub mod app;
pub mod audit;
pub mod clock;
pub mod fuzz;
pub mod goals;
pub mod io;
pub mod ledger;
pub mod net;
pub mod op;
pub mod pipe;
pub mod proxy;
pub mod rig;
pub mod rules_ref;
pub mod trace;
pub mod world;

/// The examples of the documents, run as tests so that they stay true.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
pub mod documents {}

//! (being written)

pub mod dial;
pub mod servers;

//! Servers and clients in the foreground, as processes on loopback.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod ends;
mod reloads;
mod rig;
mod socks;
mod stdio;
mod tls;
mod tunnels;

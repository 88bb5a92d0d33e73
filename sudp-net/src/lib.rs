//! SUDP on real sockets, without a runtime: what the adapters for tokio and for async-std share.

#![deny(unsafe_code)]

#[cfg_attr(not(test), expect(dead_code, reason = "the sockets that are read and written by it come after it"))]
mod udp;

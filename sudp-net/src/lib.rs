//! SUDP on real sockets, without a runtime: what the adapters for tokio and for async-std share.

#![deny(unsafe_code)]

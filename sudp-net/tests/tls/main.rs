//! TLS from files to links: whom is trusted, who is refused, and with which words.

#![cfg(feature = "tls")]
#![expect(clippy::unwrap_used, reason = "what is not there fails the test")]

mod certs;
mod files;
mod links;
mod meeting;
mod refusals;

//! Whom to trust, and what to show: configurations of TLS, made from files.
//!
//! [`ClientOptions::load`] makes what a [`ClientSetup`](sudp_proto::client::ClientSetup) wants. A
//! [`ServerTls`] is a server's certificate and key, which can be read anew while it serves. Whatever is
//! wrong with them is found here, before anything is dialled or bound, and a [`TlsError`] names the file,
//! the cause and the way out. What is wrong with the other side is told by
//! [`TlsEnd`](sudp_proto::link::TlsEnd), when it connects.
//!
//! There is one provider of cryptography, `aws-lc-rs`, and it is passed explicitly: no default of the
//! process is read or set.

mod about;
mod chain;
mod client;
mod der;
mod error;
mod judge;
mod pem;
mod pin;
mod server;
mod validity;

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{SupportedProtocolVersion, version};

pub use about::{About, Onlooker};
pub use client::{ClientOptions, Identity, Trust, system_authorities};
pub use error::TlsError;
pub use pin::Pin;
pub use server::{ServerOptions, ServerTls};

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Oldest {
    /// TLS 1.2, for a remote that cannot do better.
    Tls12,
    /// TLS 1.3.
    #[default]
    Tls13,
}

impl Oldest {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        const NEW: &[&SupportedProtocolVersion] = &[&version::TLS13];
        const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
        match self {
            Self::Tls12 => BOTH,
            Self::Tls13 => NEW,
        }
    }
}

/// The one provider of cryptography, for whatever else speaks TLS in the same program.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider())).clone()
}

/// What is spoken inside.
fn protocols() -> Vec<Vec<u8>> {
    vec![b"http/1.1".to_vec()]
}

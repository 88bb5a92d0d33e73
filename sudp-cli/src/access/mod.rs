//! Who is let in, and to what: how a client shows who it is, and what the configuration grants it.

mod audit;
pub(crate) mod base64;
pub(crate) mod book;
mod certificate;
mod claims;
mod credential;
mod gate;
mod introspection;
mod jwt;
mod keys;
pub(crate) mod passwords;
mod penalty;
mod porch;
pub(crate) mod records;
pub(crate) mod secret;
mod sessions;
mod sources;
mod stranger;
pub(crate) mod ticket;
pub(crate) mod tokens;
pub(crate) mod users;
pub(crate) mod web;

use std::time::SystemTime;

use aws_lc_rs::digest;
use book::Scope;

pub(crate) use gate::Gate;
pub(crate) use jwt::Jwt;
pub(crate) use keys::Keys;
pub(crate) use porch::Porch;
pub(crate) use secret::Secret;
pub use stranger::Strangers;
pub(crate) use stranger::{Answers, read as stranger};

/// Who a client has turned out to be. It is kept with each of its sessions, so that what it may do can be found
/// anew when the configuration changes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Identity {
    /// Its name, as it stands in status and logs; empty is anybody.
    pub(crate) principal: String,
    /// How it has shown who it is.
    pub(crate) via: Via,
    /// To which groups it belongs.
    pub(crate) groups: Vec<String>,
    /// What it has restricted itself to.
    pub(crate) scope: Option<Scope>,
    /// When what it has shown ends.
    pub(crate) expires: Option<SystemTime>,
    /// What changes when that which it has shown is replaced or taken back.
    pub(crate) stamp: Stamp,
}

/// How a client has shown who it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Via {
    /// Not at all.
    #[default]
    Anonymous,
    /// By a certificate of its own, in TLS.
    Certificate,
    /// By a token about which somebody else was asked.
    Introspection,
    /// By a token that somebody else has signed.
    Jwt,
    /// By a key of its own, in sealing.
    Key,
    /// By a password.
    Password,
    /// By a token of ours.
    Token,
}

/// A fingerprint of what a credential is checked against.
pub(crate) type Stamp = [u8; 8];

/// The fingerprint of one kind of things.
pub(crate) fn stamp(kind: &str, of: &[u8]) -> Stamp {
    let mut whole = digest::Context::new(&digest::SHA256);
    whole.update(kind.as_bytes());
    whole.update(&[0]);
    whole.update(of);
    let mut stamp = Stamp::default();
    stamp.copy_from_slice(&whole.finish().as_ref()[..8]);
    stamp
}

/// Why somebody is not let in. It is for the log alone: outside, all of them look the same.
///
/// Names are those of somebody who is known. What else was typed may be a password in the wrong place.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Why {
    /// Too many are being judged.
    #[error("too many passwords wait to be checked")]
    Busy,
    /// The user may not come in any more.
    #[error("the user {0} is disabled")]
    Disabled(String),
    /// Who was asked about the token says that it is good for nothing.
    #[error("its token is not active, or not for this server")]
    Inactive,
    /// A token that somebody else has signed is not good.
    #[error("its token is refused: {0}")]
    Jwt(#[from] claims::Fault),
    /// What it shows is not of the form that it should have.
    #[error("its Authorization cannot be read")]
    Malformed,
    /// Its certificate names nobody.
    #[error("its certificate has no name")]
    Nameless,
    /// It shows nothing.
    #[error("it does not show who it is")]
    Nobody,
    /// It is known, and nothing is granted to it.
    #[error("{0} is granted nothing")]
    NotGranted(String),
    /// Who would have to be asked does not answer.
    #[error("nobody can be asked about its token")]
    Unavailable,
    /// The token has ended.
    #[error("the token {0} has ended")]
    TokenExpired(String),
    /// Its ticket is too old, or not one of ours.
    #[error("its ticket is not good any more")]
    StaleTicket,
    /// No such token.
    #[error("there is no such token")]
    UnknownToken,
    /// No such user.
    #[error("there is no such user")]
    UnknownUser,
    /// What it shows is of a kind that nothing here can check.
    #[error("nothing is configured that could check its Authorization")]
    Unsupported,
    /// Not the password of this user.
    #[error("the password of {0} is wrong")]
    WrongPassword(String),
}

//! Instances: named servers and clients, in the foreground or as daemons, each with its own files.

pub mod protocol;

use std::fmt;
use std::str::FromStr;

/// The name of an instance: it becomes part of file names, so it cannot be anything else.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(String);

/// Why a text is not the name of an instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "an instance is named by 1 to 64 letters, digits, dots, dashes and underscores, of which the first is a letter or a digit"
)]
pub struct NameError;

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if first && rest && text.len() <= 64 { Ok(Self(text.into())) } else { Err(NameError) }
    }
}

impl Default for Name {
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

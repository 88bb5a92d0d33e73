//! Instances: named servers and clients, in the foreground or as daemons, each with its own files.
//!
//! [`lock`] says who runs, [`spawn`] begins one in the background, [`serve`] is what it does there, [`control`] lets
//! others look into it, [`call`] is how they do, and [`manage`] has the commands.

pub mod call;
pub mod control;
#[cfg(test)]
mod fixtures;
pub mod list;
pub mod lock;
pub mod logs;
pub mod manage;
pub mod notify;
pub mod paths;
pub mod protocol;
pub mod saved;
#[cfg(test)]
pub(crate) mod scratch;
pub mod serve;
pub mod show;
pub mod spawn;

use std::fmt;
use std::str::FromStr;

use crate::status::Role;

/// The name of an instance: it becomes part of file names, so it cannot be anything else.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(String);

/// An instance. A server and a client may have the same name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Id {
    /// What it is.
    pub role: Role,
    /// What it is called.
    pub name: Name,
}

/// Why a text is not the name of an instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "an instance is named by 1 to 64 letters, digits, dots, dashes and underscores, of which the first is a letter or a digit"
)]
pub struct NameError;

impl Id {
    /// How its files are named, before the dot.
    pub fn stem(&self) -> String {
        format!("{}-{}", word(self.role), self.name)
    }

    /// The instance whose files are named like this.
    fn of_stem(stem: &str) -> Option<Self> {
        [Role::Server, Role::Client].into_iter().find_map(|role| {
            let name = stem.strip_prefix(word(role))?.strip_prefix('-')?.parse().ok()?;
            Some(Self { role, name })
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", word(self.role), self.name)
    }
}

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
        f.pad(&self.0)
    }
}

/// What a role is called, on the command line and in file names.
pub(crate) fn word(role: Role) -> &'static str {
    match role {
        Role::Server => "server",
        Role::Client => "client",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_folder() {
        let long = "a".repeat(65);
        let bad = [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "/etc",
            "-rf",
            ".hidden",
            "%2e%2e",
            "a b",
            "a\nb",
            "a\0b",
            "ä",
            "а",
            "a\\b",
            "~",
            "*",
            long.as_str(),
        ];
        for text in bad {
            assert_eq!(text.parse::<Name>(), Err(NameError), "{text:?}");
        }
        for text in ["a", "default", "0", "eu-west.1_b", "..a".trim_start_matches('.'), &long[..64]] {
            assert_eq!(text.parse::<Name>().map(|name| name.to_string()), Ok(text.to_string()));
        }
    }

    #[test]
    fn files_tell_whose_they_are() {
        let name: Name = "a-b.c".parse().expect("a name");
        for role in [Role::Server, Role::Client] {
            let id = Id { role, name: name.clone() };
            assert_eq!(Id::of_stem(&id.stem()), Some(id));
        }
        for stem in ["", "server", "server-", "server-../x", "proxy-a", "a", "client-.x"] {
            assert_eq!(Id::of_stem(stem), None, "{stem}");
        }
    }
}

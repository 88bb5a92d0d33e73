//! From the command line, the environment and the files to one configuration.

use std::path::PathBuf;

use super::{Config, Origins};
use crate::exit::Outcome;
use crate::instance::Name;
use crate::status::Role;

/// What a configuration is made from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file of `--config`; without it the usual ones are read if they are there.
    pub file: Option<PathBuf>,
    /// Whose it is: an instance has a file of its own beside the common one.
    pub instance: Option<Name>,
    /// What the command line says; it goes before everything else.
    pub flags: Flags,
    /// Where it logs if nobody says so: an instance in the background has a file of its own.
    pub log_file: Option<PathBuf>,
}

/// What the command line says of the configuration: the key, the flag it came by, and its values as they were typed.
#[derive(Clone, Debug, Default)]
pub struct Flags(Vec<Flag>);

/// One key that the command line sets.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The key, as `server.listen`.
    pub key: &'static str,
    /// The flag, as `--listen`.
    pub flag: &'static str,
    /// What it was given: one value, or several for a list. A tunnel is its kind, a blank and its spec.
    pub values: Vec<String>,
}

impl Flags {
    /// Notes what a flag says; one that was not given says nothing.
    pub fn set<T: ToString>(&mut self, key: &'static str, flag: &'static str, values: impl IntoIterator<Item = T>) {
        let values: Vec<_> = values.into_iter().map(|value| value.to_string()).collect();
        if !values.is_empty() {
            self.0.push(Flag { key, flag, values });
        }
    }

    /// Everything that was said.
    pub fn iter(&self) -> impl Iterator<Item = &Flag> {
        self.0.iter()
    }
}

/// A configuration, and what it was made from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// Where each value comes from.
    pub origins: Origins,
    /// The files that were read.
    pub files: Vec<PathBuf>,
}

impl Sources {
    /// Reads everything anew, and checks all of it for this role: what is wrong is told at once, each with its place.
    pub fn load(&self, role: Role) -> Outcome<Loaded> {
        let _ = role;
        unimplemented!()
    }
}

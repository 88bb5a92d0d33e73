//! Users: who they are in their file, and how their passwords are checked.

use std::time::SystemTime;

use super::passwords;
use super::records::{Fields, Record, Written, read_name, written_time};
use super::{Identity, Stamp, Via, stamp};

/// A user, as the file has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct User {
    /// What its password must come to.
    pub(crate) hash: String,
    /// To which groups it belongs.
    pub(crate) groups: Vec<String>,
    /// It may not come in, whatever it shows.
    pub(crate) disabled: bool,
    /// When it was made.
    pub(crate) created: Option<SystemTime>,
}

impl User {
    /// A new one.
    pub(crate) fn new(hash: String, groups: Vec<String>) -> Self {
        Self { hash, groups, disabled: false, created: Some(SystemTime::now()) }
    }

    /// Who it is that has shown its password.
    pub(crate) fn identity(&self, name: &str) -> Identity {
        Identity {
            principal: name.to_owned(),
            via: Via::Password,
            groups: self.groups.clone(),
            scope: None,
            expires: None,
            stamp: self.stamp(),
        }
    }

    /// What changes with its password.
    pub(crate) fn stamp(&self) -> Stamp {
        stamp("user", self.hash.as_bytes())
    }
}

impl Record for User {
    const SECTION: &'static str = "users";
    const FIELDS: &'static [&'static str] = &["hash", "groups", "disabled", "created"];

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let hash = fields.need("hash", |text| passwords::check_hash(text).map(|()| text.to_owned()));
        let groups = fields.many("groups", read_name);
        let (disabled, created) = (fields.truth("disabled"), fields.time("created"));
        Some(Self { hash: hash?, groups, disabled, created })
    }

    fn write(&self) -> Vec<(&'static str, Written)> {
        let mut fields =
            vec![("hash", Written::Text(self.hash.clone())), ("groups", Written::Texts(self.groups.clone()))];
        if self.disabled {
            fields.push(("disabled", Written::Text("true".into())));
        }
        fields.extend(self.created.map(|at| ("created", Written::Text(written_time(at)))));
        fields
    }
}

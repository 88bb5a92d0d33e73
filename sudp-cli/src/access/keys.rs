//! Clients that are known by the key they seal with: a file of lines `KEY NAME`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sudp_tokio::seal::PublicKey;

use super::{Identity, Via, stamp};
use crate::exit::{Exit, Failure, Outcome};

/// Who has which key.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Keys(BTreeMap<PublicKey, String>);

impl Keys {
    /// Reads the file; what is wrong in it is told with its line.
    pub(crate) fn load(file: &Path) -> Outcome<Self> {
        let wrong = |why: String| Failure::new(Exit::Config, why);
        let text =
            fs::read_to_string(file).map_err(|error| wrong(format!("cannot read {}: {error}", file.display())))?;
        Self::parse(&text).map_err(|(line, why)| wrong(format!("{}:{line}: {why}", file.display())))
    }

    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut keys = BTreeMap::new();
        for (line, text) in (1..).zip(text.lines().map(str::trim)) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let wrong = |why: String| Err((line, why));
            let Some((key, name)) = text.split_once(char::is_whitespace).map(|(key, name)| (key, name.trim())) else {
                return wrong("a line is `KEY NAME`, and here is no name".into());
            };
            let key = match key.parse::<PublicKey>() {
                Ok(key) => key,
                Err(error) => return wrong(format!("{error}; take it from `sudp keygen`")),
            };
            let proper =
                |name: &str| name.len() <= NAME && !name.contains(|it: char| it.is_control() || it.is_whitespace());
            if !proper(name) {
                return wrong(format!("a name has at most {NAME} bytes, and no blanks: {:?} is none", clipped(name)));
            }
            if let Some(other) = keys.insert(key, name.to_owned()) {
                return wrong(format!("this key is that of {other} already; leave one of them out"));
            }
        }
        Ok(Self(keys))
    }

    /// The name of whoever has this key.
    fn name(&self, key: &[u8; 32]) -> Option<&str> {
        self.0.get(&PublicKey(*key)).map(String::as_str)
    }

    /// Who has this key.
    pub(crate) fn identify(&self, key: &[u8; 32]) -> Option<Identity> {
        let principal = format!("{PRINCIPAL}{}", self.name(key)?);
        Some(Identity { principal, via: Via::Key, stamp: stamp("key", key), ..Identity::default() })
    }

    /// Whether somebody who had a key before has it still.
    pub(crate) fn knows(&self, identity: &Identity) -> bool {
        let Some(name) = identity.principal.strip_prefix(PRINCIPAL) else { return false };
        self.0.iter().any(|(key, other)| other == name && stamp("key", &key.0) == identity.stamp)
    }
}

fn clipped(name: &str) -> String {
    name.chars().take(NAME).collect()
}

/// What the principals of keys begin with.
const PRINCIPAL: &str = "key:";
/// Bytes of a name.
const NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_the_name_on_its_line() {
        let (one, other) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let keys = Keys::parse(&format!("# clients\n\n{one} laptop\n  {other}\tphone \n")).expect("two lines");
        assert_eq!(
            (keys.name(&one.0), keys.name(&other.0), keys.name(&[3; 32])),
            (Some("laptop"), Some("phone"), None)
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let key = PublicKey([1; 32]);
        for (text, line, says) in [
            (format!("{key}\n"), 1, "no name"),
            (format!("# a\n{key} two words\n"), 2, "no blanks"),
            (format!("\n\nx{key} a\n"), 3, "43 characters"),
            (format!("{key} a\n{key} b\n"), 2, "that of a already"),
            (format!("{key} {}\n", "n".repeat(65)), 1, "at most 64 bytes"),
        ] {
            let (at, why) = Keys::parse(&text).expect_err(&text);
            assert!(at == line && why.contains(says), "{text:?}: {at}: {why}");
        }
    }
}

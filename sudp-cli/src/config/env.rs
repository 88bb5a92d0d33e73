//! The environment: `SUDP_SERVER__LISTEN=127.0.0.1:80` says `server.listen`, and `SUDP_CLIENT__PROXY_FILE` names a file
//! that has the value of `client.proxy`.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::file;
use super::keys::{self, KEYS, Key};
use super::tree::{Map, Node, Origin, Problem};
use super::values::Kind;
use super::yaml;

/// The variable that names the configuration file.
pub(crate) const CONFIG: &str = "SUDP_CONFIG";

/// The variable that says what is logged, as `RUST_LOG` does for others.
pub(crate) const LOG: &str = "SUDP_LOG";

/// What the environment says.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// The values.
    pub(crate) tree: Map,
    /// Names that begin as ours do, and are none.
    pub(crate) unknown: Vec<Problem>,
}

/// Reads the variables that are ours.
pub(crate) fn read(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> Environment {
    let ours = variables.into_iter().filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    let mut ours: Vec<_> = ours.collect();
    ours.sort();
    let mut environment = Environment::default();
    for (name, value) in ours {
        let name = name.to_string_lossy();
        // Two underscores at once are between the processes of this program.
        if name == CONFIG || name.starts_with("SUDP__") {
            continue;
        }
        let at = Origin::Variable(name.as_ref().into());
        let Some((key, in_file)) = key(&name) else {
            environment.unknown.push(Problem::new(&at, "", format!("there is no such variable{}", suggest(&name))));
            continue;
        };
        if let Some(node) = node(key, in_file, &value, &at, problems) {
            // In this order `SUDP_LOG` comes first, and gives way to the long name of its key.
            environment.tree.put(key.path, node);
        }
    }
    environment
}

/// The key that a variable is for, and whether it names a file with the value.
fn key(name: &str) -> Option<(&'static Key, bool)> {
    if name == LOG {
        return keys::find("log.level").map(|key| (key, false));
    }
    let named = |name: &str| KEYS.iter().find(|key| key.variable() == name);
    named(name).map(|key| (key, false)).or_else(|| named(name.strip_suffix("_FILE")?).map(|key| (key, true)))
}

fn node(key: &Key, in_file: bool, value: &OsStr, at: &Origin, problems: &mut Vec<Problem>) -> Option<Node> {
    if in_file {
        let node = match file::read_value(Path::new(value)) {
            Ok(text) => node_of(key, &text, at, problems),
            Err(error) => {
                problems.push(Problem::new(at, key.path, error));
                None
            }
        };
        return node;
    }
    let Some(text) = value.to_str() else {
        problems.push(Problem::new(at, key.path, "the value is not UTF-8"));
        return None;
    };
    node_of(key, text, at, problems)
}

/// The value of a key, from a text that may be a list: with commas, or as JSON.
pub(crate) fn node_of(key: &Key, text: &str, at: &Origin, problems: &mut Vec<Problem>) -> Option<Node> {
    let trimmed = text.trim();
    let inside = trimmed.strip_prefix('[').map(str::trim_start);
    // A bracket may also begin an address.
    let section = trimmed.starts_with('{') && matches!(key.kind, Kind::Grant | Kind::Headers | Kind::Tunnel);
    let json = section || key.list && inside.is_some_and(|inside| inside.starts_with(['"', '{', ']']));
    if json {
        let mut found = Vec::new();
        let node = yaml::parse(trimmed, &|_, _| at.clone(), &mut found);
        // What is wrong is said without the place, which nobody counts in a variable.
        problems.extend(found.into_iter().map(|problem| Problem { key: key.path.to_owned(), ..problem }));
        return node;
    }
    if key.list {
        let parts = trimmed.split(',').map(str::trim).filter(|part| !part.is_empty());
        return Some(Node::texts(parts, at.clone()));
    }
    Some(Node::text(text, at.clone()))
}

fn suggest(name: &str) -> String {
    let names: Vec<String> = KEYS.iter().map(|key| key.variable().to_ascii_lowercase()).collect();
    match keys::nearest(name, names.iter().map(String::as_str)) {
        Some(near) => keys::did_you_mean(Some(&near.to_ascii_uppercase())),
        None => "; a variable is named as its key, as SUDP_SERVER__LISTEN for `server.listen`".to_owned(),
    }
}

/// What the names of all our variables begin with.
const PREFIX: &str = "SUDP_";

#[cfg(test)]
mod tests;

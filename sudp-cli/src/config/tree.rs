//! What was configured, before anybody knows what it means: texts, lists and maps, each with its origin.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where something was said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    /// Nobody said it.
    Default,
    /// A file, and where in it; line and column count from 1, and are 0 where they are not known.
    File {
        /// Which.
        file: Arc<Path>,
        /// Its line.
        line: u64,
        /// The character of that line.
        column: u64,
    },
    /// A flag of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(Arc<str>),
}

impl Origin {
    /// The folder that a path said here begins in; without one it is where the process is.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        match self {
            Self::File { file, .. } => file.parent().map(Path::to_owned),
            Self::Default | Self::Flag(_) | Self::Variable(_) => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line: 0, .. } => write!(f, "{}", file.display()),
            Self::File { file, line, column } => write!(f, "{}:{line}:{column}", file.display()),
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// A value, and where it was said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Node {
    /// What was said.
    pub(crate) value: Value,
    /// Where.
    pub(crate) origin: Origin,
}

/// What can be said. A number or a truth is a text: only the key it belongs to knows how to read it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Value {
    /// A key without a value: as good as if it were not there.
    Nothing,
    /// One value.
    Text(String),
    /// Several, in order.
    List(Vec<Node>),
    /// Values by name.
    Map(Map),
}

/// Values by name, in the order in which they were said.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Map(pub(crate) Vec<Entry>);

/// A name and its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    /// The name.
    pub(crate) name: String,
    /// Where it was said.
    pub(crate) at: Origin,
    /// The value.
    pub(crate) node: Node,
}

impl Map {
    /// The value of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.0.iter().find(|entry| entry.name == name).map(|entry| &entry.node)
    }

    /// The value at the end of a path, as `server.tls.cert`.
    pub(crate) fn find(&self, path: &str) -> Option<&Node> {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let node = self.get(name).filter(|node| node.value != Value::Nothing)?;
        match (rest, &node.value) {
            (None, _) => Some(node),
            (Some(rest), Value::Map(map)) => map.find(rest),
            (Some(_), Value::Nothing | Value::Text(_) | Value::List(_)) => None,
        }
    }

    /// Puts a value at the end of a path, in place of what is there.
    pub(crate) fn put(&mut self, path: &str, node: Node) {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let inner = match rest {
            None => node,
            Some(rest) => {
                let mut map = Self::default();
                let origin = node.origin.clone();
                map.put(rest, node);
                Node { value: Value::Map(map), origin }
            }
        };
        let at = inner.origin.clone();
        self.overlay(Self(vec![Entry { name: name.to_owned(), at, node: inner }]));
    }

    /// Takes out the value at the end of a path.
    pub(crate) fn take(&mut self, path: &str) -> Option<Node> {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let index = self.0.iter().position(|entry| entry.name == name)?;
        match (rest, &mut self.0[index].node.value) {
            (None, _) => Some(self.0.remove(index).node),
            (Some(rest), Value::Map(map)) => map.take(rest),
            (Some(_), Value::Nothing | Value::Text(_) | Value::List(_)) => None,
        }
    }

    /// Lays another map over this one: what it says goes before what this one said, at the depth at which it says it.
    /// A list replaces a list.
    pub(crate) fn overlay(&mut self, over: Self) {
        for entry in over.0 {
            if entry.node.value == Value::Nothing {
                continue;
            }
            let Some(below) = self.0.iter_mut().find(|below| below.name == entry.name) else {
                self.0.push(entry);
                continue;
            };
            match (&mut below.node.value, entry.node) {
                (Value::Map(map), Node { value: Value::Map(over), .. }) => map.overlay(over),
                (_, node) => {
                    below.at = entry.at;
                    below.node = node;
                }
            }
        }
    }
}

impl Node {
    /// A text.
    pub(crate) fn text(text: impl Into<String>, origin: Origin) -> Self {
        Self { value: Value::Text(text.into()), origin }
    }

    /// A list of texts.
    pub(crate) fn texts<'a>(texts: impl IntoIterator<Item = &'a str>, origin: Origin) -> Self {
        let list = texts.into_iter().map(|text| Self::text(text, origin.clone())).collect();
        Self { value: Value::List(list), origin }
    }

    /// What kind of value it is, for a person.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Nothing => "nothing",
            Value::Text(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a section",
        }
    }
}

/// Something that is wrong, where, and what is allowed. All of them are told at once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Problem {
    /// Where it was said.
    pub(crate) at: Origin,
    /// The key, if it is known which.
    pub(crate) key: String,
    /// What was found, and what is allowed.
    pub(crate) what: String,
}

impl Problem {
    /// Something wrong with a key.
    pub(crate) fn new(at: &Origin, key: impl Into<String>, what: impl fmt::Display) -> Self {
        Self { at: at.clone(), key: key.into(), what: what.to_string() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.at, self.key.as_str()) {
            (Origin::Default, key) => write!(f, "{key}: {}", self.what),
            (at, "") => write!(f, "{at}: {}", self.what),
            (at, key) => write!(f, "{at}: {key}: {}", self.what),
        }
    }
}

/// A value as it is shown in a message: in one line, escaped and not too long.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect::<String>().escape_debug().to_string();
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

const SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> Map {
        let mut map = Map::default();
        for (path, text) in entries {
            map.put(path, Node::text(*text, Origin::Default));
        }
        map
    }

    #[test]
    fn what_is_laid_over_goes_first_at_its_own_depth() {
        let mut below = map(&[("server.path", "/a"), ("server.tls.cert", "one"), ("log.level", "info")]);
        below.overlay(map(&[("server.tls.cert", "two"), ("client.name", "me")]));
        let texts = ["server.path", "server.tls.cert", "log.level", "client.name"].map(|path| match below.find(path) {
            Some(Node { value: Value::Text(text), .. }) => text.clone(),
            other => panic!("{path}: {other:?}"),
        });
        assert_eq!(texts, ["/a", "two", "info", "me"]);
    }

    #[test]
    fn a_key_without_a_value_says_nothing() {
        let mut below = map(&[("log.level", "info")]);
        let nothing = Node { value: Value::Nothing, origin: Origin::Default };
        below.overlay(Map(vec![Entry { name: "log".into(), at: Origin::Default, node: nothing }]));
        assert_eq!(below, map(&[("log.level", "info")]));
    }

    #[test]
    fn a_list_replaces_a_list() {
        let list = |texts: &[&str]| Node::texts(texts.iter().copied(), Origin::Default);
        let mut below = Map::default();
        below.put("server.rules", list(&["a", "b"]));
        below.put("server.rules", list(&["c"]));
        assert_eq!(below.find("server.rules"), Some(&list(&["c"])));
    }

    #[test]
    fn what_is_shown_stays_in_one_line() {
        assert_eq!(quoted("a\nb\u{1b}[31m"), "`a\\nb\\u{1b}[31m`");
        assert_eq!(quoted(&"x".repeat(81)), format!("`{}...`", "x".repeat(80)));
    }
}

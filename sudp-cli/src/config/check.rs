//! Whether a tree has the right shape, and reading single values out of it. Whatever is wrong is noted, and the next
//! thing looked at.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::{self, Key};
use super::tree::{Entry, Map, Node, Origin, Problem, Value, quoted};
use super::values::{self, Kind, NEVER};

/// Takes out of a tree what cannot stand where it does, and says why.
pub(crate) fn sift(map: &mut Map, problems: &mut Vec<Problem>) {
    sift_section("", map, problems);
}

fn sift_section(section: &str, map: &mut Map, problems: &mut Vec<Problem>) {
    map.0.retain_mut(|entry| {
        let path = if section.is_empty() { entry.name.clone() } else { format!("{section}.{}", entry.name) };
        match judge(section, &path, entry) {
            Ok(()) => {}
            Err(what) => {
                problems.push(Problem::new(&entry.at, path, what));
                return false;
            }
        }
        if let (true, Value::Map(inner)) = (keys::is_section(&path), &mut entry.node.value) {
            sift_section(&path, inner, problems);
        }
        true
    });
}

/// Whether this name, with a value of this shape, may stand here.
fn judge(section: &str, path: &str, entry: &Entry) -> Result<(), String> {
    let found = entry.node.kind();
    if keys::is_section(path) {
        return match &entry.node.value {
            Value::Map(_) | Value::Nothing => Ok(()),
            Value::Text(_) | Value::List(_) => {
                let inside = keys::below(path).collect::<Vec<_>>().join(", ");
                Err(format!("this is a section, found is {found}; allowed in it are {inside}"))
            }
        };
    }
    let Some(key) = keys::find(path).or_else(|| secret_in_file(path)) else {
        return Err(format!("there is no key `{path}`{}", keys::suggest(section, &entry.name)));
    };
    match &entry.node.value {
        Value::Nothing | Value::Text(_) => Ok(()),
        Value::Map(_) if key.kind == Kind::Headers => Ok(()),
        Value::List(_) if key.list || key.kind == Kind::Headers => Ok(()),
        Value::Map(_) if matches!(key.kind, Kind::Grant | Kind::Tunnel) => {
            Err(format!("found is {found}; allowed is a list of them"))
        }
        Value::List(_) | Value::Map(_) => Err(format!("found is {found}; allowed is {}", key.kind)),
    }
}

/// The secret that a key as `client.proxy_file` names the file of.
pub(crate) fn secret_in_file(path: &str) -> Option<&'static Key> {
    keys::find(path.strip_suffix(IN_FILE)?).filter(|key| key.secret)
}

/// What is behind the name of a secret where a file is named in its place.
pub(crate) const IN_FILE: &str = "_file";

/// Reads values out of a tree of the right shape.
pub(crate) struct Reader<'a> {
    tree: &'a Map,
    problems: &'a mut Vec<Problem>,
    #[cfg(test)]
    pub(crate) asked: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    /// A reader that notes what is wrong.
    pub(crate) fn new(tree: &'a Map, problems: &'a mut Vec<Problem>) -> Self {
        Self {
            tree,
            problems,
            #[cfg(test)]
            asked: Vec::new(),
        }
    }

    /// The value of a key, if it has one.
    pub(crate) fn node(&mut self, path: &'static str) -> Option<(&'static Key, &'a Node)> {
        #[cfg(test)]
        self.asked.push(path);
        let key = keys::find(path).expect("only keys of the table are read");
        Some((key, self.tree.find(path)?))
    }

    /// One value, read by `read`; the word for never is no value.
    pub(crate) fn one<T, E: fmt::Display>(
        &mut self,
        path: &'static str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (key, node) = self.node(path)?;
        match &node.value {
            Value::Text(text) if key.never && text == NEVER => None,
            Value::Text(text) => self.value(path, key, node, text, read),
            Value::Nothing => None,
            Value::List(_) | Value::Map(_) => {
                self.note(node, path, format!("found is {}; allowed is {}", node.kind(), key.kind));
                None
            }
        }
    }

    /// Several values, each read by `read`.
    pub(crate) fn many<T, E: fmt::Display>(
        &mut self,
        path: &'static str,
        mut read: impl FnMut(&str) -> Result<T, E>,
    ) -> Vec<T> {
        self.each(path, |reader, path, key, node| match &node.value {
            Value::Text(text) => reader.value(path, key, node, text, &mut read),
            Value::Nothing | Value::List(_) | Value::Map(_) => {
                reader.note(node, path, format!("found is {}; allowed is {}", node.kind(), key.kind));
                None
            }
        })
    }

    /// Several values, each taken by `take`; one alone is a list, too.
    pub(crate) fn each<T>(
        &mut self,
        path: &'static str,
        mut take: impl FnMut(&mut Self, &str, &'static Key, &'a Node) -> Option<T>,
    ) -> Vec<T> {
        match self.node(path) {
            None => Vec::new(),
            Some((key, Node { value: Value::List(list), .. })) => {
                let items = list.iter().enumerate();
                items.filter_map(|(index, node)| take(self, &format!("{path}[{index}]"), key, node)).collect()
            }
            Some((key, node)) => take(self, path, key, node).into_iter().collect(),
        }
    }

    /// A number in its range.
    pub(crate) fn count(&mut self, path: &'static str) -> Option<usize> {
        let Kind::Count(least, most) = kind(path) else { unreachable!("{path} is a number") };
        self.one(path, |text| values::read_count(text, least, most))
    }

    /// A size in its range.
    pub(crate) fn size(&mut self, path: &'static str) -> Option<usize> {
        let Kind::Size(least, most) = kind(path) else { unreachable!("{path} is a size") };
        self.one(path, |text| values::read_size(text, least, most))
    }

    /// A time in its range.
    pub(crate) fn time(&mut self, path: &'static str) -> Option<Duration> {
        let Kind::Time(least, most) = kind(path) else { unreachable!("{path} is a time") };
        self.one(path, |text| values::read_time(text, least, most))
    }

    /// A truth.
    pub(crate) fn truth(&mut self, path: &'static str) -> bool {
        self.one(path, values::read_bool).unwrap_or_default()
    }

    /// A text.
    pub(crate) fn text(&mut self, path: &'static str) -> Option<String> {
        let Kind::Text(most) = kind(path) else { unreachable!("{path} is a text") };
        self.one(path, |text| values::read_text(text, most))
    }

    /// The path of a file, which begins in the folder of the file that names it.
    pub(crate) fn file(&mut self, path: &'static str) -> Option<PathBuf> {
        let folder = self.node(path)?.1.origin.folder();
        self.one(path, |text| read_path(text, folder.as_deref()))
    }

    /// The paths of files.
    pub(crate) fn files(&mut self, path: &'static str) -> Vec<PathBuf> {
        self.each(path, |reader, path, key, node| {
            let folder = node.origin.folder();
            match &node.value {
                Value::Text(text) => reader.value(path, key, node, text, |text| read_path(text, folder.as_deref())),
                Value::Nothing | Value::List(_) | Value::Map(_) => {
                    reader.note(node, path, format!("found is {}; allowed is {}", node.kind(), key.kind));
                    None
                }
            }
        })
    }

    /// Notes that something is wrong with a node.
    pub(crate) fn note(&mut self, node: &Node, path: &str, what: impl fmt::Display) {
        self.note_at(&node.origin, path, what);
    }

    /// Notes that something is wrong with what was said here.
    pub(crate) fn note_at(&mut self, at: &Origin, path: &str, what: impl fmt::Display) {
        self.problems.push(Problem::new(at, path, what));
    }

    /// Notes that something is wrong with a key, wherever it was said.
    pub(crate) fn blame(&mut self, path: &str, what: impl fmt::Display) {
        let at = self.tree.find(path).map_or(&Origin::Default, |node| &node.origin);
        self.problems.push(Problem::new(at, path, what));
    }

    /// Whether nobody said anything of a key.
    pub(crate) fn is_default(&self, path: &str) -> bool {
        self.tree.find(path).is_none_or(|node| node.origin == Origin::Default)
    }

    /// How many things are wrong so far.
    pub(crate) fn problems(&self) -> usize {
        self.problems.len()
    }

    /// Whether anything is wrong so far.
    pub(crate) fn failed(&self) -> bool {
        !self.problems.is_empty()
    }

    fn value<T, E: fmt::Display>(
        &mut self,
        path: &str,
        key: &Key,
        node: &Node,
        text: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match read(text) {
            Ok(value) => Some(value),
            // What is wrong with a secret is said without it.
            Err(_) if key.secret && key.kind != Kind::Proxy => {
                self.note(node, path, format!("what is given is not allowed; allowed is {}", key.kind));
                None
            }
            Err(error) => {
                self.note(node, path, error);
                None
            }
        }
    }
}

/// Reads the path of a file.
pub(crate) fn read_path(text: &str, folder: Option<&Path>) -> Result<PathBuf, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(Kind::File.refuse(text));
    }
    if text == "~" || text.starts_with("~/") {
        return Err(format!("{} begins with ~, which only a shell understands; write the whole path", quoted(text)));
    }
    let path = Path::new(text);
    Ok(folder.map_or_else(|| path.to_owned(), |folder| folder.join(path)))
}

fn kind(path: &str) -> Kind {
    keys::find(path).expect("only keys of the table are read").kind
}

//! YAML: from a text to a tree. What is particular to the library that reads it stays in here.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Spanned};

use super::tree::{Entry, Map, Node, Origin, Problem, Value};

/// Reads the text of a file. A key that stands twice in one map is a problem, and so is what is no YAML at all.
pub(crate) fn read(text: &str, file: &Arc<Path>, problems: &mut Vec<Problem>) -> Map {
    let origin = |line, column| Origin::File { file: file.clone(), line, column };
    match parse(text, &origin, problems) {
        Some(Node { value: Value::Map(map), .. }) => map,
        None | Some(Node { value: Value::Nothing, .. }) => Map::default(),
        Some(node @ Node { value: Value::Text(_) | Value::List(_), .. }) => {
            let what = format!("a configuration has sections, as `server:`; found is {}", node.kind());
            problems.push(Problem::new(&node.origin, "", what));
            Map::default()
        }
    }
}

/// Reads a text, JSON included, which is YAML too.
pub(crate) fn parse(text: &str, origin: &dyn Fn(u64, u64) -> Origin, problems: &mut Vec<Problem>) -> Option<Node> {
    if let Some((line, column, character)) = forbidden(text) {
        let what = format!("the character {} cannot stand in a configuration", character.escape_unicode());
        problems.push(Problem::new(&origin(line, column), "", what));
        return None;
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_depth: 16,
            flow_nesting_limit: 16,
            max_nodes: 100_000,
            max_events: 300_000,
            max_anchors: 256,
            max_aliases: 1_024,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 10_000 },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
        reject_unsupported_tags: true,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Some(Reader { text, origin, problems }.node(raw)),
        Err(error) => {
            let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
            problems.push(Problem::new(&origin(line, column), "", words(&error)));
            None
        }
    }
}

/// What a library's error says, without the place, which is said in front of it, and in one line.
fn words(error: &serde_saphyr::Error) -> String {
    let message = error.to_string();
    let message = message.lines().next().unwrap_or_default();
    let message =
        message.split_once(": ").filter(|(front, _)| front.starts_with("error")).map_or(message, |(_, it)| it);
    let end = message.find(" at line ").unwrap_or(message.len());
    message[..end].to_owned()
}

/// The first character that has no business in a text that people write.
fn forbidden(text: &str) -> Option<(u64, u64, char)> {
    let (mut line, mut column) = (1, 0);
    for character in text.chars() {
        column += 1;
        match character {
            '\n' => (line, column) = (line + 1, 0),
            '\t' | '\r' => {}
            // At the very beginning it is the mark that some editors leave.
            '\u{feff}' if (line, column) == (1, 1) => {}
            control if control.is_control() || control == '\u{feff}' => return Some((line, column, control)),
            _ => {}
        }
    }
    None
}

struct Reader<'a> {
    text: &'a str,
    origin: &'a dyn Fn(u64, u64) -> Origin,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn node(&mut self, raw: Spanned<Raw>) -> Node {
        let origin = self.origin(raw.defined);
        let value = match raw.value {
            Raw::Nothing => Value::Nothing,
            Raw::Text(text) => Value::Text(text),
            Raw::AsWritten(meant) => Value::Text(self.as_written(raw.defined).unwrap_or(meant)),
            Raw::List(list) => Value::List(list.into_iter().map(|raw| self.node(raw)).collect()),
            Raw::Map(map) => Value::Map(self.map(map)),
        };
        Node { value, origin }
    }

    fn map(&mut self, raw: Vec<(Spanned<String>, Spanned<Raw>)>) -> Map {
        let mut map = Map::default();
        for (name, raw) in raw {
            let (at, name) = (self.origin(name.defined), name.value);
            let node = self.node(raw);
            if let Some(first) = map.0.iter().find(|entry| entry.name == name) {
                let what = format!("this key stands here a second time; the first is at {}", first.at);
                self.problems.push(Problem::new(&at, name, what));
                continue;
            }
            // A value that is not there has no place of its own.
            let node = if node.value == Value::Nothing { Node { origin: at.clone(), ..node } } else { node };
            map.0.push(Entry { name, at, node });
        }
        map
    }

    fn origin(&self, at: Location) -> Origin {
        (self.origin)(at.line(), at.column())
    }

    /// What stands there, so that `1e3` and `0x10` stay what they are until somebody knows what is meant.
    fn as_written(&self, at: Location) -> Option<String> {
        let start = usize::try_from(at.span().byte_offset()?).ok()?;
        let end = start + usize::try_from(at.span().byte_len()?).ok()?;
        Some(self.text.get(start..end)?.trim().to_owned())
    }
}

/// What the library makes of a node.
enum Raw {
    Nothing,
    Text(String),
    /// Something that it took for a number or a truth.
    AsWritten(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a section")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::AsWritten(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::AsWritten(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::AsWritten(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::AsWritten(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests;

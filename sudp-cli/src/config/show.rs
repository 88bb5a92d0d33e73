//! What is in force, and where each value comes from. Secrets are not shown.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::grants;
use super::keys::{KEYS, Key};
use super::load::Gathered;
use super::tree::{Map, Node, Origin, Value};
use super::values::Kind;

/// What stands in the place of a secret.
const HIDDEN: &str = "(hidden)";

/// What is in force as a file of YAML that says the same, each value with its origin behind it where that is asked for.
pub(crate) fn yaml(gathered: &Gathered, origins: bool) -> String {
    let mut text = String::new();
    write_section(&mut text, "", 0, &gathered.tree, origins);
    text
}

/// The same for programs.
pub(crate) fn json(gathered: &Gathered) -> Json {
    let keys = KEYS.iter().filter_map(|key| {
        let node = gathered.tree.find(key.path)?;
        let origin = node.origin.to_string();
        let is_default = node.origin == Origin::Default;
        Some(json!({"key": key.path, "value": json_of(key, node), "origin": origin, "default": is_default}))
    });
    let files: Vec<_> = gathered.files.iter().map(|file| file.display().to_string()).collect();
    json!({"schema": 1, "files": files, "keys": keys.collect::<Vec<_>>()})
}

/// A text as JSON has a value of this key.
pub(crate) fn typed(key: &Key, text: &str) -> Json {
    match key.list {
        true => text.split(',').filter(|part| !part.is_empty()).map(|part| typed_one(key.kind, part)).collect(),
        false => typed_one(key.kind, text),
    }
}

/// A text as YAML has it, in quotes where it would else be something else.
pub(crate) fn scalar(text: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || " _./:=+-@%?".contains(it);
    let first = text.starts_with(|it: char| it.is_ascii_alphanumeric() || it == '/' || it == '_');
    let ends = text.ends_with([':', ' ']) || text.contains(": ");
    let null = ["null", "Null", "NULL"].contains(&text);
    if first && !ends && !null && text.chars().all(plain) {
        return text.to_owned();
    }
    match text.chars().any(|it| it.is_control() || !it.is_ascii()) {
        // JSON's way of writing is YAML's, too.
        true => Json::from(text).to_string(),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

fn write_section(text: &mut String, path: &str, depth: usize, tree: &Map, origins: bool) {
    let indent = "  ".repeat(depth);
    for name in super::keys::below(path) {
        let inner = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let Some(node) = tree.find(&inner) else { continue };
        match super::keys::find(&inner) {
            None => {
                let _ = writeln!(text, "{indent}{name}:");
                write_section(text, &inner, depth + 1, tree, origins);
            }
            Some(key) => write_key(text, key, name, &indent, node, origins),
        }
    }
}

fn write_key(text: &mut String, key: &Key, name: &str, indent: &str, node: &Node, origins: bool) {
    let from = |origin: &Origin| if origins { format!("  # {origin}") } else { String::new() };
    match &node.value {
        Value::List(list) if list.is_empty() => {
            let _ = writeln!(text, "{indent}{name}: []{}", from(&node.origin));
        }
        Value::List(list) => {
            let _ = writeln!(text, "{indent}{name}:");
            for item in list {
                let _ = writeln!(text, "{indent}  - {}{}", flow(key, item), from(&item.origin));
            }
        }
        Value::Map(map) if key.kind == Kind::Headers => {
            let _ = writeln!(text, "{indent}{name}:");
            for entry in &map.0 {
                let _ = writeln!(text, "{indent}  {}: {HIDDEN}{}", scalar(&entry.name), from(&entry.node.origin));
            }
        }
        Value::Nothing | Value::Text(_) | Value::Map(_) => {
            let _ = writeln!(text, "{indent}{name}: {}{}", flow(key, node), from(&node.origin));
        }
    }
}

/// A value in one line.
fn flow(key: &Key, node: &Node) -> String {
    match &node.value {
        _ if key.secret => HIDDEN.to_owned(),
        Value::Nothing => "null".to_owned(),
        Value::Text(text) => scalar(text),
        Value::List(list) => format!("[{}]", list.iter().map(|node| flow(key, node)).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            // Between braces a comma or a brace ends a text, so all of them stand in quotes.
            let value = |node: &Node| match &node.value {
                Value::Text(text) => Json::from(text.as_str()).to_string(),
                Value::Nothing | Value::List(_) | Value::Map(_) => flow(key, node),
            };
            let entries = map.0.iter().map(|entry| format!("{}: {}", scalar(&entry.name), value(&entry.node)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

fn json_of(key: &Key, node: &Node) -> Json {
    json_of_kind(key.kind, key.secret, node)
}

fn json_of_kind(kind: Kind, secret: bool, node: &Node) -> Json {
    let inner = |name: &str| match grants::field(name) {
        Some(field) if kind == Kind::Grant => field.kind,
        Some(_) | None => kind,
    };
    match &node.value {
        Value::Map(map) => map
            .0
            .iter()
            .map(|entry| (entry.name.clone(), json_of_kind(inner(&entry.name), secret, &entry.node)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        _ if secret => json!(HIDDEN),
        Value::Nothing => Json::Null,
        Value::Text(text) => typed_one(kind, text),
        Value::List(list) => list.iter().map(|node| json_of_kind(kind, secret, node)).collect(),
    }
}

fn typed_one(kind: Kind, text: &str) -> Json {
    let number = || text.replace('_', "").parse::<u64>().ok().map(Json::from);
    let truth = || super::values::read_bool(text).ok().map(Json::from);
    let typed = match kind {
        Kind::Bool => truth(),
        Kind::Count(..) => number(),
        Kind::Choice(_)
        | Kind::ByteRate
        | Kind::File
        | Kind::Grant
        | Kind::Headers
        | Kind::Levels
        | Kind::Moment
        | Kind::Network
        | Kind::Pin
        | Kind::Proxy
        | Kind::PublicKey
        | Kind::Rate
        | Kind::RequestPath
        | Kind::Rule
        | Kind::ServerUrl
        | Kind::Size(..)
        | Kind::Socket
        | Kind::Strangers
        | Kind::Text(_)
        | Kind::Time(..)
        | Kind::Tunnel
        | Kind::Who => None,
    };
    typed.unwrap_or_else(|| Json::from(text))
}

#[cfg(test)]
mod tests;

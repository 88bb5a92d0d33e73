//! What the table of keys has to say to people and programs: an example file, a schema, the tables of the documents.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::grants::{self, Field};
use super::keys::{self, KEYS, Key};
use super::values::{Kind, NEVER};
use crate::status::Role;

/// An example file: every key with its default, commented out, so that it changes nothing as it is.
pub(crate) fn example(role: Option<Role>) -> String {
    let whose = match role {
        Some(Role::Server) => " of a server",
        Some(Role::Client) => " of a client",
        None => "",
    };
    let mut text = format!(
        "# The configuration{whose}. What is commented out shows the default, or an example where there is none.\n\
         # `sudp config check` says whether it can be used; flags and variables (SUDP_SERVER__LISTEN) go before it.\n"
    );
    let concerns = |key: &&Key| role.is_none() || key.role.is_none() || key.role == role;
    let mut open: Vec<&str> = Vec::new();
    for key in KEYS.iter().filter(concerns) {
        let names: Vec<&str> = key.path.split('.').collect();
        let (name, sections) = names.split_last().expect("a path has a name");
        let shared = open.iter().zip(sections).take_while(|(one, other)| one == other).count();
        for (depth, section) in sections.iter().enumerate().skip(shared) {
            let gap = if depth == 0 { "\n" } else { "" };
            let _ = writeln!(text, "{gap}{}{section}:", indent(depth));
        }
        open = sections.to_vec();
        let indent = indent(sections.len());
        let mut lines = wrapped(&format!("{} {}", key.help, allowed(key)), WIDTH - indent.len() - 2);
        for field in fields(key) {
            let help = format!("{}: {}", field.name, field_help(field).replace('`', ""));
            let inner = wrapped(&help, WIDTH - indent.len() - 6);
            lines.extend(inner.into_iter().enumerate().map(|(at, line)| match at {
                0 => format!("  {line}"),
                _ => format!("    {line}"),
            }));
        }
        for line in lines {
            let _ = writeln!(text, "{indent}# {line}");
        }
        let _ = writeln!(text, "{indent}#{name}: {}", shown(key));
    }
    text
}

/// The schema of a file, for editors: JSON Schema, draft 2020-12.
pub(crate) fn schema() -> Value {
    let mut root = section("");
    root.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".into(), json!("The configuration of SUDP"));
    Value::Object(root)
}

/// The page `sudp.yaml(5)`.
pub(crate) fn page() -> String {
    let mut text = String::from(
        ".TH sudp.yaml 5 \"\" SUDP \"File formats\"\n.SH NAME\nsudp.yaml \\- the configuration of sudp\n.SH DESCRIPTION\n",
    );
    for paragraph in DESCRIPTION {
        let _ = writeln!(text, "{}\n.PP", roff(paragraph));
    }
    text.push_str(".SH KEYS\n");
    for key in KEYS.iter() {
        let when = if key.reload { " A reload applies it." } else { "" };
        let body = format!("{} {}{when}", key.help, allowed(key));
        let _ = write!(text, ".TP\n\\fB{}\\fR\n{}\n", roff(key.path), roff(&body));
        for field in fields(key) {
            let (path, body) = (format!("{}[].{}", key.path, field.name), field_help(field));
            let _ = write!(text, ".TP\n\\fB{}\\fR\n{}\n", roff(&path), roff(&body));
        }
    }
    text.push_str(".SH SEE ALSO\n\\fBsudp\\fR(1), \\fBsudp\\-config\\fR(1)\n");
    text
}

/// What stands in each section that a key takes.
fn fields(key: &Key) -> &'static [Field] {
    if key.kind == Kind::Grant { &grants::FIELDS } else { &[] }
}

fn field_takes(field: &Field) -> String {
    if field.list { format!("a list, each {}", field.kind) } else { field.kind.to_string() }
}

fn field_help(field: &Field) -> String {
    format!("{} It takes {}; default {}.", field.help, field_takes(field), field.default)
}

/// What a key takes, in words.
fn takes(key: &Key) -> String {
    let never = if key.never { ", or `never`" } else { "" };
    match key.list {
        true => format!("a list, each {}{never}", key.kind),
        false => format!("{}{never}", key.kind),
    }
}

fn allowed(key: &Key) -> String {
    let (secret, file) = match key.secret {
        true => (" It is never shown again; ", format!("{}{} names a file with it.", key.path, super::check::IN_FILE)),
        false => ("", String::new()),
    };
    let default = match key.default.as_deref() {
        Some("") | None => String::new(),
        Some(default) => format!("; default {default}"),
    };
    format!("It takes {}{default}.{secret}{file}", takes(key).replace('`', ""))
}

/// A value as the example shows it: the default, or what it might be.
fn shown(key: &Key) -> String {
    let text = key.default.as_deref().filter(|default| !default.is_empty()).unwrap_or(key.example);
    if key.kind == Kind::Headers {
        return format!("{{{text}}}");
    }
    if key.kind == Kind::Grant {
        return format!("[{text}]");
    }
    let scalar = |text: &str| super::show::scalar(text);
    match key.list {
        true => format!("[{}]", text.split(',').map(scalar).collect::<Vec<_>>().join(", ")),
        false => scalar(text),
    }
}

fn section(path: &str) -> Map<String, Value> {
    let mut properties = Map::new();
    for name in keys::below(path) {
        let inner = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match keys::find(&inner) {
            None => {
                properties.insert(name.to_owned(), Value::Object(section(&inner)));
            }
            Some(key) => {
                properties.insert(name.to_owned(), property(key));
                if key.secret {
                    let help = format!("A file with the value of `{inner}`.");
                    let file = json!({"type": ["string", "null"], "description": help});
                    properties.insert(format!("{name}{}", super::check::IN_FILE), file);
                }
            }
        }
    }
    let mut section = Map::new();
    // A section may be there and be empty.
    section.insert("type".into(), json!(["object", "null"]));
    section.insert("properties".into(), Value::Object(properties));
    section.insert("additionalProperties".into(), json!(false));
    section
}

fn property(key: &Key) -> Value {
    let one = value(key.kind);
    let mut any = match key.list {
        true => vec![json!({"type": "array", "items": one}), one],
        false => vec![one],
    };
    if key.never {
        any.push(json!({"const": NEVER}));
    }
    any.push(json!({"type": "null"}));
    let mut property = Map::new();
    property.insert("description".into(), json!(format!("{} {}", key.help, allowed(key))));
    if let Some(default) = &key.default {
        property.insert("default".into(), super::show::typed(key, default));
    }
    property.insert("anyOf".into(), Value::Array(any));
    Value::Object(property)
}

fn value(kind: Kind) -> Value {
    match kind {
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Choice(words) => json!({"enum": words}),
        Kind::Count(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Kind::Headers => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Kind::Size(..) => json!({"type": ["integer", "string"], "pattern": "^[0-9_]+ ?([kKmMgGtT]i?)?[bB]?$"}),
        Kind::Text(most) => json!({"type": "string", "maxLength": most}),
        Kind::Time(..) => json!({"type": ["integer", "string"], "pattern": "^([0-9]+ ?[a-zA-Z]+ ?)+$|^0$"}),
        Kind::Tunnel => {
            let names = super::decode::WAYS.iter().chain(&super::decode::OPTIONS);
            let options: Map<String, Value> = names.map(|name| ((*name).to_owned(), json!({}))).collect();
            json!({"anyOf": [
                {"type": "string", "pattern": "^(forward|reverse|socks) "},
                {"type": "object", "properties": options, "additionalProperties": false},
            ]})
        }
        Kind::ByteRate => json!({"type": "string", "pattern": "^[0-9_]+ ?([kKmMgGtT]i?)?[bB]?/s$"}),
        Kind::Grant => {
            let properties: Map<String, Value> = grants::FIELDS
                .iter()
                .map(|field| {
                    let one = value(field.kind);
                    let mut any = if field.list {
                        vec![json!({"type": "array", "items": one, "minItems": 1})]
                    } else {
                        Vec::new()
                    };
                    any.extend([one, json!({"type": "null"})]);
                    (field.name.to_owned(), json!({"description": field_help(field), "anyOf": any}))
                })
                .collect();
            json!({"type": "object", "properties": properties, "additionalProperties": false, "required": ["who"]})
        }
        Kind::Moment => json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}"}),
        Kind::Rate => json!({"type": "string", "pattern": "^[0-9_]+/s$"}),
        Kind::RequestPath => json!({"type": "string", "pattern": "^/"}),
        Kind::ServerUrl => json!({"type": "string", "pattern": "^([wW][sS]|[hH][tT][tT][pP])[sS]?://"}),
        Kind::File
        | Kind::Levels
        | Kind::Network
        | Kind::Pin
        | Kind::Proxy
        | Kind::PublicKey
        | Kind::Rule
        | Kind::Socket
        | Kind::Strangers
        | Kind::Who => json!({"type": "string"}),
    }
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth)
}

/// A text in lines of at most so many characters.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A text as roff has it: nothing in it means anything.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace('`', "");
    // At the beginning of a line these two would begin a request.
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

const WIDTH: usize = 100;

const DESCRIPTION: [&str; 4] = [
    "One file of YAML is for servers and clients. It is config.yaml in /etc/sudp for root, in $XDG_CONFIG_HOME/sudp or \
     ~/.config/sudp for others, and in $CONFIGURATION_DIRECTORY wherever that is set. The file NAME.yaml beside it is \
     laid over it for the instance of that name. Another file is named by --config or by SUDP_CONFIG.",
    "Flags go before variables of the environment, these before files, and files before defaults. A list replaces a \
     list; sections are laid over each other key by key. The variable of server.tls.cert is SUDP_SERVER__TLS__CERT; with \
     _FILE behind its name it names a file that has the value. Lists stand there with commas between, or as JSON.",
    "Times are written with their unit, as 200ms, 10s or 1h30m, sizes as 65536, 64KiB or 2MB. Paths in a file begin in \
     the folder of the file.",
    "sudp config init writes an example with every key, sudp config check tells all mistakes at once, and sudp config \
     show prints what is in force.",
];

#[cfg(test)]
mod tests;

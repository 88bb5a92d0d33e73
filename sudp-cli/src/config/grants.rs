//! `server.grants`: who may do what, one section for each.

use std::fmt;
use std::time::SystemTime;

use sudp_tokio::proto::access::{Classes, Pattern, Rate, Rates, Rule, Rules};

use super::Server;
use super::check::Reader;
use super::tree::{Map, Node, Origin, Problem, Value, quoted};
use super::values::{self, Kind};
use super::{keys, moment};

/// What somebody may do: the first section that speaks of them decides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Section {
    /// Of whom it speaks.
    pub who: Vec<Who>,
    /// Where they may send to, behind what holds for everybody.
    pub rules: Rules,
    /// Where their reverse tunnels may listen.
    pub reverse: Rules,
    /// The delivery classes they may ask for.
    pub classes: Classes,
    /// On how many links a datagram of theirs may travel.
    pub copies: u8,
    /// How many flows each of them has at a time; without a number, as many as by default.
    pub flows: Option<usize>,
    /// How many sessions each of them has at a time; without a number, as many as by default.
    pub sessions: Option<usize>,
    /// What each of them may send, over all sessions.
    pub rates: Rates,
    /// What each flow may send.
    pub flow_rates: Rates,
    /// When all of this ends.
    pub expires: Option<SystemTime>,
}

/// Of whom a section speaks.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Who {
    /// Of everybody who is let in.
    Everybody,
    /// Of everybody in this group.
    Group(String),
    /// Of one: a user by name, all others with what they are before it, as `token:backup`.
    Principal(String),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str(EVERYBODY),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Principal(name) => f.write_str(name),
        }
    }
}

/// What can stand in a section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) kind: Kind,
    /// Whether it takes several of these.
    pub(crate) list: bool,
    /// What it is if nobody says anything, in words.
    pub(crate) default: &'static str,
    /// What it means.
    pub(crate) help: &'static str,
}

#[rustfmt::skip]
pub(crate) static FIELDS: [Field; 12] = [
    several("who", Kind::Who, "needed", "Of whom it speaks."),
    several("rules", Kind::Rule, "none", "Where they may send to, read behind `server.rules`, which are for everybody."),
    several("reverse", Kind::Rule, "none", "Where their reverse tunnels may listen."),
    several("classes", Kind::Choice(&CLASSES), "both", "The delivery classes they may ask for."),
    one("copies", Kind::Count(1, 8), "8", "On how many links a datagram may travel at a time."),
    one("flows", Kind::Count(1, 1 << 20), "8192", "How many flows each has at a time, over all sessions; clients without a name are not counted together."),
    one("sessions", Kind::Count(1, 1 << 20), "16", "How many sessions each has at a time; clients without a name are not counted together."),
    one("datagrams", Kind::Rate, "no limit", "How many datagrams each may send in a second, over all sessions; as many may come at once."),
    one("bytes", Kind::ByteRate, "no limit", "How many bytes of them, likewise; at once at least 64KiB."),
    one("flow_datagrams", Kind::Rate, "no limit", "How many datagrams each flow may send in a second; as many may come at once."),
    one("flow_bytes", Kind::ByteRate, "no limit", "How many bytes of them, likewise; at once at least 64KiB."),
    one("expires", Kind::Moment, "never", "When all of this ends, and sessions with it."),
];

const fn one(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Field {
    Field { name, kind, list: false, default, help }
}

const fn several(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Field {
    Field { list: true, ..one(name, kind, default, help) }
}

/// What a section can say by this name.
pub(crate) fn field(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

/// Reads all sections; `common` is how many rules stand before those of each.
pub(super) fn read(reader: &mut Reader<'_>, common: usize) -> Vec<Section> {
    if let Some((_, node @ Node { value: Value::List(list), .. })) = reader.node(PATH)
        && list.is_empty()
    {
        let what = "an empty list lets nobody do anything; leave it out, and everybody may do what `server.rules` says";
        reader.note(node, PATH, what);
    }
    let mut seen = Vec::new();
    reader.each(PATH, |reader, path, key, node| {
        let Value::Map(map) = &node.value else {
            reader.note(node, path, format!("found is {}; allowed is {}, as {}", node.kind(), key.kind, key.example));
            return None;
        };
        let section = Part { path, map }.section(reader, node, common);
        distinct(reader, path, map, &section.who, &mut seen);
        Some(section)
    })
}

/// Notes whom nobody can be, for nothing is configured that would say so.
pub(super) fn possible(reader: &mut Reader<'_>, server: &Server) {
    let auth = &server.auth;
    let others = auth.jwt.is_some() || auth.introspection.is_some();
    let missing = |who: &Who| match who {
        Who::Everybody => None,
        Who::Group(_) => {
            let any = auth.users.is_some() || auth.tokens.is_some() || others;
            (!any).then_some("`server.auth.users`, `server.auth.tokens` or `server.auth.jwt`")
        }
        Who::Principal(name) => match name.split_once(':') {
            Some(("cert", _)) => (!auth.certificates).then_some("`server.auth.certificates`"),
            Some(("key", _)) => auth.keys.is_none().then_some("`server.auth.keys`"),
            Some(("token", _)) => auth.tokens.is_none().then_some("`server.auth.tokens`"),
            Some(_) => (!others).then_some("`server.auth.jwt` or `server.auth.introspection`"),
            None => (auth.users.is_none() && !others).then_some("`server.auth.users` or `server.auth.jwt`"),
        },
    };
    reader.each(PATH, |reader, path, _, node| {
        let Value::Map(map) = &node.value else { return None };
        let whos = map.find("who")?;
        let each = match &whos.value {
            Value::List(list) => list.iter().collect(),
            Value::Nothing | Value::Text(_) | Value::Map(_) => vec![whos],
        };
        for node in each {
            let Value::Text(text) = &node.value else { continue };
            if let Some(key) = read_who(text).ok().and_then(|who| missing(&who)) {
                let what =
                    format!("nobody can be {} here, for nothing says so; set {key}, or leave this out", quoted(text));
                reader.note(node, &format!("{path}.who"), what);
            }
        }
        Some(())
    });
}

/// Sections that are over by now: a mistake for who checks, and for who runs only worth a warning, for time passes.
pub(crate) fn over(tree: &Map, now: SystemTime) -> Vec<Problem> {
    let Some(Node { value: Value::List(sections), .. }) = tree.find(PATH) else { return Vec::new() };
    let over = sections.iter().enumerate().filter_map(|(index, node)| {
        let Value::Map(map) = &node.value else { return None };
        let node @ Node { value: Value::Text(text), .. } = map.find("expires")? else { return None };
        moment::read(text).ok().filter(|end| *end <= now)?;
        let what = format!(
            "{} is over, so who is meant may do nothing; name a later time, or leave the section out",
            quoted(text)
        );
        Some(Problem::new(&node.origin, format!("{PATH}[{index}].expires"), what))
    });
    over.collect()
}

/// Notes whoever is spoken of twice, or after everybody was.
fn distinct<'a>(reader: &mut Reader<'_>, path: &str, map: &'a Map, who: &[Who], seen: &mut Vec<(Who, &'a Origin)>) {
    let Some(node) = map.find("who") else { return };
    let origins: Vec<&Origin> = match &node.value {
        Value::List(list) => list.iter().map(|node| &node.origin).collect(),
        Value::Nothing | Value::Text(_) | Value::Map(_) => vec![&node.origin],
    };
    for (who, at) in who.iter().zip(origins) {
        let everybody = |(other, _): &&(Who, &Origin)| other == who || *other == Who::Everybody;
        if let Some((other, before)) = seen.iter().find(everybody) {
            let what = match other == who {
                true => format!("`{who}` has a section already ({before}); one of them has to go"),
                false => format!("nobody comes here, for `{EVERYBODY}` stands before it ({before}); put that last"),
            };
            reader.note_at(at, &format!("{path}.who"), what);
        }
        seen.push((who.clone(), at));
    }
}

/// One section, while it is read.
struct Part<'a> {
    path: &'a str,
    map: &'a Map,
}

impl Part<'_> {
    fn section(&self, reader: &mut Reader<'_>, node: &Node, common: usize) -> Section {
        for entry in &self.map.0 {
            if field(&entry.name).is_none() {
                let near = keys::nearest(&entry.name, FIELDS.iter().map(|field| field.name));
                let meant = match near {
                    Some(_) => keys::did_you_mean(near),
                    None => format!("; allowed are {}", FIELDS.map(|field| field.name).join(", ")),
                };
                let what = format!("a grant has no `{}`{meant}", entry.name);
                reader.note_at(&entry.at, &format!("{}.{}", self.path, entry.name), what);
            }
        }
        let who = self.many(reader, "who", read_who);
        if self.map.find("who").is_none() {
            reader.note(node, self.path, format!("nobody is named; `who` takes {}", Kind::Who));
        }
        let (rules, reverse) = (self.rules(reader, "rules", common), self.rules(reader, "reverse", 0));
        for rule in reverse.as_slice() {
            if let Pattern::Name(_) | Pattern::Below(_) = rule.host {
                let what = format!("`{rule}` lets nobody listen, for one listens at an address; name that");
                self.blame(reader, "reverse", what);
            }
        }
        let classes = self.many(reader, "classes", |text| values::read_choice(text, &CLASSES));
        let rates = self.rates(reader, ["datagrams", "bytes"]);
        let flow_rates = self.rates(reader, ["flow_datagrams", "flow_bytes"]);
        self.compare(reader, ["flow_datagrams", "datagrams"], flow_rates.datagrams, rates.datagrams);
        self.compare(reader, ["flow_bytes", "bytes"], flow_rates.bytes, rates.bytes);
        Section {
            who: who.unwrap_or_default(),
            rules,
            reverse,
            classes: classes.map_or_else(Classes::default, |names| Classes {
                reliable: names.contains(&CLASSES[0]),
                realtime: names.contains(&CLASSES[1]),
            }),
            copies: self.count(reader, "copies").and_then(|copies| u8::try_from(copies).ok()).unwrap_or(8),
            flows: self.count(reader, "flows"),
            sessions: self.count(reader, "sessions"),
            rates,
            flow_rates,
            expires: self.one(reader, "expires", moment::read),
        }
    }

    fn rules(&self, reader: &mut Reader<'_>, name: &'static str, common: usize) -> Rules {
        let rules: Vec<Rule> = self.many(reader, name, str::parse).unwrap_or_default();
        if rules.len() + common > Rules::MAX {
            let (count, most) = (rules.len() + common, Rules::MAX);
            self.blame(
                reader,
                name,
                format!("these are {count} rules with those of `server.rules`; allowed are {most}"),
            );
        }
        Rules::new(rules).unwrap_or_default()
    }

    fn rates(&self, reader: &mut Reader<'_>, [datagrams, bytes]: [&'static str; 2]) -> Rates {
        let at_once = |per_second: u64, least: u64| Rate { per_second, burst: per_second.max(least) };
        Rates {
            datagrams: self.one(reader, datagrams, values::read_rate).map(|rate| at_once(rate, 1)),
            bytes: self.one(reader, bytes, values::read_byte_rate).map(|rate| at_once(rate, LARGEST)),
        }
    }

    /// What a flow may do by itself is within what all of them may do together.
    fn compare(&self, reader: &mut Reader<'_>, [flow, all]: [&str; 2], one: Option<Rate>, most: Option<Rate>) {
        if let (Some(one), Some(most)) = (one, most)
            && one.per_second > most.per_second
        {
            let what = format!("is more than `{all}`, which all flows have together, so it limits nothing; lower it");
            self.blame(reader, flow, what);
        }
    }

    fn count(&self, reader: &mut Reader<'_>, name: &'static str) -> Option<usize> {
        let Some(Field { kind: Kind::Count(least, most), .. }) = field(name) else {
            unreachable!("{name} is a number")
        };
        self.one(reader, name, |text| values::read_count(text, *least, *most))
    }

    /// One value.
    fn one<T, E: fmt::Display>(
        &self,
        reader: &mut Reader<'_>,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (node, path) = (self.map.find(name)?, format!("{}.{name}", self.path));
        self.text(reader, name, node, &path, read)
    }

    /// Several values; one alone is a list, too, and an empty list is a mistake.
    fn many<T, E: fmt::Display>(
        &self,
        reader: &mut Reader<'_>,
        name: &'static str,
        mut read: impl FnMut(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let (node, path) = (self.map.find(name)?, format!("{}.{name}", self.path));
        let Value::List(list) = &node.value else {
            return self.text(reader, name, node, &path, read).map(|one| vec![one]);
        };
        if list.is_empty() {
            let way = if name == "rules" || name == "reverse" { ", or write `deny *`" } else { "" };
            reader.note(node, &path, format!("an empty list allows nothing; leave it out{way}"));
        }
        let items = list.iter().enumerate();
        let read =
            items.filter_map(|(index, node)| self.text(reader, name, node, &format!("{path}[{index}]"), &mut read));
        Some(read.collect())
    }

    fn text<T, E: fmt::Display>(
        &self,
        reader: &mut Reader<'_>,
        name: &'static str,
        node: &Node,
        path: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let Value::Text(text) = &node.value else {
            let kind = field(name).expect("it is one of them").kind;
            reader.note(node, path, format!("found is {}; allowed is {kind}", node.kind()));
            return None;
        };
        read(text).map_err(|error| reader.note(node, path, error)).ok()
    }

    fn blame(&self, reader: &mut Reader<'_>, name: &str, what: impl fmt::Display) {
        if let Some(node) = self.map.find(name) {
            reader.note(node, &format!("{}.{name}", self.path), what);
        }
    }
}

/// Reads of whom a section speaks.
pub(crate) fn read_who(text: &str) -> Result<Who, String> {
    let refuse = || Kind::Who.refuse(text);
    let proper = |name: &str| {
        !name.is_empty() && name.len() <= LONGEST && !name.chars().any(|it| it.is_control() || it.is_whitespace())
    };
    if text == EVERYBODY {
        return Ok(Who::Everybody);
    }
    if ["any", "all", "everybody", "anybody", "anonymous"].contains(&text) {
        return Err(format!("{}; did you mean '{EVERYBODY}'?", refuse()));
    }
    let (kind, name) = text.split_once(':').map_or((None, text), |(kind, name)| (Some(kind), name));
    if !proper(name) || name.starts_with(EVERYBODY) {
        return Err(refuse());
    }
    match kind {
        None => Ok(Who::Principal(name.to_owned())),
        Some("group") => Ok(Who::Group(name.to_owned())),
        Some(kind) if PREFIXES.contains(&kind) => Ok(Who::Principal(text.to_owned())),
        Some("user") => Err(format!("{}; a user is meant by the name alone: did you mean `{name}`?", refuse())),
        Some(kind) => {
            let near = keys::nearest(kind, PREFIXES.into_iter().chain(["group"]));
            Err(format!("{}{}", refuse(), keys::did_you_mean(near.map(|near| format!("{near}:{name}")).as_deref())))
        }
    }
}

/// Where the sections stand.
pub(crate) const PATH: &str = "server.grants";
/// What stands for everybody.
pub(crate) const EVERYBODY: &str = "*";
/// What stands before the name of who is no user.
pub(crate) const PREFIXES: [&str; 4] = ["token", "cert", "key", "jwt"];
/// The delivery classes.
pub(crate) const CLASSES: [&str; 2] = ["reliable", "realtime"];

/// A datagram of any size passes at once, or it never would.
const LARGEST: u64 = 64 << 10;
const LONGEST: usize = 256;

#[cfg(test)]
mod tests;

//! From the command line, the environment and the files to one configuration.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::check::{self, IN_FILE, Reader};
use super::decode::{decode, header_lines};
use super::env::{self, Environment};
use super::file::{self, FileError};
use super::grants;
use super::keys::{self, KEYS};
use super::tree::{Map, Node, Origin, Problem, Value};
use super::values::Kind;
use super::{Config, Origins, yaml};
use crate::exit::{Exit, Failure, Outcome};
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
#[derive(Clone)]
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
    ///
    /// Flags that say the same key add to each other. `server.port` is the one key that no file has: it changes the
    /// port of `server.listen`. A header that begins with @ is a file of them.
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

impl fmt::Debug for Flag {
    /// Secrets are left out, for this may end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match keys::find(self.key).is_some_and(|key| key.secret) {
            true => write!(f, "{} ({})", self.flag, self.key),
            false => write!(f, "{} ({}) {:?}", self.flag, self.key, self.values),
        }
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
    /// What is not wrong, and still worth a line in the log.
    pub warnings: Vec<String>,
}

/// What the surroundings of the process say; tests make their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// The variables of the environment.
    pub variables: Vec<(OsString, OsString)>,
    /// Where the usual files are.
    pub folder: Option<PathBuf>,
}

/// All layers on top of each other, before they are made a configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gathered {
    /// What is said, the defaults included.
    pub tree: Map,
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// What is wrong so far.
    pub problems: Vec<Problem>,
    /// Variables that look like ours and are not: wrong for whoever checks, and a warning for who runs.
    pub unknown: Vec<Problem>,
    /// What is worth a warning.
    pub warnings: Vec<String>,
}

impl Sources {
    /// Reads everything anew, and checks all of it for this role: what is wrong is told at once, each with its place.
    pub fn load(&self, role: Role) -> Outcome<Loaded> {
        self.load_in(role, &Surroundings::of_process())
    }

    /// The file that a key names, whether it is there or not: for commands that make and change it.
    pub(crate) fn file_of(&self, key: &'static str) -> Outcome<Option<PathBuf>> {
        let Gathered { tree, mut problems, .. } = self.gather(&Surroundings::of_process());
        let file = Reader::new(&tree, &mut problems).file(key);
        if problems.is_empty() { Ok(file) } else { Err(refusal(&problems)) }
    }

    pub(super) fn load_in(&self, role: Role, surroundings: &Surroundings) -> Outcome<Loaded> {
        let Gathered { tree, files, mut problems, unknown, mut warnings } = self.gather(surroundings);
        let config = decode(&tree, &[role], &mut problems);
        if !problems.is_empty() {
            return Err(refusal(&problems));
        }
        let over = grants::over(&tree, SystemTime::now());
        warnings.extend(unknown.iter().chain(&over).map(ToString::to_string));
        let origins =
            KEYS.iter().filter_map(|key| Some((key.path.to_owned(), tree.find(key.path)?.origin.to_string())));
        Ok(Loaded { config, origins: origins.collect(), files, warnings })
    }

    /// Reads everything, and lays it on top of each other.
    pub(crate) fn gather(&self, surroundings: &Surroundings) -> Gathered {
        let mut gathered = Gathered { tree: defaults(), ..Gathered::default() };
        if let Some(file) = &self.log_file {
            gathered.tree.put("log.file", Node::text(file.to_string_lossy(), Origin::Default));
        }
        for (path, named) in self.files(surroundings) {
            gathered.add_file(&path, named);
        }
        let Environment { tree, unknown } = env::read(surroundings.variables.iter().cloned(), &mut gathered.problems);
        gathered.unknown = unknown;
        gathered.lay(tree);
        let (flags, port) = of_flags(&self.flags, &mut gathered.problems);
        gathered.lay(flags);
        if let Some(port) = port {
            set_port(&mut gathered.tree, &port);
        }
        gathered
    }

    /// The files to read, and whether somebody named them.
    fn files(&self, surroundings: &Surroundings) -> Vec<(PathBuf, bool)> {
        let variable = surroundings.variable(env::CONFIG).map(PathBuf::from);
        if let Some(named) = self.file.clone().or(variable) {
            return vec![(named, true)];
        }
        let Some(folder) = &surroundings.folder else { return Vec::new() };
        let own = self.instance.as_ref().map(|instance| folder.join(format!("{instance}.yaml")));
        let mut files = vec![(folder.join(COMMON), false)];
        files.extend(own.filter(|own| *own != files[0].0).map(|own| (own, false)));
        files
    }
}

impl Surroundings {
    /// The file that all instances read, at its usual place.
    pub(crate) fn common_file(&self) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(COMMON))
    }

    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        let mut surroundings = Self { variables: std::env::vars_os().collect(), folder: None };
        surroundings.folder = surroundings.usual_folder(rustix::process::geteuid().is_root());
        surroundings
    }

    /// Where the usual files are: where systemd says, or in /etc for root, or in the folder of the user.
    fn usual_folder(&self, root: bool) -> Option<PathBuf> {
        let absolute = |name| self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        if let Some(folders) = self.variable("CONFIGURATION_DIRECTORY") {
            // There may be several, of which the first is the main one.
            let first = std::env::split_paths(&folders).next().filter(|path| path.is_absolute());
            if first.is_some() {
                return first;
            }
        }
        if root {
            return Some(PathBuf::from("/etc/sudp"));
        }
        let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
        Some(base.join("sudp"))
    }

    /// A variable that is set to something.
    fn variable(&self, name: &str) -> Option<OsString> {
        let (_, value) = self.variables.iter().find(|(it, _)| it == name)?;
        (!value.is_empty()).then(|| value.clone())
    }
}

impl Gathered {
    /// Checks all that can be: the values, what is named as if it were ours, and whether it can be run in this role, or
    /// without one in each of which something is said.
    pub(crate) fn check(&mut self, role: Option<Role>) -> Config {
        let said = |role: &Role| {
            let mut keys = KEYS.iter().filter(|key| key.role == Some(*role)).filter_map(|key| self.tree.find(key.path));
            keys.any(|node| node.origin != Origin::Default)
        };
        let roles: Vec<Role> = match role {
            Some(role) => vec![role],
            None => [Role::Server, Role::Client].into_iter().filter(said).collect(),
        };
        self.problems.append(&mut self.unknown);
        self.problems.append(&mut grants::over(&self.tree, SystemTime::now()));
        decode(&self.tree, &roles, &mut self.problems)
    }

    fn add_file(&mut self, path: &Path, named: bool) {
        let shared: Arc<Path> = path.into();
        let text = match file::read(path) {
            Err(FileError::Missing) if !named => return,
            Err(error) => {
                let (line, column) = match error {
                    FileError::Utf8 { line, column } => (line, column),
                    FileError::Missing | FileError::Io(_) | FileError::Kind(_) | FileError::Long => (0, 0),
                };
                let place = |it| u64::try_from(it).unwrap_or_default();
                let at = Origin::File { file: shared, line: place(line), column: place(column) };
                self.problems.push(Problem::new(&at, "", error));
                return;
            }
            Ok(text) => text,
        };
        self.files.push(path.to_owned());
        let tree = yaml::read(&text.text, &shared, &mut self.problems);
        let mut secrets = KEYS.iter().filter(|key| key.secret);
        if let (true, Some(key)) = (text.exposed, secrets.find(|key| tree.find(key.path).is_some())) {
            let path = path.display();
            self.warnings.push(format!(
                "{path}: every user can read it, and {} in it is a secret; run `chmod 600 {path}`",
                key.path
            ));
        }
        self.lay(tree);
    }

    /// Lays a tree over what is there, after what cannot be has been taken out.
    fn lay(&mut self, mut tree: Map) {
        check::sift(&mut tree, &mut self.problems);
        self.read_secrets(&mut tree);
        // Headers may be written as lines; they are a section to all that follows.
        if let Some(node) = tree.find("client.headers").filter(|node| !matches!(node.value, Value::Map(_))) {
            let (origin, map) = (node.origin.clone(), header_lines(node));
            tree.put("client.headers", Node { value: Value::Map(map), origin });
        }
        self.tree.overlay(tree);
    }

    /// Puts what is in the file of a `KEY_file` in its place.
    fn read_secrets(&mut self, tree: &mut Map) {
        for key in KEYS.iter().filter(|key| key.secret) {
            let path = format!("{}{IN_FILE}", key.path);
            let Some(Node { value: Value::Text(name), origin }) = tree.take(&path) else { continue };
            if tree.find(key.path).is_some() {
                let what = format!("there is `{}` as well; leave one of them out", key.path);
                self.problems.push(Problem::new(&origin, path, what));
                continue;
            }
            let value = check::read_path(&name, origin.folder().as_deref()).and_then(|file| {
                if file::is_exposed(&file) {
                    let file = file.display();
                    self.warnings.push(format!("{file}: every user can read this secret; run `chmod 600 {file}`"));
                }
                file::read_value(&file)
            });
            match value {
                Ok(text) => tree.put(key.path, Node::text(text, origin)),
                Err(error) => self.problems.push(Problem::new(&origin, path, error)),
            }
        }
    }
}

/// All problems as one failure: each has a line of its own.
pub(crate) fn refusal(problems: &[Problem]) -> Failure {
    let mut problems: Vec<&Problem> = problems.iter().collect();
    // Those of a file in its order, whatever was looked at first.
    problems.sort_by_key(|problem| match &problem.at {
        Origin::File { file, line, column } => (0, Some(file), *line, *column),
        Origin::Default | Origin::Flag(_) | Origin::Variable(_) => (1, None, 0, 0),
    });
    let lines: Vec<String> = problems.into_iter().map(ToString::to_string).collect();
    Failure::new(Exit::Config, format!("the configuration cannot be used\n{}", lines.join("\n")))
}

/// What everything is if nobody says anything.
pub(crate) fn defaults() -> Map {
    let mut tree = Map::default();
    for key in KEYS.iter() {
        let Some(default) = &key.default else { continue };
        let node = match key.list {
            true => Node::texts(default.split(',').filter(|part| !part.is_empty()), Origin::Default),
            false => Node::text(default, Origin::Default),
        };
        tree.put(key.path, node);
    }
    tree
}

/// What the command line says, and the port that is set apart.
fn of_flags(flags: &Flags, problems: &mut Vec<Problem>) -> (Map, Option<Node>) {
    let (mut tree, mut port) = (Map::default(), None);
    for Flag { key, flag, values } in flags.iter() {
        let at = Origin::Flag(flag);
        if *key == PORT {
            port = values.last().map(|value| Node::text(value, at));
            continue;
        }
        let known = keys::find(key).or_else(|| check::secret_in_file(key)).expect("a flag says a key of the table");
        let mut nodes: Vec<Node> = values.iter().map(|value| Node::text(value, at.clone())).collect();
        if known.kind == Kind::Headers {
            nodes.iter_mut().for_each(|node| read_header_file(node, known.path, problems));
        }
        if !known.list && known.kind != Kind::Headers {
            nodes.into_iter().next_back().into_iter().for_each(|node| tree.put(key, node));
            continue;
        }
        // Other flags may have said this key already.
        let before = match tree.take(key) {
            Some(Node { value: Value::List(list), .. }) => list,
            Some(_) | None => Vec::new(),
        };
        tree.put(key, Node { value: Value::List([before, nodes].concat()), origin: at });
    }
    (tree, port)
}

/// Puts the lines of a file in the place of the header that names it with an @.
fn read_header_file(node: &mut Node, key: &str, problems: &mut Vec<Problem>) {
    let Value::Text(text) = &mut node.value else { return };
    let Some(name) = text.strip_prefix('@') else { return };
    match file::read_value(Path::new(name)) {
        Ok(lines) => *text = lines,
        Err(error) => {
            problems.push(Problem::new(&node.origin, key, error));
            text.clear();
        }
    }
}

/// Gives every address that is listened at another port. What is no address is left to be told as it is.
fn set_port(tree: &mut Map, port: &Node) {
    let Value::Text(number) = &port.value else { return };
    let Some(node) = tree.find(LISTEN) else { return };
    let list = match &node.value {
        Value::List(list) => list.clone(),
        Value::Text(_) => vec![node.clone()],
        Value::Nothing | Value::Map(_) => return,
    };
    let moved = list.into_iter().map(|node| match &node.value {
        Value::Text(text) => match super::values::read_socket(text) {
            Ok(address) => {
                let host = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
                Node::text(format!("{host}:{number}"), port.origin.clone())
            }
            Err(_) => node,
        },
        Value::Nothing | Value::List(_) | Value::Map(_) => node,
    });
    let moved = Node { value: Value::List(moved.collect()), origin: port.origin.clone() };
    tree.put(LISTEN, moved);
}

/// The file that all instances read.
const COMMON: &str = "config.yaml";

/// What only the command line says.
const PORT: &str = "server.port";
const LISTEN: &str = "server.listen";

#[cfg(test)]
mod tests;

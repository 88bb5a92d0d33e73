//! Files of records by name, as users and tokens: read strictly, and changed as a whole.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use humantime::{format_rfc3339_seconds, parse_rfc3339};

use crate::config::file;
use crate::config::keys;
use crate::config::show::scalar;
use crate::config::tree::{Map, Node, Origin, Problem, Value, quoted};
use crate::config::values::read_bool;
use crate::config::yaml;
use crate::exit::{Exit, Failure, Outcome};

/// What a file has by name.
pub(crate) type Table<R> = BTreeMap<String, R>;

/// One kind of records.
pub(crate) trait Record: Sized {
    /// The one section of its file.
    const SECTION: &'static str;
    /// The fields that it may have.
    const FIELDS: &'static [&'static str];

    /// Reads one. What is wrong is noted, and then there is none.
    fn read(fields: &mut Fields<'_>) -> Option<Self>;

    /// Its fields, in the order in which they are written.
    fn write(&self) -> Vec<(&'static str, Written)>;
}

/// The value of a field, as it is written.
#[derive(Debug)]
pub(crate) enum Written {
    /// One text.
    Text(String),
    /// Several; without any, the field is left out.
    Texts(Vec<String>),
}

/// The fields of a record that is read.
pub(crate) struct Fields<'a> {
    path: String,
    at: &'a Origin,
    map: &'a Map,
    problems: &'a mut Vec<Problem>,
}

impl Fields<'_> {
    /// A text that must be there, as `read` takes it.
    pub(crate) fn need<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        if self.map.get(name).is_none_or(|node| node.value == Value::Nothing) {
            self.problems.push(Problem::new(self.at, &self.path, format!("`{name}` is missing")));
            return None;
        }
        self.may(name, read)
    }

    /// A text that may be there.
    pub(crate) fn may<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let node = self.map.get(name).filter(|node| node.value != Value::Nothing)?;
        let value = match &node.value {
            Value::Text(text) => read(text),
            Value::Nothing | Value::List(_) | Value::Map(_) => {
                Err(format!("found is {}; allowed is a single value", node.kind()))
            }
        };
        value.map_err(|what| self.problems.push(Problem::new(&node.origin, format!("{}.{name}", self.path), what))).ok()
    }

    /// Several texts; one alone is a list, too.
    pub(crate) fn many<T>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let Some(node) = self.map.get(name) else { return Vec::new() };
        let items: &[Node] = match &node.value {
            Value::List(list) => list,
            Value::Nothing | Value::Text(_) | Value::Map(_) => std::slice::from_ref(node),
        };
        if items.is_empty() {
            let what = "the list is empty; leave it out, or say what is in it";
            self.problems.push(Problem::new(&node.origin, format!("{}.{name}", self.path), what));
        }
        let mut values = Vec::new();
        for item in items.iter().filter(|item| item.value != Value::Nothing) {
            let value = match &item.value {
                Value::Text(text) => read(text),
                Value::Nothing | Value::List(_) | Value::Map(_) => Err(format!("found is {}", item.kind())),
            };
            match value {
                Ok(value) => values.push(value),
                Err(what) => self.problems.push(Problem::new(&item.origin, format!("{}.{name}", self.path), what)),
            }
        }
        values
    }

    /// A truth; what is not there is not so.
    pub(crate) fn truth(&mut self, name: &str) -> bool {
        self.may(name, read_bool).unwrap_or_default()
    }

    /// A point in time.
    pub(crate) fn time(&mut self, name: &str) -> Option<SystemTime> {
        let refuse = |text: &str| format!("{} is no time; allowed is 2027-01-31T00:00:00Z", quoted(text));
        self.may(name, |text| parse_rfc3339(text).map_err(|_| refuse(text)))
    }
}

/// A time as it is written.
pub(crate) fn written_time(time: SystemTime) -> String {
    format_rfc3339_seconds(time).to_string()
}

/// Whether this can be the name of a record, in words if not.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let proper = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
    let first = name.starts_with(|it: char| it.is_ascii_alphanumeric());
    if first && name.len() <= LONGEST_NAME && name.bytes().all(proper) {
        return Ok(());
    }
    Err(format!(
        "{} cannot be a name; a name has at most {LONGEST_NAME} letters, digits and `._@+-`, and begins with a letter or \
         digit",
        quoted(name)
    ))
}

/// Reads a name, as [`check_name`] wants it.
pub(crate) fn read_name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

/// Reads a file. Each problem has its place.
pub(crate) fn load<R: Record>(path: &Path) -> Result<Table<R>, Vec<Problem>> {
    let shared: Arc<Path> = path.into();
    let whole =
        |what: String| vec![Problem::new(&Origin::File { file: Arc::clone(&shared), line: 0, column: 0 }, "", what)];
    let text = file::read(path).map_err(|error| whole(error.to_string()))?.text;
    let mode = fs::metadata(path).map_err(|error| whole(error.to_string()))?.mode();
    if mode & 0o027 != 0 {
        let shown = path.display();
        return Err(whole(format!("others can read or change it (mode {:o}); run `chmod 600 {shown}`", mode & 0o777)));
    }
    let mut problems = Vec::new();
    let tree = yaml::read(&text, &shared, &mut problems);
    let mut table = Table::new();
    for entry in &tree.0 {
        match &entry.node.value {
            _ if entry.name != R::SECTION => {
                let what = format!("there is no `{}` in such a file; allowed is {}", entry.name, R::SECTION);
                problems.push(Problem::new(&entry.at, &entry.name, what));
            }
            Value::Nothing => {}
            Value::Map(map) => read_all(map, &mut table, &mut problems),
            Value::Text(_) | Value::List(_) => {
                let what = format!("found is {}; allowed is a section of names", entry.node.kind());
                problems.push(Problem::new(&entry.node.origin, R::SECTION, what));
            }
        }
    }
    if tree.get(R::SECTION).is_none() && problems.is_empty() {
        problems = whole(format!("it has no `{}:`", R::SECTION));
    }
    if problems.is_empty() { Ok(table) } else { Err(problems) }
}

fn read_all<R: Record>(map: &Map, table: &mut Table<R>, problems: &mut Vec<Problem>) {
    for entry in &map.0 {
        let path = format!("{}.{}", R::SECTION, entry.name);
        if let Err(what) = check_name(&entry.name) {
            problems.push(Problem::new(&entry.at, R::SECTION, what));
            continue;
        }
        let Value::Map(fields) = &entry.node.value else {
            let what = format!("found is {}; allowed is a section of {}", entry.node.kind(), R::FIELDS.join(", "));
            problems.push(Problem::new(&entry.at, path, what));
            continue;
        };
        for field in &fields.0 {
            if !R::FIELDS.contains(&field.name.as_str()) {
                let near = keys::did_you_mean(keys::nearest(&field.name, R::FIELDS.iter().copied()));
                problems.push(Problem::new(&field.at, &path, format!("there is no {}{near}", quoted(&field.name))));
            }
        }
        let mut fields = Fields { path, at: &entry.at, map: fields, problems };
        if let Some(record) = R::read(&mut fields) {
            table.insert(entry.name.clone(), record);
        }
    }
}

/// Changes a file: whoever reads it finds all of what was, or all of what is. Two who change it at once do so one
/// after the other. A file that is not there yet is made.
pub(crate) fn edit<R: Record, T>(path: &Path, change: impl FnOnce(&mut Table<R>) -> Outcome<T>) -> Outcome<T> {
    // A link stays one, and what it leads to changes.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let _alone = lock(&path)?;
    let (mut table, before) = match fs::metadata(&path) {
        Ok(before) => (load::<R>(&path).map_err(|problems| unusable(&problems))?, Some(before)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Table::new(), None),
        Err(error) => return Err(cannot("look at", &path, &error)),
    };
    let done = change(&mut table)?;
    let new = beside(&path, "new");
    // The lock is held: what is there was left by one that died while it wrote.
    let _ = fs::remove_file(&new);
    let written = write_new(&new, &text(&table), before.as_ref()).and_then(|()| fs::rename(&new, &path));
    written.map_err(|error| {
        let _ = fs::remove_file(&new);
        cannot("write", &path, &error)
    })?;
    // That the name leads to the new file survives a power failure only after this; where it cannot be had, the file
    // is whole all the same.
    let _ = File::open(folder(&path)).and_then(|folder| folder.sync_all());
    Ok(done)
}

/// All that is wrong with a file, as the end of a command.
pub(crate) fn unusable(problems: &[Problem]) -> Failure {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Failure::new(Exit::Config, lines.join("\n"))
}

fn write_new(new: &Path, text: &str, before: Option<&fs::Metadata>) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    if let Some(before) = before {
        // The server, whose file it is, must be able to read it also after root has changed it.
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (before.uid(), before.gid()) {
            fchown(&file, Some(before.uid()), Some(before.gid()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(before.mode() & 0o777))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn text<R: Record>(table: &Table<R>) -> String {
    let mut text = format!("# Changed by `sudp {}`. Comments do not stay.\n", R::SECTION.trim_end_matches('s'));
    if table.is_empty() {
        let _ = writeln!(text, "{}: {{}}", R::SECTION);
        return text;
    }
    let _ = writeln!(text, "{}:", R::SECTION);
    for (name, record) in table {
        let _ = writeln!(text, "  '{name}':");
        for (field, value) in record.write() {
            let _ = match value {
                Written::Text(value) => writeln!(text, "    {field}: {}", scalar(&value)),
                Written::Texts(values) if values.is_empty() => Ok(()),
                Written::Texts(values) => {
                    let _ = writeln!(text, "    {field}:");
                    values.iter().try_for_each(|value| writeln!(text, "      - {}", scalar(value)))
                }
            };
        }
    }
    text
}

fn lock(path: &Path) -> Outcome<File> {
    let own = beside(path, "lock");
    let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).expect("flags fit");
    let file =
        fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).custom_flags(nofollow).open(&own);
    let file = file.map_err(|error| cannot("lock", path, &error))?;
    let until = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                let message =
                    format!("{} is being changed by another command; try again when that has ended", path.display());
                return Err(Failure::new(Exit::Temporary, message));
            }
            Err(TryLockError::Error(error)) => return Err(cannot("lock", path, &error)),
        }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    path.with_file_name(name)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    let message =
        format!("cannot {verb} {}: {error}; name another file by --file, or see to its folder", path.display());
    Failure::new(Exit::CannotCreate, message)
}

const LONGEST_NAME: usize = 64;
/// A command that changes a file takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests;

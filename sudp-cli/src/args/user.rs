//! `sudp user`: who is let in by name and password.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Common, Output};
use crate::access::Secret;
use crate::access::passwords::{self, weakness};
use crate::access::records::{self, Table, read_name, unusable, written_time};
use crate::access::users::User;
use crate::exit::{Exit, Failure, Outcome};
use crate::{print, prompt};

/// What is done with users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user
    #[command(after_help = ADD)]
    Add(Add),
    /// Change the password of a user, whose sessions then end
    Passwd(Passwd),
    /// Show the users
    List(ListUsers),
    /// Remove a user, whose sessions then end
    Remove(Remove),
}

/// Where users are.
#[derive(Clone, Debug, Args)]
pub struct UsersFile {
    /// The file of users, instead of `server.auth.users` of the configuration; it is made if it is not there
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Where the password comes from: a prompt, or a line of the standard input, unless one of these is given.
#[derive(Clone, Debug, Args)]
pub struct Password {
    /// The file that has the password
    #[arg(long, value_name = "FILE", conflicts_with = "generate")]
    pub password_file: Option<PathBuf>,
    /// Make up a password that nobody guesses, and print it once
    #[arg(long)]
    pub generate: bool,
}

/// `sudp user add`.
#[derive(Debug, Args)]
pub struct Add {
    /// The name of the user
    #[arg(value_name = "NAME", value_parser = read_name)]
    pub name: String,
    /// A group it belongs to; may be repeated
    #[arg(long = "group", value_name = "GROUP", value_parser = read_name)]
    pub groups: Vec<String>,
    /// Its password.
    #[command(flatten)]
    pub password: Password,
    /// Where.
    #[command(flatten)]
    pub users: UsersFile,
}

/// `sudp user passwd`.
#[derive(Debug, Args)]
pub struct Passwd {
    /// The name of the user
    #[arg(value_name = "NAME", value_parser = read_name)]
    pub name: String,
    /// Its password.
    #[command(flatten)]
    pub password: Password,
    /// Where.
    #[command(flatten)]
    pub users: UsersFile,
}

/// `sudp user list`.
#[derive(Debug, Args)]
pub struct ListUsers {
    /// Where.
    #[command(flatten)]
    pub users: UsersFile,
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// `sudp user remove`.
#[derive(Debug, Args)]
pub struct Remove {
    /// The name of the user
    #[arg(value_name = "NAME", value_parser = read_name)]
    pub name: String,
    /// Where.
    #[command(flatten)]
    pub users: UsersFile,
}

/// A user as programs are told of it.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    groups: &'a [String],
    disabled: bool,
    created: Option<String>,
}

impl UserCommand {
    /// Does what is asked for.
    pub fn run(self, common: &Common) -> Outcome {
        match self {
            Self::Add(Add { name, groups, password, users }) => {
                let path = users.path(common)?;
                // Nobody types a password for nothing.
                if path.exists() && read(&path)?.contains_key(&name) {
                    return Err(exists(&name, &path));
                }
                let (hash, made) = password.take(&name)?;
                records::edit(&path, |table: &mut Table<User>| {
                    if table.contains_key(&name) {
                        return Err(exists(&name, &path));
                    }
                    table.insert(name.clone(), User::new(hash, groups));
                    Ok(())
                })?;
                done(&format!("the user {name} was added to {}", path.display()), made.as_ref())
            }
            Self::Passwd(Passwd { name, password, users }) => {
                let path = users.path(common)?;
                if !read(&path)?.contains_key(&name) {
                    return Err(missing(&name, &path));
                }
                let (hash, made) = password.take(&name)?;
                records::edit(&path, |table: &mut Table<User>| {
                    table.get_mut(&name).map(|user| user.hash = hash).ok_or_else(|| missing(&name, &path))
                })?;
                done(&format!("the password of {name} was changed in {}", path.display()), made.as_ref())
            }
            Self::List(ListUsers { users, output }) => list(&read(&users.path(common)?)?, output),
            Self::Remove(Remove { name, users }) => {
                let path = users.path(common)?;
                read(&path)?;
                records::edit(&path, |table: &mut Table<User>| {
                    table.remove(&name).map(drop).ok_or_else(|| missing(&name, &path))
                })?;
                print::text(&format!("the user {name} was removed from {}\n", path.display()))
            }
        }
    }
}

impl UsersFile {
    fn path(&self, common: &Common) -> Outcome<PathBuf> {
        common.named_file(self.file.as_deref(), "server.auth.users")
    }
}

impl Password {
    /// The hash of a password that is good enough, and the password where it was made up.
    fn take(&self, name: &str) -> Outcome<(String, Option<Secret>)> {
        let (password, made) = match (&self.password_file, self.generate) {
            (_, true) => {
                let made = passwords::generate()?;
                (made.clone(), Some(made))
            }
            (Some(file), false) => (prompt::in_file(file)?, None),
            (None, false) => (prompt::new_secret("password")?, None),
        };
        match weakness(name, &password) {
            Some(why) => Err(Failure::new(Exit::Usage, format!("this password cannot be used: {why}"))),
            None => Ok((passwords::hash(&password)?, made)),
        }
    }
}

fn read(path: &Path) -> Outcome<Table<User>> {
    records::load(path).map_err(|problems| unusable(&problems))
}

/// Says what was done; a password that was made up alone on the standard output, for whoever reads that.
fn done(what: &str, made: Option<&Secret>) -> Outcome {
    match made {
        None => print::text(&format!("{what}\n")),
        Some(made) => {
            eprintln!("{what}; its password, which is not shown again:");
            print::text(&format!("{}\n", made.expose()))
        }
    }
}

fn list(users: &Table<User>, output: Output) -> Outcome {
    match output {
        Output::Json => {
            let listed = users.iter().map(|(name, user)| Listed {
                name,
                groups: &user.groups,
                disabled: user.disabled,
                created: user.created.map(written_time),
            });
            print::json(&listed.collect::<Vec<_>>())
        }
        Output::Text => {
            let line = |(name, user): (&String, &User)| {
                let created = user.created.map(written_time).unwrap_or_default();
                let disabled = if user.disabled { "  disabled" } else { "" };
                let line = format!("{name:<20}  {created:<20}  {}{disabled}", user.groups.join(","));
                format!("{}\n", line.trim_end())
            };
            print::text(&users.iter().map(line).collect::<String>())
        }
    }
}

fn exists(name: &str, path: &Path) -> Failure {
    let message =
        format!("{} has a user {name} already; change the password by `sudp user passwd {name}`", path.display());
    Failure::new(Exit::CannotCreate, message)
}

fn missing(name: &str, path: &Path) -> Failure {
    Failure::new(Exit::Failed, format!("{} has no user {name}; `sudp user list` shows those it has", path.display()))
}

const ADD: &str = "\
A password is typed at a prompt, or is a line of the standard input, or in a file: never an argument. Weak ones are \
refused. A server that runs takes up a change within a second.

Examples:
  sudp user add alice --group staff --file users.yaml
  sudp user add backup --generate --file users.yaml
  sudp server --users users.yaml --allow 127.0.0.1:5006";

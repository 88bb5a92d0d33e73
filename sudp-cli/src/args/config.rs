//! `sudp config`: looking at a configuration, and beginning one.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Common, Output};
use crate::config::load::{Flags, Gathered, Sources, Surroundings, refusal};
use crate::config::{explain, show};
use crate::exit::{Exit, Failure, Outcome};
use crate::instance::Name;
use crate::print;
use crate::status::Role;

/// What is asked of the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration can be used, and everything that is wrong with it
    #[command(after_help = CHECK)]
    Check(Check),
    /// Print what is in force, from the files and the environment
    #[command(after_help = SHOW)]
    Show(ShowConfig),
    /// Write an example file with every key
    #[command(after_help = INIT)]
    Init(Init),
    /// Print the JSON Schema of the file, for editors
    #[command(after_help = SCHEMA)]
    Schema,
}

/// What is checked.
#[derive(Debug, Args)]
pub struct Check {
    /// The file, instead of the usual ones
    #[arg(value_name = "FILE", conflicts_with = "config")]
    pub file: Option<PathBuf>,
    /// The instance whose file is laid over the common one
    #[arg(long, value_name = "NAME")]
    pub instance: Option<Name>,
    /// Whose it is.
    #[command(flatten)]
    pub whose: Whose,
}

/// What is shown, and how.
#[derive(Debug, Args)]
pub struct ShowConfig {
    /// The instance whose file is laid over the common one
    #[arg(long, value_name = "NAME")]
    pub instance: Option<Name>,
    /// Say where each value comes from
    #[arg(long)]
    pub origin: bool,
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// What is written, and where.
#[derive(Debug, Args)]
pub struct Init {
    /// Where it is written; - is the standard output [default: the usual place]
    #[arg(value_name = "FILE", conflicts_with = "config")]
    pub file: Option<PathBuf>,
    /// Whose it is.
    #[command(flatten)]
    pub whose: Whose,
}

/// Whether it is for a server or for a client.
#[derive(Clone, Copy, Debug, Args)]
pub struct Whose {
    /// For a server
    #[arg(long, conflicts_with = "client")]
    pub server: bool,
    /// For a client
    #[arg(long)]
    pub client: bool,
}

impl Whose {
    fn role(self) -> Option<Role> {
        match self {
            Self { server: true, .. } => Some(Role::Server),
            Self { client: true, .. } => Some(Role::Client),
            Self { .. } => None,
        }
    }
}

impl ConfigCommand {
    /// Does what is asked for.
    pub fn run(self, common: &Common) -> Outcome {
        match self {
            Self::Check(check) => check.run(common),
            Self::Show(show) => show.run(common),
            Self::Init(init) => init.run(common),
            Self::Schema => print::text(&format!("{:#}\n", explain::schema())),
        }
    }
}

impl Check {
    fn run(self, common: &Common) -> Outcome {
        let file = self.file.or_else(|| common.config.clone());
        let sources = Sources { file, ..common.sources(self.instance, Flags::default()) };
        let mut gathered = sources.gather(&Surroundings::of_process());
        gathered.check(self.whose.role());
        gathered.warnings.iter().for_each(|warning| eprintln!("sudp: warning: {warning}"));
        if !gathered.problems.is_empty() {
            return Err(refusal(&gathered.problems));
        }
        if gathered.files.is_empty() {
            return print::text("there is no file: everything is as by default, and can be used\n");
        }
        let files = gathered.files.iter().map(|file| format!("{}: can be used\n", file.display()));
        print::text(&files.collect::<String>())
    }
}

impl ShowConfig {
    fn run(self, common: &Common) -> Outcome {
        let gathered: Gathered = common.sources(self.instance, Flags::default()).gather(&Surroundings::of_process());
        if !gathered.problems.is_empty() {
            return Err(refusal(&gathered.problems));
        }
        match self.output {
            Output::Text => print::text(&show::yaml(&gathered, self.origin)),
            Output::Json => print::text(&format!("{:#}\n", show::json(&gathered))),
        }
    }
}

impl Init {
    fn run(self, common: &Common) -> Outcome {
        let text = explain::example(self.whose.role());
        let named = self.file.or_else(|| common.config.clone());
        if named.as_deref() == Some(Path::new("-")) {
            return print::text(&text);
        }
        let Some(file) = named.or_else(|| Surroundings::of_process().common_file()) else {
            let words =
                "there is no usual place for the file, for HOME is not set; name one, as `sudp config init FILE`";
            return Err(Failure::new(Exit::CannotCreate, words));
        };
        if let Some(folder) = file.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(folder);
            made.map_err(|error| cannot_create(folder, &error))?;
        }
        // Secrets may come into it.
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
        let mut created = created.map_err(|error| cannot_create(&file, &error))?;
        created.write_all(text.as_bytes()).map_err(|error| cannot_create(&file, &error))?;
        print::text(&format!("{}: written; edit it, then `sudp config check`\n", file.display()))
    }
}

fn cannot_create(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::new(
        Exit::CannotCreate,
        match error.kind() == io::ErrorKind::AlreadyExists {
            true => {
                format!("{path}: there is such a file already, and it is not overwritten; name another, or - to print")
            }
            false => format!("{path}: it cannot be written: {error}"),
        },
    )
}

const CHECK: &str = "\
Examples:
  sudp config check                        the usual files, with the environment over them
  sudp config check sudp.yaml --server     one file, as a server would take it
  sudp config check --instance home        what `sudp client --instance home` would read

It exits with 0, or with 78 and a line for everything that is wrong.";

const SHOW: &str = "\
Examples:
  sudp config show
  sudp config show --origin                where each value comes from
  sudp config show -o json | jq '.keys[] | select(.default | not)'

Secrets are not shown.";

const INIT: &str = "\
Examples:
  sudp config init                         at the usual place
  sudp config init --client ./client.yaml
  sudp config init - | less

Nothing is overwritten.";

const SCHEMA: &str = "\
Examples:
  sudp config schema > sudp.schema.json    then, as the first line of the file:
                                           # yaml-language-server: $schema=sudp.schema.json";

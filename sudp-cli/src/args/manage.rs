//! The commands that manage instances: `start`, `stop`, `restart`, `reload`, `status`, `list`, `logs` and `forget`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser as _, Subcommand};

use super::capture::CaptureArgs;
use super::client::RunClient;
use super::server::RunServer;
use super::top::TopArgs;
use super::{Cli, Command, Common, Output};
use crate::config::load::{Flags, Sources};
use crate::exit::{Exit, Failure, Outcome};
use crate::instance::manage::{self, Ended, Sought};
use crate::instance::paths::{Files, Folders};
use crate::instance::saved::{self, Saved};
use crate::instance::show::{self, Ink};
use crate::instance::spawn::{self, Background, Plan};
use crate::instance::{Id, Name, list, logs};
use crate::print;
use crate::run::{self, Start};
use crate::status::Role;

/// The commands that manage instances of one role.
#[derive(Debug, Subcommand)]
pub enum Manage<S: Args> {
    /// Start an instance in the background; returns once it serves
    #[command(after_help = START)]
    Start(S),
    /// Stop an instance, after what is under way is finished
    Stop(Stop),
    /// Stop an instance and start it as it was started
    Restart(Stop),
    /// Read the configuration of an instance anew, without touching its sessions
    #[command(after_help = RELOAD)]
    Reload(Which),
    /// Show how an instance is
    Status(Show),
    /// Show every instance
    List(List),
    /// Show the log of an instance
    Logs(Logs),
    /// Remove what is left of an instance that has ended: how it was started, and its log
    #[command(after_help = FORGET)]
    Forget(Which),
    /// Show an instance live, on a terminal
    Top(TopArgs),
    /// Capture the datagrams of an instance, as lines of JSON or for Wireshark
    Capture(CaptureArgs),
}

/// Which instance is meant.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// The instance
    #[arg(long, value_name = "NAME", default_value_t)]
    pub instance: Name,
}

/// How an instance is stopped.
#[derive(Clone, Debug, Args)]
#[command(after_help = STOP)]
pub struct Stop {
    /// The instance
    #[command(flatten)]
    pub which: Which,
    /// How long it may take to finish, before it is killed [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
}

/// What is shown, and how.
#[derive(Clone, Debug, Args)]
#[command(after_help = STATUS)]
pub struct Show {
    /// The instance
    #[command(flatten)]
    pub which: Which,
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// How the list is shown.
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = LIST)]
pub struct List {
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// What of a log is shown.
#[derive(Clone, Debug, Args)]
#[command(after_help = LOGS)]
pub struct Logs {
    /// The instance
    #[command(flatten)]
    pub which: Which,
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub follow: bool,
    /// How many lines to begin with
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    pub lines: usize,
}

/// How something is run that can also be started in the background.
pub trait Runs: Args {
    /// What it is.
    const ROLE: Role;
    /// What it is called, if it was named.
    fn instance(&self) -> Option<&Name>;
    /// What this says of the configuration.
    fn flags(&self) -> Flags;
    /// What the user should know of how this was typed.
    fn warnings(&self) -> Vec<String>;
    /// Names every file by a path that means the same from everywhere.
    fn settle(&mut self, folder: &Path);
    /// Takes the port that was picked before, where it asks to pick one.
    fn take(&mut self, port: u16);
    /// Runs it.
    fn run(start: Start) -> Outcome;

    /// What the configuration of an instance in the background is made from, which was typed in this folder.
    fn sources(&mut self, common: &Common, folder: &Path, files: &Files) -> Sources {
        self.settle(folder);
        let named = common.config.clone().or_else(|| std::env::var_os("SUDP_CONFIG").map(PathBuf::from));
        let mut sources = common.sources(Some(files.id.name.clone()), self.flags());
        sources.file = named.map(|file| folder.join(file));
        sources.log_file = Some(files.log.clone());
        sources
    }
}

impl Runs for RunServer {
    const ROLE: Role = Role::Server;

    fn instance(&self) -> Option<&Name> {
        self.instance.as_ref()
    }

    fn flags(&self) -> Flags {
        Self::flags(self)
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn settle(&mut self, folder: &Path) {
        let files = self.tls_cert.iter_mut().chain(&mut self.tls_key).chain(&mut self.tls_ca);
        files.for_each(|file| *file = folder.join(&*file));
    }

    fn take(&mut self, port: u16) {
        if self.port == Some(0) {
            self.port = Some(port);
        }
        if let [listen] = &mut self.listen[..]
            && listen.port() == 0
        {
            listen.set_port(port);
        }
    }

    fn run(start: Start) -> Outcome {
        run::server::run(start)
    }
}

impl Runs for RunClient {
    const ROLE: Role = Role::Client;

    fn instance(&self) -> Option<&Name> {
        self.instance.as_ref()
    }

    fn flags(&self) -> Flags {
        Self::flags(self)
    }

    fn warnings(&self) -> Vec<String> {
        self.reach.secrets().collect()
    }

    fn settle(&mut self, folder: &Path) {
        self.reach.settle(folder);
    }

    /// The ports of a client are those of its tunnels, each of which says which one it takes.
    fn take(&mut self, _port: u16) {}

    fn run(start: Start) -> Outcome {
        run::client::run(start)
    }
}

impl<S: Runs> Manage<S> {
    /// Does what is asked for.
    pub fn run(self, common: &Common) -> Outcome {
        let roles = &[S::ROLE];
        match self {
            Self::Start(what) => start(what, common),
            Self::Stop(stop) => stop.run(roles, common),
            Self::Restart(stop) => stop.run_restart(roles, common),
            Self::Reload(which) => which.run_reload(roles, common),
            Self::Status(show) => show.run(roles, common),
            Self::List(list) => list.run(roles, common),
            Self::Logs(logs) => logs.run(roles),
            Self::Forget(which) => which.run_forget(roles, common),
            Self::Top(args) => args.run(common, Some(S::ROLE)),
            Self::Capture(args) => args.run(Some(S::ROLE)),
        }
    }
}

impl Which {
    /// Has it read its configuration anew.
    pub fn run_reload(&self, roles: &[Role], common: &Common) -> Outcome {
        let files = manage::choose(&Folders::new(), roles, &self.instance, Sought::Running)?;
        manage::reload(&files)?;
        say(common, &format!("the {} has its new configuration in force", files.id))
    }
}

impl Which {
    /// Removes what is left of it.
    pub fn run_forget(&self, roles: &[Role], common: &Common) -> Outcome {
        let files = manage::choose(&Folders::new(), roles, &self.instance, Sought::Known)?;
        manage::forget(&files)?;
        say(common, &format!("nothing is left of the {}", files.id))
    }
}

impl Stop {
    /// Stops it.
    pub fn run(&self, roles: &[Role], common: &Common) -> Outcome {
        let files = manage::choose(&Folders::new(), roles, &self.which.instance, Sought::Running)?;
        let ended = manage::stop(&files, self.limit())?;
        self.tell(&files, ended, common)
    }

    /// Stops it, and starts it as it was started.
    pub fn run_restart(&self, roles: &[Role], common: &Common) -> Outcome {
        let files = manage::choose(&Folders::new(), roles, &self.which.instance, Sought::Known)?;
        let saved = manage::saved(&files)?;
        // While it can be seen that it would not start again, it goes on.
        check(&saved, &files)?;
        let (ended, serving) = manage::restart(&files, saved, self.limit())?;
        if let Some(ended) = ended {
            self.tell(&files, ended, common)?;
        }
        say(common, &show::serving(&files.id, &serving))
    }

    fn limit(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(30))
    }

    fn tell(&self, files: &Files, ended: Ended, common: &Common) -> Outcome {
        let limit = humantime::format_duration(self.limit());
        let id = &files.id;
        match ended {
            Ended::Finished => say(common, &format!("the {id} has ended")),
            Ended::Hurried => {
                eprintln!("sudp: warning: the {id} did not finish within {limit}, and was ended at once");
                Ok(())
            }
            Ended::Killed => {
                eprintln!("sudp: warning: the {id} did not end within {limit}, and was killed");
                Ok(())
            }
        }
    }
}

impl Show {
    /// Shows how it is.
    pub fn run(&self, roles: &[Role], common: &Common) -> Outcome {
        let folders = Folders::new();
        let files = manage::choose(&folders, roles, &self.which.instance, Sought::Running)?;
        match self.output {
            Output::Json => print::json(&manage::status(&files)?),
            Output::Text => print::text(&show::status(&manage::sample(&files)?, Ink::of(common.color))),
        }
    }
}

impl List {
    /// Shows all of them.
    pub fn run(self, roles: &[Role], common: &Common) -> Outcome {
        let found = list::all(&Folders::new(), roles);
        match self.output {
            Output::Json => print::json(&found),
            Output::Text => print::text(&list::table(&found, Ink::of(common.color))),
        }
    }
}

impl Logs {
    /// Shows it.
    pub fn run(&self, roles: &[Role]) -> Outcome {
        let folders = Folders::new();
        let files = manage::choose(&folders, roles, &self.which.instance, Sought::Known)?;
        logs::show(&files, self.lines, self.follow)
    }
}

/// Starts an instance: the parent's side, and, in the process that it begins, the instance itself.
fn start<S: Runs>(mut what: S, common: &Common) -> Outcome {
    let id = Id { role: S::ROLE, name: what.instance().cloned().unwrap_or_default() };
    let files = Folders::new().files(&id);
    let folder = std::env::current_dir().map_err(|error| {
        Failure::new(Exit::Failed, format!("the folder this was typed in cannot be told, go to another one: {error}"))
    })?;

    let Some(background) = Background::enter()? else {
        what.warnings().iter().for_each(|warning| eprintln!("sudp: warning: {warning}"));
        // What cannot be kept now could not be used by a restart.
        typed(common)?;
        let plan = Plan { files, arguments: common.typed.clone(), folder, port: None };
        let serving = spawn::start(&plan)?;
        return say(common, &show::serving(&id, &serving));
    };

    if let Some(port) = background.port {
        what.take(port);
    }
    let sources = what.sources(common, &folder, &files);
    let prepared = (|| {
        let log = sources.load(S::ROLE)?.config.log.file;
        Ok(Saved { schema: saved::SCHEMA, arguments: typed(common)?, folder, port: None, log })
    })();
    match prepared {
        Ok(saved) => {
            let start = Start { sources, color: super::Color::Never, ready: Box::new(|_| Ok(())) };
            background.run(&files, saved, start, S::run)
        }
        Err(failure) => {
            background.fail(&failure);
            Err(failure)
        }
    }
}

/// Whether what an instance was started by still makes a configuration.
fn check(saved: &Saved, files: &Files) -> Outcome {
    let words = std::iter::once("sudp").chain(saved.arguments.iter().map(String::as_str));
    let unusable = |why: &dyn std::fmt::Display| {
        let path = files.state.display();
        Failure::new(
            Exit::Failed,
            format!("cannot use {path}, which says how it was started: {why}; use 'start' instead"),
        )
    };
    let cli = Cli::try_parse_from(words).map_err(|error| unusable(&error))?;
    let (common, folder) = (&cli.common, saved.folder.as_path());
    let sources = if let Command::Server(args) = cli.command {
        of_start(args.manage, common, folder, files)
    } else if let Command::Client(args) = cli.command {
        of_start(args.manage, common, folder, files)
    } else {
        None
    };
    let sources = sources.ok_or_else(|| unusable(&"it was no 'start'"))?;
    sources.load(files.id.role).map(drop)
}

fn of_start<S: Runs>(manage: Option<Manage<S>>, common: &Common, folder: &Path, files: &Files) -> Option<Sources> {
    let Some(Manage::Start(mut what)) = manage else { return None };
    Some(what.sources(common, folder, files))
}

/// What was typed, as it is kept.
fn typed(common: &Common) -> Outcome<Vec<String>> {
    let text = |word: &std::ffi::OsString| {
        word.to_str().map(Into::into).ok_or_else(|| {
            let message =
                format!("{} is not UTF-8, and could not be kept for a restart", PathBuf::from(word).display());
            Failure::new(Exit::Usage, message)
        })
    };
    common.typed.iter().map(text).collect()
}

fn say(common: &Common, text: &str) -> Outcome {
    if common.quiet { Ok(()) } else { print::text(&format!("{}\n", text.trim_end())) }
}

const START: &str = "\
Examples:
  sudp server start --instance home --port 0 --allow 127.0.0.0/8
  sudp client start --instance home wss://example.com -L 5005:10.0.0.1:53

It takes what `sudp server` and `sudp client` take in the foreground, and keeps it for `sudp restart`. If it does not \
serve it says why, ends as that would have ended in the foreground, and leaves nothing behind.";

pub(super) const RELOAD: &str = "\
Examples:
  sudp reload
  sudp server reload --instance home

If something is wrong with the new configuration it says what, ends with 78, and the old one stays in force.";

const STOP: &str = "\
Examples:
  sudp server stop                       finishes what is under way, for up to 30 s
  sudp stop --instance home --timeout 5s
  sudp restart --instance home           with the flags of its start, at the same port

Ends with 3 if no such instance runs.";

const STATUS: &str = "\
Examples:
  sudp status
  sudp client status --instance home
  sudp status -o json | jq '.sessions[].links[].rtt'

Ends with 0 if it runs, 1 if it is dead and has left its files, 3 if it does not run, 4 if that cannot be told.";

pub(super) const FORGET: &str = "\
Examples:
  sudp forget --instance test1
  sudp client forget --instance test1    where a server has the same name

One that runs is left alone. A log file of the configuration's choosing stays where it is.";

const LIST: &str = "\
Examples:
  sudp list
  sudp list -o json | jq -r '.instances[] | select(.state != \"running\") | .instance'";

const LOGS: &str = "\
Examples:
  sudp logs                              the last 20 lines
  sudp logs --instance home -f -n 0      what is written from now on, across rotations";

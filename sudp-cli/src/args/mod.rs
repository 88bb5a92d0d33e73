//! The command line: every command, flag and help text.

pub mod acl;
pub mod bench;
pub mod capture;
pub mod cert;
pub mod client;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod echo;
pub mod keygen;
pub mod manage;
pub mod reach;
pub mod server;
pub mod spec;
pub mod token;
pub mod top;
pub mod user;

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::config::load::{Flags, Sources};
use crate::exit::{Exit, Failure, Outcome};
use crate::instance::Name;
use crate::man;

/// UDP through places where only HTTP gets through.
#[derive(Debug, Parser)]
#[command(name = "sudp", version, long_version = man::long_version(), propagate_version = true, arg_required_else_help = true, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// What is asked for.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// The configuration file, instead of the usual ones
    #[arg(short, long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Say more; twice, say everything
    #[arg(short, long, global = true, help_heading = EVERYWHERE, action = ArgAction::Count)]
    pub verbose: u8,
    /// Say only what is wrong
    #[arg(short, long, global = true, help_heading = EVERYWHERE, conflicts_with = "verbose")]
    pub quiet: bool,
    /// How log lines look
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// When to use colours
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Everything that was typed behind the name of the program `sudp`.
    #[arg(skip)]
    pub typed: Vec<OsString>,
}

impl Common {
    /// What a configuration is made from, with what `flags` and every command say.
    pub fn sources(&self, instance: Option<Name>, mut flags: Flags) -> Sources {
        let level = match (self.quiet, self.verbose) {
            (true, _) => Some(("-q", "warn")),
            (false, 0) => None,
            (false, 1) => Some(("-v", "debug")),
            (false, _) => Some(("-vv", "trace")),
        };
        if let Some((flag, level)) = level {
            flags.set("log.level", flag, [level]);
        }
        let format = self.log_format.map(|format| match format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        });
        flags.set("log.format", "--log-format", format);
        Sources { file: self.config.clone(), instance, flags, log_file: None }
    }
}

impl Common {
    /// A file that a command works on: the one it was given, or else the one that the configuration names by this key.
    pub(crate) fn named_file(&self, given: Option<&Path>, key: &'static str) -> Outcome<PathBuf> {
        if let Some(file) = given {
            return Ok(file.to_owned());
        }
        self.sources(None, Flags::default()).file_of(key)?.ok_or_else(|| {
            Failure::new(Exit::Usage, format!("say which file by --file, or name it in the configuration by `{key}`"))
        })
    }
}

impl Color {
    /// Whether the standard error is written in colour.
    pub fn on_stderr(self) -> bool {
        self.on(&std::io::stderr())
    }

    /// Whether this stream is written in colour.
    pub fn on(self, stream: &impl IsTerminal) -> bool {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto if set("NO_COLOR") => false,
            Self::Auto if std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
            Self::Auto => std::env::var_os("TERM").is_none_or(|term| term != "dumb") && stream.is_terminal(),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless the environment says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// As JSON, for programs.
    Json,
}

/// What is asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a server, or manage servers in the background
    Server(Box<server::ServerArgs>),
    /// Run a client, or manage clients in the background
    Client(Box<client::ClientArgs>),
    /// Watch datagrams survive cuts: echo service, server and client in one process
    Demo(demo::DemoArgs),
    /// Run a UDP echo service, to test with
    Echo(echo::EchoArgs),
    /// Make a key and a certificate for a server at home
    Cert(cert::CertArgs),
    /// Add, change, show and remove users of a server
    #[command(subcommand)]
    User(user::UserCommand),
    /// Make, show and revoke tokens for a server
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Make a key that links are sealed with, end to end
    Keygen(keygen::KeygenArgs),
    /// Measure a tunnel, beside plain UDP
    Bench(bench::BenchArgs),
    /// Show an instance live, on a terminal
    Top(top::TopArgs),
    /// Capture the datagrams of an instance, as lines of JSON or for Wireshark
    Capture(capture::CaptureArgs),
    /// Look at the path to a server, say what is wrong with it and what to change
    Doctor(Box<doctor::DoctorArgs>),
    /// Check, show or begin a configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Ask what the rules of a server allow, and why
    #[command(subcommand)]
    Acl(acl::AclCommand),
    /// Print the completions for a shell
    #[command(after_help = COMPLETIONS)]
    Completions(man::Completions),
    /// Print the manual, or write all of its pages
    #[command(after_help = MAN)]
    Man(man::Pages),
    /// Stop an instance, after what is under way is finished
    Stop(manage::Stop),
    /// Stop an instance and start it as it was started
    Restart(manage::Stop),
    /// Read the configuration of an instance anew, without touching its sessions
    #[command(after_help = manage::RELOAD)]
    Reload(manage::Which),
    /// Show how an instance is
    Status(manage::Show),
    /// Show every instance
    List(manage::List),
    /// Show the log of an instance
    Logs(manage::Logs),
    /// Remove what is left of an instance that has ended: how it was started, and its log
    #[command(after_help = manage::FORGET)]
    Forget(manage::Which),
}

/// What every command takes stands behind what it takes by itself.
const EVERYWHERE: &str = "Common options";

const EXAMPLES: &str = "\
Examples:
  sudp demo                                                see it work, on this machine alone
  sudp server --allow 127.0.0.0/8
  sudp client ws://127.0.0.1:8080 -L 5005:127.0.0.1:5006   port 5005 here is port 5006 there
  sudp server start --instance home --port 0               in the background
  sudp list";

const COMPLETIONS: &str = "\
Examples:
  sudp completions bash > /usr/share/bash-completion/completions/sudp
  sudp completions zsh > /usr/share/zsh/site-functions/_sudp
  sudp completions fish sudpc > ~/.config/fish/completions/sudpc.fish";

const MAN: &str = "\
Examples:
  sudp man | man -l -
  sudp man ./man                           every page, sudp.yaml(5) among them";

impl Cli {
    /// Reads the arguments of the process. Help, and what is typed wrongly, end it here.
    pub fn read(arguments: impl IntoIterator<Item = OsString>, role: Option<OsString>) -> Self {
        let mut arguments = arguments.into_iter();
        let program = arguments.next().unwrap_or_else(|| "sudp".into());
        let mut typed: Vec<_> = role.into_iter().chain(arguments).collect();
        lead_by_common(&mut typed);
        let mut cli = Self::try_parse_from([program].iter().chain(&typed)).unwrap_or_else(|error| {
            // Where no role is given most commands look among both, but nothing can be started so.
            if error.kind() == ErrorKind::InvalidSubcommand && typed.first().is_some_and(|word| word == "start") {
                let what = "what is started is a server or a client: `sudp server start …` or `sudp client start …`";
                Self::command().error(ErrorKind::InvalidSubcommand, what).exit();
            }
            error.exit()
        });
        cli.common.typed = typed;
        cli
    }
}

/// Moves `server` or `client` behind the common options that follow it: in front of a command that manages, as in
/// `sudpd -c FILE start`, they would count as those of a run in the foreground.
fn lead_by_common(typed: &mut [OsString]) {
    let Some((_, rest)) = typed.split_first().filter(|(role, _)| *role == "server" || *role == "client") else {
        return;
    };
    let mut common = 0;
    while let Some(words) = rest.get(common).and_then(|word| common_words(word)) {
        common = (common + words).min(rest.len());
    }
    typed[..=common].rotate_left(1);
}

/// How many words a common option takes, if this is one.
fn common_words(word: &OsStr) -> Option<usize> {
    let word = word.to_str()?;
    match word {
        "-c" | "--config" | "--log-format" | "--color" => Some(2),
        "--verbose" | "--quiet" => Some(1),
        _ => {
            let joined = ["--config=", "--log-format=", "--color="].iter().any(|option| word.starts_with(option));
            let short = word.strip_prefix('-').is_some_and(|letters| {
                letters.starts_with('c') || !letters.is_empty() && letters.chars().all(|letter| "vq".contains(letter))
            });
            (joined || short).then_some(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_options_may_stand_on_either_side_of_what_is_asked_for() {
        let led = |line: &str| {
            let mut typed: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            lead_by_common(&mut typed);
            typed.join(OsStr::new(" ")).into_string().unwrap()
        };
        assert_eq!(led("server -c x.yaml -vv start --instance a"), "-c x.yaml -vv server start --instance a");
        assert_eq!(led("client --config=x -q --color never stop"), "--config=x -q --color never client stop");
        assert_eq!(led("server -cx --listen 127.0.0.1:1 -v"), "-cx server --listen 127.0.0.1:1 -v");
        for same in ["server", "server start -c x", "echo -v", "-c x server start", "client ws://a -v", "server -"] {
            assert_eq!(led(same), same);
        }
        assert_eq!(led("server -c"), "-c server", "what is missing is for the parser to tell");
    }

    #[test]
    fn an_instance_is_started_with_a_file_named_before_or_behind() {
        for line in ["sudpd -c x.yaml start --instance a", "sudpd start -c x.yaml --instance a"] {
            let cli = Cli::read(line.split(' ').map(OsString::from), Some("server".into()));
            assert_eq!(cli.common.config.as_deref(), Some(Path::new("x.yaml")), "{line}");
            assert!(matches!(cli.command, Command::Server(args) if args.manage.is_some()), "{line}");
        }
    }
}

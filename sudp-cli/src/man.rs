//! What is made from the definitions of the command line: completions, pages of the manual, the long version.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use sudp_tokio::proto::link::SUBPROTOCOL;

use crate::args::Cli;
use crate::config::explain;
use crate::exit::{Exit, Failure, Outcome};
use crate::print;

/// Which completions are printed.
#[derive(Clone, Copy, Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Completed,
    /// The program to complete
    #[arg(value_name = "PROGRAM", default_value = "sudp")]
    pub program: Program,
}

/// The shells that have completions.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Completed {
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// The programs there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Program {
    /// All of it.
    #[default]
    Sudp,
    /// `sudp server`.
    Sudpd,
    /// `sudp client`.
    Sudpc,
}

/// Where pages of the manual go.
#[derive(Clone, Debug, Args)]
pub struct Pages {
    /// A folder for all pages; without one, sudp(1) is printed
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

impl Program {
    fn command(self) -> Command {
        let all = Cli::command();
        let (name, role) = match self {
            Self::Sudp => return all,
            Self::Sudpd => ("sudpd", "server"),
            Self::Sudpc => ("sudpc", "client"),
        };
        let globals: Vec<_> = all.get_arguments().filter(|argument| argument.is_global_set()).cloned().collect();
        let one = all.find_subcommand(role).expect("every role has a command").clone();
        one.name(name).bin_name(name).version(env!("CARGO_PKG_VERSION")).args(globals)
    }
}

impl Completions {
    /// Prints them.
    pub fn run(self) -> Outcome {
        let shell = match self.shell {
            Completed::Bash => Shell::Bash,
            Completed::Zsh => Shell::Zsh,
            Completed::Fish => Shell::Fish,
        };
        let mut command = self.program.command();
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, name, &mut script);
        print::text(&String::from_utf8_lossy(&script))
    }
}

impl Pages {
    /// Prints or writes them.
    pub fn run(self) -> Outcome {
        match self.folder {
            Some(folder) => {
                let written = write(&folder).map_err(|error| {
                    Failure::new(Exit::CannotCreate, format!("{}: it cannot be written: {error}", folder.display()))
                })?;
                print::text(&format!("{}: {written} pages written\n", folder.display()))
            }
            None => {
                let mut page = Vec::new();
                let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
                rendered.map_err(|error| Failure::new(Exit::Internal, error))?;
                print::text(&String::from_utf8_lossy(&page))
            }
        }
    }
}

/// Writes every page into a folder, and counts them.
fn write(folder: &Path) -> io::Result<usize> {
    fs::create_dir_all(folder)?;
    let mut pages = Vec::new();
    for program in [Program::Sudp, Program::Sudpd, Program::Sudpc] {
        let mut command = program.command().disable_help_subcommand(true);
        command.build();
        collect(command, &mut pages)?;
    }
    pages.push(("sudp.yaml.5".to_owned(), explain::page().into_bytes()));
    for (name, page) in &pages {
        fs::write(folder.join(name), page)?;
    }
    Ok(pages.len())
}

/// The page of a command, and those of its own commands.
fn collect(command: Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        collect(inner.clone(), pages)?;
    }
    // The long version is a matter of the build, which the pages are not.
    let page = clap_mangen::Man::new(command.long_version(None)).manual("SUDP");
    let page = page.source(concat!("sudp ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render(&mut text)?;
    pages.push((page.get_filename(), text));
    Ok(())
}

/// What `--version` says, behind the name of the program.
pub fn long_version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let build = env!("BUILD_OF_SUDP").split(';').filter(|line| !line.is_empty());
        let lines =
            [env!("CARGO_PKG_VERSION")].into_iter().chain(build).chain(["features: tls (rustls with aws-lc-rs)"]);
        format!("{}\nwire: {SUBPROTOCOL}", lines.collect::<Vec<_>>().join("\n"))
    });
    &TEXT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let folder = std::env::temp_dir().join(format!("sudp-man-{}", std::process::id()));
        let written = write(&folder).unwrap();
        let pages: Vec<String> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let text = fs::read_to_string(folder.join("sudp-config-check.1")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(pages.len(), written, "two pages have one name: {pages:?}");
        for page in ["sudp.1", "sudp-server.1", "sudp-client-start.1", "sudpd.1", "sudpc-status.1", "sudp.yaml.5"] {
            assert!(pages.iter().any(|it| it == page), "{page} is missing in {pages:?}");
        }
        assert!(text.contains("\\-\\-instance"), "{text}");
    }

    #[test]
    fn the_long_version_names_the_protocol() {
        let version = long_version();
        assert!(version.starts_with(env!("CARGO_PKG_VERSION")), "{version}");
        assert!(version.contains("\nwire: sudp.v1") && version.contains("\ntarget: "), "{version}");
    }
}

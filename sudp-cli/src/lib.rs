//! The commands of SUDP. `sudp` has them all; `sudpd …` is `sudp server …`, and `sudpc …` is `sudp client …`.

#![forbid(unsafe_code)]

mod access;
mod acl;
pub mod args;
mod bench;
pub mod capture;
mod cert;
pub mod config;
mod delays;
pub mod doctor;
pub mod exit;
pub mod instance;
mod keygen;
pub mod log;
mod login;
pub mod man;
mod print;
mod prompt;
pub mod run;
pub mod status;
pub mod top;

use std::ffi::OsString;
use std::process::ExitCode;

use args::{Cli, Command};
use exit::Outcome;
use status::Role;

/// Runs the command line of the process; `role` is put in front of it.
pub fn main(role: Option<&str>) -> ExitCode {
    // What was begun by `start` is given all of the arguments.
    let role = role.filter(|_| !instance::spawn::is_child());
    let cli = Cli::read(std::env::args_os(), role.map(OsString::from));
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sudp: {failure}");
            failure.exit.into()
        }
    }
}

fn dispatch(cli: Cli) -> Outcome {
    let Cli { common, command } = cli;
    match command {
        Command::Server(args) => args.run(&common),
        Command::Client(args) => args.run(&common),
        Command::Demo(args) => args.run(&common),
        Command::Echo(args) => args.run(&common),
        Command::Cert(args) => args.run(&common),
        Command::User(command) => command.run(&common),
        Command::Token(command) => command.run(&common),
        Command::Keygen(args) => args.run(),
        Command::Bench(args) => args.run(&common),
        Command::Top(args) => args.run(&common, None),
        Command::Capture(args) => args.run(None),
        Command::Doctor(args) => args.run(&common),
        Command::Config(command) => command.run(&common),
        Command::Acl(command) => command.run(&common),
        Command::Completions(completions) => completions.run(),
        Command::Man(pages) => pages.run(),
        Command::Stop(args) => args.run(&BOTH, &common),
        Command::Restart(args) => args.run_restart(&BOTH, &common),
        Command::Reload(args) => args.run_reload(&BOTH, &common),
        Command::Status(args) => args.run(&BOTH, &common),
        Command::List(args) => args.run(&BOTH, &common),
        Command::Logs(args) => args.run(&BOTH),
        Command::Forget(args) => args.run_forget(&BOTH, &common),
    }
}

/// What commands look among that name no role.
const BOTH: [Role; 2] = [Role::Server, Role::Client];

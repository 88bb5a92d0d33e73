//! `sudpd`: see `sudpd --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sudp_cli::main(Some("server"))
}

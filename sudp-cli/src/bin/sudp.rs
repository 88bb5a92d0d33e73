//! `sudp`: see `sudp --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sudp_cli::main(None)
}

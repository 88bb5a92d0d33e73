//! `sudpc`: see `sudpc --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sudp_cli::main(Some("client"))
}

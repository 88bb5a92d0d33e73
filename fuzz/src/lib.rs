//! Shared entry of the fuzz targets.
//!
//! Under `cfg(fuzzing)` a target is a libFuzzer binary. Otherwise it replays the files and directories
//! it is given, so that a crash can be debugged, and a corpus counted, on a stable toolchain.

use std::path::PathBuf;
use std::process::ExitCode;

use sudp_tests::fuzz::{self, Target};

/// Makes the binary of one target out of its body, a `fn(&[u8])`.
#[macro_export]
macro_rules! target {
    ($body:path) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $body(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            $crate::replay($body)
        }
    };
}

/// Runs `body` on every file given as an argument, and on every file of every directory.
pub fn replay(body: Target) -> ExitCode {
    let paths: Vec<_> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match paths.iter().try_fold(0, |count, path| Ok::<_, std::io::Error>(count + fuzz::replay(body, path)?)) {
        Ok(0) => {
            eprintln!("no input: give files or directories to replay");
            ExitCode::FAILURE
        }
        Ok(count) => {
            eprintln!("{count} inputs replayed");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

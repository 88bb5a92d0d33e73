//! Notes what `sudp --version` says of the build. What cannot be found out is left out: no build fails for it.

use std::env;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["SOURCE_DATE_EPOCH", "SOURCE_COMMIT"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    // Whoever develops builds after each commit, and needs none of this.
    let released = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = env::var("SOURCE_COMMIT").ok().or_else(|| released.then(commit).flatten());
    let date = env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| day(seconds.parse().ok()?));
    let date = date.or_else(|| released.then(|| git(&["log", "-1", "--format=%cs"])).flatten());
    let rustc = env::var("RUSTC").ok().and_then(|rustc| output(&rustc, &["--version"]));
    let lines = [
        ("commit", commit),
        ("date", date),
        ("target", env::var("TARGET").ok()),
        ("rustc", rustc.map(|version| version.trim_start_matches("rustc ").to_owned())),
    ];
    let known = lines.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value?)));
    // A line break cannot be in it; and what begins with SUDP_ would be taken for a setting, for cargo leaves it in the
    // environment of what it runs.
    println!("cargo::rustc-env=BUILD_OF_SUDP={}", known.collect::<Vec<_>>().join(";"));
}

/// The commit, and whether something was changed since.
fn commit() -> Option<String> {
    for file in ["HEAD", "index"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
}

fn git(arguments: &[&str]) -> Option<String> {
    output("git", arguments)
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty() && !text.contains(['\n', ';'])).then_some(text)
}

/// The day of this second, as 2026-11-21.
fn day(seconds: u64) -> Option<String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let days = i64::try_from(Duration::from_secs(seconds).min(since).as_secs() / 86_400).ok()?;
    // Years that begin in March have their leap day at the end.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    Some(format!("{:04}-{month:02}-{day:02}", era * 400 + year + i64::from(month <= 2)))
}

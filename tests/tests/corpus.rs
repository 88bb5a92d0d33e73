//! The fuzz corpus as ordinary tests: what a fuzzer once found interesting stays harmless.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use sudp_tests::fuzz::{self, TARGETS};

#[test]
fn every_target_survives_its_corpus() {
    for (name, body) in TARGETS {
        let corpus = fuzz_crate().join("corpus").join(name);
        let count = fuzz::replay(*body, &corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
        assert_ne!(count, 0, "the target {name} has no corpus");
    }
}

#[test]
fn every_corpus_and_every_binary_belongs_to_a_target() {
    let targets = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect::<BTreeSet<_>>();

    assert_eq!(names("corpus").unwrap(), targets);
    assert_eq!(names("fuzz_targets").unwrap(), targets);
    assert_eq!(declared().unwrap(), targets);
}

/// The binaries that `fuzz/Cargo.toml` declares: cargo finds none of them by itself.
fn declared() -> io::Result<BTreeSet<String>> {
    let manifest = fs::read_to_string(fuzz_crate().join("Cargo.toml"))?;
    let paths = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
    Ok(paths.filter_map(|path| path.strip_suffix(".rs\"")).map(str::to_owned).collect())
}

/// What a directory of the fuzz crate holds, without extensions.
fn names(directory: &str) -> io::Result<BTreeSet<String>> {
    let name = |entry: DirEntry| entry.path().with_extension("").file_name().map(|name| name.display().to_string());
    let entries = fs::read_dir(fuzz_crate().join(directory))?;
    entries.filter_map(|entry| entry.map(name).transpose()).collect()
}

fn fuzz_crate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

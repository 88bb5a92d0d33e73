#!/usr/bin/env bash
# Breaks the core on purpose, one small change at a time, and lists what no test noticed.
#
#   tests/mutants.sh [module] [option of cargo-mutants]...
#
# A module is access, session or wire; without one it is all three, which takes hours. An option is for
# example `--shard 1/8`. Survivors are in mutants.out/missed.txt: kill each with a test, or write
# down why it changes nothing. .cargo/mutants.toml says what is changed and which tests run.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly timed_out=3 # a mutant that never ends was noticed

command -v cargo-mutants >/dev/null || cargo install --locked cargo-mutants@27.1.0

module=()
case ${1:-} in
  access | session | wire) module=(--re "^sudp-proto/src/$1/") && shift ;;
esac
cargo mutants "${module[@]}" "$@" || [ $? = "$timed_out" ]

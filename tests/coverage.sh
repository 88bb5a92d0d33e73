#!/usr/bin/env bash
# Measures which lines of sudp-proto the tests reach.
#
#   tests/coverage.sh [lines]      fails below that many percent of lines, 95 by default
#   tests/coverage.sh branches     counts branches as well, which needs a nightly toolchain
#
# Needs cargo-llvm-cov, and the toolchain's llvm-tools; both are installed if they are absent. A report
# to click through is left in target/llvm-cov/html.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly lines="${1:-95}"
readonly elsewhere='/(tests|fuzz)/|/tests\.rs$' # the core counts, not what tests it

main() {
  command -v cargo-llvm-cov >/dev/null || cargo install --locked cargo-llvm-cov@0.9.1
  if [ "$lines" = branches ]; then
    export RUSTUP_TOOLCHAIN=nightly
    measure --branch
    report
  else
    measure
    report --fail-under-lines "$lines"
  fi
}

measure() {
  rustup component add llvm-tools
  cargo llvm-cov clean --workspace
  cargo llvm-cov --no-report --workspace "$@"
}

report() {
  cargo llvm-cov report --html --ignore-filename-regex "$elsewhere"
  cargo llvm-cov report --ignore-filename-regex "$elsewhere" "$@"
}

main

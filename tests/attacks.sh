#!/bin/sh
# Attacks a server that runs, beside a client that means well: tests/attacks.sh [strangers|guesses|reflect [ARGUMENTS]].
# Each prints a line of JSON, or SKIPPED and why.
set -eu
cd "$(dirname "$0")/.."
cargo build --quiet --release -p sudp-cli --bin sudp --example attack
attack="${CARGO_TARGET_DIR:-target}/release/examples/attack"
if [ $# -gt 0 ]; then
    exec "$attack" "$@"
fi
status=0
run() { "$attack" "$@" || { [ $? -eq 75 ] || status=1; }; }
run strangers 2000 30
for by in password token; do
    run guesses 10000 1 "$by"
    run guesses 10000 500 "$by"
done
run reflect 12
exit "$status"

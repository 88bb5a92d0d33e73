#!/usr/bin/env bash
# Runs the Autobahn test suite against the echo example, which stands on our own link.
#
#   tests/conformance/autobahn.sh [server|client|both] [cases]
#
# The role is that of our side; cases are patterns as `1.*,9.1.*`, all by default. The suite needs
# CPython 2.7: it is installed once into $SUDP_CACHE, or else target/autobahn. Where that cannot be
# done the script ends with 77, and its last line says why. Reports stay in target/autobahn.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly role="${1:-both}" cases="${2:-*}"
readonly target="${CARGO_TARGET_DIR:-target}"
readonly reports="$target/autobahn"
readonly suite="${SUDP_CACHE:-$reports}/suite"
readonly echo_example="$target/release/examples/autobahn_echo"
readonly wstest=("$suite/bin/wstest" --webport 0)
readonly minutes=6 # one role may take

started=()

main() {
  mkdir -p "$reports"
  install_suite
  cargo build --release -p sudp-tests --example autobahn_echo
  trap stop_all EXIT
  case $role in
    server) server ;;
    client) client ;;
    both) server; client ;;
    *) usage ;;
  esac
}

usage() {
  sed -n 's/^#   //p' "$0" >&2
  exit 2
}

# Our server under the suite's client.
server() {
  local port
  port=$(free_port)
  specify server "ws://127.0.0.1:$port"
  start "$echo_example" server "127.0.0.1:$port"
  await "$port"
  timeout "${minutes}m" "${wstest[@]}" --mode fuzzingclient --spec "$reports/server.json" >"$reports/server.log" 2>&1
  stop_all
  judge server
}

# Our client under the suite's server.
client() {
  local port
  port=$(free_port)
  specify client "ws://127.0.0.1:$port"
  start "${wstest[@]}" --mode fuzzingserver --spec "$reports/client.json" >"$reports/client.log" 2>&1
  await "$port"
  timeout "${minutes}m" "$echo_example" client "ws://127.0.0.1:$port" sudp
  stop_all
  judge client
}

# Writes the specification of one role: where it connects, which cases, where the reports go.
specify() {
  rm -rf "${reports:?}/$1"
  python3 - "$2" "$cases" "$reports/$1" >"$reports/$1.json" <<'PYTHON'
import json, sys
url, cases, outdir = sys.argv[1:]
spec = json.load(open("tests/conformance/autobahn.json"))
spec.update(url=url, cases=cases.split(","), outdir=outdir)
spec["servers"][0]["url"] = url
json.dump(spec, sys.stdout)
PYTHON
}

judge() {
  echo "our $1:"
  python3 tests/conformance/judge.py "$reports/$1/index.json" "$cases"
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Waits until something listens on a port of this machine.
await() {
  local attempt
  for attempt in {1..100}; do
    ! (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null || return 0
    sleep 0.1
  done
  echo "nothing listens on port $1 after $attempt attempts" >&2
  return 1
}

# Runs something beside us, until stop_all.
start() {
  "$@" &
  started+=($!)
}

stop_all() {
  local pid
  for pid in "${started[@]}"; do
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  started=()
}

# These versions work together; newer ones have left Python 2.7.
install_suite() {
  [ ! -e "$suite/complete" ] || return 0
  local python
  python=$(python27) || skip "no CPython 2.7 with pip"
  make_suite "$python" >"$reports/install.log" 2>&1 || skip "the suite cannot be installed: $(tail -n 1 "$reports/install.log")"
}

make_suite() (
  set -e
  rm -rf "$suite"
  mkdir -p "$suite"
  "$1" -m pip install --target "$suite/virtualenv" virtualenv==20.15.1
  PYTHONPATH="$suite/virtualenv" "$1" -m virtualenv "$suite"
  pip() { "$suite/bin/pip" install --no-build-isolation "$@"; }
  pip setuptools==44.0.0 wheel==0.36.2 incremental==16.10.1
  pip cryptography==3.3.2 pyOpenSSL==19.1.0 Twisted==19.10.0 txaio==2.1.0 zope.interface==4.6.0 \
    jinja2==2.11.3 markupsafe==1.1.1 Werkzeug==1.0.1 klein==17.10.0 service_identity==18.1.0 \
    unittest2==1.1.0 six==1.16.0 autobahn==0.10.9
  pip --no-deps autobahntestsuite==25.10.1 # its dependencies would bring what no longer builds
  touch "$suite/complete"
)

python27() {
  local python
  for python in "$(pyenv prefix 2.7.18 2>/dev/null)/bin/python" python2.7; do
    "$python" -c 'import pip, sys; assert sys.version_info[:2] == (2, 7)' 2>/dev/null || continue
    echo "$python"
    return
  done
  return 1
}

skip() {
  echo "$*"
  exit 77
}

main

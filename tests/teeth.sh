#!/usr/bin/env bash
# Switches off one rule of the session at a time, and fails if its proof does not notice.
#
#   tests/teeth.sh [RULE]...
#
# Without a rule it is all of tests/teeth/rules.txt. A copy of the tree gets a switch for every rule, so
# that it is built once; SUDP_OFF says which one is off. With none off every proof must find nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly target="${CARGO_TARGET_DIR:-$PWD/target}/teeth"
readonly tree="$target/tree"
readonly patience=900 # seconds: a proof that does not end has noticed

names=()
declare -A section=() proof=()

main() {
  copy
  put_switches
  build
  local failed=0 wanted=("$@")
  [ $# -gt 0 ] || wanted=("${names[@]}")
  check_sound "${wanted[@]}"
  printf '%-34s %-4s %-42s %7s %8s  %s\n' rule '' 'noticed by' seeds ms how
  for name in "${wanted[@]}"; do
    bite "$name" || failed=1
  done
  exit "$failed"
}

# Times are kept, so that nothing is built again without need.
copy() {
  mkdir -p "$target"
  rm -rf "$tree" && mkdir "$tree"
  git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- | tar --extract --directory="$tree"
  cat tests/teeth/off.rs >>"$tree/sudp-proto/src/lib.rs"
}

put_switches() {
  local line name='' file='' old='' new=''
  while IFS= read -r line; do
    case $line in
      '#'*) ;;
      'rule '*)
        read -r _ name section_of proof_of <<<"$line"
        names+=("$name")
        section[$name]=$section_of proof[$name]=$proof_of
        ;;
      'in '*) file="$tree/sudp-proto/src/${line#in }" ;;
      '- '*) old+="${old:+$'\n'}${line#- }" ;;
      '+ '*) new+="${new:+$'\n'}${line#+ }" ;;
      '')
        [ -z "$old" ] || replace "$name" "$file" "$old" "${new//OFF/"crate::teeth::off(\"$name\")"}"
        old='' new=''
        ;;
      *) fail "rules.txt: what is '$line'?" ;;
    esac
  done < <(cat tests/teeth/rules.txt && echo)
}

replace() {
  local name=$1 file=$2 old=$3 new=$4 text without
  text=$(<"$file")
  without=${text//"$old"/}
  [ $((${#text} - ${#without})) = ${#old} ] || fail "$name: not found exactly once in ${file#"$tree/"}: $old"
  printf '%s\n' "${text/"$old"/"$new"}" >"$file"
}

build() {
  export CARGO_TARGET_DIR="$target/build"
  cd "$tree"
  cargo build --quiet --release --package sudp-tests --bin teeth
  for name in "${names[@]}"; do
    [[ ${proof[$name]} != test* ]] || { cargo test --quiet --package sudp-proto --all-features --lib --no-run && return; }
  done
}

# The command that looks for a violation of a rule, which takes its place in `command`.
proof_command() {
  local kind what
  read -r kind what <<<"${proof[$1]}"
  case $kind in
    test) command=(cargo test --quiet --package sudp-proto --all-features --lib "$what") ;;
    scripts | worlds) command=("$target/build/release/teeth" "$kind" "$what") ;;
    *) fail "$1: no proof is called $kind" ;;
  esac
}

# Without a rule off, nothing is found.
check_sound() {
  local name command=() known='|'
  for name in "$@"; do
    proof_command "$name"
    [[ $known != *"|${command[*]}|"* ]] || continue
    known+="${command[*]}|"
    timeout "$patience" "${command[@]}" >"$target/out" 2>&1 || fail "with every rule on: ${command[*]}: $(tail -n 3 "$target/out")"
  done
}

bite() {
  local name=$1 command=() code=0 started=${EPOCHREALTIME/./} seeds=- ms how
  proof_command "$name"
  SUDP_OFF=$name timeout "$patience" "${command[@]}" >"$target/out" 2>"$target/err" || code=$?
  ms=$(((${EPOCHREALTIME/./} - started) / 1000))
  how=$(tail -n 1 "$target/out")
  case $code:${proof[$name]} in
    0:*) how='NOT NOTICED' ;;
    124:*) how='does not end' ;;
    *:test*) how=$(grep -m 1 -E '^test .* FAILED$|^    [a-z0-9_:]+$' "$target/out" || true) ;;
    *) read -r seeds ms how <<<"$how" ;;
  esac
  printf '%-34s %-4s %-42s %7s %8s  %s\n' "$name" "${section[$name]}" "${proof[$name]}" "$seeds" "$ms" "$how"
  [ "$code" != 0 ]
}

fail() {
  echo "teeth: $1" >&2
  exit 2
}

main "$@"

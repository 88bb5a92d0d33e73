#!/usr/bin/env bash
# Asks a server for every closed address, in every way to write it, and has the kernel count what leaves: nothing may.
#
#   tests/denied.sh
#
# It makes a network namespace of its own, for which no rights are needed where users may have one, and ends with 77
# where it cannot be had. The same is asked of a server that opens everything: there the counters move.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly target="${CARGO_TARGET_DIR:-$PWD/target}"
readonly sudp="$target/debug/sudp" asks="$target/debug/examples/denied"
readonly server=127.0.0.1:8080 service=127.0.0.1:7007 port=40000
readonly own=(10.9.0.1 fd09::1)
readonly own_namespaces=(unshare --user --map-root-user --net --mount)

skip() {
  echo "SKIPPED: $*"
  exit 77
}

main() {
  for program in unshare ip iptables ip6tables; do
    command -v "$program" >/dev/null || skip "no $program"
  done
  "${own_namespaces[@]}" true 2>/dev/null || skip "no namespace of its own can be had here"
  "${own_namespaces[@]}" iptables -L -n >/dev/null 2>&1 || skip "packets cannot be counted here"
  cargo build --quiet -p sudp-cli --bin sudp
  cargo build --quiet -p sudp-tests --example denied
  exec "${own_namespaces[@]}" bash tests/denied.sh inside
}

inside() {
  folder=$(mktemp -d)
  trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
  # Whatever is sent anywhere has a way to leave.
  ip link set lo up
  ip link add v0 type veth peer name v1
  ip addr add "${own[0]}/24" dev v0
  ip -6 addr add "${own[1]}/64" dev v0 nodad
  ip link set v0 up
  ip link set v1 up
  ip route add default via 10.9.0.2
  ip -6 route add default via fd09::2
  "$asks" --hosts >"$folder/hosts"
  echo 'hosts: files' >"$folder/nsswitch.conf"
  mount --bind "$folder/hosts" /etc/hosts
  mount --bind "$folder/nsswitch.conf" /etc/nsswitch.conf
  local tables
  for tables in iptables ip6tables; do
    "$tables" -A OUTPUT -p udp --sport "${service#*:}" -j ACCEPT
    "$tables" -A OUTPUT -p udp --dport "${service#*:}" -j ACCEPT
    "$tables" -A OUTPUT -p udp -j ACCEPT
  done
  "$sudp" echo --listen "$service" >/dev/null 2>&1 &

  printf '%s\n' "allow $service" 'allow *' 'allow 0.0.0.0/0' 'allow ::/0' 'allow *.denied' | ask closed
  local left served open
  left=$(counted 3 3) served=$(counted 1 2)
  { echo "allow $service" && "$asks" --rules; } | ask open
  open=$(counted 3 3)
  echo "left: $left packets, and $open where everything is open; the service had $served"
  [ "$left" = 0 ] && [ "$served" -ge 4 ] && [ "$open" -ge 400 ]
}

# Asks a server of these rules for everything.
ask() {
  local rules said
  rules=$(sed "s/.*/    - '&'/")
  printf 'server:\n  listen: %s\n  rules:\n%s\n' "$server" "$rules" >"$folder/$1.yaml"
  "$sudp" server --config "$folder/$1.yaml" >"$folder/$1.log" 2>&1 &
  local process=$!
  until grep -qs 'listening on' "$folder/$1.log"; do sleep 0.1; done
  iptables -Z OUTPUT
  ip6tables -Z OUTPUT
  said=$("$asks" "$server" "$port" "$service" "${own[@]}")
  echo "$1: $said"
  kill "$process"
  wait "$process" || true
}

# How many packets were counted by the rules from this to that: the first two are the service's.
counted() {
  { iptables -nvxL OUTPUT --line-numbers && ip6tables -nvxL OUTPUT --line-numbers; } |
    awk -v first="$1" -v last="$2" '/^[0-9]/ && $1 >= first && $1 <= last { n += $2 } END { print n + 0 }'
}

if [ "${1:-}" = inside ]; then inside; else main; fi

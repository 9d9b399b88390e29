#!/usr/bin/env bash
# An environment for hydra/launcher=ray (its plugin needs older packages than bsscale's others), and
# a Ray cluster of four CPUs on this host.
#
#   export BSSCALE_RAY_PYTHON=$(tests/clusters/ray.sh start)    # the environment's interpreter
#   tests/clusters/ray.sh stop
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
dir=${BSSCALE_RAY_DIR:-/tmp/bsscale-ray}
export RAY_USAGE_STATS_ENABLED=0 OMP_NUM_THREADS=1

say() { printf '%s\n' "$*" >&2; }

install() {
  # Made again when what it is made of has changed.
  local made
  made=$(cat "$root/pyproject.toml" "$root/constraints.txt" | sha256sum; echo "$root")
  [ "$(cat "$dir/made" 2>/dev/null)" = "$made" ] && return
  say "ray.sh: making an environment in $dir/venv"
  rm -rf "$dir/venv"
  python3 -m venv "$dir/venv"
  # The versions that the tests ran with, but for those that the launcher needs older.
  grep -vE '^(cloudpickle|joblib|python-dateutil)==' "$root/constraints.txt" >"$dir/constraints.txt"
  "$dir/venv/bin/pip" install -q -c "$dir/constraints.txt" -e "$root[ray]" >"$dir/pip.log" 2>&1 \
    || { tail -5 "$dir/pip.log" >&2; return 1; }
  echo "$made" >"$dir/made"
}

start() {
  mkdir -p "$dir"
  install
  if ! "$dir/venv/bin/ray" status --address 127.0.0.1:26379 >/dev/null 2>&1; then
    # A process group of its own, by which it is ended.
    setsid bash -c 'echo $$ >"$0/group"; exec "$0/venv/bin/ray" start "$@"' "$dir" --head --node-ip-address 127.0.0.1 --port 26379 --num-cpus 4 \
      --include-dashboard false --disable-usage-stats --temp-dir "$dir/run" \
      >"$dir/start.log" 2>&1 </dev/null || { cat "$dir/start.log" >&2; return 1; }
  fi
  echo "$dir/venv/bin/python"
}

# Ends this cluster's processes and no other's; the environment stays.
stop() {
  local group signal
  [ -e "$dir/group" ] || return 0
  group=$(cat "$dir/group")
  for signal in TERM KILL; do
    kill -s "$signal" -- "-$group" 2>/dev/null || break
    for _ in {1..30}; do
      ps -o stat= -g "$group" | grep -qv '^Z' || break
      sleep 0.1
    done
  done
  rm -rf "$dir/run" "$dir/group"
}

case ${1:-} in
  start | stop) "$1" ;;
  *) say "usage: $0 start|stop"; exit 2 ;;
esac

#!/usr/bin/env bash
# Runs a command beside a demo on fresh data; afterwards the demo must still be ready, drain cleanly, and verify.
# Needs a release build. The README's ports must be free.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d) pid=
finish() {
  [ -z "$pid" ] || { kill -TERM "$pid" 2>/dev/null && wait "$pid" || true; }
  rm -rf "$work"
}
trap finish EXIT
fail() {
  echo "on-demo: $*; the demo's log ends with" >&2
  tail -n 20 "$work/demo.log" >&2 || true
  exit 1
}
target/release/arus demo --data-dir "$work/data" >"$work/demo.log" 2>&1 &
pid=$!
for _ in $(seq 1200); do
  grep -q '^Serving' "$work/demo.log" && break
  kill -0 "$pid" 2>/dev/null || fail "the demo ended"
  sleep 0.1
done
"$@" || fail "$1 failed"
curl -sf http://127.0.0.1:8080/readyz >/dev/null || fail "the server is not ready any more"
kill -TERM "$pid"
wait "$pid" || fail "the drain was not clean"
pid=
target/release/arus verify --data-dir "$work/data" >"$work/verify.log" || fail "verify: $(cat "$work/verify.log")"

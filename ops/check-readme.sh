#!/usr/bin/env bash
# The README's walk from an empty server to the first payment, as it is printed there. Needs a release build and the
# README's ports.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d) pid=
finish() {
  [ -z "$pid" ] || { kill -TERM "$pid" 2>/dev/null && wait "$pid" || true; }
  rm -rf "$work"
}
trap finish EXIT
fail() {
  echo "check-readme: $*" >&2
  cat "$work"/*.log >&2 || true
  exit 1
}
# The n-th block of commands of the section.
block() {
  awk -v n="$1" '/^## /{in_section = /From an empty server/} in_section && /^```/{if (!in_block) {count++; in_block = 1; next} in_block = 0} in_section && in_block && count == n' README.md
}
mkdir "$work/target" && ln -s "$root/target/release" "$work/target/release"
block 1 | sed 's/^/exec /' >"$work/serve.sh"
(cd "$work" && exec bash serve.sh >serve.log 2>&1) &
pid=$!
for _ in $(seq 1200); do
  grep -q serving "$work/serve.log" 2>/dev/null && break
  kill -0 "$pid" 2>/dev/null || fail "the server ended"
  sleep 0.1
done
{ block 2; block 3; } >"$work/walk.sh"
bash -euo pipefail "$work/walk.sh" >"$work/walk.log" || fail "a command of the walk failed"
[ "$(grep -c PAYMENT_STATUS_CAPTURED "$work/walk.log")" = 2 ] || fail "two payments should be captured"
grep -q '"87.50"' "$work/walk.log" || fail "the customer should have 87.50 after the first payment"
grep -q '"12.50"' "$work/walk.log" || fail "the merchant should have 12.50 after the first payment"
echo "check-readme: the walk goes as printed"

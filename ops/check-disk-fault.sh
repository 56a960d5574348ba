#!/usr/bin/env bash
# A failed sync under load: the server stops at once and says why, and its journal is whole. Needs strace and a release
# build. Listens on loopback ports 19091 to 19104.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
pid=
finish() {
  [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
fail() {
  echo "check-disk-fault: $*" >&2
  tail -n 20 "$work/log" >&2 || true
  exit 1
}
ports=()
for port in payments=19091 fx=19092 wallet=19093 risk=19094 payments_metrics=19101 fx_metrics=19102 \
  wallet_metrics=19103 risk_metrics=19104 rest=18080; do
  ports+=(--set "listen.${port%=*}=127.0.0.1:${port#*=}")
done
# The 400th sync of the process fails: the journal's, in the middle of the load.
strace -f -qq -o /dev/null -e trace=fdatasync -e inject=fdatasync:error=EIO:when=400+ \
  target/release/arus serve --data-dir "$work/data" "${ports[@]}" >"$work/log" 2>&1 &
pid=$!
for _ in $(seq 1200); do
  grep -q 'serving' "$work/log" && break
  sleep 0.1
done
grep -q 'serving' "$work/log" || fail "the server did not serve within 2 minutes"
if timeout 120 target/release/arus-load run --payments http://127.0.0.1:19091 --wallet http://127.0.0.1:19093 \
  --metrics http://127.0.0.1:19101/metrics --count 200000 >"$work/load" 2>&1; then
  fail "the load went on over a failed sync"
fi
for _ in $(seq 300); do
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.1
done
kill -0 "$pid" 2>/dev/null && { cat "$work/load" >&2; fail "the server still runs 30 s after the load ended"; }
code=0
wait "$pid" || code=$?
pid=
[ "$code" -eq 134 ] || fail "the server ended with $code, not by an abort (134)"
grep -q 'sync failed' "$work/log" || fail "the server did not say why it stopped"
target/release/arus verify --data-dir "$work/data" || fail "verify after the failed sync"
echo "check-disk-fault: the server stopped at the failed sync, and its journal is whole"

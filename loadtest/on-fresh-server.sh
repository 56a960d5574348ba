#!/usr/bin/env bash
# Runs arus-load against a server of its own: fresh data, loopback, free of rate rules; stops what it starts.
# Arguments go to arus-load, such as: run --workload hot-payee --mode stream
#   SET   more settings of the server, such as "engine.arbiters=2 engine.segment_bytes=8388608"
#   BIN   a folder with arus and arus-load that are built already; default: builds them
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${BIN:-}" ]; then
  cargo build --release --quiet -p arus -p arus-loadtest
  BIN=target/release
fi
mkdir -p target
work=$(mktemp -d target/fresh.XXXXXX) pid=
finish() {
  [ -z "$pid" ] || { kill -TERM "$pid" 2>/dev/null && wait "$pid" || true; }
  rm -rf "$work"
}
trap finish EXIT
fail() {
  echo "on-fresh-server: $*; the server's log ends with" >&2
  tail -n 20 "$work/log" >&2
  exit 1
}
listen=()
for port in payments=29091 fx=29092 wallet=29093 risk=29094 payments_metrics=29101 fx_metrics=29102 \
  wallet_metrics=29103 risk_metrics=29104 rest=28080; do
  listen+=(--set "listen.${port%=*}=127.0.0.1:${port#*=}")
done
for setting in ${SET:-}; do listen+=(--set "$setting"); done
"$BIN/arus" serve --data-dir "$work/data" "${listen[@]}" \
  --set engine.risk.velocity_per_minute_max=4000000000 --set log.level=warn 2>"$work/log" &
pid=$!
for _ in $(seq 100); do
  kill -0 "$pid" 2>/dev/null || fail "the server ended"
  curl -sf http://127.0.0.1:29101/metrics >/dev/null && break
  sleep 0.1
done
# Whoever answered must be the server that was started here.
kill -0 "$pid" 2>/dev/null || fail "the server ended"
command=$1
shift
services=(--payments http://127.0.0.1:29091 --fx http://127.0.0.1:29092 --wallet http://127.0.0.1:29093)
case $command in
  run | ceiling | sweep | soak) set -- "${services[@]}" --rest http://127.0.0.1:28080 --metrics http://127.0.0.1:29101/metrics "$@" ;;
  replay) set -- "${services[@]}" "$@" ;;
esac
"$BIN/arus-load" "$command" "$@" || fail "arus-load $command failed"

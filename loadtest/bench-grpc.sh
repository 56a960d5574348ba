#!/usr/bin/env bash
# Unary CreatePayment over gRPC beside an empty echo, on a fresh data directory on loopback; stops what it starts.
# Arguments go to arus-load.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --quiet -p arus -p arus-loadtest
work=$(mktemp -d)
target/release/arus serve --data-dir "$work/data" --set engine.risk.velocity_per_minute_max=4000000000 \
  --set log.level=warn 2>"$work/log" &
pid=$!
trap 'kill -TERM $pid 2>/dev/null; wait $pid 2>/dev/null; rm -rf "$work"' EXIT
sleep 1
kill -0 "$pid" || { cat "$work/log" >&2; exit 1; }
target/release/arus-load "$@"

#!/usr/bin/env bash
# A server to work with: the engine on ./data with REST and the console, and Prometheus beside it if it is installed.
# `dev.sh grpc` serves the gRPC services alone. More arguments go to `arus serve`. Ctrl-C stops everything.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release -p arus
settings=(--config ops/arus.toml)
if [ "${1:-}" = grpc ]; then
  shift
  exec target/release/arus serve "${settings[@]}" --set rest.enabled=false "$@"
fi
if command -v prometheus >/dev/null; then
  prometheus --config.file=ops/prometheus/prometheus.yml --storage.tsdb.path=target/prometheus \
    --web.listen-address=127.0.0.1:9090 --log.level=warn &
  prometheus=$!
  trap 'kill "$prometheus" 2>/dev/null || true' EXIT
  echo "Prometheus on http://127.0.0.1:9090/"
else
  echo "Prometheus is not installed (Debian: apt-get install prometheus); going on without it"
fi
echo "console on http://127.0.0.1:8080/"
target/release/arus serve "${settings[@]}" "$@"

#!/usr/bin/env bash
# The whole table of the README's "Speed", from one run: every figure measured now, on this machine, one after another.
# Takes about 20 minutes; STEADY_S=60 shortens the longest part. Everything listens on loopback and stops by itself.
set -euo pipefail
cd "$(dirname "$0")/.."
steady_s=${STEADY_S:-600} out=target/report
rm -rf "$out"
mkdir -p "$out"
load() { # NAME COMMAND [ARGS]
  local name=$1
  shift
  echo "== $name"
  bash loadtest/on-fresh-server.sh "$@" --json "$out/$name.json"
}
echo "== the engine alone"
cargo bench --quiet -p arus-engine --bench payments | tee "$out/engine.txt"
for workload in uniform hot-payee hot-payer cross-currency; do
  load "stream-$workload" run --workload "$workload" --mode stream --concurrency 2000 --count 1000000
done
load unary-ceiling ceiling --concurrency 256 --count 200000 --disk target
load one-ceiling ceiling --concurrency 1 --connections 1 --count 10000 --disk target
load unary-hot-payee run --workload hot-payee --concurrency 256 --count 200000
echo "== PostgreSQL"
CLIENTS=256 bash loadtest/baselines/postgres/run.sh "$out/postgres.json"
load sweep sweep --from 4000 --step-percent 25 --duration-s 5
knee=$(grep -o '"knee": *[0-9]*' "$out/sweep.json" | grep -o '[0-9]*$')
load steady run --rate $((knee / 2)) --duration-s "$steady_s"
target/release/arus-load table "$out"

#!/usr/bin/env bash
# Every figure of the load tests beside its target, from one run of one build: measured now, on this machine, one after
# another. Everything listens on loopback and stops by itself. Leaves target/report/report.md and report.html. What fails
# is a failed row of the table, and the exit code in the end.
#   STEADY_S (600)  SOAK (10000000)  ROUNDS (3)    smaller ones make it shorter than its 40 minutes
set -euo pipefail
cd "$(dirname "$0")/.."
steady_s=${STEADY_S:-600} soak=${SOAK:-10000000} out=target/report
rm -rf "$out"
mkdir -p "$out/bin"
cargo build --release --quiet -p arus -p arus-loadtest
cp target/release/arus target/release/arus-load "$out/bin"
export BIN=$out/bin
git describe --always --dirty >"$out/commit.txt" 2>/dev/null || true
failed=0
step() { # NAME COMMAND...
  echo "== $1"
  "${@:2}" || { echo "== $1 failed" >&2; failed=1; }
}
load() { # NAME COMMAND [ARGS]
  step "$1" bash loadtest/on-fresh-server.sh "${@:2}" --json "$out/$1.json"
}
engine() { cargo bench --quiet -p arus-engine --bench payments | tee "$out/engine.txt"; }
step "the engine alone" engine
for round in $(seq "${ROUNDS:-3}"); do
  for workload in uniform hot-payee hot-payer cross-currency; do
    load "stream-$workload-$round" run --workload "$workload" --mode stream --concurrency 2000 --count 500000
  done
done
load batch-uniform run --mode batch --concurrency 20 --batch-size 100 --count 500000
load unary-ceiling ceiling --concurrency 256 --count 200000 --disk target
load rest-uniform run --mode rest --concurrency 256 --count 200000
load one-ceiling ceiling --concurrency 1 --connections 1 --count 10000 --disk target
for clients in 256 32; do
  load "unary-hot-payee-$clients" run --workload hot-payee --concurrency "$clients" --count 200000
  step "postgres-$clients" env CLIENTS="$clients" bash loadtest/baselines/postgres/run.sh "$out/postgres-$clients.json"
done
load sweep sweep --from 4000 --step-percent 25 --duration-s 5
if knee=$(grep -so '"knee": *[0-9]*' "$out/sweep.json" | grep -o '[0-9]*$'); then
  load steady run --rate $((knee / 2)) --duration-s "$steady_s"
fi
load soak soak --mode stream --concurrency 2000 --count "$soak"
"$BIN/arus-load" table "$out" || failed=1
exit "$failed"

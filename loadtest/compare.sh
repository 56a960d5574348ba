#!/usr/bin/env bash
# The same payment, the same number of clients: PostgreSQL (pgbench) beside Arus (unary gRPC), uniform and on one hot
# row; ratios of one run. CLIENTS (256), SECONDS_EACH (10) for PostgreSQL, COUNT (200000) payments for Arus.
set -euo pipefail
cd "$(dirname "$0")/.."
clients=${CLIENTS:-256} count=${COUNT:-200000}
mkdir -p target
bash loadtest/baselines/postgres/run.sh target/postgres.json
figure() { grep -o "\"$1\":[0-9.]*" target/postgres.json | cut -d: -f2; }
compare() { # WORKLOAD POSTGRES
  bash loadtest/on-fresh-server.sh run --workload "$1" --concurrency "$clients" --count "$count" >target/compare.txt
  awk -v name="$1" -v clients="$clients" -v postgres="$2" '
    /until the index had caught up/ { per_second = $1 }
    $1 == "p50" || $1 == "p99" { ms[$1] = $2 }
    END {
      printf "Arus %-14s %3d clients  %8.0f payments/s  p50 %7.2f ms  p99 %7.2f ms\n", name, clients, per_second, ms["p50"], ms["p99"]
      printf "  %.1f times PostgreSQL\n", per_second / postgres
    }' target/compare.txt
}
compare uniform "$(figure uniform_per_second)"
compare hot-payee "$(figure hot_per_second)"

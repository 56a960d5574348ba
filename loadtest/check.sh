#!/usr/bin/env bash
# Every mode and command of arus-load for a moment: the oracle gates, no figure of time does.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
  echo "check-load: $*" >&2
  exit 1
}
load() { bash loadtest/on-fresh-server.sh "$@" --accounts 200 | tee "$work/out"; }
# More batches at once than these are more payments than the server lets in: errors, which fail a run.
for of in "mixed unary" "hot-payee stream" "cross-currency batch --concurrency 20" "zipf unary" "mixed rest"; do
  read -r workload mode more <<<"$of"
  # shellcheck disable=SC2086 # the options are several words
  load run --workload "$workload" --mode "$mode" $more --count 20000 --json "$work/run.json" --html "$work/run.html"
  grep -q "^oracle .* the server's counts are as acknowledged" "$work/out" || fail "$of: the oracle did not speak"
  grep -q 'answered' "$work/run.json" && grep -q '<svg' "$work/run.html" || fail "$of: no figures or no plots"
done
load run --rate 2000 --duration-s 3
load soak --window 5000 --count 20000 --mode stream --drift-max-percent 1000000
grep -q '^throughput .* of the first' "$work/out" || fail "soak does not compare"
grep -q '^the cost is' "$work/out" || fail "soak does not judge"
load sweep --from 500 --step-percent 300 --duration-s 1 --p99-ms-max 1000000 2>&1
grep -q '^knee ' "$work/out" || fail "sweep names no knee"
load lifecycle --rounds 2 --count 12000
grep -q '^oracle .* accounts are right' "$work/out" || fail "the lives of payments were not checked"
for workload in uniform cross-currency; do
  load ceiling --rounds 1 --count 10000 --workload "$workload" --disk "$work"
  grep -q '^share of the ceiling' "$work/out" || fail "ceiling gives no share"
done
cargo build --release --quiet -p arus-loadtest
for layout in simple full; do
  target/release/arus-load gen --rows 2000 --layout "$layout" --out "$work/dummy.csv"
  bash loadtest/on-fresh-server.sh replay --file "$work/dummy.csv" | tee "$work/out"
  grep -q '^oracle .* are as acknowledged' "$work/out" || fail "the replay was not checked"
  # One account id in several currencies, times as programs write them; with and without accounts of its own.
  for accounts in '' loadtest/samples/accounts.json loadtest/samples/accounts.jsonl; do
    bash loadtest/on-fresh-server.sh replay --file "loadtest/samples/payments-$layout.csv" \
      ${accounts:+--accounts "$accounts"} | tee "$work/out"
    grep -q '^oracle .* are as acknowledged' "$work/out" || fail "the $layout sample was not checked"
    grep -q 'CAPTURED before *1$' "$work/out" || fail "the $layout sample's repeated row was not replayed"
    [ -z "$accounts" ] || grep -q '^accounts 6 opened and as the file says' "$work/out" || fail "accounts were not opened"
  done
done
CLIENTS=8 SECONDS_EACH=2 bash loadtest/baselines/postgres/run.sh "$work/postgres.json"
grep -q '"hot_per_second":[1-9]' "$work/postgres.json" || fail "the baseline has no figures"
echo "check-load: the oracle passed in every run"

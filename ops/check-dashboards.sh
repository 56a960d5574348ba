#!/usr/bin/env bash
# Rules pass their unit tests; a real Prometheus scrapes a server under load, and every panel's query returns data.
# Needs prometheus and promtool on the PATH, PYTHON, and a release build. The README's ports must be free.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d) pids=()
finish() {
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null && wait "$pid" || true; done
  rm -rf "$work"
}
trap finish EXIT
fail() {
  echo "check-dashboards: $*" >&2
  tail -n 20 "$work"/*.log >&2 || true
  exit 1
}
promtool check config ops/prometheus/prometheus.yml
promtool test rules ops/prometheus/rules_test.yml

target/release/arus serve --data-dir "$work/data" --set engine.risk.velocity_per_minute_max=4000000000 \
  --set log.level=warn 2>"$work/arus.log" &
pids+=($!)
# The same file, looked at more often: this check takes seconds.
sed -E "s|_interval: 5s|_interval: 1s|; s|\[rules.yml\]|[$PWD/ops/prometheus/rules.yml]|" ops/prometheus/prometheus.yml >"$work/prometheus.yml"
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" --web.listen-address=127.0.0.1:29090 \
  >"$work/prometheus.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
  curl -sf http://127.0.0.1:8080/readyz >/dev/null && curl -sf http://127.0.0.1:29090/-/ready >/dev/null && break
  sleep 0.2
done
target/release/arus-load run --workload hot-payee --rate 1000 --duration-s 25 --accounts 500 >"$work/load.log" 2>&1 &
load=$!
pids+=("$load")
rest=http://127.0.0.1:8080/v1
say() { curl -sf -H 'Content-Type: application/json' "$@" >"$work/answer" || fail "$*"; }
for n in $(seq 20); do
  say -H "Idempotency-Key: rates-$n" -d '{"source":"RATE_SOURCE_LIVE","rates":[{"base":"USD","quote":"IDR","mid":"16250.5"}]}' "$rest/fx/rates"
  say -d '{"amount":{"currency":"USD","amount":"1.00"},"to_currency":"IDR"}' "$rest/fx/convert"
  say -d '{"customer_id":"CUST-1","amount":{"currency":"USD","amount":"1.00"}}' "$rest/risk/score"
  say -H "Idempotency-Key: open-$n" -d '{"owner_id":"dash","currency":"USD"}' "$rest/accounts"
  sleep 1
done
"$PYTHON" ops/check_panels.py http://127.0.0.1:29090 || fail "panels without data"
curl -s "http://127.0.0.1:29090/api/v1/targets" >"$work/targets"
[ "$(grep -o '"health":"up"' "$work/targets" | wc -l)" = 5 ] || fail "a target is down: $(cat "$work/targets")"
wait "$load" || fail "the load failed"
echo "check-dashboards: rules, targets and panels are as they should be"

#!/usr/bin/env bash
# Rules pass their unit tests; a real Prometheus scrapes a server that does a little of everything, and every panel's query
# returns data; under `arus-load run --workload hot-payee --mode stream` the payee is the first row of the hot accounts, and
# afterwards nobody is hot.
# Needs prometheus and promtool on the PATH, PYTHON, and a release build.
#   PORTS  where its ports begin: payments at 91 beyond it, metrics at 101, REST at 80, Prometheus at 90 (29000)
#   BIN    a folder with arus and arus-load (target/release)
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-target/release} ports=${PORTS:-29000}
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

at() { echo "127.0.0.1:$((ports + $1))"; }
listen=()
for port in rest=80 payments=91 fx=92 wallet=93 risk=94 payments_metrics=101 fx_metrics=102 wallet_metrics=103 \
  risk_metrics=104; do
  listen+=(--set "listen.${port%=*}=$(at "${port#*=}")")
done
"$bin/arus" serve --data-dir "$work/data" "${listen[@]}" --set engine.risk.velocity_per_minute_max=4000000000 \
  --set engine.risk.recent_declines_max=4000000000 --set log.level=warn 2>"$work/arus.log" &
pids+=($!)
# The same file, for these ports, and looked at more often: this check takes seconds.
sed -E "s|_interval: 5s|_interval: 1s|; s|\[rules.yml\]|[$PWD/ops/prometheus/rules.yml]|; s|127.0.0.1:8080|$(at 80)|
  s|127.0.0.1:9101|$(at 101)|; s|127.0.0.1:9102|$(at 102)|; s|127.0.0.1:9103|$(at 103)|; s|127.0.0.1:9104|$(at 104)|" \
  ops/prometheus/prometheus.yml >"$work/prometheus.yml"
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" --web.listen-address="$(at 90)" \
  >"$work/prometheus.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
  curl -sf "http://$(at 80)/readyz" >/dev/null && curl -sf "http://$(at 90)/-/ready" >/dev/null && break
  sleep 0.2
done
panels() { "$PYTHON" ops/check_panels.py "http://$(at 90)" "$@" || fail "panels ${*:-are not as they should be}"; }

# A little of everything, for as long as the panels look back.
rest=http://$(at 80)/v1
say() { curl -sf -H 'Content-Type: application/json' "$@" >"$work/answer" || fail "$*"; }
money() { echo "\"amount\":{\"currency\":\"$1\",\"amount\":\"$2\"}"; }
pay() { say -H "Idempotency-Key: $1" -d "{\"customer_id\":\"dash\",\"destination_account\":\"shop-idr\",$(money IDR "$2")}" "$rest/payments"; }
say -H "Idempotency-Key: open-usd" -d '{"account_id":"dash-usd","owner_id":"dash","currency":"USD"}' "$rest/accounts"
say -H "Idempotency-Key: open-idr" -d '{"account_id":"shop-idr","owner_id":"shop","currency":"IDR"}' "$rest/accounts"
say -H "Idempotency-Key: fund" -d "{\"account_id\":\"dash-usd\",$(money USD 1000.00)}" "$rest/deposits"
for n in $(seq 20); do
  say -H "Idempotency-Key: rates-$n" -d '{"source":"RATE_SOURCE_LIVE","rates":[{"base":"USD","quote":"IDR","mid":"16250.5"}]}' "$rest/fx/rates"
  say -d "{$(money USD 1.00),\"to_currency\":\"IDR\"}" "$rest/fx/convert"
  say -d "{\"customer_id\":\"CUST-1\",$(money USD 1.00)}" "$rest/risk/score"
  curl -sf "$rest/accounts/dash-usd" >/dev/null || fail "the account is not there"
  # One across currencies, twice; one that is too much; one that is malformed.
  pay "converts-$n" 16250.00
  pay "converts-$n" 16250.00
  pay "too-much-$n" 999999999.00
  # One that is authorised, captured and given back.
  say -H "Idempotency-Key: held-$n" -d "{\"customer_id\":\"dash\",\"destination_account\":\"shop-idr\",\"capture_method\":\"CAPTURE_METHOD_MANUAL\",$(money IDR 16250.00)}" "$rest/payments"
  held=$(grep -o '"payment_id":"[^"]*"' "$work/answer" | cut -d '"' -f 4)
  say -H "Idempotency-Key: captured-$n" -d '{}' "$rest/payments/$held:capture"
  say -H "Idempotency-Key: refunded-$n" -d '{}' "$rest/payments/$held:refund"
  curl -s -o /dev/null -X POST "$rest/payments" -H "Idempotency-Key: bad-$n"
  # One message in 64 is timed: enough of them for the percentiles of each kind of actor.
  items=$(for i in $(seq 100); do
    echo "{\"tx_id\":\"batch-$n-$i\",\"customer_id\":\"dash\",\"destination_account\":\"shop-idr\",$(money IDR 1000.00)}"
  done | paste -sd, -)
  say -d "{\"payments\":[$items]}" "$rest/payments:batch"
  sleep 1
done
panels
curl -s "http://$(at 90)/api/v1/targets" >"$work/targets"
[ "$(grep -o '"health":"up"' "$work/targets" | wc -l)" = 5 ] || fail "a target is down: $(cat "$work/targets")"

# Nobody else pays meanwhile: the load's oracle counts what the server does.
"$bin/arus-load" run --workload hot-payee --mode stream --accounts 500 --concurrency 2000 --count "${HOT_COUNT:-400000}" \
  --payments "http://$(at 91)" --fx "http://$(at 92)" --wallet "http://$(at 93)" --rest "http://$(at 80)" \
  --metrics "http://$(at 101)/metrics" >"$work/load.log" 2>&1 &
load=$!
pids+=("$load")
sleep 4
panels hot 'load-.*-000000'
wait "$load" || fail "the hot load failed"
panels cold
echo "check-dashboards: rules, targets and panels are as they should be, and the hot account is the first row"

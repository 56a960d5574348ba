#!/usr/bin/env bash
# Follows the README by hand on a fresh directory: the demo, its client commands, kill -9 under load, verify, inspect.
# Needs BUF, PYTHON (with grpcio-tools), node with the packages that ops/client.mjs names, K6 and a release build.
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
  echo "check-demo: $*" >&2
  tail -n 40 "$work/demo.log" >&2 || true
  exit 1
}

start() {
  # Before it runs, so that the words of an earlier one are not taken for its own.
  : >"$work/demo.log"
  target/release/arus demo --data-dir "$work/data" --random-accounts 50 --random-rates-every 1s --seed 7 >"$work/demo.log" 2>&1 &
  pid=$!
  for _ in $(seq 1200); do
    grep -q '^Serving' "$work/demo.log" && return
    kill -0 "$pid" 2>/dev/null || fail "the demo ended"
    sleep 0.1
  done
  fail "the demo did not serve within 2 minutes"
}

start
grep -q 'USD out of IDR .* CAPTURED' "$work/demo.log" || fail "the sample payment across currencies is missing"
grep -q 'sys/fees/USD +2.90 USD' "$work/demo.log" || fail "the sample payment with a fee is missing"
grep -q '45.00 USD captured, the rest freed' "$work/demo.log" || fail "the sample of a payment's life is missing"
grep -q 'too much money .* FAILED .* INSUFFICIENT_FUNDS' "$work/demo.log" || fail "the declined sample is missing"
grep -q 'too risky .* FAILED .* RISK_REJECTED' "$work/demo.log" || fail "the rejected sample is missing"
grep -q 'the second again .* replayed' "$work/demo.log" || fail "the replayed sample is missing"

grep -q 'random .*RANDOM-7-000001..RANDOM-7-000050' "$work/demo.log" || fail "the random customers are not named"
for n in 000001 000050; do
  curl -sf "http://127.0.0.1:8080/v1/accounts?owner_id=RANDOM-7-$n" | grep -q '"account_id"' || fail "RANDOM-7-$n has no account"
done

curl_payment() {
  "$BUF" curl --protocol grpc --http2-prior-knowledge -d \
    '{"tx_id":"my-first-payment","customer_id":"CUST-1","amount":{"currency":"USD","amount":"250.00"}}' \
    http://127.0.0.1:9091/payments.v1.PaymentsService/CreatePayment
}
curl_payment >"$work/first.json" && grep -q PAYMENT_STATUS_CAPTURED "$work/first.json" || fail "buf curl did not capture"
curl_payment >"$work/again.json" && grep -q '"replayed": *true' "$work/again.json" || fail "the same tx_id was not replayed"
"$PYTHON" ops/client.py | tee "$work/client.log"
grep -q PAYMENT_STATUS_CAPTURED "$work/client.log" || fail "the Python client did not capture"
node ops/client.mjs | tee "$work/client.log"
grep -q PAYMENT_STATUS_CAPTURED "$work/client.log" || fail "the Node client did not capture"
# Most of what is asked for is paid, again and again, over both doors.
export VUS=4 DURATION=3s P95_MS=1000
for with in reflection file reflection; do
  WITH=$with CAPTURED_SHARE_MIN=1 bash loadtest/e2e.sh grpc || fail "k6 by $with"
done
CAPTURED_SHARE_MIN=1 bash loadtest/e2e.sh rest || fail "k6 over REST"
CUSTOMER_ID=CUST-0002 AMOUNT=1 DURATION=1s bash loadtest/e2e.sh grpc || fail "k6 as a customer of the demo"
! AMOUNT=2000000000000 DURATION=1s bash loadtest/e2e.sh grpc 2>"$work/declined.log" || fail "k6 passes when all is declined"
grep -q payments_captured_share "$work/declined.log" || fail "k6 failed for another reason than declines"
for via in grpc rest; do
  for layout in simple full; do
    VIA=$via TX_ID="$via-" bash loadtest/e2e.sh csv "loadtest/samples/payments-$layout.csv" || fail "k6 with the $layout sample"
  done
done
bash ops/client.sh curl-1 >"$work/curl.log" || fail "curl"
[ "$(grep -o 'HTTP 20[01]' "$work/curl.log" | tr '\n' ' ')" = "HTTP 201 HTTP 200 " ] || fail "curl: $(cat "$work/curl.log")"
# A load over accounts that somebody else opened: the demo's own.
{
  echo account_id,owner_id,currency
  for n in $(seq -w 0100 0199); do
    curl -sf -o "$work/account" "http://127.0.0.1:8080/v1/accounts/acct-CUST-$n-USD" && echo "acct-CUST-$n-USD,CUST-$n,USD"
  done || true
} >"$work/accounts.csv"
target/release/arus-load run --accounts-file "$work/accounts.csv" --count 200 --concurrency 8 >"$work/given.log" ||
  { cat "$work/given.log"; fail "a load over given accounts"; }
for port in 9101 9102 9103 9104 8080; do
  curl -sf "http://127.0.0.1:$port/metrics" >"$work/metrics" && grep -q '^arus_' "$work/metrics" || fail "no metrics on $port"
done

target/release/arus verify --data-dir "$work/data" || fail "verify beside the running server"
target/release/arus ready || fail "ready"
target/release/arus backup "$work/backup" --data-dir "$work/data" || fail "backup beside the running server"
target/release/arus restore "$work/backup" --data-dir "$work/restored" || fail "restore"
target/release/arus verify --data-dir "$work/restored" || fail "verify what was restored"
kill -9 "$pid"
wait "$pid" 2>/dev/null || true
start
curl_payment >"$work/again.json" && grep -q '"replayed": *true' "$work/again.json" || fail "the payment did not survive kill -9"
kill -TERM "$pid"
wait "$pid" || fail "the drain was not clean"
pid=
target/release/arus verify --data-dir "$work/data" || fail "verify after the restart"
id=$(sed -n 's/.*"paymentId": *"\([^"]*\)".*/\1/p' "$work/first.json")
target/release/arus inspect --data-dir "$work/data" "$id" | head -1 | grep -q '^lsn ' || fail "inspect"
target/release/arus inspect --json --data-dir "$work/data" "$id" >"$work/inspect.json" || fail "inspect --json"
"$PYTHON" - "$work/inspect.json" <<'EOF' || fail "inspect: $(cat "$work/inspect.json")"
import json, sys
entry = json.load(open(sys.argv[1]))["entry"]
assert entry["method"] == "CreatePayment" and len(entry["postings"]) == 4, "four postings"
assert entry["index"]["history"], "index rows"
EOF
echo "check-demo: all went as the README says"

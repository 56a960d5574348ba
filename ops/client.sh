#!/usr/bin/env bash
# A payment with curl, on a running demo: the first call decides (201), the second gives the same answer again (200).
set -euo pipefail
gateway=${GATEWAY:-http://127.0.0.1:8080}
key=${1:-curl-$(date +%s)}
for _ in 1 2; do
  curl -sS -w '\nHTTP %{http_code}\n' "$gateway/v1/payments" \
    -H "Idempotency-Key: $key" -H 'Content-Type: application/json' \
    -d '{"customer_id":"CUST-1","amount":{"currency":"USD","amount":"250.00"}}'
done

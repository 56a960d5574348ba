#!/usr/bin/env bash
# schemathesis holds a demo against its own OpenAPI document: whatever it thinks of to send, every answer has a status, a
# type and a body that the document names, and the server stays well. Needs SCHEMATHESIS; EXAMPLES (50) for each operation.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ops/on-demo.sh "$SCHEMATHESIS" --config-file ops/schemathesis.toml run http://127.0.0.1:8080/openapi.json \
  --exclude-path /v1/events --max-examples "${EXAMPLES:-50}" --generation-database none --seed 1
echo "check-rest: nothing open"

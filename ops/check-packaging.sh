#!/usr/bin/env bash
# Compose, Kubernetes and systemd files against their schemas.
# Needs docker-compose or docker compose, KUBERNETES_VALIDATE, systemd-analyze, and a release build.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
  echo "check-packaging: $*" >&2
  exit 1
}
compose=(docker-compose)
docker compose version >/dev/null 2>&1 && compose=(docker compose)
"${compose[@]}" -f ops/compose/compose.yaml config -q || fail "compose.yaml"
"$KUBERNETES_VALIDATE" --strict ops/kubernetes/arus.yaml || fail "arus.yaml"
# The unit as it is, but for where the binary lies on this machine.
sed "s|/usr/local/bin/arus|$PWD/target/release/arus|" ops/systemd/arus.service >"$work/arus.service"
systemd-analyze verify "$work/arus.service" 2>"$work/verify" || fail "arus.service: $(cat "$work/verify")"
systemd-analyze security --offline=true --threshold=20 "$work/arus.service" >"$work/security" || fail "arus.service is too open: $(tail -n 1 "$work/security")"
echo "check-packaging: files fit their schemas"

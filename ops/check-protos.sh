#!/usr/bin/env bash
# The wire contract: lint, no version of the protos that ever was on this branch is broken by the files as they are now
# (from the first that names packages for other languages on), and clients in Go and Java can be generated. Needs BUF,
# the branch's history, and the plugins that proto/buf.gen.yaml names.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
  echo "check-protos: $*" >&2
  exit 1
}
(cd proto && "$BUF" lint) || fail "lint"
[ "$(git rev-parse --is-shallow-repository)" = false ] || echo "check-protos: a shallow clone lacks earlier versions" >&2
versions=0
for version in $(git log --format=%H -- proto); do
  rm -rf "$work/old" && mkdir "$work/old"
  git archive "$version" proto | tar -x -C "$work/old"
  grep -qs '^option go_package' "$work/old/proto/common/v1/common.proto" || break
  (cd proto && "$BUF" breaking --against "$work/old/proto") || fail "clients of $version would break; add fields, change none"
  versions=$((versions + 1))
done
[ "$versions" -gt 0 ] || fail "there is no earlier version to hold the protos against"
(cd proto && "$BUF" generate) || fail "generating clients"
for made in go/payments/v1/payments_grpc.pb.go java/dev/arus/payments/v1/PaymentsServiceGrpc.java; do
  [ -s "target/clients/$made" ] || fail "target/clients/$made was not generated"
done
echo "check-protos: compatible with $versions earlier versions; clients generated for Go and Java"

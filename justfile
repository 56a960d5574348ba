# List the recipes.
default:
    @just --list

# Seed a small world in ./data, make sample payments, and serve.
demo:
    cargo run --release -- demo

# Serve with the settings of a file.
serve CONFIG="ops/arus.toml":
    cargo run --release -- serve --config {{quote(CONFIG)}}

# All tests: no servers, no root.
test:
    cargo test --workspace

# Check ./data against its journal.
verify DATA="data":
    cargo run --release -- verify --data-dir {{quote(DATA)}}

# Print one entry whole: an lsn, a payment id or a tx_id.
inspect WHAT DATA="data":
    cargo run --release -- inspect {{quote(WHAT)}} --data-dir {{quote(DATA)}}

# The settings of a file that would be in effect, each with where it comes from.
config CONFIG="ops/arus.toml":
    cargo run --release -- config show --config {{quote(CONFIG)}}

# How fast the engine is alone.
bench:
    cargo bench -p arus-engine

# Load on a fresh server of its own: just load --workload hot-payee --mode stream
load *ARGS:
    bash loadtest/on-fresh-server.sh run {{ARGS}}

# Whole lives of payments in turn with plain ones.
load-lifecycle *ARGS:
    bash loadtest/on-fresh-server.sh lifecycle {{ARGS}}

# Load beside an empty echo of the same message sizes, in one run.
load-ceiling *ARGS:
    bash loadtest/on-fresh-server.sh ceiling {{ARGS}}

# Raise the rate of an open loop until p99 passes its limit.
load-sweep *ARGS:
    bash loadtest/on-fresh-server.sh sweep {{ARGS}}

# Write N dummy transactions to target/dummy.csv: just dummy N=1000
dummy *SETTINGS:
    env {{SETTINGS}} bash -c 'cargo run --release -p arus-loadtest -- gen --rows "${N:-1000}" --out target/dummy.csv'

# Replay target/dummy.csv (see `just dummy`) on a fresh server and check the balances.
e2e-csv FILE="target/dummy.csv":
    bash loadtest/on-fresh-server.sh replay --file {{quote(FILE)}}

# Pay with k6 on a running server, as customers that it opens: just e2e-grpc AMOUNT=1 VUS=10 DURATION=1m
e2e-grpc *SETTINGS:
    env {{SETTINGS}} bash loadtest/e2e.sh grpc

# The same over REST: just e2e-rest AMOUNT=1 VUS=10 DURATION=1m
e2e-rest *SETTINGS:
    env {{SETTINGS}} bash loadtest/e2e.sh rest

# Make the payments of a CSV file with k6 on a running server: just k6-csv loadtest/samples/payments-full.csv VIA=rest
k6-csv FILE="loadtest/samples/payments-full.csv" *SETTINGS="":
    env {{SETTINGS}} bash loadtest/e2e.sh csv {{quote(FILE)}}

# The same payment in PostgreSQL beside Arus, with ratios: just compare CLIENTS=64
compare *SETTINGS:
    env {{SETTINGS}} bash loadtest/compare.sh

# Ten million payments, and whether the last are as fast as the first.
soak COUNT="10000000":
    bash loadtest/on-fresh-server.sh soak --mode stream --concurrency 2000 --count {{quote(COUNT)}} --html target/soak.html

# Every figure of the load tests beside its target, in 40 minutes; shorter: just load-report STEADY_S=60 SOAK=1000000
load-report *SETTINGS:
    env {{SETTINGS}} bash loadtest/load-report.sh

# Engine, REST, console on ./data, and Prometheus if it is installed.
dev *ARGS:
    bash ops/dev.sh {{ARGS}}

# The gRPC services alone.
dev-grpc *ARGS:
    bash ops/dev.sh grpc {{ARGS}}

# Open the accounts of a JSON file on a running server: id, currency, balance, daily limit, status.
accounts FILE="loadtest/samples/accounts.json":
    cargo run --release -p arus-loadtest -- accounts --file {{quote(FILE)}}

# Fill a running server with the accounts and payments of target/dummy.csv (see `just dummy`).
seed FILE="target/dummy.csv":
    cargo run --release -p arus-loadtest -- replay --file {{quote(FILE)}}

# Grafana with all dashboards, Prometheus and a demo, in containers.
dash:
    @command -v docker >/dev/null || { echo "docker is missing: https://docs.docker.com/engine/install (or import ops/grafana/dashboards into a Grafana of yours)"; exit 1; }
    docker compose -f ops/compose/compose.yaml up --build

# A verified copy of ./data, also beside a running server.
backup TO DATA="data":
    cargo run --release -- backup {{quote(TO)}} --data-dir {{quote(DATA)}}

# What CI runs.
ci:
    bash .ci/run

# List the recipes.
default:
    @just --list

# Seed a small world in ./data, make sample payments, and serve.
demo:
    cargo run --release -- demo

# Serve with the settings of a file.
serve CONFIG="ops/arus.toml":
    cargo run --release -- serve --config {{CONFIG}}

# All tests: no servers, no root.
test:
    cargo test --workspace

# Check ./data against its journal.
verify DATA="data":
    cargo run --release -- verify --data-dir {{DATA}}

# Print one entry whole: an lsn, a payment id or a tx_id.
inspect WHAT DATA="data":
    cargo run --release -- inspect {{WHAT}} --data-dir {{DATA}}

# How fast the engine is alone.
bench:
    cargo bench -p arus-engine

# Unary gRPC beside an empty echo of the same size, in one run.
bench-grpc:
    bash loadtest/bench-grpc.sh

# What CI runs.
ci:
    bash .ci/run

# Short names for long commands. `just` lists them.

# list the recipes
default:
    @just --list

# see it work: simulated analyzers, broker and receiver
demo seconds="30":
    cargo run --release -- demo --seconds {{seconds}}

# everything that must hold
test:
    tests/run

# one file of truth
only name:
    tests/run {{name}}

# style
lint:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings

# figures, beside a small Python script doing the same
bench:
    tests/bench/run

# rewrite fixtures; read the diff
fixtures:
    UPDATE=1 cargo test -p gateway-tests --test decoding --test dialects

# Recipes call plain commands; `just` only saves typing. CI is .ci/run.

set shell := ["bash", "-cu"]

# What to run before a commit.
check: fmt
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace

# Format the code.
fmt:
    cargo fmt

# All tests, on the embedded broker and index.
test:
    cargo test --workspace

# All tests on a Kafka and an OpenSearch of yours.
test-real kafka="localhost:9092" opensearch="http://localhost:9200":
    KAFKA_BOOTSTRAP_SERVERS={{kafka}} OPENSEARCH_URL={{opensearch}} cargo test --workspace

# The tests that start containers: needs a Docker engine.
test-containers:
    OUTLIER_TEST_CONTAINERS=1 cargo test --test containers -- --nocapture

# The long courses of docs/soak.md, on the embedded broker, or on a Kafka and an OpenSearch of the environment; these are
# killed too where OUTLIER_KAFKA_CONTROL and OUTLIER_OPENSEARCH_CONTROL are commands that take `kill` and `up`.
soak seed="1":
    OUTLIER_SIM_SEEDS=100000 cargo test --release -p outlier-core --test simulation -- --nocapture
    OUTLIER_CALIBRATION=20 cargo test --release -p outlier-core --lib rates -- --nocapture
    OUTLIER_KILLS=100 OUTLIER_SEED={{seed}} cargo test --test chaos -- --nocapture
    OUTLIER_KILLS=100 OUTLIER_SEED={{seed}} cargo test --test kill -- --nocapture
    OUTLIER_KILLS=100 OUTLIER_SEED={{seed}} cargo test --test alert kills_at -- --nocapture
    OUTLIER_FAULT_SEEDS=20 OUTLIER_FAULT_STALL=30 OUTLIER_SEED={{seed}} cargo test --test faults -- --nocapture
    OUTLIER_MALFORMED=50 OUTLIER_SEED={{seed}} cargo test --test sink malformed -- --nocapture

# The property tests with other cases each time: as many rounds, each with a seed of its own that is printed.
properties rounds="20":
    for i in $(seq {{rounds}}); do export PROPTEST_RNG_SEED=$RANDOM$i; echo "PROPTEST_RNG_SEED=$PROPTEST_RNG_SEED"; cargo test -q --workspace --lib || exit 1; done

# Build the image and test the compose file.
compose:
    docker build -f docker/Dockerfile -t outlier:local .
    tests/compose.sh

# Everything in one process; the page is at http://127.0.0.1:8080.
demo:
    cargo run --release -- demo

# The demo's page in headless Chromium.
browser:
    cargo build --release
    tests/browser.py target/release/outlier

# The functions' benchmarks.
bench:
    cargo bench --workspace

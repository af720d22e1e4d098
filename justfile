# The scripts of ci/, by name: `just lint`. Each also runs without just, as ci/lint.

# All checks, in order.
all:
    .ci/run

# Format, lints, documentation, features, rooms and words.
lint:
    ci/lint

# All tests.
test *arguments:
    ci/test {{arguments}}

# The models under loom.
loom *filter:
    ci/loom {{filter}}

# The SPIN model.
models *names:
    ci/models {{names}}

# Takes guards of the protocol away: a test turns red without each.
guards *names:
    ci/guards {{names}}

# Benches in short, and instruction counts.
bench *arguments:
    ci/bench {{arguments}}

# The examples and the command's main job.
examples:
    ci/examples

# The Python package.
python *arguments:
    ci/python {{arguments}}

# The crate tracing-linering.
tracing:
    ci/tracing

# The comparison with others.
compare:
    ci/compare

# linering-forward with Kafka.
kafka:
    ci/kafka

# What would be published.
package:
    ci/package

# A shard of cargo-mutants' mutants, such as 0/60.
mutants shard *arguments:
    ci/mutants {{shard}} {{arguments}}

# Draws the rooms of src/ into docs/architecture.md.
rooms:
    ci/rooms --draw

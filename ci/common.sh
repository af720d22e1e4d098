# Sourced by the scripts here: goes to the repository's root, and has what they share.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TERM_COLOR=never RUST_BACKTRACE=0
# What a machine may not permit is a failure here, not a word in passing.
export LINERING_NEEDS_ALL=1

# step WORDS: says what comes, and how long what came before took.
step() {
    [ -z "${step_name:-}" ] || printf -- '--- %s: %d s\n' "$step_name" $((SECONDS - step_began))
    step_name=$* step_began=$SECONDS
    [ $# = 0 ] || printf '\n=== %s\n' "$*"
}
trap 'code=$?; [ $code != 0 ] || step; exit $code' EXIT

# needs WHAT "TOOL ..." "PACKAGE ...": installs the packages where a tool is missing.
needs() {
    [ "$(command -v $2 | wc -l)" -lt "$(wc -w <<<"$2")" ] || return 0
    # One at a time: `.ci/run` has two scripts run.
    mkdir -p target
    flock target/installing bash -c \
        "apt-get install -y $3 || { apt-get update && apt-get install -y $3; }" >/dev/null ||
        { echo "$1 needs $3: install them with your system's packages" >&2; exit 1; }
}

command -v cargo >/dev/null ||
    { echo "linering's checks need Rust: install it with rustup" >&2; exit 1; }

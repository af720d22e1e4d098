#!/usr/bin/env bash
# Lossless lines per second through LTTng-UST, from forked processes to a trace on disk, every line checked.
#
#     apt-get install gcc lttng-tools liblttng-ust-dev babeltrace2
#     ./lttng_ust.sh [writers] [lines]
#
# Channels that make their writers wait (`--blocking-timeout=inf`); the time runs from the writers' start until `lttng stop` says that
# the trace is complete. Prints the JSON that `compare` prints for one measurement.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
writers=${1:-1} lines=${2:-100000}

for command in gcc lttng lttng-sessiond babeltrace2; do
    command -v "$command" >/dev/null || {
        echo "lttng_ust.sh needs $command: apt-get install gcc lttng-tools liblttng-ust-dev babeltrace2" >&2
        exit 2
    }
done

work=$(mktemp -d)
export LTTNG_HOME=$work LTTNG_UST_ALLOW_BLOCKING=1
daemon=
end() {
    [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null; } || true
    rm -rf "$work"
}
trap end EXIT

gcc -O2 -Wall -I"$here" "$here/lttng_ust.c" -o "$work/writers" -llttng-ust -ldl
lttng-sessiond --no-kernel >"$work/daemon" 2>&1 &
daemon=$!
for _ in $(seq 100); do
    lttng list >/dev/null 2>&1 && break
    sleep 0.05
done

{
    lttng create compare --output="$work/trace"
    lttng enable-channel --userspace --buffers-uid --discard --blocking-timeout=inf --subbuf-size=256k --num-subbuf=4 line
    lttng enable-event --userspace --channel=line compare:line
    lttng start
} >"$work/log" 2>&1 || { printf '{"fault":"lttng: %s"}\n' "$(tail -1 "$work/log" | tr '"\\' "' ")"; exit 0; }
# Children register with the daemon by themselves; libust has to be told of forks.
libraries=$(ldconfig -p | awk '/liblttng-ust-fork.so/ { print $NF; exit }')
time=$(LD_PRELOAD=$libraries timeout 60 "$work/writers" "$writers" "$lines") || {
    echo '{"fault":"hangs or fails: nothing in 60 s"}'
    exit 0
}
after=$(date +%s%N)
lttng stop >>"$work/log" 2>&1
stopped=$(date +%s%N)
lttng destroy >>"$work/log" 2>&1

babeltrace2 --no-delta "$work/trace" 2>"$work/complaints" | python3 -c '
import re, sys
writers, lines, time = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
each = lines // writers
letters = "abcdefghijklmnopqrstuvwxyz" * 8
next_number, seen, wrong = [0] * writers, 0, 0
for text in sys.stdin:
    found = re.search(r"line = \"(.{100})\"", text)
    if not found:
        continue
    line = found.group(1)
    writer, seen = int(line[:4]), seen + 1
    number = next_number[writer]
    start = (number * 31 + writer * 7) % 26
    wrong += line != f"{writer:04d} {number:012d} {letters[start:start + 82]}"
    next_number[writer] += 1
if seen != each * writers or wrong:
    print("{\"fault\":\"%d of %d lines came, %d of them wrong\"}" % (seen, each * writers, wrong))
else:
    print("{\"good\":{\"lines\":%d,\"seconds\":%.9f,\"room\":null,\"resident_kib\":null,\"cost_ns\":null,"
          "\"clock_ns\":null,\"syscalls\":null}}" % (seen, time))
' "$writers" "$lines" "$(python3 -c "print($time + ($stopped - $after) / 1e9)")"

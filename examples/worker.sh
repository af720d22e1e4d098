#!/bin/sh
# A worker of `linering run`, which tells it its number and how many there are. Each takes its share of the work.
#
#   linering run -n 4 --tag -- examples/worker.sh
#   linering run -n 4 -o json --output log.json --rotate 10M -- examples/worker.sh
set -eu

worker=${LINERING_WORKER:-0}
workers=${LINERING_WORKERS:-1}

for item in $(seq "$worker" "$workers" 19); do
    echo "item $item: $((item * item))"
    if [ $((item % 7)) = 3 ]; then
        echo "item $item is odd" >&2
    fi
done

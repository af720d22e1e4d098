#!/usr/bin/env python3
"""Lossless lines per second through syncstream and Python's own queues, every line checked.

    python3 -m venv venv && venv/bin/pip install syncstream
    venv/bin/python python_queues.py [--lines 20000] [--writers 1,2] [--repeat 5] [--quick] \\
        [--out FILE]

Without syncstream the rest is measured. Each measurement is a process of its own with a time limit,
repetitions take turns, and the results are those of `compare`: its `plot` reads them too.
"""

import argparse
import json
import logging
import logging.handlers
import multiprocessing
import os
import platform
import queue
import statistics
import subprocess
import sys
import threading
import time

try:
    import syncstream
except ImportError:
    syncstream = None

BYTES = 100
ROOM = 4096
FILLING = "".join(chr(33 + (i * 37) % 90) for i in range(256))


def line(writer, number):
    """Line `number` of `writer`: both, and a filling that depends on them."""
    start = (number * 31 + writer * 7) % 128
    return f"{writer:04d} {number:012d} {FILLING[start : start + BYTES - 18]}"


class Check:
    """Every line whole, in its writer's order, none twice and none missing."""

    def __init__(self, writers):
        self.next = [0] * writers
        self.lines = 0
        self.faults = []

    def line(self, text):
        self.lines += 1
        try:
            writer = int(text[:4])
            number = self.next[writer]
        except (ValueError, IndexError):
            self.faults.append(f"torn: {text[:40]!r}")
            return
        if text != line(writer, number):
            self.faults.append(f"writer {writer}: expected line {number}, got {text[:20]!r}")
        self.next[writer] = number + 1


class Barrier:
    """All writers begin together; the time from there on is the reader's."""

    def __init__(self, kind, writers):
        self.barrier = kind.Barrier(writers + 1)

    def wait(self):
        self.barrier.wait()


# A transport: a function that makes (send, receive) for a kind of writers. `receive` calls its
# argument with each line until all `total` have come.


def with_queue(made):
    def send(index, each, start):
        start()
        for number in range(each):
            made.put(line(index, number))

    def receive(total, sink):
        for _ in range(total):
            sink(made.get())

    return send, receive


def queue_queue(_context, _writers, _total):
    return with_queue(queue.Queue(ROOM))


def simple_queue(_context, _writers, _total):
    return with_queue(queue.SimpleQueue())


def mp_queue(context, _writers, _total):
    return with_queue(context.Queue(ROOM))


def mp_simple_queue(context, _writers, _total):
    return with_queue(context.SimpleQueue())


def queue_handler(context, _writers, _total):
    """A logger with a QueueHandler in each writer, as the logging cookbook has it."""
    records = queue.Queue(ROOM) if context is threading else context.Queue(ROOM)

    class Waiting(logging.handlers.QueueHandler):
        # Its own way drops what does not fit, and says so on standard error.
        def enqueue(self, record):
            self.queue.put(record)

    def send(index, each, start):
        logger = logging.Logger(f"writer {index}", logging.INFO)
        logger.addHandler(Waiting(records))
        start()
        for number in range(each):
            logger.info(line(index, number))

    def receive(total, sink):
        for _ in range(total):
            sink(records.get().getMessage())

    return send, receive


def sync_threads(_context, _writers, total):
    """syncstream keeps the last lines, so it gets room for all of them, and is read when all were
    written.
    """
    buffer = syncstream.LineBuffer(total)
    done = []

    def send(index, each, start):
        start()
        for number in range(each):
            buffer.write(line(index, number) + "\n")
        done.append(index)

    def receive(total, sink):
        while len(done) < _writers:
            time.sleep(0.001)
        for text in buffer.read():
            sink(text)

    return send, receive


def sync_processes(_context, writers, total):
    buffer = syncstream.LineProcBuffer(total)
    mirrors = [buffer.mirror for _ in range(writers)]

    def send(index, each, start):
        mirror = mirrors[index]
        start()
        for number in range(each):
            mirror.write(line(index, number) + "\n")
        mirror.send_eof()

    def receive(total, sink):
        buffer.wait()
        for text in buffer.read():
            sink(text)

    return send, receive


TRANSPORTS = {
    ("threads", "Python queue.Queue"): queue_queue,
    ("threads", "Python queue.SimpleQueue"): simple_queue,
    ("threads", "Python QueueHandler"): queue_handler,
    ("threads", "syncstream LineBuffer"): sync_threads,
    ("processes", "Python multiprocessing.Queue"): mp_queue,
    ("processes", "Python multiprocessing.SimpleQueue"): mp_simple_queue,
    ("processes", "Python QueueHandler"): queue_handler,
    ("processes", "syncstream LineProcBuffer"): sync_processes,
}


def one(mode, name, writers, lines):
    """One measurement, in this process."""
    each = lines // writers
    total = each * writers
    forked = multiprocessing.get_context("fork")
    kind = threading if mode == "threads" else forked
    send, receive = TRANSPORTS[mode, name](kind, writers, total)
    barrier = Barrier(kind, writers)
    make = threading.Thread if mode == "threads" else forked.Process
    workers = [
        make(target=send, args=(index, each, barrier.wait), daemon=True) for index in range(writers)
    ]
    for worker in workers:
        worker.start()
    check = Check(writers)
    barrier.wait()
    start = time.perf_counter()
    receive(total, check.line)
    seconds = time.perf_counter() - start
    if check.lines != total or check.faults:
        words = f"{check.lines} of {total} lines; " + "; ".join(check.faults[:3])
        return {"fault": words}
    for worker in workers:
        worker.join()
    figures = {"lines": total, "seconds": seconds, "room": None, "resident_kib": None}
    return {"good": {**figures, "cost_ns": None, "clock_ns": None, "syscalls": None}}


def in_process(mode, name, writers, lines, limit):
    """The same in a process of its own."""
    command = [
        sys.executable,
        os.path.abspath(__file__),
        "--one",
        mode,
        name,
        str(writers),
        str(lines),
    ]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, err = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)
        child.communicate()
        return {"fault": f"hangs: nothing in {limit} s"}
    results = [text for text in out.splitlines() if text.startswith("{")]
    if not results:
        return {
            "fault": (err.strip().splitlines() or [f"ends with exit code {child.returncode}"])[-1]
        }
    return json.loads(results[-1])


def machine():
    model = "unknown"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpus:
        for text in cpus:
            if text.startswith("model name"):
                model = text.split(": ", 1)[1].strip()
                break
    return {"processors": os.cpu_count(), "model": model, "kernel": platform.release()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--writers", default="1,2")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument(
        "--limit", type=int, default=60, help="seconds after which a measurement is given up"
    )
    parser.add_argument("--quick", action="store_true", help="few lines, one repetition")
    parser.add_argument("--out", help="the file for all results, as JSON")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        mode, name, writers, lines = args.one
        print(json.dumps(one(mode, name, int(writers), int(lines))), flush=True)
        return
    lines, repeat = (1000, 1) if args.quick else (args.lines, args.repeat)
    if syncstream is None:
        print(
            "Without syncstream: python3 -m venv venv && venv/bin/pip install syncstream",
            file=sys.stderr,
        )
    cases = []
    for (mode, name), _ in TRANSPORTS.items():
        for writers in map(int, args.writers.split(",")):
            if syncstream is not None or not name.startswith("syncstream"):
                case = {
                    "transport": name,
                    "mode": mode,
                    "measure": "throughput",
                    "reading": "blocking",
                    "writers": writers,
                    "lines": lines,
                    "bytes": BYTES,
                    "limit": args.limit,
                }
                cases.append({"kind": "rival", "case": case, "outcomes": []})
    for _ in range(repeat):
        for measured in cases:
            case = measured["case"]
            arguments = (
                case["mode"],
                case["transport"],
                case["writers"],
                case["lines"],
                args.limit,
            )
            measured["outcomes"].append(in_process(*arguments))
    print("| | writers | lines/s |\n|---|---|---|")
    for measured in cases:
        case, outcomes = measured["case"], measured["outcomes"]
        faults = [outcome["fault"] for outcome in outcomes if "fault" in outcome]
        if faults:
            cell = faults[0]
        else:
            good = [outcome["good"] for outcome in outcomes]
            cell = f"{statistics.median(it['lines'] / it['seconds'] for it in good):,.0f}"
        print(f"| {case['transport']}, {case['mode']} | {case['writers']} | {cell} |")
    if args.out:
        with open(args.out, "w", encoding="utf-8") as out:
            json.dump(
                {"machine": machine(), "when": int(time.time()), "measured": cases}, out, indent=1
            )


if __name__ == "__main__":
    main()

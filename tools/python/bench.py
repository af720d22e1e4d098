#!/usr/bin/env python3
"""What printing into a mirror costs, and what comes out at the other end, beside what one would use
instead.

    tools/python/test && tools/python/.venv/bin/pip install 'syncstream>=1.2,<1.3'
    tools/python/.venv/bin/python tools/python/bench.py [--lines N] [--repeat N] [--quick]

Three measurements, each a ratio within one run: `print` of a line of 100 bytes into a mirror and
into an `io.StringIO`; lines per second from two worker processes to the parent; lines lost when a
worker is killed right after its last `print` returned. Every line is checked as it comes, in the
same way for all. Repetitions take turns, and medians are given.
"""

from __future__ import annotations

import argparse
import io
import logging
import logging.handlers
import multiprocessing
import os
import signal
import statistics
import sys
import time
import timeit
from collections.abc import Iterable, Iterator
from typing import Any, Callable

import linering

try:
    import syncstream
except ImportError:
    syncstream = None

BYTES = 100
FORK = multiprocessing.get_context("fork")
WORKERS = 2


def made(worker: int, count: int) -> list[str]:
    """Lines of 99 characters, each of which says whose it is and which."""
    filling = "".join(chr(33 + index * 37 % 90) for index in range(BYTES))
    return [f"{worker:04d} {number:012d} {filling}"[: BYTES - 1] for number in range(count)]


def check(lines: Iterable[str], each: int) -> Callable[[], None]:
    """What reads `lines` and sees that each is whole and in its worker's order, none is missing and
    none comes twice.
    """
    expected = {str(worker): iter(made(worker, each)).__next__ for worker in range(WORKERS)}

    def read() -> None:
        count = 0
        for line in lines:
            # Its fourth character is its worker's number.
            if line != expected[line[3]]():
                raise SystemExit(f"{line!r} is not the line expected from its worker")
            count += 1
        if count != WORKERS * each:
            raise SystemExit(f"{count} lines, expected {WORKERS * each}")

    return read


# ---------------------------------------------------------------------------------------- one print


def one_print(repeat: int) -> None:
    """Rounds of prints, of which the middle counts. A StringIO is new in each round: what it costs
    depends on how far it grows.
    """
    line = "x" * (BYTES - 1)
    buffer = linering.LineProcBuffer(10)
    mirror, lines = buffer.mirror, linering.LineBuffer(10)
    rounds: dict[str, tuple[int, int, Callable[[], Any]]] = {
        "io.StringIO, 200,000 lines": (200_000, repeat, io.StringIO),
        "io.StringIO, 2,000 lines": (2_000, 100 * repeat, io.StringIO),
        "LineProcMirror": (2_000, 100 * repeat, lambda: mirror),
        "LineBuffer": (2_000, 100 * repeat, lambda: lines),
    }
    times: dict[str, list[float]] = {name: [] for name in rounds}
    for _ in range(repeat):
        for name, (count, several, make) in rounds.items():
            for _ in range(several // repeat):
                timer = timeit.Timer(
                    "print(line, file=file)", globals={"line": line, "file": make()}
                )
                times[name].append(timer.timeit(count) / count * 1e9)
    if buffer.read(1)[0] != line or lines.read(1)[0] != line:
        raise SystemExit("the last line is not the one that was printed")
    base, least = (statistics.median(times[name]) for name in list(rounds)[:2])
    print(f"\n`print` of a line of {BYTES} bytes: ns, and beside each of the two StringIOs\n")
    for name, each in times.items():
        middle = statistics.median(each)
        print(f"| {name} | {middle:.0f} | {middle / base:.2f} | {middle / least:.2f} |")


# --------------------------------------------------------------------------------------- end to end

Send = Callable[[int, list[str]], None]
# Makes an iterator over so many lines.
Receive = Callable[[int], "Iterable[str]"]
Transport = Callable[[int], "tuple[Send, Receive]"]


def printing_into(buffer: linering.LineProcBuffer) -> Send:
    mirrors = [buffer.mirror for _ in range(WORKERS)]

    def send(worker: int, lines: list[str]) -> None:
        mirror = mirrors[worker]
        for line in lines:
            print(line, file=mirror)
        mirror.send_eof()

    return send


def of_mirrors(_each: int) -> tuple[Send, Receive]:
    buffer = linering.LineProcBuffer(10, policy="block")
    send = printing_into(buffer)

    def receive(_total: int) -> Iterable[str]:
        return buffer.drain()  # type: ignore[return-value]

    return send, receive


def of_wait(each: int) -> tuple[Send, Receive]:
    buffer = linering.LineProcBuffer(WORKERS * each, policy="block", lines=4096)
    send = printing_into(buffer)

    def receive(_total: int) -> Iterable[str]:
        buffer.wait()
        yield from buffer.read()  # type: ignore[misc]

    return send, receive


def of_queue(queue: Any) -> tuple[Send, Receive]:
    def send(_worker: int, lines: list[str]) -> None:
        for line in lines:
            queue.put(line)

    def receive(total: int) -> Iterable[str]:
        return (queue.get() for _ in range(total))

    return send, receive


def logger_of(handler: logging.Handler) -> logging.Logger:
    logger = logging.Logger("bench", logging.INFO)
    logger.addHandler(handler)
    return logger


def of_queue_handler(_each: int) -> tuple[Send, Receive]:
    queue: Any = FORK.Queue()

    def send(_worker: int, lines: list[str]) -> None:
        logger = logger_of(logging.handlers.QueueHandler(queue))
        for line in lines:
            logger.info(line)

    def receive(total: int) -> Iterable[str]:
        return (queue.get().getMessage() for _ in range(total))

    return send, receive


def of_log_handler(_each: int) -> tuple[Send, Receive]:
    buffer = linering.LineProcBuffer(10, policy="block")
    mirrors = [buffer.mirror for _ in range(WORKERS)]

    def send(worker: int, lines: list[str]) -> None:
        logger = logger_of(linering.LogHandler(mirrors[worker]))
        for line in lines:
            logger.info(line)
        mirrors[worker].send_eof()

    def receive(_total: int) -> Iterable[str]:
        return (line.record.getMessage() for line in buffer.drain())  # type: ignore[union-attr]

    return send, receive


def of_syncstream(each: int) -> tuple[Send, Receive]:
    buffer = syncstream.LineProcBuffer(WORKERS * each)
    mirrors = [buffer.mirror for _ in range(WORKERS)]

    def send(worker: int, lines: list[str]) -> None:
        for line in lines:
            print(line, file=mirrors[worker])
        mirrors[worker].send_eof()

    def receive(_total: int) -> Iterable[str]:
        buffer.wait()
        yield from buffer.read()

    return send, receive


TRANSPORTS: dict[str, tuple[Transport, float]] = {
    "print into a mirror, for line in drain()": (of_mirrors, 20),
    "print into a mirror, wait() and read()": (of_wait, 20),
    "multiprocessing.Queue": (lambda each: of_queue(FORK.Queue()), 1),
    "multiprocessing.SimpleQueue": (lambda each: of_queue(FORK.SimpleQueue()), 1),
    "logger, QueueHandler": (of_queue_handler, 1),
    "logger, LogHandler, Line.record": (of_log_handler, 2),
    "print into syncstream": (of_syncstream, 0.1),
}


def lines_per_second(transport: Transport, each: int) -> float:
    send, receive = transport(each)
    begin = FORK.Barrier(WORKERS + 1)

    def work(worker: int) -> None:
        lines = made(worker, each)
        begin.wait()
        send(worker, lines)

    workers = [FORK.Process(target=work, args=(worker,)) for worker in range(WORKERS)]
    for process in workers:
        process.start()
    read = check(receive(WORKERS * each), each)
    begin.wait()
    started = time.perf_counter()
    read()
    seconds = time.perf_counter() - started
    for process in workers:
        process.join()
    return WORKERS * each / seconds


def end_to_end(lines: int, repeat: int) -> None:
    rates: dict[str, list[float]] = {}
    for _ in range(repeat):
        for name, (transport, factor) in TRANSPORTS.items():
            if transport is not of_syncstream or syncstream is not None:
                rates.setdefault(name, []).append(
                    lines_per_second(transport, max(100, int(lines * factor)))
                )
    best = statistics.median(rates["print into a mirror, for line in drain()"])
    print(
        f"\nLines/s from {WORKERS} workers to the parent: median (lowest..highest), and how often"
        " that fits into the first\n"
    )
    for name, each in rates.items():
        middle = statistics.median(each)
        print(
            f"| {name} | {middle:,.0f} ({min(each):,.0f}..{max(each):,.0f}) | {best / middle:.1f} |"
        )
    if syncstream is None:
        print("(without syncstream: it is not installed)")


# -------------------------------------------------------------------------------------------- kills


def after_a_kill(transport: str, lines: int) -> int:
    """Lines that the parent still gets of a worker that is killed right after the last of its lines
    was sent.
    """
    if transport == "linering":
        buffer = linering.LineProcBuffer(10, policy="block", lines=2 * lines)
        mirror = buffer.mirror
        process = FORK.Process(target=_print_and_die, args=(mirror, lines))
        process.start()
        came = len(list(buffer.drain()))
        process.join()
        return came
    queue: Any = FORK.SimpleQueue() if transport == "multiprocessing.SimpleQueue" else FORK.Queue()
    process = FORK.Process(
        target=_put_and_die, args=(queue, lines, transport == "logger, QueueHandler")
    )
    process.start()
    came = 0
    reader = queue._reader
    # A writer that was killed in the middle of a line leaves a part of it, and who reads that
    # hangs: so only while it lives, or whole lines are there, which what came before cannot tell;
    # the rest is given half a second.
    while reader.poll(0.5):
        if (
            not process.is_alive()
            and transport != "multiprocessing.SimpleQueue"
            and not reader.poll(0)
        ):
            break
        signal.setitimer(signal.ITIMER_REAL, 2)
        try:
            queue.get()
        except (TimeoutError, EOFError, OSError):
            break
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        came += 1
    process.join()
    return came


def _print_and_die(mirror: linering.LineProcMirror, lines: int) -> None:
    for line in made(0, lines):
        print(line, file=mirror)
    os.kill(os.getpid(), signal.SIGKILL)


def _put_and_die(queue: Any, lines: int, through_logger: bool) -> None:
    logger = logger_of(logging.handlers.QueueHandler(queue))
    for line in made(0, lines):
        if through_logger:
            logger.info(line)
        else:
            queue.put(line)
    os.kill(os.getpid(), signal.SIGKILL)


def kills(lines: int, repeat: int) -> None:
    def too_long(_signal: int, _frame: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_long)
    print(
        f"\nLost of {lines} lines whose `print` or `put` had returned when their worker was killed"
        f" ({repeat} kills)\n"
    )
    for name in (
        "linering",
        "multiprocessing.Queue",
        "multiprocessing.SimpleQueue",
        "logger, QueueHandler",
    ):
        lost = [lines - after_a_kill(name, lines) for _ in range(repeat)]
        print(f"| {name} | {statistics.median(lost):.0f} ({min(lost)}..{max(lost)}) |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=20_000, help="of each worker, through a queue")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="few lines, two repetitions")
    args = parser.parse_args()
    lines, repeat = (2_000, 2) if args.quick else (args.lines, args.repeat)
    print(f"CPython {sys.version.split()[0]}, {os.cpu_count()} processors")
    one_print(repeat)
    end_to_end(lines, repeat)
    kills(10_000, repeat)


if __name__ == "__main__":
    main()

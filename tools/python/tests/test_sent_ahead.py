"""Lines that come in pieces: sent ahead by `flush`, rewritten after a `\\r`, by several threads,
streams and processes.
"""

import multiprocessing
import random
import sys
import threading
import time

import pytest

import linering


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(1000, policy="block")


def written(pieces, flush, aggressive=False):
    """What comes of the pieces, each of which is flushed if `flush` says so."""
    buffer = linering.LineProcBuffer(1000, policy="block")
    mirror = buffer.new_mirror(aggressive=aggressive)
    for piece in pieces:
        print(piece, end="", file=mirror, flush=flush())
    mirror.send_eof()
    buffer.wait()
    return [str(line) for line in buffer.read()]


@pytest.mark.parametrize(
    "pieces, expected",
    [
        (["50%\r", "100%\r", "\nDone\n"], ["100%", "Done"]),
        (["loading", " 50%", "\rdone\n"], ["done"]),
        (["loading", " 50%\rloaded\n"], ["loaded"]),
        (["a", "b\r", "c\n"], ["c"]),
        (["a\r", "\r", "\r\n", "b\n"], ["a", "b"]),
        (["a", "\n", "\n", "b"], ["a", "", "b"]),
    ],
)
@pytest.mark.parametrize("flush", [True, False])
def test_a_return_means_the_same_whether_pieces_are_flushed_or_not(pieces, expected, flush):
    assert written(pieces, lambda: flush) == expected


def test_any_pieces_arrive_as_if_nobody_had_flushed():
    for seed in range(300):
        some = random.Random(seed)
        pieces = [
            some.choice(["a", "bc", "d" * 300, "\r", "\n", "\r\n", "e\r", "\rf", "g\nh", ""])
            for _ in range(12)
        ]
        expected = written(pieces, lambda: False)
        assert written(pieces, lambda: some.random() < 0.5) == expected, (seed, pieces)
        assert written(pieces, lambda: False, aggressive=True) == expected, (seed, pieces)


def test_the_streams_of_a_thread_do_not_break_each_others_lines(buffer):
    with buffer.mirror:
        print("a", end="", flush=True)
        print("error", file=sys.stderr)
        print("b")
    assert [(str(line), line.stream, line.unfinished) for line in buffer.drain()] == [
        ("error", "stderr", False), ("ab", "stdout", False),
    ]  # fmt: skip


def test_threads_that_end_leave_the_lines_of_others_alone(buffer):
    mirror = buffer.mirror
    print("main: 50%", end="", flush=True, file=mirror)
    for name in ("one", "two", "three"):
        thread = threading.Thread(target=print, args=(name,), kwargs={"file": mirror})
        thread.start()
        thread.join()
    print(" ... 100%", file=mirror)
    mirror.send_eof()
    assert list(buffer.drain()) == ["one", "two", "three", "main: 50% ... 100%"]


def test_processes_that_share_a_mirror_do_not_share_lines(buffer):
    context = multiprocessing.get_context("fork")
    turns = [context.Semaphore(0) for _ in range(2)]
    begun = context.Semaphore(0)

    def work(mirror, text, turn):
        turn.acquire()
        print(text, end="", flush=True, file=mirror)
        begun.release()
        turn.acquire()
        print(text, file=mirror)
        mirror.send_eof()

    mirror = buffer.mirror
    workers = [
        context.Process(target=work, args=(mirror, text, turn)) for text, turn in zip("XY", turns)
    ]
    for worker in workers:
        worker.start()
    for turn in turns:
        turn.release()
        begun.acquire()
    for turn in turns:
        turn.release()
    for worker in workers:
        worker.join()
    assert sorted(buffer.drain()) == ["XX", "YY"]


def test_a_line_whose_beginning_was_lost_says_so():
    buffer = linering.LineProcBuffer(10)
    one, other = buffer.mirror, buffer.mirror
    print("not ", end="", flush=True, file=one)
    for number in range(10_000):
        print(number, file=other)
    print("a virus", file=one)
    last = buffer.read()[-1]
    assert (last, last.truncated) == ("a virus", True)


def test_a_line_that_is_flushed_over_and_over_is_no_longer_than_others():
    buffer = linering.LineProcBuffer(10, policy="block", lines=64, max_line=1000)
    mirror = buffer.mirror
    for _ in range(500):
        print("ab" * 10, end="", flush=True, file=mirror)
        buffer.read()
    print(file=mirror)
    (line,) = buffer.read()
    assert (line, line.truncated, line.missing) == ("ab" * 500, True, 9000)


def test_what_a_mirror_keeps_of_a_begun_line_has_a_bound(buffer):
    mirror = buffer.mirror
    for _ in range(200):
        mirror.write("x" * 1000)
    assert 30_000 < len(mirror.read()) <= 70_000


def test_a_mirror_that_ends_and_begins_again_is_not_slower_each_time(buffer):
    """Each block has a way of its own for standard error."""
    mirror = buffer.mirror

    def blocks():
        # Of the processor: that others use it too says nothing.
        began = time.process_time()
        for number in range(100):
            with mirror:
                print(number, file=sys.stderr)
        buffer.wait()
        return time.process_time() - began

    times = [blocks() for _ in range(50)]
    assert min(times[-10:]) < 2.5 * min(times[:10])


@pytest.mark.parametrize("then", ["", "new\n", "\n"])
def test_a_line_that_is_forgotten_after_it_was_sent_ahead_is_none(buffer, then):
    mirror = buffer.mirror
    print("old", end="", flush=True, file=mirror)
    print(" and older", end="", file=mirror)
    mirror.clear()
    mirror.write(then)
    mirror.send_eof()
    buffer.wait()
    assert buffer.read() == tuple(then.splitlines())

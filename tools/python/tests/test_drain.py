"""Lines as they come: `for`, `async for`, what each `Line` knows, lines that change."""

import asyncio
import copy
import gc
import logging
import mmap
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time

import pytest
import workers

import linering


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(100, policy="block")


def forked(work, *arguments):
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    return process


def test_all_lines_come_and_then_it_ends(buffer):
    processes = [forked(workers.lines, buffer.mirror, 20_000) for _ in range(2)]
    lines = {0: [], 1: []}
    positions = []
    for line in buffer.drain():
        lines[line.worker].append(str(line))
        positions.append(line.position)
    for process in processes:
        process.join()
    for own in lines.values():
        assert own == [f"line {number}" for number in range(20_000)]
    assert positions == sorted(set(positions)), "one order"
    assert buffer.lost == 0
    assert [end.lines for end in buffer.wait()] == [20_000] * 2
    assert buffer.read() == (), "what was handed out is not stored"


def test_a_line_knows_where_it_came_from(buffer):
    before = time.time()
    mirror = buffer.new_mirror("till")
    with mirror:
        print("out")
        print("err", file=sys.stderr)
    out, err = sorted(buffer.drain(), key=lambda line: line.position)
    assert isinstance(out, str) and isinstance(out, linering.Line)
    assert (out, out.worker, out.label, out.stream, out.level, out.kind) == ("out", 0, "till", "stdout", None, "line")
    assert (err, err.stream) == ("err", "stderr")
    # A coarse clock.
    assert before - 0.1 <= out.time <= time.time()
    assert (out.truncated, out.unfinished, out.unacknowledged, out.missing) == (False, False, False, 0)
    for other in (pickle.loads(pickle.dumps(out)), copy.copy(out)):
        assert (other, other.worker, other.position, other.time) == (out, out.worker, out.position, out.time)
    with pytest.raises(ValueError, match="label has 25 bytes, expected at most 24"):
        buffer.new_mirror("x" * 25)


def test_the_collector_of_garbage_does_not_visit_lines(buffer):
    """A million of them in a list would cost more to visit than to read."""
    with buffer.mirror as mirror:
        print("one", file=mirror)
    assert not any(gc.is_tracked(line) for line in buffer.drain())


def test_a_line_of_ones_own_making_knows_nothing():
    line = linering.Line("text")
    assert (line, line.worker, line.position, line.time, line.record) == ("text", None, None, None, None)


@pytest.mark.parametrize("raw", [b"caf\xe9", b"\xff\x00\xfe", "grün".encode()])
def test_bytes_that_are_no_utf_8_arrive_as_pythons_own_streams_have_them(buffer, raw):
    with buffer.mirror as mirror:
        mirror.buffer.write(raw + b"\n")
    (line,) = buffer.drain()
    assert line == raw.decode("utf-8", "surrogateescape")
    assert line.data == raw


def test_a_warning_and_an_error_come_as_messages(buffer):
    mirror = buffer.mirror
    workers.warns(mirror)
    with pytest.raises(ValueError):
        workers.fails(mirror)
    assert [item.kind for item in buffer.drain()] == ["line", "warning", "line", "line", "error"]


def test_what_was_begun_is_sent_ahead_by_a_flush_and_put_together_again(buffer):
    mirror = buffer.mirror
    for piece in ("a", "b", "\r1", "2"):
        print(piece, end="", file=mirror, flush=True)
    assert buffer.read() == ("12",)
    print(file=mirror)
    mirror.write("next\n")
    mirror.send_eof()
    buffer.wait()
    assert buffer.read() == ("12", "next")


def test_an_aggressive_mirror_sends_all_ahead(buffer):
    mirror = buffer.new_mirror(aggressive=True)
    assert mirror.aggressive
    mirror.write("now")
    assert buffer.read() == ("now",)
    mirror.write("here\nand")
    assert buffer.read() == ("nowhere", "and")
    mirror.send_eof()
    buffer.wait()
    assert buffer.read() == ("nowhere", "and")


def test_each_state_of_a_line_that_changes_comes_to_who_wants_it(buffer):
    mirror = buffer.mirror
    for percent in (10, 50, 100):
        print(f"\r{percent}%", end="", file=mirror, flush=True)
    print(file=mirror)
    mirror.send_eof()
    states = [(str(line), line.unfinished) for line in buffer.drain(changes=True)]
    assert states == [("10%", True), ("50%", True), ("100%", True), ("100%", False)]


def test_pieces_that_threads_send_ahead_never_mix(buffer):
    mirror = buffer.mirror
    step = threading.Barrier(2)

    def work(name):
        for piece in range(3):
            step.wait()
            print(name, piece, end=" ", file=mirror, flush=True)
        print(file=mirror)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mirror.send_eof()
    assert sorted(buffer.drain()) == ["a 0 a 1 a 2 ", "b 0 b 1 b 2 "]


def test_bars_of_tqdm_in_four_workers_are_lines_that_change(buffer):
    pytest.importorskip("tqdm")
    processes = [forked(workers.bars, buffer.mirror, 50) for _ in range(4)]
    last, states = {}, 0
    for line in buffer.drain(changes=True):
        assert f"worker {line.worker}: " in line, "each state is one bar, whole"
        assert line.stream == "stderr"
        last[line.worker] = line
        states += 1
    for process in processes:
        process.join()
    assert len(last) == 4 and states > 4 * 10
    for line in last.values():
        assert "100%" in line and "50/50" in line and not line.unfinished


def test_bars_leave_one_line_each_in_the_store():
    pytest.importorskip("tqdm")
    buffer = linering.LineProcBuffer(100)
    processes = [forked(workers.bars, buffer.mirror, 20) for _ in range(4)]
    buffer.wait()
    for process in processes:
        process.join()
    assert len(buffer.read()) == 4
    assert all("20/20" in line for line in buffer.read())


def test_a_loop_that_is_left_leaves_the_rest(buffer):
    workers.lines(buffer.mirror, 5)
    for line in buffer.drain():
        if line == "line 1":
            break
    assert list(buffer.drain()) == ["line 2", "line 3", "line 4"]


def test_losses_are_told_in_their_place_and_counted():
    buffer = linering.LineProcBuffer(2, lines=64, policy="drop")
    workers.lines(buffer.mirror, 100)
    lines = list(buffer.drain())
    assert lines[:64] == [f"line {number}" for number in range(64)]
    (note,) = lines[64:]
    assert (note, note.kind, note.missing) == ("-- worker 0: 36 lines lost, ring full --", "lost", 36)
    assert buffer.lost == 36
    (end,) = buffer.wait()
    assert (end.lines, end.lost) == (64, 36)


def test_a_subclass_sees_all_lines_of_a_ring_that_blocks():
    class Seen(linering.LineProcBuffer):
        seen = ()

        def parse_lines(self, lines):
            self.seen = (*self.seen, *lines)
            super().parse_lines(lines[-1:])

    buffer = Seen(5, policy="block", lines=64)
    process = forked(workers.lines, buffer.mirror, 2000)
    buffer.wait()
    process.join()
    assert list(buffer.seen) == [f"line {number}" for number in range(2000)]
    assert buffer.read()[-1] == "line 1999"


def test_a_writer_of_a_full_ring_lets_other_threads_run():
    """The reader is a thread of the same process: a writer that kept the interpreter lock would wait for ever."""
    buffer = linering.LineProcBuffer(5, policy="block", lines=64)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(buffer.drain()))
    mirror = buffer.mirror
    reader.start()
    workers.lines(mirror, 5000)
    reader.join()
    assert lines == [f"line {number}" for number in range(5000)]


def test_a_mirrors_timeout_ends_the_wait_for_room():
    buffer = linering.LineProcBuffer(5, policy="block", lines=16)
    mirror = buffer.new_mirror(timeout=0.05)
    assert mirror.timeout == 0.05
    with pytest.raises(TimeoutError, match="stayed full for 50ms"):
        workers.lines(mirror, 17)
    mirror.timeout = None
    gone = buffer.lost
    lines = [line for line in buffer.drain() if line.kind == "line"]
    assert lines == [f"line {number}" for number in range(16)] and gone == 0
    with pytest.raises(ValueError, match="timeout is -1"):
        mirror.timeout = -1


def test_ctrl_c_interrupts_a_writer_that_waits_for_room():
    program = """
import linering
buffer = linering.LineProcBuffer(5, policy="block", lines=16)
mirror = buffer.mirror
print("ready", flush=True)
try:
    for number in range(100):
        print(number, file=mirror)
except KeyboardInterrupt:
    print(number, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    # It has written nothing yet, or waits already: sent until it has ended.
    import signal

    while process.poll() is None:
        stat = open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()[0]
        if stat == "S":
            process.send_signal(signal.SIGINT)
            break
        os.sched_yield()
    out, _ = process.communicate()
    assert out == "16\n"


def test_what_was_changed_in_the_ring_is_damaged():
    buffer = linering.LineProcBuffer(100, policy="block", checksums=True)
    environ = buffer.mirror.environ()
    mirror = linering.LineProcMirror.from_environ(environ)
    for number in range(5):
        print("line", number, file=mirror)
    print("begun and ", end="", flush=True, file=mirror)
    print("ended", file=mirror)
    mirror.send_warning(UserWarning("careful"))
    print("last", file=mirror)
    mirror.send_eof()
    # linering1:IDENTITY:PROCESS:DESCRIPTOR:TICKET:SERIAL
    descriptor = int(environ["LINERING_SEAT"].split(":")[3])
    with mmap.mmap(descriptor, 0) as memory:
        for text in (b"line 2", b"begun", b"careful"):
            at = memory.find(text)
            assert at == memory.rfind(text) > 0, "in one slot"
            memory[at] ^= 0x20
    found = [(str(item), item.damaged) for item in buffer.drain()]
    assert found == [
        ("line 0", False),
        ("line 1", False),
        ("Line 2", True),
        ("line 3", False),
        ("line 4", False),
        ("Begun and ended", True),
        ("UserWarning: Careful", True),
        ("last", False),
    ]


def test_what_is_known_of_a_line_is_told_of_nothing_else():
    """There is no room for it in other objects."""
    known = linering._linering.state(linering.Line("text"))
    for use in (linering._linering.state, lambda found: linering._linering.restore(found, known)):
        with pytest.raises(TypeError, match="found a str, expected a Line"):
            use("text")


def test_a_pickle_of_a_line_that_says_what_nobody_knows_is_a_line():
    """Of a later version, or damaged."""
    line = linering.Line("text")
    worker, label, _, numbers = linering._linering.state(line)
    linering._linering.restore(line, (worker, label, (99, 99, 99, 255), numbers))
    assert (line, line.stream, line.level, line.kind) == ("text", None, None, None)


# --------------------------------------------------------------------------------------------- asyncio


def test_an_event_loop_reads_without_a_thread(buffer):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        processes = [forked(workers.lines, buffer.mirror, 5000) for _ in range(2)]
        lines = [line async for line in buffer.drain()]
        ticking.cancel()
        for process in processes:
            process.join()
        return lines, ticks

    threads = threading.active_count()
    lines, ticks = asyncio.run(main())
    assert len(lines) == 10_000
    assert threading.active_count() == threads
    for worker in (0, 1):
        assert [line for line in lines if line.worker == worker] == [f"line {number}" for number in range(5000)]


def test_an_event_loop_notices_a_death(buffer):
    async def main():
        process = forked(workers.killed_after, buffer.mirror, 3)
        lines = [line async for line in buffer.drain()]
        process.join()
        return lines

    assert asyncio.run(main()) == ["line 0", "line 1", "line 2"]
    assert [end.end for end in buffer.wait()] == ["died"]


def test_an_event_loops_reader_may_be_cancelled_and_another_goes_on(buffer):
    mirror = buffer.mirror
    print("one", file=mirror)

    async def main():
        async def read(into):
            async for line in buffer.drain():
                into.append(str(line))

        first, second = [], []
        reading = asyncio.create_task(read(first))
        while not first:
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        print("two", file=mirror)
        mirror.send_eof()
        await read(second)
        return first, second

    assert asyncio.run(main()) == (["one"], ["two"])


@pytest.mark.parametrize("send", ["error", "record"])
def test_what_parse_lines_raises_loses_nothing_that_comes_after_its_lines(send):
    class Fails(linering.LineProcBuffer):
        fails = True

        def parse_lines(self, lines):
            if self.fails:
                self.fails = False
                raise KeyboardInterrupt
            super().parse_lines(lines)

    buffer = Fails(100, policy="block")
    mirror = buffer.mirror
    print("one", file=mirror)
    if send == "error":
        mirror.send_error(ValueError("the error that matters"))
    else:
        logger = logging.Logger("fails")
        logger.addHandler(linering.LogHandler(mirror))
        logger.error("the error that matters")
        mirror.send_eof()
    records = []
    buffer._on_record = records.append
    with pytest.raises(KeyboardInterrupt):
        buffer.wait()
    buffer.wait()
    (message,) = buffer.read() + tuple(records)
    assert "the error that matters" in str(message)


@pytest.mark.parametrize("lines", [0, -1, 1.5, "x", [], True])
@pytest.mark.parametrize("policy", ["block", "overwrite"])
def test_a_number_of_lines_that_is_none_is_refused(lines, policy):
    with pytest.raises(ValueError, match="lines is .*, expected None or a positive integer"):
        linering.LineProcBuffer(10, policy=policy, lines=lines)


@pytest.mark.parametrize("data", [5, [65, 66], "text"])
def test_only_bytes_can_be_written_as_bytes(buffer, data):
    with pytest.raises(TypeError):
        buffer.mirror.buffer.write(data)


def test_a_fork_costs_no_descriptor_for_ever(buffer):
    kept = buffer.mirror
    for _ in range(50):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    open_ones = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    assert len(os.listdir("/proc/self/fd")) <= open_ones
    kept.send_eof()
    assert [end.end for end in buffer.wait()] == ["eof"]


def test_an_event_loop_notices_a_death_before_the_first_line(buffer):
    async def main():
        process = forked(workers.exits_before_it_prints, buffer.mirror)
        lines = [line async for line in buffer.drain()]
        process.join()
        return lines

    assert asyncio.run(main()) == []
    assert [end.end for end in buffer.wait()] == ["died"]


def test_an_event_loop_is_left_as_it_was(buffer):
    """Nothing is reported to it, and nothing watched any longer."""
    mirror, problems = buffer.mirror, []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: problems.append(context))
        writes = loop.create_task(write())
        lines = [line async for line in buffer.drain()]
        await writes
        assert not loop.remove_reader(buffer._reader.fileno())
        return lines

    async def write():
        for number in range(3):
            await asyncio.sleep(0)
            print(number, file=mirror)
        mirror.send_eof()

    assert asyncio.run(main()) == ["0", "1", "2"]
    assert problems == []

"""Lines as they come: `for`, what is sent ahead, lines that change, a loop that is left."""

import logging
import os
import threading

import pytest
import workers

import linering


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(100, policy="block")


def test_all_lines_come_and_then_it_ends(buffer):
    processes = [workers.start("fork", workers.lines, buffer.mirror, 20_000) for _ in range(2)]
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
    processes = [workers.start("fork", workers.bars, buffer.mirror, 50) for _ in range(4)]
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
    processes = [workers.start("fork", workers.bars, buffer.mirror, 20) for _ in range(4)]
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
    before = workers.descriptors()
    for _ in range(50):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    # The last fork's has taken the place of the one before.
    assert len(workers.descriptors() - before) < 10
    kept.send_eof()
    assert [end.end for end in buffer.wait()] == ["eof"]

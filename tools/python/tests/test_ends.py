"""How workers end, and that no wait lasts for ever."""

import gc
import io
import json
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys

import pytest
import workers

import linering

METHODS = multiprocessing.get_all_start_methods()
each_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(10_000)


def said(buffer):
    return [str(line) for line in buffer.read()]


@each_method
def test_an_error_arrives_with_its_trace_as_one_message(buffer, method):
    process = workers.start(method, workers.fails, buffer.mirror)
    ends = buffer.wait()
    process.join()
    assert [(end.worker, end.end, end.is_failure, str(end)) for end in ends] == [
        (0, "error", True, "-- worker 0 ended with an error --")
    ]
    before, message = buffer.read()
    assert before == "before"
    assert (message.type, message.worker, message.data[-1]) == (
        "error",
        0,
        "ValueError: as planned",
    )
    assert message.data[0] == "Traceback (most recent call last):"
    assert str(message) == "\n".join(message.data)


@each_method
def test_a_killed_worker_loses_no_line_that_it_had_printed(buffer, method):
    process = workers.start(method, workers.killed_after, buffer.mirror, 5000)
    (end,) = buffer.wait()
    process.join()
    assert (end.end, end.lines, end.lost) == ("died", 5000, 0)
    assert said(buffer) == [f"line {number}" for number in range(5000)]


def test_how_a_worker_was_killed_is_known_to_its_parent(buffer):
    process = workers.start("fork", workers.killed_after, buffer.mirror, 1)
    (end,) = buffer.wait()
    assert (end.exit, str(end)) == (-signal.SIGKILL, "-- worker 0 was killed, SIGKILL --")
    process.join()


@each_method
def test_what_a_worker_had_begun_when_it_died_arrives(buffer, method):
    process = workers.start(method, workers.exits_in_the_middle, buffer.mirror)
    (end,) = buffer.wait()
    process.join()
    assert end.end == "died"
    whole, begun = buffer.read()
    assert (whole, whole.unfinished) == ("whole", False)
    assert (begun, begun.unfinished) == ("in the mid", True)


@each_method
@pytest.mark.parametrize(
    "work", [workers.exits_before_it_prints, workers.does_nothing, workers.prints_without_end]
)
@pytest.mark.parametrize("keeps", [True, False])
def test_a_worker_that_sends_no_end_does_not_hang_the_parent(buffer, method, work, keeps):
    mirror = buffer.mirror
    process = workers.start(method, work, mirror)
    if not keeps:
        del mirror
    (end,) = buffer.wait()
    assert end.end in ("died", "eof")
    process.join()


def test_a_worker_that_inherited_a_mirror_is_waited_for_though_the_parent_dropped_it(buffer):
    begin = multiprocessing.get_context("fork").Event()

    def waits(mirror):
        begin.wait()
        workers.hello(mirror)

    process = workers.start("fork", waits, buffer.mirror)
    gc.collect()
    with pytest.raises(TimeoutError, match="1 seats unopened"):
        buffer.wait(timeout=0)
    begin.set()
    assert [end.end for end in buffer.wait()] == ["eof"]
    process.join()


def test_a_worker_that_never_comes_has_the_time_limit_of_seats():
    buffer = linering.LineProcBuffer(10, seat_limit=0.05)
    pickled = pickle.dumps(buffer.mirror)
    (end,) = buffer.wait()
    assert (end.end, end.is_failure) == ("never opened", True)
    assert str(end) == "-- worker 0 was never opened --"
    # A worker that comes late is heard all the same, and counts.
    late = pickle.loads(pickled)
    print("late", file=late)
    late.send_eof()
    assert [end.end for end in buffer.wait()] == ["eof"]
    assert said(buffer) == ["late"]


def test_a_process_that_is_never_started_does_not_hang_the_parent(buffer):
    process = multiprocessing.Process(target=workers.hello, args=(buffer.mirror,))
    assert buffer.n_mirrors == 1
    del process
    gc.collect()
    assert buffer.wait() == []


def test_mirrors_that_are_not_used_are_given_up_when_they_are_collected(buffer):
    mirrors = [buffer.mirror for _ in range(100)]
    assert buffer.n_mirrors == 100
    del mirrors
    gc.collect()
    assert buffer.n_mirrors == 0
    assert buffer.wait() == []


def test_a_forked_child_cancels_no_mirror_of_its_parents(buffer):
    mirror = buffer.mirror
    child = os.fork()
    if child == 0:
        del mirror
        gc.collect()
        os._exit(0)
    other = buffer.mirror
    os.waitpid(child, 0)
    assert buffer.n_mirrors == 2
    print("line", file=other)
    other.send_eof()
    mirror.send_eof()
    assert len(buffer.wait()) == 2


def test_each_pickling_has_a_seat_of_its_own(buffer):
    mirror = buffer.mirror
    first, second = pickle.loads(pickle.dumps(mirror)), pickle.loads(pickle.dumps(mirror))
    assert (first.worker, second.worker) == (0, 1)
    assert buffer.n_mirrors == 2, "the first pickle took the original's seat"
    print("one", file=first)
    first.send_eof()
    assert buffer.n_mirrors == 1
    second.send_error(ValueError("two"))
    assert sorted(end.end for end in buffer.wait()) == ["eof", "error"]
    print("the original may be used all the same", file=mirror)
    mirror.send_eof()
    assert [end.end for end in buffer.wait()] == ["eof"]
    assert len(said(buffer)) == 3


def test_a_worker_may_hand_its_mirror_on(buffer):
    def hands_on(mirror):
        process = multiprocessing.get_context("spawn").Process(target=workers.hello, args=(mirror,))
        process.start()
        process.join()
        mirror.send_eof()

    process = workers.start("fork", hands_on, buffer.mirror)
    assert [end.end for end in buffer.wait()] == ["eof"] * 2
    assert said(buffer) == ["hello world", "oh"]
    process.join()


def test_a_pickle_that_cannot_be_used_says_so_at_the_first_print():
    """Its buffer's process is gone. Where it is unpickled an exception would be lost: in a pool,
    say.
    """
    program = """
import linering, pickle, sys
sys.stdout.buffer.write(pickle.dumps(linering.LineProcBuffer().mirror))
"""
    pickled = subprocess.run([sys.executable, "-c", program], capture_output=True).stdout
    mirror = pickle.loads(pickled)
    with pytest.raises(OSError, match="cannot open the ring's descriptor"):
        print("line", file=mirror)


def test_a_seat_that_is_none_says_so_at_the_first_print():
    mirror = linering.LineProcMirror.from_environ({"LINERING_SEAT": "nonsense"})
    with pytest.raises(OSError, match="nonsense|seat"):
        print("line", file=mirror)


def test_after_an_eof_a_further_write_opens_the_mirror_again(buffer):
    mirror = buffer.mirror
    for text in ("first", "second"):
        print(text, file=mirror)
        mirror.send_eof()
        mirror.send_eof()
        (end,) = buffer.wait()
        assert (end.worker, end.end) == (0, "eof")
    with mirror:
        print("third")
    assert [end.worker for end in buffer.wait()] == [0]
    assert said(buffer) == ["first", "second", "third"]


def test_an_error_after_the_end_is_not_lost(buffer):
    mirror = buffer.mirror
    mirror.send_eof()
    mirror.send_error(ValueError("late"))
    assert [end.end for end in buffer.wait()] == ["error"]
    assert "ValueError: late" in said(buffer)[0]


def test_a_warning_ends_nothing_and_stands_between_its_lines(buffer):
    workers.warns(buffer.mirror)
    buffer.wait()
    begun, warning, after = buffer.read()
    assert (str(begun), warning.type, str(warning), str(after)) == (
        "begun",
        "warning",
        "UserWarning: careful",
        "after",
    )


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_killed_at_random_lose_no_line_and_delay_no_other(method):
    """Their lines have numbers: there are no gaps, whichever worker was killed wherever."""
    chance = random.Random(7)
    context = multiprocessing.get_context(method)
    buffer = linering.LineProcBuffer(1 << 20, policy="block")
    events = [context.Event() for _ in range(6)]
    processes = [
        context.Process(target=workers.prints_for_ever, args=(buffer.mirror, event))
        for event in events
    ]
    for process in processes:
        process.start()
    lines = {}
    doomed = list(zip(events, processes))
    for line in buffer.drain():
        if isinstance(line, linering.Line) and not line.unfinished:
            lines.setdefault(line.worker, []).append(str(line))
        if doomed and doomed[0][0].is_set() and chance.random() < 0.001:
            doomed.pop(0)[1].kill()
    ends = buffer.wait()
    assert [end.end for end in ends] == ["died"] * 6
    assert [end.lost for end in ends] == [0] * 6
    for worker, own in lines.items():
        assert own == [f"worker {worker} line {number}" for number in range(len(own))]
        assert len(own) >= 100
    for process in processes:
        process.join()


def test_a_buffer_is_read_by_its_own_process_alone(buffer):
    child = os.fork()
    if child == 0:
        code = 0
        for use in (buffer.read, buffer.wait, buffer.receive, lambda: next(iter(buffer.drain()))):
            try:
                use()
            except RuntimeError:
                continue
            code = 1
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(TypeError, match="send its mirror"):
        pickle.dumps(buffer)


def test_messages_travel_as_json():
    message = linering.GroupedMessage(ValueError("x"))
    again = linering.GroupedMessage.deserialize(json.loads(json.dumps(message.serialize())))
    assert again == message
    assert (again.type, again.data[-1]) == ("error", "ValueError: x")
    assert linering.GroupedMessage.deserialize({"something": "else"}) == {"something": "else"}
    assert linering.GroupedMessage("text").data == ("text",)
    assert linering.GroupedMessage(["a", 1]).data == ("a", "1")
    assert linering.GroupedMessage(UserWarning("w")).type == "warning"
    assert linering.GroupedMessage().data == ()
    assert "error" in repr(message)


def test_a_mirror_is_a_file(buffer):
    mirror = buffer.mirror
    assert (mirror.isatty(), mirror.readable(), mirror.writable(), mirror.seekable()) == (
        False,
        True,
        True,
        False,
    )
    for use in (mirror.seek, mirror.tell):
        with pytest.raises(io.UnsupportedOperation):
            use()
    assert mirror.write("grün") == 4
    assert mirror.read() == "grün"
    mirror.clear()
    assert mirror.read() == ""
    mirror.write("next")
    mirror.new_line()
    mirror.new_line()
    mirror.writelines(["a\n", "b\n"])
    mirror.close()
    buffer.wait()
    assert said(buffer) == ["next", "a", "b"]
    with pytest.raises(NotImplementedError, match="print into its mirror"):
        buffer.write("x")

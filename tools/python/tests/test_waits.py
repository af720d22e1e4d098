"""Writers that wait for room in a full ring: what others can do meanwhile, and how the wait
ends.
"""

import contextlib
import io
import logging
import signal
import subprocess
import sys
import threading

import pytest

import linering

LINES = 16


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(100, policy="block", lines=LINES)


def fill(mirror):
    for number in range(LINES):
        print("line", number, file=mirror)


@contextlib.contextmanager
def signals(handler):
    """Sends this thread signals, over and over, until the block ends."""
    over = threading.Event()

    def sends():
        while not over.is_set():
            signal.pthread_kill(receiver, signal.SIGUSR1)

    receiver = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, handler)
    sending = threading.Thread(target=sends)
    sending.start()
    try:
        yield
    finally:
        over.set()
        sending.join()
        signal.signal(signal.SIGUSR1, before)


def read_after(event, buffer):
    """A thread that reads everything once the event has come, and what it reads."""
    lines = []

    def reads():
        event.wait()
        lines.extend(buffer.drain())

    reading = threading.Thread(target=reads)
    reading.start()
    return reading, lines


def waits_for_room(mirror):
    """Whether this thread is in the middle of a write."""
    return mirror._is_writing()


def test_a_handler_that_prints_while_a_write_waits_changes_nothing_for_that(buffer):
    """Others run on, it goes on waiting, and it has the timeout that it had."""
    other = linering.LineProcBuffer(10).mirror
    mirror = buffer.new_mirror(timeout=0.05)
    fill(mirror)

    def prints(*_):
        if waits_for_room(mirror):
            print("handler", file=other)

    with signals(prints), pytest.raises(TimeoutError, match="stayed full for 50ms"):
        print("one too many", file=mirror)


def test_others_run_on_while_a_write_waits_whose_thread_printed_in_a_handler(buffer):
    other = linering.LineProcBuffer(10).mirror
    mirror, has_printed = buffer.mirror, threading.Event()
    fill(mirror)

    def prints(*_):
        if waits_for_room(mirror):
            print("handler", file=other)
            has_printed.set()

    reading, lines = read_after(has_printed, buffer)
    with signals(prints):
        print("one too many", file=mirror)
    mirror.send_eof()
    reading.join()
    assert lines[-1] == "one too many"


def test_a_mirror_that_is_ended_in_the_middle_of_a_write_ends_after_it(buffer):
    mirror, was_ended = buffer.mirror, threading.Event()
    fill(mirror)

    def ends(*_):
        if waits_for_room(mirror) and not was_ended.is_set():
            mirror.send_eof()
            was_ended.set()

    reading, lines = read_after(was_ended, buffer)
    with signals(ends):
        print("the last", file=mirror)
    reading.join()
    assert lines[-1] == "the last"
    assert [end.end for end in buffer.wait()] == ["eof"]


def test_a_handler_may_look_at_the_mirror_whose_write_waits(buffer):
    mirror = buffer.mirror
    fill(mirror)
    found = []

    def looks(*_):
        if waits_for_room(mirror) and not found:
            mirror.flush()
            mirror.new_line()
            mirror.clear()
            found.append(mirror.read())
            buffer.read()

    with signals(looks):
        print("one too many", file=mirror)
    assert found == [""]
    assert buffer.read()[-1] == "one too many"
    mirror.send_eof()


def test_what_a_handler_raises_gives_up_all_lines_of_the_write(buffer):
    mirror = buffer.mirror
    fill(mirror)
    raised = []

    def raises_once(*_):
        if waits_for_room(mirror) and not raised.append(1) and len(raised) == 1:
            raise LookupError("enough")

    with signals(raises_once), pytest.raises(LookupError, match="enough"):
        mirror.write("given up\nthis too\nand this\n")
    mirror.send_eof()
    assert [line for line in buffer.drain() if line.kind == "line"] == [
        f"line {number}" for number in range(LINES)
    ]


def test_nobody_waits_for_who_ends_the_line_of_a_thread_that_is_gone(buffer):
    """Another thread's first write does it, and waits for room; the one that would make room prints
    first.
    """
    mirror = buffer.mirror
    print("line 0", file=mirror)
    gone = threading.Thread(target=mirror.write, args=("begun",))
    gone.start()
    gone.join()
    for number in range(1, LINES):
        print("line", number, file=mirror)
    has_begun = threading.Event()

    def prints():
        has_begun.set()
        print("another", file=mirror)

    printing = threading.Thread(target=prints)
    printing.start()
    has_begun.wait()
    while printing.is_alive():
        # As the reader's thread prints too.
        mirror.stderr.flush()
        buffer.read()
    printing.join()
    mirror.send_eof()
    buffer.wait()
    assert sorted(buffer.read())[:2] == ["another", "begun"]


def test_a_record_that_found_no_room_leaves_its_stream_to_no_line(buffer):
    mirror = buffer.new_mirror(timeout=0)
    fill(mirror)
    logger = logging.Logger("full")
    logger.addHandler(linering.LogHandler(mirror))
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        logger.error("no room")
    assert "TimeoutError" in errors.getvalue()
    buffer.read()
    print("printed", file=mirror)
    mirror.send_eof()
    buffer.wait()
    assert buffer.read()[-1] == "printed"
    assert (buffer.read()[-1].stream, buffer.read()[-1].level) == ("stdout", None)


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_captured_descriptors_are_put_back_while_another_thread_makes_room(is_interrupted):
    """What is still in the pipes waits for room, and the thread that puts them back waits for that.

    Also when a signal's handler raises between the making of a capture and its use: then it is only
    collected.
    """
    block = """
with linering.capture(mirror, stderr=False):
    prints()
"""
    if is_interrupted:
        block = """
capture = linering._linering.Capture(mirror, False)
prints()
del capture
"""
    program = f"""
import linering, os, threading
buffer = linering.LineProcBuffer(100, policy="block", lines={LINES})
mirror = buffer.mirror
lines = []
def reads():
    written.wait()
    lines.extend(buffer.drain())
written = threading.Event()
reading = threading.Thread(target=reads)
reading.start()
def prints():
    os.write(1, b"line\\n" * {2 * LINES})
    written.set()
{block}
mirror.send_eof()
reading.join()
print(len(lines))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{2 * LINES}\n", "")


@pytest.mark.parametrize("seconds", [1e18, 1e19, 2.0**64 / 1000])
def test_a_timeout_of_ages_is_one_all_the_same(buffer, seconds):
    mirror = buffer.mirror
    mirror.timeout = seconds
    assert mirror.timeout > 1e15
    mirror.timeout = None
    assert mirror.timeout is None


def test_a_handler_that_raises_nothing_ends_no_wait_of_the_reader(buffer):
    mirror, came = buffer.mirror, threading.Event()

    def ends():
        came.wait()
        print("line", file=mirror)
        mirror.send_eof()

    ending = threading.Thread(target=ends)
    ending.start()
    count = []
    with signals(lambda *_: count.append(1) or len(count) < 100 or came.set()):
        assert [end.end for end in buffer.wait()] == ["eof"]
    ending.join()
    assert buffer.read() == ("line",)


def test_a_mirror_that_is_collected_in_the_middle_of_a_line_waits_for_room_and_others_run(buffer):
    mirror, is_going = buffer.mirror, threading.Event()
    fill(mirror)
    mirror.write("begun")
    reading, lines = read_after(is_going, buffer)
    is_going.set()
    del mirror
    reading.join()
    assert lines[-1] == "begun"

"""A full ring: losses are counted and told in their place, and waits for room end."""

import os
import subprocess
import sys
import threading

import pytest
import workers

import linering


def test_losses_are_told_in_their_place_and_counted():
    buffer = linering.LineProcBuffer(2, lines=64, policy="drop")
    workers.lines(buffer.mirror, 100)
    lines = list(buffer.drain())
    assert lines[:64] == [f"line {number}" for number in range(64)]
    (note,) = lines[64:]
    assert (note, note.kind, note.missing) == (
        "-- worker 0: 36 lines lost, ring full --",
        "lost",
        36,
    )
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
    process = workers.start("fork", workers.lines, buffer.mirror, 2000)
    buffer.wait()
    process.join()
    assert list(buffer.seen) == [f"line {number}" for number in range(2000)]
    assert buffer.read()[-1] == "line 1999"


def test_a_writer_of_a_full_ring_lets_other_threads_run():
    """The reader is a thread of the same process: a writer that kept the interpreter lock would
    wait for ever.
    """
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


@pytest.mark.parametrize("lines", [0, -1, 1.5, "x", [], True])
@pytest.mark.parametrize("policy", ["block", "overwrite"])
def test_a_number_of_lines_that_is_none_is_refused(lines, policy):
    with pytest.raises(ValueError, match="lines is .*, expected None or a positive integer"):
        linering.LineProcBuffer(10, policy=policy, lines=lines)

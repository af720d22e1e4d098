"""Stops, and waits that end before their mirrors do."""

import gc
import multiprocessing
import signal
import subprocess
import sys
import threading

import pytest
import workers

import linering


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(10_000)


def said(buffer):
    return [str(line) for line in buffer.read()]


def test_stop_all_mirrors_has_the_next_print_raise(buffer):
    ready = multiprocessing.get_context("fork").Event()
    process = workers.start("fork", workers.prints_until_stopped, buffer.mirror, ready)
    ready.wait()
    buffer.stop_all_mirrors()
    (end,) = buffer.wait()
    process.join()
    assert end.end == "error"
    assert "Stopped: the reader told every mirror to stop" in str(buffer.read()[-1])
    assert issubclass(linering.Stopped, StopIteration)
    with pytest.raises(linering.Stopped):
        print("still stopped", file=buffer.mirror)
    gc.collect()
    buffer.wait()
    buffer.reset_states()
    mirror = buffer.mirror
    print("afresh", file=mirror)
    mirror.send_eof()
    buffer.wait()
    assert buffer.read()[-1] == "afresh"


def test_what_was_begun_when_a_mirror_was_stopped_comes_before_its_error(buffer):
    mirror = buffer.mirror
    mirror.write("begun")
    buffer.stop_all_mirrors()
    with pytest.raises(linering.Stopped) as stopped:
        mirror.write(" and\n")
    mirror.send_error(stopped.value)
    buffer.wait()
    begun, error = buffer.read()
    assert (begun, begun.unfinished, error.type) == ("begun", True, "error")


def test_reset_states_refuses_while_mirrors_are_open(buffer):
    mirror = buffer.mirror
    with pytest.raises(TypeError, match="1 mirrors have not ended"):
        buffer.reset_states()
    mirror.send_eof()
    buffer.wait()
    buffer.reset_states()


def test_force_stop_ends_a_wait_whatever_the_mirrors_do(buffer):
    mirror = buffer.mirror
    print("before", file=mirror)
    threading.Timer(0.05, buffer.force_stop).start()
    buffer.wait()
    assert buffer.n_mirrors == 0
    assert said(buffer) == ["before"]
    assert buffer.receive() is False
    buffer.reset_states()
    again = buffer.mirror
    print("after", file=again)
    again.send_eof()
    assert len(buffer.wait()) == 1
    assert said(buffer) == ["before", "after"]


def test_wait_with_a_timeout_says_what_it_waits_for(buffer):
    opened, _kept = buffer.mirror, buffer.mirror
    print("line", file=opened)
    with pytest.raises(
        TimeoutError, match="1 mirrors are open and 1 seats unopened after 0.01 s, expected none"
    ):
        buffer.wait(timeout=0.01)
    assert said(buffer) == ["line"]


def test_receive_takes_one_at_a_time(buffer):
    mirror = buffer.mirror
    print("one\ntwo", file=mirror)
    mirror.send_eof()
    assert buffer.receive() is True
    assert list(buffer.storage) == ["one"]
    assert buffer.receive() is True
    assert buffer.receive() is False
    assert list(buffer.storage) == ["one", "two"]


def test_ctrl_c_interrupts_a_wait_and_loses_nothing(tmp_path):
    program = """
import linering, os, signal, sys, threading
buffer = linering.LineProcBuffer(1000)
mirror = buffer.mirror
# Not before the block that expects it.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
child = os.fork()
if child == 0:
    for number in range(1000):
        print(number, file=mirror)
    print("ready", flush=True)
    signal.pause()
try:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    buffer.wait()
except KeyboardInterrupt:
    os.kill(child, signal.SIGKILL)
    assert [end.end for end in buffer.wait()] == ["died"]
    assert buffer.read() == tuple(map(str, range(1000))), buffer.read()
    print("interrupted", flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert (out, process.returncode) == ("interrupted\n", 0)

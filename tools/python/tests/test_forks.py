"""What a fork's child has of its parent, and what it has not."""

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading

import pytest
import workers

import linering


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(100)


def in_a_child(work):
    """Runs it in a fork's child; whether it came to its end."""
    child = os.fork()
    if child == 0:
        code = 1
        # A child that hangs is killed.
        signal.alarm(20)
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def test_a_child_is_refused_the_lines_that_a_thread_of_its_parent_is_about_to_read(buffer):
    """That thread has the reader locked, and will never unlock it in the child."""
    mirror = buffer.mirror
    print("line", file=mirror)
    lines = iter(buffer.drain())
    reading = threading.Thread(target=buffer.wait)
    reading.start()

    def is_refused():
        with pytest.raises(RuntimeError):
            next(lines)

    codes = [in_a_child(is_refused) for _ in range(20)]
    mirror.send_eof()
    reading.join()
    assert all(codes)


def test_a_child_is_refused_the_lines_though_a_thread_of_its_parent_was_storing_some():
    """The buffer's own lock is held for ever in the child."""

    class Waits(linering.LineProcBuffer):
        def parse_lines(self, lines):
            storing.set()
            may_go_on.wait()

    def is_refused():
        for use in (buffer.read, buffer.wait, buffer.receive, buffer.ends, buffer.clear):
            with pytest.raises(RuntimeError, match="this buffer is read by process"):
                use()

    storing, may_go_on = threading.Event(), threading.Event()
    buffer = Waits(10)
    with buffer.mirror as mirror:
        print("line", file=mirror)
    reading = threading.Thread(target=buffer.read)
    reading.start()
    storing.wait()
    came_to_its_end = in_a_child(is_refused)
    may_go_on.set()
    reading.join()
    assert came_to_its_end


@pytest.mark.parametrize("use", ["read", "flush", "new_line", "clear"])
def test_what_the_parent_has_begun_is_not_the_childs(buffer, use):
    mirror = buffer.mirror
    mirror.write("parent's ")

    def child():
        assert not getattr(mirror, use)()
        print("child", file=mirror)
        mirror.send_eof()

    assert in_a_child(child)
    print("line", file=mirror)
    mirror.send_eof()
    buffer.wait()
    assert buffer.read() == ("child", "parent's line")


@pytest.mark.parametrize("more", ["", "own "])
def test_what_the_parent_has_sent_ahead_is_not_the_childs(buffer, more):
    mirror = buffer.mirror
    print("parent's ", end="", file=mirror, flush=True)
    mirror.write(more)

    def child():
        mirror.write("ch")
        assert mirror.read() == "ch"
        mirror.flush()
        print("ild", file=mirror)
        mirror.send_eof()

    assert in_a_child(child)
    assert buffer.read() == ("child", "parent's ")
    print("line", file=mirror)
    mirror.send_eof()
    buffer.wait()
    assert buffer.read() == ("child", f"parent's {more}line")


def test_a_child_can_give_up_no_seat_of_its_parents(buffer):
    mirror = buffer.mirror
    (seat,) = buffer._book.seats
    assert in_a_child(lambda: seat.reserved.cancel() and os._exit(1))
    assert buffer.n_mirrors == 1
    assert seat.reserved.cancel(), "its parent can"
    del mirror


def test_forks_leave_no_descriptor_behind(buffer):
    gc.collect()
    before = workers.descriptors()
    mirrors = [buffer.mirror for _ in range(3)]
    for _ in range(10):
        assert in_a_child(lambda: None)
    assert workers.descriptors() - before, "each tells of a child's death"
    assert [end.end for end in buffer.wait()] == ["died"] * 3
    del mirrors
    assert not workers.descriptors() - before


def test_a_child_has_one_descriptor_more_and_its_own_child_too(buffer):
    """More of them would be more with each generation of a server that forks."""
    mirror = buffer.mirror
    before = workers.descriptors()

    def grandchild():
        assert len(workers.descriptors() - before) == 1

    def child():
        assert len(workers.descriptors() - before) == 1
        assert in_a_child(grandchild)

    for _ in range(3):
        assert in_a_child(child)
    del mirror
    assert in_a_child(lambda: not workers.descriptors() - before or os._exit(1))


def test_a_fork_for_which_there_is_no_descriptor_left_is_made_all_the_same():
    program = """
import linering, os, resource
buffer = linering.LineProcBuffer(10)
mirror = buffer.mirror
resource.setrlimit(resource.RLIMIT_NOFILE, (0, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
print(buffer.n_mirrors)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_threads_that_fork_at_the_same_time_tell_their_children_apart():
    """A hook of the program has another thread fork in the middle of this one's fork."""
    program = """
import asyncio, logging, os, threading
def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
def hook():
    if threading.current_thread() is threading.main_thread():
        other = threading.Thread(target=fork)
        other.start()
        other.join()
os.register_at_fork(before=hook)
import linering
buffer = linering.LineProcBuffer(10)
mirror = buffer.mirror
fork()
print([end.end for end in buffer.wait()])
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("['died']\n", "")


@pytest.fixture
def alive(children):
    """Forks a child that does nothing, until the test is over."""

    def fork():
        child = os.fork()
        if child == 0:
            while True:
                signal.pause()
        children.append(child)

    return fork


def test_a_seat_that_two_children_inherited_is_kept_while_one_of_them_lives(buffer, alive):
    mirror = buffer.mirror
    alive()
    assert in_a_child(lambda: None)
    with pytest.raises(TimeoutError, match="1 seats unopened"):
        buffer.wait(timeout=0.01)
    mirror.send_eof()


def test_a_seat_that_a_pickle_took_is_not_waited_for_though_a_living_child_inherited_it(
    buffer, alive
):
    """A pool forks workers, which inherit all mirrors, and sends them their own in pickles."""
    mirror = buffer.mirror
    alive()
    pickle.loads(pickle.dumps(mirror)).send_eof()
    assert buffer.n_mirrors == 0
    assert [end.end for end in buffer.wait()] == ["eof"]
    assert mirror.read() == ""


def test_a_child_that_prints_into_a_mirror_that_its_parent_had_handed_over_has_a_seat_of_its_own(
    buffer,
):
    mirror = buffer.mirror
    handed_over = pickle.loads(pickle.dumps(mirror))

    def child():
        print("child", file=mirror)
        mirror.send_eof()

    assert in_a_child(child)
    handed_over.send_eof()
    assert [(end.worker, end.end) for end in buffer.wait()] == [(0, "eof"), (1, "eof")]
    assert [line.worker for line in buffer.read()] == [1]

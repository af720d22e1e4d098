"""Mirrors that were handed over and never opened: a wait ends as soon as no process is left that
could open them.
"""

import asyncio
import concurrent.futures
import contextlib
import gc
import hashlib
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest
import workers

import linering

METHODS = multiprocessing.get_all_start_methods()
each_method = pytest.mark.parametrize("method", METHODS)
OTHERS = [method for method in METHODS if method != "fork"]


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(100)


def ends(buffer):
    return [end.end for end in buffer.wait()]


def submit_eight(executor, buffer):
    """Tasks of which the first kills its worker: the pool may break before all are there."""
    futures = []
    with contextlib.suppress(concurrent.futures.process.BrokenProcessPool):
        for number in range(8):
            futures.append(executor.submit(workers.kills_itself, buffer.mirror, number == 0))
    return futures


def test_a_pool_that_broke_holds_nothing_up(buffer):
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        futures = submit_eight(executor, buffer)
        with pytest.raises(concurrent.futures.process.BrokenProcessPool):
            futures[0].result()
        assert buffer.n_mirrors <= 8
        found = buffer.wait()
    assert "died" in [end.end for end in found]
    assert len(found) <= 8


@pytest.mark.parametrize("method", OTHERS)
def test_a_pool_that_broke_holds_nothing_up_however_its_workers_were_started(buffer, method):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        futures = submit_eight(executor, buffer)
        concurrent.futures.wait(futures)
        assert "died" in ends(buffer)


def test_tasks_that_a_broken_pool_still_has_in_its_queue_hold_nothing_up(buffer):
    """The thread that pickles them waits for room in a pipe of which no process reads."""
    begun, may_die = (multiprocessing.get_context("fork").Event() for _ in range(2))
    context = multiprocessing.get_context("fork")
    executor = concurrent.futures.ProcessPoolExecutor(
        1, mp_context=context, initializer=workers.keep, initargs=(begun, may_die)
    )
    with executor:
        futures = [executor.submit(workers.dies_when_it_may)]
        begun.wait()
        for _ in range(2):
            futures.append(executor.submit(workers.carries, buffer.mirror, bytes(1 << 20)))
        may_die.set()
        concurrent.futures.wait(futures)
        assert set(ends(buffer)) <= {"never opened", "died"}


def test_a_broken_pool_holds_nothing_up_though_another_child_lives(buffer):
    """A manager's process, say, which has inherited the pool's pipes."""
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        with context.Manager():
            submit_eight(executor, buffer)
            assert "died" in ends(buffer)


def unpicklable():
    raise AttributeError("a function that was typed in a notebook")


class Untypable:
    """Unpickling it fails in the child."""

    def __reduce__(self):
        return unpicklable, ()


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("before", [True, False])
def test_a_child_that_dies_while_it_unpickles(buffer, method, before, capfd):
    """Before it comes to the mirror, or behind it."""
    things = (Untypable(), buffer.mirror) if before else (buffer.mirror, Untypable())
    process = workers.start(method, workers.carries, *things)
    (end,) = buffer.wait()
    assert (end.end, end.is_failure) == ("died", True)
    process.join()
    capfd.readouterr()


@pytest.mark.parametrize("method", OTHERS)
def test_a_child_that_is_killed_after_its_start(buffer, method):
    process = workers.start(method, workers.hello, buffer.mirror)
    process.kill()
    (end,) = buffer.wait()
    # It may have come further.
    assert end.end in ("died", "eof")
    process.join()


@pytest.mark.parametrize("method", OTHERS)
def test_a_child_that_was_killed_and_is_forgotten(buffer, method):
    process = workers.start(method, workers.hello, buffer.mirror)
    process.kill()
    process.join()
    del process
    gc.collect()
    (end,) = buffer.wait()
    assert end.end in ("died", "eof")


def test_how_a_child_exited_that_never_opened_its_mirror_is_told(buffer, capfd):
    process = workers.start("spawn", workers.carries, Untypable(), buffer.mirror)
    (end,) = buffer.wait()
    assert (end.end, end.exit) == ("died", 1)
    process.join()
    capfd.readouterr()


@pytest.mark.parametrize("claims", [True, False])
def test_a_child_that_is_not_quite_dead_has_its_exit_told_when_it_is(buffer, claims):
    """What it had open is closed, by which a death is seen, a while before it has exited."""
    receives, holds = multiprocessing.get_context("spawn").Pipe(duplex=False)
    lingers = workers.Lingers(receives)
    things = (buffer.mirror, lingers) if claims else (lingers, buffer.mirror)
    process = workers.start("spawn", workers.carries, *things)
    receives.close()
    # Its main thread ends after the other one has begun, and the sentinel is closed by that.
    assert multiprocessing.connection.wait([process.sentinel])
    while process_state(process) != "Z":
        time.sleep(0)
    with pytest.raises(TimeoutError):
        buffer.wait(timeout=0.1)
    holds.close()
    (end,) = buffer.wait()
    assert (end.end, end.exit) == ("died", 7)
    process.join()


def process_state(process):
    with open(f"/proc/{process.pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("keeps", [True, False])
def test_a_start_whose_pickling_fails_behind_the_mirror(buffer, method, keeps):
    """Also while a variable still has what was raised, with all its frames."""
    context = multiprocessing.get_context(method)
    kept = None
    with pytest.raises(TypeError, match="pickle"):
        try:
            context.Process(target=workers.carries, args=(buffer.mirror, threading.Lock())).start()
        except TypeError as error:
            kept = error if keeps else None
            raise
    (end,) = buffer.wait()
    assert (end.end, end.is_failure) == ("never opened", True)
    assert (kept is None) == (not keeps)


@each_method
def test_a_task_whose_pickling_fails_behind_the_mirror(buffer, method):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        future = executor.submit(workers.carries, buffer.mirror, threading.Lock())
        with pytest.raises(TypeError, match="pickle"):
            future.result()
        assert ends(buffer) == ["never opened"]
    with context.Pool(1) as pool:
        result = pool.apply_async(workers.carries, (buffer.mirror, threading.Lock()))
        with pytest.raises(TypeError, match="pickle"):
            result.get()
        assert ends(buffer) == ["never opened"]


def test_a_connection_whose_pickling_fails_behind_the_mirror(buffer):
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()
    process = context.Process(target=workers.dies_with, args=(theirs,))
    process.start()
    with pytest.raises(TypeError, match="pickle"):
        mine.send((buffer.mirror, threading.Lock()))
    assert ends(buffer) == ["never opened"]
    process.kill()
    process.join()


def test_a_program_that_is_not_there(buffer):
    with pytest.raises(FileNotFoundError):
        subprocess.Popen(["/no/such"], env=buffer.mirror.environ())
    assert ends(buffer) == ["never opened"]


@pytest.mark.parametrize("kept", [True, False])
def test_a_program_that_opens_no_mirror(buffer, kept):
    """Also while a variable still has its environment."""
    environ = buffer.mirror.environ()
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"], env=environ)
    if not kept:
        del environ
    (end,) = buffer.wait()
    assert end.end == "died" and end.exit in (3, None)
    process.wait()


def test_a_program_that_opens_no_mirror_and_has_a_copy_of_an_environment(buffer):
    """A variable still has that: the program itself is seen."""
    environ = {**buffer.mirror.environ(), "ANOTHER": "1"}
    process = subprocess.Popen(["/bin/cat"], env=environ, stdin=subprocess.PIPE)
    with pytest.raises(TimeoutError, match="1 seats unopened"):
        buffer.wait(timeout=0.5)
    process.stdin.close()
    assert ends(buffer) == ["died"]
    process.wait()
    del environ


def test_a_program_whose_own_child_opens_the_mirror_is_waited_for(buffer, tmp_path):
    """The environment is its child's too, though it is dead itself by then."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    program = (
        "import linering, sys; open(sys.argv[1]).read()\n"
        "with linering.LineProcMirror.from_environ(): print('x')"
    )
    command = ["/bin/sh", "-c", '"$0" -c "$1" "$2" & exit', sys.executable, program, str(gate)]
    subprocess.Popen(command, env=buffer.mirror.environ()).wait()
    with pytest.raises(TimeoutError, match="1 seats unopened"):
        buffer.wait(timeout=0.5)
    gate.write_text("go")
    assert ends(buffer) == ["eof"]
    assert buffer.read() == ("x",)


def test_an_environment_that_is_kept_may_still_be_given_to_a_program(buffer):
    environ = buffer.mirror.environ()
    copied = {**environ, "ANOTHER": "1"}
    del environ
    with pytest.raises(TimeoutError, match="1 seats unopened"):
        buffer.wait(timeout=0.3)
    del copied
    assert ends(buffer) == ["never opened"]


def test_an_environment_of_this_process_may_be_given_to_a_program(buffer, monkeypatch):
    for name, value in buffer.mirror.environ().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TimeoutError, match="1 seats unopened"):
        buffer.wait(timeout=0.3)
    program = "import linering\nwith linering.LineProcMirror.from_environ(): print('x')"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert ends(buffer) == ["eof"]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("method", [None, *METHODS])
def test_a_pickle_that_is_thrown_away_changes_nothing(buffer, method, times):
    """`joblib.hash` makes such ones."""
    mirror = buffer.mirror
    for _ in range(times):
        hashlib.sha256(pickle.dumps(mirror)).digest()
    if method is None:
        workers.hello(mirror)
    else:
        workers.start(method, workers.hello, mirror).join()
    assert ends(buffer) == ["eof"]


@each_method
def test_a_worker_may_pickle_its_mirror_and_throw_that_away(buffer, method):
    process = workers.start(method, workers.pickles_it_for_itself, buffer.mirror)
    assert ends(buffer) == ["eof"]
    process.join()


def test_the_first_that_uses_a_seat_has_it_the_mirror_or_its_pickle(buffer):
    mirror = buffer.mirror
    pickled = pickle.loads(pickle.dumps(mirror))
    assert buffer.n_mirrors == 1
    print("original", file=mirror)
    print("pickle", file=pickled)
    assert sorted((str(line), line.worker) for line in buffer.read()) == [
        ("original", 1), ("pickle", 0),
    ]  # fmt: skip
    mirror.send_eof()
    pickled.send_eof()
    assert ends(buffer) == ["eof"] * 2


def test_two_unpicklings_of_one_pickle_have_a_seat_each(buffer):
    data = pickle.dumps(buffer.mirror)
    first, second = pickle.loads(data), pickle.loads(data)
    assert (first.worker, second.worker) == (0, 1)
    first.send_eof()
    assert buffer.n_mirrors == 1
    second.send_eof()
    assert ends(buffer) == ["eof"] * 2


def test_a_queue_that_is_filled_before_its_reader_is_started(buffer):
    """No process is there that could open it, and it is waited for all the same."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    queue.put(buffer.mirror)
    with pytest.raises(TimeoutError, match="1 seats unopened"):
        buffer.wait(timeout=0.1)
    process = context.Process(target=lambda: workers.hello(queue.get()))
    process.start()
    assert ends(buffer) == ["eof"]
    process.join()


@each_method
def test_a_worker_that_dies_before_its_first_print(buffer, method):
    """It has the mirror and has not used it."""
    context = multiprocessing.get_context(method)
    mine, theirs = context.Pipe()
    process = context.Process(target=workers.dies_with, args=(theirs,))
    process.start()
    mine.send(buffer.mirror)
    assert mine.recv() == 0
    with pytest.raises(TimeoutError, match="0 mirrors are open and 1 seats unopened"):
        buffer.wait(timeout=0.1)
    mine.send("go")
    assert ends(buffer) == ["died"]
    process.join()


@each_method
def test_a_process_that_only_carries_a_mirror_is_no_worker(buffer, method):
    """A manager, a broker or a cache: it goes on living."""
    context = multiprocessing.get_context(method)
    mine, theirs = context.Pipe()
    process = context.Process(target=workers.keeps_until_told, args=(theirs,))
    process.start()
    mine.send(buffer.mirror)
    assert mine.recv() == "has it"
    assert buffer._ring.waiting_for() == (1, 0)
    mine.send("go")
    worker = mine.recv()
    assert worker.worker == 0
    workers.hello(worker)
    assert ends(buffer) == ["eof"]
    mine.send("end")
    process.join()


def test_a_mirror_in_a_managers_dict(buffer):
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        shared = manager.dict()
        shared["mirror"] = buffer.mirror
        assert buffer._ring.waiting_for() == (1, 0)
        process = workers.start("spawn", workers.hello, shared["mirror"])
        assert ends(buffer) == ["eof"]
        process.join()
        # A second one has a seat of its own.
        assert shared["mirror"].worker == 1
        assert ends(buffer) == ["eof"]


def test_a_carrier_that_dies_is_told(buffer):
    context = multiprocessing.get_context("spawn")
    manager = context.Manager()
    # Kept: the manager drops a dictionary whose proxy is gone, and the mirror in it.
    kept = manager.dict()
    kept["mirror"] = buffer.mirror
    os.kill(manager._process.pid, signal.SIGKILL)
    assert ends(buffer) == ["died"]
    manager._process.join()


def test_one_mirror_for_all_tasks_of_a_pool_whose_workers_die(buffer):
    context = multiprocessing.get_context("fork")
    mirror = buffer.mirror
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        with contextlib.suppress(concurrent.futures.process.BrokenProcessPool):
            for number in range(4):
                executor.submit(workers.kills_itself, mirror, number == 0)
    assert set(ends(buffer)) <= {"died", "eof", "never opened"}


def test_drains_end_too(buffer):
    def starts():
        with pytest.raises(FileNotFoundError):
            subprocess.Popen(["/no/such"], env=buffer.mirror.environ())

    async def drains():
        return [line async for line in buffer.drain()]

    starts()
    assert list(buffer.drain()) == []
    starts()
    assert asyncio.run(drains()) == []
    assert ends(buffer) == ["never opened"] * 2


def test_a_wait_says_it_within_a_second(buffer):
    """Beside one that knows it at once, on the same machine: no more than a second more."""
    began = time.monotonic()
    buffer.wait()
    at_once = time.monotonic() - began
    with pytest.raises(FileNotFoundError):
        subprocess.Popen(["/no/such"], env=buffer.mirror.environ())
    began = time.monotonic()
    buffer.wait()
    assert time.monotonic() - began < at_once + 1


def test_a_hand_over_leaves_no_descriptor_behind(buffer):
    gc.collect()
    before = workers.descriptors()
    for _ in range(20):
        pickle.loads(pickle.dumps(buffer.mirror)).send_eof()
        held = pickle.loads(pickle.dumps(buffer.mirror))
        del held
        buffer.mirror.environ()
    ends(buffer)
    gc.collect()
    assert not workers.descriptors() - before


@each_method
@pytest.mark.parametrize("order", ["wait first", "join first"])
@pytest.mark.parametrize("work", [workers.prints_without_end, workers.does_nothing])
def test_a_worker_that_ends_as_it_should_is_no_failure(buffer, method, order, work):
    process = workers.start(method, work, buffer.mirror)
    if order == "join first":
        process.join()
    (end,) = buffer.wait()
    assert not end.is_failure, end
    process.join()


@each_method
@pytest.mark.parametrize(
    ("work", "arguments", "code"),
    [
        (workers.raises_outside_of_a_block, (), 1),
        (workers.exits_outside_of_a_block, (3,), 3),
    ],
)
@pytest.mark.parametrize("order", ["wait first", "join first"])
def test_a_worker_that_ends_with_an_error_is_a_failure(
    buffer, method, work, arguments, code, order, capfd
):
    process = workers.start(method, work, buffer.mirror, *arguments)
    if order == "join first":
        process.join()
    (end,) = buffer.wait()
    process.join()
    assert process.exitcode == code
    assert end.end == "died" and end.is_failure
    capfd.readouterr()


@each_method
def test_a_worker_that_exits_with_zero_outside_of_a_block_is_no_failure(buffer, method):
    process = workers.start(method, workers.exits_outside_of_a_block, buffer.mirror, 0)
    process.join()
    assert ends(buffer) == ["eof"]


def test_a_mirror_that_a_forked_child_was_not_given_stays_its_parents(buffer):
    """Its normal end ends its own mirror alone."""
    own, other = buffer.mirror, buffer.mirror
    process = workers.start("fork", workers.does_nothing, own)
    process.join()
    assert buffer.n_mirrors == 1
    workers.hello(other)
    assert ends(buffer) == ["eof"] * 2


@each_method
@pytest.mark.parametrize(
    ("code", "end", "text"),
    [
        (0, "eof", None),
        (None, "eof", None),
        (3, "error", "SystemExit: 3"),
        ("no", "error", "SystemExit: no"),
    ],
)
def test_an_exit_in_the_block(buffer, method, code, end, text, capfd):
    process = workers.start(method, workers.exits_with, buffer.mirror, code)
    assert ends(buffer) == [end]
    process.join()
    assert list(map(str, buffer.read())) == ["x"] + ([text] if text else [])
    capfd.readouterr()


def test_what_a_buffer_says_of_itself(buffer):
    kept, taken = buffer.mirror, buffer.mirror
    pickled = pickle.dumps(taken)
    environ = buffer.mirror.environ()
    with buffer.mirror:
        found = repr(buffer)
    assert found.startswith("<LineProcBuffer: 0 mirrors open, 4 seats unopened: ")
    for words in (
        "worker 0, this process has the mirror and has not used it, ",
        "worker 1, a pickle of it is somewhere, ",
        "worker 2, handed over in an environment, ",
    ):
        assert words in found
    print("x", file=kept)
    found = repr(buffer)
    assert "1 mirrors open, 2 seats" in found
    assert f"worker 0, open in process {os.getpid()}, which began " in found
    buffer.force_stop()
    assert repr(buffer) == "<LineProcBuffer, stopped>"
    del environ, pickled

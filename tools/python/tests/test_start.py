"""Every way of starting workers."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import subprocess
import sys
import threading
import venv
from pathlib import Path

import pytest
import workers

import linering

METHODS = multiprocessing.get_all_start_methods()
EXPECTED = ["hello world", "oh"]


def said(buffer):
    return sorted(map(str, buffer.read()))


@pytest.fixture
def buffer():
    return linering.LineProcBuffer(100)


@pytest.mark.parametrize("method", METHODS)
def test_processes(buffer, method):
    context = multiprocessing.get_context(method)
    processes = [context.Process(target=workers.hello, args=(buffer.mirror,)) for _ in range(3)]
    for process in processes:
        process.start()
    ends = buffer.wait()
    assert [end.end for end in ends] == ["eof"] * 3
    assert sorted(end.worker for end in ends) == [0, 1, 2]
    assert said(buffer) == sorted(EXPECTED * 3)
    for process in processes:
        process.join()


@pytest.mark.parametrize("method", METHODS)
def test_processes_whose_mirrors_the_parent_keeps(buffer, method):
    context = multiprocessing.get_context(method)
    mirrors = [buffer.mirror for _ in range(2)]
    processes = [context.Process(target=workers.hello, args=(mirror,)) for mirror in mirrors]
    for process in processes:
        process.start()
    assert [end.end for end in buffer.wait()] == ["eof"] * 2
    assert said(buffer) == sorted(EXPECTED * 2)
    assert buffer.n_mirrors == 0
    for process in processes:
        process.join()


@pytest.mark.parametrize("method", METHODS)
def test_a_pool(buffer, method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        result = pool.map_async(workers.hello, [buffer.mirror for _ in range(4)])
        ends = buffer.wait()
        result.get()
    assert len(ends) == 4
    assert said(buffer) == sorted(EXPECTED * 4)


@pytest.mark.parametrize("method", METHODS)
def test_one_mirror_for_all_tasks_of_a_pool(buffer, method):
    """What syncstream forbids. The first `wait` may return between two pickles; the next one waits
    for the rest.
    """
    with multiprocessing.get_context(method).Pool(2) as pool:
        result = pool.map_async(workers.hello, (buffer.mirror,) * 4)
        ends = buffer.wait()
        result.get()
        ends += buffer.wait()
    assert [end.end for end in ends] == ["eof"] * 4
    assert sorted(end.worker for end in ends) == [0, 1, 2, 3]
    assert said(buffer) == sorted(EXPECTED * 4)


@pytest.mark.parametrize("method", METHODS)
def test_one_mirror_for_all_tasks_of_a_pool_with_another_one_held_until_they_are_handed_over(
    buffer, method
):
    with multiprocessing.get_context(method).Pool(2) as pool:
        # Not before the pool: its workers would inherit it, and keep its seat while they live.
        held = buffer.mirror
        result = pool.map_async(workers.hello, (buffer.mirror,) * 4)
        with pytest.raises(TimeoutError):
            buffer.wait(timeout=0.01)
        result.get()
        del held
        assert [end.end for end in buffer.wait()] == ["eof"] * 4
    assert said(buffer) == sorted(EXPECTED * 4)


@pytest.mark.parametrize("method", METHODS)
def test_an_executor(buffer, method):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        futures = [executor.submit(workers.hello, buffer.mirror) for _ in range(4)]
        buffer.wait()
        for future in futures:
            future.result()
    assert said(buffer) == sorted(EXPECTED * 4)


def test_mirrors_that_the_parent_keeps_after_a_pool_has_them(buffer):
    mirrors = [buffer.mirror for _ in range(3)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        result = pool.map_async(workers.hello, mirrors)
        ends = buffer.wait()
        result.get()
    assert sorted(end.worker for end in ends) == [0, 1, 2]
    assert said(buffer) == sorted(EXPECTED * 3)
    mirror = mirrors[0]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(workers.hello, [mirror] * 3)
    assert len(buffer.wait()) == 3, "three more, though two variables have the mirror still"


def test_a_raw_fork(buffer):
    children = []
    for _ in range(2):
        mirror = buffer.mirror
        child = os.fork()
        if child == 0:
            workers.hello(mirror)
            os._exit(0)
        children.append(child)
    assert [end.end for end in buffer.wait()] == ["eof"] * 2
    assert said(buffer) == sorted(EXPECTED * 2)
    for child in children:
        os.waitpid(child, 0)


def test_a_fork_with_a_mirror_that_was_used_before(buffer):
    mirror = buffer.mirror
    print("parent", file=mirror)
    mirror.write("parent's ")
    child = os.fork()
    if child == 0:
        print("child", file=mirror)
        mirror.send_eof()
        os._exit(0)
    os.waitpid(child, 0)
    print("line", file=mirror)
    mirror.send_eof()
    assert len(buffer.wait()) == 2, "the child's is one of its own"
    assert said(buffer) == ["child", "parent", "parent's line"]


def test_a_subprocess_through_its_environment(buffer):
    program = (
        "import linering, sys\nwith linering.LineProcMirror.from_environ(): print(*sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, "from", "afar"]
    processes = [subprocess.Popen(command, env=buffer.mirror.environ()) for _ in range(2)]
    assert [end.end for end in buffer.wait()] == ["eof"] * 2
    assert said(buffer) == ["from afar"] * 2
    for process in processes:
        assert process.wait() == 0


def test_without_a_seat_in_the_environment_there_is_no_mirror():
    assert linering.LineProcMirror.from_environ({}) is None


def test_a_setgid_program_obeys_no_environment(buffer, tmp_path):
    """Nor does a setuid one: the kernel tells both by the same word, AT_SECURE, which is 23.

    Setgid, since its owner needs no further right to read the package, and gives none to others.
    """
    program = """
import ctypes, os, sys
sys.path.insert(0, sys.argv[1])
import linering
print("AT_SECURE is", ctypes.CDLL(None).getauxval(23))
for environ in (None, dict(os.environ)):
    mirror = linering.LineProcMirror.from_environ(environ)
    if mirror is not None:
        print("obeyed", file=mirror)
"""
    # With a copy of the interpreter, not a link to it.
    venv.create(tmp_path, symlinks=False)
    python = tmp_path / "bin/python"
    other = next((group for group in os.getgroups() if group != os.getegid()), 65_534)
    try:
        os.chown(python, -1, other)
    except PermissionError:
        pytest.fail("this test makes a setgid program, for a group beside its own: run it as root")
    package = Path(linering.__file__).parent.parent

    def says(mode):
        os.chmod(python, mode)
        command = [python, "-c", program, package]
        done = subprocess.run(command, env=buffer.mirror.environ(), capture_output=True, text=True)
        return done.stdout + done.stderr

    try:
        assert says(0o755) == "AT_SECURE is 0\n"
        assert said(buffer) == ["obeyed"] * 2
        found = says(0o2755)
    finally:
        python.unlink()
    if found == "AT_SECURE is 0\n":
        pytest.fail(
            "this test needs setgid programs to get their group's rights, which they do not here: "
            f"is {tmp_path} on a file system mounted nosuid, or this process under no_new_privs?"
        )
    assert found == "AT_SECURE is 1\n"
    assert said(buffer) == ["obeyed"] * 2, "no further ones"


def test_threads_with_a_mirror_each_and_with_one_for_all(buffer):
    def prints(mirror):
        print("thread", file=mirror)
        mirror.send_eof()

    mirrors = [buffer.mirror for _ in range(3)]
    threads = [threading.Thread(target=prints, args=(mirror,)) for mirror in mirrors]
    for thread in threads:
        thread.start()
    assert len(buffer.wait()) == 3
    for thread in threads:
        thread.join()
    assert said(buffer) == ["thread"] * 3

    buffer.clear()
    workers.writes_pieces_in_threads(buffer.mirror, 2, 3)
    assert [end.end for end in buffer.wait()] == ["eof"], "one worker, whose threads are no workers"
    assert said(buffer) == sorted(
        f"thread {thread} line {number} end" for thread in range(2) for number in range(3)
    )


@pytest.mark.parametrize("method", METHODS)
def test_threads_of_workers_that_write_lines_in_pieces(method):
    threads, count = 4, 250
    buffer = linering.LineProcBuffer(10_000)
    context = multiprocessing.get_context(method)
    arguments = [(buffer.mirror, threads, count) for _ in range(2)]
    with context.Pool(2) as pool:
        result = pool.starmap_async(workers.writes_pieces_in_threads, arguments)
        del arguments
        ends = buffer.wait()
        result.get()
    assert len(ends) == 2
    for worker in (end.worker for end in ends):
        lines = [line for line in buffer.read() if line.worker == worker]
        assert len(lines) == threads * count
        for thread in range(threads):
            own = [line for line in lines if line.startswith(f"thread {thread} ")]
            assert own == [f"thread {thread} line {number} end" for number in range(count)]


def test_the_redirection_ends_with_the_block(buffer):
    out, err = sys.stdout, sys.stderr
    with contextlib.suppress(ValueError):
        workers.fails(buffer.mirror)
    assert (sys.stdout, sys.stderr) == (out, err)
